import Bytes
import Foundation
import HTTPTypes
import NIOCore
import NIOHTTPTypes
import NIOSSL
import NIOTLS
import SignIn
import Synchronization

/// Tells the facts which certificate the peer proved to own, as soon as the handshake is over and before any request is read; and ends the
/// connection of an agent that died.
final class HandshakeObserver: ChannelInboundHandler {
  typealias InboundIn = NIOAny

  private let facts: ConnectionFacts
  private let endsWithInput: Bool

  init(facts: ConnectionFacts, endsWithInput: Bool) {
    self.facts = facts
    self.endsWithInput = endsWithInput
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case .handshakeCompleted? = event as? TLSUserEvent,
      let certificate = try? context.pipeline.syncOperations.nioSSL_peerCertificate(), let der = try? certificate.toDERBytes()
    {
      facts.setCertificate(der)
    }
    // The server lets clients close their half only. No agent does: its input ends where the agent has, and who was killed must be missed at
    // once, not when its heartbeats have been missing for long enough.
    if endsWithInput, case .inputClosed? = event as? ChannelEvent { context.close(promise: nil) }
    context.fireUserInboundEventTriggered(event)
  }
}

/// Closes a connection whose request takes too long to arrive, however steadily it drips.
final class RequestTimeLimit: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundOut = HTTPResponsePart

  private let limit: TimeAmount
  private var timer: Scheduled<Void>?

  init(limit: Duration) { self.limit = .milliseconds(limit.wholeMilliseconds) }

  func handlerAdded(context: ChannelHandlerContext) {
    // The first request: handshake and head together.
    start(context)
  }

  func handlerRemoved(context: ChannelHandlerContext) { stop() }

  func channelInactive(context: ChannelHandlerContext) {
    stop()
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head: start(context)
    case .body: break
    case .end: stop()
    }
    context.fireChannelRead(data)
  }

  private func start(_ context: ChannelHandlerContext) {
    stop()
    let channel = context.channel
    timer = context.eventLoop.scheduleTask(in: limit) { channel.close(promise: nil) }
  }

  private func stop() {
    timer?.cancel()
    timer = nil
  }
}

/// Whether the process is about to end: set once, read with every answer.
package final class DrainSignal: Sendable {
  private let flag = Atomic(false)

  package init() {}

  package var isDraining: Bool { flag.load(ordering: .relaxed) }
  package func begin() { flag.store(true, ordering: .relaxed) }
}

/// Puts on every answer what all answers bear, those that the server itself gives to broken requests included: no cache keeps them, no browser
/// guesses what they are. While the process drains they also say `Connection: close`, so that clients move on without losing a request.
///
/// An answer that says `Connection: close` ends the sending side of the connection. What still comes of a body whose request has been answered
/// is not wanted: a little of it is read and dropped, so that the answer is not lost to a reset; then the connection is closed.
final class AnswerMarks: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  /// What is dropped of a body that nobody wants any more, bytes.
  private static let mostDropped = 256 * 1024
  private static let contentTypeOptions = HTTPField.Name("X-Content-Type-Options")

  private let drain: DrainSignal
  private var closing = false
  /// How many requests have begun and how many answers have ended on this connection.
  private var requests = 0
  private var answers = 0
  private var dropped = 0

  init(drain: DrainSignal) { self.drain = drain }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    var part = unwrapOutboundIn(data)
    if case .head(var head) = part, head.status.kind != .informational {
      if drain.isDraining { head.headerFields[.connection] = "close" }
      // Nothing is kept but what says that it may be.
      if head.headerFields[.cacheControl] == nil { head.headerFields[.cacheControl] = "no-store" }
      if let name = AnswerMarks.contentTypeOptions { head.headerFields[name] = "nosniff" }
      closing = closing || head.headerFields[.connection] == "close"
      part = .head(head)
    }
    guard case .end = part else { return context.write(wrapOutboundOut(part), promise: promise) }
    answers += 1
    guard closing else { return context.write(wrapOutboundOut(part), promise: promise) }
    let channel = context.channel
    let written = promise ?? context.eventLoop.makePromise()
    written.futureResult.whenComplete { _ in channel.close(mode: .output, promise: nil) }
    context.write(wrapOutboundOut(part), promise: written)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head: requests += 1
    case .body(let buffer) where answers >= requests:
      dropped += buffer.readableBytes
      if dropped > AnswerMarks.mostDropped { return context.close(promise: nil) }
    case .body: break
    case .end: dropped = 0
    }
    context.fireChannelRead(data)
  }
}

/// Who is at the other end of a Unix socket.
enum UnixPeer {
  /// The kernel's `struct ucred` (unix(7)), which the C library shows only under a feature macro.
  private struct Credentials {
    var process: Int32 = 0
    var user: UInt32 = .max
    var group: UInt32 = .max
  }

  /// Asks the kernel (SO_PEERCRED) for the peer's user id. To be called on the channel's event loop.
  static func learn(of channel: any Channel, into facts: ConnectionFacts) {
    guard let provider = channel as? any SocketOptionProvider else { return }
    provider.unsafeGetSocketOption(level: .socket, name: .init(rawValue: SO_PEERCRED)).whenSuccess { (credentials: Credentials) in
      facts.setPeerUserID(credentials.user)
    }
  }
}
