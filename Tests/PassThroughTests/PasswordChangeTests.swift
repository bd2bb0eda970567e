import Bytes
import Crypto
import Foundation
import Identity
import Testing

@testable import PassThrough

@Suite("A change of a password on its way to an agent")
struct PasswordChangeTests {
  private let agent = Identifier()
  private let other = Identifier()
  private let lane = LaneID()
  private let agentKey = Curve25519.KeyAgreement.PrivateKey()
  private let gatewayKey = Curve25519.KeyAgreement.PrivateKey()

  private func realm() throws -> RealmName { try #require(RealmName("contoso.com")) }

  private func question(old: String = "old ü", new: String = "new ✓", kind: QuestionKind = .changePassword) throws -> Question {
    Question(
      kind: kind, realm: try realm(), userName: try #require(UserName("alice")), password: Password(Secret(old.utf8)),
      newPassword: kind == .changePassword ? Password(Secret(new.utf8)) : nil, wanting: .none, deadline: Deadline(after: .seconds(8)))
  }

  private func ends() throws -> (SealingLane, OpeningLane) {
    let sealing = try SealingLane(agent: agent, lane: lane, agentKey: Array(agentKey.publicKey.rawRepresentation), gatewayKey: gatewayKey)
    return (
      sealing,
      try OpeningLane(
        agent: agent, lane: lane, encapsulatedKey: sealing.encapsulatedKey, agentKey: agentKey, gatewayKey: gatewayKey.publicKey)
    )
  }

  private func text(_ password: Password?) -> String? { password?.secret.withBytes { StrictText.utf8($0) } }

  @Test("Both passwords travel in one sealed message among those of sign-ins, and the wire shows neither")
  func sealed() throws {
    var (sealing, opening) = try ends()
    let frames = try sealing.seal([try question(kind: .validate), try question(), try question(old: "a", new: "a")])
    for frame in frames {
      let wire = String(decoding: frame.message, as: UTF8.self)
      #expect(!wire.contains("new ✓") && !wire.contains(Data("new ✓".utf8).base64EncodedString()))
    }
    let opened = try frames.map { try opening.openAll($0) }
    #expect(opened.map { text($0.password) } == ["old ü", "old ü", "a"])
    #expect(opened.map { text($0.newPassword) } == [nil, "new ✓", "a"])
  }

  @Test("A sealed change that is made a sign-in, or a sign-in that is made a change, does not open")
  func boundToItsKind() throws {
    for (kind, made) in [(QuestionKind.changePassword, QuestionKind.validate), (.validate, .changePassword)] {
      var (sealing, opening) = try ends()
      var frame = try #require(try sealing.seal([try question(kind: kind)]).first)
      frame.kind = made.rawValue
      #expect(throws: SealBroken.self) { try opening.openAll(frame) }
    }
  }

  @Test(
    "What is not two passwords, each behind its length, is none",
    arguments: [
      [], [0, 0, 0], [0, 0, 0, 1, 0x61], [0, 0, 0, 1, 0x61, 0, 0, 0, 9, 0x62], [0, 0, 0, 1, 0x61, 0, 0, 0, 1, 0x62, 0x63],
      [0xff, 0xff, 0xff, 0xff, 0x61],
    ] as [[UInt8]])
  func malformed(bytes: [UInt8]) {
    let opened = SealedPasswords(Data(bytes), kind: "changePassword")
    #expect(opened.password == nil || opened.newPassword == nil)
  }

  @Test("An old or a new password that no directory may be given is none")
  func forbidden() {
    let opened = SealedPasswords(Data([0, 0, 0, 1, 0x61, 0, 0, 0, 0]), kind: "changePassword")
    #expect(text(opened.password) == "a" && opened.newPassword == nil)
    #expect(SealedPasswords(Data([0, 0, 0, 1, 0, 0, 0, 0, 1, 0x61]), kind: "changePassword").password == nil)
  }

  @Test("Only answers to a change are taken for one, and none of them for a verdict")
  func kinds() throws {
    let realm = try realm()
    let person = AcceptedPerson(
      object: DirectoryObject(realm: realm, id: Identifier()), immutableID: "", userPrincipalName: "alice@contoso.com")
    let rules = PasswordRules(
      broken: [.tooShort, .usedBefore], minimumLength: 7, historyLength: 24, minimumAgeSeconds: 86_400, complexity: true,
      changeableFrom: Instant(milliseconds: 5))
    let at = Instant(milliseconds: 1)
    for outcome in [
      PasswordChangeOutcome.changed(person), .changed(nil), .notTaken(rules), .notTaken(PasswordRules()), .refused(Refusal(.wrongPassword)),
      .unknown(.directoryBusy),
    ] {
      let body = try VerdictBody(message: VerdictBody(Judgement(change: outcome), at: at).message)
      #expect(body.judgement(of: .changePassword, realm: realm)?.changeOutcome == outcome)
      for kind in [QuestionKind.validate, .lookUp] {
        if case .accepted? = body.judgement(of: kind, realm: realm)?.verdict { Issue.record("\(outcome) is taken for a yes") }
      }
      switch outcome {
      case .changed, .notTaken: #expect(body.judgement(of: .validate, realm: realm) == nil)
      case .refused, .unknown: #expect(body.judgement(of: .lookUp, realm: realm)?.meaning == nil)
      }
    }
    let yes = VerdictBody(Judgement(.accepted(person)), at: at)
    #expect(yes.judgement(of: .changePassword, realm: realm) == nil, "a yes to a password is no change")
    let foreign = try #require(RealmName("fabrikam.com"))
    #expect(VerdictBody(Judgement(change: .changed(person)), at: at).judgement(of: .changePassword, realm: foreign) == nil)
    var both = VerdictBody(Judgement(change: .notTaken(rules)), at: at)
    both.person = person
    #expect(both.judgement(of: .changePassword, realm: realm) == nil)
  }

  @Test("A rule that a newer agent knows is one of which nothing more is known")
  func newRule() throws {
    let body = try VerdictBody(message: Array(#"{"at":1,"kind":"notTaken","rules":{"broken":["tooBlue","tooShort"]},"trace":[]}"#.utf8))
    #expect(body.rules?.broken == [.other, .tooShort])
  }

  // MARK: the hub

  private func connect(_ agents: [Identifier], to hub: inout HubState, understands: Int = WorkRequest.currentUnderstanding) throws {
    for (index, agent) in agents.enumerated() {
      _ = hub.beat(
        agent: agent, realms: [try realm()], now: 0, draining: false, alarms: [], software: "t", clockSkewMilliseconds: 0, reportsStages: true)
      _ = hub.poll(index + 1, agent: agent, realms: [try realm()], understands: understands, now: 0)
    }
  }

  private func finished(_ actions: [HubState.Action]) -> [Judgement] {
    actions.compactMap { if case .finish(_, let judgement, _) = $0 { judgement } else { nil } }
  }

  private func holder(_ id: Identifier, _ hub: HubState) -> Identifier? { [agent, other].first { hub.expected(id, from: $0) != nil } }

  @Test("A change that one agent was handed is asked of no other: not when it is silent, and not when it is lost")
  func once() throws {
    var hub = HubState()
    try connect([agent, other], to: &hub)
    let question = try question()
    _ = hub.ask(question, deadline: 8000, now: 0, random: 3)
    let holder = try #require(self.holder(question.id, hub))
    for now in stride(from: HubTime(100), to: 3000, by: 100) { #expect(finished(hub.tick(now: now)).isEmpty) }
    #expect(self.holder(question.id, hub) == holder)
    let end = try #require(finished(hub.drop(agent: holder, now: 3000)).first)
    #expect(end.verdict == .unknown(.agentLost) && end.uncertainTries == 1)
    #expect(hub.pendingCount == 0)
  }

  @Test("A change that its agent hands back unbegun goes to the other one")
  func handedBack() throws {
    var hub = HubState()
    try connect([agent, other], to: &hub)
    let question = try question()
    _ = hub.ask(question, deadline: 8000, now: 0, random: 3)
    let holder = try #require(self.holder(question.id, hub))
    _ = hub.stage(StageReport(question: question.id, stage: .returned), agent: holder, now: 50)
    let next = try #require(self.holder(question.id, hub))
    #expect(next != holder)
    let answer = Judgement(change: .changed(nil))
    #expect(finished(hub.answered(question.id, by: next, answer, now: 60)).map(\.changeOutcome) == [.changed(nil)])
  }

  @Test("Agents that do not know changes yet are passed over while others do, and asked where there are no others")
  func understanding() throws {
    for seed in 0..<20 {
      var hub = HubState()
      try connect([agent], to: &hub, understands: 2)
      try connect([other], to: &hub)
      let question = try question()
      _ = hub.ask(question, deadline: 8000, now: 0, random: seed)
      #expect(holder(question.id, hub) == other)
    }
    var hub = HubState()
    try connect([agent], to: &hub, understands: 2)
    let question = try question()
    _ = hub.ask(question, deadline: 8000, now: 0, random: 0)
    #expect(holder(question.id, hub) == agent, "it answers that it does not know the kind")
  }

  @Test("Neither a look-up's answer nor that of a change is taken for an agent that cannot find out", arguments: [0, 1])
  func noFailure(which: Int) throws {
    var hub = HubState()
    try connect([agent, other], to: &hub)
    let question = try question()
    _ = hub.ask(question, deadline: 8000, now: 0, random: 3)
    let holder = try #require(self.holder(question.id, hub))
    let answer = which == 0 ? Judgement(.person(Identifier()), trace: []) : Judgement(change: .notTaken(PasswordRules()))
    _ = hub.answered(question.id, by: holder, answer, now: 40)
    #expect(hub.sessions[holder]?.failingUntil == 0)
    #expect(hub.sessions[holder]?.latency == 40)
  }
}
