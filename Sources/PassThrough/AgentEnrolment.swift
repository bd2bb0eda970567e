import Bytes
import Crypto
import Cryptography
import Foundation
import Identity

/// The gateway's desk for agents: makes tokens, enrols, renews, revokes.
package struct AgentEnrolment: Sendable {
  private let store: any AgentStore
  private let authority: AgentAuthority
  private let registry: AgentRegistry
  private let audit: any AuditLog
  /// The https base URL at which agents enrol, and the URLs at which they then work (one per gateway node).
  private let publicURL: String
  private let nodes: [String]

  package init(
    store: any AgentStore, audit: any AuditLog, authority: AgentAuthority, registry: AgentRegistry, publicURL: String, nodes: [String]
  ) {
    self.store = store
    self.audit = audit
    self.authority = authority
    self.registry = registry
    self.publicURL = publicURL
    self.nodes = nodes
  }

  /// Why somebody was not enrolled or renewed; the text is for the administrator at the agent.
  package enum Refusal: String, Error, Sendable, CaseIterable {
    case envelope, token, request, name, revoked

    package var message: String {
      switch self {
      case .envelope:
        "The enrolment message could not be opened. The token belongs to another gateway, or the message was changed on its way: make a new token with `gatehouse agents token` on the gateway that you want to join."
      case .token:
        "The enrolment token is used up, expired (it lives 10 minutes) or unknown here. Make a new one with `gatehouse agents token --realm REALM`."
      case .request: "The certificate request is malformed or not signed by its own key. Use the `gatehouse agent enrol` of a current release."
      case .name: "An agent of this name is enrolled already. Give another with `--name`, or revoke the old one with `gatehouse agents revoke NAME`."
      case .revoked: "This agent was revoked. Enrol it anew with a token from `gatehouse agents token`."
      }
    }
  }

  /// A new one-time token for an agent of `realms`. Its digest is stored; its text exists only in the answer.
  package func makeToken(realms: [RealmName], agentName: String?, actor: String, now: Instant) async throws -> EnrolmentToken {
    guard let root = authority.roots.first else { throw StoreError.unavailable("the agent CA has no active root") }
    let secret = RandomBytes.generate(32)
    let record = EnrolmentTokenRecord(
      digest: Digests.sha256(secret), realms: realms, agentName: agentName, made: now, expires: now.adding(EnrolmentToken.life))
    let event = AuditEvent(
      time: now, kind: .enrolmentTokenMade, actor: actor, subject: agentName, outcome: "done",
      details: ["realms": realms.map(\.text).joined(separator: " "), "token": record.digest.hexadecimal])
    try await store.addToken(record, audit: [event])
    return EnrolmentToken(
      secret: Secret(secret), rootDigest: Digests.sha256(root), gatewayKey: Array(authority.sealingKey.publicKey.rawRepresentation),
      url: publicURL)
  }

  /// Opens an enrolment, uses up its token and issues the certificate. Throws `Refusal`, `StoreError`.
  package func enrol(_ envelope: SealedEnvelope, address: String, now: Instant) async throws -> SealedEnvelope {
    guard let (request, channel) = try? EnrolmentChannel.open(envelope, gatewayKey: authority.sealingKey) else {
      try await refuse(.envelope, subject: nil, address: address, now: now)
    }
    guard let secret = StrictText.base64URL(request.secret), secret.count == 32, let token = try await store.token(digest: Digests.sha256(secret)),
      token.used == nil, token.expires > now
    else { try await refuse(.token, subject: request.name, address: address, now: now) }
    let name = token.agentName ?? request.name
    guard isAgentName(name) else { try await refuse(.name, subject: request.name, address: address, now: now) }
    let id = Identifier()
    guard let der = StrictText.base64(request.certificateRequest),
      let certificate = try? authority.issue(requestDER: der, agent: id, name: name, now: now)
    else { try await refuse(.request, subject: name, address: address, now: now) }
    let agent = AgentRecord(
      id: id, name: name, realms: token.realms,
      certificates: [AgentCertificateRecord(digest: Digests.sha256(certificate.der), notAfter: certificate.notAfter)], enrolled: now)
    let event = AuditEvent(
      time: now, kind: .agentEnrolled, actor: name, subject: name, object: id, outcome: "done",
      details: [
        "realms": token.realms.map(\.text).joined(separator: " "), "certificate": Digests.sha256(certificate.der).hexadecimal,
        "address": address, "token": token.digest.hexadecimal,
      ])
    do {
      try await store.enrol(agent, tokenDigest: token.digest, now: now, audit: [event])
    } catch StoreError.conflict {
      // The token was used in this moment by somebody else, or the name is taken: the store decided, this only finds the words.
      let taken = try await store.agents().contains { $0.name == name && $0.revoked == nil }
      try await refuse(taken ? .name : .token, subject: name, address: address, now: now)
    }
    try await registry.refresh()
    return try channel.seal(
      EnrolmentAnswer(
        agent: id, name: name, realms: token.realms, certificate: Data(certificate.der).base64EncodedString(),
        roots: authority.roots.map { Data($0).base64EncodedString() }, nodes: nodes))
  }

  /// A new certificate for an agent that proved (by the TLS handshake) that it holds its last one. The certificate before stays good until it
  /// is renewed again or ends: an agent that lost the answer can still connect. Throws `Refusal`, `StoreError`.
  package func renew(_ request: RenewalRequest, agent id: Identifier, presented: AgentCertificate, now: Instant) async throws -> RenewalAnswer {
    guard var agent = try await store.agent(id: id), agent.revoked == nil else { throw Refusal.revoked }
    guard let der = StrictText.base64(request.certificateRequest),
      let certificate = try? authority.issue(requestDER: der, agent: id, name: agent.name, now: now)
    else { throw Refusal.request }
    let digest = Digests.sha256(certificate.der)
    let before = agent.certificates.filter { $0.digest == Digests.sha256(presented.der) }
    agent.certificates = [AgentCertificateRecord(digest: digest, notAfter: certificate.notAfter)] + before
    let event = AuditEvent(
      time: now, kind: .agentRenewed, actor: agent.name, subject: agent.name, object: id, outcome: "done",
      details: ["certificate": digest.hexadecimal])
    try await store.update(agent, audit: [event])
    try await registry.refresh()
    return RenewalAnswer(
      certificate: Data(certificate.der).base64EncodedString(), roots: authority.roots.map { Data($0).base64EncodedString() })
  }

  /// Revokes by name or id; the agent's next message, and every answer it still owes, is refused. Returns nil where there is no such agent.
  package func revoke(_ nameOrID: String, actor: String, now: Instant) async throws -> AgentRecord? {
    let match = try await store.agents().filter { ($0.name == nameOrID || $0.id == Identifier(nameOrID)) && $0.revoked == nil }.first
    guard var agent = match else { return nil }
    agent.revoked = now
    let event = AuditEvent(
      time: now, kind: .agentRevoked, actor: actor, subject: agent.name, object: agent.id, outcome: "done")
    try await store.update(agent, audit: [event])
    try await registry.refresh()
    return agent
  }

  private func refuse(_ refusal: Refusal, subject: String?, address: String, now: Instant) async throws -> Never {
    let event = AuditEvent(
      time: now, kind: .enrolmentRefused, actor: address, subject: subject.map { String(decoding: $0.utf8.prefix(128), as: UTF8.self) },
      outcome: "denied", details: ["reason": refusal.rawValue])
    try await audit.append([event])
    throw refusal
  }
}

/// 1…64 of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit.
package func isAgentName(_ text: String) -> Bool {
  let bytes = Array(text.utf8)
  func isAlphanumeric(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
  }
  guard let first = bytes.first, isAlphanumeric(first), bytes.count <= 64 else { return false }
  return bytes.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-") }
}
