import Bytes
import Crypto
import Cryptography
import Foundation
import Identity

/// What an agent says about a question, as it travels inside the signature.
package struct VerdictBody: Sendable, Codable {
  package enum Kind: String, Sendable, Codable { case accepted, refused, unknown, unsupported, lookedUp, described, changed, notTaken }

  package var kind: Kind
  package var person: AcceptedPerson?
  package var refusal: Refusal?
  package var cause: UnknownCause?
  /// What the agent saw of the person's lockout; nil from agents that do not look.
  package var facts: LockoutFacts?
  /// In answer to a look-up: whom the name means; nil: nobody.
  package var object: Identifier?
  /// Of a new password that the directory did not take.
  package var rules: PasswordRules?
  package var trace: [TraceNote]
  /// When the agent judged, by its own clock.
  package var at: Instant
  /// With an unknown: how often the password was put before the directory without an outcome. Nil in verdicts of agents that do not tell.
  package var uncertainTries: Int?

  package init(_ judgement: Judgement, at: Instant) {
    trace = judgement.trace
    facts = judgement.facts
    self.at = at
    if let meaning = judgement.meaning {
      (kind, object, person) = (judgement.described == nil ? .lookedUp : .described, meaning.object, judgement.described)
      return
    }
    switch judgement.change {
    case .changed(let person)?:
      (kind, self.person) = (.changed, person)
      return
    case .notTaken(let rules)?:
      (kind, self.rules) = (.notTaken, rules)
      return
    case .refused?, .unknown?, nil: break
    }
    switch judgement.verdict {
    case .accepted(let person): (kind, self.person) = (.accepted, person)
    case .refused(let refusal): (kind, self.refusal) = (.refused, refusal)
    case .unknown(let cause):
      (kind, self.cause) = (.unknown, cause)
      // None as well: of agents that do not tell, the trace is guessed from.
      uncertainTries = judgement.uncertainTries
    }
  }

  package init(unsupportedAt at: Instant) {
    kind = .unsupported
    trace = []
    self.at = at
  }

  /// The judgement, if kind and contents agree, fit the question's kind, and the person belongs to `realm`; nil otherwise.
  package func judgement(of asked: QuestionKind, realm: RealmName) -> Judgement? {
    if kind == .described {
      guard asked == .describe, let person, let object, person.object == DirectoryObject(realm: realm, id: object), refusal == nil, cause == nil
      else {
        return nil
      }
      var judgement = Judgement(.person(object), trace: trace, facts: facts)
      judgement.described = person
      return judgement
    }
    if kind == .lookedUp {
      // Somebody who is to be described and is not there is told as nobody.
      guard asked == .lookUp || asked == .describe && object == nil, person == nil, refusal == nil, cause == nil else { return nil }
      return Judgement(object.map { .person($0) } ?? .nobody, trace: trace, facts: facts)
    }
    guard object == nil, rules == nil || kind == .notTaken else { return nil }
    switch kind {
    case .changed:
      guard asked == .changePassword, refusal == nil, cause == nil, person.map({ $0.object.realm == realm }) ?? true else { return nil }
      return Judgement(change: .changed(person), trace: trace, facts: facts)
    case .notTaken:
      guard asked == .changePassword, let rules, person == nil, refusal == nil, cause == nil else { return nil }
      return Judgement(change: .notTaken(rules), trace: trace, facts: facts)
    case .accepted:
      guard asked == .validate, let person, refusal == nil, cause == nil, person.object.realm == realm else { return nil }
      return Judgement(.accepted(person), trace: trace, facts: facts)
    case .refused:
      guard asked == .validate || asked == .changePassword, let refusal, person == nil, cause == nil,
        refusal.object.map({ $0.realm == realm }) ?? true
      else { return nil }
      return Judgement(.refused(refusal), trace: trace, facts: facts)
    case .unknown:
      guard let cause, person == nil, refusal == nil else { return nil }
      // An agent that does not tell may have bound, if it says itself that it got so far.
      let tries = uncertainTries ?? (trace.contains { $0.step == .bind || $0.step == .domainController } ? 1 : 0)
      return Judgement(
        .unknown(cause), trace: trace, uncertainTries: asked == .lookUp || asked == .describe ? 0 : max(0, min(tries, 4)), facts: facts)
    case .unsupported, .lookedUp, .described:
      guard person == nil, refusal == nil, cause == nil else { return nil }
      return Judgement(.unknown(.unsupportedByAgent), trace: trace)
    }
  }
}

/// A verdict before it is signed.
struct VerdictDraft: Sendable {
  var question: Identifier
  var digest: QuestionDigest
  /// The JSON of a `VerdictBody`, base64.
  var body: String

  init(_ body: VerdictBody, question: Identifier, digest: QuestionDigest) {
    self.question = question
    self.digest = digest
    self.body = body.message.base64
  }
}

/// A verdict as it travels: the exact bytes that are signed, and the signature over the question's digest and those bytes.
package struct VerdictFrame: Sendable, Codable {
  package var question: Identifier
  /// The JSON of a `VerdictBody`, base64.
  package var body: String
  /// ECDSA P-256 with SHA-256 by the agent's certified key, 64 bytes r‖s, base64; empty where the batch is signed as a whole.
  package var signature: String
  /// Where the batch is signed: the digest of the question that is answered, 32 bytes, base64.
  package var digest: String?

  package init(question: Identifier, body: String, signature: String, digest: String? = nil) {
    self.question = question
    self.body = body
    self.signature = signature
    self.digest = digest
  }

  /// Signs `body` as the answer to the question with `digest`.
  package init(_ body: VerdictBody, question: Identifier, digest: QuestionDigest, key: P256.Signing.PrivateKey) throws {
    try self.init(VerdictDraft(body, question: question, digest: digest), key: key)
  }

  init(_ draft: VerdictDraft, key: P256.Signing.PrivateKey) throws {
    guard let body = StrictText.base64(draft.body) else { throw SealBroken() }
    let signature = try key.signature(for: VerdictFrame.signedBytes(digest: draft.digest, body: body))
    self.init(question: draft.question, body: draft.body, signature: signature.rawRepresentation.base64)
  }

  /// The judgement, once its signature by `key` over this very question was found good.
  ///
  /// Returns nil for anything else: a foreign or damaged signature, another question's verdict, contents that contradict themselves.
  package func verified(
    digest: QuestionDigest, kind: QuestionKind = .validate, realm: RealmName, key: P256.Signing.PublicKey
  ) -> Judgement? {
    guard body.utf8.count <= VerdictFrame.maximumBodyCharacters, let bytes = StrictText.base64(body),
      let signature = VerdictFrame.signature(signature),
      key.isValidSignature(signature, for: VerdictFrame.signedBytes(digest: digest, body: bytes))
    else { return nil }
    return VerdictFrame.judgement(bytes, kind: kind, realm: realm)
  }

  /// The same for a verdict of a batch whose signature was found good: it must name this very question.
  func verified(inBatch digest: QuestionDigest, kind: QuestionKind, realm: RealmName) -> Judgement? {
    guard self.digest.flatMap(StrictText.base64) == digest.bytes, body.utf8.count <= VerdictFrame.maximumBodyCharacters,
      let bytes = StrictText.base64(body)
    else { return nil }
    return VerdictFrame.judgement(bytes, kind: kind, realm: realm)
  }

  private static func judgement(_ bytes: [UInt8], kind: QuestionKind, realm: RealmName) -> Judgement? {
    (try? VerdictBody(message: bytes))?.judgement(of: kind, realm: realm)
  }

  /// 512 KiB of JSON: a person with thousands of groups fits.
  static let maximumBodyCharacters = 700_000

  static func signature(_ text: String) -> P256.Signing.ECDSASignature? {
    StrictText.base64(text).flatMap { try? P256.Signing.ECDSASignature(rawRepresentation: $0) }
  }

  private static func signedBytes(digest: QuestionDigest, body: [UInt8]) -> [UInt8] {
    Array("gatehouse verdict 1\0".utf8) + digest.bytes + body
  }
}

// A signature costs more than everything else that an agent and a gateway do for a sign-in. Verdicts that leave together bear one: over the
// digest of each question and of each body, in their order, so that none can be taken out, exchanged or put to another question.
extension VerdictsRequest {
  /// By this word among the capabilities a gateway says that it understands batches that are signed as a whole.
  package static let batchCapability = "signed-batches"

  init(signing drafts: [VerdictDraft], stages: [StageReport], key: P256.Signing.PrivateKey) throws {
    self.init(
      verdicts: drafts.map { VerdictFrame(question: $0.question, body: $0.body, signature: "", digest: $0.digest.bytes.base64) },
      stages: stages)
    if !verdicts.isEmpty { signature = try key.signature(for: signedBytes).rawRepresentation.base64 }
  }

  /// Whether the batch as a whole bears a good signature by `key`.
  func isSigned(by key: P256.Signing.PublicKey) -> Bool {
    guard let signature = signature.flatMap(VerdictFrame.signature) else { return false }
    return key.isValidSignature(signature, for: signedBytes)
  }

  private var signedBytes: [UInt8] {
    var writer = ByteWriter()
    writer.write("gatehouse verdicts 1\0".utf8)
    writer.writeInteger(UInt32(clamping: verdicts.count))
    for verdict in verdicts {
      writer.write(verdict.question.bytes)
      writer.writeLengthPrefixed(Array((verdict.digest ?? "").utf8))
      writer.write(Digests.sha256(verdict.body.utf8))
    }
    return writer.bytes
  }
}
