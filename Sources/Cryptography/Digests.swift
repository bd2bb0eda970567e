import Bytes
import Crypto

/// Message digests and keyed digests, as values.
package enum Digests {
  /// SHA-256 (FIPS 180-4); 32 bytes.
  package static func sha256(_ bytes: [UInt8]) -> [UInt8] { bytes.withUnsafeBytes { Array(SHA256.hash(data: $0)) } }

  /// The same of any sequence.
  package static func sha256(_ bytes: some Sequence<UInt8>) -> [UInt8] {
    Array(SHA256.hash(data: Array(bytes)))
  }

  /// HMAC-SHA256 (RFC 2104); 32 bytes.
  package static func hmacSHA256(_ bytes: some Sequence<UInt8>, key: Secret) -> [UInt8] {
    let symmetric = key.withBytes { SymmetricKey(data: $0) }
    return Array(HMAC<SHA256>.authenticationCode(for: Array(bytes), using: symmetric))
  }

  /// The same over `bytes` and then `secret`, of which no copy is left behind.
  package static func hmacSHA256(_ bytes: some Sequence<UInt8>, then secret: Secret, key: Secret) -> [UInt8] {
    var code = key.withBytes { HMAC<SHA256>(key: SymmetricKey(data: $0)) }
    code.update(data: Array(bytes))
    secret.withBytes { code.update(data: $0) }
    return Array(code.finalize())
  }
}

/// Random bytes from the system's generator.
package enum RandomBytes {
  /// `count` bytes that nobody can foresee.
  package static func generate(_ count: Int) -> [UInt8] {
    var generator = SystemRandomNumberGenerator()
    var result: [UInt8] = []
    result.reserveCapacity(count)
    while result.count < count {
      withUnsafeBytes(of: generator.next() as UInt64) { result.append(contentsOf: $0.prefix(count - result.count)) }
    }
    return result
  }
}
