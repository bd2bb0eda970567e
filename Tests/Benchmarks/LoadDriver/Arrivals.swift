import Foundation

/// A generator that gives the same numbers for the same seed (SplitMix64, Steele, Lea and Flood 2014).
struct SeededGenerator: RandomNumberGenerator, Sendable {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }
}

/// When requests are due: a Poisson process, so that they come in clusters as people do. The schedule does not wait for answers: whatever a slow
/// server keeps waiting is due all the same, and its latency counts from here.
struct Arrivals: Sendable {
  private let meanGap: Double
  private var generator: SeededGenerator
  private var exact: Double
  /// Nanoseconds, on the clock that `start` was read from.
  var next: UInt64 { UInt64(exact) }

  /// - Parameter rate: arrivals a second, above zero.
  init(rate: Double, start: UInt64, seed: UInt64) {
    meanGap = 1_000_000_000 / rate
    generator = SeededGenerator(seed: seed)
    exact = Double(start)
    advance()
  }

  mutating func advance() { exact -= log(1 - Double.random(in: 0..<1, using: &generator)) * meanGap }
}
