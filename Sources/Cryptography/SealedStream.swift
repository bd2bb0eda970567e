import Bytes
import COpenSSL
import Crypto
import Foundation

// A long content under a passphrase, sealed piece by piece (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár):
//
//   "gatehouse-sealed" (16) ‖ version (1) ‖ log2 N (1) ‖ salt (16) ‖ nonce prefix (7) ‖ pieces
//
// The key is scrypt (RFC 7914; r = 8, p = 1) of the passphrase and the salt. Each piece is AES-256-GCM of 65,536 bytes, the last one of as many as are left
// (perhaps none), with its tag behind it. The nonce is the prefix, the number of the piece (4 bytes) and 1 for the last piece, else 0; what stands before the
// pieces is authenticated with each. So a piece that was changed, left out, put in or moved does not open, nor does a content that ends early or goes on.

/// Why a sealed content does not open.
package enum SealedStreamFault: Error, Sendable, Equatable, CustomStringConvertible {
  /// It does not begin as one.
  case notSealed
  /// It was made by a newer version.
  case version(UInt8)
  /// The passphrase is another one, or the beginning was changed: the two cannot be told apart.
  case passphrase
  /// It was changed, cut, or put together anew; at this byte of the content.
  case damaged(at: Int64)
  case library

  package var description: String {
    switch self {
    case .notSealed: "this is no file that gatehouse has sealed"
    case .version(let version): "it was sealed by a newer gatehouse (version \(version)); use that one"
    case .passphrase: "it does not open: the passphrase is another one, or the file's beginning was changed"
    case .damaged(let position): "it was changed or is not whole: it cannot be opened from byte \(position) of its content on; use another copy"
    case .library: "the key could not be derived; is there memory of 256 MB?"
    }
  }
}

/// What both ends of a sealed content share.
package enum SealedStream {
  /// Bytes of content in each piece but the last.
  package static let pieceBytes = 65_536
  package static let tagBytes = 16
  static let magic = Array("gatehouse-sealed".utf8)
  static let version: UInt8 = 1
  /// 128 MB of memory and a third of a second for each try of a passphrase.
  static let logN: UInt8 = 17
  /// What is taken from a file: less would be weak, more would let a file take all memory.
  static let acceptedLogN: ClosedRange<UInt8> = 15...20
  package static let headerBytes = 16 + 1 + 1 + 16 + 7

  static func key(passphrase: Secret, salt: [UInt8], logN: UInt8) throws(SealedStreamFault) -> SymmetricKey {
    var derived = [UInt8](repeating: 0, count: 32)
    defer { derived.withUnsafeMutableBytes { if let base = $0.baseAddress { wipe(base, $0.count) } } }
    let holds = passphrase.withBytes { bytes in
      gatehouse_scrypt(bytes.bindMemory(to: UInt8.self).baseAddress, bytes.count, salt, salt.count, UInt32(logN), &derived, derived.count)
    }
    guard holds == 1 else { throw .library }
    return SymmetricKey(data: derived)
  }

  static func nonce(prefix: [UInt8], piece: UInt32, isLast: Bool) -> [UInt8] {
    prefix + withUnsafeBytes(of: piece.bigEndian) { Array($0) } + [isLast ? 1 : 0]
  }
}

/// Seals a content, from its beginning to its end.
package struct SealedStreamWriter: Sendable {
  private let key: SymmetricKey
  private let prefix: [UInt8]
  private var piece: UInt32 = 0
  private var waiting: [UInt8] = []
  /// What stands before the pieces.
  package let header: [UInt8]

  /// Throws `SealedStreamFault.library`.
  package init(passphrase: Secret) throws(SealedStreamFault) {
    let salt = RandomBytes.generate(16)
    prefix = RandomBytes.generate(7)
    header = SealedStream.magic + [SealedStream.version, SealedStream.logN] + salt + prefix
    key = try SealedStream.key(passphrase: passphrase, salt: salt, logN: SealedStream.logN)
  }

  /// Takes more of the content; answers the pieces that are full.
  package mutating func write(_ bytes: some Sequence<UInt8>) throws(SealedStreamFault) -> [UInt8] {
    waiting.append(contentsOf: bytes)
    var sealed: [UInt8] = []
    // One piece is kept back: the last one is marked as such, and it is not known yet which that is.
    while waiting.count > SealedStream.pieceBytes {
      sealed += try seal(Array(waiting.prefix(SealedStream.pieceBytes)), isLast: false)
      waiting.removeFirst(SealedStream.pieceBytes)
    }
    return sealed
  }

  /// The last piece.
  package mutating func finish() throws(SealedStreamFault) -> [UInt8] { try seal(waiting, isLast: true) }

  private mutating func seal(_ bytes: [UInt8], isLast: Bool) throws(SealedStreamFault) -> [UInt8] {
    guard piece < .max, let nonce = try? AES.GCM.Nonce(data: SealedStream.nonce(prefix: prefix, piece: piece, isLast: isLast)),
      let box = try? AES.GCM.seal(bytes, using: key, nonce: nonce, authenticating: header)
    else { throw .library }
    piece += 1
    return Array(box.ciphertext) + Array(box.tag)
  }
}

/// Opens a sealed content. What it answers is authentic as far as it goes; whether it is whole, only `finish` knows.
package struct SealedStreamReader: Sendable {
  private let key: SymmetricKey
  private let header: [UInt8]
  private let prefix: [UInt8]
  private var piece: UInt32 = 0
  private var waiting: [UInt8] = []

  /// - Parameter header: the first `SealedStream.headerBytes` bytes.
  /// - Throws: `SealedStreamFault`, as all methods do.
  package init(header: [UInt8], passphrase: Secret) throws(SealedStreamFault) {
    var reader = ByteReader(header)
    guard header.count == SealedStream.headerBytes, reader.readBytes(16) == SealedStream.magic, let version = reader.readByte() else {
      throw .notSealed
    }
    guard version == SealedStream.version else { throw .version(version) }
    guard let logN = reader.readByte(), let salt = reader.readBytes(16), let prefix = reader.readBytes(7) else { throw .notSealed }
    guard SealedStream.acceptedLogN.contains(logN) else { throw .passphrase }
    self.header = header
    self.prefix = prefix
    key = try SealedStream.key(passphrase: passphrase, salt: salt, logN: logN)
  }

  /// Takes more of the file; answers the content of the pieces that are certainly not the last.
  package mutating func read(_ bytes: some Sequence<UInt8>) throws(SealedStreamFault) -> [UInt8] {
    waiting.append(contentsOf: bytes)
    let whole = SealedStream.pieceBytes + SealedStream.tagBytes
    var content: [UInt8] = []
    while waiting.count > whole {
      content += try open(Array(waiting.prefix(whole)), isLast: false)
      waiting.removeFirst(whole)
    }
    return content
  }

  /// The content of the last piece. To be called at the end of the file.
  package mutating func finish() throws(SealedStreamFault) -> [UInt8] { try open(waiting, isLast: true) }

  private mutating func open(_ sealed: [UInt8], isLast: Bool) throws(SealedStreamFault) -> [UInt8] {
    let fault: SealedStreamFault =
      piece == 0 && sealed.count >= SealedStream.tagBytes ? .passphrase : .damaged(at: Int64(piece) * Int64(SealedStream.pieceBytes))
    guard piece < .max, sealed.count >= SealedStream.tagBytes,
      let nonce = try? AES.GCM.Nonce(data: SealedStream.nonce(prefix: prefix, piece: piece, isLast: isLast)),
      let box = try? AES.GCM.SealedBox(
        nonce: nonce, ciphertext: sealed.dropLast(SealedStream.tagBytes), tag: sealed.suffix(SealedStream.tagBytes)),
      let content = try? AES.GCM.open(box, using: key, authenticating: header)
    else { throw fault }
    piece += 1
    return Array(content)
  }
}
