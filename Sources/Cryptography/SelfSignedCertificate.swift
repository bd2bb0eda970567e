import Bytes
import COpenSSL

/// The certificate in which a signing key is handed to partners. They pin the key; the certificate is only its wrapping.
package enum SelfSignedCertificate {
  /// An X.509 v3 certificate (RFC 5280) in DER: CN=`commonName` as subject and issuer, a random positive serial of 16 bytes, CA:FALSE,
  /// digitalSignature, signed by the key itself with SHA-256. Times are cut to whole seconds.
  ///
  /// `commonName` has 1 to 64 characters (`ub-common-name`). Throws `.library` where OpenSSL does not take it, and what signing throws: the key may be
  /// one that signs elsewhere, which blocks.
  package static func make(key: SigningKey, commonName: String, notBefore: Instant, notAfter: Instant) throws(CryptographyFault) -> [UInt8] {
    guard notBefore < notAfter, !commonName.utf8.isEmpty, !commonName.utf8.contains(0) else { throw .library("a name or a time that is none") }
    var serial = RandomBytes.generate(16)
    // Positive and 16 bytes long whatever the dice say (RFC 5280 4.1.2.2).
    serial[0] = serial[0] & 0x7f | 0x40
    let name = Array(commonName.utf8)
    let handle = key.publicKey.handle.pointer
    guard
      let unsigned = gatehouse_certificate_new(
        handle, name.map { CChar(bitPattern: $0) }, name.count, serial, serial.count, notBefore.milliseconds / 1000, notAfter.milliseconds / 1000)
    else { throw .library("could not make a certificate") }
    defer { gatehouse_certificate_free(unsigned) }
    var written = [UInt8](repeating: 0, count: 4096)
    var length = written.count
    guard gatehouse_certificate_write_unsigned(unsigned, &written, &length) == 1, length <= written.count else {
      throw .library("could not make a certificate")
    }
    let signature = try key.sign(Array(written.prefix(length)), with: key.defaultAlgorithm)
    length = written.count
    guard gatehouse_certificate_finish(unsigned, handle, signature, signature.count, &written, &length) == 1, length <= written.count else {
      throw .library("could not make a certificate")
    }
    return Array(written.prefix(length))
  }
}
