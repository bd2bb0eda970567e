import Bytes
import Cryptography

/// How content is encrypted (XML Encryption 1.1 5.2.4). AES-CBC does not exist for us: whoever can ask whether a text decrypts can decrypt it
/// (Jager and Somorovsky 2011).
package enum ContentEncryption: String, Sendable, CaseIterable {
  case aes256GCM, aes128GCM

  /// The identifier in `xenc:EncryptionMethod`.
  package var uri: String {
    switch self {
    case .aes256GCM: "http://www.w3.org/2009/xmlenc11#aes256-gcm"
    case .aes128GCM: "http://www.w3.org/2009/xmlenc11#aes128-gcm"
    }
  }

  /// By exact identifier; nil for every other.
  package init?(uri: String) {
    guard let found = Self.allCases.first(where: { sameBytes($0.uri, uri) }) else { return nil }
    self = found
  }

  var keyBytes: Int {
    switch self {
    case .aes256GCM: 32
    case .aes128GCM: 16
    }
  }
}

/// How the content's key is encrypted: RSA-OAEP in the five ways that there are (XML Encryption 1.1 5.5.2). RSA 1.5 does not exist for us.
package enum KeyTransportAlgorithm: String, Sendable, CaseIterable {
  /// rsa-oaep-mgf1p with SHA-1: what every partner can do.
  case rsaOAEP
  /// rsa-oaep-mgf1p with SHA-256; the mask is made with SHA-1 all the same.
  case rsaOAEPSHA256
  /// rsa-oaep of XML Encryption 1.1, with SHA-1 and a mask by SHA-1.
  case rsaOAEP11
  /// The same with SHA-256 and a mask by SHA-1.
  case rsaOAEP11SHA256
  /// The same with SHA-1 and a mask by SHA-256.
  case rsaOAEP11MaskSHA256
  /// The same with SHA-256 and a mask by SHA-256.
  case rsaOAEP11SHA256MaskSHA256

  static let mgf1p = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"
  static let oaep11 = "http://www.w3.org/2009/xmlenc11#rsa-oaep"
  static let maskSHA1 = "http://www.w3.org/2009/xmlenc11#mgf1sha1"
  static let maskSHA256 = "http://www.w3.org/2009/xmlenc11#mgf1sha256"

  /// The identifier in `xenc:EncryptionMethod`.
  package var uri: String {
    switch self {
    case .rsaOAEP, .rsaOAEPSHA256: Self.mgf1p
    case .rsaOAEP11, .rsaOAEP11SHA256, .rsaOAEP11MaskSHA256, .rsaOAEP11SHA256MaskSHA256: Self.oaep11
    }
  }

  package var digest: DigestAlgorithm {
    switch self {
    case .rsaOAEP, .rsaOAEP11, .rsaOAEP11MaskSHA256: .sha1
    case .rsaOAEPSHA256, .rsaOAEP11SHA256, .rsaOAEP11SHA256MaskSHA256: .sha256
    }
  }

  package var maskDigest: DigestAlgorithm {
    switch self {
    case .rsaOAEP, .rsaOAEPSHA256, .rsaOAEP11, .rsaOAEP11SHA256: .sha1
    case .rsaOAEP11MaskSHA256, .rsaOAEP11SHA256MaskSHA256: .sha256
    }
  }

  /// By exact identifiers, an absent digest or mask being SHA-1; nil for every other.
  package init?(uri: String, digest: String?, mask: String?) {
    let digestAlgorithm = digest.map { DigestAlgorithm(uri: $0) } ?? .sha1
    let maskDigest: DigestAlgorithm? =
      switch mask {
      case nil: .sha1
      case let mask? where sameBytes(mask, Self.maskSHA1): .sha1
      case let mask? where sameBytes(mask, Self.maskSHA256): .sha256
      default: nil
      }
    // An MGF belongs to rsa-oaep of XML Encryption 1.1 only (5.5.2).
    guard mask == nil || sameBytes(uri, Self.oaep11) else { return nil }
    guard
      let found = Self.allCases.first(where: { sameBytes($0.uri, uri) && $0.digest == digestAlgorithm && $0.maskDigest == maskDigest })
    else { return nil }
    self = found
  }

  var transport: KeyTransport { KeyTransport(digest: digest, maskDigest: maskDigest) }
}

/// Encrypts and decrypts elements (XML Encryption 1.1; SAML Core 6).
package enum XMLEncryption {
  private static let xenc = CanonicalWriter.Namespace(prefix: "xenc", uri: "http://www.w3.org/2001/04/xmlenc#")
  private static let xenc11 = CanonicalWriter.Namespace(prefix: "xenc11", uri: "http://www.w3.org/2009/xmlenc11#")
  private static let ds = CanonicalWriter.Namespace(prefix: "ds", uri: "http://www.w3.org/2000/09/xmldsig#")

  /// An xenc:EncryptedData of the element, with its key in one xenc:EncryptedKey inside of its ds:KeyInfo; canonical as written, to be embedded in
  /// saml:EncryptedAssertion or saml:EncryptedID.
  ///
  /// `element` is canonical, as `CanonicalWriter` makes it, and was signed before (SAML Core 6.2). `certificate` is DER and tells the partner which of
  /// its keys is meant. Throws `CryptographyFault` where the key cannot be used.
  package static func encrypt(
    _ element: [UInt8], to key: EncryptionKey, certificate: [UInt8]?, content: ContentEncryption = .aes256GCM,
    transport: KeyTransportAlgorithm = .rsaOAEP
  ) throws -> [UInt8] {
    let contentKey = Secret(RandomBytes.generate(content.keyBytes))
    let encryptedKey = try transport.transport.encrypt(contentKey, to: key)
    let sealed = try ContentCipher.seal(element, key: contentKey)

    var writer = CanonicalWriter(capacity: sealed.count / 3 * 4 + 4096)
    try writer.open(xenc, "EncryptedData", [("Type", EncryptedShape.elementType)])
    try writer.open(xenc, "EncryptionMethod", [("Algorithm", content.uri)])
    writer.close()
    writer.open(ds, "KeyInfo")
    writer.open(xenc, "EncryptedKey")
    try writer.open(xenc, "EncryptionMethod", [("Algorithm", transport.uri)])
    try writer.open(ds, "DigestMethod", [("Algorithm", transport.digest.uri)])
    writer.close()
    if sameBytes(transport.uri, KeyTransportAlgorithm.oaep11) {
      let mask = transport.maskDigest == .sha1 ? KeyTransportAlgorithm.maskSHA1 : KeyTransportAlgorithm.maskSHA256
      try writer.open(xenc11, "MGF", [("Algorithm", mask)])
      writer.close()
    }
    writer.close()
    if let certificate {
      writer.open(ds, "KeyInfo")
      writer.open(ds, "X509Data")
      writer.open(ds, "X509Certificate")
      writer.base64(certificate)
      for _ in 0..<3 { writer.close() }
    }
    cipherData(encryptedKey, &writer)
    writer.close()
    writer.close()
    cipherData(sealed, &writer)
    return writer.finish()
  }

  private static func cipherData(_ bytes: [UInt8], _ writer: inout CanonicalWriter) {
    writer.open(xenc, "CipherData")
    writer.open(xenc, "CipherValue")
    writer.base64(bytes)
    writer.close()
    writer.close()
  }

  /// Decrypts an EncryptedData, or the one inside of an EncryptedAssertion, EncryptedID or the like, and reads the element in it.
  ///
  /// What comes out is whatever the sender encrypted; anybody can encrypt. It is to be trusted only as far as a signature around or inside of it reaches
  /// (CVE-2024-4985). Up to four EncryptedKey are tried with each of `keys`. Throws the same `DecryptionFault` for every reason, and takes as long for a
  /// wrong key as for changed bytes.
  package static func decrypt(_ encrypted: XMLElement, keys: [DecryptionKey], limits: XMLLimits) throws(DecryptionFault) -> XMLElement {
    let shape: EncryptedShape
    do { shape = try EncryptedShape(encrypted) } catch { throw DecryptionFault() }
    for encryptedKey in shape.keys {
      for key in keys {
        // A key that cannot be had is replaced by a random one, and then fails where a good one with changed bytes would.
        let contentKey: Secret
        if let found = try? encryptedKey.algorithm.transport.decrypt(encryptedKey.bytes, with: key), found.count == shape.content.keyBytes {
          contentKey = found
        } else {
          contentKey = Secret(RandomBytes.generate(shape.content.keyBytes))
        }
        guard let plain = try? ContentCipher.open(shape.bytes, key: contentKey) else { continue }
        // The element takes the place of EncryptedData, so prefixes mean there what they meant around it (XML Encryption 1.1 4.5).
        do {
          var reader = try XMLReader(plain, limits: limits, scope: encrypted.scope)
          return try reader.document()
        } catch { throw DecryptionFault() }
      }
    }
    throw DecryptionFault()
  }
}

/// What was encrypted cannot be had. There is one answer for every reason, since more than one could be used to decrypt (Bleichenbacher 1998).
package struct DecryptionFault: Error, Equatable, Sendable {}
