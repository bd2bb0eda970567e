import Foundation
import Testing

/// Three domain controllers: three fault proxies before one Samba, each with a health, a breaker and connections of its own.
struct ThreeControllers: Sendable {
  let house: House
  let agent: AgentProcess
  let proxies: [FaultProxy]
  let person: (name: String, password: String)

  static let isLong = RunLength.isLong

  static func with(_ scenario: String, _ body: (ThreeControllers) async throws -> Void) async throws {
    try await House.with(scenario, agents: []) { house in
      var proxies: [FaultProxy] = []
      for number in 0..<3 { proxies.append(try await FaultProxy.start(to: house.domain["AD_IP"], port: 636, seed: UInt64(number) + 1)) }
      do {
        let servers = proxies.map { "'\(house.domain["AD_HOST"]):\($0.port)@127.0.0.1'" }.joined(separator: ", ")
        let agent = try AgentProcess(name: "one", scenario: scenario, domain: house.domain, directory: ["servers: [\(servers)]"])
        try await house.move(in: agent)
        let people = try await house.people(scenario, 1)
        let three = ThreeControllers(house: house, agent: agent, proxies: proxies, person: try #require(people.first))
        #expect(try await three.areHealthy([0, 1, 2]))
        // Until each has been asked, so that there is something to compare with.
        for _ in 0..<12 { _ = try await three.signIn() }
        try await body(three)
      } catch {
        for proxy in proxies { await proxy.stop() }
        throw error
      }
      for proxy in proxies { await proxy.stop() }
    }
  }

  func signIn() async throws -> FrontEndClient.Answer { try await house.frontEnd.signIn(person.name, person.password) }

  /// Counts what came of `count` right passwords, one after the other; with the traces of those that nobody could judge.
  func tally(_ count: Int) async throws -> (accepted: Int, unknown: Int, wrong: [String], traces: [[String]]) {
    var result = (accepted: 0, unknown: 0, wrong: [String](), traces: [[String]]())
    for _ in 0..<count {
      let answer = try await signIn()
      switch answer.gist {
      case "200 accepted": result.accepted += 1
      case "503 could_not_find_out" where answer.field("retry-after") != nil:
        result.unknown += 1
        result.traces.append(try await house.trace(answer.reference).steps)
      default: result.wrong.append(answer.gist)
      }
    }
    return result
  }

  func states() async throws -> [String] {
    let weather = try await house.admin.json([Told.Weather].self, "status", "--dcs")
    let servers = weather.first { $0.agent == agent.name }?.servers ?? []
    return proxies.map { proxy in servers.first { $0.server.hasSuffix(":\(proxy.port)") }?.state ?? "-" }
  }

  /// That the gateway comes to see these as healthy, and all others as not.
  func areHealthy(_ numbers: [Int]) async throws -> Bool {
    try await eventually(within: .seconds(30), every: .milliseconds(250)) {
      let states = try await states()
      return states.indices.allSatisfy { (states[$0] == "healthy") == numbers.contains($0) && states[$0] != "-" }
    }
  }

  /// Open descriptors and threads of the agent.
  func resources() throws -> (descriptors: Int, threads: Int) {
    let pid = try #require(agent.process?.pid)
    return (
      try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count,
      try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task").count
    )
  }

  /// Of the person, in the directory's own database.
  func badPasswordCount() async throws -> Int {
    Int(try await SambaDomain.standard.attribute("badPwdCount", of: person.name) ?? "0") ?? 0
  }
}

@Suite("Domain controllers that die, hang, crawl and come back", .serialized)
struct DomainControllerFaultTests {
  @Test("One of three in trouble: the others answer, nobody is refused, and it is in use again when it has recovered")
  func oneInTrouble() async throws {
    try await ThreeControllers.with("dc-trouble") { three in
      let proxy = three.proxies[0]
      let faults: [FaultProxy.Fault] = [
        .refuse, .delay(.seconds(3), only: .toClient), .hang, .unanswered, .delay(.seconds(30), only: .toClient), .blackHole(.toServer),
        .truncate(afterBytes: 3000), .reset(afterBytes: 3000),
      ]
      for fault in ThreeControllers.isLong ? faults + faults + faults : Array(faults.prefix(4)) {
        try await proxy.set(fault)
        // Whom it catches in the middle of a bind waits or is told 503: at most a few, until the breaker knows.
        let during = try await three.tally(20)
        #expect(during.wrong.isEmpty && during.unknown <= 5, "\(fault): \(during)")
        #expect(try await three.areHealthy([1, 2]), "\(fault)")
        let after = try await three.tally(20)
        #expect(after.accepted == 20, "\(fault): nobody goes there any more: \(after)")
        let status = try await three.house.status()
        #expect(status.alarms.contains { $0.code == "no-directory-server" && $0.subject.hasSuffix(":\(proxy.port)") }, "\(fault): \(status.alarms)")
        try await proxy.set(.none)
        #expect(try await three.areHealthy([0, 1, 2]), "\(fault): back in use")
        let before = proxy.counts.bytesToServer
        #expect(
          try await eventually(within: .seconds(20)) {
            _ = try await three.signIn()
            return proxy.counts.bytesToServer > before + 2000
          }, "\(fault): asked again")
      }
      let table = try await three.house.admin("status", "--dcs")
      #expect(table.contains("SERVER") && table.contains("healthy") && table.contains(":\(proxy.port)"), "\(table)")
      #expect(try await three.badPasswordCount() == 0)
    }
  }

  @Test("Two of three in trouble: the third answers all; all three: 503 with Retry-After, no bad password is counted, and it ends with the fault")
  func severalInTrouble() async throws {
    try await ThreeControllers.with("dc-several") { three in
      try await three.proxies[0].set(.refuse)
      try await three.proxies[1].set(.hang)
      let during = try await three.tally(20)
      #expect(during.wrong.isEmpty && during.unknown <= 5, "\(during)")
      #expect(try await three.areHealthy([2]))
      let after = try await three.tally(20)
      #expect(after.accepted == 20, "\(after)")
      try await three.proxies[2].set(.unanswered)
      let none = try await three.tally(10)
      #expect(none.accepted == 0 && none.unknown == 10, "\(none)")
      for _ in 0..<5 {
        let answer = try await three.house.frontEnd.signIn(three.person.name, "Wrong.Password.1")
        #expect(answer.gist == "503 could_not_find_out" && answer.field("retry-after") != nil, "\(answer)")
      }
      #expect(try await three.house.user(three.person.name).failures == 0)
      #expect(try await three.badPasswordCount() == 0)
      for proxy in three.proxies { try await proxy.set(.none) }
      #expect(try await eventually(within: .seconds(20)) { try await three.signIn().gist == "200 accepted" })
      #expect(try await three.areHealthy([0, 1, 2]))
      #expect(try await three.badPasswordCount() == 0)
    }
  }

  @Test("Inverted bits, tiny segments and cut connections end streams, not the agent: no wrong yes, no wrong no, and the others go on")
  func garbled() async throws {
    try await ThreeControllers.with("dc-garbled") { three in
      let tally = Tally()
      let rounds = ThreeControllers.isLong ? 20 : 2
      try await SignInLoad.run(three.house.frontEnd, realm: three.house.realm, people: [three.person], clients: 4, tally: tally) {
        for round in 0..<rounds {
          for (proxy, fault) in zip(
            three.proxies, [FaultProxy.Fault.flip(probability: 0.004), .slice(bytes: 1 + round % 7), .truncate(afterBytes: 2000 + 500 * round)])
          {
            try await proxy.set(fault)
            try await Task.sleep(for: .seconds(2))
            proxy.resetConnections()
            try await proxy.set(.none)
          }
        }
      }
      #expect(tally.wrong.isEmpty && tally.failed.isEmpty, "\(tally.wrong) \(tally.failed)")
      #expect(tally.right > 20)
      #expect(three.agent.process?.isRunning == true)
      #expect(try await three.areHealthy([0, 1, 2]))
      #expect(try await three.badPasswordCount() == 0)
    }
  }

  @Test("Many faults leave no descriptor and no thread behind")
  func nothingGathers() async throws {
    try await ThreeControllers.with("dc-resources") { three in
      let tally = Tally()
      let rounds = ThreeControllers.isLong ? 40 : 5
      var seen: [(descriptors: Int, threads: Int)] = []
      try await SignInLoad.run(three.house.frontEnd, realm: three.house.realm, people: [three.person], clients: 8, tally: tally) {
        for round in 0..<rounds {
          for (number, fault) in [FaultProxy.Fault.hang, .unanswered, .reset(afterBytes: 500), .delay(.seconds(2))].enumerated() {
            let proxy = three.proxies[(round + number) % 3]
            try await proxy.set(fault)
            try await Task.sleep(for: .milliseconds(700))
            try await proxy.set(.none)
          }
        }
      }
      #expect(try await three.areHealthy([0, 1, 2]))
      seen.append(try three.resources())
      // Each server's connections are bounded (4 + 8, and a probe), one thread and one descriptor each; the rest of the agent has some forty.
      #expect(seen.allSatisfy { $0.descriptors < 3 * 13 + 60 && $0.threads < 3 * 13 + 40 }, "\(seen)")
      #expect(tally.wrong.isEmpty, "\(tally.wrong)")
      // Told for the record of a run: how it came out is in the counts above.
      print("after \(rounds * 4) faults: \(seen), right \(tally.right), 503 \(tally.unanswered)")
    }
  }
}

@Suite("Domain controllers by DNS")
struct DomainControllerDNSTests {
  @Test("Found by SRV records; a wrong host is stopped by its certificate; a silent DNS is not felt, nor is one that was silent from the start")
  func serviceRecords() async throws {
    try await House.with("dc-dns", agents: []) { house in
      let (domain, controller) = (house.domain["AD_DOMAIN"], house.domain["AD_HOST"].lowercased())
      let impostor = "impostor.\(domain)"
      let dns = try await ScriptedDNSServer.start(
        ScriptedDNSServer.Zone(
          addresses: [controller: house.domain["AD_IP"], impostor: house.domain["AD_IP"]],
          services: [
            "_ldap._tcp.zurich._sites.dc._msdcs.\(domain)": [.init(target: impostor)],
            "_ldap._tcp.dc._msdcs.\(domain)": [.init(target: impostor), .init(target: controller)],
          ]))
      let resolver = try dns.resolver(in: house.gateway.folder)
      let found = try AgentProcess(
        name: "found", scenario: house.scenario, domain: house.domain, directory: ["srvDomain: \(domain)", "site: zurich"], resolver: resolver)
      try await house.move(in: found)
      let person = try #require(try await house.people("dc-dns", 1).first)
      for _ in 0..<5 { #expect(try await house.frontEnd.signIn(person.name, person.password).gist == "200 accepted") }
      #expect(dns.questions.contains("_ldap._tcp.zurich._sites.dc._msdcs.\(domain)") && dns.questions.contains(controller))
      #expect(
        try await eventually(within: .seconds(10)) {
          try await house.status().alarms.contains { $0.code == "directory-certificate" && $0.subject == impostor }
        }, "the site's server has another name in its certificate")
      dns.change { $0.isSilent = true }
      // In --long over the minute for which an answer is fresh.
      for _ in 0..<(ThreeControllers.isLong ? 20 : 1) {
        for _ in 0..<5 { #expect(try await house.frontEnd.signIn(person.name, person.password).gist == "200 accepted") }
        if ThreeControllers.isLong { try await Task.sleep(for: .seconds(5)) }
      }
      await found.stop()
      let fallen = try AgentProcess(
        name: "fallen", scenario: house.scenario, domain: house.domain,
        directory: ["srvDomain: \(domain)", "fallbackServers: ['\(controller)@\(house.domain["AD_IP"])']"], resolver: resolver)
      try await house.move(in: fallen)
      #expect(try await house.frontEnd.signIn(person.name, person.password).gist == "200 accepted")
      await dns.stop()
    }
  }
}
