import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization

/// What an operator's chat room or pager would be: an HTTPS server that takes alarms, can be told to answer with an error, and can be down.
final class AlarmReceiver: Sendable {
  struct Delivery: Sendable {
    var notice: Notice
    var body: [UInt8]
    var signature: String?
  }

  /// The fields that receivers may rely on.
  struct Notice: Decodable, Sendable {
    var id: String
    var kind: String
    var time: Int64
    var node: String
    var code: String
    var subject: String
    var severity: String
    var message: String
    var remedy: String
    var since: Int64
    var text: String
  }

  let port: Int
  private let context: NIOSSLContext
  private let listener = Mutex<(any Channel)?>(nil)
  private let state = Mutex<(got: [Delivery], status: HTTPResponseStatus)>(([], .ok))

  init() async throws {
    port = try BuiltProgram.freePort()
    let pair = try await TestCertificates.shared.value.issue("alarms-\(port)", commonName: "localhost", alternativeName: "DNS:localhost")
    context = try NIOSSLContext(
      configuration: .makeServerConfiguration(
        certificateChain: NIOSSLCertificate.fromPEMFile(pair.certificate).map { .certificate($0) },
        privateKey: .privateKey(NIOSSLPrivateKey(file: pair.key, format: .pem))))
  }

  var url: String { "https://localhost:\(port)/hook?room=7" }
  var deliveries: [Delivery] { state.withLock { $0.got } }
  var notices: [Notice] { deliveries.map(\.notice) }

  func answer(_ status: HTTPResponseStatus) { state.withLock { $0.status = status } }

  func start() async throws {
    let (context, state) = (context, Answers(receiver: self))
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
          try channel.pipeline.syncOperations.configureHTTPServerPipeline()
          try channel.pipeline.syncOperations.addHandler(Door(answers: state))
        }
      }.bind(host: "127.0.0.1", port: port).get()
    listener.withLock { $0 = channel }
  }

  func stop() async {
    let channel = listener.withLock { listener in
      defer { listener = nil }
      return listener
    }
    try? await channel?.close()
  }

  fileprivate func take(_ body: [UInt8], signature: String?) -> HTTPResponseStatus {
    guard let notice = try? JSONDecoder().decode(Notice.self, from: Data(body)) else { return .badRequest }
    return state.withLock { state in
      if state.status == .ok { state.got.append(Delivery(notice: notice, body: body, signature: signature)) }
      return state.status
    }
  }

  private struct Answers: Sendable { let receiver: AlarmReceiver }

  private final class Door: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let answers: Answers
    private var signature: String?
    private var body: [UInt8] = []
    private var isGood = false

    init(answers: Answers) { self.answers = answers }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      switch unwrapInboundIn(data) {
      case .head(let head):
        isGood = head.method == .POST && head.uri == "/hook?room=7" && head.headers["content-type"] == ["application/json"]
        (signature, body) = (head.headers["gatehouse-signature"].first, [])
      case .body(let buffer): body += buffer.readableBytesView
      case .end:
        let status = isGood ? answers.receiver.take(body, signature: signature) : .notFound
        let head = HTTPResponseHead(version: .http1_1, status: status, headers: ["content-length": "0", "connection": "close"])
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        let (context, loop) = (NIOLoopBound(context, eventLoop: context.eventLoop), context.eventLoop)
        let written = loop.makePromise(of: Void.self)
        context.value.writeAndFlush(wrapOutboundOut(.end(nil)), promise: written)
        written.futureResult.whenComplete { _ in context.value.close(promise: nil) }
      }
    }
  }
}
