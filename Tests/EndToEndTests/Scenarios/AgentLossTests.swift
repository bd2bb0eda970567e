import Foundation
import Synchronization
import Testing

@Suite("When an agent dies", .serialized)
struct AgentLossScenario {
  @Test("with kill -9, between sign-ins or during many, the other one answers and no verdict is wrong")
  func killed() async throws {
    try await House.with("agent-loss", agents: ["one", "two"]) { house in
      let people = try await house.people("loss", 8)
      try await between(house, people)
      try await during(house, people)
    }
  }

  @Test("with SIGTERM, what it has is answered and no sign-in fails")
  func terminated() async throws {
    try await House.with("agent-term", agents: ["one", "two"]) { house in
      let people = try await house.people("term", 8)
      let tally = Tally()
      let leaving = house.agents[0]
      try await SignInLoad.run(house.frontEnd, realm: house.realm, people: people, clients: 8, tally: tally) {
        try await Task.sleep(for: .seconds(1))
        leaving.process?.signal(SIGTERM)
        let status = await leaving.process?.ended(within: .seconds(10))
        #expect(status == 0, "the agent ended with \(String(describing: status))")
        try await Task.sleep(for: .seconds(1))
      }
      #expect(tally.wrong == [])
      #expect(tally.failed == [])
      #expect(tally.unanswered == 0)
      #expect(tally.right > 50)
    }
  }

  @Test("or the gateway is started again, the link comes back by itself")
  func reconnecting() async throws {
    try await House.with("reconnecting") { house in
      let person = try await house.people("back", 1)[0]
      let agent = house.agents[0]
      func answered(within limit: Duration) async throws -> Duration? {
        let began = ContinuousClock.now
        let good = await eventually(within: limit) {
          (try? await house.frontEnd.signIn(person.name, person.password, deadlineMilliseconds: 2000))?.gist == "200 accepted"
        }
        return good ? began.duration(to: .now) : nil
      }
      await agent.process?.crash()
      try await agent.start()
      let afterAgent = try #require(await answered(within: .seconds(15)))
      try await house.gateway.restart()
      let afterGateway = try #require(await answered(within: .seconds(15)))
      await house.gateway.process?.crash()
      // Longer than the agent's first patience.
      try await Task.sleep(for: .seconds(3))
      try await house.gateway.start()
      let afterCrash = try #require(await answered(within: .seconds(15)))
      print("answered again: \(afterAgent) after the agent's restart, \(afterGateway) after the gateway's, \(afterCrash) after its crash")
    }
  }

  private func between(_ house: House, _ people: [(name: String, password: String)]) async throws {
    #expect(try await house.frontEnd.signIn(people[0].name, people[0].password).gist == "200 accepted")
    await house.agents[0].process?.crash()
    var longest = Duration.zero
    for person in people + people {
      let answer = try await house.frontEnd.signIn(person.name, person.password)
      #expect(answer.gist == "200 accepted", "\(answer.body)")
      longest = max(longest, answer.took)
    }
    #expect(longest < .seconds(5), "out of rotation within five seconds")
    print("kill -9 between sign-ins: the slowest of the next \(people.count * 2) took \(longest)")
    try await house.agents[0].start()
    try await house.waitFor(house.agents[0])
  }

  private func during(_ house: House, _ people: [(name: String, password: String)]) async throws {
    let tally = Tally()
    let killed = Mutex<ContinuousClock.Instant?>(nil)
    try await SignInLoad.run(house.frontEnd, realm: house.realm, people: people, clients: 16, tally: tally) {
      for round in 0..<2 {
        try await Task.sleep(for: .seconds(1.5))
        let agent = house.agents[round]
        killed.withLock { $0 = .now }
        await agent.process?.crash()
        try await Task.sleep(for: .seconds(2))
        try await agent.start()
        try await house.waitFor(agent)
      }
    }
    #expect(tally.wrong == [])
    #expect(tally.failed == [])
    #expect(tally.right > 50)
    #expect(tally.refused > 20)
    #expect(tally.longest < .seconds(6), "out of rotation within five seconds")
    print("kill -9 under load: \(tally.right) accepted, \(tally.refused) refused, \(tally.unanswered) times 503, the slowest took \(tally.longest)")
  }
}
