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

    package init(id: Identifier, expires: Instant) {
      self.id = id
      self.expires = expires
    }
  }

  package init() {}

  /// Whether the state says anything that a fresh one does not.
  package var isBlank: Bool { failures == 0 && locks == 0 && lockedUntil == nil && !blocked && reservations.isEmpty }
}

/// Whether a try may go ahead.
package enum LockoutAdmission: Sendable, Equatable {
  case admitted(LockoutReservation)
  /// Until when no try is let through.
  case locked(until: Instant)
  case blocked
  /// As many tries of the person are under way as failures are left before a lock: whoever waits a moment learns how they end. No refusal, since
  /// a service that signs in in parallel with the right password must never hear a wrong "no".
  case busy
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

/// How a person stood when a try was settled, before its outcome was counted.
///
/// A try that was let through under a spelling nobody had seen before may turn out to mean somebody who is locked or blocked. Then the answer
/// is "locked" or "blocked", whatever the directory said: else every new spelling would be one more guess, told right from wrong.
package enum LockoutStanding: Sendable, Equatable {
  case free
  case locked(until: Instant)
  case blocked

  /// The refusal that takes the place of the directory's verdict; nil where that verdict stands.
  package var refusal: RefusalReason? {
    switch self {
    case .free: nil
    case .locked: .lockedOut
    case .blocked: .blockedByAdministrator
    }
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
      return .busy
    }
    state.reservations.append(.init(id: id, expires: now.adding(policy.reservationLife)))
    return .admitted(LockoutReservation(id: id, name: name))
  }

  /// Ends the try `id` with its outcome and tells how the person stood before it. An id that is no longer held settles all the same.
  ///
  /// Who stands locked or blocked is changed neither by a success (a guess made during the lock would lift it) nor by a failure (tries that
  /// were under way when the lock fell would each double it).
  package static func settle(
    _ state: inout LockoutState, id: Identifier, outcome: LockoutOutcome, policy: LockoutPolicy, now: Instant
  ) -> LockoutStanding {
    refresh(&state, policy: policy, now: now)
    state.reservations.removeAll { $0.id == id }
    let standing = standing(of: state, now: now)
    guard standing == .free else {
      if outcome == .failed { state.lastFailure = now }
      return standing
    }
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
      if state.locks > 0 || state.failures >= policy.threshold { lock(&state, policy: policy, now: now) }
    }
    return standing
  }

  /// Whether the person is locked or blocked at `now`.
  package static func standing(of state: LockoutState, now: Instant) -> LockoutStanding {
    if state.blocked { return .blocked }
    if let until = state.lockedUntil, until > now { return .locked(until: until) }
    return .free
  }

  /// The events of a try as they have to be written when the person turned out to stand so: a sign-in that the lock refuses is told as refused.
  /// A try that nobody could decide stays undecided.
  package static func events(_ events: [AuditEvent], standing: LockoutStanding, outcome: LockoutOutcome) -> [AuditEvent] {
    guard let refusal = standing.refusal, outcome != .undecided else { return events }
    return events.map { event in
      guard event.kind == .signIn else { return event }
      var refused = event
      refused.outcome = "refused:\(refusal.rawValue)"
      if refused.details["outerCode"] != nil { refused.details["outerCode"] = refusal.outerCode.rawValue }
      refused.trace.append(
        TraceNote(.lockout, "the name turned out to mean somebody who is \(refusal == .lockedOut ? "locked" : "blocked"): refused"))
      return refused
    }
  }

  /// Joins what was counted under a name with what was counted under the object that the name turned out to mean.
  package static func merge(_ name: LockoutState, into object: inout LockoutState, policy: LockoutPolicy, now: Instant) {
    var name = name
    refresh(&name, policy: policy, now: now)
    refresh(&object, policy: policy, now: now)
    object.failures = min(object.failures + name.failures, policy.threshold)
    object.lastFailure = [object.lastFailure, name.lastFailure].compactMap { $0 }.max()
    object.locks = max(object.locks, name.locks)
    object.lockedUntil = [object.lockedUntil, name.lockedUntil].compactMap { $0 }.max()
    object.blocked = object.blocked || name.blocked
    let held = Set(object.reservations.map(\.id))
    object.reservations += name.reservations.filter { !held.contains($0.id) }
    if object.failures >= policy.threshold, object.lockedUntil == nil { lock(&object, policy: policy, now: now) }
  }

  /// Forgets failures and lock; reservations and the administrator's block stay.
  package static func unlock(_ state: inout LockoutState) {
    state.failures = 0
    state.lastFailure = nil
    state.locks = 0
    state.lockedUntil = nil
  }

  /// Drops what time has made void: expired reservations, failures older than the window, the memory of locks after a quiet window.
  ///
  /// A clock that was set back leaves times in the future behind; they are drawn in to what a fresh event would have written, so that nobody
  /// stays locked until a date that was never meant.
  package static func refresh(_ state: inout LockoutState, policy: LockoutPolicy, now: Instant) {
    state.reservations.removeAll { $0.expires <= now }
    let latestExpiry = now.adding(policy.reservationLife)
    for index in state.reservations.indices where state.reservations[index].expires > latestExpiry {
      state.reservations[index].expires = latestExpiry
    }
    if let until = state.lockedUntil { state.lockedUntil = until <= now ? nil : min(until, now.adding(policy.longestLock)) }
    if let last = state.lastFailure, last > now { state.lastFailure = now }
    guard state.lockedUntil == nil, let last = state.lastFailure else { return }
    if now.since(last) > policy.window { state.failures = 0 }
    // Locks are remembered longer than failures: the quiet time that forgets them begins when the longest lock would have ended.
    if now.since(last) > policy.window + policy.longestLock {
      state.locks = 0
      state.lastFailure = nil
    }
  }

  private static func lock(_ state: inout LockoutState, policy: LockoutPolicy, now: Instant) {
    state.lockedUntil = now.adding(policy.lockLength(afterLocks: state.locks))
    state.locks = min(state.locks + 1, 62)
    state.failures = 0
  }
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
