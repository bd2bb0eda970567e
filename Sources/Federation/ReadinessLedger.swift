import Bytes
import CertificateLifecycle
import Identity
import Synchronization

/// The evidence that relying parties accept tokens signed with a key: gathered in memory while requests are answered, written to the store by and by.
///
/// Losing the last seconds of it in a crash makes a relying party look less ready than it is, never more.
package final class ReadinessLedger: Sendable {
  private let store: any RolloverRecordStore
  private let state = Mutex(State())

  private struct State {
    var records: [Identifier: RolloverRecord] = [:]
    var unwritten: Set<Identifier> = []
    /// Of what was read last.
    var version: Int64 = -1
    /// Grows whenever something may have become possible by what was learnt.
    var generation: Int64 = 0
  }

  package init(store: any RolloverRecordStore) { self.store = store }

  /// Reads what other nodes have written. Throws `StoreError`.
  package func refresh() async throws {
    let version = try await store.rolloverRecordsVersion()
    guard state.withLock({ $0.version != version }) else { return }
    let stored = try await store.rolloverRecords()
    state.withLock { state in
      state.version = version
      var fresh: [Identifier: RolloverRecord] = [:]
      for record in stored {
        let mine = state.records[record.relyingParty]
        if mine?.version != record.version, mine?.blocks != record.blocks || mine?.evidence.count != record.evidence.count { state.generation += 1 }
        guard let mine, state.unwritten.contains(record.relyingParty) else {
          fresh[record.relyingParty] = record
          continue
        }
        var both = record.merged(with: mine)
        both.version = record.version
        fresh[record.relyingParty] = both
      }
      for party in state.unwritten where fresh[party] == nil { fresh[party] = state.records[party] }
      state.records = fresh
    }
  }

  /// Writes what was observed. Throws `StoreError.unavailable`; what could not be written is tried again.
  package func flush() async throws {
    let waiting = state.withLock { state in
      defer { state.unwritten = [] }
      return state.unwritten.compactMap { state.records[$0] }
    }
    for record in waiting {
      do {
        try await store.putRolloverRecord(record, audit: [])
        state.withLock { if $0.records[record.relyingParty]?.version == record.version { $0.records[record.relyingParty]?.version += 1 } }
      } catch StoreError.notFound {
        state.withLock { _ = $0.records.removeValue(forKey: record.relyingParty) }
      } catch {
        state.withLock { _ = $0.unwritten.insert(record.relyingParty) }
        guard case StoreError.conflict = error else { throw error }
      }
    }
  }

  /// Changes the record at once, with its audit. Throws `StoreError`.
  package func change(_ party: Identifier, audit: [AuditEvent], _ body: (inout RolloverRecord) -> Void) async throws {
    for _ in 0..<8 {
      try await refresh()
      var record = self.record(of: party)
      body(&record)
      do { try await store.putRolloverRecord(record, audit: audit) } catch StoreError.conflict { continue }
      record.version += 1
      let written = record
      state.withLock {
        $0.records[party] = written
        $0.unwritten.remove(party)
        $0.generation += 1
      }
      return
    }
    throw StoreError.conflict("the record of the relying party is changed again and again; try again")
  }

  package func record(of party: Identifier) -> RolloverRecord {
    state.withLock { $0.records[party] } ?? RolloverRecord(relyingParty: party)
  }

  /// Is another number whenever something was learnt that may let a relying party move.
  package var generation: Int64 { state.withLock { $0.generation } }

  /// A client has read the relying party's own metadata, which shows these keys.
  package func notePoll(of party: Identifier, by client: String, keys: [String], now: Instant) {
    observe(party) { record in
      let before = keys.filter { record.best(for: $0, now: now) == nil }
      record.notePoll(by: client, keys: keys, now: now)
      return before.contains { record.best(for: $0, now: now) != nil }
    }
  }

  /// Real sign-ins have worked with a key. Where nothing but metadata could have brought it, the relying party is one that follows.
  package func noteUse(of key: String, by party: Identifier, detail: String, now: Instant) {
    observe(party) { record in
      guard !record.evidence.contains(where: { $0.key == key && $0.level == .used }) else { return false }
      if let best = record.best(for: key, now: now), best.level == .fetched { record.followed = now }
      record.add(RolloverRecord.Evidence(key: key, level: .used, time: now, detail: detail))
      return true
    }
  }

  private func observe(_ party: Identifier, _ body: (inout RolloverRecord) -> Bool) {
    state.withLock { state in
      var record = state.records[party] ?? RolloverRecord(relyingParty: party)
      if body(&record) { state.generation += 1 }
      state.records[party] = record
      state.unwritten.insert(party)
    }
  }
}
