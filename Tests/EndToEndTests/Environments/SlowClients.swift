import Foundation
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// Clients that hold connections and hardly ask: what a server does with them decides how many it takes to stand still.
///
/// Each has an address of its own among 127.0.0.0/8, so that no limit by address ends them.
final class SlowClients: Sendable {
  /// What a client does with its connection.
  enum Kind: Sendable, CaseIterable {
    /// TCP, and not a byte.
    case silent
    /// The beginning of a TLS handshake, byte by byte.
    case handshake
    /// TLS, and not a byte of HTTP.
    case idle
    /// A head without an end.
    case head
    /// A body that comes byte by byte.
    case body
    /// Asks for something small, and then keeps the connection.
    case kept
  }

  private struct State {
    var open = 0
    var failed = 0
    var lives: [Kind: [Duration]] = [:]
    var channels: [any Channel] = []
  }

  private let state = Mutex(State())

  /// How many connections are open now.
  var open: Int { state.withLock { $0.open } }
  /// How many could not be made.
  var failed: Int { state.withLock { $0.failed } }
  /// How long the connections of a kind lasted that the server has ended.
  func lives(_ kind: Kind) -> [Duration] { state.withLock { $0.lives[kind] ?? [] } }

  /// - Parameters:
  ///   - kinds: taken in turn.
  ///   - perAddress: how many come from one address.
  static func start(_ count: Int, kinds: [Kind] = Kind.allCases, port: Int, perAddress: Int = 50) async throws -> SlowClients {
    let clients = SlowClients()
    var tls = TLSConfiguration.makeClientConfiguration()
    tls.certificateVerification = .none
    let context = try NIOSSLContext(configuration: tls)
    for first in stride(from: 0, to: count, by: 64) {
      await withDiscardingTaskGroup { group in
        for number in first..<min(count, first + 64) {
          let host = "127.1.\(number / perAddress / 250).\(number / perAddress % 250 + 1)"
          group.addTask { await clients.connect(kinds[number % kinds.count], from: host, port: port, context: context) }
        }
      }
    }
    return clients
  }

  private func connect(_ kind: Kind, from host: String, port: Int, context: NIOSSLContext) async {
    do {
      let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .bind(to: try SocketAddress(ipAddress: host, port: 0))
        .connectTimeout(.seconds(5))
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            if kind != .silent, kind != .handshake {
              try channel.pipeline.syncOperations.addHandler(try NIOSSLClientHandler(context: context, serverHostname: nil))
            }
            try channel.pipeline.syncOperations.addHandler(Deaf())
          }
        }
        .connect(host: "127.0.0.1", port: port).get()
      let began = ContinuousClock.now
      state.withLock { state in
        state.open += 1
        state.channels.append(channel)
      }
      channel.closeFuture.whenComplete { [self] _ in
        state.withLock { state in
          state.open -= 1
          state.lives[kind, default: []].append(began.duration(to: .now))
        }
      }
      try await ask(kind, on: channel)
    } catch {
      state.withLock { $0.failed += 1 }
    }
  }

  private func ask(_ kind: Kind, on channel: any Channel) async throws {
    let sign = "POST /v1/sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    switch kind {
    case .silent, .idle: return
    // A TLS record that announces more than will ever come.
    case .handshake: drip([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc] + [UInt8](repeating: 0, count: 500), on: channel)
    case .head: drip(Array((sign + "X-More: ").utf8) + [UInt8](repeating: 0x61, count: 10_000), on: channel)
    case .body:
      try await channel.writeAndFlush(ByteBuffer(string: sign + "Content-Length: 4000\r\n\r\n"))
      drip([UInt8](repeating: 0x20, count: 4000), on: channel)
    case .kept: try await channel.writeAndFlush(ByteBuffer(string: "GET /common/userrealm/nobody HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }
  }

  /// Five bytes a second.
  private func drip(_ bytes: [UInt8], on channel: any Channel) {
    let left = Mutex(bytes[...])
    channel.eventLoop.scheduleRepeatedTask(initialDelay: .zero, delay: .milliseconds(200)) { task in
      guard channel.isActive, let byte = left.withLock({ $0.popFirst() }) else { return task.cancel() }
      channel.writeAndFlush(ByteBuffer(bytes: [byte]), promise: nil)
    }
  }

  /// Ends what is still open.
  func stop() async {
    for channel in state.withLock({ $0.channels }) { channel.close(promise: nil) }
    _ = await eventually(within: .seconds(5)) { self.open == 0 }
  }

  /// Reads what comes and drops it.
  private final class Deaf: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }
}
