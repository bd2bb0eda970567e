import Cryptography

/// What the token must be told to make a key, and how its public half is written.
enum TokenKeyKind: Sendable {
  case rsa(bits: UInt32), p256, p384

  init(_ kind: SigningKey.Kind) {
    switch kind {
    case .rsa2048: self = .rsa(bits: 2048)
    case .rsa3072: self = .rsa(bits: 3072)
    case .rsa4096: self = .rsa(bits: 4096)
    case .p256: self = .p256
    case .p384: self = .p384
    }
  }

  /// Of the modulus; 0 for a curve.
  var bits: UInt32 { if case .rsa(let bits) = self { bits } else { 0 } }

  var isRSA: Bool { bits > 0 }

  /// CKA_EC_PARAMS: the curve's OBJECT IDENTIFIER in DER (RFC 5480 2.1.1.1); empty for RSA.
  var curve: [UInt8] {
    switch self {
    case .rsa: []
    case .p256: [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]
    case .p384: [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22]
    }
  }

  /// RFC 3279 2.3.1. Big-endian, with or without leading zeros.
  func publicKeyInfo(modulus: [UInt8], exponent: [UInt8]) -> [UInt8] {
    let rsaEncryption: [UInt8] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00]
    return der(0x30, der(0x30, rsaEncryption) + der(0x03, [0] + der(0x30, positive(modulus) + positive(exponent))))
  }

  /// RFC 5480 2. The point comes as a DER OCTET STRING (Mechanisms 2.3.3), from some tokens bare; both begin with 4, and the lengths tell them apart.
  func publicKeyInfo(point: [UInt8]) -> [UInt8] {
    let ecPublicKey: [UInt8] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]
    let width = if case .p384 = self { 97 } else { 65 }
    let bare = point.count == width + 2 ? Array(point.dropFirst(2)) : point
    return der(0x30, der(0x30, ecPublicKey + curve) + der(0x03, [0] + bare))
  }

  private func positive(_ number: [UInt8]) -> [UInt8] {
    var digits = Array(number.drop { $0 == 0 })
    if digits.first.map({ $0 >= 0x80 }) ?? true { digits.insert(0, at: 0) }
    return der(0x02, digits)
  }

  private func der(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
    var length = [UInt8(truncatingIfNeeded: content.count)]
    if content.count >= 0x80 {
      length = content.count < 0x100 ? [0x81] + length : [0x82, UInt8(truncatingIfNeeded: content.count >> 8)] + length
    }
    return [tag] + length + content
  }
}

/// What a token signs: not the bytes but their digest, which is made here.
enum TokenSignature {
  /// For CKM_RSA_PKCS a DigestInfo (RFC 8017 9.2, Note 1; Mechanisms 2.1.6), for CKM_ECDSA the digest (Mechanisms 2.3.6).
  static func input(_ bytes: [UInt8], _ algorithm: SignatureAlgorithm) -> (isRSA: Bool, bytes: [UInt8]) {
    let digest = algorithm.digest.digest(bytes)
    switch algorithm {
    case .rsaSHA256, .rsaSHA384, .rsaSHA512, .rsaSHA1: return (true, prefix(algorithm.digest) + digest)
    case .ecdsaSHA256, .ecdsaSHA384: return (false, digest)
    }
  }

  private static func prefix(_ digest: DigestAlgorithm) -> [UInt8] {
    func sha2(_ last: UInt8, _ length: UInt8) -> [UInt8] {
      [0x30, 0x11 + length, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, last, 0x05, 0x00, 0x04, length]
    }
    return switch digest {
    case .sha256: sha2(1, 32)
    case .sha384: sha2(2, 48)
    case .sha512: sha2(3, 64)
    case .sha1: [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14]
    }
  }
}
