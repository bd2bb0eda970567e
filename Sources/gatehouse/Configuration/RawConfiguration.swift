import Bytes
import Yams

/// A configuration file as a tree of texts, before anything is known of its keys.
///
/// The bytes are bounded before the YAML parser sees them: size, encoding, depth, no anchors (and so no aliases: a "billion laughs" cannot be
/// written). What is left is small enough for a parser that recurses.
struct RawConfiguration: Sendable {
  /// A value with the line on which it begins.
  struct Value: Sendable {
    var line: Int
    var content: Content
  }

  /// What a value is. A scalar's text is as written; its type is decided by the key that it stands behind.
  indirect enum Content: Sendable {
    case scalar(String)
    /// Nothing at all behind the key, or `~`.
    case empty
    case list([Value])
    case section([Entry])
  }

  /// One key of a section.
  struct Entry: Sendable {
    var key: String
    var line: Int
    var value: Value
  }

  static let maximumBytes = 256 << 10
  static let maximumDepth = 12
  static let maximumBrackets = 2048

  /// The file's name, for messages.
  let file: String
  /// Its folder, absolute: relative paths count from here.
  let directory: String
  let root: Value

  /// Throws `ConfigurationError`.
  init(bytes: [UInt8], file: String, directory: String) throws {
    func refusal(_ problems: [ConfigurationProblem]) -> ConfigurationError { ConfigurationError(file: file, problems: problems) }
    let problems = RawConfiguration.problems(before: bytes)
    guard problems.isEmpty else { throw refusal(problems) }
    let content = bytes.starts(with: [0xef, 0xbb, 0xbf]) ? bytes.dropFirst(3) : bytes[...]
    guard let text = StrictText.utf8(content) else { throw refusal([]) }
    let node: Node?
    do {
      node = try Parser(yaml: text, resolver: .basic, encoding: .utf8).singleRoot()
    } catch let error as YamlError {
      throw refusal(RawConfiguration.problems(of: error))
    }
    let empty = ConfigurationProblem("", "The file says nothing", remedy: "Start from the commented reference file in deploy/config")
    guard let node else { throw refusal([empty]) }
    var tooDeep: [ConfigurationProblem] = []
    let root = RawConfiguration.value(of: node, path: "", depth: 0, problems: &tooDeep)
    guard tooDeep.isEmpty else { throw refusal(tooDeep) }
    guard case .section(let entries) = root.content else {
      if case .empty = root.content { throw refusal([empty]) }
      throw refusal([
        ConfigurationProblem("", line: root.line, "The file is not a list of keys", remedy: "Write `key: value` lines as in deploy/config")
      ])
    }
    guard !entries.isEmpty else { throw refusal([empty]) }
    self.file = file
    self.directory = directory
    self.root = root
  }

  /// What forbids handing the bytes to the YAML parser. At most one problem of each kind, at its first place.
  static func problems(before bytes: [UInt8]) -> [ConfigurationProblem] {
    guard bytes.count <= maximumBytes else {
      return [
        ConfigurationProblem(
          "", "The file has \(bytes.count) bytes, more than \(describe(byteCount: maximumBytes))", remedy: "Check that it is the configuration file")
      ]
    }
    guard let text = StrictText.utf8(bytes) else {
      return [ConfigurationProblem("", "The file is not UTF-8", remedy: "Save it as UTF-8")]
    }
    var found: [String: ConfigurationProblem] = [:]
    func note(_ line: Int, _ message: String, remedy: String) {
      if found[message] == nil { found[message] = ConfigurationProblem("", line: line, message, remedy: remedy) }
    }
    var line = 1
    var isIndentation = true  // blanks, and the marks that open a block collection: each is one level at least
    var opened = 0
    var brackets = 0
    var previous: UInt32 = 0x0a
    let scalars = Array(text.unicodeScalars)
    for (index, scalar) in scalars.enumerated() {
      let value = scalar.value
      switch value {
      case 0x0a:
        line += 1
        isIndentation = true
        opened = 0
        previous = value
        continue
      case 0x09 where isIndentation: note(line, "A tab stands in the indentation", remedy: "Indent with spaces")
      case 0x00...0x08, 0x0b, 0x0c, 0x0e...0x1f, 0x7f...0x9f, 0x2028, 0x2029, 0xfffe, 0xffff:
        note(line, "A control character stands in the file (U+\(hex(value)))", remedy: "Remove it")
      case 0x0d where index + 1 >= scalars.count || scalars[index + 1].value != 0x0a:
        note(line, "A carriage return stands alone", remedy: "End lines with a line feed")
      case 0x5b, 0x7b:  // [ {
        brackets += 1
        if brackets > maximumBrackets { note(line, "The file has more than \(maximumBrackets) brackets", remedy: "Write lists line by line") }
      case 0x26 where opensToken(after: previous) && isVisible(index + 1 < scalars.count ? scalars[index + 1].value : 0x20):
        // Also inside comments and quotes: to tell them apart for sure takes a YAML parser, which is what the anchor must not reach.
        note(
          line, "An anchor (`&name`) is not taken in configuration", remedy: "Write the value out where it is needed; put a blank behind a plain `&`")
      default: break
      }
      if isIndentation {
        switch value {
        case 0x20, 0x09, 0x0d: break
        case 0x2d, 0x3f, 0x3a:  // - ? :
          opened += 1
          if opened > maximumDepth, value != previous {
            note(line, "The file is nested more than \(maximumDepth) levels deep", remedy: "No key lies that deep: check the indentation")
          }
        default: isIndentation = false
        }
      }
      previous = value
    }
    return found.values.sorted { ($0.line ?? 0, $0.message) < ($1.line ?? 0, $1.message) }
  }

  /// After which character a new YAML token can begin.
  private static func opensToken(after previous: UInt32) -> Bool {
    switch previous {
    case 0x0a, 0x0d, 0x20, 0x09, 0x5b, 0x7b, 0x2c, 0x3a, 0xfeff: true  // line break, blank, [ { , : and the byte order mark
    default: false
    }
  }

  private static func isVisible(_ value: UInt32) -> Bool { value > 0x20 }

  private static func hex(_ value: UInt32) -> String {
    let digits = String(value, radix: 16, uppercase: true)
    return String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits
  }

  /// The parser's own complaint in the form of ours.
  private static func problems(of error: YamlError) -> [ConfigurationProblem] {
    switch error {
    case .duplicatedKeysInMapping(let keys, let context):
      // The parser names the line of the first key only; finding the second one is what the reader has to do.
      return keys.map {
        ConfigurationProblem(
          quoted($0), line: context.mark.line, "The key stands more than once in its section",
          remedy: "Keep one of them; nothing else was checked yet")
      }
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _), .composer(_, let problem, let mark, _):
      return [
        ConfigurationProblem(
          "", line: mark.line, "This is not YAML: \(problem)", remedy: "Check indentation, colons and quotes here and on the line before")
      ]
    case .reader(let problem, _, _, _): return [ConfigurationProblem("", "This is not YAML: \(problem)", remedy: "Save the file as UTF-8")]
    default: return [ConfigurationProblem("", "This is not YAML", remedy: "Start from the commented reference file in deploy/config")]
    }
  }

  /// The depth is bounded, so the recursion is.
  private static func value(of node: Node, path: String, depth: Int, problems: inout [ConfigurationProblem]) -> Value {
    let line = node.mark?.line ?? 1
    guard depth <= maximumDepth else {
      if problems.isEmpty {
        problems.append(
          ConfigurationProblem(
            "", line: line, "The file is nested more than \(maximumDepth) levels deep", remedy: "No key lies that deep: check the indentation"))
      }
      return Value(line: line, content: .empty)
    }
    switch node {
    case .scalar(let scalar):
      let isPlain = scalar.style == .plain || scalar.style == .any
      if isPlain, scalar.string.isEmpty || scalar.string == "~" || scalar.string == "null" { return Value(line: line, content: .empty) }
      return Value(line: line, content: .scalar(scalar.string))
    case .sequence(let sequence):
      return Value(line: line, content: .list(sequence.map { value(of: $0, path: path, depth: depth + 1, problems: &problems) }))
    case .mapping(let mapping):
      var entries: [Entry] = []
      for (key, content) in mapping {
        guard case .scalar(let name) = key else {
          problems.append(
            ConfigurationProblem("", line: key.mark?.line, "A list or section stands where a key must", remedy: "Write `key: value`"))
          continue
        }
        let inner = value(of: content, path: path, depth: depth + 1, problems: &problems)
        entries.append(Entry(key: name.string, line: name.mark?.line ?? inner.line, value: inner))
      }
      return Value(line: line, content: .section(entries))
    case .alias:
      problems.append(ConfigurationProblem("", line: line, "An alias (`*name`) is not taken in configuration", remedy: "Write the value out"))
      return Value(line: line, content: .empty)
    }
  }
}

/// `text` for a message: short, and without anything that could fool a terminal.
func quoted(_ text: String) -> String {
  var shown = ""
  for scalar in text.unicodeScalars.prefix(60) {
    shown.unicodeScalars.append(scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value) || scalar.properties.isBidiControl ? "\u{fffd}" : scalar)
  }
  return "`\(shown)\(text.unicodeScalars.count > 60 ? "…" : "")`"
}
