import Bytes
import Foundation
import GRDB
import Identity
import SignIn

/// What the store holds of one name: its own state, or the object it was learned to mean.
///
/// A name has no addresses, and keeps no charges: what a directory may have counted is held against persons.
struct LockoutNameRow {
  var object: Identifier?
  var state: LockoutState
  /// When the name was last used, to the day.
  var seen: Instant

  init(object: Identifier?, state: LockoutState, seen: Instant) {
    self.object = object
    self.state = state
    self.seen = seen
  }

  init(_ known: Lockout.NameState, seen: Instant) { self.init(object: known.object, state: known.own, seen: seen) }

  var known: Lockout.NameState { Lockout.NameState(object: object, own: state) }
}

extension Database {
  func lockoutName(_ name: LockoutName) throws -> LockoutNameRow? {
    guard
      let row = try row(
        """
        SELECT failures, last_failure, locks, locked_until, blocked, reservations, object, seen FROM lockout_name WHERE realm = ? AND key = ?
        """, name.realm.text.blob, name.key.blob)
    else { return nil }
    return LockoutNameRow(object: try row.optionalIdentifier(6), state: try row.lockoutState(), seen: try row.instant(7))
  }

  func lockoutObject(_ object: Identifier, realm: RealmName) throws -> LockoutState? {
    try row(
      """
      SELECT failures, last_failure, locks, locked_until, blocked, reservations, familiar_failures, familiar_last_failure, familiar_locks,
          familiar_locked_until, familiar_reservations, charges, addresses
        FROM lockout_object WHERE realm = ? AND object = ?
      """, realm.text.blob, Data(object.bytes))?.personState()
  }

  func put(_ row: LockoutNameRow, for name: LockoutName) throws {
    let tally = row.state.strangers
    try run(
      """
      INSERT INTO lockout_name (realm, key, failures, last_failure, locks, locked_until, blocked, reservations, held_until, object, seen)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
        ON CONFLICT (realm, key) DO UPDATE SET failures = ?3, last_failure = ?4, locks = ?5, locked_until = ?6, blocked = ?7,
          reservations = ?8, held_until = ?9, object = ?10, seen = ?11
      """, name.realm.text.blob, name.key.blob, tally.failures, tally.lastFailure?.stored, tally.locks, tally.lockedUntil?.stored,
      row.state.blocked, tally.packedReservations, tally.reservations.map(\.expires.milliseconds).max(), row.object.map { Data($0.bytes) },
      row.seen.stored)
  }

  func put(_ state: LockoutState, for object: Identifier, realm: RealmName, now: Instant) throws {
    let (strangers, familiar) = (state.strangers, state.familiar)
    try run(
      """
      INSERT INTO lockout_object (realm, object, failures, last_failure, locks, locked_until, blocked, reservations, held_until, seen,
          familiar_failures, familiar_last_failure, familiar_locks, familiar_locked_until, familiar_reservations, charges, addresses)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
        ON CONFLICT (realm, object) DO UPDATE SET failures = ?3, last_failure = ?4, locks = ?5, locked_until = ?6, blocked = ?7,
          reservations = ?8, held_until = ?9, seen = ?10, familiar_failures = ?11, familiar_last_failure = ?12, familiar_locks = ?13,
          familiar_locked_until = ?14, familiar_reservations = ?15, charges = ?16, addresses = ?17
      """, realm.text.blob, Data(object.bytes), strangers.failures, strangers.lastFailure?.stored, strangers.locks,
      strangers.lockedUntil?.stored, state.blocked, strangers.packedReservations, state.heldUntil, now.stored, familiar.failures,
      familiar.lastFailure?.stored, familiar.locks, familiar.lockedUntil?.stored, familiar.packedReservations, state.packedCharges,
      state.packedAddresses)
  }
}

extension LockoutTally {
  /// 24 bytes each: the id, and when it expires.
  fileprivate var packedReservations: Data {
    var writer = ByteWriter()
    for reservation in reservations {
      writer.write(reservation.id.bytes)
      writer.writeInteger(UInt64(bitPattern: reservation.expires.milliseconds))
    }
    return Data(writer.bytes)
  }
}

extension LockoutState {
  /// 24 bytes each: begun, until, since.
  fileprivate var packedCharges: Data {
    var writer = ByteWriter()
    for charge in charges {
      for number in [charge.begun.milliseconds, charge.until.milliseconds, Int64(charge.since)] { writer.writeInteger(UInt64(bitPattern: number)) }
    }
    return Data(writer.bytes)
  }

  /// Length (4 or 8), the address's bytes, and when it was seen: the latest last.
  fileprivate var packedAddresses: Data {
    var writer = ByteWriter()
    for address in addresses {
      writer.writeInteger(UInt8(address.mark.bytes.count))
      writer.write(address.mark.bytes)
      writer.writeInteger(UInt64(bitPattern: address.seen.milliseconds))
    }
    return Data(writer.bytes)
  }

  /// Until when the row must not be forgotten. A reservation that nobody settles turns into a charge, for as long as a directory may remember.
  fileprivate var heldUntil: Int64? {
    let reservations = (strangers.reservations + familiar.reservations).map { $0.expires.adding(.seconds(86_400)).milliseconds }
    return (reservations + charges.map(\.until.milliseconds)).max()
  }
}

extension Database {
  /// Whether an administrator has blocked a person, under whatever name.
  func isBlocked(_ object: DirectoryObject) throws -> Bool {
    try row(
      """
      SELECT 1 FROM lockout_object WHERE realm = ?1 AND object = ?2 AND blocked = 1
        UNION ALL SELECT 1 FROM lockout_name WHERE realm = ?1 AND object = ?2 AND blocked = 1 LIMIT 1
      """, object.realm.text.blob, Data(object.id.bytes)) != nil
  }
}

extension Row {
  /// The state in the first six columns.
  func lockoutState() throws -> LockoutState {
    var state = LockoutState()
    state.strangers = try tally(0, 1, 2, 3, 5)
    state.blocked = try flag(4)
    return state
  }

  /// The same with the columns that only persons have behind it.
  func personState() throws -> LockoutState {
    var state = try lockoutState()
    state.familiar = try tally(6, 7, 8, 9, 10)
    var reader = ByteReader(try bytes(11))
    while reader.remaining > 0 {
      guard let begun = reader.readMilliseconds(), let until = reader.readMilliseconds(), let since = reader.readInteger(UInt64.self) else {
        throw damaged(11)
      }
      state.charges.append(.init(begun: begun, until: until, since: Int(clamping: since)))
    }
    reader = ByteReader(try bytes(12))
    while reader.remaining > 0 {
      guard let length = reader.readByte(), let bytes = reader.readBytes(Int(length)), let mark = AddressMark(bytes: bytes),
        let seen = reader.readMilliseconds()
      else { throw damaged(12) }
      state.addresses.append(FamiliarAddress(mark: mark, seen: seen))
    }
    return state
  }

  private func tally(_ failures: Int, _ last: Int, _ locks: Int, _ until: Int, _ reservations: Int) throws -> LockoutTally {
    var tally = LockoutTally()
    tally.failures = Int(clamping: try integer(failures))
    tally.lastFailure = try optionalInstant(last)
    tally.locks = Int(clamping: try integer(locks))
    tally.lockedUntil = try optionalInstant(until)
    var reader = ByteReader(try bytes(reservations))
    while reader.remaining > 0 {
      guard let id = reader.readBytes(16).flatMap(Identifier.init(bytes:)), let expires = reader.readMilliseconds() else {
        throw damaged(reservations)
      }
      tally.reservations.append(.init(id: id, expires: expires))
    }
    return tally
  }
}

extension ByteReader {
  fileprivate mutating func readMilliseconds() -> Instant? {
    readInteger(UInt64.self).map { Instant(milliseconds: Int64(bitPattern: $0)) }
  }
}
