import Bytes
import Synchronization

/// A wall clock that stands still until a test moves it.
package final class ManualTime: Sendable {
  private let current: Mutex<Instant>

  /// 2026-01-01T00:00:00Z unless told otherwise.
  package init(_ start: Instant = Instant(milliseconds: 1_767_225_600_000)) { current = Mutex(start) }

  /// What the clock shows.
  package var now: Instant { current.withLock { $0 } }

  /// Moves the clock, also backwards.
  package func advance(by duration: Duration) { current.withLock { $0 = $0.adding(duration) } }

  /// Sets the clock.
  package func set(_ instant: Instant) { current.withLock { $0 = instant } }

  /// For parameters that take a clock as a function.
  package var reading: @Sendable () -> Instant { { [self] in now } }
}

/// A monotonic clock that moves only when a test moves it: whoever sleeps until a time wakes when the clock has been advanced to it.
package final class ManualClock: Clock, Sendable {
  /// A point on a manual clock: the time since it was made.
  package struct Instant: InstantProtocol {
    package var offset: Duration
    package func advanced(by duration: Duration) -> Instant { Instant(offset: offset + duration) }
    package func duration(to other: Instant) -> Duration { other.offset - offset }
    package static func < (left: Instant, right: Instant) -> Bool { left.offset < right.offset }
  }

  private struct State: Sendable {
    var now = Instant(offset: .zero)
    var next = 0
    var sleepers: [Int: (until: Instant, wake: CheckedContinuation<Void, any Error>)] = [:]
    /// Cancelled before they began to sleep.
    var cancelled: Set<Int> = []
  }

  private let state = Mutex(State())

  package init() {}

  package var now: Instant { state.withLock { $0.now } }
  package var minimumResolution: Duration { .zero }

  /// How many tasks are asleep; a test waits for the one it wants to wake.
  package var sleeperCount: Int { state.withLock { $0.sleepers.count } }

  package func sleep(until deadline: Instant, tolerance: Duration?) async throws {
    let number = state.withLock { state in
      state.next += 1
      return state.next
    }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let answer: Result<Void, any Error>? = state.withLock { state in
          if state.cancelled.remove(number) != nil { return .failure(CancellationError()) }
          if deadline <= state.now { return .success(()) }
          state.sleepers[number] = (deadline, continuation)
          return nil
        }
        if let answer { continuation.resume(with: answer) }
      }
    } onCancel: {
      let sleeper = state.withLock { state in
        let sleeper = state.sleepers.removeValue(forKey: number)
        if sleeper == nil { state.cancelled.insert(number) }
        return sleeper
      }
      sleeper?.wake.resume(throwing: CancellationError())
    }
  }

  /// Moves the clock and wakes everybody whose time has come, the earliest first.
  package func advance(by duration: Duration) {
    let due = state.withLock { state in
      state.now = state.now.advanced(by: duration)
      let due = state.sleepers.filter { $0.value.until <= state.now }.sorted { $0.value.until < $1.value.until }
      for (number, _) in due { state.sleepers[number] = nil }
      return due.map(\.value.wake)
    }
    for sleeper in due { sleeper.resume() }
  }
}
