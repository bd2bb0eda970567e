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
    // Every token that is written comes through here, and every document that is read.
    if let found = bytes.withContiguousStorageIfAvailable({ firstForbidden(inBuffer: $0) }) { return found }
    return Array(bytes).withUnsafeBufferPointer { firstForbidden(inBuffer: $0) }
  }

  private static func firstForbidden(inBuffer bytes: UnsafeBufferPointer<UInt8>) -> Int? {
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

  /// Whether it is a URI with a scheme (RFC 3986 3), narrower than the RFC so that every reader agrees: an authority is a host of letters, digits, dots
  /// and dashes with a port or without; no brackets, no user, no ampersand (libxml2 2.9 keeps it escaped in the names of namespaces), nothing outside of ASCII.
  static func isAbsoluteURI(_ bytes: some Collection<UInt8>) -> Bool {
    guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")) else { return false }
    let scheme = bytes[..<colon]
    guard let first = scheme.first, isLetter(first), scheme.allSatisfy({ isLetter($0) || isDigit($0) || "+-.".utf8.contains($0) }) else {
      return false
    }
    var rest = bytes[colon...].dropFirst()
    guard !rest.isEmpty else { return false }
    if rest.starts(with: "//".utf8) {
      let authority = rest.dropFirst(2).prefix { !"/?#".utf8.contains($0) }
      let parts = authority.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
      guard (1...2).contains(parts.count), let host = parts.first, !host.isEmpty else { return false }
      guard host.allSatisfy({ isLetter($0) || isDigit($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-") }) else { return false }
      if parts.count == 2, let port = parts.last { guard (1...5).contains(port.count), port.allSatisfy(isDigit) else { return false } }
      rest = rest.dropFirst(2 + authority.count)
    }
    var hexExpected = 0
    var fragments = 0
    for byte in rest {
      if hexExpected > 0 {
        guard isDigit(byte) || (0x61...0x66).contains(byte) || (0x41...0x46).contains(byte) else { return false }
        hexExpected -= 1
      } else if byte == UInt8(ascii: "%") {
        hexExpected = 2
      } else if byte == UInt8(ascii: "#") {
        fragments += 1
        guard fragments == 1 else { return false }
      } else {
        guard isLetter(byte) || isDigit(byte) || "-._~:/?@!$'()*+,;=".utf8.contains(byte) else { return false }
      }
    }
    return hexExpected == 0
  }

  private static func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7a).contains(byte) || (0x41...0x5a).contains(byte) }

  private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
}
