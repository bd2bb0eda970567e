import Foundation
import Testing

/// Rich clients ask for tokens by a name and a password: every shape of request that the field has, both versions, and the real libraries.
@Suite("WS-Trust", .serialized, .passive("ws-trust", threshold: 3, register: ["--preset", "ws-federation", "--active", "on"]))
struct WSTrustTests {
  private static let both = TrustQuestion.Version.allCases

  private func turnOn() async throws {
    for version in Self.both { try await PassiveHouse.current.admin("federation", "enable", "\(version.rawValue)/usernamemixed") }
  }

  private func question(
    _ version: TrustQuestion.Version, _ client: TrustQuestion.Client = .msalNET, as person: (name: String, password: String)
  ) throws -> TrustQuestion {
    let house = try PassiveHouse.current
    return TrustQuestion(
      client: client, version: version, endpoint: house.gateway.url + version.path, audience: house.party.realm,
      userName: person.name.contains("@") ? person.name : "\(person.name)@\(house.house.realm)", password: person.password)
  }

  private func alice() throws -> (name: String, password: String) { ("alice", try PassiveHouse.current.house.password("alice")) }

  /// The audit's rows of sign-ins, the newest of them that are about this person.
  private func rows(of name: String) async throws -> [Told.Row] {
    let house = try PassiveHouse.current
    let rows = try await house.admin.json([Told.Row].self, "audit", "list", "--kind", "sign-in", "--limit", "10000")
    return rows.filter { $0.event.subject?.lowercased().contains(name) == true }
  }

  @Test("Until they are switched on, the endpoints answer 503; what is switched on and off is listed, and in the metadata")
  func switches() async throws {
    let house = try PassiveHouse.current
    let exchange = house.gateway.url + "/adfs/services/trust/mex"
    for version in Self.both {
      _ = try await house.admin.attempt("federation", "disable", "\(version.rawValue)/usernamemixed")
      #expect(try await question(version, as: alice()).ask().status == 503)
      try await house.admin("federation", "enable", "\(version.rawValue)/usernamemixed")
      #expect(try await house.admin("federation", "endpoints").contains("\(version.rawValue)/usernamemixed"))
      #expect(try await CookieBrowser().request(exchange).body.contains(house.gateway.url + version.path))
      #expect(try await question(version, as: alice()).ask().status == 200)
      try await house.admin("federation", "disable", "\(version.rawValue)/usernamemixed")
      #expect(try await question(version, as: alice()).ask().status == 503)
      #expect(try await !CookieBrowser().request(exchange).body.contains(house.gateway.url + version.path))
    }
    // Nothing of what is not offered can be switched on.
    #expect(try await house.admin.attempt("federation", "enable", "2005/windowstransport").status != 0)
  }

  @Test("Every client's request is answered in both versions, field by field, by a token that other people's software believes", arguments: both)
  func shapes(version: TrustQuestion.Version) async throws {
    try await turnOn()
    let house = try PassiveHouse.current
    let (oracle, entityID) = (try await house.oracle(), try await house.house.entityID())
    for client in TrustQuestion.Client.allCases {
      let question = try question(version, client, as: alice())
      let reply = try await question.ask()
      try #require(reply.status == 200, "\(client): \(reply)")
      #expect(reply.page["content-type"]?.hasPrefix("application/soap+xml") == true)
      #expect(reply.page["cache-control"]?.contains("no-store") == true)
      let t = version.prefix
      let header = "/s:Envelope/s:Header"
      let response =
        "/s:Envelope/s:Body/" + (version == .feb2005 ? "" : "\(t):RequestSecurityTokenResponseCollection/") + "\(t):RequestSecurityTokenResponse"
      let attached = "\(response)/\(t):RequestedAttachedReference/o:SecurityTokenReference/o:KeyIdentifier"
      let unattached = "\(response)/\(t):RequestedUnattachedReference/o:SecurityTokenReference/o:KeyIdentifier"
      let outside = try await reply.values([
        "Action": "\(header)/a:Action", "mustUnderstand": "\(header)/a:Action/@s:mustUnderstand", "RelatesTo": "\(header)/a:RelatesTo",
        "times": "count(\(header)/o:Security/u:Timestamp/*)", "TokenType": "\(response)/\(t):TokenType",
        "RequestType": "\(response)/\(t):RequestType",
        "KeyType": "\(response)/\(t):KeyType", "AppliesTo": "\(response)/wsp:AppliesTo/a:EndpointReference/a:Address",
        "Context": "\(response)/@Context",
        "identifier": "\(response)/\(t):RequestedSecurityToken/saml1:Assertion/@AssertionID", "attached": attached, "unattached": unattached,
        "ValueType": "\(attached)/@ValueType", "life": "\(response)/\(t):Lifetime/*",
      ])
      #expect(outside["Action"] == version.answerAction)
      #expect(outside["mustUnderstand"] == "1")
      // ADAL's is no MessageID.
      #expect(outside["RelatesTo"] == (client == .adal ? "" : question.messageID))
      #expect(outside["times"] == "2.0")
      #expect(outside["TokenType"] == "urn:oasis:names:tc:SAML:1.0:assertion")
      #expect(outside["RequestType"] == version.namespace + "/Issue")
      #expect(outside["KeyType"] == version.keyType)
      #expect(outside["AppliesTo"] == house.party.realm)
      #expect(outside["Context"] == (client == .handmade ? "ctx-<1>" : ""))
      #expect(outside["attached"] == outside["identifier"] && outside["unattached"] == outside["identifier"])
      #expect(outside["ValueType"] == "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.0#SAMLAssertionID")
      let (assertion, signature) = try await oracle.checkToken(in: reply.body)
      #expect(signature.id == outside["identifier"])
      let inside = try await TrustReply.values(
        assertion,
        [
          "Issuer": "/saml1:Assertion/@Issuer", "Audience": "//saml1:Audience", "method": "//saml1:AuthenticationStatement/@AuthenticationMethod",
          "confirmation": "//saml1:Subject/saml1:SubjectConfirmation/saml1:ConfirmationMethod",
          "subjects": "count(//saml1:Subject) = count(//saml1:Assertion/*[self::saml1:AttributeStatement or self::saml1:AuthenticationStatement])",
          "upn": "//saml1:Attribute[@AttributeName='upn']/saml1:AttributeValue", "IssueInstant": "/saml1:Assertion/@IssueInstant",
          "life": "//saml1:Conditions/@NotBefore | //saml1:Conditions/@NotOnOrAfter",
        ])
      #expect(inside["Issuer"] == entityID)
      #expect(inside["Audience"] == house.party.realm)
      #expect(inside["method"] == "urn:oasis:names:tc:SAML:1.0:am:password")
      #expect(inside["confirmation"] == "urn:oasis:names:tc:SAML:1.0:cm:bearer\nurn:oasis:names:tc:SAML:1.0:cm:bearer")
      #expect(inside["subjects"] == "True")
      #expect(inside["upn"] == "alice@\(house.house.realm)")
      #expect(inside["life"] == outside["life"])
      // Milliseconds and Z: what .NET reads.
      for time in [inside["IssueInstant"] ?? ""] + (inside["life"] ?? "").split(separator: "\n").map(String.init) {
        #expect(time.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/) != nil, "\(time)")
      }
    }
  }

  @Test("Letters of either case in the address are the same, as with AD FS, in the path and in To; so are its names")
  func otherCase() async throws {
    try await turnOn()
    var question = try question(.feb2005, as: alice())
    question.endpoint = question.endpoint.replacing("usernamemixed", with: "UserNameMixed").replacing("https://localhost", with: "https://LOCALHOST")
    let reply = try await question.ask()
    #expect(reply.status == 200, "\(reply)")
  }

  @Test("A token of SAML 2.0 comes where it is asked for, or is the relying party's own")
  func saml20() async throws {
    try await turnOn()
    let house = try PassiveHouse.current
    var question = try question(.v13, as: alice())
    question.extra = "<wst:TokenType>http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV2.0</wst:TokenType>"
    let asked = try await question.ask()
    try #require(asked.status == 200, "\(asked)")
    let (assertion, _) = try await house.oracle().checkToken(in: asked.body)
    #expect(assertion.contains("urn:oasis:names:tc:SAML:2.0:assertion"))
    #expect(try await DocumentOracle.values(assertion, "//saml:Audience") == [house.party.realm])
    try await house.admin("rp", "edit", "wsapp", "--token-type", "saml20")
    question.extra = ""
    let own = try await question.ask()
    #expect(try await house.oracle().checkToken(in: own.body).assertion.contains("urn:oasis:names:tc:SAML:2.0:assertion"))
    try await house.admin("rp", "edit", "wsapp", "--token-type", "saml11")
  }

  @Test("What is wrong with a request is told as the fault that clients know, without a token and without the password", arguments: both)
  func faults(version: TrustQuestion.Version) async throws {
    try await turnOn()
    let house = try PassiveHouse.current
    let right = try question(version, as: alice())
    let addressing = "<wsa:Address>http://www.w3.org/2005/08/addressing/anonymous</wsa:Address>"
    func expect(_ code: String, _ what: String, _ question: TrustQuestion, _ edit: @escaping @Sendable (String) -> String = { $0 }) async throws {
      let changed = edit(question.text)
      try #require(changed != right.text, "\(what) changes nothing")
      let reply = try await question.ask(edit)
      let fault = try await reply.fault()
      #expect(fault.code == code, "\(what): \(reply)")
      #expect(!reply.body.contains("Assertion") && !reply.body.contains(right.password.markupEscaped), "\(what): \(reply)")
    }
    var other = right
    other.password = "not it"
    try await expect("FailedAuthentication", "a wrong password", other)
    other = right
    other.userName = "nobody@\(house.house.realm)"
    try await expect("FailedAuthentication", "an unknown name", other)
    other = right
    other.audience = "urn:nobody"
    try await expect("InvalidScope", "an unknown relying party", other)
    other = right
    other.endpoint = right.endpoint
    try await expect("DestinationUnreachable", "another To", other) {
      $0.replacing("<wsa:To s:mustUnderstand=\"1\">https://", with: "<wsa:To s:mustUnderstand=\"1\">https://x")
    }
    try await expect("DestinationUnreachable", "another path", right) { $0.replacing("/usernamemixed</wsa:To>", with: "/certificatemixed</wsa:To>") }
    other = right
    other.ahead = -1800
    try await expect("MessageExpired", "a stale timestamp", other)
    other.ahead = 1800
    try await expect("MessageExpired", "a timestamp of the future", other)
    let header = "<s:Header>"
    try await expect("MustUnderstand", "a header that must be understood", right) {
      $0.replacing(header, with: header + "<x:y xmlns:x=\"urn:x\" s:mustUnderstand=\"1\"/>")
    }
    try await expect("ActionNotSupported", "another operation", right) { $0.replacing("/RST/Issue</wsa:Action>", with: "/RST/Cancel</wsa:Action>") }
    try await expect("VersionMismatch", "SOAP 1.1", right) { $0.replacing(TrustQuestion.soap, with: "http://schemas.xmlsoap.org/soap/envelope/") }
    for (what, from, to) in [
      ("a DTD", "<s:Envelope", "<!DOCTYPE x [<!ENTITY a \"b\">]><s:Envelope"),
      ("a cancellation", "/Issue</wst:RequestType>", "/Cancel</wst:RequestType>"),
      ("two bodies", "</s:Envelope>", "<s:Body/></s:Envelope>"),
      ("an answer elsewhere", addressing, "<wsa:Address>https://evil.example/</wsa:Address>"),
      ("for somebody else", "</wst:RequestSecurityToken>", "<wst:OnBehalfOf><x/></wst:OnBehalfOf></wst:RequestSecurityToken>"),
      ("a half envelope", "</s:Body></s:Envelope>", ""),
    ] {
      try await expect("InvalidRequest", what, right) { $0.replacing(from, with: to) }
    }
    try await expect("InvalidSecurity", "two user names", right) {
      $0.replacing(
        "</wsse:Security>",
        with: "<wsse:UsernameToken><wsse:Username>x</wsse:Username><wsse:Password>y</wsse:Password></wsse:UsernameToken></wsse:Security>")
    }
    try await expect("UnsupportedSecurityToken", "a digest", right) {
      $0.replacing(
        "<wsse:Password>",
        with: "<wsse:Password Type=\"http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest\">")
    }
    // The words of AD FS, which clients and their owners look for.
    other = right
    other.password = "not it, again"
    let wrong = try await other.ask().fault()
    other.userName = "nobody@\(house.house.realm)"
    let unknown = try await other.ask().fault()
    #expect(wrong.text.hasPrefix("ID3242"), "\(wrong.text)")
    func withoutReference(_ text: String) -> String { text.replacing(/Reference: \S+/, with: "") }
    #expect(withoutReference(wrong.text) == withoutReference(unknown.text), "who exists is nobody's business")
    #expect(try await right.ask().status == 200)
  }

  @Test("A relying party that may not, a network that may not, and one that may")
  func allowed() async throws {
    try await turnOn()
    let house = try PassiveHouse.current
    let question = try question(.feb2005, as: alice())
    try await house.admin("rp", "edit", "wsapp", "--active", "off")
    let refused = try await question.ask()
    #expect(refused.status == 500 && !refused.body.contains("Assertion"), "\(refused)")
    try await house.admin("rp", "edit", "wsapp", "--active", "on", "--active-network", "10.0.0.0/8")
    let elsewhere = try await question.ask()
    #expect(elsewhere.status == 500 && !elsewhere.body.contains("Assertion"), "\(elsewhere)")
    // Nobody is believed where they say they come from.
    let forged = try await question.ask(fields: [("x-forwarded-for", "10.1.1.1"), ("x-ms-forwarded-client-ip", "10.1.1.1"), ("x-ms-proxy", "wap")])
    #expect(forged.status == 500 && !forged.body.contains("Assertion"), "\(forged)")
    try await house.admin("rp", "edit", "wsapp", "--active-network", "127.0.0.0/8")
    #expect(try await question.ask().status == 200)
    try await house.admin("federation", "enable", "2005/usernamemixed", "--network", "10.0.0.0/8")
    #expect(try await question.ask().status == 503)
    try await house.admin("federation", "enable", "2005/usernamemixed", "--network", "127.0.0.0/8", "--network", "10.0.0.0/8")
    #expect(try await question.ask().status == 200)
  }

  @Test("Each wrong password is one row of the audit, at whichever endpoint, as a right one is, and the password stands nowhere")
  func audit() async throws {
    try await turnOn()
    let house = try PassiveHouse.current
    let person = try await house.house.people("trusted", 1)[0]
    for (index, version) in Self.both.enumerated() {
      var wrong = try question(version, as: person)
      wrong.password = "Wrong.Guess.\(index)"
      let before = try await rows(of: person.name).count
      _ = try await wrong.ask().fault()
      let after = try await rows(of: person.name)
      #expect(after.count == before + 1, "\(version)")
      #expect(after.contains { $0.event.outcome.contains("refused") || $0.event.outcome.contains("invalid") }, "\(after.map(\.event.outcome))")
      #expect(try await question(version, as: person).ask().status == 200)
      #expect(try await rows(of: person.name).count == before + 2)
    }
    let log = house.gateway.process?.logText ?? ""
    #expect(!log.contains("Wrong.Guess") && !log.contains(person.password))
    #expect(try await !house.admin("audit", "list", "--limit", "200", "--json").contains("Wrong.Guess"))
  }

  @Test("Guesses by WS-Trust, on the page and by a front-end are counted together, and the lock holds for all of them")
  func lockout() async throws {
    try await turnOn()
    let house = try PassiveHouse.current
    let person = try await house.house.people("guessed-at", 1)[0]
    var question = try question(.feb2005, as: person)
    question.password = "guess 1"
    #expect(try await question.ask().fault().code == "FailedAuthentication")
    let page = try await house.signIn(CookieBrowser(), house.party.protectedPageURL, as: person.name, password: "guess 2")
    #expect(page.body.contains("not correct"), "\(page.body)")
    #expect(try await house.house.frontEnd.signIn("\(person.name)@\(house.house.realm)", "guess 3").gist == "200 invalid_credentials")
    for version in Self.both {
      let locked = try await self.question(version, as: person).ask()
      #expect(locked.status == 500 && !locked.body.contains("Assertion"), "\(locked)")
    }
    #expect(try await house.house.frontEnd.signIn("\(person.name)@\(house.house.realm)", person.password).gist == "200 temporarily_locked")
    try await house.admin("users", "unlock", "\(person.name)@\(house.house.realm)")
    #expect(try await self.question(.v13, as: person).ask().status == 200)
  }

  @Test("MSAL and ADAL find the endpoints by themselves, get tokens that hold, and are told of a wrong password by its fault")
  func clients() async throws {
    struct Told: Decodable {
      struct Endpoint: Decodable {
        var address: String
        var action: String?
      }
      struct Answer: Decodable {
        var client: String
        var endpoint: String
        var userName: String
        var token: String?
        var type: String?
        var error: String?
      }
      var msal: Endpoint
      var every: [Endpoint]
      var adal: Endpoint
      var answers: [Answer]
    }
    let python = try #require(
      ProcessInfo.processInfo.environment["GATEHOUSE_MSAL"], "Tests/run installs MSAL and ADAL and tells where by GATEHOUSE_MSAL")
    try await turnOn()
    let house = try PassiveHouse.current
    // As awkward as the domain allows: it is written into XML.
    let person = (name: "msal-user", password: "R&ght <Pass>\"word' ü€ 1")
    try await SambaDomain.add([person], to: house.house.domain)
    let name = "\(person.name)@\(house.house.realm)"
    let people = [["userName": name, "password": person.password], ["userName": name, "password": "wrong"]]
    let input = house.gateway.folder + "/people.json"
    try JSONEncoder().encode(people).write(to: URL(fileURLWithPath: input))
    let output = try await LeashedProcess.run(
      "/bin/bash",
      [
        "-c", "\"$1\" \"$2\" --metadata \"$3\" --authority \"$4\" --audience \"$5\" <\"$6\"", "bash", python,
        BuiltProgram.repository + "/Tests/EndToEndTests/Programs/ws-trust-clients", house.gateway.url + "/adfs/services/trust/mex",
        house.gateway.folder + "/tls/ca.pem", house.party.realm, input,
      ])
    let told = try JSONDecoder().decode(Told.self, from: Data(output.utf8))
    let (old, new) = (house.gateway.url + TrustQuestion.Version.feb2005.path, house.gateway.url + TrustQuestion.Version.v13.path)
    #expect(told.msal.address == new && told.adal.address == new, "both prefer the newer one")
    #expect(Set(told.every.map(\.address)) == [old, new])
    #expect(told.answers.count == 6)
    let oracle = try await house.oracle()
    for (index, answer) in told.answers.enumerated() {
      if index < 3 {
        let token = try #require(answer.token, "\(answer.client) at \(answer.endpoint): \(answer.error ?? "")")
        #expect(answer.type == "urn:oasis:names:tc:SAML:1.0:assertion")
        #expect(try await oracle.check(token, schema: .assertion11).map(\.element) == ["Assertion"])
        #expect(try await DocumentOracle.values(token, "//saml1:Attribute[@AttributeName='upn']/saml1:AttributeValue") == [name])
      } else {
        #expect(answer.token == nil)
        #expect(answer.error?.contains("FailedAuthentication") == true && answer.error?.contains("ID3242") == true, "\(answer.error ?? "")")
      }
    }
  }
}
