import Bytes
import Foundation
import HTTPTypes
import NIOCore
import NIOHTTPTypes
import NIOSSL
import NIOTLS
import Synchronization

/// Tells the facts which certificate the peer proved to own, as soon as the handshake is over and before any request is read; and ends the
/// connection of a peer that died.
final class HandshakeObserver: ChannelInboundHandler {
  typealias InboundIn = NIOAny

  private let facts: ConnectionFacts

  init(facts: ConnectionFacts) { self.facts = facts }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case .handshakeCompleted? = event as? TLSUserEvent,
      let certificate = try? context.pipeline.syncOperations.nioSSL_peerCertificate(), let der = try? certificate.toDERBytes()
    {
      facts.setCertificate(der)
    }
    // The server lets clients close their half only. Over TLS such an end without a goodbye is a peer that died: an agent that was killed
    // must be missed at once, not when its heartbeats have been missing for long enough.
    if case .inputClosed? = event as? ChannelEvent { context.close(promise: nil) }
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

/// Says `Connection: close` with every answer while the process drains, so that clients move on without losing a request.
final class DrainAnnouncer: ChannelOutboundHandler, RemovableChannelHandler {
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  private let drain: DrainSignal
  private var closing = false

  init(drain: DrainSignal) { self.drain = drain }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    var part = unwrapOutboundIn(data)
    if case .head(var head) = part, drain.isDraining {
      head.headerFields[.connection] = "close"
      part = .head(head)
      closing = true
    }
    guard case .end = part, closing else { return context.write(wrapOutboundOut(part), promise: promise) }
    let channel = context.channel
    let written = promise ?? context.eventLoop.makePromise()
    written.futureResult.whenComplete { _ in channel.close(mode: .output, promise: nil) }
    context.write(wrapOutboundOut(part), promise: written)
  }
}

/// A range of addresses, `192.0.2.0/24` or `2001:db8::/32`.
package struct AddressRange: Sendable, Equatable {
  private let bytes: [UInt8]
  private let prefix: Int

  /// Nil where `text` is no address with an optional prefix length.
  package init?(_ text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard let first = parts.first, parts.count <= 2, let bytes = AddressRange.bytes(of: first) else { return nil }
    var prefix = bytes.count * 8
    if parts.count == 2 {
      guard parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let length = Int(parts[1]), length <= prefix else { return nil }
      prefix = length
    }
    self.bytes = bytes
    self.prefix = prefix
  }

  package func contains(_ address: String) -> Bool {
    guard let other = AddressRange.bytes(of: address), other.count == bytes.count else { return false }
    for (index, (a, b)) in zip(bytes, other).enumerated() {
      let bits = min(8, max(0, prefix - index * 8))
      guard bits > 0 else { return true }
      let mask = UInt8(truncatingIfNeeded: 0xff00 >> bits)
      guard a & mask == b & mask else { return false }
    }
    return true
  }

  private static func bytes(of text: String) -> [UInt8]? {
    var four = in_addr()
    if inet_pton(AF_INET, text, &four) == 1 { return withUnsafeBytes(of: four) { Array($0) } }
    var six = in6_addr()
    guard inet_pton(AF_INET6, text, &six) == 1 else { return nil }
    let all = withUnsafeBytes(of: six) { Array($0) }
    let mapped = all.prefix(10).allSatisfy { $0 == 0 } && all.dropFirst(10).prefix(2).allSatisfy { $0 == 0xff }
    return mapped ? Array(all.suffix(4)) : all
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
