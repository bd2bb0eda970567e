import Bytes
import SAML
import Testing
import XMLSecurity

@testable import WSFederation

@Suite struct `An answer with a token` {
  private static let token = Array("<saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:1.0:assertion\"></saml:Assertion>".utf8)

  private func written(_ version: TrustVersion, _ type: TokenType = .saml11, context: String? = nil) throws -> [UInt8] {
    var response = TokenResponse(
      version: version, token: Self.token, tokenType: type, assertionID: "_a", created: Samples.now, expires: Samples.now.adding(.seconds(3600)),
      appliesTo: "urn:a&b")
    response.context = context
    let written = try response.written()
    #expect(try Samples.parse(written).canonicalBytes() == written)
    return written
  }

  private func response(_ version: TrustVersion, _ type: TokenType = .saml11, context: String? = nil) throws -> XMLElement {
    let root = try Samples.parse(try written(version, type, context: context))
    guard version == .v13 else { return root }
    #expect(root.name == XMLName(version.namespace, "RequestSecurityTokenResponseCollection"))
    #expect(root.elements.count == 1 && root.attributes.isEmpty)
    return try root.child("RequestSecurityTokenResponse")
  }

  @Test func `is bare in 2005 and a collection of one in 1.3`() throws {
    #expect(try response(.feb2005).name == XMLName("http://schemas.xmlsoap.org/ws/2005/02/trust", "RequestSecurityTokenResponse"))
    #expect(try response(.v13).name == XMLName("http://docs.oasis-open.org/ws-sx/ws-trust/200512", "RequestSecurityTokenResponse"))
  }

  @Test(arguments: TrustVersion.allCases) func `has everything in the order of AD FS`(_ version: TrustVersion) throws {
    let root = try response(version)
    #expect(
      root.elements.map(\.name.local) == [
        "Lifetime", "AppliesTo", "RequestedSecurityToken", "RequestedAttachedReference", "RequestedUnattachedReference", "TokenType", "RequestType",
        "KeyType",
      ])
    let lifetime = try root.child("Lifetime")
    #expect(lifetime.elements.map(\.name) == [FederationVocabulary.wsu("Created"), FederationVocabulary.wsu("Expires")])
    #expect(try lifetime.text("Created") == "2026-11-18T11:06:40.123Z")
    #expect(try lifetime.text("Expires") == "2026-11-18T12:06:40.123Z")
    let appliesTo = try root.child("AppliesTo")
    #expect(appliesTo.name.namespace == "http://schemas.xmlsoap.org/ws/2004/09/policy")
    #expect(try appliesTo.child("EndpointReference").text("Address") == "urn:a&b")
    #expect(try appliesTo.child("EndpointReference").name.namespace == "http://www.w3.org/2005/08/addressing")
    #expect(try root.text("RequestType") == version.issue)
    #expect(
      try root.text("KeyType")
        == (version == .feb2005
          ? "http://schemas.xmlsoap.org/ws/2005/05/identity/NoProofKey" : "http://docs.oasis-open.org/ws-sx/ws-trust/200512/Bearer"))
  }

  @Test(arguments: [
    (
      TokenType.saml11, "urn:oasis:names:tc:SAML:1.0:assertion", "#SAMLV1.1",
      "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.0#SAMLAssertionID"
    ),
    (.saml20, "urn:oasis:names:tc:SAML:2.0:assertion", "#SAMLV2.0", "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLID"),
  ])
  func `refers to its token by kind`(_ type: TokenType, _ uri: String, _ profile: String, _ identifier: String) throws {
    let root = try response(.v13, type)
    #expect(try root.text("TokenType") == uri)
    for local in ["RequestedAttachedReference", "RequestedUnattachedReference"] {
      let reference = try root.child(local).child("SecurityTokenReference")
      #expect(reference.name == FederationVocabulary.wsse("SecurityTokenReference"))
      #expect(
        reference.attribute(XMLName("http://docs.oasis-open.org/wss/oasis-wss-wssecurity-secext-1.1.xsd", "TokenType"))
          == "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1" + profile)
      #expect(try reference.text("KeyIdentifier") == "_a")
      #expect(try reference.child("KeyIdentifier").attribute("ValueType") == identifier)
    }
  }

  @Test func `holds the token byte for byte, and no white space`() throws {
    for version in TrustVersion.allCases {
      let bytes = try written(version)
      #expect(bytes.firstRange(of: Array("<t:RequestedSecurityToken>".utf8) + Self.token + Array("</t:RequestedSecurityToken>".utf8)) != nil)
      #expect(bytes.firstRange(of: Array("> ".utf8)) == nil && !bytes.contains(0x0a))
      #expect(bytes.firstRange(of: Array("<t:TokenType>urn:oasis:names:tc:SAML:1.0:assertion</t:TokenType>".utf8)) != nil)
    }
  }

  @Test func `gives back the context of the request`() throws {
    #expect(try response(.v13, context: "a\"b").attribute("Context") == "a\"b")
    #expect(try response(.feb2005).attribute("Context") == nil)
  }
}

@Suite struct `Kinds of token` {
  @Test func `are known by their namespaces and by the token profile`() {
    #expect(TokenType(uri: "urn:oasis:names:tc:SAML:1.0:assertion") == .saml11)
    #expect(TokenType(uri: "urn:oasis:names:tc:SAML:2.0:assertion") == .saml20)
    #expect(TokenType(uri: "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV1.1") == .saml11)
    #expect(TokenType(uri: "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV2.0") == .saml20)
    for other in ["", "urn:oasis:names:tc:SAML:1.1:assertion", "urn:ietf:params:oauth:token-type:jwt", "URN:OASIS:names:tc:SAML:1.0:assertion"] {
      #expect(TokenType(uri: other) == nil)
    }
  }

  @Test func `have words`() {
    #expect(TokenType.allCases.map(\.word) == ["saml11", "saml20"])
    #expect(TokenType.allCases.allSatisfy { TokenType(word: $0.word) == $0 })
    #expect(TokenType(word: "SAML11") == nil)
  }

  @Test func `are asked for at endpoints of which two are served`() {
    #expect(TrustEndpoint.allCases.filter(\.isServed) == [.usernameMixed2005, .usernameMixed13])
    #expect(TrustEndpoint.allCases.allSatisfy { $0.rawValue.hasPrefix($0.version.rawValue + "/") })
  }
}
