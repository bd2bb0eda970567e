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
    options.deadline = .seconds(20)
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
      // Held until the end: an agent without a connection is lost within a second.
      let held = try await second.connect()
      let work = try await second.post("/agent/v1/work", WorkRequest(lane: LaneID()), on: held)
      let asked = try #require(try work.decode(WorkResponse.self).questions.first)
      #expect(asked.id == silent.id)
      let report = VerdictsRequest(verdicts: [], stages: [StageReport(question: silent.id, stage: .accepted)])
      let told = try await first.post("/agent/v1/verdicts", report).decode(VerdictsAnswer.self)
      #expect(told.withdrawn == [silent.id] && told.ignored == 0)
      let kept = try await second.post(
        "/agent/v1/verdicts", VerdictsRequest(verdicts: [], stages: [StageReport(question: asked.id, stage: .bindSent)]), on: held)
      // Agents of the version before read nothing but numbers in this answer.
      #expect(try kept.decode([String: Int].self) == ["ignored": 0])
      #expect(try await first.deliver([try first.verdict(.refused(Refusal(.wrongPassword)), on: silent)]) == 1)
      let verdicts = VerdictsRequest(verdicts: [try second.verdict(try second.accepted, on: asked)])
      #expect(try await second.post("/agent/v1/verdicts", verdicts, on: held).decode(VerdictsAnswer.self).ignored == 0)
      #expect(try await answer.decode(SignInBody.self).verdict == "accepted")
      gateway.hub.close()
      _ = try await waiting
    }
  }

  // All connections to a server being busy is noted like what came of a bind; only the agent can tell the two apart.
  @Test("A verdict tells whether a try may have counted; of the version before, which told only of some, it is guessed from the trace")
  func versions() async throws {
    try await withGateway(options()) { gateway async throws in
      let agent = try await PlayedAgent(gateway)
      let realm = try name(LiveGateway.realmName)
      for told in [nil, 0, 1] as [Int?] {
        #expect(try await agent.beat().status == 200)
        async let answer = gateway.signIn(Self.signIn)
        let frame = try await agent.question()
        let busy = [TraceNote(.domainController, "all connections are busy")]
        var body = VerdictBody(Judgement(.unknown(.directoryBusy), trace: busy, uncertainTries: told ?? 0), at: gateway.time.now)
        if told == nil { body.uncertainTries = nil }
        #expect(String(decoding: try JSONEncoder().encode(body), as: UTF8.self).contains("uncertainTries") == (told != nil))
        #expect(body.judgement(of: .validate, realm: realm)?.uncertainTries == told ?? 1)
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
      gateway.hub.guardRealms(gateway.canaries.realms)
      let agent = try await PlayedAgent(gateway)
      #expect(try await agent.beat().status == 200)
      async let answer = gateway.signIn(Self.signIn)
      // Two canaries are there before the sign-in's own question; their frames have the same parts. Like most people's they come behind a look-up.
      var frames: [QuestionFrame] = []
      var raw: [[String: Any]] = []
      let connection = try await agent.connect()
      while frames.count < 2 {
        let work = try await agent.post("/agent/v1/work", WorkRequest(lane: LaneID()), on: connection)
        let object = try #require(try JSONSerialization.jsonObject(with: Data(work.body)) as? [String: Any])
        let parts = try #require(object["questions"] as? [[String: Any]])
        for (frame, part) in zip(try work.decode(WorkResponse.self).questions, parts) {
          #expect(frame.userName == "mallory@contoso.com")
          if frame.kind == QuestionKind.lookUp.rawValue {
            try await agent.answerLookUp(frame)
          } else {
            frames.append(frame)
            raw.append(part)
          }
        }
      }
      #expect(frames.allSatisfy { $0.kind == "validate" && $0.userName == "mallory@contoso.com" && $0.realm == realm })
      #expect(frames.allSatisfy { (10_000..<20_000).contains($0.remainingMilliseconds) })
      #expect(Set(raw.map { $0.keys.sorted() }).count == 1)
      #expect(raw.allSatisfy { Set($0.keys) == ["id", "kind", "realm", "userName", "wanting", "allowance", "remainingMilliseconds", "sealed"] })
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
