import Bytes
import Cryptography
import Federation
import Foundation
import GatehouseTesting
import Identity
import SAML
import SignIn
import Testing
import WSFederation
import XMLSecurity

@testable import Web

/// WS-Federation at a browser, over the real listener and the scripted validator.
@Suite struct `Signing on by WS-Federation` {
  private static let realm = "urn:portal"
  private static let reply = "https://portal.example/_trust/"
  private static let other = "https://portal.example/other"

  private func register(_ gateway: LiveGateway, _ change: (inout RelyingParty) -> Void = { _ in }) async throws {
    var party = RelyingParty(
      name: "portal", entityID: Self.realm,
      consumers: [
        .init(binding: WSFederationTraits.binding, location: Self.reply, isDefault: true),
        .init(binding: WSFederationTraits.binding, location: Self.other),
      ])
    RelyingPartyPreset.wsFederation.apply(to: &party)
    party.displayName = "Portal <b>"
    change(&party)
    try await gateway.store.add(party, audit: [])
    try await gateway.federation.parties.refresh()
  }

  private func target(_ parameters: [(String, String)] = [], action: String = "wsignin1.0", realm: String? = Self.realm) -> String {
    let all = [("wa", action)] + (realm.map { [("wtrealm", $0)] } ?? []) + parameters
    return "/adfs/ls/?" + all.map { "\($0.0)=\(FormFields.encode($0.1))" }.joined(separator: "&")
  }

  private func signIn(_ browser: inout BrowserForTests, _ target: String) async throws -> RawAnswer {
    let page = try await browser.get(target)
    let transaction = try #require(page.field("transaction"))
    return try await browser.follow(
      try await browser.post("/sign-in", [("transaction", transaction), ("userName", "alice@contoso.com"), ("password", "right")]))
  }

  /// The token in what a page posts.
  private func token(_ answer: RawAnswer) throws -> XMLElement {
    let response = try XMLElement.parse(Array(try #require(answer.field("wresult")).utf8), limits: .message)
    return try #require(IssuedDocument.assertions(in: response).first)
  }

  private func elements(_ element: XMLElement, _ local: String) -> [XMLElement] {
    element.elements.flatMap { ($0.name.local == local ? [$0] : []) + elements($0, local) }
  }

  @Test func `leads over the page to a token in the answer, with the context as it came and only where it came`() async throws {
    try await withGateway { gateway async throws in
      try await register(gateway)
      var browser = BrowserForTests(gateway)
      let context = "rm=0&id=passive&ru=%2f<>\"'\u{338}é"
      let answer = try await signIn(&browser, target([("wctx", context), ("wct", "2026-11-27T10:00:00Z"), ("unknown", "x")]))
      #expect(answer.status == 200 && answer.action == Self.reply && answer.field("wa") == "wsignin1.0")
      #expect(Array(try #require(answer.field("wctx")).utf8) == Array(context.utf8))
      let assertion = try token(answer)
      #expect(assertion.name == XMLName(FederationVocabulary.legacyAssertion, "Assertion"))
      #expect(try elements(assertion, "Audience").first?.text() == Self.realm)
      #expect(assertion.attribute("Issuer") == gateway.federation.identity.entityID)
      #expect(try elements(assertion, "NameIdentifier").first?.text() == "alice@contoso.com")
      #expect(elements(assertion, "AuthenticationStatement").first?.attribute("AuthenticationMethod") == LegacyAssertion.passwordMethod)
      let second = try await browser.get(target([("wreply", Self.other)]))
      #expect(second.action == Self.other && second.field("wctx") == nil && second.field("wresult") != nil)
      let issued = await gateway.store.events.filter { $0.kind == .tokenIssued }
      #expect(issued.count == 2 && issued.allSatisfy { $0.details["protocol"] == "ws-federation" })
      #expect(issued.first?.subject == assertion.attribute("AssertionID"))
    }
  }

  @Test func `is found again by its document, a token's or a whole answer's`() async throws {
    try await withGateway { gateway async throws in
      try await register(gateway)
      var browser = BrowserForTests(gateway)
      let answer = try await signIn(&browser, target())
      let document = Array(try #require(answer.field("wresult")).utf8).base64
      let found = try await gateway.askAdmin("POST", "/admin/v1/tokens/find", "{\"document\":\"\(document)\"}")
      #expect(found.status == 200 && found.text.contains("\"sameBytes\":true") && found.text.contains(Self.realm))
    }
  }

  @Test func `gives SAML 2.0 and the collection of 1.3 to whom they are set`() async throws {
    try await withGateway { gateway async throws in
      try await register(gateway) { party in
        var traits = WSFederationTraits()
        (traits.tokenType, traits.responseVersion) = (.saml20, .v13)
        party.wsFederation = traits
      }
      var browser = BrowserForTests(gateway)
      let answer = try await signIn(&browser, target())
      #expect(
        answer.field("wresult")?.hasPrefix("<trust:RequestSecurityTokenResponseCollection") == true || answer.text.contains("ResponseCollection"))
      let assertion = try token(answer)
      #expect(assertion.name == XMLName(Vocabulary.assertionNamespace, "Assertion"))
      #expect(elements(assertion, "SubjectConfirmationData").first?.attribute("Recipient") == Self.reply)
    }
  }

  @Test func `asks for the password again where that is wanted, and not where the one before is fresh enough`() async throws {
    try await withGateway { gateway async throws in
      try await register(gateway)
      var browser = BrowserForTests(gateway)
      _ = try await signIn(&browser, target())
      #expect(try await browser.get(target([("wfresh", "10")])).field("wresult") != nil)
      gateway.time.advance(by: .seconds(601))
      #expect(try await browser.get(target([("wfresh", "10")])).action == "/sign-in")
      #expect(try await browser.get(target([("wfresh", "11")])).field("wresult") != nil)
      #expect(try await browser.get(target([("wfresh", "0")])).action == "/sign-in")
    }
  }

  @Test(
    "sends nothing to an address that is not registered, whatever it looks like",
    arguments: [
      "https://portal.example/_trust", "https://portal.example/_trust/?x=1", "https://portal.example/_trust/#a",
      "https://portal.example/_trust/../other",
      "https://PORTAL.example/_trust/", "https://portal.example:443/_trust/", "http://portal.example/_trust/",
      "https://portal.example@evil.example/_trust/",
      "https://portal.example\\@evil.example/", "//portal.example/_trust/", "https://portal.example.evil.example/_trust/", "javascript:alert(1)",
      "https://portal.example/_trust/%2e%2e/", " https://portal.example/_trust/", "https://portal.example/_trust/\u{0}", "https://wiki.example/acs",
    ])
  func wrongReply(reply: String) async throws {
    try await withGateway { gateway async throws in
      try await register(gateway)
      var browser = BrowserForTests(gateway)
      for parameters in [[("wreply", reply)], [("wreply", reply), ("wctx", "<script>")]] {
        let answer = try await browser.get(target(parameters))
        #expect(answer.status == 400 && answer.value("Location") == nil && answer.action == nil, "\(reply)")
        #expect(!answer.text.contains("<script>"))
      }
      for action in ["wsignout1.0", "wsignoutcleanup1.0"] {
        let answer = try await browser.get(target([("wreply", reply)], action: action))
        #expect(answer.status == 400 && answer.value("Location") == nil)
      }
    }
  }

  @Test func `explains what it cannot do, and to whom`() async throws {
    try await withGateway { gateway async throws in
      try await register(gateway)
      var browser = BrowserForTests(gateway)
      let unknown = try await browser.get(target(realm: "urn:nobody"))
      #expect(unknown.status == 400 && unknown.text.contains("not registered"))
      let second = try await browser.get(target([("wauth", "http://schemas.microsoft.com/claims/multipleauthn")]))
      #expect(second.status == 403 && second.text.contains("second proof") && second.text.contains("Portal &lt;b&gt;"))
      #expect(try await browser.get(target([("wauth", "urn:federation:authentication:windows")])).status == 403)
      #expect(try await browser.get(target([("wauth", LegacyAssertion.passwordMethod)])).action == "/sign-in")
      #expect(try await browser.get(target(realm: nil)).status == 400)
      #expect(try await browser.get("/adfs/ls/?wa=wattr1.0&wtrealm=urn:portal").status == 400)
      #expect(try await browser.get("/adfs/ls/?WA=wsignin1.0&wtrealm=urn:portal").status == 400)
      #expect(try await browser.get(target() + "&wa=wsignout1.0").status == 400)
      #expect(try await browser.get(target() + "&SAMLRequest=abc").status == 400)
      let reasons = await gateway.store.events.filter { $0.kind == .tokenRefused }.flatMap(\.trace).map(\.detail)
      for check in ["wtrealm:", "wauth:"] { #expect(reasons.contains { $0.hasPrefix(check) }, "\(reasons)") }
    }
  }

  @Test func `shows the name that the application knows, and nothing of it as markup`() async throws {
    try await withGateway { gateway async throws in
      try await register(gateway)
      var browser = BrowserForTests(gateway)
      #expect(try await browser.get(target([("username", "a\"><script>@contoso.com")])).field("userName") == "a\"><script>@contoso.com")
      #expect(try await browser.get(target([("login_hint", "bob@contoso.com")])).field("userName") == "bob@contoso.com")
    }
  }

  @Test func `stops a relying party that sends its visitor back again and again, and no other one`() async throws {
    try await withGateway { gateway async throws in
      try await register(gateway)
      var browser = BrowserForTests(gateway)
      _ = try await signIn(&browser, target())
      for _ in 0..<(RecentAnswers.most - 1) {
        gateway.time.advance(by: .seconds(1))
        #expect(try await browser.get(target()).field("wresult") != nil)
      }
      let stopped = try await browser.get(target())
      #expect(stopped.status == 400 && stopped.text.contains("again and again") && stopped.field("wresult") == nil)
      #expect(await gateway.store.events.contains { $0.kind == .tokenRefused && $0.outcome == "refused:loop" })
      // A window that opens ten tabs at once brings the same cookie ten times.
      var tabs = BrowserForTests(gateway)
      _ = try await signIn(&tabs, target())
      let before = tabs.cookies
      for _ in 0..<10 {
        tabs.cookies = before
        #expect(try await tabs.get(target()).field("wresult") != nil)
      }
      gateway.time.advance(by: .seconds(21))
      #expect(try await browser.get(target()).field("wresult") != nil)
    }
  }

  @Test func `signs out at all relying parties of the session, and goes where it is registered`() async throws {
    try await withGateway { gateway async throws in
      try await register(gateway) { $0.logout = [.init(binding: WSFederationTraits.binding, location: "https://portal.example/out?x=1")] }
      var browser = BrowserForTests(gateway)
      _ = try await signIn(&browser, target())
      let out = try await browser.get(target([("wreply", Self.reply)], action: "wsignout1.0"))
      #expect(out.status == 200 && browser.cookies[BrowserCookies.sessionName] == nil)
      #expect(out.text.contains("<iframe src=\"https://portal.example/out?x=1&amp;wa=wsignoutcleanup1.0\""))
      #expect(out.text.contains("id=\"onward\" href=\"\(Self.reply)\""))
      #expect(out.value("Content-Security-Policy")?.contains("frame-src https://portal.example") == true)
      #expect(try await browser.get(target()).action == "/sign-in")
      // Nobody is signed in any more: there is nothing to tell, and the way is open.
      let again = try await browser.get(target([("wreply", Self.reply)], action: "wsignout1.0"))
      #expect(again.status == 303 && again.value("Location") == Self.reply)
      let cleanUp = try await browser.get(target(action: "wsignoutcleanup1.0", realm: nil))
      #expect(cleanUp.status == 200 && !cleanUp.text.contains("<iframe"))
    }
  }

  @Test func `has metadata for whatever case its path is written in, signed by the primary`() async throws {
    try await withGateway { gateway async throws in
      try await register(gateway)
      let primary = try #require(gateway.federation.keys.published().first)
      var documents: Set<[UInt8]> = []
      for path in ["/FederationMetadata/2007-06/FederationMetadata.xml", "/federationmetadata/2007-06/FEDERATIONMETADATA.XML"] {
        let answer = try await gateway.ask(RawRequest("GET", path))
        #expect(answer.status == 200 && answer.value("Content-Type") == "application/samlmetadata+xml")
        let root = try XMLElement.parse(answer.body, limits: .metadata)
        let key = try VerificationKey(certificate: primary.certificate)
        _ = try SignatureVerifier(keys: [key]).verify(root, position: .first)
        documents.insert(answer.body)
      }
      #expect(documents.count == 1)
      #expect(try await gateway.ask(RawRequest("GET", "/other/2007-06/FederationMetadata.xml")).status == 404)
      let party = try #require(gateway.federation.parties.party(named: "portal"))
      let own = try #require(URL(string: gateway.federation.ownMetadataURL(of: party))?.path)
      #expect(own.hasPrefix("/FederationMetadata/2007-06/portal/"))
      #expect(try await gateway.ask(RawRequest("GET", own)).status == 200)
      #expect(try await gateway.ask(RawRequest("GET", own.replacing("/portal/", with: "/portal/0"))).status == 404)
    }
  }

  @Test func `discovers a federated realm with the addresses of sign-in`() async throws {
    try await withGateway { gateway async throws in
      var realm = try #require(try await gateway.store.realms().first { $0.name.text == "contoso.com" })
      realm.isFederated = true
      try await gateway.store.update(realm, audit: [])
      try await gateway.realms.refresh()
      let identity = gateway.federation.identity
      let first = try await gateway.ask(RawRequest("GET", "/common/userrealm/alice@contoso.com")).text
      #expect(first.contains("\"account_type\":\"Federated\"") && first.contains("\"federation_protocol\":\"WSTrust\""))
      #expect(first.contains(identity.url(of: .usernameMixed2005)) && first.contains(identity.metadataExchangeURL))
      let second = try await gateway.ask(RawRequest("GET", "/common/userrealm/alice@contoso.com?api-version=2.0")).text
      #expect(second.contains("\"NameSpaceType\":\"Federated\"") && second.contains("wa=wsignin1.0&wtrealm=urn%3Afederation%3Agatehouse"))
      let classic = try await gateway.ask(RawRequest("GET", "/GetUserRealm.srf?login=alice@contoso.com&xml=1")).text
      #expect(classic.contains("<State>3</State>") && classic.contains("wa=wsignin1.0&amp;wtrealm"))
    }
  }
}
