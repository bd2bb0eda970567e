import Foundation
import Testing

/// What a request can ask for, and what the relying party gets of it.
@Suite("What a SAML request asks for", .serialized, .federation("saml-requests"))
struct SAMLRequestTests {
  private typealias Login = ShibbolethServiceProvider.LoginOptions
  private static let classes = "urn:oasis:names:tc:SAML:2.0:ac:classes:"
  private static let formats = (
    persistent: "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent", transient: "urn:oasis:names:tc:SAML:2.0:nameid-format:transient",
    email: "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress", windows: "urn:oasis:names:tc:SAML:1.1:nameid-format:WindowsDomainQualifiedName",
    encrypted: "urn:oasis:names:tc:SAML:2.0:nameid-format:encrypted", kerberos: "urn:oasis:names:tc:SAML:2.0:nameid-format:kerberos"
  )

  /// What Shibboleth says of a request that was refused; the answer itself must hold as every document.
  private func refusal(_ login: Login, in browser: CookieBrowser, oracle: DocumentOracle) async throws -> ShibbolethServiceProvider.Refusal {
    let federation = try FederationHouse.current
    let page = try await browser.carryOn(try await browser.open(federation.shibboleth.loginURL(login)))
    let carried = try await federation.carried(by: browser)
    #expect(try await oracle.check(carried).map(\.element) == ["Response"])
    #expect(!carried.contains("Assertion>"))
    let trail = await browser.trail
    return try #require(ShibbolethServiceProvider.refusal(in: page.body), "\(trail)\n\(page.body)")
  }

  private func visitor(_ login: Login, in browser: CookieBrowser) async throws -> VisitorPage {
    let federation = try FederationHouse.current
    let page = try await federation.signIn(browser, federation.shibboleth.loginURL(login), as: "alice")
    let trail = await browser.trail
    return try #require(federation.shibboleth.visitor(in: page.body), "\(trail)\n\(page.body)\n\(federation.shibboleth.logTail)")
  }

  @Test("A persistent name is the same at every sign-in and another one at another relying party; a transient one is new each time")
  func names() async throws {
    let federation = try FederationHouse.current
    let house = federation.house
    var seen: [[String]] = []
    for _ in 1...2 {
      let browser = CookieBrowser()
      var values: [String] = []
      for (format, variable) in [(Self.formats.persistent, "persistent"), (Self.formats.transient, "transient")] {
        let told = try #require(try await visitor(Login(nameIDFormat: format), in: browser)[variable])
        let parts = told.components(separatedBy: "!")
        #expect(Array(parts.prefix(2)) == [try await house.entityID(), federation.shibboleth.entityID])
        values.append(parts[2])
      }
      seen.append(values)
    }
    #expect(seen[0][0] == seen[1][0])
    #expect(seen[0][1] != seen[1][1])
    try await federation.admin("rp", "edit", "mellon", "--name-id", "persistent", "--unsolicited", "on")
    let browser = CookieBrowser()
    _ = try await federation.signIn(browser, house.gateway.url + "/adfs/ls/IdpInitiatedSignOn.aspx?loginToRp=mellon", as: "alice")
    let other = try await DocumentOracle.values(try await federation.carried(by: browser), "//saml:NameID").first
    #expect(other?.count == 40 && other != seen[0][0], "\(other ?? "none")")
    try await federation.admin("rp", "edit", "mellon", "--name-id", "unspecified", "--unsolicited", "off")
  }

  @Test("A mail address, a Windows name, and an encrypted name are had by asking for them; what is not made here is refused in the standard's words")
  func formats() async throws {
    let federation = try FederationHouse.current
    let browser = CookieBrowser()
    let oracle = DocumentOracle(certificate: try await federation.certificate())
    let email = try await visitor(Login(nameIDFormat: Self.formats.email), in: browser)["nameid-email"]
    #expect(email?.hasSuffix("!alice.example@\(federation.house.realm)") == true, "\(email ?? "none")")
    let windows = try await visitor(Login(nameIDFormat: Self.formats.windows), in: browser)["nameid-windows"]
    #expect(windows?.hasSuffix("!\(federation.house.domain["AD_NETBIOS"])\\alice") == true, "\(windows ?? "none")")
    let encrypted = try await visitor(Login(nameIDFormat: Self.formats.encrypted), in: browser)
    #expect(encrypted["eppn"] == "alice@\(federation.house.realm)")
    let document = try await federation.carried(by: browser)
    #expect(try await DocumentOracle.values(document, "count(//saml:Subject/saml:EncryptedID)") == ["1.0"])
    #expect(!document.contains("NameID>"))
    try await oracle.check(document)
    let refused = try await refusal(Login(nameIDFormat: Self.formats.kerberos), in: browser, oracle: oracle)
    #expect(refused.substatus == "urn:oasis:names:tc:SAML:2.0:status:InvalidNameIDPolicy")
    #expect(refused.status == "urn:oasis:names:tc:SAML:2.0:status:Requester")
    let qualified = try await refusal(Login(spNameQualifier: "urn:somebody:else"), in: browser, oracle: oracle)
    #expect(qualified.substatus == "urn:oasis:names:tc:SAML:2.0:status:InvalidNameIDPolicy")
  }

  @Test("ForceAuthn asks for a password although somebody is signed in, and the answer says that it was judged just now")
  func forced() async throws {
    let federation = try FederationHouse.current
    let browser = CookieBrowser()
    _ = try await visitor(Login(), in: browser)
    let first = try await DocumentOracle.values(try await federation.carried(by: browser), "//saml:AuthnStatement/@AuthnInstant")
    let asked = try await browser.carryOn(try await browser.open(federation.shibboleth.loginURL(Login(forceAuthn: true))))
    // Whoever signed in a moment ago by a request with the same wish is asked again all the same.
    let refused = try await federation.fillIn(asked, in: browser, as: "alice", password: "not hers")
    #expect(throws: Never.self) { try refused.form(with: "password") }
    #expect(await browser.history.last?.samlMessage == nil)
    let password = try federation.house.password("alice")
    let page = try await browser.carryOn(try await federation.fillIn(refused, in: browser, as: "alice", password: password))
    #expect(federation.shibboleth.visitor(in: page.body) != nil, "\(page.body)")
    let second = try await DocumentOracle.values(try await federation.carried(by: browser), "//saml:AuthnStatement/@AuthnInstant")
    #expect(try #require(second.first) > (try #require(first.first)))
  }

  @Test("IsPassive is answered without a page: with who is signed in, or with NoPassive")
  func passive() async throws {
    let federation = try FederationHouse.current
    let oracle = DocumentOracle(certificate: try await federation.certificate())
    let browser = CookieBrowser()
    let refused = try await refusal(Login(isPassive: true), in: browser, oracle: oracle)
    #expect(refused.substatus == "urn:oasis:names:tc:SAML:2.0:status:NoPassive")
    _ = try await visitor(Login(), in: browser)
    _ = try await browser.open(federation.shibboleth.localLogoutURL())
    let page = try await browser.carryOn(try await browser.open(federation.shibboleth.loginURL(Login(isPassive: true))))
    #expect(federation.shibboleth.visitor(in: page.body)?["eppn"] == "alice@\(federation.house.realm)", "\(page.body)")
    // A password that may not be asked for. Shibboleth asks for either, not for both.
    try await federation.admin("rp", "add", "--name", "contrary", "--entity-id", "urn:contrary", "--acs", "https://contrary.test/acs")
    let contrary = try await browser.open(federation.request(of: "urn:contrary", attributes: " ForceAuthn=\"true\" IsPassive=\"true\"").url)
    let answer = try #require(contrary.samlMessage, "\(contrary.body)")
    #expect(try await oracle.check(answer).map(\.element) == ["Response"])
    #expect(try await DocumentOracle.values(answer, "//samlp:StatusCode/@Value").last == "urn:oasis:names:tc:SAML:2.0:status:NoPassive")
    try await federation.admin("rp", "remove", "contrary")
    let other = try await browser.carryOn(try await browser.open(federation.mellon.loginURL(isPassive: true)))
    #expect(federation.mellon.visitor(in: other.body)?["eppn"] == "alice@\(federation.house.realm)", "\(other.body)")
  }

  @Test(
    "An authentication context is stated where a password over TLS satisfies it, and refused with NoAuthnContext where it does not",
    arguments: [
      ("PasswordProtectedTransport", "exact", "PasswordProtectedTransport"), ("Password", "exact", "Password"),
      ("Password", "minimum", "PasswordProtectedTransport"), ("Password", "better", "PasswordProtectedTransport"),
      ("X509", "maximum", "PasswordProtectedTransport"), ("X509", "exact", ""), ("X509", "minimum", ""), ("PasswordProtectedTransport", "better", ""),
      ("SmartcardPKI", "exact", ""),
    ])
  func context(asked: String, comparison: String, stated: String) async throws {
    let federation = try FederationHouse.current
    let browser = CookieBrowser()
    let login = Login(authnContextClassRef: Self.classes + asked, authnContextComparison: comparison)
    guard !stated.isEmpty else {
      // Before anybody types a password.
      let refused = try await refusal(login, in: browser, oracle: DocumentOracle(certificate: try await federation.certificate()))
      #expect(refused.substatus == "urn:oasis:names:tc:SAML:2.0:status:NoAuthnContext")
      return
    }
    let visitor = try await visitor(login, in: browser)
    #expect(visitor["Shib-AuthnContext-Class"] == Self.classes + stated)
    let document = try await federation.carried(by: browser)
    #expect(try await DocumentOracle.values(document, "//saml:AuthnContextClassRef") == [Self.classes + stated])
  }
}
