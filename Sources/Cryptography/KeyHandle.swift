import Bytes
import COpenSSL

/// Owns one key inside OpenSSL.
///
/// Unchecked, since the compiler cannot look into C: the pointer is never replaced, OpenSSL's keys may be used by many threads at once
/// (openssl-threads(7): the object is not changed, what it caches is locked), and the key is freed when nobody has it any more.
final class KeyHandle: @unchecked Sendable {
  let pointer: OpaquePointer
  let kind: Kind
  /// Where the key is there to sign.
  let signer: OpaquePointer?

  /// The keys that are used at all.
  enum Kind: Hashable {
    case rsa(bits: Int), p256, p384

    var isRSA: Bool { if case .rsa = self { true } else { false } }

    /// How many bytes a signature or an encrypted key has.
    var outputBytes: Int {
      switch self {
      case .rsa(let bits): (bits + 7) / 8
      case .p256: 64
      case .p384: 96
      }
    }
  }

  /// Takes the key over, and refuses what is too weak or too strange to be used.
  init(_ pointer: OpaquePointer?, signs: Bool = false) throws(CryptographyFault) {
    guard let pointer else { throw .key("no key in DER") }
    var bits: UInt32 = 0
    let kind: Kind? =
      switch gatehouse_key_kind(pointer, &bits) {
      case CInt(GATEHOUSE_KEY_RSA): .rsa(bits: Int(bits))
      case CInt(GATEHOUSE_KEY_P256): .p256
      case CInt(GATEHOUSE_KEY_P384): .p384
      default: nil
      }
    var problem = kind == nil ? "a key that is neither RSA, P-256 nor P-384 by name" : nil
    if case .rsa(let bits) = kind {
      // 16,384 bits take OpenSSL a second to verify with: who sends such a key wants just that.
      if !(2048...8192).contains(bits) { problem = "an RSA key of \(bits) bits; 2,048 to 8,192 are taken" }
      if gatehouse_key_has_exponent(pointer, 65_537) != 1 { problem = "an RSA key whose public exponent is not 65537" }
    }
    let signer = problem == nil && signs ? gatehouse_signer_new(pointer) : nil
    if signs && signer == nil && problem == nil { problem = "a key that cannot sign" }
    guard let kind, problem == nil else {
      gatehouse_key_free(pointer)
      throw .key(problem ?? "")
    }
    self.pointer = pointer
    self.kind = kind
    self.signer = signer
  }

  deinit {
    gatehouse_signer_free(signer)
    gatehouse_key_free(pointer)
  }

  /// The key as a SubjectPublicKeyInfo, in OpenSSL's one encoding: equal keys have equal bytes.
  func publicKeyInfo() throws(CryptographyFault) -> [UInt8] {
    var length = 0
    guard gatehouse_key_write_spki(pointer, nil, &length) == 1 else { throw .library("no public key") }
    var result = [UInt8](repeating: 0, count: length)
    guard gatehouse_key_write_spki(pointer, &result, &length) == 1, length == result.count else { throw .library("no public key") }
    return result
  }

  /// A private key as PKCS#8.
  func privateKeyInfo() throws(CryptographyFault) -> Secret {
    var length = 0
    guard gatehouse_key_write_pkcs8(pointer, nil, &length) == 1 else { throw .library("no private key") }
    var bytes = [UInt8](repeating: 0, count: length)
    defer { bytes.withUnsafeMutableBytes { if let base = $0.baseAddress { wipe(base, $0.count) } } }
    guard gatehouse_key_write_pkcs8(pointer, &bytes, &length) == 1, length == bytes.count else { throw .library("no private key") }
    return Secret(bytes)
  }

  /// A new private key.
  static func generate(_ kind: Kind, signs: Bool) throws(CryptographyFault) -> KeyHandle {
    let pointer =
      switch kind {
      case .rsa(let bits): gatehouse_key_generate(CInt(GATEHOUSE_KEY_RSA), UInt32(clamping: bits))
      case .p256: gatehouse_key_generate(CInt(GATEHOUSE_KEY_P256), 0)
      case .p384: gatehouse_key_generate(CInt(GATEHOUSE_KEY_P384), 0)
      }
    return try KeyHandle(pointer, signs: signs)
  }

  /// A private key from PKCS#8 DER.
  static func privateKey(_ pkcs8: Secret, signs: Bool) throws(CryptographyFault) -> KeyHandle {
    let pointer = pkcs8.withBytes { bytes in
      bytes.baseAddress.flatMap { gatehouse_key_from_pkcs8($0.assumingMemoryBound(to: UInt8.self), bytes.count) }
    }
    return try KeyHandle(pointer, signs: signs)
  }

  /// A public key from SubjectPublicKeyInfo DER.
  static func publicKey(_ der: [UInt8]) throws(CryptographyFault) -> KeyHandle { try KeyHandle(gatehouse_key_from_spki(der, der.count)) }

  /// The public key of an X.509 certificate in DER.
  static func publicKey(certificate der: [UInt8]) throws(CryptographyFault) -> KeyHandle {
    try KeyHandle(gatehouse_key_from_certificate(der, der.count))
  }
}
