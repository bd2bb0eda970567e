import Bytes
import Foundation
import GatehouseTesting
import Identity
import PassThrough
import Testing

@testable import Web

@Suite("The agent link's stages and canaries")
struct AgentStageRouteTests {
  private static let signIn = Array(#"{"userName":"alice@contoso.com","password":"right","groups":true}"#.utf8)

  private func options(canaries: Bool = false) -> LiveGateway.Options {
    var options = LiveGateway.Options()
    options.asksAgents = true
    options.deadline = .seconds(8)
    if canaries { options.canaryInterval = .seconds(30) }
    return options
  }

  /// A beat of an agent that reports stages.
  private func beat(_ agent: PlayedAgent) async throws {
    let heartbeat = Heartbeat(
      capabilities: ["validate", StageReport.capability], software: "test", clock: agent.gateway.time.now, alarms: [], draining: false)
    #expect(try await agent.post("/agent/v1/heartbeat", heartbeat).status == 200)
  }

  @Test("An agent that kept silent learns from its report that it must let go, and the other one's verdict counts")
  func withdrawn() async throws {
    try await withGateway(options()) { gateway async throws in
      let first = try await PlayedAgent(gateway)
      let second = try await PlayedAgent(gateway, name: "agent2")
      try await beat(first)
      async let answer = gateway.signIn(Self.signIn)
      let silent = try await first.question()
      // It keeps a connection, as a frozen process does.
      let open = try await first.connect()
      async let waiting = first.post("/agent/v1/work", WorkRequest(lane: LaneID()), on: open)
      try await beat(second)
      let asked = try await second.question()
      #expect(asked.id == silent.id)
      let report = VerdictsRequest(verdicts: [], stages: [StageReport(question: silent.id, stage: .accepted)])
      let told = try await first.post("/agent/v1/verdicts", report).decode(VerdictsAnswer.self)
      #expect(told.withdrawn == [silent.id] && told.ignored == 0)
      let kept = try await second.post(
        "/agent/v1/verdicts", VerdictsRequest(verdicts: [], stages: [StageReport(question: asked.id, stage: .bindSent)]))
      // Agents of the version before read nothing but numbers in this answer.
      #expect(try kept.decode([String: Int].self) == ["ignored": 0])
      #expect(try await first.deliver([try first.verdict(.refused(Refusal(.wrongPassword)), on: silent)]) == 1)
      #expect(try await second.deliver([try second.verdict(try second.accepted, on: asked)]) == 0)
      #expect(try await answer.decode(SignInBody.self).verdict == "accepted")
      gateway.hub.close()
      _ = try await waiting
    }
  }

  @Test("A verdict of the version before, and one that tells of an uncertain try, are both read")
  func versions() async throws {
    try await withGateway(options()) { gateway async throws in
      let agent = try await PlayedAgent(gateway)
      for uncertain in [0, 1] {
        #expect(try await agent.beat().status == 200)
        async let answer = gateway.signIn(Self.signIn)
        let frame = try await agent.question()
        let body = VerdictBody(Judgement(.unknown(.directoryBusy), uncertainTries: uncertain), at: gateway.time.now)
        #expect(String(decoding: try JSONEncoder().encode(body), as: UTF8.self).contains("uncertainTries") == (uncertain == 1))
        let verdict = try VerdictFrame(body, question: frame.id, digest: frame.digest, key: agent.identity.signingKey)
        #expect(try await agent.deliver([verdict]) == 0)
        #expect(try await answer.status == 503)
      }
    }
  }

  @Test("A canary looks on the wire like the questions beside it; a yes to the wrong one ends everything for the agent")
  func canary() async throws {
    try await withGateway(options(canaries: true)) { gateway async throws in
      let realm = try name(LiveGateway.realmName)
      let canary = Canary(
        realm: realm, userName: try #require(UserName("mallory@contoso.com")), password: try #require(Password(Secret("Bright.Canary.271".utf8))))
      try await gateway.canaries.set(canary, audit: [])
      let agent = try await PlayedAgent(gateway)
      #expect(try await agent.beat().status == 200)
      async let answer = gateway.signIn(Self.signIn)
      // Two canaries are there before the sign-in's own question; their frames have the same parts.
      var frames: [QuestionFrame] = []
      var raw: [[String: Any]] = []
      let connection = try await agent.connect()
      while frames.count < 2 {
        let work = try await agent.post("/agent/v1/work", WorkRequest(lane: LaneID()), on: connection)
        frames += try work.decode(WorkResponse.self).questions
        let object = try #require(try JSONSerialization.jsonObject(with: Data(work.body)) as? [String: Any])
        raw += object["questions"] as? [[String: Any]] ?? []
      }
      #expect(frames.allSatisfy { $0.kind == "validate" && $0.userName == "mallory@contoso.com" && $0.realm == realm })
      #expect(frames.allSatisfy { (7000..<8000).contains($0.remainingMilliseconds) })
      #expect(Set(raw.map { $0.keys.sorted() }).count == 1)
      #expect(raw.allSatisfy { Set($0.keys) == ["id", "kind", "realm", "userName", "wanting", "remainingMilliseconds", "sealed"] })
      #expect(Set(frames.map(\.sealed.utf8.count)).count == 1, "the wrong password is as long as the right one")
      // It says yes to both, since it cannot tell.
      let verdicts = try frames.map { try agent.verdict(try agent.accepted, on: $0) }
      #expect(try await agent.post("/agent/v1/verdicts", VerdictsRequest(verdicts: verdicts)).status == 200)
      #expect(try await answer.status == 503)
      let refused = try await agent.beat()
      #expect(refused.status == 403 && refused.text.contains("quarantine") && refused.text.contains("gatehouse agents release agent1"))
      #expect(try await agent.post("/agent/v1/work", WorkRequest(lane: LaneID())).status == 403)
      #expect(try await agent.post("/agent/v1/renew", RenewalRequest(certificateRequest: "AAAA")).status == 403)
      for _ in 0..<50 where try await gateway.store.agents().first?.quarantined == nil { try await Task.sleep(for: .milliseconds(100)) }
      #expect(try await gateway.store.agents().first?.quarantined != nil)
      #expect(await gateway.store.events.filter { $0.kind == .agentQuarantined && $0.subject == "agent1" }.count == 1)
      #expect(await gateway.hub.alarms().contains { $0.code == .agentQuarantined })
      let released = try await gateway.quarantine.release("agent1", actor: "test", now: gateway.time.now)
      #expect(released?.name == "agent1")
      #expect(try await agent.beat().status == 200)
      #expect(try await gateway.quarantine.release("agent1", actor: "test", now: gateway.time.now) == nil)
    }
  }
}
