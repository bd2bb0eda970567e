import Bytes
import Identity
import Logging
import Synchronization

/// Takes agents out that were caught lying, and lets them in again when an administrator says so.
///
/// The quarantine holds in memory from the first moment and is written to the store as soon as that is possible: a store that does not answer
/// leaves no agent in work that has lied.
package final class AgentQuarantine: Sendable {
  private struct Sentence {
    var agent: Identifier
    var realm: RealmName
    var since: Instant
  }

  private let store: any AgentStore
  private let registry: AgentRegistry
  private let hub: AgentHub
  private let logger: Logger
  private let unrecorded = Mutex<[Sentence]>([])

  package init(store: any AgentStore, registry: AgentRegistry, hub: AgentHub, logger: Logger) {
    self.store = store
    self.registry = registry
    self.hub = hub
    self.logger = logger
  }

  /// At once: nothing that the agent says counts any more, and what it was asked is asked elsewhere.
  package func impose(on agent: Identifier, realm: RealmName, now: Instant) {
    guard registry.bar(agent, since: now) else { return }
    hub.drop(agent)
    unrecorded.withLock { $0.append(Sentence(agent: agent, realm: realm, since: now)) }
  }

  /// Writes down what was not yet; to be called again and again.
  package func recordWhatIsDue(now: Instant) async {
    for sentence in unrecorded.withLock({ $0 }) {
      do {
        if var agent = try await store.agent(id: sentence.agent), agent.quarantined == nil {
          agent.quarantined = sentence.since
          let event = AuditEvent(
            time: now, kind: .agentQuarantined, actor: "gatehouse", realm: sentence.realm, subject: agent.name, object: agent.id, outcome: "done",
            details: ["reason": "said yes to a password that was known to be wrong"])
          try await store.update(agent, audit: [event])
        }
        unrecorded.withLock { $0.removeAll { $0.agent == sentence.agent } }
        try await registry.refresh()
      } catch {
        logger.error("a quarantine could not be recorded yet; it holds all the same", metadata: ["error": "\(error)"])
      }
    }
  }

  /// Lifts the quarantine by name or id; the agent has to prove itself anew. Nil where no such agent is in quarantine. Throws `StoreError`.
  package func release(_ nameOrID: String, actor: String, now: Instant) async throws -> AgentRecord? {
    await recordWhatIsDue(now: now)
    let match = try await store.agents().first {
      ($0.name == nameOrID || $0.id == Identifier(nameOrID)) && $0.revoked == nil && $0.quarantined != nil
    }
    guard var agent = match else { return nil }
    agent.quarantined = nil
    let event = AuditEvent(time: now, kind: .agentReleased, actor: actor, subject: agent.name, object: agent.id, outcome: "done")
    try await store.update(agent, audit: [event])
    registry.unbar(agent.id)
    try await registry.refresh()
    return agent
  }
}
