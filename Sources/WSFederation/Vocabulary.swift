import SAML
import XMLSecurity

/// The names that WS-Federation, WS-Trust and what they stand on give to things. URIs are compared byte by byte, always.
package enum FederationVocabulary {
  package static let trust2005 = "http://schemas.xmlsoap.org/ws/2005/02/trust"
  package static let trust13 = "http://docs.oasis-open.org/ws-sx/ws-trust/200512"
  /// SOAP 1.2 (Part 1).
  package static let soap = "http://www.w3.org/2003/05/soap-envelope"
  /// WS-Addressing 1.0.
  package static let addressing = "http://www.w3.org/2005/08/addressing"
  /// Whoever sends this as ReplyTo is answered on the connection on which they asked (WS-Addressing 1.0 Core, 2.1).
  package static let anonymous = "http://www.w3.org/2005/08/addressing/anonymous"
  /// WS-Security (SOAP Message Security 1.0 and 1.1).
  package static let security = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
  package static let utility = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
  package static let federation = "http://docs.oasis-open.org/wsfed/federation/200706"
  /// What stands as binding beside an address of the passive requestor profile: SAML has a name for each way, WS-Federation for itself only.
  package static let passiveBinding = federation
  /// SAML 1.1's own namespace; it is that of 1.0.
  package static let legacyAssertion = "urn:oasis:names:tc:SAML:1.0:assertion"

  static let oldAddressing = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
  static let policy2004 = "http://schemas.xmlsoap.org/ws/2004/09/policy"
  static let policy15 = "http://www.w3.org/ns/ws-policy"
  static let instance = "http://www.w3.org/2001/XMLSchema-instance"
  static let samlTokenProfile10 = "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.0"
  static let samlTokenProfile11 = "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1"
  static let userNameTokenProfile = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0"

  static func s(_ local: String) -> XMLName { XMLName(soap, local) }
  static func wsa(_ local: String) -> XMLName { XMLName(addressing, local) }
  static func wsse(_ local: String) -> XMLName { XMLName(security, local) }
  static func wsu(_ local: String) -> XMLName { XMLName(utility, local) }
  static func fed(_ local: String) -> XMLName { XMLName(federation, local) }
}

/// Which of the two WS-Trust versions: `2005` (http://schemas.xmlsoap.org/ws/2005/02/trust) or `13` (…ws-sx/ws-trust/200512).
package enum TrustVersion: String, Sendable, Codable, CaseIterable {
  case feb2005 = "2005"
  case v13 = "13"

  /// The namespace, of which all other URIs of the version are made.
  package var namespace: String { self == .feb2005 ? FederationVocabulary.trust2005 : FederationVocabulary.trust13 }

  /// wsa:Action of a request that a token be issued, and the SOAPAction of its operation.
  package var requestAction: String { namespace + "/RST/Issue" }

  /// wsa:Action of the answer (WS-Trust 1.3, 4.4: the last message of an issuance is the Final one).
  package var responseAction: String { namespace + (self == .feb2005 ? "/RSTR/Issue" : "/RSTRC/IssueFinal") }

  /// RequestType.
  package var issue: String { namespace + "/Issue" }

  /// KeyType of a token that needs no proof: what is answered, and what is taken to be asked where nothing is said.
  package var bearerKey: String { self == .feb2005 ? "http://schemas.xmlsoap.org/ws/2005/05/identity/NoProofKey" : namespace + "/Bearer" }

  func t(_ local: String) -> XMLName { XMLName(namespace, local) }
}

/// A place at which tokens are asked for by SOAP; the value is its path below /adfs/services/trust/.
package enum TrustEndpoint: String, Sendable, Codable, CaseIterable {
  case usernameMixed2005 = "2005/usernamemixed"
  case usernameMixed13 = "13/usernamemixed"
  case kerberosMixed2005 = "2005/kerberosmixed"
  case kerberosMixed13 = "13/kerberosmixed"
  case windowsTransport2005 = "2005/windowstransport"
  case windowsTransport13 = "13/windowstransport"

  package var version: TrustVersion {
    switch self {
    case .usernameMixed2005, .kerberosMixed2005, .windowsTransport2005: .feb2005
    case .usernameMixed13, .kerberosMixed13, .windowsTransport13: .v13
    }
  }

  /// What stands in the request to say who asks.
  package var proof: Proof {
    switch self {
    case .usernameMixed2005, .usernameMixed13: .userName
    case .kerberosMixed2005, .kerberosMixed13: .kerberos
    case .windowsTransport2005, .windowsTransport13: .windows
    }
  }

  package enum Proof: Sendable { case userName, kerberos, windows }

  /// Whether there is a room behind it.
  package var isServed: Bool { proof == .userName }
}

/// The kinds of token that are issued. The value is the URI that is written.
package enum TokenType: String, Sendable, Codable, CaseIterable {
  case saml11 = "urn:oasis:names:tc:SAML:1.0:assertion"
  case saml20 = "urn:oasis:names:tc:SAML:2.0:assertion"

  /// From the assertion's namespace, or the URI of the SAML token profile 1.1 (6.1 there); nil for every other one.
  package init?(uri: String) {
    guard let type = TokenType.allCases.first(where: { sameBytes($0.rawValue, uri) || sameBytes($0.profileURI, uri) }) else { return nil }
    self = type
  }

  /// The short word for people and configuration: `saml11` or `saml20`.
  package var word: String { self == .saml11 ? "saml11" : "saml20" }

  /// From `word`, or nil.
  package init?(word: String) {
    guard let type = TokenType.allCases.first(where: { sameBytes($0.word, word) }) else { return nil }
    self = type
  }

  /// The token's type in a reference to it (SAML token profile 1.1, 3.4).
  var profileURI: String { FederationVocabulary.samlTokenProfile11 + (self == .saml11 ? "#SAMLV1.1" : "#SAMLV2.0") }

  /// What kind of identifier names the assertion in a reference (SAML token profile 1.1, 3.4).
  var keyIdentifierURI: String {
    self == .saml11 ? FederationVocabulary.samlTokenProfile10 + "#SAMLAssertionID" : FederationVocabulary.samlTokenProfile11 + "#SAMLID"
  }
}

extension CanonicalWriter.Namespace {
  static let s = CanonicalWriter.Namespace(prefix: "s", uri: "http://www.w3.org/2003/05/soap-envelope")
  static let wsa = CanonicalWriter.Namespace(prefix: "wsa", uri: "http://www.w3.org/2005/08/addressing")
  static let o = CanonicalWriter.Namespace(prefix: "o", uri: "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd")
  static let wsu = CanonicalWriter.Namespace(
    prefix: "wsu", uri: "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd")
  /// The SAML token profile 1.1's attribute TokenType (WS-Security 1.1, 7.1).
  static let wsse11 = CanonicalWriter.Namespace(
    prefix: "k", uri: "http://docs.oasis-open.org/wss/oasis-wss-wssecurity-secext-1.1.xsd")
  static let wsp = CanonicalWriter.Namespace(prefix: "wsp", uri: "http://schemas.xmlsoap.org/ws/2004/09/policy")
  static let xsi = CanonicalWriter.Namespace(prefix: "xsi", uri: "http://www.w3.org/2001/XMLSchema-instance")
  static let fed = CanonicalWriter.Namespace(prefix: "fed", uri: "http://docs.oasis-open.org/wsfed/federation/200706")
  static let auth = CanonicalWriter.Namespace(prefix: "auth", uri: "http://docs.oasis-open.org/wsfed/authorization/200706")
  static let saml11 = CanonicalWriter.Namespace(prefix: "saml", uri: "urn:oasis:names:tc:SAML:1.0:assertion")

  /// WS-Trust, of the version.
  static func trust(_ version: TrustVersion) -> CanonicalWriter.Namespace {
    switch version {
    case .feb2005: CanonicalWriter.Namespace(prefix: "t", uri: "http://schemas.xmlsoap.org/ws/2005/02/trust")
    case .v13: CanonicalWriter.Namespace(prefix: "t", uri: "http://docs.oasis-open.org/ws-sx/ws-trust/200512")
    }
  }
}

extension CanonicalWriter {
  /// An endpoint reference that is an address and nothing else (WS-Addressing 1.0 Core, 2.2).
  mutating func endpointReference(_ address: String) throws(XMLFault) {
    open(.wsa, "EndpointReference")
    try element(.wsa, "Address", address)
    close()
  }
}
