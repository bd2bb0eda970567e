import Bytes
import Cryptography
import Identity

/// What is told of an alarm, in the shape in which webhook and command get it. Field names are part of the API.
package struct AlarmNotice: Sendable, Equatable, Codable {
  package enum Kind: String, Sendable, CaseIterable, Codable {
    case raised, changed, repeated, cleared, test
  }

  /// The same in every try to send it: a receiver that has seen it can drop it.
  package var id: String
  package var kind: Kind
  /// When it came to be told.
  package var time: Instant
  /// The node that sends it.
  package var node: String
  /// An `AlarmCode`, or `test`.
  package var code: String
  package var subject: String
  package var severity: AlarmSeverity
  package var message: String
  package var remedy: String
  package var since: Instant
  /// All of it in one line, for receivers that show nothing else (chat rooms read this field).
  package var text: String

  package init(id: String, kind: Kind, time: Instant, node: String, alarm: Alarm) {
    self.init(
      id: id, kind: kind, time: time, node: node, code: alarm.code.rawValue, subject: alarm.subject, severity: alarm.severity, message: alarm.message,
      remedy: alarm.remedy, since: alarm.since)
  }

  private init(
    id: String, kind: Kind, time: Instant, node: String, code: String, subject: String, severity: AlarmSeverity, message: String, remedy: String,
    since: Instant
  ) {
    self.id = id
    self.kind = kind
    self.time = time
    self.node = node
    self.code = code
    self.subject = subject
    self.severity = severity
    self.message = message
    self.remedy = remedy
    self.since = since
    text =
      switch kind {
      case .raised: "ALARM \(code) at \(node): \(message) \(remedy)"
      case .changed: "ALARM changed, \(code) at \(node): \(message) \(remedy)"
      case .repeated: "ALARM stands since \(since), \(code) at \(node): \(message) \(remedy)"
      case .cleared: "Cleared: \(code) (\(subject)) at \(node)."
      case .test: "\(message) \(remedy)"
      }
  }

  /// What `gatehouse alarms test` sends.
  package static func test(node: String, by actor: String, now: Instant) -> AlarmNotice {
    AlarmNotice(
      id: RandomBytes.generate(16).hexadecimal, kind: .test, time: now, node: node, code: "test", subject: node, severity: .warning,
      message: "This is a test of the alarms of \(node), asked for by \(actor).", remedy: "Nothing is wrong and nothing must be done.", since: now)
  }
}

/// A way by which people are told: a webhook, a command.
package protocol AlarmWay: Sendable {
  /// Short and stable: it is part of records and metrics.
  var name: String { get }
  /// Sends one notice within a time of its own. Never throws; a cancelled call answers `.failed`.
  func send(_ notice: AlarmNotice) async -> AlarmDelivery
}

/// What came of sending a notice.
package enum AlarmDelivery: Sendable, Equatable {
  case delivered
  /// Why not, for an administrator; and whether the receiver may have got it all the same (its answer was lost, or was an error).
  case failed(String, mayHaveArrived: Bool)
}
