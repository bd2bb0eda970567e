import Bytes
import Crypto
import Foundation
import Identity
import SwiftASN1
import X509

/// What an agent's certificate says, and how requests for one are made and read.
///
/// Both of the agent's keys are in one certificate: the P-256 key (TLS, verdict signatures) as its subject key, the X25519 key (sealing) as a
/// URI in the subject alternative name beside the agent's id. URIs are plain to see with any tool and need no registered object identifier.
package struct AgentCertificate: Sendable {
  static let agentPrefix = "urn:gatehouse:agent:"
  static let sealingPrefix = "urn:gatehouse:sealing-key:x25519:"

  package let der: [UInt8]
  package let agent: Identifier
  package let signingKey: P256.Signing.PublicKey
  /// X25519, 32 bytes.
  package let sealingKey: [UInt8]
  package let notBefore: Instant
  package let notAfter: Instant

  /// Reads a certificate; nil where it is none of an agent's. Checks no signature: see `AgentAuthority`.
  package init?(der: [UInt8]) {
    guard der.count <= 8192, let certificate = try? Certificate(derEncoded: der),
      let key = P256.Signing.PublicKey(certificate.publicKey),
      let names = try? certificate.extensions.subjectAlternativeNames
    else { return nil }
    var agent: Identifier?
    var sealing: [UInt8]?
    for case .uniformResourceIdentifier(let uri) in names {
      if uri.hasPrefix(AgentCertificate.agentPrefix) { agent = Identifier(String(uri.dropFirst(AgentCertificate.agentPrefix.count))) }
      if uri.hasPrefix(AgentCertificate.sealingPrefix) {
        sealing = StrictText.base64URL(String(uri.dropFirst(AgentCertificate.sealingPrefix.count)))
      }
    }
    guard let agent, let sealing, sealing.count == 32 else { return nil }
    self.der = der
    self.agent = agent
    signingKey = key
    sealingKey = sealing
    notBefore = Instant(certificate.notValidBefore)
    notAfter = Instant(certificate.notValidAfter)
  }

  /// The DER of a request (PKCS#10, RFC 2986) for both keys, signed by the P-256 key.
  package static func request(signing: P256.Signing.PrivateKey, sealing: Curve25519.KeyAgreement.PublicKey) throws -> [UInt8] {
    let name = try DistinguishedName { CommonName("gatehouse agent") }
    let uri = sealingPrefix + Array(sealing.rawRepresentation).base64URL
    let extensions = try Certificate.Extensions { SubjectAlternativeNames([.uniformResourceIdentifier(uri)]) }
    let request = try CertificateSigningRequest(
      version: .v1, subject: name, privateKey: Certificate.PrivateKey(signing),
      attributes: CertificateSigningRequest.Attributes([CertificateSigningRequest.Attribute(ExtensionRequest(extensions: extensions))]),
      signatureAlgorithm: .ecdsaWithSHA256)
    var serializer = DER.Serializer()
    try serializer.serialize(request)
    return serializer.serializedBytes
  }

  /// The two public keys of a request, once its own signature proved the possession of the P-256 key.
  ///
  /// Subject, other names and any other extension are ignored: what the certificate says is the gateway's to decide. Only P-256 is accepted.
  struct RequestedKeys {
    let signing: P256.Signing.PublicKey
    let sealing: [UInt8]

    init?(requestDER: [UInt8]) {
      guard requestDER.count <= 8192, let request = try? CertificateSigningRequest(derEncoded: requestDER),
        request.publicKey.isValidSignature(request.signature, for: request),
        let signing = P256.Signing.PublicKey(request.publicKey)
      else { return nil }
      var sealing: [UInt8]?
      for attribute in request.attributes {
        guard let requested = try? ExtensionRequest(attribute), let names = try? requested.extensions.subjectAlternativeNames else { continue }
        for case .uniformResourceIdentifier(let uri) in names where uri.hasPrefix(AgentCertificate.sealingPrefix) {
          sealing = StrictText.base64URL(String(uri.dropFirst(AgentCertificate.sealingPrefix.count)))
        }
      }
      guard let sealing, sealing.count == 32 else { return nil }
      self.signing = signing
      self.sealing = sealing
    }
  }
}
