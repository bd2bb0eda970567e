/// Latencies in logarithmic buckets of 64 steps an octave, so that a percentile is off by less than 1.6 %, however many there are.
struct Histogram: Sendable {
  private static let steps = 64
  /// Microseconds up to 2^36, which is 19 hours.
  private var counts = [Int](repeating: 0, count: 31 * Histogram.steps)
  private(set) var count = 0
  private(set) var longest: UInt64 = 0

  mutating func add(nanoseconds: UInt64) {
    counts[min(Histogram.bucket(of: nanoseconds / 1000), counts.count - 1)] += 1
    count += 1
    longest = max(longest, nanoseconds)
  }

  mutating func add(_ other: Histogram) {
    for index in counts.indices { counts[index] += other.counts[index] }
    count += other.count
    longest = max(longest, other.longest)
  }

  /// The least latency in milliseconds that `share` of all do not exceed; nil where there is none.
  func percentile(_ share: Double) -> Double? {
    guard count > 0 else { return nil }
    let wanted = max(1, Int((share * Double(count)).rounded(.up)))
    var seen = 0
    for (index, here) in counts.enumerated() {
      seen += here
      if seen >= wanted { return min(Double(Histogram.top(of: index)), Double(longest) / 1000) / 1000 }
    }
    return Double(longest) / 1_000_000
  }

  /// Below 64 each microsecond has a bucket of its own; above, each octave has 64.
  static func bucket(of microseconds: UInt64) -> Int {
    guard microseconds >= 64 else { return Int(microseconds) }
    let octave = 63 - microseconds.leadingZeroBitCount - 6
    return (octave + 1) * steps + Int(microseconds >> UInt64(octave)) - steps
  }

  /// The highest value, in microseconds, that a bucket stands for.
  static func top(of bucket: Int) -> UInt64 {
    guard bucket >= steps else { return UInt64(bucket) }
    let octave = UInt64(bucket / steps - 1)
    return (UInt64(bucket % steps + steps + 1) << octave) - 1
  }
}
