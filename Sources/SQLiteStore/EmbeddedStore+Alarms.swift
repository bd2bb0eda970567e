import Foundation
import GRDB
import Health
import Identity

extension EmbeddedStore: AlarmStore {
  package func alarmRecords() async throws -> [AlarmRecord] {
    try await read { database in
      try database.rows("SELECT document, version FROM alarm ORDER BY code, subject").map { row in
        guard var record = try? JSONDecoder().decode(AlarmRecord.self, from: Data(try row.bytes(0))) else { throw row.damaged(0) }
        record.version = try row.integer(1)
        return record
      }
    }
  }

  package func apply(_ changes: [AlarmChange]) async throws -> Set<AlarmKey> {
    try await write { database in
      var applied: Set<AlarmKey> = []
      for change in changes where try database.apply(change) { applied.insert(change.record.key) }
      return applied
    }
  }

  package func update(_ record: AlarmRecord, audit: [AuditEvent]) async throws {
    try await write(audit: audit) { database in
      guard try database.apply(.write(record)) else { throw StoreError.conflict("the alarm was changed meanwhile") }
    }
  }
}

extension Database {
  /// Whether the stored version was that of the change.
  fileprivate func apply(_ change: AlarmChange) throws -> Bool {
    let record = change.record
    let (code, subject) = (record.key.code.rawValue.blob, record.key.subject.blob)
    switch change {
    case .remove: return try run("DELETE FROM alarm WHERE code = ? AND subject = ? AND version = ?", code, subject, record.version) == 1
    case .write:
      let document = try JSONEncoder().encode(record)
      if record.version == 0 {
        return try run(
          "INSERT INTO alarm (code, subject, document, version) VALUES (?, ?, ?, 1) ON CONFLICT DO NOTHING", code, subject, document) == 1
      }
      return try run(
        "UPDATE alarm SET document = ?, version = version + 1 WHERE code = ? AND subject = ? AND version = ?", document, code, subject, record.version
      )
        == 1
    }
  }
}
