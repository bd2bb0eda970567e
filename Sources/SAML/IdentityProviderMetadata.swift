import Bytes
import Cryptography
import XMLSecurity

/// What this identity provider says of itself (Metadata 2.4.3).
package struct IdentityProviderMetadata: Sendable {
  package var id: String
  package var entityID: String
  package var validUntil: Instant?
  /// DER; the primary's first, which is the one that readers of a single key take.
  package var signingCertificates: [[UInt8]]
  /// To which relying parties may encrypt.
  package var encryptionCertificates: [[UInt8]]
  package var wantsSignedRequests: Bool
  package var signOn: [(Binding, String)]
  package var logout: [(Binding, String)]
  package var nameIDFormats: [NameIDFormat]
  /// Names that are offered.
  package var attributes: [Attribute]
  package var displayName: String?
  package var errorURL: String?
  package var contactMail: String?

  package init(
    id: String, entityID: String, validUntil: Instant?, signingCertificates: [[UInt8]], encryptionCertificates: [[UInt8]], wantsSignedRequests: Bool,
    signOn: [(Binding, String)], logout: [(Binding, String)], nameIDFormats: [NameIDFormat], attributes: [Attribute], displayName: String?,
    errorURL: String?, contactMail: String?
  ) {
    self.id = id
    self.entityID = entityID
    self.validUntil = validUntil
    self.signingCertificates = signingCertificates
    self.encryptionCertificates = encryptionCertificates
    self.wantsSignedRequests = wantsSignedRequests
    self.signOn = signOn
    self.logout = logout
    self.nameIDFormats = nameIDFormats
    self.attributes = attributes
    self.displayName = displayName
    self.errorURL = errorURL
    self.contactMail = contactMail
  }

  /// The document; its signature is the root's first child (Metadata 2.3.2). Throws `MessageFault`.
  package func written() throws(MessageFault) -> UnsignedMessage {
    do {
      var writer = CanonicalWriter(capacity: 16_384)
      var root: [(StaticString, String)] = [("ID", id), ("entityID", entityID)]
      if let validUntil { root.append(("validUntil", validUntil.description)) }
      try writer.open(.md, "EntityDescriptor", root)
      let place = writer.position
      try writeRole(to: &writer)
      if let contactMail {
        try writer.open(.md, "ContactPerson", [("contactType", "technical")])
        try writer.element(.md, "EmailAddress", "mailto:" + contactMail)
        writer.close()
      }
      writer.close()
      return UnsignedMessage(bytes: writer.finish(), id: id, signaturePlace: place)
    } catch { throw MessageFault(error) }
  }

  /// The IDPSSODescriptor for itself, inside of an EntityDescriptor that is open.
  package func writeRole(to writer: inout CanonicalWriter) throws(XMLFault) {
    var role: [(StaticString, String)] = [
      ("WantAuthnRequestsSigned", wantsSignedRequests ? "true" : "false"), ("protocolSupportEnumeration", Vocabulary.protocolNamespace),
    ]
    if let errorURL { role.append(("errorURL", errorURL)) }
    try writer.open(.md, "IDPSSODescriptor", role)
    writer.open(.md, "Extensions")
    try writer.algorithms()
    if let displayName { try writer.displayName(displayName) }
    writer.close()
    for certificate in signingCertificates { try writer.keyDescriptor("signing", certificate) }
    for certificate in encryptionCertificates { try writer.keyDescriptor("encryption", certificate) }
    for (binding, location) in logout { try writer.endpoint("SingleLogoutService", binding, location) }
    for format in nameIDFormats { try writer.element(.md, "NameIDFormat", format.rawValue) }
    for (binding, location) in signOn { try writer.endpoint("SingleSignOnService", binding, location) }
    for attribute in attributes {
      var head: [(StaticString, String)] = [("Name", attribute.name)]
      if let friendlyName = attribute.friendlyName { head.append(("FriendlyName", friendlyName)) }
      if let nameFormat = attribute.nameFormat { head.append(("NameFormat", nameFormat)) }
      try writer.open(.saml, "Attribute", head)
      writer.close()
    }
    writer.close()
  }
}

extension CanonicalWriter {
  /// An md:KeyDescriptor with one certificate; `use` is `signing` or `encryption`.
  package mutating func keyDescriptor(_ use: String, _ certificate: [UInt8]) throws(XMLFault) {
    try open(.md, "KeyDescriptor", [("use", use)])
    open(.ds, "KeyInfo")
    open(.ds, "X509Data")
    open(.ds, "X509Certificate")
    base64(certificate)
    close()
    close()
    close()
    if use == "encryption" {
      // Else AES-CBC is what partners take, and what they then send cannot be read here (Metadata 2.4.1.1).
      for uri in [ContentEncryption.aes256GCM.uri, ContentEncryption.aes128GCM.uri, KeyTransportAlgorithm.rsaOAEP.uri] {
        try open(.md, "EncryptionMethod", [("Algorithm", uri)])
        close()
      }
    }
    close()
  }

  fileprivate mutating func endpoint(_ local: StaticString, _ binding: Binding, _ location: String) throws(XMLFault) {
    try open(.md, local, [("Binding", binding.rawValue), ("Location", location)])
    close()
  }

  fileprivate mutating func displayName(_ name: String) throws(XMLFault) {
    let ui = CanonicalWriter.Namespace(prefix: "mdui", uri: "urn:oasis:names:tc:SAML:metadata:ui")
    open(ui, "UIInfo")
    // The reader must know the language (SAML V2.0 Metadata UI 2.1.2).
    try open(ui, "DisplayName", [], prefixed: [(.xml, "lang", "en")])
    try text(name)
    close()
    close()
  }

  /// What a partner may sign with, best known first (SAML V2.0 Metadata Profile for Algorithm Support 2.3, 2.4). Shibboleth signs what it posts with SHA-1
  /// where nothing is said.
  fileprivate mutating func algorithms() throws(XMLFault) {
    let support = CanonicalWriter.Namespace(prefix: "alg", uri: "urn:oasis:names:tc:SAML:metadata:algsupport")
    for digest in DigestAlgorithm.allCases where digest != .sha1 {
      try open(support, "DigestMethod", [("Algorithm", digest.uri)])
      close()
    }
    for algorithm in SignatureAlgorithm.allCases where algorithm != .rsaSHA1 {
      try open(support, "SigningMethod", [("Algorithm", algorithm.uri)])
      close()
    }
  }
}
