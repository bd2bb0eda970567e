import Bytes
import Federation
import Identity
import SAML

/// What `InMemoryStore` keeps for federation.
struct InMemoryFederation {
  struct PersonAtParty: Hashable {
    var object: DirectoryObject
    var party: Identifier
  }
  var parties: [Identifier: RelyingParty] = [:]
  var partiesVersion: Int64 = 0
  var settings: FederationSettings?
  var settingsVersion: Int64 = 0
  var sessions: [[UInt8]: Session] = [:]
  var participants: [[UInt8]: [Participant]] = [:]
  var names: [PersonAtParty: String] = [:]
  var rolloverRecords: [Identifier: RolloverRecord] = [:]
  var rolloverRecordsVersion: Int64 = 0
  var messages: [[String]: (until: Instant, holder: [UInt8])] = [:]
}

extension InMemoryStore: RolloverRecordStore {
  package func rolloverRecordsVersion() async throws -> Int64 {
    try check()
    return federation.rolloverRecordsVersion
  }

  package func rolloverRecords() async throws -> [RolloverRecord] {
    try check()
    return Array(federation.rolloverRecords.values)
  }

  package func putRolloverRecord(_ record: RolloverRecord, audit: [AuditEvent]) async throws {
    try check()
    guard federation.parties[record.relyingParty] != nil else { throw StoreError.notFound("there is no such relying party") }
    guard (federation.rolloverRecords[record.relyingParty]?.version ?? 0) == record.version else {
      throw StoreError.conflict("the record of the relying party was changed meanwhile")
    }
    var stored = record
    stored.version += 1
    federation.rolloverRecords[record.relyingParty] = stored
    federation.rolloverRecordsVersion += 1
    self.record(audit)
  }
}

extension InMemoryStore: RelyingPartyStore {
  package func relyingPartiesVersion() async throws -> Int64 {
    try check()
    return federation.partiesVersion
  }

  package func relyingParties(besides known: [Identifier: Int64]) async throws -> (changed: [RelyingParty], all: Set<Identifier>) {
    try check()
    let changed = federation.parties.values.filter { known[$0.id] != $0.version }
    return (changed.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }, Set(federation.parties.keys))
  }

  package func add(_ party: RelyingParty, audit: [AuditEvent]) async throws {
    try check()
    guard federation.parties[party.id] == nil else { throw StoreError.conflict("a relying party of this id exists already") }
    try put(party, version: 1)
    record(audit)
  }

  package func update(_ party: RelyingParty, audit: [AuditEvent]) async throws {
    try check()
    guard let stored = federation.parties[party.id] else { throw StoreError.notFound("there is no relying party \(party.name)") }
    guard stored.version == party.version else { throw StoreError.conflict("the relying party \(party.name) was changed meanwhile") }
    try put(party, version: party.version + 1)
    if stored.disabled != party.disabled { journal(party.revocation(at: audit.first?.time)) }
    record(audit)
  }

  package func remove(relyingParty id: Identifier, audit: [AuditEvent]) async throws {
    try check()
    guard let removed = federation.parties.removeValue(forKey: id) else { throw StoreError.notFound("there is no such relying party") }
    journal(removed.revocation(at: audit.first?.time, removed: true))
    federation.rolloverRecords[id] = nil
    federation.names = federation.names.filter { $0.key.party != id }
    for (session, known) in federation.participants { federation.participants[session] = known.filter { $0.relyingParty != id } }
    federation.partiesVersion += 1
    record(audit)
  }

  private func put(_ party: RelyingParty, version: Int64) throws {
    let others = federation.parties.values.filter { $0.id != party.id }
    guard !others.contains(where: { $0.name.utf8.elementsEqual(party.name.utf8) || $0.entityID.utf8.elementsEqual(party.entityID.utf8) }) else {
      throw StoreError.conflict("the name or the entityID is taken")
    }
    var stored = party
    stored.version = version
    federation.parties[party.id] = stored
    federation.partiesVersion += 1
  }
}

extension InMemoryStore: FederationSettingsStore {
  package func federationSettings() async throws -> FederationSettings? {
    try check()
    return federation.settings
  }

  package func putFederationSettings(_ settings: FederationSettings, audit: [AuditEvent]) async throws {
    try check()
    guard federation.settingsVersion == settings.version else { throw StoreError.conflict("the settings of federation were changed meanwhile") }
    federation.settingsVersion += 1
    var stored = settings
    stored.version = federation.settingsVersion
    federation.settings = stored
    record(audit)
  }
}

extension InMemoryStore: SessionStore {
  package func begin(_ session: Session, replacing old: [UInt8]?, audit: [AuditEvent]) async throws -> Bool {
    try check()
    guard !isBlocked(session.person.object) else { return false }
    guard federation.sessions[session.digest] == nil else { throw StoreError.conflict("a session of this digest exists already") }
    federation.sessions[session.digest] = session
    if let old, let before = federation.sessions.removeValue(forKey: old) {
      let moved = federation.participants.removeValue(forKey: old) ?? []
      if before.person.object == session.person.object { federation.participants[session.digest] = moved }
    }
    record(audit)
    return true
  }

  package func session(digest: [UInt8], now: Instant) async throws -> Session? {
    try check()
    return federation.sessions[digest].flatMap { $0.ends > now ? $0 : nil }
  }

  package func end(session digest: [UInt8], audit: [AuditEvent]) async throws -> Bool {
    try check()
    federation.participants[digest] = nil
    guard federation.sessions.removeValue(forKey: digest) != nil else { return false }
    record(audit)
    return true
  }

  package func endSessions(of object: DirectoryObject, audit: [AuditEvent]) async throws -> Int {
    try check()
    let ended = federation.sessions.values.filter { $0.person.object == object }.map(\.digest)
    for digest in ended {
      federation.sessions[digest] = nil
      federation.participants[digest] = nil
    }
    if !ended.isEmpty { record(audit) }
    return ended.count
  }

  package func endAllSessions(audit: [AuditEvent]) async throws -> Int {
    try check()
    let count = federation.sessions.count
    federation.sessions = [:]
    federation.participants = [:]
    if count > 0 { record(audit) }
    return count
  }

  package func forgetSessions(now: Instant) async throws {
    try check()
    for (digest, session) in federation.sessions where session.ends <= now {
      federation.sessions[digest] = nil
      federation.participants[digest] = nil
    }
  }
}

extension InMemoryStore: FederationStore {
  package func persistentName(of object: DirectoryObject, at party: Identifier) async throws -> String? {
    try check()
    return federation.names[.init(object: object, party: party)]
  }

  package func makePersistentName(
    _ value: String, of object: DirectoryObject, at party: Identifier, audit: [AuditEvent]
  ) async throws -> String {
    try check()
    let key = InMemoryFederation.PersonAtParty(object: object, party: party)
    if let known = federation.names[key] { return known }
    federation.names[key] = value
    record(audit)
    return value
  }

  package func participants(of session: [UInt8]) async throws -> [Participant] {
    try check()
    return federation.participants[session] ?? []
  }

  package func recordIssue(session: [UInt8], participant: Participant?, audit: [AuditEvent]) async throws {
    try check()
    guard federation.sessions[session] != nil else { throw StoreError.notFound("the session has ended") }
    if let participant {
      var known = federation.participants[session] ?? []
      if let place = known.firstIndex(where: { $0.relyingParty == participant.relyingParty }) {
        known[place].name = participant.name
      } else {
        known.append(participant)
      }
      federation.participants[session] = known
    }
    record(audit)
  }

  package func sessions(of party: Identifier, name: NameID, indexes: [String]) async throws -> [[UInt8]] {
    try check()
    return federation.participants.filter { _, known in
      known.contains {
        $0.relyingParty == party && ($0.name?.isSamePrincipal(as: name) ?? false) && (indexes.isEmpty || indexes.contains($0.sessionIndex))
      }
    }.map(\.key)
  }

  package func rememberMessage(
    _ id: String, issuer: String, holder: [UInt8], until: Instant, now: Instant
  ) async throws -> Bool {
    try check()
    if let known = federation.messages[[issuer, id]], known.until > now { return !holder.isEmpty && known.holder == holder }
    federation.messages[[issuer, id]] = (until, holder)
    return true
  }

  package func forgetMessages(now: Instant) async throws {
    try check()
    federation.messages = federation.messages.filter { $0.value.until > now }
  }
}
