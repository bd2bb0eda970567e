import Bytes
import COpenSSL

/// Signs with a private key that is kept elsewhere: in a hardware token.
package protocol RemoteSigner: Sendable {
  /// As `SigningKey.sign`, in the same form. **Blocks** until the signature is there, for a few seconds at most, and refuses at once where too many wait.
  ///
  /// Throws `.tokenAway` where there is no signature to be had now, `.algorithm` where the key has no such algorithm.
  func sign(_ bytes: [UInt8], with algorithm: SignatureAlgorithm) throws(CryptographyFault) -> [UInt8]
}

/// A private key that signs: RSA of 2,048 bits or more with exponent 65537, P-256 or P-384.
///
/// It lives in OpenSSL, whose RSA is twice as fast as that of the other library in this process, or with a `RemoteSigner`, and then never comes here.
/// Many threads may sign with one key at once.
package final class SigningKey: Sendable {
  private enum Keeper {
    case here(KeyHandle)
    case elsewhere(any RemoteSigner)
  }

  private let keeper: Keeper

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
    keeper = .here(handle)
    publicKey = try VerificationKey(subjectPublicKeyInfo: try handle.publicKeyInfo())
  }

  /// A new key from OpenSSL's generator. RSA takes a tenth of a second and more.
  package static func generate(_ kind: Kind) throws(CryptographyFault) -> SigningKey {
    try SigningKey(try KeyHandle.generate(kind.handleKind, signs: true))
  }

  /// From PKCS#8 DER without encryption (RFC 5958), to the last byte. Throws `.key` for everything that is none, or too weak.
  package convenience init(pkcs8: Secret) throws(CryptographyFault) { try self.init(try KeyHandle.privateKey(pkcs8, signs: true)) }

  /// A key that is kept elsewhere. Nobody is asked: the key can be made, and its public half used, while the keeper is away.
  package init(remote: any RemoteSigner, publicKey: VerificationKey) {
    keeper = .elsewhere(remote)
    self.publicKey = publicKey
  }

  /// Whether the private key is kept elsewhere, and signing can answer `.tokenAway`.
  package var isRemote: Bool { if case .elsewhere = keeper { true } else { false } }

  /// The key as PKCS#8 DER, for a store that seals it. Throws `.key` where the key is kept elsewhere: it does not leave its keeper.
  package var pkcs8: Secret {
    get throws(CryptographyFault) {
      guard case .here(let handle) = keeper else { throw .key("the key never leaves its token") }
      return try handle.privateKeyInfo()
    }
  }

  /// The algorithm with SHA-256 for this kind of key.
  package var defaultAlgorithm: SignatureAlgorithm { publicKey.handle.kind.isRSA ? .rsaSHA256 : .ecdsaSHA256 }

  /// Signs, in the form of XML signatures and of JWS: RSASSA-PKCS1-v1_5, or ECDSA as r‖s in fixed width (RFC 9231 2.3.6).
  ///
  /// **Blocks** where the key is kept elsewhere, for milliseconds, and a few seconds at most. What comes from there is verified before it is handed out.
  ///
  /// Throws `.algorithm` where key and algorithm do not belong together, `.tokenAway` where whoever keeps the key does not sign now.
  package func sign(_ bytes: [UInt8], with algorithm: SignatureAlgorithm) throws(CryptographyFault) -> [UInt8] {
    guard publicKey.fits(algorithm) else { throw .algorithm }
    switch keeper {
    case .here(let handle): return try SigningKey.sign(bytes, with: algorithm, handle)
    case .elsewhere(let remote):
      let signature = try remote.sign(bytes, with: algorithm)
      do { try publicKey.verify(signature: signature, over: bytes, algorithm: algorithm) } catch {
        throw .tokenAway("the token's signature is not one of this key")
      }
      return signature
    }
  }

  private static func sign(_ bytes: [UInt8], with algorithm: SignatureAlgorithm, _ handle: KeyHandle) throws(CryptographyFault) -> [UInt8] {
    var signature = [UInt8](repeating: 0, count: handle.kind.outputBytes)
    var length = signature.count
    guard let signer = handle.signer,
      gatehouse_sign(signer, algorithm.digest.shimNumber, bytes, bytes.count, &signature, &length) == 1, length == signature.count
    else { throw .library("could not sign") }
    return signature
  }
}
