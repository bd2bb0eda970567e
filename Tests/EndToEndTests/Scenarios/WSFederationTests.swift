import Foundation
import Testing

/// People of a real Samba AD sign in at a relying party that speaks WS-Federation and is as careful as the strictest of them.
@Suite("WS-Federation sign-on", .serialized, .passive("ws-federation"))
struct WSFederationTests {
  struct Order: Sendable, CustomTestStringConvertible {
    var token: String
    var format: String
    var testDescription: String { "\(token) in WS-Trust \(format)" }
    var namespace: String { token == "saml11" ? "urn:oasis:names:tc:SAML:1.0:assertion" : "urn:oasis:names:tc:SAML:2.0:assertion" }
    /// What its vocabulary calls a password over TLS.
    var passwordMethod: String {
      token == "saml11" ? "urn:oasis:names:tc:SAML:1.0:am:password" : "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
    }
  }
  private static let orders = ["saml11", "saml20"].flatMap { token in ["2005", "13"].map { Order(token: token, format: $0) } }
  private static let usual = orders[0]

  private func edit(_ order: Order) async throws {
    try await PassiveHouse.current.admin("rp", "edit", "wsapp", "--token-type", order.token, "--response-format", order.format)
  }

  /// Whether a password is asked for.
  private func isAsked(_ page: CookieBrowser.Page) -> Bool { (try? page.form(with: "password")) != nil }

  @Test("Tokens of both kinds in answers of both versions are believed, hold for other people's software, and carry the claims", arguments: orders)
  func signOn(order: Order) async throws {
    let house = try PassiveHouse.current
    try await edit(order)
    let browser = CookieBrowser()
    let page = try await house.signIn(browser, house.party.protectedPageURL, as: "alice")
    let refusal = WSFederationRelyingParty.refusal(in: page.body) ?? ""
    let (trail, explanation, entityID) = (await browser.trail, try await house.explained(page), try await house.house.entityID())
    let visitor = try #require(VisitorPage(source: page.body), "\(refusal)\n\(trail)\n\(explanation)")
    #expect(visitor["tokenType"] == order.namespace)
    #expect(visitor["format"] == order.format)
    #expect(visitor["authenticationMethod"] == order.passwordMethod)
    #expect(visitor["issuer"] == entityID)
    #expect(visitor["name"]?.isEmpty == false)
    #expect(visitor[WSFederationRelyingParty.claim("upn")] == "alice@\(house.house.realm)")
    #expect(visitor[WSFederationRelyingParty.claim("name")] == "Alice Example", "\(visitor.variables)")
    let answer = try #require(await browser.history.lazy.compactMap { try? $0.form(with: "wresult") }.last?["wresult"])
    let (assertion, signature) = try await house.oracle().checkToken(in: answer)
    #expect(signature.signatureMethod == "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256")
    #expect(!answer.contains("\n") && !assertion.contains("\n"), "clients that cut tokens out as text do not expect white space")
    // AD FS's order, which some readers have learned by heart.
    let t = order.format == "2005" ? "t2005" : "t13"
    let sequence = """
      boolean(//\(t):RequestSecurityTokenResponse[*[1][self::\(t):Lifetime] and *[2][self::wsp:AppliesTo] and *[3][self::\(t):RequestedSecurityToken] \
      and *[last()-2][self::\(t):TokenType] and *[last()-1][self::\(t):RequestType] and *[last()][self::\(t):KeyType]])
      """
    #expect(try await DocumentOracle.values(answer, sequence) == ["True"], "\(answer)")
    try await edit(Self.usual)
  }

  @Test("Who is signed in is asked nothing; wfresh=0 asks for the password again, an hour's freshness does not")
  func fresh() async throws {
    let house = try PassiveHouse.current
    let browser = CookieBrowser()
    _ = try await house.signIn(browser, house.party.protectedPageURL, as: "alice")
    let again = try await browser.carryOn(try await browser.open(house.party.signInURL()))
    #expect(VisitorPage(source: again.body) != nil, "\(again.body)")
    let recent = try await browser.carryOn(try await browser.open(house.party.signInURL([("wfresh", "60")])))
    #expect(VisitorPage(source: recent.body) != nil, "\(recent.body)")
    let forced = try await browser.open(house.party.signInURL([("wfresh", "0")]))
    #expect(isAsked(forced), "\(forced.body)")
    let end = try await browser.carryOn(
      try await browser.submit(
        try forced.form(with: "password"), of: forced,
        filling: ["userName": "alice@\(house.house.realm)", "password": try house.house.password("alice")]))
    #expect(VisitorPage(source: end.body)?[WSFederationRelyingParty.claim("upn")] == "alice@\(house.house.realm)", "\(end.body)")
  }

  @Test("wctx comes back byte for byte where it was sent, empty where it was empty, and not at all where it was not")
  func context() async throws {
    let house = try PassiveHouse.current
    let browser = CookieBrowser()
    let contexts: [String?] = ["", nil, "\"><script>alert(1)</script>", "<\u{338}x \u{2028}\t'&amp;&#x41;", "rm=0&id=passive&ru=%2f", " both ends "]
    for (index, context) in contexts.enumerated() {
      let own = try await WSFederationRelyingParty(name: "context\(index)", scenario: "ws-federation", gateway: house.gateway)
      try await own.register(at: house.admin)
      let url = house.question([("wtrealm", own.realm)] + (context.map { [("wctx", $0)] } ?? []))
      let form = try PassiveHouse.answer(on: try await house.signIn(browser, url, as: "alice", following: false))
      #expect(form.action == own.reply)
      #expect(form["wctx"].map { Array($0.utf8) } == context.map { Array($0.utf8) }, "\(context ?? "none") came back as \(form["wctx"] ?? "none")")
    }
  }

  @Test("What names nobody, or leads elsewhere, is refused here, and nothing is sent")
  func refused() async throws {
    let house = try PassiveHouse.current
    let (realm, reply) = (house.party.realm, house.party.reply)
    let other = try await WSFederationRelyingParty(name: "other", scenario: "ws-federation", gateway: house.gateway)
    try await other.register(at: house.admin)
    let browser = CookieBrowser()
    _ = try await house.signIn(browser, house.party.protectedPageURL, as: "alice")
    let questions: [(what: String, url: String)] = [
      ("an unregistered wreply", house.question([("wtrealm", realm), ("wreply", "https://evil.example/")])),
      ("more path", house.question([("wtrealm", realm), ("wreply", reply + "more")])),
      ("another's wreply", house.question([("wtrealm", realm), ("wreply", other.reply)])),
      ("an unknown realm", house.question([("wtrealm", "urn:nobody"), ("wreply", reply)])),
      ("no realm", house.question([("wreply", reply)])),
      ("an unknown action", house.question([("wtrealm", realm)], action: "wattr1.0")),
      ("two realms", house.question([("wtrealm", realm), ("wtrealm", other.realm)])),
      ("a capital", house.question([("wtrealm", realm), ("WReply", "https://evil.example/")])),
    ]
    for (what, url) in questions {
      let page = try await browser.request(url)
      #expect(page.status == 400, "\(what): \(page.status) \(page.body)")
      #expect(page.location == nil, "\(what)")
      #expect(!page.body.contains("wresult") && !page.body.contains("<form"), "\(what): \(page.body)")
      #expect(page.body.contains("<code>"), "\(what) has no reference: \(page.body)")
    }
    // A relying party that is switched off is told of as such.
    try await house.admin("rp", "disable", "other")
    let off = try await browser.request(house.question([("wtrealm", other.realm)]))
    #expect(off.status >= 400 && off.body.contains("switched off"), "\(off.status) \(off.body)")
  }

  @Test("A method that a password is, is met by it; a second factor is not offered, and a page says so")
  func method() async throws {
    let house = try PassiveHouse.current
    let browser = CookieBrowser()
    let password = house.question([("wtrealm", house.party.realm), ("wauth", "urn:oasis:names:tc:SAML:1.0:am:password")])
    let form = try PassiveHouse.answer(on: try await house.signIn(browser, password, as: "alice", following: false))
    #expect(form["wresult"]?.contains("urn:oasis:names:tc:SAML:1.0:am:password") == true)
    for method in ["http://schemas.microsoft.com/claims/multipleauthn", "urn:ietf:rfc:2246", "urn:nobody:knows"] {
      let page = try await browser.request(house.question([("wtrealm", house.party.realm), ("wauth", method)]))
      #expect((400..<500).contains(page.status), "\(method): \(page.status)")
      #expect(page.location == nil && !page.body.contains("wresult"), "\(method): \(page.body)")
      let explanation = try await house.explained(page)
      #expect(explanation.contains("wauth") || explanation.contains("method"), "\(method): \(explanation)")
    }
  }

  @Test("The page begins with the name that the relying party knows, as text")
  func hint() async throws {
    let house = try PassiveHouse.current
    for name in ["username", "login_hint"] {
      let page = try await CookieBrowser().open(house.question([("wtrealm", house.party.realm), (name, "bob\"<b>@x")]))
      #expect(try page.form(with: "password")["userName"] == "bob\"<b>@x")
    }
  }

  @Test("The relying party is as strict as it says: what was changed, moved, sent twice or meant for others is refused by it")
  func judge() async throws {
    let house = try PassiveHouse.current
    let browser = CookieBrowser()
    let page = try await house.signIn(browser, house.party.signInURL(), as: "alice", following: false)
    let answer = try PassiveHouse.answer(on: page)
    /// Brings the relying party an answer with a context that it waits for.
    func bring(_ change: (String) -> String, context: String? = nil) async throws -> CookieBrowser.Page {
      let url = try #require(try await browser.request(house.party.signInURL()).location)
      let own = URLComponents(string: url.replacing("+", with: "%20"))?.queryItems?.first { $0.name == "wctx" }?.value
      return try await browser.post(
        house.party.reply,
        fields: [
          (name: "wa", value: "wsignin1.0"), (name: "wresult", value: change(answer["wresult"] ?? "")), (name: "wctx", value: context ?? own ?? ""),
        ],
        from: page)
    }
    let changes: [(what: String, from: String, to: String, reason: String)] = [
      ("another name", "Alice Example", "Alice Exbmple", "does not hold"),
      ("a second audience", "</saml:Audience>", "<!-- -->x</saml:Audience>", "Refusal"),
      ("another type", "SAML:1.0:assertion</t:TokenType>", "SAML:2.0:assertion</t:TokenType>", "TokenType"),
      ("another relying party", "<wsa:Address>urn:", "<wsa:Address>urn:x", "somebody else"),
    ]
    for (what, from, to, reason) in changes {
      try #require(answer["wresult"]?.contains(from) == true, "\(what): \(answer["wresult"] ?? "")")
      let refused = try await bring { $0.replacing(from, with: to) }
      let told = try #require(WSFederationRelyingParty.refusal(in: refused.body), "\(what) was taken")
      #expect(refused.status == 403 && told.contains(reason), "\(what): \(told)")
    }
    let strange = try await bring({ $0 }, context: "another's")
    #expect(WSFederationRelyingParty.refusal(in: strange.body)?.contains("context") == true)
    let taken = try await browser.follow(try await bring { $0 })
    #expect(VisitorPage(source: taken.body) != nil, "\(taken.body)")
    let again = try await bring { $0 }
    #expect(WSFederationRelyingParty.refusal(in: again.body)?.contains("used before") == true)
  }

  @Test(
    "FederationMetadata.xml comes by whatever case, signed by the primary key, and names it and the next one; both are believed, before the change and after"
  )
  func metadata() async throws {
    let house = try PassiveHouse.current
    func document(_ path: String = "/FederationMetadata/2007-06/FederationMetadata.xml") async throws -> String {
      let page = try await CookieBrowser().request(house.gateway.url + path)
      #expect(page.status == 200, "\(path): \(page.status)")
      return page.body
    }
    let (plain, entityID) = (try await document(), try await house.house.entityID())
    #expect(try await DocumentOracle.values(try await document("/federationmetadata/2007-06/FEDERATIONMETADATA.XML"), "/*/@entityID").count == 1)
    #expect(try await house.oracle().check(plain, schema: nil).map(\.element) == ["EntityDescriptor"])
    #expect(try await DocumentOracle.values(plain, "/md:EntityDescriptor/@entityID") == [entityID])
    #expect(try await DocumentOracle.values(plain, "count(/md:EntityDescriptor/*[1][self::ds:Signature])") == ["1.0"])
    let address = "md:RoleDescriptor/fed:PassiveRequestorEndpoint/a:EndpointReference/a:Address"
    #expect(Set(try await DocumentOracle.values(plain, "//\(address)")) == [house.signOnURL])
    let token = "//md:RoleDescriptor[contains(@xsi:type, 'SecurityTokenServiceType')]".replacing("@xsi:type", with: "@*[local-name()='type']")
    let signing = "\(token)/md:KeyDescriptor[@use='signing']//ds:X509Certificate"
    #expect(try await DocumentOracle.values(plain, signing).count == 1)
    #expect(
      Set(try await DocumentOracle.values(plain, "\(token)/fed:TokenTypesOffered/fed:TokenType/@Uri")) == [
        "urn:oasis:names:tc:SAML:1.0:assertion", "urn:oasis:names:tc:SAML:2.0:assertion",
      ])
    #expect(try await house.party.refresh() == 1)

    try await house.admin("certs", "prepare")
    try await house.admin("certs", "publish")
    _ = try await eventually(within: .seconds(10)) { try await DocumentOracle.values(try await document(), signing).count == 2 }
    #expect(try await house.party.refresh() == 2)
    let both = try await document()
    let browser = CookieBrowser()
    #expect(VisitorPage(source: try await house.signIn(browser, house.party.protectedPageURL, as: "alice").body) != nil)
    try await house.admin("certs", "promote", "--force")
    let after = try await browser.carryOn(try await browser.open(house.party.signInURL()))
    #expect(VisitorPage(source: after.body) != nil, "\(WSFederationRelyingParty.refusal(in: after.body) ?? after.body)")
    let answer = try #require(await browser.history.lazy.compactMap { try? $0.form(with: "wresult") }.last?["wresult"])
    _ = try await house.oracle().checkToken(in: answer)
    // The primary comes first, and signs the metadata.
    let published = try await DocumentOracle.values(both, signing)
    let changed = try await document()
    #expect(try await house.oracle().check(changed, schema: nil).map(\.element) == ["EntityDescriptor"])
    #expect(try await DocumentOracle.values(changed, signing) == published.reversed())
  }

  @Test("What a relying party says of itself in WS-Federation's metadata registers it")
  func registration() async throws {
    let house = try PassiveHouse.current
    let file = house.gateway.folder + "/relying-party.xml"
    try """
    <?xml version="1.0"?>
    <md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="urn:by:metadata"><md:RoleDescriptor \
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:fed="http://docs.oasis-open.org/wsfed/federation/200706" \
    xsi:type="fed:ApplicationServiceType" protocolSupportEnumeration="http://docs.oasis-open.org/wsfed/federation/200706">\
    <fed:TargetScopes><wsa:EndpointReference xmlns:wsa="http://www.w3.org/2005/08/addressing"><wsa:Address>urn:by:metadata</wsa:Address>\
    </wsa:EndpointReference></fed:TargetScopes><fed:PassiveRequestorEndpoint><wsa:EndpointReference xmlns:wsa="http://www.w3.org/2005/08/addressing">\
    <wsa:Address>https://metadata.example.test/signin</wsa:Address></wsa:EndpointReference></fed:PassiveRequestorEndpoint></md:RoleDescriptor>\
    </md:EntityDescriptor>
    """.write(toFile: file, atomically: true, encoding: .utf8)
    try await house.admin("rp", "add", "--name", "by-metadata", "--metadata", file, "--preset", "ws-federation")
    let page = try await house.signIn(CookieBrowser(), house.question([("wtrealm", "urn:by:metadata")]), as: "alice", following: false)
    #expect(try PassiveHouse.answer(on: page).action == "https://metadata.example.test/signin")
    // Nobody registers what another one has.
    let twice = try await house.admin.attempt(
      "rp", "add", "--name", "again", "--realm", "urn:by:metadata", "--reply", "https://again.example.test/")
    #expect(twice.status != 0)
  }

  @Test("A relying party that asks again and again is stopped by a page; others are not")
  func loop() async throws {
    let house = try PassiveHouse.current
    let browser = CookieBrowser()
    var answered = 0
    var page = try await house.signIn(browser, house.question([("wtrealm", house.party.realm)]), as: "alice", following: false)
    while (try? PassiveHouse.answer(on: page)) != nil, answered < 20 {
      answered += 1
      page = try await browser.open(house.question([("wtrealm", house.party.realm)]))
    }
    #expect(answered == 6, "stopped after \(answered) answers: \(page.status) \(page.body)")
    #expect(page.location == nil && !page.body.contains("wresult"))
    let own = try await WSFederationRelyingParty(name: "patient", scenario: "ws-federation", gateway: house.gateway)
    try await own.register(at: house.admin)
    #expect(try PassiveHouse.answer(on: try await browser.open(house.question([("wtrealm", own.realm)]))).action == own.reply)
  }
}
