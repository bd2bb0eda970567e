import Bytes
import Cryptography
import Testing
import XMLSecurity

@testable import SAML

@Suite struct `Metadata of a relying party` {
  static let consumer = "<md:AssertionConsumerService Binding=\"\(Binding.post.rawValue)\" Location=\"https://sp.example/acs\" index=\"0\"/>"

  static func document(
    _ content: String = consumer, root: String = "", role: String = "", after: String = "", enumeration: String = Vocabulary.protocolNamespace
  ) -> String {
    "<md:EntityDescriptor xmlns:md=\"\(Vocabulary.metadataNamespace)\" xmlns:ds=\"\(Vocabulary.signatureNamespace)\" entityID=\"https://sp.example\"\(root)>"
      + "<md:SPSSODescriptor protocolSupportEnumeration=\"\(enumeration)\"\(role)>\(content)</md:SPSSODescriptor>\(after)</md:EntityDescriptor>"
  }

  static func read(_ text: String) throws -> ServiceProviderMetadata { try ServiceProviderMetadata(try Samples.parse(text, limits: .metadata)) }

  static func key(_ certificates: [[UInt8]], use: String? = nil, methods: [String] = []) -> String {
    let data = certificates.map { "<ds:X509Data><ds:X509Certificate>\n\($0.base64)\n</ds:X509Certificate></ds:X509Data>" }.joined()
    let list = methods.map { "<md:EncryptionMethod Algorithm=\"\($0)\"/>" }.joined()
    return "<md:KeyDescriptor\(use.map { " use=\"\($0)\"" } ?? "")><ds:KeyInfo>\(data)</ds:KeyInfo>\(list)</md:KeyDescriptor>"
  }

  private static func bytes(_ byte: UInt8) -> [UInt8] { [UInt8](repeating: byte, count: 100) }

  private static func consumers(_ parts: [String]) -> String {
    parts.enumerated().map {
      "<md:AssertionConsumerService Binding=\"\(Binding.post.rawValue)\" Location=\"https://sp.example/\($0.offset)\"\($0.element)/>"
    }.joined()
  }

  @Test func `is read whole`() throws {
    let metadata = try Self.read(
      Self.document(
        Self.key([Self.bytes(1)], use: "signing") + Self.key([Self.bytes(2)], use: "signing")
          + Self.key([Self.bytes(3)], use: "encryption", methods: ["urn:a", "urn:b"])
          + "<md:SingleLogoutService Binding=\"\(Binding.redirect.rawValue)\" Location=\"https://sp.example/slo\" ResponseLocation=\"https://sp.example/slo-done\"/>"
          + "<md:NameIDFormat> \(NameIDFormat.persistent.rawValue)\n</md:NameIDFormat>" + Self.consumer
          + "<md:AttributeConsumingService index=\"0\"><md:ServiceName xml:lang=\"en\">Wiki &amp; more</md:ServiceName><md:RequestedAttribute Name=\"urn:oid:1\"/><md:RequestedAttribute Name=\"mail\"/></md:AttributeConsumingService>",
        root: " validUntil=\"2026-12-01T00:00:00Z\" cacheDuration=\"PT6H\"",
        role: " AuthnRequestsSigned=\"true\" WantAssertionsSigned=\"1\" validUntil=\"2026-11-30T00:00:00Z\"",
        after: "<md:ContactPerson contactType=\"technical\"><md:EmailAddress>mailto:a@sp.example</md:EmailAddress></md:ContactPerson>"))
    #expect(metadata.entityID == "https://sp.example")
    #expect(metadata.validUntil?.description == "2026-11-30T00:00:00.000Z")
    #expect(metadata.cacheDuration == 21_600)
    #expect(metadata.requestsAreSigned && metadata.wantsAssertionsSigned)
    #expect(metadata.signingCertificates == [Self.bytes(1), Self.bytes(2)])
    #expect(metadata.encryptionCertificates == [Self.bytes(3)])
    #expect(metadata.encryptionMethods == ["urn:a", "urn:b"])
    #expect(
      metadata.consumers == [
        .init(binding: Binding.post.rawValue, location: "https://sp.example/acs", index: 0, isDefault: true)
      ])
    #expect(metadata.logout.first?.responseLocation == "https://sp.example/slo-done")
    #expect(metadata.nameIDFormats == [NameIDFormat.persistent.rawValue])
    #expect(metadata.requestedAttributes == ["urn:oid:1", "mail"])
    #expect(metadata.displayName == "Wiki & more")
    #expect(metadata.contactMail == "mailto:a@sp.example")
  }

  @Test func `may have keys that say no use, which are for both`() throws {
    let metadata = try Self.read(
      Self.document(Self.key([Self.bytes(1), Self.bytes(2)]) + Self.consumer, enumeration: "urn:x \(Vocabulary.protocolNamespace)"))
    #expect(metadata.signingCertificates == [Self.bytes(1), Self.bytes(2)])
    #expect(metadata.encryptionCertificates == metadata.signingCertificates)
    #expect(!metadata.requestsAreSigned && !metadata.wantsAssertionsSigned)
    // A key without a certificate is none that we can use, and no fault (KeyName only).
    let named = "<md:KeyDescriptor><ds:KeyInfo><ds:KeyName>k</ds:KeyName></ds:KeyInfo></md:KeyDescriptor>"
    #expect(try Self.read(Self.document(named + Self.consumer)).signingCertificates.isEmpty)
  }

  @Test func `has at most 32 certificates, 64 consumers and an entityID of 1,024 bytes`() throws {
    let most = (0..<32).map { Self.key([Self.bytes(UInt8($0))], use: "signing") }.joined()
    #expect(try Self.read(Self.document(most + Self.consumer)).signingCertificates.count == 32)
    #expect(fault { try Self.read(Self.document(most + Self.key([Self.bytes(99)], use: "encryption") + Self.consumer)) } == .tooLarge)
    #expect(try Self.read(Self.document(Self.consumers([String](repeating: "", count: 64)))).consumers.count == 64)
    #expect(fault { try Self.read(Self.document(Self.consumers([String](repeating: "", count: 65)))) } == .tooLarge)
    #expect(fault { try Self.read(Self.document(Self.consumers([String](repeating: "", count: 1000)))) } == .tooLarge)
    let long = String(repeating: "a", count: 1024)
    #expect(try Self.read(Self.document().replacing("entityID=\"https://sp.example\"", with: "entityID=\"\(long)\"")).entityID == long)
    #expect(fault { try Self.read(Self.document().replacing("entityID=\"https://sp.example\"", with: "entityID=\"\(long)a\"")) } == .tooLarge)
  }

  @Test func `of several entities, of another role or of another protocol is refused`() {
    let one = Self.document()
    #expect(
      fault { try Self.read("<md:EntitiesDescriptor xmlns:md=\"\(Vocabulary.metadataNamespace)\">\(one)</md:EntitiesDescriptor>") } == .structure)
    #expect(fault { try Self.read(one.replacing("SPSSODescriptor", with: "IDPSSODescriptor")) } == .structure)
    #expect(fault { try Self.read(Self.document(enumeration: "urn:oasis:names:tc:SAML:1.1:protocol")) } == .structure)
    #expect(fault { try Self.read(Self.document(enumeration: "")) } == .structure)
    #expect(fault { try Self.read(one.replacing(" protocolSupportEnumeration=\"\(Vocabulary.protocolNamespace)\"", with: "")) } == .structure)
    #expect(fault { try Self.read(one.replacing(Vocabulary.metadataNamespace, with: "urn:x")) } == .structure)
    #expect(fault { try Self.read("<x/>") } == .structure)
    let role = "<md:SPSSODescriptor protocolSupportEnumeration=\"\(Vocabulary.protocolNamespace)\">\(Self.consumer)</md:SPSSODescriptor>"
    #expect(fault { try Self.read(Self.document(after: role)) } == .structure)
    #expect(fault { try Self.read(one.replacing(" entityID=\"https://sp.example\"", with: "")) } == .structure)
    #expect(fault { try Self.read(one.replacing("entityID=\"https://sp.example\"", with: "entityID=\"\"")) } == .structure)
  }

  @Test(arguments: [
    "", "<md:AssertionConsumerService Binding=\"b\" index=\"0\"/>", "<md:AssertionConsumerService Location=\"l\" index=\"0\"/>",
    "<md:AssertionConsumerService Binding=\"b\" Location=\"l\" index=\"-1\"/>",
    "<md:AssertionConsumerService Binding=\"b\" Location=\"l\" index=\"65536\"/>",
    "<md:AssertionConsumerService Binding=\"b\" Location=\"l\" index=\"0\" isDefault=\"yes\"/>",
    "<md:AssertionConsumerService Binding=\"b\" Location=\"l\" index=\"7\"/><md:AssertionConsumerService Binding=\"b\" Location=\"m\" index=\"7\"/>",
    "<md:AssertionConsumerService Binding=\"b\" Location=\"l\" index=\"07\"/><md:AssertionConsumerService Binding=\"b\" Location=\"m\" index=\"7\"/>",
  ]) func `whose consumers are none is refused`(_ content: String) { #expect(fault { try Self.read(Self.document(content)) } == .structure) }

  @Test func `whose keys or times cannot be read is refused`() {
    let consumer = Self.consumer
    for wrong in [
      Self.key([Self.bytes(1)], use: "both"), Self.key([Self.bytes(1)], use: ""), Self.key([[1, 2, 3]]), "<md:KeyDescriptor/>",
      Self.key([Self.bytes(1)]).replacing(Self.bytes(1).base64, with: "!!!"), Self.key([Self.bytes(1)]).replacing("\n", with: "<!---->"),
    ] { #expect(fault { try Self.read(Self.document(wrong + consumer)) } == .structure) }
    for wrong in [" validUntil=\"never\"", " validUntil=\"2026-13-01T00:00:00Z\""] {
      #expect(fault { try Self.read(Self.document(root: wrong)) } == .structure)
      #expect(fault { try Self.read(Self.document(role: wrong)) } == .structure)
    }
    for wrong in [" AuthnRequestsSigned=\"maybe\"", " WantAssertionsSigned=\"\""] {
      #expect(fault { try Self.read(Self.document(role: wrong)) } == .structure)
    }
  }

  @Test func `with a cacheDuration that is none says nothing of it`() throws {
    for text in ["", "-PT1H", "1h", "P", String(repeating: "9", count: 64)] {
      #expect(try Self.read(Self.document(root: " cacheDuration=\"\(text)\"")).cacheDuration == nil)
    }
    #expect(fault { try Self.read(Self.document(root: " cacheDuration=\"\(String(repeating: "9", count: 65))\"")) } == .tooLarge)
  }

  /// Metadata 2.2.3: the first that says that it is the default; else the first that does not say that it is none; else the first.
  @Test(arguments: [
    (["", " isDefault=\"true\"", " isDefault=\"true\""], 1), ([" isDefault=\"false\"", "", ""], 1),
    ([" isDefault=\"false\"", " isDefault=\"false\""], 0), (["", ""], 0),
    ([" isDefault=\"0\"", "", " isDefault=\"1\""], 2),
  ]) func `names the standard consumer`(_ parts: [String], _ expected: Int) throws {
    #expect(try Self.read(Self.document(Self.consumers(parts))).standardConsumer?.location == "https://sp.example/\(expected)")
  }

  @Test func `has its standard consumer among those that can be posted to`() throws {
    let artifact =
      "<md:AssertionConsumerService Binding=\"\(Binding.artifact.rawValue)\" Location=\"https://sp.example/artifact\" index=\"9\" isDefault=\"true\"/>"
    #expect(try Self.read(Self.document(artifact + Self.consumer)).standardConsumer?.location == "https://sp.example/acs")
    #expect(try Self.read(Self.document(artifact)).standardConsumer == nil)
  }
}
