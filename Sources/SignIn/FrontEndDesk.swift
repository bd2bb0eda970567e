import Bytes
import Cryptography
import Identity
import Synchronization

/// Recognises front-ends by key or certificate and holds each to its rate.
package final class FrontEndDesk: Sendable {
  /// What an API key begins with, so that secret scanners recognise one.
  package static let keyPrefix = "ghk_"

  private let store: any FrontEndStore
  private let state = Mutex(State())

  private struct State {
    var byKey: [[UInt8]: FrontEnd] = [:]
    var byCertificate: [[UInt8]: FrontEnd] = [:]
    var rates: [Identifier: TokenBucket] = [:]
  }

  package init(store: any FrontEndStore) { self.store = store }

  /// Reads all front-ends anew. Throws `StoreError`; the old copy stays then.
  package func refresh() async throws {
    let all = try await store.frontEnds()
    state.withLock { state in
      state.byKey = [:]
      state.byCertificate = [:]
      for frontEnd in all where !frontEnd.disabled {
        for key in frontEnd.keys { state.byKey[key.digest] = frontEnd }
        for digest in frontEnd.certificates { state.byCertificate[digest] = frontEnd }
      }
      let ids = Set(all.map(\.id))
      state.rates = state.rates.filter { ids.contains($0.key) }
    }
  }

  /// The front-end that owns an API key; nil where there is none, it is disabled, or the key's overlap is over. The key is looked up by
  /// its digest, so that the time tells nothing about the key.
  package func frontEnd(apiKey: Secret, now: Instant) -> FrontEnd? {
    let digest = apiKey.withBytes { Digests.sha256($0) }
    guard let frontEnd = state.withLock({ $0.byKey[digest] }),
      let key = frontEnd.keys.first(where: { $0.digest == digest }), key.expires.map({ $0 > now }) ?? true
    else { return nil }
    return frontEnd
  }

  package func frontEnd(certificateDER: [UInt8]) -> FrontEnd? {
    let digest = Digests.sha256(certificateDER)
    return state.withLock { $0.byCertificate[digest] }
  }

  /// Takes one sign-in off the front-end's rate; false where it has none left.
  package func mayAsk(_ frontEnd: FrontEnd, now: ContinuousClock.Instant) -> Bool {
    state.withLock { state in
      state.rates[frontEnd.id, default: TokenBucket(full: Double(frontEnd.ratePerSecond * 2), at: now)]
        .take(ratePerSecond: Double(frontEnd.ratePerSecond), capacity: Double(frontEnd.ratePerSecond * 2), now: now)
    }
  }

  /// A new API key: its text, shown once, and what is stored of it.
  package static func makeKey(now: Instant) -> (text: String, key: FrontEndKey) {
    let text = keyPrefix + RandomBytes.generate(32).base64URL
    return (text, FrontEndKey(digest: Digests.sha256(text.utf8), made: now))
  }
}

/// A rate with bursts: `capacity` tokens at most, refilled at a rate; pure but for the time it is given.
package struct TokenBucket: Sendable {
  private var tokens: Double
  private var last: ContinuousClock.Instant

  package init(full tokens: Double, at now: ContinuousClock.Instant) {
    self.tokens = tokens
    last = now
  }

  package mutating func take(ratePerSecond: Double, capacity: Double, now: ContinuousClock.Instant) -> Bool {
    let elapsed = last.duration(to: now)
    let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
    tokens = min(capacity, tokens + max(0, seconds) * ratePerSecond)
    last = max(last, now)
    guard tokens >= 1 else { return false }
    tokens -= 1
    return true
  }

  /// Whether nothing is lost by forgetting the bucket.
  package func isFull(ratePerSecond: Double, capacity: Double, now: ContinuousClock.Instant) -> Bool {
    var copy = self
    return !copy.take(ratePerSecond: ratePerSecond, capacity: capacity, now: now) ? false : copy.tokens >= capacity - 1
  }
}
