import Foundation
import Testing

/// Agents that reach the gateway through a bad piece of network each.
private struct Parted: Sendable {
  let house: House
  let proxies: [FaultProxy]

  static func with(_ scenario: String, agents count: Int, _ body: (Parted) async throws -> Void) async throws {
    try await House.with(scenario, agents: []) { house in
      var proxies: [FaultProxy] = []
      do {
        for number in 1...count {
          let proxy = try await FaultProxy.start(port: house.gateway.mutualPort, seed: UInt64(number))
          proxies.append(proxy)
          try await house.move(
            in: AgentProcess(name: "\(number)", scenario: scenario, domain: house.domain, gateways: ["https://127.0.0.1:\(proxy.port)"]))
        }
        try await body(Parted(house: house, proxies: proxies))
      } catch {
        for proxy in proxies { await proxy.stop() }
        throw error
      }
      for proxy in proxies { await proxy.stop() }
    }
  }

  /// Whether somebody is signed in four times in a row, within a time in which an agent that waits must have tried again.
  func isWhole(_ person: (name: String, password: String)) async -> Bool {
    var inARow = 0
    return await eventually(within: .seconds(12)) {
      let answer = try? await house.frontEnd.signIn("\(person.name)@\(house.realm)", person.password, deadlineMilliseconds: 2000)
      inARow = answer?.gist == "200 accepted" ? inARow + 1 : 0
      return inARow == 4
    }
  }
}

@Suite("A network that parts agents and gateway", .serialized)
struct PartitionScenario {
  @Test("Wholly or one way, one agent or all: no wrong verdict, at most one extra bad-password count, and all is well when it is whole again")
  func parted() async throws {
    try await Parted.with("partition", agents: 2) { parted in
      let people = try await parted.house.people("parted", 8)
      try await part(parted, people)
      try await cut(parted, people[0], for: RunLength.of(5, long: 60))
    }
  }

  @Test("Forty agents that are cut off and come back do not come all at once", .enabled(if: RunLength.isLong))
  func manyAgents() async throws {
    try await Parted.with("partition-many", agents: 40) { parted in
      try await cut(parted, try await parted.house.people("cut", 1)[0], for: 60)
    }
  }

  private func part(_ parted: Parted, _ people: [(name: String, password: String)]) async throws {
    let house = parted.house
    let rounds: [(fault: FaultProxy.Fault, agents: [Int], length: Duration)] = [
      (.blackHole(.toServer), [0], .seconds(2)), (.hang, [0, 1], .seconds(7)), (.blackHole(.toClient), [0, 1], .seconds(2)),
      (.refuse, [0, 1], .seconds(2)), (.blackHole(.toClient), [1], .seconds(2)), (.unanswered, [0, 1], .seconds(7)), (.hang, [1], .seconds(300)),
      (.blackHole(.toServer), [0, 1], .seconds(300)), (.blackHole(.toClient), [0, 1], .seconds(300)),
    ]
    let times = RunLength.of(3, long: rounds.count)
    let guessed = try await house.people("partguess", times * 10)
    let tally = Tally()
    try await SignInLoad.run(house.frontEnd, realm: house.realm, people: people, clients: 12, tally: tally) {
      for (round, (fault, agents, length)) in rounds.prefix(times).enumerated() {
        async let guesses: Void = guess(house, at: Array(guessed[round * 10..<round * 10 + 10]), tally)
        try await Task.sleep(for: .milliseconds(150 + Int.random(in: 0...100)))
        for agent in agents { try await parted.proxies[agent].set(fault) }
        try await Task.sleep(for: length)
        for agent in agents { try await parted.proxies[agent].set(.none) }
        let began = ContinuousClock.now
        #expect(await parted.isWhole(people[round % people.count]), "\(fault) at \(agents.count): not whole again")
        print("\(fault), \(agents.count) of 2 agents, \(length): whole again within \(began.duration(to: .now))")
        await guesses
        for agent in house.agents { try await house.waitFor(agent) }
      }
    }
    let counts = try await SambaDomain.badPasswordCounts(of: guessed.map(\.name), in: house.domain)
    #expect(counts.count == guessed.count)
    #expect(counts.values.allSatisfy { $0 <= 2 }, "\(counts)")
    #expect(tally.wrong == [])
    #expect(tally.failed == [])
    #expect(tally.right > 30)
    // A network that is parted says nothing about a password.
    #expect(try await house.admin.json([Told.UserState].self, "users", "locked").isEmpty)
    #expect(try await SambaDomain.badPasswordCounts(of: people.map(\.name), in: house.domain).values.allSatisfy { $0 == 0 })
    print(
      "partition: \(tally.right) accepted, \(tally.refused) refused, \(tally.unanswered) times 503, the slowest \(tally.longest); of "
        + "\(guessed.count) wrong passwords \(counts.values.count { $0 == 2 }) were counted twice")
  }

  /// Cuts every connection off again and again: agents wait longer each time, not all alike, and come back by themselves.
  private func cut(_ parted: Parted, _ person: (name: String, password: String), for seconds: Int) async throws {
    let agents = parted.proxies.count
    let before = parted.proxies.map(\.counts.accepted)
    for proxy in parted.proxies {
      // What comes in is accepted, and reset with its first byte.
      try await proxy.set(.reset(afterBytes: 0, .toServer))
      proxy.resetConnections()
    }
    try await Task.sleep(for: .seconds(seconds))
    let attempts = zip(parted.proxies, before).map { $0.counts.accepted - $1 }
    // Two lanes that wait up to ten seconds, and a heartbeat each second or so.
    #expect(attempts.allSatisfy { $0 >= 4 && $0 <= 20 + seconds * 2 }, "\(attempts)")
    var last = parted.proxies.map(\.counts.accepted).reduce(0, +)
    for proxy in parted.proxies { try await proxy.set(.none) }
    var most = 0
    for _ in 0..<3 {
      try await Task.sleep(for: .seconds(1))
      let now = parted.proxies.map(\.counts.accepted).reduce(0, +)
      (most, last) = (max(most, now - last), now)
    }
    // Two polls, heartbeats and verdicts have a connection each.
    #expect(most <= agents * 4, "\(most) handshakes within a second")
    for agent in parted.house.agents { try await parted.house.waitFor(agent, limit: .seconds(5)) }
    #expect(await parted.isWhole(person))
    print("cut off for \(seconds) s: \(attempts) attempts; \(agents) agents came back with at most \(most) connections within a second")
  }

  /// Wrong passwords beside the load, each person guessed at once: what AD counted of them shows every bind twice.
  private func guess(_ house: House, at people: [(name: String, password: String)], _ tally: Tally) async {
    await withDiscardingTaskGroup { group in
      for person in people {
        group.addTask {
          do { tally.count(try await house.frontEnd.signIn("\(person.name)@\(house.realm)", "Wrong.\(person.name)"), isRight: false) } catch {
            tally.fail(error)
          }
        }
        try? await Task.sleep(for: .milliseconds(40))
      }
    }
  }
}
