import Bytes

/// A place in a document's bytes, and the steps over what is not a tag. Past the end every byte is 0, which no document contains.
struct XMLCursor {
  private let bytes: [UInt8]
  private let nameBytes: Int
  private var place = 0

  /// Throws where the bytes are not UTF-8 or hold a character that XML does not have: nothing later has to look again.
  init(_ bytes: [UInt8], nameBytes: Int) throws(XMLFault) {
    self.bytes = bytes
    self.nameBytes = nameBytes
    if let forbidden = XMLCharacters.firstForbidden(in: bytes) {
      place = forbidden
      // UTF-16 and UTF-32 are full of zeros.
      throw fault(.character, "a byte or character that XML in UTF-8 does not have")
    }
    guard StrictText.utf8(bytes) != nil else { throw XMLFault(.encoding, "not UTF-8") }
  }

  var isAtEnd: Bool { place >= bytes.count }

  private func byte(_ offset: Int = 0) -> UInt8 {
    let index = place + offset
    return index < bytes.count ? bytes[index] : 0
  }

  /// A fault with the place where the cursor stands.
  func fault(_ kind: XMLFault.Kind, _ what: String) -> XMLFault {
    let line = bytes.prefix(place).reduce(1) { $1 == 0x0a ? $0 + 1 : $0 }
    return XMLFault(kind, "line \(line), byte \(place): \(what)")
  }

  func isAt(_ literal: StaticString) -> Bool {
    literal.withUTF8Buffer { wanted in
      guard bytes.count - place >= wanted.count else { return false }
      var index = place
      for byte in wanted {
        guard bytes[index] == byte else { return false }
        index += 1
      }
      return true
    }
  }

  /// Steps over `literal` if it stands here.
  mutating func take(_ literal: StaticString) -> Bool {
    guard isAt(literal) else { return false }
    place += literal.utf8CodeUnitCount
    return true
  }

  /// Steps over white space; whether there was any.
  @discardableResult mutating func skipSpace() -> Bool {
    let begin = place
    while XMLCharacters.isSpace(byte()) { place += 1 }
    return place > begin
  }

  private func string(_ begin: Int, _ end: Int) -> String { String(decoding: bytes[begin..<end], as: UTF8.self) }

  /// `</name` with white space and `>`; `name` as in the start tag.
  mutating func takeEndTag(of name: ArraySlice<UInt8>) -> Bool {
    guard isAt("</"), bytes.dropFirst(place + 2).starts(with: name) else { return false }
    let begin = place
    place += 2 + name.count
    skipSpace()
    if take(">") { return true }
    place = begin
    return false
  }

  /// A name with at most one colon, not at an edge (Namespaces in XML 1.0 4), in ASCII.
  mutating func qualifiedName() throws(XMLFault) -> XMLQualifiedName {
    let begin = place
    var colon: Int?
    guard XMLCharacters.isNameStart(byte()) else { throw fault(.name, "no name where one must be") }
    while true {
      if XMLCharacters.isName(byte()) {
        place += 1
      } else if byte() == UInt8(ascii: ":") {
        guard colon == nil, XMLCharacters.isNameStart(byte(1)) else { throw fault(.name, "a colon at the wrong place of a name") }
        colon = place
        place += 1
      } else {
        break
      }
      guard place - begin <= nameBytes else { throw fault(.nameTooLong, "a name of more than \(nameBytes) bytes") }
    }
    guard byte() < 0x80 else { throw fault(.name, "a name with characters outside of ASCII") }
    return XMLQualifiedName(
      prefix: colon.map { string(begin, $0) } ?? "", local: string(colon.map { $0 + 1 } ?? begin, place), bytes: bytes[begin..<place])
  }

  /// A quoted value, normalised (XML 1.0 3.3.3): literal white space becomes spaces, by number it stays.
  mutating func attributeValue() throws(XMLFault) -> String {
    let quote = byte()
    guard quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") else { throw fault(.syntax, "an attribute's value without quotes") }
    place += 1
    let begin = place
    while byte() != quote, byte() >= 0x20, byte() != UInt8(ascii: "&"), byte() != UInt8(ascii: "<") { place += 1 }
    if byte() == quote, !isAtEnd {
      place += 1
      return string(begin, place - 1)
    }
    var value = Array(bytes[begin..<place])
    while !isAtEnd {
      let next = byte()
      switch next {
      case quote:
        place += 1
        return String(decoding: value, as: UTF8.self)
      case UInt8(ascii: "&"): value.append(contentsOf: try reference())
      case UInt8(ascii: "<"): throw fault(.syntax, "< in an attribute's value")
      case 0x0d:
        value.append(0x20)
        place += byte(1) == 0x0a ? 2 : 1
      case 0x09, 0x0a:
        value.append(0x20)
        place += 1
      default:
        value.append(next)
        place += 1
      }
    }
    throw fault(.syntax, "the document ends inside of an attribute's value")
  }

  /// Character data up to the next `<` or the end, references resolved and line ends normalised (XML 1.0 2.11).
  mutating func text() throws(XMLFault) -> String {
    let begin = place
    var value: [UInt8] = []
    var isCopied = false
    while !isAtEnd {
      let next = byte()
      if next == UInt8(ascii: "<") { break }
      switch next {
      case UInt8(ascii: "&"):
        if !isCopied { value = Array(bytes[begin..<place]) }
        isCopied = true
        value.append(contentsOf: try reference())
      case 0x0d:
        if !isCopied { value = Array(bytes[begin..<place]) }
        isCopied = true
        value.append(0x0a)
        place += byte(1) == 0x0a ? 2 : 1
      case UInt8(ascii: "]") where isAt("]]>"): throw fault(.syntax, "]]> in text")
      default:
        if isCopied { value.append(next) }
        place += 1
      }
    }
    return isCopied ? String(decoding: value, as: UTF8.self) : string(begin, place)
  }

  /// From `<![CDATA[` to `]]>`.
  mutating func characterDataSection() throws(XMLFault) -> String {
    _ = take("<![CDATA[")
    var value: [UInt8] = []
    while !isAtEnd {
      let next = byte()
      if next == UInt8(ascii: "]"), take("]]>") { return String(decoding: value, as: UTF8.self) }
      if next == 0x0d {
        value.append(0x0a)
        place += byte(1) == 0x0a ? 2 : 1
      } else {
        value.append(next)
        place += 1
      }
    }
    throw fault(.syntax, "the document ends inside of a CDATA section")
  }

  /// From behind `<!--` to behind `-->` (XML 1.0 2.5: no `--` inside).
  mutating func skipComment() throws(XMLFault) {
    while !isAtEnd {
      if byte() == UInt8(ascii: "-"), take("--") {
        guard take(">") else { throw fault(.syntax, "-- inside of a comment") }
        return
      }
      place += 1
    }
    throw fault(.syntax, "the document ends inside of a comment")
  }

  /// `&name;` or `&#number;`: one character, as UTF-8.
  private mutating func reference() throws(XMLFault) -> [UInt8] {
    if take("&lt;") { return [UInt8(ascii: "<")] }
    if take("&gt;") { return [UInt8(ascii: ">")] }
    if take("&amp;") { return [UInt8(ascii: "&")] }
    if take("&quot;") { return [UInt8(ascii: "\"")] }
    if take("&apos;") { return [UInt8(ascii: "'")] }
    guard isAt("&#") else { throw fault(.entity, "a reference to an entity that is not one of the five") }
    let radix: UInt32 = isAt("&#x") ? 16 : 10
    var index = radix == 16 ? 3 : 2
    var value: UInt32 = 0
    var digits = 0
    while let digit = XMLCursor.digit(byte(index)), digit < radix {
      // Larger than any character already, or as long as nobody writes them: no overflow.
      guard value <= 0x10_ffff, digits < 16 else { throw fault(.character, "a number that is no character") }
      value = value * radix + digit
      digits += 1
      index += 1
    }
    guard digits > 0, byte(index) == UInt8(ascii: ";") else { throw fault(.syntax, "a character reference without number or semicolon") }
    guard XMLCharacters.isCharacter(value), let scalar = Unicode.Scalar(value) else { throw fault(.character, "a number that is no character") }
    place += index + 1
    return Array(String(scalar).utf8)
  }

  private static func digit(_ byte: UInt8) -> UInt32? {
    switch byte {
    case 0x30...0x39: UInt32(byte - 0x30)
    case 0x41...0x46: UInt32(byte - 0x41) + 10
    case 0x61...0x66: UInt32(byte - 0x61) + 10
    default: nil
    }
  }

  /// A byte order mark, and `<?xml version="1.0" encoding="UTF-8" standalone="…"?>` (XML 1.0 2.8): nothing may stand before it.
  mutating func skipByteOrderMarkAndDeclaration() throws(XMLFault) {
    _ = take("\u{feff}")
    guard isAt("<?xml"), XMLCharacters.isSpace(byte(5)) else { return }
    place += 5
    guard skipSpace(), let version = try pseudoAttribute("version"), version == "1.0" else {
      throw fault(.syntax, "an XML declaration without version 1.0")
    }
    var hadSpace = skipSpace()
    if hadSpace, let encoding = try pseudoAttribute("encoding") {
      guard encoding.lowercased() == "utf-8" else { throw fault(.encoding, "an encoding that is not UTF-8") }
      hadSpace = skipSpace()
    }
    if hadSpace, let standalone = try pseudoAttribute("standalone") {
      guard standalone == "yes" || standalone == "no" else { throw fault(.syntax, "standalone is yes or no") }
      skipSpace()
    }
    guard take("?>") else { throw fault(.syntax, "an XML declaration with something else in it") }
  }

  private mutating func pseudoAttribute(_ name: StaticString) throws(XMLFault) -> String? {
    guard take(name) else { return nil }
    skipSpace()
    guard take("=") else { throw fault(.syntax, "an XML declaration that is none") }
    skipSpace()
    guard !isAt("&") else { throw fault(.syntax, "an XML declaration that is none") }
    let value = try attributeValue()
    guard value.utf8.allSatisfy({ XMLCharacters.isName($0) }) else { throw fault(.syntax, "an XML declaration that is none") }
    return value
  }
}
