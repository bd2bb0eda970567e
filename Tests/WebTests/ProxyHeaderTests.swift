import GatehouseTesting
import Testing

@testable import Web

@Suite("PROXY protocol headers")
struct ProxyHeaderTests {
  private static let signature: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]

  private static func binary(_ versionCommand: UInt8, _ family: UInt8, _ block: [UInt8], length: Int? = nil) -> [UInt8] {
    let length = length ?? block.count
    return signature + [versionCommand, family, UInt8(length >> 8 & 0xff), UInt8(length & 0xff)] + block
  }

  private static let four = binary(0x21, 0x11, [192, 0, 2, 1, 10, 0, 0, 1, 0xc0, 0x00, 0x01, 0xbb])
  private static let six = binary(
    0x21, 0x21, [0x20, 0x01, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [1] + [UInt8](repeating: 0, count: 16) + [0, 1, 0, 2])

  @Test(
    "Version 1 names the client",
    arguments: [
      ("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n", "192.0.2.1"), ("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", "2001:db8::1"),
      ("PROXY TCP6 2001:0DB8:0:0:0:0:0:1 ::1 0 0\r\n", "2001:db8::1"),
    ])
  func lines(line: String, address: String) {
    #expect(ProxyHeader.parse(Array(line.utf8) + [0x16, 0x03]) == .header(.client(address), length: line.utf8.count))
  }

  @Test("Version 1 without an address leaves the socket's", arguments: ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"])
  func unknown(line: String) { #expect(ProxyHeader.parse(Array(line.utf8)) == .header(.local, length: line.utf8.count)) }

  @Test(
    "A broken version 1 line is refused",
    arguments: [
      "PROXY\r\n", "PROXY \r\n", "PROXY TCP4\r\n", "PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n", "PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3\r\n",
      "PROXY TCP4 2001:db8::1 ::1 1 2\r\n", "PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n", "PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n",
      "PROXY TCP4 192.0.2.1 10.0.0.1 65536 2\r\n", "PROXY TCP4 192.0.2.1 10.0.0.1 -1 2\r\n", "PROXY TCP4  192.0.2.1 10.0.0.1 1 2\r\n",
      "PROXY TCP4 localhost 10.0.0.1 1 2\r\n", "PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n", "proxy TCP4 192.0.2.1 10.0.0.1 1 2\r\n",
      "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\n", "PROXY TCP4 192.0.2.1\u{0} 10.0.0.1 1 2\r\n", "PROXY TCP6 fe80::1%lo ::1 1 2\r\n",
      "POST /v1/sign-in HTTP/1.1\r\n",
      "\u{16}\u{3}\u{1}", "PROXY TCP4 " + String(repeating: "1", count: 120),
    ])
  func brokenLines(line: String) { #expect(ProxyHeader.parse(Array(line.utf8)) == .malformed) }

  @Test("Bytes that are no UTF-8 in a version 1 line are refused")
  func invalidUTF8() { #expect(ProxyHeader.parse(Array("PROXY TCP4 ".utf8) + [0xff, 0x0d, 0x0a]) == .malformed) }

  @Test("Version 2 names the client, and says how much it took")
  func blocks() {
    #expect(ProxyHeader.parse(Self.four + [0x16]) == .header(.client("192.0.2.1"), length: Self.four.count))
    #expect(ProxyHeader.parse(Self.six + [0x16]) == .header(.client("2001:db8::1"), length: Self.six.count))
    let withExtras = Self.binary(0x21, 0x11, [192, 0, 2, 1, 10, 0, 0, 1, 0, 1, 0, 2, 0x04, 0x00, 0x01, 0xff])
    #expect(ProxyHeader.parse(withExtras) == .header(.client("192.0.2.1"), length: withExtras.count))
    let health = Self.binary(0x20, 0x00, [])
    #expect(ProxyHeader.parse(health) == .header(.local, length: 16))
  }

  @Test("A broken version 2 header is refused")
  func brokenBlocks() {
    #expect(ProxyHeader.parse(Self.binary(0x11, 0x11, [UInt8](repeating: 1, count: 12))) == .malformed)
    #expect(ProxyHeader.parse(Self.binary(0x31, 0x11, [UInt8](repeating: 1, count: 12))) == .malformed)
    #expect(ProxyHeader.parse(Self.binary(0x22, 0x11, [UInt8](repeating: 1, count: 12))) == .malformed)
    #expect(ProxyHeader.parse(Self.binary(0x21, 0x12, [UInt8](repeating: 1, count: 12))) == .malformed)
    #expect(ProxyHeader.parse(Self.binary(0x21, 0x31, [UInt8](repeating: 1, count: 216))) == .malformed)
    #expect(ProxyHeader.parse(Self.binary(0x21, 0x11, [UInt8](repeating: 1, count: 11))) == .malformed)
    #expect(ProxyHeader.parse(Self.binary(0x21, 0x21, [UInt8](repeating: 1, count: 35))) == .malformed)
    #expect(ProxyHeader.parse(Self.binary(0x21, 0x11, [], length: 2049)) == .malformed)
    #expect(ProxyHeader.parse(Self.binary(0x21, 0x11, [], length: 65_535)) == .malformed)
  }

  @Test("Every beginning of a header waits for the rest", arguments: [Array("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n".utf8), four, six])
  func incomplete(header: [UInt8]) {
    for length in 0..<header.count { #expect(ProxyHeader.parse(Array(header.prefix(length))) == .incomplete) }
  }

  @Test("Twenty thousand damaged headers trap nowhere and never take more than there is")
  func mutations() {
    var generator = SeededGenerator(seed: 107)
    let seeds = [
      Array("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n".utf8), Array("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n".utf8), Self.four, Self.six,
    ]
    for round in 0..<20_000 {
      var bytes = seeds[round % seeds.count]
      for _ in 0..<Int.random(in: 1...3, using: &generator) {
        let place = Int.random(in: 0..<bytes.count, using: &generator)
        if Bool.random(using: &generator) { bytes[place] = UInt8.random(in: 0...255, using: &generator) } else { bytes.removeSubrange(place...) }
        if bytes.isEmpty { bytes = [0x50] }
      }
      if case .header(_, let length) = ProxyHeader.parse(bytes), length > bytes.count || length < 1 { Issue.record("took \(length) of \(bytes)") }
    }
  }
}
