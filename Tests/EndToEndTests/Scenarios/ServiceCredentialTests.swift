import Foundation
import Testing

@Suite("When the service account's password is changed behind the agent's back")
struct ServiceCredentialScenario {
  @Test("the account is not locked, nobody is refused or counted, the alarm says what to do, and the new file is picked up")
  func changed() async throws {
    try await House.with("service-credential", agents: []) { house in
      // An account of this scenario's own: the other scenarios search with the sample domain's.
      let person = try await house.people("svcuser", 1)[0]
      let service = try await house.people("svc-changed", 1)[0]
      let file = house.gateway.folder + "/service-password"
      try Data((service.password + "\n").utf8).write(to: URL(fileURLWithPath: file))
      chmod(file, 0o600)
      let agent = try AgentProcess(
        name: "changed", scenario: house.scenario, domain: house.domain,
        service: .init(bindName: "\(service.name)@\(house.realm)", passwordFile: file))
      try await house.move(in: agent)
      #expect(try await house.frontEnd.signIn(person.name, person.password).gist == "200 accepted")

      // Four changes: AD lets the password before the last sign in for an hour, and does not count the two before that as wrong.
      for change in 1...4 { try await SambaDomain.standard.setPassword(of: service.name, to: "Another.Horse.7\(change)") }
      // What is connected stays connected: only a new log-on shows the change. The agent's start is the surest.
      await agent.process?.crash()
      try await agent.start()
      try await house.waitFor(agent)
      var answers: Set<String> = []
      for attempt in 0..<40 {
        let answer = try await house.frontEnd.signIn(person.name, attempt % 2 == 0 ? person.password : "wrong")
        answers.insert("\(answer.gist) \(answer.aadsts ?? 0)\(answer.field("retry-after") == nil ? "" : ", retry later")")
      }
      #expect(answers == ["503 could_not_find_out 80007, retry later"])
      let bad = Int(try await SambaDomain.standard.attribute("badPwdCount", of: service.name) ?? "0") ?? 0
      #expect(bad == 1, "one try in five minutes, of three that would lock it")
      #expect((try await SambaDomain.standard.attribute("lockoutTime", of: service.name) ?? "0") == "0")
      #expect(try await house.user(person.name).failures == 0)

      let alarmed = try await eventually(within: .seconds(6)) { try await house.status().alarms.contains { $0.code == "service-credential-refused" } }
      let status = try await house.admin.attempt("status")
      #expect(alarmed, "\(status.output)")
      #expect(status.status == 1)
      #expect(status.output.contains("ALARM service-credential-refused"))
      #expect(status.output.contains(file), "the remedy names the file: \(status.output)")
      let reference = try await house.frontEnd.signIn(person.name, person.password).reference
      let told = try await house.trace(reference)
      #expect(told.decision.contains("serviceCredentialRefused"))
      #expect(told.remedy.contains("passwordFile"))

      // Written beside and renamed over, as the runbook says.
      try Data("Another.Horse.74\n".utf8).write(to: URL(fileURLWithPath: file + ".new"))
      chmod(file + ".new", 0o600)
      rename(file + ".new", file)
      let mended = try await eventually(within: .seconds(5), every: .milliseconds(200)) {
        try await house.frontEnd.signIn(person.name, person.password).gist == "200 accepted"
      }
      #expect(mended, "the new credential file was not picked up")
      let calm = try await eventually(within: .seconds(6)) { try await house.status().alarms.isEmpty }
      #expect(calm, "the alarm stays")
    }
  }
}
