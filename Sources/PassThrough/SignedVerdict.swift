import Bytes
import Crypto
import Foundation
import Identity

/// What an agent says about a question, as it travels inside the signature.
package struct VerdictBody: Sendable, Codable {
  package enum Kind: String, Sendable, Codable { case accepted, refused, unknown, unsupported, lookedUp }

  package var kind: Kind
  package var person: AcceptedPerson?
  package var refusal: Refusal?
  package var cause: UnknownCause?
  /// What the agent saw of the person's lockout; nil from agents that do not look.
  package var facts: LockoutFacts?
  /// In answer to a look-up: whom the name means; nil: nobody.
  package var object: Identifier?
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
      (kind, object) = (.lookedUp, meaning.object)
      return
    }
    if judgement.uncertainTries > 0 { uncertainTries = judgement.uncertainTries }
    switch judgement.verdict {
    case .accepted(let person): (kind, self.person) = (.accepted, person)
    case .refused(let refusal): (kind, self.refusal) = (.refused, refusal)
    case .unknown(let cause): (kind, self.cause) = (.unknown, cause)
    }
  }

  package init(unsupportedAt at: Instant) {
    kind = .unsupported
    trace = []
    self.at = at
  }

  /// The judgement, if kind and contents agree, fit the question's kind, and the person belongs to `realm`; nil otherwise.
  package func judgement(of asked: QuestionKind, realm: RealmName) -> Judgement? {
    if kind == .lookedUp {
      guard asked == .lookUp, person == nil, refusal == nil, cause == nil else { return nil }
      return Judgement(object.map { .person($0) } ?? .nobody, trace: trace, facts: facts)
    }
    guard object == nil else { return nil }
    switch kind {
    case .accepted:
      guard asked == .validate, let person, refusal == nil, cause == nil, person.object.realm == realm else { return nil }
      return Judgement(.accepted(person), trace: trace, facts: facts)
    case .refused:
      guard asked == .validate, let refusal, person == nil, cause == nil, refusal.object.map({ $0.realm == realm }) ?? true else { return nil }
      return Judgement(.refused(refusal), trace: trace, facts: facts)
    case .unknown:
      guard let cause, person == nil, refusal == nil else { return nil }
      // An agent that does not tell may have bound, if it says itself that it got so far.
      let tries = uncertainTries ?? (trace.contains { $0.step == .bind || $0.step == .domainController } ? 1 : 0)
      return Judgement(.unknown(cause), trace: trace, uncertainTries: asked == .validate ? max(0, min(tries, 4)) : 0, facts: facts)
    case .unsupported, .lookedUp:
      guard person == nil, refusal == nil, cause == nil else { return nil }
      return Judgement(.unknown(.unsupportedByAgent), trace: trace)
    }
  }
}

/// A verdict as it travels: the exact bytes that were signed, and the signature over the question's digest and those bytes.
package struct VerdictFrame: Sendable, Codable {
  package var question: Identifier
  /// The JSON of a `VerdictBody`, base64.
  package var body: String
  /// ECDSA P-256 with SHA-256 by the agent's certified key, 64 bytes r‖s, base64.
  package var signature: String

  package init(question: Identifier, body: String, signature: String) {
    self.question = question
    self.body = body
    self.signature = signature
  }

  /// Signs `body` as the answer to the question with `digest`.
  package init(_ body: VerdictBody, question: Identifier, digest: QuestionDigest, key: P256.Signing.PrivateKey) throws {
    let bytes = try JSONEncoder().encode(body)
    let signature = try key.signature(for: VerdictFrame.signedBytes(digest: digest, body: bytes))
    self.init(
      question: question, body: bytes.base64EncodedString(), signature: signature.rawRepresentation.base64EncodedString())
  }

  /// The judgement, once its signature by `key` over this very question was found good.
  ///
  /// Returns nil for anything else: a foreign or damaged signature, another question's verdict, contents that contradict themselves.
  package func verified(
    digest: QuestionDigest, kind: QuestionKind = .validate, realm: RealmName, key: P256.Signing.PublicKey
  ) -> Judgement? {
    guard body.utf8.count <= VerdictFrame.maximumBodyCharacters, let bytes = StrictText.base64(body), let raw = StrictText.base64(signature),
      let signature = try? P256.Signing.ECDSASignature(rawRepresentation: raw),
      key.isValidSignature(signature, for: VerdictFrame.signedBytes(digest: digest, body: Data(bytes))),
      let decoded = try? JSONDecoder().decode(VerdictBody.self, from: Data(bytes))
    else { return nil }
    return decoded.judgement(of: kind, realm: realm)
  }

  /// 512 KiB of JSON: a person with thousands of groups fits.
  static let maximumBodyCharacters = 700_000

  private static func signedBytes(digest: QuestionDigest, body: Data) -> Data {
    Data("gatehouse verdict 1\0".utf8) + Data(digest.bytes) + body
  }
}
