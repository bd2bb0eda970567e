import Bytes
import Foundation
import Testing

@testable import SAML

@Suite struct `Deflated messages` {
  @Test func `inflate to what was deflated`() throws {
    for bytes in [Array("a".utf8), Array(Samples.request().utf8), (0..<60_000).map { UInt8(truncatingIfNeeded: $0 &* 7919 >> 3) }] {
      #expect(try Deflate.inflate(Deflate.deflate(bytes), limit: ReceivedMessage.longestDocument) == bytes)
    }
  }

  @Test func `of exactly the limit are taken, and of a byte more refused`() throws {
    let limit = 65_536
    #expect(try Deflate.inflate(Deflate.deflate([UInt8](repeating: 65, count: limit)), limit: limit).count == limit)
    #expect(fault { try Deflate.inflate(Deflate.deflate([UInt8](repeating: 65, count: limit + 1)), limit: limit) } == .tooLarge)
  }

  /// 100 MiB of `A`: one byte, and then "the 258 before it again" until it is enough (RFC 1951 §3.2.6).
  private static func bomb() -> [UInt8] {
    var bytes: [UInt8] = []
    var (held, count) = (UInt32(0), UInt32(0))
    func put(_ bits: UInt32, _ length: UInt32) {
      held |= bits << count
      count += length
      while count >= 8 {
        bytes.append(UInt8(truncatingIfNeeded: held))
        (held, count) = (held >> 8, count - 8)
      }
    }
    put(0b011, 3)  // the last block, fixed codes
    put(0b1000_1110, 8)  // `A`, its code from the highest bit on
    for _ in 0..<(100 << 20) / 258 { put(0b0_0000_1010_0011, 13) }
    put(0, 7)
    put(0, 7)
    return bytes
  }

  @Test func `that are bombs are refused without room for what they hold`() throws {
    let bomb = Self.bomb()
    #expect(bomb.count < 700_000)
    for _ in 0..<200 { #expect(fault { try Deflate.inflate(bomb, limit: ReceivedMessage.longestDocument) } == .tooLarge) }
    // In a query the parameter's length is looked at before anything is unpacked; what is short enough for that inflates to too much.
    for short in [bomb, Deflate.deflate([UInt8](repeating: 65, count: 10 << 20))] {
      let query = "SAMLRequest=" + FormFields.encode(short.base64)
      #expect(fault { try ReceivedMessage(query: Array(query.utf8)) } == .tooLarge)
    }
  }

  @Test func `with bytes behind their end are refused`() {
    let good = Deflate.deflate(Array(Samples.request().utf8))
    for rest in [[0], Array("x".utf8), good] as [[UInt8]] { #expect(fault { try Deflate.inflate(good + rest, limit: 65_536) } == .envelope) }
  }

  @Test func `that are cut anywhere are refused`() {
    let good = Deflate.deflate(Array(Samples.request().utf8))
    for length in 0..<good.count { #expect(fault { try Deflate.inflate(Array(good[..<length]), limit: 65_536) } == .envelope) }
  }

  @Test(
    arguments: [
      [], [0x78, 0x9c, 0x4b, 0x04, 0x00, 0x00, 0x62, 0x00, 0x62], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b, 4, 0], [0xff, 0xff, 0xff], [0x07],
      [0x3c, 0x73, 0x61],
    ] as [[UInt8]]) func `in a wrapper, or not deflated at all, are refused`(_ bytes: [UInt8])
  {
    #expect(fault { try Deflate.inflate(bytes, limit: 65_536) } == .envelope)
  }

  @Test func `deflated twice are no XML`() {
    let twice = Deflate.deflate(Deflate.deflate(Array(Samples.request().utf8)))
    let query = "SAMLRequest=" + FormFields.encode(twice.base64)
    #expect(fault { try ReceivedMessage(query: Array(query.utf8)) } == .xml)
  }
}
