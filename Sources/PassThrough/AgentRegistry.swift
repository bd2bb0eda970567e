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
    /// Quarantines that were imposed here, recorded in the store or not yet.
    var barred: [Identifier: Instant] = [:]
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
    snapshot.withLock {
      $0.byID = complete.byID
      $0.byDigest = complete.byDigest
    }
  }

  /// Bars an agent in memory, before anything is written. False where it was barred already.
  func bar(_ agent: Identifier, since: Instant) -> Bool {
    snapshot.withLock { state in
      guard state.barred[agent] == nil else { return false }
      state.barred[agent] = since
      return true
    }
  }

  func unbar(_ agent: Identifier) { snapshot.withLock { $0.barred[agent] = nil } }

  /// Since when the agent is in quarantine; nil where it is not.
  package func quarantined(_ agent: Identifier) -> Instant? { snapshot.withLock { $0.barred[agent] ?? $0.byID[agent]?.quarantined } }

  /// Whether questions may be put to the agent at all.
  func mayWork(_ agent: Identifier) -> Bool {
    snapshot.withLock { state in
      guard let record = state.byID[agent] else { return false }
      return record.revoked == nil && record.quarantined == nil && state.barred[agent] == nil
    }
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
    if let quarantined = quarantined(agent.id) { return .quarantined(agent, since: quarantined) }
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
  /// It was caught lying: nothing it says counts until an administrator releases it.
  case quarantined(AgentRecord, since: Instant)
  case unknown
}
