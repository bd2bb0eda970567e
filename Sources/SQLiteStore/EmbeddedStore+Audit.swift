import Bytes
import Foundation
import GRDB
import Identity
import Synchronization

extension EmbeddedStore: AuditLog {
  package func append(_ events: [AuditEvent]) async throws {
    guard !events.isEmpty else { return }
    try await write(audit: events) { _ in }
  }

  package func find(_ query: AuditQuery) async throws -> [AuditRow] {
    try await read { database in
      let kinds = query.kinds.isEmpty ? nil : Set(query.kinds.map(\.rawValue))
      // The kinds travel as a JSON array: a list of any length, bound like everything else.
      let kindList = try kinds.map { String(decoding: try JSONEncoder().encode($0.sorted()), as: UTF8.self) }
      let limit = max(1, min(10_000, query.limit))
      let agent = query.agent.map { Data($0.bytes) }
      let since = query.since?.stored ?? .min
      let until = query.until?.stored ?? .max
      // One statement for each index that can lead to the rows; the rest of the question is a filter.
      let rows: [Row]
      if let reference = query.reference {
        rows = try database.rows(
          """
          SELECT chain, sequence, event, hash FROM audit_row WHERE reference = ?1 AND time BETWEEN ?2 AND ?3
            AND (?4 IS NULL OR subject = ?4) AND (?5 IS NULL OR actor = ?5) AND (?8 IS NULL OR agent = ?8)
            AND (?6 IS NULL OR CAST(kind AS TEXT) IN (SELECT value FROM json_each(?6))) ORDER BY time DESC, id DESC LIMIT ?7
          """, reference.text.blob, since, until, query.subject?.blob, query.actor?.blob, kindList, limit, agent)
      } else if let agent {
        rows = try database.rows(
          """
          SELECT chain, sequence, event, hash FROM audit_row WHERE agent = ?1 AND time BETWEEN ?2 AND ?3
            AND (?4 IS NULL OR subject = ?4) AND (?5 IS NULL OR actor = ?5)
            AND (?6 IS NULL OR CAST(kind AS TEXT) IN (SELECT value FROM json_each(?6))) ORDER BY time DESC, id DESC LIMIT ?7
          """, agent, since, until, query.subject?.blob, query.actor?.blob, kindList, limit)
      } else if let subject = query.subject {
        rows = try database.rows(
          """
          SELECT chain, sequence, event, hash FROM audit_row WHERE subject = ?1 AND time BETWEEN ?2 AND ?3
            AND (?4 IS NULL OR actor = ?4)
            AND (?5 IS NULL OR CAST(kind AS TEXT) IN (SELECT value FROM json_each(?5))) ORDER BY time DESC, id DESC LIMIT ?6
          """, subject.blob, since, until, query.actor?.blob, kindList, limit)
      } else {
        rows = try database.rows(
          """
          SELECT chain, sequence, event, hash FROM audit_row WHERE time BETWEEN ?1 AND ?2
            AND (?3 IS NULL OR actor = ?3)
            AND (?4 IS NULL OR CAST(kind AS TEXT) IN (SELECT value FROM json_each(?4))) ORDER BY time DESC, id DESC LIMIT ?5
          """, since, until, query.actor?.blob, kindList, limit)
      }
      return try rows.map { try $0.auditRow() }
    }
  }

  package func rows(chain: String, after: Int64, limit: Int) async throws -> [AuditRow] {
    try await read { database in
      try database.rows(
        "SELECT chain, sequence, event, hash FROM audit_row WHERE chain = ? AND sequence > ? ORDER BY sequence LIMIT ?", chain.blob, after,
        max(1, min(10_000, limit))
      ).map { try $0.auditRow() }
    }
  }

  package func chains() async throws -> [AuditChainState] {
    try await read { database in
      try database.rows("SELECT chain, first, anchor, last, last_hash, exported_through FROM audit_chain ORDER BY chain").map { row in
        AuditChainState(
          chain: try row.text(0), first: try row.integer(1), anchor: try row.bytes(2), last: try row.integer(3), lastHash: try row.bytes(4),
          exportedThrough: try row.integer(5))
      }
    }
  }

  package func prune(chain: String, through sequence: Int64, event: AuditEvent) async throws {
    try await write(audit: [event]) { database in
      guard let state = try database.row("SELECT first, last, exported_through FROM audit_chain WHERE chain = ?", chain.blob) else {
        throw StoreError.notFound("there is no chain \(chain)")
      }
      let (first, last, exported) = (try state.integer(0), try state.integer(1), try state.integer(2))
      guard (first...max(first, last)).contains(sequence), sequence <= last else {
        throw StoreError.conflict("the chain \(chain) holds \(first) to \(last), not \(sequence)")
      }
      guard sequence <= exported else {
        throw StoreError.conflict("the chain \(chain) was exported through \(exported) only; export it before it is pruned")
      }
      // The anchor moves first: the trigger lets only rows before it be deleted.
      try database.run(
        """
        UPDATE audit_chain SET first = ?2 + 1, anchor = (SELECT hash FROM audit_row WHERE chain = ?1 AND sequence = ?2) WHERE chain = ?1
        """, chain.blob, sequence)
      try database.run("DELETE FROM audit_row WHERE chain = ? AND sequence <= ?", chain.blob, sequence)
    }
  }

  package func markExported(chain: String, through sequence: Int64, event: AuditEvent) async throws {
    try await write(audit: [event]) { database in
      guard let state = try database.row("SELECT last FROM audit_chain WHERE chain = ?", chain.blob) else {
        throw StoreError.notFound("there is no chain \(chain)")
      }
      let last = try state.integer(0)
      guard (0...last).contains(sequence) else {
        throw StoreError.conflict("the chain \(chain) ends at \(last); it cannot have been exported through \(sequence)")
      }
      try database.run("UPDATE audit_chain SET exported_through = max(exported_through, ?) WHERE chain = ?", sequence, chain.blob)
    }
  }
}

extension Row {
  fileprivate func auditRow() throws -> AuditRow {
    guard let event = AuditEvent(canonical: try bytes(2)) else { throw damaged(2) }
    return AuditRow(chain: try text(0), sequence: try integer(1), event: event, hash: try bytes(3))
  }
}

extension Database {
  /// Extends the chain by `events`, inside the transaction that is open.
  func append(_ events: [AuditEvent], to chain: String, heads: AuditHeads) throws {
    guard !events.isEmpty else { return }
    var head = try heads[chain] ?? auditHead(of: chain)
    for (row, text) in AuditChain.extend(chain, after: head.sequence, hash: head.hash, with: events) {
      let event = row.event
      // The triggers refuse any other place in the chain, and move its head.
      try run(
        """
        INSERT INTO audit_row (chain, sequence, time, kind, reference, actor, subject, event, hash, agent)
          VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """, chain.blob, row.sequence, event.time.stored, event.kind.rawValue.blob, event.reference?.text.blob, event.actor.blob,
        event.subject?.blob, Data(text), Data(row.hash), event.agent.map { Data($0.bytes) })
      head = (row.sequence, row.hash)
    }
    heads[chain] = head
  }

  private func auditHead(of chain: String) throws -> AuditHeads.Head {
    guard let head = try row("SELECT last, last_hash FROM audit_chain WHERE chain = ?", chain.blob) else {
      throw StoreError.unavailable("the audit chain \(chain) is not in the store's file")
    }
    return (try head.integer(0), try head.bytes(1))
  }
}

/// Where each chain ends, as this process wrote it last. Only a memory of what the file says: should somebody else have written to it, the
/// triggers refuse the row, the memory is dropped, and the write is made anew from what the file says.
final class AuditHeads: Sendable {
  typealias Head = (sequence: Int64, hash: [UInt8])

  private let known = Mutex<[String: Head]>([:])

  subscript(chain: String) -> Head? {
    get { known.withLock { $0[chain] } }
    set { known.withLock { $0[chain] = newValue } }
  }

  func forget() { known.withLock { $0 = [:] } }
}
