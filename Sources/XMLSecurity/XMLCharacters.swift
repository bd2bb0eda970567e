/// Classes of characters.
enum XMLCharacters {
  static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0a || byte == 0x09 || byte == 0x0d }

  static func isNameStart(_ byte: UInt8) -> Bool {
    (0x61...0x7a).contains(byte) || (0x41...0x5a).contains(byte) || byte == UInt8(ascii: "_")
  }

  static func isName(_ byte: UInt8) -> Bool {
    isNameStart(byte) || (0x30...0x39).contains(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".")
  }

  /// Whether it is an NCName (Namespaces in XML 1.0 3) of ASCII.
  static func isNCName(_ bytes: some Collection<UInt8>) -> Bool {
    guard let first = bytes.first, isNameStart(first) else { return false }
    return bytes.allSatisfy(isName)
  }

  /// XML 1.0 2.2 `Char`.
  static func isCharacter(_ scalar: UInt32) -> Bool {
    switch scalar {
    case 0x09, 0x0a, 0x0d, 0x20...0xd7ff, 0xe000...0xfffd, 0x1_0000...0x10_ffff: true
    default: false
    }
  }

  /// Where the first byte stands that begins a character which XML 1.0 does not have; `bytes` are UTF-8.
  static func firstForbidden(in bytes: some Collection<UInt8>) -> Int? {
    // U+FFFE and U+FFFF are ef bf be and ef bf bf.
    var before: (UInt8, UInt8) = (0, 0)
    var place = 0
    for byte in bytes {
      if byte < 0x20, byte != 0x09, byte != 0x0a, byte != 0x0d { return place }
      if byte >= 0xbe, before == (0xef, 0xbf), byte <= 0xbf { return place }
      before = (before.1, byte)
      place += 1
    }
    return nil
  }

  /// Whether it has a scheme and only characters of a URI (RFC 3986), which is narrow enough for every reader to agree.
  static func isAbsoluteURI(_ bytes: some Collection<UInt8>) -> Bool {
    var inScheme = true
    var schemeBytes = 0
    var hexExpected = 0
    var fragments = 0
    var last: UInt8 = 0
    for byte in bytes {
      let isAlpha = (0x61...0x7a).contains(byte) || (0x41...0x5a).contains(byte)
      let isDigit = (0x30...0x39).contains(byte)
      if inScheme {
        if byte == UInt8(ascii: ":") {
          guard schemeBytes > 0 else { return false }
          inScheme = false
        } else {
          guard isAlpha || (schemeBytes > 0 && (isDigit || "+-.".utf8.contains(byte))) else { return false }
          schemeBytes += 1
        }
        continue
      }
      last = byte
      if hexExpected > 0 {
        guard isDigit || (0x61...0x66).contains(byte) || (0x41...0x46).contains(byte) else { return false }
        hexExpected -= 1
      } else if byte == UInt8(ascii: "%") {
        hexExpected = 2
      } else if byte == UInt8(ascii: "#") {
        fragments += 1
        guard fragments == 1 else { return false }
      } else {
        guard isAlpha || isDigit || "-._~:/?@!$&'()*+,;=".utf8.contains(byte) else { return false }
      }
    }
    return !inScheme && hexExpected == 0 && last != 0
  }
}
