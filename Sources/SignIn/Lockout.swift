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
// The same machine runs twice for each person: for addresses from which they have signed in before, and for all others.
//
//   settle(.mayHaveCounted), or a reservation that nobody settled ──► a charge: counted with the tries under way until the directory has forgotten it,
//                                                                      or its own count was seen to contain it
//
// Reserving before asking is what makes parallel guesses cost as much as serial ones: at most as many questions are under way as tries are left.

/// Whether a try may go ahead.
package enum LockoutAdmission: Sendable, Equatable {
  case admitted(LockoutReservation)
  /// Until when no try is let through.
  case locked(until: Instant)
  case blocked
  /// As many tries of the person are under way as failures are left before a lock: whoever waits a moment learns how they end. No refusal, since
  /// a service that signs in in parallel with the right password must never hear a wrong "no".
  case busy
  /// As many failures are counted as the policy of now lets stand, by one that was more patient then: no try is left to give, and no lock has come of it.
  case kept(isFamiliar: Bool)
  /// Whom the name means must be looked up first, so that the person is counted and not the spelling.
  case lookUpFirst
}

/// What is known of a name when a try with it is to be admitted.
package enum NameKnowledge: Sendable, Equatable {
  /// Nothing but what the store has learned.
  case stored
  /// The directory was just asked.
  case lookedUp(NameMeaning)
  /// Nobody can be asked: the spelling is counted, until a verdict tells whom it means.
  case unavailable
}

/// The right to ask once; to be settled with the outcome.
package struct LockoutReservation: Sendable, Equatable {
  package var id: Identifier
  package var name: LockoutName
  /// Whom it was made for; nil where nobody has the name, or where that is not known.
  package var object: Identifier?
  /// Where the try comes from.
  package var address: AddressMark?
  /// Whether the person has signed in from there before.
  package var isFamiliar = false
  /// What else was undecided when it was made.
  package var undecided = 0
  package var charges: [LockoutState.Charge] = []
  /// Wrong passwords counted here within the window.
  package var counted = 0
  /// When the try is settled: how many binds may have been sent for it of which nobody heard, beside what its outcome counts for.
  package var uncertain = 0

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
  /// Nobody could find out, and the directory was not asked; nothing is counted.
  case undecided
  /// Nobody could find out, but the directory may have counted a wrong password: nothing is counted here, but the possibility is kept in mind.
  case mayHaveCounted

  var isDecided: Bool { self == .succeeded || self == .failed }
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
    _ state: inout LockoutState, name: LockoutName, id: Identifier, from address: AddressMark? = nil, policy: LockoutPolicy, now: Instant
  ) -> LockoutAdmission {
    if state.blocked { return .blocked }
    refresh(&state, policy: policy, now: now)
    let isFamiliar = state.knows(address, now: now)
    let tally = state[side: isFamiliar]
    if let until = tally.lockedUntil, until > now { return .locked(until: until) }
    let triesLeft = tally.locks > 0 ? 1 : policy.threshold - tally.failures
    // The failures were settled before the directory's own lockout was known: one more try could be the one that locks there.
    guard triesLeft > 0 else { return .kept(isFamiliar: isFamiliar) }
    guard tally.reservations.count < triesLeft else { return .busy }
    // More at once than the directory lets stand would only be sent back by the agents.
    if let directory = policy.directory, directory.locks {
      guard state.underWay < max(1, isFamiliar ? directory.mostFamiliarTries : directory.mostTries) else { return .busy }
    }
    var reservation = LockoutReservation(id: id, name: name)
    reservation.address = address
    reservation.isFamiliar = isFamiliar
    reservation.undecided = state.underWay
    reservation.charges = state.charges
    reservation.counted = state.failures
    state[side: isFamiliar].reservations.append(.init(id: id, expires: now.adding(policy.reservationLife)))
    return .admitted(reservation)
  }

  /// Ends a try with its outcome and tells how the person stood before it. A reservation that is no longer held settles all the same.
  ///
  /// Who stands locked or blocked is changed neither by a success (a guess made during the lock would lift it) nor by a failure (tries that
  /// were under way when the lock fell would each double it).
  ///
  /// - Parameter shown: the charge that the directory's count has turned out to contain.
  package static func settle(
    _ state: inout LockoutState, _ reservation: LockoutReservation, outcome: LockoutOutcome, shown: LockoutState.Charge? = nil,
    policy: LockoutPolicy, now: Instant
  ) -> LockoutStanding {
    // Before the state is refreshed: a reservation that has run out is ended by its outcome, not by its age.
    let held = state.strangers.reservations.first { $0.id == reservation.id } ?? state.familiar.reservations.first { $0.id == reservation.id }
    state.strangers.reservations.removeAll { $0.id == reservation.id }
    state.familiar.reservations.removeAll { $0.id == reservation.id }
    refresh(&state, policy: policy, now: now)
    if let shown, let index = state.charges.firstIndex(of: shown) { state.charges.remove(at: index) }
    let begun = held?.expires.adding(.zero - policy.reservationLife) ?? now
    // A password that turned out right was right for the agents that were lost with it, too.
    let uncertain = outcome == .mayHaveCounted ? max(1, reservation.uncertain) : outcome == .failed ? reservation.uncertain : 0
    for _ in 0..<max(0, min(uncertain, 4)) { charge(&state, begun: begun, policy: policy, now: now) }
    if outcome == .failed { for index in state.charges.indices { state.charges[index].since += 1 } }
    let side = reservation.isFamiliar
    let standing = standing(of: state, familiar: side, now: now)
    guard standing == .free else {
      if outcome == .failed { state[side: side].lastFailure = now }
      return standing
    }
    switch outcome {
    case .undecided, .mayHaveCounted: break
    case .succeeded:
      let reservations = state[side: side].reservations
      state[side: side] = LockoutTally()
      state[side: side].reservations = reservations
      // The directory has set its own count to zero, and has judged by now what was sent to it before the time of a sign-in.
      state.charges.removeAll { now.since($0.begun) > policy.reservationLife }
      remember(reservation.address, in: &state, now: now)
    case .failed:
      state[side: side].failures += 1
      state[side: side].lastFailure = now
      if state[side: side].locks > 0 || state[side: side].failures >= policy.threshold { lock(&state[side: side], policy: policy, now: now) }
    }
    return standing
  }

  /// Whether the person is locked or blocked at `now`, for tries from the one side or the other.
  package static func standing(of state: LockoutState, familiar: Bool = false, now: Instant) -> LockoutStanding {
    if state.blocked { return .blocked }
    if let until = state[side: familiar].lockedUntil, until > now { return .locked(until: until) }
    return .free
  }

  /// Which charge the directory's count contains, as an agent saw it: the only one, where a wrong password came after it had begun and none was
  /// counted here since. Nil where that cannot be said.
  package static func shown(_ reservation: LockoutReservation, facts: LockoutFacts?, now: Instant) -> LockoutState.Charge? {
    guard reservation.charges.count == 1, let charge = reservation.charges.first, charge.since == 0, reservation.undecided == 0,
      let facts, let count = facts.count, count > 0, let ago = facts.lastWrongMillisecondsAgo, ago >= 0
    else { return nil }
    return now.adding(.zero - .milliseconds(ago)) >= charge.begun ? charge : nil
  }

  /// The events of a try as they have to be written when the person turned out to stand so: a sign-in that the lock refuses is told as refused.
  /// A try that nobody could decide stays undecided.
  package static func events(_ events: [AuditEvent], standing: LockoutStanding, outcome: LockoutOutcome) -> [AuditEvent] {
    guard let refusal = standing.refusal, outcome.isDecided else { return events }
    return events.map { event in
      // A change that was made is told as made.
      guard event.kind == .signIn || event.kind == .passwordChange && event.outcome != "changed" else { return event }
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
    for side in [false, true] {
      var tally = object[side: side]
      let other = name[side: side]
      tally.failures = min(tally.failures + other.failures, policy.threshold)
      tally.lastFailure = [tally.lastFailure, other.lastFailure].compactMap { $0 }.max()
      tally.locks = max(tally.locks, other.locks)
      tally.lockedUntil = [tally.lockedUntil, other.lockedUntil].compactMap { $0 }.max()
      let held = Set(tally.reservations.map(\.id))
      tally.reservations += other.reservations.filter { !held.contains($0.id) }
      if tally.failures >= policy.threshold, tally.lockedUntil == nil { lock(&tally, policy: policy, now: now) }
      object[side: side] = tally
    }
    object.blocked = object.blocked || name.blocked
    object.charges = Array((object.charges + name.charges).suffix(LockoutState.mostCharges))
  }

  /// Forgets failures and lock; reservations, charges and the administrator's block stay.
  package static func unlock(_ state: inout LockoutState) {
    for side in [false, true] {
      let reservations = state[side: side].reservations
      state[side: side] = LockoutTally()
      state[side: side].reservations = reservations
    }
  }

  /// Drops what time has made void: failures older than the window, the memory of locks after a quiet window, charges that the directory has
  /// forgotten. A reservation that nobody settled becomes a charge: whoever held it is gone, and its bind may have been sent.
  ///
  /// A clock that was set back leaves times in the future behind; they are drawn in to what a fresh event would have written, so that nobody
  /// stays locked until a date that was never meant.
  package static func refresh(_ state: inout LockoutState, policy: LockoutPolicy, now: Instant) {
    state.charges.removeAll { $0.until <= now || $0.until > now.adding(policy.chargeLife + policy.reservationLife) }
    for side in [false, true] {
      for lost in state[side: side].reservations where lost.expires <= now {
        charge(&state, begun: lost.expires.adding(.zero - policy.reservationLife), policy: policy, now: now)
      }
      state[side: side].reservations.removeAll { $0.expires <= now }
      let latestExpiry = now.adding(policy.reservationLife)
      for index in state[side: side].reservations.indices where state[side: side].reservations[index].expires > latestExpiry {
        state[side: side].reservations[index].expires = latestExpiry
      }
      refresh(&state[side: side], policy: policy, now: now)
    }
  }

  private static func refresh(_ tally: inout LockoutTally, policy: LockoutPolicy, now: Instant) {
    if let until = tally.lockedUntil { tally.lockedUntil = until <= now ? nil : min(until, now.adding(policy.longestLock)) }
    if let last = tally.lastFailure, last > now { tally.lastFailure = now }
    guard tally.lockedUntil == nil, let last = tally.lastFailure else { return }
    if now.since(last) > policy.window { tally.failures = 0 }
    // Locks are remembered longer than failures: the quiet time that forgets them begins when the longest lock would have ended.
    if now.since(last) > policy.window + policy.longestLock {
      tally.locks = 0
      tally.lastFailure = nil
    }
  }

  /// Held until the directory has forgotten a wrong password of that time, counted from its end at the latest.
  private static func charge(_ state: inout LockoutState, begun: Instant, policy: LockoutPolicy, now: Instant) {
    let until = begun.adding(policy.reservationLife + policy.chargeLife)
    guard policy.directory?.locks ?? true, until > now else { return }
    // A wrong password that was counted meanwhile could be taken for this one.
    let since = state.lastFailure.map { $0 >= begun } ?? false ? 1 : 0
    state.charges.append(.init(begun: begun, until: until, since: since))
    if state.charges.count > LockoutState.mostCharges { state.charges.removeFirst() }
  }

  /// Keeps an address that is new, or was last written a day ago: a usual sign-in writes nothing more for it.
  private static func remember(_ address: AddressMark?, in state: inout LockoutState, now: Instant) {
    guard let address else { return }
    if let known = state.addresses.first(where: { $0.mark == address }), now.since(known.seen) < .seconds(86_400), known.seen <= now { return }
    state.addresses.removeAll { $0.mark == address }
    state.addresses.append(FamiliarAddress(mark: address, seen: now))
    if state.addresses.count > LockoutState.mostAddresses { state.addresses.removeFirst(state.addresses.count - LockoutState.mostAddresses) }
  }

  private static func lock(_ tally: inout LockoutTally, policy: LockoutPolicy, now: Instant) {
    tally.lockedUntil = now.adding(policy.lockLength(afterLocks: tally.locks))
    tally.locks = min(tally.locks + 1, 62)
    tally.failures = 0
  }
}
