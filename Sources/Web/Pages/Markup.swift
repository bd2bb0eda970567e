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
    var result = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      switch scalar.value {
      case 0x26: result.append(contentsOf: "&amp;".unicodeScalars)
      case 0x3c: result.append(contentsOf: "&lt;".unicodeScalars)
      case 0x3e: result.append(contentsOf: "&gt;".unicodeScalars)
      case 0x22: result.append(contentsOf: "&#34;".unicodeScalars)
      case 0x27: result.append(contentsOf: "&#39;".unicodeScalars)
      case 0x60: result.append(contentsOf: "&#96;".unicodeScalars)
      case 0x09, 0x0a: result.append(scalar)
      // A carriage return would be read as a line feed; as a reference it stays what it is.
      case 0x0d: result.append(contentsOf: "&#13;".unicodeScalars)
      case 0x00...0x1f, 0x7f...0x9f, 0xfdd0...0xfdef, 0xfffe, 0xffff: result.append("\u{fffd}")
      case 0x2028: result.append(contentsOf: "&#8232;".unicodeScalars)
      case 0x2029: result.append(contentsOf: "&#8233;".unicodeScalars)
      default: result.append(scalar)
      }
    }
    return String(result)
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
