import Bytes
import Identity

/// How one directory server is, as one agent sees it. Agents tell it with their heartbeats.
///
/// Every field but the first three may be missing, so that agents and gateways of different versions understand one another.
package struct DirectoryReport: Sendable, Codable, Equatable {
  package enum State: String, Sendable, Codable, CaseIterable {
    case healthy
    /// It answers, but far later than another one; asked only where no other is left.
    case slow
    /// The breaker is open: it failed, and rests.
    case open
    /// One probe is under way.
    case halfOpen = "half-open"
    /// What this program's version has no word for.
    case unknown

    package init(from decoder: any Decoder) throws {
      self = State(rawValue: try decoder.singleValueContainer().decode(String.self)) ?? .unknown
    }
  }

  package var realm: RealmName
  /// Its name, with the port where one is configured; at most `maximumTextBytes`.
  package var server: String
  package var state: State
  /// How long a bind would take there now with all that waits, and with faults weighed in; milliseconds. Lower is better. Nil: never asked.
  package var score: Double?
  /// Exponentially weighted means.
  package var bindMilliseconds: Double?
  package var searchMilliseconds: Double?
  /// Exponentially weighted share of faults, 0 to 1.
  package var errorRate: Double?
  package var connections: Int?
  package var connectionLimit: Int?
  /// Questions that wait for a connection.
  package var waiting: Int?
  /// The last fault in words; at most `maximumTextBytes`.
  package var lastFault: String?
  package var lastFaultAt: Instant?
  /// Since when it is in its state; nil: since the agent began.
  package var since: Instant?

  package static let maximumTextBytes = 256
  /// The most that one heartbeat tells.
  package static let mostReports = 64

  package init(
    realm: RealmName, server: String, state: State, score: Double? = nil, bindMilliseconds: Double? = nil, searchMilliseconds: Double? = nil,
    errorRate: Double? = nil, connections: Int? = nil, connectionLimit: Int? = nil, waiting: Int? = nil, lastFault: String? = nil,
    lastFaultAt: Instant? = nil, since: Instant? = nil
  ) {
    self.realm = realm
    self.server = DirectoryReport.bounded(server)
    self.state = state
    self.score = DirectoryReport.rounded(score)
    self.bindMilliseconds = DirectoryReport.rounded(bindMilliseconds)
    self.searchMilliseconds = DirectoryReport.rounded(searchMilliseconds)
    self.errorRate = DirectoryReport.rounded(errorRate)
    self.connections = connections
    self.connectionLimit = connectionLimit
    self.waiting = waiting
    self.lastFault = lastFault.map(DirectoryReport.bounded)
    self.lastFaultAt = lastFaultAt
    self.since = since
  }

  /// What the gateway keeps of an agent's reports: only of the agent's own realms, and no more than is sensible.
  package static func admitted(_ reports: [DirectoryReport], realms: [RealmName]) -> [DirectoryReport] {
    reports.prefix(mostReports).filter { realms.contains($0.realm) }.map { report in
      DirectoryReport(
        realm: report.realm, server: report.server, state: report.state, score: report.score, bindMilliseconds: report.bindMilliseconds,
        searchMilliseconds: report.searchMilliseconds, errorRate: report.errorRate, connections: report.connections,
        connectionLimit: report.connectionLimit, waiting: report.waiting, lastFault: report.lastFault, lastFaultAt: report.lastFaultAt,
        since: report.since)
    }
  }

  private static func bounded(_ text: String) -> String { String(decoding: text.utf8.prefix(maximumTextBytes), as: UTF8.self) }

  /// To thousandths; what is no number that JSON could carry is nothing.
  private static func rounded(_ number: Double?) -> Double? {
    guard let number, number.isFinite, abs(number) < 1e12 else { return nil }
    return (number * 1000).rounded() / 1000
  }
}

/// Who can be asked how the directory servers are. Must answer at once, from memory.
package protocol DirectoryObserver: Sendable {
  func reports() async -> [DirectoryReport]
}

/// The reports of a heartbeat as far as they can be read: one that cannot must not cost the agent its heartbeat.
struct LenientReports: Decodable {
  var reports: [DirectoryReport] = []

  private struct Skipped: Decodable {}

  init(from decoder: any Decoder) throws {
    guard var list = try? decoder.unkeyedContainer() else { return }
    while !list.isAtEnd, reports.count < DirectoryReport.mostReports {
      if let report = try? list.decode(DirectoryReport.self) { reports.append(report) } else if (try? list.decode(Skipped.self)) == nil { return }
    }
  }
}
