import Bytes
import XMLSecurity

/// What a relying party says of itself in its metadata (Metadata 2.4.4), read from one EntityDescriptor.
package struct ServiceProviderMetadata: Sendable, Equatable, Codable {
  /// An endpoint that takes assertions or logout messages.
  package struct Endpoint: Sendable, Equatable, Codable {
    package var binding: String
    package var location: String
    /// Where answers go, if elsewhere.
    package var responseLocation: String?
    package var index: UInt16?
    package var isDefault: Bool

    package init(binding: String, location: String, responseLocation: String? = nil, index: UInt16? = nil, isDefault: Bool = false) {
      self.binding = binding
      self.location = location
      self.responseLocation = responseLocation
      self.index = index
      self.isDefault = isDefault
    }
  }

  package var entityID: String
  package var validUntil: Instant?
  /// Seconds.
  package var cacheDuration: Int64?
  package var requestsAreSigned: Bool
  package var wantsAssertionsSigned: Bool
  /// DER of each certificate; what else a certificate says than its key does not matter here.
  @Base64List package var signingCertificates: [[UInt8]]
  @Base64List package var encryptionCertificates: [[UInt8]]
  /// URIs of md:EncryptionMethod, in the order of preference.
  package var encryptionMethods: [String]
  /// Of SAML; and of WS-Federation, with a binding of their own, where they were read by WSFederation.
  package var consumers: [Endpoint]
  package var logout: [Endpoint]
  package var nameIDFormats: [String]
  package var requestedAttributes: [String]
  /// mdui:DisplayName, ServiceName or OrganizationDisplayName: the first that there is.
  package var displayName: String?
  package var contactMail: String?

  package static let mostEndpoints = 64

  /// What is true of the entity, whatever its roles are: name, validity, contact. Throws `MessageFault`.
  package init(entity root: XMLElement) throws(MessageFault) {
    guard root.name != Vocabulary.md("EntitiesDescriptor") else {
      throw MessageFault(.structure, "this is a list of entities (EntitiesDescriptor); give the metadata of one relying party")
    }
    guard root.name == Vocabulary.md("EntityDescriptor") else {
      throw MessageFault(.structure, "this is <\(root.name.local.prefix(64))> and not the metadata of an entity (<EntityDescriptor>)")
    }
    guard let entityID = try root.value("entityID"), !entityID.isEmpty else { throw MessageFault(.structure, "<EntityDescriptor> has no entityID") }
    self.entityID = entityID
    (signingCertificates, encryptionCertificates, encryptionMethods) = ([], [], [])
    (consumers, logout, nameIDFormats, requestedAttributes) = ([], [], [], [])
    (requestsAreSigned, wantsAssertionsSigned) = (false, false)
    validUntil = try root.instant("validUntil")
    cacheDuration = try root.value("cacheDuration", upTo: 64).flatMap(SchemaDuration.seconds)
    displayName = ServiceProviderMetadata.displayName(root, nil, nil)
    contactMail =
      root.children(Vocabulary.md("ContactPerson")).flatMap { $0.children(Vocabulary.md("EmailAddress")) }.lazy
      .compactMap { try? $0.content(upTo: 320) }.first
  }

  /// The roles of a relying party for SAML 2.0.
  package static func roles(of root: XMLElement) -> [XMLElement] {
    root.children(Vocabulary.md("SPSSODescriptor")).filter { role in
      role.attribute("protocolSupportEnumeration")?.split(whereSeparator: \.isWhitespace).contains { $0 == Vocabulary.protocolNamespace } ?? false
    }
  }

  /// Reads an `<md:EntityDescriptor>`. Throws `MessageFault`.
  ///
  /// - Parameter root: what was verified, or the document's root where the metadata is trusted by the way on which it came.
  package init(_ root: XMLElement) throws(MessageFault) {
    try self.init(entity: root)
    let roles = ServiceProviderMetadata.roles(of: root)
    guard let role = roles.first else {
      throw MessageFault(.structure, "the metadata has no SPSSODescriptor for SAML 2.0: it is not that of a relying party")
    }
    guard roles.count == 1 else { throw MessageFault(.structure, "the metadata has \(roles.count) SPSSODescriptors for SAML 2.0, and one is read") }
    validUntil = [validUntil, try role.instant("validUntil")].compactMap(\.self).min()
    requestsAreSigned = try role.flag("AuthnRequestsSigned") ?? false
    wantsAssertionsSigned = try role.flag("WantAssertionsSigned") ?? false
    for descriptor in role.children(Vocabulary.md("KeyDescriptor")) { try readKey(descriptor) }
    consumers = try ServiceProviderMetadata.endpoints(role, "AssertionConsumerService", indexed: true)
    guard !consumers.isEmpty else { throw MessageFault(.structure, "the metadata has no AssertionConsumerService") }
    logout = try ServiceProviderMetadata.endpoints(role, "SingleLogoutService", indexed: false)
    for format in role.children(Vocabulary.md("NameIDFormat")).prefix(32) {
      nameIDFormats.append(try format.content(upTo: 256).trimmingXMLSpace)
    }
    let service = role.children(Vocabulary.md("AttributeConsumingService")).first
    for attribute in service?.children(Vocabulary.md("RequestedAttribute")).prefix(128) ?? [] {
      if let name = try attribute.value("Name") { requestedAttributes.append(name) }
    }
    displayName = ServiceProviderMetadata.displayName(root, role, service)
  }

  /// Adds the certificates of an md:KeyDescriptor, of whichever role.
  package mutating func readKey(_ descriptor: XMLElement) throws(MessageFault) {
    let use = descriptor.attribute("use")
    guard use == nil || use == "signing" || use == "encryption" else { throw MessageFault(.structure, "a KeyDescriptor has an unknown use") }
    let info = try descriptor.one(XMLName(Vocabulary.signatureNamespace, "KeyInfo"))
    var certificates: [[UInt8]] = []
    for data in info.children(XMLName(Vocabulary.signatureNamespace, "X509Data")) {
      for element in data.children(XMLName(Vocabulary.signatureNamespace, "X509Certificate")) {
        let text = try element.content(upTo: 32 << 10)
        guard let der = StrictText.base64(text.withoutXMLSpace), der.count >= 64 else {
          throw MessageFault(.structure, "a certificate in a KeyDescriptor is no base64")
        }
        certificates.append(der)
      }
    }
    guard signingCertificates.count + encryptionCertificates.count + certificates.count <= 32 else {
      throw MessageFault(.tooLarge, "the metadata has more than 32 certificates")
    }
    if use != "encryption" { signingCertificates += certificates }
    guard use != "signing" else { return }
    encryptionCertificates += certificates
    for method in descriptor.children(Vocabulary.md("EncryptionMethod")).prefix(16) {
      if let algorithm = try method.value("Algorithm", upTo: 256) { encryptionMethods.append(algorithm) }
    }
  }

  private static func endpoints(_ role: XMLElement, _ local: String, indexed: Bool) throws(MessageFault) -> [Endpoint] {
    let elements = role.children(Vocabulary.md(local))
    guard elements.count <= mostEndpoints else { throw MessageFault(.tooLarge, "the metadata has more than \(mostEndpoints) <\(local)>") }
    var endpoints: [Endpoint] = []
    for element in elements {
      guard let binding = try element.value("Binding", upTo: 256), let location = try element.value("Location", upTo: 2048) else {
        throw MessageFault(.structure, "<\(local)> has no Binding or no Location")
      }
      let endpoint = Endpoint(
        binding: binding, location: location, responseLocation: try element.value("ResponseLocation", upTo: 2048),
        index: indexed ? try element.number("index") : nil, isDefault: try element.flag("isDefault") ?? false)
      if let index = endpoint.index, endpoints.contains(where: { $0.index == index }) {
        throw MessageFault(.structure, "the index \(index) is that of two <\(local)>")
      }
      endpoints.append(endpoint)
    }
    // Metadata 2.2.3: where none says that it is the default, the first is it that does not say that it is none.
    let post = Binding.post.rawValue
    if indexed, !endpoints.contains(where: { $0.isDefault && $0.binding == post }),
      let first = elements.firstIndex(where: { $0.attribute("Binding") == post && $0.attribute("isDefault") == nil })
    {
      endpoints[first].isDefault = true
    }
    return endpoints
  }

  private static func displayName(_ root: XMLElement, _ role: XMLElement?, _ service: XMLElement?) -> String? {
    let ui = XMLName("urn:oasis:names:tc:SAML:metadata:ui", "UIInfo")
    let shown =
      (role?.children(Vocabulary.md("Extensions")) ?? []).flatMap { $0.children(ui) }.flatMap {
        $0.children(XMLName("urn:oasis:names:tc:SAML:metadata:ui", "DisplayName"))
      } + (service?.children(Vocabulary.md("ServiceName")) ?? [])
      + root.children(Vocabulary.md("Organization")).flatMap { $0.children(Vocabulary.md("OrganizationDisplayName")) }
    return shown.lazy.compactMap { try? $0.content(upTo: 256) }.first { !$0.isEmpty }
  }

  /// The consumer service that is taken where a request names none (Metadata 2.2.3): the first default one (which `init` has made out of the first that is
  /// not said to be none, where there was none), else the first; among those of the POST binding.
  package var standardConsumer: Endpoint? {
    let usable = consumers.filter { $0.binding == Binding.post.rawValue }
    return usable.first(where: \.isDefault) ?? usable.first
  }
}

extension String {
  /// Without XML's white space at the ends.
  package var trimmingXMLSpace: String {
    let bytes = Array(utf8)
    func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 }
    guard let first = bytes.firstIndex(where: { !isSpace($0) }), let last = bytes.lastIndex(where: { !isSpace($0) }) else { return "" }
    return String(decoding: bytes[first...last], as: UTF8.self)
  }

  /// Without any of XML's white space: base64 in documents is broken into lines.
  var withoutXMLSpace: String {
    String(decoding: utf8.filter { $0 != 0x20 && $0 != 0x0a && $0 != 0x0d && $0 != 0x09 }, as: UTF8.self)
  }
}

/// xs:duration (XML Schema Part 2, 3.2.6), as far as metadata uses it.
enum SchemaDuration {
  /// Whole seconds; a month counts 30 days and a year 365. Nil for what is none, is negative, or too long to count.
  static func seconds(_ text: String) -> Int64? {
    var rest = Array(text.utf8)[...]
    guard rest.popFirst() == UInt8(ascii: "P"), !rest.isEmpty else { return nil }
    var inTime = false
    var total: Int64 = 0
    var units: [UInt8: Int64] = [UInt8(ascii: "Y"): 31_536_000, UInt8(ascii: "M"): 2_592_000, UInt8(ascii: "D"): 86_400]
    while let next = rest.first {
      if next == UInt8(ascii: "T") {
        guard !inTime, rest.count > 1 else { return nil }
        inTime = true
        units = [UInt8(ascii: "H"): 3600, UInt8(ascii: "M"): 60, UInt8(ascii: "S"): 1]
        rest.removeFirst()
        continue
      }
      let digits = rest.prefix { (0x30...0x39).contains($0) }
      guard (1...9).contains(digits.count), let number = Int64(String(decoding: digits, as: UTF8.self)) else { return nil }
      rest = rest.dropFirst(digits.count)
      if rest.first == UInt8(ascii: ".") {
        rest.removeFirst()
        let fraction = rest.prefix { (0x30...0x39).contains($0) }
        rest = rest.dropFirst(fraction.count)
        guard !fraction.isEmpty, rest.first == UInt8(ascii: "S") else { return nil }
      }
      guard let letter = rest.popFirst(), let unit = units.removeValue(forKey: letter) else { return nil }
      let (product, overflow) = number.multipliedReportingOverflow(by: unit)
      let (sum, overflowed) = total.addingReportingOverflow(product)
      guard !overflow, !overflowed else { return nil }
      total = sum
    }
    return total
  }
}
