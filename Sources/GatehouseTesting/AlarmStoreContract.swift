import Bytes
import Health
import Identity
import Testing

/// What every `AlarmStore` must keep.
package enum AlarmStoreContract {
  package typealias Store = any AlarmStore & AuditLog

  private static func record(_ code: AlarmCode, _ subject: String) -> AlarmRecord {
    var record = AlarmRecord(
      Alarm(code, subject: subject, message: "m \u{0} é", remedy: "r", since: Sample.time, condition: "c"), seenBy: "node-1", now: Sample.time)
    record.outgoing["webhook"] = .init(id: "7", kind: .raised, at: Sample.time, next: Sample.time)
    record.told = .init(kind: .raised, at: Sample.time, digest: record.alarm.digest, severity: .warning, ways: ["webhook"])
    return record
  }

  package static let sentences: [ContractSentence<Store>] = [
    .init("a record is read back as it was written, with version 1, by code and subject") { (store: Store) async throws in
      let records = [record(.agentGone, "b"), record(.agentGone, "a"), record(.agentTwin, "a \u{0}")]
      #expect(try await store.apply(records.map(AlarmChange.write)) == Set(records.map(\.key)))
      let expected = records.sorted { $0.key < $1.key }.map { record in
        var record = record
        record.version = 1
        return record
      }
      #expect(try await store.alarmRecords() == expected)
    },
    .init("of two that change the same version one is too late, and the others of its changes are made all the same") { (store: Store) async throws in
      let (one, other) = (record(.agentGone, "one"), record(.agentGone, "other"))
      _ = try await store.apply([.write(one)])
      #expect(try await store.apply([.write(one), .write(other)]) == [other.key])
      var stored = try #require(try await store.alarmRecords().first { $0.key == one.key })
      stored.acknowledgement = .init(by: "admin", at: Sample.time, note: nil)
      #expect(try await store.apply([.write(stored)]) == [one.key])
      #expect(try await store.apply([.write(stored)]).isEmpty)
      #expect(try await store.apply([.remove(stored)]).isEmpty)
      let now = try #require(try await store.alarmRecords().first { $0.key == one.key })
      #expect(now.version == 2)
      #expect(now.acknowledgement == stored.acknowledgement)
      #expect(try await store.apply([.remove(now)]) == [one.key])
      #expect(try await store.alarmRecords().map(\.key) == [other.key])
      #expect(try await store.apply([.write(one)]) == [one.key], "a key that was removed begins anew")
    },
    .init("a change with audit is made with its row or not at all") { (store: Store) async throws in
      let one = record(.agentGone, "one")
      try await store.update(one, audit: [Sample.event(.alarmAcknowledged)])
      await expectConflict { try await store.update(one, audit: [Sample.event(.alarmAcknowledged)]) }
      #expect(try await store.find(AuditQuery()).map(\.event.kind) == [.alarmAcknowledged])
    },
  ]
}
