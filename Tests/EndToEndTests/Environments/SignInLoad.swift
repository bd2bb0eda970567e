import Foundation
import Synchronization

/// What many concurrent sign-ins came to.
final class Tally: Sendable {
  private struct Counts {
    var right = 0
    var refused = 0
    var unanswered: [String] = []
    var turnedAway: [Duration] = []
    var wrong: [String] = []
    var failed: [String] = []
    var longest = Duration.zero
  }
  private let counts = Mutex(Counts())
  private let mayTurnAway: Bool

  /// - Parameter mayTurnAway: whether the gateway may have more to do than it can answer; else an answer that says so is a wrong one.
  init(mayTurnAway: Bool = false) { self.mayTurnAway = mayTurnAway }

  /// Right passwords that were accepted.
  var right: Int { counts.withLock { $0.right } }
  /// Wrong passwords that were refused.
  var refused: Int { counts.withLock { $0.refused } }
  /// Honest 503s with Retry-After.
  var unanswered: Int { counts.withLock { $0.unanswered.count } }
  /// Their references.
  var unansweredReferences: [String] { counts.withLock { $0.unanswered } }
  /// How long those waited for their answer whom the gateway turned away before it did anything for them, with 503 and Retry-After.
  var turnedAway: [Duration] { counts.withLock { $0.turnedAway } }
  /// Answers that must never be: a right password refused, a wrong one accepted, a 503 without Retry-After.
  var wrong: [String] { counts.withLock { $0.wrong } }
  /// Requests without a whole answer.
  var failed: [String] { counts.withLock { $0.failed } }
  var longest: Duration { counts.withLock { $0.longest } }

  /// Answers whether the caller was turned away.
  @discardableResult
  func count(_ answer: FrontEndClient.Answer, isRight: Bool) -> Bool {
    let isTurnedAway = mayTurnAway && answer.gist == "503 unavailable" && answer.field("retry-after") != nil
    counts.withLock { counts in
      counts.longest = max(counts.longest, answer.took)
      switch (answer.gist, isRight) {
      case _ where isTurnedAway: counts.turnedAway.append(answer.took)
      case ("200 accepted", true): counts.right += 1
      case ("200 invalid_credentials", false): counts.refused += 1
      case ("503 could_not_find_out", _) where answer.field("retry-after") != nil: counts.unanswered.append(answer.reference)
      default: counts.wrong.append("\(isRight ? "right" : "wrong") password: \(answer.status) \(answer.body)")
      }
    }
    return isTurnedAway
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
  ///
  /// - Parameter patience: how long a client waits that was turned away. It is told one to five seconds; most are less patient.
  /// - Parameter ramp: how long it takes until all clients are there: they come one after the other, not with all their handshakes at once.
  static func run(
    _ frontEnd: FrontEndClient, realm: String, people: [(name: String, password: String)], clients: Int, tally: Tally,
    stopAtFirstFailure: Bool = false, patience: Duration = .milliseconds(500), ramp: Duration = .zero,
    while body: () async throws -> Void
  ) async throws {
    let over = Flag()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for client in 0..<clients {
        let person = people[client % people.count]
        group.addTask {
          var round = 0
          try? await Task.sleep(for: ramp * client / clients)
          while !over.isSet {
            round += 1
            let guess = round % 5 == 0
            do {
              let answer = try await frontEnd.signIn(
                guess ? "nobody-\(client)-\(round)@\(realm)" : "\(person.name)@\(realm)", guess ? "wrong \(client) \(round)" : person.password)
              if tally.count(answer, isRight: !guess) { try? await Task.sleep(for: patience) }
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
