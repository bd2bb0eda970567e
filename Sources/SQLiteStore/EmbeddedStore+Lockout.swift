import Bytes
import Foundation
import GRDB
import Identity
import SignIn

// A name counts by itself until a verdict tells which object it means. Then what was counted moves to the object, where all its names count
// together, and the name keeps only what it means and whether it is blocked: a block stays on the name when the directory gives it to a new
// object.

extension EmbeddedStore: LockoutStore {
  package func admit(_ name: LockoutName, policy: LockoutPolicy, now: Instant) async throws -> LockoutAdmission {
    // Not waiting for the disk halves the cost of a sign-in. A power loss can forget reservations, and with them the tries that were under way
    // when the gateway lost its power; the death of the process cannot.
    try await commits.write(durable: false) { database in
      var row = try database.lockoutName(name) ?? LockoutNameRow(object: nil, state: LockoutState(), seen: now)
      if row.state.blocked { return .blocked }
      guard let object = row.object else {
        let answer = Lockout.admit(&row.state, name: name, id: Identifier(), policy: policy, now: now)
        if case .admitted = answer { try database.put(row, for: name) }
        return answer
      }
      var state = try database.lockoutObject(object, realm: name.realm) ?? LockoutState()
      let answer = Lockout.admit(&state, name: name, id: Identifier(), policy: policy, now: now)
      if case .admitted = answer { try database.put(state, for: object, realm: name.realm, now: now) }
      return answer
    }
  }

  package func settle(
    _ reservation: LockoutReservation, outcome: LockoutOutcome, object: Identifier?, policy: LockoutPolicy, now: Instant, audit: [AuditEvent]
  ) async throws -> LockoutStanding {
    try await write(auditing: { Lockout.events(audit, standing: $0, outcome: outcome) }) { database in
      try database.settle(reservation, outcome: outcome, object: object, policy: policy, now: now)
    }
  }

  package func state(of name: LockoutName) async throws -> LockoutState? {
    try await read { database in
      guard let row = try database.lockoutName(name) else { return nil }
      var state = row.state
      if let object = row.object { state = try database.lockoutObject(object, realm: name.realm) ?? LockoutState() }
      state.blocked = state.blocked || row.state.blocked
      return state.isBlank ? nil : state
    }
  }

  package func unlock(_ name: LockoutName, audit: [AuditEvent]) async throws {
    try await write(audit: audit) { database in
      guard var row = try database.lockoutName(name) else { return }
      Lockout.unlock(&row.state)
      try database.put(row, for: name)
      if let object = row.object, var state = try database.lockoutObject(object, realm: name.realm) {
        Lockout.unlock(&state)
        try database.put(state, for: object, realm: name.realm, now: row.seen)
      }
    }
  }

  package func setBlocked(_ blocked: Bool, _ name: LockoutName, now: Instant, audit: [AuditEvent]) async throws {
    try await write(audit: audit) { database in
      var row = try database.lockoutName(name) ?? LockoutNameRow(object: nil, state: LockoutState(), seen: now)
      row.state.blocked = blocked
      try database.put(row, for: name)
      guard let object = row.object else { return }
      var state = try database.lockoutObject(object, realm: name.realm) ?? LockoutState()
      state.blocked = blocked
      try database.put(state, for: object, realm: name.realm, now: now)
      // Lifted by one name, lifted for all: else the person would stay blocked under the name by which somebody else had blocked them.
      if !blocked {
        try database.run(
          "UPDATE lockout_name SET blocked = 0 WHERE realm = ? AND object = ? AND blocked = 1", name.realm.text.blob, Data(object.bytes))
      }
    }
  }

  package func locked(now: Instant, limit: Int) async throws -> [LockedPerson] {
    try await read { database in
      let rows = try database.rows(
        """
        SELECT failures, last_failure, locks, locked_until, blocked, reservations, realm, object,
            (SELECT min(key) FROM lockout_name n WHERE n.realm = o.realm AND n.object = o.object) AS key
          FROM lockout_object o WHERE (blocked = 1 OR locked_until IS NOT NULL) AND (blocked = 1 OR locked_until > ?1)
        UNION ALL
        SELECT failures, last_failure, locks, locked_until, blocked, reservations, realm, object, key
          FROM lockout_name n WHERE (blocked = 1 OR locked_until IS NOT NULL) AND (blocked = 1 OR locked_until > ?1)
            AND NOT EXISTS (SELECT 1 FROM lockout_object o WHERE o.realm = n.realm AND o.object = n.object AND o.blocked = 1)
        ORDER BY realm, key LIMIT ?2
        """, now.stored, max(0, min(10_000, limit)))
      return try rows.map { row in
        LockedPerson(realm: try row.realm(6), key: try row.optionalText(8), object: try row.optionalIdentifier(7), state: try row.lockoutState())
      }
    }
  }

  package func forgetIdle(policy: LockoutPolicy, now: Instant) async throws -> Int {
    // What happened before this is of no account to `Lockout.refresh`.
    let quiet = now.adding(.zero - policy.window - policy.longestLock)
    let unused = now.adding(.zero - EmbeddedStore.aliasLife)
    var forgotten = 0
    var batch = 0
    // In batches, each a write of its own, so that sign-ins pass between them.
    repeat {
      batch = try await write { try $0.forgetIdleLockouts(quietSince: quiet, unusedSince: unused, now: now, limit: 1000) }
      forgotten += batch
    } while batch >= 1000
    return forgotten
  }

  /// How long it is remembered what an unused name means. Forgetting costs nothing but one try under that name.
  private static let aliasLife = Duration.seconds(90 * 86_400)
}

extension Database {
  fileprivate func settle(
    _ reservation: LockoutReservation, outcome: LockoutOutcome, object: Identifier?, policy: LockoutPolicy, now: Instant
  ) throws -> LockoutStanding {
    let name = reservation.name
    var row = try lockoutName(name) ?? LockoutNameRow(object: nil, state: LockoutState(), seen: now)
    guard let target = object ?? row.object else {
      let standing = Lockout.settle(&row.state, id: reservation.id, outcome: outcome, policy: policy, now: now)
      row.seen = now
      try put(row, for: name)
      return standing
    }
    if let former = row.object, former != target, var state = try lockoutObject(former, realm: name.realm) {
      // The directory has given the name to another object; the one that it meant before gets its reservation back.
      _ = Lockout.settle(&state, id: reservation.id, outcome: .undecided, policy: policy, now: now)
      try put(state, for: former, realm: name.realm, now: now)
    }
    var state = try lockoutObject(target, realm: name.realm) ?? LockoutState()
    if row.object != target || now.since(row.seen) > .seconds(86_400) {
      Lockout.merge(row.state, into: &state, policy: policy, now: now)
      var kept = LockoutState()
      kept.blocked = row.state.blocked
      try put(LockoutNameRow(object: target, state: kept, seen: now), for: name)
    }
    let standing = Lockout.settle(&state, id: reservation.id, outcome: outcome, policy: policy, now: now)
    try put(state, for: target, realm: name.realm, now: now)
    return standing
  }

  /// Deletes at most `limit` states of names and of objects each, and the names that nobody used for long; answers how many states went.
  fileprivate func forgetIdleLockouts(quietSince quiet: Instant, unusedSince unused: Instant, now: Instant, limit: Int) throws -> Int {
    let objects = try run(
      """
      DELETE FROM lockout_object WHERE (realm, object) IN (
        SELECT realm, object FROM lockout_object WHERE blocked = 0 AND (last_failure IS NULL OR last_failure < ?1)
          AND (locked_until IS NULL OR locked_until <= ?2) AND (held_until IS NULL OR held_until <= ?2) LIMIT ?3)
      """, quiet.stored, now.stored, limit)
    let names = try run(
      """
      DELETE FROM lockout_name WHERE (realm, key) IN (
        SELECT realm, key FROM lockout_name WHERE object IS NULL AND blocked = 0 AND (last_failure IS NULL OR last_failure < ?1)
          AND (locked_until IS NULL OR locked_until <= ?2) AND (held_until IS NULL OR held_until <= ?2) LIMIT ?3)
      """, quiet.stored, now.stored, limit)
    try run(
      """
      DELETE FROM lockout_name WHERE (realm, key) IN (
        SELECT realm, key FROM lockout_name n WHERE object IS NOT NULL AND blocked = 0 AND seen < ?1
          AND NOT EXISTS (SELECT 1 FROM lockout_object o WHERE o.realm = n.realm AND o.object = n.object) LIMIT ?2)
      """, unused.stored, limit)
    return max(objects, names) >= limit ? max(limit, objects + names) : objects + names
  }
}
