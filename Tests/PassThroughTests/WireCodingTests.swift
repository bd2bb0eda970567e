import Bytes
import Crypto
import Foundation
import GatehouseTesting
import Identity
import Testing

@testable import PassThrough

@Suite("The messages of a sign-in, read and written by hand")
struct WireCodingTests {
  private let question = Identifier()
  private let realm = RealmName("contoso.com")

  private func bodies() throws -> [VerdictBody] {
    let realm = try #require(realm)
    let object = DirectoryObject(realm: realm, id: Identifier())
    let trace = [TraceNote(.search, "dc1: 1 \"found\"\n\u{202e}", milliseconds: 0.123456789), TraceNote(.bind, "ünïcödé 😀")]
    let person = AcceptedPerson(
      object: object, immutableID: "AQID", userPrincipalName: "alice@contoso.com", attributes: ["mail": ["a@b", "c@d"], "empty": []],
      groups: ["CN=Staff", "CN=\\2C \u{0}"], passwordExpires: Instant(milliseconds: -5))
    var undecided = Judgement(.unknown(.directoryBusy), trace: trace)
    undecided.uncertainTries = 1
    undecided.facts = LockoutFacts(
      count: 2, lastWrongMillisecondsAgo: 5, passwordSet: 133_000_000_000_000_000,
      policy: DirectoryLockoutPolicy(threshold: 5, window: .seconds(1800), lock: nil), bindSent: true)
    var refused = Judgement(.refused(Refusal(.wrongPassword, object: object)))
    refused.facts = LockoutFacts(policy: DirectoryLockoutPolicy(threshold: 5, window: .seconds(1800), lock: .seconds(60)), bindSent: false)
    let at = Instant(milliseconds: 1_795_260_831_587)
    return [
      VerdictBody(refused, at: at), VerdictBody(Judgement(.person(Identifier()), trace: trace), at: at),
      VerdictBody(Judgement(.nobody, trace: []), at: at),
      VerdictBody(Judgement(change: .changed(person), trace: trace), at: at), VerdictBody(Judgement(change: .changed(nil)), at: at),
      VerdictBody(
        Judgement(
          change: .notTaken(
            PasswordRules(
              broken: Set(PasswordRule.allCases), minimumLength: 7, historyLength: 24, minimumAgeSeconds: 86_400, complexity: false,
              changeableFrom: at))), at: at), VerdictBody(Judgement(change: .notTaken(PasswordRules())), at: at),
      VerdictBody(Judgement(.accepted(person), trace: trace), at: at),
      VerdictBody(
        Judgement(.accepted(AcceptedPerson(object: object, immutableID: "", userPrincipalName: "x")), trace: []), at: at),
      VerdictBody(Judgement(.refused(Refusal(.wrongPassword, object: object, subCode: "52e")), trace: trace), at: at),
      VerdictBody(Judgement(.refused(Refusal(.userNotFound)), trace: trace), at: at), VerdictBody(undecided, at: at), VerdictBody(unsupportedAt: at),
    ]
  }

  /// Both ways of writing mean the same to both ways of reading.
  private func holdsTogether<Message: WireMessage & Codable>(_ message: Message) throws {
    let byHand = message.message
    let byReflection = Array(try JSONEncoder().encode(message))
    #expect(
      try JSONSerialization.jsonObject(with: Data(byHand)) as? NSDictionary == JSONSerialization.jsonObject(with: Data(byReflection)) as? NSDictionary
    )
    let readByHand = try Message(message: byReflection)
    let readByReflection = try JSONDecoder().decode(Message.self, from: Data(byHand))
    let plain = JSONEncoder()
    plain.outputFormatting = .sortedKeys
    #expect(try plain.encode(readByHand) == plain.encode(message))
    #expect(try plain.encode(readByReflection) == plain.encode(message))
  }

  @Test("Verdicts of every kind say the same as Codable says")
  func verdicts() throws { for body in try bodies() { try holdsTogether(body) } }

  @Test("So do polls, questions and batches, with everything and with nothing optional")
  func others() throws {
    try holdsTogether(WorkRequest(lane: LaneID()))
    try holdsTogether(WorkRequest(lane: LaneID(), instance: Identifier(), understands: nil))
    try holdsTogether(WorkRequest(lane: LaneID(), instance: Identifier(), understands: 2))
    let frame = QuestionFrame(
      id: question, kind: "validate", realm: try #require(realm), userName: "älice\\\"@contoso.com",
      wanting: AttributeRequest(attributes: ["mail"], groups: true), remainingMilliseconds: 4999, sealed: "AAAA")
    var allowed = frame
    allowed.allowance = TryAllowance(expected: Identifier(), undecided: 1, charged: 2, isFamiliar: true, refusedAt: -4, counted: 3)
    var strangers = frame
    strangers.allowance = TryAllowance(expected: nil)
    try holdsTogether(WorkResponse(encapsulatedKey: "", questions: [allowed, strangers]))
    try holdsTogether(WorkResponse())
    try holdsTogether(WorkResponse(encapsulatedKey: "AQID", questions: [frame, frame]))
    try holdsTogether(VerdictsRequest(verdicts: []))
    try holdsTogether(
      VerdictsRequest(
        verdicts: [
          VerdictFrame(question: question, body: "e30=", signature: "", digest: "AQID"), VerdictFrame(question: question, body: "", signature: "x"),
        ],
        stages: [StageReport(question: question, stage: .bindSent), StageReport(question: question, stage: .accepted)], signature: "AAAA"))
  }

  @Test("A message that is not what it should be is refused with the field that is wrong")
  func refused() throws {
    #expect(throws: WireFault("The field \"lane\" is missing.")) { try WorkRequest(message: Array("{}".utf8)) }
    #expect(throws: WireFault.field("lane", "a lane id")) { try WorkRequest(message: Array(#"{"lane":"x"}"#.utf8)) }
    #expect(throws: WireFault.field("verdicts", "an array")) { try VerdictsRequest(message: Array(#"{"verdicts":{},"stages":[]}"#.utf8)) }
    #expect(throws: WireFault.self) { try VerdictsRequest(message: Array(#"{"verdicts":[{"question":"x"}],"stages":[]}"#.utf8)) }
    #expect(throws: WireFault.self) { try VerdictBody(message: Array(#"{"kind":"accepted","at":1,"trace":[],"person":{}}"#.utf8)) }
    #expect(throws: WireFault.self) { try VerdictBody(message: Array(#"{"kind":"accepted","kind":"refused","at":1,"trace":[]}"#.utf8)) }
  }

  @Test("A batch bears one signature; nothing in it can be changed, taken out, added or put to another question")
  func batch() throws {
    let key = P256.Signing.PrivateKey()
    let realm = try #require(realm)
    let digests = (0..<3).map { _ in
      QuestionDigest(id: Identifier(), kind: "validate", realm: "contoso.com", userName: "alice", wanting: .none)
    }
    let bodies = try bodies()
    let drafts = digests.enumerated().map { VerdictDraft(bodies[$0.offset], question: Identifier(), digest: $0.element) }
    let batch = try VerdictsRequest(message: VerdictsRequest(signing: drafts, stages: [], key: key).message)
    #expect(batch.isSigned(by: key.publicKey))
    #expect(!batch.isSigned(by: P256.Signing.PrivateKey().publicKey))
    #expect(batch.verdicts[0].verified(inBatch: digests[0], kind: .validate, realm: realm) != nil)
    #expect(batch.verdicts[0].verified(inBatch: digests[1], kind: .validate, realm: realm) == nil)
    var changed = batch
    changed.verdicts.swapAt(0, 1)
    #expect(!changed.isSigned(by: key.publicKey))
    changed = batch
    changed.verdicts[2].body = VerdictDraft(bodies[0], question: question, digest: digests[2]).body
    #expect(!changed.isSigned(by: key.publicKey))
    changed = batch
    changed.verdicts[2].digest = digests[1].bytes.base64
    #expect(!changed.isSigned(by: key.publicKey))
    changed = batch
    changed.verdicts.removeLast()
    #expect(!changed.isSigned(by: key.publicKey))
    changed = batch
    changed.verdicts[0].question = Identifier()
    #expect(!changed.isSigned(by: key.publicKey))
    changed = batch
    changed.signature = nil
    #expect(!changed.isSigned(by: key.publicKey))
  }

  @Test("Ten thousand damaged messages trap nowhere")
  func mutations() throws {
    let key = P256.Signing.PrivateKey()
    let digest = QuestionDigest(id: Identifier(), kind: "validate", realm: "contoso.com", userName: "alice", wanting: .none)
    let drafts = try bodies().map { VerdictDraft($0, question: question, digest: digest) }
    let batch = try VerdictsRequest(signing: drafts, stages: [StageReport(question: question, stage: .accepted)], key: key).message
    let seeds = [batch] + (try bodies().map(\.message))
    var generator = SeededGenerator(seed: 20_261_121)
    for round in 0..<10_000 {
      var text = seeds[round % seeds.count]
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        let place = Int.random(in: 0..<text.count, using: &generator)
        switch Int.random(in: 0..<3, using: &generator) {
        case 0: text[place] = UInt8.random(in: .min ... .max, using: &generator)
        case 1: text.insert(contentsOf: text[place...].prefix(16), at: place)
        default: text.removeSubrange(place..<min(text.count - 1, place + 8))
        }
      }
      if let damaged = try? VerdictsRequest(message: text) { _ = damaged.isSigned(by: key.publicKey) }
      _ = try? VerdictBody(message: text)
    }
  }
}
