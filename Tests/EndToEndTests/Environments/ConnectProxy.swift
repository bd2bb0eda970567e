import NIOCore
import NIOPosix
import Synchronization

/// A company's way out: an HTTP proxy that takes CONNECT and nothing else, and remembers every byte that it saw.
final class ConnectProxy: Sendable {
  /// What went through it.
  struct Sight: Sendable {
    /// The first line of every request.
    var requests: [String] = []
    /// The first bytes of every tunnel, towards the server.
    var openings: [[UInt8]] = []
    /// All bytes of all tunnels, both ways.
    var bytes: [UInt8] = []
  }

  private let sight = Mutex(Sight())
  private let listener: any Channel

  /// The port of the loopback address on which it listens.
  var port: Int { listener.localAddress?.port ?? 0 }
  var seen: Sight { sight.withLock { $0 } }

  private init(listener: any Channel) { self.listener = listener }

  /// - Parameter redirecting: a port of the loopback address to which every client is led, whatever it asks for: as a hostile proxy would.
  static func start(redirecting: Int? = nil) async throws -> ConnectProxy {
    let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.autoRead, value: true)
    let box = Box()
    let listener = try await bootstrap.childChannelInitializer { channel in
      channel.eventLoop.makeCompletedFuture {
        guard let proxy = box.proxy.withLock({ $0 }) else { throw ChannelError.operationUnsupported }
        try channel.pipeline.syncOperations.addHandler(Door(proxy: proxy, redirecting: redirecting))
      }
    }.bind(host: "127.0.0.1", port: 0).get()
    let proxy = ConnectProxy(listener: listener)
    box.proxy.withLock { $0 = proxy }
    return proxy
  }

  func stop() async { try? await listener.close() }

  private final class Box: Sendable { let proxy = Mutex<ConnectProxy?>(nil) }

  /// Reads the request of one client, dials, and becomes a pipe.
  private final class Door: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let proxy: ConnectProxy
    private let redirecting: Int?
    private var head: [UInt8] = []
    private var server: (any Channel)?
    private var opening = true

    init(proxy: ConnectProxy, redirecting: Int?) {
      self.proxy = proxy
      self.redirecting = redirecting
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let bytes = Array(unwrapInboundIn(data).readableBytesView)
      if let server {
        if opening {
          opening = false
          proxy.sight.withLock { $0.openings.append(Array(bytes.prefix(3))) }
        }
        proxy.sight.withLock { $0.bytes += bytes }
        server.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
        return
      }
      head += bytes
      guard head.suffix(4) == [13, 10, 13, 10] else { return }
      let line = String(decoding: head.prefix { $0 != 13 }, as: UTF8.self)
      proxy.sight.withLock { $0.requests.append(line) }
      let words = line.split(separator: " ")
      let target = words.count == 3 && words[0] == "CONNECT" ? words[1].split(separator: ":") : []
      guard target.count == 2, let port = Int(target[1]) else {
        context.close(promise: nil)
        return
      }
      dial(redirecting == nil ? String(target[0]) : "127.0.0.1", redirecting ?? port, client: context.channel)
    }

    func channelInactive(context: ChannelHandlerContext) { server?.close(promise: nil) }

    private func dial(_ host: String, _ port: Int, client: any Channel) {
      let proxy = proxy
      let door = NIOLoopBound(self, eventLoop: client.eventLoop)
      ClientBootstrap(group: client.eventLoop).channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(BackDoor(proxy: proxy, client: client)) }
      }.connect(host: host, port: port).whenComplete { result in
        guard case .success(let server) = result else {
          client.close(promise: nil)
          return
        }
        door.value.server = server
        client.writeAndFlush(ByteBuffer(string: "HTTP/1.1 200 Connection established\r\n\r\n"), promise: nil)
      }
    }
  }

  /// The way back from the server.
  private final class BackDoor: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let proxy: ConnectProxy
    private let client: any Channel

    init(proxy: ConnectProxy, client: any Channel) {
      self.proxy = proxy
      self.client = client
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let buffer = unwrapInboundIn(data)
      proxy.sight.withLock { $0.bytes += Array(buffer.readableBytesView) }
      client.writeAndFlush(buffer, promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { client.close(promise: nil) }
  }
}
