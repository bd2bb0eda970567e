import Identity
import Metrics
import Synchronization

/// Keeps the process's metrics and tells them in the text format of Prometheus (version 0.0.4).
package final class MetricsExposition: MetricsFactory {
  /// The upper bounds of the time buckets, in seconds: the promises lie between 5 ms and the deadline of 8 s.
  static let bounds: [Double] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

  private struct Series: Hashable {
    var name: String
    var labels: String
  }

  private struct State {
    var counters: [Series: Cell] = [:]
    var timers: [Series: Histogram] = [:]
  }

  private let state = Mutex(State())

  package init() {}

  /// Makes it the process's metrics system; once a process.
  package static func start() -> MetricsExposition {
    let exposition = MetricsExposition()
    MetricsSystem.bootstrap(exposition)
    return exposition
  }

  package func text() -> String {
    let (counters, timers) = state.withLock { ($0.counters, $0.timers) }
    var lines: [String] = []
    for name in Set(counters.keys.map(\.name)).sorted() {
      lines.append("# TYPE \(name) counter")
      for (series, cell) in counters.filter({ $0.key.name == name }).sorted(by: { $0.key.labels < $1.key.labels }) {
        lines.append("\(name)\(series.labels.isEmpty ? "" : "{\(series.labels)}") \(cell.value)")
      }
    }
    for name in Set(timers.keys.map(\.name)).sorted() {
      lines.append("# TYPE \(name) histogram")
      for (series, histogram) in timers.filter({ $0.key.name == name }).sorted(by: { $0.key.labels < $1.key.labels }) {
        let (counts, sum) = histogram.snapshot
        let before = series.labels.isEmpty ? "" : series.labels + ","
        let labels = series.labels.isEmpty ? "" : "{\(series.labels)}"
        var total: Int64 = 0
        for (index, count) in counts.enumerated() {
          total += count
          let bound = index < MetricsExposition.bounds.count ? "\(MetricsExposition.bounds[index])" : "+Inf"
          lines.append("\(name)_bucket{\(before)le=\"\(bound)\"} \(total)")
        }
        lines.append("\(name)_sum\(labels) \(sum)")
        lines.append("\(name)_count\(labels) \(total)")
      }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
    let series = Series(name: label, labels: MetricsExposition.labels(dimensions))
    return state.withLock { state in
      if let known = state.counters[series] { return known }
      let made = Cell()
      state.counters[series] = made
      return made
    }
  }

  package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
    let series = Series(name: label, labels: MetricsExposition.labels(dimensions))
    return state.withLock { state in
      if let known = state.timers[series] { return known }
      let made = Histogram()
      state.timers[series] = made
      return made
    }
  }

  // Libraries in the process may offer gauges and recorders of their own; only `Telemetry` is told.
  package func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
    NOOPMetricsHandler.instance
  }
  package func destroyCounter(_ handler: any CounterHandler) {}
  package func destroyRecorder(_ handler: any RecorderHandler) {}
  package func destroyTimer(_ handler: any TimerHandler) {}

  private static func labels(_ dimensions: [(String, String)]) -> String {
    dimensions.map { "\($0.0)=\"\(escaped($0.1))\"" }.joined(separator: ",")
  }

  /// A label value, as the text format wants it: our own come from closed sets, those of libraries may hold anything.
  private static func escaped(_ value: String) -> String {
    var result = String.UnicodeScalarView()
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\\": result.append(contentsOf: "\\\\".unicodeScalars)
      case "\"": result.append(contentsOf: "\\\"".unicodeScalars)
      case "\n": result.append(contentsOf: "\\n".unicodeScalars)
      default: result.append(scalar)
      }
    }
    return String(result)
  }

  private final class Cell: CounterHandler {
    private let count = Atomic<Int64>(0)
    var value: Int64 { count.load(ordering: .relaxed) }
    func increment(by amount: Int64) { count.wrappingAdd(amount, ordering: .relaxed) }
    func reset() { count.store(0, ordering: .relaxed) }
  }

  private final class Histogram: TimerHandler {
    private let state = Mutex((counts: [Int64](repeating: 0, count: bounds.count + 1), sum: 0.0))
    var snapshot: ([Int64], Double) { state.withLock { ($0.counts, $0.sum) } }
    func recordNanoseconds(_ duration: Int64) {
      let seconds = Double(duration) / 1e9
      let index = bounds.firstIndex { seconds <= $0 } ?? bounds.count
      state.withLock {
        $0.counts[index] += 1
        $0.sum += seconds
      }
    }
  }
}
