import Foundation

/// The files of the repository that the tests look at.
enum Repository {
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  static func text(_ path: String) throws -> String {
    String(decoding: try Data(contentsOf: root.appendingPathComponent(path)), as: UTF8.self)
  }

  /// The paths below `folder` with the given ending, sorted; generated folders are not entered.
  static func files(under folder: String, ending: String) -> [String] {
    let base = root.appendingPathComponent(folder)
    guard let walk = FileManager.default.enumerator(atPath: base.path) else { return [] }
    return walk.compactMap { $0 as? String }.filter { $0.hasSuffix(ending) && !$0.hasPrefix(".") }.map { folder + "/" + $0 }.sorted()
  }

  static func sources() throws -> [(path: String, text: String)] {
    try files(under: "Sources", ending: ".swift").map { ($0, try text($0)) }
  }

  /// The target to which a path below Sources belongs.
  static func target(of path: String) -> String {
    let parts = path.split(separator: "/")
    return parts.count > 1 ? String(parts[1]) : path
  }

  /// What a program prints; nil where it cannot be run or fails.
  static func output(of program: String, _ arguments: [String]) throws -> Data? {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    process.currentDirectoryURL = root
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    try process.run()
    let data = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return process.terminationStatus == 0 ? data : nil
  }

  /// The package's description. A scratch path of its own, since the build that runs this test holds the lock of the other one.
  static func description() throws -> PackageDescription? {
    let scratch = FileManager.default.temporaryDirectory.appendingPathComponent("gatehouse-dump-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: scratch) }
    guard let data = try output(of: "swift", ["package", "--scratch-path", scratch.path, "dump-package"]) else { return nil }
    return try JSONDecoder().decode(PackageDescription.self, from: data)
  }
}
