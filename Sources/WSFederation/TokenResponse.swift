import Bytes
import SAML
import XMLSecurity

/// The answer to a request for a token (WS-Trust 1.3, 4.4): what wresult carries, and the body of an answer by SOAP.
package struct TokenResponse: Sendable {
  package var version: TrustVersion
  /// A finished saml:Assertion, xenc:EncryptedData or saml:EncryptedAssertion that declares its own namespaces; it is written as it is.
  package var token: [UInt8]
  package var tokenType: TokenType
  package var assertionID: String
  /// Lifetime.
  package var created: Instant
  package var expires: Instant
  /// For whom: the token's audience.
  package var appliesTo: String
  /// RequestSecurityToken's Context, which must be given back (WS-Trust 1.3, 3.2).
  package var context: String?

  package init(
    version: TrustVersion, token: [UInt8], tokenType: TokenType, assertionID: String, created: Instant, expires: Instant, appliesTo: String
  ) {
    self.version = version
    self.token = token
    self.tokenType = tokenType
    self.assertionID = assertionID
    self.created = created
    self.expires = expires
    self.appliesTo = appliesTo
  }

  /// In 2005 a RequestSecurityTokenResponse; in 1.3 a RequestSecurityTokenResponseCollection of one, as that version demands of the last answer. The
  /// order is AD FS's, without white space: some clients cut the token out as text. Throws `MessageFault`.
  package func written() throws(MessageFault) -> [UInt8] {
    let t = CanonicalWriter.Namespace.trust(version)
    var head: [(StaticString, String)] = []
    if let context { head.append(("Context", context)) }
    do {
      var writer = CanonicalWriter(capacity: 2048 + token.count)
      if version == .v13 { writer.open(t, "RequestSecurityTokenResponseCollection") }
      try writer.open(t, "RequestSecurityTokenResponse", head)
      writer.open(t, "Lifetime")
      try writer.element(.wsu, "Created", created.description)
      try writer.element(.wsu, "Expires", expires.description)
      writer.close()
      writer.open(.wsp, "AppliesTo")
      try writer.endpointReference(appliesTo)
      writer.close()
      // Whatever stands around the token declares `t` only, which no assertion does.
      writer.open(t, "RequestedSecurityToken")
      writer.embed(token)
      writer.close()
      for local: StaticString in ["RequestedAttachedReference", "RequestedUnattachedReference"] {
        writer.open(t, local)
        try writer.open(.o, "SecurityTokenReference", [], prefixed: [(.wsse11, "TokenType", tokenType.profileURI)])
        try writer.open(.o, "KeyIdentifier", [("ValueType", tokenType.keyIdentifierURI)])
        try writer.text(assertionID)
        writer.close()
        writer.close()
        writer.close()
      }
      try writer.element(t, "TokenType", tokenType.rawValue)
      try writer.element(t, "RequestType", version.issue)
      try writer.element(t, "KeyType", version.bearerKey)
      return writer.finish()
    } catch { throw MessageFault(error) }
  }
}
