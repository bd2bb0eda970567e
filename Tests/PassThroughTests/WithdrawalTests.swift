import Bytes
import Foundation
import Identity
import Testing

@testable import PassThrough

@Suite("Questions that are taken back, and a gateway that is late itself")
struct WithdrawalTests {
  let first = Identifier()
  let second = Identifier()
  let no = Judgement(.refused(Refusal(.wrongPassword)))

  private func realm() throws -> RealmName { try #require(RealmName("contoso.com")) }

  private func question() throws -> Question {
    Question(
      realm: try realm(), userName: try #require(UserName("alice")), password: Password(Secret("x".utf8)), wanting: .none,
      deadline: Deadline(after: .seconds(8)))
  }

  private func connect(_ agents: [Identifier], to hub: inout HubState) throws {
    for (index, agent) in agents.enumerated() {
      _ = hub.beat(
        agent: agent, realms: [try realm()], now: 0, draining: false, alarms: [], software: "t", clockSkewMilliseconds: 0, reportsStages: true)
      _ = hub.poll(index * 2 + 1, agent: agent, realms: [try realm()], now: 0)
      _ = hub.poll(index * 2 + 2, agent: agent, realms: [try realm()], now: 0)
    }
  }

  private func holder(_ id: Identifier, _ hub: HubState) -> Identifier? { [first, second].first { hub.expected(id, from: $0) != nil } }

  private func finished(_ actions: [HubState.Action]) -> [Judgement] {
    actions.compactMap { if case .finish(_, let judgement, _) = $0 { judgement } else { nil } }
  }

  @Test("What the gateway itself was late is nobody's silence")
  func lateGateway() throws {
    var hub = HubState()
    try connect([first, second], to: &hub)
    for now in stride(from: HubTime(0), through: 400, by: 100) { _ = hub.tick(now: now) }
    let question = try question()
    _ = hub.ask(question, deadline: 8000, now: 400, random: 3)
    let agent = try #require(holder(question.id, hub))
    // Two seconds without a processor: what the agent sent meanwhile lies unread.
    _ = hub.tick(now: 2400)
    #expect(holder(question.id, hub) == agent)
    for now in stride(from: HubTime(2500), through: 3000, by: 100) { _ = hub.tick(now: now) }
    #expect(holder(question.id, hub) == agent)
    // An agent that is silent all the same is moved from, 750 ms later as ever.
    for now in stride(from: HubTime(3100), through: 3200, by: 100) { _ = hub.tick(now: now) }
    #expect(try #require(holder(question.id, hub)) != agent)
  }

  @Test("A question that is taken back is told to its agent once, is asked of no other, and its verdict is still heard")
  func withdrawn() throws {
    var hub = HubState()
    try connect([first, second], to: &hub)
    let question = try question()
    _ = hub.ask(question, deadline: 8000, now: 0, random: 3)
    let agent = try #require(holder(question.id, hub))
    #expect(finished(hub.withdraw(question.id)).isEmpty)
    let told = [agent == first ? second : first, agent, agent].map { hub.takeWithdrawals(of: $0) }
    #expect(told == [[], [question.id], []])
    for now in stride(from: HubTime(100), through: 2000, by: 100) { _ = hub.tick(now: now) }
    #expect(holder(question.id, hub) == agent)
    #expect(finished(hub.answered(question.id, by: agent, Judgement(.unknown(.deadlineExceeded)), now: 2001)).count == 1)
    #expect(hub.sessions[agent]?.failingUntil == 0, "it did as it was told")
    let other = try self.question()
    _ = hub.ask(other, deadline: 8000, now: 2100, random: 3)
    let next = try #require(holder(other.id, hub))
    _ = hub.withdraw(other.id)
    #expect(finished(hub.drop(agent: next, now: 2200)).map(\.uncertainTries) == [1])
    #expect(hub.pendingCount == 0)
  }

  @Test("What no agent has is over as soon as it is taken back, and what is bound is not taken back")
  func withdrawnEarlyOrLate() throws {
    var hub = HubState()
    let realm = try realm()
    _ = hub.beat(agent: first, realms: [realm], now: 0, draining: false, alarms: [], software: "t", clockSkewMilliseconds: 0)
    let queued = try question()
    _ = hub.ask(queued, deadline: 8000, now: 0, random: 0)
    #expect(finished(hub.withdraw(queued.id)).map(\.mayHaveCounted) == [false])
    _ = hub.poll(1, agent: first, realms: [realm], now: 1)
    #expect(holder(queued.id, hub) == nil)
    let bound = try question()
    _ = hub.ask(bound, deadline: 8000, now: 2, random: 0)
    _ = hub.stage(StageReport(question: bound.id, stage: .bindSent), agent: first, now: 110)
    _ = hub.withdraw(bound.id)
    let told = hub.takeWithdrawals(of: first)
    #expect(told.isEmpty)
    #expect(finished(hub.answered(bound.id, by: first, no, now: 200)).map(\.verdict) == [no.verdict])
  }
}
