import Bytes
import Identity
import SAML

/// The relying parties as the store keeps them.
package protocol RelyingPartyStore: Sendable {
  /// A number that is another one after every change of any relying party: whoever holds a copy asks for this, not for all of them.
  func relyingPartiesVersion() async throws -> Int64
  /// The relying parties that are not of the version in `known`, by name, and the ids of all that there are. Throws `StoreError`.
  func relyingParties(besides known: [Identifier: Int64]) async throws -> (changed: [RelyingParty], all: Set<Identifier>)
  /// Throws `StoreError.conflict` where the name or the entityID is taken.
  func add(_ party: RelyingParty, audit: [AuditEvent]) async throws
  /// Replaces the row whose version is `party.version`. Throws `StoreError.conflict` where it has moved on, `.notFound` where it is gone.
  func update(_ party: RelyingParty, audit: [AuditEvent]) async throws
  /// Removes it with its persistent names and its part in sessions. Throws `StoreError.notFound`.
  func remove(relyingParty id: Identifier, audit: [AuditEvent]) async throws
}

extension RelyingPartyStore {
  /// All of them, by name. Throws `StoreError`.
  package func relyingParties() async throws -> [RelyingParty] { try await relyingParties(besides: [:]).changed }
}

/// A relying party's part in somebody's session: what a logout needs (Profiles 4.4).
package struct Participant: Sendable, Equatable, Codable {
  package var relyingParty: Identifier
  package var name: NameID?
  /// Unguessable, of this session at this relying party.
  package var sessionIndex: String
  package var since: Instant

  package init(relyingParty: Identifier, name: NameID?, sessionIndex: String, since: Instant) {
    self.relyingParty = relyingParty
    self.name = name
    self.sessionIndex = sessionIndex
    self.since = since
  }
}

/// What federation keeps of people: persistent names, who takes part in which session, and which signed requests were seen.
package protocol FederationStore: Sendable {
  /// The persistent name of a person at a relying party; nil where none was made.
  func persistentName(of object: DirectoryObject, at party: Identifier) async throws -> String?
  /// Makes `value` the person's persistent name where there is none; answers the one that holds. Never reassigned.
  func makePersistentName(_ value: String, of object: DirectoryObject, at party: Identifier, audit: [AuditEvent]) async throws -> String

  /// Who takes part in a session. The session is named by its digest, as in `SessionStore`.
  func participants(of session: [UInt8]) async throws -> [Participant]
  /// Records the issue of a token: the audit rows, and the participant where it is new to the session. Throws `StoreError.notFound` where the session is gone.
  func recordIssue(session: [UInt8], participant: Participant?, audit: [AuditEvent]) async throws
  /// The sessions in which a relying party knows somebody by this name: digests. With indexes, only those.
  func sessions(of party: Identifier, name: NameID, indexes: [String]) async throws -> [[UInt8]]

  /// Remembers a message of `issuer` until `until`. False where it is remembered already (a replay), unless `holder` is not empty and brought it then, too: the
  /// same browser may go back. Throws `StoreError.unavailable` where no more can be remembered: what is alive is never forgotten for it.
  func rememberMessage(_ id: String, issuer: String, holder: [UInt8], until: Instant, now: Instant) async throws -> Bool
  /// Forgets messages whose time is over.
  func forgetMessages(now: Instant) async throws
}

extension FederationStore {
  /// For messages that nobody may bring twice.
  package func rememberMessage(_ id: String, issuer: String, until: Instant, now: Instant) async throws -> Bool {
    try await rememberMessage(id, issuer: issuer, holder: [], until: until, now: now)
  }
}
