import Bytes
import Crypto
import Foundation

// Enrolment happens before the agent has a certificate and without relying on the public listener's. The request is sealed to the gateway key
// that the token carries (HPKE base mode); the answer is encrypted under a key exported from the same context (RFC 9180 §5.3), so only the owner
// of that gateway key can have written it. Nobody in between learns the token's secret or can swap the certificate.

/// The envelope on the wire, both ways: base64 fields.
package struct SealedEnvelope: Sendable, Codable {
  /// The encapsulated key, 32 bytes; absent in the answer.
  package var encapsulatedKey: String?
  package var ciphertext: String

  package init(encapsulatedKey: String?, ciphertext: String) {
    self.encapsulatedKey = encapsulatedKey
    self.ciphertext = ciphertext
  }
}

/// An envelope did not open: it was damaged, or meant for another gateway key.
package struct EnvelopeBroken: Error {}

/// The context that both ends derive; lives for one request and its answer.
package struct EnrolmentChannel: Sendable {
  private static let info = Data("gatehouse enrolment 1".utf8)
  private static let additional = Data("request".utf8)
  private let answerKey: SymmetricKey

  /// The agent's end: seals `request` to the gateway's key.
  package static func seal(_ request: EnrolmentRequest, gatewayKey: [UInt8]) throws -> (SealedEnvelope, EnrolmentChannel) {
    let key = try Curve25519.KeyAgreement.PublicKey(rawRepresentation: gatewayKey)
    var sender = try HPKE.Sender(recipientKey: key, ciphersuite: Sealing.suite, info: info)
    let ciphertext = try sender.seal(try JSONEncoder().encode(request), authenticating: additional)
    let envelope = SealedEnvelope(
      encapsulatedKey: sender.encapsulatedKey.base64EncodedString(), ciphertext: ciphertext.base64EncodedString())
    return (envelope, EnrolmentChannel(answerKey: try sender.exportSecret(context: Data("answer".utf8), outputByteCount: 32)))
  }

  /// The gateway's end: opens a request. Throws `EnvelopeBroken`.
  package static func open(
    _ envelope: SealedEnvelope, gatewayKey: Curve25519.KeyAgreement.PrivateKey
  ) throws -> (EnrolmentRequest, EnrolmentChannel) {
    guard let encapsulated = envelope.encapsulatedKey.flatMap(StrictText.base64), let ciphertext = StrictText.base64(envelope.ciphertext)
    else { throw EnvelopeBroken() }
    do {
      var recipient = try HPKE.Recipient(
        privateKey: gatewayKey, ciphersuite: Sealing.suite, info: info, encapsulatedKey: Data(encapsulated))
      let plaintext = try recipient.open(Data(ciphertext), authenticating: additional)
      let request = try JSONDecoder().decode(EnrolmentRequest.self, from: plaintext)
      return (request, EnrolmentChannel(answerKey: try recipient.exportSecret(context: Data("answer".utf8), outputByteCount: 32)))
    } catch {
      throw EnvelopeBroken()
    }
  }

  /// The gateway's answer, for this agent only.
  package func seal(_ answer: EnrolmentAnswer) throws -> SealedEnvelope {
    let box = try ChaChaPoly.seal(try JSONEncoder().encode(answer), using: answerKey)
    return SealedEnvelope(encapsulatedKey: nil, ciphertext: box.combined.base64EncodedString())
  }

  /// Opens the gateway's answer. Throws `EnvelopeBroken`.
  package func open(_ envelope: SealedEnvelope) throws -> EnrolmentAnswer {
    guard let combined = StrictText.base64(envelope.ciphertext),
      let box = try? ChaChaPoly.SealedBox(combined: Data(combined)), let plaintext = try? ChaChaPoly.open(box, using: answerKey),
      let answer = try? JSONDecoder().decode(EnrolmentAnswer.self, from: plaintext)
    else { throw EnvelopeBroken() }
    return answer
  }
}
