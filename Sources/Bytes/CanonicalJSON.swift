/// Writes JSON in exactly one way, so that equal values are equal bytes and a hash over the text is a hash over the value.
///
/// Keys come in the order in which the caller writes them, there is no white space, numbers are written as Swift writes them (shortest text
/// that reads back equal). Every scalar that ends a line, moves a terminal's cursor or turns the direction of text is escaped as `\uXXXX`, so
/// that a name with `\r\n` or an ANSI sequence stays on its line. Escaping looks at scalars, never at Characters.
package struct CanonicalJSON {
  package private(set) var bytes: [UInt8] = []
  /// Whether the next member or element needs a comma before it.
  private var wantsComma = false

  package init(capacity: Int = 512) { bytes.reserveCapacity(capacity) }

  /// Writes `{`, the members and `}`.
  package mutating func object(_ members: (inout CanonicalJSON) -> Void) {
    bytes.append(UInt8(ascii: "{"))
    wantsComma = false
    members(&self)
    bytes.append(UInt8(ascii: "}"))
    wantsComma = true
  }

  /// Writes `[`, one element for each item and `]`.
  package mutating func array<Item>(_ items: [Item], _ element: (inout CanonicalJSON, Item) -> Void) {
    bytes.append(UInt8(ascii: "["))
    wantsComma = false
    for item in items {
      if wantsComma { bytes.append(UInt8(ascii: ",")) }
      element(&self, item)
      wantsComma = true
    }
    bytes.append(UInt8(ascii: "]"))
    wantsComma = true
  }

  /// Writes the name of a member and the colon; the value follows.
  package mutating func key(_ name: String) {
    if wantsComma { bytes.append(UInt8(ascii: ",")) }
    string(name)
    bytes.append(UInt8(ascii: ":"))
  }

  /// Writes a member that is a string; nothing where it is nil.
  package mutating func member(_ name: String, _ text: String?) {
    guard let text else { return }
    key(name)
    string(text)
  }

  /// Writes a member that is a whole number.
  package mutating func member(_ name: String, _ number: Int64) {
    key(name)
    integer(number)
  }

  /// Writes a member that is true or false; nothing where it is nil.
  package mutating func member(_ name: String, _ flag: Bool?) {
    guard let flag else { return }
    key(name)
    bytes.append(contentsOf: flag ? [0x74, 0x72, 0x75, 0x65] : [0x66, 0x61, 0x6c, 0x73, 0x65])
    wantsComma = true
  }

  /// Writes a whole number as a value.
  package mutating func integer(_ number: Int64) {
    bytes.append(contentsOf: "\(number)".utf8)
    wantsComma = true
  }

  /// Writes a member that is a number; nothing where it is nil or JSON has no text for it (NaN, infinity).
  package mutating func member(_ name: String, _ number: Double?) {
    guard let number, number.isFinite else { return }
    key(name)
    bytes.append(contentsOf: "\(number)".utf8)
    wantsComma = true
  }

  /// Writes bytes that are canonical JSON already, as the value of a member.
  package mutating func member(_ name: String, canonical value: [UInt8]) {
    key(name)
    bytes.append(contentsOf: value)
    wantsComma = true
  }

  /// Writes a string with its quotes.
  package mutating func string(_ text: String) {
    bytes.append(UInt8(ascii: "\""))
    // Nearly every text is plain ASCII: it is copied as it is.
    var text = text
    let isCopied = text.withUTF8 { utf8 in
      guard utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }) else { return false }
      bytes.append(contentsOf: utf8)
      return true
    }
    if !isCopied { for scalar in text.unicodeScalars { append(scalar) } }
    bytes.append(UInt8(ascii: "\""))
    wantsComma = true
  }

  private mutating func append(_ scalar: Unicode.Scalar) {
    switch scalar.value {
    case 0x22, 0x5c:
      bytes.append(UInt8(ascii: "\\"))
      bytes.append(UInt8(truncatingIfNeeded: scalar.value))
    // C0, DEL and C1; zero-width and direction marks; line and paragraph separators; invisible operators; the byte-order mark.
    case 0x00...0x1f, 0x7f...0x9f, 0x061c, 0x200b...0x200f, 0x2028...0x202e, 0x2060...0x206f, 0xfeff, 0xfff9...0xffff:
      let digits = Array("0123456789abcdef".utf8)
      bytes.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "u")])
      for shift in stride(from: 12, through: 0, by: -4) { bytes.append(digits[Int(scalar.value >> UInt32(shift)) & 15]) }
    default:
      bytes.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
    }
  }
}
