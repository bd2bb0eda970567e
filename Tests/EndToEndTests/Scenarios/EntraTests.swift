import Foundation
import Testing

/// What Microsoft Entra ID wants of a federated domain, as far as it can be seen from here: the tokens of both ways, and the script that tells Entra.
@Suite("Entra ID", .serialized, .passive("entra"))
struct EntraTests {
  private static let audience = "urn:federation:MicrosoftOnline"
  private static let corporate = "http://schemas.microsoft.com/ws/2012/01/insidecorporatenetwork"
  private static let upn = "http://schemas.xmlsoap.org/claims/UPN"
  private static let immutable = "http://schemas.microsoft.com/LiveID/Federation/2008/05/ImmutableID"
  private static let second = "contoso.example"

  /// Registers it, as often as is asked; answers what the command printed.
  @discardableResult
  private func prepare() async throws -> String {
    let house = try PassiveHouse.current
    let printed = try await house.admin("rp", "add-entra", "--domain", house.house.realm, "--domain", Self.second)
    try await house.admin("rp", "edit", "entra", "--active", "on")
    try await house.admin("federation", "enable", "2005/usernamemixed")
    return printed
  }

  /// The token of the passive way.
  private func passive(_ name: String, password: String? = nil) async throws -> String {
    let house = try PassiveHouse.current
    let page = try await house.signIn(
      CookieBrowser(), house.question([("wtrealm", Self.audience), ("wctx", "estsredirect=2")]), as: name, password: password, following: false)
    let form = try PassiveHouse.answer(on: page)
    #expect(form.action == "https://login.microsoftonline.com/login.srf")
    #expect(form["wctx"] == "estsredirect=2")
    return try await house.oracle().checkToken(in: form["wresult"] ?? "").assertion
  }

  /// The token of the active way.
  private func active(_ name: String, password: String? = nil, fields: [(name: String, value: String)] = []) async throws -> String {
    let house = try PassiveHouse.current
    let right = try password ?? house.house.password(name)
    let question = TrustQuestion(
      endpoint: house.gateway.url + TrustQuestion.Version.feb2005.path, audience: Self.audience,
      userName: name.contains("@") || name.contains("\\") ? name : "\(name)@\(house.house.realm)", password: right)
    let reply = try await question.ask(fields: fields)
    guard reply.status == 200 else { throw DocumentOracle.Objection(description: "\(reply)") }
    return try await house.oracle().checkToken(in: reply.body).assertion
  }

  private func claim(_ type: String, in assertion: String) async throws -> [String] {
    let slash = try #require(type.lastIndex(of: "/"))
    let (space, name) = (type[..<slash], type[type.index(after: slash)...])
    return try await DocumentOracle.values(
      assertion, "//saml1:Attribute[@AttributeNamespace='\(space)' and @AttributeName='\(name)']/saml1:AttributeValue")
  }

  @Test("One command registers it and prints the script that tells Entra: names, addresses, the certificate, and that a second factor is Entra's own")
  func script() async throws {
    let house = try PassiveHouse.current
    let script = try await prepare()
    let gateway = house.gateway.url
    for domain in [house.house.realm, Self.second] {
      #expect(script.contains(domain))
      #expect(script.contains("http://\(domain)/adfs/services/trust/"), "\(script)")
    }
    for word in [
      gateway + "/adfs/ls/", gateway + "/adfs/services/trust/2005/usernamemixed", gateway + "/adfs/services/trust/mex", "rejectMfaByFederatedIdp",
      "MgDomainFederationConfiguration",
    ] {
      #expect(script.contains(word), "\(word) is missing: \(script)")
    }
    let certificate = try String(contentsOfFile: try await house.certificate(), encoding: .utf8)
      .split(separator: "\n").filter { !$0.hasPrefix("-----") }.joined()
    #expect(script.contains(certificate), "the certificate is missing: \(script)")
    let shown = try await house.admin("rp", "list")
    #expect(shown.contains(Self.audience), "\(shown)")
    struct Told: Decodable {
      struct Domain: Decodable {
        var domain: String
        var issuerUri: String
      }
      var domains: [Domain]
      var activeSignInUri: String
      var federatedIdpMfaBehavior: String
      var script: String
    }
    // As a program reads it; once more, it adds nothing.
    let told = try await house.admin.json(Told.self, "rp", "add-entra", "--domain", Self.second)
    #expect(Set(told.domains.map(\.domain)) == [house.house.realm, Self.second])
    #expect(told.federatedIdpMfaBehavior == "rejectMfaByFederatedIdp" && script.contains(told.script))
  }

  @Test("By browser and by WS-Trust, a token has every claim that Entra wants of a person with a password")
  func claims() async throws {
    let house = try PassiveHouse.current
    try await prepare()
    let guid = try #require(try await SambaDomain.standard.attribute("objectGUID", of: "alice"))
    for (way, assertion) in [("passive", try await passive("alice")), ("active", try await active("alice"))] {
      func one(_ path: String) async throws -> String? { try await DocumentOracle.values(assertion, path).first }
      #expect(try await claim(Self.upn, in: assertion) == ["alice@\(house.house.realm)"], "\(way)")
      let identifier = try #require(try await claim(Self.immutable, in: assertion).first, "\(way): \(assertion)")
      #expect(Data(base64Encoded: identifier)?.count == 16, "\(way): \(identifier)")
      #expect(identifier == Self.immutableID(guid), "\(way)")
      // The name is the ImmutableID, in every statement.
      #expect(Set(try await DocumentOracle.values(assertion, "//saml1:NameIdentifier")) == [identifier], "\(way)")
      #expect(
        Set(try await DocumentOracle.values(assertion, "//saml1:NameIdentifier/@Format")) == ["urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"]
      )
      #expect(try await one("/saml1:Assertion/@Issuer") == "http://\(house.house.realm)/adfs/services/trust/", "\(way)")
      #expect(try await DocumentOracle.values(assertion, "//saml1:Audience") == [Self.audience])
      #expect(try await claim(Self.corporate, in: assertion) == ["false"], "\(way)")
      let method = try await one("//saml1:AuthenticationStatement/@AuthenticationMethod")
      #expect(method == "urn:oasis:names:tc:SAML:1.0:am:password", "\(way)")
      let references = try await claim("http://schemas.microsoft.com/claims/authnmethodsreferences", in: assertion)
      #expect(references == ["urn:oasis:names:tc:SAML:1.0:am:password"], "\(way)")
      #expect(try await claim("http://schemas.microsoft.com/ws/2012/01/accounttype", in: assertion) == ["User"], "\(way)")
      // It is good for more than a fortnight, and the browser forgets the session.
      #expect(!assertion.contains("passwordexpiration") && !assertion.contains("2014/03"), "\(way)")
      // Nobody has shown a second factor.
      #expect(!assertion.contains("multipleauthn"), "\(way)")
    }
  }

  /// Base64 of the identifier's bytes as Active Directory keeps them: the first three groups are numbers, the least byte first.
  private static func immutableID(_ guid: String) -> String {
    let groups = guid.split(separator: "-").map { group in
      stride(from: 0, to: group.count, by: 2).compactMap { UInt8(group.dropFirst($0).prefix(2), radix: 16) }
    }
    let bytes = groups.enumerated().flatMap { $0.offset < 3 ? Array($0.element.reversed()) : $0.element }
    return Data(bytes).base64EncodedString()
  }

  @Test("Whether somebody is inside of the corporate network is told by the connection, and no header of a stranger changes it")
  func insideCorporateNetwork() async throws {
    let house = try PassiveHouse.current
    try await prepare()
    let forged: [(name: String, value: String)] = [
      ("x-forwarded-for", "10.1.2.3"), ("x-ms-forwarded-client-ip", "10.1.2.3"), ("x-ms-proxy", "wap.corporate.example"),
      ("forwarded", "for=10.1.2.3"),
      ("x-real-ip", "10.1.2.3"),
    ]
    try await house.admin("federation", "networks", "--corporate", "10.0.0.0/8")
    #expect(try await claim(Self.corporate, in: try await active("alice", fields: forged)) == ["false"])
    try await house.admin("federation", "networks", "--corporate", "10.0.0.0/8", "--corporate", "127.0.0.0/8")
    #expect(try await claim(Self.corporate, in: try await active("alice")) == ["true"])
    #expect(try await claim(Self.corporate, in: try await passive("alice")) == ["true"])
    try await house.admin("federation", "networks", "--corporate", "10.0.0.0/8")
  }

  @Test("The issuer is that of the person's domain; a sub-domain has its parent's, and somebody of another domain gets no token")
  func issuers() async throws {
    let house = try PassiveHouse.current
    try await prepare()
    let people = try await house.house.people("entra", 3)
    let names = ["\(people[0].name)@\(Self.second)", "\(people[1].name)@europe.\(Self.second)", "\(people[2].name)@elsewhere.example"]
    for (person, name) in zip(people, names) { try await SambaDomain.rename(person.name, to: name, in: house.house.domain) }
    let issuer = "http://\(Self.second)/adfs/services/trust/"
    for (person, name) in zip(people, names).prefix(2) {
      let typed = "\(house.house.domain["AD_NETBIOS"])\\\(person.name)"
      for assertion in [try await passive(typed, password: person.password), try await active(typed, password: person.password)] {
        #expect(try await DocumentOracle.values(assertion, "/saml1:Assertion/@Issuer") == [issuer])
        #expect(try await claim(Self.upn, in: assertion) == [name])
      }
    }
    let typed = "\(house.house.domain["AD_NETBIOS"])\\\(people[2].name)"
    await #expect(throws: (any Error).self) { try await active(typed, password: people[2].password) }
    let page = try await house.signIn(
      CookieBrowser(), house.question([("wtrealm", Self.audience)]), as: typed, password: people[2].password, following: false)
    #expect(!page.body.contains("wresult"), "\(page.body)")
    #expect(try await house.explained(page).contains("elsewhere.example"))
  }
}
