import Foundation
import Testing

@Suite("A tenth of a processor")
struct StarvationScenario {
  @Test("for the gateway, then for both agents: who waits too long is told 503, no verdict is wrong, nobody is locked, no agent taken for lost")
  func starved() async throws {
    try await House.with("starvation", agents: ["one", "two"]) { house in
      let people = try await house.people("starved", 8)
      try await starve(try #require(house.gateway.process.map { [$0] }), "gateway", house, people, clients: 96)
      try await starve(house.agents.map { try #require($0.process) }, "agents", house, people, clients: 160)
    }
  }

  private func starve(
    _ starving: [ServerProcess], _ title: String, _ house: House, _ people: [(name: String, password: String)], clients: Int
  ) async throws {
    let guessed = try await house.people("starved" + title, RunLength.of(6, long: 300))
    let tally = Tally(mayTurnAway: true)
    let flapped = Tally()
    // Until every client has its connection: handshakes are not what is tested.
    let ramp = Duration.seconds(1)
    try await SignInLoad.run(
      house.frontEnd, realm: house.realm, people: people, clients: clients, tally: tally, patience: .milliseconds(700), ramp: ramp
    ) {
      try await Task.sleep(for: ramp * 1.5)
      try await Starvation.with(starving) {
        for (number, person) in guessed.enumerated() {
          tally.count(try await house.frontEnd.signIn("\(person.name)@\(house.realm)", "Wrong.\(person.name)"), isRight: false)
          try await Task.sleep(for: .milliseconds(300))
          guard number % 3 == 2 else { continue }
          for agent in try await house.admin.json([Told.Agent].self, "agents", "list") where !agent.connected {
            flapped.fail(ServerProcess.Failure(description: "agent \(agent.name) is taken for lost"))
          }
        }
      }
    }
    #expect(tally.wrong == [])
    #expect(tally.failed == [])
    #expect(flapped.failed == [])
    #expect(tally.right > 30)
    #expect(tally.unanswered + tally.turnedAway.count > 0, "there was enough for all")
    let well = await eventually(within: .seconds(5)) {
      (try? await house.frontEnd.signIn("\(people[0].name)@\(house.realm)", people[0].password))?.gist == "200 accepted"
    }
    #expect(well)
    #expect(try await house.admin.json([Told.UserState].self, "users", "locked").isEmpty)
    let honest = try await SambaDomain.badPasswordCounts(of: people.map(\.name), in: house.domain)
    #expect(honest.values.allSatisfy { $0 == 0 }, "\(honest)")
    let counts = try await SambaDomain.badPasswordCounts(of: guessed.map(\.name), in: house.domain)
    #expect(counts.count == guessed.count && counts.values.allSatisfy { $0 <= 2 }, "\(counts)")
    for reference in tally.unansweredReferences.prefix(RunLength.of(3, long: 200)) {
      let steps = try await house.trace(reference).steps
      #expect(!steps.contains { $0.contains("was lost") }, "an agent that was only slow was taken for lost: \(steps)")
    }
    print(
      "a tenth of a processor for the \(title): \(tally.right) accepted, \(tally.refused) refused, \(tally.unanswered) times could not find out, "
        + "\(tally.turnedAway.count) turned away, the slowest \(tally.longest); of \(guessed.count) wrong passwords "
        + "\(counts.values.count { $0 == 2 }) were counted twice")
  }
}
