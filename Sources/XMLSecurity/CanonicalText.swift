/// How canonical form spells characters (C14N 1.0 2.3, "Text Nodes" and "Attribute Nodes").
enum CanonicalText {
  /// Appends character data: `&`, `<`, `>` and carriage return are escaped.
  static func append(text: String, to bytes: inout [UInt8]) { append(text, to: &bytes, escape: textEscape) }

  /// Appends an attribute's value: `&`, `<`, `"`, tab, line feed and carriage return are escaped.
  static func append(attribute: String, to bytes: inout [UInt8]) { append(attribute, to: &bytes, escape: attributeEscape) }

  /// Appends what stands here as it is.
  static func append(_ literal: StaticString, to bytes: inout [UInt8]) { literal.withUTF8Buffer { bytes.append(contentsOf: $0) } }

  private static func textEscape(_ byte: UInt8) -> StaticString? {
    switch byte {
    case UInt8(ascii: "&"): "&amp;"
    case UInt8(ascii: "<"): "&lt;"
    case UInt8(ascii: ">"): "&gt;"
    case 0x0d: "&#xD;"
    default: nil
    }
  }

  private static func attributeEscape(_ byte: UInt8) -> StaticString? {
    switch byte {
    case UInt8(ascii: "&"): "&amp;"
    case UInt8(ascii: "<"): "&lt;"
    case UInt8(ascii: "\""): "&quot;"
    case 0x09: "&#x9;"
    case 0x0a: "&#xA;"
    case 0x0d: "&#xD;"
    default: nil
    }
  }

  /// On bytes: an escape by characters would let `<` with a combining mark through. Stretches without anything to escape are copied whole.
  @inline(__always) private static func append(_ text: String, to bytes: inout [UInt8], escape: (UInt8) -> StaticString?) {
    var text = text
    text.withUTF8 { source in
      var begin = 0
      for (place, byte) in source.enumerated() {
        // Every byte that is escaped is one of these, and most bytes are not.
        guard byte <= UInt8(ascii: ">"), let spelling = escape(byte) else { continue }
        bytes.append(contentsOf: source[begin..<place])
        append(spelling, to: &bytes)
        begin = place + 1
      }
      bytes.append(contentsOf: source[begin...])
    }
  }

  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  /// Appends base64 (RFC 4648 4) without line breaks.
  static func append(base64 source: [UInt8], to bytes: inout [UInt8]) {
    let text = [UInt8](unsafeUninitializedCapacity: (source.count + 2) / 3 * 4) { text, count in
      func put(_ bits: UInt32, _ characters: Int) {
        for place in 0..<4 {
          text[count] = place < characters ? alphabet[Int(bits >> UInt32(18 - 6 * place) & 63)] : UInt8(ascii: "=")
          count += 1
        }
      }
      var bits: UInt32 = 0
      var held = 0
      for byte in source {
        bits = bits << 8 | UInt32(byte)
        held += 1
        guard held == 3 else { continue }
        put(bits, 4)
        (bits, held) = (0, 0)
      }
      if held > 0 { put(bits << UInt32((3 - held) * 8), held + 1) }
    }
    bytes.append(contentsOf: text)
  }
}
