import Bytes
import Foundation
import Identity
import Testing

@testable import PassThrough

/// Its argument: what changes a struct cannot be the direct subject of an expectation.
private func told<Value>(_ value: Value) -> Value { value }

@Suite("Stages and retries")
struct StageTests {
  let first = Identifier()
  let second = Identifier()
  let third = Identifier()
  let no = Judgement(.refused(Refusal(.wrongPassword)))

  func realm() throws -> RealmName { try #require(RealmName("contoso.com")) }

  func question() throws -> Question {
    Question(
      realm: try realm(), userName: try #require(UserName("alice")), password: Password(Secret("x".utf8)), wanting: .none,
      deadline: Deadline(after: .seconds(8)))
  }

  /// Lets an agent in that reports stages, with one waiting poll.
  func connect(
    _ agents: [Identifier], to hub: inout HubState, at now: HubTime = 0, reportsStages: Bool = true, instance: Identifier? = nil
  ) throws {
    for (index, agent) in agents.enumerated() {
      _ = hub.beat(
        agent: agent, realms: [try realm()], now: now, draining: false, alarms: [], software: "t", clockSkewMilliseconds: 0,
        reportsStages: reportsStages, instance: instance)
      _ = hub.poll(index + 1, agent: agent, realms: [try realm()], instance: instance, now: now)
    }
  }

  func holder(_ id: Identifier, _ hub: HubState) -> Identifier? { [first, second, third].first { hub.expected(id, from: $0) != nil } }

  func finished(_ actions: [HubState.Action]) -> [Judgement] {
    actions.compactMap { if case .finish(_, let judgement, _) = $0 { judgement } else { nil } }
  }

  @Test("What nobody accepted for 750 ms is asked of another, and the first one's late answer is ignored")
  func silence() throws {
    var hub = HubState()
    try connect([first, second], to: &hub)
    let question = try question()
    _ = hub.ask(question, deadline: 8000, now: 0, random: 3)
    let frozen = try #require(holder(question.id, hub))
    _ = hub.tick(now: 749)
    #expect(holder(question.id, hub) == frozen)
    _ = hub.tick(now: 750)
    let next = try #require(holder(question.id, hub))
    #expect(next != frozen)
    #expect(finished(hub.answered(question.id, by: frozen, Judgement(.unknown(.directoryBusy)), now: 800)).isEmpty)
    let outcome = try #require(finished(hub.answered(question.id, by: next, no, now: 801)).first)
    #expect(outcome.verdict == no.verdict)
    #expect(outcome.uncertainTries == 1 && outcome.mayHaveCounted, "the frozen one may have put the password before the directory")
  }

  @Test("What was accepted stays where it is, and so does what an agent has that reports no stages", arguments: [true, false])
  func stays(accepted: Bool) throws {
    var hub = HubState()
    try connect([first, second], to: &hub, reportsStages: accepted)
    let question = try question()
    _ = hub.ask(question, deadline: 8000, now: 0, random: 3)
    let agent = try #require(holder(question.id, hub))
    if accepted { #expect(told(hub.stage(StageReport(question: question.id, stage: .accepted), agent: agent, now: 150)).isExpected) }
    for now in stride(from: HubTime(700), to: 6000, by: 100) { _ = hub.tick(now: now) }
    #expect(holder(question.id, hub) == agent)
  }

  @Test("Where there is nobody else a silent agent is waited for")
  func alone() throws {
    var hub = HubState()
    try connect([first], to: &hub)
    let question = try question()
    _ = hub.ask(question, deadline: 5000, now: 0, random: 3)
    #expect(finished(hub.tick(now: 2000)).isEmpty)
    #expect(finished(hub.answered(question.id, by: first, no, now: 2100)).map(\.uncertainTries) == [0])
  }

  @Test("After bind-sent another agent is asked only when the first one is lost, and after that nobody")
  func bound() throws {
    var hub = HubState()
    try connect([first, second, third], to: &hub)
    let question = try question()
    _ = hub.ask(question, deadline: 8000, now: 0, random: 5)
    let agent = try #require(holder(question.id, hub))
    _ = hub.stage(StageReport(question: question.id, stage: .bindSent), agent: agent, now: 120)
    // Later news of an earlier stage changes nothing.
    _ = hub.stage(StageReport(question: question.id, stage: .accepted), agent: agent, now: 121)
    _ = hub.tick(now: 4000)
    #expect(holder(question.id, hub) == agent)
    _ = hub.drop(agent: agent, now: 4100)
    let next = try #require(holder(question.id, hub))
    _ = hub.tick(now: 4900)
    #expect(holder(question.id, hub) == next, "not even after 750 ms of silence")
    let end = try #require(finished(hub.drop(agent: next, now: 5000)).first)
    #expect(end.verdict == .unknown(.agentLost) && end.uncertainTries == 2)
  }

  @Test("A question that its agent hands back goes on without having counted, but never once it is bound")
  func handedBack() throws {
    var hub = HubState()
    try connect([first, second, third], to: &hub)
    let question = try question()
    _ = hub.ask(question, deadline: 8000, now: 0, random: 5)
    let agent = try #require(holder(question.id, hub))
    #expect(told(hub.stage(StageReport(question: question.id, stage: .returned), agent: agent, now: 10)).isExpected)
    let next = try #require(holder(question.id, hub))
    #expect(next != agent)
    _ = hub.stage(StageReport(question: question.id, stage: .bindSent), agent: next, now: 20)
    _ = hub.stage(StageReport(question: question.id, stage: .returned), agent: next, now: 30)
    #expect(holder(question.id, hub) == next)
    #expect(finished(hub.answered(question.id, by: next, no, now: 40)).map(\.uncertainTries) == [0])
  }

  @Test("A stage of a question that went elsewhere tells its agent to let go")
  func withdrawn() throws {
    var hub = HubState()
    try connect([first, second], to: &hub)
    let question = try question()
    _ = hub.ask(question, deadline: 8000, now: 0, random: 3)
    let frozen = try #require(holder(question.id, hub))
    _ = hub.tick(now: 800)
    #expect(!told(hub.stage(StageReport(question: question.id, stage: .accepted), agent: frozen, now: 900)).isExpected)
  }

  @Test("What a queue holds for 750 ms without a poll moves to an agent that polls, and the one it left has not been asked")
  func queued() throws {
    var hub = HubState()
    try connect([first], to: &hub)
    let busy = try question()
    _ = hub.ask(busy, deadline: 8000, now: 0, random: 0)
    _ = hub.stage(StageReport(question: busy.id, stage: .bindSent), agent: first, now: 100)
    let waiting = try question()
    _ = hub.ask(waiting, deadline: 8000, now: 1, random: 0)
    #expect(holder(waiting.id, hub) == nil)
    try connect([second], to: &hub, at: 100)
    _ = hub.tick(now: 760)
    #expect(holder(waiting.id, hub) == second)
    #expect(finished(hub.answered(waiting.id, by: second, no, now: 770)).map(\.uncertainTries) == [0])
  }

  @Test("A starved agent is passed over while there are others, and keeps what it has")
  func starved() throws {
    var hub = HubState()
    try connect([first, second], to: &hub)
    /// Asks, and answers at once where it is the second agent that is asked.
    func ask(at now: HubTime) throws -> Identifier? {
      let question = try question()
      _ = hub.ask(question, deadline: 60_000, now: now, random: Int(now))
      guard hub.expected(question.id, from: second) != nil else { return question.id }
      _ = hub.answered(question.id, by: second, no, now: now)
      _ = hub.poll(Int(now) + 10, agent: second, realms: [try realm()], now: now)
      return nil
    }
    var held: Identifier?
    for now in HubTime(0)..<40 where held == nil { held = try ask(at: now) }
    let kept = try #require(held)
    _ = hub.stage(StageReport(question: kept, stage: .bindSent), agent: first, now: 200)
    // It beats, but does not get to poll.
    for now in stride(from: HubTime(1000), through: 9000, by: 500) {
      for agent in [first, second] {
        _ = hub.beat(
          agent: agent, realms: [try realm()], now: now, draining: false, alarms: [], software: "t", clockSkewMilliseconds: 0, reportsStages: true)
      }
      _ = hub.tick(now: now)
      if now > 1500 { #expect(try ask(at: now) == nil) }
    }
    #expect(hub.expected(kept, from: first) != nil)
  }

  @Test("An agent that cannot find out, however quickly it says so, is passed over for a moment while there is another")
  func failing() throws {
    var hub = HubState()
    try connect([first, second], to: &hub)
    /// Asks, and lets whoever is asked answer at once: the first agent never finds out.
    func ask(at now: HubTime) throws -> Identifier? {
      let question = try question()
      _ = hub.ask(question, deadline: 60_000, now: now, random: Int(now))
      guard let agent = holder(question.id, hub) else { return nil }
      _ = hub.answered(question.id, by: agent, agent == first ? Judgement(.unknown(.noDirectoryServer)) : no, now: now)
      _ = hub.poll(Int(now) + 10, agent: agent, realms: [try realm()], now: now)
      return agent
    }
    var asked: [Identifier?] = []
    for now in HubTime(0)..<900 { asked.append(try ask(at: now)) }
    #expect(asked.filter { $0 == first }.count <= 1)
    _ = hub.drop(agent: second, now: 901)
    #expect(try ask(at: 902) == first, "better than nobody")
  }

  @Test("A beat that tells of the end releases the polls, and what was not handed out goes to others")
  func draining() throws {
    var hub = HubState()
    try connect([first], to: &hub)
    _ = hub.ask(try question(), deadline: 8000, now: 0, random: 0)
    let queued = try question()
    _ = hub.ask(queued, deadline: 8000, now: 1, random: 0)
    try connect([second], to: &hub, at: 2)
    _ = hub.beat(
      agent: first, realms: [try realm()], now: 3, draining: true, alarms: [], software: "t", clockSkewMilliseconds: 0, reportsStages: true)
    #expect(holder(queued.id, hub) == second)
    let actions = hub.poll(9, agent: first, realms: [try realm()], now: 4)
    #expect(actions.contains { if case .release(9) = $0 { true } else { false } })
  }

  @Test("Two processes under one identity: the first goes on, the second is refused, and both alive is told")
  func twins() throws {
    var hub = HubState()
    let (here, there) = (Identifier(), Identifier())
    try connect([first], to: &hub, instance: here)
    #expect(told(hub.mayPoll(agent: first, instance: here, now: 10)))
    #expect(!told(hub.mayPoll(agent: first, instance: there, now: 20)))
    #expect(hub.twins.isEmpty, "the first one may have died a moment ago")
    _ = hub.poll(2, agent: first, realms: [try realm()], instance: here, now: 400)
    #expect(!told(hub.mayPoll(agent: first, instance: there, now: 700)))
    #expect(hub.twins[first] == 700)
    _ = hub.tick(now: 700 + HubState.twinMemory)
    #expect(hub.twins.isEmpty)
  }

  @Test("A process that follows one that is gone, or that drains, is no twin")
  func successors() throws {
    var hub = HubState()
    let (before, after, last) = (Identifier(), Identifier(), Identifier())
    try connect([first], to: &hub, instance: before)
    #expect(!told(hub.mayPoll(agent: first, instance: after, now: 10)), "its end was not seen yet")
    _ = hub.connectionGone(1, agent: first, now: 15)
    #expect(told(hub.mayPoll(agent: first, instance: after, now: 900)))
    _ = hub.poll(2, agent: first, realms: [try realm()], instance: after, now: 900)
    _ = hub.beat(
      agent: first, realms: [try realm()], now: 1000, draining: true, alarms: [], software: "t", clockSkewMilliseconds: 0, instance: after)
    #expect(told(hub.mayPoll(agent: first, instance: last, now: 1001)))
    #expect(hub.twins.isEmpty)
  }

  @Test("After a start, questions wait a moment for the first agent of their realm")
  func young() throws {
    var hub = HubState(youth: 10_000)
    let question = try question()
    #expect(finished(hub.ask(question, deadline: 8000, now: 100, random: 1)).isEmpty)
    try connect([first], to: &hub, at: 900)
    #expect(holder(question.id, hub) == first)
    let late = try self.question()
    _ = hub.drop(agent: first, now: 1000)
    #expect(finished(hub.ask(late, deadline: 8000, now: 1001, random: 1)).map(\.verdict) == [.unknown(.noAgent)], "it had one")
    var empty = HubState(youth: 10_000)
    let nobody = try self.question()
    _ = empty.ask(nobody, deadline: 8000, now: 100, random: 1)
    #expect(finished(empty.tick(now: 2100)).map(\.verdict) == [.unknown(.noAgent)])
  }
}

@Suite("The questions in an agent's hand")
struct HandTests {
  let start = ContinuousClock.now
  let id = Identifier()

  func at(_ milliseconds: Int) -> ContinuousClock.Instant { start.advanced(by: .milliseconds(milliseconds)) }

  /// A process that is alive and in contact, up to `milliseconds`.
  func alive(until milliseconds: Int, _ hand: inout HandState) {
    for now in stride(from: 0, through: milliseconds, by: 50) { hand.beat(at(now)) }
    hand.answered([], withdrawn: [], sent: at(max(0, milliseconds - 10)), now: at(milliseconds))
  }

  @Test("A question that came a moment ago is bound without a word, and answered before anybody hears of it")
  func usual() {
    var hand = HandState(now: start)
    alive(until: 1000, &hand)
    hand.take(id, now: at(1000))
    #expect(told(hand.mayBind(id, now: at(1010))) == .given)
    #expect(told(hand.reports(now: at(1099))).isEmpty)
    hand.done(id)
    #expect(told(hand.reports(now: at(1200))).isEmpty && hand.isEmpty)
  }

  @Test("What takes longer is reported once in each stage")
  func reports() {
    var hand = HandState(now: start)
    alive(until: 0, &hand)
    hand.take(id, now: at(0))
    for now in [50, 100] { hand.beat(at(now)) }
    #expect(told(hand.reports(now: at(100))) == [StageReport(question: id, stage: .accepted)])
    #expect(told(hand.reports(now: at(150))).isEmpty)
    #expect(told(hand.mayBind(id, now: at(160))) == .given)
    #expect(told(hand.reports(now: at(200))) == [StageReport(question: id, stage: .bindSent)])
    #expect(told(hand.reports(now: at(250))).isEmpty)
  }

  @Test("A process that was frozen asks before it binds, and lets go of what was given to others")
  func frozen() {
    var hand = HandState(now: start)
    alive(until: 1000, &hand)
    hand.take(id, now: at(1000))
    // Stopped for three seconds, and goes on in the middle of the work.
    #expect(told(hand.mayBind(id, now: at(4000))) == .wait)
    let reports = hand.reports(now: at(4001))
    #expect(reports == [StageReport(question: id, stage: .accepted)])
    hand.answered(reports, withdrawn: [id], sent: at(4002), now: at(4020))
    #expect(told(hand.mayBind(id, now: at(4021))) == .refused)
    #expect(!hand.wasBound(id))
  }

  @Test("A question that lay in the socket while the process was frozen is not taken for a new one")
  func late() {
    var hand = HandState(now: start)
    alive(until: 1000, &hand)
    hand.take(id, now: at(4000))
    hand.beat(at(4001))
    #expect(told(hand.mayBind(id, now: at(4002))) == .wait)
    let reports = hand.reports(now: at(4003))
    hand.answered(reports, withdrawn: [], sent: at(4004), now: at(4010))
    #expect(told(hand.mayBind(id, now: at(4011))) == .given, "the gateway still waits for it")
  }

  @Test("Without contact to the gateway nothing is bound")
  func partition() {
    var hand = HandState(now: start)
    for now in stride(from: 0, through: 5000, by: 50) { hand.beat(at(now)) }
    hand.take(id, now: at(5000))
    #expect(told(hand.mayBind(id, now: at(5001))) == .wait, "never heard of the gateway")
    let reports = hand.reports(now: at(5002))
    hand.failed(reports)
    #expect(told(hand.mayBind(id, now: at(5003))) == .wait)
    #expect(told(hand.reports(now: at(5004))) == reports, "told again, since the first time failed")
  }

  @Test("What the gateway confirmed before contact was lost must be confirmed again")
  func confirmedBefore() {
    var hand = HandState(now: start)
    alive(until: 0, &hand)
    hand.take(id, now: at(0))
    for now in stride(from: 50, through: 600, by: 50) { hand.beat(at(now)) }
    let reports = hand.reports(now: at(600))
    hand.answered(reports, withdrawn: [], sent: at(600), now: at(610))
    hand.failed([])
    #expect(told(hand.mayBind(id, now: at(620))) == .wait)
    #expect(told(hand.reports(now: at(620))) == [StageReport(question: id, stage: .accepted)])
  }

  @Test("An agent that was told to let a question go does not bind it, however long it had been sure of it")
  func letGo() {
    let start = ContinuousClock.now
    var hand = HandState(now: start)
    let id = Identifier()
    hand.take(id, now: start)
    hand.answered([StageReport(question: id, stage: .accepted)], withdrawn: [], sent: start, now: start)
    hand.answered([], withdrawn: [id], sent: start, now: start)
    let permission = hand.mayBind(id, now: start)
    #expect(permission == .refused)
    #expect(!hand.wasBound(id))
  }
}
