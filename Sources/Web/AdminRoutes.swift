import Bytes
import Cryptography
import Federation
import Foundation
import Hummingbird
import Identity
import PassThrough
import SignIn

/// The admin API, `/admin/v1`: all that is shared is changed here, and nothing without its audit event.
struct AdminRoutes: Sendable {
  let services: GatewayServices

  func add(to router: Router<GatewayRequestContext>) {
    addStatus(to: router)
    addRealms(to: router)
    addFrontEnds(to: router)
    addAgents(to: router)
    addBackups(to: router)
    AdminCanaryRoutes(services: services).add(to: router)
    AdminUserRoutes(services: services).add(to: router)
    AdminLockoutRoutes(services: services).add(to: router)
    AdminAuditRoutes(services: services).add(to: router)
    AdminAlarmRoutes(services: services).add(to: router)
    AdminDirectoryRoutes(services: services).add(to: router)
    AdminFederationRoutes(services: services).add(to: router)
    AdminRolloverRoutes(services: services).add(to: router)
  }

  private func addBackups(to router: Router<GatewayRequestContext>) {
    // The command makes the backup itself, beside the gateway; this puts it on record.
    router.post("/admin/v1/backups") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let message: BackupMessage = try await decodeAdmin(request)
      try await services.audit.append([
        AuditEvent(
          time: services.now(), kind: .backupMade, actor: actor, subject: String(decoding: message.file.utf8.prefix(512), as: UTF8.self),
          outcome: "done")
      ])
      return jsonResponse(Done(done: true, message: "The backup is on record."))
    }
  }

  private func addStatus(to router: Router<GatewayRequestContext>) {
    router.get("/admin/v1/status") { _, context in
      _ = try services.adminRoles.actor(context, changing: false)
      var alarms: [Alarm] = []
      for source in services.alarms { alarms += await source.alarms() }
      return jsonResponse(
        StatusMessage(
          node: services.nodeName, started: services.started, now: services.now(), realms: services.realms.realms.map(\.name.text),
          agentsConnected: services.hub.sessions.count, agentsEnrolled: services.registry.agents.filter { $0.revoked == nil }.count,
          questionsUnderWay: services.hub.pendingCount, auditChains: try await services.audit.chains(), alarms: alarms,
          obstacles: await services.obstacles(), notices: notices))
    }
  }

  /// What is no fault and yet worth a word.
  private var notices: [String] {
    let guarded = services.canaries.realms
    return services.realms.realms.filter { $0.method == .passThrough && !guarded.contains($0.name) }.map {
      "Realm \($0.name) has no canary: an agent that lies is not noticed. Set one with `gatehouse realms canary \($0.name) --user NAME --password-file FILE`."
    }
  }

  private func addRealms(to router: Router<GatewayRequestContext>) {
    router.get("/admin/v1/realms") { _, context in
      _ = try services.adminRoles.actor(context, changing: false)
      return jsonResponse(
        services.realms.realms.map {
          RealmMessage(
            name: $0.name.text, suffixes: $0.suffixes, isDefault: $0.isDefault, method: $0.method.rawValue, displayName: $0.displayName,
            isFederated: $0.isFederated)
        })
    }
    router.post("/admin/v1/realms") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let message: RealmMessage = try await decodeAdmin(request)
      let name = try realmName(message.name)
      let suffixes = try message.suffixes.map { text -> String in
        guard let suffix = RealmName(text) else {
          throw RequestFault.malformed("\"\(text.prefix(64))\" is no UPN suffix or NetBIOS name. Give it without the @, for instance contoso.com.")
        }
        return suffix.text
      }
      guard !suffixes.isEmpty || message.isDefault else {
        throw RequestFault.malformed("Give the realm a suffix (--suffix contoso.com) or make it the default (--default): no name would lead to it.")
      }
      let realm = Realm(
        name: name, suffixes: suffixes, isDefault: message.isDefault, displayName: message.displayName, isFederated: message.isFederated ?? false)
      let event = AuditEvent(
        time: services.now(), kind: .realmAdded, actor: actor, realm: name, subject: name.text, outcome: "done",
        details: ["suffixes": suffixes.joined(separator: " "), "default": "\(message.isDefault)"])
      try await services.realmStore.add(realm, audit: [event])
      try await services.realms.refresh()
      return jsonResponse(Done(done: true, message: "Realm \(name) was added."), status: .created)
    }
    router.patch("/admin/v1/realms/:name/federation") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let name = try realmName(try segment("name", of: context))
      let wish: RealmFederation = try await decodeAdmin(request)
      guard var realm = try await services.realmStore.realms().first(where: { $0.name == name }) else {
        throw RequestFault.notFound("There is no realm \(name).")
      }
      realm.isFederated = wish.isFederated
      let event = AuditEvent(
        time: services.now(), kind: .realmChanged, actor: actor, realm: name, subject: name.text, outcome: "done",
        details: ["federated": "\(wish.isFederated)"])
      try await services.realmStore.update(realm, audit: [event])
      try await services.realms.refresh()
      return jsonResponse(
        Done(
          done: true,
          message: wish.isFederated
            ? "Realm discovery sends the people of \(name) to \(services.federation.identity.signOnURL)."
            : "Realm discovery tells that \(name) is managed."))
    }
    router.delete("/admin/v1/realms/:name") { _, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let name = try realmName(try segment("name", of: context))
      // A later realm of the same name would inherit what was granted for this one.
      let frontEnds = try await services.frontEnds.frontEnds().filter { $0.realms.contains(name) }.map(\.name)
      let agents = services.registry.agents.filter { $0.revoked == nil && $0.realms.contains(name) }.map(\.name)
      guard frontEnds.isEmpty, agents.isEmpty else {
        throw RequestFault.conflict(
          "Realm \(name) is still used by \((frontEnds.map { "front-end \($0)" } + agents.map { "agent \($0)" }).joined(separator: ", ")). Change or revoke them first."
        )
      }
      let event = AuditEvent(time: services.now(), kind: .realmRemoved, actor: actor, realm: name, subject: name.text, outcome: "done")
      // Its secret goes first: a realm of the same name that comes later must not inherit it.
      let gone = AuditEvent(time: services.now(), kind: .canaryRemoved, actor: actor, realm: name, subject: name.text, outcome: "done")
      _ = try await services.canaries.remove(realm: name, audit: [gone])
      try await services.realmStore.remove(realm: name, audit: [event])
      try await services.realms.refresh()
      return jsonResponse(Done(done: true, message: "Realm \(name) was removed."))
    }
  }

  private func addFrontEnds(to router: Router<GatewayRequestContext>) {
    router.get("/admin/v1/front-ends") { _, context in
      _ = try services.adminRoles.actor(context, changing: false)
      return jsonResponse(try await services.frontEnds.frontEnds().map(message))
    }
    router.post("/admin/v1/front-ends") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let change: FrontEndChange = try await decodeAdmin(request)
      guard let name = change.name, isAgentName(name) else {
        throw RequestFault.malformed("A front-end's name is 1 to 64 letters, digits, dots, dashes and underscores.")
      }
      var frontEnd = FrontEnd(name: name, realms: [])
      try await apply(change, to: &frontEnd)
      var issued = IssuedKey(frontEnd: name)
      if change.withKey ?? true {
        let (text, key) = FrontEndDesk.makeKey(now: services.now())
        frontEnd.keys = [key]
        issued.apiKey = text
      }
      try await services.frontEnds.add(frontEnd, audit: [event(.frontEndAdded, frontEnd, actor)])
      try await services.desk.refresh()
      return jsonResponse(issued, status: .created)
    }
    router.patch("/admin/v1/front-ends/:name") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let change: FrontEndChange = try await decodeAdmin(request)
      var frontEnd = try await find(try segment("name", of: context))
      try await apply(change, to: &frontEnd)
      try await services.frontEnds.update(frontEnd, audit: [event(.frontEndChanged, frontEnd, actor)])
      try await services.desk.refresh()
      return jsonResponse(Done(done: true, message: "Front-end \(frontEnd.name) was changed."))
    }
    router.post("/admin/v1/front-ends/:name/rotate") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let rotation: KeyRotation = try await decodeAdmin(request)
      guard (0...31 * 86_400).contains(rotation.overlapSeconds) else {
        throw RequestFault.malformed("The overlap must be between 0 seconds and 31 days.")
      }
      var frontEnd = try await find(try segment("name", of: context))
      let now = services.now()
      let (text, key) = FrontEndDesk.makeKey(now: now)
      var before = frontEnd.keys.first
      before?.expires = now.adding(.seconds(rotation.overlapSeconds))
      frontEnd.keys = [key] + (before.map { [$0] } ?? [])
      try await services.frontEnds.update(frontEnd, audit: [event(.frontEndKeyRotated, frontEnd, actor)])
      try await services.desk.refresh()
      return jsonResponse(IssuedKey(frontEnd: frontEnd.name, apiKey: text, previousKeyExpires: before?.expires))
    }
    router.delete("/admin/v1/front-ends/:name") { _, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let frontEnd = try await find(try segment("name", of: context))
      try await services.frontEnds.remove(frontEnd: frontEnd.id, audit: [event(.frontEndRevoked, frontEnd, actor)])
      try await services.desk.refresh()
      return jsonResponse(Done(done: true, message: "Front-end \(frontEnd.name) was revoked; its keys and certificates are refused from now on."))
    }
  }

  private func addAgents(to router: Router<GatewayRequestContext>) {
    router.get("/admin/v1/agents") { _, context in
      _ = try services.adminRoles.actor(context, changing: false)
      let sessions = services.hub.sessions
      return jsonResponse(
        services.registry.agents.sorted { $0.name < $1.name }.map { agent in
          let session = sessions[agent.id]
          return AgentMessage(
            id: agent.id.description, name: agent.name, realms: agent.realms.map(\.text), enrolled: agent.enrolled, revoked: agent.revoked,
            certificateEnds: agent.certificates.first?.notAfter, connected: session != nil, draining: session?.draining ?? false,
            lastSeen: services.hub.lastSeen(agent.id), inFlight: session?.inFlight ?? 0, answered: session?.answered ?? 0,
            meanMilliseconds: session?.latency, software: session?.software, quarantined: services.registry.quarantined(agent.id))
        })
    }
    router.post("/admin/v1/agents/tokens") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let message: TokenRequest = try await decodeAdmin(request)
      guard !message.realms.isEmpty else { throw RequestFault.malformed("Name at least one realm that the agent shall answer for (--realm).") }
      let realms = try message.realms.map { text in
        let name = try realmName(text)
        guard services.realms.realm(named: name) != nil else {
          throw RequestFault.notFound("There is no realm \(name). Add it with `gatehouse realms add \(name) --suffix …`.")
        }
        return name
      }
      if let name = message.name, !isAgentName(name) {
        throw RequestFault.malformed("An agent's name is 1 to 64 letters, digits, dots, dashes and underscores.")
      }
      let now = services.now()
      let token = try await services.enrolment.makeToken(realms: realms, agentName: message.name, actor: actor, now: now)
      return jsonResponse(IssuedToken(token: token.text, expires: now.adding(EnrolmentToken.life)), status: .created)
    }
    router.post("/admin/v1/agents/:name/release") { _, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let name = try segment("name", of: context)
      guard let agent = try await services.quarantine.release(name, actor: actor, now: services.now()) else {
        throw RequestFault.notFound("No agent in quarantine has the name or id \(name.prefix(64)). See `gatehouse agents list`.")
      }
      return jsonResponse(Done(done: true, message: "Agent \(agent.name) was released; it gets questions again once it has answered its canaries."))
    }
    router.delete("/admin/v1/agents/:name") { _, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let name = try segment("name", of: context)
      guard let agent = try await services.enrolment.revoke(name, actor: actor, now: services.now()) else {
        throw RequestFault.notFound("No agent that is not revoked has the name or id \(name.prefix(64)). See `gatehouse agents list`.")
      }
      services.hub.drop(agent.id)
      return jsonResponse(Done(done: true, message: "Agent \(agent.name) was revoked; it is cut off and nothing it says counts any more."))
    }
    router.get("/admin/v1/authority") { _, context in
      _ = try services.adminRoles.actor(context, changing: false)
      return jsonResponse(authority)
    }
    router.post("/admin/v1/authority/:step") { _, context in
      _ = try services.adminRoles.actor(context, changing: true)
      switch try segment("step", of: context) {
      case "prepare": try await services.authority.prepareNext(now: services.now())
      case "activate":
        guard try await services.authority.activatePrepared(now: services.now()) else {
          throw RequestFault.conflict("No root is prepared. Begin with `gatehouse agents authority prepare`.")
        }
      default: throw RequestFault.notFound("There is nothing under this path.")
      }
      return jsonResponse(authority)
    }
  }

  private var authority: [AuthorityMessage] {
    services.authority.rootStates.map {
      AuthorityMessage(id: $0.id, state: $0.state, prepared: $0.prepared, activated: $0.activated, ends: $0.ends)
    }
  }

  private func find(_ name: String) async throws -> FrontEnd {
    guard let frontEnd = try await services.frontEnds.frontEnds().first(where: { $0.name == name }) else {
      throw RequestFault.notFound("There is no front-end \(name.prefix(64)). See `gatehouse front-ends list`.")
    }
    return frontEnd
  }

  private func apply(_ change: FrontEndChange, to frontEnd: inout FrontEnd) async throws {
    if let realms = change.realms {
      frontEnd.realms = try realms.map { text in
        let name = try realmName(text)
        guard services.realms.realm(named: name) != nil else {
          throw RequestFault.notFound("There is no realm \(name). Add it with `gatehouse realms add \(name) --suffix …`.")
        }
        return name
      }
    }
    if let rate = change.ratePerSecond {
      guard (1...1_000_000).contains(rate) else { throw RequestFault.malformed("The rate must be between 1 and 1000000 sign-ins a second.") }
      frontEnd.ratePerSecond = rate
    }
    if let disabled = change.disabled { frontEnd.disabled = disabled }
    if let certificate = change.addCertificate {
      guard let der = StrictText.base64(certificate), (64...16_384).contains(der.count) else {
        throw RequestFault.malformed("The certificate must be one X.509 certificate.")
      }
      frontEnd.certificates.append(Digests.sha256(der))
    }
  }

  private func event(_ kind: AuditKind, _ frontEnd: FrontEnd, _ actor: String) -> AuditEvent {
    AuditEvent(
      time: services.now(), kind: kind, actor: actor, subject: frontEnd.name, outcome: "done",
      details: [
        "realms": frontEnd.realms.map(\.text).joined(separator: " "), "rate": "\(frontEnd.ratePerSecond)", "disabled": "\(frontEnd.disabled)",
        "keys": frontEnd.keys.map { String($0.digest.hexadecimal.prefix(16)) }.joined(separator: " "),
        "certificates": frontEnd.certificates.map { String($0.hexadecimal.prefix(16)) }.joined(separator: " "),
      ])
  }

  private func message(_ frontEnd: FrontEnd) -> FrontEndMessage {
    FrontEndMessage(
      name: frontEnd.name, realms: frontEnd.realms.map(\.text), ratePerSecond: frontEnd.ratePerSecond, disabled: frontEnd.disabled,
      keys: frontEnd.keys.map { .init(made: $0.made, expires: $0.expires) }, certificates: frontEnd.certificates.map(\.hexadecimal))
  }
}

extension AdminRoles {
  /// Who asks, for the audit. Throws `RequestFault.forbidden` where the kernel says that it is somebody who may not.
  func actor(_ context: GatewayRequestContext, changing: Bool) throws -> String {
    guard let user = context.facts.peerUserID else { throw RequestFault.unauthenticated }
    if administrators.contains(user) || (!changing && auditors.contains(user)) { return "admin:uid=\(user)" }
    throw RequestFault.forbidden("User id \(user) may not do this. Run the command as root or as the user that runs gatehouse.")
  }
}

/// A realm's name from a message. Throws `RequestFault.malformed`.
func realmName(_ text: String) throws -> RealmName {
  guard let name = RealmName(text) else {
    throw RequestFault.malformed("\"\(text.prefix(64))\" is no realm name: use letters, digits, dots and dashes, at most 63.")
  }
  return name
}

/// A segment of the path as it was meant: the router leaves it percent-encoded. Throws where the route has no such parameter.
func segment(_ name: String, of context: GatewayRequestContext) throws -> String {
  let encoded = try context.parameters.require(name)
  return encoded.removingPercentEncoding ?? encoded
}

/// The JSON body of an admin request. Throws `RequestFault`, for a field that the message does not have as well: a misspelt switch of a relying party
/// that is ignored would be taken for set.
func decodeAdmin<T: Codable>(_ request: Request, limit: Int = 64 * 1024) async throws -> T {
  var request = request
  let bytes = try await request.readBody(limit: limit)
  do { _ = try JSONText(object: bytes) } catch { throw RequestFault.malformed("The body is not the JSON that is expected: \(error).") }
  let message: T
  do { message = try JSONDecoder().decode(T.self, from: Data(bytes)) } catch { throw RequestFault.malformed(describe(error)) }
  if let unknown = try unknownField(in: try JSONSerialization.jsonObject(with: Data(bytes)), of: message) {
    throw RequestFault.malformed("There is no field `\(unknown.prefix(128))` here.")
  }
  return message
}

/// The path of a field of the JSON that the message read from it does not write again; nil where there is none. A null counts as absent.
private func unknownField(in json: Any, of message: some Encodable) throws -> String? {
  func difference(_ json: Any, _ known: Any?, path: String) -> String? {
    switch json {
    case is NSNull: return nil
    case let fields as [String: Any]:
      let known = known as? [String: Any]
      for (name, value) in fields.sorted(by: { $0.key < $1.key }) {
        let path = path.isEmpty ? name : "\(path).\(name)"
        if known?[name] == nil, !(value is NSNull) { return path }
        if let found = difference(value, known?[name], path: path) { return found }
      }
    case let values as [Any]:
      let known = known as? [Any]
      for (index, value) in values.enumerated() {
        let counterpart = known.flatMap { index < $0.count ? $0[index] : nil }
        if let found = difference(value, counterpart, path: "\(path)[\(index)]") { return found }
      }
    default: break
    }
    return nil
  }
  return difference(json, try JSONSerialization.jsonObject(with: try JSONEncoder().encode(message)), path: "")
}
