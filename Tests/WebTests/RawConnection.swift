import Foundation
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// A request as bytes: nothing is added, checked or corrected.
struct RawRequest: Sendable {
  var bytes: [UInt8]

  /// A well-formed one, with `Host` and, where there is a body, `Content-Length`.
  init(_ method: String, _ target: String, headers: [(String, String)] = [], body: [UInt8]? = nil) {
    var head = "\(method) \(target) HTTP/1.1\r\nHost: localhost\r\n"
    for (name, value) in headers { head += "\(name): \(value)\r\n" }
    if let body, !headers.contains(where: { $0.0 == "Content-Length" || $0.0 == "Transfer-Encoding" }) { head += "Content-Length: \(body.count)\r\n" }
    bytes = Array((head + "\r\n").utf8) + (body ?? [])
  }

  init(_ text: String) { bytes = Array(text.utf8) }
}

/// An answer as it came.
struct RawAnswer: Sendable {
  var status: Int
  var headers: [(name: String, value: String)]
  var body: [UInt8]

  /// The values of a header field, its name in any case.
  func values(_ name: String) -> [String] { headers.filter { $0.name.lowercased() == name.lowercased() }.map(\.value) }
  func value(_ name: String) -> String? { values(name).first }

  var text: String { String(decoding: body, as: UTF8.self) }
  func decode<T: Decodable>(_ type: T.Type) throws -> T { try JSONDecoder().decode(type, from: Data(body)) }
}

/// A connection that sends bytes and keeps what comes back.
final class RawConnection: Sendable {
  enum Failure: Error, Equatable {
    /// The connection ended before a whole answer had come.
    case closed(received: String)
    case timedOut(received: String)
  }

  private let channel: any Channel
  private let inbox: Inbox

  /// - Parameters:
  ///   - tls: nil for plain TCP.
  ///   - preface: sent before TLS begins.
  init(port: Int, tls: TLSConfiguration?, preface: [UInt8] = []) async throws {
    let inbox = Inbox()
    self.inbox = inbox
    let context = try tls.map { try NIOSSLContext(configuration: $0) }
    channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelOption(.allowRemoteHalfClosure, value: false)
      .connectTimeout(.seconds(5))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          if preface.isEmpty, let context {
            try channel.pipeline.syncOperations.addHandler(try NIOSSLClientHandler(context: context, serverHostname: nil))
          }
          try channel.pipeline.syncOperations.addHandler(Receiver(inbox))
        }
      }.connect(host: "127.0.0.1", port: port).get()
    guard !preface.isEmpty else { return }
    do {
      try await channel.writeAndFlush(ByteBuffer(bytes: preface))
      let channel = channel
      if let context {
        try await channel.eventLoop.submit {
          try channel.pipeline.syncOperations.addHandler(try NIOSSLClientHandler(context: context, serverHostname: nil), position: .first)
        }.get()
      }
    } catch is ChannelError {
      // The peer did not like the preface and was faster: a connection that has ended, like any other.
      inbox.close()
    }
  }

  /// A connection to a Unix socket, once it is there.
  init(unixSocket path: String) async throws {
    let inbox = Inbox()
    self.inbox = inbox
    for _ in 0..<500 where access(path, F_OK) != 0 { try await Task.sleep(for: .milliseconds(10)) }
    channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Receiver(inbox)) }
      }.connect(unixDomainSocketPath: path).get()
  }

  deinit { channel.close(promise: nil) }

  func close() { channel.close(promise: nil) }

  /// Sends bytes; a peer that has closed is no error: what it said before counts.
  func send(_ bytes: [UInt8]) async { try? await channel.writeAndFlush(ByteBuffer(bytes: bytes)) }
  func send(_ text: String) async { await send(Array(text.utf8)) }

  func exchange(_ request: RawRequest, within limit: Duration = .seconds(15)) async throws -> RawAnswer {
    await send(request.bytes)
    return try await answer(within: limit, toHead: request.bytes.starts(with: Array("HEAD ".utf8)))
  }

  /// The next answer. Throws `Failure`.
  func answer(within limit: Duration = .seconds(15), toHead: Bool = false) async throws -> RawAnswer {
    let end = ContinuousClock.now.advanced(by: limit)
    while true {
      if let answer = inbox.takeAnswer(toHead: toHead) { return answer }
      if inbox.isClosed { throw Failure.closed(received: inbox.text) }
      if ContinuousClock.now > end { throw Failure.timedOut(received: inbox.text) }
      try await Task.sleep(for: .milliseconds(2))
    }
  }

  /// Whether the peer ends the connection.
  func closes(within limit: Duration = .seconds(15)) async throws -> Bool {
    let end = ContinuousClock.now.advanced(by: limit)
    while !inbox.isClosed {
      if ContinuousClock.now > end { return false }
      try await Task.sleep(for: .milliseconds(2))
    }
    return true
  }

  /// What has come and was not taken as an answer.
  var received: String { inbox.text }
  var isClosed: Bool { inbox.isClosed }
}

/// What a connection has received.
private final class Inbox: Sendable {
  private let state = Mutex((bytes: [UInt8](), closed: false))

  var isClosed: Bool { state.withLock { $0.closed } }
  var text: String { state.withLock { String(decoding: $0.bytes, as: UTF8.self) } }

  func add(_ bytes: some Sequence<UInt8>) { state.withLock { $0.bytes += bytes } }
  func close() { state.withLock { $0.closed = true } }

  /// Takes one whole answer off the front; informational ones are skipped.
  func takeAnswer(toHead: Bool) -> RawAnswer? {
    state.withLock { state in
      while true {
        guard let (answer, length) = Inbox.parse(state.bytes, closed: state.closed, toHead: toHead) else { return nil }
        state.bytes.removeFirst(length)
        if answer.status >= 200 { return answer }
      }
    }
  }

  private static func parse(_ bytes: [UInt8], closed: Bool, toHead: Bool) -> (RawAnswer, Int)? {
    let blank: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a]
    guard let end = bytes.indices.first(where: { bytes[$0...].starts(with: blank) }) else { return nil }
    let lines = String(decoding: bytes[..<end], as: UTF8.self).components(separatedBy: "\r\n")
    let words = lines[0].split(separator: " ")
    guard words.count >= 2, let status = Int(words[1]) else { return nil }
    let headers = lines.dropFirst().map { line -> (name: String, value: String) in
      let parts = line.split(separator: ":", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
      return (parts.first ?? "", parts.count > 1 ? parts[1] : "")
    }
    var answer = RawAnswer(status: status, headers: headers, body: [])
    let start = end + blank.count
    if toHead || status < 200 || status == 204 { return (answer, start) }
    if answer.value("Transfer-Encoding") == "chunked" {
      var position = start
      while true {
        guard let line = bytes[position...].firstIndex(of: 0x0a),
          let size = Int(String(decoding: bytes[position..<(line - 1)], as: UTF8.self), radix: 16),
          bytes.count >= line + 1 + size + 2
        else { return nil }
        answer.body += bytes[(line + 1)..<(line + 1 + size)]
        position = line + 1 + size + 2
        if size == 0 { return (answer, position) }
      }
    }
    guard let length = answer.value("Content-Length").flatMap({ Int($0) }) else { return closed ? (answer, bytes.count) : nil }
    guard bytes.count >= start + length else { return nil }
    answer.body = Array(bytes[start..<(start + length)])
    return (answer, start + length)
  }
}

private final class Receiver: ChannelInboundHandler, Sendable {
  typealias InboundIn = ByteBuffer

  private let inbox: Inbox

  init(_ inbox: Inbox) { self.inbox = inbox }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) { inbox.add(unwrapInboundIn(data).readableBytesView) }
  func channelInactive(context: ChannelHandlerContext) { inbox.close() }
  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    inbox.close()
    context.close(promise: nil)
  }
}

extension TLSConfiguration {
  /// A client that believes any server: what is tested here is the server.
  static var unverified: TLSConfiguration {
    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.certificateVerification = .none
    return configuration
  }

  static func client(certificate: [UInt8], key: [UInt8]) throws -> TLSConfiguration {
    var configuration = unverified
    configuration.certificateChain = [.certificate(try NIOSSLCertificate(bytes: certificate, format: .der))]
    configuration.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: key, format: .der))
    return configuration
  }
}

/// A port of the loopback interface on which nobody listens, below those that the kernel gives to clients.
func freePort() throws -> Int {
  for _ in 0..<200 {
    let port = Int.random(in: 20_000..<32_000)
    let handle = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { _ = Glibc.close(handle) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let bound = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(handle, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    if bound == 0, takenPorts.withLock({ $0.insert(port).inserted }) { return port }
  }
  throw Missing(what: "a free port")
}

private let takenPorts = Mutex<Set<Int>>([])

/// Waits until somebody listens on the port.
func listening(_ port: Int) async throws {
  for _ in 0..<500 {
    if let channel = try? await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connect(host: "127.0.0.1", port: port).get() {
      try? await channel.close()
      return
    }
    try await Task.sleep(for: .milliseconds(10))
  }
  throw Missing(what: "a listener on port \(port)")
}
