import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// An assertion consumer service that takes the POST and sends the browser on to another origin, as real relying parties do whose application lives
/// elsewhere. It looks into nothing: what matters is what the browser lets happen, since `form-action` of a page's policy may bind redirects too.
final class RedirectingConsumer: Sendable {
  /// One form that came.
  struct Delivery: Equatable, Sendable {
    var path: String
    /// What the browser said of where it came from.
    var origin: String?
    var referrer: String?
    var body: String
  }

  private let taken: Mutex<[Delivery]>
  private let listener: any Channel
  private let elsewhere: any Channel

  var url: String { "http://127.0.0.1:\(listener.localAddress?.port ?? 0)/acs" }
  /// Where every POST ends: another host name and another port. Its title is `Arrived elsewhere`.
  var destination: String { "http://localhost:\(elsewhere.localAddress?.port ?? 0)/arrived" }
  var deliveries: [Delivery] { taken.withLock { $0 } }

  private init(listener: any Channel, elsewhere: any Channel, taken: Taken) {
    self.listener = listener
    self.elsewhere = elsewhere
    self.taken = Mutex([])
    taken.consumer.withLock { $0 = self }
  }

  private final class Taken: Sendable { let consumer = Mutex<RedirectingConsumer?>(nil) }

  /// - Parameter status: 303, or 302 and 307 as some relying parties answer.
  static func start(status: HTTPResponseStatus = .seeOther) async throws -> RedirectingConsumer {
    let elsewhere = try await serve { _ in
      Answer(status: .ok, fields: [("content-type", "text/html; charset=utf-8")], body: "<!doctype html><title>Arrived elsewhere</title><p>Arrived.")
    }
    let port = elsewhere.localAddress?.port ?? 0
    let box = Taken()
    let listener = try await serve { delivery in
      if let delivery { box.consumer.withLock { $0 }?.taken.withLock { $0.append(delivery) } }
      return Answer(status: status, fields: [("location", "http://localhost:\(port)/arrived")], body: "")
    }
    return RedirectingConsumer(listener: listener, elsewhere: elsewhere, taken: box)
  }

  func stop() async {
    try? await listener.close()
    try? await elsewhere.close()
  }

  private struct Answer: Sendable {
    var status: HTTPResponseStatus
    var fields: [(String, String)]
    var body: String
  }

  private static func serve(_ answer: @escaping @Sendable (Delivery?) -> Answer) async throws -> any Channel {
    try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.configureHTTPServerPipeline()
          try channel.pipeline.syncOperations.addHandler(Door(answer: answer))
        }
      }.bind(host: "127.0.0.1", port: 0).get()
  }

  private final class Door: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let answer: @Sendable (Delivery?) -> Answer
    private var delivery: Delivery?

    init(answer: @escaping @Sendable (Delivery?) -> Answer) { self.answer = answer }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      switch unwrapInboundIn(data) {
      case .head(let head):
        delivery =
          head.method == .POST
          ? Delivery(path: head.uri, origin: head.headers["origin"].first, referrer: head.headers["referer"].first, body: "") : nil
      case .body(let buffer): delivery?.body += String(decoding: buffer.readableBytesView, as: UTF8.self)
      case .end:
        let answer = answer(delivery)
        var headers = HTTPHeaders(answer.fields)
        headers.add(name: "content-length", value: "\(answer.body.utf8.count)")
        context.write(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: answer.status, headers: headers))), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: answer.body)))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
      }
    }
  }
}
