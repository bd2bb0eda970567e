import ActiveDirectory
import Foundation
import Identity

/// A real Active Directory domain (Samba) by `deploy/sample-domain`, one for each name and test run, started when first asked for.
actor SambaDomain {
  /// The domain as it comes: AD's own defaults, the previous-password allowance among them.
  static let standard = SambaDomain(name: "standard", extra: [])
  /// Changed passwords stop working at once.
  static let strict = SambaDomain(name: "strict", extra: ["old password allowed period = 0"])
  /// Locks after five wrong passwords, and has a second domain controller that counts for itself: Samba does not forward wrong passwords.
  static let locking = SambaDomain(name: "locking", extra: [], threshold: 5)

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
  private let threshold: Int
  private var starting: Task<Settings, any Error>?
  private var process: LeashedProcess?
  private var secondProcess: LeashedProcess?

  private init(name: String, extra: [String], threshold: Int = SambaDomain.lockoutThreshold) {
    self.name = name
    self.extra = extra
    self.threshold = threshold
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

  /// A second domain controller, with everything that the first one has now; nothing is replicated afterwards.
  func second() async throws -> Settings {
    let first = try await settings()
    let directory = first.directory + "-2"
    let ip = first["AD_IP"].replacing("127.22.", with: "127.23.")
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let (leashed, output) = try await LeashedProcess.start(
      #"tool=$1 dir=$2; shift 2; "$tool" up --dir "$dir" --until-stdin-closes "$@"; rm -rf "$dir""#,
      arguments: [SambaDomain.tool, directory, "--joining", first.directory, "--name", "dc2", "--ip", ip], until: "PEOPLE_FILE=",
      within: .seconds(90))
    secondProcess = leashed
    return Settings(values: SambaDomain.values(output), directory: directory)
  }

  private static func values(_ output: String) -> [String: String] {
    var values: [String: String] = [:]
    for line in output.split(separator: "\n") {
      guard let equals = line.firstIndex(of: "=") else { continue }
      values[String(line[..<equals])] = String(line[line.index(after: equals)...])
    }
    return values
  }

  private func start() async throws -> Settings {
    let process = ProcessInfo.processInfo.processIdentifier
    let directory = "/tmp/gatehouse-tests-\(process)/\(name)"
    // Samba has fixed ports, so that every run and every domain takes a loopback address of its own.
    let net = ["standard": 20, "strict": 21][name] ?? 22
    let ip = "127.\(net).\(process / 200 % 200 + 1).\(process % 200 + 1)"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let (leashed, output) = try await LeashedProcess.start(
      #"tool=$1 dir=$2; shift 2; "$tool" up --dir "$dir" --until-stdin-closes "$@"; rm -rf "$dir"; rmdir "$(dirname "$dir")" 2>/dev/null"#,
      arguments: [SambaDomain.tool, directory, "--ip", ip, "--"] + extra, until: "PEOPLE_FILE=", within: .seconds(60))
    self.process = leashed
    let values = SambaDomain.values(output)
    try await LeashedProcess.run(SambaDomain.tool, ["people", "--dir", directory, "--lockout-threshold", "\(threshold)"])
    return Settings(values: values, directory: directory)
  }
}
