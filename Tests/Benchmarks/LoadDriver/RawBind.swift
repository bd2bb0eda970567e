import CLDAP
import Foundation
import Synchronization

/// Simple binds straight at a directory, by the same schedule, the same people and the same judgement: the ruler's zero.
final class RawBind: Sendable {
  struct Settings: Sendable {
    var uri: String
    var authorityFile: String?
    var connections: Int
    /// Binds a second; nil: each connection binds again at once.
    var rate: Double?
    var duration: UInt64
    var warmUp: UInt64
    var seed: UInt64
  }

  struct Outcome: Sendable {
    var tally: Tally
    /// Nanoseconds from the first bind that was due to the last answer.
    var elapsed: UInt64
    var faults: [String: Int]
  }

  /// Who takes the next attempt, and when it is due. All connections draw from it, as a pool would.
  private struct Queue {
    var source: HonestPeople
    var arrivals: Arrivals?
  }

  private let settings: Settings
  private let groups: Int
  private let queue: Mutex<Queue>
  private let results: Mutex<Outcome>
  private let start: UInt64

  init(settings: Settings, people: People, mix: Mix) {
    self.settings = settings
    groups = people.groups.count
    start = RawBind.now + 500_000_000
    queue = Mutex(
      Queue(
        source: HonestPeople(people: people, mix: mix, seed: settings.seed),
        arrivals: settings.rate.map { [start] in Arrivals(rate: $0, start: start, seed: settings.seed) }))
    results = Mutex(Outcome(tally: Tally(groups: people.groups.count), elapsed: 0, faults: [:]))
  }

  /// Runs to the end of the duration and answers what came of it.
  func run() -> Outcome {
    let threads = (0..<settings.connections).map { _ in
      let thread = Thread { [self] in work() }
      thread.stackSize = 1 << 20
      return thread
    }
    for thread in threads { thread.start() }
    while !threads.allSatisfy(\.isFinished) { usleep(10_000) }
    return results.withLock { $0 }
  }

  private func work() {
    var tally = Tally(groups: groups)
    var faults: [String: Int] = [:]
    var last = start
    let end = start + settings.duration
    var connection = Connection(settings)
    RawBind.sleep(until: start)
    while !Interruption.isAsked {
      let next: (attempt: Attempt, due: UInt64)? = queue.withLock { queue in
        let due = queue.arrivals?.next ?? RawBind.now
        guard due < end, let attempt = queue.source.next() else { return nil }
        queue.arrivals?.advance()
        return (attempt, due)
      }
      guard let next else { break }
      RawBind.sleep(until: next.due)
      if connection == nil {
        usleep(50_000)
        connection = Connection(settings)
      }
      let result = connection?.bind(next.attempt.bindName, next.attempt.password) ?? LDAP_SERVER_DOWN
      let answer: Answer
      switch result {
      case LDAP_SUCCESS: answer = .accepted(reference: nil)
      case LDAP_INVALID_CREDENTIALS: answer = .refused(code: "invalid_credentials", reference: nil)
      default:
        answer = .cut
        faults[String(cString: ldap_err2string(result)), default: 0] += 1
        connection = nil
      }
      last = RawBind.now
      tally.count(answer, to: next.attempt, latency: last > next.due ? last - next.due : 0, measured: next.due >= start + settings.warmUp)
    }
    results.withLock {
      $0.tally.add(tally)
      $0.elapsed = max($0.elapsed, last - start)
      $0.faults.merge(faults, uniquingKeysWith: +)
    }
  }

  private static var now: UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }

  private static func sleep(until due: UInt64) {
    guard due > now else { return }
    var time = timespec(tv_sec: Int(due / 1_000_000_000), tv_nsec: Int(due % 1_000_000_000))
    while clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nil) == EINTR {}
  }

  /// One connection, used by one thread.
  private final class Connection {
    // libldap makes its TLS contexts under no lock of its own.
    private static let making = Mutex(())
    private let handle: OpaquePointer

    /// Nil where the directory does not answer an anonymous bind.
    init?(_ settings: Settings) {
      let made: OpaquePointer? = Connection.making.withLock { _ in
        var handle: OpaquePointer?
        guard ldap_initialize(&handle, settings.uri) == LDAP_SUCCESS, let handle else { return nil }
        var version: Int32 = 3
        ldap_set_option(handle, LDAP_OPT_PROTOCOL_VERSION, &version)
        if let file = settings.authorityFile {
          ldap_set_option(handle, LDAP_OPT_X_TLS_CACERTFILE, file)
          var server: Int32 = 0
          ldap_set_option(handle, LDAP_OPT_X_TLS_NEWCTX, &server)
        }
        var empty = berval()
        guard ldap_sasl_bind_s(handle, "", nil, &empty, nil, nil, nil) == LDAP_SUCCESS else {
          ldap_unbind_ext_s(handle, nil, nil)
          return nil
        }
        return handle
      }
      guard let made else { return nil }
      handle = made
    }

    deinit { ldap_unbind_ext_s(handle, nil, nil) }

    func bind(_ name: String, _ password: String) -> Int32 {
      var password = password
      return password.withUTF8 { bytes in
        bytes.withMemoryRebound(to: CChar.self) { characters in
          var credential = berval(bv_len: ber_len_t(characters.count), bv_val: UnsafeMutablePointer(mutating: characters.baseAddress))
          return ldap_sasl_bind_s(handle, name, nil, &credential, nil, nil, nil)
        }
      }
    }
  }
}
