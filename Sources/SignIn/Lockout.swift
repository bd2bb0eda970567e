import Bytes
import Identity

// The lockout of one person, as a pure state machine. Infrastructure failures never count; a lock grows with each further lock.
//
//            admit (tries left)              settle(.failed), count < threshold
//   ┌──────┐ ───────────────► ┌──────────┐ ─────────────────────────────────────► back to open, one failure more
//   │ open │                  │ reserved │
//   └──────┘ ◄─────────────── └──────────┘ ── settle(.failed), count = threshold ─► ┌────────┐
//      ▲   settle(.succeeded): all is forgotten                                     │ locked │ admit → refused(until)
//      │   settle(.undecided): only the reservation is released                     └────────┘
//      └──────────────── the lock's time is over: ONE try; failing it locks again, twice as long ─┘
//
// Reserving before asking is what makes parallel guesses cost as much as serial ones: at most as many questions are under way as tries are left.

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

  package init() {}
}

/// What is known of one person's failed tries.
package struct LockoutState: Sendable, Equatable, Codable {
  /// Failures inside the window, or since the last lock.
  package var failures = 0
  package var lastFailure: Instant?
  /// Locks in a row, without a success or a quiet window between them.
  package var locks = 0
  package var lockedUntil: Instant?
  /// Set by an administrator; nobody gets in by any method, until it is lifted.
  package var blocked = false
  package var reservations: [Reservation] = []

  /// A try under way.
  package struct Reservation: Sendable, Equatable, Codable {
    package var id: Identifier
    package var expires: Instant
  }

  package init() {}

  /// Whether the state says anything that a fresh one does not.
  package var isBlank: Bool { failures == 0 && locks == 0 && lockedUntil == nil && !blocked && reservations.isEmpty }
}

/// Whether a try may go ahead.
package enum LockoutAdmission: Sendable, Equatable {
  case admitted(LockoutReservation)
  /// Until when no try is let through (a moment, where only other tries under way stand in the way).
  case locked(until: Instant)
  case blocked
}

/// The right to ask once; to be settled with the outcome.
package struct LockoutReservation: Sendable, Equatable {
  package var id: Identifier
  package var name: LockoutName

  package init(id: Identifier, name: LockoutName) {
    self.id = id
    self.name = name
  }
}

/// What became of a try.
package enum LockoutOutcome: Sendable, Equatable {
  /// The password was right (also where the account's state forbade the sign-in).
  case succeeded
  /// A guess that failed.
  case failed
  /// Nobody could find out; nothing is counted.
  case undecided
}

/// Somebody who is locked or blocked, for people to see.
package struct LockedPerson: Sendable, Equatable {
  package var realm: RealmName
  /// The counting key, where the state is that of a name; else one of the names that were learned for the object.
  package var key: String?
  package var object: Identifier?
  package var state: LockoutState

  package init(realm: RealmName, key: String?, object: Identifier?, state: LockoutState) {
    self.realm = realm
    self.key = key
    self.object = object
    self.state = state
  }
}

/// The rules, as pure functions over `LockoutState`.
package enum Lockout {
  /// May one more try begin? On `.admitted` the state has its reservation.
  package static func admit(
    _ state: inout LockoutState, name: LockoutName, id: Identifier, policy: LockoutPolicy, now: Instant
  ) -> LockoutAdmission {
    if state.blocked { return .blocked }
    refresh(&state, policy: policy, now: now)
    if let until = state.lockedUntil, until > now { return .locked(until: until) }
    let triesLeft = state.locks > 0 ? 1 : max(1, policy.threshold - state.failures)
    guard state.reservations.count < triesLeft else {
      return .locked(until: min(now.adding(.seconds(1)), state.reservations.map(\.expires).min() ?? now))
    }
    state.reservations.append(.init(id: id, expires: now.adding(policy.reservationLife)))
    return .admitted(LockoutReservation(id: id, name: name))
  }

  /// Ends the try `id` with its outcome. An id that is no longer held settles all the same.
  package static func settle(_ state: inout LockoutState, id: Identifier, outcome: LockoutOutcome, policy: LockoutPolicy, now: Instant) {
    refresh(&state, policy: policy, now: now)
    state.reservations.removeAll { $0.id == id }
    switch outcome {
    case .undecided: break
    case .succeeded:
      state.failures = 0
      state.lastFailure = nil
      state.locks = 0
      state.lockedUntil = nil
    case .failed:
      state.failures += 1
      state.lastFailure = now
      guard state.locks > 0 || state.failures >= policy.threshold else { return }
      state.lockedUntil = now.adding(lockLength(afterLocks: state.locks, policy: policy))
      state.locks = min(state.locks + 1, 62)
      state.failures = 0
    }
  }

  /// Joins what was counted under a name with what was counted under the object that the name turned out to mean.
  package static func merge(_ name: LockoutState, into object: inout LockoutState, policy: LockoutPolicy, now: Instant) {
    object.failures = min(object.failures + name.failures, policy.threshold)
    object.lastFailure = [object.lastFailure, name.lastFailure].compactMap { $0 }.max()
    object.locks = max(object.locks, name.locks)
    object.lockedUntil = [object.lockedUntil, name.lockedUntil].compactMap { $0 }.max()
    object.blocked = object.blocked || name.blocked
    let held = Set(object.reservations.map(\.id))
    object.reservations += name.reservations.filter { !held.contains($0.id) }
    if object.failures >= policy.threshold, object.lockedUntil == nil {
      object.lockedUntil = now.adding(lockLength(afterLocks: object.locks, policy: policy))
      object.locks = min(object.locks + 1, 62)
      object.failures = 0
    }
  }

  /// Forgets failures and lock; reservations and the administrator's block stay.
  package static func unlock(_ state: inout LockoutState) {
    state.failures = 0
    state.lastFailure = nil
    state.locks = 0
    state.lockedUntil = nil
  }

  /// Drops what time has made void: expired reservations, failures older than the window, the memory of locks after a quiet window.
  package static func refresh(_ state: inout LockoutState, policy: LockoutPolicy, now: Instant) {
    state.reservations.removeAll { $0.expires <= now }
    if let until = state.lockedUntil, until <= now { state.lockedUntil = nil }
    guard state.lockedUntil == nil else { return }
    guard let last = state.lastFailure else { return }
    if now.since(last) > policy.window { state.failures = 0 }
    // Locks are remembered longer than failures: the quiet time that forgets them begins when the longest lock would have ended.
    if now.since(last) > policy.window + policy.longestLock {
      state.locks = 0
      state.lastFailure = nil
    }
  }

  private static func lockLength(afterLocks locks: Int, policy: LockoutPolicy) -> Duration {
    // 2^20 minutes is two years: no policy needs more doublings.
    min(policy.longestLock, policy.firstLock * (1 << min(locks, 20)))
  }
}
