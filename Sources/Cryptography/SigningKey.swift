import Bytes
import COpenSSL

/// A private key that signs: RSA of 2,048 bits or more with exponent 65537, P-256 or P-384.
///
/// It lives in OpenSSL, whose RSA is twice as fast as that of the other library in this process. Many threads may sign with one key at once.
package final class SigningKey: Sendable {
  let handle: KeyHandle

  /// The other half, which everybody may have.
  package let publicKey: VerificationKey

  /// What kinds of keys are made.
  package enum Kind: String, Sendable, CaseIterable {
    case rsa2048, rsa3072, rsa4096, p256, p384

    var handleKind: KeyHandle.Kind {
      switch self {
      case .rsa2048: .rsa(bits: 2048)
      case .rsa3072: .rsa(bits: 3072)
      case .rsa4096: .rsa(bits: 4096)
      case .p256: .p256
      case .p384: .p384
      }
    }
  }

  private init(_ handle: KeyHandle) throws(CryptographyFault) {
    self.handle = handle
    publicKey = try VerificationKey(subjectPublicKeyInfo: try handle.publicKeyInfo())
  }

  /// A new key from OpenSSL's generator. RSA takes a tenth of a second and more.
  package static func generate(_ kind: Kind) throws(CryptographyFault) -> SigningKey {
    try SigningKey(try KeyHandle.generate(kind.handleKind, signs: true))
  }

  /// From PKCS#8 DER without encryption (RFC 5958), to the last byte. Throws `.key` for everything that is none, or too weak.
  package convenience init(pkcs8: Secret) throws(CryptographyFault) { try self.init(try KeyHandle.privateKey(pkcs8, signs: true)) }

  /// The key as PKCS#8 DER, for a store that seals it.
  package var pkcs8: Secret { get throws(CryptographyFault) { try handle.privateKeyInfo() } }

  /// The algorithm with SHA-256 for this kind of key.
  package var defaultAlgorithm: SignatureAlgorithm { handle.kind.isRSA ? .rsaSHA256 : .ecdsaSHA256 }

  /// Signs, in the form of XML signatures and of JWS: RSASSA-PKCS1-v1_5, or ECDSA as r‖s in fixed width (RFC 9231 2.3.6).
  ///
  /// Throws `.algorithm` where key and algorithm do not belong together.
  package func sign(_ bytes: [UInt8], with algorithm: SignatureAlgorithm) throws(CryptographyFault) -> [UInt8] {
    guard algorithm.isRSA == handle.kind.isRSA else { throw .algorithm }
    var signature = [UInt8](repeating: 0, count: handle.kind.outputBytes)
    var length = signature.count
    guard let signer = handle.signer,
      gatehouse_sign(signer, algorithm.digest.shimNumber, bytes, bytes.count, &signature, &length) == 1, length == signature.count
    else { throw .library("could not sign") }
    return signature
  }
}
