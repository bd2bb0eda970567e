import Identity

/// The gateway's `PasswordValidator`: asks an agent.
package struct PassThroughValidator: PasswordValidator {
  private let hub: AgentHub
  private let registry: AgentRegistry
  private let opinions: SecondOpinions?

  package init(hub: AgentHub, registry: AgentRegistry, opinions: SecondOpinions? = nil) {
    self.opinions = opinions
    self.hub = hub
    self.registry = registry
  }

  package func validate(_ credential: Credential, wanting: AttributeRequest, deadline: Deadline) async -> Judgement {
    let began = ContinuousClock.now
    let question = Question(
      realm: credential.realm, userName: credential.userName, password: credential.password, wanting: wanting, deadline: deadline)
    let outcome = await hub.ask(question)
    let name = outcome.agent.map { registry.agent($0)?.name ?? $0.description } ?? "none"
    let took = began.duration(to: .now)
    if case .accepted(let person) = outcome.judgement.verdict, let agent = outcome.agent {
      opinions?.offer(credential, wanting: wanting, answeredBy: agent, person: person.object)
    }
    var judgement = outcome.judgement
    judgement.answeredBy = outcome.agent
    judgement.trace.insert(
      TraceNote(
        .agent, "agent \(name), question \(question.id)",
        milliseconds: Double(took.components.attoseconds) / 1e15 + Double(took.components.seconds) * 1000),
      at: 0)
    return judgement
  }
}
