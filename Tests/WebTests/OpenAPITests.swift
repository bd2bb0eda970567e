import Bytes
import CertificateLifecycle
import Federation
import Foundation
import HTTPTypes
import Hummingbird
import Identity
import Testing

@testable import Web

/// `docs/openapi.yaml` and the running listeners say the same.
@Suite("The API's description", .serialized)
struct OpenAPITests {
  private static let document = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../docs/openapi.yaml")
    .standardized.path

  @Test("has every route of the public and the operations listener, and no other")
  func routes() async throws {
    try await withGateway { gateway async throws in
      let routers = [gateway.web.publicRouter(proxies: []), gateway.web.operationsRouter()]
      let real = routers.flatMap(\.routes).map { "\($0.method.rawValue.lowercased()) \($0.path)" }
      let described = try Self.described(in: Self.document)
      #expect(described.count > 5)
      #expect(Set(described) == Set(real))
    }
  }

  @Test("of the token-signing certificates has every route of theirs, and every field of what they take and answer")
  func certificates() async throws {
    let document = Self.document.replacing("openapi.yaml", with: "openapi-admin.yaml")
    try await withGateway { gateway async throws in
      let real = gateway.web.adminRouter().routes.map { "\($0.method.rawValue.lowercased()) \($0.path)" }
        .filter { $0.contains("/rollover") || $0.contains("/signing-keys") }
      #expect(Set(try Self.described(in: document)) == Set(real) && real.count == 10)
    }
    let text = try String(contentsOfFile: document, encoding: .utf8)
    let messages: [(String, Any)] = [
      ("Step", RolloverRequest()), ("Policy", RolloverPolicyMessage(RolloverPolicy())), ("Confirmation", ConfirmationRequest()),
      ("RehearsalWish", RehearsalRequest(days: 1, record: false)), ("ProbeWish", ProbeRequest(key: nil)),
      (
        "SigningKey",
        SigningKeyMessage(
          .init(id: "", family: .rsa, state: .primary, prepared: Instant(milliseconds: 0), notAfter: Instant(milliseconds: 0)), certificate: [],
          ring: SigningKeyRing())
      ),
      ("Report", RolloverReportMessage(RolloverReport(summary: "", key: "", isDryRun: true), certificate: nil)),
      ("Plan", RolloverPlanMessage(RolloverPlan(families: [], events: [], freeze: nil))),
    ]
    for (name, message) in messages {
      let fields = Mirror(reflecting: message).children.compactMap(\.label).map { $0.hasPrefix("_") ? String($0.dropFirst()) : $0 }
      let schema = try #require(text.firstRange(of: "\n    \(name):\n")).upperBound
      let rest = text[schema...]
      let end = rest.firstMatch(of: #/\n\ {4}\w/#)?.range.lowerBound ?? rest.endIndex
      let described = rest[..<end].matches(of: #/\n\ {8}(\w+):/#).map { String($0.output.1) }
      #expect(Set(described) == Set(fields), "\(name)")
    }
  }

  /// The operations of a description: `get /path`.
  private static func described(in document: String) throws -> [String] {
    var described: [String] = []
    var path: String?
    let lines = try String(contentsOfFile: document, encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false)
    for line in lines.drop(while: { $0 != "paths:" }).dropFirst().prefix(while: { $0.isEmpty || $0.hasPrefix(" ") }) {
      if let match = line.wholeMatch(of: #/\ {2}(/\S*):/#) { path = String(match.1) }
      if let match = line.wholeMatch(of: #/\ {4}(get|put|post|delete|options|head|patch|trace):/#), let path {
        described.append("\(match.1) \(path)")
      }
    }
    return described
  }

  @Test("of the front-ends' and agents' part holds for everything that Schemathesis thinks of, with a key")
  func withKey() async throws {
    try await withGateway(.init(deadline: .seconds(5), ratePerSecond: 100_000)) { gateway async throws in
      // The examples' names, so that every kind of verdict is seen.
      gateway.script.answer("alice@contoso.com", with: .accepted(ScriptedValidator.person(realm: try name(LiveGateway.realmName))))
      gateway.script.answer("CONTOSO\\alice", with: .unknown(.noAgent))
      try await Schemathesis(Self.document).run(
        url: "https://localhost:\(gateway.publicPort)",
        ["--exclude-tag", "operations", "--exclude-tag", "federation", "--header", "Authorization: Bearer \(gateway.apiKey)"])
    }
  }

  @Test("holds without a key")
  func withoutKey() async throws {
    try await withGateway { gateway async throws in
      try await Schemathesis(Self.document).run(
        url: "https://localhost:\(gateway.publicPort)", ["--exclude-tag", "operations", "--max-examples", "50"])
    }
  }

  @Test("of the operations listener holds")
  func operations() async throws {
    try await withGateway { gateway async throws in
      try await Schemathesis(Self.document).run(
        url: "http://127.0.0.1:\(gateway.operationsPort)", ["--include-tag", "operations", "--max-examples", "20"])
    }
  }
}

/// One run of Schemathesis, which makes requests up from the description and holds the answers against it.
private struct Schemathesis {
  /// What is not asked of the gateway, and why.
  private static let configuration = """
    # All checks are on where nothing else is said. A certificate can be presented on the mutual-TLS listener only, so that schema is tested by hand (TLSTests).
    # 413: all fields at their longest are more than a body may have.
    [checks]
    positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "413", "503"]
    negative_data_rejection.expected-statuses = ["400", "401", "403", "404", "405", "413", "415"]
    # 503 is an answer: nobody could find out.
    not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503"]

    # User names have more characters than the pattern in the description can say.
    [[operations]]
    include-tag = "realm discovery"
    checks.negative_data_rejection.enabled = false

    # What is inside of a message or a form is told by a page, and what no schema can say (a sealed transaction, a signature) makes nearly everything wrong;
    # the attack files of the end-to-end tests are for that. A SOAP fault goes with 500.
    [[operations]]
    include-tag = "federation"
    checks.negative_data_rejection.enabled = false
    checks.positive_data_acceptance.enabled = false
    checks.not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "500", "503"]
    """

  let program: String
  let document: String

  init(_ document: String) throws {
    guard let program = ProcessInfo.processInfo.environment["GATEHOUSE_SCHEMATHESIS"], FileManager.default.isExecutableFile(atPath: program) else {
      throw Missing(
        what:
          "Schemathesis. Run the tests by Tests/run, which installs it, or set GATEHOUSE_SCHEMATHESIS to the path of its program: python3 -m venv FOLDER && FOLDER/bin/pip install schemathesis"
      )
    }
    self.program = program
    self.document = document
  }

  /// Runs it, at most for three minutes, and records what it found.
  func run(url: String, _ arguments: [String]) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("gatehouse-schemathesis-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let settings = folder.appendingPathComponent("schemathesis.toml")
    try Schemathesis.configuration.write(to: settings, atomically: true, encoding: .utf8)
    let log = folder.appendingPathComponent("log")
    _ = FileManager.default.createFile(atPath: log.path, contents: nil)
    let output = try FileHandle(forWritingTo: log)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.currentDirectoryURL = folder
    // Seeded, so that a run can be repeated; without a database of earlier failures.
    process.arguments =
      ["--config-file", settings.path, "run", document, "--url", url, "--tls-verify", "false", "--seed", "20261121"]
      + ["--generation-database", "none", "--request-timeout", "10"] + (arguments.contains("--max-examples") ? [] : ["--max-examples", "100"])
      + arguments
    process.standardOutput = output
    process.standardError = output
    try process.run()
    defer { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }
    let end = ContinuousClock.now.advanced(by: .seconds(180))
    while process.isRunning, ContinuousClock.now < end { try await Task.sleep(for: .milliseconds(50)) }
    let text = (try? String(contentsOf: log, encoding: .utf8)) ?? ""
    if process.isRunning {
      Issue.record("Schemathesis did not end within three minutes:\n\(text)")
    } else if process.terminationStatus != 0 {
      Issue.record("Schemathesis:\n\(text)")
    }
  }
}
