import Bytes
import SAML
import XMLSecurity

/// The metadata of relying parties that speak WS-Federation, with SAML 2.0 or without (WS-Federation 1.2, 3.1).
extension ServiceProviderMetadata {
  /// Bytes of an address.
  private static let longestAddress = 2048

  /// Reads an `<md:EntityDescriptor>`: its SPSSODescriptor for SAML 2.0, and, into the same list of consumers, its RoleDescriptors of the types ApplicationServiceType (a relying party) and
  /// SecurityTokenServiceType (an identity provider that is a relying party of ours). Throws `MessageFault` where there is none of them.
  ///
  /// - Parameter root: what was verified, or the document's root where the metadata is trusted by the way on which it came.
  package init(federation root: XMLElement) throws(MessageFault) {
    let speaksSAML = !ServiceProviderMetadata.roles(of: root).isEmpty
    if speaksSAML { try self.init(root) } else { try self.init(entity: root) }
    let roles = root.children(Vocabulary.md("RoleDescriptor")).filter(ServiceProviderMetadata.isService)
    guard roles.count <= 8 else { throw MessageFault(.tooLarge, "the metadata has more than 8 roles of WS-Federation") }
    var replies: [String] = []
    for role in roles {
      validUntil = [validUntil, try role.instant("validUntil")].compactMap(\.self).min()
      for descriptor in role.children(Vocabulary.md("KeyDescriptor")) { try readKey(descriptor) }
      for element in role.children(FederationVocabulary.fed("PassiveRequestorEndpoint")) {
        try ServiceProviderMetadata.addresses(of: element, into: &replies)
      }
      if displayName == nil, let name = try role.value("ServiceDisplayName", upTo: 256), !name.utf8.isEmpty { displayName = name }
    }
    // The same key stands in several roles.
    signingCertificates = ServiceProviderMetadata.unique(signingCertificates)
    encryptionCertificates = ServiceProviderMetadata.unique(encryptionCertificates)
    consumers += replies.map { Endpoint(binding: FederationVocabulary.passiveBinding, location: $0) }
    guard speaksSAML || !replies.isEmpty else {
      throw MessageFault(
        .structure,
        roles.isEmpty
          ? "the metadata has neither an SPSSODescriptor for SAML 2.0 nor a role of WS-Federation: it is not that of a relying party"
          : "the metadata's role of WS-Federation has no PassiveRequestorEndpoint: there is no address to answer to")
    }
  }

  /// Whether the role's type is one of the two. Exclusive C14N drops the declaration of a prefix that stands in values only, and out of a signed document
  /// nothing is read but its canonical form: so the prefix may be unknown here. It may not be known as something else.
  private static func isService(_ role: XMLElement) -> Bool {
    guard let type = role.attribute(XMLName(FederationVocabulary.instance, "type"))?.trimmingXMLSpace else { return false }
    let bytes = Array(type.utf8)
    let colon = bytes.firstIndex(of: UInt8(ascii: ":"))
    let prefix = String(decoding: bytes[..<(colon ?? 0)], as: UTF8.self)
    let local = String(decoding: bytes[(colon.map { $0 + 1 } ?? 0)...], as: UTF8.self)
    guard ["ApplicationServiceType", "SecurityTokenServiceType"].contains(where: { sameBytes($0, local) }) else { return false }
    guard let namespace = role.namespace(ofPrefix: prefix) else { return true }
    return sameBytes(namespace, FederationVocabulary.federation)
  }

  /// Adds the addresses of the endpoint references in an element, each once.
  private static func addresses(of element: XMLElement, into addresses: inout [String]) throws(MessageFault) {
    for namespace in [FederationVocabulary.addressing, FederationVocabulary.oldAddressing] {
      for reference in element.children(XMLName(namespace, "EndpointReference")) {
        let address = try reference.one(XMLName(namespace, "Address")).content(upTo: longestAddress).trimmingXMLSpace
        guard !address.utf8.isEmpty else { throw MessageFault(.structure, "<Address> of <\(element.name.local)> is empty") }
        guard !addresses.contains(where: { sameBytes($0, address) }) else { continue }
        guard addresses.count < mostEndpoints else { throw MessageFault(.tooLarge, "the metadata has more than \(mostEndpoints) addresses") }
        addresses.append(address)
      }
    }
  }

  private static func unique(_ certificates: [[UInt8]]) -> [[UInt8]] {
    var seen: Set<[UInt8]> = []
    return certificates.filter { seen.insert($0).inserted }
  }
}
