import Bytes
import Crypto
import Cryptography
import Foundation
import Identity

/// Encrypts with AES-256-GCM under a master key that lies in a file of the gateway's user.
///
/// The file holds 32 random bytes and nothing else; it is made at the first start. Whoever has the store without this file has no secret of
/// the gateway, so back the two up apart from each other.
///
/// A ciphertext is `version (1) ‖ key id (8) ‖ nonce (12) ‖ encrypted bytes ‖ tag (16)`. The key id is the beginning of a digest of the key: it
/// tells at once that a ciphertext belongs to another key, and lets a later version hold several keys while one replaces the other.
package struct FileKeyProtector: SecretProtector {
  private static let version: UInt8 = 1
  private static let keyLength = 32
  private static let overhead = 1 + 8 + 12 + 16

  private let key: Secret
  private let keyID: [UInt8]

  /// Reads the master key, or makes it where there is no file. Throws `KeyFileError`.
  ///
  /// - Parameter mayCreate: false where ciphertexts exist already: then a missing key file is an error, as a new key would open none of them.
  package init(path: String, mayCreate: Bool = true) throws(KeyFileError) {
    self.init(key: try KeyFile.load(path, length: FileKeyProtector.keyLength, mayCreate: mayCreate))
  }

  init(key: Secret) {
    self.key = key
    keyID = Array(Digests.hmacSHA256("gatehouse master key id".utf8, key: key).prefix(8))
  }

  /// A key for one purpose, derived from the master key; 32 bytes.
  package func derivedKey(for purpose: String) -> Secret { Secret(Digests.hmacSHA256("gatehouse derived key: \(purpose)".utf8, key: key)) }

  /// The bytes of a master key's file, for a backup. Throws `KeyFileError`, also where there is none.
  package static func masterKey(in path: String) throws(KeyFileError) -> Secret {
    try KeyFile.load(path, length: keyLength, mayCreate: false)
  }

  package func protect(_ secret: Secret, context: String) throws -> [UInt8] {
    let header = [FileKeyProtector.version] + keyID
    let sealed = try secret.withBytes { bytes in
      try AES.GCM.seal(bytes, using: symmetricKey, authenticating: FileKeyProtector.authenticated(header, context))
    }
    return header + Array(sealed.nonce) + Array(sealed.ciphertext) + Array(sealed.tag)
  }

  package func reveal(_ ciphertext: [UInt8], context: String) throws -> Secret {
    var reader = ByteReader(ciphertext)
    guard ciphertext.count >= FileKeyProtector.overhead, let version = reader.readByte(), let id = reader.readBytes(8),
      let nonce = reader.readBytes(12), let body = reader.readBytes(reader.remaining - 16), let tag = reader.readBytes(16)
    else { throw RevealError.damaged }
    guard version == FileKeyProtector.version else { throw RevealError.unknownVersion(version) }
    guard id == keyID else { throw RevealError.otherKey }
    do {
      let box = try AES.GCM.SealedBox(nonce: AES.GCM.Nonce(data: nonce), ciphertext: body, tag: tag)
      var opened = try AES.GCM.open(box, using: symmetricKey, authenticating: FileKeyProtector.authenticated([version] + id, context))
      defer { opened.withUnsafeMutableBytes { if let base = $0.baseAddress { wipe(base, $0.count) } } }
      return Secret(opened)
    } catch {
      throw RevealError.damaged
    }
  }

  private var symmetricKey: SymmetricKey { key.withBytes { SymmetricKey(data: $0) } }

  /// Header and context, each with its length: no two pairs make the same bytes.
  private static func authenticated(_ header: [UInt8], _ context: String) -> [UInt8] {
    var writer = ByteWriter()
    writer.writeLengthPrefixed(header)
    writer.writeLengthPrefixed(Array(context.utf8))
    return writer.bytes
  }
}

/// Why a ciphertext was not opened.
package enum RevealError: Error, Sendable, Equatable, CustomStringConvertible {
  /// It was changed, cut, or moved from another place.
  case damaged
  /// It was made under another master key.
  case otherKey
  /// It was made by a newer gatehouse.
  case unknownVersion(UInt8)

  package var description: String {
    switch self {
    case .damaged:
      "a secret in the store does not open: it was changed, or moved from another place. Restore the store from a backup."
    case .otherKey:
      "a secret in the store was encrypted under another master key. Put back the key file that belongs to this store."
    case .unknownVersion(let version):
      "a secret in the store was encrypted by a newer gatehouse (version \(version)). Start that version."
    }
  }
}
