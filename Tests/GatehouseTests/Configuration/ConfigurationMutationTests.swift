import Foundation
import Testing

@testable import gatehouse

/// SplitMix64: the same damage on every run.
private struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}

@Suite("Damaged configuration")
struct ConfigurationMutationTests {
  private static let pieces: [[UInt8]] = [
    [0], [0xff], Array("&a ".utf8), Array("*a".utf8), Array("<<: ".utf8), Array("- ".utf8), Array("{".utf8), Array("[".utf8), Array("\t".utf8),
    Array("\r".utf8), Array("? ".utf8), Array(": ".utf8), Array("!!binary ".utf8), Array("|\n".utf8), Array("\"".utf8), Array("---\n".utf8),
    Array("99999999999999999999".utf8), Array("-1".utf8), Array("\u{2028}".utf8), Array("e\u{301}".utf8), Array("%YAML 1.1\n".utf8),
    Array("\"\\uD800\"".utf8),
  ]

  private static func damage(_ bytes: [UInt8], _ generator: inout SeededGenerator) -> [UInt8] {
    var result = bytes
    for _ in 0..<Int.random(in: 1...4, using: &generator) where !result.isEmpty {
      let place = Int.random(in: 0..<result.count, using: &generator)
      switch Int.random(in: 0..<6, using: &generator) {
      case 0: result[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
      case 1: result.remove(at: place)
      case 2: result.removeSubrange(place..<min(result.count, place + Int.random(in: 1...40, using: &generator)))
      case 3: result.insert(contentsOf: pieces.randomElement(using: &generator) ?? [], at: place)
      case 4:
        let end = min(result.count, place + Int.random(in: 1...60, using: &generator))
        result.insert(contentsOf: result[place..<end], at: Int.random(in: 0..<result.count, using: &generator))
      default: result = Array(result[..<place])
      }
    }
    return result
  }

  @Test("is read or refused, ten thousand times, and a refusal always names a problem")
  func neverTraps() throws {
    var generator = SeededGenerator(state: 2026)
    let gateway = Array(ReferenceFileTests.everythingActive(try ReferenceFileTests.text("gateway.yaml")).utf8)
    let agent = Array(Samples.agent.utf8)
    var refused = 0
    for round in 0..<10_000 {
      let isGateway = round % 4 == 0
      let bytes = Self.damage(isGateway ? gateway : agent, &generator)
      do {
        let raw = try Samples.raw(bytes)
        if isGateway { _ = try GatewayConfiguration(raw, hostName: "g") } else { _ = try AgentConfiguration(raw) }
      } catch let error as ConfigurationError {
        refused += 1
        #expect(error.problems.allSatisfy { !$0.message.isEmpty && !$0.remedy.isEmpty })
        #expect(!error.description.unicodeScalars.contains { $0.value < 0x20 && $0 != "\n" })
      }
    }
    #expect(refused > 5_000 && refused < 10_000)
  }
}
