import Bytes
import CertificateLifecycle
import Federation
import Identity
import SAML
import Testing

/// What every `RolloverRecordStore` must keep; the relying parties are of the same store.
package enum RolloverRecordStoreContract {
  package typealias Store = any RolloverRecordStore & RelyingPartyStore & AuditLog

  private static func party(_ name: String) -> RelyingParty {
    RelyingParty(
      name: name, entityID: "https://\(name).example/sp",
      consumers: [.init(binding: Binding.post.rawValue, location: "https://\(name).example/acs", index: 1, isDefault: true)])
  }

  package static let sentences: [ContractSentence<Store>] = [
    .init("a record is read back as it was put, with its version one higher, and its audit") { (store: Store) async throws in
      let wiki = party("wiki")
      try await store.add(wiki, audit: [])
      var record = RolloverRecord(relyingParty: wiki.id)
      for second in 0..<4 { record.notePoll(by: "192.0.2.1 shibboleth", keys: ["k"], now: Sample.time.adding(.seconds(second))) }
      record.add(.init(key: "k", level: .confirmed, time: Sample.time, detail: "é"))
      record.block(.init(key: "l", since: Sample.time, reason: "loops"))
      try await store.putRolloverRecord(record, audit: [Sample.event(.relyingPartyKeyConfirmed)])
      record.version = 1
      #expect(try await store.rolloverRecords() == [record])
      #expect(try await store.find(AuditQuery()).map(\.event.kind) == [.relyingPartyKeyConfirmed])
      record.unblock("l")
      let before = try await store.rolloverRecordsVersion()
      #expect(try await store.rolloverRecordsVersion() == before)
      try await store.putRolloverRecord(record, audit: [])
      #expect(try await store.rolloverRecordsVersion() != before)
      record.version = 2
      #expect(try await store.rolloverRecords() == [record])
    },
    .init("whoever has an older version writes nothing, and no audit") { (store: Store) async throws in
      let wiki = party("wiki")
      try await store.add(wiki, audit: [])
      let record = RolloverRecord(relyingParty: wiki.id)
      try await store.putRolloverRecord(record, audit: [])
      await #expect(throws: StoreError.self) { try await store.putRolloverRecord(record, audit: [Sample.event(.relyingPartyKeyConfirmed)]) }
      var ahead = record
      ahead.version = 7
      await #expect(throws: StoreError.self) { try await store.putRolloverRecord(ahead, audit: []) }
      #expect(try await store.rolloverRecords().map(\.version) == [1])
      #expect(try await store.find(AuditQuery()).isEmpty)
    },
    .init("a record goes with its relying party, and none is kept of one that is not there") { (store: Store) async throws in
      let wiki = party("wiki")
      try await store.add(wiki, audit: [])
      try await store.putRolloverRecord(RolloverRecord(relyingParty: wiki.id), audit: [])
      try await store.remove(relyingParty: wiki.id, audit: [])
      #expect(try await store.rolloverRecords().isEmpty)
      await #expect(throws: StoreError.self) { try await store.putRolloverRecord(RolloverRecord(relyingParty: wiki.id), audit: []) }
    },
  ]
}
