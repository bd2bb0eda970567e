import Foundation

/// Decoding of foreign bytes that refuses instead of repairing.
package enum StrictText {
  /// The text of `bytes` if they are valid UTF-8, else nil. Nothing is replaced or normalised.
  package static func utf8(_ bytes: some Collection<UInt8>) -> String? {
    String(validating: bytes, as: UTF8.self)
  }

  /// Base64 (RFC 4648 §4) with mandatory padding and no white space; nil otherwise.
  package static func base64(_ text: String) -> [UInt8]? {
    let characters = text.utf8
    guard characters.count % 4 == 0 else { return nil }
    guard let data = Data(base64Encoded: text) else { return nil }
    // Foundation accepts non-zero trailing bits; the round trip does not.
    return data.base64EncodedString().utf8.elementsEqual(characters) ? Array(data) : nil
  }

  /// Base64url without padding (RFC 4648 §5); nil otherwise.
  package static func base64URL(_ text: String) -> [UInt8]? {
    guard !text.utf8.contains(where: { $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "=") })
    else { return nil }
    var standard = String(
      decoding: text.utf8.map { byte -> UInt8 in
        byte == UInt8(ascii: "-") ? UInt8(ascii: "+") : byte == UInt8(ascii: "_") ? UInt8(ascii: "/") : byte
      }, as: UTF8.self)
    let missing = (4 - standard.utf8.count % 4) % 4
    guard missing < 3 else { return nil }
    standard += String(repeating: "=", count: missing)
    return base64(standard)
  }
}

extension Collection<UInt8> {
  /// Base64url without padding (RFC 4648 §5).
  package var base64URL: String {
    String(
      decoding: Data(self).base64EncodedString().utf8.compactMap { byte -> UInt8? in
        switch byte {
        case UInt8(ascii: "+"): UInt8(ascii: "-")
        case UInt8(ascii: "/"): UInt8(ascii: "_")
        case UInt8(ascii: "="): nil
        default: byte
        }
      }, as: UTF8.self)
  }

  /// Lower-case hexadecimal, two digits a byte.
  package var hexadecimal: String {
    let digits = Array("0123456789abcdef".utf8)
    var result: [UInt8] = []
    result.reserveCapacity(count * 2)
    for byte in self {
      result.append(digits[Int(byte >> 4)])
      result.append(digits[Int(byte & 15)])
    }
    return String(decoding: result, as: UTF8.self)
  }
}
