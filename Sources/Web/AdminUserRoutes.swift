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
      let (name, lockoutName) = try find(message)
      let now = services.now()
      func event(_ kind: AuditKind) -> AuditEvent {
        AuditEvent(time: now, kind: kind, actor: actor, realm: lockoutName.realm, subject: name.text, outcome: "done")
      }
      switch action {
      case "show":
        var state = try await services.lockouts.state(of: lockoutName) ?? LockoutState()
        Lockout.refresh(&state, policy: services.lockoutPolicy, now: now)
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
        try await services.lockouts.setBlocked(true, lockoutName, now: now, audit: [event(.userBlocked)])
        return jsonResponse(
          Done(
            done: true,
            message:
              "\(name) is blocked for every method, from now on, by every name that leads to them. Give their userPrincipalName: a name that nobody ever signed in by leads nowhere else."
          ))
      case "unblock":
        try await services.lockouts.setBlocked(false, lockoutName, now: now, audit: [event(.userUnblocked)])
        return jsonResponse(Done(done: true, message: "\(name) is no longer blocked."))
      default: throw RequestFault.notFound("There is nothing under this path.")
      }
    }
  }

  private func find(_ message: UserRequest) throws -> (UserName, LockoutName) {
    guard let name = UserName(message.name) else { throw RequestFault.malformed("That is no user name.") }
    if let text = message.realm {
      let realm = try realmName(text)
      guard services.realms.realm(named: realm) != nil else {
        throw RequestFault.notFound("There is no realm \(realm). See `gatehouse realms list`.")
      }
      return (name, LockoutName(name, realm: realm))
    }
    guard let realm = services.realms.realm(of: name) else {
      throw RequestFault.notFound("No realm belongs to this name; say which with --realm.")
    }
    return (name, LockoutName(name, realm: realm.name))
  }

  private func message(_ person: LockedPerson) -> UserStateMessage {
    UserStateMessage(
      realm: person.realm.text, name: person.key, object: person.object?.description, failures: person.state.failures,
      locks: person.state.locks, lockedUntil: person.state.lockedUntil, blocked: person.state.blocked, lastFailure: person.state.lastFailure)
  }
}
