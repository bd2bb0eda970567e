import Identity
import NIOCore
import Synchronization

/// Asks DNS without holding anybody past the deadline.
///
/// The C library's resolver blocks for as long as it likes, so it runs aside, once for each name however many want to know.
///
/// ```
/// nothing kept ── asked, and waited for
/// under 60 s old ── used
/// under 10 min old ── used, while DNS is asked in the background
/// older ── asked, and waited for
/// ```
/// So a dead DNS is felt after ten minutes at the earliest. A name that DNS suddenly does not know is kept as long: answers vanish by mistake, too,
/// and a server that is really gone is noticed by its silence.
final class NameResolution: Sendable {
  /// How long an answer is used without asking again.
  static let freshness = Duration.seconds(60)
  /// How long an answer is used where no newer one is to be had.
  static let life = Duration.seconds(600)
  /// After a failure nobody waits for DNS again for so long.
  static let failurePause = Duration.seconds(1)
  /// Names that nobody has asked for lately make room for others.
  private static let mostNames = 256

  private struct Kept<Value: Sendable>: Sendable {
    var value: [Value] = []
    var answered: ContinuousClock.Instant?
    var failed: ContinuousClock.Instant?
    var asking: EventLoopFuture<[Value]>?

    func isYounger(than age: Duration, now: ContinuousClock.Instant) -> Bool { answered.map { $0.duration(to: now) < age } ?? false }
  }

  private struct State {
    var addresses: [String: Kept<NetworkAddress>] = [:]
    var services: [String: Kept<ServiceRecord>] = [:]
  }

  private enum Finding<Value: Sendable> {
    case known([Value])
    case asked(EventLoopFuture<[Value]>, instead: [Value])
  }

  private let aside: BlockingWork
  private let lookUpServices: @Sendable (String) -> [ServiceRecord]
  private let now: @Sendable () -> ContinuousClock.Instant
  private let state = Mutex(State())

  /// - Parameters:
  ///   - services: asks DNS for SRV records and blocks; the C library's resolver but in tests.
  ///   - now: the monotonic clock, likewise.
  init(
    aside: BlockingWork, services: @escaping @Sendable (String) -> [ServiceRecord] = { ServiceRecord.query($0) },
    now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }
  ) {
    self.aside = aside
    lookUpServices = services
    self.now = now
  }

  /// The addresses of a server: an IP address as it is, a name by DNS. Empty where there are none.
  func addresses(of server: DirectoryServer, port: Int, deadline: Deadline) async -> [NetworkAddress] {
    let host = server.address ?? server.host
    if let literal = NetworkAddress.literal(host, port: port) { return [literal] }
    return await find("\(host):\(port)", \.addresses, deadline: deadline) { NetworkAddress.resolve(host, port: port) }
  }

  /// The servers behind an SRV name, as DNS told them. Empty where there are none.
  func services(_ name: String, deadline: Deadline) async -> [ServiceRecord] {
    await find(name, \.services, deadline: deadline) { [lookUpServices] in lookUpServices(name) }
  }

  private func find<Value: Sendable>(
    _ name: String, _ place: any WritableKeyPath<State, [String: Kept<Value>]> & Sendable, deadline: Deadline,
    _ lookUp: @escaping @Sendable () -> [Value]
  ) async -> [Value] {
    let now = now()
    let finding = state.withLock { state -> Finding<Value> in
      var kept = state[keyPath: place][name] ?? Kept()
      if kept.isYounger(than: NameResolution.freshness, now: now) { return .known(kept.value) }
      let usable = kept.isYounger(than: NameResolution.life, now: now) ? kept.value : []
      if let asking = kept.asking { return usable.isEmpty ? .asked(asking, instead: []) : .known(usable) }
      if let failed = kept.failed, failed.duration(to: now) < NameResolution.failurePause { return .known(usable) }
      guard let asking = aside.begin(lookUp) else { return .known(usable) }
      kept.asking = asking
      if state[keyPath: place].count >= NameResolution.mostNames {
        state[keyPath: place] = state[keyPath: place].filter { $0.value.asking != nil || $0.value.isYounger(than: NameResolution.life, now: now) }
      }
      state[keyPath: place][name] = kept
      return .asked(asking, instead: usable)
    }
    guard case .asked(let asking, let usable) = finding else {
      if case .known(let value) = finding { return value }
      return []
    }
    // Kept by whoever asked and by whoever joined: the same answer twice does no harm, and nobody has to stay for it.
    asking.whenSuccess { [weak self] value in self?.keep(name, place, value, asking) }
    if !usable.isEmpty { return usable }
    return await aside.wait(for: asking, deadline: deadline) ?? []
  }

  private func keep<Value: Sendable>(
    _ name: String, _ place: any WritableKeyPath<State, [String: Kept<Value>]> & Sendable, _ value: [Value], _ asking: EventLoopFuture<[Value]>
  ) {
    let now = now()
    state.withLock { state in
      guard var kept = state[keyPath: place][name], kept.asking === asking else { return }
      kept.asking = nil
      if value.isEmpty {
        kept.failed = now
      } else {
        (kept.value, kept.answered, kept.failed) = (value, now, nil)
      }
      state[keyPath: place][name] = kept
    }
  }
}
