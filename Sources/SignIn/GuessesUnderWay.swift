import Identity
import Synchronization

/// Tries that wait for their verdict, so that those of a spray can be taken back when it is recognised: hundreds of its guesses wait for their bind then.
final class GuessesUnderWay: Sendable {
  private struct Entry {
    var guess: SprayState.Guess
    var withdrawal: Withdrawal
  }

  private let entries = Mutex<[Identifier: Entry]>([:])

  /// Pair with `remove`.
  func add(_ guess: SprayState.Guess, _ withdrawal: Withdrawal) -> Identifier {
    let id = Identifier()
    entries.withLock { $0[id] = Entry(guess: guess, withdrawal: withdrawal) }
    return id
  }

  func remove(_ id: Identifier) { entries.withLock { $0[id] = nil } }

  /// Takes back what belongs to a spray.
  func withdraw(_ belongs: (SprayState.Guess) -> Bool) {
    for entry in entries.withLock({ Array($0.values) }) where belongs(entry.guess) { entry.withdrawal.withdraw() }
  }
}
