import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOSSL
import Synchronization

/// A real gateway: the built program with a configuration of its own, in a folder and on loopback ports of its own.
final class GatewayProcess: Sendable {
  struct Options: Sendable {
    /// Of our own lockout. High, so that only the scenarios that are about it meet it; the sample domain's own is higher still.
    var threshold = 50
    /// Whatever else the configuration file shall say.
    var extra = ""
    var environment: [String: String] = [:]
    /// For how many days the public listener's certificate holds.
    var certificateDays = 90
    /// Of another gateway, whose store and master key this one shares.
    var dataDirectory: String?
    /// The beginning of the command line: a program that becomes the gateway once it has set something up.
    var launcher: [String] = []
  }

  let folder: String
  let publicPort: Int
  let mutualPort: Int
  let operationsPort: Int
  private let log: String
  private let options: Options
  private let running = Mutex<ServerProcess?>(nil)

  /// Makes certificates and configuration; `start` starts it.
  init(scenario: String, options: Options = Options()) async throws {
    self.options = options
    folder = try BuiltProgram.folder(scenario)
    publicPort = try BuiltProgram.freePort()
    mutualPort = try BuiltProgram.freePort()
    operationsPort = try BuiltProgram.freePort()
    log = try BuiltProgram.log(scenario, "gateway")
    try await LeashedProcess.run(
      BuiltProgram.certificateGenerator,
      ["--out", folder + "/tls", "--name", "localhost", "--name", "127.0.0.1", "--days", "\(options.certificateDays)"])
    let configuration = """
      node: \(scenario)
      publicURL: https://localhost:\(publicPort)
      dataDirectory: \(options.dataDirectory.map { "\($0)\nadmin: {socket: data/admin.sock}" } ?? "data")
      listeners:
        public:
          address: 127.0.0.1:\(publicPort)
          certificate: tls/public.pem
          key: tls/public.key
        mutualTLS:
          address: 127.0.0.1:\(mutualPort)
          names: [localhost, 127.0.0.1]
          url: https://127.0.0.1:\(mutualPort)
        operations:
          address: 127.0.0.1:\(operationsPort)
      lockout: {threshold: \(options.threshold)}
      shutdown: {grace: 4s}
      log: {level: info, format: text}
      \(options.extra)
      """
    try FileManager.default.createDirectory(atPath: folder + "/data", withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    try configuration.write(toFile: folder + "/gateway.yaml", atomically: true, encoding: .utf8)
  }

  var url: String { "https://localhost:\(publicPort)" }
  var mutualURL: String { "https://127.0.0.1:\(mutualPort)" }
  var admin: AdminTool { AdminTool(socket: folder + "/data/admin.sock") }
  var publicAuthority: NIOSSLTrustRoots { .file(folder + "/tls/ca.pem") }
  var process: ServerProcess? { running.withLock { $0 } }

  /// Starts it and waits until it says that it is ready.
  func start(environment: [String: String] = [:]) async throws {
    let command = options.launcher + [BuiltProgram.gatehouse, "serve", "--config", folder + "/gateway.yaml"]
    let process = try await ServerProcess.start(
      command[0], Array(command.dropFirst()), log: log,
      environment: options.environment.merging(environment) { $1 })
    running.withLock { $0 = process }
    let ready = await eventually(within: .seconds(20)) { !process.isRunning ? true : await self.readiness() == 200 }
    guard ready, process.isRunning else {
      await process.crash()
      throw ServerProcess.Failure(description: "the gateway did not get ready: \(process.logText.suffix(4000))")
    }
  }

  /// What /readyz answers; nil where nobody does.
  func readiness() async -> Int? {
    let request = HTTPClientRequest(url: "http://127.0.0.1:\(operationsPort)/readyz")
    guard let response = try? await HTTPClient.shared.execute(request, timeout: .seconds(2)) else { return nil }
    _ = try? await response.body.collect(upTo: 1 << 16)
    return Int(response.status.code)
  }

  /// What /metrics tells.
  func metrics() async throws -> String {
    let response = try await HTTPClient.shared.execute(HTTPClientRequest(url: "http://127.0.0.1:\(operationsPort)/metrics"), timeout: .seconds(5))
    return String(decoding: try await response.body.collect(upTo: 1 << 20).readableBytesView, as: UTF8.self)
  }

  func stop() async { await process?.stop() }

  func restart(environment: [String: String] = [:]) async throws {
    await stop()
    try await start(environment: environment)
  }

  /// Ends it and removes its folder; the log stays.
  func remove() async {
    await stop()
    try? FileManager.default.removeItem(atPath: folder)
  }
}
