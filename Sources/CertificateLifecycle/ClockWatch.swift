import Bytes

/// Whether the wall clock can be believed: measured against one that only goes forward, at even pace.
///
/// A clock that jumps must not make, promote or retire a certificate: while it disagrees, the life cycle stands still. Signing goes on.
package struct ClockWatch: Sendable, Equatable {
  /// Corrections up to this are a time service's doing.
  package static let tolerance: Duration = .seconds(60)

  /// A disagreement that stands.
  package struct Freeze: Sendable, Equatable {
    package var since: Instant
    /// By how much the wall clock is ahead (positive) or behind.
    package var jump: Duration
  }

  /// What the wall clock showed when the steady one showed `steady`.
  private var wall: Instant
  private var steady: Duration
  package private(set) var freeze: Freeze?

  /// - Parameters:
  ///   - steady: how long some steady clock has run.
  ///   - newest: the newest time that the store knows. A clock that is behind that has gone backwards while nobody looked.
  package init(wall: Instant, steady: Duration, newest: Instant?) {
    self.wall = wall
    self.steady = steady
    guard let newest, newest.since(wall) > ClockWatch.tolerance else { return }
    freeze = Freeze(since: wall, jump: wall.since(newest))
    // It is right again when it has caught up.
    self.wall = newest
  }

  /// Compares the clocks. Small differences are taken over; a large one freezes until it is gone, or somebody trusts the clock.
  package mutating func look(wall now: Instant, steady: Duration) {
    let jump = now.since(wall.adding(steady - self.steady))
    if abs(jump) <= ClockWatch.tolerance {
      (wall, self.steady, freeze) = (now, steady, nil)
    } else if freeze == nil {
      freeze = Freeze(since: now, jump: jump)
    } else {
      freeze?.jump = jump
    }
  }

  /// Somebody says that the clock is right as it is.
  package mutating func trust(wall now: Instant, steady: Duration) { (wall, self.steady, freeze) = (now, steady, nil) }

  private func abs(_ duration: Duration) -> Duration { duration < .zero ? .zero - duration : duration }
}
