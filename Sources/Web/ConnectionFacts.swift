import NIOCore
import PassThrough
import Synchronization

/// What is known of the connection that a request came on. Bound to the connection's task, so that every handler of it can read it.
final class ConnectionFacts: Sendable {
  @TaskLocal static var current: ConnectionFacts?

  private struct State {
    /// The peer's address: of the socket, or what a trusted proxy's PROXY header said.
    var address: String?
    var certificateDER: [UInt8]?
    var agentCertificate: AgentCertificate?
    var peerUserID: UInt32?
    var requestBegan: ContinuousClock.Instant?
    var open = true
    var closeAction: (@Sendable () -> Void)?
  }

  private let state: Mutex<State>

  init(socketAddress: SocketAddress?) {
    state = Mutex(State(address: socketAddress?.ipAddress))
  }

  /// The client's address for this connection; nil for a Unix socket.
  var address: String? { state.withLock { $0.address } }
  /// The DER of the client certificate whose key the peer proved in the TLS handshake.
  var certificateDER: [UInt8]? { state.withLock { $0.certificateDER } }
  /// The same, read as an agent's; nil where it is none.
  var agentCertificate: AgentCertificate? { state.withLock { $0.agentCertificate } }
  /// The user at the other end of a Unix socket.
  var peerUserID: UInt32? { state.withLock { $0.peerUserID } }

  /// How long ago the head of the request that came last was read.
  func waited(now: ContinuousClock.Instant) -> Duration { state.withLock { $0.requestBegan }?.duration(to: now) ?? .zero }
  func requestBegan() { state.withLock { $0.requestBegan = .now } }

  func setAddress(_ address: String) { state.withLock { $0.address = address } }
  func setPeerUserID(_ id: UInt32) { state.withLock { $0.peerUserID = id } }

  func setCertificate(_ der: [UInt8]) {
    let certificate = AgentCertificate(der: der)
    state.withLock {
      $0.certificateDER = der
      $0.agentCertificate = certificate
    }
  }

  func close() {
    state.withLock { state in
      state.open = false
      defer { state.closeAction = nil }
      return state.closeAction
    }?()
  }
}

extension ConnectionFacts: PollConnection {
  var isOpen: Bool { state.withLock { $0.open } }

  func onClose(_ action: (@Sendable () -> Void)?) {
    let closed = state.withLock { state -> Bool in
      state.closeAction = state.open ? action : nil
      return !state.open
    }
    if closed { action?() }
  }
}
