import Bytes
import Identity

/// Failed tries of one person from one side: from addresses where they have signed in before, or from all others.
package struct LockoutTally: Sendable, Equatable, Codable {
  /// Failures inside the window, or since the last lock.
  package var failures = 0
  package var lastFailure: Instant?
  /// Locks in a row, without a success or a quiet window between them.
  package var locks = 0
  package var lockedUntil: Instant?
  /// Tries under way.
  package var reservations: [LockoutState.Reservation] = []

  package init() {}

  var isBlank: Bool { failures == 0 && locks == 0 && lockedUntil == nil && reservations.isEmpty }
}

/// What is known of one person's tries.
///
/// Strangers and familiar addresses are counted apart: guesses from elsewhere never lock somebody out of the address where they always
/// sign in, and the other way round.
package struct LockoutState: Sendable, Equatable, Codable {
  package var strangers = LockoutTally()
  package var familiar = LockoutTally()
  /// Set by an administrator; nobody gets in by any method, until it is lifted.
  package var blocked = false
  /// Tries whose bind may have been sent and of which nobody heard: the directory may have counted them.
  package var charges: [Charge] = []
  /// Where the person has signed in from, the latest last; at most `mostAddresses`.
  package var addresses: [FamiliarAddress] = []

  package static let mostAddresses = 8
  /// An address that was not used for so long is no longer familiar.
  package static let addressLife = Duration.seconds(90 * 86_400)
  static let mostCharges = 32

  /// A try under way.
  package struct Reservation: Sendable, Equatable, Codable {
    package var id: Identifier
    package var expires: Instant

    package init(id: Identifier, expires: Instant) {
      self.id = id
      self.expires = expires
    }
  }

  /// A try that the directory may have counted.
  package struct Charge: Sendable, Equatable, Codable {
    package var begun: Instant
    package var until: Instant
    /// How many wrong passwords were counted since: only while it is none can a later look at the directory show the charge itself.
    package var since: Int

    package init(begun: Instant, until: Instant, since: Int = 0) {
      self.begun = begun
      self.until = until
      self.since = since
    }
  }

  package init() {}

  /// Whether the state says anything that a fresh one does not; where somebody signed in from does not count.
  package var isBlank: Bool { strangers.isBlank && familiar.isBlank && !blocked && charges.isEmpty }

  /// Failures from everywhere.
  package var failures: Int { strangers.failures + familiar.failures }
  package var lastFailure: Instant? { [strangers.lastFailure, familiar.lastFailure].compactMap { $0 }.max() }
  package var locks: Int { max(strangers.locks, familiar.locks) }
  /// The later end of both sides' locks.
  package var lockedUntil: Instant? { [strangers.lockedUntil, familiar.lockedUntil].compactMap { $0 }.max() }
  /// Tries under way from everywhere.
  package var underWay: Int { strangers.reservations.count + familiar.reservations.count }

  /// Whether the person signed in from `address` within the last 90 days.
  package func knows(_ address: AddressMark?, now: Instant) -> Bool {
    guard let address else { return false }
    return addresses.contains { $0.mark == address && now.since($0.seen) < LockoutState.addressLife }
  }

  subscript(side familiarSide: Bool) -> LockoutTally {
    get { familiarSide ? familiar : strangers }
    set { if familiarSide { familiar = newValue } else { strangers = newValue } }
  }
}

/// What an address is recognised by: all of IPv4, the first half of IPv6, since that is what one customer has.
package struct AddressMark: Hashable, Sendable, Codable {
  /// 4 or 8 bytes.
  package let bytes: [UInt8]

  package init(_ address: IPAddress) { bytes = address.isIPv4 ? address.bytes : Array(address.bytes.prefix(8)) }

  /// Nil where it is no mark.
  package init?(bytes: [UInt8]) {
    guard bytes.count == 4 || bytes.count == 8 else { return nil }
    self.bytes = bytes
  }
}

/// An address from which a person has signed in.
package struct FamiliarAddress: Sendable, Equatable, Codable {
  package var mark: AddressMark
  /// When last, to the day.
  package var seen: Instant

  package init(mark: AddressMark, seen: Instant) {
    self.mark = mark
    self.seen = seen
  }
}
