import Bytes
import SAML
import XMLSecurity

/// What we say of ourselves in FederationMetadata.xml (WS-Federation 1.2, 3.1), as AD FS says it: one EntityDescriptor for WS-Federation, WS-Trust and SAML.
///
/// AD FS also says that it is a relying party by SAML (SPSSODescriptor), since it can be one to another identity provider. This server is none; no reader
/// of WS-Federation looks for that role, and who found it would send assertions that nobody takes.
package struct FederationMetadata: Sendable {
  package var id: String
  package var entityID: String
  /// DER; the primary's first. Every role that signs lists them all.
  package var signingCertificates: [[UInt8]]
  package var encryptionCertificates: [[UInt8]]
  /// Where browsers come with `wa`.
  package var passiveURL: String
  package var trustEndpoints: [(TrustEndpoint, String)]
  package var metadataExchangeURL: String
  package var claimsOffered: [ClaimType]
  package var logout: [(Binding, String)]
  package var signOn: [(Binding, String)]
  package var nameIDFormats: [NameIDFormat]
  package var displayName: String?
  package var contactMail: String?

  /// A claim that tokens may hold (WS-Federation 1.2, 9.3).
  package struct ClaimType: Sendable {
    package var uri: String
    package var displayName: String
    package var description: String

    package init(uri: String, displayName: String, description: String) {
      self.uri = uri
      self.displayName = displayName
      self.description = description
    }
  }

  package init(
    id: String, entityID: String, signingCertificates: [[UInt8]], encryptionCertificates: [[UInt8]], passiveURL: String,
    trustEndpoints: [(TrustEndpoint, String)], metadataExchangeURL: String, claimsOffered: [ClaimType], logout: [(Binding, String)],
    signOn: [(Binding, String)], nameIDFormats: [NameIDFormat], displayName: String?, contactMail: String?
  ) {
    self.id = id
    self.entityID = entityID
    self.signingCertificates = signingCertificates
    self.encryptionCertificates = encryptionCertificates
    self.passiveURL = passiveURL
    self.trustEndpoints = trustEndpoints
    self.metadataExchangeURL = metadataExchangeURL
    self.claimsOffered = claimsOffered
    self.logout = logout
    self.signOn = signOn
    self.nameIDFormats = nameIDFormats
    self.displayName = displayName
    self.contactMail = contactMail
  }

  /// The document; its signature is the root's first child, and names the prefix of xsi:type's values as inclusive. Throws `MessageFault`.
  package func written() throws(MessageFault) -> UnsignedMessage {
    do {
      var writer = CanonicalWriter(capacity: 24_576)
      try writer.open(.md, "EntityDescriptor", [("ID", id), ("entityID", entityID)])
      let place = writer.position
      try writeApplication(to: &writer)
      try writeTokenService(to: &writer)
      // The first of its kind: readers of SAML that look no further take this one.
      try signOnRole.writeRole(to: &writer)
      try writePassiveRole(to: &writer)
      if let contactMail {
        try writer.open(.md, "ContactPerson", [("contactType", "support")])
        try writer.element(.md, "EmailAddress", "mailto:" + contactMail)
        writer.close()
      }
      writer.close()
      return UnsignedMessage(bytes: writer.finish(), id: id, signaturePlace: place, inclusivePrefixes: ["fed"])
    } catch { throw MessageFault(error) }
  }

  /// The role of SAML 2.0, as the metadata of SAML has it.
  private var signOnRole: IdentityProviderMetadata {
    IdentityProviderMetadata(
      id: id, entityID: entityID, validUntil: nil, signingCertificates: signingCertificates, encryptionCertificates: encryptionCertificates,
      wantsSignedRequests: false, signOn: signOn, logout: logout, nameIDFormats: nameIDFormats,
      attributes: claimsOffered.map {
        Attribute($0.uri, nameFormat: "urn:oasis:names:tc:SAML:2.0:attrname-format:uri", friendlyName: $0.displayName, values: [])
      }, displayName: displayName, errorURL: nil, contactMail: nil)
  }

  /// `fed` stands in the value of xsi:type, where exclusive C14N does not see it: it is declared here, and inclusive for the signature.
  private func openRole(_ type: String, to writer: inout CanonicalWriter) throws(XMLFault) {
    var head: [(StaticString, String)] = [
      ("protocolSupportEnumeration", "\(TrustVersion.v13.namespace) \(TrustVersion.feb2005.namespace) \(FederationVocabulary.federation)")
    ]
    if let displayName { head.append(("ServiceDisplayName", displayName)) }
    try writer.open(.md, "RoleDescriptor", head, prefixed: [(.xsi, "type", type)], declaring: [.fed])
  }

  /// What takes tokens (3.1.2): partners read here to what key they may encrypt, and where browsers go.
  private func writeApplication(to writer: inout CanonicalWriter) throws(XMLFault) {
    try openRole("fed:ApplicationServiceType", to: &writer)
    for certificate in encryptionCertificates { try writer.keyDescriptor("encryption", certificate) }
    writer.open(.fed, "TargetScopes")
    for scope in [passiveURL, entityID] + trustEndpoints.map(\.1) { try writer.endpointReference(scope) }
    writer.close()
    for local: StaticString in ["ApplicationServiceEndpoint", "PassiveRequestorEndpoint"] { try endpoint(local, to: &writer) }
    writer.close()
  }

  /// What issues tokens (3.1.2): whose signature, which tokens, which claims, where.
  private func writeTokenService(to writer: inout CanonicalWriter) throws(XMLFault) {
    try openRole("fed:SecurityTokenServiceType", to: &writer)
    for certificate in signingCertificates { try writer.keyDescriptor("signing", certificate) }
    writer.open(.fed, "TokenTypesOffered")
    for type in [TokenType.saml20, .saml11] {
      try writer.open(.fed, "TokenType", [("Uri", type.rawValue)])
      writer.close()
    }
    writer.close()
    // An empty list is against the schema.
    if !claimsOffered.isEmpty {
      writer.open(.fed, "ClaimTypesOffered")
      for claim in claimsOffered {
        try writer.open(.auth, "ClaimType", [("Uri", claim.uri), ("Optional", "true")])
        try writer.element(.auth, "DisplayName", claim.displayName)
        try writer.element(.auth, "Description", claim.description)
        writer.close()
      }
      writer.close()
    }
    // The schema wants one at least.
    if trustEndpoints.isEmpty { try endpoint("SecurityTokenServiceEndpoint", to: &writer) }
    for (_, address) in trustEndpoints { try tokenServiceEndpoint(address, to: &writer) }
    try endpoint("PassiveRequestorEndpoint", to: &writer)
    writer.close()
  }

  private func endpoint(_ local: StaticString, to writer: inout CanonicalWriter) throws(XMLFault) {
    writer.open(.fed, local)
    try writer.endpointReference(passiveURL)
    writer.close()
  }

  /// An address, and where its WSDL is (WS-MetadataExchange 1.1, 5).
  private func tokenServiceEndpoint(_ address: String, to writer: inout CanonicalWriter) throws(XMLFault) {
    let exchange = CanonicalWriter.Namespace(prefix: "mex", uri: "http://schemas.xmlsoap.org/ws/2004/09/mex")
    writer.open(.fed, "SecurityTokenServiceEndpoint")
    writer.open(.wsa, "EndpointReference")
    try writer.element(.wsa, "Address", address)
    writer.open(.wsa, "Metadata")
    writer.open(exchange, "Metadata")
    try writer.open(exchange, "MetadataSection", [("Dialect", "http://schemas.xmlsoap.org/ws/2004/09/mex")])
    writer.open(exchange, "MetadataReference")
    try writer.element(.wsa, "Address", metadataExchangeURL)
    for _ in 0..<6 { writer.close() }
  }

  /// WS-Federation as the metadata of SAML can say it: what Shibboleth's service provider reads.
  private func writePassiveRole(to writer: inout CanonicalWriter) throws(XMLFault) {
    let passive = "http://schemas.xmlsoap.org/ws/2003/07/secext"
    try writer.open(.md, "IDPSSODescriptor", [("protocolSupportEnumeration", passive)])
    for certificate in signingCertificates { try writer.keyDescriptor("signing", certificate) }
    try writer.open(.md, "SingleLogoutService", [("Binding", passive), ("Location", passiveURL)])
    writer.close()
    for format in nameIDFormats { try writer.element(.md, "NameIDFormat", format.rawValue) }
    try writer.open(.md, "SingleSignOnService", [("Binding", passive), ("Location", passiveURL)])
    writer.close()
    writer.close()
  }
}
