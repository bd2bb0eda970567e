import COpenSSL

/// A public key that verifies signatures: RSA of 2,048 to 8,192 bits with exponent 65537, P-256 or P-384.
///
/// Equal where the SubjectPublicKeyInfo is, however the key came here.
package struct VerificationKey: Sendable, Hashable {
  let handle: KeyHandle

  /// The key in DER (RFC 5280 4.1.2.7).
  package let subjectPublicKeyInfo: [UInt8]

  private init(_ handle: KeyHandle) throws(CryptographyFault) {
    self.handle = handle
    subjectPublicKeyInfo = try handle.publicKeyInfo()
  }

  /// From SubjectPublicKeyInfo DER, to the last byte. Throws `.key` for everything that is none, too weak, or spells its curve out.
  package init(subjectPublicKeyInfo der: [UInt8]) throws(CryptographyFault) { try self.init(try KeyHandle.publicKey(der)) }

  /// The key of an X.509 certificate in DER. Nothing else in the certificate is looked at: a partner's metadata pin the key, not its names or dates
  /// (SAML Metadata Interoperability Profile 2.1). Throws as the other one does.
  package init(certificate der: [UInt8]) throws(CryptographyFault) { try self.init(try KeyHandle.publicKey(certificate: der)) }

  /// Whether `algorithm` is one of this kind of key.
  package func fits(_ algorithm: SignatureAlgorithm) -> Bool { algorithm.isRSA == handle.kind.isRSA }

  /// Returns where `signature`, in the form in which `SigningKey` writes it, is this key's over `bytes`. Throws otherwise, whatever the reason.
  package func verify(signature: [UInt8], over bytes: [UInt8], algorithm: SignatureAlgorithm) throws(CryptographyFault) {
    guard fits(algorithm) else { throw .algorithm }
    guard signature.count == handle.kind.outputBytes,
      gatehouse_verify(handle.pointer, algorithm.digest.shimNumber, bytes, bytes.count, signature, signature.count) == 1
    else { throw .signature }
  }

  package static func == (left: VerificationKey, right: VerificationKey) -> Bool { left.subjectPublicKeyInfo == right.subjectPublicKeyInfo }

  package func hash(into hasher: inout Hasher) { hasher.combine(subjectPublicKeyInfo) }
}
