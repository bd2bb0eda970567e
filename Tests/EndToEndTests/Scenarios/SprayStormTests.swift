import Foundation
import GatehouseTesting
import Synchronization
import Testing

/// Guesses from everywhere at everybody, and people who sign in from where they always do.
private final class Storm: Sendable {
  struct Counts: Sendable {
    var guesses: [String: Int] = [:]
    /// Honest people, each of whom tries again where they are told to.
    var accepted = 0
    var unanswered = 0
    var refused: [String] = []
  }

  private let frontEnd: FrontEndClient
  private let guessing: FrontEndClient
  private let people: [(name: String, password: String)]
  private let end: ContinuousClock.Instant
  private let state = Mutex(Counts())

  var counts: Counts { state.withLock { $0 } }

  init(_ house: House, people: [(name: String, password: String)], guessers: Int, length: Duration) throws {
    frontEnd = house.frontEnd
    guessing = try FrontEndClient(
      url: house.gateway.url, authority: house.gateway.publicAuthority, key: house.frontEnd.key, connections: guessers)
    self.people = people
    end = .now.advanced(by: length)
  }

  /// The address of a person's own.
  static func home(_ index: Int) -> String { "192.0.\(index / 200 + 2).\(index % 200 + 1)" }

  func run(guessers: Int) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for guesser in 0..<guessers { group.addTask { try await self.guess(seed: UInt64(guesser) + 17) } }
      for first in 0..<4 { group.addTask { try await self.signIn(from: first, by: 4) } }
      try await group.waitForAll()
    }
  }

  /// One in five guesses is at nobody; they come from all addresses of a /15.
  private func guess(seed: UInt64) async throws {
    var random = SeededGenerator(seed: seed)
    while ContinuousClock.now < end {
      let target = Int.random(in: 0..<people.count * 5 / 4, using: &random)
      let name = target < people.count ? people[target].name : "nobody\(target)"
      let host = UInt32.random(in: 0..<1 << 17, using: &random) | 198 << 24 | 18 << 16
      let address = stride(from: 24, through: 0, by: -8).map { "\(host >> UInt32($0) & 0xff)" }.joined(separator: ".")
      let gist = try await guessing.signIn(name, "Guess.\(UInt32.random(in: 0 ... .max, using: &random))", from: address).gist
      state.withLock { $0.guesses[gist, default: 0] += 1 }
    }
  }

  private func signIn(from first: Int, by step: Int) async throws {
    var index = first
    while ContinuousClock.now < end {
      let person = people[index % people.count]
      var gist = ""
      for _ in 0..<3 {
        gist = try await frontEnd.signIn(person.name, person.password, from: Storm.home(index % people.count)).gist
        guard gist.hasPrefix("503") else { break }
        try await Task.sleep(for: .seconds(1))
      }
      state.withLock { counts in
        switch gist {
        case "200 accepted": counts.accepted += 1
        case _ where gist.hasPrefix("503"): counts.unanswered += 1
        default: counts.refused.append("\(person.name): \(gist)")
        }
      }
      index += step
      try await Task.sleep(for: .milliseconds(20))
    }
  }
}

@Suite("A storm of wrong passwords")
struct SprayStormScenario {
  /// The domain locks at five; two of these are kept in reserve.
  private static let mostTries = 3

  @Test("from everywhere at everybody: honest people at their addresses are signed in, and the directory sees no more tries than it lets stand")
  func storm() async throws {
    try await House.with("spray-storm", in: .locking, options: .init(extra: "limits: {connectionsPerAddress: 2000}")) { house in
      let people = try await house.people("stormed", RunLength.of(24, long: 400))
      try await house.waitForDirectoryLockout()
      for (index, person) in people.enumerated() {
        #expect(try await house.frontEnd.signIn(person.name, person.password, from: Storm.home(index)).gist == "200 accepted")
      }
      let guessers = RunLength.of(24, long: 200)
      let storm = try Storm(house, people: people, guessers: guessers, length: RunLength.of(.seconds(5), long: .seconds(300)))
      try await storm.run(guessers: guessers)

      let counts = storm.counts
      #expect(counts.refused == [], "the right password from home is never refused")
      #expect(counts.accepted > 20)
      #expect(counts.unanswered * 99 <= counts.accepted, "\(counts.unanswered) honest people were not signed in, \(counts.accepted) were")
      #expect(counts.guesses["200 accepted"] == nil)
      #expect(counts.guesses.values.reduce(0, +) > 200)
      for (name, count) in try await SambaDomain.badPasswordCounts(of: people.map(\.name), in: house.domain) {
        #expect(count <= SprayStormScenario.mostTries, "\(name): \(count)")
      }
      let locked = try await LeashedProcess.run("/usr/bin/ldbsearch", ["-H", house.domain["AD_SAM"], "(lockoutTime>=1)", "sAMAccountName"])
      #expect(!locked.contains("sAMAccountName: stormed"), "\(locked)")
      // Each honest success sets the directory's count to zero, but not what strangers have used up: each wrong password has its row.
      let rows = try await house.admin.json([Told.Row].self, "audit", "list", "--kind", "sign-in", "--limit", "10000")
      let wrong = Dictionary(grouping: rows.map(\.event).filter { $0.outcome == "refused:wrongPassword" }, by: { $0.subject ?? "" })
      #expect(wrong.count > 10)
      #expect(wrong.values.allSatisfy { $0.count <= SprayStormScenario.mostTries }, "\(wrong.mapValues(\.count))")
      print(
        "spray storm: guesses \(counts.guesses); \(counts.accepted) honest people signed in, \(counts.unanswered) not; at most "
          + "\(wrong.values.map(\.count).max() ?? 0) wrong passwords of one person reached the directory")
    }
  }
}
