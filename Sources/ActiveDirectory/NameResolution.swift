import Identity
import Synchronization

/// Asks DNS without holding anybody past the deadline.
///
/// The C library's resolver blocks for as long as it likes, so it runs aside. Answers are kept a while; an old answer is better than none when DNS fails.
final class NameResolution: Sendable {
  private struct Cached<Value: Sendable>: Sendable {
    var value: Value
    var fresh: ContinuousClock.Instant
  }

  private struct State {
    var addresses: [String: Cached<[NetworkAddress]>] = [:]
    var services: [String: Cached<[ServiceRecord]>] = [:]
  }

  /// How long an answer is used without asking again.
  private static let freshness = Duration.seconds(60)
  private let aside: BlockingWork
  private let state = Mutex(State())

  init(aside: BlockingWork) { self.aside = aside }

  /// The addresses of a server: an IP address as it is, a name by DNS. Empty where there are none.
  func addresses(of server: DirectoryServer, port: Int, deadline: Deadline) async -> [NetworkAddress] {
    let host = server.address ?? server.host
    if let literal = NetworkAddress.literal(host, port: port) { return [literal] }
    let key = "\(host):\(port)"
    let kept = state.withLock { $0.addresses[key] }
    if let kept, kept.fresh > .now { return kept.value }
    let found = await aside.run(deadline: deadline) { NetworkAddress.resolve(host, port: port) } ?? []
    guard !found.isEmpty else { return kept?.value ?? [] }
    state.withLock { $0.addresses[key] = Cached(value: found, fresh: .now.advanced(by: NameResolution.freshness)) }
    return found
  }

  /// The servers behind an SRV name, by priority and (at random) weight, RFC 2782. Empty where there are none.
  func services(_ name: String, deadline: Deadline) async -> [ServiceRecord] {
    let kept = state.withLock { $0.services[name] }
    if let kept, kept.fresh > .now { return ServiceRecord.ordered(kept.value) }
    let found = await aside.run(deadline: deadline) { ServiceRecord.query(name) } ?? []
    guard !found.isEmpty else { return ServiceRecord.ordered(kept?.value ?? []) }
    state.withLock { $0.services[name] = Cached(value: found, fresh: .now.advanced(by: NameResolution.freshness)) }
    return ServiceRecord.ordered(found)
  }
}
