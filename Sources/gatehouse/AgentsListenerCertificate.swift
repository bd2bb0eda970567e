import Bytes
import Crypto
import NIOSSL
import PassThrough
import Synchronization
import Web

/// The certificate of the listener that agents dial: from the gateway's own CA, made anew every day, and at once when the CA's active root changes.
final class AgentsListenerCertificate: Sendable {
  private static let life: Duration = .seconds(86_400)

  private let authority: AgentAuthority
  private let names: [String]
  private let identity: TLSIdentity
  private let now: @Sendable () -> Instant
  private let made: Mutex<(root: [UInt8]?, at: Instant)>

  init(authority: AgentAuthority, names: [String], identity: TLSIdentity, now: @escaping @Sendable () -> Instant) {
    self.authority = authority
    self.names = names
    self.identity = identity
    self.now = now
    made = Mutex((authority.roots.first, now()))
  }

  /// Replaces the certificate where it is time to. To be called every few seconds.
  func look() throws {
    let root = authority.roots.first
    let now = now()
    let isDue = made.withLock { $0.root != root || now.since($0.at) >= AgentsListenerCertificate.life }
    guard isDue else { return }
    let (chain, key) = try AgentsListenerCertificate.issue(by: authority, names: names, now: now)
    try identity.replace(chain: chain, key: key)
    made.withLock { $0 = (root, now) }
  }

  static func issue(by authority: AgentAuthority, names: [String], now: Instant) throws -> ([NIOSSLCertificate], NIOSSLPrivateKey) {
    let (der, key) = try authority.issueServerCertificate(names: names, now: now)
    return ([try NIOSSLCertificate(bytes: der, format: .der)], try NIOSSLPrivateKey(bytes: Array(key.derRepresentation), format: .der))
  }
}
