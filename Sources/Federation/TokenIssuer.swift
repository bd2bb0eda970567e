import Bytes
import Cryptography
import Identity
import SAML
import XMLSecurity

/// A page that posts itself: where to, and with which fields.
package struct PostForm: Sendable, Equatable {
  package var action: String
  package var fields: [Field]
  /// Whom it takes a token to; nil where it carries none.
  package var party: Identifier?

  package struct Field: Sendable, Equatable {
    package var name: String
    package var value: String
  }

  package init(action: String, fields: [(String, String)]) {
    self.action = action
    self.fields = fields.map { Field(name: $0.0, value: $0.1) }
  }
}

/// A finished answer, and what the audit keeps of it.
package struct IssuedToken: Sendable {
  package var form: PostForm
  /// The response's bytes, signed.
  package var response: [UInt8]
  package var assertionID: String
  /// SHA-256 of the canonical assertion before encryption, with its signature where it has one; 32 bytes.
  package var digest: [UInt8]
  package var name: NameID?
  package var keyID: String
}

/// What a token is made of.
struct TokenOrder: Sendable {
  var prepared: PreparedParty
  var facts: PersonFacts
  var name: NameID?
  var encryptsName: Bool
  var consumer: String
  var inResponseTo: String?
  var relayState: String?
  var contextClass: String
  var authenticated: Instant
  var sessionIndex: String
  var sessionEnds: Instant
}

/// Makes and signs what a relying party is answered. Pure but for random ids; every step's bytes are written once.
struct TokenIssuer: Sendable {
  /// How long a bearer may be used (Profiles 4.1.4.2 wants it short).
  static let bearerLife: Duration = .seconds(300)

  let entityID: String
  let now: Instant

  /// A fresh ID: 128 random bits behind an underscore (Core 1.3.4).
  static func makeID() -> String { "_" + RandomBytes.generate(16).hexadecimal }

  /// The assertion in its response, signed and encrypted as the relying party wants it. Throws `ClaimProblem` where a claim cannot be told, `MessageFault`
  /// where a value cannot be written, `CryptographyFault` where signing fails.
  func issue(_ order: TokenOrder, signer: TokenSigningKeys.Signer) throws -> IssuedToken {
    let party = order.prepared.party
    var subject: AssertionContent.SubjectName?
    if let name = order.name {
      subject =
        order.encryptsName || party.encrypts == .name ? .encrypted(try encrypt(try name.bytes(), order.prepared)) : .plain(name)
    }
    let content = try content(order, subject: subject)
    let unsigned = try content.written()
    let assertion = party.signs.includesAssertion ? try sign(unsigned, party, signer) : unsigned.bytes
    let body: ResponseContent.Body = party.encrypts == .assertion ? .encrypted(try encrypt(assertion, order.prepared)) : .assertion(assertion)
    let response = try ResponseContent(
      id: TokenIssuer.makeID(), inResponseTo: order.inResponseTo, destination: order.consumer, issueInstant: now, issuer: entityID, body: body
    ).written()
    let document = party.signs.includesResponse ? try sign(response, party, signer) : response.bytes
    return IssuedToken(
      form: form(document, consumer: order.consumer, relayState: order.relayState), response: document, assertionID: content.id,
      digest: Digests.sha256(assertion), name: order.name, keyID: signer.id)
  }

  /// What the assertion says. Throws `ClaimProblem`.
  func content(_ order: TokenOrder, subject: AssertionContent.SubjectName?) throws(ClaimProblem) -> AssertionContent {
    let party = order.prepared.party
    let life = Duration.seconds(party.tokenLife)
    return AssertionContent(
      id: TokenIssuer.makeID(), issueInstant: now, issuer: entityID, subject: subject, recipient: order.consumer, inResponseTo: order.inResponseTo,
      notBefore: now.adding(.seconds(-party.skew)), notOnOrAfter: now.adding(life),
      confirmationNotOnOrAfter: now.adding(min(life, TokenIssuer.bearerLife)), audience: party.entityID, authnInstant: order.authenticated,
      sessionIndex: order.sessionIndex, sessionNotOnOrAfter: order.sessionEnds, contextClass: order.contextClass,
      attributes: try order.prepared.claims.attributes(of: order.facts))
  }

  /// An answer without an assertion, always signed (saml2int). Throws as `issue`.
  func decline(
    _ status: Status, party: RelyingParty, consumer: String, inResponseTo: String?, relayState: String?, signer: TokenSigningKeys.Signer
  ) throws -> PostForm {
    let response = try ResponseContent(
      id: TokenIssuer.makeID(), inResponseTo: inResponseTo, destination: consumer, issueInstant: now, issuer: entityID, status: status
    ).written()
    return form(try sign(response, party, signer), consumer: consumer, relayState: relayState)
  }

  /// Signs a message with the relying party's algorithm, the certificate in its KeyInfo.
  func sign(_ message: UnsignedMessage, _ party: RelyingParty, _ signer: TokenSigningKeys.Signer) throws -> [UInt8] {
    let algorithm = party.signatureAlgorithm
    let prepared = EnvelopedSignature.prepare(
      element: message.bytes, id: message.id, at: message.signaturePlace, digest: algorithm.digest, algorithm: algorithm,
      certificates: [signer.certificate])
    return prepared.finish(signature: try signer.key.sign(prepared.bytesToSign, with: algorithm))
  }

  func encrypt(_ element: [UInt8], _ prepared: PreparedParty) throws -> [UInt8] {
    guard let key = prepared.encryptionKey else {
      throw ClaimProblem(detail: "the relying party \(prepared.party.name) wants encryption and has no encryption certificate that can be used")
    }
    let small = "http://www.w3.org/2009/xmlenc11#aes128-gcm"
    let large = "http://www.w3.org/2009/xmlenc11#aes256-gcm"
    // The first of the two that its metadata names; both are must-implement for whoever names none.
    let wanted = prepared.party.encryptionMethods.first { $0 == small || $0 == large }
    return try XMLEncryption.encrypt(
      element, to: key, certificate: prepared.party.encryptionCertificates.first, content: wanted == small ? .aes128GCM : .aes256GCM)
  }

  private func form(_ document: [UInt8], consumer: String, relayState: String?) -> PostForm {
    var fields = [("SAMLResponse", document.base64)]
    if let relayState { fields.append(("RelayState", relayState)) }
    return PostForm(action: consumer, fields: fields)
  }
}
