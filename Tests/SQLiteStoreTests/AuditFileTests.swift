import Bytes
import Foundation
import GRDB
import GatehouseTesting
import Identity
import Testing

@testable import SQLiteStore

@Suite struct `The audit in the file` {
  let folder: Folder
  let store: EmbeddedStore

  init() async throws {
    folder = try Folder()
    store = try folder.open()
    for number in 1...5 { try await store.append([event(subject: "user\(number)")]) }
  }

  @Test(arguments: [
    "UPDATE audit_row SET event = x'7b7d' WHERE sequence = 2",
    "UPDATE audit_row SET sequence = 9 WHERE sequence = 5",
    "DELETE FROM audit_row WHERE sequence = 1",
    "DELETE FROM audit_row",
    "INSERT OR REPLACE INTO audit_row SELECT id, chain, sequence, 0, kind, reference, actor, subject, event, hash FROM audit_row WHERE sequence = 2",
    "INSERT INTO audit_row SELECT 99, chain, 7, time, kind, reference, actor, subject, event, hash FROM audit_row WHERE sequence = 2",
    "UPDATE audit_chain SET last = 1",
    "UPDATE audit_chain SET first = 3",
    "UPDATE audit_chain SET exported_through = 6",
    "DELETE FROM audit_chain",
  ])
  func `is changed by no statement`(sql: String) async throws {
    await #expect(throws: DatabaseError.self) { try await store.pool.write { try $0.execute(sql: sql) } }
    #expect(try await store.rows(chain: "node-1", after: 0, limit: 10).count == 5)
  }

  @Test func `exports to text that verifies, segment by segment, also after pruning`() async throws {
    func export() async throws -> (text: [UInt8], segment: AuditSegment) {
      let chain = try #require(try await store.chains().first)
      var export = AuditExport(chain: chain.chain, first: chain.first, anchor: chain.anchor)
      var text = export.header
      for row in try await store.rows(chain: chain.chain, after: chain.first - 1, limit: 1000) { text += try export.line(of: row) }
      return (text + export.closing, export.segment)
    }
    let first = try await export()
    var verifier = AuditExportVerifier()
    try verifier.read(first.text)
    #expect(try verifier.finish() == first.segment)

    try await store.markExported(chain: "node-1", through: 5, event: event(.auditExported))
    try await store.prune(chain: "node-1", through: 5, event: event(.auditPruned))
    let second = try await export()
    #expect(second.segment.first == 6 && second.segment.last == 7)
    verifier = AuditExportVerifier(continuing: first.segment)
    try verifier.read(second.text)
    #expect(try verifier.finish() == second.segment)
  }

  @Test func `whose triggers somebody dropped is not exported where a row was changed`() async throws {
    try await store.pool.write { database in
      try database.execute(
        sql: "DROP TRIGGER audit_row_unchanged; UPDATE audit_row SET event = CAST(replace(event, 'user3', 'user9') AS BLOB) WHERE sequence = 3")
    }
    let chain = try #require(try await store.chains().first)
    var export = AuditExport(chain: chain.chain, first: chain.first, anchor: chain.anchor)
    let error = await #expect(throws: StoreError.self) {
      for row in try await store.rows(chain: chain.chain, after: 0, limit: 10) { _ = try export.line(of: row) }
    }
    #expect(error.map { "\($0)".contains("broken at row 3") } == true)
  }

  @Test func `is found by its indexes`() async throws {
    for (sql, index) in [
      ("SELECT 1 FROM audit_row WHERE reference = x'00' AND time BETWEEN 1 AND 2 ORDER BY time DESC, id DESC", "audit_row_reference"),
      ("SELECT 1 FROM audit_row WHERE subject = x'00' AND time BETWEEN 1 AND 2 ORDER BY time DESC, id DESC", "audit_row_subject"),
      ("SELECT 1 FROM audit_row WHERE time BETWEEN 1 AND 2 ORDER BY time DESC, id DESC LIMIT 5", "audit_row_time"),
      ("SELECT 1 FROM lockout_object WHERE (blocked = 1 OR locked_until IS NOT NULL) AND (blocked = 1 OR locked_until > 5)", "lockout_object_barred"),
    ] {
      let plan = try await store.pool.read { try Row.fetchAll($0, sql: "EXPLAIN QUERY PLAN " + sql).map { "\($0)" }.joined() }
      #expect(plan.contains(index))
    }
  }
}

@Suite struct `The disk reserve` {
  let folder: Folder
  let time = ManualTime()
  var path: String { folder.path + "/reserve" }

  init() throws { folder = try Folder() }

  @Test func `holds space, is given up once with an alarm, and comes back when there is room`() async throws {
    let reserve = DiskReserve(path: path, bytes: 2 << 20, now: time.reading)
    reserve.refresh()
    let attributes = try FileManager.default.attributesOfItem(atPath: path)
    #expect(attributes[.size] as? Int == 2 << 20 && attributes[.posixPermissions] as? Int == 0o600)
    #expect(await reserve.alarms().isEmpty)

    #expect(reserve.release())
    #expect(!FileManager.default.fileExists(atPath: path))
    #expect(!reserve.release())
    let alarm = try #require(await reserve.alarms().first)
    #expect(alarm.code == .auditDiskLow && alarm.since == time.now && alarm.remedy.contains("gatehouse audit prune"))

    reserve.refresh()
    #expect(FileManager.default.fileExists(atPath: path))
    #expect(await reserve.alarms().isEmpty)
  }

  @Test func `that the disk has no room for is an alarm from the start`() async throws {
    let reserve = DiskReserve(path: path, bytes: 1 << 60, now: time.reading)
    reserve.refresh()
    #expect(await reserve.alarms().map(\.code) == [.auditDiskLow])
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test func `is given up by a store whose disk is full`() async throws {
    let reserve = DiskReserve(path: path, bytes: 1 << 20, now: time.reading)
    reserve.refresh()
    let store = try EmbeddedStore(path: folder.file, node: "node-1", reserve: reserve, lostTrust: { _ in })
    try await store.pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA max_page_count = 1") }
    var big = event()
    big.trace = (0..<60).map { _ in TraceNote(.bind, String(repeating: "x", count: 1000)) }
    let full = big
    await #expect(throws: StoreError.self) { try await store.append([full]) }
    #expect(await reserve.alarms().map(\.code) == [.auditDiskLow])
    #expect(!FileManager.default.fileExists(atPath: path))
  }
}
