import XMLSecurity

/// The names that SAML 2.0 gives to things. URIs are compared byte by byte, always.
package enum Vocabulary {
  package static let protocolNamespace = "urn:oasis:names:tc:SAML:2.0:protocol"
  package static let assertionNamespace = "urn:oasis:names:tc:SAML:2.0:assertion"
  package static let metadataNamespace = "urn:oasis:names:tc:SAML:2.0:metadata"
  package static let signatureNamespace = "http://www.w3.org/2000/09/xmldsig#"
  package static let encryptionNamespace = "http://www.w3.org/2001/04/xmlenc#"
  /// SAML V2.0 Asynchronous Single Logout Profile Extension.
  package static let asynchronousLogoutNamespace = "urn:oasis:names:tc:SAML:2.0:protocol:ext:async-slo"

  package static let bearer = "urn:oasis:names:tc:SAML:2.0:cm:bearer"

  static func samlp(_ local: String) -> XMLName { XMLName(protocolNamespace, local) }
  package static func saml(_ local: String) -> XMLName { XMLName(assertionNamespace, local) }
  package static func md(_ local: String) -> XMLName { XMLName(metadataNamespace, local) }
}

extension CanonicalWriter.Namespace {
  static let samlp = CanonicalWriter.Namespace(prefix: "samlp", uri: "urn:oasis:names:tc:SAML:2.0:protocol")
  package static let saml = CanonicalWriter.Namespace(prefix: "saml", uri: "urn:oasis:names:tc:SAML:2.0:assertion")
  package static let md = CanonicalWriter.Namespace(prefix: "md", uri: "urn:oasis:names:tc:SAML:2.0:metadata")
  package static let ds = CanonicalWriter.Namespace(prefix: "ds", uri: "http://www.w3.org/2000/09/xmldsig#")
}

/// How a message travels (Bindings 3).
package enum Binding: String, Sendable, Codable, CaseIterable {
  case redirect = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
  case post = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
  case soap = "urn:oasis:names:tc:SAML:2.0:bindings:SOAP"
  case artifact = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Artifact"
  case paos = "urn:oasis:names:tc:SAML:2.0:bindings:PAOS"
}

/// The formats of names that a relying party may ask for (Core 8.3).
package enum NameIDFormat: String, Sendable, Codable, CaseIterable {
  case unspecified = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
  case emailAddress = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
  case windowsDomainQualifiedName = "urn:oasis:names:tc:SAML:1.1:nameid-format:WindowsDomainQualifiedName"
  case persistent = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
  case transient = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"

  /// The format of an issuer; the only one that an issuer may name (Core 8.3.6).
  package static let entity = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"
  /// Asks for the name, in whatever format, inside an EncryptedID (Core 8.3.9).
  package static let encrypted = "urn:oasis:names:tc:SAML:2.0:nameid-format:encrypted"

  /// The short word for people and configuration: `persistent`, `email`, …
  package var word: String {
    switch self {
    case .unspecified: "unspecified"
    case .emailAddress: "email"
    case .windowsDomainQualifiedName: "windows"
    case .persistent: "persistent"
    case .transient: "transient"
    }
  }

  /// From `word`, or nil.
  package init?(word: String) {
    guard let format = NameIDFormat.allCases.first(where: { $0.word == word }) else { return nil }
    self = format
  }
}

/// How somebody was authenticated (Authentication Context 3.4).
package enum AuthnContextClass {
  package static let password = "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"
  package static let passwordProtectedTransport = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
  package static let unspecified = "urn:oasis:names:tc:SAML:2.0:ac:classes:unspecified"
  package static let kerberos = "urn:oasis:names:tc:SAML:2.0:ac:classes:Kerberos"
  package static let windows = "urn:federation:authentication:windows"
  package static let tlsClient = "urn:oasis:names:tc:SAML:2.0:ac:classes:TLSClient"
  package static let x509 = "urn:oasis:names:tc:SAML:2.0:ac:classes:X509"

  /// From the weakest to the strongest, as AD FS's AuthenticationContextOrder has them; what `minimum`, `maximum` and `better` are judged by.
  package static let order = [unspecified, password, passwordProtectedTransport, tlsClient, x509, kerberos, windows]
}

/// The answer's top-level and second-level code (Core 3.2.2.2).
package struct Status: Sendable, Hashable {
  package enum Code: String, Sendable, CaseIterable {
    case success = "urn:oasis:names:tc:SAML:2.0:status:Success"
    case requester = "urn:oasis:names:tc:SAML:2.0:status:Requester"
    case responder = "urn:oasis:names:tc:SAML:2.0:status:Responder"
    case versionMismatch = "urn:oasis:names:tc:SAML:2.0:status:VersionMismatch"
  }
  package enum Detail: String, Sendable, CaseIterable {
    case authnFailed = "urn:oasis:names:tc:SAML:2.0:status:AuthnFailed"
    case invalidNameIDPolicy = "urn:oasis:names:tc:SAML:2.0:status:InvalidNameIDPolicy"
    case noAuthnContext = "urn:oasis:names:tc:SAML:2.0:status:NoAuthnContext"
    case noAvailableIDP = "urn:oasis:names:tc:SAML:2.0:status:NoAvailableIDP"
    case noPassive = "urn:oasis:names:tc:SAML:2.0:status:NoPassive"
    case noSupportedIDP = "urn:oasis:names:tc:SAML:2.0:status:NoSupportedIDP"
    case partialLogout = "urn:oasis:names:tc:SAML:2.0:status:PartialLogout"
    case requestDenied = "urn:oasis:names:tc:SAML:2.0:status:RequestDenied"
    case requestUnsupported = "urn:oasis:names:tc:SAML:2.0:status:RequestUnsupported"
    case requestVersionDeprecated = "urn:oasis:names:tc:SAML:2.0:status:RequestVersionDeprecated"
    case requestVersionTooHigh = "urn:oasis:names:tc:SAML:2.0:status:RequestVersionTooHigh"
    case requestVersionTooLow = "urn:oasis:names:tc:SAML:2.0:status:RequestVersionTooLow"
    case unknownPrincipal = "urn:oasis:names:tc:SAML:2.0:status:UnknownPrincipal"
    case unsupportedBinding = "urn:oasis:names:tc:SAML:2.0:status:UnsupportedBinding"
  }
  package var code: Code
  package var detail: Detail?
  /// For the relying party's log; says nothing of the person.
  package var message: String?

  package init(_ code: Code, _ detail: Detail? = nil, message: String? = nil) {
    self.code = code
    self.detail = detail
    self.message = message
  }

  package static let success = Status(.success)
}
