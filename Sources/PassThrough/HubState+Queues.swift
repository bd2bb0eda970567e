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

  /// The questions that leave next: people at familiar addresses first while there is a line, but a quarter is always the others'.
  func nextBatch(of queue: [Identifier]) -> [Identifier] {
    guard queue.count > HubState.batchLimit else { return queue }
    let first = queue.filter { pending[$0]?.question.allowance?.isFamiliar ?? pending[$0]?.allowance?.isFamiliar ?? false }
    guard !first.isEmpty, first.count < queue.count else { return Array(queue.prefix(HubState.batchLimit)) }
    let taken = Set(first)
    let others = queue.filter { !taken.contains($0) }
    let share = min(first.count, max(HubState.batchLimit * 3 / 4, HubState.batchLimit - others.count))
    return Array(first.prefix(share)) + others.prefix(HubState.batchLimit - share)
  }

  /// Hands what is queued for the agent to a waiting poll, as one batch.
  mutating func deliver(to agent: Identifier, now: HubTime) -> [Action] {
    guard var session = sessions[agent], !session.queue.isEmpty, !session.polls.isEmpty else { return [] }
    let poll = session.polls.removeFirst()
    let batch = nextBatch(of: session.queue)
    if batch.count == session.queue.count {
      session.queue = []
    } else {
      let taken = Set(batch)
      session.queue.removeAll(where: taken.contains)
    }
    session.inFlight += batch.count
    if session.polls.isEmpty { session.withoutPollSince = now }
    sessions[agent] = session
    var questions: [Question] = []
    for id in batch {
      pending[id]?.delivered = now
      pending[id]?.lateness = lateness
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
