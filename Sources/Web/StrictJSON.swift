import Bytes
import Foundation

/// Looks a JSON text (RFC 8259) over before any decoder sees it: bounds on depth and size, no duplicate names, nothing that decoders disagree on.
///
/// Foundation's decoder recurses, takes the last of two equal names, and forgives some malformed texts; this scanner is iterative and forgives nothing.
enum StrictJSON {
  /// What is wrong, for the one who sent it; `offset` in bytes.
  struct Problem: Error, Equatable, CustomStringConvertible {
    var text: String
    var offset: Int
    var description: String { "\(text) at byte \(offset)" }
  }

  static let deepest = 32
  static let longestNumber = 32
  static let mostNames = 1000

  /// Checks the text and gives the names of the outermost object, in order. Throws `Problem`, also where the outermost value is no object.
  static func names(ofObject bytes: [UInt8]) throws(Problem) -> [String] {
    var scanner = Scanner(bytes: bytes)
    return try scanner.scan()
  }

  private struct Scanner {
    let bytes: [UInt8]
    var position = 0
    /// One set of names for each open object; nil for an open array.
    var open: [Set<String>?] = []
    var outermost: [String] = []
    var names = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    func problem(_ text: String) -> Problem { Problem(text: text, offset: position) }

    mutating func skipSpace() {
      while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d { position += 1 }
    }

    mutating func scan() throws(Problem) -> [String] {
      guard StrictText.utf8(bytes) != nil else { throw problem("the text is not valid UTF-8") }
      skipSpace()
      guard next == UInt8(ascii: "{") else { throw problem("a JSON object must begin") }
      // What may come next: a value, or (in an object) a name, or what closes or continues the innermost container.
      enum Expectation { case value, nameOrEnd, name, valueOrEnd, separatorOrEnd }
      var expectation = Expectation.value
      repeat {
        skipSpace()
        guard let byte = next else { throw problem("the text ends too early") }
        switch expectation {
        case .nameOrEnd where byte == UInt8(ascii: "}"), .valueOrEnd where byte == UInt8(ascii: "]"):
          position += 1
          open.removeLast()
          expectation = .separatorOrEnd
        case .nameOrEnd, .name:
          guard byte == UInt8(ascii: "\"") else { throw problem("a name in double quotes must stand here") }
          let name = try string()
          names += 1
          guard names <= StrictJSON.mostNames else { throw problem("there are more than \(StrictJSON.mostNames) names") }
          guard let last = open.indices.last, var seen = open[last] else { throw problem("a name outside of an object") }
          guard seen.insert(name).inserted else { throw problem("the name \"\(name.prefix(64))\" stands twice") }
          open[last] = seen
          if open.count == 1 { outermost.append(name) }
          skipSpace()
          guard next == UInt8(ascii: ":") else { throw problem("a colon must follow the name") }
          position += 1
          expectation = .value
        case .separatorOrEnd:
          let inObject = open.last.map { $0 != nil } ?? false
          if byte == UInt8(ascii: ",") {
            position += 1
            expectation = inObject ? .name : .value
          } else if byte == (inObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) {
            position += 1
            open.removeLast()
          } else {
            throw problem("a comma or the end of the \(inObject ? "object" : "array") must stand here")
          }
        case .value, .valueOrEnd:
          switch byte {
          case UInt8(ascii: "{"), UInt8(ascii: "["):
            guard open.count < StrictJSON.deepest else { throw problem("the text is nested deeper than \(StrictJSON.deepest)") }
            position += 1
            open.append(byte == UInt8(ascii: "{") ? Set<String>() : Optional<Set<String>>.none)
            expectation = byte == UInt8(ascii: "{") ? .nameOrEnd : .valueOrEnd
          case UInt8(ascii: "\""):
            _ = try string()
            expectation = .separatorOrEnd
          case UInt8(ascii: "t"): expectation = try literal("true", then: .separatorOrEnd)
          case UInt8(ascii: "f"): expectation = try literal("false", then: .separatorOrEnd)
          case UInt8(ascii: "n"): expectation = try literal("null", then: .separatorOrEnd)
          default:
            try number()
            expectation = .separatorOrEnd
          }
        }
      } while !open.isEmpty
      skipSpace()
      guard position == bytes.count else { throw problem("something follows the end of the object") }
      return outermost
    }

    mutating func literal<T>(_ text: StaticString, then result: T) throws(Problem) -> T {
      let expected = text.withUTF8Buffer { Array($0) }
      guard bytes[position...].starts(with: expected) else { throw problem("this is no JSON value") }
      position += expected.count
      return result
    }

    mutating func number() throws(Problem) {
      let start = position
      func isDigit(_ byte: UInt8?) -> Bool { byte.map { (0x30...0x39).contains($0) } ?? false }
      if next == UInt8(ascii: "-") { position += 1 }
      guard isDigit(next) else { throw problem("this is no JSON value") }
      if next == UInt8(ascii: "0") { position += 1 } else { while isDigit(next) { position += 1 } }
      if next == UInt8(ascii: ".") {
        position += 1
        guard isDigit(next) else { throw problem("a digit must follow the point") }
        while isDigit(next) { position += 1 }
      }
      if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
        position += 1
        if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { position += 1 }
        guard isDigit(next) else { throw problem("a digit must follow the exponent") }
        while isDigit(next) { position += 1 }
      }
      guard position - start <= StrictJSON.longestNumber else { throw problem("a number has more than \(StrictJSON.longestNumber) characters") }
      // Beyond the range of a Double decoders differ: some refuse, some say infinity.
      guard Double(String(decoding: bytes[start..<position], as: UTF8.self))?.isFinite == true else { throw problem("a number is too large") }
    }

    /// The string that begins here, its escapes resolved, so that `"a"` and `"\u0061"` are the same name.
    mutating func string() throws(Problem) -> String {
      position += 1
      var scalars = String.UnicodeScalarView()
      var plain: [UInt8] = []
      func flush(_ plain: inout [UInt8], _ scalars: inout String.UnicodeScalarView) {
        scalars.append(contentsOf: String(decoding: plain, as: UTF8.self).unicodeScalars)
        plain.removeAll(keepingCapacity: true)
      }
      while let byte = next {
        switch byte {
        case UInt8(ascii: "\""):
          position += 1
          flush(&plain, &scalars)
          return String(scalars)
        case UInt8(ascii: "\\"):
          position += 1
          flush(&plain, &scalars)
          scalars.append(try escape())
        case 0x00..<0x20: throw problem("a control character stands in a string")
        default:
          plain.append(byte)
          position += 1
        }
      }
      throw problem("a string is not closed")
    }

    mutating func escape() throws(Problem) -> Unicode.Scalar {
      guard let byte = next else { throw problem("the text ends too early") }
      position += 1
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
      case UInt8(ascii: "b"): return "\u{8}"
      case UInt8(ascii: "f"): return "\u{c}"
      case UInt8(ascii: "n"): return "\n"
      case UInt8(ascii: "r"): return "\r"
      case UInt8(ascii: "t"): return "\t"
      case UInt8(ascii: "u"):
        let first = try codeUnit()
        if let scalar = Unicode.Scalar(UInt32(first)) { return scalar }
        guard (0xd800...0xdbff).contains(first), next == UInt8(ascii: "\\") else { throw problem("half of a surrogate pair stands alone") }
        position += 1
        guard next == UInt8(ascii: "u") else { throw problem("half of a surrogate pair stands alone") }
        position += 1
        let second = try codeUnit()
        guard (0xdc00...0xdfff).contains(second),
          let scalar = Unicode.Scalar(0x10000 + (UInt32(first) - 0xd800) << 10 + (UInt32(second) - 0xdc00))
        else { throw problem("half of a surrogate pair stands alone") }
        return scalar
      default: throw problem("this escape does not exist")
      }
    }

    mutating func codeUnit() throws(Problem) -> UInt16 {
      var value: UInt16 = 0
      for _ in 0..<4 {
        let digit: UInt8
        switch next {
        case .some(let byte) where (0x30...0x39).contains(byte): digit = byte - 0x30
        case .some(let byte) where (0x41...0x46).contains(byte): digit = byte - 0x41 + 10
        case .some(let byte) where (0x61...0x66).contains(byte): digit = byte - 0x61 + 10
        default: throw problem("four hexadecimal digits must follow \\u")
        }
        value = value << 4 | UInt16(digit)
        position += 1
      }
      return value
    }
  }
}
