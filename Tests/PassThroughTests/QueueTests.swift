import Bytes
import Identity
import Testing

@testable import PassThrough

@Suite("What waits at agents for a poll")
struct QueueTests {
  private func question(_ realm: RealmName) throws -> Question {
    Question(
      realm: realm, userName: try #require(UserName("alice")), password: Password(Secret("x".utf8)), wanting: .none,
      deadline: Deadline(after: .seconds(8)))
  }

  @Test("tells of too much only while every realm waits, and not for one frozen agent or one slow realm")
  func longestWait() throws {
    var hub = HubState()
    let (contoso, fabrikam) = (try #require(RealmName("contoso.com")), try #require(RealmName("fabrikam.com")))
    let agent = Identifier()
    _ = hub.poll(1, agent: agent, realms: [contoso], now: 0)
    // The first question takes the poll along, the second one waits for the next.
    for _ in 0..<2 { _ = hub.ask(try question(contoso), deadline: 8000, now: 10, random: 0) }
    #expect(hub.longestWait(now: 210) == 200)
    // Another agent of the realm has nothing waiting.
    _ = hub.poll(2, agent: Identifier(), realms: [contoso], now: 20)
    #expect(hub.longestWait(now: 210) == 0)
    var other = HubState()
    _ = other.poll(1, agent: agent, realms: [contoso], now: 0)
    for _ in 0..<2 { _ = other.ask(try question(contoso), deadline: 8000, now: 10, random: 0) }
    #expect(other.longestWait(now: 210) == 200)
    _ = other.poll(2, agent: Identifier(), realms: [fabrikam], now: 20)
    #expect(other.longestWait(now: 210) == 0)
  }

  private func question(familiar: Bool) throws -> Question {
    Question(
      realm: try #require(RealmName("contoso.com")), userName: try #require(UserName("alice")), password: Password(Secret("x".utf8)), wanting: .none,
      allowance: TryAllowance(expected: nil, isFamiliar: familiar), deadline: Deadline(after: .seconds(8)))
  }

  @Test("is handed out with people at familiar addresses first, and a quarter for the others", arguments: [10, 100])
  func precedence(familiar: Int) throws {
    var hub = HubState()
    let (agent, realm) = (Identifier(), try #require(RealmName("contoso.com")))
    _ = hub.beat(agent: agent, realms: [realm], now: 0, draining: false, alarms: [], software: "t", clockSkewMilliseconds: 0)
    for _ in 0..<100 { _ = hub.ask(try question(familiar: false), deadline: 8000, now: 1, random: 0) }
    for _ in 0..<familiar { _ = hub.ask(try question(familiar: true), deadline: 8000, now: 2, random: 0) }
    var seen = 0
    let batches = (1...4).map { poll in
      hub.poll(poll, agent: agent, realms: [realm], now: 3).flatMap { action in
        if case .deliver(_, let questions) = action { questions.map { $0.allowance?.isFamiliar ?? false } } else { [Bool]() }
      }
    }
    for batch in batches { seen += batch.count }
    #expect(seen == 100 + familiar, "nothing is lost")
    let first = min(familiar, HubState.batchLimit * 3 / 4)
    #expect(batches[0].count == HubState.batchLimit)
    #expect(batches[0].prefix(first).allSatisfy { $0 } && batches[0].dropFirst(first).allSatisfy { !$0 })
  }
}
