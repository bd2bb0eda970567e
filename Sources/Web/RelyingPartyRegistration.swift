import Bytes
import Cryptography
import Federation
import Foundation
import Identity
import PassThrough
import SAML
import SignIn
import WSFederation

/// From what an administrator wishes to a relying party that can be registered: every value is looked at, and refused with what there is instead.
struct RelyingPartyRegistration: Sendable {
  let federation: SignOnServices
  let now: @Sendable () -> Instant

  func make(_ change: RelyingPartyChange) async throws -> RelyingParty {
    var party = RelyingParty(name: "", entityID: "", consumers: [])
    if change.metadata != nil || change.metadataUrl != nil {
      try await adopt(change, into: &party)
    } else {
      let replies = change.replyAddresses ?? []
      guard let entityID = change.entityId, !(change.consumers ?? []).isEmpty || !replies.isEmpty else {
        throw RequestFault.malformed(
          "Give the relying party's metadata (--metadata FILE or URL), or its --entity-id and at least one --acs URL, or its --realm and at least one --reply URL."
        )
      }
      guard (1...1024).contains(entityID.utf8.count), entityID.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f }) else {
        throw RequestFault.malformed("An entityID has 1 to 1024 bytes without white space.")
      }
      party.entityID = entityID
      party.consumers = try endpoints(change.consumers ?? [])
    }
    RelyingPartyPreset.standard.apply(to: &party)
    party.name = try change.name.map(validName) ?? freeName(for: party)
    try apply(change, to: &party)
    return party
  }

  private func endpoints(
    _ locations: [String], binding: String = Binding.post.rawValue
  ) throws -> [ServiceProviderMetadata.Endpoint] {
    guard locations.count <= 64 else { throw RequestFault.malformed("A relying party may have at most 64 addresses.") }
    return try locations.enumerated().map { index, location in
      if let problem = EndpointURL.problem(location) { throw RequestFault.malformed("\(location.prefix(256)): \(problem).") }
      return ServiceProviderMetadata.Endpoint(
        binding: binding, location: location, index: binding == Binding.post.rawValue ? UInt16(clamping: index) : nil, isDefault: index == 0)
    }
  }

  /// Takes over metadata that an administrator gives. The entityID of a relying party never changes by that.
  func adopt(_ change: RelyingPartyChange, into party: inout RelyingParty) async throws {
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
        source.read = now()
        source.tried = now()
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
    let host = [party.entityID, party.consumers.first?.location ?? ""].lazy.compactMap { URLComponents(string: $0)?.host }.first
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

  func apply(_ change: RelyingPartyChange, to party: inout RelyingParty) throws {
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
      party.consumers = try endpoints(consumers) + party.consumers.filter { $0.binding == WSFederationTraits.binding }
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
      guard until == 0 || end > now() && end.since(now()) <= .seconds(400 * 86_400) else {
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
    try applyPassive(change, to: &party)
    try applyTraits(change, to: &party)
    // Claim types of SAML 1.1 have a rule of their own, which the .NET reader on the other side insists on.
    if party.getsLegacyTokens, let problem = party.claims.lazy.compactMap({ LegacyAssertion.problem(claimType: $0.name) }).first {
      throw RequestFault.malformed(problem.prefix(1).uppercased() + problem.dropFirst() + ". Or give it tokens of SAML 2.0: --token-type saml20.")
    }
  }

  /// How it is served by WS-Federation and WS-Trust.
  private func applyPassive(_ change: RelyingPartyChange, to party: inout RelyingParty) throws {
    func malformed(_ word: String, _ what: String, _ known: [String]) -> RequestFault {
      .malformed("\"\(word.prefix(64))\" is no \(what). There are: \(known.joined(separator: ", ")).")
    }
    if let replies = change.replyAddresses {
      let fresh = try endpoints(replies, binding: WSFederationTraits.binding)
      party.consumers = party.consumers.filter { $0.binding != WSFederationTraits.binding } + fresh
    }
    if let url = change.signOutUrl {
      party.logout.removeAll { $0.binding == WSFederationTraits.binding }
      if !url.isEmpty { party.logout += try endpoints([url], binding: WSFederationTraits.binding) }
    }
    var traits = party.passive
    if let word = change.tokenType {
      guard let type = TokenType(word: word) else { throw malformed(word, "type of token", TokenType.allCases.map(\.word)) }
      traits.tokenType = type
    }
    if let word = change.responseFormat {
      guard let version = TrustVersion(rawValue: word) else { throw malformed(word, "format of responses", TrustVersion.allCases.map(\.rawValue)) }
      traits.responseVersion = version
    }
    if let active = change.active { traits.allowsActive = active }
    if let networks = change.activeNetworks {
      if let problem = FederationSettings.problem(networks: networks) {
        throw RequestFault.malformed(problem.prefix(1).uppercased() + problem.dropFirst() + ".")
      }
      traits.activeNetworks = networks
    }
    if party.wsFederation != nil || traits != WSFederationTraits() { party.wsFederation = traits }
  }

  /// The trust of Entra, new or with more domains. Throws `RequestFault`.
  func entra(_ wish: EntraTrustRequest) throws -> (RelyingParty, isNew: Bool) {
    let domains = try wish.domains.map { text -> String in
      guard let name = RealmName(text), name.text.utf8.contains(UInt8(ascii: ".")) else {
        throw RequestFault.malformed("\"\(text.prefix(64))\" is no domain. Give it without the @, for instance contoso.com.")
      }
      return name.text
    }
    guard !domains.isEmpty, domains.count <= 1000 else { throw RequestFault.malformed("Give 1 to 1000 domains: --domain contoso.com.") }
    let known = federation.parties.party(entityID: RelyingPartyPreset.entraRealm)
    let reply = try endpoints([RelyingPartyPreset.entraReply], binding: WSFederationTraits.binding)
    var party = known ?? RelyingParty(name: "", entityID: RelyingPartyPreset.entraRealm, consumers: reply)
    if known == nil {
      RelyingPartyPreset.entraWSFederation.apply(to: &party)
      party.name = try validName(wish.name ?? "entra")
      party.displayName = "Microsoft 365"
    }
    if let attribute = wish.alternateId {
      guard let source = ClaimSource(word: attribute) else { throw RequestFault.malformed("\"\(attribute.prefix(64))\" is no attribute's name.") }
      let type = "http://schemas.microsoft.com/ws/2013/11/alternateloginid"
      party.claims.removeAll { $0.name == type }
      party.claims.append(ClaimRule(name: type, sources: [source]))
    }
    var traits = party.passive
    var rollover = party.rollover ?? RolloverTraits()
    for domain in domains where !traits.issuers.contains(where: { $0.domain == domain }) { traits.issuers.append(DomainIssuer(entra: domain)) }
    for domain in domains where !rollover.entraDomains.contains(domain) { rollover.entraDomains.append(domain) }
    (party.wsFederation, party.rollover) = (traits, rollover)
    return (party, known == nil)
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
}
