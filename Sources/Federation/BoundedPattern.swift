import Foundation
import _FoundationICU

/// Regular expressions of administrators over values of people, in ICU's dialect (that of NSRegularExpression): bounded in length, refused where nested
/// repetition could make one match take for ever, and given up after some milliseconds, since `.*.*.*=` takes minutes over a value that its owner chose.
///
/// ICU is asked directly: NSRegularExpression has no limit of time.
struct BoundedPattern: Sendable {
  static let longestPattern = 256
  /// Longer values are not matched; they refuse the token.
  static let longestValue = 1024
  /// In ICU's units of about a millisecond, counted in steps of the match and so the same under load.
  static let longestMatch: Int32 = 20
  /// Bytes of backtracking.
  static let largestStack: Int32 = 1 << 20

  private let pattern: String

  init?(_ pattern: String) {
    guard BoundedPattern.problem(pattern) == nil else { return nil }
    self.pattern = pattern
  }

  /// A `URegularExpression`, to be closed. ICU's are for one thread each; compiling takes some microseconds.
  private static func compile(_ pattern: String) -> OpaquePointer? {
    let text = Array(pattern.utf16)
    var status = U_ZERO_ERROR
    let compiled = swift_uregex_open(text, Int32(text.count), 0, nil, &status)
    guard status.rawValue <= U_ZERO_ERROR.rawValue, let compiled else {
      if let compiled { swift_uregex_close(compiled) }
      return nil
    }
    return compiled
  }

  static func problem(_ pattern: String) -> String? {
    guard (1...longestPattern).contains(pattern.utf8.count) else { return "a pattern must have 1 to \(longestPattern) bytes" }
    guard let compiled = compile(pattern) else { return "\"\(pattern)\" is no regular expression" }
    swift_uregex_close(compiled)
    guard !repeatsARepetition(pattern) else {
      return "\"\(pattern)\" repeats a group that repeats something itself; one match of it could take for ever. Write it without nested repetition."
    }
    return nil
  }

  /// Whether a group that contains `*`, `+`, `{`, `?` or `|` is itself repeated, or a group is referred back to: what backtracking can explode on.
  private static func repeatsARepetition(_ pattern: String) -> Bool {
    var open: [Bool] = []
    var closed: Bool?  // the group that has just ended: whether it contains a repetition or a choice
    var inClass = false
    var escaped = false
    var before: UInt8 = 0
    for byte in pattern.utf8 {
      let isLiteral = escaped
      defer { before = isLiteral ? 0 : byte }
      if escaped {
        escaped = false
        closed = nil
        if !inClass, (0x31...0x39).contains(byte) || byte == UInt8(ascii: "k") { return true }
        continue
      }
      if byte == UInt8(ascii: "\\") { escaped = true; continue }
      if inClass {
        if byte == UInt8(ascii: "]") { inClass = false; closed = nil }
        continue
      }
      switch byte {
      case UInt8(ascii: "["): inClass = true
      case UInt8(ascii: "("):
        open.append(false)
        closed = nil
      case UInt8(ascii: ")"):
        closed = open.popLast() ?? false
        if closed == true, let last = open.indices.last { open[last] = true }
      case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "{"):
        if closed == true { return true }
        if let last = open.indices.last { open[last] = true }
        closed = nil
      case UInt8(ascii: "|"):
        if let last = open.indices.last { open[last] = true }
        closed = nil
      // What may be there or not is a choice, but for the question mark that begins `(?:`.
      case UInt8(ascii: "?") where before != UInt8(ascii: "("):
        if let last = open.indices.last { open[last] = true }
        closed = nil
      default: closed = nil
      }
    }
    return false
  }

  /// The value with every match replaced (`$1` stands for a group); nil where the value is too long to be matched, or the match took too long.
  func replaced(_ value: String, with replacement: String) -> String? {
    matching(value) { expression in
      let template = Array(replacement.utf16)
      // A template may repeat a group; what comes out has its bound like what went in.
      var result = [UInt16](repeating: 0, count: 16 * BoundedPattern.longestValue)
      var status = U_ZERO_ERROR
      let length = swift_uregex_replaceAll(expression, template, Int32(template.count), &result, Int32(result.count), &status)
      guard status.rawValue <= U_ZERO_ERROR.rawValue, length <= result.count else { return nil }
      return String(decoding: result[..<Int(length)], as: UTF16.self)
    }
  }

  /// Whether the pattern matches somewhere in the value; nil where the value is too long to be matched, or the match took too long.
  func matches(_ value: String) -> Bool? {
    matching(value) { expression in
      var status = U_ZERO_ERROR
      let found = swift_uregex_find(expression, 0, &status)
      return status.rawValue <= U_ZERO_ERROR.rawValue ? found != 0 : nil
    }
  }

  /// Runs `body` with the expression whose text is `value`.
  private func matching<Result>(_ value: String, _ body: (OpaquePointer) -> Result?) -> Result? {
    guard value.utf8.count <= BoundedPattern.longestValue else { return nil }
    var status = U_ZERO_ERROR
    guard let expression = BoundedPattern.compile(pattern) else { return nil }
    defer { swift_uregex_close(expression) }
    swift_uregex_setTimeLimit(expression, BoundedPattern.longestMatch, &status)
    swift_uregex_setStackLimit(expression, BoundedPattern.largestStack, &status)
    // Never empty, so that it has an address; ICU is told how much of it counts.
    let text = Array(value.utf16) + [0]
    return text.withUnsafeBufferPointer { text in
      swift_uregex_setText(expression, text.baseAddress, Int32(text.count - 1), &status)
      guard status.rawValue <= U_ZERO_ERROR.rawValue else { return nil }
      return body(expression)
    }
  }
}
