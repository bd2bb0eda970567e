import Foundation
import NIOSSL
import Synchronization

/// A real agent: the built program with a configuration of its own, for a sample domain.
final class AgentProcess: Sendable {
  /// With what the agent searches.
  struct Service: Sendable {
    var bindName: String
    var passwordFile: String
  }

  let name: String
  let folder: String
  private let log: String
  private let resolver: String?
  private let running = Mutex<ServerProcess?>(nil)

  /// - Parameters:
  ///   - servers: addresses of the directory's servers; nil: the sample domain's.
  ///   - directory: the lines of the configuration that say where the directory's servers are; nil: the sample domain's address.
  ///   - gateways: what it dials in place of what the gateway tells it.
  ///   - resolver: a file in place of /etc/resolv.conf, for this process alone.
  init(
    name: String, scenario: String, domain: SambaDomain.Settings, service: Service? = nil, servers: [String]? = nil,
    proxyPort: Int? = nil, directory: [String]? = nil, gateways: [String] = [], resolver: String? = nil
  ) throws {
    self.name = name
    folder = try BuiltProgram.folder(scenario + "-agent-" + name)
    log = try BuiltProgram.log(scenario, "agent-" + name)
    self.resolver = resolver
    let addresses = (servers ?? [domain["AD_IP"]]).map { "'\($0)'" }.joined(separator: ", ")
    let directory = directory ?? ["servers: [\(addresses)]"]
    let service = service ?? Service(bindName: domain["SERVICE_DN"], passwordFile: domain["SERVICE_PASSWORD_FILE"])
    let configuration = """
      dataDirectory: data
      name: \(name)
      \(proxyPort.map { "proxy: http://127.0.0.1:\($0)" } ?? "")
      \(gateways.isEmpty ? "" : "gateways: ['\(gateways.joined(separator: "', '"))']")
      realms:
        - realm: \(domain["AD_DOMAIN"])
          \(directory.joined(separator: "\n    "))
          caFile: '\(domain["AD_CA"])'
          searchBases: ["\(domain["AD_BASE"])"]
          netBIOSName: \(domain["AD_NETBIOS"])
          service:
            bindName: '\(service.bindName)'
            passwordFile: '\(service.passwordFile)'
      log: {level: info, format: text}
      """
    try FileManager.default.createDirectory(atPath: folder + "/data", withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    try configuration.write(toFile: folder + "/agent.yaml", atomically: true, encoding: .utf8)
  }

  /// For agents that never ran; whoever starts one calls `remove`.
  deinit { try? FileManager.default.removeItem(atPath: folder) }

  var process: ServerProcess? { running.withLock { $0 } }

  /// `gatehouse agent enrol`, whatever comes of it.
  func enrol(token: String, _ more: String..., environment: [String: String] = [:]) async throws -> AdminTool.Outcome {
    try await AdminTool.run(
      ["agent", "enrol", "--config", folder + "/agent.yaml", "--token", "-"] + more, environment: environment, input: token + "\n")
  }

  func start(environment: [String: String] = [:]) async throws {
    var command = [BuiltProgram.gatehouse, "agent", "run", "--config", folder + "/agent.yaml"]
    if let resolver {
      // A mount namespace of its own; every step replaces the one before, so that the process id is the agent's.
      command = ["/usr/bin/unshare", "--mount", "/bin/bash", "-c", #"mount --bind "$0" /etc/resolv.conf && exec "$@""#, resolver] + command
    }
    let process = try await ServerProcess.start(command[0], Array(command.dropFirst()), log: log, environment: environment)
    running.withLock { $0 = process }
  }

  func stop() async { await process?.stop() }

  /// Ends it and removes its folder; the log stays.
  func remove() async {
    await stop()
    try? FileManager.default.removeItem(atPath: folder)
  }

  /// Makes this agent a copy of another one, identity and all: what somebody gets who steals a disk.
  func steal(from other: AgentProcess) throws {
    try FileManager.default.removeItem(atPath: folder + "/data")
    try FileManager.default.copyItem(atPath: other.folder + "/data", toPath: folder + "/data")
  }

  var identityFile: String { folder + "/data/identity.json" }

  /// What the agent keeps of itself on its disk.
  struct Identity: Decodable {
    var agent: String
    var signingKey: Data
    var certificate: Data
    var notAfter: Int64
    var roots: [Data]
  }

  func identity() throws -> Identity {
    try JSONDecoder().decode(Identity.self, from: Data(contentsOf: URL(fileURLWithPath: identityFile)))
  }

  /// A client that presents the agent's certificate, for messages that a well-behaved agent would not send.
  func impostor(of gateway: GatewayProcess) throws -> FrontEndClient {
    let identity = try identity()
    let chain = folder + "/impostor.pem"
    let key = folder + "/impostor.key"
    try AgentProcess.pem("CERTIFICATE", identity.certificate).write(toFile: chain, atomically: true, encoding: .utf8)
    try AgentProcess.privateKeyPEM(rawScalar: identity.signingKey).write(toFile: key, atomically: true, encoding: .utf8)
    // It looks at no certificate: the gateway's clock may have been set, this process's is not.
    return try FrontEndClient(url: gateway.mutualURL, authority: nil, key: nil, certificate: (chain, key))
  }

  /// The gateway's roots as the agent trusts them.
  func roots() throws -> NIOSSLTrustRoots { .certificates(try identity().roots.map { try NIOSSLCertificate(bytes: Array($0), format: .der) }) }

  static func pem(_ kind: String, _ der: Data) -> String {
    "-----BEGIN \(kind)-----\n\(der.base64EncodedString(options: [.lineLength64Characters, .endLineWithLineFeed]))\n-----END \(kind)-----\n"
  }

  /// SEC 1 (RFC 5915) around a P-256 scalar: version, key, and the curve's object identifier.
  private static func privateKeyPEM(rawScalar: Data) -> String {
    let curve: [UInt8] = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]
    let body: [UInt8] = [0x02, 0x01, 0x01, 0x04, UInt8(rawScalar.count)] + rawScalar + curve
    return pem("EC " + "PRIVATE KEY", Data([0x30, UInt8(body.count)] + body))
  }
}
