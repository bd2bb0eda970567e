import Synchronization

/// Waiting times that double from 100 ms to 10 s, with jitter so that forty agents do not come back in one instant.
struct Backoff {
  private var failures = 0

  mutating func reset() { failures = 0 }

  mutating func next() -> Duration {
    failures = min(failures + 1, 8)
    let base = min(10_000.0, 50.0 * Double(1 << failures))
    return .milliseconds(Int64(base * Double.random(in: 0.5...1)))
  }
}

/// A moment that comes once.
final class Moment: Sendable {
  private let state = Mutex<ContinuousClock.Instant?>(nil)
  /// How long ago it came; nil before.
  var age: Duration? { state.withLock { $0 }?.duration(to: .now) }
  func come() { state.withLock { $0 = $0 ?? .now } }
}

/// Whether the gateway answers, as the heartbeats find.
final class Contact: Sendable {
  private struct State {
    var isLost = false
    var returns = 0
    var capabilities: Set<String> = []
  }

  private let state = Mutex(State())

  var isLost: Bool { state.withLock { $0.isLost } }

  /// How often the gateway has come back.
  var returns: Int { state.withLock { $0.returns } }

  /// Whether the gateway said so with its last answer to a heartbeat.
  func understands(_ capability: String) -> Bool { state.withLock { $0.capabilities.contains(capability) } }

  func learn(_ capabilities: [String]) { state.withLock { $0.capabilities = Set(capabilities) } }

  func lost() { state.withLock { $0.isLost = true } }

  func made() {
    state.withLock { state in
      if state.isLost { state.returns += 1 }
      state.isLost = false
    }
  }
}
