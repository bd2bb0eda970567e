import Bytes
import Crypto
import Foundation
import Identity

/// All that an agent is to the gateway: its keys, its certificate, whom it trusts and where to go. Kept in one file at the agent (0600).
package struct AgentIdentity: Sendable {
  package var agent: Identifier
  package var name: String
  package var realms: [RealmName]
  package var signingKey: P256.Signing.PrivateKey
  package var openingKey: Curve25519.KeyAgreement.PrivateKey
  /// DER.
  package var certificate: [UInt8]
  package var notAfter: Instant
  package var renewed: Instant
  /// DER of every gateway root that is trusted.
  package var roots: [[UInt8]]
  /// The gateway's X25519 key, pinned at enrolment.
  package var gatewayKey: Curve25519.KeyAgreement.PublicKey
  package var nodes: [String]

  package init(
    agent: Identifier, name: String, realms: [RealmName], signingKey: P256.Signing.PrivateKey,
    openingKey: Curve25519.KeyAgreement.PrivateKey, certificate: [UInt8], notAfter: Instant, renewed: Instant, roots: [[UInt8]],
    gatewayKey: Curve25519.KeyAgreement.PublicKey, nodes: [String]
  ) {
    self.agent = agent
    self.name = name
    self.realms = realms
    self.signingKey = signingKey
    self.openingKey = openingKey
    self.certificate = certificate
    self.notAfter = notAfter
    self.renewed = renewed
    self.roots = roots
    self.gatewayKey = gatewayKey
    self.nodes = nodes
  }
}

/// Fresh keys that wait for their certificate: the agent's half of enrolment and renewal.
package struct AgentKeys: Sendable {
  package let signing = P256.Signing.PrivateKey()
  package let opening = Curve25519.KeyAgreement.PrivateKey()

  package init() {}

  /// The certificate request, DER in base64.
  package func request() throws -> String {
    Data(try AgentCertificate.request(signing: signing, sealing: opening.publicKey)).base64EncodedString()
  }

  /// The identity that an enrolment's answer makes of these keys. Throws `AnswerUnusable`.
  package func identity(from answer: EnrolmentAnswer, token: EnrolmentToken, digest: ([UInt8]) -> [UInt8], now: Instant) throws -> AgentIdentity {
    let roots = answer.roots.compactMap(StrictText.base64)
    guard roots.contains(where: { digest($0) == token.rootDigest }) else { throw AnswerUnusable("none of its roots is the one that the token names") }
    let certificate = try checked(answer.certificate, agent: answer.agent)
    return AgentIdentity(
      agent: answer.agent, name: answer.name, realms: answer.realms, signingKey: signing, openingKey: opening, certificate: certificate.der,
      notAfter: certificate.notAfter, renewed: now, roots: roots,
      gatewayKey: try Curve25519.KeyAgreement.PublicKey(rawRepresentation: token.gatewayKey), nodes: answer.nodes)
  }

  /// `identity` with these keys and the certificate that a renewal brought. Throws `AnswerUnusable`.
  package func renewing(_ identity: AgentIdentity, with answer: RenewalAnswer, now: Instant) throws -> AgentIdentity {
    let certificate = try checked(answer.certificate, agent: identity.agent)
    var renewed = identity
    renewed.signingKey = signing
    renewed.openingKey = opening
    renewed.certificate = certificate.der
    renewed.notAfter = certificate.notAfter
    renewed.renewed = now
    renewed.roots = answer.roots.compactMap(StrictText.base64)
    return renewed
  }

  private func checked(_ base64: String, agent: Identifier) throws -> AgentCertificate {
    guard let der = StrictText.base64(base64), let certificate = AgentCertificate(der: der), certificate.agent == agent,
      certificate.signingKey.rawRepresentation == signing.publicKey.rawRepresentation,
      certificate.sealingKey == Array(opening.publicKey.rawRepresentation)
    else { throw AnswerUnusable("its certificate is not for this agent and these keys") }
    return certificate
  }
}

/// The gateway's answer does not fit what was asked.
package struct AnswerUnusable: Error, CustomStringConvertible {
  package let description: String
  init(_ problem: String) { description = "the gateway's answer cannot be used: \(problem)" }
}
