import Bytes
import Identity

// The agent hub as a pure state machine. Events are mutating methods; each tells the shell (`AgentHub`) what to do as a list of actions.
//
//   question:  parked ──an agent comes──► queued at an agent ──handed out on a lane──► under way ──verdict──► done
//                ▲                          │                                             │
//                │                          ├── no poll takes it for 750 ms ──────────────┤ (free: it never left)
//                │                          │                                             ├── handed back by an agent that ends (free)
//                └──────────────────────────┴── not accepted for 750 ms, or agent lost ───┘ one more agent, and no third
//                                                                deadline passed → done (unknown)
//
//   stages:    Most questions are answered before anybody would hear of a stage. An agent therefore reports nothing in its first 100 ms with a
//              question; if it still has it then, it tells `accepted` or, where the password is before the directory already, `bind-sent`, with the
//              verdicts that leave at that time. 750 ms without a report is thus silence of more than 600 ms: a frozen process, a connection that
//              is open at one end only. What was accepted moves only when its agent is lost.
//              It follows that silence proves nothing about the bind: a password may have been put before the directory in those first 100 ms. So
//              whoever was handed a question counts as asked, at most two are, and each that did not answer is an uncertain try (`Judgement`).
//              The other half of the rule is the agent's (`QuestionsInHand`): it binds at once only while it can be sure that the gateway still
//              waits for it, and asks otherwise. What remains is the one case in which a wrong password counts twice: the first agent had put it
//              before the directory and was then lost, or silent for 650 ms.
//
//   agent:     in rotation while it beats (every 2 s), keeps a connection, and is proven by a canary where its realm has one
//              no connection for 1 s → lost. Three beats missed (6 s) without any other sign of life → lost, however well its connections look.
//              Connections but no poll for 1 s, or silent on a question → passed over while there are others, until it shows itself: a starved
//              agent is spared, and not taken out and in again.

/// A moment on the monotonic clock in milliseconds, counted from the hub's start.
package typealias HubTime = Int64

package struct HubState: Sendable {
  /// Lost without a sign of life for this long: three of the beats that come every 2 s.
  package static let beatLimit: HubTime = 6000
  /// Lost without a connection for this long: a living agent dials again at once.
  package static let connectionGap: HubTime = 1000
  /// A living agent re-polls at once; without a waiting poll for this long it has more than enough to do.
  package static let pollGap: HubTime = 1000
  /// A poll is answered empty after this, so that proxies in between see traffic.
  package static let pollLife: HubTime = 20_000
  /// A question that nobody has accepted this long after it was handed out, or that no poll has taken, goes to another agent.
  package static let acceptLimit: HubTime = 750
  /// How often `tick` is to be called.
  package static let tickInterval: HubTime = 100
  /// The most questions one poll carries.
  package static let batchLimit = 64
  /// A question reaches at most two agents (docs/architecture.md): the second could cost the user a second bad-password count.
  package static let mostAgentsAsked = 2
  /// Less than this left of the deadline: another agent is not worth asking.
  package static let leastTimeForRetry: HubTime = 250
  /// How long a question waits for agents that are there but not proven yet.
  package static let provingPatience: HubTime = 3000
  /// How long a question waits for the first agent of its realm while the gateway is young: after a restart agents are back within a second.
  package static let startPatience: HubTime = 2000
  /// So long after a second process was first refused, the first one must have shown itself again for the two to be called twins.
  package static let twinProof: HubTime = 500
  /// So long an agent is spared after it could not find something out.
  package static let failurePause: HubTime = 1000
  /// An alarm about one identity at two places stands this long after it was last seen.
  package static let twinMemory: HubTime = 300_000

  package enum Action: Sendable {
    /// Hand these questions to the waiting poll.
    case deliver(poll: Int, [Question])
    /// Answer the waiting poll without questions.
    case release(poll: Int)
    /// The question has its outcome.
    case finish(question: Identifier, Judgement, agent: Identifier?)
  }

  /// Whom a question is for.
  package enum Addressee: Sendable, Equatable {
    case anyone
    /// A canary: this agent, proven or not, and nobody in its place.
    case only(Identifier)
    /// A second opinion: one other agent, and no retry.
    case another(than: Identifier)
  }

  struct Poll {
    var id: Int
    /// The process of the agent that polls; nil where the agent is too old to tell.
    var instance: Identifier?
    var connection: UInt
    var until: HubTime
  }

  /// An agent as the hub sees it now.
  package struct Session: Sendable {
    package var realms: Set<RealmName>
    /// The last sign of life, of whatever kind.
    package var lastBeat: HubTime
    /// Since when it has no poll waiting; nil while it has one.
    var withoutPollSince: HubTime?
    /// The connections on which it has polled and that are open, and since when there are none.
    var connections: Set<UInt> = []
    var withoutConnectionSince: HubTime?
    var polls: [Poll] = []
    /// The process that polled last.
    package var instance: Identifier?
    /// Processes that were succeeded by another one. One of them that polls again was never gone.
    var former: [Identifier] = []
    /// Processes that were refused because another one is at work, and when first.
    var refused: [Identifier: HubTime] = [:]
    var queue: [Identifier] = []
    package var inFlight = 0
    /// Exponentially weighted mean of its answer times, milliseconds; nil before the first answer.
    package var latency: Double?
    var lastAnswer: HubTime = 0
    package var answered: Int64 = 0
    /// What it was given of late, halved every ten seconds or so: among equals the one with less is next.
    var share = 0.0
    /// It let a question lie; passed over while others are there, until it says something.
    var silent = false
    /// It could not find something out a moment ago; passed over until then while others are there. Such answers are quick: by their speed
    /// alone an agent whose directory is away would draw everything to itself.
    var failingUntil: HubTime = 0
    package var draining = false
    /// It reports stages; of one that does not, silence says nothing.
    package var reportsStages = false
    /// The realms for which this process has refused a password that was known to be wrong.
    package var proven: Set<RealmName> = []
    package var alarms: [Alarm] = []
    package var software = ""
    /// What it understands of questions (`WorkRequest.understands`).
    var understands = 1
    package var clockSkewMilliseconds: Int64 = 0
    /// Questions that it has and must let go, to be told with the next answer to it.
    var withdrawals: [Identifier] = []
  }

  struct Pending {
    var question: Question
    var deadline: HubTime
    var addressee: Addressee
    var asked: [Identifier] = []
    /// Where it is now; nil while nobody has it.
    var agent: Identifier?
    /// When it was given to the agent's queue, and when it left on a poll.
    var assigned: HubTime = 0
    var delivered: HubTime?
    /// How late the hub's own ticks had been in all when it was given, and when it left.
    var lateness: HubTime = 0
    /// Whoever asked does not want it put before the directory any more.
    var isWithdrawn = false
    /// The process that it was delivered to.
    var instance: Identifier?
    var stage: StageReport.Stage?
    /// What it is weighed by at an agent that understands it.
    var allowance: TryAllowance?
    /// Until when it waits for an agent to come; nil while one has it.
    var parkedUntil: HubTime?
    /// How many agents were handed it and left no outcome: each may have put the password before the directory.
    var uncertain = 0
    var notes: [TraceNote] = []

    /// How many agents may be handed it. A change is made once: whether a lost agent has made it, a second one could not tell from a wrong password.
    var mostAgents: Int { question.kind == .changePassword ? 1 : HubState.mostAgentsAsked }
  }

  package internal(set) var sessions: [Identifier: Session] = [:]
  var pending: [Identifier: Pending] = [:]
  var parked: Set<Identifier> = []
  /// The agents of each realm in a fixed order, so that choices depend on the random numbers only.
  var rosters: [RealmName: [Identifier]] = [:]
  var seenRealms: Set<RealmName> = []
  /// When two processes were last seen to work under one identity at once.
  package internal(set) var twins: [Identifier: HubTime] = [:]
  var guarded: Set<RealmName> = []
  var lastWanting: [RealmName: AttributeRequest] = [:]
  var lastDecay: HubTime = 0
  var lastTick: HubTime?
  /// By how much the hub's ticks were late, in all. A gateway that got no processor for so long did not read what agents had sent meanwhile.
  var lateness: HubTime = 0
  var closed = false
  /// Until when a realm's first agent is waited for.
  let youth: HubTime
  /// Bounded: above it new questions are `overloaded`.
  package var pendingLimit = 20_000

  /// - Parameter youth: for how long after the start questions wait a moment for the first agent of their realm.
  package init(youth: HubTime = 0) { self.youth = youth }

  package var pendingCount: Int { pending.count }

  // MARK: agents

  package mutating func beat(
    agent: Identifier, realms: [RealmName], now: HubTime, draining: Bool, alarms: [Alarm], software: String, clockSkewMilliseconds: Int64,
    reportsStages: Bool = false, instance: Identifier? = nil
  ) -> [Action] {
    // Another process of the same name must not speak for the one that works.
    if let instance, let current = sessions[agent]?.instance, instance != current { return [] }
    var session = sessions[agent] ?? Session(realms: Set(realms), lastBeat: now, withoutPollSince: now, withoutConnectionSince: now)
    session.lastBeat = now
    session.silent = false
    session.draining = draining
    session.reportsStages = reportsStages
    session.alarms = alarms
    session.software = software
    session.clockSkewMilliseconds = clockSkewMilliseconds
    put(session, of: agent, realms: realms)
    guard draining else { return [] }
    // Its polls end with an answer, so that no question crosses their end; what it has not been handed goes to others.
    let polls = session.polls.map { Action.release(poll: $0.id) }
    sessions[agent]?.polls = []
    sessions[agent]?.withoutPollSince = now
    return polls + askElsewhere(pending.filter { $0.value.agent == agent && $0.value.delivered == nil }.map(\.key), after: agent, now: now)
  }

  /// Whether this process may poll. False for a second one under the identity of an agent that is alive at another place: a stolen identity, or a
  /// copied machine. The one that was first goes on, since refusing both would hand whoever stole an identity a way to end the agent.
  package mutating func mayPoll(agent: Identifier, instance: Identifier?, now: HubTime) -> Bool {
    guard var session = sessions[agent], let instance, let current = session.instance, instance != current else { return true }
    guard !session.connections.isEmpty, now - session.lastBeat <= HubState.beatLimit, !session.draining else {
      if session.former.contains(instance) { twins[agent] = now }
      return true
    }
    // A process that was killed a moment ago takes a moment to be seen gone; one that shows itself after its successor came is a twin.
    if let first = session.refused[instance] {
      if session.lastBeat > first, now - first >= HubState.twinProof { twins[agent] = now }
    } else if session.refused.count < 8 {
      session.refused[instance] = now
      sessions[agent] = session
    }
    return false
  }

  /// A poll begins to wait. Questions that are queued for the agent answer it at once.
  ///
  /// - Parameter connection: a number of the connection that it came on.
  package mutating func poll(
    _ id: Int, agent: Identifier, realms: [RealmName], instance: Identifier? = nil, understands: Int = WorkRequest.currentUnderstanding,
    connection: UInt? = nil, now: HubTime
  ) -> [Action] {
    let lost = lose(agent, before: instance, now: now)
    var session = sessions[agent] ?? Session(realms: Set(realms), lastBeat: now)
    if session.instance != instance {
      // Whatever was known of the process before says nothing about this one.
      if let former = session.instance {
        session.draining = false
        session.latency = nil
        session.former = session.former.suffix(7) + [former]
      }
      session.proven = []
      session.refused = [:]
      session.instance = instance
    }
    let connection = connection ?? UInt(id)
    session.lastBeat = now
    session.understands = understands
    session.silent = false
    session.connections.insert(connection)
    session.withoutConnectionSince = nil
    session.polls.append(Poll(id: id, instance: instance, connection: connection, until: now + HubState.pollLife))
    session.withoutPollSince = nil
    put(session, of: agent, realms: realms)
    seenRealms.formUnion(realms)
    let delivered = deliver(to: agent, now: now)
    let unparked = unpark(now: now)
    guard closed || session.draining, sessions[agent]?.polls.contains(where: { $0.id == id }) == true else { return lost + delivered + unparked }
    sessions[agent]?.polls.removeAll { $0.id == id }
    sessions[agent]?.withoutPollSince = now
    return lost + delivered + unparked + [.release(poll: id)]
  }

  /// Another process of the agent polls than before: what that one had been handed will not be answered, however well the agent is now.
  mutating func lose(_ agent: Identifier, before instance: Identifier?, now: HubTime) -> [Action] {
    // One that drains is not gone: it answers what it has, beside the one that follows.
    guard let session = sessions[agent], let former = session.instance, former != instance, !session.draining,
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

  /// A waiting poll ended without an answer, for instance because its task was cancelled.
  package mutating func pollGone(_ id: Int, agent: Identifier, now: HubTime) {
    guard var session = sessions[agent], session.polls.contains(where: { $0.id == id }) else { return }
    session.polls.removeAll { $0.id == id }
    if session.polls.isEmpty { session.withoutPollSince = now }
    sessions[agent] = session
  }

  /// A connection on which the agent has polled was closed, with whatever polls wait on it. Returns those.
  package mutating func connectionGone(_ connection: UInt, agent: Identifier, now: HubTime) -> [Action] {
    guard var session = sessions[agent], session.connections.remove(connection) != nil else { return [] }
    let over = session.polls.filter { $0.connection == connection }
    session.polls.removeAll { $0.connection == connection }
    if session.polls.isEmpty, session.withoutPollSince == nil { session.withoutPollSince = now }
    if session.connections.isEmpty { session.withoutConnectionSince = now }
    sessions[agent] = session
    return over.map { .release(poll: $0.id) }
  }

  /// A batch that had been handed to a poll could not be written or sealed: the agent never had it.
  package mutating func undelivered(_ ids: [Identifier], agent: Identifier, now: HubTime) -> [Action] {
    ids.flatMap { takeBack($0, from: agent, because: nil, now: now) }
  }

  /// Takes a question back from an agent that certainly did not begin with it; it does not count as asked.
  mutating func takeBack(_ id: Identifier, from agent: Identifier, because reason: String?, now: HubTime) -> [Action] {
    guard var waiting = pending[id], waiting.agent == agent else { return [] }
    if waiting.delivered != nil { sessions[agent]?.inFlight -= 1 }
    sessions[agent]?.queue.removeAll { $0 == id }
    waiting.agent = nil
    waiting.delivered = nil
    waiting.stage = nil
    // It must not be tried there for ever either: its deadline bounds it.
    waiting.asked.removeAll { $0 == agent }
    if let reason { waiting.notes.append(TraceNote(.agent, "agent \(agent) \(reason)")) }
    pending[id] = waiting
    return assign(id, now: now, random: chance(of: id))
  }

  /// The agent is gone or must not answer any more (revoked, quarantined): what it has is asked elsewhere, its polls are released.
  package mutating func drop(agent: Identifier, now: HubTime) -> [Action] {
    guard let session = sessions.removeValue(forKey: agent) else { return [] }
    rebuildRosters()
    return session.polls.map { .release(poll: $0.id) }
      + askElsewhere(pending.filter { $0.value.agent == agent }.map(\.key), after: agent, now: now)
  }

  mutating func askElsewhere(_ orphans: [Identifier], after agent: Identifier, now: HubTime) -> [Action] {
    var actions: [Action] = []
    // Sorted, so that the outcome does not depend on hashing.
    for id in orphans.sorted(by: { $0.bytes.lexicographicallyPrecedes($1.bytes) }) {
      guard var waiting = pending[id] else { continue }
      sessions[agent]?.queue.removeAll { $0 == id }
      waiting.agent = nil
      waiting.notes.append(TraceNote(.agent, "agent \(agent) was lost\(waiting.delivered == nil ? " before it had the question" : "")"))
      if waiting.delivered == nil { waiting.asked.removeAll { $0 == agent } } else { waiting.uncertain += 1 }
      waiting.delivered = nil
      waiting.stage = nil
      pending[id] = waiting
      actions += assign(id, now: now, random: chance(of: id))
    }
    return actions
  }

  // MARK: canaries

  /// The realms that have a canary: their questions are for agents that have been proven.
  package mutating func guardRealms(_ realms: Set<RealmName>, now: HubTime) -> [Action] {
    guard realms != guarded else { return [] }
    guarded = realms
    return unpark(now: now)
  }

  /// This process of the agent refused a password that was known to be wrong: it may be asked about people of the realm.
  package mutating func prove(agent: Identifier, instance: Identifier?, realm: RealmName, now: HubTime) -> [Action] {
    guard sessions[agent]?.instance == instance else { return [] }
    sessions[agent]?.proven.insert(realm)
    return unpark(now: now)
  }

  /// What the last question of the realm wanted: a canary wants the same, so that it looks like its neighbours.
  package func usualWanting(of realm: RealmName) -> AttributeRequest { lastWanting[realm] ?? .none }

  mutating func put(_ session: Session, of agent: Identifier, realms: [RealmName]) {
    let before = sessions[agent]
    var session = session
    session.realms = Set(realms)
    if before == nil {
      // Who comes new has the share of the others: having had nothing is no claim to everything.
      let shares = sessions.values.filter { !$0.realms.isDisjoint(with: session.realms) }.map(\.share)
      session.share = shares.isEmpty ? 0 : shares.reduce(0, +) / Double(shares.count)
    }
    sessions[agent] = session
    if before?.realms != session.realms { rebuildRosters() }
  }

  mutating func rebuildRosters() {
    rosters = [:]
    for agent in sessions.keys.sorted(by: { $0.bytes.lexicographicallyPrecedes($1.bytes) }) {
      for realm in sessions[agent]?.realms ?? [] { rosters[realm, default: []].append(agent) }
    }
  }

  /// A question's number was drawn by chance: it serves once more where nobody brings new chance.
  func chance(of id: Identifier) -> Int { id.bytes.prefix(8).reduce(0) { $0 << 8 | Int($1) } }
}
