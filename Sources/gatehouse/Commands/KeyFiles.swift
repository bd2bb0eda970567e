import ArgumentParser
import Bytes
import Cryptography
import Foundation

/// The files that a key is imported from.
enum KeyFiles {
  /// PKCS#8 DER and X.509 DER, both base64. Throws `ValidationError` with what to do.
  static func read(certificate: String?, key: String?, pfx: String?, passwordFile: String?) throws -> (key: String, certificate: String) {
    if let pfx {
      guard certificate == nil, key == nil else { throw ValidationError("A PFX file has both key and certificate; give it alone.") }
      let password = try passwordFile.map { path in
        try String(decoding: bytes(path), as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false).first.map(String.init) ?? ""
      }
      do {
        let opened = try PersonalExchange.open(try bytes(pfx), password: Secret(Array((password ?? "").utf8)))
        return (opened.pkcs8.withBytes { Array($0).base64 }, opened.certificate.base64)
      } catch CryptographyFault.decryption {
        throw ValidationError("\(pfx) is no PFX file with a key and its certificate, or its password is another one (--password-file).")
      }
    }
    guard let certificate, let key else { throw ValidationError("Give --certificate and --key, or --pfx.") }
    guard let own = block("CERTIFICATE", in: try bytes(certificate)) else {
      throw ValidationError("\(certificate) is no PEM file with a certificate.")
    }
    let text = try bytes(key)
    guard let secret = block("PRIVATE KEY", in: text) else {
      throw ValidationError("\(key) has no PKCS#8 key in PEM. Make one of it: openssl pkcs8 -topk8 -nocrypt -in \(key) -out key.pem")
    }
    return (secret.base64, own.base64)
  }

  static func isPEM(_ path: String) throws -> Bool { String(decoding: try bytes(path), as: UTF8.self).contains("-----BEGIN ") }

  private static func bytes(_ path: String) throws -> [UInt8] {
    guard let data = FileManager.default.contents(atPath: path), data.count <= 1 << 20 else { throw ValidationError("\(path) cannot be read.") }
    return Array(data)
  }

  /// The first block of this label (RFC 7468), decoded.
  private static func block(_ label: String, in bytes: [UInt8]) -> [UInt8]? {
    let text = String(decoding: bytes, as: UTF8.self)
    guard let begin = text.range(of: "-----BEGIN \(label)-----"),
      let end = text.range(of: "-----END \(label)-----", range: begin.upperBound..<text.endIndex)
    else { return nil }
    return StrictText.base64(text[begin.upperBound..<end.lowerBound].filter { !$0.isWhitespace })
  }
}
