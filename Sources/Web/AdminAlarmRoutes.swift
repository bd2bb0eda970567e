import Bytes
import Health
import Hummingbird
import Identity

/// What stands, who was told of it, and who knows already.
struct AdminAlarmRoutes: Sendable {
  let services: GatewayServices

  func add(to router: Router<GatewayRequestContext>) {
    router.get("/admin/v1/alarms") { _, context in
      _ = try services.adminRoles.actor(context, changing: false)
      return jsonResponse(try await services.alarmDesk.records().map(AlarmMessage.init))
    }
    router.post("/admin/v1/alarms/acknowledge") { request, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let message: AlarmAcknowledgement = try await decodeAdmin(request)
      guard let code = AlarmCode(rawValue: message.code) else {
        throw RequestFault.malformed("There is no alarm \"\(message.code.prefix(64))\". `gatehouse alarms list` shows those that stand.")
      }
      guard (message.note?.utf8.count ?? 0) <= 512 else { throw RequestFault.malformed("The note may have at most 512 bytes.") }
      let done = try await services.alarmDesk.acknowledge(code, subject: message.subject, note: message.note, actor: actor)
      guard !done.isEmpty else {
        throw RequestFault.notFound(
          "No alarm \(code.rawValue)\(message.subject.map { " of \($0.prefix(64))" } ?? "") stands. `gatehouse alarms list` shows those that do.")
      }
      return jsonResponse(done.map(AlarmMessage.init))
    }
    router.post("/admin/v1/alarms/test") { _, context in
      let actor = try services.adminRoles.actor(context, changing: true)
      let outcomes = await services.alarmDesk.test(actor: actor)
      return jsonResponse(
        outcomes.map { way, delivery in
          switch delivery {
          case .delivered: AlarmTestMessage(way: way, delivered: true)
          case .failed(let reason, _): AlarmTestMessage(way: way, delivered: false, problem: reason)
          }
        })
    }
  }
}

/// An alarm and what was told of it.
package struct AlarmMessage: Codable, Sendable {
  package enum State: String, Codable, Sendable {
    /// Seen a moment ago; not told yet.
    case new
    case told, acknowledged
    /// Its cause is gone; not all who were told know so yet.
    case clearing
  }

  package struct Waiting: Codable, Sendable {
    package var way: String
    package var kind: String
    package var tries: Int
    package var next: Instant
    package var problem: String?
  }

  package var code: String
  package var subject: String
  package var severity: String
  package var message: String
  package var remedy: String
  package var since: Instant
  package var state: State
  package var told: Instant?
  package var acknowledgedBy: String?
  package var acknowledged: Instant?
  package var note: String?
  /// The nodes that see it.
  package var nodes: [String]
  /// What has not arrived yet.
  package var waiting: [Waiting]

  init(_ record: AlarmRecord) {
    code = record.key.code.rawValue
    subject = record.key.subject
    severity = record.alarm.severity.rawValue
    message = record.alarm.message
    remedy = record.alarm.remedy
    since = record.alarm.since
    state = record.absent != nil ? .clearing : record.acknowledgement != nil ? .acknowledged : record.told != nil ? .told : .new
    told = record.told?.at
    acknowledgedBy = record.acknowledgement?.by
    acknowledged = record.acknowledgement?.at
    note = record.acknowledgement?.note
    nodes = record.holders.keys.sorted()
    waiting = record.outgoing.sorted { $0.key < $1.key }.map { way, outgoing in
      Waiting(way: way, kind: outgoing.kind.rawValue, tries: outgoing.tries, next: outgoing.next, problem: outgoing.lastFailure)
    }
  }
}

package struct AlarmAcknowledgement: Codable, Sendable {
  package var code: String
  /// Nil: all of the code.
  package var subject: String?
  package var note: String?

  package init(code: String, subject: String?, note: String?) {
    self.code = code
    self.subject = subject
    self.note = note
  }
}

/// What came of a test notice by one way.
package struct AlarmTestMessage: Codable, Sendable {
  package var way: String
  package var delivered: Bool
  package var problem: String?
}
