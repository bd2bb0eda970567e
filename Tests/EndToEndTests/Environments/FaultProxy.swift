import Foundation
import GatehouseTesting
import NIOCore
import NIOPosix
import Synchronization

/// A bad piece of network in front of one server: TCP bytes pass, or do what `Fault` says. The fault can be changed while connections are open.
///
/// Deterministic: what is random is drawn from the seed, the connection's number and the byte's place in its stream, however TCP cuts the stream.
///
/// ```
/// accepted ──► dialling ──► lanes open ──► one end ended ──► the rest delivered ──► closed
///                │             │ (bytes wait in their lane while they are delayed or held)
///                └─────────────┴──► reset (refuse, reset)
/// ```
final class FaultProxy: Sendable {
  /// The way that bytes go.
  enum Direction: Sendable, CaseIterable { case toServer, toClient }

  enum Fault: Sendable, Equatable {
    /// Bytes pass.
    case none
    /// Bytes of one direction, or of both, come later, by `jitter` more at random; their order stays.
    case delay(Duration, jitter: Duration = .zero, only: Direction? = nil)
    /// Connections are accepted, and nothing more happens. What is held comes through once the fault is over, as after a repair of the network.
    case hang
    /// Half open: the bytes of one direction are held, those of the other one pass.
    case blackHole(Direction)
    /// No connection is made: RST in answer to SYN. Those that were open are reset.
    case refuse
    /// SYN gets no answer at all. What is open hangs.
    case unanswered
    /// RST to both ends once so many bytes of a direction have passed (counted from when the connection or the fault began, the later one).
    case reset(afterBytes: Int, Direction = .toClient)
    /// An orderly end to both after so many bytes of a direction.
    case truncate(afterBytes: Int, Direction = .toClient)
    /// Each bit of one direction, or of both, is inverted with this probability.
    case flip(probability: Double, only: Direction? = nil)
    /// Segments of so many bytes.
    case slice(bytes: Int)
  }

  /// What went through it since it began.
  struct Counts: Sendable, Equatable {
    /// Connections that were accepted.
    var accepted = 0
    var open = 0
    var bytesToServer = 0
    var bytesToClient = 0
    var flippedBits = 0
  }

  private struct State {
    var fault: Fault
    /// Grows with each change of the fault.
    var generation = 0
    var counts = Counts()
    var connections: [Int: NIOLoopBound<Connection>] = [:]
    var listener: (any Channel)?
    /// The sockets that keep SYNs unanswered.
    var blockade: [Int32] = []
    var isStopped = false
  }

  /// The loopback address and port on which it listens.
  let host: String
  let port: Int
  private let target: (host: String, port: Int)
  private let seed: UInt64
  /// Bound, never listening: keeps the port ours while nobody listens, so that connecting is refused.
  private let reservation: Int32
  private let state: Mutex<State>

  /// What it does now.
  var fault: Fault { state.withLock { $0.fault } }
  var counts: Counts {
    state.withLock { state in
      var counts = state.counts
      counts.open = state.connections.count
      return counts
    }
  }

  private init(host: String, port: Int, target: (host: String, port: Int), seed: UInt64, fault: Fault, reservation: Int32) {
    (self.host, self.port, self.target, self.seed, self.reservation) = (host, port, target, seed, reservation)
    state = Mutex(State(fault: fault))
  }

  /// - Parameters:
  ///   - targetHost: an address or name that this machine can reach.
  ///   - host: a loopback address; `port` 0 takes a free one.
  static func start(
    to targetHost: String = "127.0.0.1", port targetPort: Int, fault: Fault = .none, seed: UInt64 = 1, listeningOn host: String = "127.0.0.1",
    port: Int = 0
  ) async throws -> FaultProxy {
    let (reservation, reserved) = try RawSocket.bound(host: host, port: port)
    let proxy = FaultProxy(
      host: host, port: reserved, target: (targetHost, targetPort), seed: seed, fault: fault, reservation: reservation)
    do { try await proxy.arrangeListener() } catch {
      close(reservation)
      throw error
    }
    return proxy
  }

  /// Runs `body` with a proxy, and stops it whatever happens.
  static func with<Result: Sendable>(
    to targetHost: String = "127.0.0.1", port: Int, fault: Fault = .none, seed: UInt64 = 1, _ body: (FaultProxy) async throws -> Result
  ) async throws -> Result {
    let proxy = try await start(to: targetHost, port: port, fault: fault, seed: seed)
    do {
      let result = try await body(proxy)
      await proxy.stop()
      return result
    } catch {
      await proxy.stop()
      throw error
    }
  }

  /// From now on, for open connections too.
  func set(_ fault: Fault) async throws {
    let connections = state.withLock { state in
      state.fault = fault
      state.generation += 1
      return Array(state.connections.values)
    }
    try await arrangeListener()
    for connection in connections { connection.execute { $0.faultChanged() } }
  }

  /// Resets every open connection; the fault stays as it is.
  func resetConnections() {
    for connection in state.withLock({ Array($0.connections.values) }) { connection.execute { $0.reset() } }
  }

  func stop() async {
    let (listener, blockade) = state.withLock { state in
      state.isStopped = true
      defer { (state.listener, state.blockade) = (nil, []) }
      return (state.listener, state.blockade)
    }
    try? await listener?.close()
    for descriptor in blockade { close(descriptor) }
    resetConnections()
    close(reservation)
  }

  // MARK: The listener

  private func arrangeListener() async throws {
    let (fault, listener, blockade) = state.withLock { state in
      let wantsListener = state.fault != .refuse && state.fault != .unanswered
      let old = (state.fault, wantsListener ? nil : state.listener, state.blockade)
      if !wantsListener { state.listener = nil }
      state.blockade = []
      return old
    }
    try? await listener?.close()
    for descriptor in blockade { close(descriptor) }
    switch fault {
    case .refuse: return
    case .unanswered:
      let made = try RawSocket.blockade(host: host, port: port)
      state.withLock { $0.blockade = made }
    default:
      guard state.withLock({ $0.listener == nil }) else { return }
      let made = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .childChannelOption(.allowRemoteHalfClosure, value: false)
        .childChannelInitializer { [self] channel in
          channel.eventLoop.makeCompletedFuture { try self.accept(channel) }
        }
        .bind(host: host, port: port).get()
      state.withLock { $0.listener = made }
    }
  }

  private func accept(_ client: any Channel) throws {
    let number = state.withLock { state in
      state.counts.accepted += 1
      return state.counts.accepted
    }
    let connection = Connection(proxy: self, number: number, client: client)
    let bound = NIOLoopBound(connection, eventLoop: client.eventLoop)
    try client.pipeline.syncOperations.addHandler(End(connection: connection, direction: .toServer))
    let isStopped = state.withLock { state in
      state.connections[number] = bound
      return state.isStopped
    }
    if isStopped || fault == .refuse || fault == .unanswered {
      connection.reset()
      return
    }
    ClientBootstrap(group: client.eventLoop).channelInitializer { channel in
      channel.eventLoop.makeCompletedFuture {
        try channel.pipeline.syncOperations.addHandler(End(connection: bound.value, direction: .toClient))
      }
    }.connect(host: target.host, port: target.port).whenComplete { result in
      switch result {
      case .success(let server): bound.value.dialled(server)
      case .failure: bound.value.reset()  // a target that refuses: so do we
      }
    }
  }

  fileprivate func current() -> (fault: Fault, generation: Int) { state.withLock { ($0.fault, $0.generation) } }

  fileprivate func generator(_ number: Int, _ direction: Direction) -> SeededGenerator {
    SeededGenerator(seed: seed &* 0x9e37_79b9_7f4a_7c15 &+ UInt64(number) &* 2 &+ (direction == .toClient ? 1 : 0))
  }

  fileprivate func count(_ bytes: Int, _ direction: Direction, flipped: Int) {
    state.withLock { state in
      switch direction {
      case .toServer: state.counts.bytesToServer += bytes
      case .toClient: state.counts.bytesToClient += bytes
      }
      state.counts.flippedBits += flipped
    }
  }

  fileprivate func forget(_ number: Int) { state.withLock { _ = $0.connections.removeValue(forKey: number) } }
}

extension NIOLoopBound {
  fileprivate func execute(_ body: @escaping @Sendable (Value) -> Void) where Value: AnyObject {
    eventLoop.execute { body(self.value) }
  }
}

/// One client and its connection to the target; both live on one event loop.
private final class Connection {
  private let proxy: FaultProxy
  private let number: Int
  private let client: any Channel
  private var server: (any Channel)?
  private var toServer: Lane
  private var toClient: Lane
  private var isOver = false

  /// The bytes of one direction.
  private struct Lane {
    let direction: FaultProxy.Direction
    var random: SeededGenerator
    var waiting: [(bytes: [UInt8], due: NIODeadline)] = []
    var isEnded = false
    /// Bytes that passed since the fault began, and under which fault.
    var passed = 0
    var generation = 0
    /// How many bits pass before the next one is inverted.
    var untilFlip: Int?

    mutating func flip(_ bytes: inout [UInt8], probability: Double) -> Int {
      guard probability > 0 else { return 0 }
      var flipped = 0
      var position = 0
      while true {
        // Gaps between independent events are geometric: one draw for each inverted bit, none for the others.
        let gap = untilFlip ?? (probability >= 1 ? 0 : Int(min(1e15, log(1 - random.unit()) / log(1 - probability))))
        guard position + gap < bytes.count * 8 else {
          untilFlip = gap - (bytes.count * 8 - position)
          return flipped
        }
        position += gap
        bytes[position / 8] ^= 1 << UInt8(position % 8)
        position += 1
        flipped += 1
        untilFlip = nil
      }
    }
  }

  init(proxy: FaultProxy, number: Int, client: any Channel) {
    self.proxy = proxy
    self.number = number
    self.client = client
    toServer = Lane(direction: .toServer, random: proxy.generator(number, .toServer))
    toClient = Lane(direction: .toClient, random: proxy.generator(number, .toClient))
  }

  func dialled(_ channel: any Channel) {
    guard !isOver else {
      channel.close(promise: nil)
      return
    }
    server = channel
    pump(\.toServer)
  }

  func received(_ bytes: [UInt8], _ direction: FaultProxy.Direction) {
    guard !isOver else { return }
    let lane = Connection.lane(direction)
    var due = NIODeadline.now()
    if case .delay(let delay, let jitter, let only) = proxy.current().fault, only == nil || only == direction {
      let more = jitter.whole * self[keyPath: lane].random.unit()
      due = due + .nanoseconds(Int64(delay.whole + more))
    }
    // In order: nothing overtakes what came before it.
    due = max(due, self[keyPath: lane].waiting.last?.due ?? due)
    self[keyPath: lane].waiting.append((bytes, due))
    pump(lane)
  }

  func ended(_ direction: FaultProxy.Direction) {
    let lane = Connection.lane(direction)
    self[keyPath: lane].isEnded = true
    pump(lane)
  }

  func faultChanged() {
    if proxy.current().fault == .refuse { return reset() }
    pump(\.toServer)
    pump(\.toClient)
  }

  /// RST to both.
  func reset() {
    for channel in [client, server].compactMap({ $0 }) {
      guard let socket = channel as? any SocketOptionProvider else { continue }
      // With a linger time of zero, close(2) sends RST in place of FIN.
      socket.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenComplete { _ in channel.close(promise: nil) }
    }
    finish()
  }

  private func finish() {
    guard !isOver else { return }
    isOver = true
    proxy.forget(number)
  }

  private func close() {
    client.close(promise: nil)
    server?.close(promise: nil)
    finish()
  }

  private static func lane(_ direction: FaultProxy.Direction) -> ReferenceWritableKeyPath<Connection, Lane> {
    direction == .toServer ? \.toServer : \.toClient
  }

  /// Delivers what is due and not held.
  private func pump(_ lane: ReferenceWritableKeyPath<Connection, Lane>) {
    while !isOver, let server {
      let direction = self[keyPath: lane].direction
      let (fault, generation) = proxy.current()
      if fault == .hang || fault == .unanswered || fault == .blackHole(direction) { return }
      if self[keyPath: lane].generation != generation {
        self[keyPath: lane].generation = generation
        self[keyPath: lane].passed = 0
        self[keyPath: lane].untilFlip = nil
      }
      guard let next = self[keyPath: lane].waiting.first else {
        if self[keyPath: lane].isEnded { close() }
        return
      }
      let now = NIODeadline.now()
      guard next.due <= now else {
        let bound = NIOLoopBound(self, eventLoop: client.eventLoop)
        let isToServer = direction == .toServer
        client.eventLoop.scheduleTask(deadline: next.due) { bound.value.pump(isToServer ? \.toServer : \.toClient) }
        return
      }
      self[keyPath: lane].waiting.removeFirst()
      deliver(next.bytes, lane, fault, to: direction == .toServer ? server : client)
    }
  }

  private func deliver(_ received: [UInt8], _ lane: ReferenceWritableKeyPath<Connection, Lane>, _ fault: FaultProxy.Fault, to end: any Channel) {
    let direction = self[keyPath: lane].direction
    var bytes = received
    var flipped = 0
    var ending: (() -> Void)?
    var segment = bytes.count
    switch fault {
    case .reset(let limit, direction), .truncate(let limit, direction):
      let left = max(0, limit - self[keyPath: lane].passed)
      if bytes.count >= left {
        bytes = Array(bytes.prefix(left))
        if case .reset = fault { ending = reset } else { ending = close }
      }
    case .flip(let probability, let only) where only == nil || only == direction:
      flipped = self[keyPath: lane].flip(&bytes, probability: probability)
    case .slice(let size): segment = max(1, size)
    default: break
    }
    self[keyPath: lane].passed += bytes.count
    proxy.count(bytes.count, direction, flipped: flipped)
    var rest = bytes[...]
    while !rest.isEmpty {
      end.writeAndFlush(ByteBuffer(bytes: rest.prefix(segment)), promise: nil)
      rest = rest.dropFirst(segment)
    }
    ending?()
  }
}

/// The proxy's side of one of the two sockets.
private final class End: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private let connection: Connection
  private let direction: FaultProxy.Direction

  /// - Parameter direction: where the bytes go that come in here.
  init(connection: Connection, direction: FaultProxy.Direction) {
    self.connection = connection
    self.direction = direction
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    connection.received(Array(unwrapInboundIn(data).readableBytesView), direction)
  }

  func channelInactive(context: ChannelHandlerContext) { connection.ended(direction) }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // A reset on one side is a reset on the other.
    connection.reset()
  }
}

extension SeededGenerator {
  /// In 0..<1.
  fileprivate mutating func unit() -> Double { Double.random(in: 0..<1, using: &self) }
}

/// What NIO has no words for: sockets that are bound and do not listen, or listen and answer nobody.
private enum RawSocket {
  static func bound(host: String, port: Int) throws -> (descriptor: Int32, port: Int) {
    let address = try SocketAddress(ipAddress: host, port: port)
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
    guard descriptor >= 0 else { throw ServerProcess.Failure(description: "no socket") }
    var on: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
    var name = sockaddr_in()
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = address.withSockAddr { pointer, length in bind(descriptor, pointer, socklen_t(length)) } == 0
    let isNamed = withUnsafeMutablePointer(to: &name) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
    }
    guard isBound, isNamed == 0 else {
      close(descriptor)
      throw ServerProcess.Failure(description: "\(host):\(port) cannot be bound")
    }
    return (descriptor, Int(UInt16(bigEndian: name.sin_port)))
  }

  /// A listener whose queue is full: the kernel drops every further SYN.
  static func blockade(host: String, port: Int) throws -> [Int32] {
    let (listener, _) = try bound(host: host, port: port)
    guard listen(listener, 0) == 0 else {
      close(listener)
      throw ServerProcess.Failure(description: "\(host):\(port) cannot be listened on")
    }
    var all = [listener]
    let address = try SocketAddress(ipAddress: host, port: port)
    // A backlog of 0 has room for one; the others wait for it without end.
    for _ in 0..<3 {
      let filler = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
      guard filler >= 0 else { continue }
      _ = address.withSockAddr { pointer, length in connect(filler, pointer, socklen_t(length)) }
      all.append(filler)
    }
    return all
  }
}

extension Duration {
  /// In nanoseconds.
  fileprivate var whole: Double { self / .nanoseconds(1) }
}
