import Bytes
import Crypto

/// AES-GCM as one piece: nonce (12 bytes), ciphertext, tag (16 bytes), which is also the form of XML Encryption 1.1 (5.2.4).
package enum ContentCipher {
  /// Encrypts under a new random nonce. `key` has 16 or 32 bytes; throws `.key` for another length.
  package static func seal(_ bytes: [UInt8], key: Secret) throws(CryptographyFault) -> [UInt8] {
    guard let symmetric = symmetricKey(key) else { throw .key("an AES key of \(key.count) bytes") }
    guard let box = try? AES.GCM.seal(bytes, using: symmetric), let combined = box.combined else { throw .library("could not encrypt") }
    return Array(combined)
  }

  /// Decrypts; throws `.decryption` for whatever reason it cannot.
  package static func open(_ sealed: [UInt8], key: Secret) throws(CryptographyFault) -> [UInt8] {
    guard let symmetric = symmetricKey(key), let box = try? AES.GCM.SealedBox(combined: sealed), let plain = try? AES.GCM.open(box, using: symmetric)
    else { throw .decryption }
    return Array(plain)
  }

  private static func symmetricKey(_ key: Secret) -> SymmetricKey? {
    guard key.count == 16 || key.count == 32 else { return nil }
    return key.withBytes { SymmetricKey(data: $0) }
  }
}
