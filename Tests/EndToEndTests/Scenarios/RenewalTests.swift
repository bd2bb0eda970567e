import Foundation
import Testing

@Suite("Renewal", .serialized)
struct RenewalScenario {
  @Test("The agent learns a new root before it counts, and finds the gateway under it")
  func rollover() async throws {
    try await House.with("rollover") { house in
      let person = try await house.people("roll", 1)[0]
      let agent = house.agents[0]
      let before = try agent.identity()
      #expect(before.roots.count == 1)
      try await house.admin("agents", "authority", "prepare")
      let learned = try await eventually(within: .seconds(10)) { try agent.identity().roots.count == 2 }
      #expect(learned, "the agent did not learn the prepared root")
      #expect(try agent.identity().roots.contains(before.roots[0]))

      let roots = try await house.admin.json([Told.Root].self, "agents", "authority", "activate")
      #expect(Set(roots.map(\.state)) == ["active", "retiring"])
      let again = try await house.admin.attempt("agents", "authority", "activate")
      #expect(again.status == 1)
      #expect(again.complaint.contains("No root is prepared."))

      try await house.gateway.restart()
      try await house.waitFor(agent)
      #expect(try await house.frontEnd.signIn(person.name, person.password).gist == "200 accepted")
      // The listener's certificate is of the new root now: a client that trusts only the old one turns away.
      let old = house.gateway.folder + "/old-root.pem"
      try AgentProcess.pem("CERTIFICATE", before.roots[0]).write(toFile: old, atomically: true, encoding: .utf8)
      let seen = try await TLSClient.certificate(port: house.gateway.mutualPort, authorityFile: old)
      #expect(seen.verified == false)
      // And an agent that was away all the while, and trusts the old root only, is told so by its own log, not by a wrong verdict.
      let newcomer = try AgentProcess(name: "newcomer", scenario: house.scenario, domain: house.domain)
      try await house.move(in: newcomer)
      #expect(try newcomer.identity().roots.count == 2)
    }
  }

  @Test("An agent renews daily; one whose certificate has expired may renew and nothing else, for thirty days")
  func expired() async throws {
    let day: Int64 = 86_400
    let clock = try await AdjustableClock()
    try await House.with("renewal", agents: [], options: .init(environment: clock.environment)) { house in
      let person = try await house.people("renew", 1)[0]
      let agent = try AgentProcess(name: "sleeper", scenario: house.scenario, domain: house.domain)
      #expect(try await agent.enrol(token: try await house.token()).status == 0)
      let enrolled = try agent.identity()

      // Thirty-one days asleep.
      try clock.set(to: .seconds(31 * day))
      try await house.gateway.restart()
      let impostor = try agent.impostor(of: house.gateway)
      let refused = try await impostor.post("/agent/v1/work", body: Data(#"{"lane":"AAAAAAAAAAAAAAAAAAAAAA"}"#.utf8))
      #expect(refused.status == 403)
      #expect(refused.body.contains("This agent's certificate has expired; it may only ask for a new one"))

      try await agent.start(environment: clock.environment)
      try await house.waitFor(agent)
      let renewed = try agent.identity()
      #expect(renewed.signingKey != enrolled.signingKey, "a new key with every certificate")
      #expect(renewed.notAfter > enrolled.notAfter + 29 * day * 1000)
      #expect(try await house.frontEnd.signIn(person.name, person.password).gist == "200 accepted")
      let events = try await house.admin.json([Told.Row].self, "audit", "list", "--kind", "agent.renewed")
      #expect(events.count == 1)

      // A day later it renews by itself; what is asked meanwhile is answered.
      try clock.set(to: .seconds(32 * day + 1))
      let daily = try await eventually(within: .seconds(8)) { try agent.identity().notAfter > renewed.notAfter }
      #expect(daily, "the agent did not renew after a day")
      for _ in 0..<10 { #expect(try await house.frontEnd.signIn(person.name, person.password).gist == "200 accepted") }
      await agent.stop()

      // More than thirty days after the end, only a new enrolment helps.
      try clock.set(to: .seconds((32 + 61) * day + 1))
      let late = try agent.impostor(of: house.gateway)
      let gone = try await late.post("/agent/v1/renew", body: Data(#"{"certificateRequest":"AAAA"}"#.utf8))
      #expect(gone.status == 403)
      #expect(gone.body.contains("expired more than 30 days ago. Enrol it anew"))
      await agent.remove()
    }
  }
}
