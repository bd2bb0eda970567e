import Bytes
import Identity

// The agent hub as a pure state machine. Events are mutating methods; each tells the shell (`AgentHub`) what to do as a list of actions.
//
//   question:  waiting ──assigned──► queued at an agent ──delivered on a lane──► under way ──verdict──► done
//                 ▲                         │                                      │
//                 └──── agent lost, at most one more agent is asked ───────────────┘        deadline passed → done (unknown)
//
//   agent:     connected while it beats (5 s) and always has a poll waiting (1 s without one means that its connections are gone)

/// A moment on the monotonic clock in milliseconds, counted from the hub's start.
package typealias HubTime = Int64

package struct HubState: Sendable {
  /// Out of rotation without a heartbeat for this long (the agent beats every 2 s).
  package static let beatLimit: HubTime = 5000
  /// A living agent re-polls at once; without a waiting poll for this long its connections are gone.
  package static let pollGap: HubTime = 1000
  /// A poll is answered empty after this, so that proxies in between see traffic.
  package static let pollLife: HubTime = 20_000
  /// The most questions one poll carries.
  package static let batchLimit = 64
  /// A question reaches at most two agents (docs/architecture.md): the second could cost the user a second bad-password count.
  package static let mostAgentsAsked = 2
  /// Less than this left of the deadline: another agent is not worth asking.
  package static let leastTimeForRetry: HubTime = 250

  package enum Action: Sendable {
    /// Hand these questions to the waiting poll.
    case deliver(poll: Int, [Question])
    /// Answer the waiting poll without questions.
    case release(poll: Int)
    /// The question has its outcome.
    case finish(question: Identifier, Judgement, agent: Identifier?)
  }

  struct Poll {
    var id: Int
    /// The process of the agent that polls; nil where the agent is too old to tell.
    var instance: Identifier?
    var until: HubTime
  }

  /// An agent as the hub sees it now.
  package struct Session: Sendable {
    var realms: Set<RealmName>
    package var lastBeat: HubTime
    /// Since when it has no poll waiting; nil while it has one.
    var withoutPollSince: HubTime?
    var polls: [Poll] = []
    /// The process that polled last.
    var instance: Identifier?
    var queue: [Identifier] = []
    package var inFlight = 0
    /// Exponentially weighted mean of its answer times, milliseconds; starts optimistic so that a new agent gets work.
    package var latency = 1.0
    package var answered: Int64 = 0
    package var draining = false
    package var alarms: [Alarm] = []
    package var software = ""
    /// What it understands of questions (`WorkRequest.understands`).
    var understands = 1
    package var clockSkewMilliseconds: Int64 = 0
  }

  struct Pending {
    var question: Question
    var deadline: HubTime
    var asked: [Identifier] = []
    /// Where it is now; nil while nobody has it.
    var agent: Identifier?
    var delivered: HubTime?
    /// The process that it was delivered to.
    var instance: Identifier?
    var stage: StageReport.Stage?
    /// What the question is weighed by at an agent that understands it.
    var allowance: TryAllowance?
    var notes: [TraceNote] = []
  }

  package private(set) var sessions: [Identifier: Session] = [:]
  private var pending: [Identifier: Pending] = [:]
  private var closed = false
  /// Bounded: above it new questions are `overloaded`.
  package var pendingLimit = 20_000

  package init() {}

  package var pendingCount: Int { pending.count }

  // MARK: agents

  package mutating func beat(
    agent: Identifier, realms: [RealmName], now: HubTime, draining: Bool, alarms: [Alarm], software: String, clockSkewMilliseconds: Int64
  ) -> [Action] {
    var session = sessions[agent] ?? Session(realms: Set(realms), lastBeat: now, withoutPollSince: now)
    session.realms = Set(realms)
    session.lastBeat = now
    session.draining = draining
    session.alarms = alarms
    session.software = software
    session.clockSkewMilliseconds = clockSkewMilliseconds
    sessions[agent] = session
    return []
  }

  /// A poll begins to wait. Questions that are queued for the agent answer it at once.
  package mutating func poll(
    _ id: Int, agent: Identifier, realms: [RealmName], instance: Identifier? = nil, understands: Int = WorkRequest.currentUnderstanding,
    now: HubTime
  ) -> [Action] {
    let lost = lose(agent, before: instance, now: now)
    var session = sessions[agent] ?? Session(realms: Set(realms), lastBeat: now, withoutPollSince: nil)
    session.lastBeat = now
    session.instance = instance
    session.understands = understands
    session.polls.append(Poll(id: id, instance: instance, until: now + HubState.pollLife))
    session.withoutPollSince = nil
    sessions[agent] = session
    let delivered = deliver(to: agent, now: now)
    guard closed, delivered.isEmpty else { return lost + delivered }
    sessions[agent]?.polls.removeAll { $0.id == id }
    return lost + [.release(poll: id)]
  }

  /// Another process of the agent polls than before, and the one before has no connection any more: what that one had been handed will not be
  /// answered, however well the agent is now. (Two that poll side by side are one identity on two hosts: both are left alone.)
  private mutating func lose(_ agent: Identifier, before instance: Identifier?, now: HubTime) -> [Action] {
    guard let session = sessions[agent], let former = session.instance, former != instance,
      !session.polls.contains(where: { $0.instance == former })
    else { return [] }
    let orphans = pending.filter { $0.value.agent == agent && $0.value.delivered != nil && $0.value.instance == former }.map(\.key)
    sessions[agent]?.inFlight -= orphans.count
    return askElsewhere(orphans, after: agent, now: now)
  }

  /// No more questions are handed out: every poll is answered empty, now and from now on. What is under way is still awaited.
  package mutating func close() -> [Action] {
    closed = true
    var actions: [Action] = []
    for (agent, session) in sessions {
      actions += session.polls.map { .release(poll: $0.id) }
      sessions[agent]?.polls = []
    }
    return actions
  }

  /// A waiting poll's connection went away.
  package mutating func pollGone(_ id: Int, agent: Identifier, now: HubTime) {
    guard var session = sessions[agent], session.polls.contains(where: { $0.id == id }) else { return }
    session.polls.removeAll { $0.id == id }
    if session.polls.isEmpty { session.withoutPollSince = now }
    sessions[agent] = session
  }

  /// A batch that had been handed to a poll could not be written or sealed: the agent never had it.
  package mutating func undelivered(_ ids: [Identifier], agent: Identifier, now: HubTime) -> [Action] {
    var actions: [Action] = []
    for id in ids {
      guard var waiting = pending[id], waiting.agent == agent else { continue }
      if sessions[agent] != nil { sessions[agent]?.inFlight -= 1 }
      waiting.agent = nil
      waiting.delivered = nil
      // It does not count as asked, but it must not be tried there for ever either: its deadline bounds it.
      waiting.asked.removeAll { $0 == agent }
      pending[id] = waiting
      actions += assign(id, now: now, random: id.hashValue)
    }
    return actions
  }

  /// The agent is gone or must not answer any more (revoked): what it has is asked elsewhere, its polls are released.
  package mutating func drop(agent: Identifier, now: HubTime) -> [Action] {
    guard let session = sessions.removeValue(forKey: agent) else { return [] }
    return session.polls.map { .release(poll: $0.id) }
      + askElsewhere(pending.filter { $0.value.agent == agent }.map(\.key), after: agent, now: now)
  }

  private mutating func askElsewhere(_ orphans: [Identifier], after agent: Identifier, now: HubTime) -> [Action] {
    var actions: [Action] = []
    // Sorted, so that the outcome does not depend on hashing.
    for id in orphans.sorted(by: { $0.bytes.lexicographicallyPrecedes($1.bytes) }) {
      guard var waiting = pending[id] else { continue }
      waiting.agent = nil
      waiting.notes.append(TraceNote(.agent, "agent \(agent) was lost\(waiting.delivered == nil ? " before it had the question" : "")"))
      if waiting.delivered == nil { waiting.asked.removeAll { $0 == agent } }
      // What the lost agent may have put before the directory counts like any other try of which nobody heard.
      if waiting.delivered != nil, let charged = waiting.allowance?.charged { waiting.allowance?.charged = charged + 1 }
      waiting.delivered = nil
      pending[id] = waiting
      actions += assign(id, now: now, random: id.hashValue)
    }
    return actions
  }

  // MARK: questions

  /// `random` decides between the two agents that are compared.
  package mutating func ask(_ question: Question, deadline: HubTime, now: HubTime, random: Int) -> [Action] {
    guard pending.count < pendingLimit else {
      return [.finish(question: question.id, Judgement(.unknown(.overloaded)), agent: nil)]
    }
    var waiting = Pending(question: question, deadline: deadline)
    waiting.allowance = question.allowance
    pending[question.id] = waiting
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
      session.latency += (Double(now - delivered) - session.latency) * 0.1
      sessions[agent] = session
    }
    var judgement = judgement
    judgement.trace = waiting.notes + judgement.trace
    return [.finish(question: id, judgement, agent: agent)]
  }

  /// The verdict was no verdict: nobody else is asked, since the password may have been put before the directory.
  package mutating func answeredInvalidly(_ id: Identifier, by agent: Identifier, now: HubTime) -> [Action] {
    answered(id, by: agent, Judgement(.unknown(.agentAnswerInvalid)), now: now)
  }

  package mutating func stage(_ report: StageReport, agent: Identifier) {
    guard pending[report.question]?.agent == agent else { return }
    pending[report.question]?.stage = report.stage
  }

  /// Time passes: to be called several times a second.
  package mutating func tick(now: HubTime) -> [Action] {
    var actions: [Action] = []
    // Deadlines first: a question whose time is over is not asked elsewhere because its agent went too.
    for (id, waiting) in pending where waiting.deadline <= now {
      pending[id] = nil
      if let agent = waiting.agent {
        sessions[agent]?.queue.removeAll { $0 == id }
        if waiting.delivered != nil { sessions[agent]?.inFlight -= 1 }
      }
      let cause: UnknownCause = waiting.agent == nil ? (waiting.notes.isEmpty ? .noAgent : .agentLost) : .deadlineExceeded
      actions.append(.finish(question: id, Judgement(.unknown(cause), trace: waiting.notes), agent: waiting.agent))
    }
    for (agent, session) in sessions {
      let silent = now - session.lastBeat > HubState.beatLimit
      let unreachable = session.withoutPollSince.map { now - $0 > HubState.pollGap } ?? false
      if silent || (unreachable && !session.draining) {
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
    return actions
  }

  /// Whether anybody could be asked about `realm` now.
  package func hasAgent(for realm: RealmName) -> Bool { sessions.values.contains { $0.realms.contains(realm) && !$0.draining } }

  private mutating func assign(_ id: Identifier, now: HubTime, random: Int) -> [Action] {
    guard var waiting = pending[id] else { return [] }
    func give(up cause: UnknownCause) -> [Action] {
      pending[id] = nil
      return [.finish(question: id, Judgement(.unknown(cause), trace: waiting.notes), agent: nil)]
    }
    let retrying = !waiting.asked.isEmpty
    if retrying, waiting.asked.count >= HubState.mostAgentsAsked || waiting.deadline - now < HubState.leastTimeForRetry {
      return give(up: .agentLost)
    }
    let realm = waiting.question.realm
    let asked = waiting.asked
    let candidates = sessions.filter { $0.value.realms.contains(realm) && !$0.value.draining && !asked.contains($0.key) }.map(\.key)
    guard let chosen = choose(candidates, random: random) else { return give(up: retrying ? .agentLost : .noAgent) }
    waiting.agent = chosen
    waiting.asked.append(chosen)
    pending[id] = waiting
    sessions[chosen]?.queue.append(id)
    return deliver(to: chosen, now: now)
  }

  /// Power of two choices: two agents by chance, the one that would be done sooner.
  private func choose(_ candidates: [Identifier], random: Int) -> Identifier? {
    guard candidates.count > 1 else { return candidates.first }
    let bits = UInt(bitPattern: random)
    let first = Int(bits % UInt(candidates.count))
    let second = (first + 1 + Int((bits >> 20) % UInt(candidates.count - 1))) % candidates.count
    func cost(_ index: Int) -> Double {
      guard let session = sessions[candidates[index]] else { return .infinity }
      return Double(session.inFlight + session.queue.count + 1) * max(session.latency, 0.1)
    }
    return cost(first) <= cost(second) ? candidates[first] : candidates[second]
  }

  private mutating func deliver(to agent: Identifier, now: HubTime) -> [Action] {
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
      let allowance = session.understands >= 2 ? pending[id]?.allowance : nil
      pending[id]?.question.allowance = allowance
      pending[id]?.instance = poll.instance
      if let question = pending[id]?.question { questions.append(question) }
    }
    return [.deliver(poll: poll.id, questions)]
  }
}
