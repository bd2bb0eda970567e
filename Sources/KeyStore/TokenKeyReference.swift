/// The text that stands for a key in the token: a PKCS #11 URI (RFC 7512) with nothing but the CKA_ID, every byte of it escaped.
///
/// The token's name is not in it: a token that was copied into another, as its maker's tools do it, has the same keys under the same ids.
struct TokenKeyReference: Sendable, Equatable {
  static let idLength = 16
  private static let scheme = "pkcs11:id="

  let id: [UInt8]

  init(id: [UInt8]) { self.id = id }

  /// Nil where the text is none.
  init?(_ text: String) {
    let bytes = Array(text.utf8)
    let scheme = Array(TokenKeyReference.scheme.utf8)
    guard bytes.starts(with: scheme), bytes.count == scheme.count + 3 * TokenKeyReference.idLength else { return nil }
    var id: [UInt8] = []
    for start in stride(from: scheme.count, to: bytes.count, by: 3) {
      guard bytes[start] == 0x25, let high = TokenKeyReference.digit(bytes[start + 1]), let low = TokenKeyReference.digit(bytes[start + 2]) else {
        return nil
      }
      id.append(high << 4 | low)
    }
    self.id = id
  }

  var text: String {
    TokenKeyReference.scheme + id.map { "%" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x41 + 10
    case 0x61...0x66: byte - 0x61 + 10
    default: nil
    }
  }
}
