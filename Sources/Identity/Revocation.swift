import Bytes

/// A fact that must stay true though the store is put back to an older state: who is shut out, and which credentials are good now.
///
/// The store keeps every fact in order, in the transaction of the change that it tells of; a journal outside of the store has them too
/// (`RevocationJournal` of the KeyStore door). A restore applies what the journal has and the backup has not.
package struct Revocation: Sendable, Equatable, Codable {
  package enum Kind: String, Sendable, CaseIterable, Codable {
    /// An agent as it is now: revoked or not, in quarantine or not, and the certificates that are its own. Subject: its id.
    case agent
    /// A front-end as it is now: removed, disabled, and the keys and certificates that are good. Subject: its id.
    case frontEnd = "front-end"
    /// A person is blocked, or no longer. Subject: realm and key of the name.
    case block
    /// A relying party was removed, or disabled, or is no longer disabled. Subject: its id.
    case relyingParty = "relying-party"
    /// A token-signing key was retired. Subject: its id. Applied by its owner, who asks for facts of this kind at the start.
    case signingKeyRetired = "signing-key-retired"
    /// The store was restored from a backup. Subject: the epoch that began.
    case restored
  }

  package var kind: Kind
  /// What the fact is about; the last fact of a kind and subject is the one that holds. At most 512 bytes.
  package var subject: String
  package var time: Instant
  /// How people call it.
  package var name: String
  /// What holds, by words that belong to the kind; never a secret.
  package var details: [String: String]

  package init(_ kind: Kind, subject: String, time: Instant, name: String, details: [String: String] = [:]) {
    self.kind = kind
    self.subject = subject
    self.time = time
    self.name = name
    self.details = details
  }
}

/// A fact with its place in the order of all: from 1, without gaps.
package struct JournaledRevocation: Sendable, Equatable, Codable {
  package var position: Int64
  package var revocation: Revocation

  package init(position: Int64, revocation: Revocation) {
    self.position = position
    self.revocation = revocation
  }
}

/// The facts that outlive a restore, as the store keeps them. Agents, front-ends and blocks are recorded by the ports that change them; who else retires
/// something that must not come back records it here.
package protocol RevocationStore: Sendable {
  /// Records facts with the audit events of what they tell of. Throws `StoreError`.
  func record(_ revocations: [Revocation], audit: [AuditEvent]) async throws
  /// The facts behind a position, in order, at most `limit` (1…10,000). Throws `StoreError`.
  func revocations(after position: Int64, limit: Int) async throws -> [JournaledRevocation]
  /// All facts of a kind, in order. Throws `StoreError`.
  func revocations(of kind: Revocation.Kind) async throws -> [JournaledRevocation]
}

extension Revocation {
  /// The words of a detail, which stand apart by blanks.
  package func words(_ detail: String) -> [String] { (details[detail] ?? "").split(separator: " ").map(String.init) }

  /// A detail that is milliseconds since 1970.
  package func instant(_ detail: String) -> Instant? { details[detail].flatMap { Int64($0) }.map(Instant.init(milliseconds:)) }
}
