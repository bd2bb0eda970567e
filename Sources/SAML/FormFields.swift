import Bytes

/// Parameters as they stand in a query or a form: `application/x-www-form-urlencoded`, names and values as raw octets and decoded.
///
/// The raw octets are kept because a signature of the Redirect binding is over them (Bindings 3.4.4.1): two products encode the same value
/// differently, and both are right.
package struct FormFields: Sendable {
  package struct Field: Sendable {
    /// The name as it was sent.
    package let rawName: [UInt8]
    package let name: String
    package let rawValue: [UInt8]
    package let value: String
  }

  package let fields: [Field]

  /// At most 64 fields. Throws `MessageFault` for escapes that are cut or not hexadecimal, and for what is not UTF-8.
  package init(_ bytes: some Collection<UInt8>) throws(MessageFault) { try self.init(octets: Array(bytes)) }

  private init(octets bytes: [UInt8]) throws(MessageFault) {
    var fields: [Field] = []
    for part in bytes.split(separator: UInt8(ascii: "&"), omittingEmptySubsequences: true) {
      guard fields.count < 64 else { throw MessageFault(.tooLarge, "there are more than 64 parameters") }
      let split = part.firstIndex(of: UInt8(ascii: "="))
      let rawName = Array(part[..<(split ?? part.endIndex)])
      let rawValue = split.map { Array(part[part.index(after: $0)...]) } ?? []
      guard let name = FormFields.decode(rawName), let value = FormFields.decode(rawValue) else {
        throw MessageFault(.envelope, "a parameter is not percent-encoded UTF-8")
      }
      fields.append(Field(rawName: rawName, name: name, rawValue: rawValue, value: value))
    }
    self.fields = fields
  }

  /// The one field of this name, or nil.
  ///
  /// Throws where it comes twice, and where another one's name could be taken for it (another case, or percent-encoded): servers differ in what
  /// they read then, and a verified parameter must be the one that is used.
  package func only(_ name: String) throws(MessageFault) -> Field? {
    var found: Field?
    let exact = Array(name.utf8)
    let folded = asciiFolded(name)
    for field in fields where asciiFolded(field.name) == folded {
      guard field.rawName == exact else { throw MessageFault(.envelope, "a parameter is spelt almost like \(name)") }
      guard found == nil else { throw MessageFault(.envelope, "\(name) comes twice") }
      found = field
    }
    return found
  }

  /// The text of the one field of this name, or nil where there is none.
  package func text(_ name: String) throws(MessageFault) -> String? { try only(name)?.value }

  private func asciiFolded(_ text: String) -> [UInt8] { text.utf8.map { $0 >= 0x41 && $0 <= 0x5a ? $0 | 0x20 : $0 } }

  private static func decode(_ raw: [UInt8]) -> String? {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(raw.count)
    var rest = raw[...]
    while let byte = rest.popFirst() {
      switch byte {
      case UInt8(ascii: "+"): bytes.append(0x20)
      case UInt8(ascii: "%"):
        guard let high = rest.popFirst().flatMap(digit), let low = rest.popFirst().flatMap(digit) else { return nil }
        bytes.append(high << 4 | low)
      default: bytes.append(byte)
      }
    }
    return StrictText.utf8(bytes)
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x41 + 10
    case 0x61...0x66: byte - 0x61 + 10
    default: nil
    }
  }

  /// The value percent-encoded, everything but unreserved characters (RFC 3986 §2.3), with upper-case digits.
  package static func encode(_ value: String) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var result: [UInt8] = []
    for byte in value.utf8 {
      switch byte {
      case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"): result.append(byte)
      default: result += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      }
    }
    return String(decoding: result, as: UTF8.self)
  }
}
