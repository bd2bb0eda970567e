import Foundation

/// Reads configuration files from disk.
enum ConfigurationFiles {
  /// Reads a gateway's file. Throws `ConfigurationError`.
  static func gateway(at path: String) throws -> GatewayConfiguration {
    try GatewayConfiguration(raw(at: path), hostName: hostName())
  }

  /// Reads an agent's file. Throws `ConfigurationError`.
  static func agent(at path: String) throws -> AgentConfiguration {
    try AgentConfiguration(raw(at: path))
  }

  /// The file as a tree of texts. Throws `ConfigurationError`.
  static func raw(at path: String) throws -> RawConfiguration {
    let absolute = path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
    let directory = URL(fileURLWithPath: absolute).deletingLastPathComponent().path
    func refusal(_ message: String, remedy: String) -> ConfigurationError {
      ConfigurationError(file: path, problems: [ConfigurationProblem("", message, remedy: remedy)])
    }
    guard let handle = FileHandle(forReadingAtPath: absolute) else {
      throw refusal(
        "The file cannot be read: \(String(cString: strerror(errno)))", remedy: "Name an existing file with --config, readable by this user")
    }
    defer { try? handle.close() }
    let bytes: [UInt8]
    do {
      // One byte more than allowed is enough to know that it is too long.
      bytes = Array(try handle.read(upToCount: RawConfiguration.maximumBytes + 1) ?? Data())
    } catch {
      throw refusal("The file cannot be read", remedy: "Name a regular file with --config, readable by this user")
    }
    return try RawConfiguration(bytes: bytes, file: path, directory: directory)
  }

  private static func hostName() -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard gethostname(&buffer, buffer.count - 1) == 0 else { return "gateway" }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
