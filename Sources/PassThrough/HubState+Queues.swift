import Identity

// What waits at an agent for a poll, and for how long.
extension HubState {
  /// How long a question waits for a poll at the agent of its realm where it waits least, in the realm where that is shortest: the whole gateway has
  /// too much, and not one frozen agent or one realm, whose trouble must be nobody else's.
  package func longestWait(now: HubTime) -> HubTime {
    rosters.values.map { agents in
      agents.compactMap { agent -> HubTime? in
        guard let session = sessions[agent], !session.draining else { return nil }
        return session.queue.first.flatMap { pending[$0] }.map { now - $0.assigned } ?? 0
      }.min() ?? 0
    }.min() ?? 0
  }

  /// Hands what is queued for the agent to a waiting poll, as one batch.
  mutating func deliver(to agent: Identifier, now: HubTime) -> [Action] {
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
