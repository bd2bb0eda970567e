import Foundation

/// What the kernel counts of a process (proc(5)).
struct ProcessFigures: Sendable {
  /// What one of our processes may hold in memory under a storm, bytes. A debug build holds more than a release build.
  static let mostResident = 300 << 20

  /// Resident memory, bytes.
  var resident: Int
  /// What it has used of processors since it began, in user and system mode.
  var processorTime: Duration
  var descriptors: Int
  var threads: Int

  /// Throws where the process is gone.
  init(of process: ServerProcess) throws {
    let folder = "/proc/\(process.pid)"
    func words(_ name: String) throws -> [Substring] {
      // Behind the program's name, which may hold blanks and brackets of its own.
      let text = try String(contentsOfFile: folder + "/" + name, encoding: .utf8)
      return text.suffix(from: text.lastIndex(of: ")").map(text.index(after:)) ?? text.startIndex).split(whereSeparator: \.isWhitespace)
    }
    let (stat, memory) = (try words("stat"), try words("statm"))
    guard stat.count > 17, memory.count > 1, let user = Int(stat[11]), let system = Int(stat[12]), let threads = Int(stat[17]),
      let pages = Int(memory[1])
    else { throw ServerProcess.Failure(description: "the kernel tells nothing of process \(process.pid)") }
    resident = pages * sysconf(Int32(_SC_PAGESIZE))
    processorTime = .seconds(user + system) / sysconf(Int32(_SC_CLK_TCK))
    descriptors = try FileManager.default.contentsOfDirectory(atPath: folder + "/fd").count
    self.threads = threads
  }
}

/// The most that a figure came to while something went on.
actor Peak {
  private(set) var resident = 0

  /// Looks ten times a second until it is cancelled or the process is gone.
  func watch(_ process: ServerProcess) async {
    while !Task.isCancelled, let figures = try? ProcessFigures(of: process) {
      resident = max(resident, figures.resident)
      try? await Task.sleep(for: .milliseconds(100))
    }
  }
}
