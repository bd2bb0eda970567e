import Bytes
import Foundation
import Identity
import PassThrough
import Testing

@Suite("The agent hub")
struct HubStateTests {
  let first = Identifier()
  let second = Identifier()

  func realm(_ name: String = "contoso.com") throws -> RealmName { try #require(RealmName(name)) }

  func question(realm name: String = "contoso.com") throws -> Question {
    Question(
      realm: try realm(name), userName: try #require(UserName("alice")), password: Password(Secret("x".utf8)), wanting: .none,
      deadline: Deadline(after: .seconds(8)))
  }

  func connect(_ agent: Identifier, to hub: inout HubState, poll: Int, at now: HubTime = 0) throws {
    let realm = try realm()
    _ = hub.beat(agent: agent, realms: [realm], now: now, draining: false, alarms: [], software: "t", clockSkewMilliseconds: 0)
    _ = hub.poll(poll, agent: agent, realms: [realm], now: now)
  }

  func delivered(_ actions: [HubState.Action]) -> [(poll: Int, ids: [Identifier])] {
    actions.compactMap { if case .deliver(let poll, let questions) = $0 { (poll, questions.map(\.id)) } else { nil } }
  }

  func released(_ actions: [HubState.Action]) -> [Int] {
    actions.compactMap { if case .release(let poll) = $0 { poll } else { nil } }
  }

  func finished(_ actions: [HubState.Action]) -> [Verdict] {
    actions.compactMap { if case .finish(_, let judgement, _) = $0 { judgement.verdict } else { nil } }
  }

  let yes = Judgement(.refused(Refusal(.wrongPassword)))

  @Test("A question goes to a waiting poll, and its verdict comes back once")
  func roundTrip() throws {
    var hub = HubState()
    try connect(first, to: &hub, poll: 1)
    let question = try question()
    let actions = hub.ask(question, deadline: 8000, now: 10, random: 0)
    #expect(delivered(actions).map(\.poll) == [1])
    #expect(hub.expected(question.id, from: first)?.id == question.id)
    #expect(finished(hub.answered(question.id, by: first, yes, now: 15)) == [.refused(Refusal(.wrongPassword))])
    #expect(hub.expected(question.id, from: first) == nil)
    #expect(finished(hub.answered(question.id, by: first, yes, now: 16)).isEmpty)
  }

  @Test("An agent that was not asked cannot answer, nor one that has not yet been handed the question")
  func onlyTheAskedAgent() throws {
    var hub = HubState()
    try connect(first, to: &hub, poll: 1)
    let realm = try realm()
    _ = hub.beat(agent: second, realms: [realm], now: 0, draining: true, alarms: [], software: "t", clockSkewMilliseconds: 0)
    let question = try question()
    _ = hub.ask(question, deadline: 8000, now: 10, random: 0)
    #expect(hub.expected(question.id, from: second) == nil)
    #expect(finished(hub.answered(question.id, by: second, yes, now: 11)).isEmpty)
    let queued = try self.question()
    _ = hub.ask(queued, deadline: 8000, now: 12, random: 0)
    #expect(hub.expected(queued.id, from: first) == nil)
  }

  @Test("Questions of another realm reach no agent")
  func realmsAreKept() throws {
    var hub = HubState()
    try connect(first, to: &hub, poll: 1)
    #expect(finished(hub.ask(try question(realm: "fabrikam.com"), deadline: 8000, now: 1, random: 3)) == [.unknown(.noAgent)])
  }

  @Test("What a lost agent had is asked of one more, and of no third")
  func atMostTwoAgents() throws {
    var hub = HubState()
    let third = Identifier()
    for (index, agent) in [first, second, third].enumerated() { try connect(agent, to: &hub, poll: index) }
    let question = try question()
    _ = hub.ask(question, deadline: 8000, now: 0, random: 7)
    func holder() -> Identifier? { [first, second, third].first { hub.expected(question.id, from: $0) != nil } }
    let asked = try #require(holder())
    #expect(delivered(hub.drop(agent: asked, now: 100)).count == 1)
    let next = try #require(holder())
    #expect(next != asked)
    #expect(finished(hub.drop(agent: next, now: 200)) == [.unknown(.agentLost)])
  }

  @Test("An agent is out after three missed beats, and within one second once its connections are gone")
  func outOfRotation() throws {
    var hub = HubState()
    try connect(first, to: &hub, poll: 1)
    _ = hub.tick(now: HubState.beatLimit)
    #expect(hub.hasAgent(for: try realm()))
    _ = hub.tick(now: HubState.beatLimit + 1)
    #expect(!hub.hasAgent(for: try realm()))

    try connect(second, to: &hub, poll: 2, at: 6000)
    #expect(released(hub.connectionGone(2, agent: second, now: 6100)) == [2])
    _ = hub.tick(now: 6100 + HubState.connectionGap)
    #expect(hub.hasAgent(for: try realm()))
    _ = hub.tick(now: 6101 + HubState.connectionGap)
    #expect(!hub.hasAgent(for: try realm()))
  }

  @Test("A deadline ends a question as could-not-find-out")
  func deadlines() throws {
    var hub = HubState()
    try connect(first, to: &hub, poll: 1)
    let question = try question()
    _ = hub.ask(question, deadline: 500, now: 0, random: 0)
    #expect(finished(hub.tick(now: 499)).isEmpty)
    #expect(finished(hub.tick(now: 500)) == [.unknown(.deadlineExceeded)])
    #expect(finished(hub.answered(question.id, by: first, yes, now: 501)).isEmpty)
  }

  @Test("A verdict that is none ends the question, and nobody else is asked")
  func invalidAnswer() throws {
    var hub = HubState()
    try connect(first, to: &hub, poll: 1)
    try connect(second, to: &hub, poll: 2)
    let question = try question()
    _ = hub.ask(question, deadline: 8000, now: 0, random: 1)
    let holder = try #require([first, second].first { hub.expected(question.id, from: $0) != nil })
    #expect(finished(hub.answeredInvalidly(question.id, by: holder, now: 5)) == [.unknown(.agentAnswerInvalid)])
  }

  @Test("A draining agent gets nothing new")
  func draining() throws {
    var hub = HubState()
    try connect(first, to: &hub, poll: 1)
    let realm = try realm()
    _ = hub.beat(agent: first, realms: [realm], now: 5, draining: true, alarms: [], software: "t", clockSkewMilliseconds: 0)
    #expect(finished(hub.ask(try question(), deadline: 8000, now: 6, random: 0)) == [.unknown(.noAgent)])
  }

  @Test("More questions than the hub holds are turned away, not queued without end")
  func bounded() throws {
    var hub = HubState()
    hub.pendingLimit = 3
    try connect(first, to: &hub, poll: 1)
    for _ in 0..<3 { _ = hub.ask(try question(), deadline: 8000, now: 0, random: 0) }
    #expect(finished(hub.ask(try question(), deadline: 8000, now: 0, random: 0)) == [.unknown(.overloaded)])
  }

  @Test("A batch that could not be handed over goes elsewhere and does not count as asked")
  func undelivered() throws {
    var hub = HubState()
    try connect(first, to: &hub, poll: 1)
    let question = try question()
    _ = hub.ask(question, deadline: 8000, now: 0, random: 0)
    try connect(second, to: &hub, poll: 2)
    _ = hub.undelivered([question.id], agent: first, now: 5)
    #expect(hub.expected(question.id, from: first) == nil || hub.expected(question.id, from: second) == nil)
    #expect(hub.pendingCount == 1)
  }

  @Test("A thousand random events leave no question behind and never answer one twice")
  func randomEvents() throws {
    var state: UInt64 = 42
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int((state >> 33) % UInt64(bound))
    }
    let agents = (0..<4).map { _ in Identifier() }
    var hub = HubState()
    var open: Set<Identifier> = []
    var now: HubTime = 0
    var poll = 0
    func take(_ actions: [HubState.Action]) {
      for case .finish(let id, _, _) in actions { #expect(open.remove(id) != nil, "answered twice") }
    }
    let realm = try realm()
    for _ in 0..<5000 {
      now += HubTime(random(300))
      let agent = agents[random(4)]
      switch random(9) {
      case 0:
        take(
          hub.beat(
            agent: agent, realms: [realm], now: now, draining: random(10) == 0, alarms: [], software: "", clockSkewMilliseconds: 0,
            reportsStages: random(2) == 0))
      case 1:
        poll += 1
        take(hub.poll(poll, agent: agent, realms: [realm], now: now))
      case 2:
        let asked = try question()
        open.insert(asked.id)
        take(hub.ask(asked, deadline: now + HubTime(random(9000)), now: now, random: random(1 << 30)))
      case 3:
        if let id = open.first(where: { hub.expected($0, from: agent) != nil }) { take(hub.answered(id, by: agent, yes, now: now)) }
      case 4: take(hub.drop(agent: agent, now: now))
      case 5:
        if let id = open.first(where: { hub.expected($0, from: agent) != nil }) {
          let stages: [StageReport.Stage] = [.accepted, .bindSent, .returned]
          take(hub.stage(StageReport(question: id, stage: stages[random(3)]), agent: agent, now: now).actions)
        }
      case 6: take(hub.connectionGone(UInt(random(poll + 1)), agent: agent, now: now))
      case 7:
        let asked = try question()
        open.insert(asked.id)
        let addressee: HubState.Addressee = random(2) == 0 ? .only(agent) : .another(than: agent)
        take(hub.ask(asked, to: addressee, deadline: now + HubTime(random(9000)), now: now, random: random(1 << 30)))
      default: take(hub.tick(now: now))
      }
    }
    take(hub.tick(now: now + 100_000))
    #expect(open.isEmpty)
    #expect(hub.pendingCount == 0)
  }
}
