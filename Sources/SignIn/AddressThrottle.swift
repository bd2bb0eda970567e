import Bytes
import Identity
import Synchronization

/// Slows down addresses from which many guesses come. An address is never locked: a whole company may sit behind one.
///
/// Each failed guess costs a token of the address's bucket, a success costs nothing; an address without tokens waits. IPv6 is counted by /64,
/// since that is what one customer has. In memory, bounded; the lockout of people, which is stored, is what protects passwords.
package final class AddressThrottle: Sendable {
  package struct Policy: Sendable, Equatable {
    /// Failed guesses in a burst.
    package var burst = 100.0
    /// Failed guesses a second, sustained.
    package var perSecond = 2.0
    package init() {}
  }

  private let policy: Policy
  private let buckets = Mutex<[AddressMark: TokenBucket]>([:])
  private static let most = 100_000

  package init(policy: Policy = Policy()) { self.policy = policy }

  /// Whether a guess from `address` may go ahead now. A front-end that names no client address is not throttled here (its rate holds it).
  package func mayGuess(_ address: IPAddress?, now: ContinuousClock.Instant) -> Bool {
    guard let key = address.map(AddressMark.init) else { return true }
    return buckets.withLock { buckets in
      guard var bucket = buckets[key] else { return true }
      // Looks whether there is a token; only a failed guess takes it.
      return bucket.take(ratePerSecond: policy.perSecond, capacity: policy.burst, now: now)
    }
  }

  package func guessFailed(from address: IPAddress?, now: ContinuousClock.Instant) {
    guard let key = address.map(AddressMark.init) else { return }
    buckets.withLock { buckets in
      if buckets.count >= AddressThrottle.most {
        buckets = buckets.filter { !$0.value.isFull(ratePerSecond: policy.perSecond, capacity: policy.burst, now: now) }
        // Under a flood from very many addresses, per-address counting helps nobody: new ones are not counted until there is room.
        guard buckets.count < AddressThrottle.most else { return }
      }
      _ = buckets[key, default: TokenBucket(full: policy.burst, at: now)].take(
        ratePerSecond: policy.perSecond, capacity: policy.burst, now: now)
    }
  }
}
