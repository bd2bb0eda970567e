import Foundation
import NIOCore
import NIOPosix
import Synchronization
import Testing

@Suite("The TCP fault proxy does what it is told", .serialized)
struct FaultProxyTests {
  private static let text = Array((0..<200).map { "line \($0) of what passes\n" }.joined().utf8)

  @Test(
    "Bytes pass both ways, whole and in order, in one piece, late, or in tiny segments",
    arguments: [
      FaultProxy.Fault.none, .delay(.milliseconds(20), jitter: .milliseconds(20)), .delay(.milliseconds(20), only: .toClient), .slice(bytes: 3),
    ])
  func pass(_ fault: FaultProxy.Fault) async throws {
    try await Echo.behind(fault) { proxy in
      let client = try await EchoClient(proxy)
      client.send(FaultProxyTests.text)
      #expect(await client.heard { $0.count == FaultProxyTests.text.count } == FaultProxyTests.text)
      #expect(proxy.counts.bytesToServer == FaultProxyTests.text.count)
      client.close()
      #expect(await eventually(within: .seconds(5)) { proxy.counts.open == 0 })
    }
  }

  @Test(
    "What hangs, or is black-holed one way, comes through once the fault is over",
    arguments: [
      FaultProxy.Fault.hang, .blackHole(.toServer), .blackHole(.toClient),
    ])
  func held(_ fault: FaultProxy.Fault) async throws {
    try await Echo.behind(fault) { proxy in
      let client = try await EchoClient(proxy)
      client.send([1, 2, 3])
      try await Task.sleep(for: .milliseconds(100))
      #expect(client.bytes.isEmpty && !client.isOver)
      #expect(proxy.counts.bytesToServer == (fault == .blackHole(.toClient) ? 3 : 0))
      try await proxy.set(.none)
      #expect(await client.heard { $0.count == 3 } == [1, 2, 3])
    }
  }

  @Test("Refused is refused, unanswered is silence, and both end; what was open is reset by the first and hangs in the second")
  func closedDoor() async throws {
    try await Echo.behind(.none) { proxy in
      for round in 1...2 {
        let open = try await EchoClient(proxy)
        open.send([1])
        #expect(await open.heard { $0.count == 1 } == [1])
        try await proxy.set(.unanswered)
        await #expect(throws: (any Error).self, "round \(round)") { try await EchoClient(proxy, patience: .milliseconds(300)) }
        open.send([2])
        try await Task.sleep(for: .milliseconds(50))
        #expect(open.bytes == [1] && !open.isOver)
        try await proxy.set(.refuse)
        await #expect(throws: IOError.self, "round \(round)") { try await EchoClient(proxy) }
        #expect(await eventually(within: .seconds(5)) { open.isOver })
        try await proxy.set(.none)
      }
      let last = try await EchoClient(proxy)
      last.send([3])
      #expect(await last.heard { $0.count == 1 } == [3])
    }
  }

  @Test("Reset and truncate end both sides after exactly so many bytes", arguments: [true, false])
  func ended(isReset: Bool) async throws {
    try await Echo.behind(isReset ? .reset(afterBytes: 100) : .truncate(afterBytes: 100)) { proxy in
      let client = try await EchoClient(proxy)
      client.send(FaultProxyTests.text)
      #expect(await eventually(within: .seconds(5)) { client.isOver })
      #expect(client.bytes.count <= 100 && client.bytes == Array(FaultProxyTests.text.prefix(client.bytes.count)))
      #expect(client.wasReset == isReset)
      #expect(proxy.counts.bytesToClient == 100)
    }
  }

  @Test("Bits are inverted about as often as told, at the same places for the same seed, however the bytes come")
  func flipped() async throws {
    let bytes = [UInt8](repeating: 0, count: 100_000)
    var seen: [[UInt8]] = []
    for (seed, pieces) in [(UInt64(7), 1), (7, 10), (8, 1)] {
      try await Echo.behind(.flip(probability: 0.004, only: .toServer), seed: seed) { proxy in
        let client = try await EchoClient(proxy)
        for piece in 0..<pieces {
          client.send(Array(bytes.prefix(bytes.count / pieces)))
          // Each piece is echoed before the next one goes, so that TCP cannot join them.
          let count = (piece + 1) * bytes.count / pieces
          _ = await client.heard { $0.count == count }
        }
        let bits = client.bytes.reduce(0) { $0 + $1.nonzeroBitCount }
        #expect(bits == proxy.counts.flippedBits)
        #expect((2_800...3_600).contains(bits), "3,200 are to be expected")
        seen.append(client.bytes)
      }
    }
    #expect(seen[0] == seen[1])
    #expect(seen[0] != seen[2])
  }
}

/// A server that sends back what it gets.
private final class Echo: ChannelInboundHandler, Sendable {
  typealias InboundIn = ByteBuffer

  func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.writeAndFlush(data, promise: nil) }

  static func behind(_ fault: FaultProxy.Fault, seed: UInt64 = 1, _ body: (FaultProxy) async throws -> Void) async throws {
    let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { $0.pipeline.addHandler(Echo()) }.bind(host: "127.0.0.1", port: 0).get()
    let port = try #require(server.localAddress?.port)
    do { try await FaultProxy.with(port: port, fault: fault, seed: seed, body) } catch {
      try await server.close()
      throw error
    }
    try await server.close()
  }
}

/// A client that keeps what it hears.
private final class EchoClient: Sendable {
  private struct Heard {
    var bytes: [UInt8] = []
    var isOver = false
    var wasReset = false
  }

  private final class Ear: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    let heard = Mutex(Heard())

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let bytes = Array(unwrapInboundIn(data).readableBytesView)
      heard.withLock { $0.bytes += bytes }
    }
    func channelInactive(context: ChannelHandlerContext) { heard.withLock { $0.isOver = true } }
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
      heard.withLock { $0.wasReset = true }
      context.close(promise: nil)
    }
  }

  private let ear = Ear()
  private let channel: any Channel

  var bytes: [UInt8] { ear.heard.withLock { $0.bytes } }
  var isOver: Bool { ear.heard.withLock { $0.isOver } }
  var wasReset: Bool { ear.heard.withLock { $0.wasReset } }

  init(_ proxy: FaultProxy, patience: TimeAmount = .seconds(5)) async throws {
    let ear = ear
    channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connectTimeout(patience)
      .channelInitializer { $0.pipeline.addHandler(ear) }.connect(to: SocketAddress(ipAddress: proxy.host, port: proxy.port)).get()
  }

  func send(_ bytes: [UInt8]) { channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil) }
  func close() { channel.close(promise: nil) }

  /// What was heard once it is `enough`, or after ten seconds.
  func heard(_ enough: @Sendable ([UInt8]) -> Bool) async -> [UInt8] {
    _ = await eventually(within: .seconds(10), every: .milliseconds(5)) { enough(bytes) }
    return bytes
  }
}
