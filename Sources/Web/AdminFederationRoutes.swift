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
import XMLSecurity

/// Relying parties, and who this identity provider is for them.
struct AdminFederationRoutes: Sendable {
  let services: GatewayServices
  private var federation: SignOnServices { services.federation }

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
      let party = try await make(change)
      try await federation.partyStore.add(party, audit: [event(.relyingPartyAdded, party, actor)])
      try await federation.parties.refresh()
      return jsonResponse(message(party), status: .created)
    }
    router.patch("/admin/v1/relying-parties/:name") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let change: RelyingPartyChange = try await decodeAdmin(request, limit: 8 << 20)
      var party = try party(context)
      if change.metadata != nil || change.metadataUrl != nil { try await adopt(change, into: &party) }
      try apply(change, to: &party)
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
      let change: EntityIDChange = try await decodeAdmin(request)
      if let problem = FederationSettings.problem(change.entityId) { throw RequestFault.malformed(problem + ".") }
      let settings = try await federation.settingsStore.federationSettings() ?? federation.identity.settings
      let count = federation.parties.count
      guard change.force || count == 0 || settings.entityID.utf8.elementsEqual(change.entityId.utf8) else {
        throw RequestFault.conflict(
          "\(count) relying parties know this identity provider as \(settings.entityID), and would refuse its tokens under another name. If they have all been told, repeat with --force."
        )
      }
      var changed = settings
      changed.entityID = change.entityId
      let event = AuditEvent(
        time: services.now(), kind: .federationChanged, actor: actor, subject: change.entityId, outcome: "done",
        details: ["before": settings.entityID, "forced": "\(change.force)"])
      try await federation.settingsStore.putFederationSettings(changed, audit: [event])
      if let stored = try await federation.settingsStore.federationSettings() { federation.identity.adopt(stored) }
      return jsonResponse(identity)
    }
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
      relyingParties: federation.parties.count)
  }

  private func party(_ context: GatewayRequestContext) throws -> RelyingParty {
    let name = try segment("name", of: context)
    guard let party = federation.parties.party(named: name) ?? federation.parties.party(entityID: name) else {
      throw RequestFault.notFound("There is no relying party \(name.prefix(256)). See `gatehouse rp list`.")
    }
    return party
  }

  private func make(_ change: RelyingPartyChange) async throws -> RelyingParty {
    var party = RelyingParty(name: "", entityID: "", consumers: [])
    if change.metadata != nil || change.metadataUrl != nil {
      try await adopt(change, into: &party)
    } else {
      guard let entityID = change.entityId, let consumers = change.consumers, !consumers.isEmpty else {
        throw RequestFault.malformed("Give the relying party's metadata (--metadata FILE or URL), or its --entity-id and at least one --acs URL.")
      }
      guard (1...1024).contains(entityID.utf8.count), entityID.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f }) else {
        throw RequestFault.malformed("An entityID has 1 to 1024 bytes without white space.")
      }
      party.entityID = entityID
      party.consumers = try endpoints(consumers)
    }
    RelyingPartyPreset.standard.apply(to: &party)
    party.name = try change.name.map(validName) ?? freeName(for: party)
    try apply(change, to: &party)
    return party
  }

  private func endpoints(_ locations: [String]) throws -> [ServiceProviderMetadata.Endpoint] {
    guard locations.count <= 64 else { throw RequestFault.malformed("A relying party may have at most 64 consumer services.") }
    return try locations.enumerated().map { index, location in
      if let problem = EndpointURL.problem(location) { throw RequestFault.malformed("\(location.prefix(256)): \(problem).") }
      return ServiceProviderMetadata.Endpoint(
        binding: Binding.post.rawValue, location: location, index: UInt16(clamping: index), isDefault: index == 0)
    }
  }

  /// Takes over metadata that an administrator gives. The entityID of a relying party never changes by that.
  private func adopt(_ change: RelyingPartyChange, into party: inout RelyingParty) async throws {
    var signer: [UInt8]?
    if let text = change.metadataSigner {
      guard let der = StrictText.base64(text), (try? VerificationKey(certificate: der)) != nil else {
        throw RequestFault.malformed("The pinned certificate must be one X.509 certificate with an RSA or EC key.")
      }
      signer = der
    }
    let metadata: ServiceProviderMetadata
    do {
      if let text = change.metadata {
        guard let document = StrictText.base64(text) else { throw RequestFault.malformed("The metadata did not arrive whole.") }
        metadata = try federation.metadata.read(document, signer: signer)
      } else {
        let url = change.metadataUrl ?? ""
        metadata = try await federation.metadata.fetch(url, signer: signer)
        var source = MetadataSource(url: url, signer: signer)
        source.read = services.now()
        source.tried = services.now()
        source.validUntil = metadata.validUntil
        source.cacheDuration = metadata.cacheDuration
        party.source = source
      }
    } catch let problem as MetadataProblem {
      throw RequestFault.malformed(problem.description.prefix(1).uppercased() + problem.description.dropFirst() + ".")
    }
    if party.entityID.isEmpty { party.entityID = metadata.entityID }
    guard party.entityID.utf8.elementsEqual(metadata.entityID.utf8) else {
      throw RequestFault.conflict(
        "This is the metadata of \(metadata.entityID), and \(party.name) is \(party.entityID). Register the other one with `gatehouse rp add`.")
    }
    party.adopt(metadata)
  }

  private func validName(_ name: String) throws -> String {
    guard isAgentName(name) else {
      throw RequestFault.malformed("A relying party's name is 1 to 64 letters, digits, dots, dashes and underscores.")
    }
    return name
  }

  /// After the host of the entityID or of the consumer service, with a number where that is taken.
  private func freeName(for party: RelyingParty) -> String {
    let host = [party.entityID, party.standardConsumer?.location ?? ""].lazy.compactMap { URLComponents(string: $0)?.host }.first
    let base = String((host ?? "relying-party").filter { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "." || $0 == "-") }.prefix(56))
    let stem = base.isEmpty ? "relying-party" : base
    var name = stem
    var number = 2
    while federation.parties.party(named: name) != nil {
      name = "\(stem)-\(number)"
      number += 1
    }
    return name
  }

  private func apply(_ change: RelyingPartyChange, to party: inout RelyingParty) throws {
    func choose<Value>(_ text: String?, _ what: String, _ known: [String], _ make: (String) -> Value?) throws -> Value? {
      guard let text else { return nil }
      guard let value = make(text) else {
        throw RequestFault.malformed("\"\(text.prefix(64))\" is no \(what). There are: \(known.joined(separator: ", ")).")
      }
      return value
    }
    if let preset = try choose(change.preset, "preset", RelyingPartyPreset.allCases.map(\.rawValue), RelyingPartyPreset.init(rawValue:)) {
      preset.apply(to: &party)
    }
    if let name = change.displayName { party.displayName = name.isEmpty ? nil : String(name.prefix(128)) }
    if let disabled = change.disabled { party.disabled = disabled }
    if change.metadata == nil, change.metadataUrl == nil, let consumers = change.consumers, !party.name.isEmpty {
      party.consumers = try endpoints(consumers)
    }
    if let signed = change.requestsMustBeSigned {
      guard !signed || !party.verificationKeys.isEmpty else {
        throw RequestFault.malformed("\(party.name) has no signing certificate that can be used, so it cannot sign its requests.")
      }
      party.requestsMustBeSigned = signed
    }
    if let parts = try choose(change.signs, "part to sign", SignedParts.allCases.map(\.rawValue), SignedParts.init(rawValue:)) { party.signs = parts }
    if let parts = try choose(change.encrypts, "part to encrypt", EncryptedParts.allCases.map(\.rawValue), EncryptedParts.init(rawValue:)) {
      guard parts == .nothing || party.encryptionCertificates.contains(where: { (try? EncryptionKey(certificate: $0)) != nil }) else {
        throw RequestFault.malformed("\(party.name) has no encryption certificate with an RSA key of 2048 bits or more.")
      }
      party.encrypts = parts
    }
    let algorithms = SignatureAlgorithm.allCases.filter { $0 != .rsaSHA1 && $0 != .ecdsaSHA384 }
    if let algorithm = try choose(
      change.algorithm, "signature algorithm", algorithms.map(\.word),
      { word in SignatureAlgorithm(word: word).flatMap { algorithms.contains($0) ? $0 : nil } })
    {
      party.signatureAlgorithm = algorithm
    }
    if let until = change.acceptsSha1Until {
      let end = Instant(milliseconds: until)
      guard until == 0 || end > services.now() && end.since(services.now()) <= .seconds(400 * 86_400) else {
        throw RequestFault.malformed("An exception for SHA-1 ends between now and 400 days from now.")
      }
      party.acceptsSHA1Until = until == 0 ? nil : end
    }
    let formats = NameIDFormat.allCases.map(\.word)
    if let format = try choose(change.nameId, "format of names", formats, NameIDFormat.init(word:)) { party.nameID.format = format }
    if let allowed = change.allowedNameIds {
      party.nameID.allowed = try allowed.compactMap { try choose($0, "format of names", formats, NameIDFormat.init(word:)) }
    }
    if let source = change.nameIdSource {
      party.nameID.source =
        source.isEmpty
        ? nil : try choose(source, "source of a name", ["an attribute", "$userPrincipalName", "$immutableId", "$objectId"], ClaimSource.init(word:))
    }
    if let claims = change.claims {
      guard claims.count <= ClaimRule.mostRules else {
        throw RequestFault.malformed("A relying party may have at most \(ClaimRule.mostRules) claims.")
      }
      let rules = try claims.map { try $0.rule() }
      let names = rules.map { Array($0.name.utf8) }
      guard Set(names).count == names.count else {
        throw RequestFault.malformed("A claim's name comes twice; give it one line with several sources.")
      }
      party.claims = rules
    }
    if let life = change.tokenLifeSeconds {
      guard (60...86_400).contains(life) else { throw RequestFault.malformed("A token's life is between 60 seconds and 24 hours.") }
      party.tokenLife = life
    }
    if let skew = change.skewSeconds {
      guard (0...300).contains(skew) else { throw RequestFault.malformed("The skew is between 0 and 300 seconds.") }
      party.skew = skew
    }
    if let unsolicited = change.unsolicited { party.allowsUnsolicited = unsolicited }
    if let groups = change.permittedGroups {
      guard groups.count <= 64, groups.allSatisfy({ (1...1024).contains($0.utf8.count) }) else {
        throw RequestFault.malformed("At most 64 groups, each a distinguished name or SID.")
      }
      party.permittedGroups = groups
    }
    try applyTraits(change, to: &party)
  }

  /// How it follows a change of the token-signing certificate.
  private func applyTraits(_ change: RelyingPartyChange, to party: inout RelyingParty) throws {
    var traits = party.rollover ?? RolloverTraits()
    if let owner = change.owner {
      guard owner.utf8.count <= 254 else { throw RequestFault.malformed("A mail address has at most 254 bytes.") }
      traits.owner = owner.isEmpty ? nil : owner
    }
    if let first = change.readsFirstKeyOnly { traits.readsFirstKeyOnly = first }
    if let keeps = change.keepsExpiredKey { traits.keepsExpiredKey = keeps }
    if let domains = change.entraDomains {
      guard domains.count <= 1000, domains.allSatisfy({ (1...253).contains($0.utf8.count) }) else {
        throw RequestFault.malformed("A tenant has at most 1000 domains, each of 1 to 253 bytes.")
      }
      traits.entraDomains = domains
    }
    if let probe = change.probe {
      if probe.url.isEmpty {
        traits.probe = nil
      } else {
        if let problem = EndpointURL.problem(probe.url) { throw RequestFault.malformed("\(probe.url.prefix(256)): \(problem).") }
        guard UserName(probe.user) != nil else { throw RequestFault.malformed("\"\(probe.user.prefix(64))\" is no user name.") }
        traits.probe = ProbeSettings(url: probe.url, user: probe.user, expects: probe.expects.map { String($0.prefix(256)) })
      }
    }
    party.rollover = traits == RolloverTraits() ? nil : traits
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
      let name = XMLName(Vocabulary.assertionNamespace, "Assertion")
      let assertions = root.name == name ? [root] : root.children(name)
      guard !assertions.isEmpty else {
        throw RequestFault.malformed("The document holds no assertion that can be read. An encrypted one is found by the ID of its plain text only.")
      }
      for assertion in assertions {
        guard let id = assertion.attribute("ID") else { continue }
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
