import Bytes
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

  /// Everything that `gatehouse check` looks at: the file and the files that it names. Throws `ConfigurationError` where anything is wrong.
  static func check(at path: String, now: Instant) throws -> ConfigurationKind {
    let raw = try raw(at: path)
    let kind = ConfigurationKind(of: raw)
    let problems =
      switch kind {
      case .gateway: try GatewayConfiguration(raw, hostName: hostName()).problemsOfFiles(now: now)
      case .agent: try AgentConfiguration(raw).problemsOfFiles(now: now)
      }
    guard problems.isEmpty else { throw ConfigurationError(file: path, problems: problems) }
    return kind
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

/// The two kinds of configuration files.
enum ConfigurationKind: String, Sendable {
  case gateway, agent

  /// Which of the two a file is, by the keys that only one of them knows; a gateway's where it could be either.
  init(of raw: RawConfiguration) {
    guard case .section(let entries) = raw.root.content else {
      self = .gateway
      return
    }
    let agentKeys = ["realms", "gateways", "proxy", "polls", "name"]
    let gatewayKeys = ["publicURL", "listeners", "node", "store", "masterKey", "admin", "limits", "signIn", "lockout", "audit", "alarms"]
    let agent = entries.count { agentKeys.contains($0.key) }
    self = agent > entries.count { gatewayKeys.contains($0.key) } ? .agent : .gateway
  }
}
