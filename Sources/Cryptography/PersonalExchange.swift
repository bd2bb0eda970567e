import Bytes
import COpenSSL

/// A private key with its certificate in a PFX file (PKCS #12, RFC 7292), as Windows exports it.
package enum PersonalExchange {
  /// Files are some kilobytes large; more than this is none.
  package static let longestFile = 1 << 20

  /// The key as PKCS#8 DER and its certificate in DER. Throws `.decryption` where the password is another one or the bytes are no such file, and `.key` where
  /// the key is too weak or of a kind that is not used.
  package static func open(_ bytes: [UInt8], password: Secret) throws(CryptographyFault) -> (pkcs8: Secret, certificate: [UInt8]) {
    guard bytes.count <= longestFile else { throw .decryption }
    var pointer: OpaquePointer?
    var certificate = [UInt8](repeating: 0, count: 16_384)
    var length = certificate.count
    // C wants the password with a zero behind it.
    var text = password.withBytes { Array($0) } + [0]
    defer { text.withUnsafeMutableBytes { if let base = $0.baseAddress { wipe(base, $0.count) } } }
    let holds = text.withUnsafeBufferPointer { buffer in
      buffer.withMemoryRebound(to: CChar.self) { gatehouse_pkcs12_open(bytes, bytes.count, $0.baseAddress, &pointer, &certificate, &length) }
    }
    guard holds == 1, let pointer else { throw .decryption }
    return (try KeyHandle(pointer).privateKeyInfo(), Array(certificate.prefix(length)))
  }
}
