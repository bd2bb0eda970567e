import Bytes
import Foundation
import GatehouseTesting
import Identity
import PassThrough
import Testing

@Suite("Damaged messages of the agent link")
struct LinkMessageMutationTests {
  private let question = Identifier()

  /// Every message with something in each of its fields.
  private func messages() throws -> [(bytes: [UInt8], read: @Sendable ([UInt8]) -> Void)] {
    func message<Message: Codable & Sendable>(_ message: Message) throws -> ([UInt8], @Sendable ([UInt8]) -> Void) {
      (Array(try JSONEncoder().encode(message)), { _ = try? JSONDecoder().decode(Message.self, from: Data($0)) })
    }
    let stages = [StageReport.Stage.accepted, .bindSent, .returned].map { StageReport(question: question, stage: $0) }
    let verdict = VerdictFrame(question: question, body: "e30=", signature: "AAAA")
    return [
      try message(VerdictsRequest(verdicts: [verdict], stages: stages)), try message(VerdictsAnswer(ignored: 1, withdrawn: [question])),
      try message(WorkRequest(lane: LaneID(), instance: question)),
      try message(
        Heartbeat(
          capabilities: ["validate", "stages"], software: "t", clock: Instant(milliseconds: 1),
          alarms: [Alarm(.clockSkew, subject: "s", message: "m", remedy: "r", since: Instant(milliseconds: 1))], draining: true, instance: question)),
      try message(HeartbeatAnswer(roots: ["AAAA"], nodes: ["https://a"], clock: Instant(milliseconds: 1))),
    ]
  }

  @Test("Twenty thousand damaged messages are refused or read, and none ends the process")
  func mutations() throws {
    var random = SeededGenerator(seed: 20)
    let messages = try messages()
    for round in 0..<20_000 {
      let message = messages[round % messages.count]
      var bytes = message.bytes
      for _ in 0...Int.random(in: 0...3, using: &random) {
        let place = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[place] = UInt8.random(in: .min ... .max, using: &random)
        case 1: bytes.remove(at: place)
        case 2: bytes.insert(contentsOf: bytes.shuffled(using: &random).prefix(3), at: place)
        default: bytes = Array(bytes.prefix(max(1, place)))
        }
        if bytes.isEmpty { bytes = [0x7b] }
      }
      message.read(bytes)
    }
  }

  @Test("An agent of the version before, and a gateway of the version before, are understood without what is new")
  func versionBefore() throws {
    let heartbeat = #"{"version":1,"capabilities":["validate"],"software":"0","clock":1,"alarms":[],"draining":false}"#
    #expect(try JSONDecoder().decode(Heartbeat.self, from: Data(heartbeat.utf8)).instance == nil)
    let answer = try JSONDecoder().decode(HeartbeatAnswer.self, from: Data(#"{"roots":[],"nodes":[],"clock":1}"#.utf8))
    #expect(answer.capabilities == nil)
    #expect(try JSONDecoder().decode(VerdictsAnswer.self, from: Data(#"{"ignored":2}"#.utf8)).withdrawn == nil)
    #expect(String(decoding: try JSONEncoder().encode(VerdictsAnswer(ignored: 2)), as: UTF8.self) == #"{"ignored":2}"#)
  }

  @Test("Reports about questions that are others', or nobody's, move nothing")
  func foreignReports() throws {
    var hub = HubState()
    let (agent, other) = (Identifier(), Identifier())
    let realm = try #require(RealmName("contoso.com"))
    for (poll, who) in [agent, other].enumerated() { _ = hub.poll(poll, agent: who, realms: [realm], now: 0) }
    let asked = Question(
      realm: realm, userName: try #require(UserName("alice")), password: Password(Secret("x".utf8)), wanting: .none,
      deadline: Deadline(after: .seconds(8)))
    _ = hub.ask(asked, deadline: 8000, now: 1, random: 3)
    let holder = try #require([agent, other].first { hub.expected(asked.id, from: $0) != nil })
    let stranger = holder == agent ? other : agent
    for stage in [StageReport.Stage.accepted, .bindSent, .returned] {
      for who in [stranger, Identifier()] {
        let (isExpected, actions) = hub.stage(StageReport(question: asked.id, stage: stage), agent: who, now: 2)
        #expect(!isExpected && actions.isEmpty)
      }
      let (isExpected, actions) = hub.stage(StageReport(question: Identifier(), stage: stage), agent: holder, now: 2)
      #expect(!isExpected && actions.isEmpty)
    }
    #expect(hub.expected(asked.id, from: holder) != nil)
  }
}
