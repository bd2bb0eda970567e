import Bytes
import Testing

@Suite struct `Strict text` {
  @Test(
    arguments: [
      [0xff], [0xc0, 0x80], [0xe0, 0x80, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0x61, 0xc3], [0xf0, 0x9f, 0x98], [0x80],
      [0xf8, 0x88, 0x80, 0x80, 0x80],
    ] as [[UInt8]])
  func `refuses what is no UTF-8 instead of repairing it`(bytes: [UInt8]) { #expect(StrictText.utf8(bytes) == nil) }

  @Test func `keeps what is UTF-8 byte for byte, decomposed and with NUL`() throws {
    for text in ["", "a\u{0}b", "e\u{301}", "😀", "\u{feff}x", "\r\n"] {
      #expect(try #require(StrictText.utf8(Array(text.utf8))).utf8.elementsEqual(text.utf8))
    }
  }

  @Test(arguments: ["TQ", "TQ=", "TR==", "T===", "TWE=TWE=", "T Q=", "TQ==\n", " TQ==", "TQ==\r\n", "T-_=", "TQ\u{0}=", "é", "=", "====", "TQ==="])
  func `refuses base64 that is not written in the one way`(text: String) { #expect(StrictText.base64(text) == nil) }

  @Test(
    arguments: [("", []), ("TQ==", [0x4d]), ("TWE=", [0x4d, 0x61]), ("TWFu", [0x4d, 0x61, 0x6e]), ("+/+/", [0xfb, 0xff, 0xbf])] as [(String, [UInt8])]
  )
  func `reads base64`(text: String, bytes: [UInt8]) { #expect(StrictText.base64(text) == bytes) }

  @Test(arguments: ["TQ==", "T", "TR", "TWF", "+/+/", "TQ ", "TQ\n", "é", "TWFuT"])
  func `refuses base64url that is not written in the one way`(text: String) { #expect(StrictText.base64URL(text) == nil) }

  @Test func `reads the base64url that it writes, of every length`() {
    for count in 0..<70 {
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 * 37 + 250) }
      #expect(StrictText.base64URL(bytes.base64URL) == bytes)
      #expect(!bytes.base64URL.contains { "+/=".contains($0) })
    }
  }

  @Test func `writes hexadecimal`() {
    #expect([UInt8]([0x00, 0x0f, 0xa5, 0xff]).hexadecimal == "000fa5ff")
    #expect([UInt8]().hexadecimal == "")
  }

  @Test func `compares in constant time and rightly`() {
    #expect(constantTimeEqual([1, 2], [1, 2]))
    #expect(!constantTimeEqual([1, 2], [1, 3]) && !constantTimeEqual([1, 2], [1]) && !constantTimeEqual([], [0]))
    #expect(constantTimeEqual([UInt8](), [UInt8]()))
  }
}

@Suite struct `A byte reader` {
  @Test func `reads in order and answers nil past the end, also again and again`() {
    var reader = ByteReader([1, 2, 3, 4, 5, 6, 7])
    #expect(reader.readByte() == 1)
    #expect(reader.readInteger(UInt16.self) == 0x0203)
    #expect(reader.readInteger(UInt64.self) == nil)
    #expect(reader.remaining == 4)
    #expect(reader.readBytes(5) == nil && reader.readBytes(-1) == nil && reader.readBytes(.max) == nil && reader.readBytes(.min) == nil)
    #expect(reader.readBytes(0) == [] && reader.readInteger(UInt32.self) == 0x0405_0607)
    for _ in 0..<3 { #expect(reader.readByte() == nil && reader.readInteger(UInt8.self) == nil && reader.readBytes(1) == nil) }
    #expect(reader.readBytes(0) == [])
  }

  @Test func `reads what the writer wrote`() {
    var writer = ByteWriter()
    writer.writeInteger(UInt32(0x0102_0304))
    writer.writeInteger(Int64(-2))
    writer.writeLengthPrefixed([9, 8])
    writer.write([7])
    var reader = ByteReader(writer.bytes)
    #expect(reader.readInteger(UInt32.self) == 0x0102_0304)
    #expect(reader.readInteger(UInt64.self) == UInt64(bitPattern: -2))
    #expect(reader.readInteger(UInt32.self).flatMap { reader.readBytes(Int($0)) } == [9, 8])
    #expect(reader.readByte() == 7 && reader.remaining == 0)
  }
}
