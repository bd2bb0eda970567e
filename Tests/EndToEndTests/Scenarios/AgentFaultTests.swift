import Foundation
import Synchronization
import Testing

/// What clients of a gateway that ends do not get an answer to, and whether they go on.
private final class Missed: Sendable {
  private let state = Mutex((isOver: false, refused: 0, cut: 0))

  var isOver: Bool { state.withLock { $0.isOver } }
  var counts: (refused: Int, cut: Int) { state.withLock { ($0.refused, $0.cut) } }
  func begin() { state.withLock { $0.isOver = false } }
  func end() { state.withLock { $0.isOver = true } }
  func refuse() { state.withLock { $0.refused += 1 } }
  func cut() { state.withLock { $0.cut += 1 } }
}

@Suite("When agents or the gateway are killed, frozen or ended under load", .serialized)
struct AgentFaultScenario {
  /// Wrong passwords beside the load, each person guessed at once: what AD counted of them shows every bind twice.
  private func guess(_ house: House, at people: [(name: String, password: String)], every pause: Duration, _ tally: Tally) async {
    await withDiscardingTaskGroup { group in
      for person in people {
        group.addTask {
          do { tally.count(try await house.frontEnd.signIn("\(person.name)@\(house.realm)", "Wrong.\(person.name)"), isRight: false) } catch {
            tally.fail(error)
          }
        }
        try? await Task.sleep(for: pause)
      }
    }
  }

  /// No wrong verdict, nothing lost, and nobody counted more than once beside their try.
  private func expectHonest(_ tally: Tally, _ guessed: [(name: String, password: String)], _ house: House, _ title: String) async throws {
    let counts = try await SambaDomain.badPasswordCounts(of: guessed.map(\.name), in: house.domain)
    #expect(counts.count == guessed.count)
    #expect(tally.wrong == [])
    #expect(tally.failed == [])
    #expect(tally.right > 30)
    #expect(counts.values.allSatisfy { $0 <= 2 }, "\(counts)")
    let rows = try await house.admin.json([Told.Row].self, "audit", "list", "--kind", "sign-in", "--limit", "10000")
    let unknown = Dictionary(grouping: rows.map(\.event).filter { $0.outcome.hasPrefix("unknown:") }, by: \.outcome)
    for (outcome, events) in unknown.sorted(by: { $0.key < $1.key }) {
      let steps = try await house.trace(events.first?.reference ?? "").steps
      print("\(title): \(events.count) times \(outcome), for instance after \(steps)")
    }
    let twice = counts.values.filter { $0 == 2 }.count
    print(
      "\(title): \(tally.right) accepted, \(tally.refused) refused, \(tally.unanswered) times 503, the slowest \(tally.longest); of \(guessed.count) "
        + "wrong passwords \(twice) were counted twice")
  }

  @Test("kill -9 of one of two agents: no wrong verdict, nothing lost, at most one extra bad-password count")
  func killed() async throws {
    try await House.with("agent-kill", agents: ["one", "two"]) { house in
      let times = RunLength.of(3, long: 50)
      let people = try await house.people("kill", 8)
      let guessed = try await house.people("killguess", times * 10)
      let tally = Tally()
      try await SignInLoad.run(house.frontEnd, realm: house.realm, people: people, clients: 12, tally: tally) {
        for round in 0..<times {
          let agent = house.agents[round % 2]
          async let guesses: Void = guess(house, at: Array(guessed[round * 10..<round * 10 + 10]), every: .milliseconds(40), tally)
          try await Task.sleep(for: .milliseconds(150 + Int.random(in: 0...100)))
          await agent.process?.crash()
          await guesses
          try await Task.sleep(for: .milliseconds(300))
          try await agent.start()
          try await house.waitFor(agent)
        }
      }
      try await expectHonest(tally, guessed, house, "kill -9 of an agent, \(times) times")
    }
  }

  @Test("A frozen agent: what it had not taken up is asked of the other one, and what it says afterwards is ignored")
  func frozen() async throws {
    try await House.with("agent-freeze", agents: ["one", "two"]) { house in
      let times = RunLength.of(2, long: 20)
      let people = try await house.people("freeze", 8)
      let guessed = try await house.people("freezeguess", times * 10)
      let tally = Tally()
      try await SignInLoad.run(house.frontEnd, realm: house.realm, people: people, clients: 12, tally: tally) {
        for round in 0..<times {
          let agent = house.agents[round % 2]
          async let guesses: Void = guess(house, at: Array(guessed[round * 10..<round * 10 + 10]), every: .milliseconds(40), tally)
          try await Task.sleep(for: .milliseconds(150 + Int.random(in: 0...100)))
          agent.process?.signal(SIGSTOP)
          // Once for less than the six seconds after which it is lost, once for more.
          try await Task.sleep(for: round % 2 == 0 ? .seconds(3) : .seconds(8))
          agent.process?.signal(SIGCONT)
          await guesses
          try await house.waitFor(agent)
          try await Task.sleep(for: .seconds(1))
        }
      }
      try await expectHonest(tally, guessed, house, "SIGSTOP of an agent, \(times) times")
    }
  }

  @Test("SIGTERM of agents, one after the other: every request is answered")
  func agentsEnd() async throws {
    try await House.with("agents-end", agents: ["one", "two"]) { house in
      let times = RunLength.of(4, long: 20)
      let people = try await house.people("end", 8)
      let guessed = try await house.people("endguess", times * 10)
      let tally = Tally()
      try await SignInLoad.run(house.frontEnd, realm: house.realm, people: people, clients: 12, tally: tally) {
        for round in 0..<times {
          let agent = house.agents[round % 2]
          async let guesses: Void = guess(house, at: Array(guessed[round * 10..<round * 10 + 10]), every: .milliseconds(40), tally)
          try await Task.sleep(for: .milliseconds(150 + Int.random(in: 0...100)))
          agent.process?.signal(SIGTERM)
          let status = await agent.process?.ended(within: .seconds(10))
          #expect(status == 0, "the agent ended with \(String(describing: status))")
          await guesses
          try await agent.start()
          try await house.waitFor(agent)
        }
      }
      for reference in tally.unansweredReferences.prefix(3) {
        let told = try await house.trace(reference)
        Issue.record("nobody answered: \(told)")
      }
      #expect(tally.unanswered == 0)
      try await expectHonest(tally, guessed, house, "SIGTERM of an agent, \(times) times")
      let counts = try await SambaDomain.badPasswordCounts(of: guessed.map(\.name), in: house.domain)
      #expect(counts.values.allSatisfy { $0 == 1 }, "nothing was asked twice: \(counts)")
    }
  }

  @Test("SIGTERM of the gateway and a new one in its place: whoever was heard is answered, and the agents are back at once")
  func gatewayEnds() async throws {
    try await House.with("gateway-end", agents: ["one", "two"]) { house in
      let times = RunLength.of(2, long: 10)
      let people = try await house.people("upgrade", 8)
      let missed = Missed()
      let tally = Tally()
      for _ in 0..<times {
        missed.begin()
        await withDiscardingTaskGroup { group in
          for client in 0..<8 {
            let person = people[client]
            group.addTask {
              while !missed.isOver {
                do {
                  tally.count(try await house.frontEnd.signIn("\(person.name)@\(house.realm)", person.password), isRight: true)
                } catch let error where Self.closedBefore(error) {
                  missed.cut()
                } catch let error where Self.neverHeard(error) {
                  // Nobody listens between the two: a balancer would have taken another node.
                  missed.refuse()
                  try? await Task.sleep(for: .milliseconds(50))
                } catch { tally.fail(error) }
              }
            }
          }
          try? await Task.sleep(for: .seconds(1))
          do { try await house.gateway.restart() } catch { tally.fail(error) }
          try? await Task.sleep(for: .seconds(2))
          missed.end()
        }
      }
      #expect(tally.wrong == [])
      #expect(tally.failed == [])
      #expect(missed.counts.cut <= 8 * times, "more requests were cut off than there are kept connections")
      #expect(tally.unanswered == 0, "the new gateway waits for its agents")
      #expect(tally.right > 30)
      print(
        "SIGTERM of the gateway, \(times) times: \(tally.right) accepted, \(tally.unanswered) times 503, the slowest \(tally.longest); "
          + "\(missed.counts.refused) times nobody listened, \(missed.counts.cut) kept connections had ended")
    }
  }

  /// Whether no connection could be made. A gateway that closes its door in the middle of a TLS handshake has not heard a request either: the
  /// client may ask another node without asking twice.
  private static func neverHeard(_ error: any Error) -> Bool {
    let text = "\(error)"
    return ["Connection refused", "connectTimeout", "ECONNREFUSED", "NIOConnectionError", "EOF during handshake"].contains { text.contains($0) }
  }

  /// Whether a connection ended before its request was answered. It may have been one that was closed after its last answer, while the request was
  /// on its way; that can happen to each kept connection once.
  private static func closedBefore(_ error: any Error) -> Bool {
    let text = "\(error)"
    return ["remoteConnectionClosed", "Connection reset", "uncleanShutdown"].contains { text.contains($0) }
  }
}
