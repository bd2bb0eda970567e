import Bytes
import Foundation
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
  private let buckets = Mutex<[AddressKey: TokenBucket]>([:])
  private static let most = 100_000

  package init(policy: Policy = Policy()) { self.policy = policy }

  /// Whether a guess from `address` may go ahead now. A front-end that names no client address is not throttled here (its rate holds it).
  package func mayGuess(_ address: ClientAddress?, now: ContinuousClock.Instant) -> Bool {
    guard let key = address?.throttleKey else { return true }
    return buckets.withLock { buckets in
      guard var bucket = buckets[key] else { return true }
      // Looks whether there is a token; only a failed guess takes it.
      return bucket.take(ratePerSecond: policy.perSecond, capacity: policy.burst, now: now)
    }
  }

  package func guessFailed(from address: ClientAddress?, now: ContinuousClock.Instant) {
    guard let key = address?.throttleKey else { return }
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

/// What addresses are counted under: all of IPv4, the first half of IPv6.
struct AddressKey: Hashable, Sendable {
  var bytes: [UInt8]
}

/// The address of the person who signs in, as the front-end told it: IPv4 or IPv6, in canonical bytes.
package struct ClientAddress: Hashable, Sendable, CustomStringConvertible {
  /// 4 or 16 bytes; IPv4-mapped IPv6 addresses become IPv4.
  package let bytes: [UInt8]

  /// Nil where `text` is no IP address literal (zone identifiers and ports included).
  package init?(_ text: String) {
    // For the C library a text ends at its first NUL: what stands behind it would be let through.
    guard text.utf8.count <= 45, !text.utf8.contains(0) else { return nil }
    var four = in_addr()
    if inet_pton(AF_INET, text, &four) == 1 {
      bytes = withUnsafeBytes(of: four) { Array($0) }
      return
    }
    var six = in6_addr()
    guard inet_pton(AF_INET6, text, &six) == 1 else { return nil }
    let all = withUnsafeBytes(of: six) { Array($0) }
    let mapped = all.prefix(10).allSatisfy { $0 == 0 } && all.dropFirst(10).prefix(2).allSatisfy { $0 == 0xff }
    bytes = mapped ? Array(all.suffix(4)) : all
  }

  var throttleKey: AddressKey { AddressKey(bytes: bytes.count == 4 ? bytes : Array(bytes.prefix(8))) }

  package var description: String {
    var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    let family = bytes.count == 4 ? AF_INET : AF_INET6
    let written = bytes.withUnsafeBytes { inet_ntop(family, $0.baseAddress, &buffer, socklen_t(buffer.count)) }
    guard written != nil else { return "?" }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
