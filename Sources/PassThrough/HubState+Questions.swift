import Bytes
import Foundation
import Identity

// The half of the hub that is about questions: asked, answered, reported, moved. `HubState` has the drawing.

extension HubState {
  /// `random` decides between the two agents that are compared.
  package mutating func ask(_ question: Question, to addressee: Addressee = .anyone, deadline: HubTime, now: HubTime, random: Int) -> [Action] {
    guard pending.count < pendingLimit else {
      return [.finish(question: question.id, Judgement(.unknown(.overloaded)), agent: nil)]
    }
    if addressee == .anyone, question.kind == .validate, question.wanting != lastWanting[question.realm] {
      lastWanting[question.realm] = question.wanting
    }
    pending[question.id] = Pending(question: question, deadline: deadline, addressee: addressee, allowance: question.allowance)
    return assign(question.id, now: now, random: random)
  }

  /// What a verdict from `agent` must be checked against; nil where the question is not under way at this agent (late, replayed, foreign).
  package func expected(_ id: Identifier, from agent: Identifier) -> Question? {
    guard let waiting = pending[id], waiting.agent == agent, waiting.delivered != nil else { return nil }
    return waiting.question
  }

  /// A verdict whose signature was checked. Single use: the question is forgotten.
  package mutating func answered(_ id: Identifier, by agent: Identifier, _ judgement: Judgement, now: HubTime) -> [Action] {
    guard let waiting = pending[id], waiting.agent == agent, let delivered = waiting.delivered else { return [] }
    pending[id] = nil
    if var session = sessions[agent] {
      session.inFlight -= 1
      session.answered += 1
      session.lastBeat = now
      session.silent = false
      // Neither a look-up's answer nor a change's is a verdict.
      if case .unknown(let cause) = judgement.verdict, judgement.meaning == nil, !waiting.isWithdrawn,
        judgement.change.map({ $0 == .unknown(cause) }) ?? true
      {
        session.failingUntil = now + HubState.failurePause
      } else {
        session.failingUntil = 0
        HubState.learn(Double(now - delivered), &session, usual: usualLatency(beside: agent, session), now: now)
      }
      sessions[agent] = session
    }
    var judgement = judgement
    judgement.trace = waiting.notes + judgement.trace
    judgement.uncertainTries += waiting.uncertain
    return [.finish(question: id, judgement, agent: agent)]
  }

  /// The verdict was no verdict: nobody else is asked, since the password may have been put before the directory.
  package mutating func answeredInvalidly(_ id: Identifier, by agent: Identifier, now: HubTime) -> [Action] {
    answered(id, by: agent, Judgement(.unknown(.agentAnswerInvalid), uncertainTries: 1), now: now)
  }

  /// Whoever asked does not want it put before the directory any more. What nobody has is over at once; an agent that has it is told with the next answer
  /// to it, and says itself whether it was in time.
  package mutating func withdraw(_ id: Identifier) -> [Action] {
    guard var waiting = pending[id], !waiting.isWithdrawn else { return [] }
    waiting.isWithdrawn = true
    pending[id] = waiting
    guard let agent = waiting.agent, waiting.delivered != nil else { return end(id, because: "taken back before an agent had it") }
    if waiting.stage != .bindSent, sessions[agent].map({ $0.withdrawals.count < HubState.mostWithdrawals }) ?? false {
      sessions[agent]?.withdrawals.append(id)
    }
    return []
  }

  /// Ends a question that nobody has.
  private mutating func end(_ id: Identifier, because reason: String) -> [Action] {
    guard let waiting = pending.removeValue(forKey: id) else { return [] }
    parked.remove(id)
    if let agent = waiting.agent { sessions[agent]?.queue.removeAll { $0 == id } }
    let trace = waiting.notes + [TraceNote(.question, reason)]
    return [.finish(question: id, Judgement(.unknown(.overloaded), trace: trace, uncertainTries: waiting.uncertain), agent: nil)]
  }

  /// What the agent has and must let go, each told once.
  package mutating func takeWithdrawals(of agent: Identifier) -> [Identifier] {
    guard let told = sessions[agent]?.withdrawals, !told.isEmpty else { return [] }
    sessions[agent]?.withdrawals = []
    return told.filter { pending[$0]?.agent == agent && pending[$0]?.stage != .bindSent }
  }

  private static let mostWithdrawals = 4096

  /// A report of the agent's. `isExpected` is false where the question is not (or no longer) this agent's: it must not begin with it.
  package mutating func stage(_ report: StageReport, agent: Identifier, now: HubTime) -> (isExpected: Bool, actions: [Action]) {
    sessions[agent]?.lastBeat = now
    sessions[agent]?.silent = false
    guard let waiting = pending[report.question], waiting.agent == agent, waiting.delivered != nil else { return (false, []) }
    if report.stage == .returned {
      // Believed only of a question that was not put before the directory by the agent's own account.
      guard waiting.stage != .bindSent else { return (true, []) }
      sessions[agent]?.draining = true
      return (true, takeBack(report.question, from: agent, because: "handed the question back, as it is ending", now: now))
    }
    if waiting.stage != .bindSent { pending[report.question]?.stage = report.stage }
    return (true, [])
  }

  /// Time passes: to be called several times a second.
  package mutating func tick(now: HubTime) -> [Action] {
    var actions: [Action] = []
    if let lastTick { lateness += max(0, now - lastTick - HubState.tickInterval) }
    lastTick = now
    // Deadlines first: a question whose time is over is not asked elsewhere because its agent went too.
    for (id, waiting) in pending where waiting.deadline <= now || waiting.parkedUntil.map({ $0 <= now }) ?? false {
      pending[id] = nil
      parked.remove(id)
      if let agent = waiting.agent {
        sessions[agent]?.queue.removeAll { $0 == id }
        if waiting.delivered != nil { sessions[agent]?.inFlight -= 1 }
      }
      let cause: UnknownCause = waiting.agent == nil ? (waiting.notes.isEmpty ? .noAgent : .agentLost) : .deadlineExceeded
      let uncertain = waiting.uncertain + (waiting.delivered == nil ? 0 : 1)
      actions.append(.finish(question: id, Judgement(.unknown(cause), trace: waiting.notes, uncertainTries: uncertain), agent: waiting.agent))
    }
    for (agent, session) in sessions {
      let silent = now - session.lastBeat > HubState.beatLimit
      let unreachable = session.withoutConnectionSince.map { now - $0 > HubState.connectionGap } ?? false
      if silent || unreachable {
        actions += drop(agent: agent, now: now)
        continue
      }
      let over = session.polls.filter { $0.until <= now }
      if !over.isEmpty {
        actions += over.map { .release(poll: $0.id) }
        sessions[agent]?.polls.removeAll { $0.until <= now }
        if sessions[agent]?.polls.isEmpty == true { sessions[agent]?.withoutPollSince = now }
      }
    }
    actions += moveWhatLies(now: now)
    twins = twins.filter { now - $0.value < HubState.twinMemory }
    if now - lastDecay >= 1000 {
      lastDecay = now
      for agent in sessions.keys { sessions[agent]?.share *= 0.93 }
    }
    return actions
  }

  /// The 750 ms rule. What cannot go anywhere else stays where it is.
  mutating func moveWhatLies(now: HubTime) -> [Action] {
    var lying: [Identifier] = []
    for (id, waiting) in pending where waiting.agent != nil && waiting.addressee == .anyone {
      let since = waiting.delivered ?? waiting.assigned
      // What the gateway itself was late is nobody's silence.
      guard now - since - (lateness - waiting.lateness) >= HubState.acceptLimit, waiting.stage == nil, !waiting.isWithdrawn else { continue }
      lying.append(id)
    }
    var actions: [Action] = []
    for id in lying.sorted(by: { $0.bytes.lexicographicallyPrecedes($1.bytes) }) {
      guard var waiting = pending[id], let agent = waiting.agent else { continue }
      if waiting.delivered == nil {
        guard let next = candidate(for: waiting, random: chance(of: id), now: now), sessions[next]?.polls.isEmpty == false else { continue }
        sessions[agent]?.silent = true
        actions += takeBack(id, from: agent, because: "did not fetch the question", now: now)
        continue
      }
      guard sessions[agent]?.reportsStages == true, waiting.asked.count < waiting.mostAgents,
        waiting.deadline - now >= HubState.leastTimeForRetry, candidate(for: waiting, random: chance(of: id), now: now) != nil
      else { continue }
      if var session = sessions[agent] {
        session.inFlight -= 1
        session.silent = true
        HubState.learn(Double(HubState.acceptLimit), &session, usual: nil, now: now)
        sessions[agent] = session
      }
      waiting.agent = nil
      waiting.delivered = nil
      waiting.uncertain += 1
      waiting.notes.append(TraceNote(.agent, "agent \(agent) did not take the question up within \(HubState.acceptLimit) ms"))
      pending[id] = waiting
      actions += assign(id, now: now, random: chance(of: id))
    }
    return actions
  }

  /// Whether anybody could be asked about `realm` now.
  package func hasAgent(for realm: RealmName) -> Bool {
    sessions.values.contains { $0.realms.contains(realm) && !$0.draining }
  }

  mutating func assign(_ id: Identifier, now: HubTime, random: Int) -> [Action] {
    guard var waiting = pending[id] else { return [] }
    guard !waiting.isWithdrawn else { return end(id, because: "taken back when its agent was lost") }
    parked.remove(id)
    let retrying = !waiting.asked.isEmpty
    func outcome(_ cause: UnknownCause) -> [Action] {
      [.finish(question: id, Judgement(.unknown(cause), trace: waiting.notes, uncertainTries: waiting.uncertain), agent: nil)]
    }
    let mayRetry =
      waiting.addressee == .anyone && waiting.asked.count < waiting.mostAgents && waiting.deadline - now >= HubState.leastTimeForRetry
    if retrying, !mayRetry {
      pending[id] = nil
      return outcome(.agentLost)
    }
    guard let chosen = candidate(for: waiting, random: random, now: now) else {
      if let patience = patience(for: waiting, now: now) {
        waiting.parkedUntil = min(waiting.deadline, waiting.parkedUntil ?? now + patience)
        pending[id] = waiting
        parked.insert(id)
        return []
      }
      pending[id] = nil
      return outcome(retrying || !waiting.notes.isEmpty ? .agentLost : .noAgent)
    }
    waiting.agent = chosen
    waiting.parkedUntil = nil
    waiting.assigned = now
    waiting.lateness = lateness
    waiting.asked.append(chosen)
    pending[id] = waiting
    sessions[chosen]?.queue.append(id)
    sessions[chosen]?.share += 1
    return deliver(to: chosen, now: now)
  }

  /// How long it is worth waiting for somebody to ask; nil: not at all.
  func patience(for waiting: Pending, now: HubTime) -> HubTime? {
    guard waiting.addressee == .anyone else { return nil }
    let realm = waiting.question.realm
    if guarded.contains(realm),
      sessions.contains(where: {
        $0.value.realms.contains(realm) && !$0.value.draining && !$0.value.proven.contains(realm) && !waiting.asked.contains($0.key)
      })
    {
      return HubState.provingPatience
    }
    return now < youth && !seenRealms.contains(realm) ? HubState.startPatience : nil
  }

  mutating func unpark(now: HubTime) -> [Action] {
    guard !parked.isEmpty else { return [] }
    return parked.sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }.flatMap { assign($0, now: now, random: chance(of: $0)) }
  }
}
