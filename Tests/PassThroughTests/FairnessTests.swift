import Bytes
import Foundation
import GatehouseTesting
import Identity
import PassThrough
import Testing

/// Questions and agents in simulated time: arrivals and answer times by chance from a seed, so that a run can be repeated.
private struct Simulation {
  var hub = HubState()
  var random: SeededGenerator
  let realm: RealmName
  let agents: [Identifier]
  /// Mean answer time of each agent, milliseconds.
  var means: [Double]
  private var counts: [Identifier: Int] = [:]
  private var answers: [(at: HubTime, question: Identifier, agent: Identifier)] = []
  private var polls = 0
  private var pollers: [Int: Identifier] = [:]
  private(set) var now: HubTime = 0

  init(agents count: Int, mean: Double, seed: UInt64, realm: RealmName) {
    random = SeededGenerator(seed: seed)
    self.realm = realm
    var generator = random
    agents = (0..<count).map { _ in Identifier(bytes: (0..<16).map { _ in UInt8.random(in: 0...255, using: &generator) }) ?? Identifier() }
    random = generator
    means = Array(repeating: mean, count: count)
    for agent in agents {
      beat(agent)
      for _ in 0..<2 { poll(agent) }
    }
  }

  private mutating func beat(_ agent: Identifier) {
    take(
      hub.beat(
        agent: agent, realms: [realm], now: now, draining: false, alarms: [], software: "", clockSkewMilliseconds: 0, reportsStages: true))
  }

  private mutating func poll(_ agent: Identifier) {
    polls += 1
    pollers[polls] = agent
    take(hub.poll(polls, agent: agent, realms: [realm], now: now))
  }

  private mutating func take(_ actions: [HubState.Action]) {
    for action in actions {
      switch action {
      case .deliver(let poll, let questions):
        guard let agent = pollers.removeValue(forKey: poll), let index = agents.firstIndex(of: agent) else { continue }
        for question in questions {
          counts[agent, default: 0] += 1
          // Half of it is always needed; the rest is by chance, now and then several times as long.
          let extra = -log(Double.random(in: 0.0001...1, using: &random))
          let took = HubTime((means[index] * (0.5 + 0.5 * extra)).rounded())
          answers.append((now + max(1, took), question.id, agent))
        }
        self.poll(agent)
      case .release(let poll):
        if let agent = pollers.removeValue(forKey: poll) { self.poll(agent) }
      case .finish: break
      }
    }
  }

  /// Runs for so long with `perSecond` questions, and tells how many each agent was handed.
  mutating func run(milliseconds: HubTime, perSecond: Double, user: UserName, password: Password) -> [Int] {
    counts = [:]
    var owed = 0.0
    let end = now + milliseconds
    while now < end {
      now += 1
      if now % 2000 == 0 { for agent in agents { beat(agent) } }
      if now % 100 == 0 { take(hub.tick(now: now)) }
      let due = answers.filter { $0.at <= now }
      answers.removeAll { $0.at <= now }
      for answer in due {
        take(hub.answered(answer.question, by: answer.agent, Judgement(.refused(Refusal(.wrongPassword))), now: now))
      }
      owed += perSecond / 1000
      while owed >= 1 {
        owed -= 1
        let id = Identifier(bytes: (0..<16).map { _ in UInt8.random(in: 0...255, using: &random) }) ?? Identifier()
        let question = Question(
          id: id, realm: realm, userName: user, password: password, wanting: .none, deadline: Deadline(after: .seconds(8)))
        take(hub.ask(question, deadline: now + 8000, now: now, random: Int.random(in: .min ... .max, using: &random)))
      }
    }
    return agents.map { counts[$0] ?? 0 }
  }
}

@Suite("Fairness between agents")
struct FairnessTests {
  private func simulation(_ agents: Int, mean: Double = 8, seed: UInt64) throws -> Simulation {
    Simulation(agents: agents, mean: mean, seed: seed, realm: try #require(RealmName("contoso.com")))
  }

  private func run(_ simulation: inout Simulation, seconds: Int, perSecond: Double) throws -> [Int] {
    simulation.run(
      milliseconds: HubTime(seconds) * 1000, perSecond: perSecond, user: try #require(UserName("alice")),
      password: try #require(Password(Secret("x".utf8))))
  }

  /// How far the agent that is farthest off its share is off it, in parts of it.
  private func spread(_ counts: [Int]) -> Double {
    let share = Double(counts.reduce(0, +)) / Double(counts.count)
    return counts.map { abs(Double($0) - share) / share }.max() ?? 0
  }

  @Test(
    "Of equal agents none is more than a tenth off its share, with little to do and with much",
    arguments: [(1, 200.0), (2, 40), (2, 2000), (5, 100), (5, 2000), (20, 400), (20, 2000), (200, 4000)])
  func equal(agents: Int, perSecond: Double) throws {
    var simulation = try simulation(agents, seed: UInt64(agents) * 31 + UInt64(perSecond))
    _ = try run(&simulation, seconds: 2, perSecond: perSecond)
    let counts = try run(&simulation, seconds: agents == 200 ? 5 : 20, perSecond: perSecond)
    let spread = spread(counts)
    print("fairness: \(agents) agents, \(Int(perSecond))/s: \((spread * 1000).rounded() / 10) % off at most")
    #expect(spread <= 0.1, "\(counts)")
  }

  @Test("One slow agent gets less, but something, and the others' shares stay equal", arguments: [5, 20])
  func oneSlow(agents: Int) throws {
    var simulation = try simulation(agents, seed: 7)
    simulation.means[0] = 300
    _ = try run(&simulation, seconds: 5, perSecond: 800)
    let counts = try run(&simulation, seconds: 20, perSecond: 800)
    print("fairness: one slow of \(agents): \(counts[0]) beside a mean of \(counts.dropFirst().reduce(0, +) / (agents - 1))")
    #expect(spread(Array(counts.dropFirst())) <= 0.1, "\(counts)")
    #expect(counts[0] > 5 && counts[0] < counts[1] / 2)
  }

  @Test("An agent that was slow for a while has its share again soon, and no more than that")
  func recovered() throws {
    var simulation = try simulation(5, seed: 11)
    simulation.means[0] = 500
    _ = try run(&simulation, seconds: 20, perSecond: 500)
    simulation.means[0] = 8
    _ = try run(&simulation, seconds: 40, perSecond: 500)
    let counts = try run(&simulation, seconds: 20, perSecond: 500)
    #expect(spread(counts) <= 0.1, "\(counts)")
  }

  @Test("Who comes new is not flooded")
  func newcomer() throws {
    var simulation = try simulation(5, seed: 13)
    let counts = try run(&simulation, seconds: 10, perSecond: 500)
    #expect(spread(counts) <= 0.1, "\(counts)")
  }
}
