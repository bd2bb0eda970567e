import Foundation

/// What a run came to, for people and for programs.
struct Report: Codable {
  struct Latency: Codable {
    var count: Int
    /// Milliseconds.
    var p50: Double?
    var p90: Double?
    var p99: Double?
    var p999: Double?
    var max: Double?

    init(_ histogram: Histogram) {
      count = histogram.count
      p50 = histogram.percentile(0.5)
      p90 = histogram.percentile(0.9)
      p99 = histogram.percentile(0.99)
      p999 = histogram.percentile(0.999)
      max = count > 0 ? Double(histogram.longest) / 1_000_000 : nil
    }
  }

  /// One stream of attempts.
  struct Part: Codable {
    var name: String
    /// Attempts a second; nil where each waits for the answer before.
    var offered: Double?
    /// Verdicts a second, of attempts that were due after the warm-up.
    var achieved: Double
    var asked: [String: Int]
    /// Those of them that got a verdict.
    var answered: [String: Int]
    var accepted: Latency
    var refused: Latency
    var unavailable: Latency
    var acceptedByRealm: [String: Latency]?
    var wrongYes: Int
    var wrongNo: Int
    /// Refusals of whatever kind, by code.
    var refusedBy: [String: Int]
    /// Refused right passwords, by a code that does not call them wrong.
    var withheld: [String: Int]
    /// The share of right passwords that were accepted.
    var served: Double?
    var unavailableWithRetryAfter: Int
    var unavailableWithoutRetryAfter: Int
    var limited: Int
    var cut: Int
    var timedOut: Int
    var unexpected: Int
    var samples: [String]
    var slowestMilliseconds: Double
    var slowest: String

    init(name: String, offered: Double?, seconds: Double, tally: Tally, groups: [String]) {
      self.name = name
      self.offered = offered
      achieved = seconds > 0 ? Double(tally.measured) / seconds : 0
      asked = Dictionary(uniqueKeysWithValues: tally.asked.map { ($0.key.rawValue, $0.value) })
      answered = Dictionary(uniqueKeysWithValues: tally.answered.map { ($0.key.rawValue, $0.value) })
      accepted = Latency(tally.accepted)
      refused = Latency(tally.refused)
      unavailable = Latency(tally.unavailable)
      acceptedByRealm = groups.count > 1 ? Dictionary(uniqueKeysWithValues: zip(groups, tally.acceptedByGroup.map(Latency.init))) : nil
      wrongYes = tally.wrongYes
      wrongNo = tally.wrongNo
      refusedBy = tally.refusedBy
      withheld = tally.withheld
      let right = tally.asked[.right, default: 0]
      let notServed = right - tally.answered[.right, default: 0] + tally.wrongNo + tally.withheld.values.reduce(0, +)
      served = right > 0 ? Double(right - notServed) / Double(right) : nil
      unavailableWithRetryAfter = tally.unavailableWithRetryAfter
      unavailableWithoutRetryAfter = tally.unavailableWithout
      limited = tally.limited
      cut = tally.cut
      timedOut = tally.timedOut
      unexpected = tally.unexpected
      samples = tally.samples
      slowestMilliseconds = Double(tally.slowest.nanoseconds) / 1_000_000
      slowest = tally.slowest.what
    }
  }

  var target: String
  var seed: UInt64
  var mix: String
  var connections: Int
  /// Measured, without the warm-up.
  var seconds: Double
  var parts: [Part]
  var connectionFaults: [String: Int]
  var ledger: Ledger.Comparison?
  /// What of the latencies is the driver's own: from when an attempt was due to when it was sent. Nil for bare binds.
  var sendingDelay: Latency?
  /// CPU time of the driver itself.
  var driverCPUSeconds: Double

  /// Whether nothing can be said of some stream: answers that nobody expected, or no verdict at all.
  var isVoid: Bool { parts.contains { $0.unexpected > 0 || $0.answered.isEmpty } }

  /// Whether an answer was given that must never be.
  var isBad: Bool { parts.contains { $0.wrongYes + $0.wrongNo > 0 } || (ledger.map { $0.lost + $0.contradicted > 0 } ?? false) }

  static var ownCPUSeconds: Double {
    var usage = rusage()
    getrusage(Int32(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
  }

  var json: String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
  }

  var text: String {
    var lines = ["\(target)   seed \(seed)   mix \(mix)   \(connections) connections   \(Report.number(seconds, 1)) s"]
    for part in parts { lines += part.lines }
    if let ledger {
      lines.append(
        "lost \(ledger.lost) of \(ledger.acknowledged) acknowledged; contradicted \(ledger.contradicted); in the audit only \(ledger.unacknowledged)")
      lines += ledger.samples.map { "  " + $0 }
    } else {
      lines.append("lost: not compared with the audit (--gatehouse and --socket)")
    }
    for (fault, count) in connectionFaults.sorted(by: { $0.value > $1.value }) { lines.append("connections: \(count) × \(fault)") }
    if let delay = sendingDelay, let p99 = delay.p99, let max = delay.max {
      lines.append("sent after it was due: p99 \(Report.number(p99, 2)) ms, max \(Report.number(max, 2)) ms (part of the latencies above)")
    }
    lines.append("the driver's own CPU time: \(Report.number(driverCPUSeconds, 1)) s")
    return lines.joined(separator: "\n")
  }

  static func number(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }
}

extension Report.Part {
  /// For people.
  var lines: [String] {
    let rate = offered.map { "offered \(Report.number($0, 1))/s" } ?? "closed loop"
    var lines = [
      "", "\(name): \(rate), achieved \(Report.number(achieved, 1)) verdicts/s",
      "              count        p50        p90        p99      p99.9        max",
    ]
    var rows = [("accepted", accepted), ("refused", refused), ("503", unavailable)]
    rows += (acceptedByRealm ?? [:]).sorted { $0.key < $1.key }.map { ("@" + $0.key, $0.value) }
    for (name, latency) in rows where latency.count > 0 || name != "503" {
      let cells = [latency.p50, latency.p90, latency.p99, latency.p999, latency.max].map { $0.map { Report.number($0, 2) + " ms" } ?? "-" }
      lines.append(
        name.padding(toLength: max(9, name.count), withPad: " ", startingAt: 0) + Report.Part.right("\(latency.count)", 10)
          + cells.map { Report.Part.right($0, 11) }.joined())
    }
    let asked = Attempt.Kind.allCases.compactMap { kind in self.asked[kind.rawValue].map { "\(kind) \($0)" } }.joined(separator: ", ")
    lines.append("asked: \(asked)" + (served.map { "; right passwords accepted: \(Report.number($0 * 100, 3)) %" } ?? ""))
    lines.append(
      "wrong yes \(wrongYes), wrong no \(wrongNo); 503 with Retry-After \(unavailableWithRetryAfter), without \(unavailableWithoutRetryAfter); "
        + "429 \(limited); cut \(cut), no answer in time \(timedOut), unexpected \(unexpected)")
    if !withheld.isEmpty {
      lines.append("right passwords refused: " + withheld.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "))
    }
    lines.append("slowest: \(Report.number(slowestMilliseconds, 1)) ms, \(slowest)")
    lines += samples.map { "  " + $0 }
    return lines
  }

  private static func right(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(1, width - text.count)) + text }
}

/// What came of one stream since the line before.
struct Progress: Codable {
  var at: Double
  var name: String
  var rate: Double
  var p50: Double?
  var p99: Double?
  var max: Double?
  var unavailableWithRetryAfter: Int
  var unavailableWithoutRetryAfter: Int
  var limited: Int
  var cut: Int
  var timedOut: Int
  var unexpected: Int
  var wrongYes: Int
  var wrongNo: Int
  var withheld: Int

  init(_ name: String, _ tally: Tally, at: Double, seconds: Double) {
    self.at = (at * 10).rounded() / 10
    self.name = name
    rate = Double(tally.measured) / seconds
    p50 = tally.accepted.percentile(0.5)
    p99 = tally.accepted.percentile(0.99)
    max = tally.accepted.count > 0 ? Double(tally.accepted.longest) / 1e6 : nil
    unavailableWithRetryAfter = tally.unavailableWithRetryAfter
    unavailableWithoutRetryAfter = tally.unavailableWithout
    limited = tally.limited
    cut = tally.cut
    timedOut = tally.timedOut
    unexpected = tally.unexpected
    wrongYes = tally.wrongYes
    wrongNo = tally.wrongNo
    withheld = tally.withheld.values.reduce(0, +)
  }

  func line(json: Bool) -> String {
    if json {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
      return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
    }
    func shown(_ milliseconds: Double?) -> String { milliseconds.map { Report.number($0, 1) } ?? "-" }
    return "\(Report.number(at, 0)) s  \(name) \(Report.number(rate, 0))/s  p50 \(shown(p50)) p99 \(shown(p99)) max \(shown(max)) ms  "
      + "503 \(unavailableWithRetryAfter)+\(unavailableWithoutRetryAfter)  cut \(cut)  late \(timedOut)  wrong yes \(wrongYes) no \(wrongNo)  withheld \(withheld)"
  }
}
