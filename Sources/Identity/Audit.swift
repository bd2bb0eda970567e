import Bytes

/// One thing that happened, to be kept for ever (until its segment is exported and pruned) in the hash chain of its node.
package struct AuditEvent: Sendable, Equatable, Codable {
  package var time: Instant
  package var kind: AuditKind
  /// The reference that the answer carried, by which `gatehouse trace` finds the event.
  package var reference: Reference?
  /// Who did it: a front-end's name, `admin:<user>`, an agent's name, `gatehouse`.
  package var actor: String
  package var realm: RealmName?
  /// What it was done to: the typed user name, an agent's name, a realm … at most 512 bytes.
  package var subject: String?
  package var object: Identifier?
  /// `accepted`, `refused:<RefusalReason>`, `unknown:<UnknownCause>`, `done`, `denied`;
  /// of a change of a password also `tried`, `changed`, `not-taken:<PasswordRule, …>`.
  package var outcome: String
  /// Further facts; never a secret.
  package var details: [String: String]
  package var trace: [TraceNote]

  package init(
    time: Instant, kind: AuditKind, reference: Reference? = nil, actor: String, realm: RealmName? = nil, subject: String? = nil,
    object: Identifier? = nil, outcome: String, details: [String: String] = [:], trace: [TraceNote] = []
  ) {
    self.time = time
    self.kind = kind
    self.reference = reference
    self.actor = actor
    self.realm = realm
    self.subject = subject
    self.object = object
    self.outcome = outcome
    self.details = details
    self.trace = trace
  }
}

extension AuditEvent {
  /// The agent whose verdict a sign-in's (or a change's) is.
  package var agent: Identifier? { kind == .signIn || kind == .passwordChange ? details["agent"].flatMap { Identifier($0) } : nil }
}

/// Every kind of event. Raw values are stored: never rename one.
package enum AuditKind: String, Sendable, CaseIterable, Codable {
  case signIn = "sign-in"
  /// Many sign-ins that were refused alike without being judged, in one row: `details` has how many, from where and in which minute.
  case signInsThrottled = "sign-in.throttled"
  /// A password is about to be changed: written before anything is asked, so that no change is without a row.
  case passwordChangeTried = "password.change-tried"
  /// What came of it.
  case passwordChange = "password.change"
  case sprayBegan = "spray.began"
  case sprayEnded = "spray.ended"
  case userUnlocked = "user.unlocked"
  case userBlocked = "user.blocked"
  case userUnblocked = "user.unblocked"
  case frontEndAdded = "front-end.added"
  case frontEndChanged = "front-end.changed"
  case frontEndKeyRotated = "front-end.key-rotated"
  case frontEndRevoked = "front-end.revoked"
  case realmAdded = "realm.added"
  case realmChanged = "realm.changed"
  case realmRemoved = "realm.removed"
  case realmLockoutChanged = "realm.lockout-changed"
  case enrolmentTokenMade = "enrolment-token.made"
  case enrolmentRefused = "enrolment.refused"
  case agentEnrolled = "agent.enrolled"
  case agentRenewed = "agent.renewed"
  case agentRevoked = "agent.revoked"
  case agentAlarm = "agent.alarm"
  case agentQuarantined = "agent.quarantined"
  case agentReleased = "agent.released"
  case agentsDisagreed = "agent.disagreed"
  case canarySet = "realm.canary-set"
  case canaryRemoved = "realm.canary-removed"
  case authorityPrepared = "authority.prepared"
  case authorityPromoted = "authority.promoted"
  case authorityRetired = "authority.retired"
  case relyingPartyAdded = "relying-party.added"
  case relyingPartyChanged = "relying-party.changed"
  case relyingPartyRemoved = "relying-party.removed"
  case relyingPartyRefreshed = "relying-party.metadata-refreshed"
  case relyingPartyPending = "relying-party.metadata-pending"
  case tokenIssued = "token.issued"
  case tokenRefused = "token.refused"
  case persistentNameMade = "persistent-name.made"
  case signingKeyMade = "signing-key.made"
  case signingKeyPublished = "signing-key.published"
  case signingKeyPromoted = "signing-key.promoted"
  case signingKeyRolledBack = "signing-key.rolled-back"
  case signingKeyResumed = "signing-key.resumed"
  case signingKeyRetired = "signing-key.retired"
  case signingKeyReplaced = "signing-key.replaced"
  case relyingPartyKeyMoved = "relying-party.key-moved"
  case relyingPartyKeyReverted = "relying-party.key-reverted"
  case relyingPartyKeyConfirmed = "relying-party.key-confirmed"
  case relyingPartyProbed = "relying-party.probed"
  case rolloverPolicyChanged = "rollover.policy-changed"
  case rolloverRehearsed = "rollover.rehearsed"
  case rolloverClockTrusted = "rollover.clock-trusted"
  case federationChanged = "federation.changed"
  case sessionBegan = "session.began"
  case sessionEnded = "session.ended"
  case logoutRefused = "logout.refused"
  case backupMade = "backup.made"
  case storeRestored = "store.restored"
  case alarmAcknowledged = "alarm.acknowledged"
  case auditExported = "audit.exported"
  case auditPruned = "audit.pruned"
  case gatewayStarted = "gateway.started"
  case gatewayStopped = "gateway.stopped"
}

/// What an answer carries so that people can ask "why?": 12 characters of Crockford's base 32 in three groups, `7G4K-9Q2M-XW3T`.
package struct Reference: Hashable, Sendable, CustomStringConvertible, Codable {
  package let text: String
  private static let alphabet = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ".utf8)

  /// A new one: 60 random bits.
  package init() {
    var generator = SystemRandomNumberGenerator()
    var bits = generator.next() as UInt64
    var characters: [UInt8] = []
    for index in 0..<12 {
      if index == 4 || index == 8 { characters.append(UInt8(ascii: "-")) }
      characters.append(Reference.alphabet[Int(bits & 31)])
      bits >>= 5
    }
    text = String(decoding: characters, as: UTF8.self)
  }

  /// Reads what a person typed: any case, with or without dashes, O for 0, I and L for 1. Nil where it is no reference.
  package init?(_ typed: String) {
    var characters: [UInt8] = []
    for byte in typed.utf8 where byte != UInt8(ascii: "-") && byte != UInt8(ascii: " ") {
      var letter = byte >= 0x61 && byte <= 0x7a ? byte & 0xdf : byte
      if letter == UInt8(ascii: "O") { letter = UInt8(ascii: "0") }
      if letter == UInt8(ascii: "I") || letter == UInt8(ascii: "L") { letter = UInt8(ascii: "1") }
      guard Reference.alphabet.contains(letter), characters.count < 14 else { return nil }
      if characters.count == 4 || characters.count == 9 { characters.append(UInt8(ascii: "-")) }
      characters.append(letter)
    }
    guard characters.count == 14 else { return nil }
    text = String(decoding: characters, as: UTF8.self)
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard let value = Reference(try container.decode(String.self)) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a reference")
    }
    self = value
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }

  package var description: String { text }
}

/// A row of the audit as it stands in the store.
package struct AuditRow: Sendable, Equatable, Codable {
  /// The chain (one per node) and the position in it, from 1, without gaps.
  package var chain: String
  package var sequence: Int64
  package var event: AuditEvent
  /// SHA-256 over the previous row's hash and this row's canonical bytes; 32 bytes, base64 in an export.
  package var hash: [UInt8]

  package init(chain: String, sequence: Int64, event: AuditEvent, hash: [UInt8]) {
    self.chain = chain
    self.sequence = sequence
    self.event = event
    self.hash = hash
  }
}

/// What to look for in the audit; every given field must match.
package struct AuditQuery: Sendable, Equatable {
  package var reference: Reference?
  package var kinds: [AuditKind] = []
  package var subject: String?
  package var actor: String?
  /// Sign-ins that this agent answered.
  package var agent: Identifier?
  package var since: Instant?
  package var until: Instant?
  /// Newest first, at most this many (1…10,000).
  package var limit: Int = 100

  package init() {}
}

/// The append-only audit. Mutating ports of other kinds take their events along and append them in their own transaction; this port is
/// for events that change nothing else, and for reading.
package protocol AuditLog: Sendable {
  /// Durable when it returns. Throws `StoreError`.
  func append(_ events: [AuditEvent]) async throws
  /// Newest first.
  func find(_ query: AuditQuery) async throws -> [AuditRow]
  /// The rows of `chain` with sequence > `after`, oldest first, at most `limit`.
  func rows(chain: String, after: Int64, limit: Int) async throws -> [AuditRow]
  /// Every chain with its first and last sequence that is still held.
  func chains() async throws -> [AuditChainState]
  /// Seals everything up to `sequence` (its hash is kept as the new anchor) and deletes it; the event that tells so is part of the same
  /// transaction. Throws `StoreError.conflict` where the chain does not hold `sequence` or has not been exported up to it.
  func prune(chain: String, through sequence: Int64, event: AuditEvent) async throws
  /// Remembers that the chain was exported up to `sequence`.
  func markExported(chain: String, through sequence: Int64, event: AuditEvent) async throws
}

/// One node's chain as the store holds it.
package struct AuditChainState: Sendable, Equatable, Codable {
  package var chain: String
  /// The first sequence still held and the hash of the row before it (32 zero bytes for sequence 1).
  package var first: Int64
  package var anchor: [UInt8]
  package var last: Int64
  package var lastHash: [UInt8]
  package var exportedThrough: Int64

  package init(chain: String, first: Int64, anchor: [UInt8], last: Int64, lastHash: [UInt8], exportedThrough: Int64) {
    self.chain = chain
    self.first = first
    self.anchor = anchor
    self.last = last
    self.lastHash = lastHash
    self.exportedThrough = exportedThrough
  }
}

/// What a store throws.
package enum StoreError: Error, Sendable, Equatable {
  /// Nothing was written; trying later may help. The text is for the log.
  case unavailable(String)
  /// Somebody else was faster, or the thing is not in the state that the write needs.
  case conflict(String)
  /// The thing to change does not exist.
  case notFound(String)
}
