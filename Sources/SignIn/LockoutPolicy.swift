import Bytes
import Identity

/// How many wrong passwords a person has before our own lock, and how the lock grows.
package struct LockoutPolicy: Sendable, Equatable, Codable {
  /// Failures inside `window` that lead to a lock; 1…100.
  package var threshold = 10
  /// Failures older than this are forgotten.
  package var window: Duration = .seconds(30 * 60)
  /// The first lock; each further one is twice as long, up to `longestLock`.
  package var firstLock: Duration = .seconds(60)
  package var longestLock: Duration = .seconds(30 * 60)
  /// How long a reservation that nobody settles is held as a possible failure; then it is released.
  package var reservationLife: Duration = .seconds(60)
  /// The lockout of the directory that stands behind, where it is known. Not configured: agents tell it.
  package var directory: DirectoryLockoutPolicy?

  package init() {}

  /// How long a try of which nobody heard is held against the person.
  var chargeLife: Duration { directory.map(\.window) ?? .seconds(30 * 60) }
}

extension LockoutPolicy {
  /// How long a lock lasts that follows `locks` others.
  package func lockLength(afterLocks locks: Int) -> Duration {
    var length = firstLock
    for _ in 0..<max(0, min(locks, 62)) where length < longestLock { length += length }
    return min(longestLock, length)
  }

  /// The most wrong passwords that a directory can be shown for one person in any stretch of `span`, if none of them is right: the threshold
  /// at once, then one after each lock, and all of it again after each quiet window. What a policy has to be compared with before
  /// it is set: it must stay below the directory's own lockout threshold for the directory's own window.
  package func mostFailures(within span: Duration) -> Int {
    var failures = threshold
    var locked = lockLength(afterLocks: 0)
    var locks = 1
    while locked <= span, failures < 10_000 {
      failures += 1
      locked += max(.milliseconds(1), lockLength(afterLocks: locks))
      locks += 1
    }
    let rounds = span <= window ? 1 : min(1_000_000, 1 + span.wholeMilliseconds / max(1, window.wholeMilliseconds))
    return failures * Int(clamping: rounds)
  }
}

extension LockoutPolicy {
  /// Whether the directory could be shown more wrong passwords of one person within its own window than it lets stand.
  package func contradicts(_ directory: DirectoryLockoutPolicy) -> Bool {
    directory.locks && mostFailures(within: directory.window) > max(1, directory.mostTries)
  }

  /// The nearest policy that does not contradict the directory's: fewer tries, and where that is not enough a first lock that outlasts the
  /// directory's window.
  package func clamped(to directory: DirectoryLockoutPolicy) -> LockoutPolicy {
    var result = self
    result.directory = directory
    guard contradicts(directory) else { return result }
    let allowed = max(1, directory.mostTries)
    result.threshold = max(1, min(threshold, allowed))
    guard result.contradicts(directory) else { return result }
    // However long the directory remembers, nobody is locked here for more than a day at a time by it.
    result.firstLock = max(firstLock, min(directory.window + .seconds(1), .seconds(86_400)))
    result.longestLock = max(longestLock, result.firstLock)
    result.window = max(window, directory.window)
    return result
  }
}
