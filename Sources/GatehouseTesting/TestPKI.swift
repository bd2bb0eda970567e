import Bytes
import Crypto
import Foundation
import SwiftASN1
import X509

/// A certificate authority for tests: P-256 throughout, valid from an hour ago for ten years, and leaves with whatever fault a test wants.
package struct TestPKI: Sendable {
  /// A certificate with its private key.
  package struct Issued: Sendable {
    package let certificate: Certificate
    package let privateKey: P256.Signing.PrivateKey

    /// The certificate, PEM.
    package var certificatePEM: String { get throws { try certificate.serializeAsPEM().pemString } }
    /// The private key, PKCS #8 in PEM.
    package var privateKeyPEM: String { privateKey.pemRepresentation }
    /// The certificate, DER.
    package var der: [UInt8] {
      get throws {
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return serializer.serializedBytes
      }
    }
  }

  /// What a leaf shall be. The defaults make a server certificate for `localhost` that everybody accepts.
  package struct Leaf: Sendable {
    package var commonName: String
    /// SAN dNSName; empty together with `addresses` leaves the extension out.
    package var names: [String]
    /// SAN iPAddress: 4 or 16 bytes each.
    package var addresses: [[UInt8]]
    /// Seconds from now; negative is the past.
    package var validFrom: Duration
    package var validUntil: Duration
    package var purposes: [ExtendedKeyUsage.Usage]

    package init(
      commonName: String = "localhost", names: [String] = ["localhost"], addresses: [[UInt8]] = [[127, 0, 0, 1]],
      validFrom: Duration = .seconds(-3600), validUntil: Duration = .seconds(86_400), purposes: [ExtendedKeyUsage.Usage] = [.serverAuth]
    ) {
      self.commonName = commonName
      self.names = names
      self.addresses = addresses
      self.validFrom = validFrom
      self.validUntil = validUntil
      self.purposes = purposes
    }

    /// A good server certificate.
    package static let server = Leaf()
    /// One that ended an hour ago.
    package static let expired = Leaf(validFrom: .seconds(-7200), validUntil: .seconds(-3600))
    /// One that begins in an hour.
    package static let notYetValid = Leaf(validFrom: .seconds(3600))
    /// One for another host.
    package static let wrongName = Leaf(commonName: "other.example", names: ["other.example"], addresses: [])
    /// One whose name stands in the common name only, where nobody may look for it (RFC 9525 §2).
    package static let commonNameOnly = Leaf(names: [], addresses: [])
    /// One that may be used by clients only.
    package static let client = Leaf(commonName: "client", names: [], addresses: [], purposes: [.clientAuth])
  }

  package let authority: Issued
  private let now: Date

  /// Valid around `now`: by default the real time, as TLS libraries hold certificates against the real clock.
  package init(commonName: String = "Gatehouse test CA", now: Instant = Instant(Date(timeIntervalSinceNow: 0))) throws {
    self.now = now.date
    let key = P256.Signing.PrivateKey()
    let name = try DistinguishedName { CommonName(commonName) }
    let certificate = try Certificate(
      version: .v3, serialNumber: .init(), publicKey: .init(key.publicKey), notValidBefore: now.date.addingTimeInterval(-3600),
      notValidAfter: now.date.addingTimeInterval(10 * 365 * 86_400), issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
        Critical(KeyUsage(keyCertSign: true, cRLSign: true))
        SubjectKeyIdentifier(hash: Certificate.PublicKey(key.publicKey))
      }, issuerPrivateKey: .init(key))
    authority = Issued(certificate: certificate, privateKey: key)
  }

  /// Makes a leaf, with a new key.
  package func issue(_ leaf: Leaf = .server) throws -> Issued {
    let key = P256.Signing.PrivateKey()
    let names = leaf.names.map { GeneralName.dnsName($0) } + leaf.addresses.map { .ipAddress(ASN1OctetString(contentBytes: $0[...])) }
    let certificate = try Certificate(
      version: .v3, serialNumber: .init(), publicKey: .init(key.publicKey), notValidBefore: time(leaf.validFrom),
      notValidAfter: time(leaf.validUntil), issuer: authority.certificate.subject,
      subject: try DistinguishedName { CommonName(leaf.commonName) }, signatureAlgorithm: .ecdsaWithSHA256,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.notCertificateAuthority)
        Critical(KeyUsage(digitalSignature: true))
        try ExtendedKeyUsage(leaf.purposes)
        if !names.isEmpty { SubjectAlternativeNames(names) }
      }, issuerPrivateKey: .init(authority.privateKey))
    return Issued(certificate: certificate, privateKey: key)
  }

  private func time(_ offset: Duration) -> Date { now.addingTimeInterval(Double(offset.components.seconds)) }
}
