import Foundation
import Testing

@Suite("Clients that hold connections and hardly ask")
struct SlowClientScenario {
  @Test("are ended at the time limits, whatever they drip; honest sign-ins go on meanwhile, and nothing of them stays")
  func slowClients() async throws {
    let (read, idle) = RunLength.of((2, 3), long: (10, 30))
    let limits = "limits: {readTimeout: \(read)s, idleTimeout: \(idle)s, connections: \(RunLength.of(1000, long: 8000))}"
    try await House.with("slow-clients", options: .init(extra: limits)) { house in
      let people = try await house.people("patient", 4)
      let gateway = try #require(house.gateway.process)
      for person in people { #expect(try await house.frontEnd.signIn(person.name, person.password).gist == "200 accepted") }
      let before = try ProcessFigures(of: gateway)
      let tally = Tally()
      let count = RunLength.of(360, long: 6000)
      var held = 0
      var lives: [SlowClients.Kind: [Duration]] = [:]
      try await SignInLoad.run(house.frontEnd, realm: house.realm, people: people, clients: 4, tally: tally) {
        for _ in 0..<RunLength.of(1, long: 3) {
          let slow = try await SlowClients.start(count, port: house.gateway.publicPort)
          #expect(slow.failed == 0)
          held = max(held, slow.open)
          let ended = await eventually(within: .seconds(idle + read + RunLength.of(10, long: 60))) { slow.open == 0 }
          #expect(ended, "\(slow.open) of \(count) are open still")
          for kind in SlowClients.Kind.allCases { lives[kind, default: []] += slow.lives(kind) }
          await slow.stop()
        }
      }
      for kind in SlowClients.Kind.allCases {
        let longest = try #require(lives[kind]?.max())
        // With some time of grace: here the clients need the same processors.
        #expect(longest < .seconds((kind == .kept ? idle : max(read, idle)) + RunLength.of(5, long: 20)), "\(kind): \(longest)")
        #expect(lives[kind]?.count == count / SlowClients.Kind.allCases.count * RunLength.of(1, long: 3), "\(kind)")
      }
      // A head or body that drips is cut off however steadily it does.
      for kind in [SlowClients.Kind.head, .body] { #expect(try #require(lives[kind]?.max()) < .seconds(read + RunLength.of(5, long: 20))) }
      #expect(held > count / 4)
      #expect(tally.wrong == [])
      #expect(tally.failed == [])
      #expect(tally.unanswered == 0)
      #expect(tally.right > 20)
      let back = try await eventually(within: .seconds(5)) { try ProcessFigures(of: gateway).descriptors <= before.descriptors + 8 }
      let after = try ProcessFigures(of: gateway)
      #expect(back, "\(before.descriptors) descriptors before, \(after.descriptors) after")
      #expect(after.resident < ProcessFigures.mostResident)
      print(
        "slow clients: \(held) of \(count) at once; honest: \(tally.right) accepted, \(tally.refused) refused, the slowest \(tally.longest); lives "
          + "\(SlowClients.Kind.allCases.map { "\($0) \(lives[$0]?.max() ?? .zero)" }.joined(separator: ", ")); \(after.resident >> 20) MB")
    }
  }
}

@Suite("Hardly any file descriptors")
struct DescriptorScenario {
  @Test("More connections than there are descriptors for end nothing: the gateway does not spin, who is in is served, and then everybody is again")
  func exhausted() async throws {
    let options = GatewayProcess.Options(
      extra: "limits: {readTimeout: 60s, idleTimeout: 60s}", launcher: ["/usr/bin/prlimit", "--nofile=256:256", "--"])
    try await House.with("descriptors", options: options) { house in
      let people = try await house.people("narrow", 4)
      let gateway = try #require(house.gateway.process)
      #expect(gateway.logText.contains("fewer connections than limits.connections are let in"))
      // The connections that it will keep.
      let front = try FrontEndClient(url: house.gateway.url, authority: house.gateway.publicAuthority, key: house.frontEnd.key, connections: 4)
      let warm = Tally()
      try await SignInLoad.run(front, realm: house.realm, people: people, clients: 4, tally: warm) { try await Task.sleep(for: .seconds(1)) }
      #expect(warm.wrong == [] && warm.failed == [] && warm.right > 4)

      for round in 0..<RunLength.of(1, long: 20) {
        // From one address after the other, silent and shaking hands, at both doors, and several times as many as there is room for.
        let crowds = [
          try await SlowClients.start(500, kinds: [.silent, .handshake], port: house.gateway.publicPort, perAddress: 100),
          try await SlowClients.start(200, kinds: [.silent], port: house.gateway.mutualPort, perAddress: 100),
        ]
        let (full, idle, began) = (try ProcessFigures(of: gateway), try ProcessFigures(of: gateway).processorTime, ContinuousClock.now)
        #expect(full.descriptors > 100 && full.descriptors < 256)
        // Nothing to do, and more who want in than it can let in: a server that only tried again would use a processor up.
        try await Task.sleep(for: .seconds(3))
        let used = (try ProcessFigures(of: gateway).processorTime - idle) / began.duration(to: .now)
        #expect(used < 0.5, "it uses \(used) of a processor for nothing")

        let tally = Tally()
        try await SignInLoad.run(front, realm: house.realm, people: people, clients: 4, tally: tally) {
          try await Task.sleep(for: .seconds(2))
          #expect(await house.gateway.readiness() == 200, "health has descriptors of its own")
          #expect(try await house.told(house.agents[0])?.connected == true)
        }
        #expect(tally.wrong == [])
        #expect(tally.failed == [])
        #expect(tally.unanswered == 0)
        #expect(tally.right > 10)

        for crowd in crowds { await crowd.stop() }
        let fresh = try FrontEndClient(url: house.gateway.url, authority: house.gateway.publicAuthority, key: house.frontEnd.key, connections: 1)
        let well = await eventually(within: .seconds(5)) { (try? await fresh.signIn(people[0].name, people[0].password))?.gist == "200 accepted" }
        #expect(well, "round \(round): somebody new is not let in though there is room again")
        #expect(gateway.isRunning, "it ended with \(gateway.exitStatus.map(String.init) ?? "-")")
        if round == 0 {
          print(
            "hardly any descriptors: \(full.descriptors) of 256 in use, \(used) of a processor while idle; \(tally.right) accepted, "
              + "\(tally.refused) refused meanwhile")
        }
      }
    }
  }

  @Test("Too few descriptors for a gateway are told at the start, with what to do")
  func tooFew() async throws {
    let gateway = try await GatewayProcess(scenario: "descriptors-few", options: .init(launcher: ["/usr/bin/prlimit", "--nofile=200:200", "--"]))
    do {
      try await gateway.start()
      Issue.record("it started")
    } catch {
      #expect("\(error)".contains("only 200 files and connections") && "\(error)".contains("LimitNOFILE="))
    }
    #expect(gateway.process?.exitStatus == 1)
    await gateway.remove()
  }
}
