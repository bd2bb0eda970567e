import Bytes

// The ring of token-signing keys, as values. One ring has the keys of every family; each family has one primary.
//
//   prepared ──publish──► published ──promote──► primary ──(another is promoted)──► retiring ──retire──► retired
//   key exists            in metadata,           signs                              in metadata,         out of metadata,
//   nobody knows          never signs by default                                    signs where assigned key destroyed, record kept

/// Where a token-signing key stands.
package enum SigningKeyState: String, Sendable, Codable, CaseIterable {
  case prepared, published, primary, retiring, retired

  /// Whether metadata shows its certificate, so that what it has signed, or will sign, can be verified.
  package var isInMetadata: Bool { self == .published || self == .primary || self == .retiring }
}

/// Which algorithms a key can sign with.
package enum SigningKeyFamily: String, Sendable, Codable, CaseIterable {
  case rsa, ecdsa
}

/// One key's place in the ring; the key itself is kept elsewhere under the same id.
package struct SigningKeyPlace: Sendable, Equatable, Codable {
  package var id: String
  package var family: SigningKeyFamily
  package var state: SigningKeyState
  package var prepared: Instant
  package var published: Instant?
  package var promoted: Instant?
  package var retiring: Instant?
  package var retired: Instant?
  /// The end of its certificate.
  package var notAfter: Instant

  package init(id: String, family: SigningKeyFamily, state: SigningKeyState, prepared: Instant, notAfter: Instant) {
    self.id = id
    self.family = family
    self.state = state
    self.prepared = prepared
    self.notAfter = notAfter
    if state == .published || state == .primary { published = prepared }
    if state == .primary { promoted = prepared }
  }
}

/// Questions of a ring: pure functions of it.
package enum SigningKeyRing {
  /// The key that a relying party's tokens are signed with: the one assigned to it while that is in metadata, else the primary of the family.
  package static func signer(_ ring: [SigningKeyPlace], family: SigningKeyFamily, assigned: String?) -> SigningKeyPlace? {
    if let assigned, let key = ring.first(where: { $0.id == assigned && $0.family == family && $0.state.isInMetadata }) { return key }
    return ring.first { $0.family == family && $0.state == .primary }
  }

  /// What metadata shows, in its order: the signer first (some relying parties read one key only), then by age, the other family last.
  package static func published(_ ring: [SigningKeyPlace], family: SigningKeyFamily, assigned: String?) -> [SigningKeyPlace] {
    let first = signer(ring, family: family, assigned: assigned)
    let rest = ring.filter { $0.state.isInMetadata && $0.id != first?.id }.sorted {
      ($0.family == family ? 0 : 1, $0.prepared, $0.id) < ($1.family == family ? 0 : 1, $1.prepared, $1.id)
    }
    return (first.map { [$0] } ?? []) + rest
  }
}
