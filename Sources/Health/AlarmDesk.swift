import Bytes
import Identity
import Logging
import Metrics
import Synchronization

/// Tells people of alarms: looks at all sources, keeps the records in the store, and sends what is due by every way that there is.
///
/// Nodes that share a store share the records: each notice is claimed by compare-and-swap before it is sent, so that one node sends it. A notice is sent
/// at least once; a node that dies between sending and writing so down has it sent again by another one, under the same id.
package final class AlarmDesk: Sendable {
  /// The most notices that one call sends by one way: the rest has its turn with the next call.
  private static let mostInARow = 20
  /// How long the store may fail before that is told without it.
  private static let patience = Duration.seconds(10)

  private struct State {
    var troubles: [Alarm] = []
    /// Since when the store fails, and which ways know.
    var failing: Instant?
    var knowing: Set<String> = []
  }

  private let store: any AlarmStore
  private let sources: [any AlarmSource]
  private let ways: [any AlarmWay]
  private let rules: AlarmRules
  private let now: @Sendable () -> Instant
  private let logger: Logger
  private let state = Mutex(State())

  /// - Parameters:
  ///   - sources: everybody who knows of alarms, but for the desk itself.
  ///   - node: the name of this node.
  package init(
    store: any AlarmStore, sources: [any AlarmSource], ways: [any AlarmWay], node: String, policy: AlarmPolicy,
    now: @escaping @Sendable () -> Instant,
    logger: Logger
  ) {
    self.store = store
    self.sources = sources
    self.ways = ways
    self.now = now
    self.logger = logger
    rules = AlarmRules(node: node, ways: Set(ways.map(\.name)), policy: policy, started: now())
  }

  /// The names of the ways that there are.
  package var wayNames: [String] { ways.map(\.name) }

  /// Brings the records up to date with what stands. To be called every few seconds. Throws `StoreError` where the store does not answer, after it has
  /// told so by the ways themselves.
  package func look() async throws {
    do {
      let records = try await store.alarmRecords()
      let troubles = rules.troubles(records, now: now())
      state.withLock { $0.troubles = troubles }
      var standing: [Alarm] = troubles
      for source in sources { standing += await source.alarms() }
      let changes = rules.changes(of: records, standing: standing, now: now())
      if !changes.isEmpty {
        let applied = try await store.apply(changes)
        log(changes.filter { applied.contains($0.record.key) }, before: records)
      }
    } catch let error as StoreError {
      await storeFails(error)
      throw error
    }
    await storeWorks()
  }

  /// Sends what is due by one way, one after the other, until one fails. To be called every few seconds, for each way apart from the others: one that hangs
  /// keeps none else waiting. Throws `StoreError`, and `CancellationError`.
  package func deliver(by name: String) async throws {
    guard let way = ways.first(where: { $0.name == name }) else { return }
    let due = try await store.alarmRecords().filter { $0.outgoing[name].map { $0.next <= now() } ?? false }
      .sorted { ($0.outgoing[name]?.next ?? now(), $0.key) < ($1.outgoing[name]?.next ?? now(), $1.key) }
    for record in due.prefix(AlarmDesk.mostInARow) {
      try Task.checkCancellation()
      guard let (claimed, notice) = rules.claim(record, by: name, now: now()), try await !store.apply([.write(claimed)]).isEmpty else { continue }
      let delivery = await way.send(notice)
      count(delivery, by: name, kind: notice.kind)
      try await settle(record.key, by: name, id: notice.id, delivery: delivery)
      if case .failed(let reason, _) = delivery {
        logger.warning(
          "an alarm was not delivered; it is tried again", metadata: ["way": "\(name)", "code": "\(notice.code)", "reason": "\(reason)"])
        return
      }
      if claimed.outgoing[name]?.firstFailure != nil { try await hurryOthers(by: name) }
    }
  }

  /// The records of all that stands or was told to stand. Throws `StoreError`.
  package func records() async throws -> [AlarmRecord] { try await store.alarmRecords() }

  /// Keeps an alarm from being repeated while it stays as it is. Nil where none of this code and subject stands.
  ///
  /// - Parameter subject: nil where the code alone says which; then all of this code are acknowledged.
  /// - Throws: `StoreError`.
  package func acknowledge(_ code: AlarmCode, subject: String?, note: String?, actor: String) async throws -> [AlarmRecord] {
    var done: [AlarmRecord] = []
    func matches(_ record: AlarmRecord) -> Bool {
      record.key.code == code && record.absent == nil && (subject.map { $0.utf8.elementsEqual(record.key.subject.utf8) } ?? true)
    }
    for key in try await store.alarmRecords().filter(matches).map(\.key) {
      let event = AuditEvent(
        time: now(), kind: .alarmAcknowledged, actor: actor, subject: key.subject, outcome: "done",
        details: ["code": key.code.rawValue].merging(note.map { ["note": $0] } ?? [:]) { $1 })
      let acknowledgement = AlarmRecord.Acknowledgement(by: actor, at: now(), note: note)
      let changed = try await change(key, audit: [event]) { record in
        var record = record
        record.acknowledgement = acknowledgement
        // A repetition that has not left yet stays here.
        record.outgoing = record.outgoing.filter { $0.value.kind != .repeated || $0.value.isUnderWay }
        return record
      }
      if let changed { done.append(changed) }
    }
    return done
  }

  /// Sends a test notice by every way at once; what came of each, by its name.
  package func test(actor: String) async -> [(way: String, delivery: AlarmDelivery)] {
    let notice = AlarmNotice.test(node: rules.node, by: actor, now: now())
    return await withTaskGroup(of: (Int, AlarmDelivery).self) { group in
      for (index, way) in ways.enumerated() { group.addTask { (index, await way.send(notice)) } }
      var found: [Int: AlarmDelivery] = [:]
      for await (index, delivery) in group { found[index] = delivery }
      return ways.enumerated().compactMap { index, way in found[index].map { (way.name, $0) } }
    }
  }

  private func settle(_ key: AlarmKey, by way: String, id: String, delivery: AlarmDelivery) async throws {
    let now = now()
    _ = try await change(key) { [rules] in rules.settle($0, by: way, id: id, delivery: delivery, now: now) }
  }

  private func hurryOthers(by way: String) async throws {
    let now = now()
    let changes = try await store.alarmRecords().compactMap { rules.hurry($0, by: way, now: now) }.map { AlarmChange.write($0) }
    if !changes.isEmpty { _ = try await store.apply(changes) }
  }

  /// Changes a record as it stands then, however many others change it too. Nil where it is gone or `change` wants nothing.
  private func change(_ key: AlarmKey, audit: [AuditEvent] = [], _ change: (AlarmRecord) -> AlarmRecord?) async throws -> AlarmRecord? {
    for _ in 0..<20 {
      guard let record = try await store.alarmRecords().first(where: { $0.key == key }), let changed = change(record) else { return nil }
      do {
        try await store.update(changed, audit: audit)
        return changed
      } catch StoreError.conflict { continue }
    }
    throw StoreError.conflict("the alarm was changed by others again and again; try again")
  }
}

extension AlarmDesk: AlarmSource {
  /// What is wrong with the telling itself.
  package func alarms() async -> [Alarm] {
    let (troubles, failing) = state.withLock { ($0.troubles, $0.failing) }
    return troubles + (failing.map { [AlarmDesk.storeAlarm(since: $0)] } ?? [])
  }

  private static func storeAlarm(since: Instant) -> Alarm {
    Alarm(
      .storeUnavailable, subject: "store", message: "The store does not answer: no sign-in can be recorded, and so none is accepted.",
      remedy: "Look at the gateway's log and at the disk of the store (space, errors).", since: since)
  }

  /// Records cannot be kept: who must know is told from memory, once for each way.
  private func storeFails(_ error: StoreError) async {
    let now = now()
    let since = state.withLock { state in
      state.failing = state.failing ?? now
      return state.failing ?? now
    }
    guard now.since(since) >= AlarmDesk.patience else { return }
    for way in ways where !state.withLock({ $0.knowing.contains(way.name) }) {
      let id = "store-\(rules.node)-\(since.milliseconds)"
      let notice = AlarmNotice(id: id, kind: .raised, time: now, node: rules.node, alarm: AlarmDesk.storeAlarm(since: since))
      if await way.send(notice) == .delivered { state.withLock { _ = $0.knowing.insert(way.name) } }
    }
  }

  private func storeWorks() async {
    guard let since = state.withLock({ $0.failing }) else { return }
    let now = now()
    for way in ways where state.withLock({ $0.knowing.contains(way.name) }) {
      let id = "store-\(rules.node)-\(since.milliseconds)-cleared"
      let notice = AlarmNotice(id: id, kind: .cleared, time: now, node: rules.node, alarm: AlarmDesk.storeAlarm(since: since))
      if await way.send(notice) == .delivered { state.withLock { _ = $0.knowing.remove(way.name) } }
    }
    state.withLock { if $0.knowing.isEmpty { $0.failing = nil } }
  }

  /// The log has every change too, for those who read nothing else.
  private func log(_ changes: [AlarmChange], before records: [AlarmRecord]) {
    let before = Dictionary(records.map { ($0.key, $0.told) }) { first, _ in first }
    for change in changes {
      let record = change.record
      guard let told = record.told, before[record.key].flatMap({ $0 })?.at != told.at || before[record.key].flatMap({ $0 })?.kind != told.kind else {
        continue
      }
      logger.log(
        level: told.kind == .cleared ? .notice : record.alarm.severity == .critical ? .error : .warning,
        told.kind == .cleared ? "an alarm was cleared" : "an alarm stands",
        metadata: [
          "kind": "\(told.kind.rawValue)", "code": "\(record.key.code.rawValue)", "subject": "\(record.key.subject)",
          "what": "\(record.alarm.message)",
        ])
    }
  }

  private func count(_ delivery: AlarmDelivery, by way: String, kind: AlarmNotice.Kind) {
    Counter(
      label: Telemetry.alarmNotices.rawValue,
      dimensions: [("way", way), ("kind", kind.rawValue), ("outcome", delivery == .delivered ? "delivered" : "failed")]
    ).increment()
  }
}
