import Bytes
import Foundation
import SAML
import Testing
import XMLSecurity

@testable import WSFederation

@Suite struct `Metadata of relying parties by WS-Federation` {
  static func key(_ byte: UInt8, use: String = "encryption") -> String {
    "<KeyDescriptor use=\"\(use)\"><KeyInfo xmlns=\"http://www.w3.org/2000/09/xmldsig#\"><X509Data><X509Certificate>\([UInt8](repeating: byte, count: 100).base64)</X509Certificate></X509Data></KeyInfo></KeyDescriptor>"
  }

  static func addresses(_ local: String, _ addresses: [String], namespace: String = FederationVocabulary.addressing) -> String {
    addresses.map {
      "<fed:\(local)><EndpointReference xmlns=\"\(namespace)\"><Address>\($0)</Address></EndpointReference></fed:\(local)>"
    }.joined()
  }

  static func role(_ content: String, type: String = "fed:ApplicationServiceType", attributes: String = "") -> String {
    "<RoleDescriptor xsi:type=\"\(type)\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:fed=\"\(FederationVocabulary.federation)\" protocolSupportEnumeration=\"http://schemas.xmlsoap.org/ws/2005/02/trust\"\(attributes)>\(content)</RoleDescriptor>"
  }

  static let saml =
    "<SPSSODescriptor protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\">\(key(7))<AssertionConsumerService index=\"0\" Binding=\"\(Binding.post.rawValue)\" Location=\"https://sp.example/acs\"/></SPSSODescriptor>"

  static func document(_ content: String, attributes: String = "") -> String {
    "<EntityDescriptor xmlns=\"urn:oasis:names:tc:SAML:2.0:metadata\" entityID=\"urn:sp\"\(attributes)>\(content)</EntityDescriptor>"
  }

  private func read(_ content: String, attributes: String = "") throws -> ServiceProviderMetadata {
    try ServiceProviderMetadata(federation: try Samples.parse(Array(Self.document(content, attributes: attributes).utf8)))
  }

  /// The addresses of the passive requestor profile.
  private func replies(_ metadata: ServiceProviderMetadata) -> [String] {
    metadata.consumers.filter { $0.binding == FederationVocabulary.passiveBinding }.map(\.location)
  }

  @Test func `without SAML has addresses and a key`() throws {
    let metadata = try read(
      Self.role(
        Self.key(1)
          + Self.addresses("ApplicationServiceEndpoint", ["https://sp.example/service"])
          + Self.addresses("PassiveRequestorEndpoint", ["https://sp.example/", "https://sp.example/b"]),
        attributes: " ServiceDisplayName=\"Portal\" validUntil=\"2026-11-18T11:06:40.123Z\""),
      attributes: " validUntil=\"2027-11-18T11:06:40.123Z\" cacheDuration=\"PT1H\"")
    #expect(metadata.entityID == "urn:sp")
    #expect(replies(metadata) == ["https://sp.example/", "https://sp.example/b"])
    #expect(metadata.consumers.count == 2 && metadata.logout.isEmpty && !metadata.requestsAreSigned)
    #expect(metadata.encryptionCertificates == [[UInt8](repeating: 1, count: 100)] && metadata.signingCertificates.isEmpty)
    #expect(metadata.displayName == "Portal")
    #expect(metadata.validUntil == Samples.now && metadata.cacheDuration == 3600)
  }

  @Test func `beside SAML is read with it, each key once`() throws {
    let metadata = try read(Self.role(Self.key(1) + Self.key(7) + Self.addresses("PassiveRequestorEndpoint", ["https://sp.example/"])) + Self.saml)
    #expect(metadata.consumers.map(\.location) == ["https://sp.example/acs", "https://sp.example/"])
    #expect(replies(metadata) == ["https://sp.example/"])
    #expect(metadata.encryptionCertificates.map { $0[0] } == [7, 1])
  }

  @Test func `with SAML only is read as before`() throws {
    let content = Self.document(Self.saml)
    let root = try Samples.parse(Array(content.utf8))
    #expect(try ServiceProviderMetadata(federation: root) == ServiceProviderMetadata(root))
    #expect(try replies(read(Self.saml + Self.role("", type: "fed:AttributeServiceType"))).isEmpty)
    #expect(try replies(read(Self.saml + Self.role(""))).isEmpty)
  }

  @Test func `of an identity provider that is a relying party is read, each address once`() throws {
    let passive = Self.addresses("PassiveRequestorEndpoint", ["https://adfs.example/adfs/ls/"])
    let metadata = try read(Self.role(Self.key(1) + passive) + Self.role(Self.key(2, use: "signing") + passive, type: "fed:SecurityTokenServiceType"))
    #expect(replies(metadata) == ["https://adfs.example/adfs/ls/"])
    #expect(metadata.signingCertificates.map { $0[0] } == [2])
    #expect(try !replies(read(Self.role(passive, type: "fed:SecurityTokenServiceType"))).isEmpty)
  }

  @Test func `is known by the type's namespace, whatever its prefix`() throws {
    let passive = Self.addresses("PassiveRequestorEndpoint", ["https://sp.example/"])
    #expect(try !replies(read(Self.role(passive, type: " fed:ApplicationServiceType "))).isEmpty)
    // Canonical form has lost the declaration.
    #expect(try !replies(read(Self.role(passive, type: "gone:ApplicationServiceType"))).isEmpty)
    for type in ["xsi:ApplicationServiceType", "ApplicationServiceType", "fed:Other", "", ":", "fed:", "a:fed:ApplicationServiceType"] {
      #expect(fault { try read(Self.role(passive, type: type)) } == .structure, "\(type)")
    }
  }

  @Test func `with the addressing of 2004 is read`() throws {
    let metadata = try read(
      Self.role(Self.addresses("PassiveRequestorEndpoint", [" https://sp.example/ "], namespace: FederationVocabulary.oldAddressing)))
    #expect(replies(metadata) == ["https://sp.example/"])
  }

  @Test func `has limits`() throws {
    let many = (0..<64).map { "https://sp.example/\($0)" }
    #expect(try replies(read(Self.role(Self.addresses("PassiveRequestorEndpoint", many)))) == many)
    #expect(fault { try read(Self.role(Self.addresses("PassiveRequestorEndpoint", many + ["https://sp.example/"]))) } == .tooLarge)
    let long = String(repeating: "a", count: 2049)
    #expect(fault { try read(Self.role(Self.addresses("PassiveRequestorEndpoint", [long]))) } == .tooLarge)
    #expect(fault { try read((0..<9).map { _ in Self.role(Self.addresses("PassiveRequestorEndpoint", ["a"])) }.joined()) } == .tooLarge)
    #expect(fault { try read(Self.role((0..<33).map { Self.key($0) }.joined() + Self.addresses("PassiveRequestorEndpoint", ["a"]))) } == .tooLarge)
  }

  @Test func `that says nothing of where to answer is refused`() {
    #expect(fault { try read("") } == .structure)
    #expect(fault { try read(Self.role("")) } == .structure)
    #expect(fault { try read(Self.role(Self.addresses("PassiveRequestorEndpoint", [""]))) } == .structure)
    #expect(fault { try read(Self.role("<fed:PassiveRequestorEndpoint/>")) } == .structure)
    #expect(fault { try read(Self.role(Self.addresses("PassiveRequestorEndpoint", ["a<!-- -->b"]))) } == .structure)
    #expect(fault { try ServiceProviderMetadata(federation: try Samples.parse(Array("<x/>".utf8))) } == .structure)
  }

  @Test func `is stored and read again`() throws {
    let metadata = try read(Self.role(Self.addresses("PassiveRequestorEndpoint", ["https://sp.example/"])) + Self.saml)
    let data = try JSONEncoder().encode(metadata)
    #expect(try JSONDecoder().decode(ServiceProviderMetadata.self, from: data) == metadata)
  }
}
