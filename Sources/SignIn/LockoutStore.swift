import Bytes
import Identity

/// The lockout state of people, kept by the store so that a restart forgets nothing and several gateways count together.
///
/// A person is counted under the directory object that the typed name means. A name that means nobody, or of which nobody can tell whom it
/// means, is counted by itself (its `countingKey` in its realm).
package protocol LockoutStore: Sendable {
  /// Loads the states that `name` leads to, asks `Lockout.admit`, and stores the reservation: one atomic step, so that a thousand parallel
  /// guesses get no extra try, in whatever spelling. A refusal stores nothing.
  ///
  /// With `knowledge` `.stored` a name of which nothing is known is answered `.lookUpFirst`, and so is every name from an address from which the
  /// person never signed in: else the time would tell strangers whose names have been used here. (A caller without an address gets the shorter
  /// way.) Locked and blocked names are answered at once. With `.lookedUp` the name is learned in the same step, and the reservation is the person's.
  func admit(
    _ name: LockoutName, from address: AddressMark?, knowledge: NameKnowledge, policy: LockoutPolicy, now: Instant
  ) async throws -> LockoutAdmission
  /// Settles a reservation with its outcome, learns `object` for the name where it is given and the address where the try succeeded, forgets
  /// the charge `shown`, and appends the audit events, in one transaction. A reservation that is no longer known (it had expired) settles as if
  /// it were. Durable when it returns.
  ///
  /// The answer tells how the person, as now known, stood before this outcome. Where it is not `.free` the caller must refuse with
  /// `standing.refusal` whatever the directory said, and the sign-in events were written so (`Lockout.events(_:standing:outcome:)`).
  func settle(
    _ reservation: LockoutReservation, outcome: LockoutOutcome, object: Identifier?, shown: LockoutState.Charge?, policy: LockoutPolicy,
    now: Instant, audit: [AuditEvent]
  ) async throws -> LockoutStanding
  /// Learns whom a name means, so that what is said of the name holds for the person.
  func learn(_ name: LockoutName, object: Identifier, policy: LockoutPolicy, now: Instant) async throws
  /// Whether the person whom the name is known to mean has signed in from `address` lately. A read, for guesses that shall cost no write.
  func isFamiliar(_ address: AddressMark, for name: LockoutName, now: Instant) async throws -> Bool
  /// The stored state for people to see; nil where nothing is known.
  func state(of name: LockoutName) async throws -> LockoutState?
  /// Forgets failures and lock of the name and of its object, whichever of its names is given. Reservations stay.
  func unlock(_ name: LockoutName, audit: [AuditEvent]) async throws
  /// Sets or lifts the administrator's block on the name and on its object, under all names learned for it.
  func setBlocked(_ blocked: Bool, _ name: LockoutName, now: Instant, audit: [AuditEvent]) async throws
  /// Everybody who is locked or blocked at `now`, at most `limit`.
  func locked(now: Instant, limit: Int) async throws -> [LockedPerson]
  /// Deletes states that say nothing any more (no block, no reservation, last failure older than the policy's window and lock).
  func forgetIdle(policy: LockoutPolicy, now: Instant) async throws -> Int
}

extension LockoutStore {
  /// For names that cannot be looked up, from nowhere in particular.
  package func admit(_ name: LockoutName, policy: LockoutPolicy, now: Instant) async throws -> LockoutAdmission {
    try await admit(name, from: nil, knowledge: .unavailable, policy: policy, now: now)
  }

  package func settle(
    _ reservation: LockoutReservation, outcome: LockoutOutcome, object: Identifier?, policy: LockoutPolicy, now: Instant, audit: [AuditEvent]
  ) async throws -> LockoutStanding {
    try await settle(reservation, outcome: outcome, object: object, shown: nil, policy: policy, now: now, audit: audit)
  }
}

/// The name under which tries are counted. Compared byte by byte.
package struct LockoutName: Hashable, Sendable {
  package var realm: RealmName
  /// `UserName.countingKey`.
  package var key: String

  package init(realm: RealmName, key: String) {
    self.realm = realm
    self.key = key
  }

  package init(_ userName: UserName, realm: RealmName) {
    self.init(realm: realm, key: userName.countingKey)
  }

  package static func == (left: LockoutName, right: LockoutName) -> Bool {
    left.realm == right.realm && left.key.utf8.elementsEqual(right.key.utf8)
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(realm)
    hasher.combine(bytesOf: key)
  }
}
