import Health
import Identity

extension InMemoryStore: AlarmStore {
  package func alarmRecords() async throws -> [AlarmRecord] {
    try check()
    return alarms.values.sorted { $0.key < $1.key }
  }

  package func apply(_ changes: [AlarmChange]) async throws -> Set<AlarmKey> {
    try check()
    return Set(changes.filter { put($0) }.map(\.record.key))
  }

  package func update(_ record: AlarmRecord, audit: [AuditEvent]) async throws {
    try check()
    guard put(.write(record)) else { throw StoreError.conflict("the alarm was changed meanwhile") }
    self.record(audit)
  }

  private func put(_ change: AlarmChange) -> Bool {
    var record = change.record
    guard alarms[record.key]?.version ?? 0 == record.version else { return false }
    switch change {
    case .remove: return alarms.removeValue(forKey: record.key) != nil
    case .write:
      record.version += 1
      alarms[record.key] = record
      return true
    }
  }
}

extension InMemoryStore: RevocationStore {
  package func record(_ revocations: [Revocation], audit: [AuditEvent]) async throws {
    try check()
    revocations.forEach(journal)
    record(audit)
  }

  package func revocations(after position: Int64, limit: Int) async throws -> [JournaledRevocation] {
    try check()
    return Array(revocations.filter { $0.position > position }.prefix(max(1, min(10_000, limit))))
  }

  package func revocations(of kind: Revocation.Kind) async throws -> [JournaledRevocation] {
    try check()
    return revocations.filter { $0.revocation.kind == kind }
  }

  func journal(_ revocation: Revocation) {
    revocations.append(JournaledRevocation(position: Int64(revocations.count) + 1, revocation: revocation))
  }
}
