import Bytes
import Federation
import Foundation
import GRDB
import Identity

extension EmbeddedStore: RolloverRecordStore {
  package func rolloverRecordsVersion() async throws -> Int64 {
    try await read { try $0.row("SELECT rollover_records_version FROM federation")?.integer(0) ?? 0 }
  }

  package func rolloverRecords() async throws -> [RolloverRecord] {
    try await read { database in
      let decoder = JSONDecoder()
      return try database.rows("SELECT relying_party, document, version FROM rollover_record").map { row in
        guard var record = try? decoder.decode(RolloverRecord.self, from: Data(try row.bytes(1))) else { throw row.damaged(1) }
        record.version = try row.integer(2)
        return record
      }
    }
  }

  package func putRolloverRecord(_ record: RolloverRecord, audit: [AuditEvent]) async throws {
    let (id, document) = (Data(record.relyingParty.bytes), try JSONEncoder().encode(record))
    try await write(audit: audit) { database in
      guard try database.row("SELECT 1 FROM relying_party WHERE id = ?", id) != nil else {
        throw StoreError.notFound("there is no such relying party")
      }
      let changed =
        record.version == 0
        ? try database.run(
          "INSERT INTO rollover_record (relying_party, document, version) VALUES (?, ?, 1) ON CONFLICT DO NOTHING", id, document)
        : try database.run(
          "UPDATE rollover_record SET document = ?, version = version + 1 WHERE relying_party = ? AND version = ?", document, id, record.version)
      guard changed == 1 else { throw StoreError.conflict("the record of the relying party was changed meanwhile") }
      try database.run("UPDATE federation SET rollover_records_version = rollover_records_version + 1")
    }
  }
}
