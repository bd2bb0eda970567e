import Bytes
import Cryptography
import Foundation
import GatehouseTesting
import Identity
import SAML
import Testing
import WSFederation
import XMLSecurity

@testable import Federation

/// Tokens for WS-Federation, made over a store in memory.
@Suite struct `A security token` {
  private static let realm = "urn:federation:MicrosoftOnline"
  private static let reply = "https://login.example/login.srf"

  private func register(_ house: House, _ change: (inout RelyingParty) -> Void = { _ in }) async throws {
    var party = RelyingParty(
      name: "entra", entityID: Self.realm, consumers: [.init(binding: WSFederationTraits.binding, location: Self.reply, isDefault: true)])
    RelyingPartyPreset.entraWSFederation.apply(to: &party)
    change(&party)
    try await house.store.add(party, audit: [])
    try await house.parties.refresh()
  }

  private func request(_ parameters: String = "") throws -> PassiveRequest {
    try PassiveRequest(try FormFields(Array("wa=wsignin1.0&wtrealm=\(FormFields.encode(Self.realm))\(parameters)".utf8)))
  }

  private func person(_ name: String = "alice@contoso.com", expires: Instant? = nil) throws -> AcceptedPerson {
    AcceptedPerson(
      object: DirectoryObject(realm: try #require(RealmName("contoso.com")), id: try #require(Identifier(bytes: [UInt8](repeating: 1, count: 16)))),
      immutableID: "aW1tdXRhYmxl", userPrincipalName: name, attributes: [:], groups: [], passwordExpires: expires)
  }

  private func answer(_ house: House, _ session: Session, visit: VisitFacts = VisitFacts()) async throws -> XMLElement {
    let step = await house.signOn.receive(try request(), session: session, browser: House.browser, visit: visit)
    guard case .post(let form) = step else { throw Answer.None(step: "\(step)") }
    let result = try #require(form.fields.first { $0.name == "wresult" }).value
    return try XMLElement.parse(Array(result.utf8), limits: .message)
  }

  private func all(_ element: XMLElement, _ local: String) -> [XMLElement] {
    element.elements.flatMap { ($0.name.local == local ? [$0] : []) + all($0, local) }
  }

  /// Claim types with their values, as a reader of SAML 1.1 puts them together.
  private func claims(_ response: XMLElement) throws -> [String: [String]] {
    var claims: [String: [String]] = [:]
    for attribute in all(response, "Attribute") {
      let type = "\(attribute.attribute("AttributeNamespace") ?? "")/\(attribute.attribute("AttributeName") ?? "")"
      claims[type] = try attribute.elements.map { try $0.text() }
    }
    return claims
  }

  private func refusal(_ house: House, _ session: Session) async throws -> PageRefusal.Reason {
    let step = await house.signOn.receive(try request(), session: session, browser: House.browser)
    guard case .refused(let refusal) = step else { throw Answer.None(step: "\(step)") }
    return refusal.reason
  }

  @Test func `for Entra has every claim that it reads, each where it belongs`() async throws {
    let house = try await House()
    try await register(house) { $0.wsFederation = WSFederationTraits.bound("contoso.com") }
    var settings = house.identity.settings
    settings.corporateNetworks = ["10.0.0.0/8"]
    house.identity.adopt(settings)
    let ends = house.time.now.adding(.seconds(5 * 86_400 + 60))
    let session = try await house.session(try person(expires: ends))
    let response = try await answer(house, session, visit: VisitFacts(address: IPAddress("10.1.2.3")))
    let assertion = try #require(all(response, "Assertion").first)
    #expect(assertion.attribute("Issuer") == "http://contoso.com/adfs/services/trust/")
    #expect(try all(assertion, "NameIdentifier").map { try $0.text() } == ["aW1tdXRhYmxl", "aW1tdXRhYmxl"])
    #expect(try all(assertion, "Audience").first?.text() == Self.realm)
    let statement = try #require(all(assertion, "AuthenticationStatement").first)
    #expect(statement.attribute("AuthenticationMethod") == LegacyAssertion.passwordMethod)
    #expect(statement.attribute("AuthenticationInstant") == session.authenticated.description)
    #expect(
      try claims(response) == [
        "http://schemas.xmlsoap.org/claims/UPN": ["alice@contoso.com"],
        "http://schemas.microsoft.com/LiveID/Federation/2008/05/ImmutableID": ["aW1tdXRhYmxl"],
        "http://schemas.microsoft.com/ws/2012/01/insidecorporatenetwork": ["true"],
        "http://schemas.microsoft.com/claims/authnmethodsreferences": [LegacyAssertion.passwordMethod],
        "http://schemas.microsoft.com/ws/2012/01/passwordexpirationtime": [ends.description],
        "http://schemas.microsoft.com/ws/2012/01/passwordexpirationdays": ["5"],
        "http://schemas.microsoft.com/ws/2012/01/passwordchangeurl": ["https://idp.example/change-password"],
        "http://schemas.microsoft.com/ws/2012/01/accounttype": ["User"],
      ])
    var kept = session
    kept.isKept = true
    let outside = try claims(try await answer(house, kept, visit: VisitFacts(address: IPAddress("192.0.2.1"))))
    #expect(outside["http://schemas.microsoft.com/ws/2012/01/insidecorporatenetwork"] == ["false"])
    #expect(outside["http://schemas.microsoft.com/2014/03/psso"] == ["true"])
    let unknown = try claims(try await answer(house, session))
    #expect(unknown["http://schemas.microsoft.com/ws/2012/01/insidecorporatenetwork"] == ["false"])
    // Of a token, and of every other, the audit keeps what it says of its issuer.
    #expect(await house.events(.tokenIssued).allSatisfy { $0.details["issuer"] == "http://contoso.com/adfs/services/trust/" })
  }

  @Test func `says nothing of a password that ends later than in two weeks, never, or has ended`() async throws {
    let house = try await House()
    try await register(house)
    for ends in [nil, house.time.now.adding(.seconds(15 * 86_400)), house.time.now.adding(.seconds(-1))] {
      let session = try await house.session(try person(expires: ends), digest: UInt8.random(in: 2...255))
      let told = try claims(try await answer(house, session))
      #expect(!told.keys.contains { $0.contains("password") }, "\(told)")
    }
  }

  @Test(
    "has the issuer of the person's own domain, or is none",
    arguments: [
      ("alice@contoso.com", "http://contoso.com/adfs/services/trust/"), ("alice@CONTOSO.com", "http://contoso.com/adfs/services/trust/"),
      ("alice@emea.contoso.com", "http://contoso.com/adfs/services/trust/"),
      ("alice@asia.contoso.com", "http://asia.contoso.com/adfs/services/trust/"),
      ("alice@tokyo.asia.contoso.com", "http://asia.contoso.com/adfs/services/trust/"), ("alice@evilcontoso.com", nil), ("alice@fabrikam.com", nil),
      ("alice@contoso.com.evil.example", nil), ("alice", nil), ("alice@contoso.com@evil.example", nil),
    ] as [(String, String?)])
  func issuer(name: String, expected: String?) async throws {
    let house = try await House()
    try await register(house) { $0.wsFederation = WSFederationTraits.bound("asia.contoso.com", "contoso.com") }
    let session = try await house.session(try person(name))
    if let expected {
      let response = try await answer(house, session)
      #expect(all(response, "Assertion").first?.attribute("Issuer") == expected)
    } else {
      #expect(try await refusal(house, session) == .noToken)
      let row = try #require(await house.events(.tokenRefused).last)
      #expect(row.trace.contains { $0.detail.contains("add-entra --domain") })
    }
  }

  @Test func `is not made of a claim type that SAML 1.1 cannot carry, and the audit names the rule`() async throws {
    let house = try await House()
    try await register(house) { $0.claims = [ClaimRule(name: "urn:oid:0.9.2342", sources: [.userPrincipalName])] }
    #expect(try await refusal(house, try await house.session()) == .noToken)
    #expect(try #require(await house.events(.tokenRefused).last).trace.contains { $0.detail.contains("slash") })
  }

  @Test func `is encrypted for whoever wants that, in the way of its kind`() async throws {
    let house = try await House()
    let key = [try TestServiceProvider("key", kind: .rsa2048, now: house.time.now).certificate]
    for (type, element) in [(TokenType.saml11, "EncryptedData"), (.saml20, "EncryptedAssertion")] {
      try await register(house) { party in
        party.name = "a\(type.word)"
        party.entityID = Self.realm
        party.encryptionCertificates = key
        party.encrypts = .assertion
        var traits = WSFederationTraits()
        traits.tokenType = type
        party.wsFederation = traits
      }
      let response = try await answer(house, try await house.session(digest: UInt8.random(in: 2...255)))
      #expect(all(response, "Assertion").isEmpty)
      #expect(all(response, "RequestedSecurityToken").first?.elements.map(\.name.local) == [element])
      try await house.store.remove(relyingParty: try house.party("a\(type.word)").id, audit: [])
      try await house.parties.refresh()
    }
  }

  @Test func `goes to nobody who is not permitted, and not past a session that has ended`() async throws {
    let house = try await House()
    try await register(house) { $0.permittedGroups = ["CN=Board,DC=contoso,DC=com"] }
    let session = try await house.session()
    #expect(try await refusal(house, session) == .notPermitted)
    try await house.change("entra") { $0.permittedGroups = [] }
    _ = try await house.store.end(session: session.digest, audit: [])
    let step = await house.signOn.receive(try request(), session: session, browser: House.browser)
    guard case .signIn = step else { throw Answer.None(step: "\(step)") }
  }

  @Test func `is shown beforehand, without being issued`() async throws {
    let house = try await House()
    try await register(house)
    let bytes = try await house.signOn.preview(try house.party("entra"), person: try person())
    let assertion = try XMLElement.parse(bytes, limits: .message)
    #expect(assertion.name == XMLName(FederationVocabulary.legacyAssertion, "Assertion") && all(assertion, "Signature").isEmpty)
    #expect(await house.events(.tokenIssued).isEmpty)
  }

  @Test func `counts answers at a browser by relying party, in a cookie that says nothing else`() throws {
    let now = Instant(milliseconds: 1_795_000_000_000)
    let (party, other) = (Identifier(), Identifier())
    var answers = RecentAnswers()
    for second in 0..<RecentAnswers.most {
      #expect(!answers.isLoop(party, now: now))
      answers.note(party, now: now.adding(.seconds(Int64(second))))
      answers = RecentAnswers(answers.text, now: now.adding(.seconds(Int64(second))))
    }
    let later = now.adding(.seconds(Int64(RecentAnswers.most - 1)))
    #expect(answers.isLoop(party, now: later) && !answers.isLoop(other, now: later))
    #expect(!answers.isLoop(party, now: now.adding(.seconds(21))))
    for _ in 0..<100 { answers.note(Identifier(), now: later) }
    #expect(answers.text.utf8.count < 1024)
    for text in ["", ".", "-", "zz", "12345678", "12345678-", "12345678-x", "12345678-9223372036854775807", "12345678--9223372036854775808", "💥-1"] {
      #expect(!RecentAnswers(text, now: now).isLoop(party, now: now))
    }
  }
}

extension WSFederationTraits {
  fileprivate static func bound(_ domains: String...) -> WSFederationTraits {
    var traits = WSFederationTraits()
    traits.issuers = domains.map(DomainIssuer.init(entra:))
    return traits
  }
}

/// Sign-out where both kinds of relying parties take part.
@Suite struct `Signing out by WS-Federation` {
  private func register(_ house: House, _ name: String) async throws {
    let party = RelyingParty(
      name: name, entityID: "urn:\(name)",
      consumers: [.init(binding: WSFederationTraits.binding, location: "https://\(name).example/", isDefault: true)])
    try await house.store.add(party, audit: [])
    try await house.parties.refresh()
  }

  private func ask(_ text: String) throws -> PassiveRequest { try PassiveRequest(try FormFields(Array(text.utf8))) }

  @Test func `ends the session, tells SAML's first, and leaves the others to the last page`() async throws {
    let house = try await House()
    let wiki = try await house.register()
    try await register(house, "portal")
    let session = try await house.session()
    _ = try await house.answer(try house.request(wiki), session)
    guard
      case .post = await house.signOn.receive(
        try ask("wa=wsignin1.0&wtrealm=urn:portal"), session: session, browser: House.browser)
    else { throw Answer.None(step: "no token") }
    let step = await house.logout.receive(try ask("wa=wsignout1.0&wtrealm=urn:portal&wreply=https://portal.example/"), session: session)
    #expect(try await house.store.session(digest: session.digest, now: house.time.now) == nil)
    guard case .away(let url, let transaction) = step else { throw Answer.None(step: "\(step)") }
    #expect(url.hasPrefix("https://wiki.example"))
    // Whoever does not come back is named; the others are told all the same.
    guard case .done(let end) = await house.logout.skip(transaction) else { throw Answer.None(step: "no end") }
    #expect(end.cleanUps == [.init(party: "portal", url: "https://portal.example/?wa=wsignoutcleanup1.0")])
    #expect(end.failed.count == 1 && end.onward == .url("https://portal.example/"))
  }

  @Test func `goes nowhere but to an address of the realm that is named`() async throws {
    let house = try await House()
    try await register(house, "portal")
    try await register(house, "shop")
    for (text, isRight) in [
      ("wa=wsignout1.0&wreply=https://shop.example/", true), ("wa=wsignout1.0&wtrealm=urn:shop&wreply=https://shop.example/", true),
      ("wa=wsignout1.0&wtrealm=urn:portal&wreply=https://shop.example/", false), ("wa=wsignoutcleanup1.0&wreply=https://evil.example/", false),
      ("wa=wsignout1.0&wtrealm=urn:nobody&wreply=https://shop.example/", false),
    ] {
      let session = try await house.session(digest: UInt8.random(in: 2...255))
      let step = await house.logout.receive(try ask(text), session: session)
      if isRight {
        guard case .redirect("https://shop.example/") = step else { throw Answer.None(step: "\(text): \(step)") }
      } else {
        guard case .refused(let refusal) = step else { throw Answer.None(step: "\(text): \(step)") }
        #expect(refusal.reason == .consumerNotRegistered)
        #expect(try await house.store.session(digest: session.digest, now: house.time.now) != nil)
      }
    }
  }
}
