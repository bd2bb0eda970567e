/// A JSON text (RFC 8259), read whole and strictly before anything in it is believed: bounds on depth, names and numbers, no name twice in one
/// object, nothing on which decoders differ.
///
/// Foundation's decoder recurses, takes the last of two equal names and forgives some malformed texts; this reader is iterative and forgives
/// nothing. It makes one pass and keeps one small node for each name and value; strings are made only of what is asked for.
package struct JSONText: Sendable {
  /// What is wrong, for the one who sent it; `offset` in bytes.
  package struct Problem: Error, Equatable, CustomStringConvertible {
    package var text: String
    package var offset: Int
    package var description: String { "\(text) at byte \(offset)" }
  }

  package static let deepest = 32
  package static let longestNumber = 32
  package static let mostNames = 1000
  /// Names and values together; each takes some thirty bytes, more than the two characters that a value can be written in.
  package static let mostNodes = 100_000

  enum Kind: UInt8 { case object, array, string, number, true_, false_, null }

  struct Node {
    var kind: Kind
    /// Whether a string has escapes.
    var isEscaped = false
    /// The bytes: of a string without its quotes, of a number as written.
    var start: Int
    var end: Int
    /// The index of the node behind this one and everything in it.
    var next: Int
  }

  let bytes: [UInt8]
  /// In the order of the text; in an object a name is followed by its value.
  let nodes: [Node]

  /// Reads a text whose outermost value is an object. `mostNames` bounds the names of all objects together: what peers that have proved who
  /// they are send in batches may have more than the usual thousand.
  package init(object bytes: [UInt8], mostNames: Int = JSONText.mostNames) throws(Problem) {
    var scanner = JSONScanner(bytes: bytes, mostNames: mostNames)
    try scanner.scan()
    self.bytes = bytes
    nodes = scanner.nodes
  }

  /// The outermost object.
  package var root: JSONValue { JSONValue(text: self, index: 0) }
}

/// A value inside a `JSONText`. Asking for another type than it has gives nil.
package struct JSONValue: Sendable {
  let text: JSONText
  let index: Int

  private var node: JSONText.Node { text.nodes[index] }

  package var isNull: Bool { node.kind == .null }

  package var bool: Bool? {
    switch node.kind {
    case .true_: true
    case .false_: false
    default: nil
    }
  }

  /// The string's text, escapes resolved.
  package var string: String? {
    guard node.kind == .string else { return nil }
    return node.isEscaped ? String(decoding: text.unescaped(node), as: UTF8.self) : String(decoding: text.bytes[node.start..<node.end], as: UTF8.self)
  }

  /// The string's bytes as a secret, without a `String` in between, of which a copy would stay in memory.
  package var secret: Secret? {
    guard node.kind == .string else { return nil }
    guard node.isEscaped else { return Secret(text.bytes[node.start..<node.end]) }
    var plain = text.unescaped(node)
    defer { plain.withUnsafeMutableBytes { buffer in if let base = buffer.baseAddress { wipe(base, buffer.count) } } }
    return Secret(plain)
  }

  /// The number, where it is whole and fits.
  package var integer: Int64? {
    guard node.kind == .number else { return nil }
    var digits = text.bytes[node.start..<node.end]
    let isNegative = digits.first == UInt8(ascii: "-")
    if isNegative { digits = digits.dropFirst() }
    if digits.count <= 18, digits.allSatisfy({ (0x30...0x39).contains($0) }) {
      let value = digits.reduce(Int64(0)) { $0 * 10 + Int64($1 - 0x30) }
      return isNegative ? -value : value
    }
    return Int64(String(decoding: text.bytes[node.start..<node.end], as: UTF8.self)) ?? double.flatMap { Int64(exactly: $0) }
  }

  package var double: Double? {
    guard node.kind == .number else { return nil }
    return Double(String(decoding: text.bytes[node.start..<node.end], as: UTF8.self))
  }

  /// An array's elements.
  package var elements: [JSONValue]? {
    guard node.kind == .array else { return nil }
    var result: [JSONValue] = []
    var next = index + 1
    while next < node.next {
      result.append(JSONValue(text: text, index: next))
      next = text.nodes[next].next
    }
    return result
  }

  /// An object's members, in their order.
  package var members: [(name: String, value: JSONValue)]? {
    guard node.kind == .object else { return nil }
    var result: [(name: String, value: JSONValue)] = []
    var next = index + 1
    while next < node.next {
      result.append((JSONValue(text: text, index: next).string ?? "", JSONValue(text: text, index: next + 1)))
      next = text.nodes[next + 1].next
    }
    return result
  }

  /// The value of an object's member; nil where there is none, or where it is `null`: the two mean the same to everything that is read here.
  package subscript(name: String) -> JSONValue? { member(name).flatMap { $0.isNull ? nil : $0 } }

  /// The value of an object's member, be it `null`; nil where there is none.
  package func member(_ name: String) -> JSONValue? {
    guard node.kind == .object else { return nil }
    var next = index + 1
    while next < node.next {
      if text.isName(text.nodes[next], name) { return JSONValue(text: text, index: next + 1) }
      next = text.nodes[next + 1].next
    }
    return nil
  }
}

extension JSONText {
  func isName(_ node: Node, _ name: String) -> Bool {
    if node.isEscaped { return unescaped(node).elementsEqual(name.utf8) }
    guard node.end - node.start == name.utf8.count else { return false }
    return bytes[node.start..<node.end].elementsEqual(name.utf8)
  }

  func unescaped(_ node: Node) -> [UInt8] { JSONText.unescaped(bytes[node.start..<node.end]) }

  /// Resolves the escapes of a string that the scanner has found well-formed.
  static func unescaped(_ raw: ArraySlice<UInt8>) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(raw.count)
    var position = raw.startIndex
    func codeUnit(at start: Int) -> UInt32 {
      var value: UInt32 = 0
      for byte in raw[start..<min(start + 4, raw.endIndex)] { value = value << 4 | UInt32(hexadecimalDigit(byte) ?? 0) }
      return value
    }
    while position < raw.endIndex {
      let byte = raw[position]
      position += 1
      guard byte == UInt8(ascii: "\\"), position < raw.endIndex else {
        result.append(byte)
        continue
      }
      let letter = raw[position]
      position += 1
      switch letter {
      case UInt8(ascii: "b"): result.append(0x08)
      case UInt8(ascii: "f"): result.append(0x0c)
      case UInt8(ascii: "n"): result.append(0x0a)
      case UInt8(ascii: "r"): result.append(0x0d)
      case UInt8(ascii: "t"): result.append(0x09)
      case UInt8(ascii: "u"):
        var value = codeUnit(at: position)
        position += 4
        if (0xd800...0xdbff).contains(value) {
          value = 0x10000 + (value - 0xd800) << 10 + (codeUnit(at: position + 2) &- 0xdc00)
          position += 6
        }
        if let scalar = Unicode.Scalar(value), let encoded = UTF8.encode(scalar) { result.append(contentsOf: encoded) }
      default: result.append(letter)
      }
    }
    return result
  }

  static func hexadecimalDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x41 + 10
    case 0x61...0x66: byte - 0x61 + 10
    default: nil
    }
  }
}
