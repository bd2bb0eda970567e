/// One thing that is wrong in a configuration file.
struct ConfigurationProblem: Sendable, Equatable, CustomStringConvertible {
  /// Where: `listeners.public.address`, `realms[0].service`; empty for the file as a whole.
  var path: String
  /// From 1; nil where nothing in the file stands for it (a key is missing).
  var line: Int?
  /// What is wrong, in one sentence without a full stop.
  var message: String
  /// What to do, in one sentence without a full stop.
  var remedy: String

  init(_ path: String, line: Int? = nil, _ message: String, remedy: String) {
    self.path = path
    self.line = line
    self.message = message
    self.remedy = remedy
  }

  var description: String {
    let place = line.map { "line \($0): " } ?? ""
    return place + (path.isEmpty ? "" : "\(path): ") + "\(message). \(remedy)."
  }
}

/// All that is wrong with a configuration file.
struct ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
  var file: String
  /// In the order of their lines; never empty.
  var problems: [ConfigurationProblem]

  init(file: String, problems: [ConfigurationProblem]) {
    self.file = file
    self.problems =
      problems.isEmpty
      ? [ConfigurationProblem("", "The file could not be read", remedy: "Report this with the file, without its secrets")]
      : problems.enumerated().sorted { ($0.element.line ?? .max, $0.offset) < ($1.element.line ?? .max, $1.offset) }.map(\.element)
  }

  var description: String {
    let count = problems.count == 1 ? "1 problem" : "\(problems.count) problems"
    return "\(file): \(count)\n" + problems.map { "  \($0)" }.joined(separator: "\n")
  }
}
