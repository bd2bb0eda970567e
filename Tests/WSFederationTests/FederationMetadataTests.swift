import Bytes
import Cryptography
import Foundation
import SAML
import Testing
import XMLSecurity

@testable import WSFederation

@Suite struct `The WSDL of the token endpoints` {
  private static let all = TrustEndpoint.allCases.map { ($0, "https://idp.example/adfs/services/trust/\($0.rawValue)") }
  private static let policy = "http://schemas.xmlsoap.org/ws/2004/09/policy"

  /// What MSAL finds: the address and action of each port whose binding's policy has this path of local names below All.
  private func found(_ bytes: [UInt8], _ path: [XMLName]) throws -> [String] {
    let root = try Samples.parse(bytes)
    #expect(root.name == XMLName("http://schemas.xmlsoap.org/wsdl/", "definitions"))
    var policies: [String] = []
    for element in root.children(XMLName(Self.policy, "Policy")) {
      var place: XMLElement? = try element.child("ExactlyOne").child("All")
      for name in path { place = place?.children(name).first }
      if place != nil, let id = element.attribute(FederationVocabulary.wsu("Id")) { policies.append("#" + id) }
    }
    var actions: [String: String] = [:]
    for binding in root.elements where binding.name.local == "binding" {
      #expect(try binding.child("binding").attribute("transport") == "http://schemas.xmlsoap.org/soap/http")
      let action = try binding.child("operation").child("operation").attribute("soapAction")
      if let policy = try binding.child("PolicyReference").attribute("URI"), policies.contains(policy) {
        actions[binding.attribute("name") ?? ""] = action
      }
    }
    return try root.child("service").elements.compactMap { port in
      guard let action = actions[port.attribute("binding")?.split(separator: ":").last.map(String.init) ?? ""] else { return nil }
      #expect(port.namespace(ofPrefix: "tns") == root.attribute("targetNamespace"))
      #expect(try port.child("address").attribute("location") == port.child("EndpointReference").text("Address"))
      return "\(try port.child("EndpointReference").text("Address")) \(action)"
    }
  }

  private func userName(_ namespace: String, _ supporting: String) -> [XMLName] {
    [
      XMLName(namespace, supporting), XMLName(Self.policy, "Policy"), XMLName(namespace, "UsernameToken"), XMLName(Self.policy, "Policy"),
      XMLName(namespace, "WssUsernameToken10"),
    ]
  }

  @Test func `leads a user name to the endpoint of each version`() throws {
    let bytes = try MetadataExchange(endpoints: Self.all).written()
    #expect(
      try found(bytes, userName("http://schemas.xmlsoap.org/ws/2005/07/securitypolicy", "SignedSupportingTokens")) == [
        "https://idp.example/adfs/services/trust/2005/usernamemixed http://schemas.xmlsoap.org/ws/2005/02/trust/RST/Issue"
      ])
    #expect(
      try found(bytes, userName("http://docs.oasis-open.org/ws-sx/ws-securitypolicy/200702", "SignedEncryptedSupportingTokens")) == [
        "https://idp.example/adfs/services/trust/13/usernamemixed http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/Issue"
      ])
  }

  @Test func `leads Negotiate to the endpoints of Windows, by policies of their own`() throws {
    let bytes = try MetadataExchange(endpoints: Self.all).written()
    let negotiate = [XMLName("http://schemas.microsoft.com/ws/06/2004/policy/http", "NegotiateAuthentication")]
    #expect(
      try found(bytes, negotiate).map { $0.split(separator: " ").first.map(String.init) } == [
        "https://idp.example/adfs/services/trust/2005/windowstransport", "https://idp.example/adfs/services/trust/13/windowstransport",
      ])
    let root = try Samples.parse(bytes)
    let policies = root.children(XMLName(Self.policy, "Policy"))
    #expect(policies.count == 6)
    #expect(Set(policies.compactMap { $0.attribute(FederationVocabulary.wsu("Id")) }).count == 6)
    for policy in policies {
      let all = try policy.child("ExactlyOne").child("All")
      #expect(all.elements.count == 2)
      #expect(all.elements.contains { $0.name.local == "TransportBinding" })
    }
  }

  @Test func `has nothing of an endpoint that is off`() throws {
    let bytes = try MetadataExchange(endpoints: Self.all.filter { $0.0 == .usernameMixed2005 }).written()
    let text = String(decoding: bytes, as: UTF8.self)
    #expect(!text.contains("200512") && !text.contains("Negotiate") && !text.contains("Kerberos"))
    let root = try Samples.parse(bytes)
    #expect(root.elements.map(\.name.local) == ["Policy", "message", "message", "portType", "binding", "service"])
  }

  @Test func `declares every prefix that a value uses`() throws {
    let root = try Samples.parse(try MetadataExchange(endpoints: Self.all).written())
    var left = [root]
    var seen = 0
    while let element = left.popLast() {
      left += element.elements
      for name in ["element", "message", "binding", "type"] {
        guard let value = element.attribute(name), value.contains(":") else { continue }
        seen += 1
        #expect(element.namespace(ofPrefix: String(value.split(separator: ":")[0])) != nil, "\(value)")
      }
    }
    #expect(seen == 4 + 4 + 6 + 6)
  }
}

@Suite struct `Our metadata for WS-Federation` {
  static let claims = [
    FederationMetadata.ClaimType(uri: "http://schemas.xmlsoap.org/claims/UPN", displayName: "UPN", description: "The name & <more>"),
    FederationMetadata.ClaimType(uri: "http://schemas.xmlsoap.org/claims/Group", displayName: "Group", description: "A group"),
  ]

  static func metadata(endpoints: [TrustEndpoint] = [.usernameMixed2005, .usernameMixed13], claims: [FederationMetadata.ClaimType] = claims) throws
    -> FederationMetadata
  {
    FederationMetadata(
      id: "_m", entityID: Samples.entityID, signingCertificates: [try Samples.certificate(), try Samples.certificate(.p256)],
      encryptionCertificates: [try Samples.certificate()], passiveURL: Samples.passive,
      trustEndpoints: endpoints.map { ($0, "https://idp.example/adfs/services/trust/\($0.rawValue)") },
      metadataExchangeURL: "https://idp.example/adfs/services/trust/mex", claimsOffered: claims,
      logout: [(.redirect, Samples.passive), (.post, Samples.passive)], signOn: [(.redirect, Samples.passive), (.post, Samples.passive)],
      nameIDFormats: NameIDFormat.allCases, displayName: "Contoso & S\u{f6}hne", contactMail: "a@contoso.com")
  }

  @Test func `has its roles in the order of AD FS, its signature first`() throws {
    let root = try Samples.parse(try Samples.signed(try Self.metadata().written()))
    #expect(
      root.elements.map(\.name.local) == [
        "Signature", "RoleDescriptor", "RoleDescriptor", "IDPSSODescriptor", "IDPSSODescriptor", "ContactPerson",
      ])
    #expect(root.attribute("entityID") == Samples.entityID && root.attribute("ID") == "_m")
    let types = root.elements.map { $0.attribute(XMLName("http://www.w3.org/2001/XMLSchema-instance", "type")) }
    #expect(types == [nil, "fed:ApplicationServiceType", "fed:SecurityTokenServiceType", nil, nil, nil])
    for role in root.children(Vocabulary.md("RoleDescriptor")) {
      #expect(role.namespace(ofPrefix: "fed") == "http://docs.oasis-open.org/wsfed/federation/200706")
      #expect(
        role.attribute("protocolSupportEnumeration")
          == "http://docs.oasis-open.org/ws-sx/ws-trust/200512 http://schemas.xmlsoap.org/ws/2005/02/trust http://docs.oasis-open.org/wsfed/federation/200706"
      )
      #expect(role.attribute("ServiceDisplayName") == "Contoso & S\u{f6}hne")
    }
    #expect(root.elements.last?.attribute("contactType") == "support")
  }

  @Test func `says to what key partners may encrypt, and where browsers go`() throws {
    let role = try Samples.parse(try Self.metadata().written().bytes).elements[0]
    #expect(role.elements.map(\.name.local) == ["KeyDescriptor", "TargetScopes", "ApplicationServiceEndpoint", "PassiveRequestorEndpoint"])
    #expect(role.elements[0].attribute("use") == "encryption")
    #expect(
      try role.child("TargetScopes").elements.map { try $0.text("Address") } == [
        Samples.passive, Samples.entityID, "https://idp.example/adfs/services/trust/2005/usernamemixed",
        "https://idp.example/adfs/services/trust/13/usernamemixed",
      ])
    #expect(try role.child("PassiveRequestorEndpoint").child("EndpointReference").text("Address") == Samples.passive)
  }

  @Test func `says what tokens are issued, with which claims, by which keys`() throws {
    let role = try Samples.parse(try Self.metadata().written().bytes).elements[1]
    #expect(
      role.elements.map(\.name.local) == [
        "KeyDescriptor", "KeyDescriptor", "TokenTypesOffered", "ClaimTypesOffered", "SecurityTokenServiceEndpoint", "SecurityTokenServiceEndpoint",
        "PassiveRequestorEndpoint",
      ])
    #expect(role.elements.prefix(2).allSatisfy { $0.attribute("use") == "signing" })
    let certificates = try role.elements.prefix(2).map { try $0.child("KeyInfo").child("X509Data").text("X509Certificate") }
    #expect(certificates == [try Samples.certificate().base64, try Samples.certificate(.p256).base64])
    #expect(
      try role.child("TokenTypesOffered").elements.map { $0.attribute("Uri") } == [
        "urn:oasis:names:tc:SAML:2.0:assertion", "urn:oasis:names:tc:SAML:1.0:assertion",
      ])
    let claims = try role.child("ClaimTypesOffered").elements
    #expect(claims.map { $0.attribute("Uri") } == Self.claims.map(\.uri))
    #expect(claims.allSatisfy { $0.name == XMLName("http://docs.oasis-open.org/wsfed/authorization/200706", "ClaimType") })
    #expect(try claims[0].text("Description") == "The name & <more>")
    let endpoint = try role.elements[4].child("EndpointReference")
    #expect(try endpoint.text("Address") == "https://idp.example/adfs/services/trust/2005/usernamemixed")
    let section = try endpoint.child("Metadata").child("Metadata").child("MetadataSection")
    #expect(section.attribute("Dialect") == "http://schemas.xmlsoap.org/ws/2004/09/mex")
    #expect(try section.child("MetadataReference").text("Address") == "https://idp.example/adfs/services/trust/mex")
  }

  @Test func `has one endpoint of tokens even where none is served, and no empty list of claims`() throws {
    let role = try Samples.parse(try Self.metadata(endpoints: [], claims: []).written().bytes).elements[1]
    #expect(
      role.elements.map(\.name.local) == [
        "KeyDescriptor", "KeyDescriptor", "TokenTypesOffered", "SecurityTokenServiceEndpoint", "PassiveRequestorEndpoint",
      ])
    #expect(try role.child("SecurityTokenServiceEndpoint").child("EndpointReference").text("Address") == Samples.passive)
  }

  @Test func `has the role of SAML 2.0 as the metadata of SAML has it, and first of its kind`() throws {
    let roles = try Samples.parse(try Self.metadata().written().bytes).children(Vocabulary.md("IDPSSODescriptor"))
    #expect(
      roles.map { $0.attribute("protocolSupportEnumeration") } == [Vocabulary.protocolNamespace, "http://schemas.xmlsoap.org/ws/2003/07/secext"])
    #expect(roles[0].children(Vocabulary.md("KeyDescriptor")).map { $0.attribute("use") } == ["signing", "signing", "encryption"])
    #expect(roles[1].children(Vocabulary.md("KeyDescriptor")).map { $0.attribute("use") } == ["signing", "signing"])
    let passive = try roles[1].child("SingleSignOnService")
    #expect(passive.attribute("Binding") == "http://schemas.xmlsoap.org/ws/2003/07/secext" && passive.attribute("Location") == Samples.passive)
    let alone = try IdentityProviderMetadata(
      id: "_m", entityID: Samples.entityID, validUntil: nil, signingCertificates: [try Samples.certificate(), try Samples.certificate(.p256)],
      encryptionCertificates: [try Samples.certificate()], wantsSignedRequests: false,
      signOn: [(.redirect, Samples.passive), (.post, Samples.passive)], logout: [(.redirect, Samples.passive), (.post, Samples.passive)],
      nameIDFormats: NameIDFormat.allCases,
      attributes: Self.claims.map {
        Attribute($0.uri, nameFormat: "urn:oasis:names:tc:SAML:2.0:attrname-format:uri", friendlyName: $0.displayName, values: [])
      }, displayName: "Contoso & S\u{f6}hne", errorURL: nil, contactMail: nil
    ).written()
    #expect(try roles[0].canonicalBytes() == Samples.parse(alone.bytes).elements[0].canonicalBytes())
  }

  /// The QName in xsi:type needs its prefix where the value is read: in the document, and in what the signature covers.
  @Test func `is canonical with the prefix that only values use, which its signature covers`() throws {
    let written = try Self.metadata().written()
    #expect(written.inclusivePrefixes == ["fed"])
    let document = try Samples.signed(written)
    let root = try Samples.parse(document)
    #expect(try root.canonicalBytes(inclusivePrefixes: ["fed"]) == document)
    #expect(try root.canonicalBytes() != document)
    let verified = try SignatureVerifier(keys: [try Samples.key().publicKey]).verify(root, position: .first).element
    for role in verified.children(Vocabulary.md("RoleDescriptor")) { #expect(role.namespace(ofPrefix: "fed") == FederationVocabulary.federation) }
    #expect(try ServiceProviderMetadata(federation: verified).consumers.map(\.location) == [Samples.passive])
    let id = (attribute: "ID", element: "urn:oasis:names:tc:SAML:2.0:metadata:EntityDescriptor")
    #expect(try Oracle.verifies(document, id: id))
    // Whoever binds the prefix to something else says something else.
    let text = String(decoding: document, as: UTF8.self)
    #expect(try !Oracle.verifies(Array(text.replacing("xmlns:fed=\"\(FederationVocabulary.federation)\"", with: "xmlns:fed=\"u:x\"").utf8), id: id))
  }

  @Test func `holds against the schema of OASIS, but for the types of WS-Federation, which that does not have`() throws {
    var text = String(decoding: try Samples.signed(try Self.metadata().written()), as: UTF8.self)
    while let start = text.range(of: "<md:RoleDescriptor "), let end = text.range(of: "</md:RoleDescriptor>") {
      text.removeSubrange(start.lowerBound..<end.upperBound)
    }
    try Oracle.expectSchema("saml-schema-metadata-2.0.xsd", holds: Array(text.utf8))
  }
}
