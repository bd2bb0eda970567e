import ActiveDirectory
import Foundation
import Identity
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization
import Testing

/// An LDAP server that answers what Samba and slapd never do. Each server has one fault, named in `Fault`; in all else it is an AD with one
/// person, `CN=Person,DC=scripted,DC=test`, whose login name is whatever was asked for.
final class ScriptedLDAPServer: Sendable {
  enum Fault: Sendable, Equatable {
    case none
    /// The person's bind is answered with this result.
    case bindResult(Int, String)
    /// Every bind succeeds, that of a name that cannot exist and an anonymous one too.
    case successForEverybody
    /// Every bind succeeds, but the session stays anonymous.
    case successForEverybodyAnonymously
    case bindReferral(String)
    case bindWithWrongMessageID
    case bindAnsweredBySearchResult
    case silentAfterAccept
    case silentAfterBind
    case closeAfterBind
    /// The bind succeeds, and RST comes behind it.
    case resetAfterSuccess
    case dripAfterBind
    /// The bind is never answered; answers to what nobody asked come without a pause.
    case chatterAfterBind
    case searchResult(Int)
    case searchReferral(String)
    case searchReferenceBesideEntry(String)
    case endlessEntries
    case hugeMessage
    case indefiniteLength
    case startTLSRefused
    /// StartTLS succeeds, and a bind response lies in clear text behind it.
    case startTLSWithInjectedBindResponse
    /// The person has more values than one answer holds (AD's ranges).
    case rangedMembers(Int)
    /// The service account may not see who the person is.
    case noObjectSID
  }

  /// What clients sent, in order.
  enum Operation: Sendable, Equatable {
    case bind(name: String, passwordBytes: Int)
    case search(base: String, attributes: [String])
    case extended(String)
    case connection
  }

  static let host = "ldap.scripted.test"
  static let personSID: [UInt8] = [1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0x51, 4, 0, 0]
  static let person = "CN=Person,DC=scripted,DC=test"

  let port: Int
  private let channel: any Channel
  private let log: OperationLog

  /// What clients sent until now.
  var operations: [Operation] { log.operations }
  /// Binds but those of the service account.
  var personBinds: Int { operations.filter { if case .bind(let name, _) = $0 { name != "service" } else { false } }.count }

  private init(port: Int, channel: any Channel, log: OperationLog) {
    self.port = port
    self.channel = channel
    self.log = log
  }

  /// Runs `body` with a server, and stops it whatever happens.
  static func with<Result: Sendable>(
    _ fault: Fault, certificate: (certificate: String, key: String)? = nil, startTLS: Bool = false,
    _ body: (ScriptedLDAPServer) async throws -> Result
  ) async throws -> Result {
    var pair = certificate
    if pair == nil { pair = try await good.value }
    let chosen = try #require(pair)
    var configuration = TLSConfiguration.makeServerConfiguration(
      certificateChain: try NIOSSLCertificate.fromPEMFile(chosen.certificate).map { .certificate($0) },
      privateKey: .privateKey(try NIOSSLPrivateKey(file: chosen.key, format: .pem)))
    configuration.minimumTLSVersion = .tlsv12
    let context = try NIOSSLContext(configuration: configuration)
    let log = OperationLog()
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          log.add(.connection)
          if fault == .silentAfterAccept { return }
          if !startTLS { try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context)) }
          try channel.pipeline.syncOperations.addHandler(ScriptedLDAPHandler(fault: fault, log: log, context: startTLS ? context : nil))
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let server = ScriptedLDAPServer(port: channel.localAddress?.port ?? 0, channel: channel, log: log)
    do {
      let result = try await body(server)
      try await channel.close()
      return result
    } catch {
      try? await channel.close()
      throw error
    }
  }

  private static let good = Task {
    try await TestCertificates.shared.value.issue("scripted", commonName: host, alternativeName: "DNS:\(host)")
  }

  /// A validator that knows this server only.
  func validator(
    security: TransportSecurity = .ldaps, kind: DirectoryKind = .activeDirectory, timeouts: DirectoryTimeouts = DirectoryTimeouts(),
    others: [DirectoryServer] = []
  ) async throws -> LDAPPasswordValidator {
    let certificates = try await TestCertificates.shared.value
    let passwordFile = "\(certificates.directory)/service.password"
    try "service-password\n".write(toFile: passwordFile, atomically: true, encoding: .utf8)
    return try LDAPPasswordValidator.make(
      DirectorySettings(
        realm: try #require(RealmName("scripted.test")), kind: kind,
        domains: [
          DirectoryDomain(
            dnsName: "scripted.test", netbiosName: "SCRIPTED",
            servers: .list([DirectoryServer(host: ScriptedLDAPServer.host, port: port, address: "127.0.0.1")] + others))
        ],
        security: security, authorityFile: certificates.authority, credential: .passwordFile(bindName: "service", path: passwordFile),
        timeouts: timeouts))
  }
}

final class OperationLog: Sendable {
  private let recorded = Mutex<[ScriptedLDAPServer.Operation]>([])
  var operations: [ScriptedLDAPServer.Operation] { recorded.withLock { $0 } }
  func add(_ operation: ScriptedLDAPServer.Operation) { recorded.withLock { $0.append(operation) } }
}

/// Counts what comes: a host that a referral names must never see a byte.
final class Canary: Sendable {
  let port: Int
  private let channel: any Channel
  private let count: Counter

  private final class Counter: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    let connections = Mutex(0)
    func channelActive(context: ChannelHandlerContext) { connections.withLock { $0 += 1 } }
  }

  var connections: Int { count.connections.withLock { $0 } }

  init() async throws {
    let count = Counter()
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in channel.pipeline.addHandler(count) }
      .bind(host: "127.0.0.1", port: 0).get()
    self.count = count
    self.channel = channel
    port = channel.localAddress?.port ?? 0
  }

  func stop() async throws { try await channel.close() }
}
