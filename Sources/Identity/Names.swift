import Bytes
import Foundation

/// A user name as a person typed it: 1…320 bytes of UTF-8 without control characters. Compared byte by byte.
///
/// It identifies nobody by itself; the directory's object does (docs/architecture.md).
package struct UserName: Hashable, Sendable, CustomStringConvertible {
  package static let maximumBytes = 320

  /// The text exactly as typed.
  package let text: String

  /// Nil where `text` is empty, longer than 320 bytes, blank, or contains control characters (C0, DEL, C1), bidirectional or zero-width marks
  /// or anything else that is not seen, line or paragraph separators: no directory name has them, and logs and people are fooled by them.
  package init?(_ text: String) {
    let count = text.utf8.count
    guard count > 0, count <= UserName.maximumBytes else { return nil }
    // Nearly every name is plain ASCII, for which the long way below says the same.
    if text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) {
      self.text = text
      return
    }
    var visible = false
    for scalar in text.unicodeScalars {
      let properties = scalar.properties
      switch properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: return nil
      default: if properties.isDefaultIgnorableCodePoint || properties.isNoncharacterCodePoint { return nil }
      }
      switch scalar.value {
      case 0xfff0...0xffff: return nil  // U+FFFD stands for bytes that somebody could not read
      case 0x20, 0xa0, 0x3000: continue
      default: visible = true
      }
    }
    guard visible else { return nil }
    self.text = text
  }

  package static func == (left: UserName, right: UserName) -> Bool { left.text.utf8.elementsEqual(right.text.utf8) }
  package func hash(into hasher: inout Hasher) { hasher.combine(bytesOf: text) }
  package var description: String { text }

  /// The part behind the last `@`, lower-cased ASCII, or nil where there is none: `alice@Contoso.com` → `contoso.com`.
  package var suffix: String? {
    guard let at = text.utf8.lastIndex(of: UInt8(ascii: "@")) else { return nil }
    let rest = text[text.utf8.index(after: at)...]
    return rest.isEmpty ? nil : asciiLowercased(String(rest))
  }

  /// The part before the first backslash, lower-cased ASCII, or nil: `CONTOSO\alice` → `contoso`.
  package var domainPrefix: String? {
    guard let slash = text.utf8.firstIndex(of: UInt8(ascii: "\\")) else { return nil }
    let prefix = text[..<slash]
    return prefix.isEmpty ? nil : asciiLowercased(String(prefix))
  }

  /// One key for every spelling that a person could mean as the same name: trimmed, compatibility-composed, without case (`ß` like `ss`).
  ///
  /// For counting tries only, never to decide who somebody is: two names that share a key share a lockout counter, nothing else. So it joins
  /// rather too much than too little: a directory that sees one name where we see two would give tries for nothing.
  package var countingKey: String {
    if text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) { return asciiLowercased(text) }
    var key = text
    // Composing can bring spaces to the edge and make letters that have another case, and the other way round; so it is repeated until
    // nothing changes, which takes two or three rounds (a key that is not its own key has broken others).
    for _ in 0..<8 {
      let next = key.precomposedStringWithCompatibilityMapping.uppercased().lowercased().precomposedStringWithCompatibilityMapping
        .trimmingCharacters(in: .whitespacesAndNewlines)
      if next.utf8.elementsEqual(key.utf8) { break }
      key = next
    }
    return key
  }
}

extension Hasher {
  /// Feeds the bytes of a text that is compared byte by byte, and what ends them.
  package mutating func combine(bytesOf text: String) {
    var text = text
    text.withUTF8 { combine(bytes: UnsafeRawBufferPointer($0)) }
    combine(0xff as UInt8)
  }
}

/// Lower-cases A–Z only; every other byte stays.
package func asciiLowercased(_ text: String) -> String {
  guard text.utf8.contains(where: { $0 >= 0x41 && $0 <= 0x5a }) else { return text }
  return String(decoding: text.utf8.map { $0 >= 0x41 && $0 <= 0x5a ? $0 | 0x20 : $0 }, as: UTF8.self)
}

/// The name of a realm: the people of one directory who sign in by one method. 1…63 of `a-z 0-9 . -`, lower case.
package struct RealmName: Hashable, Sendable, Comparable, CustomStringConvertible, Codable {
  package let text: String

  /// Nil where `text` has other characters after ASCII lower-casing, begins or ends with `.` or `-`, or is too long.
  package init?(_ text: String) {
    let lowered = asciiLowercased(text)
    let bytes = Array(lowered.utf8)
    guard let first = bytes.first, let last = bytes.last, bytes.count <= 63 else { return nil }
    func isAlphanumeric(_ byte: UInt8) -> Bool { (0x61...0x7a).contains(byte) || (0x30...0x39).contains(byte) }
    guard isAlphanumeric(first), isAlphanumeric(last) else { return nil }
    guard bytes.allSatisfy({ isAlphanumeric($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-") }) else { return nil }
    self.text = lowered
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard let name = RealmName(try container.decode(String.self)) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a realm name")
    }
    self = name
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }

  package static func < (left: RealmName, right: RealmName) -> Bool { left.text < right.text }
  package var description: String { text }
}

/// Sixteen bytes that name one thing for ever; written as RFC 9562 text outside.
package struct Identifier: Hashable, Sendable, CustomStringConvertible, Codable {
  // Not an array: identifiers are made, compared and hashed many times in a sign-in.
  private let high: UInt64
  private let low: UInt64

  /// Exactly 16 bytes.
  package var bytes: [UInt8] { withUnsafeBytes(of: (high.bigEndian, low.bigEndian)) { Array($0) } }

  package init?(bytes: some Collection<UInt8>) {
    guard bytes.count == 16 else { return nil }
    high = bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    low = bytes.suffix(8).reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// A new random (version 4) identifier (RFC 9562 §5.4).
  package init() {
    var generator = SystemRandomNumberGenerator()
    high = generator.next() & 0xffff_ffff_ffff_0fff | 0x4000
    low = generator.next() & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000
  }

  /// From `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, any case; nil otherwise.
  package init?(_ text: String) {
    guard text.utf8.count == 36 else { return nil }
    var value: (high: UInt64, low: UInt64) = (0, 0)
    for (index, byte) in text.utf8.enumerated() {
      if index == 8 || index == 13 || index == 18 || index == 23 {
        guard byte == UInt8(ascii: "-") else { return nil }
        continue
      }
      let digit: UInt8
      switch byte {
      case 0x30...0x39: digit = byte - 0x30
      case 0x41...0x46: digit = byte - 0x41 + 10
      case 0x61...0x66: digit = byte - 0x61 + 10
      default: return nil
      }
      value = (value.high << 4 | value.low >> 60, value.low << 4 | UInt64(digit))
    }
    (high, low) = value
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard let value = Identifier(try container.decode(String.self)) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "not an identifier")
    }
    self = value
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }

  package var description: String {
    String(unsafeUninitializedCapacity: 36) { text in
      var place = 0
      for index in 0..<32 {
        if index == 8 || index == 12 || index == 16 || index == 20 {
          text[place] = UInt8(ascii: "-")
          place += 1
        }
        let digit = UInt8(truncatingIfNeeded: (index < 16 ? high : low) >> UInt64(60 - (index & 15) * 4)) & 15
        text[place] = digit < 10 ? 0x30 + digit : 0x61 + digit - 10
        place += 1
      }
      return place
    }
  }
}

/// A person's directory object: the realm's directory and its objectGUID (AD, bytes as stored) or entryUUID (OpenLDAP), 16 bytes.
package struct DirectoryObject: Hashable, Sendable, Codable {
  package let realm: RealmName
  package let id: Identifier

  package init(realm: RealmName, id: Identifier) {
    self.realm = realm
    self.id = id
  }
}
