import Foundation
import Testing

@Suite("Revocation and enrolment", .serialized)
struct RevocationScenario {
  @Test("A revoked agent is not asked within a second, and every message of it gets 403")
  func revoked() async throws {
    try await House.with("revocation") { house in
      let person = try await house.people("revoke", 1)[0]
      let agent = house.agents[0]
      #expect(try await house.frontEnd.signIn(person.name, person.password).gist == "200 accepted")
      let impostor = try agent.impostor(of: house.gateway)
      let heartbeat = Data(
        #"{"version":1,"capabilities":["validate"],"software":"test","clock":\#(Int64(Date().timeIntervalSince1970 * 1000)),"alarms":[],"draining":false}"#
          .utf8)
      let before = try await impostor.post("/agent/v1/heartbeat", body: heartbeat)
      #expect(before.status == 200, "\(before.body)")

      try await house.admin("agents", "revoke", agent.name)
      let began = ContinuousClock.now
      let answer = try await house.frontEnd.signIn(person.name, person.password)
      #expect(answer.gist == "503 could_not_find_out")
      #expect(answer.aadsts == 80001)
      #expect(began.duration(to: .now) < .seconds(1))
      for (path, body) in [
        ("/agent/v1/heartbeat", heartbeat), ("/agent/v1/work", Data(#"{"lane":"AAAAAAAAAAAAAAAAAAAAAA"}"#.utf8)),
        ("/agent/v1/verdicts", Data(#"{"verdicts":[],"stages":[]}"#.utf8)), ("/agent/v1/renew", Data(#"{"certificateRequest":"AAAA"}"#.utf8)),
      ] {
        let refused = try await impostor.post(path, body: body)
        #expect(refused.status == 403, "\(path): \(refused.body)")
        #expect(refused.body.contains("This agent was revoked at "), "\(path): \(refused.body)")
      }
      // It tries on, politely, and is never asked again.
      try await Task.sleep(for: .seconds(2))
      #expect(try await house.frontEnd.signIn(person.name, person.password).gist == "503 could_not_find_out")
      #expect(agent.process?.isRunning == true)
      #expect(try await house.told(agent) == nil)
      // The name is free again.
      let again = try await agent.enrol(token: try await house.token(), "--replace")
      #expect(again.status == 0, "\(again.complaint)")
      await agent.stop()
      try await agent.start()
      try await house.waitFor(agent)
      #expect(try await house.frontEnd.signIn(person.name, person.password).gist == "200 accepted")
    }
  }

  @Test("A token enrols once, for ten minutes, at its own gateway, and only whole; whoever comes otherwise is told why")
  func tokens() async throws {
    let clock = try await AdjustableClock()
    try await House.with("tokens", agents: [], options: .init(environment: clock.environment)) { house in
      func agent(_ name: String) throws -> AgentProcess { try AgentProcess(name: name, scenario: house.scenario, domain: house.domain) }
      func complaint(_ name: String, _ token: String) async throws -> String {
        let outcome = try await agent(name).enrol(token: token)
        #expect(outcome.status != 0)
        return outcome.complaint.trimmingCharacters(in: .whitespacesAndNewlines)
      }
      let refused =
        "Error: The gateway at \(house.gateway.url) did not enrol this agent: The enrolment token is used up, expired (it lives 10 minutes) or unknown here. "
        + "Make a new one with `gatehouse agents token --realm REALM`."

      let used = try await house.token()
      let first = try agent("first")
      #expect(try await first.enrol(token: used).status == 0)
      #expect(try await complaint("second", used) == refused)
      // Not even the agent that used it.
      #expect(try await first.enrol(token: used, "--replace").complaint.contains("used up"))
      #expect(try await first.enrol(token: used).complaint.contains("is enrolled as first already"))

      let damaged = try await house.token()
      let middle = damaged.index(damaged.startIndex, offsetBy: damaged.count / 2)
      let changed = damaged.replacingCharacters(in: middle...middle, with: damaged[middle] == "A" ? "B" : "A")
      for broken in [changed, String(damaged.dropLast(3)), damaged + "x"] {
        #expect(
          try await complaint("third", broken)
            == "Error: The enrolment token is damaged, most likely cut off or changed when it was copied. Copy it again, or make a new one with `gatehouse agents token --realm REALM`."
        )
      }
      #expect(
        try await complaint("third", "ghk_not-a-token")
          == "Error: This is not an enrolment token: it must begin with `gatehouse-enrol-1.`. Make one on the gateway with `gatehouse agents token --realm REALM`."
      )
      #expect(try await agent("third").enrol(token: damaged).status == 0, "a broken copy uses nothing up")

      let taken = try await house.token()
      #expect(try await complaint("first", taken).contains("An agent of this name is enrolled already."))
      #expect(try await agent("free").enrol(token: taken).status == 0, "a name that is taken uses nothing up")

      let late = try await house.token()
      try clock.set(to: .seconds(601))
      #expect(try await complaint("late", late) == refused)
      let timely = try await house.token()
      try clock.set(to: .seconds(601 + 590))
      #expect(try await agent("timely").enrol(token: timely).status == 0)

      try await foreign(house)
      try await race(house)
      let rows = try await house.admin.json([Told.Row].self, "audit", "list", "--kind", "enrolment.refused", "--limit", "1000")
      #expect(rows.count >= 24, "refusals are in the audit")
      #expect(rows.allSatisfy { $0.event.outcome == "denied" })
    }
  }

  /// A token of another gateway, sent to this one's address: as by somebody who redirects the agent.
  private func foreign(_ house: House) async throws {
    let other = try await GatewayProcess(scenario: "tokens-foreign")
    do {
      try await other.start()
      try await other.admin("realms", "add", house.realm, "--default")
      let token = try await other.admin.json(Told.Token.self, "agents", "token", "--realm", house.realm).token
      await other.stop()
      let proxy = try await ConnectProxy.start(redirecting: house.gateway.publicPort)
      let agent = try AgentProcess(name: "stray", scenario: house.scenario, domain: house.domain, proxyPort: proxy.port)
      let outcome = try await agent.enrol(token: token)
      #expect(outcome.status != 0)
      #expect(
        outcome.complaint.trimmingCharacters(in: .whitespacesAndNewlines)
          == "Error: The gateway at \(other.url) did not enrol this agent: The enrolment message could not be opened. The token belongs to another gateway, or the message was changed on its way: make a new token with `gatehouse agents token` on the gateway that you want to join."
      )
      await proxy.stop()
    } catch {
      await other.remove()
      throw error
    }
    await other.remove()
  }

  private func race(_ house: House) async throws {
    let token = try await house.token()
    let agents = try (0..<20).map { try AgentProcess(name: "racer\($0)", scenario: house.scenario, domain: house.domain) }
    let outcomes = try await withThrowingTaskGroup(of: AdminTool.Outcome.self) { group in
      for agent in agents { group.addTask { try await agent.enrol(token: token) } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(outcomes.filter { $0.status == 0 }.count == 1)
    #expect(outcomes.filter { $0.complaint.contains("The enrolment token is used up") }.count == 19)
    #expect(try await house.admin.json([Told.Agent].self, "agents", "list").filter { $0.name.hasPrefix("racer") }.count == 1)
    for agent in agents { await agent.remove() }
  }
}
