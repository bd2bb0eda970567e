import Foundation
import Identity
import NIOPosix
import Synchronization
import Testing

@testable import ActiveDirectory

@Suite("Names, while DNS lives and after")
struct NameResolutionTests {
  /// A DNS that answers what it is told to, and a clock that is moved by hand.
  private final class Scripted: Sendable {
    private let state = Mutex((answer: [ServiceRecord](), asked: 0, blocked: false, now: ContinuousClock.now))

    var asked: Int { state.withLock { $0.asked } }
    var now: ContinuousClock.Instant { state.withLock { $0.now } }
    func answer(_ hosts: String...) {
      state.withLock { $0.answer = hosts.map { ServiceRecord(priority: 0, weight: 1, port: 389, target: $0) } }
    }
    func hang(_ blocked: Bool) { state.withLock { $0.blocked = blocked } }
    func pass(_ time: Duration) { state.withLock { $0.now = $0.now.advanced(by: time) } }

    func lookUp() -> [ServiceRecord] {
      state.withLock { $0.asked += 1 }
      while state.withLock({ $0.blocked }) { usleep(5_000) }
      return state.withLock { $0.answer }
    }

    func resolution() -> NameResolution {
      NameResolution(aside: BlockingWork(timers: MultiThreadedEventLoopGroup.singleton.any()), services: { _ in self.lookUp() }, now: { self.now })
    }
  }

  private func hosts(_ names: NameResolution, within limit: Duration = .seconds(5)) async -> [String] {
    await names.services("_ldap._tcp.test", deadline: Deadline(after: limit)).map(\.target)
  }

  private func until(_ condition: () async -> Bool) async -> Bool {
    for _ in 0..<1000 {
      if await condition() { return true }
      try? await Task.sleep(for: .milliseconds(5))
    }
    return false
  }

  @Test("An answer is used for a minute without asking; then it is used still, while DNS is asked in the background")
  func refresh() async {
    let dns = Scripted()
    let names = dns.resolution()
    dns.answer("dc1")
    #expect(await hosts(names) == ["dc1"])
    dns.answer("dc2")
    dns.pass(.seconds(59))
    #expect(await hosts(names) == ["dc1"])
    #expect(dns.asked == 1)
    dns.pass(.seconds(2))
    #expect(await hosts(names) == ["dc1"], "nobody waits for the newer answer")
    #expect(await until { await hosts(names) == ["dc2"] })
    #expect(dns.asked == 2)
  }

  @Test("With DNS dead, failing or silent, the last answer is used for ten minutes and nobody waits", arguments: [true, false])
  func dead(silent: Bool) async {
    let dns = Scripted()
    let names = dns.resolution()
    dns.answer("dc1")
    #expect(await hosts(names) == ["dc1"])
    if silent { dns.hang(true) } else { dns.answer() }
    for _ in 0..<9 {
      dns.pass(.seconds(61))
      #expect(await hosts(names, within: .milliseconds(0)) == ["dc1"])
    }
    dns.pass(.seconds(120))
    #expect(await hosts(names, within: .milliseconds(50)) == [], "older than ten minutes")
    dns.answer("dc9")
    dns.hang(false)
    dns.pass(.seconds(2))
    #expect(await until { await hosts(names) == ["dc9"] })
  }

  @Test("However many want to know, DNS is asked once, and a silent DNS holds them until their deadline only")
  func together() async {
    let dns = Scripted()
    let names = dns.resolution()
    dns.hang(true)
    dns.answer("dc1")
    await withTaskGroup(of: [String].self) { group in
      for _ in 0..<200 { group.addTask { await hosts(names, within: .milliseconds(100)) } }
      for await found in group { #expect(found == []) }
    }
    #expect(dns.asked == 1)
    dns.hang(false)
    #expect(await until { await hosts(names) == ["dc1"] })
    #expect(dns.asked == 1, "the late answer counts")
  }
}
