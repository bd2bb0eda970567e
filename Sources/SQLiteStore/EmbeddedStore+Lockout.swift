import Bytes
import Foundation
import GRDB
import Identity
import SignIn

// A name counts by itself until a verdict tells which object it means. Then what was counted moves to the object, where all its names count
// together, and the name keeps only what it means and whether it is blocked: a block stays on the name when the directory gives it to a new
// object.

extension EmbeddedStore: LockoutStore {
  package func admit(
    _ name: LockoutName, from address: AddressMark?, knowledge: NameKnowledge, policy: LockoutPolicy, now: Instant
  ) async throws -> LockoutAdmission {
    // Not waiting for the disk halves the cost of a sign-in. A power loss can forget reservations, and with them the tries that were under way
    // when the gateway lost its power; the death of the process cannot.
    let memory = lockoutMemory
    return try await commits.write(durable: false) { database in
      let row = try memory.name(name, database)
      var object = row?.object
      if case .lookedUp(let meaning) = knowledge { object = meaning.object }
      let person = try object.flatMap { try memory.person($0, realm: name.realm, database) }
      let step = Lockout.admit(name, known: row?.known, person: person, from: address, knowledge: knowledge, policy: policy, now: now)
      if let changed = step.name { try memory.put(LockoutNameRow(changed, seen: now), for: name, database) }
      if let state = step.person, let object { try memory.put(state, for: object, realm: name.realm, now: now, database) }
      return step.answer
    }
  }

  package func settle(
    _ reservation: LockoutReservation, outcome: LockoutOutcome, object: Identifier?, shown: LockoutState.Charge?, policy: LockoutPolicy,
    now: Instant, audit: [AuditEvent]
  ) async throws -> LockoutStanding {
    let memory = lockoutMemory
    return try await write(auditing: { Lockout.events(audit, standing: $0, outcome: outcome) }) { database in
      let name = reservation.name
      let row = try memory.name(name, database)
      let step = try Lockout.settle(
        reservation, known: row?.known, outcome: outcome, object: object, shown: shown, policy: policy, now: now,
        person: { try memory.person($0, realm: name.realm, database) })
      // When a name was last used is kept to the day, so that a usual sign-in does not write it.
      let isOld = row.map { now.since($0.seen) > .seconds(86_400) } ?? true
      if let changed = step.name ?? (isOld ? row?.known : nil) { try memory.put(LockoutNameRow(changed, seen: now), for: name, database) }
      for person in [step.former, step.person] {
        if let person { try memory.put(person.state, for: person.object, realm: name.realm, now: now, database) }
      }
      return step.standing
    }
  }

  package func learn(_ name: LockoutName, object: Identifier, policy: LockoutPolicy, now: Instant) async throws {
    let memory = lockoutMemory
    try await write { database in
      let row = try memory.name(name, database) ?? LockoutNameRow(object: nil, state: LockoutState(), seen: now)
      guard row.object != object else { return }
      var state = try memory.person(object, realm: name.realm, database) ?? LockoutState()
      Lockout.merge(row.state, into: &state, policy: policy, now: now)
      var kept = LockoutState()
      kept.blocked = row.state.blocked
      try memory.put(LockoutNameRow(object: object, state: kept, seen: now), for: name, database)
      try memory.put(state, for: object, realm: name.realm, now: now, database)
    }
  }

  package func isFamiliar(_ address: AddressMark, for name: LockoutName, now: Instant) async throws -> Bool {
    try await read { database in
      guard let object = try database.lockoutName(name)?.object else { return false }
      return try database.lockoutObject(object, realm: name.realm)?.knows(address, now: now) ?? false
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
    let memory = lockoutMemory
    try await write(audit: audit) { database in
      memory.forget()
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
    let memory = lockoutMemory
    try await shutOut(audit: audit) { database in
      memory.forget()
      let object = try database.setBlocked(blocked, name, object: nil, now: now)
      try database.journal(name.revocation(blocked: blocked, object: object, at: now))
    }
  }

  package func locked(now: Instant, limit: Int) async throws -> [LockedPerson] {
    try await read { database in
      let rows = try database.rows(
        """
        SELECT failures, last_failure, locks, locked_until, blocked, reservations, familiar_failures, familiar_last_failure, familiar_locks,
            familiar_locked_until, familiar_reservations, charges, addresses, realm, object,
            (SELECT min(key) FROM lockout_name n WHERE n.realm = o.realm AND n.object = o.object) AS key
          FROM lockout_object o WHERE blocked = 1 OR locked_until > ?1 OR familiar_locked_until > ?1
        UNION ALL
        SELECT failures, last_failure, locks, locked_until, blocked, reservations, 0, NULL, 0, NULL, x'', x'', x'', realm, object, key
          FROM lockout_name n WHERE (blocked = 1 OR locked_until IS NOT NULL) AND (blocked = 1 OR locked_until > ?1)
            AND NOT EXISTS (SELECT 1 FROM lockout_object o WHERE o.realm = n.realm AND o.object = n.object AND o.blocked = 1)
        ORDER BY realm, key LIMIT ?2
        """, now.stored, max(0, min(10_000, limit)))
      return try rows.map { row in
        LockedPerson(realm: try row.realm(13), key: try row.optionalText(15), object: try row.optionalIdentifier(14), state: try row.personState())
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
      let memory = lockoutMemory
      batch = try await write { database in
        memory.forget()
        return try database.forgetIdleLockouts(quietSince: quiet, unusedSince: unused, now: now, limit: 1000)
      }
      forgotten += batch
    } while batch >= 1000
    return forgotten
  }

  /// How long it is remembered what an unused name means. Forgetting costs nothing but one try under that name.
  private static let aliasLife = Duration.seconds(90 * 86_400)
}

extension Database {
  /// Deletes at most `limit` states of names and of objects each, and the names that nobody used for long; answers how many states went.
  fileprivate func forgetIdleLockouts(quietSince quiet: Instant, unusedSince unused: Instant, now: Instant, limit: Int) throws -> Int {
    let objects = try run(
      """
      DELETE FROM lockout_object WHERE (realm, object) IN (
        SELECT realm, object FROM lockout_object WHERE blocked = 0 AND (last_failure IS NULL OR last_failure < ?1)
          AND (locked_until IS NULL OR locked_until <= ?2) AND (held_until IS NULL OR held_until <= ?2)
          AND (familiar_last_failure IS NULL OR familiar_last_failure < ?1) AND (familiar_locked_until IS NULL OR familiar_locked_until <= ?2)
          AND (addresses = x'' OR seen < ?4) LIMIT ?3)
      """, quiet.stored, now.stored, limit, unused.stored)
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

extension Database {
  /// Blocks a name, or lifts that, with the person that it is known to mean; answers whom. `object` is whom it means where that is not known here.
  func setBlocked(_ blocked: Bool, _ name: LockoutName, object known: Identifier?, now: Instant) throws -> Identifier? {
    var row = try lockoutName(name) ?? LockoutNameRow(object: known, state: LockoutState(), seen: now)
    row.state.blocked = blocked
    try put(row, for: name)
    guard let object = row.object ?? known else { return nil }
    var state = try lockoutObject(object, realm: name.realm) ?? LockoutState()
    state.blocked = blocked
    try put(state, for: object, realm: name.realm, now: now)
    // Lifted by one name, lifted for all: else the person would stay blocked under the name by which somebody else had blocked them.
    if !blocked {
      try run(
        "UPDATE lockout_name SET blocked = 0 WHERE realm = ? AND object = ? AND blocked = 1", name.realm.text.blob, Data(object.bytes))
    }
    return object
  }
}
