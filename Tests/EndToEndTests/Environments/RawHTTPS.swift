import Foundation
import NIOCore
import NIOPosix
import NIOSSL

/// Requests that no HTTP client would send as they stand: over TLS, byte for byte, one a connection.
enum RawHTTPS {
  /// What came back until the other side ended the connection.
  struct Answer: Sendable {
    /// Nil where nothing came that begins like an answer.
    var status: Int?
    var fields: [(name: String, value: String)]
    var bytes: [UInt8]

    var body: String { String(decoding: bytes, as: UTF8.self) }
    subscript(name: String) -> String? { fields.first { $0.name.lowercased() == name.lowercased() }?.value }
  }

  /// Sends `bytes` and reads until the end, or until the limit.
  static func send(_ bytes: [UInt8], to port: Int, authority: NIOSSLTrustRoots?, within limit: Duration = .seconds(15)) async throws -> Answer {
    var configuration = TLSConfiguration.makeClientConfiguration()
    if let authority { configuration.trustRoots = authority } else { configuration.certificateVerification = .none }
    let context = try NIOSSLContext(configuration: configuration)
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let promise = loop.makePromise(of: [UInt8].self)
    let channel = try await ClientBootstrap(group: loop).channelInitializer { channel in
      channel.eventLoop.makeCompletedFuture {
        try channel.pipeline.syncOperations.addHandler(try NIOSSLClientHandler(context: context, serverHostname: "localhost"))
        try channel.pipeline.syncOperations.addHandler(Gatherer(promise: promise))
      }
    }.connect(host: "127.0.0.1", port: port).get()
    // The server may refuse before it has read everything: what it said counts.
    channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
    let end = loop.scheduleTask(in: TimeAmount(limit)) { channel.close(promise: nil) }
    let received = try await promise.futureResult.get()
    end.cancel()
    return parse(received)
  }

  /// A request's bytes, with the fields that every request has.
  static func bytes(
    _ method: String, _ target: String, host: String, fields: [(String, String)] = [], body: String? = nil
  ) -> [UInt8] {
    var text = "\(method) \(target) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\nAccept: text/html\r\n"
    for (name, value) in fields { text += "\(name): \(value)\r\n" }
    if let body { text += "Content-Length: \(body.utf8.count)\r\n" }
    return Array((text + "\r\n" + (body ?? "")).utf8)
  }

  private static func parse(_ bytes: [UInt8]) -> Answer {
    guard let end = bytes.firstRange(of: [13, 10, 13, 10]) else { return Answer(status: nil, fields: [], bytes: bytes) }
    let lines = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
    let words = lines[0].split(separator: " ")
    let fields = lines.dropFirst().compactMap { line -> (name: String, value: String)? in
      guard let colon = line.firstIndex(of: ":") else { return nil }
      return (String(line[..<colon]), line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces))
    }
    var body = Array(bytes[end.upperBound...])
    if fields.contains(where: { $0.name.lowercased() == "transfer-encoding" && $0.value.lowercased() == "chunked" }) { body = joined(body) }
    return Answer(status: words.count > 1 && words[0].hasPrefix("HTTP/1.") ? Int(words[1]) : nil, fields: fields, bytes: body)
  }

  /// What chunks carry.
  private static func joined(_ bytes: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    var rest = bytes[...]
    while let line = rest.firstRange(of: [13, 10]),
      let count = Int(String(decoding: rest[rest.startIndex..<line.lowerBound], as: UTF8.self), radix: 16),
      count > 0, rest.endIndex - line.upperBound >= count
    {
      result += rest[line.upperBound..<line.upperBound + count]
      rest = rest[(line.upperBound + count)...].dropFirst(2)
    }
    return result
  }

  private final class Gatherer: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let promise: EventLoopPromise<[UInt8]>
    private var bytes: [UInt8] = []

    init(promise: EventLoopPromise<[UInt8]>) { self.promise = promise }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      bytes += Array(unwrapInboundIn(data).readableBytesView)
      if bytes.count > 8 << 20 { context.close(promise: nil) }
    }
    func channelInactive(context: ChannelHandlerContext) { promise.succeed(bytes) }
    // An end without a close of TLS, a reset: what came before counts.
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }
}
