import Bytes
import Hummingbird
import Identity
import SignIn

/// Lock, block and their lifting, for one person at a time.
struct AdminUserRoutes: Sendable {
  let services: GatewayServices

  func add(to router: Router<GatewayRequestContext>) {
    router.get("/admin/v1/users/locked") { _, context in
      _ = try services.adminRoles.actor(context, changing: false)
      return jsonResponse(try await services.lockouts.locked(now: services.now(), limit: 1000).map(message))
    }
    router.post("/admin/v1/users/:action") { request, context in
      let action = try segment("action", of: context)
      let actor = try services.adminRoles.actor(context, changing: action != "show")
      let message: UserRequest = try await decodeAdmin(request)
      let (name, realm) = try find(message)
      let lockoutName = LockoutName(name, realm: realm.name)
      let now = services.now()
      func event(_ kind: AuditKind) -> AuditEvent {
        AuditEvent(time: now, kind: kind, actor: actor, realm: lockoutName.realm, subject: name.text, outcome: "done")
      }
      switch action {
      case "show":
        var state = try await services.lockouts.state(of: lockoutName) ?? LockoutState()
        Lockout.refresh(&state, policy: services.lockoutPolicies.policy(of: realm), now: now)
        return jsonResponse(
          self.message(LockedPerson(realm: lockoutName.realm, key: lockoutName.key, object: nil, state: state)))
      case "unlock":
        // Names are learned by signing in: one that nobody has used leads to nobody, and to say that they are unlocked would be wrong.
        let known = try await services.lockouts.state(of: lockoutName) != nil
        try await services.lockouts.unlock(lockoutName, audit: [event(.userUnlocked)])
        guard known else {
          return jsonResponse(
            Done(done: false, message: "Nothing is counted under \(name). `gatehouse users locked` tells who is locked, and by which name."))
        }
        return jsonResponse(Done(done: true, message: "\(name) is no longer locked by Gatehouse. A lock of the directory's own is lifted there."))
      case "block":
        let meaning = try await services.signIn.learn(name, realm: realm, deadline: Deadline(after: services.deadline))
        try await services.lockouts.setBlocked(true, lockoutName, now: now, audit: [event(.userBlocked)])
        // After the block, so that nobody begins another session in between.
        var known = meaning?.object
        if known == nil {
          known = try await services.lockouts.locked(now: now, limit: 10_000).first { $0.realm == lockoutName.realm && $0.key == lockoutName.key }?
            .object
        }
        if let object = known {
          try await services.federation.sessions.endAll(
            of: DirectoryObject(realm: realm.name, id: object), actor: actor, reason: "blocked", now: now)
        }
        let extent =
          switch meaning {
          case .person: "by every name that leads to them"
          case .nobody: "though the directory has nobody of that name now"
          case nil:
            "but the directory could not be asked whom the name means: until it can, it holds for this name and the names that are known to mean the same person"
          }
        return jsonResponse(Done(done: true, message: "\(name) is blocked for every method, from now on, \(extent)."))
      case "unblock":
        try await services.lockouts.setBlocked(false, lockoutName, now: now, audit: [event(.userUnblocked)])
        return jsonResponse(Done(done: true, message: "\(name) is no longer blocked."))
      default: throw RequestFault.notFound("There is nothing under this path.")
      }
    }
  }

  private func find(_ message: UserRequest) throws -> (UserName, Realm) {
    guard let name = UserName(message.name) else { throw RequestFault.malformed("That is no user name.") }
    if let text = message.realm {
      let wanted = try realmName(text)
      guard let realm = services.realms.realm(named: wanted) else {
        throw RequestFault.notFound("There is no realm \(wanted). See `gatehouse realms list`.")
      }
      return (name, realm)
    }
    guard let realm = services.realms.realm(of: name) else {
      throw RequestFault.notFound("No realm belongs to this name; say which with --realm.")
    }
    return (name, realm)
  }

  private func message(_ person: LockedPerson) -> UserStateMessage {
    UserStateMessage(
      realm: person.realm.text, name: person.key, object: person.object?.description, failures: person.state.failures,
      locks: person.state.locks, lockedUntil: person.state.lockedUntil, blocked: person.state.blocked, lastFailure: person.state.lastFailure)
  }
}
