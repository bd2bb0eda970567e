import Bytes

/// HTML whose every interpolated text is escaped, scalar by scalar: what is not literal source code cannot become a tag, an attribute or a script.
///
/// `"<p>\(name)</p>"` escapes `name`; `\(markup)` of another `Markup` goes in as it is.
struct Markup: Sendable, ExpressibleByStringInterpolation {
  private(set) var html: String

  init(stringLiteral value: StaticString) { html = value.description }
  init(stringInterpolation: StringInterpolation) { html = stringInterpolation.html }
  private init(html: String) { self.html = html }

  static let nothing: Markup = ""

  static func + (left: Markup, right: Markup) -> Markup { Markup(html: left.html + right.html) }
  static func += (left: inout Markup, right: Markup) { left.html += right.html }

  struct StringInterpolation: StringInterpolationProtocol {
    fileprivate var html = ""

    init(literalCapacity: Int, interpolationCount: Int) { html.reserveCapacity(literalCapacity + interpolationCount * 32) }
    mutating func appendLiteral(_ literal: StaticString) { html += literal.description }
    mutating func appendInterpolation(_ text: String) { html += Markup.escaped(text) }
    mutating func appendInterpolation(_ text: String?) { html += Markup.escaped(text ?? "") }
    mutating func appendInterpolation(_ number: Int) { html += "\(number)" }
    mutating func appendInterpolation(_ markup: Markup) { html += markup.html }
  }

  /// For character data and quoted attribute values alike. Control characters other than tab and line feed are replaced, and so are the separators that
  /// scripts take for line ends.
  static func escaped(_ text: String) -> String {
    // A base64 field of several kilobytes needs nothing.
    if isPlain(text) { return text }
    // A token is several kilobytes of ASCII with many quotes: by bytes, and by scalars only where there is more than ASCII.
    var result: [UInt8] = []
    var text = text
    text.withUTF8 { bytes in
      result.reserveCapacity(bytes.count + bytes.count / 2)
      var (begun, place) = (0, 0)
      while place < bytes.count {
        let byte = bytes[place]
        // Strings are valid UTF-8: the leading byte tells the length.
        let length = byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4
        if let reference = byte < 0x80 ? replacement(ascii: byte) : replacement(sequence: bytes[place..<min(place + length, bytes.count)]) {
          result.append(contentsOf: bytes[begun..<place])
          reference.withUTF8Buffer { result.append(contentsOf: $0) }
          begun = place + length
        }
        place += length
      }
      if begun < bytes.count { result.append(contentsOf: bytes[begun...]) }
    }
    return String(decoding: result, as: UTF8.self)
  }

  /// What is written for a byte of ASCII; nil: itself.
  private static func replacement(ascii byte: UInt8) -> StaticString? {
    switch byte {
    case 0x26: "&amp;"
    case 0x3c: "&lt;"
    case 0x3e: "&gt;"
    case 0x22: "&#34;"
    case 0x27: "&#39;"
    case 0x60: "&#96;"
    case 0x09, 0x0a: nil
    // A carriage return would be read as a line feed; as a reference it stays what it is.
    case 0x0d: "&#13;"
    case 0x00...0x1f, 0x7f: "\u{fffd}"
    default: nil
    }
  }

  /// What is written for a scalar beyond ASCII, in UTF-8; nil: itself.
  private static func replacement(sequence: Slice<UnsafeBufferPointer<UInt8>>) -> StaticString? {
    guard let scalar = String(decoding: sequence, as: UTF8.self).unicodeScalars.first else { return "\u{fffd}" }
    switch scalar.value {
    case 0x80...0x9f, 0xfdd0...0xfdef, 0xfffe, 0xffff: return "\u{fffd}"
    case 0x2028: return "&#8232;"
    case 0x2029: return "&#8233;"
    default: return nil
    }
  }

  /// Whether every byte is printable ASCII that means nothing in markup.
  private static func isPlain(_ text: String) -> Bool {
    var text = text
    return text.withUTF8 { bytes in
      // Constants and no table: a table is a global, and looked for again at every byte.
      for byte in bytes {
        switch byte {
        case 0x22, 0x26, 0x27, 0x3c, 0x3e, 0x60: return false
        case 0x20..<0x7f: continue
        default: return false
        }
      }
      return true
    }
  }
}
