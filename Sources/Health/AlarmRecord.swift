import Bytes
import Cryptography
import Identity

/// What alarms are told apart by.
package struct AlarmKey: Hashable, Sendable, Codable, Comparable {
  package var code: AlarmCode
  package var subject: String

  package init(_ code: AlarmCode, subject: String) {
    self.code = code
    self.subject = subject
  }

  package static func < (left: AlarmKey, right: AlarmKey) -> Bool {
    left.code != right.code ? left.code.rawValue < right.code.rawValue : left.subject.utf8.lexicographicallyPrecedes(right.subject.utf8)
  }
}

/// One alarm from the moment somebody saw it until everybody who was told of it has been told of its end, as the store keeps it.
///
/// ```
///  seen ──settled──► raised ──condition, severity──► changed ──time──► repeated ──absent──► cleared ──delivered──► (gone)
///    │                  └── acknowledged: not repeated ──condition, severity──► changed
///    └──absent──► (gone, nobody was told)
/// ```
package struct AlarmRecord: Sendable, Equatable, Codable {
  /// What was told last.
  package struct Told: Sendable, Equatable, Codable {
    package var kind: AlarmNotice.Kind
    package var at: Instant
    /// The digest of what it said.
    package var digest: [UInt8]
    package var severity: AlarmSeverity
    /// The ways that got a notice of it to send; a way that is new is told what stands.
    package var ways: [String]

    package init(kind: AlarmNotice.Kind, at: Instant, digest: [UInt8], severity: AlarmSeverity, ways: [String]) {
      self.kind = kind
      self.at = at
      self.digest = digest
      self.severity = severity
      self.ways = ways
    }
  }

  /// Somebody knows of it and wants no repetition.
  package struct Acknowledgement: Sendable, Equatable, Codable {
    package var by: String
    package var at: Instant
    package var note: String?

    package init(by: String, at: Instant, note: String?) {
      self.by = by
      self.at = at
      self.note = note
    }
  }

  /// A notice that is to be sent by one way.
  package struct Outgoing: Sendable, Equatable, Codable {
    /// The same in every try, so that a receiver knows what it had already.
    package var id: String
    package var kind: AlarmNotice.Kind
    package var at: Instant
    package var tries = 0
    /// Nobody tries before.
    package var next: Instant
    package var firstFailure: Instant?
    package var lastFailure: String?
    /// Whether a try may have reached its receiver although it looked like a failure.
    package var mayHaveArrived = false
    /// Whether a try is under way; if its node dies, `next` lets another one try.
    package var isUnderWay = false

    package init(id: String, kind: AlarmNotice.Kind, at: Instant, next: Instant) {
      self.id = id
      self.kind = kind
      self.at = at
      self.next = next
    }
  }

  package var key: AlarmKey
  /// As it stood last.
  package var alarm: Alarm
  /// Which nodes see it, and when each of them last said so.
  package var holders: [String: Instant]
  /// Since when it is seen; short absences do not end it.
  package var seen: Instant
  /// Since when no node sees it; nil while one does.
  package var absent: Instant?
  package var told: Told?
  package var acknowledgement: Acknowledgement?
  /// By the name of the way.
  package var outgoing: [String: Outgoing]
  /// For compare-and-swap; 0: it is not in the store yet. The store keeps it beside the rest.
  package var version: Int64 = 0

  private enum CodingKeys: String, CodingKey { case key, alarm, holders, seen, absent, told, acknowledgement, outgoing }

  package init(_ alarm: Alarm, seenBy node: String, now: Instant) {
    key = AlarmKey(alarm.code, subject: alarm.subject)
    self.alarm = alarm
    holders = [node: now]
    seen = now
    outgoing = [:]
  }
}

extension Alarm {
  /// Changes with what somebody has to be told of: severity and condition.
  package var digest: [UInt8] { Digests.sha256(Array("\(severity.rawValue)\n\(condition ?? message)".utf8)) }

  /// One alarm of several that bear the same code and subject, as when two agents miss the same server.
  static func merged(_ alarms: [Alarm]) -> Alarm? {
    let sorted = alarms.sorted { ($0.since, $0.message) < ($1.since, $1.message) }
    guard var result = sorted.first else { return nil }
    func joined(_ texts: [String], limit: Int) -> String {
      var seen: Set<[UInt8]> = []
      let distinct = texts.filter { seen.insert(Array($0.utf8)).inserted }
      return String(decoding: distinct.joined(separator: " ").utf8.prefix(limit), as: UTF8.self)
    }
    result.severity = alarms.map(\.severity).max() ?? result.severity
    result.message = joined(sorted.map(\.message), limit: 2048)
    result.remedy = joined(sorted.map(\.remedy), limit: 2048)
    if alarms.contains(where: { $0.condition != nil }) {
      result.condition = joined(alarms.map { $0.condition ?? $0.message }.sorted(), limit: 2048)
    }
    result.needsAction = alarms.contains(where: \.needsAction)
    return result
  }
}

/// The alarms as the store keeps them for all nodes.
package protocol AlarmStore: Sendable {
  /// All records, by code and subject. Throws `StoreError`.
  func alarmRecords() async throws -> [AlarmRecord]
  /// Writes or removes each record whose stored version is still the one that is given, in one transaction. Answers the keys of those; whoever is not
  /// among them was changed by another node meanwhile. Throws `StoreError`.
  func apply(_ changes: [AlarmChange]) async throws -> Set<AlarmKey>
  /// Writes one record with its audit events. Throws `StoreError.conflict` where it has moved on.
  func update(_ record: AlarmRecord, audit: [AuditEvent]) async throws
}

/// A change of one record.
package enum AlarmChange: Sendable, Equatable {
  /// Version 0: there is none of this key yet.
  case write(AlarmRecord)
  case remove(AlarmRecord)

  package var record: AlarmRecord {
    switch self {
    case .write(let record), .remove(let record): record
    }
  }
}
