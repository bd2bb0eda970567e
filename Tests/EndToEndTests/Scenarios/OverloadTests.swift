import Foundation
import Testing

@Suite("Far more sign-ins than can be answered")
struct OverloadScenario {
  @Test("by the gateway or its directory: the rest is told 503 with Retry-After, no verdict is wrong, memory is bounded, and it ends with the storm")
  func storm() async throws {
    try await House.with("overload", agents: [], options: .init(extra: "limits: {connectionsPerAddress: 4000}")) { house in
      try await FaultProxy.with(to: house.domain["AD_IP"], port: 636) { proxy in
        try await house.move(
          in: AgentProcess(
            name: "one", scenario: house.scenario, domain: house.domain,
            directory: ["servers: ['\(house.domain["AD_HOST"]):\(proxy.port)@127.0.0.1']"]))
        let people = try await house.people("stormy", 8)
        try await gateway(house, people)
        try await directory(house, people, proxy)
      }
    }
  }

  private func gateway(_ house: House, _ people: [(name: String, password: String)]) async throws {
    let process = try #require(house.gateway.process)
    let agent = try #require(house.agents[0].process)
    let (clients, ramp) = RunLength.of((240, Duration.seconds(2)), long: (2000, .seconds(30)))
    let crowd = try FrontEndClient(
      url: house.gateway.url, authority: house.gateway.publicAuthority, key: house.frontEnd.key, connections: clients, connecting: .seconds(10))
    let tally = Tally(mayTurnAway: true)
    let (memory, agentMemory) = (Peak(), Peak())
    let watching = [Task { await memory.watch(process) }, Task { await agentMemory.watch(agent) }]
    defer { for task in watching { task.cancel() } }
    // One more of them, who keeps a connection and is in no queue of this process: how long they wait is how long the gateway takes.
    let waits = Tally(mayTurnAway: true)
    let obstacles = Tally()
    try await SignInLoad.run(crowd, realm: house.realm, people: people, clients: clients, tally: tally, patience: .seconds(1), ramp: ramp) {
      try await Task.sleep(for: ramp)
      // A gateway that has the whole machine answers all of these: so it gets a third of one processor.
      try await Starvation.with([process], share: 33) {
        let end = ContinuousClock.now.advanced(by: RunLength.of(.seconds(4), long: .seconds(600)))
        while ContinuousClock.now < end {
          for person in people {
            waits.count(try await house.frontEnd.signIn("\(person.name)@\(house.realm)", person.password), isRight: true)
            try await Task.sleep(for: .milliseconds(20))
          }
          // Agents, health and administration go first: none of them is turned away.
          if await house.gateway.readiness() != 200 { obstacles.fail(ServerProcess.Failure(description: "not ready")) }
          if try await house.told(house.agents[0])?.connected != true { obstacles.fail(ServerProcess.Failure(description: "no agent")) }
        }
      }
    }
    let over = ContinuousClock.now
    #expect(tally.wrong == [] && waits.wrong == [])
    #expect(tally.failed == [])
    #expect(obstacles.failed == [])
    #expect(tally.right > 50 && tally.refused > 10, "the storm had verdicts of both kinds")
    #expect(tally.turnedAway.count > clients / 2, "there was not more than could be answered")
    let refusals = waits.turnedAway.sorted()
    let median = try #require(refusals.isEmpty ? nil : refusals[refusals.count / 2])
    // Fifty milliseconds were promised; here the clients need the same processors.
    #expect(median < .milliseconds(500))
    #expect(await memory.resident < ProcessFigures.mostResident)
    #expect(await agentMemory.resident < ProcessFigures.mostResident)
    var inARow = 0
    let recovered = await eventually(within: .seconds(5), every: .zero) {
      let person = people[inARow % people.count]
      let answer = try? await house.frontEnd.signIn("\(person.name)@\(house.realm)", person.password)
      inARow = answer?.gist == "200 accepted" ? inARow + 1 : 0
      return inARow == 20
    }
    #expect(recovered, "five seconds after the storm not everybody was answered again")
    #expect(try await house.admin.json([Told.UserState].self, "users", "locked").isEmpty)
    print(
      "overload: \(tally.right) accepted, \(tally.refused) refused, \(tally.unanswered) times could not find out, the slowest of these "
        + "\(tally.longest); \(tally.turnedAway.count) turned away, one client in the middle after \(median); "
        + "gateway \(await memory.resident >> 20) MB, agent \(await agentMemory.resident >> 20) MB; well again after \(over.duration(to: .now))")
  }

  /// The directory's connections answer five questions a second each.
  private func directory(_ house: House, _ people: [(name: String, password: String)], _ proxy: FaultProxy) async throws {
    let guessed = try await house.people("stormguess", RunLength.of(4, long: 200))
    let tally = Tally(mayTurnAway: true)
    try await proxy.set(.delay(.milliseconds(200), only: .toClient))
    try await SignInLoad.run(house.frontEnd, realm: house.realm, people: people, clients: 100, tally: tally) {
      for person in guessed {
        tally.count(try await house.frontEnd.signIn("\(person.name)@\(house.realm)", "Wrong.\(person.name)"), isRight: false)
        try await Task.sleep(for: .milliseconds(RunLength.of(300, long: 1000)))
      }
    }
    try await proxy.set(.none)
    #expect(tally.wrong == [])
    #expect(tally.failed == [])
    #expect(tally.right > 10)
    #expect(tally.unanswered + tally.turnedAway.count > 50, "the directory could answer all")
    #expect(tally.longest < .seconds(10), "nobody waits much longer than a sign-in may take")
    let well = await eventually(within: .seconds(5)) {
      (try? await house.frontEnd.signIn("\(people[0].name)@\(house.realm)", people[0].password))?.gist == "200 accepted"
    }
    #expect(well)
    let counts = try await SambaDomain.badPasswordCounts(of: guessed.map(\.name), in: house.domain)
    #expect(counts.count == guessed.count && counts.values.allSatisfy { $0 <= 1 }, "\(counts)")
    print(
      "overloaded directory: \(tally.right) accepted, \(tally.refused) refused, \(tally.unanswered) times could not find out "
        + "(\(try await house.unknownCauses())), \(tally.turnedAway.count) turned away, the slowest \(tally.longest)")
  }
}
