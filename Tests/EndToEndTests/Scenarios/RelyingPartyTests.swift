import Foundation
import Testing

/// What administrators do with relying parties, and what people notice of it.
@Suite("Relying parties by the command line", .serialized, .federation("relying-parties"))
struct RelyingPartyTests {
  private struct Party: Decodable {
    struct Endpoint: Decodable { var location: String }
    struct Certificate: Decodable { var sha256: String }
    var name: String
    var entityId: String
    var consumers: [Endpoint]
    var certificates: [Certificate]
    var metadataTrouble: String?
    var pendingChanges: [String]?
  }

  private func party(_ federation: FederationHouse, _ name: String) async throws -> Party {
    try await federation.admin.json(Party.self, "rp", "show", name)
  }

  @Test("A block ends the session: the next request asks for a password, and the right one is refused")
  func blocked() async throws {
    let federation = try FederationHouse.current
    let person = try await federation.house.people("rp-blocked", 1)[0]
    let browser = CookieBrowser()
    let login = federation.shibboleth.loginURL()
    let page = try await federation.signIn(browser, login, as: person.name, password: person.password)
    #expect(federation.shibboleth.visitor(in: page.body) != nil, "\(page.body)")
    let again = try await browser.carryOn(try await browser.open(login))
    #expect(federation.shibboleth.visitor(in: again.body) != nil)
    try await federation.admin("users", "block", person.name)
    let asked = try await browser.carryOn(try await browser.open(login))
    let refused = try await federation.fillIn(asked, in: browser, as: person.name, password: person.password)
    #expect(throws: Never.self) { try refused.form(with: "password") }
    #expect(refused.body.contains("too many failed tries"), "\(refused.body)")
    try await federation.admin("users", "unblock", person.name)
    let back = try await browser.carryOn(try await federation.fillIn(refused, in: browser, as: person.name, password: person.password))
    #expect(federation.shibboleth.visitor(in: back.body) != nil, "\(back.body)")
  }

  @Test("Did we issue this? Yes, byte for byte, as a file, as base64 and by its ID; no for a changed one and for a stranger's")
  func tokens() async throws {
    let federation = try FederationHouse.current
    let browser = CookieBrowser()
    _ = try await federation.signIn(browser, federation.shibboleth.loginURL(), as: "alice")
    let response = try await federation.carried(by: browser)
    let id = try #require(try await DocumentOracle.values(response, "//saml:Assertion/@ID").first)
    let folder = try BuiltProgram.folder("tokens")
    defer { try? FileManager.default.removeItem(atPath: folder) }
    func find(_ text: String) async throws -> AdminTool.Outcome {
      try text.write(toFile: folder + "/token", atomically: true, encoding: .utf8)
      return try await federation.admin.attempt("tokens", "find", folder + "/token")
    }
    for text in [response, response + "\n", Data(response.utf8).base64EncodedString(options: .lineLength76Characters)] {
      let outcome = try await find(text)
      #expect(outcome.status == 0, "\(outcome)")
      #expect(outcome.output.contains("byte for byte") && outcome.output.contains(id) && outcome.output.contains("shibboleth"), "\(outcome)")
    }
    let byID = try await federation.admin.attempt("tokens", "find", id)
    #expect(byID.status == 0 && byID.output.contains("Yes.") && byID.output.contains("alice"), "\(byID)")
    for changed in [response.replacing("alice@", with: "alicf@"), response.replacing(">Alice Example<", with: ">Alice Examplf<")] {
      #expect(changed != response)
      let outcome = try await find(changed)
      #expect(outcome.status == 1 && outcome.output.contains("not with these bytes"), "\(outcome)")
    }
    let stranger = try await find(response.replacing(id, with: "_0123456789abcdef0123456789abcdef"))
    #expect(stranger.status == 1 && stranger.output.hasPrefix("No:"), "\(stranger)")
    #expect(try await federation.admin.attempt("tokens", "find", "_nobodys").status == 1)
  }

  @Test("A preview is what the person then gets, ids and times apart, follows the schema, and issues nothing")
  func preview() async throws {
    let federation = try FederationHouse.current
    try await federation.admin("rp", "edit", "shibboleth", "--sign", "response", "--name-id", "persistent")
    let browser = CookieBrowser()
    _ = try await federation.signIn(browser, federation.shibboleth.loginURL(), as: "alice")
    let response = try await federation.carried(by: browser)
    let begin = try #require(response.range(of: "<saml:Assertion"))
    let end = try #require(response.range(of: "</saml:Assertion>"))
    let issued = String(response[begin.lowerBound..<end.upperBound])
    let preview = try await federation.admin("rp", "preview", "shibboleth", "--user", "alice@\(federation.house.realm)")
      .trimmingCharacters(in: .whitespacesAndNewlines)
    try await DocumentOracle(certificate: "").validate(preview, .assertion20)
    /// What differs from one token to the next, by its name alone; a request answered or not.
    func plain(_ document: String) -> String {
      document.replacing(#/ (ID|IssueInstant|NotBefore|NotOnOrAfter|AuthnInstant|SessionIndex|SessionNotOnOrAfter)="[^"]*"/#) { " \($0.output.1)" }
        .replacing(#/ InResponseTo="[^"]*"/#, with: "")
        // One is in it by signing in (docs/operations/relying-parties.md).
        .replacing("<saml:AttributeValue>Pre-Windows 2000 Compatible Access</saml:AttributeValue>", with: "")
    }
    #expect(plain(preview) == plain(issued))
    let id = try #require(try await DocumentOracle.values(preview, "/saml:Assertion/@ID").first)
    #expect(try await federation.admin.attempt("tokens", "find", id).status == 1)
    let nobody = try await federation.admin.attempt("rp", "preview", "shibboleth", "--user", "nobody-at-all@\(federation.house.realm)")
    #expect(nobody.status != 0 && !nobody.complaint.isEmpty)
    try await federation.admin("rp", "edit", "shibboleth", "--sign", "both", "--name-id", "unspecified")
  }

  @Test("A table of claims: groups by prefix, values changed and constant ones; one group more than atMost refuses the token")
  func claims() async throws {
    let federation = try FederationHouse.current
    let file = try BuiltProgram.folder("claims") + "/claims.yaml"
    defer { try? FileManager.default.removeItem(atPath: URL(fileURLWithPath: file).deletingLastPathComponent().path) }
    func edit(_ prefix: String, atMost: Int) async throws -> AdminTool.Outcome {
      let text = """
        claims:
          - name: "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
            from: [$groups]
            groups: {prefix: "\(prefix)", stripPrefix: true, as: name, atMost: \(atMost)}
            change: [upperCase, {replace: "^OPE ", with: "Europe "}]
          - {name: IDPEmail, from: [extensionAttribute1, mail], change: [lowerCase], required: true}
          - {name: "urn:oid:1.3.6.1.4.1.5923.1.1.1.7", nameFormat: uri, values: [one, "two <&>"]}
        """
      try text.write(toFile: file, atomically: true, encoding: .utf8)
      return try await federation.admin.attempt("rp", "edit", "mellon", "--claims", file)
    }
    let edited = try await edit("eur", atMost: 1)
    #expect(edited.status == 0, "\(edited)")
    let browser = CookieBrowser()
    let page = try await federation.signIn(browser, federation.mellon.protectedPageURL, as: "alice")
    let visitor = try #require(federation.mellon.visitor(in: page.body), "\(page.body)\n\(federation.mellon.logTail)")
    #expect(visitor["role"] == "Europe (ALL), #1")
    #expect(visitor["IDPEmail"] == "alice.example@\(federation.house.realm)")
    #expect(visitor["entitlement"]?.replacing("\\;", with: ";") == "one;two <&>")
    #expect(visitor["eppn"] == nil && visitor["isMemberOf"] == nil)
    // Domain Users, Staff, Europe, Everybody: more than one.
    #expect(try await edit("", atMost: 1).status == 0)
    _ = try await browser.open(federation.mellon.localLogoutURL())
    let refused = try await browser.open(federation.mellon.protectedPageURL)
    #expect(
      refused.body.contains("what \(federation.mellon.entityID) needs") || refused.body.contains("needs to know of you is missing"), "\(refused.body)"
    )
    let reference = try #require(refused.body.firstMatch(of: #/<code>([^<]+)<\/code>/#)?.output.1)
    let explanation = try await federation.house.trace(String(reference))
    #expect("\(explanation)".contains("at most 1 are allowed"), "\(explanation)")
    let preview = try await federation.admin.attempt("rp", "preview", "mellon", "--user", "alice@\(federation.house.realm)")
    #expect(preview.status != 0 && preview.complaint.contains("at most 1 are allowed"), "\(preview)")
    // Somebody without a required value, by the same table.
    #expect(try await edit("eur", atMost: 1).status == 0)
    let person = try await federation.house.people("rp-mailless", 1)[0]
    let mailless = try await federation.signIn(CookieBrowser(), federation.mellon.protectedPageURL, as: person.name, password: person.password)
    #expect(mailless.body.contains("needs to know of you is missing"), "\(mailless.body)")
    for wrong in ["((a+)+", "(a+)+$"] {
      try "claims: [{name: x, from: [mail], change: [{keep: \"\(wrong)\"}]}]".write(toFile: file, atomically: true, encoding: .utf8)
      #expect(try await federation.admin.attempt("rp", "edit", "mellon", "--claims", file).status != 0)
    }
    #expect(try await federation.admin.attempt("rp", "edit", "mellon", "--preset", "oid").status == 0)
    let later = try await browser.carryOn(try await browser.open(federation.mellon.protectedPageURL))
    #expect(federation.mellon.visitor(in: later.body)?["eppn"] == "alice@\(federation.house.realm)", "\(later.body)")
  }

  @Test("Only members of a permitted group may use a relying party")
  func permitted() async throws {
    let federation = try FederationHouse.current
    try await federation.admin("rp", "edit", "shibboleth", "--permit-group", "CN=Staff,CN=Users,\(federation.house.domain["AD_BASE"])")
    let page = try await federation.signIn(CookieBrowser(), federation.shibboleth.protectedPageURL, as: "alice")
    #expect(federation.shibboleth.visitor(in: page.body) != nil, "\(page.body)")
    let person = try await federation.house.people("rp-outsider", 1)[0]
    let browser = CookieBrowser()
    let refused = try await federation.signIn(browser, federation.shibboleth.protectedPageURL, as: person.name, password: person.password)
    #expect(ShibbolethServiceProvider.refusal(in: refused.body)?.substatus == "urn:oasis:names:tc:SAML:2.0:status:RequestDenied", "\(refused.body)")
    try await federation.admin("rp", "edit", "shibboleth", "--permit-everybody")
    let later = try await browser.carryOn(try await browser.open(federation.shibboleth.protectedPageURL))
    #expect(federation.shibboleth.visitor(in: later.body) != nil, "\(later.body)")
  }

  @Test("Another entityID is refused while relying parties know the present one, unless it is forced")
  func entityID() async throws {
    let federation = try FederationHouse.current
    let house = federation.house
    let present = try await house.entityID()
    let refused = try await federation.admin.attempt("federation", "set-entity-id", "http://sts.contoso.test/adfs/services/trust")
    #expect(refused.status != 0 && refused.complaint.contains("--force"), "\(refused)")
    #expect(try await house.entityID() == present)
    // The same again is no change.
    try await federation.admin("federation", "set-entity-id", present)
    for wrong in ["", "no uri", "urn:ü", "x" + String(repeating: "y", count: 1024) + ":"] {
      #expect(try await federation.admin.attempt("federation", "set-entity-id", wrong, "--force").status != 0, "\(wrong)")
    }
    try await federation.admin("federation", "set-entity-id", "http://sts.contoso.test/adfs/services/trust", "--force")
    #expect(
      try await DocumentOracle.values(try await house.gatewayMetadata(), "/md:EntityDescriptor/@entityID") == [
        "http://sts.contoso.test/adfs/services/trust"
      ])
    try await federation.admin("federation", "set-entity-id", present, "--force")
  }

  @Test("A restart of the gateway keeps sessions, relying parties, keys, persistent names and a sign-in that is under way")
  func restart() async throws {
    let federation = try FederationHouse.current
    let house = federation.house
    let browser = CookieBrowser()
    _ = try await federation.signIn(browser, federation.shibboleth.protectedPageURL, as: "alice")
    let underWay = CookieBrowser()
    let page = try await underWay.open(federation.mellon.protectedPageURL)
    let before = try await house.gatewayMetadata()
    let certificate = try await federation.admin("certs", "export")
    try await house.gateway.restart()
    try await house.waitFor(house.agents[0])
    let back = try await browser.carryOn(try await browser.open(federation.shibboleth.loginURL()))
    #expect(federation.shibboleth.visitor(in: back.body)?["eppn"] == "alice@\(house.realm)", "\(back.body)")
    #expect(try await federation.admin("certs", "export") == certificate)
    let after = try await house.gatewayMetadata()
    for path in ["//ds:X509Certificate", "/md:EntityDescriptor/@entityID"] {
      #expect(try await DocumentOracle.values(after, path) == (try await DocumentOracle.values(before, path)))
    }
    let arrived = try await underWay.carryOn(
      try await federation.fillIn(page, in: underWay, as: "alice", password: try house.password("alice")))
    #expect(federation.mellon.visitor(in: arrived.body) != nil, "\(arrived.body)")
  }
}
