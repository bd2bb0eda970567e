import Bytes
import CertificateLifecycle
import Cryptography
import Foundation
import Identity

/// What a relying party's own documents say of the keys that it trusts: its configuration, its metadata, or what Entra has stored of a domain.
package enum ConfigurationEvidence {
  /// Larger documents are not searched.
  package static let longestDocument = 4 << 20

  /// Whether a document (of whatever form) has the certificate: as base64 of its DER, wherever lines break, or by its SHA-256 or SHA-1 in hexadecimal.
  package static func shows(_ document: [UInt8], certificate: [UInt8]) -> Bool {
    let space: Set<UInt8> = [0x20, 0x09, 0x0a, 0x0d]
    let dense = Data(document.filter { !space.contains($0) })
    if dense.range(of: Data(certificate.base64.utf8)) != nil { return true }
    let plain = Data(dense.compactMap { byte in byte == UInt8(ascii: ":") ? nil : (0x41...0x46).contains(byte) ? byte | 0x20 : byte })
    return [Digests.sha256(certificate), DigestAlgorithm.sha1.digest(certificate)].contains { plain.range(of: Data($0.hexadecimal.utf8)) != nil }
  }

  /// A domain's federation settings as Microsoft Graph tells them (internalDomainFederation), with the domain's name.
  private struct EntraDomain: Decodable {
    var domain: String
    var signingCertificate: String?
    var nextSigningCertificate: String?
  }

  private struct EntraDomains: Decodable { var value: [EntraDomain] }

  /// Of the domains that must show the certificate those that do not. Throws `RingProblem` where the document is not what the script of the operations guide
  /// writes: `{"value": [{"domain": …, "signingCertificate": …, "nextSigningCertificate": …}]}`.
  package static func entraDomains(lacking certificate: [UInt8], of domains: [String], in document: [UInt8]) throws -> [String] {
    let known: [EntraDomain]
    do { known = try JSONDecoder().decode(EntraDomains.self, from: Data(document)).value } catch {
      throw RingProblem("This is not what the script of docs/operations/certificates.md writes of an Entra tenant: \(error)")
    }
    return domains.filter { domain in
      !known.contains { entry in
        entry.domain.lowercased() == domain.lowercased()
          && [entry.signingCertificate, entry.nextSigningCertificate].contains { text in
            text.flatMap { StrictText.base64($0.filter { !$0.isWhitespace }) } == certificate
          }
      }
    }
  }
}

extension RolloverService {
  /// The owner, or a document of theirs, says that a relying party has a key. Throws `RingProblem` where it does not say so, and `StoreError`.
  ///
  /// - Parameters:
  ///   - id: nil: the next key, or the primary where it is held on a former one.
  ///   - document: nil: the owner's word.
  ///   - detail: who says so, for people.
  /// - Returns: the key.
  @discardableResult
  package func confirm(_ party: RelyingParty, key id: String?, document: [UInt8]?, detail: String?, actor: String) async throws -> String {
    let (ring, time, family) = (keys.ring, now(), party.signatureAlgorithm.family)
    let published = ring.next(of: family).flatMap { $0.state == .published ? $0.id : nil }
    guard let key = id ?? published ?? ring.primary(of: family)?.id, let place = ring[key], place.state.isInMetadata, place.family == family else {
      throw RingProblem("There is no key in metadata that \(party.name) could have. See `gatehouse certs list`.")
    }
    let domains = party.rollover?.entraDomains ?? []
    let certificate = keys.places.first { $0.place.id == key }?.certificate ?? []
    var evidence = RolloverRecord.Evidence(key: key, level: .confirmed, time: time, detail: detail ?? "confirmed by \(actor)")
    if let document {
      guard document.count <= ConfigurationEvidence.longestDocument else { throw RingProblem("The document has more than 4 MiB.") }
      if domains.isEmpty {
        guard ConfigurationEvidence.shows(document, certificate: certificate) else {
          throw RingProblem("The document does not show the certificate of the key \(key), nor its SHA-256 or SHA-1.")
        }
      } else {
        let lacking = try ConfigurationEvidence.entraDomains(lacking: certificate, of: domains, in: document)
        guard lacking.isEmpty else {
          throw RingProblem("\(lacking.joined(separator: ", ")) of the tenant do not show the key \(key) yet. Push it to them first.")
        }
      }
      evidence.level = .configured
      evidence.detail = detail ?? "its configuration shows the certificate (given by \(actor))"
    } else if !domains.isEmpty {
      throw RingProblem("\(party.name) is an Entra tenant: give the federation settings of its domains, which alone say what it trusts.")
    }
    let made = evidence
    let event = event(.relyingPartyKeyConfirmed, party.name, actor, ["key": key, "level": made.level.word, "detail": made.detail], time)
    try await ledger.change(party.id, audit: [event]) { $0.add(made) }
    return key
  }
}
