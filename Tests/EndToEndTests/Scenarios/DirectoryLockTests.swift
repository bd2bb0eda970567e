import Foundation
import Testing

/// What the directory has counted of a person, at each of its domain controllers.
private struct Count: Equatable, CustomStringConvertible {
  var wrong: Int
  var isLocked: Bool
  var description: String { "\(wrong)\(isLocked ? " locked" : "")" }
}

@Suite("The directory's own lock", .serialized)
struct DirectoryLockScenario {
  /// The domain's: five wrong passwords lock, so that at most three may stand in it through us, and four for somebody at an address of theirs.
  private static let mostTries = 3
  private static let home = "192.0.2.10"

  @Test("A hundred wrong tries in five spellings over two agents and two domain controllers that do not forward them lock nobody")
  func neverLocked() async throws {
    try await House.with("directory-lock", in: .locking, agents: []) { house in
      let people = try await house.people("kept", 4)
      // Before the second controller is made: it gets what the first one has.
      let second = try await SambaDomain.locking.second()
      let servers = [house.domain["AD_IP"], second["AD_IP"]]
      for (name, order) in [("one", servers), ("two", servers.reversed())] {
        try await house.move(
          in: AgentProcess(
            name: name, scenario: "directory-lock", domain: house.domain, directory: ["servers: ['\(order.joined(separator: "', '"))']"]))
      }
      let controllers = [house.domain, second]
      try await house.waitForDirectoryLockout()
      try await storms(house, people, controllers)
      try await othersGuesses(house, people[2], controllers)
      try await familiarGuesses(house, people[3], controllers)
      for counts in try await dump("kept*", controllers) { #expect(counts.allSatisfy { !$0.value.isLocked }, "\(counts)") }
    }
  }

  private func spellings(_ name: String, _ house: House) -> [String] {
    [
      name, name.uppercased(), "\(name)@\(house.realm)", "\(name.uppercased())@\(house.realm.uppercased())",
      "\(house.domain["AD_NETBIOS"])\\\(name)",
    ]
  }

  /// Every person of a name, as an independent tool finds them in each controller's database.
  private func dump(_ name: String, _ controllers: [SambaDomain.Settings]) async throws -> [[String: Count]] {
    var result: [[String: Count]] = []
    for controller in controllers {
      let output = try await LeashedProcess.run(
        "/usr/bin/ldbsearch", ["-H", controller["AD_SAM"], "(sAMAccountName=\(name))", "sAMAccountName", "badPwdCount", "lockoutTime"])
      var people: [String: Count] = [:]
      for record in output.split(separator: "# record ") {
        func value(_ attribute: String) -> String? {
          record.split(separator: "\n").first { $0.hasPrefix("\(attribute): ") }.map { String($0.dropFirst(attribute.count + 2)) }
        }
        guard let name = value("sAMAccountName") else { continue }
        people[name] = Count(wrong: Int(value("badPwdCount") ?? "0") ?? 0, isLocked: (value("lockoutTime") ?? "0") != "0")
      }
      result.append(people)
    }
    return result
  }

  private func storms(_ house: House, _ people: [(name: String, password: String)], _ controllers: [SambaDomain.Settings]) async throws {
    for (person, isParallel) in [(people[0], false), (people[1], true)] {
      #expect(try await house.frontEnd.signIn(person.name, person.password, from: DirectoryLockScenario.home).gist == "200 accepted")
      let names = spellings(person.name, house)
      let frontEnd = house.frontEnd
      @Sendable func attempt(_ guess: Int) async throws -> String {
        try await frontEnd.signIn(names[guess % names.count], "guess \(guess)", from: "198.51.100.\(guess % 3 + 1)").gist
      }
      var gists: [String: Int] = [:]
      if isParallel {
        gists = try await withThrowingTaskGroup(of: String.self) { group in
          for guess in 0..<100 { group.addTask { try await attempt(guess) } }
          return try await group.reduce(into: [:]) { $0[$1, default: 0] += 1 }
        }
      } else {
        for guess in 0..<100 { gists[try await attempt(guess), default: 0] += 1 }
      }
      #expect(gists["200 accepted"] == nil && !gists.isEmpty, "\(gists)")
      for counts in try await dump(person.name, controllers) {
        let count = try #require(counts[person.name])
        #expect(count.wrong <= DirectoryLockScenario.mostTries && !count.isLocked, "\(isParallel ? "parallel" : "serial"): \(counts)")
      }
      #expect(try await house.frontEnd.signIn(person.name, person.password, from: "198.51.100.9").gist == "200 temporarily_locked")
      #expect(try await house.frontEnd.signIn(names[4], person.password, from: DirectoryLockScenario.home).gist == "200 accepted")
    }
  }

  /// Wrong passwords that other programs bring to the directory leave us less, down to nothing.
  private func othersGuesses(_ house: House, _ person: (name: String, password: String), _ controllers: [SambaDomain.Settings]) async throws {
    #expect(try await house.frontEnd.signIn(person.name, person.password, from: DirectoryLockScenario.home).gist == "200 accepted")
    for controller in controllers {
      for guess in 0..<DirectoryLockScenario.mostTries {
        _ = try? await LeashedProcess.run(
          "/usr/bin/env",
          [
            "LDAPTLS_CACERT=\(controller["AD_CA"])", "ldapwhoami", "-x", "-H", "ldaps://\(controller["AD_IP"])", "-D",
            "CN=\(person.name),CN=Users,\(controller["AD_BASE"])", "-w", "other \(guess)",
          ])
      }
    }
    let before = try await dump(person.name, controllers)
    #expect(before.compactMap { $0[person.name]?.wrong } == [3, 3])
    // A stranger hears the same for the right password, for a wrong one, and for a name that nobody has.
    let right = try await house.frontEnd.signIn(person.name, person.password, from: "198.51.100.20")
    #expect(right.gist == "200 invalid_credentials")
    #expect(try await house.frontEnd.signIn(person.name, "wrong", from: "198.51.100.20").withoutReferenceAndTime == right.withoutReferenceAndTime)
    #expect(try await house.frontEnd.signIn("ghost", "wrong", from: "198.51.100.20").withoutReferenceAndTime == right.withoutReferenceAndTime)
    #expect(try await dump(person.name, controllers) == before)
    let told = try await house.trace(right.reference)
    #expect(told.cause.contains("It was not asked"))
    #expect(told.steps.contains { $0.contains("3 of 5 wrong passwords counted") }, "\(told.steps)")
    // At home there is one more.
    #expect(try await house.frontEnd.signIn(person.name, person.password, from: DirectoryLockScenario.home).gist == "200 accepted")
  }

  /// The last try is nobody's, at home neither.
  private func familiarGuesses(_ house: House, _ person: (name: String, password: String), _ controllers: [SambaDomain.Settings]) async throws {
    #expect(try await house.frontEnd.signIn(person.name, person.password, from: DirectoryLockScenario.home).gist == "200 accepted")
    for guess in 0..<40 {
      _ = try await house.frontEnd.signIn(person.name, "wrong \(guess)", from: guess % 2 == 0 ? DirectoryLockScenario.home : "198.51.100.30")
    }
    for counts in try await dump(person.name, controllers) {
      let count = try #require(counts[person.name])
      #expect(count.wrong <= 4 && !count.isLocked, "\(counts)")
    }
  }

  @Test("A person with a stricter policy of their own is kept from its lock, and where it cannot be read an alarm says what to grant")
  func ownPolicy() async throws {
    try await House.with("own-policy", in: .locking) { house in
      let people = try await house.people("strictly", 2)
      let (conf, sam) = (house.domain["AD_SMBCONF"], house.domain["AD_SAM"])
      func tool(_ arguments: String...) async throws { try await LeashedProcess.run("/usr/bin/samba-tool", arguments + ["-s", conf, "-H", sam]) }
      try await tool(
        "domain", "passwordsettings", "pso", "create", "strictest", "1", "--account-lockout-threshold=4", "--account-lockout-duration=30",
        "--reset-account-lockout-after=30")
      for person in people { try await tool("domain", "passwordsettings", "pso", "apply", "strictest", person.name) }

      // By default only administrators read it: strangers have the one try that a threshold of three leaves.
      for guess in 0..<10 { _ = try await house.frontEnd.signIn(people[0].name, "wrong \(guess)", from: "198.51.100.\(guess + 1)") }
      #expect(try await dump(people[0].name, [house.domain]) == [[people[0].name: Count(wrong: 1, isLocked: false)]])
      #expect(await eventually(within: .seconds(10)) { (try? await house.status().alarms.contains { $0.code == "lockout-unreadable" }) ?? false })
      let alarm = try #require(try await house.status().alarms.first { $0.code == "lockout-unreadable" })
      #expect(alarm.remedy.contains("dsacls") && alarm.message.contains("CN=strictest"))

      let service = try await LeashedProcess.run("/usr/bin/ldbsearch", ["-H", sam, "(sAMAccountName=svc-gatehouse)", "objectSid"])
      let sid = try #require(service.split(separator: "\n").first { $0.hasPrefix("objectSid: ") }?.dropFirst(11))
      try await tool(
        "dsacl", "set", "--objectdn=CN=strictest,CN=Password Settings Container,CN=System,\(house.domain["AD_BASE"])", "--sddl=(A;;GR;;;\(sid))")
      // What an agent has read holds for a minute; a fresh one reads at once.
      await house.agents[0].stop()
      try await house.agents[0].start()
      try await house.waitFor(house.agents[0])
      for guess in 0..<10 { _ = try await house.frontEnd.signIn(people[1].name, "wrong \(guess)", from: "198.51.100.\(guess + 1)") }
      #expect(try await dump(people[1].name, [house.domain]) == [[people[1].name: Count(wrong: 2, isLocked: false)]])
      #expect(await eventually(within: .seconds(10)) { (try? await house.status().alarms.contains { $0.code == "lockout-unreadable" }) == false })
    }
  }

  @Test("A lockout of our own that contradicts the directory's is refused when it is set, and the configuration's is drawn in with an alarm")
  func contradiction() async throws {
    try await House.with("contradiction", in: .locking) { house in
      #expect(await eventually(within: .seconds(20)) { (try? await house.status().alarms.contains { $0.code == "lockout-conflict" }) ?? false })
      let shown = try await house.admin("realms", "lockout", house.realm)
      #expect(shown.contains("directory") && shown.contains("30m"))
      let refused = try await house.admin.attempt("realms", "lockout", house.realm, "--threshold", "10")
      #expect(refused.status != 0)
      #expect(refused.complaint.contains("locks at 5, of which 2 are kept in reserve, so at most 3 may be"), "\(refused.complaint)")
      try await house.admin("realms", "lockout", house.realm, "--threshold", "3", "--window", "30m", "--first-lock", "31m")
      #expect(await eventually(within: .seconds(5)) { (try? await house.status().alarms.contains { $0.code == "lockout-conflict" }) == false })
      #expect(try await house.admin("audit", "list", "--kind", "realm.lockout-changed").contains(house.realm))
    }
  }
}

@Suite("Wrong passwords again and again")
struct RepeatedPasswordScenario {
  @Test("The same wrong password counts once, and works at once when it has become the right one")
  func repeated() async throws {
    try await House.with("repeated") { house in
      let person = try await house.people("repeats", 1)[0]
      let names = [person.name, "\(person.name)@\(house.realm)"]
      for attempt in 0..<20 {
        #expect(try await house.frontEnd.signIn(names[attempt % 2], "Next.Password.1", from: "192.0.2.1").gist == "200 invalid_credentials")
      }
      #expect(try await SambaDomain.standard.attribute("badPwdCount", of: person.name) == "1")
      #expect(try await house.user(person.name).failures == 1)
      let told = try await house.trace(try await house.frontEnd.signIn(person.name, "Next.Password.1", from: "192.0.2.1").reference)
      #expect(told.cause.contains("within the last two minutes"))
      // From outside a name that nobody has looks the same.
      let ghosts = try await house.frontEnd.signIn("ghostly", "Next.Password.1", from: "192.0.2.1")
      let again = try await house.frontEnd.signIn("ghostly", "Next.Password.1", from: "192.0.2.1")
      #expect(ghosts.withoutReferenceAndTime == again.withoutReferenceAndTime)
      #expect(try await house.user("ghostly").failures == 1)

      try await SambaDomain.standard.setPassword(of: person.name, to: "Next.Password.1")
      #expect(try await house.frontEnd.signIn(person.name, "Next.Password.1", from: "192.0.2.1").gist == "200 accepted")
    }
  }
}

@Suite("Sprays")
struct SprayScenario {
  @Test("One password over many people is stopped by the fiftieth try, others go on, and it shows in status, metrics and audit")
  func spray() async throws {
    try await House.with("spray") { house in
      let people = try await house.people("sprayed", 3)
      // One of them works behind the address that the guesses will come from.
      #expect(try await house.frontEnd.signIn(people[0].name, people[0].password, from: "203.0.113.7").gist == "200 accepted")
      var gists: [String] = []
      for index in 0..<200 { gists.append(try await house.frontEnd.signIn("victim\(index)", "Winter2026!", from: "203.0.113.7").gist) }
      let first = try #require(gists.firstIndex(of: "200 temporarily_locked"))
      #expect(first <= 50)
      #expect(gists[first...].allSatisfy { $0 == "200 temporarily_locked" })

      #expect(try await house.frontEnd.signIn(people[0].name, people[0].password, from: "203.0.113.7").gist == "200 accepted")
      #expect(try await house.frontEnd.signIn(people[1].name, people[1].password, from: "198.51.100.1").gist == "200 accepted")
      let last = try await house.frontEnd.signIn("victim999", "Winter2026!", from: "203.0.113.7")
      let rows = try await house.admin.json([Told.Explanation].self, "trace", last.reference)
      #expect(rows.first?.cause.contains("Guesses at many people") == true)

      let alarm = try #require(try await house.status().alarms.first { $0.code == "password-spray" })
      #expect(alarm.subject.contains("203.0.113.7") && !alarm.message.contains("Winter"))
      #expect(try await house.admin("audit", "list", "--kind", "spray.began", "--json").split(separator: "spray.began").count == 2)
      // A hundred and fifty refusals have one row, for now.
      let throttled = try await house.admin("audit", "list", "--kind", "sign-in.throttled", "--json")
      #expect((1...5).contains(throttled.split(separator: "\"sign-in.throttled\"").count - 1), "\(throttled)")
      let metrics = try await house.gateway.metrics()
      #expect(metrics.contains("gatehouse_sprays_began_total{kind=\"password\"} 1"))
      #expect(metrics.contains("reason=\"sprayThrottled\""))
    }
  }
}
