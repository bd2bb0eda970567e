import Bytes
import Cryptography
import GatehouseTesting
import Testing

@Suite("A sealed content")
struct SealedStreamTests {
  private static let passphrase = Secret("correct horse battery staple".utf8)

  private static func sealed(_ content: [UInt8]) throws -> [UInt8] {
    var writer = try SealedStreamWriter(passphrase: passphrase)
    var result = writer.header
    var rest = content[...]
    while !rest.isEmpty {
      result += try writer.write(rest.prefix(100_003))
      rest = rest.dropFirst(100_003)
    }
    return result + (try writer.finish())
  }

  private static func opened(_ bytes: [UInt8], passphrase: Secret = passphrase) throws -> [UInt8] {
    var reader = try SealedStreamReader(header: Array(bytes.prefix(SealedStream.headerBytes)), passphrase: passphrase)
    var content: [UInt8] = []
    var rest = bytes.dropFirst(SealedStream.headerBytes)
    while !rest.isEmpty {
      content += try reader.read(rest.prefix(70_001))
      rest = rest.dropFirst(70_001)
    }
    return content + (try reader.finish())
  }

  private static let piece = SealedStream.pieceBytes

  @Test("opens to what was sealed, of any length", arguments: [0, 1, piece - 1, piece, piece + 1, 2 * piece, 3 * piece + 7])
  func lengths(count: Int) throws {
    let content = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let sealed = try Self.sealed(content)
    #expect(sealed.count == SealedStream.headerBytes + count + SealedStream.tagBytes * max(1, (count + Self.piece - 1) / Self.piece))
    #expect(try Self.opened(sealed) == content)
  }

  @Test("does not open under another passphrase, or where pieces are missing, doubled, exchanged or left over")
  func pieces() throws {
    let sealed = try Self.sealed([UInt8](repeating: 1, count: 3 * Self.piece + 7))
    #expect(throws: SealedStreamFault.passphrase) { try Self.opened(sealed, passphrase: Secret("another passphrase".utf8)) }
    let whole = Self.piece + SealedStream.tagBytes
    let header = Array(sealed.prefix(SealedStream.headerBytes))
    let body = Array(sealed.dropFirst(SealedStream.headerBytes))
    let pieces = stride(from: 0, to: body.count, by: whole).map { Array(body[$0..<min($0 + whole, body.count)]) }
    #expect(pieces.count == 4)
    for order in [[0, 1, 2], [0, 1, 3], [0, 2, 1, 3], [1, 2, 3], [0, 1, 1, 2, 3], [0, 1, 2, 3, 3], []] {
      #expect(throws: SealedStreamFault.self, "\(order)") { try Self.opened(header + order.flatMap { pieces[$0] }) }
    }
    for cut in [1, 8, 22, 23, 24, whole, body.count - 1] {
      #expect(throws: SealedStreamFault.self, "\(cut)") { try Self.opened(header + body.dropLast(cut)) }
    }
    #expect(throws: SealedStreamFault.self) { try Self.opened(sealed + [0]) }
  }

  @Test("does not open where any bit was changed, and a file may not ask for all memory")
  func changed() throws {
    let sealed = try Self.sealed(Array("secret".utf8))
    var generator = SeededGenerator(seed: 18)
    for place in Array(0..<SealedStream.headerBytes)
      + (0..<20).map({ _ in Int.random(in: SealedStream.headerBytes..<sealed.count, using: &generator) })
    {
      var bytes = sealed
      bytes[place] ^= UInt8(1) << UInt8.random(in: 0..<8, using: &generator)
      #expect(throws: SealedStreamFault.self, "byte \(place)") { try Self.opened(bytes) }
    }
    for logN: UInt8 in [0, 1, 14, 21, 63, 64, 255] {
      var bytes = sealed
      bytes[17] = logN
      #expect(throws: SealedStreamFault.passphrase) { try Self.opened(bytes) }
    }
    #expect(throws: SealedStreamFault.notSealed) { try Self.opened(Array("PK".utf8)) }
    #expect(throws: SealedStreamFault.notSealed) { try Self.opened([]) }
  }
}
