import Bytes
import Crypto
import Foundation
import Identity
import PassThrough
import Testing

@Suite("Passwords sealed to one agent")
struct SealingTests {
  let agent = Identifier()
  let lane = LaneID()
  let agentKey = Curve25519.KeyAgreement.PrivateKey()
  let gatewayKey = Curve25519.KeyAgreement.PrivateKey()

  func question(_ user: String = "alice@contoso.com", password: String = "correct horse") throws -> Question {
    Question(
      realm: try #require(RealmName("contoso.com")), userName: try #require(UserName(user)),
      password: Password(Secret(password.utf8)), wanting: AttributeRequest(attributes: ["mail"]), deadline: Deadline(after: .seconds(8))
    )
  }

  func ends(
    sealedBy sender: Curve25519.KeyAgreement.PrivateKey? = nil, openedAs other: Identifier? = nil
  ) throws -> (SealingLane, OpeningLane) {
    let sealing = try SealingLane(
      agent: agent, lane: lane, agentKey: Array(agentKey.publicKey.rawRepresentation), gatewayKey: sender ?? gatewayKey)
    let opening = try OpeningLane(
      agent: other ?? agent, lane: lane, encapsulatedKey: sealing.encapsulatedKey, agentKey: agentKey, gatewayKey: gatewayKey.publicKey)
    return (sealing, opening)
  }

  func text(_ password: Password?) -> String? { password?.secret.withBytes { StrictText.utf8($0) } }

  @Test("What is sealed in order opens in order, and the wire does not show it")
  func opensInOrder() throws {
    var (sealing, opening) = try ends()
    let frames =
      try sealing.seal([try question(password: "first"), try question(password: "zweites ü")]) + sealing.seal([try question(password: "third")])
    for frame in frames {
      let wire = String(decoding: try JSONEncoder().encode(frame), as: UTF8.self)
      #expect(!wire.contains("first") && !wire.contains(Data("first".utf8).base64EncodedString()))
    }
    #expect(try frames.map { text(try opening.open($0)) } == ["first", "zweites ü", "third"])
  }

  @Test("A replayed, a skipped and a reordered question do not open")
  func orderIsCertain() throws {
    var (sealing, opening) = try ends()
    let frames = try sealing.seal([try question(), try question(), try question()])
    _ = try opening.open(frames[0])
    #expect(throws: SealBroken.self) { try opening.open(frames[0]) }
    #expect(throws: SealBroken.self) { try opening.open(frames[2]) }
    #expect(text(try opening.open(frames[1])) == "correct horse")
  }

  @Test("A password moved to another user, realm, question or wish does not open", arguments: 0..<5)
  func boundToItsQuestion(field: Int) throws {
    var (sealing, opening) = try ends()
    var frame = try #require(try sealing.seal([try question()]).first)
    switch field {
    case 0: frame.userName = "mallory@contoso.com"
    case 1: frame.realm = try #require(RealmName("fabrikam.com"))
    case 2: frame.id = Identifier()
    case 3: frame.wanting.groups = true
    default: frame.kind = "canary"
    }
    #expect(throws: SealBroken.self) { try opening.open(frame) }
  }

  @Test("Only the gateway whose key was pinned can seal for the agent")
  func senderIsAuthenticated() throws {
    var (sealing, opening) = try ends(sealedBy: Curve25519.KeyAgreement.PrivateKey())
    let frame = try #require(try sealing.seal([try question()]).first)
    #expect(throws: SealBroken.self) { try opening.open(frame) }
  }

  @Test("A lane of another agent does not open, even with the key")
  func laneIsBoundToTheAgent() throws {
    var (sealing, opening) = try ends(openedAs: Identifier())
    let frame = try #require(try sealing.seal([try question()]).first)
    #expect(throws: SealBroken.self) { try opening.open(frame) }
  }

  @Test("Any flipped bit of the ciphertext is noticed")
  func tamperedCiphertext() throws {
    for bit in 0..<64 {
      var (sealing, opening) = try ends()
      var frame = try #require(try sealing.seal([try question(password: "0123456789")]).first)
      var bytes = try #require(StrictText.base64(frame.sealed))
      bytes[(bit * 7) % bytes.count] ^= UInt8(1 << (bit % 8))
      frame.sealed = Data(bytes).base64EncodedString()
      #expect(throws: SealBroken.self) { try opening.open(frame) }
    }
  }
}

@Suite("Verdicts signed over their question")
struct SignedVerdictTests {
  let key = P256.Signing.PrivateKey()
  let digest = QuestionDigest(id: Identifier(), kind: "validate", realm: "contoso.com", userName: "alice", wanting: .none)

  func realm() throws -> RealmName { try #require(RealmName("contoso.com")) }

  func yes(realm: String = "contoso.com") throws -> VerdictBody {
    let object = DirectoryObject(realm: try #require(RealmName(realm)), id: Identifier())
    return VerdictBody(
      Judgement(.accepted(AcceptedPerson(object: object, immutableID: "AAAA", userPrincipalName: "alice@contoso.com"))),
      at: Instant(milliseconds: 0))
  }

  @Test("A good verdict is read")
  func good() throws {
    let frame = try VerdictFrame(try yes(), question: Identifier(), digest: digest, key: key)
    let judgement = frame.verified(digest: digest, realm: try realm(), key: key.publicKey)
    guard case .accepted(let person)? = judgement?.verdict else { Issue.record("not accepted: \(String(describing: judgement))"); return }
    #expect(person.userPrincipalName == "alice@contoso.com")
  }

  @Test("A yes to another question is no yes to this one")
  func otherQuestion() throws {
    let frame = try VerdictFrame(try yes(), question: Identifier(), digest: digest, key: key)
    let other = QuestionDigest(id: Identifier(), kind: "validate", realm: "contoso.com", userName: "alice", wanting: .none)
    #expect(frame.verified(digest: other, realm: try realm(), key: key.publicKey) == nil)
  }

  @Test("A yes signed by somebody else is nothing")
  func foreignKey() throws {
    let frame = try VerdictFrame(try yes(), question: Identifier(), digest: digest, key: P256.Signing.PrivateKey())
    #expect(frame.verified(digest: digest, realm: try realm(), key: key.publicKey) == nil)
  }

  @Test("A yes about a person of another realm is nothing, however well signed")
  func otherRealm() throws {
    let frame = try VerdictFrame(try yes(realm: "fabrikam.com"), question: Identifier(), digest: digest, key: key)
    #expect(frame.verified(digest: digest, realm: try realm(), key: key.publicKey) == nil)
  }

  @Test("A verdict that contradicts itself is nothing")
  func contradiction() throws {
    var both = try yes()
    both.refusal = Refusal(.wrongPassword)
    var empty = VerdictBody(unsupportedAt: Instant(milliseconds: 0))
    empty.kind = .accepted
    for body in [both, empty] {
      let frame = try VerdictFrame(body, question: Identifier(), digest: digest, key: key)
      #expect(frame.verified(digest: digest, realm: try realm(), key: key.publicKey) == nil)
    }
  }

  @Test("Ten thousand damaged verdicts are refused, and none ends the process")
  func mutations() throws {
    let frame = try VerdictFrame(try yes(), question: Identifier(), digest: digest, key: key)
    let wire = Array(try JSONEncoder().encode(frame))
    var state: UInt64 = 0x9e37_79b9_7f4a_7c15
    func random(_ bound: Int) -> Int {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return Int(state % UInt64(bound))
    }
    let realm = try realm()
    for _ in 0..<10_000 {
      var bytes = wire
      for _ in 0...random(3) {
        switch random(3) {
        case 0: bytes[random(bytes.count)] = UInt8(random(256))
        case 1: bytes.remove(at: random(bytes.count))
        default: bytes.insert(UInt8(random(256)), at: random(bytes.count))
        }
      }
      guard bytes != wire, let damaged = try? JSONDecoder().decode(VerdictFrame.self, from: Data(bytes)) else { continue }
      if damaged.body == frame.body && damaged.signature == frame.signature { continue }
      #expect(damaged.verified(digest: digest, realm: realm, key: key.publicKey) == nil)
    }
  }
}
