import Foundation
import Testing

@Suite("An agent that lies", .serialized)
struct LyingAgentScenario {
  /// Sets a canary for the house's realm: an account under a policy without lockout.
  private func setCanary(_ house: House) async throws -> (name: String, password: String) {
    let canary = (name: "canary\(UInt32.random(in: 0...99_999))", password: "Bright.Canary.271")
    try await SambaDomain.add([canary], to: house.domain)
    try await SambaDomain.exemptFromLockout([canary.name], in: house.domain)
    let file = house.gateway.folder + "/canary.password"
    try (canary.password + "\n").write(toFile: file, atomically: true, encoding: .utf8)
    try await house.admin(
      "realms", "canary", house.realm, "--user", "\(canary.name)@\(house.realm)", "--password-file", file, "--without-lockout")
    return ("\(canary.name)@\(house.realm)", canary.password)
  }

  /// Enrols an agent that is played by this process.
  private func move(in name: String, _ house: House, directory: LyingAgent.Directory) async throws -> (AgentProcess, LyingAgent) {
    let process = try AgentProcess(name: name, scenario: house.scenario, domain: house.domain)
    let outcome = try await process.enrol(token: try await house.token())
    #expect(outcome.status == 0, "\(outcome.complaint)")
    return (process, try LyingAgent(process, of: house.gateway, directory: directory))
  }

  private func quarantined(_ house: House, _ name: String, within limit: Duration) async throws -> Bool {
    try await eventually(within: limit) {
      try await house.admin.json([Told.Agent].self, "agents", "list").first { $0.name == name }?.quarantined != nil
    }
  }

  @Test("and says yes to everything never gets a real question; it stays out until it is released, and is met again then")
  func alwaysYes() async throws {
    try await House.with("liar", options: .init(extra: "agents: {canaryInterval: 1s}")) { house in
      let people = try await house.people("fooled", 4)
      let canary = try await setCanary(house)
      let (process, liar) = try await move(in: "patched", house, directory: .init(lies: true))
      for round in 0..<40 {
        let person = people[round % people.count]
        let right = try await house.frontEnd.signIn("\(person.name)@\(house.realm)", person.password)
        #expect(right.gist == "200 accepted")
        // Names that nobody has, so that nobody is locked by it.
        let wrong = try await house.frontEnd.signIn("nobody-\(round)@\(house.realm)", "whatever \(round)")
        #expect(wrong.gist == "200 invalid_credentials")
      }
      #expect(try await quarantined(house, "patched", within: .seconds(10)))
      #expect(Set(liar.directory.asked) == [canary.name])
      let status = try await house.status()
      #expect(status.alarms.contains { $0.code == "agent-quarantined" && $0.subject == "patched" })
      let asked = liar.directory.asked.count
      try await Task.sleep(for: .seconds(3))
      #expect(liar.directory.asked.count == asked, "not even canaries")
      let rows = try await house.admin.json([Told.Row].self, "audit", "list", "--kind", "agent.quarantined")
      #expect(rows.count == 1 && rows.first?.event.subject == "patched")

      // A restart of the gateway forgets nothing.
      try await house.gateway.restart()
      try await house.waitFor(house.agents[0])
      #expect(try await house.frontEnd.signIn("\(people[0].name)@\(house.realm)", people[0].password).gist == "200 accepted")
      #expect(try await quarantined(house, "patched", within: .zero))

      try await house.admin("agents", "release", "patched")
      #expect(await eventually(within: .seconds(15)) { liar.directory.asked.count > asked })
      #expect(try await quarantined(house, "patched", within: .seconds(15)), "it still lies")
      #expect(Set(liar.directory.asked) == [canary.name])
      // Canaries are no sign-ins.
      let signIns = try await house.admin.json([Told.Row].self, "audit", "list", "--kind", "sign-in", "--limit", "10000")
      #expect(!signIns.isEmpty && signIns.allSatisfy { $0.event.subject != canary.name })
      await liar.stop()
      await process.remove()
    }
  }

  @Test("from one moment on is in quarantine soon after, and whom it answered can be listed")
  func turns() async throws {
    try await House.with("turncoat", agents: [], options: .init(extra: "agents: {canaryInterval: 2s, secondOpinions: 0}")) { house in
      let canary = try await setCanary(house)
      let (process, liar) = try await move(
        in: "turncoat", house, directory: .init(lies: false, passwords: [canary.name: canary.password, "alice@\(house.realm)": "Right.1"]))
      #expect(
        try await eventually(within: .seconds(10)) { try await house.frontEnd.signIn("alice@\(house.realm)", "Right.1").gist == "200 accepted" })
      #expect(try await house.frontEnd.signIn("alice@\(house.realm)", "wrong").gist == "200 invalid_credentials")
      #expect(try await !quarantined(house, "turncoat", within: .seconds(4)), "while it is honest it stays")
      liar.directory.turn()
      // Twice the interval and the time of an answer, as 60 s are to the 30 s of a real one.
      #expect(try await quarantined(house, "turncoat", within: .seconds(12)))
      #expect(try await house.frontEnd.signIn("alice@\(house.realm)", "wrong").gist == "503 could_not_find_out")
      let rows = try await house.admin.json([Told.Row].self, "agents", "answered-by", "turncoat", "--since", "1h")
      #expect(rows.count >= 2)
      #expect(rows.allSatisfy { $0.event.kind == "sign-in" && $0.event.subject == "alice@\(house.realm)" })
      #expect(try await house.admin("agents", "answered-by", "turncoat").contains("alice@\(house.realm)"))
      let unknown = try await house.admin.attempt("agents", "answered-by", "nobody")
      #expect(unknown.status != 0 && unknown.complaint.contains("There is no agent nobody"))
      await liar.stop()
      await process.remove()
    }
  }

  /// A sign-in that is right and one that is not; whether an alarm about a disagreement stands then.
  private func disagree(_ house: House, _ name: String, _ password: String) async throws -> Bool {
    _ = try await house.frontEnd.signIn("\(name)@\(house.realm)", password)
    _ = try await house.frontEnd.signIn("nobody-\(UInt32.random(in: 0 ... .max))@\(house.realm)", "whatever")
    let alarms = try await house.status().alarms
    return alarms.contains { $0.code == "agents-disagree" }
  }

  @Test("where there is no canary is told by the second agent that is asked, and blocked by nobody")
  func secondOpinion() async throws {
    try await House.with("disagreement", options: .init(extra: "agents: {secondOpinions: 100}")) { house in
      let person = try await house.people("twice", 1)[0]
      let moved = try await move(in: "patched", house, directory: .init(lies: true))
      let noticed = try await eventually(within: .seconds(30)) { try await disagree(house, person.name, person.password) }
      #expect(noticed)
      let rows = try await house.admin.json([Told.Row].self, "audit", "list", "--kind", "agent.disagreed")
      #expect(!rows.isEmpty)
      let out = try await quarantined(house, "patched", within: .zero)
      #expect(!out)
      await moved.1.stop()
      await moved.0.remove()
    }
  }

  @Test("A canary that would be locked, that is too short or that leads to another realm is refused; it can be shown and removed")
  func settings() async throws {
    try await House.with("canary-settings", agents: []) { house in
      func set(_ user: String, _ password: String, _ more: String...) async throws -> AdminTool.Outcome {
        let file = house.gateway.folder + "/canary.password"
        try password.write(toFile: file, atomically: true, encoding: .utf8)
        return try await AdminTool.run(
          ["realms", "canary", house.realm, "--user", user, "--password-file", file] + more, environment: ["GATEHOUSE_SOCKET": house.admin.socket])
      }
      let name = "canary@\(house.realm)"
      #expect(try await set(name, "short", "--without-lockout").complaint.contains("12 characters"))
      let elsewhere = try await set("canary@elsewhere.test", "Bright.Canary.271", "--without-lockout")
      #expect(elsewhere.status != 0 && elsewhere.complaint.contains("does not lead to realm"))
      let unchecked = try await set(name, "Bright.Canary.271")
      #expect(unchecked.status != 0 && unchecked.complaint.contains("lockout"))
      #expect(try await set(name, "Bright.Canary.271", "--without-lockout").status == 0)
      #expect(try await house.admin("realms", "canary", house.realm).contains(name))
      #expect(try await !house.admin("realms", "canary", house.realm, "--json").contains("Bright"))
      try await house.admin("realms", "canary", house.realm, "--remove")
      #expect(try await house.admin("realms", "canary", house.realm).contains("no canary"))
      let kinds = try await house.admin.json([Told.Row].self, "audit", "list").map(\.event.kind)
      #expect(kinds.contains("realm.canary-set") && kinds.contains("realm.canary-removed"))
    }
  }

  @Test("A stolen identity that is used beside the agent is refused and told")
  func twin() async throws {
    try await House.with("twin") { house in
      let people = try await house.people("stolen", 1)
      let thief = try AgentProcess(name: "one", scenario: house.scenario + "-thief", domain: house.domain)
      try thief.steal(from: house.agents[0])
      try await thief.start()
      #expect(try await eventually(within: .seconds(15)) { try await house.status().alarms.contains { $0.code == "agent-identity-twice" } })
      for _ in 0..<10 {
        #expect(try await house.frontEnd.signIn("\(people[0].name)@\(house.realm)", people[0].password).gist == "200 accepted")
      }
      #expect(thief.process?.logText.contains("Another process works under this agent's identity") == true)
      // Whichever of the two it is: revocation ends both.
      try await house.admin("agents", "revoke", "one")
      #expect(try await house.frontEnd.signIn("\(people[0].name)@\(house.realm)", people[0].password).gist == "503 could_not_find_out")
      await thief.remove()
    }
  }
}
