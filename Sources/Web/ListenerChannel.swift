import Bytes
import Foundation
import HTTPTypes
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTPTypes
import NIOPosix
import NIOSSL
import SignIn
import Synchronization

/// Everything that makes one listener differ from another.
struct ListenerSettings: Sendable {
  var limits: ListenerLimits
  /// Nil: plain HTTP (operations on loopback, the admin's Unix socket).
  var identity: TLSIdentity?
  /// Set where the peer must present a certificate: is this DER known here? Whether its bearer may do something is asked with each request.
  var acceptsClientCertificate: (@Sendable ([UInt8]) -> Bool)?
  var proxyProtocol = false
  var trustedProxies: [AddressRange] = []
  var isUnixSocket = false
  var drain: DrainSignal
  /// Set where sign-ins come in.
  var admission: AdmissionGate?
  let gate: ConnectionGate

  init(limits: ListenerLimits, drain: DrainSignal) {
    self.limits = limits
    self.drain = drain
    gate = ConnectionGate(limits: limits)
  }

  func isTrustedProxy(_ address: String) -> Bool { trustedProxies.contains { $0.contains(address) } }
}

/// Bounds on what a peer may do to a listener.
package struct ListenerLimits: Sendable, Equatable {
  /// All header fields of one request together, bytes; and their number.
  package var headerBlock = 16 * 1024
  package var headerFields = 100
  /// The body of a request, bytes.
  package var body = 8 * 1024
  /// From the first byte of a request until it has been read whole; an idle timer would begin anew with each part.
  package var readTimeout: Duration = .seconds(10)
  /// Between requests of one connection, and for the TLS handshake with the first head.
  package var idleTimeout: Duration = .seconds(30)
  package var connections = 10_000
  package var connectionsPerAddress = 256

  package init() {}
}

/// Counts the connections of a listener, in all and by address.
final class ConnectionGate: Sendable {
  private struct State {
    var total = 0
    var byAddress: [String: Int] = [:]
  }
  private let state = Mutex(State())
  private let limits: ListenerLimits

  init(limits: ListenerLimits) { self.limits = limits }

  func enter(_ address: String?) -> Bool {
    state.withLock { state in
      guard state.total < limits.connections else { return false }
      if let address {
        guard state.byAddress[address, default: 0] < limits.connectionsPerAddress else { return false }
        state.byAddress[address, default: 0] += 1
      }
      state.total += 1
      return true
    }
  }

  func leave(_ address: String?) {
    state.withLock { state in
      state.total -= 1
      guard let address, let count = state.byAddress[address] else { return }
      state.byAddress[address] = count > 1 ? count - 1 : nil
    }
  }

  var count: Int { state.withLock { $0.total } }
}

/// One connection of a listener: limits → PROXY header → TLS → HTTP/1.1 → handler, with the connection's facts around it.
struct ListenerChannel: HTTPChannelHandler {
  struct Value: ServerChildChannelValue {
    let base: HTTP1Channel.Value
    let facts: ConnectionFacts
    var channel: any Channel { base.channel }
  }

  let responder: Responder
  let settings: ListenerSettings
  let gate: ConnectionGate

  init(responder: @escaping Responder, settings: ListenerSettings) {
    self.responder = responder
    self.settings = settings
    gate = settings.gate
  }

  /// What speaks HTTP on one connection.
  private func http(_ facts: ConnectionFacts) -> HTTP1Channel {
    let (limits, drain, admission) = (settings.limits, settings.drain, settings.admission)
    @Sendable func handlers() -> [any RemovableChannelHandler] {
      [RequestTimeLimit(limit: limits.readTimeout), AnswerMarks(drain: drain)]
        + (admission.map { [OverloadHandler(gate: $0, facts: facts)] } ?? [])
    }
    return HTTP1Channel(
      responder: responder,
      configuration: .init(
        additionalChannelHandlers: handlers(),
        idleTimeout: .milliseconds(limits.idleTimeout.wholeMilliseconds),
        httpDecoderConfiguration: .init(
          maxHeaderFieldSize: limits.headerBlock, maxHeaderListSize: limits.headerBlock, maxHeaderFieldCount: limits.headerFields)))
  }

  func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
    let remote = channel.remoteAddress
    let facts = ConnectionFacts(socketAddress: remote)
    let address = remote?.ipAddress
    let trustedProxy = address.map { self.settings.isTrustedProxy($0) } ?? false
    // A trusted proxy carries everybody's connections: its own count says nothing.
    let counted = trustedProxy ? nil : address
    guard gate.enter(counted) else { return channel.close().flatMapThrowing { throw ChannelError.alreadyClosed } }
    let gate = gate
    let settings = settings
    channel.closeFuture.whenComplete { _ in
      gate.leave(counted)
      facts.close()
    }
    return channel.eventLoop.makeCompletedFuture {
      if settings.proxyProtocol, trustedProxy {
        try channel.pipeline.syncOperations.addHandler(ProxyProtocolHandler(facts: facts))
      }
      if let identity = settings.identity {
        let handler: NIOSSLServerHandler
        if let accepts = settings.acceptsClientCertificate {
          handler = NIOSSLServerHandler(context: identity.currentContext) { certificates, promise in
            // The handshake has proved possession of the first certificate's key; whether it is one of ours is all that is asked here.
            guard let leaf = certificates.first, let der = try? leaf.toDERBytes(), accepts(der) else {
              return promise.succeed(.failed)
            }
            promise.succeed(.certificateVerified)
          }
        } else {
          handler = NIOSSLServerHandler(context: identity.currentContext)
        }
        try channel.pipeline.syncOperations.addHandlers([
          handler, HandshakeObserver(facts: facts, endsWithInput: settings.acceptsClientCertificate != nil),
        ])
      }
      if settings.isUnixSocket { UnixPeer.learn(of: channel, into: facts) }
    }.flatMap {
      http(facts).setup(channel: channel, logger: logger)
    }.map { Value(base: $0, facts: facts) }
  }

  func handle(value: Value, logger: Logger) async {
    // An administrator's export may compute for long; what sign-ins and agents ask does not.
    await withTaskExecutorPreference(settings.admission == nil ? nil : LoopExecutor(value.channel.eventLoop)) {
      await ConnectionFacts.$current.withValue(value.facts) {
        await http(value.facts).handle(value: value.base, logger: logger)
      }
    }
  }
}
