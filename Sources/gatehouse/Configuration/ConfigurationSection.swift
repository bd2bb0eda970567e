import Identity

/// What a reading of one file found wrong, and which keys it asked for.
final class ConfigurationFindings {
  private(set) var problems: [ConfigurationProblem] = []
  /// Every key that the reading knows, `realms[].servers` for the sections of a list.
  private(set) var knownKeys: Set<String> = []

  /// Adds a problem.
  func note(_ path: String, line: Int?, _ message: String, remedy: String) {
    problems.append(ConfigurationProblem(path, line: line, message, remedy: remedy))
  }

  fileprivate func learn(_ path: String) {
    var inBrackets = false
    knownKeys.insert(
      String(
        String.UnicodeScalarView(
          path.unicodeScalars.filter { scalar in
            if scalar == "]" { inBrackets = false }
            defer { if scalar == "[" { inBrackets = true } }
            return !inBrackets
          })))
  }
}

/// How a scalar becomes a value.
struct ScalarKind<Value> {
  /// Completes "It must be …".
  var expects: String
  /// Nil where the text is no such value.
  var parse: (String) -> Value?
}

/// One section of a file, to be asked for its keys; `finish()` then refuses those that nobody asked for.
///
/// A section that is missing in the file answers like an empty one, so that its defaults hold and its required keys are reported.
final class ConfigurationSection {
  let path: String
  let line: Int?
  let findings: ConfigurationFindings
  /// Whether the file has the section.
  let isPresent: Bool
  private let entries: [RawConfiguration.Entry]
  private var asked: [String] = []

  private init(path: String, line: Int?, entries: [RawConfiguration.Entry]?, findings: ConfigurationFindings) {
    self.path = path
    self.line = line
    self.entries = entries ?? []
    isPresent = entries != nil
    self.findings = findings
  }

  /// The file as a section.
  convenience init(root: RawConfiguration, findings: ConfigurationFindings) {
    var entries: [RawConfiguration.Entry] = []
    if case .section(let found) = root.root.content { entries = found }
    self.init(path: "", line: nil, entries: entries, findings: findings)
  }

  /// The path of a key of this section.
  func path(of key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

  /// The line of a key; the section's own where it is missing.
  func line(of key: String) -> Int? { entry(key)?.line ?? line }

  /// Whether the file has something behind the key.
  func has(_ key: String) -> Bool { entry(key) != nil }

  /// Adds a problem with one of this section's keys.
  func note(_ key: String, _ message: String, remedy: String) {
    findings.note(path(of: key), line: line(of: key), message, remedy: remedy)
  }

  /// The value behind `key`, or `standard` where the key is missing.
  func value<Value>(_ key: String, _ kind: ScalarKind<Value>, default standard: Value) -> Value {
    optional(key, kind) ?? standard
  }

  /// The value behind `key`; nil where it is missing, and where it is wrong (which is then noted).
  func optional<Value>(_ key: String, _ kind: ScalarKind<Value>) -> Value? {
    learn(key)
    guard let entry = entry(key) else { return nil }
    return scalar(entry.value, path: path(of: key), line: entry.line, kind)
  }

  /// The value behind `key`; a missing one is noted with `remedy`.
  func required<Value>(_ key: String, _ kind: ScalarKind<Value>, remedy: String) -> Value? {
    learn(key)
    guard has(key) else {
      note(key, "The key is missing", remedy: remedy)
      return nil
    }
    return optional(key, kind)
  }

  /// The list behind `key`, or `standard` where it is missing. Wrong and repeated members are noted.
  func list<Value: Hashable>(_ key: String, _ kind: ScalarKind<Value>, upTo most: Int, default standard: [Value]) -> [Value] {
    learn(key)
    guard let entry = entry(key) else { return standard }
    guard case .list(let members) = entry.value.content else {
      note(key, "A list is wanted", remedy: "Write `\(key): [first, second]`, or one member a line behind `- `")
      return standard
    }
    guard !members.isEmpty, members.count <= most else {
      note(key, "The list has \(members.count) members", remedy: "Give it 1 to \(most), or leave the key out")
      return standard
    }
    var values: [Value] = []
    var seen: Set<Value> = []
    for (index, member) in members.enumerated() {
      let place = "\(path(of: key))[\(index)]"
      guard let value = scalar(member, path: place, line: member.line, kind) else { continue }
      if seen.insert(value).inserted {
        values.append(value)
      } else {
        findings.note(place, line: member.line, "The list has this member twice", remedy: "Remove one of them")
      }
    }
    return values
  }

  /// The section behind `key`; an absent one where the file has none.
  func section(_ key: String) -> ConfigurationSection {
    learn(key)
    guard let entry = entry(key) else { return ConfigurationSection(path: path(of: key), line: line, entries: nil, findings: findings) }
    switch entry.value.content {
    case .section(let inner): return ConfigurationSection(path: path(of: key), line: entry.line, entries: inner, findings: findings)
    case .empty: break
    case .scalar, .list: note(key, "A section is wanted", remedy: "Write its keys below it, two blanks further in")
    }
    return ConfigurationSection(path: path(of: key), line: entry.line, entries: nil, findings: findings)
  }

  /// The sections listed behind `key`; none where the file has none.
  func sections(_ key: String, upTo most: Int) -> [ConfigurationSection] {
    learn(key)
    guard let entry = entry(key) else { return [] }
    guard case .list(let members) = entry.value.content, (1...most).contains(members.count) else {
      note(key, "A list of 1 to \(most) sections is wanted", remedy: "Begin each of them with `- ` and write its keys below")
      return []
    }
    return members.enumerated().compactMap { index, member in
      let place = "\(path(of: key))[\(index)]"
      guard case .section(let inner) = member.content else {
        findings.note(place, line: member.line, "A section is wanted", remedy: "Write its keys behind `- ` and below it")
        return nil
      }
      return ConfigurationSection(path: place, line: member.line, entries: inner, findings: findings)
    }
  }

  /// Makes keys known that this reading has no question about.
  func know(_ keys: [String]) { keys.forEach(learn) }

  /// Notes every key that was never asked for.
  func finish() {
    for entry in entries where !asked.contains(where: { $0.utf8.elementsEqual(entry.key.utf8) }) {
      let place = path(of: quotedIfStrange(entry.key))
      if looksLikeSecret(entry.key) {
        findings.note(
          place, line: entry.line, "Secrets never stand in this file",
          remedy: "Put the secret into a file of its own with mode 0600 and name that file, for a service account with `passwordFile`")
        continue
      }
      let near = nearest(to: entry.key, among: asked)
      findings.note(
        place, line: entry.line, "The key is not known here",
        remedy: near.map { "Write \(quoted($0)) if you meant that" } ?? "Known here: \(asked.sorted().joined(separator: ", "))")
    }
  }

  private func learn(_ key: String) {
    if !asked.contains(key) { asked.append(key) }
    findings.learn(path(of: key))
  }

  private func entry(_ key: String) -> RawConfiguration.Entry? {
    entries.first { $0.key.utf8.elementsEqual(key.utf8) }
  }

  private func scalar<Value>(_ value: RawConfiguration.Value, path: String, line: Int, _ kind: ScalarKind<Value>) -> Value? {
    switch value.content {
    case .scalar(let text):
      if let parsed = kind.parse(text) { return parsed }
      findings.note(path, line: line, "\(quoted(text)) does not fit", remedy: "It must be \(kind.expects)")
    case .empty: findings.note(path, line: line, "The key has no value", remedy: "It must be \(kind.expects); or leave the key out")
    case .list: findings.note(path, line: line, "A list stands where one value is wanted", remedy: "It must be \(kind.expects)")
    case .section: findings.note(path, line: line, "A section stands where one value is wanted", remedy: "It must be \(kind.expects)")
    }
    return nil
  }
}

private func quotedIfStrange(_ key: String) -> String {
  let isPlain = key.utf8.count <= 64 && key.utf8.allSatisfy { (0x21...0x7e).contains($0) }
  return isPlain && !key.isEmpty ? key : quoted(key)
}

/// Whether somebody may have written a secret behind this key.
private func looksLikeSecret(_ key: String) -> Bool {
  let lowered = asciiLowercased(key)
  return ["password", "passwd", "secret", "apikey", "token", "credential"].contains { word in
    lowered.utf8.count <= 64 && lowered.contains(word) && !lowered.hasSuffix("file")
  }
}

/// The known key that `key` is most likely a slip of: at most two edits away, or three where it is long.
func nearest(to key: String, among known: [String]) -> String? {
  let typed = Array(asciiLowercased(key).utf8)
  guard (2...64).contains(typed.count) else { return nil }
  let allowed = typed.count >= 9 ? 3 : typed.count >= 4 ? 2 : 1
  let scored = known.map { ($0, editDistance(typed, Array(asciiLowercased($0).utf8))) }
  guard let best = scored.min(by: { ($0.1, $0.0) < ($1.1, $1.0) }), best.1 <= allowed else { return nil }
  return best.0
}

/// Levenshtein's distance.
private func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
  var row = Array(0...right.count)
  for (i, a) in left.enumerated() {
    var diagonal = row[0]
    row[0] = i + 1
    for (j, b) in right.enumerated() {
      let substituted = diagonal + (a == b ? 0 : 1)
      diagonal = row[j + 1]
      row[j + 1] = min(substituted, row[j + 1] + 1, row[j] + 1)
    }
  }
  return row[right.count]
}
