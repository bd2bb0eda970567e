import Identity

// A message costs both ends much more than a question in it. Under load an agent that has enough in hand to be busy therefore gets its questions
// a millisecond late and together, which is when it gets to them anyway; an agent with little to do gets each at once.
extension HubState {
  /// An agent with so many questions in hand is busy, and so many together are a batch worth sending.
  static let busy = 8
  /// The longest that a question waits for company.
  package static let gathering = Duration.milliseconds(1)

  /// Hands what is queued for the agent to a waiting poll, or lets it wait for company.
  mutating func deliver(to agent: Identifier, now: HubTime) -> [Action] {
    guard gathers, !closed, var session = sessions[agent], session.inFlight >= HubState.busy, !session.queue.isEmpty, !session.polls.isEmpty,
      session.queue.count < HubState.busy
    else { return handOut(to: agent, now: now) }
    guard !session.isGathering else { return [] }
    session.isGathering = true
    sessions[agent] = session
    return [.gather(agent: agent)]
  }

  /// How long a question waits for a poll at the agent of its realm where it waits least, in the realm where that is longest: whoever waits
  /// there waits because there is too much, and not because one agent is frozen.
  package func longestWait(now: HubTime) -> HubTime {
    rosters.values.map { agents in
      agents.compactMap { agent -> HubTime? in
        guard let session = sessions[agent], !session.draining else { return nil }
        return session.queue.first.flatMap { pending[$0] }.map { now - $0.assigned } ?? 0
      }.min() ?? 0
    }.max() ?? 0
  }

  /// The moment that was asked for by `.gather` is over.
  package mutating func gathered(_ agent: Identifier, now: HubTime) -> [Action] {
    sessions[agent]?.isGathering = false
    return handOut(to: agent, now: now)
  }

  private mutating func handOut(to agent: Identifier, now: HubTime) -> [Action] {
    guard var session = sessions[agent], !session.queue.isEmpty, !session.polls.isEmpty else { return [] }
    let poll = session.polls.removeFirst()
    let batch = Array(session.queue.prefix(HubState.batchLimit))
    session.queue.removeFirst(batch.count)
    session.inFlight += batch.count
    if session.polls.isEmpty { session.withoutPollSince = now }
    sessions[agent] = session
    var questions: [Question] = []
    for id in batch {
      pending[id]?.delivered = now
      // What a lost agent may have put before the directory counts like any other try of which nobody heard.
      var allowance = session.understands >= 2 ? pending[id]?.allowance : nil
      allowance?.charged += pending[id]?.uncertain ?? 0
      pending[id]?.question.allowance = allowance
      pending[id]?.instance = poll.instance
      if let question = pending[id]?.question { questions.append(question) }
    }
    return [.deliver(poll: poll.id, questions)]
  }
}
