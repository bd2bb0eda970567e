import ActiveDirectory
import Foundation
import Identity

/// A real Active Directory domain (Samba) by `deploy/sample-domain`, one for each name and test run, started when first asked for.
actor SambaDomain {
  /// The domain as it comes: AD's own defaults, the previous-password allowance among them.
  static let standard = SambaDomain(name: "standard", extra: [])
  /// Changed passwords stop working at once.
  static let strict = SambaDomain(name: "strict", extra: ["old password allowed period = 0"])

  /// So high that only the scenarios that are about the directory's lock meet it; these give their people a stricter one.
  static let lockoutThreshold = 100

  /// What `sample-domain env` tells.
  struct Settings: Sendable {
    var values: [String: String]
    var directory: String

    subscript(key: String) -> String { values[key] ?? "" }

    /// The domain's one server, by its real name at its loopback address.
    var server: DirectoryServer { DirectoryServer(host: self["AD_HOST"], address: self["AD_IP"]) }

    func domain(_ servers: [DirectoryServer]? = nil) -> DirectoryDomain {
      DirectoryDomain(dnsName: self["AD_DOMAIN"], netbiosName: self["AD_NETBIOS"], servers: .list(servers ?? [server]))
    }

    var credential: ServiceCredential { .passwordFile(bindName: self["SERVICE_DN"], path: self["SERVICE_PASSWORD_FILE"]) }
  }

  private let name: String
  private let extra: [String]
  private var starting: Task<Settings, any Error>?
  private var process: LeashedProcess?

  private init(name: String, extra: [String]) {
    self.name = name
    self.extra = extra
  }

  /// The running domain with its people.
  func settings() async throws -> Settings {
    if let starting { return try await starting.value }
    let task = Task { try await start() }
    starting = task
    return try await task.value
  }

  /// As an administrator would.
  func setPassword(of user: String, to password: String) async throws {
    let settings = try await settings()
    try await LeashedProcess.run(SambaDomain.tool, ["set-password", "--dir", settings.directory, user, password])
  }

  /// An attribute as the database has it, for looking behind the scenes.
  func attribute(_ attribute: String, of user: String) async throws -> String? {
    let settings = try await settings()
    let output = try await LeashedProcess.run("/usr/bin/ldbsearch", ["-H", settings["AD_SAM"], "(sAMAccountName=\(user))", attribute])
    return output.split(separator: "\n").first { $0.hasPrefix("\(attribute): ") }.map { String($0.dropFirst(attribute.count + 2)) }
  }

  static let tool = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("deploy/sample-domain").path

  private func start() async throws -> Settings {
    let process = ProcessInfo.processInfo.processIdentifier
    let directory = "/tmp/gatehouse-tests-\(process)/\(name)"
    // Samba has fixed ports, so that every run and every domain takes a loopback address of its own.
    let ip = "127.\(extra.isEmpty ? 20 : 21).\(process / 200 % 200 + 1).\(process % 200 + 1)"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let (leashed, output) = try await LeashedProcess.start(
      #"tool=$1 dir=$2; shift 2; "$tool" up --dir "$dir" --until-stdin-closes "$@"; rm -rf "$dir"; rmdir "$(dirname "$dir")" 2>/dev/null"#,
      arguments: [SambaDomain.tool, directory, "--ip", ip, "--"] + extra, until: "PEOPLE_FILE=", within: .seconds(60))
    self.process = leashed
    var values: [String: String] = [:]
    for line in output.split(separator: "\n") {
      guard let equals = line.firstIndex(of: "=") else { continue }
      values[String(line[..<equals])] = String(line[line.index(after: equals)...])
    }
    try await LeashedProcess.run(SambaDomain.tool, ["people", "--dir", directory, "--lockout-threshold", "\(SambaDomain.lockoutThreshold)"])
    return Settings(values: values, directory: directory)
  }
}
