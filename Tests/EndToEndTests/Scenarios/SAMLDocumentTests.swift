import Foundation
import Testing

/// Everything that is issued, as xmlsec1, xmllint and two real relying parties see it.
@Suite("SAML documents by other people's software", .serialized, .federation("saml-documents"))
struct SAMLDocumentTests {
  struct Order: Sendable, CustomTestStringConvertible {
    var sign: String
    var encrypt: String
    var algorithm: String
    var testDescription: String { "\(sign) signed by \(algorithm), \(encrypt) encrypted" }
  }

  private static let uris = [
    "rsa-sha256": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "rsa-sha384": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384",
    "rsa-sha512": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512", "ecdsa-sha256": "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
  ]

  /// Every combination of what is signed and what is encrypted, and every algorithm with each of the former.
  private static let orders =
    ["response", "assertion", "both"].enumerated().flatMap { row, sign in
      ["nothing", "assertion", "name"].enumerated().map { column, encrypt in
        Order(sign: sign, encrypt: encrypt, algorithm: ["rsa-sha256", "rsa-sha384", "rsa-sha512", "ecdsa-sha256"][(row + column) % 4])
      }
    } + [
      Order(sign: "response", encrypt: "nothing", algorithm: "ecdsa-sha256"), Order(sign: "assertion", encrypt: "nothing", algorithm: "ecdsa-sha256"),
      Order(sign: "both", encrypt: "nothing", algorithm: "rsa-sha256"),
    ]

  @Test(
    "Whatever is signed and encrypted, by whichever algorithm: signatures hold, the schema is kept, the relying party takes it", arguments: orders)
  func issued(order: Order) async throws {
    let federation = try FederationHouse.current
    let shibboleth = federation.shibboleth
    try await federation.admin(
      "rp", "edit", "shibboleth", "--sign", order.sign, "--encrypt", order.encrypt, "--algorithm", order.algorithm, "--name-id", "persistent")
    if order.algorithm.hasPrefix("ecdsa") {
      // ECDSA keys are in the metadata of those only who chose them: it has to read it before.
      try shibboleth.replaceIdentityProviderMetadata(try await federation.house.gatewayMetadata(for: "shibboleth"))
      try await Task.sleep(for: .seconds(3))
    }
    let oracle = DocumentOracle(certificate: try await federation.certificate(order.algorithm.hasPrefix("ecdsa") ? "ecdsa" : "rsa"))
    let browser = CookieBrowser()
    let page = try await federation.signIn(browser, shibboleth.protectedPageURL, as: "alice")
    let trail = await browser.trail
    let visitor = try #require(shibboleth.visitor(in: page.body), "\(trail)\n\(page.body)\n\(shibboleth.logTail)")
    #expect(visitor["eppn"] == "alice@\(federation.house.realm)")
    #expect(visitor["persistent"]?.contains("!") == true, "the name did not arrive: \(visitor.variables)")
    let document = try await federation.carried(by: browser)
    let signatures = try await oracle.check(document, decryptingWith: order.encrypt == "assertion" ? shibboleth.key : nil)
    var expected: [String] = []
    if order.sign != "assertion" { expected.append("Response") }
    if order.sign != "response" { expected.append("Assertion") }
    #expect(signatures.map(\.element) == expected)
    for signature in signatures {
      #expect(signature.signatureMethod == Self.uris[order.algorithm])
      let digest = order.algorithm.split(separator: "-")[1]
      #expect(signature.digestMethod.hasSuffix("#\(digest)"))
    }
    // Where something is encrypted, nothing of it stands beside.
    #expect(document.contains("EncryptedAssertion") == (order.encrypt == "assertion"))
    #expect(document.contains("EncryptedID") == (order.encrypt == "name"))
    #expect(document.contains("</saml:NameID>") == (order.encrypt == "nothing"))
    if order.encrypt == "assertion" {
      #expect(!document.contains("alice"))
      let clear = try await oracle.decrypted(document, key: shibboleth.key)
      #expect(try await DocumentOracle.values(clear, "count(//saml:Assertion/saml:Subject/saml:NameID)") == ["1.0"])
    } else if order.encrypt == "name" {
      let clear = try await oracle.decrypted(document, key: shibboleth.key)
      #expect(
        try await DocumentOracle.values(clear, "//saml:EncryptedID/saml:NameID").first.map { visitor["persistent"]?.hasSuffix("!" + $0) } == true)
    }
  }

  @Test("Encrypted assertions and names arrive at mellon; who has no key for it cannot be given any", arguments: ["assertion", "name"])
  func mellon(encrypt: String) async throws {
    let federation = try FederationHouse.current
    try await federation.admin("rp", "edit", "mellon", "--encrypt", encrypt)
    let browser = CookieBrowser()
    let page = try await federation.signIn(browser, federation.mellon.protectedPageURL, as: "alice")
    #expect(federation.mellon.visitor(in: page.body)?["eppn"] == "alice@\(federation.house.realm)", "\(page.body)\n\(federation.mellon.logTail)")
    try await DocumentOracle(certificate: try await federation.certificate()).check(try await federation.carried(by: browser))
    try await federation.admin("rp", "edit", "mellon", "--encrypt", "nothing")
    let keyless = try await federation.admin.attempt(
      "rp", "add", "--name", "keyless-\(encrypt)", "--entity-id", "urn:keyless:\(encrypt)", "--acs", "https://keyless.test/acs", "--encrypt", encrypt)
    #expect(keyless.status != 0)
    #expect(keyless.complaint.contains("no encryption certificate"), "\(keyless.complaint)")
  }

  @Test("Our metadata keep their schema, are signed by a key of their own, and show ECDSA to those only who chose it")
  func metadata() async throws {
    let federation = try FederationHouse.current
    let keys = [try await federation.certificate("rsa"), try await federation.certificate("ecdsa")].map {
      try? String(contentsOfFile: $0, encoding: .utf8).split(separator: "\n").dropFirst().dropLast().joined()
    }
    var signers: Set<String> = []
    try await federation.admin("rp", "edit", "shibboleth", "--algorithm", "ecdsa-sha256")
    for party in [nil, "mellon", "shibboleth"] {
      let document = try await federation.house.gatewayMetadata(for: party)
      let signer = try #require(try await DocumentOracle.values(document, "/md:EntityDescriptor/ds:Signature//ds:X509Certificate").first)
      let file = federation.house.gateway.folder + "/metadata-signer.pem"
      try "-----BEGIN CERTIFICATE-----\n\(signer)\n-----END CERTIFICATE-----\n".write(toFile: file, atomically: true, encoding: .utf8)
      let signatures = try await DocumentOracle(certificate: file).check(document, schema: .metadata20)
      #expect(signatures.map(\.element) == ["EntityDescriptor"])
      let named = try await DocumentOracle.values(document, "//md:KeyDescriptor[not(@use) or @use = 'signing']//ds:X509Certificate")
      #expect(named.map { $0.filter { !$0.isWhitespace } } == (party == "shibboleth" ? [keys[1], keys[0]] : [keys[0]]), "\(named)")
      #expect(!named.contains(signer), "tokens would be believed that the metadata's key signed")
      signers.insert(signer)
    }
    #expect(signers.count == 1)
  }

  @Test("A LogoutRequest and a LogoutResponse by POST hold as all documents do")
  func logoutByPost() async throws {
    let federation = try FederationHouse.current
    let shibboleth = federation.shibboleth
    try await federation.admin("rp", "edit", "shibboleth", "--sign", "both", "--encrypt", "nothing", "--algorithm", "rsa-sha256")
    let own = try await shibboleth.metadata()
    try await federation.replaceMetadata("shibboleth", LogoutMessage.metadata(own, keeping: "HTTP-POST"))
    let oracle = DocumentOracle(certificate: try await federation.certificate())
    // From our page: we ask.
    let browser = CookieBrowser()
    _ = try await federation.signIn(browser, shibboleth.protectedPageURL, as: "alice")
    let page = try await browser.open(federation.house.gateway.url + "/sign-out")
    let way = try await browser.submit(try page.form(with: "transaction"), of: page)
    let request = try #require(way.samlMessage, "\(way.body)")
    #expect(try await oracle.check(request).map(\.element) == ["LogoutRequest"])
    #expect(try await DocumentOracle.values(request, "/samlp:LogoutRequest/@Destination") == [shibboleth.url + "/Shibboleth.sso/SLO/POST"])
    let end = try await browser.carryOn(way)
    #expect(end.body.contains("You are signed out") && !end.body.contains("could not be told"), "\(end.body)")
    // From the relying party: we answer.
    _ = try await federation.signIn(browser, shibboleth.protectedPageURL, as: "alice")
    let answered = try await browser.open(shibboleth.logoutURL(returning: shibboleth.openPageURL))
    let response = try #require(answered.samlMessage, "\(answered.body)")
    #expect(try await oracle.check(response).map(\.element) == ["LogoutResponse"])
    #expect(try await DocumentOracle.values(response, "//samlp:StatusCode/@Value") == ["urn:oasis:names:tc:SAML:2.0:status:Success"])
    #expect(try await browser.carryOn(answered).url == shibboleth.openPageURL)
    try await federation.replaceMetadata("shibboleth", own)
  }
}
