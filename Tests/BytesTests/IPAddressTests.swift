import Bytes
import Testing

@Suite("IP addresses")
struct IPAddressTests {
  @Test(
    "have one form each",
    arguments: [
      ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("::FFFF:c000:201", "192.0.2.1"), ("2001:DB8:0:0::1", "2001:db8::1"),
      ("::", "::"),
    ])
  func canonical(text: String, expected: String) throws { #expect(try #require(IPAddress(text)).description == expected) }

  @Test(
    "are not made from anything else",
    arguments: [
      "", " ", "localhost", "192.0.2", "192.0.2.256", "192.0.2.01", "192.0.2.1 ", "192.0.2.1:443", "[::1]", "::1%lo", "fe80::1%1", "192.0.2.1\u{0}",
      "1:2:3:4:5:6:7:8:9", "0x7f.0.0.1", "2130706433", "١٢٧.0.0.1", String(repeating: "1", count: 1000),
    ])
  func refused(text: String) { #expect(IPAddress(text) == nil) }

  @Test("have four or sixteen bytes", arguments: 0...20)
  func sizes(count: Int) { #expect((IPAddress(bytes: [UInt8](repeating: 9, count: count)) != nil) == (count == 4 || count == 16)) }
}
