import Identity

/// The gateway's `PasswordValidator` and `PasswordChange`: asks an agent.
package struct PassThroughValidator: PasswordValidator, PasswordChange {
  private let hub: AgentHub
  private let registry: AgentRegistry
  private let opinions: SecondOpinions?

  package init(hub: AgentHub, registry: AgentRegistry, opinions: SecondOpinions? = nil) {
    self.opinions = opinions
    self.hub = hub
    self.registry = registry
  }

  package func validate(_ credential: Credential, wanting: AttributeRequest, deadline: Deadline) async -> Judgement {
    let question = Question(
      realm: credential.realm, userName: credential.userName, password: credential.password, wanting: wanting, allowance: credential.allowance,
      deadline: deadline)
    let judgement = await ask(question, withdrawal: credential.withdrawal)
    if case .accepted(let person) = judgement.verdict, let agent = judgement.answeredBy {
      opinions?.offer(credential, wanting: wanting, answeredBy: agent, person: person.object)
    }
    return judgement
  }

  package func lookUp(_ userName: UserName, realm: RealmName, deadline: Deadline) async -> LookUpAnswer {
    let judgement = await ask(
      Question(kind: .lookUp, realm: realm, userName: userName, password: nil, wanting: .none, deadline: deadline))
    if let meaning = judgement.meaning { return LookUpAnswer(meaning, lockout: judgement.facts?.policy, trace: judgement.trace) }
    guard case .unknown(let cause) = judgement.verdict else { return LookUpAnswer(unknown: .agentAnswerInvalid, trace: judgement.trace) }
    return LookUpAnswer(unknown: cause, trace: judgement.trace)
  }

  package func describe(_ userName: UserName, realm: RealmName, wanting: AttributeRequest, deadline: Deadline) async -> LookUpAnswer {
    let judgement = await ask(
      Question(kind: .describe, realm: realm, userName: userName, password: nil, wanting: wanting, deadline: deadline))
    guard let meaning = judgement.meaning else {
      guard case .unknown(let cause) = judgement.verdict else { return LookUpAnswer(unknown: .agentAnswerInvalid, trace: judgement.trace) }
      return LookUpAnswer(unknown: cause, trace: judgement.trace)
    }
    var answer = LookUpAnswer(meaning, lockout: judgement.facts?.policy, trace: judgement.trace)
    answer.person = judgement.described
    return answer
  }

  package func change(_ credential: Credential, to new: Password, wanting: AttributeRequest, deadline: Deadline) async -> Judgement {
    await ask(
      Question(
        kind: .changePassword, realm: credential.realm, userName: credential.userName, password: credential.password, newPassword: new,
        wanting: wanting, allowance: credential.allowance, deadline: deadline), withdrawal: credential.withdrawal)
  }

  private static func word(_ kind: QuestionKind) -> String {
    switch kind {
    case .lookUp: "look-up"
    case .describe: "description"
    case .changePassword: "change"
    case .validate, .policy, .canary: "question"
    }
  }

  /// Asks, and tells in the trace who answered and how long it took.
  private func ask(_ question: Question, withdrawal: Withdrawal? = nil) async -> Judgement {
    let began = ContinuousClock.now
    withdrawal?.onWithdraw { [hub] in hub.withdraw(question.id) }
    let outcome = await hub.ask(question)
    let name = outcome.agent.map { registry.agent($0)?.name ?? $0.description } ?? "none"
    let took = began.duration(to: .now)
    var judgement = outcome.judgement
    judgement.answeredBy = outcome.agent
    judgement.trace.insert(
      TraceNote(
        .agent, "agent \(name), \(PassThroughValidator.word(question.kind)) \(question.id)",
        milliseconds: Double(took.components.attoseconds) / 1e15 + Double(took.components.seconds) * 1000),
      at: 0)
    return judgement
  }
}
