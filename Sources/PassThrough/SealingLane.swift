import Bytes
import Crypto
import Foundation
import Identity
import Synchronization

// Passwords travel sealed to the one agent that was chosen: HPKE (RFC 9180) in auth mode, sender key pinned by the agent at enrolment,
// recipient key certified in the agent's certificate. One context per poll lane: the public-key step is paid once a lane, and the context's
// own counter makes replays, omissions and reordering within a lane fail to open.

/// The ciphersuite of everything sealed between gateway and agents.
enum Sealing {
  static let suite = HPKE.Ciphersuite.Curve25519_SHA256_ChachaPoly

  /// What a lane's context is bound to (the `info` of RFC 9180 §5.1): the protocol, the agent and the lane.
  static func info(agent: Identifier, lane: LaneID) -> Data {
    Data("gatehouse lane 1\0".utf8) + Data(agent.bytes) + Data(lane.bytes)
  }
}

/// One poll loop of one agent, named by 16 random bytes that the agent chose. A lane that failed is never used again.
package struct LaneID: Hashable, Sendable, Codable {
  package let bytes: [UInt8]

  package init() { bytes = Identifier().bytes }

  /// From base64url; nil where that is not 16 bytes.
  package init?(_ text: String) {
    guard let bytes = StrictText.base64URL(text), bytes.count == 16 else { return nil }
    self.bytes = bytes
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard let lane = LaneID(try container.decode(String.self)) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a lane id")
    }
    self = lane
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(bytes.base64URL)
  }
}

/// The gateway's end of a lane: seals in order.
package final class SealingLane: Sendable {
  /// The encapsulated key that the agent needs to open the lane; 32 bytes, sent with every batch (it never changes).
  package let encapsulatedKey: [UInt8]
  /// The same, base64.
  let encapsulatedKeyText: String
  private let sender: Mutex<HPKE.Sender>

  /// Throws where `agentKey` is no X25519 public key.
  package init(
    agent: Identifier, lane: LaneID, agentKey: [UInt8], gatewayKey: Curve25519.KeyAgreement.PrivateKey
  ) throws {
    let recipient = try Curve25519.KeyAgreement.PublicKey(rawRepresentation: agentKey)
    let sender = try HPKE.Sender(
      recipientKey: recipient, ciphersuite: Sealing.suite, info: Sealing.info(agent: agent, lane: lane), authenticatedBy: gatewayKey)
    encapsulatedKey = Array(sender.encapsulatedKey)
    encapsulatedKeyText = encapsulatedKey.base64
    self.sender = Mutex(sender)
  }

  /// Seals the passwords of a batch in its order and gives the frames.
  package func seal(_ questions: [Question]) throws -> [QuestionFrame] {
    try sender.withLock { sender in
      try questions.map { question in
        var plaintext = SealedPasswords.plaintext(of: question)
        defer { plaintext.withUnsafeMutableBytes { bytes in if let base = bytes.baseAddress { wipe(base, bytes.count) } } }
        return QuestionFrame(question: question, sealed: Array(try sender.seal(plaintext, authenticating: question.digest.bytes)))
      }
    }
  }
}

/// The agent's end of a lane: opens in order.
package struct OpeningLane: Sendable {
  private var recipient: HPKE.Recipient

  /// Throws where the encapsulated key was not made by the pinned gateway key's owner (the failure shows at the first `open`) or is malformed.
  package init(
    agent: Identifier, lane: LaneID, encapsulatedKey: [UInt8], agentKey: Curve25519.KeyAgreement.PrivateKey,
    gatewayKey: Curve25519.KeyAgreement.PublicKey
  ) throws {
    recipient = try HPKE.Recipient(
      privateKey: agentKey, ciphersuite: Sealing.suite, info: Sealing.info(agent: agent, lane: lane),
      encapsulatedKey: Data(encapsulatedKey), authenticatedBy: gatewayKey)
  }

  /// The passwords of `frame`, without those that may not be put before a directory. Throws where it does not open.
  mutating func openAll(_ frame: QuestionFrame) throws -> SealedPasswords {
    guard let sealed = StrictText.base64(frame.sealed) else { throw SealBroken() }
    var plaintext: Data
    do { plaintext = try recipient.open(sealed, authenticating: frame.digest.bytes) } catch { throw SealBroken() }
    defer { plaintext.withUnsafeMutableBytes { bytes in if let base = bytes.baseAddress { wipe(base, bytes.count) } } }
    return SealedPasswords(plaintext, kind: frame.kind)
  }

  /// The password of `frame`; nil where it has none or one that may not be put before a directory. Throws where it does not open.
  package mutating func open(_ frame: QuestionFrame) throws -> Password? { try openAll(frame).password }
}

/// A sealed password did not open: tampered with, replayed, reordered, or sealed by somebody else.
package struct SealBroken: Error {}
