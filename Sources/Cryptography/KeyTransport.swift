import Bytes
import COpenSSL

/// RSA-OAEP (RFC 8017 7.1) without label: carries a content key to whoever has the private key.
package struct KeyTransport: Sendable, Hashable {
  /// The hash of the empty label. SHA-1 does no harm here: nothing depends on its collisions.
  package let digest: DigestAlgorithm
  /// The hash inside of the mask generation function MGF1.
  package let maskDigest: DigestAlgorithm

  package init(digest: DigestAlgorithm, maskDigest: DigestAlgorithm) {
    self.digest = digest
    self.maskDigest = maskDigest
  }

  /// Encrypts a content key. Throws `.algorithm` for a key that is not RSA.
  package func encrypt(_ contentKey: Secret, to key: EncryptionKey) throws(CryptographyFault) -> [UInt8] {
    var result = [UInt8](repeating: 0, count: key.handle.kind.outputBytes)
    var length = result.count
    let holds = contentKey.withBytes { bytes in
      bytes.withMemoryRebound(to: UInt8.self) {
        gatehouse_oaep_encrypt(key.handle.pointer, digest.shimNumber, maskDigest.shimNumber, $0.baseAddress, $0.count, &result, &length)
      }
    }
    guard holds == 1, length == result.count else { throw .library("could not encrypt a key") }
    return result
  }

  /// Decrypts a content key. Throws `.decryption` for whatever reason it cannot.
  package func decrypt(_ bytes: [UInt8], with key: DecryptionKey) throws(CryptographyFault) -> Secret {
    guard bytes.count == key.handle.kind.outputBytes else { throw .decryption }
    var result = [UInt8](repeating: 0, count: key.handle.kind.outputBytes)
    defer { result.withUnsafeMutableBytes { if let base = $0.baseAddress { wipe(base, $0.count) } } }
    var length = result.count
    guard
      gatehouse_oaep_decrypt(key.handle.pointer, digest.shimNumber, maskDigest.shimNumber, bytes, bytes.count, &result, &length) == 1,
      length <= result.count
    else { throw .decryption }
    return Secret(result.prefix(length))
  }
}

/// A partner's RSA key that content keys are encrypted to.
package struct EncryptionKey: Sendable, Hashable {
  let handle: KeyHandle

  /// The key in DER.
  package let subjectPublicKeyInfo: [UInt8]

  /// A key that came for signatures, used for encryption where metadata say so. Throws `.algorithm` where it is not RSA.
  package init(_ key: VerificationKey) throws(CryptographyFault) {
    guard key.handle.kind.isRSA else { throw .algorithm }
    handle = key.handle
    subjectPublicKeyInfo = key.subjectPublicKeyInfo
  }

  /// The key of an X.509 certificate in DER; nothing else in it is looked at.
  package init(certificate der: [UInt8]) throws(CryptographyFault) { try self.init(try VerificationKey(certificate: der)) }

  package static func == (left: EncryptionKey, right: EncryptionKey) -> Bool { left.subjectPublicKeyInfo == right.subjectPublicKeyInfo }

  package func hash(into hasher: inout Hasher) { hasher.combine(subjectPublicKeyInfo) }
}

/// Our RSA key that others encrypt content keys to.
package final class DecryptionKey: Sendable {
  let handle: KeyHandle

  /// The other half.
  package let publicKey: VerificationKey

  private init(_ handle: KeyHandle) throws(CryptographyFault) {
    guard handle.kind.isRSA else { throw .algorithm }
    self.handle = handle
    publicKey = try VerificationKey(subjectPublicKeyInfo: try handle.publicKeyInfo())
  }

  /// From PKCS#8 DER without encryption. Throws `.key` for what is none, `.algorithm` where it is not RSA.
  package convenience init(pkcs8: Secret) throws(CryptographyFault) { try self.init(try KeyHandle.privateKey(pkcs8, signs: false)) }

  /// A new RSA key.
  package static func generate(bits: Int = 2048) throws(CryptographyFault) -> DecryptionKey {
    try DecryptionKey(try KeyHandle.generate(.rsa(bits: bits), signs: false))
  }

  /// The key as PKCS#8 DER, for a store that seals it.
  package var pkcs8: Secret { get throws(CryptographyFault) { try handle.privateKeyInfo() } }
}
