import Bytes
import Foundation
import Identity
import Logging
import ServiceLifecycle
import Synchronization

/// Asks the agents what the gateway knows the answer to, and acts on what they say: the shell around `CanaryState`.
///
/// A canary is an ordinary question about an ordinary name. It is no sign-in: it has no row in the audit and is not counted among them.
package final class CanaryWatch: Service, AlarmSource {
  private let hub: AgentHub
  private let canaries: CanaryRegister
  private let registry: AgentRegistry
  private let quarantine: AgentQuarantine
  private let deadline: Duration
  private let now: @Sendable () -> Instant
  private let logger: Logger
  private let started = ContinuousClock.now
  private let state: Mutex<CanaryState>
  /// Whom each agent says the canary's name means.
  private let meanings = Mutex<[Identifier: [RealmName: NameMeaning]]>([:])

  /// - Parameters:
  ///   - interval: the mean time between two canaries of one kind for one agent and realm.
  ///   - deadline: that of a sign-in, so that a canary has the same.
  package init(
    hub: AgentHub, canaries: CanaryRegister, registry: AgentRegistry, quarantine: AgentQuarantine, interval: Duration, deadline: Duration,
    now: @escaping @Sendable () -> Instant, logger: Logger
  ) {
    self.hub = hub
    self.canaries = canaries
    self.registry = registry
    self.quarantine = quarantine
    self.deadline = deadline
    self.now = now
    self.logger = logger
    state = Mutex(CanaryState(interval: max(3, interval.wholeMilliseconds)))
    hub.guardRealms(canaries.realms)
  }

  package func run() async throws {
    await withDiscardingTaskGroup { group in
      while !Task.isCancelled, !Task.isShuttingDownGracefully {
        let realms = canaries.realms
        hub.guardRealms(realms)
        await quarantine.recordWhatIsDue(now: now())
        let sessions = hub.sessions
        let elapsed = elapsed
        let probes = state.withLock { state in
          var generator = SystemRandomNumberGenerator()
          return state.due(sessions: sessions, realms: realms, now: elapsed, using: &generator)
        }
        for probe in probes { group.addTask { await self.ask(probe) } }
        try? await cancelWhenGracefulShutdown { try await Task.sleep(for: .milliseconds(100)) }
      }
    }
  }

  private var elapsed: HubTime { started.duration(to: .now).wholeMilliseconds }

  private func ask(_ probe: CanaryState.Probe) async {
    var generator = SystemRandomNumberGenerator()
    let realm = probe.subject.realm
    guard let canary = canaries.canary(of: realm),
      let password = probe.kind == .right ? canary.password : canary.wrongPassword(using: &generator)
    else { return conclude(probe, .unknown(.internalError)) }
    // A front-end's question has lost some milliseconds of its time before it is handed out.
    let way = Duration.milliseconds(Int64.random(in: 1...12, using: &generator))
    let agent = probe.subject.agent
    // Most people's questions come straight away, some behind a look-up; all bear an allowance. So do these.
    var meaning = meanings.withLock { $0[agent]?[realm] }
    let isStrange = Int.random(in: 0..<4, using: &generator) == 0
    if meaning == nil || isStrange {
      let lookUp = Question(
        kind: .lookUp, realm: realm, userName: canary.userName, password: nil, wanting: .none, deadline: Deadline(after: deadline - way))
      meaning = await hub.ask(lookUp, to: .only(agent)).judgement.meaning ?? meaning
      meanings.withLock { [meaning] in $0[agent, default: [:]][realm] = meaning }
    }
    let allowance = meaning.map { TryAllowance(expected: $0.object, isFamiliar: !isStrange) }
    let question = Question(
      realm: realm, userName: canary.userName, password: password, wanting: hub.usualWanting(of: realm), allowance: allowance,
      deadline: Deadline(after: deadline - way))
    let outcome = await hub.ask(question, to: .only(agent))
    // Another account has the name now: it is looked up before the next one.
    if outcome.judgement.verdict == .unknown(.nameMoved) { meanings.withLock { $0[agent]?[realm] = nil } }
    outcome.judgement.verdict.countCanary(kind: probe.kind.rawValue)
    conclude(probe, outcome.judgement.verdict)
  }

  private func conclude(_ probe: CanaryState.Probe, _ verdict: Verdict) {
    let elapsed = elapsed
    let effect = state.withLock { state in
      var generator = SystemRandomNumberGenerator()
      return state.concluded(probe, verdict, now: elapsed, using: &generator)
    }
    switch effect {
    case nil: break
    case .prove(let subject, let instance): hub.prove(agent: subject.agent, instance: instance, realm: subject.realm)
    case .quarantine(let subject):
      logger.critical(
        "an agent said yes to a wrong password; it is in quarantine",
        metadata: ["agent": "\(registry.agent(subject.agent)?.name ?? subject.agent.description)", "realm": "\(subject.realm)"])
      quarantine.impose(on: subject.agent, realm: subject.realm, now: now())
    }
  }

  package func alarms() async -> [Alarm] {
    let elapsed = elapsed
    let now = now()
    let (refusals, unproven) = state.withLock { ($0.refusals, $0.unproven(now: elapsed)) }
    func time(_ moment: HubTime) -> Instant { now.adding(.milliseconds(moment - elapsed)) }
    func name(_ agent: Identifier) -> String { registry.agent(agent)?.name ?? agent.description }
    var result: [Alarm] = []
    for (realm, agents) in refusals.sorted(by: { $0.key < $1.key }) {
      let since = time(agents.map(\.since).min() ?? elapsed)
      if agents.count > 1 {
        result.append(
          Alarm(
            .canaryAccountRefused, subject: realm.text,
            message: "\(agents.count) agents refuse the right password of the canary account of realm \(realm): most likely the account was changed.",
            remedy: "Look at the account in the directory, and set it anew with `gatehouse realms canary \(realm) --user NAME --password-file FILE`.",
            since: since))
      } else if let agent = agents.first {
        result.append(
          Alarm(
            .agentRefusesCanary, subject: name(agent.agent),
            message: "Agent \(name(agent.agent)) refuses the right password of the canary account of realm \(realm).",
            remedy:
              "If other agents of the realm accept it, this one asks another directory or lies: look at its host. If it is the only one, look at the "
              + "account first.",
            since: since))
      }
    }
    for (subject, since) in unproven.sorted(by: { $0.since < $1.since }) {
      result.append(
        Alarm(
          .agentUnproven, subject: name(subject.agent),
          message: "Agent \(name(subject.agent)) has not yet answered the canaries of realm \(subject.realm), and gets no questions about it.",
          remedy: "Its directory does not answer, most likely: look at the agent's own alarms and its log.", since: time(since)))
    }
    return result
  }
}
