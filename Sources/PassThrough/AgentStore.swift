import Bytes
import Identity

/// An agent as the gateway knows it.
package struct AgentRecord: Sendable, Equatable {
  package var id: Identifier
  /// 1…64 of `A-Z a-z 0-9 . _ -`; unique among agents that are not revoked.
  package var name: String
  /// The only realms it may answer for, fixed at enrolment.
  package var realms: [RealmName]
  /// SHA-256 of the DER of each certificate it may present: the newest first, at most two (the one before stays good until the new one was used).
  package var certificates: [AgentCertificateRecord]
  package var enrolled: Instant
  package var revoked: Instant?
  /// Since when it gets no questions because it was caught lying; an administrator lifts it.
  package var quarantined: Instant?
  package var version: Int64

  package init(
    id: Identifier = Identifier(), name: String, realms: [RealmName], certificates: [AgentCertificateRecord] = [], enrolled: Instant,
    revoked: Instant? = nil, quarantined: Instant? = nil, version: Int64 = 0
  ) {
    self.id = id
    self.name = name
    self.realms = realms
    self.certificates = certificates
    self.enrolled = enrolled
    self.revoked = revoked
    self.quarantined = quarantined
    self.version = version
  }
}

/// One certificate of an agent.
package struct AgentCertificateRecord: Sendable, Equatable, Codable {
  /// SHA-256 of the DER, 32 bytes.
  package var digest: [UInt8]
  package var notAfter: Instant

  package init(digest: [UInt8], notAfter: Instant) {
    self.digest = digest
    self.notAfter = notAfter
  }
}

/// A one-time right to enrol, of which only the digest is kept.
package struct EnrolmentTokenRecord: Sendable, Equatable {
  /// SHA-256 of the token's secret, 32 bytes.
  package var digest: [UInt8]
  package var realms: [RealmName]
  /// The name that the agent will bear; nil lets the agent propose one.
  package var agentName: String?
  package var made: Instant
  package var expires: Instant
  package var used: Instant?

  package init(digest: [UInt8], realms: [RealmName], agentName: String?, made: Instant, expires: Instant, used: Instant? = nil) {
    self.digest = digest
    self.realms = realms
    self.agentName = agentName
    self.made = made
    self.expires = expires
    self.used = used
  }
}

/// Agents, enrolment tokens and, among the protected documents, those of the agent CA, as the store keeps them.
package protocol AgentStore: DocumentStore {
  func agents() async throws -> [AgentRecord]
  func agent(id: Identifier) async throws -> AgentRecord?
  func addToken(_ token: EnrolmentTokenRecord, audit: [AuditEvent]) async throws
  /// The token with this digest, whatever its state; nil where there is none.
  func token(digest: [UInt8]) async throws -> EnrolmentTokenRecord?
  /// Uses up the token and adds the agent, in one transaction: of any number of parallel calls with one token exactly one succeeds.
  /// Throws `StoreError.conflict` where the token is unknown, used or expired at `now`, or the name is taken by an agent that is not revoked.
  func enrol(_ agent: AgentRecord, tokenDigest: [UInt8], now: Instant, audit: [AuditEvent]) async throws
  /// Compare-and-swap on `agent.version`.
  func update(_ agent: AgentRecord, audit: [AuditEvent]) async throws
}
