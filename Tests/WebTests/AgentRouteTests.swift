import Bytes
import Crypto
import Cryptography
import Foundation
import GatehouseTesting
import Identity
import PassThrough
import SignIn
import Testing

@testable import Web

/// An agent as a test plays it: what it says is the test's to decide.
struct PlayedAgent: Sendable {
  let gateway: LiveGateway
  let identity: AgentIdentity

  /// Enrols over the public listener.
  init(_ gateway: LiveGateway, name: String = "agent1", realm: String = LiveGateway.realmName) async throws {
    self.gateway = gateway
    let token = try await PlayedAgent.token(gateway, realm: realm)
    let keys = AgentKeys()
    let request = EnrolmentRequest(secret: token.secret.withBytes { $0.base64URL }, name: name, certificateRequest: try keys.request())
    let (envelope, channel) = try EnrolmentChannel.seal(request, gatewayKey: token.gatewayKey)
    let answer = try await PlayedAgent.enrol(gateway, envelope)
    guard answer.status == 200 else { throw Missing(what: "an enrolment: \(answer.text)") }
    identity = try keys.identity(
      from: try channel.open(try answer.decode(SealedEnvelope.self)), token: token, digest: { Digests.sha256($0) }, now: gateway.time.now)
  }

  static func token(_ gateway: LiveGateway, realm: String = LiveGateway.realmName) async throws -> EnrolmentToken {
    try await gateway.enrolment.makeToken(realms: [try WebTests.name(realm)], agentName: nil, actor: "test", now: gateway.time.now)
  }

  static func enrol(_ gateway: LiveGateway, _ envelope: SealedEnvelope) async throws -> RawAnswer {
    try await gateway.ask(
      RawRequest("POST", "/agent/v1/enrol", headers: [("Content-Type", "application/json")], body: Array(try JSONEncoder().encode(envelope))))
  }

  func connect() async throws -> RawConnection {
    try await gateway.openMutual(identity.certificate, key: Array(identity.signingKey.derRepresentation))
  }

  func post(_ path: String, _ message: some Encodable, on connection: RawConnection? = nil) async throws -> RawAnswer {
    try await post(path, bytes: Array(try JSONEncoder().encode(message)), on: connection)
  }

  func post(_ path: String, bytes body: [UInt8], on connection: RawConnection? = nil) async throws -> RawAnswer {
    let request = RawRequest("POST", path, headers: [("Content-Type", "application/json")], body: body)
    guard let connection else { return try await connect().exchange(request) }
    return try await connection.exchange(request)
  }

  func beat() async throws -> RawAnswer {
    try await post(
      "/agent/v1/heartbeat", Heartbeat(capabilities: ["validate"], software: "test", clock: gateway.time.now, alarms: [], draining: false))
  }

  /// Waits for the next question.
  func question(lane: LaneID = LaneID()) async throws -> QuestionFrame {
    let answer = try await post("/agent/v1/work", WorkRequest(lane: lane))
    guard answer.status == 200, let frame = try answer.decode(WorkResponse.self).questions.first else {
      throw Missing(what: "a question: \(answer.text)")
    }
    guard frame.kind == QuestionKind.lookUp.rawValue else { return frame }
    // A name that is new to the gateway is looked up first; every test is about what follows.
    try await answerLookUp(frame)
    return try await question(lane: lane)
  }

  func answerLookUp(_ frame: QuestionFrame) async throws {
    let person = ScriptedValidator.person(realm: try WebTests.name(LiveGateway.realmName)).object.id
    let body = VerdictBody(Judgement(.person(person), trace: []), at: gateway.time.now)
    guard try await deliver([VerdictFrame(body, question: frame.id, digest: frame.digest, key: identity.signingKey)]) == 0 else {
      throw Missing(what: "an answer to a look-up")
    }
  }

  func verdict(_ verdict: Verdict, on frame: QuestionFrame, digest: QuestionDigest? = nil, key: P256.Signing.PrivateKey? = nil) throws -> VerdictFrame
  {
    try VerdictFrame(
      VerdictBody(Judgement(verdict), at: gateway.time.now), question: frame.id, digest: digest ?? frame.digest, key: key ?? identity.signingKey)
  }

  /// Sends verdicts and tells how many the gateway ignored.
  func deliver(_ frames: [VerdictFrame]) async throws -> Int {
    let answer = try await post("/agent/v1/verdicts", VerdictsRequest(verdicts: frames))
    guard answer.status == 200, let ignored = try answer.decode([String: Int].self)["ignored"] else {
      throw Missing(what: "an answer: \(answer.text)")
    }
    return ignored
  }

  var accepted: Verdict { get throws { .accepted(ScriptedValidator.person(realm: try WebTests.name(LiveGateway.realmName))) } }
}

@Suite("The agent link")
struct AgentRouteTests {
  private static let signIn = Array(#"{"userName":"alice@contoso.com","password":"right"}"#.utf8)

  private func options(deadline: Duration = .seconds(3)) -> LiveGateway.Options {
    var options = LiveGateway.Options()
    options.asksAgents = true
    options.deadline = deadline
    return options
  }

  /// Runs `body` with the question that one sign-in makes, and gives the sign-in's answer.
  private func whileAsked(_ gateway: LiveGateway, _ agent: PlayedAgent, _ body: @escaping @Sendable (QuestionFrame) async throws -> Void) async throws
    -> SignInBody
  {
    #expect(try await agent.beat().status == 200)
    async let answer = gateway.signIn(Self.signIn)
    try await body(try await agent.question())
    return try await answer.decode(SignInBody.self)
  }

  @Test("carries a question to the agent and its verdict back")
  func roundTrip() async throws {
    try await withGateway(options()) { gateway async throws in
      let agent = try await PlayedAgent(gateway)
      let body = try await whileAsked(gateway, agent) { frame async throws in
        #expect(frame.userName == "alice@contoso.com" && frame.kind == "validate" && frame.remainingMilliseconds > 0)
        #expect(!frame.sealed.contains("right"))
        #expect(try await agent.deliver([try agent.verdict(try agent.accepted, on: frame)]) == 0)
      }
      #expect(body.verdict == "accepted" && body.user?.userPrincipalName == "alice@contoso.com")
    }
  }

  @Test("takes from an agent the alarms that are an agent's, and none that are the gateway's own")
  func alarms() async throws {
    try await withGateway(options()) { gateway async throws in
      let agent = try await PlayedAgent(gateway)
      let alarms = AlarmCode.allCases.map { Alarm($0, subject: "s", message: "m", remedy: "r", since: gateway.time.now) }
      let beat = Heartbeat(capabilities: ["validate"], software: "test", clock: gateway.time.now, alarms: alarms, draining: false)
      #expect(try await agent.post("/agent/v1/heartbeat", beat).status == 200)
      let told = await gateway.hub.alarms().filter { $0.subject == "s" }.map(\.code)
      #expect(
        Set(told) == [.serviceCredentialRefused, .serviceCredentialUnreadable, .noDirectoryServer, .directoryCertificate, .lockoutUnreadable])
    }
  }

  @Test("ignores forged, swapped and contradictory verdicts; nobody is let in by one")
  func forgeries() async throws {
    try await withGateway(options()) { gateway async throws in
      let agent = try await PlayedAgent(gateway)
      let other = try await PlayedAgent(gateway, name: "agent2", realm: "fabrikam.com")
      let forge: [@Sendable (QuestionFrame) throws -> VerdictFrame] = [
        // Another key's signature, another question's digest, a body that was changed, a body that says nothing, garbage.
        { try agent.verdict(try agent.accepted, on: $0, key: P256.Signing.PrivateKey()) },
        {
          try agent.verdict(
            try agent.accepted, on: $0,
            digest: QuestionDigest(id: $0.id, kind: $0.kind, realm: $0.realm.text, userName: "bob@contoso.com", wanting: $0.wanting))
        },
        {
          var frame = try agent.verdict(.refused(Refusal(.wrongPassword)), on: $0)
          frame.body = try agent.verdict(try agent.accepted, on: $0).body
          return frame
        },
        { VerdictFrame(question: $0.id, body: "", signature: "") }, { VerdictFrame(question: $0.id, body: "AAAA", signature: "!!!!") },
        {
          let person = ScriptedValidator.person(realm: try name("fabrikam.com"))
          return try agent.verdict(.accepted(person), on: $0)
        },
        { try agent.verdict(try agent.accepted, on: $0, key: other.identity.signingKey) },
      ]
      for make in forge {
        let body = try await whileAsked(gateway, agent) { frame async throws in #expect(try await agent.deliver([try make(frame)]) == 1) }
        #expect(body.verdict == "unknown" && body.aadsts == 80003 && body.user == nil)
      }
      // Nothing is counted, but the password may have been put before the directory.
      let alice = LockoutName(try #require(UserName("alice@contoso.com")), realm: try name(LiveGateway.realmName))
      let state = try #require(try await gateway.store.state(of: alice))
      #expect(state.failures == 0 && state.charges.count == forge.count)
    }
  }

  @Test("takes a verdict from the agent that was asked only, once only, and never late")
  func replays() async throws {
    try await withGateway(options()) { gateway async throws in
      let agent = try await PlayedAgent(gateway)
      let other = try await PlayedAgent(gateway, name: "agent2", realm: "fabrikam.com")
      let kept = Shared<VerdictFrame?>(nil)
      let body = try await whileAsked(gateway, agent) { frame async throws in
        let verdict = try agent.verdict(.refused(Refusal(.wrongPassword)), on: frame)
        // Another agent that has got hold of the question, or of the verdict itself.
        #expect(try await other.deliver([try other.verdict(try other.accepted, on: frame), verdict]) == 2)
        #expect(try await agent.deliver([verdict]) == 0)
        #expect(try await agent.deliver([verdict]) == 1)
        kept.set(verdict)
      }
      #expect(body.verdict == "refused" && body.code == "invalid_credentials")
      // Kept for the next question, and for one that does not exist.
      let next = try await whileAsked(gateway, agent) { frame async throws in
        var replayed = try #require(kept.value)
        #expect(try await agent.deliver([replayed]) == 1)
        replayed.question = Identifier()
        #expect(try await agent.deliver([replayed]) == 1)
        #expect(try await agent.deliver([try agent.verdict(try agent.accepted, on: frame)]) == 0)
      }
      #expect(next.verdict == "accepted")
    }
  }

  @Test("answers nobody could find out where no agent is there, and where the agent says nothing in time")
  func noAnswer() async throws {
    try await withGateway(options(deadline: .milliseconds(600))) { gateway async throws in
      let nobody = try await gateway.signIn(Self.signIn)
      #expect(try nobody.status == 503 && nobody.decode(SignInBody.self).aadsts == 80001)
      let agent = try await PlayedAgent(gateway)
      let kept = Shared<QuestionFrame?>(nil)
      let silent = try await whileAsked(gateway, agent) { frame async throws in kept.set(frame) }
      #expect(silent.verdict == "unknown" && silent.aadsts == 80002)
      #expect(try await agent.deliver([try agent.verdict(try agent.accepted, on: try #require(kept.value))]) == 1)
    }
  }

  @Test("refuses malformed messages, whichever", arguments: ["/agent/v1/work", "/agent/v1/verdicts", "/agent/v1/heartbeat", "/agent/v1/renew"])
  func malformed(path: String) async throws {
    try await withGateway(options()) { gateway async throws in
      let agent = try await PlayedAgent(gateway)
      let connection = try await agent.connect()
      let bodies = [
        "", "{}", "[]", "null", "{\"lane\":1}", "{\"lane\":\"\"}", "{\"lane\":\"AAAA\"}", "{\"lane\":\"!!!!!!!!!!!!!!!!!!!!!!\"}",
        "{\"lane\":\"\(String(repeating: "A", count: 43))\"}",
        "{\"verdicts\":{},\"stages\":[]}", "{\"verdicts\":[{}],\"stages\":[]}",
        "{\"verdicts\":[{\"question\":\"x\",\"body\":\"\",\"signature\":\"\"}],\"stages\":[]}",
        "{\"verdicts\":[],\"stages\":[{\"question\":\"00000000-0000-0000-0000-000000000000\",\"stage\":\"unheard-of\"}]}",
        "{\"verdicts\":[],\"verdicts\":[],\"stages\":[]}",
        "{\"version\":1}", "{\"version\":\"1\",\"capabilities\":[],\"software\":\"\",\"clock\":0,\"alarms\":[],\"draining\":false}",
        "{\"version\":0,\"capabilities\":[],\"software\":\"\",\"clock\":0,\"alarms\":[],\"draining\":false}",
        "{\"version\":1,\"capabilities\":[],\"software\":\"\",\"clock\":1e99,\"alarms\":[],\"draining\":false}", "{\"certificateRequest\":1}",
        "{\"a\":" + String(repeating: "[", count: 2000),
      ]
      for body in bodies { #expect(try await agent.post(path, bytes: Array(body.utf8), on: connection).status == 400, "\(body.prefix(80))") }
      let text = try await connection.exchange(RawRequest("POST", path, body: Array("{}".utf8)))
      #expect(text.status == 415)
      #expect(try await connection.exchange(RawRequest("GET", path)).status == 405)
      let limit = path == "/agent/v1/work" || path == "/agent/v1/renew" ? 16 * 1024 : 4 * 1024 * 1024
      let large = try await agent.post(path, bytes: Array("{".utf8) + [UInt8](repeating: 0x20, count: limit))
      #expect(large.status == 413)
    }
  }

  @Test("survives a batch of garbage beside a good verdict")
  func garbageBatch() async throws {
    try await withGateway(options()) { gateway async throws in
      let agent = try await PlayedAgent(gateway)
      let body = try await whileAsked(gateway, agent) { frame async throws in
        var frames = (0..<200).map { VerdictFrame(question: Identifier(), body: String(repeating: "A", count: $0), signature: "A") }
        frames.insert(try agent.verdict(try agent.accepted, on: frame), at: 100)
        #expect(try await agent.deliver(frames) == 200)
      }
      #expect(body.verdict == "accepted")
    }
  }

  @Test("seals each lane for itself, and refuses an agent that opens ever more of them")
  func lanes() async throws {
    try await withGateway(options()) { gateway async throws in
      let agent = try await PlayedAgent(gateway)
      let lane = LaneID()
      for _ in 0..<2 {
        #expect(try await agent.beat().status == 200)
        async let answer = gateway.signIn(Self.signIn)
        let frame = try await agent.question(lane: lane)
        #expect(try await agent.deliver([try agent.verdict(try agent.accepted, on: frame)]) == 0)
        #expect(try await answer.status == 200)
      }
      gateway.hub.close()
      var statuses: [Int] = []
      let connection = try await agent.connect()
      for _ in 0..<64 { statuses.append(try await agent.post("/agent/v1/work", WorkRequest(lane: LaneID()), on: connection).status) }
      #expect(statuses.prefix(63).allSatisfy { $0 == 200 } && statuses.last == 409)
    }
  }

  @Test("cuts a revoked agent off at once, in words, and what it still owes is not taken")
  func revoked() async throws {
    try await withGateway(options()) { gateway async throws in
      let agent = try await PlayedAgent(gateway)
      let connection = try await agent.connect()
      let body = try await whileAsked(gateway, agent) { frame async throws in
        _ = try await gateway.enrolment.revoke("agent1", actor: "test", now: gateway.time.now)
        gateway.hub.drop(agent.identity.agent)
        let verdicts = VerdictsRequest(verdicts: [try agent.verdict(try agent.accepted, on: frame)])
        #expect(try await agent.post("/agent/v1/verdicts", verdicts, on: connection).status == 403)
      }
      #expect(body.verdict == "unknown")
      for (path, message) in [
        ("/agent/v1/work", #"{"lane":"AAAAAAAAAAAAAAAAAAAAAA"}"#), ("/agent/v1/renew", #"{"certificateRequest":"AAAA"}"#),
        ("/agent/v1/heartbeat", "{}"),
      ] {
        // On the connection it has, and on a new one.
        for held in [connection, nil] {
          let answer = try await agent.post(path, bytes: Array(message.utf8), on: held)
          #expect(answer.status == 403 && answer.text.contains("revoked") && answer.text.contains("gatehouse agents token"))
        }
      }
    }
  }

  @Test("lets an expired agent renew, and nothing else, for thirty days")
  func expired() async throws {
    try await withGateway(options()) { gateway async throws in
      let agent = try await PlayedAgent(gateway)
      gateway.time.advance(by: .seconds(31 * 86_400))
      let beat = try await agent.beat()
      #expect(beat.status == 403 && beat.text.contains("/agent/v1/renew"))
      #expect(try await agent.post("/agent/v1/renew", RenewalRequest(certificateRequest: "AAAA")).status == 403)
      let keys = AgentKeys()
      let answer = try await agent.post("/agent/v1/renew", RenewalRequest(certificateRequest: try keys.request()))
      #expect(answer.status == 200)
      let renewed = try keys.renewing(agent.identity, with: try answer.decode(RenewalAnswer.self), now: gateway.time.now)
      let connection = try await gateway.openMutual(renewed.certificate, key: Array(renewed.signingKey.derRepresentation))
      let message = Heartbeat(capabilities: [], software: "", clock: gateway.time.now, alarms: [], draining: false)
      #expect(try await agent.post("/agent/v1/heartbeat", message, on: connection).status == 200)
      // The new certificate, in turn, too late.
      gateway.time.advance(by: .seconds(61 * 86_400))
      let late = try await agent.post("/agent/v1/renew", RenewalRequest(certificateRequest: try AgentKeys().request()), on: connection)
      #expect(late.status == 403 && late.text.contains("Enrol it anew"))
    }
  }

  @Test("keeps agents and front-ends apart: neither's certificate opens the other's door")
  func apart() async throws {
    try await withGateway(options()) { gateway async throws in
      let agent = try await PlayedAgent(gateway)
      #expect(try await agent.post("/v1/sign-in", bytes: Self.signIn).status == 401)
      let issued = gateway.frontEndCertificate
      for path in ["/agent/v1/work", "/agent/v1/verdicts", "/agent/v1/heartbeat", "/agent/v1/renew"] {
        let connection = try await gateway.openMutual(try issued.der, key: Array(issued.privateKey.derRepresentation))
        #expect(try await agent.post(path, bytes: Array("{}".utf8), on: connection).status == 401)
      }
    }
  }

  @Test("refuses an agent's certificate that another gateway issued")
  func foreignAgent() async throws {
    try await withGateway(options()) { elsewhere async throws in
      let foreign = try await PlayedAgent(elsewhere).identity
      try await withGateway(options()) { gateway async throws in
        let connection = try await gateway.openMutual(foreign.certificate, key: Array(foreign.signingKey.derRepresentation))
        await #expect(throws: RawConnection.Failure.closed(received: "")) {
          try await connection.exchange(RawRequest("POST", "/agent/v1/heartbeat", body: []))
        }
      }
    }
  }
}

@Suite("POST /agent/v1/enrol")
struct EnrolmentRouteTests {
  private func seal(_ token: EnrolmentToken, name: String = "agent1") throws -> SealedEnvelope {
    try EnrolmentChannel.seal(
      EnrolmentRequest(secret: token.secret.withBytes { $0.base64URL }, name: name, certificateRequest: try AgentKeys().request()),
      gatewayKey: token.gatewayKey
    ).0
  }

  @Test("refuses a used, an expired, an unknown and a foreign token, each in words, and records it")
  func tokens() async throws {
    try await withGateway { gateway async throws in
      func refused(_ envelope: SealedEnvelope) async throws -> String? {
        let answer = try await PlayedAgent.enrol(gateway, envelope)
        return answer.status == 403 ? try answer.decode(FaultBody.self).error.message : nil
      }
      let used = try await PlayedAgent.token(gateway)
      let envelope = try seal(used)
      #expect(try await PlayedAgent.enrol(gateway, envelope).status == 200)
      #expect(try await refused(envelope) == AgentEnrolment.Refusal.token.message)
      #expect(try await refused(seal(used, name: "agent2")) == AgentEnrolment.Refusal.token.message)
      let expired = try await PlayedAgent.token(gateway)
      gateway.time.advance(by: EnrolmentToken.life)
      #expect(try await refused(seal(expired, name: "agent3")) == AgentEnrolment.Refusal.token.message)
      var unknown = try await PlayedAgent.token(gateway)
      unknown.secret = Secret(RandomBytes.generate(32))
      #expect(try await refused(seal(unknown, name: "agent4")) == AgentEnrolment.Refusal.token.message)
      var foreign = try await PlayedAgent.token(gateway)
      foreign.gatewayKey = Array(Curve25519.KeyAgreement.PrivateKey().publicKey.rawRepresentation)
      #expect(try await refused(seal(foreign, name: "agent5")) == AgentEnrolment.Refusal.envelope.message)
      #expect(try await refused(seal(try await PlayedAgent.token(gateway))) == AgentEnrolment.Refusal.name.message)
      #expect(await gateway.store.events.filter { $0.kind == .enrolmentRefused && $0.actor == "127.0.0.1" }.count == 6)
      #expect(try await gateway.store.agents().count == 1)
    }
  }

  @Test(
    "refuses what is no envelope",
    arguments: [
      ("{}", 400), ("", 400), ("{\"ciphertext\":null}", 400), ("{\"ciphertext\":1}", 400), ("{\"ciphertext\":\"\"}", 403),
      ("{\"ciphertext\":\"AAAA\",\"encapsulatedKey\":\"AAAA\"}", 403),
      ("{\"ciphertext\":\"AAAA\",\"encapsulatedKey\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}", 403),
      ("{\"ciphertext\":\"!\",\"encapsulatedKey\":\"\\u0000\"}", 403), ("{\"ciphertext\":\"a\",\"ciphertext\":\"b\"}", 400),
    ])
  func garbage(body: String, status: Int) async throws {
    try await withGateway { gateway async throws in
      let answer = try await gateway.ask(
        RawRequest("POST", "/agent/v1/enrol", headers: [("Content-Type", "application/json")], body: Array(body.utf8)))
      #expect(answer.status == status)
    }
  }

  @Test("slows an address that is refused again and again, so that nobody fills the audit before they have proved anything")
  func flood() async throws {
    try await withGateway { gateway async throws in
      let request = RawRequest(
        "POST", "/agent/v1/enrol", headers: [("Content-Type", "application/json")], body: Array(#"{"ciphertext":""}"#.utf8))
      let connection = try await gateway.open()
      var statuses: [Int] = []
      // A hundred at once and two a second: on a slow machine some come back while the test still asks.
      while statuses.count < 1000, statuses.last != 429 { statuses.append(Int(try await connection.exchange(request).status)) }
      #expect(statuses.last == 429 && statuses.dropLast().allSatisfy { $0 == 403 } && statuses.count >= 100)
      let refused = await gateway.store.events.filter { $0.kind == .enrolmentRefused }.count
      #expect(refused == statuses.count - 1)
    }
  }
}
