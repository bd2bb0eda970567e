import Bytes
import Federation
import Foundation
import GRDB
import Identity
import PassThrough
import SignIn
import Synchronization

/// What a recovery did.
package struct RecoveryReport: Sendable, Equatable {
  /// How often the store was put back to an older state, this time included.
  package var epoch: Int64 = 0
  package var sessionsEnded = 0
  package var tokensVoided = 0
  /// The facts that the store did not know, the last of each subject.
  package var applied: [Revocation] = []
  /// Those that could not be applied here, with the reason.
  package var refused: [String] = []
}

extension EmbeddedStore: RevocationStore {
  package func record(_ revocations: [Revocation], audit: [AuditEvent]) async throws {
    try await shutOut(audit: audit) { database in
      for revocation in revocations { try database.journal(revocation) }
    }
  }

  package func revocations(after position: Int64, limit: Int) async throws -> [JournaledRevocation] {
    try await read { database in
      try database.rows(
        "SELECT position, document FROM revocation WHERE position > ? ORDER BY position LIMIT ?", position, max(1, min(10_000, limit))
      )
      .map { try $0.revocation() }
    }
  }

  package func revocations(of kind: Revocation.Kind) async throws -> [JournaledRevocation] {
    try await read { database in
      try database.rows("SELECT position, document FROM revocation WHERE kind = ? ORDER BY position", kind.rawValue.blob).map { try $0.revocation() }
    }
  }

  /// How often the store was put back to an older state. Throws `StoreError`.
  package func epoch() async throws -> Int64 {
    try await read { try $0.row("SELECT epoch FROM recovery")?.integer(0) ?? 0 }
  }

  /// A write that shuts somebody out, or says who is let in: when it returns, whoever keeps the journal has been told.
  func shutOut(audit events: [AuditEvent], _ work: @escaping @Sendable (Database) throws -> Void) async throws {
    try await write(audit: events, work)
    if let told = afterRevocation.withLock({ $0 }) { await told() }
  }

  /// Sets who is to be told after facts were written, and before the caller hears that they were.
  package func afterRevocations(_ told: @escaping @Sendable () async -> Void) { afterRevocation.withLock { $0 = told } }
}

extension EmbeddedStore {
  /// Makes an older state of the store safe to run: begins a new epoch, ends all sessions of browsers, voids the enrolment tokens, and applies what
  /// `journal` knows and the store does not. One transaction, with the audit events.
  ///
  /// - Parameters:
  ///   - journal: all facts from the first on; empty where there is no journal.
  ///   - audit: makes the events from what was done.
  /// - Throws: `StoreError.conflict` where the journal tells of another history than the store.
  package func recover(
    with journal: [JournaledRevocation], now: Instant, audit: @escaping @Sendable (RecoveryReport) -> [AuditEvent]
  ) async throws -> RecoveryReport {
    let memory = lockoutMemory
    return try await write(auditing: audit) { database in
      memory.forget()
      var report = RecoveryReport()
      let last = try database.row("SELECT max(position) FROM revocation")?.optionalInteger(0) ?? 0
      for row in try database.rows("SELECT position, document FROM revocation ORDER BY position") {
        let known = try row.revocation()
        guard let told = known.position <= Int64(journal.count) ? journal[Int(known.position) - 1] : nil else { break }
        guard told == known else {
          throw StoreError.conflict("fact \(known.position) of the journal is another one than the store's: they do not belong together")
        }
      }
      let news = journal.filter { $0.position > last }
      for entry in news { try database.journal(entry.revocation) }
      report.applied = Revocation.last(of: news.map(\.revocation))
      try database.apply(&report, now: now)
      report.sessionsEnded = try database.run("DELETE FROM session")
      report.tokensVoided = try database.run("UPDATE enrolment_token SET used = ? WHERE used IS NULL", now.stored)
      try database.run("UPDATE recovery SET epoch = epoch + 1")
      report.epoch = try database.row("SELECT epoch FROM recovery")?.integer(0) ?? 0
      try database.journal(Revocation(.restored, subject: "\(report.epoch)", time: now, name: "epoch \(report.epoch)"))
      return report
    }
  }

  /// Brings everything that was written into the one file, so that it can be moved without its log. Throws `StoreError.unavailable` where somebody else has
  /// the store open.
  package func gather() throws {
    do {
      let isBusy = try pool.writeWithoutTransaction { try $0.row("PRAGMA wal_checkpoint(TRUNCATE)")?.integer(0) ?? 1 }
      guard isBusy == 0 else { throw StoreError.unavailable("the store is in use by another process") }
    } catch { throw StoreError(error) }
  }

  /// Copies the store as it is at one moment into a new file (mode 0600), while a gateway may be writing: SQLite's `VACUUM INTO` reads one
  /// snapshot of file and log, so the audit in it ends with a whole row and belongs to all the rest.
  ///
  /// - Throws: `StoreError.unavailable` where the store cannot be read or the file cannot be written.
  package static func copy(of path: String, to target: String) throws {
    var configuration = Configuration()
    configuration.label = "gatehouse.backup"
    configuration.readonly = true
    configuration.busyMode = .timeout(10)
    // SQLite takes an empty file for a new one, and leaves its mode as it is.
    let made = open(target, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard made >= 0 else { throw StoreError.unavailable("\(target) cannot be made: \(String(cString: strerror(errno)))") }
    Glibc.close(made)
    do {
      let queue = try DatabaseQueue(path: path, configuration: configuration)
      try queue.inDatabase { _ = try $0.run("VACUUM INTO ?", target) }
      try queue.close()
    } catch { throw StoreError(error) }
  }
}

extension Revocation {
  /// The last fact of each kind and subject, in the order in which they came.
  package static func last(of facts: [Revocation]) -> [Revocation] {
    var seen: Set<[UInt8]> = []
    return facts.reversed().filter { seen.insert(Array("\($0.kind.rawValue)\n\($0.subject)".utf8)).inserted }.reversed()
  }
}

extension Row {
  /// Position and document.
  fileprivate func revocation() throws -> JournaledRevocation {
    guard let fact = try? JSONDecoder().decode(Revocation.self, from: Data(try bytes(1))) else { throw damaged(1) }
    return JournaledRevocation(position: try integer(0), revocation: fact)
  }
}

extension Database {
  /// Keeps a fact behind all others.
  func journal(_ revocation: Revocation) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    try run(
      "INSERT INTO revocation (position, kind, document) VALUES ((SELECT coalesce(max(position), 0) + 1 FROM revocation), ?, ?)",
      revocation.kind.rawValue.blob, try encoder.encode(revocation))
  }

  fileprivate func apply(_ report: inout RecoveryReport, now: Instant) throws {
    let agents = report.applied.compactMap { AgentRecord($0) }
    // All certificates first, and the revoked before the others: what one agent has given up, or its name, may be another's by now.
    for agent in agents { try run("DELETE FROM agent_certificate WHERE agent = ?", Data(agent.id.bytes)) }
    for agent in agents.sorted(by: { $0.revoked != nil && $1.revoked == nil }) { try apply(agent, &report) }
    let frontEnds = report.applied.compactMap { fact in FrontEnd(fact).map { ($0, fact.details["removed"] == "true") } }
    for (frontEnd, _) in frontEnds {
      for table in ["key", "certificate"] {
        try run(
          table == "key" ? "DELETE FROM front_end_key WHERE front_end = ?" : "DELETE FROM front_end_certificate WHERE front_end = ?",
          Data(frontEnd.id.bytes))
      }
    }
    for (frontEnd, isRemoved) in frontEnds.sorted(by: { $0.1 && !$1.1 }) { try apply(frontEnd, isRemoved: isRemoved, &report) }
    for fact in report.applied {
      guard let name = LockoutName(fact) else { continue }
      _ = try setBlocked(
        fact.details["blocked"] == "true", name, object: fact.details["object"].flatMap { Identifier($0) }, now: now)
    }
    for fact in report.applied where fact.kind == .relyingParty { try apply(relyingParty: fact) }
    for fact in report.applied where [.agent, .frontEnd, .block].contains(fact.kind) {
      guard AgentRecord(fact) == nil, FrontEnd(fact) == nil, LockoutName(fact) == nil else { continue }
      report.refused.append("the fact about \(fact.kind.rawValue) \(fact.name) was written by a newer version and is not understood here")
    }
  }

  private func apply(_ agent: AgentRecord, _ report: inout RecoveryReport) throws {
    let id = Data(agent.id.bytes)
    let known = try self.agent(agent.id.bytes)
    if agent.revoked == nil, try row("SELECT 1 FROM agent WHERE name = ? AND revoked IS NULL AND id <> ?", agent.name.blob, id) != nil {
      report.refused.append("agent \(agent.name) (\(agent.id)) was not taken over: another agent bears its name here; enrol it anew")
      return
    }
    if known == nil {
      try run(
        "INSERT INTO agent (id, name, enrolled, revoked, quarantined, version) VALUES (?, ?, ?, ?, ?, 1)", id, agent.name.blob, agent.enrolled.stored,
        agent.revoked?.stored, agent.quarantined?.stored)
      for (position, realm) in agent.realms.enumerated() {
        try run("INSERT INTO agent_realm (agent, position, realm) VALUES (?, ?, ?)", id, position, realm.text.blob)
      }
    } else {
      // Who is revoked here stays so, whatever the journal says.
      try run(
        "UPDATE agent SET name = ?, revoked = coalesce(revoked, ?), quarantined = ?, version = version + 1 WHERE id = ?", agent.name.blob,
        agent.revoked?.stored, agent.quarantined?.stored, id)
    }
    try addCertificates(of: agent)
  }

  /// One that came since, or is gone here anyway, is not known here: then there is nothing to be done.
  private func apply(relyingParty fact: Revocation) throws {
    guard let id = Identifier(fact.subject), var party = try relyingParty(id) else { return }
    if fact.details["removed"] == "true" {
      try run("DELETE FROM relying_party WHERE id = ?", Data(id.bytes))
    } else {
      party.disabled = fact.details["disabled"] == "true"
      try run("UPDATE relying_party SET document = ?, version = version + 1 WHERE id = ?", try JSONEncoder().encode(party), Data(id.bytes))
    }
    try countPartiesUp()
  }

  private func apply(_ frontEnd: FrontEnd, isRemoved: Bool, _ report: inout RecoveryReport) throws {
    let id = Data(frontEnd.id.bytes)
    guard !isRemoved else {
      try run("DELETE FROM front_end WHERE id = ?", id)
      return
    }
    if try row("SELECT 1 FROM front_end WHERE name = ? AND id <> ?", frontEnd.name.blob, id) != nil {
      report.refused.append("front-end \(frontEnd.name) (\(frontEnd.id)) was not taken over: another one bears its name here; it has no keys now")
      return
    }
    try run("DELETE FROM front_end_realm WHERE front_end = ?", id)
    try run(
      """
      INSERT INTO front_end (id, name, rate, disabled, version) VALUES (?1, ?2, ?3, ?4, 1)
        ON CONFLICT (id) DO UPDATE SET name = ?2, rate = ?3, disabled = ?4, version = version + 1
      """, id, frontEnd.name.blob, frontEnd.ratePerSecond, frontEnd.disabled)
    try addParts(of: frontEnd)
  }
}
