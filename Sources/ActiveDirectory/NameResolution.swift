import Identity
import NIOCore
import NIOPosix
import Synchronization

/// Asks DNS without holding anybody past the deadline.
///
/// The C library's resolver blocks for as long as it likes, so it runs on two threads of its own, and whoever asked stops waiting at the
/// deadline. Answers are kept a while; an old answer is better than none when DNS fails.
final class NameResolution: Sendable {
  private struct Cached<Value: Sendable>: Sendable {
    var value: Value
    var fresh: ContinuousClock.Instant
  }

  private struct State {
    var addresses: [String: Cached<[NetworkAddress]>] = [:]
    var services: [String: Cached<[ServiceRecord]>] = [:]
    var running = 0
  }

  /// How long an answer is used without asking again.
  private static let freshness = Duration.seconds(60)
  /// A blocked resolver must not gather work without end.
  private static let maximumRunning = 64

  private let threads: NIOThreadPool
  private let timers: any EventLoop
  private let state = Mutex(State())

  init(timers: any EventLoop) {
    self.timers = timers
    threads = NIOThreadPool(numberOfThreads: 2)
    threads.start()
  }

  deinit { threads.shutdownGracefully { _ in } }

  /// The addresses of a server: an IP address as it is, a name by DNS. Empty where there are none.
  func addresses(of server: DirectoryServer, port: Int, deadline: Deadline) async -> [NetworkAddress] {
    let host = server.address ?? server.host
    if let literal = NetworkAddress.literal(host, port: port) { return [literal] }
    let key = "\(host):\(port)"
    let kept = state.withLock { $0.addresses[key] }
    if let kept, kept.fresh > .now { return kept.value }
    let found = await run(deadline: deadline) { NetworkAddress.resolve(host, port: port) } ?? []
    guard !found.isEmpty else { return kept?.value ?? [] }
    state.withLock { $0.addresses[key] = Cached(value: found, fresh: .now.advanced(by: NameResolution.freshness)) }
    return found
  }

  /// The servers behind an SRV name, by priority and (at random) weight, RFC 2782. Empty where there are none.
  func services(_ name: String, deadline: Deadline) async -> [ServiceRecord] {
    let kept = state.withLock { $0.services[name] }
    if let kept, kept.fresh > .now { return ServiceRecord.ordered(kept.value) }
    let found = await run(deadline: deadline) { ServiceRecord.query(name) } ?? []
    guard !found.isEmpty else { return ServiceRecord.ordered(kept?.value ?? []) }
    state.withLock { $0.services[name] = Cached(value: found, fresh: .now.advanced(by: NameResolution.freshness)) }
    return ServiceRecord.ordered(found)
  }

  /// `work` on a thread of its own; nil at the deadline, while the thread goes on by itself.
  private func run<Value: Sendable>(deadline: Deadline, _ work: @escaping @Sendable () -> Value) async -> Value? {
    let admitted = state.withLock { state in
      guard state.running < NameResolution.maximumRunning else { return false }
      state.running += 1
      return true
    }
    guard admitted else { return nil }
    let promise = timers.makePromise(of: Value?.self)
    let timer = timers.scheduleTask(in: .nanoseconds(deadline.remaining().nanosecondsClamped)) { promise.succeed(nil) }
    threads.submit { [self] _ in
      let value = work()
      state.withLock { $0.running -= 1 }
      promise.succeed(value)
    }
    defer { timer.cancel() }
    return (try? await promise.futureResult.get()) ?? nil
  }
}
