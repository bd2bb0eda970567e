import Bytes
import Hummingbird
import Identity
import SignIn

/// Each realm's own lockout, beside its directory's.
struct AdminLockoutRoutes: Sendable {
  let services: GatewayServices

  func add(to router: Router<GatewayRequestContext>) {
    router.get("/admin/v1/realms/:name/lockout") { _, context in
      _ = try services.adminRoles.actor(context, changing: false)
      return jsonResponse(message(try realm(context)))
    }
    router.patch("/admin/v1/realms/:name/lockout") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let change: RealmLockoutChange = try await decodeAdmin(request)
      var realm = try realm(context)
      let policy = try change.applied(to: services.lockoutPolicies.chosen(for: realm))
      if let conflict = services.lockoutPolicies.conflict(of: policy, realm: realm.name) { throw RequestFault.conflict(conflict) }
      realm.lockout = policy
      try await services.realmStore.update(realm, audit: [event(actor, realm, policy)])
      try await services.realms.refresh()
      return jsonResponse(message(realm))
    }
    router.delete("/admin/v1/realms/:name/lockout") { _, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      var realm = try realm(context)
      realm.lockout = nil
      try await services.realmStore.update(realm, audit: [event(actor, realm, nil)])
      try await services.realms.refresh()
      return jsonResponse(message(realm))
    }
  }

  private func realm(_ context: GatewayRequestContext) throws -> Realm {
    let name = try realmName(try segment("name", of: context))
    guard let realm = services.realms.realm(named: name) else {
      throw RequestFault.notFound("There is no realm \(name). See `gatehouse realms list`.")
    }
    return realm
  }

  private func event(_ actor: String, _ realm: Realm, _ policy: LockoutPolicy?) -> AuditEvent {
    var details = ["default": "\(policy == nil)"]
    if let policy {
      details["threshold"] = "\(policy.threshold)"
      details["window"] = policy.window.words
      details["firstLock"] = policy.firstLock.words
      details["longestLock"] = policy.longestLock.words
    }
    return AuditEvent(
      time: services.now(), kind: .realmLockoutChanged, actor: actor, realm: realm.name, subject: realm.name.text, outcome: "done", details: details)
  }

  private func message(_ realm: Realm) -> RealmLockoutMessage {
    let chosen = services.lockoutPolicies.chosen(for: realm)
    let effective = services.lockoutPolicies.policy(of: realm)
    let directory = services.lockoutPolicies.directoryLockout(of: realm.name)
    return RealmLockoutMessage(
      realm: realm.name.text, isDefault: realm.lockout == nil, chosen: LockoutNumbers(chosen), effective: LockoutNumbers(effective),
      directory: directory.map {
        DirectoryLockoutNumbers(
          threshold: $0.threshold, windowSeconds: Int($0.windowMilliseconds / 1000), lockSeconds: $0.lockMilliseconds.map { Int($0 / 1000) },
          mostTries: $0.locks ? $0.mostTries : nil)
      })
  }
}

extension LockoutNumbers {
  init(_ policy: LockoutPolicy) {
    self.init(
      threshold: policy.threshold, windowSeconds: Int(policy.window.components.seconds), firstLockSeconds: Int(policy.firstLock.components.seconds),
      longestLockSeconds: Int(policy.longestLock.components.seconds))
  }
}

extension RealmLockoutChange {
  /// Throws `RequestFault` where a number is out of bounds.
  func applied(to policy: LockoutPolicy) throws -> LockoutPolicy {
    func bounded(_ value: Int?, _ range: ClosedRange<Int>, _ what: String) throws -> Int? {
      guard let value else { return nil }
      guard range.contains(value) else { throw RequestFault.malformed("\(what) must be from \(range.lowerBound) to \(range.upperBound).") }
      return value
    }
    let day = 86_400
    var result = policy
    result.directory = nil
    result.threshold = try bounded(threshold, 1...100, "The threshold") ?? policy.threshold
    result.window = try bounded(windowSeconds, 1...day, "The window, in seconds,").map { .seconds($0) } ?? policy.window
    result.firstLock = try bounded(firstLockSeconds, 1...day, "The first lock, in seconds,").map { .seconds($0) } ?? policy.firstLock
    result.longestLock = try bounded(longestLockSeconds, 1...day, "The longest lock, in seconds,").map { .seconds($0) } ?? policy.longestLock
    // Raising the first lock alone means that all are as long.
    if longestLockSeconds == nil { result.longestLock = max(result.longestLock, result.firstLock) }
    guard result.firstLock <= result.longestLock else { throw RequestFault.malformed("The first lock must not be longer than the longest.") }
    return result
  }
}
