import Bytes
import XMLSecurity

/// Why a message cannot be used. `detail` is for the one who runs the relying party: it says what to change, and holds nothing of a person.
package struct MessageFault: Error, Sendable, Equatable, CustomStringConvertible {
  package enum Kind: String, Sendable, CaseIterable {
    /// The binding's envelope: parameters, base64, DEFLATE.
    case envelope
    /// Not XML that is read here.
    case xml
    /// XML, but not the message that was expected.
    case structure
    /// A signature that is missing, or does not hold.
    case signature
    /// More than is taken.
    case tooLarge
  }
  package let kind: Kind
  package let detail: String

  package init(_ kind: Kind, _ detail: String) {
    self.kind = kind
    self.detail = detail
  }

  package init(_ fault: XMLFault) { self.init(.xml, fault.detail) }

  package var description: String { detail }
}

// How elements of SAML are read: every rule of the schema that a reader could be fooled by is checked where the value is taken.
extension XMLElement {
  /// Runs a read of the tree, its faults told as a fault of the message.
  package static func reading<Value>(_ work: () throws(XMLFault) -> Value) throws(MessageFault) -> Value {
    do { return try work() } catch { throw MessageFault(.structure, error.detail) }
  }

  /// The one child of this name, or nil; a fault where there are several.
  package func oneOrNone(_ name: XMLName) throws(MessageFault) -> XMLElement? {
    let found = children(name)
    guard found.count <= 1 else { throw MessageFault(.structure, "<\(self.name.local)> has \(found.count) <\(name.local)> and may have one") }
    return found.first
  }

  package func one(_ name: XMLName) throws(MessageFault) -> XMLElement {
    guard let child = try oneOrNone(name) else { throw MessageFault(.structure, "<\(self.name.local)> has no <\(name.local)>") }
    return child
  }

  /// Character data without comments or elements inside (a parser that forgets what follows a comment would read another name).
  package func content(upTo limit: Int) throws(MessageFault) -> String {
    let text: String
    do { text = try self.text() } catch { throw MessageFault(.structure, "<\(name.local)>: \(error.detail)") }
    guard text.utf8.count <= limit else { throw MessageFault(.tooLarge, "<\(name.local)> has more than \(limit) bytes") }
    return text
  }

  /// An attribute of at most `limit` bytes, or nil.
  package func value(_ local: String, upTo limit: Int = 1024) throws(MessageFault) -> String? {
    guard let value = attribute(local) else { return nil }
    guard value.utf8.count <= limit else { throw MessageFault(.tooLarge, "\(local) of <\(name.local)> has more than \(limit) bytes") }
    return value
  }

  /// xs:boolean (XML Schema Part 2, 3.2.2): true, false, 1, 0.
  package func flag(_ local: String) throws(MessageFault) -> Bool? {
    switch attribute(local) {
    case nil: return nil
    case "true", "1": return true
    case "false", "0": return false
    default: throw MessageFault(.structure, "\(local) of <\(name.local)> is neither true nor false")
    }
  }

  /// xs:unsignedShort.
  package func number(_ local: String) throws(MessageFault) -> UInt16? {
    guard let text = attribute(local) else { return nil }
    guard (1...5).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = UInt16(text) else {
      throw MessageFault(.structure, "\(local) of <\(name.local)> is no number from 0 to 65535")
    }
    return number
  }

  package func instant(_ local: String) throws(MessageFault) -> Instant? {
    guard let text = attribute(local) else { return nil }
    guard let instant = DateTime.read(text) else {
      throw MessageFault(.structure, "\(local) of <\(name.local)> is no time in UTC like 2026-01-31T12:00:00Z")
    }
    return instant
  }

  /// Refuses children that the schema does not have here, and those that come twice.
  package func allowOnly(_ names: Set<XMLName>) throws(MessageFault) {
    var seen: Set<XMLName> = []
    for child in elements {
      guard names.contains(child.name) else {
        throw MessageFault(.structure, "<\(name.local)> has a <\(child.name.local.prefix(64))> that does not belong there")
      }
      guard seen.insert(child.name).inserted else { throw MessageFault(.structure, "<\(name.local)> has several <\(child.name.local)>") }
    }
    try allowNoText()
  }

  /// Refuses character data between the elements.
  package func allowNoText() throws(MessageFault) {
    for child in self.children {
      // White space between elements is all that may stand there.
      if case .text(let text) = child, text.utf8.contains(where: { $0 != 0x20 && $0 != 0x0a && $0 != 0x0d && $0 != 0x09 }) {
        throw MessageFault(.structure, "<\(name.local)> has text between its elements")
      }
    }
  }
}

/// xs:dateTime as SAML uses it: UTC with `Z`, at most nine digits of a second's fraction (Core 1.3.3). What is finer than a millisecond is cut.
package enum DateTime {
  /// Nil for offsets, leap seconds, years outside of 1970…9999 and everything else that is not exactly this form.
  package static func read(_ text: String) -> Instant? {
    let bytes = Array(text.utf8)
    guard (20...30).contains(bytes.count), bytes.last == UInt8(ascii: "Z") else { return nil }
    func number(_ range: Range<Int>) -> Int64? {
      var value: Int64 = 0
      for byte in bytes[range] {
        guard (0x30...0x39).contains(byte) else { return nil }
        value = value * 10 + Int64(byte - 0x30)
      }
      return value
    }
    let dash = UInt8(ascii: "-"), colon = UInt8(ascii: ":")
    guard bytes[4] == dash, bytes[7] == dash, bytes[10] == UInt8(ascii: "T"), bytes[13] == colon, bytes[16] == colon,
      let year = number(0..<4), let month = number(5..<7), let day = number(8..<10), let hour = number(11..<13), let minute = number(14..<16),
      let second = number(17..<19), (1970...9999).contains(year), (1...12).contains(month), hour < 24, minute < 60, second < 60,
      day >= 1, day <= daysOf(month, year)
    else { return nil }
    var milliseconds: Int64 = 0
    if bytes.count > 20 {
      guard bytes[19] == UInt8(ascii: "."), bytes.count > 21, let fraction = number(20..<bytes.count - 1) else { return nil }
      var scaled = fraction
      switch bytes.count - 21 {
      case 1: scaled *= 100
      case 2: scaled *= 10
      case let digits: for _ in 3..<digits { scaled /= 10 }
      }
      milliseconds = scaled
    }
    let days = daysSince1970(year, month, day)
    return Instant(milliseconds: ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + milliseconds)
  }

  private static func daysOf(_ month: Int64, _ year: Int64) -> Int64 {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }

  /// Days of the proleptic Gregorian calendar, counted from March so that the leap day is the last of its year.
  private static func daysSince1970(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let shifted = month <= 2 ? year - 1 : year
    let era = shifted / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }
}

/// Whether a text can be the value of an ID: an NCName (Namespaces in XML 1.0, 3) of ASCII, at most 256 bytes. Relying parties use nothing else,
/// and an ID of other characters is only a way to look like one.
func isMessageID(_ text: String) -> Bool {
  guard let first = text.utf8.first, text.utf8.count <= 256 else { return false }
  func isLetter(_ byte: UInt8) -> Bool { (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || byte == UInt8(ascii: "_") }
  return isLetter(first)
    && text.utf8.allSatisfy { isLetter($0) || (0x30...0x39).contains($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }
}
