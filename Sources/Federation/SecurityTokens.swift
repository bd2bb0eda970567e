import Bytes
import Cryptography
import Identity
import SAML
import WSFederation
import XMLSecurity

/// A finished security token, as WS-Federation and WS-Trust carry it.
struct SecurityToken: Sendable {
  /// A `saml:Assertion`, signed; or what it is encrypted to.
  var bytes: [UInt8]
  var type: TokenType
  var assertionID: String
  /// SHA-256 of the canonical assertion with its signature, before encryption; 32 bytes.
  var digest: [UInt8]
  var keyID: String
  var created: Instant
  var expires: Instant

  /// The response that carries it. Throws `MessageFault`.
  func response(_ version: TrustVersion, for party: RelyingParty, context: String? = nil) throws(MessageFault) -> [UInt8] {
    var response = TokenResponse(
      version: version, token: bytes, tokenType: type, assertionID: assertionID, created: created, expires: expires, appliesTo: party.entityID)
    response.context = context
    return try response.written()
  }
}

/// What a security token is made of.
struct SecurityTokenOrder: Sendable {
  var prepared: PreparedParty
  var facts: PersonFacts
  var name: NameID
  var type: TokenType
  /// Where it is posted; of no account for SAML 1.1.
  var recipient: String
}

/// Claim types that are not attributes in a security token: what they say stands elsewhere in it (protocols of AD FS; SAML 1.1 Core 2.4.2.2, 2.4.3).
enum ClaimTypes {
  static let nameIdentifier = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier"
  static let authenticationMethod = "http://schemas.microsoft.com/ws/2008/06/identity/claims/authenticationmethod"
  static let authenticationInstant = "http://schemas.microsoft.com/ws/2008/06/identity/claims/authenticationinstant"
  static let issuer = "http://schemas.microsoft.com/ws/2008/06/identity/claims/issuerid"
}

extension TokenIssuer {
  /// The assertion, always signed by itself, encrypted where the relying party wants that. Throws `ClaimProblem`, `MessageFault`, `CryptographyFault`.
  func securityToken(_ order: SecurityTokenOrder, signer: TokenSigningKeys.Signer) throws -> SecurityToken {
    let party = order.prepared.party
    let unsigned = try assertion(order)
    let signed = try sign(unsigned, party, signer)
    return SecurityToken(
      bytes: party.encrypts == .assertion ? try encrypted(signed, order) : signed, type: order.type, assertionID: unsigned.id,
      digest: Digests.sha256(signed), keyID: signer.id, created: now, expires: now.adding(.seconds(party.tokenLife)))
  }

  /// The assertion before it is signed. Throws `ClaimProblem` or `MessageFault`.
  func assertion(_ order: SecurityTokenOrder) throws -> UnsignedMessage {
    let party = order.prepared.party
    let circumstances = order.facts.circumstances
    var name = order.name
    var issuer = circumstances.issuer
    var method = circumstances.authenticationMethod
    var attributes: [Attribute] = []
    for attribute in try order.prepared.claims.attributes(of: order.facts) {
      switch attribute.name {
      case ClaimTypes.nameIdentifier: name.value = attribute.values[0]
      case ClaimTypes.issuer: issuer = attribute.values[0]
      case ClaimTypes.authenticationMethod: method = attribute.values[0]
      case ClaimTypes.authenticationInstant: break
      default: attributes.append(attribute)
      }
    }
    let notBefore = now.adding(.seconds(-party.skew))
    let notOnOrAfter = now.adding(.seconds(party.tokenLife))
    switch order.type {
    case .saml11:
      return try LegacyAssertion(
        id: TokenIssuer.makeID(), issueInstant: now, issuer: issuer, notBefore: notBefore, notOnOrAfter: notOnOrAfter, audience: party.entityID,
        name: name, authenticationMethod: method, authenticationInstant: circumstances.authenticated, attributes: attributes
      ).written()
    case .saml20:
      return try AssertionContent(
        id: TokenIssuer.makeID(), issueInstant: now, issuer: issuer, subject: .plain(name), recipient: order.recipient, inResponseTo: nil,
        notBefore: notBefore, notOnOrAfter: notOnOrAfter,
        confirmationNotOnOrAfter: now.adding(min(.seconds(party.tokenLife), TokenIssuer.bearerLife)), audience: party.entityID,
        authnInstant: circumstances.authenticated, sessionIndex: nil, sessionNotOnOrAfter: nil, contextClass: method, attributes: attributes
      ).written()
    }
  }

  /// MS-MWBF 2.2.4.1: an EncryptedData stands in place of a SAML 1.1 assertion; SAML 2.0 has a wrapper for it.
  private func encrypted(_ assertion: [UInt8], _ order: SecurityTokenOrder) throws -> [UInt8] {
    let data = try encrypt(assertion, order.prepared)
    return order.type == .saml11 ? data : ResponseContent.encryptedAssertion(data)
  }
}
