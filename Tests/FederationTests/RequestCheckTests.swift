import Bytes
import Cryptography
import GatehouseTesting
import Identity
import SAML
import Testing
import XMLSecurity

@testable import Federation

/// Every rule of `RequestCheck`: a request that breaks it, and one that does not.
@Suite struct `Checks of a request` {
  /// The checks that failed, and the status where the relying party is told.
  private struct Outcome: Equatable {
    var failed: [RequestCheck]
    var status: Status?
    var isToldToParty = false

    static let passed = Outcome(failed: [])
    static func here(_ failed: RequestCheck...) -> Outcome { Outcome(failed: failed) }
    static func told(_ failed: RequestCheck, _ code: Status.Code, _ detail: Status.Detail) -> Outcome {
      Outcome(failed: [failed], status: Status(code, detail), isToldToParty: true)
    }
  }

  private let now = Instant(milliseconds: 1_795_000_000_000)
  private let provider: TestServiceProvider
  private var party: RelyingParty

  init() throws {
    provider = try TestServiceProvider("wiki", now: now)
    party = provider.registration("wiki")
  }

  private func outcome(_ message: ReceivedMessage, _ party: RelyingParty?, keys: [DecryptionKey] = []) throws -> Outcome {
    let checks = RequestChecks(endpoint: House.signOnURL, ownEntityID: House.entityID, decryptionKeys: keys, now: now)
    switch checks.check(message, party: party, claimedIssuer: try message.claimedIssuer) {
    case .passed: return .passed
    case .refusedHere(let failures, _):
      #expect(failures.allSatisfy { !$0.detail.isEmpty && !$0.check.clause.isEmpty })
      return Outcome(failed: failures.map(\.check))
    case .answered(let status, let failures, _, let consumer, let request, _):
      #expect(consumer.binding == Binding.post.rawValue && request == "_request")
      return Outcome(failed: failures.map(\.check), status: Status(status.code, status.detail), isToldToParty: true)
    }
  }

  private func message(
    attributes: String = "", content: String = "", destination: String? = House.signOnURL, version: String = "2.0", age: Duration = .zero,
    signs: Bool = true
  ) throws -> ReceivedMessage {
    let document = provider.message(
      "AuthnRequest", at: now.adding(.zero - age), destination: destination, version: version, attributes: attributes, content: content)
    return try ReceivedMessage(query: try provider.redirect(document, signs: signs))
  }

  private func check(_ attributes: String = "", content: String = "", signs: Bool = true) throws -> Outcome {
    try outcome(try message(attributes: attributes, content: content, signs: signs), party)
  }

  @Test func `sender.known, sender.enabled`() throws {
    #expect(try outcome(try message(), nil) == .here(.senderKnown))
    var disabled = party
    disabled.disabled = true
    #expect(try outcome(try message(), disabled) == .here(.senderEnabled))
    #expect(try outcome(try message(), party) == .passed)
  }

  @Test func `signature.present, where the registration wants it`() throws {
    var strict = party
    strict.requestsMustBeSigned = true
    #expect(try outcome(try message(signs: false), strict) == .here(.signaturePresent))
    #expect(try outcome(try message(), strict) == .passed)
    #expect(try outcome(try message(signs: false), party) == .passed)
  }

  @Test func `signature.holds, by Redirect and by POST, under a key of this sender only`() throws {
    let other = try TestServiceProvider("other", now: now)
    var stranger = party
    stranger.signingCertificates = [other.certificate]
    #expect(try outcome(try message(), stranger) == .here(.signatureHolds))
    stranger.signingCertificates = []
    #expect(try outcome(try message(), stranger) == .here(.signatureHolds))
    // Any one of several, as in a rollover.
    stranger.signingCertificates = [other.certificate, provider.certificate]
    #expect(try outcome(try message(), stranger) == .passed)
    let document = provider.message("AuthnRequest", at: now, destination: House.signOnURL)
    let posted = try ReceivedMessage(form: provider.post(try provider.signed(document)))
    #expect(try outcome(posted, party) == .passed)
    let forged = try ReceivedMessage(form: provider.post(try other.signed(document)))
    #expect(try outcome(forged, party) == .here(.signatureHolds))
    // A signature inside of a redirected message does not count, and does not pass for none.
    let inside = try ReceivedMessage(query: try provider.redirect(String(decoding: try provider.signed(document), as: UTF8.self), signs: false))
    #expect(try outcome(inside, party) == .here(.signatureHolds))
  }

  @Test func `signature.holds, by SHA-1 while there is an exception`() throws {
    let rsa = try TestServiceProvider("old", kind: .rsa2048, now: now)
    let document = rsa.message("AuthnRequest", at: now, destination: House.signOnURL)
    let message = try ReceivedMessage(query: try rsa.redirect(document, algorithm: .rsaSHA1))
    var old = rsa.registration("old")
    #expect(try outcome(message, old) == .here(.signatureHolds))
    old.acceptsSHA1Until = now
    #expect(try outcome(message, old) == .here(.signatureHolds))
    old.acceptsSHA1Until = now.adding(.milliseconds(1))
    #expect(try outcome(message, old) == .passed)
  }

  @Test func `structure`() throws {
    #expect(try check(" ForceAuthn=\"yes\"") == .here(.structure))
    #expect(try check(content: "<x/>") == .here(.structure))
    let other = try ReceivedMessage(query: try provider.redirect(provider.message("ArtifactResolve", at: now, destination: House.signOnURL)))
    #expect(try outcome(other, party) == .here(.structure))
  }

  @Test func `sender.same, byte by byte`() throws {
    // The registration was found by one name and the message was signed under another.
    var renamed = party
    renamed.entityID = provider.entityID + "/"
    #expect(try outcome(try message(), renamed) == .here(.sameSender))
    renamed.entityID = provider.entityID.uppercased()
    #expect(try outcome(try message(), renamed) == .here(.sameSender))
  }

  static let otherDestinations = [
    "http://idp.example/adfs/ls/", "https://idp.example/adfs/ls", "https://idp.example/adfs/ls/?", "https://idp.example:443/adfs/ls/",
    "https://IDP.example/adfs/ls/",
    "https://idp.example/adfs/LS/", "https://other.example/adfs/ls/", "", "https://idp.example/adfs/ls/\u{301}", "https://idp.example/saml/logout",
    " https://idp.example/adfs/ls/",
  ]

  @Test(arguments: otherDestinations) func `destination is ours, to the byte`(_ destination: String) throws {
    #expect(try outcome(try message(destination: destination), party) == .here(.destination))
    #expect(try outcome(try message(destination: destination, signs: false), party) == .here(.destination))
  }

  @Test func `destination is named where the request is signed`() throws {
    #expect(try outcome(try message(destination: nil), party) == .here(.destination))
    #expect(try outcome(try message(destination: nil, signs: false), party) == .passed)
  }

  @Test(arguments: [(179, true), (180, true), (181, false), (-179, true), (-180, true), (-181, false), (86_400, false), (-86_400, false)])
  func `fresh, to three minutes either way`(_ seconds: Int, _ passes: Bool) throws {
    #expect(try outcome(try message(age: .seconds(seconds)), party) == (passes ? .passed : .here(.fresh)))
    // Who can forge a request can forge its time; and a bookmark may be old.
    #expect(try outcome(try message(age: .seconds(seconds), signs: false), party) == .passed)
  }

  /// B2.1: none of these is the registered URL, whatever a browser makes of it.
  static let otherConsumers = [
    "https://evil.example/", "https://wiki.example@evil.example/acs", "https://wiki.example\\@evil.example/acs",
    "https://wiki.example.evil.example/acs", "https://wiki.example./acs",
    "https://wiki.example/ACS", "https://WIKI.example/acs", "https://wiki.example//acs", "https://wiki.example/../acs",
    "https://wiki.example/acs/../evil", "https://wiki.example/acs?",
    "https://wiki.example/acs?x=1", "https://wiki.example:443/acs", "https://wiki.example:8443/acs", "https://wiki.example/acs#f",
    "https://wiki\u{ff0e}example/acs",
    "https://w\u{456}ki.example/acs", "javascript:alert(1)", "http://wiki.example/acs", "//wiki.example/acs", "/acs", "", "https://wiki.example/acs ",
    " https://wiki.example/acs",
    "https://wiki.example/acs%20", "https://wiki.example/%61cs", "https://wiki.example/acs\u{301}", "https://wiki.example/ac\u{338}s",
    "https://wiki.example/acs/", "HTTPS://wiki.example/acs",
    "data:text/html,x", "https://wiki.example/acs\u{200b}", "https:/wiki.example/acs", "https://wiki.example/ac",
  ]

  @Test(arguments: otherConsumers) func `consumer.registered, byte by byte`(_ url: String) throws {
    for signs in [true, false] {
      for binding in ["", " ProtocolBinding=\"\(Binding.post.rawValue)\"", " ProtocolBinding=\"\(Binding.artifact.rawValue)\""] {
        #expect(try check(" AssertionConsumerServiceURL=\"\(url)\"\(binding)", signs: signs) == .here(.consumerRegistered))
      }
    }
  }

  @Test func `consumer.registered, by URL, by index, and the standard one`() throws {
    for attributes in [
      " AssertionConsumerServiceURL=\"https://wiki.example/acs\"", " AssertionConsumerServiceURL=\"https://wiki.example/acs?second=1\"",
      " AssertionConsumerServiceIndex=\"0\"",
      " AssertionConsumerServiceIndex=\"1\"", "", " ProtocolBinding=\"\(Binding.post.rawValue)\"",
    ] { #expect(try check(attributes) == .passed) }
    for index in [3, 65_535] { #expect(try check(" AssertionConsumerServiceIndex=\"\(index)\"") == .here(.consumerRegistered)) }
    var none = party
    none.consumers = [.init(binding: Binding.artifact.rawValue, location: "https://wiki.example/artifact", index: 2)]
    for attributes in ["", " ProtocolBinding=\"\(Binding.post.rawValue)\""] {
      #expect(try outcome(try message(attributes: attributes), none) == .here(.consumerRegistered))
    }
    // With no consumer that can be posted to, not even an error can be sent.
    #expect(try outcome(try message(attributes: " AssertionConsumerServiceIndex=\"2\""), none) == .here(.binding))
  }

  @Test(arguments: [
    " ProtocolBinding=\"\(Binding.artifact.rawValue)\"", " ProtocolBinding=\"\(Binding.redirect.rawValue)\"",
    " ProtocolBinding=\"\(Binding.paos.rawValue)\"", " ProtocolBinding=\"urn:x\"",
    " AssertionConsumerServiceURL=\"https://wiki.example/acs\" ProtocolBinding=\"\(Binding.artifact.rawValue)\"",
    " AssertionConsumerServiceIndex=\"2\"",
    " AssertionConsumerServiceURL=\"https://wiki.example/artifact\"",
  ]) func `binding is HTTP-POST`(_ attributes: String) throws { #expect(try check(attributes) == .told(.binding, .responder, .unsupportedBinding)) }

  @Test func `version is 2.0`() throws {
    #expect(try outcome(try message(version: "2.1"), party) == .told(.version, .versionMismatch, .requestVersionTooHigh))
    #expect(try outcome(try message(version: "1.1"), party) == .told(.version, .versionMismatch, .requestVersionTooLow))
  }

  @Test func `passive and forced at once cannot be done`() throws {
    #expect(try check(" IsPassive=\"true\" ForceAuthn=\"true\"") == .told(.passive, .responder, .noPassive))
    #expect(try check(" IsPassive=\"true\"") == .passed)
    #expect(try check(" ForceAuthn=\"true\"") == .passed)
  }

  private static let classes = [
    "transport": AuthnContextClass.passwordProtectedTransport, "password": AuthnContextClass.password, "unspecified": AuthnContextClass.unspecified,
    "tls": AuthnContextClass.tlsClient,
    "x509": AuthnContextClass.x509, "kerberos": AuthnContextClass.kerberos, "windows": AuthnContextClass.windows,
  ]

  /// Comparison, the classes asked for, and the one that is stated; nil: NoAuthnContext.
  static let contexts: [(String, [String], String?)] = [
    ("exact", ["transport"], "transport"), ("exact", ["password"], "password"), ("exact", ["unspecified"], "unspecified"),
    ("exact", ["x509", "password", "transport"], "password"),
    ("exact", ["x509"], nil), ("exact", ["kerberos", "windows"], nil), ("exact", ["urn:x"], nil), ("", ["transport"], "transport"),
    ("minimum", ["password"], "transport"),
    ("minimum", ["transport"], "transport"), ("minimum", ["x509"], nil), ("minimum", ["x509", "password"], "transport"), ("minimum", ["urn:x"], nil),
    ("better", ["password"], "transport"),
    ("better", ["transport"], nil), ("better", ["password", "transport"], nil), ("better", ["password", "urn:x"], nil),
    ("maximum", ["transport"], "transport"),
    ("maximum", ["x509"], "transport"), ("maximum", ["password"], "password"), ("maximum", ["unspecified"], "unspecified"),
    ("maximum", ["unspecified", "password"], "password"),
    ("maximum", ["urn:x"], nil),
  ]

  @Test(arguments: contexts) func `authn-context is one that a password over TLS is`(_ comparison: String, _ names: [String], _ expected: String?)
    throws
  {
    let list = names.map { "<saml:AuthnContextClassRef>\(Self.classes[$0] ?? $0)</saml:AuthnContextClassRef>" }.joined()
    let attribute = comparison.isEmpty ? "" : " Comparison=\"\(comparison)\""
    let message = try message(content: "<samlp:RequestedAuthnContext\(attribute)>\(list)</samlp:RequestedAuthnContext>")
    let checks = RequestChecks(endpoint: House.signOnURL, ownEntityID: House.entityID, decryptionKeys: [], now: now)
    if case .passed(let request) = checks.check(message, party: party, claimedIssuer: provider.entityID) {
      #expect(expected.flatMap { Self.classes[$0] } == request.contextClass)
    } else {
      #expect(expected == nil)
      #expect(try outcome(message, party) == .told(.authnContext, .responder, .noAuthnContext))
    }
  }

  @Test func `authn-context by declaration is not offered`() throws {
    let content = "<samlp:RequestedAuthnContext><saml:AuthnContextDeclRef>d</saml:AuthnContextDeclRef></samlp:RequestedAuthnContext>"
    #expect(try check(content: content) == .told(.authnContext, .responder, .noAuthnContext))
  }

  private func policy(_ attributes: String) -> String { "<samlp:NameIDPolicy \(attributes)/>" }

  @Test func `name-format is one that is made and allowed`() throws {
    for format in NameIDFormat.allCases { #expect(try check(content: policy("Format=\"\(format.rawValue)\"")) == .passed) }
    for uri in [
      "urn:oasis:names:tc:SAML:2.0:nameid-format:kerberos", NameIDFormat.entity, "urn:x", "", NameIDFormat.persistent.rawValue.uppercased(),
      NameIDFormat.persistent.rawValue + " ",
    ] {
      #expect(try check(content: policy("Format=\"\(uri)\"")) == .told(.nameFormat, .requester, .invalidNameIDPolicy))
    }
    var narrow = party
    narrow.nameID = NameIDRule(format: .emailAddress, allowed: [.transient])
    func narrowly(_ format: NameIDFormat) throws -> Outcome { try outcome(try message(content: policy("Format=\"\(format.rawValue)\"")), narrow) }
    #expect(try narrowly(.persistent) == .told(.nameFormat, .requester, .invalidNameIDPolicy))
    for format in [NameIDFormat.emailAddress, .transient, .unspecified] { #expect(try narrowly(format) == .passed) }
    let encrypted = policy("Format=\"\(NameIDFormat.encrypted)\"")
    #expect(try outcome(try message(content: encrypted), party) == .told(.nameFormat, .requester, .invalidNameIDPolicy))
    var encrypting = party
    encrypting.encryptionCertificates = [provider.certificate]
    #expect(try outcome(try message(content: encrypted), encrypting) == .passed)
  }

  @Test func `name-qualifier is the sender's own`() throws {
    #expect(try check(content: policy("SPNameQualifier=\"\(provider.entityID)\"")) == .passed)
    for other in ["https://other.example/metadata", "", provider.entityID.uppercased()] {
      #expect(try check(content: policy("SPNameQualifier=\"\(other)\"")) == .told(.nameQualifier, .requester, .invalidNameIDPolicy))
    }
  }

  @Test func `subject.readable`() throws {
    let key = try DecryptionKey.generate()
    func subject(_ key: DecryptionKey) throws -> ReceivedMessage {
      let data = try XMLEncryption.encrypt(try NameID("alice@contoso.com").bytes(), to: try EncryptionKey(key.publicKey), certificate: nil)
      return try message(content: "<saml:Subject><saml:EncryptedID>\(String(decoding: data, as: UTF8.self))</saml:EncryptedID></saml:Subject>")
    }
    #expect(try outcome(try subject(key), party, keys: [key]) == .passed)
    #expect(try outcome(try subject(try DecryptionKey.generate()), party, keys: [key]) == .told(.subjectReadable, .requester, .unknownPrincipal))
    #expect(try check(content: "<saml:Subject><saml:NameID>alice</saml:NameID></saml:Subject>") == .passed)
  }

  @Test func `scope has us in its list`() throws {
    func scoping(_ ids: [String]) -> String {
      "<samlp:Scoping ProxyCount=\"0\"><samlp:IDPList>\(ids.map { "<samlp:IDPEntry ProviderID=\"\($0)\"/>" }.joined())</samlp:IDPList></samlp:Scoping>"
    }
    #expect(try check(content: scoping(["https://other.example", House.entityID])) == .passed)
    #expect(try check(content: "<samlp:Scoping ProxyCount=\"0\"/>") == .passed)
    for ids in [["https://other.example"], [House.entityID.uppercased()], [House.entityID + "/"]] {
      #expect(try check(content: scoping(ids)) == .told(.scope, .responder, .noSupportedIDP))
    }
  }

  @Test func `not-repeated is seen by the service`() async throws {
    let house = try await House()
    let provider = try await house.register()
    let session = try await house.session()
    let message = try house.request(provider)
    #expect(try await house.answer(message, session).assertion != nil)
    #expect(refusal(await house.signOn.receive(message, session: session, browser: House.otherBrowser)) == .repeated)
  }

  @Test func `collect all that fail`() throws {
    let message = try message(attributes: " AssertionConsumerServiceIndex=\"9\"", destination: "https://other.example/", age: .seconds(1000))
    #expect(try outcome(message, party) == .here(.destination, .fresh, .consumerRegistered))
    let told = try outcome(
      try self.message(attributes: " IsPassive=\"true\" ForceAuthn=\"true\"", content: policy("Format=\"urn:x\" SPNameQualifier=\"urn:y\"")), party)
    #expect(Set(told.failed) == [.passive, .nameFormat, .nameQualifier])
    #expect(told.isToldToParty)
  }

  @Test func `have a name and a clause each`() {
    #expect(Set(RequestCheck.allCases.map(\.rawValue)).count == RequestCheck.allCases.count)
    #expect(RequestCheck.allCases.allSatisfy { !$0.clause.isEmpty })
  }
}
