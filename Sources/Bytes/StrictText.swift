/// Decoding of foreign bytes that refuses instead of repairing.
package enum StrictText {
  /// The text of `bytes` if they are valid UTF-8, else nil. Nothing is replaced or normalised.
  package static func utf8(_ bytes: some Collection<UInt8>) -> String? {
    // On plain memory where there is some: a generic loop over another module's collection costs many times as much a byte.
    if let text = bytes.withContiguousStorageIfAvailable({ String(validating: $0, as: UTF8.self) }) { return text }
    return String(validating: Array(bytes), as: UTF8.self)
  }

  /// Base64 (RFC 4648 §4) with mandatory padding and no white space; nil otherwise.
  package static func base64(_ text: String) -> [UInt8]? { Base64.decode(text.utf8, url: false) }

  /// Base64url without padding (RFC 4648 §5); nil otherwise.
  package static func base64URL(_ text: String) -> [UInt8]? { Base64.decode(text.utf8, url: true) }
}

extension Collection<UInt8> {
  /// Base64url without padding (RFC 4648 §5).
  package var base64URL: String { Base64.encode(self, url: true) }

  /// Base64 with padding (RFC 4648 §4).
  package var base64: String { Base64.encode(self, url: false) }

  /// Lower-case hexadecimal, two digits a byte.
  package var hexadecimal: String { hexadecimalText(Array(self)) }
}

/// Not generic: other modules call it, and a generic loop over bytes would not be specialised for them.
private func hexadecimalText(_ bytes: [UInt8]) -> String {
  func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }
  return String(unsafeUninitializedCapacity: bytes.count * 2) { text in
    for index in bytes.indices {
      text[2 * index] = digit(bytes[index] >> 4)
      text[2 * index + 1] = digit(bytes[index] & 15)
    }
    return bytes.count * 2
  }
}
