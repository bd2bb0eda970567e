import Bytes
import Identity

/// A cloud front-end that may ask for verdicts.
package struct FrontEnd: Sendable, Equatable {
  package var id: Identifier
  /// Unique, 1…64 of `a-z 0-9 . _ -`.
  package var name: String
  /// The realms whose people it may ask about; empty means none.
  package var realms: [RealmName]
  /// Sign-ins a second, sustained; bursts of twice as many are let through.
  package var ratePerSecond: Int
  /// SHA-256 of each API key that is good now, newest first. At most two: the current one and, during an overlap, the one before.
  package var keys: [FrontEndKey]
  /// SHA-256 of the DER of each client certificate that identifies it on the mutual-TLS listener.
  package var certificates: [[UInt8]]
  package var disabled: Bool
  /// For compare-and-swap; the store increments it.
  package var version: Int64

  package init(
    id: Identifier = Identifier(), name: String, realms: [RealmName], ratePerSecond: Int = 500, keys: [FrontEndKey] = [],
    certificates: [[UInt8]] = [], disabled: Bool = false, version: Int64 = 0
  ) {
    self.id = id
    self.name = name
    self.realms = realms
    self.ratePerSecond = ratePerSecond
    self.keys = keys
    self.certificates = certificates
    self.disabled = disabled
    self.version = version
  }
}

/// One API key of a front-end, of which only the digest is known.
package struct FrontEndKey: Sendable, Equatable, Codable {
  /// SHA-256 of the key's text; 32 bytes.
  package var digest: [UInt8]
  package var made: Instant
  /// After this it is refused; nil for the current key.
  package var expires: Instant?

  package init(digest: [UInt8], made: Instant, expires: Instant? = nil) {
    self.digest = digest
    self.made = made
    self.expires = expires
  }
}

/// The front-ends as the store keeps them.
package protocol FrontEndStore: Sendable {
  func frontEnds() async throws -> [FrontEnd]
  /// The front-end that one of whose keys has this digest; expiry is the caller's to check.
  func frontEnd(keyDigest: [UInt8]) async throws -> FrontEnd?
  func frontEnd(certificateDigest: [UInt8]) async throws -> FrontEnd?
  /// Throws `StoreError.conflict` where the name, a key digest or a certificate is taken.
  func add(_ frontEnd: FrontEnd, audit: [AuditEvent]) async throws
  /// Replaces the row whose version is `frontEnd.version`. Throws `StoreError.conflict` where it has moved on, `.notFound` where it is gone.
  func update(_ frontEnd: FrontEnd, audit: [AuditEvent]) async throws
  /// Throws `StoreError.notFound`.
  func remove(frontEnd id: Identifier, audit: [AuditEvent]) async throws
}
