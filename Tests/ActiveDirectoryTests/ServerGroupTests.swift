import Foundation
import GatehouseTesting
import Testing

@testable import ActiveDirectory

@Suite("The choice among directory servers")
struct ServerGroupTests {
  private let start = ContinuousClock.now

  private func at(_ seconds: Double) -> ServerHealth.Moment { start.advanced(by: .seconds(seconds)) }

  private func candidates(_ names: String...) -> [ServerGroup.Candidate] {
    names.map { ServerGroup.Candidate(server: DirectoryServer(host: $0), tier: 0) }
  }

  private func serve(_ group: inout ServerGroup, _ host: String, at moment: Double, taking milliseconds: Double) {
    let server = DirectoryServer(host: host)
    let ticket = group.begin(server, .search, now: at(moment))
    group.asked(server, ticket, now: at(moment))
    _ = group.answered(server, ticket, now: at(moment + milliseconds / 1000))
  }

  private func fail(_ group: inout ServerGroup, _ host: String, at moment: Double) {
    let server = DirectoryServer(host: host)
    let ticket = group.begin(server, .search, now: at(moment))
    _ = group.failed(server, ticket, nobodyThere: true, words: "refused", now: at(moment))
  }

  /// Questions that come by chance, `rate` in a second, at servers that take `time(server, now)` milliseconds; how many each got, and the times of all.
  private func simulate(
    _ group: inout ServerGroup, _ candidates: [ServerGroup.Candidate], rate: Double, from: Double, to: Double, seed: UInt64,
    time: (String, Double) -> Double
  ) -> (shares: [String: Int], times: [(server: String, began: Double, took: Double)]) {
    var generator = SeededGenerator(seed: seed)
    var now = from
    var ends: [(at: Double, server: DirectoryServer, ticket: ServerHealth.Ticket)] = []
    var shares: [String: Int] = [:]
    var times: [(server: String, began: Double, took: Double)] = []
    while now < to {
      now += -log(Double.random(in: 0.000001..<1, using: &generator)) / rate
      for end in ends.filter({ $0.at <= now }).sorted(by: { $0.at < $1.at }) { _ = group.answered(end.server, end.ticket, now: at(end.at)) }
      ends.removeAll { $0.at <= now }
      for server in group.care(candidates, now: at(now)).probes {
        let took = time(server.host, now)
        if took > 1000 {
          group.probeFailed(server, words: "late", now: at(now + 1))
        } else {
          _ = group.probeAnswered(server, took: .milliseconds(Int64(took)), among: candidates, now: at(now))
        }
      }
      guard let server = group.order(candidates, for: .search, now: at(now), using: &generator).servers.first else { continue }
      let took = time(server.host, now) * Double.random(in: 0.8...1.2, using: &generator)
      let ticket = group.begin(server, .search, now: at(now))
      group.asked(server, ticket, now: at(now))
      ends.append((now + took / 1000, server, ticket))
      shares[server.host, default: 0] += 1
      times.append((server.host, now, took))
    }
    return (shares, times)
  }

  @Test("Each server is asked once before anything is known, in the order of the list")
  func firstTime() {
    var group = ServerGroup()
    var generator = SeededGenerator(seed: 1)
    var asked: [String] = []
    for number in 0..<3 {
      guard let first = group.order(candidates("a", "b", "c"), for: .search, now: at(Double(number)), using: &generator).servers.first else { break }
      asked.append(first.host)
      serve(&group, first.host, at: Double(number), taking: 5)
    }
    #expect(asked == ["a", "b", "c"])
  }

  @Test("Equal servers share the load equally, at any load", arguments: [20.0, 500, 2000])
  func equal(rate: Double) {
    var group = ServerGroup()
    let (shares, times) = simulate(&group, candidates("a", "b", "c"), rate: rate, from: 0, to: 6000 / rate, seed: 3) { _, _ in 5 }
    for share in shares.values { #expect((0.9...1.1).contains(Double(share) * 3 / Double(times.count)), "\(shares)") }
  }

  @Test("A far one gets little as long as a near one has room, and its part when it has not")
  func far() {
    var group = ServerGroup()
    let calm = simulate(&group, candidates("near", "far"), rate: 50, from: 0, to: 60, seed: 4) { host, _ in host == "near" ? 2 : 40 }
    #expect(Double(calm.shares["far"] ?? 0) < 0.05 * Double(calm.times.count), "\(calm.shares)")
  }

  @Test(
    "One of three that begins to take three seconds, or thirty, is out of use within ten, few wait for it, and it is back within ten of its recovery",
    arguments: [3000.0, 30_000])
  func slowServer(slow: Double) {
    var group = ServerGroup()
    let all = candidates("a", "b", "c")
    let (_, times) = simulate(&group, all, rate: 200, from: 0, to: 60, seed: 5) { host, now in host == "b" && (10..<40).contains(now) ? slow : 5 }
    let caught = times.filter { $0.server == "b" && (10..<40).contains($0.began) }
    #expect(caught.count < 20, "of 6,000 questions, \(caught.count) had to wait")
    #expect(caught.allSatisfy { $0.began < 20 }, "after ten seconds nobody goes there")
    let after = times.filter { $0.began > 50 }
    let share = Double(after.count { $0.server == "b" }) / Double(after.count)
    #expect((0.25...0.42).contains(share), "back in use: \(share)")
  }

  @Test("With two of three slow the third one carries all; with all slow alike, all are asked")
  func mostSlow() {
    var group = ServerGroup()
    let all = candidates("a", "b", "c")
    let two = simulate(&group, all, rate: 100, from: 0, to: 40, seed: 6) { host, now in host != "c" && now > 10 ? 3000 : 5 }
    #expect(two.times.count { $0.took > 1000 } < 20)
    var other = ServerGroup()
    let slow = simulate(&other, all, rate: 2, from: 0, to: 300, seed: 7) { _, _ in 3000 }
    for share in slow.shares.values { #expect(Double(share) > 0.2 * Double(slow.times.count), "\(slow.shares)") }
  }

  @Test("The site's servers go first, then lower priorities; the next tier comes where none of the former is in use")
  func tiers() {
    var group = ServerGroup()
    var generator = SeededGenerator(seed: 8)
    let records = ServerLocator.ranked([
      [ServiceRecord(priority: 0, weight: 100, port: 389, target: "site1"), ServiceRecord(priority: 10, weight: 100, port: 389, target: "site2")],
      [ServiceRecord(priority: 0, weight: 100, port: 389, target: "away"), ServiceRecord(priority: 0, weight: 100, port: 389, target: "site1")],
    ])
    func first(_ moment: Double) -> [String] {
      group.order(records, for: .search, now: at(moment), using: &generator).servers.map(\.host)
    }
    #expect(first(0) == ["site1", "site2", "away"])
    for _ in 0..<50 { serve(&group, "site1", at: 0, taking: 50) }
    #expect(first(1) == ["site1", "site2", "away"], "though nothing is known of the others")
    fail(&group, "site1", at: 2)
    #expect(first(2) == ["site2", "away"])
    fail(&group, "site2", at: 2)
    #expect(first(2) == ["away"])
    #expect(first(2.6) == ["away", "site1", "site2"], "the last resort, half a second later")
    fail(&group, "away", at: 2.6)
    #expect(first(2.7) == ["site1", "site2"])
  }

  @Test("Weights spread the load as RFC 2782 says, and weight 0 is hardly ever, not never")
  func weights() {
    var group = ServerGroup()
    let records = ServerLocator.ranked([
      [("heavy", UInt16(30)), ("light", 10), ("none", 0)].map { ServiceRecord(priority: 0, weight: $0.1, port: 389, target: $0.0) }
    ])
    let (shares, times) = simulate(&group, records, rate: 20, from: 0, to: 1000, seed: 9) { _, _ in 5 }
    let part = { (host: String) in Double(shares[host] ?? 0) / Double(times.count) }
    #expect((0.68...0.82).contains(part("heavy")), "\(shares)")
    #expect((0.18...0.32).contains(part("light")), "\(shares)")
    #expect((0.0001...0.02).contains(part("none")), "\(shares)")
  }

  @Test("A bind goes where the person was found, unless that server is out of use or crowded")
  func preferred() {
    var group = ServerGroup()
    var generator = SeededGenerator(seed: 10)
    let all = candidates("a", "b")
    let server = DirectoryServer(host: "b")
    for host in ["a", "b"] { serve(&group, host, at: 0, taking: 5) }
    for number in 0..<50 {
      let order = group.order(all, for: .bind, preferring: server, now: at(Double(number) / 100), using: &generator).servers.first
      #expect(order == server)
    }
    let waiting = group.begin(server, .bind, now: at(1))
    let chosen = (0..<50).map { _ in group.order(all, for: .bind, preferring: server, now: at(1), using: &generator).servers.first }
    #expect(chosen.contains(DirectoryServer(host: "a")), "somebody waits there already")
    group.released(server, waiting)
    fail(&group, "b", at: 1)
    let order = group.order(all, for: .bind, preferring: server, now: at(1.1), using: &generator).servers.map(\.host)
    #expect(order == ["a"])
  }

  @Test("Without anybody who probes, one question does it two seconds after the rest")
  func lazyProbe() {
    var group = ServerGroup()
    var generator = SeededGenerator(seed: 11)
    let all = candidates("a", "b")
    serve(&group, "b", at: 0, taking: 5)
    fail(&group, "a", at: 0)
    func order(_ moment: Double) -> [String] { group.order(all, for: .search, now: at(moment), using: &generator).servers.map(\.host) }
    #expect(order(6.9) == ["b", "a"])
    #expect(order(7.1) == ["a", "b"], "the probe")
    #expect(order(7.2).first == "b", "one only")
    serve(&group, "a", at: 7.3, taking: 5)
    #expect(group.health[DirectoryServer(host: "a")]?.state == .closed)
  }

  @Test("Servers that DNS has forgotten are forgotten")
  func bounded() {
    var group = ServerGroup()
    for number in 0..<1000 {
      _ = group.care(candidates("dc\(number)"), now: at(Double(number)))
      serve(&group, "dc\(number)", at: Double(number), taking: 1)
    }
    #expect(group.health.count <= ServerGroup.mostRemembered + 1)
  }
}
