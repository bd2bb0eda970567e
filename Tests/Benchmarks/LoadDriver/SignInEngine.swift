import Foundation
import NIOCore
import NIOPosix
import NIOSSL

/// Sends sign-ins to a gateway and judges the answers. One thread: everything lives on one event loop, so that the driver costs little.
final class SignInEngine {
  /// Attempts of one source, and how they come: at a rate whatever happens, or a number at a time, each after the answer to the one before.
  struct Stream: Sendable {
    enum Pace: Sendable {
      case open(rate: Double)
      case closed(connections: Int)
    }
    var name: String
    var pace: Pace
    var source: any AttemptSource
    fileprivate(set) var tally: Tally
    fileprivate var arrivals: Arrivals?
    fileprivate var isOver = false
    /// When the last answer with a verdict came.
    fileprivate(set) var lastVerdict: UInt64 = 0
    /// What came since the last line of progress.
    fileprivate(set) var recent: Tally

    init(name: String, pace: Pace, source: any AttemptSource, groups: Int) {
      self.name = name
      self.pace = pace
      self.source = source
      tally = Tally(groups: groups)
      recent = tally
    }
  }

  struct Settings: Sendable {
    var host: String
    var port: Int
    var tls: NIOSSLContext
    var key: String
    /// Nil: sign-ins of a front-end.
    var trust: TrustRequest?
    var connections: Int
    /// Nanoseconds from when it was due.
    var timeout: UInt64 = 15_000_000_000
    var duration: UInt64
    var warmUp: UInt64
    var every: UInt64
    var seed: UInt64
  }

  /// An attempt that is due and has no answer yet.
  struct Pending {
    fileprivate var stream: Int
    fileprivate var attempt: Attempt
    fileprivate var due: UInt64
  }

  private let loop: any EventLoop
  private let settings: Settings
  private(set) var streams: [Stream]
  let ledger: Ledger
  private var idle: [FrontEndConnection] = []
  private var connections: [ObjectIdentifier: FrontEndConnection] = [:]
  private var opening = 0
  private var connectsAfter: UInt64 = 0
  private var waiting: [Pending] = []
  private var firstWaiting = 0
  private var outstanding = 0
  private var isFinished = false
  private(set) var start: UInt64 = 0
  private(set) var end: UInt64 = 0
  private var nextProgress: UInt64 = 0
  private let finished: EventLoopPromise<Void>
  private let onProgress: ([(name: String, tally: Tally)], _ seconds: Double) -> Void
  private(set) var connectionFaults: [String: Int] = [:]
  /// From when attempts were due to when they were sent: what of a latency is the driver's own, for want of a connection or of a processor.
  private(set) var sendingDelay = Histogram()
  private let requestHead: [UInt8]

  init(
    loop: any EventLoop, settings: Settings, streams: [Stream], ledger: Ledger, finished: EventLoopPromise<Void>,
    onProgress: @escaping ([(name: String, tally: Tally)], _ seconds: Double) -> Void
  ) {
    self.loop = loop
    self.settings = settings
    self.streams = streams
    self.ledger = ledger
    self.finished = finished
    self.onProgress = onProgress
    if let trust = settings.trust {
      requestHead = trust.head(host: settings.host, port: settings.port)
      return
    }
    requestHead = Array(
      """
      POST /v1/sign-in HTTP/1.1\r
      Host: \(settings.host):\(settings.port)\r
      Authorization: Bearer \(settings.key)\r
      Content-Type: application/json\r
      Content-Length:\u{20}
      """.utf8)
  }

  private var now: UInt64 { NIODeadline.now().uptimeNanoseconds }

  /// Opens the connections, then begins.
  func begin() {
    for _ in 0..<settings.connections { connect() }
    awaitConnections(patience: now + 10_000_000_000)
  }

  private func awaitConnections(patience: UInt64) {
    guard opening > 0, now < patience, !Interruption.isAsked else { return go() }
    let bound = NIOLoopBound(self, eventLoop: loop)
    loop.scheduleTask(in: .milliseconds(5)) { bound.value.awaitConnections(patience: patience) }
  }

  private func go() {
    start = now
    end = start + settings.duration
    nextProgress = settings.every > 0 ? start + settings.every : .max
    for index in streams.indices {
      switch streams[index].pace {
      case .open(let rate):
        streams[index].arrivals = Arrivals(rate: rate, start: start, seed: settings.seed &+ UInt64(index) &* 7919)
        arrive(index)
      case .closed(let connections): for _ in 0..<connections { startNext(of: index) }
      }
    }
    sweep()
  }

  // MARK: Attempts

  /// Sends all that is due of an open stream, and comes back for the next one.
  private func arrive(_ index: Int) {
    while let due = streams[index].arrivals?.next, due <= now, due < end, !Interruption.isAsked {
      guard let attempt = streams[index].source.next() else {
        end = min(end, due)
        break
      }
      streams[index].arrivals?.advance()
      submit(Pending(stream: index, attempt: attempt, due: due))
    }
    guard let next = streams[index].arrivals?.next, next < end, !Interruption.isAsked else {
      streams[index].isOver = true
      return finishIfDone()
    }
    let bound = NIOLoopBound(self, eventLoop: loop)
    loop.scheduleTask(deadline: .uptimeNanoseconds(min(next, now + 100_000_000))) { bound.value.arrive(index) }
  }

  /// The next attempt of a closed stream.
  private func startNext(of index: Int) {
    guard now < end, !Interruption.isAsked, let attempt = streams[index].source.next() else {
      streams[index].isOver = true
      return finishIfDone()
    }
    submit(Pending(stream: index, attempt: attempt, due: now))
  }

  private func submit(_ pending: Pending) {
    outstanding += 1
    while let connection = idle.popLast() {
      guard connection.isOpen else { continue }
      return send(pending, on: connection)
    }
    waiting.append(pending)
    connect()
  }

  private func send(_ pending: Pending, on connection: FrontEndConnection) {
    let time = now
    sendingDelay.add(nanoseconds: time > pending.due ? time - pending.due : 0)
    let attempt = pending.attempt
    var body = ByteBuffer()
    if let trust = settings.trust {
      var clock = timespec()
      clock_gettime(CLOCK_REALTIME, &clock)
      trust.write(userName: attempt.userName, password: attempt.password, seconds: clock.tv_sec, to: &body)
    } else {
      body.reserveCapacity(256)
      body.writeString(#"{"userName":""#)
      write(attempt.userName, to: &body)
      body.writeString(#"","password":""#)
      write(attempt.password, to: &body)
      body.writeString(#"","clientAddress":""#)
      body.writeString(attempt.address)
      body.writeString(#""}"#)
    }
    var request = ByteBuffer()
    request.reserveCapacity(settings.trust == nil ? 512 : 2048)
    request.writeBytes(requestHead)
    request.writeString("\(body.readableBytes)\r\n\r\n")
    request.writeBuffer(&body)
    connection.send(request, for: pending, deadline: pending.due + settings.timeout)
  }

  /// As JSON text; what passwords and names hold beyond letters is escaped.
  private func write(_ text: String, to buffer: inout ByteBuffer) {
    for byte in text.utf8 {
      switch byte {
      case 0x22, 0x5c: buffer.writeBytes([0x5c, byte])
      case 0..<0x20: buffer.writeString(#"\u00"# + (byte < 16 ? "0" : "") + String(byte, radix: 16))
      default: buffer.writeInteger(byte)
      }
    }
  }

  private func conclude(_ pending: Pending, _ answer: Answer) {
    let time = now
    let index = pending.stream
    let latency = time > pending.due ? time - pending.due : 0
    switch answer {
    case .accepted(let reference):
      if let reference { ledger.note(reference, accepted: true) }
      streams[index].lastVerdict = time
    case .refused(_, let reference):
      if let reference { ledger.note(reference, accepted: false) }
      streams[index].lastVerdict = time
    default: break
    }
    streams[index].tally.count(answer, to: pending.attempt, latency: latency, measured: pending.due >= start + settings.warmUp)
    if settings.every > 0 { streams[index].recent.count(answer, to: pending.attempt, latency: latency, measured: true) }
    outstanding -= 1
    if case .closed = streams[index].pace {
      switch answer {
      case .cut, .timedOut, .unavailable, .limited:
        // Who was turned away does not come back at once, or turning away would be all that is measured.
        let bound = NIOLoopBound(self, eventLoop: loop)
        loop.scheduleTask(in: .milliseconds(50)) { bound.value.startNext(of: index) }
      default: startNext(of: index)
      }
    }
    finishIfDone()
  }

  private func finishIfDone() {
    guard outstanding == 0, !isFinished, streams.allSatisfy(\.isOver) else { return }
    isFinished = true
    ledger.flush()
    for connection in connections.values { connection.close() }
    finished.succeed()
  }

  // MARK: Connections

  private func connect() {
    guard connections.count + opening < settings.connections, now >= connectsAfter else { return }
    opening += 1
    let bound = NIOLoopBound(self, eventLoop: loop)
    let tls = settings.tls
    let host = settings.host
    let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
    ClientBootstrap(group: loop).connectTimeout(.seconds(3)).channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let handlers = channel.pipeline.syncOperations
          try handlers.addHandler(try NIOSSLClientHandler(context: tls, serverHostname: isAddress ? nil : host))
          try handlers.addHandler(FrontEndConnection(engine: bound.value))
        }
      }
      .connect(host: host, port: settings.port).whenFailure { error in bound.value.connectFailed(error) }
  }

  private func connectFailed(_ error: any Error) {
    opening -= 1
    failed(error)
    connectsAfter = now + 100_000_000
  }

  /// What went wrong with connections, by kind.
  func failed(_ error: any Error) {
    let kind = String("\(error)".prefix(120))
    if connectionFaults.count < 20 || connectionFaults[kind] != nil { connectionFaults[kind, default: 0] += 1 }
  }

  /// The handshake is done.
  func opened(_ connection: FrontEndConnection) {
    opening -= 1
    connections[ObjectIdentifier(connection)] = connection
    isFree(connection)
  }

  private func isFree(_ connection: FrontEndConnection) {
    if let next = takeWaiting() { return send(next, on: connection) }
    connection.idleSince = now
    idle.append(connection)
  }

  private func takeWaiting() -> Pending? {
    guard firstWaiting < waiting.count else { return nil }
    defer {
      firstWaiting += 1
      if firstWaiting == waiting.count || firstWaiting > 10_000 {
        waiting.removeFirst(firstWaiting)
        firstWaiting = 0
      }
    }
    return waiting[firstWaiting]
  }

  func answered(_ connection: FrontEndConnection, _ pending: Pending?, _ answer: Answer, staysOpen: Bool) {
    if staysOpen, pending != nil { isFree(connection) }
    if let pending { conclude(pending, answer) }
  }

  func ended(_ connection: FrontEndConnection, _ pending: Pending?) {
    if connections.removeValue(forKey: ObjectIdentifier(connection)) == nil {
      // Ended inside the handshake.
      opening -= 1
      connectsAfter = now + 100_000_000
    }
    idle.removeAll { $0 === connection }
    if let pending { conclude(pending, .cut) }
  }

  // MARK: Ten times a second

  private func sweep() {
    let time = now
    for connection in connections.values where connection.pending != nil && connection.deadline <= time {
      if let pending = connection.abandon() { conclude(pending, .timedOut) }
    }
    // The server ends idle connections after a while, and a request could meet that end on the way.
    let old = idle.filter { time - $0.idleSince > 15_000_000_000 }
    idle.removeAll { time - $0.idleSince > 15_000_000_000 }
    for connection in old { connection.close() }
    while firstWaiting < waiting.count, waiting[firstWaiting].due + settings.timeout <= time, let pending = takeWaiting() {
      conclude(pending, .timedOut)
    }
    if firstWaiting < waiting.count { for _ in 0..<min(waiting.count - firstWaiting, 32) { connect() } }
    ledger.flush()
    if time >= nextProgress {
      nextProgress += settings.every
      onProgress(streams.map { ($0.name, $0.recent) }, Double(time - start) / 1e9)
      for index in streams.indices { streams[index].recent = Tally(groups: streams[index].tally.acceptedByGroup.count) }
    }
    finishIfDone()
    guard !isFinished else { return }
    let bound = NIOLoopBound(self, eventLoop: loop)
    loop.scheduleTask(in: .milliseconds(100)) { bound.value.sweep() }
  }
}
