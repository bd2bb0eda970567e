import Foundation
import Synchronization

/// What many concurrent sign-ins came to.
final class Tally: Sendable {
  private struct Counts {
    var right = 0
    var refused = 0
    var unanswered: [String] = []
    var wrong: [String] = []
    var failed: [String] = []
    var longest = Duration.zero
  }
  private let counts = Mutex(Counts())

  /// Right passwords that were accepted.
  var right: Int { counts.withLock { $0.right } }
  /// Wrong passwords that were refused.
  var refused: Int { counts.withLock { $0.refused } }
  /// Honest 503s with Retry-After.
  var unanswered: Int { counts.withLock { $0.unanswered.count } }
  /// Their references.
  var unansweredReferences: [String] { counts.withLock { $0.unanswered } }
  /// Answers that must never be: a right password refused, a wrong one accepted, a 503 without Retry-After.
  var wrong: [String] { counts.withLock { $0.wrong } }
  /// Requests without a whole answer.
  var failed: [String] { counts.withLock { $0.failed } }
  var longest: Duration { counts.withLock { $0.longest } }

  func count(_ answer: FrontEndClient.Answer, isRight: Bool) {
    counts.withLock { counts in
      counts.longest = max(counts.longest, answer.took)
      switch (answer.gist, isRight) {
      case ("200 accepted", true): counts.right += 1
      case ("200 invalid_credentials", false): counts.refused += 1
      case ("503 could_not_find_out", _) where answer.field("retry-after") != nil: counts.unanswered.append(answer.reference)
      default: counts.wrong.append("\(isRight ? "right" : "wrong") password: \(answer.status) \(answer.body)")
      }
    }
  }

  func fail(_ error: any Error) { counts.withLock { $0.failed.append("\(error)") } }
}

/// Set once.
private final class Flag: Sendable {
  private let value = Mutex(false)
  var isSet: Bool { value.withLock { $0 } }
  func set() { value.withLock { $0 = true } }
}

/// Sign-ins without a pause from several clients at once.
enum SignInLoad {
  /// Keeps `clients` busy while `body` runs: every fifth sign-in is a guess at a name that nobody has, so that wrong verdicts would show both ways
  /// and no account is locked by the load.
  static func run(
    _ frontEnd: FrontEndClient, realm: String, people: [(name: String, password: String)], clients: Int, tally: Tally,
    stopAtFirstFailure: Bool = false, while body: () async throws -> Void
  ) async throws {
    let over = Flag()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for client in 0..<clients {
        let person = people[client % people.count]
        group.addTask {
          var round = 0
          while !over.isSet {
            round += 1
            let guess = round % 5 == 0
            do {
              let answer = try await frontEnd.signIn(
                guess ? "nobody-\(client)-\(round)@\(realm)" : "\(person.name)@\(realm)", guess ? "wrong \(client) \(round)" : person.password)
              tally.count(answer, isRight: !guess)
            } catch {
              tally.fail(error)
              if stopAtFirstFailure { return }
            }
          }
        }
      }
      let outcome: Result<Void, any Error>
      do {
        try await body()
        outcome = .success(())
      } catch { outcome = .failure(error) }
      over.set()
      try await group.waitForAll()
      try outcome.get()
    }
  }
}
