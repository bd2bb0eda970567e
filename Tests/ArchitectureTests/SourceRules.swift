import Foundation

/// What one source file may not contain.
struct SourceRule {
  var name: String
  var pattern: Regex<Substring>
  /// Whether the rule holds for this path.
  var appliesTo: (String) -> Bool

  // A regular expression is not Sendable, so the rules are made anew for each test.
  /// The laws of the code that a machine can see.
  static func all() -> [SourceRule] {
    [
      SourceRule(name: "FoundationXML is imported nowhere (it reads external entities)", pattern: /import\s+FoundationXML\b/) { _ in true },
      SourceRule(name: "no try!", pattern: /\btry!/) { _ in true },
      SourceRule(name: "no as!", pattern: /\bas!/) { _ in true },
      SourceRule(name: "no traps", pattern: /\b(?:fatalError|preconditionFailure|precondition|assertionFailure)\(/) {
        !$0.hasPrefix(testLibrary)
      },
      SourceRule(name: "no unstructured tasks", pattern: /\bTask(?:<[^>]*>)?\s*(?:\([^)]*\))?\s*\{|\bTask\.(?:detached|immediate)\b/) { _ in true },
      SourceRule(name: "no semaphores", pattern: /\bDispatchSemaphore\b/) { _ in true },
      SourceRule(name: "the wall clock is read in the house only", pattern: /\bDate\(\)|\bDate\.now\b/) {
        !$0.hasPrefix("Sources/gatehouse/") && !$0.hasPrefix(testLibrary)
      },
      SourceRule(name: "no escape from the concurrency rules", pattern: /@unchecked\s+Sendable|nonisolated\(unsafe\)|@preconcurrency/) {
        escapes[$0] == nil
      },
    ]
  }

  /// It runs in tests only, where a trap is a failure that is seen, and certificates are made for today.
  private static let testLibrary = "Sources/GatehouseTesting/"

  /// The files that may escape from the concurrency rules, each with the reason that stands beside the escape.
  static let escapes: [String: String] = [
    "Sources/Bytes/Secret.swift": "storage that is immutable until its deinit wipes it",
    "Sources/Cryptography/KeyHandle.swift": "a C handle that is never replaced and may be used by many",
    "Sources/KeyStore/TokenModule.swift": "a C handle that is never replaced and may be used by many",
    "Sources/KeyStore/TokenThreads.swift": "threads for blocking C, and questions to them, under a condition",
    "Sources/ActiveDirectory/ThreadExecutor.swift": "an executor that owns one thread, for blocking C",
    "Sources/ActiveDirectory/DirectoryLoop.swift": "an executor that owns one thread and waits for many descriptors",
    "Sources/ActiveDirectory/LDAPHandle.swift": "a C handle that one at a time uses",
  ]

  /// The violations in a file, as `path:line: rule`.
  func violations(in source: String, path: String) -> [String] {
    guard appliesTo(path) else { return [] }
    let code = SourceText.withoutComments(source)
    return code.matches(of: pattern).map { match in
      let line = code[..<match.range.lowerBound].utf8.count { $0 == 0x0a } + 1
      return "\(path):\(line): \(name)"
    }
  }
}

/// Just enough knowledge of Swift's text to look for words in it.
enum SourceText {
  /// The source with comments and the insides of plain string literals blanked out; line breaks stay, so that line numbers do.
  static func withoutComments(_ source: String) -> String {
    enum Place: Equatable { case code, line, block(Int), string, multiline }
    var place = Place.code
    var result: [UInt8] = []
    let bytes = Array(source.utf8)
    result.reserveCapacity(bytes.count)
    func starts(_ text: StaticString, at index: Int) -> Bool {
      guard index + text.utf8CodeUnitCount <= bytes.count else { return false }
      return text.withUTF8Buffer { $0.elementsEqual(bytes[index..<index + $0.count]) }
    }
    var index = 0
    func blank(_ count: Int) {
      for offset in 0..<count where index + offset < bytes.count { result.append(bytes[index + offset] == 0x0a ? 0x0a : 0x20) }
      index += count
    }
    while index < bytes.count {
      switch place {
      case .code:
        if starts("//", at: index) {
          place = .line
        } else if starts("/*", at: index) {
          place = .block(1)
          blank(2)
        } else if starts("\"\"\"", at: index) {
          place = .multiline
          blank(3)
        } else if bytes[index] == 0x22 {
          place = .string
          blank(1)
        } else {
          result.append(bytes[index])
          index += 1
        }
      case .line:
        if bytes[index] == 0x0a { place = .code }
        blank(1)
      case .block(let depth):
        if starts("/*", at: index) {
          place = .block(depth + 1)
          blank(2)
        } else if starts("*/", at: index) {
          place = depth == 1 ? .code : .block(depth - 1)
          blank(2)
        } else {
          blank(1)
        }
      case .string:
        if bytes[index] == 0x5c {
          blank(2)
        } else {
          // A literal ends with its line at the latest: what follows a literal that this reader does not understand is looked at again.
          if bytes[index] == 0x22 || bytes[index] == 0x0a { place = .code }
          blank(1)
        }
      case .multiline:
        if bytes[index] == 0x5c {
          blank(2)
        } else if starts("\"\"\"", at: index) {
          place = .code
          blank(3)
        } else {
          blank(1)
        }
      }
    }
    return String(decoding: result, as: UTF8.self)
  }

  /// The modules that a source imports.
  static func imports(of source: String) -> [String] {
    let pattern =
      /(?m)^[ \t]*(?:@\w+(?:\([^)]*\))?[ \t]+)*(?:(?:public|package|internal|fileprivate|private)[ \t]+)?import[ \t]+(?:(?:struct|class|enum|protocol|func|var|let|typealias)[ \t]+)?(\w+)/
    return withoutComments(source).matches(of: pattern).map { String($0.output.1) }
  }
}
