import Bytes
import Cryptography
import Identity
import Synchronization

/// Who may speak as an agent at this moment: every agent of the store, in memory, looked up by the digest of the certificate it presents.
///
/// The store is the truth; this copy is replaced after every change made here and once a second besides, so a revocation made at another node is
/// obeyed within that second.
package final class AgentRegistry: Sendable {
  private let store: any AgentStore
  private let snapshot = Mutex(Snapshot())

  private struct Snapshot {
    var byDigest: [[UInt8]: AgentRecord] = [:]
    var byID: [Identifier: AgentRecord] = [:]
  }

  package init(store: any AgentStore) { self.store = store }

  /// Reads all agents anew. Throws `StoreError`; the old copy stays then.
  package func refresh() async throws {
    let agents = try await store.agents()
    var fresh = Snapshot()
    for agent in agents {
      fresh.byID[agent.id] = agent
      for certificate in agent.certificates { fresh.byDigest[certificate.digest] = agent }
    }
    let complete = fresh
    snapshot.withLock { $0 = complete }
  }

  /// Whether the certificate with this DER is one of an enrolled agent's, revoked or not.
  package func knows(der: [UInt8]) -> Bool {
    let digest = Digests.sha256(der)
    return snapshot.withLock { $0.byDigest[digest] != nil }
  }

  package func agent(_ id: Identifier) -> AgentRecord? { snapshot.withLock { $0.byID[id] } }

  package var agents: [AgentRecord] { snapshot.withLock { Array($0.byID.values) } }

  /// What the bearer of the certificate may do at `now`.
  package func standing(of certificate: AgentCertificate, now: Instant) -> AgentStanding {
    let digest = Digests.sha256(certificate.der)
    guard let agent = snapshot.withLock({ $0.byDigest[digest] }), agent.id == certificate.agent else { return .unknown }
    if let revoked = agent.revoked { return .revoked(agent, since: revoked) }
    if certificate.notAfter > now { return .good(agent) }
    return now.since(certificate.notAfter) <= AgentAuthority.renewalGrace ? .mayRenewOnly(agent) : .expired(agent)
  }
}

/// What a presented certificate is worth.
package enum AgentStanding: Sendable, Equatable {
  case good(AgentRecord)
  /// Its certificate is over, but not for long: it may ask for a new one, and nothing else.
  case mayRenewOnly(AgentRecord)
  case expired(AgentRecord)
  case revoked(AgentRecord, since: Instant)
  case unknown
}
