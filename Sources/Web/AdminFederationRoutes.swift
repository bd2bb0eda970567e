import Bytes
import CertificateLifecycle
import Cryptography
import Federation
import Foundation
import Hummingbird
import Identity
import PassThrough
import SAML
import SignIn
import WSFederation
import XMLSecurity

/// Relying parties, and who this identity provider is for them.
struct AdminFederationRoutes: Sendable {
  let services: GatewayServices
  private var federation: SignOnServices { services.federation }

  private var registration: RelyingPartyRegistration { RelyingPartyRegistration(federation: federation, now: services.now) }

  init(services: GatewayServices) { self.services = services }

  func add(to router: Router<GatewayRequestContext>) {
    addParties(to: router)
    addIdentity(to: router)
    router.post("/admin/v1/tokens/find") { request, context in
      _ = try services.adminRoles.actor(context, changing: false)
      return jsonResponse(try await find(try await decodeAdmin(request)))
    }
  }

  private func addParties(to router: Router<GatewayRequestContext>) {
    router.get("/admin/v1/relying-parties") { _, context in
      _ = try services.adminRoles.actor(context, changing: false)
      return jsonResponse(federation.parties.parties.map(message))
    }
    router.get("/admin/v1/relying-parties/:name") { _, context in
      _ = try services.adminRoles.actor(context, changing: false)
      return jsonResponse(message(try party(context)))
    }
    router.post("/admin/v1/relying-parties") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let change: RelyingPartyChange = try await decodeAdmin(request, limit: 8 << 20)
      let party = try await registration.make(change)
      try await federation.partyStore.add(party, audit: [event(.relyingPartyAdded, party, actor)])
      try await federation.parties.refresh()
      return jsonResponse(message(party), status: .created)
    }
    router.patch("/admin/v1/relying-parties/:name") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let change: RelyingPartyChange = try await decodeAdmin(request, limit: 8 << 20)
      var party = try party(context)
      if change.metadata != nil || change.metadataUrl != nil { try await registration.adopt(change, into: &party) }
      try registration.apply(change, to: &party)
      try await federation.partyStore.update(party, audit: [event(.relyingPartyChanged, party, actor)])
      try await federation.parties.refresh()
      return jsonResponse(message(party))
    }
    router.delete("/admin/v1/relying-parties/:name") { _, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let party = try party(context)
      try await federation.partyStore.remove(relyingParty: party.id, audit: [event(.relyingPartyRemoved, party, actor)])
      try await federation.parties.refresh()
      return jsonResponse(Done(done: true, message: "The relying party \(party.name) was removed, with its persistent names."))
    }
    router.post("/admin/v1/relying-parties/:name/refresh") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let wish: RefreshRequest = try await decodeAdmin(request)
      var party = try party(context)
      guard party.source != nil else {
        throw RequestFault.conflict(
          "The relying party \(party.name) has no metadata URL. Give its metadata with `gatehouse rp edit \(party.name) --metadata FILE`.")
      }
      try await federation.metadata.refresh(party)
      try await federation.parties.refresh()
      party = try self.party(context)
      if wish.approve, let pending = party.source?.pending {
        party.entityID = pending.entityID
        party.adopt(pending)
        party.source?.pending = nil
        try await federation.partyStore.update(party, audit: [event(.relyingPartyChanged, party, actor)])
        try await federation.parties.refresh()
      }
      return jsonResponse(message(try self.party(context)))
    }
    router.post("/admin/v1/relying-parties/:name/preview") { request, context in
      _ = try services.adminRoles.actor(context, changing: false)
      let wish: PreviewRequest = try await decodeAdmin(request)
      let party = try party(context)
      guard let userName = UserName(wish.user) else { throw RequestFault.malformed("That is no user name.") }
      let realm: Realm?
      if let text = wish.realm { realm = services.realms.realm(named: try realmName(text)) } else { realm = services.realms.realm(of: userName) }
      guard let realm else { throw RequestFault.notFound("No realm belongs to this name; say which with --realm.") }
      do {
        let bytes = try await federation.preview(party, userName, realm)
        return jsonResponse(PreviewMessage(assertion: String(decoding: bytes, as: UTF8.self)))
      } catch let problem as ClaimProblem {
        throw RequestFault.conflict("No token would be issued: \(problem.detail).")
      } catch let fault as MessageFault { throw RequestFault.conflict("No token would be issued: \(fault.detail).") }
    }
  }

  private func addIdentity(to router: Router<GatewayRequestContext>) {
    router.get("/admin/v1/federation") { _, context in
      _ = try services.adminRoles.actor(context, changing: false)
      return jsonResponse(identity)
    }
    router.patch("/admin/v1/federation") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let change: FederationChange = try await decodeAdmin(request)
      let settings = try await federation.settingsStore.federationSettings() ?? federation.identity.settings
      let changed = try apply(change, to: settings)
      let event = AuditEvent(
        time: services.now(), kind: .federationChanged, actor: actor, subject: changed.entityID, outcome: "done",
        details: [
          "before": settings.entityID, "forced": "\(change.force ?? false)", "corporateNetworks": changed.corporateNetworks.joined(separator: " "),
          "trustEndpoints": changed.trustEndpoints.map { "\($0.endpoint.rawValue)[\($0.networks.joined(separator: " "))]" }.joined(separator: " "),
        ])
      try await federation.settingsStore.putFederationSettings(changed, audit: [event])
      if let stored = try await federation.settingsStore.federationSettings() { federation.identity.adopt(stored) }
      return jsonResponse(identity)
    }
    router.post("/admin/v1/federation/entra") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let wish: EntraTrustRequest = try await decodeAdmin(request)
      var (party, isNew) = try registration.entra(wish)
      if isNew {
        try await federation.partyStore.add(party, audit: [event(.relyingPartyAdded, party, actor)])
      } else {
        try await federation.partyStore.update(party, audit: [event(.relyingPartyChanged, party, actor)])
      }
      try await federation.parties.refresh()
      party = federation.parties.party(id: party.id) ?? party
      return jsonResponse(
        EntraTrustMessage(message(party), party, federation, realms: services.realms.realms), status: isNew ? .created : .ok)
    }
  }

  /// Throws `RequestFault`.
  private func apply(_ change: FederationChange, to settings: FederationSettings) throws -> FederationSettings {
    var settings = settings
    if let entityID = change.entityId {
      if let problem = FederationSettings.problem(entityID) {
        throw RequestFault.malformed(problem.prefix(1).uppercased() + problem.dropFirst() + ".")
      }
      let count = federation.parties.count
      guard change.force ?? false || count == 0 || settings.entityID.utf8.elementsEqual(entityID.utf8) else {
        throw RequestFault.conflict(
          "\(count) relying parties know this identity provider as \(settings.entityID), and would refuse its tokens under another name. If they have all been told, repeat with --force."
        )
      }
      settings.entityID = entityID
    }
    func endpoint(_ word: String) throws -> TrustEndpoint {
      guard let endpoint = TrustEndpoint(rawValue: asciiLowercased(word)), endpoint.isServed else {
        let served = TrustEndpoint.allCases.filter(\.isServed).map(\.rawValue).joined(separator: ", ")
        throw RequestFault.malformed("\"\(word.prefix(64))\" is no endpoint that there is here. There are: \(served).")
      }
      return endpoint
    }
    for networks in [change.enable?.networks, change.corporateNetworks].compactMap(\.self) {
      if let problem = FederationSettings.problem(networks: networks) {
        throw RequestFault.malformed(problem.prefix(1).uppercased() + problem.dropFirst() + ".")
      }
    }
    if let enable = change.enable {
      let endpoint = try endpoint(enable.endpoint)
      settings.trustEndpoints.removeAll { $0.endpoint == endpoint }
      settings.trustEndpoints.append(TrustEndpointRule(endpoint: endpoint, networks: enable.networks ?? []))
    }
    if let word = change.disable {
      let endpoint = try endpoint(word)
      settings.trustEndpoints.removeAll { $0.endpoint == endpoint }
    }
    if let networks = change.corporateNetworks { settings.corporateNetworks = networks }
    return settings
  }

  private func message(_ party: RelyingParty) -> RelyingPartyMessage {
    var message = RelyingPartyMessage(party)
    message.signingKey = federation.keys.signer(for: party)?.id
    message.ownMetadataUrl = federation.ownMetadataURL(of: party)
    return message
  }

  private var identity: FederationMessage {
    FederationMessage(
      entityId: federation.identity.entityID, signOnUrl: federation.identity.signOnURL, metadataUrl: federation.identity.metadataURL,
      federationMetadataUrl: federation.identity.federationMetadataURL, metadataExchangeUrl: federation.identity.metadataExchangeURL,
      trustEndpoints: TrustEndpoint.allCases.filter(\.isServed).map { endpoint in
        let rule = federation.identity.settings.trustEndpoints.first { $0.endpoint == endpoint }
        return .init(endpoint: endpoint.rawValue, url: federation.identity.url(of: endpoint), isOn: rule != nil, networks: rule?.networks ?? [])
      }, corporateNetworks: federation.identity.settings.corporateNetworks, relyingParties: federation.parties.count)
  }

  private func party(_ context: GatewayRequestContext) throws -> RelyingParty {
    let name = try segment("name", of: context)
    guard let party = federation.parties.party(named: name) ?? federation.parties.party(entityID: name) else {
      throw RequestFault.notFound("There is no relying party \(name.prefix(256)). See `gatehouse rp list`.")
    }
    return party
  }

  private func event(_ kind: AuditKind, _ party: RelyingParty, _ actor: String) -> AuditEvent {
    AuditEvent(
      time: services.now(), kind: kind, actor: actor, subject: party.name, outcome: "done",
      details: [
        "entityId": party.entityID, "consumers": party.consumers.prefix(8).map(\.location).joined(separator: " "), "disabled": "\(party.disabled)",
        "signs": party.signs.rawValue, "encrypts": party.encrypts.rawValue, "algorithm": party.signatureAlgorithm.word,
        "claims": party.claims.map(\.name).joined(separator: " "), "nameId": party.nameID.format.word, "unsolicited": "\(party.allowsUnsolicited)",
        "certificates": (party.signingCertificates + party.encryptionCertificates).map { String(Digests.sha256($0).hexadecimal.prefix(16)) }
          .joined(separator: " "),
      ])
  }

  /// The answer to "did we issue this?".
  private func find(_ query: TokenQuery) async throws -> [IssuedTokenMessage] {
    var ids: [(id: String, digest: [UInt8]?)] = []
    if let id = query.id { ids.append((id, nil)) }
    if let text = query.document {
      guard let bytes = StrictText.base64(text) else { throw RequestFault.malformed("The document did not arrive whole.") }
      let root: XMLElement
      do { root = try XMLElement.parse(bytes, limits: .message) } catch {
        throw RequestFault.malformed("The document is not XML that is read here: \(error.detail).")
      }
      let assertions = IssuedDocument.assertions(in: root)
      guard !assertions.isEmpty else {
        throw RequestFault.malformed("The document holds no assertion that can be read. An encrypted one is found by the ID of its plain text only.")
      }
      for assertion in assertions {
        guard let id = IssuedDocument.id(of: assertion) else { continue }
        ids.append((id, (try? assertion.canonicalBytes()).map { Digests.sha256($0) }))
      }
    }
    var found: [IssuedTokenMessage] = []
    for (id, digest) in ids {
      var search = AuditQuery()
      search.subject = id
      search.kinds = [.tokenIssued]
      for row in try await services.audit.find(search) {
        let event = row.event
        found.append(
          IssuedTokenMessage(
            assertionId: id, issued: event.time, relyingParty: event.actor, entityId: event.details["relyingParty"] ?? "-",
            user: event.details["user"] ?? "-", object: event.object?.description, consumer: event.details["consumer"] ?? "-",
            key: event.details["key"] ?? "-", sameBytes: digest.map { $0.hexadecimal == event.details["digest"] }))
      }
    }
    return found
  }
}
