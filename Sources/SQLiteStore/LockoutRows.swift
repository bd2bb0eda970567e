import Bytes
import Foundation
import GRDB
import Identity
import SignIn

/// What the store holds of one name: its own state, or the object it was learned to mean.
struct LockoutNameRow {
  var object: Identifier?
  var state: LockoutState
  /// When the name was last used, to the day.
  var seen: Instant
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
      "SELECT failures, last_failure, locks, locked_until, blocked, reservations FROM lockout_object WHERE realm = ? AND object = ?",
      realm.text.blob, Data(object.bytes))?.lockoutState()
  }

  func put(_ row: LockoutNameRow, for name: LockoutName) throws {
    let state = row.state
    try run(
      """
      INSERT INTO lockout_name (realm, key, failures, last_failure, locks, locked_until, blocked, reservations, held_until, object, seen)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
        ON CONFLICT (realm, key) DO UPDATE SET failures = ?3, last_failure = ?4, locks = ?5, locked_until = ?6, blocked = ?7,
          reservations = ?8, held_until = ?9, object = ?10, seen = ?11
      """, name.realm.text.blob, name.key.blob, state.failures, state.lastFailure?.stored, state.locks, state.lockedUntil?.stored, state.blocked,
      state.packedReservations, state.heldUntil, row.object.map { Data($0.bytes) }, row.seen.stored)
  }

  func put(_ state: LockoutState, for object: Identifier, realm: RealmName, now: Instant) throws {
    try run(
      """
      INSERT INTO lockout_object (realm, object, failures, last_failure, locks, locked_until, blocked, reservations, held_until, seen)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
        ON CONFLICT (realm, object) DO UPDATE SET failures = ?3, last_failure = ?4, locks = ?5, locked_until = ?6, blocked = ?7,
          reservations = ?8, held_until = ?9, seen = ?10
      """, realm.text.blob, Data(object.bytes), state.failures, state.lastFailure?.stored, state.locks, state.lockedUntil?.stored, state.blocked,
      state.packedReservations, state.heldUntil, now.stored)
  }
}

extension LockoutState {
  /// 24 bytes each: the id, and when it expires.
  fileprivate var packedReservations: Data {
    var writer = ByteWriter()
    for reservation in reservations {
      writer.write(reservation.id.bytes)
      writer.writeInteger(reservation.expires.milliseconds)
    }
    return Data(writer.bytes)
  }

  fileprivate var heldUntil: Int64? { reservations.map(\.expires.milliseconds).max() }
}

extension Row {
  /// The state in the first six columns.
  func lockoutState() throws -> LockoutState {
    var state = LockoutState()
    state.failures = Int(clamping: try integer(0))
    state.lastFailure = try optionalInstant(1)
    state.locks = Int(clamping: try integer(2))
    state.lockedUntil = try optionalInstant(3)
    state.blocked = try flag(4)
    var reader = ByteReader(try bytes(5))
    while reader.remaining > 0 {
      guard let id = reader.readBytes(16).flatMap(Identifier.init(bytes:)), let expires = reader.readInteger(UInt64.self) else { throw damaged(5) }
      state.reservations.append(.init(id: id, expires: Instant(milliseconds: Int64(bitPattern: expires))))
    }
    return state
  }
}
