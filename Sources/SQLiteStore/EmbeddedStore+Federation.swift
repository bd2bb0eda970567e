import Bytes
import Federation
import Foundation
import GRDB
import Identity
import SAML

extension EmbeddedStore: RelyingPartyStore {
  package func relyingPartiesVersion() async throws -> Int64 {
    try await read { try $0.row("SELECT parties_version FROM federation")?.integer(0) ?? 0 }
  }

  package func relyingParties(besides known: [Identifier: Int64]) async throws -> (changed: [RelyingParty], all: Set<Identifier>) {
    try await read { database in
      let decoder = JSONDecoder()
      var changed: [RelyingParty] = []
      var all: Set<Identifier> = []
      for row in try database.rows("SELECT id, version FROM relying_party ORDER BY name") {
        let (id, version) = (try row.identifier(0), try row.integer(1))
        all.insert(id)
        guard known[id] != version else { continue }
        guard let row = try database.row("SELECT document FROM relying_party WHERE id = ?", Data(id.bytes)) else { continue }
        guard var party = try? decoder.decode(RelyingParty.self, from: Data(try row.bytes(0))) else { throw row.damaged(0) }
        party.version = version
        changed.append(party)
      }
      return (changed, all)
    }
  }

  package func add(_ party: RelyingParty, audit: [AuditEvent]) async throws {
    let document = try JSONEncoder().encode(party)
    try await write(audit: audit) { database in
      try database.checkNames(of: party)
      guard try database.row("SELECT 1 FROM relying_party WHERE id = ?", Data(party.id.bytes)) == nil else {
        throw StoreError.conflict("a relying party of this id exists already")
      }
      try database.run(
        "INSERT INTO relying_party (id, name, entity_id, document, version) VALUES (?, ?, ?, ?, 1)", Data(party.id.bytes), party.name.blob,
        party.entityID.blob, document)
      try database.countPartiesUp()
    }
  }

  package func update(_ party: RelyingParty, audit: [AuditEvent]) async throws {
    let document = try JSONEncoder().encode(party)
    try await shutOut(audit: audit) { database in
      try database.checkNames(of: party)
      // Metadata is refreshed daily, and a fact is for ever: only that tokens go to it, or no longer, is one.
      let wasDisabled = try database.relyingParty(party.id)?.disabled ?? party.disabled
      let changed = try database.run(
        "UPDATE relying_party SET name = ?, entity_id = ?, document = ?, version = version + 1 WHERE id = ? AND version = ?", party.name.blob,
        party.entityID.blob, document, Data(party.id.bytes), party.version)
      guard changed == 1 else {
        guard try database.row("SELECT 1 FROM relying_party WHERE id = ?", Data(party.id.bytes)) != nil else {
          throw StoreError.notFound("there is no relying party \(party.name)")
        }
        throw StoreError.conflict("the relying party \(party.name) was changed meanwhile")
      }
      if wasDisabled != party.disabled { try database.journal(party.revocation(at: audit.first?.time)) }
      try database.countPartiesUp()
    }
  }

  package func remove(relyingParty id: Identifier, audit: [AuditEvent]) async throws {
    try await shutOut(audit: audit) { database in
      guard let party = try database.relyingParty(id) else { throw StoreError.notFound("there is no such relying party") }
      try database.run("DELETE FROM relying_party WHERE id = ?", Data(id.bytes))
      try database.journal(party.revocation(at: audit.first?.time, removed: true))
      try database.countPartiesUp()
    }
  }
}

extension EmbeddedStore: FederationSettingsStore {
  package func federationSettings() async throws -> FederationSettings? {
    try await read { database in
      guard let row = try database.row("SELECT entity_id, version, document FROM federation WHERE entity_id IS NOT NULL") else { return nil }
      guard let document = try row.optionalBytes(2) else { return FederationSettings(entityID: try row.text(0), version: try row.integer(1)) }
      guard var settings = try? JSONDecoder().decode(FederationSettings.self, from: Data(document)) else { throw row.damaged(2) }
      (settings.entityID, settings.version) = (try row.text(0), try row.integer(1))
      return settings
    }
  }

  package func putFederationSettings(_ settings: FederationSettings, audit: [AuditEvent]) async throws {
    let document = try JSONEncoder().encode(settings)
    try await write(audit: audit) { database in
      let changed = try database.run(
        "UPDATE federation SET entity_id = ?, document = ?, version = version + 1 WHERE version = ?", settings.entityID.blob, document,
        settings.version)
      guard changed == 1 else { throw StoreError.conflict("the settings of federation were changed meanwhile") }
    }
  }
}

extension EmbeddedStore: SessionStore {
  package func begin(_ session: Session, replacing old: [UInt8]?, audit: [AuditEvent]) async throws -> Bool {
    let document = try JSONEncoder().encode(session.person)
    return try await write(auditing: { $0 ? audit : [] }) { database in
      guard try database.row("SELECT 1 FROM session WHERE digest = ?", Data(session.digest)) == nil else {
        throw StoreError.conflict("a session of this digest exists already")
      }
      let object = session.person.object
      guard try !database.isBlocked(object) else { return false }
      try database.run(
        """
        INSERT INTO session (digest, realm, object, user_name, person, authenticated, ends, is_kept) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        """, Data(session.digest), object.realm.text.blob, Data(object.id.bytes), session.userName.blob, document, session.authenticated.stored,
        session.ends.stored, session.isKept)
      guard let old else { return true }
      try database.run(
        """
        UPDATE OR IGNORE participant SET session = ?1 WHERE session = ?2
          AND EXISTS (SELECT 1 FROM session WHERE digest = ?2 AND realm = ?3 AND object = ?4)
        """, Data(session.digest), Data(old), object.realm.text.blob, Data(object.id.bytes))
      try database.run("DELETE FROM session WHERE digest = ?", Data(old))
      return true
    }
  }

  package func session(digest: [UInt8], now: Instant) async throws -> Session? {
    try await read { database in
      guard
        let row = try database.row(
          "SELECT person, user_name, authenticated, ends, is_kept FROM session WHERE digest = ? AND ends > ?", Data(digest), now.stored)
      else { return nil }
      guard let person = try? JSONDecoder().decode(AcceptedPerson.self, from: Data(try row.bytes(0))) else { throw row.damaged(0) }
      return Session(
        digest: digest, person: person, userName: try row.text(1), authenticated: try row.instant(2), ends: try row.instant(3),
        isKept: try row.flag(4))
    }
  }

  package func end(session digest: [UInt8], audit: [AuditEvent]) async throws -> Bool {
    try await write(auditing: { $0 ? audit : [] }) { try $0.run("DELETE FROM session WHERE digest = ?", Data(digest)) == 1 }
  }

  package func endSessions(of object: DirectoryObject, audit: [AuditEvent]) async throws -> Int {
    try await write(auditing: { $0 > 0 ? audit : [] }) { database in
      try database.run("DELETE FROM session WHERE realm = ? AND object = ?", object.realm.text.blob, Data(object.id.bytes))
    }
  }

  package func endAllSessions(audit: [AuditEvent]) async throws -> Int {
    try await write(auditing: { $0 > 0 ? audit : [] }) { try $0.run("DELETE FROM session") }
  }

  package func forgetSessions(now: Instant) async throws {
    _ = try await write { try $0.run("DELETE FROM session WHERE ends <= ?", now.stored) }
  }
}

extension EmbeddedStore: FederationStore {
  /// More live messages than this are refused: what is remembered protects against replays and is never given up for new ones.
  static let mostRememberedMessages: Int64 = 1_000_000

  package func persistentName(of object: DirectoryObject, at party: Identifier) async throws -> String? {
    try await read { try $0.persistentName(of: object, at: party) }
  }

  package func makePersistentName(
    _ value: String, of object: DirectoryObject, at party: Identifier, audit: [AuditEvent]
  ) async throws -> String {
    try await write(auditing: { $0.isNew ? audit : [] }) { database -> (name: String, isNew: Bool) in
      if let known = try database.persistentName(of: object, at: party) { return (known, false) }
      try database.run(
        "INSERT INTO persistent_name (relying_party, realm, object, value) VALUES (?, ?, ?, ?)", Data(party.bytes), object.realm.text.blob,
        Data(object.id.bytes), value.blob)
      return (value, true)
    }.name
  }

  package func participants(of session: [UInt8]) async throws -> [Participant] {
    try await read { database in
      try database.rows("SELECT relying_party, name, session_index, since FROM participant WHERE session = ? ORDER BY since", Data(session)).map {
        row in
        Participant(
          relyingParty: try row.identifier(0), name: try row.nameID(1), sessionIndex: try row.text(2), since: try row.instant(3))
      }
    }
  }

  package func recordIssue(session: [UInt8], participant: Participant?, audit: [AuditEvent]) async throws {
    let name = try participant?.name.map { try JSONEncoder.sorted.encode($0) }
    try await write(audit: audit) { database in
      guard try database.row("SELECT 1 FROM session WHERE digest = ?", Data(session)) != nil else {
        throw StoreError.notFound("the session has ended")
      }
      guard let participant else { return }
      let party = Data(participant.relyingParty.bytes)
      // Written only where it is new or another name: most tokens go to a relying party that takes part already.
      try database.run(
        """
        INSERT INTO participant (session, relying_party, name, name_value, session_index, since) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
          ON CONFLICT (session, relying_party) DO UPDATE SET name = ?3, name_value = ?4 WHERE name IS NOT ?3
        """, Data(session), party, name, participant.name?.value.blob, participant.sessionIndex.blob, participant.since.stored)
    }
  }

  package func sessions(of party: Identifier, name: NameID, indexes: [String]) async throws -> [[UInt8]] {
    try await read { database in
      let rows = try database.rows(
        "SELECT session, name, session_index FROM participant WHERE relying_party = ? AND name_value = ?", Data(party.bytes),
        name.value.blob)
      let wanted = Set(indexes.map { Array($0.utf8) })
      return try rows.compactMap { row in
        let index = try row.bytes(2)
        guard let known = try row.nameID(1), known.isSamePrincipal(as: name), wanted.isEmpty || wanted.contains(index) else { return nil }
        return try row.bytes(0)
      }
    }
  }

  package func rememberMessage(
    _ id: String, issuer: String, holder: [UInt8], until: Instant, now: Instant
  ) async throws -> Bool {
    try await write { database in
      if let row = try database.row("SELECT until, holder FROM seen_message WHERE issuer = ? AND id = ?", issuer.blob, id.blob) {
        let held = try row.bytes(1)
        guard try row.instant(0) <= now else { return !holder.isEmpty && held == holder }
        try database.run(
          "UPDATE seen_message SET until = ?, holder = ? WHERE issuer = ? AND id = ?", until.stored, Data(holder), issuer.blob, id.blob)
        return true
      }
      let count = try database.row("SELECT COUNT(*) FROM (SELECT 1 FROM seen_message LIMIT ?)", EmbeddedStore.mostRememberedMessages)?.integer(0) ?? 0
      guard count < EmbeddedStore.mostRememberedMessages else {
        throw StoreError.unavailable("\(count) signed messages are remembered, and there is no room for more")
      }
      try database.run("INSERT INTO seen_message (issuer, id, until, holder) VALUES (?, ?, ?, ?)", issuer.blob, id.blob, until.stored, Data(holder))
      return true
    }
  }

  package func forgetMessages(now: Instant) async throws {
    _ = try await write { try $0.run("DELETE FROM seen_message WHERE until <= ?", now.stored) }
  }
}

extension Database {
  fileprivate func checkNames(of party: RelyingParty) throws {
    if let row = try row("SELECT name FROM relying_party WHERE entity_id = ? AND id <> ?", party.entityID.blob, Data(party.id.bytes)) {
      throw StoreError.conflict("the entityID \(party.entityID) is that of the relying party \(try row.text(0)) already")
    }
    guard try row("SELECT 1 FROM relying_party WHERE name = ? AND id <> ?", party.name.blob, Data(party.id.bytes)) == nil else {
      throw StoreError.conflict("a relying party \(party.name) exists already")
    }
  }

  func countPartiesUp() throws { try run("UPDATE federation SET parties_version = parties_version + 1") }

  fileprivate func persistentName(of object: DirectoryObject, at party: Identifier) throws -> String? {
    try row(
      "SELECT value FROM persistent_name WHERE relying_party = ? AND realm = ? AND object = ?", Data(party.bytes), object.realm.text.blob,
      Data(object.id.bytes))?.text(0)
  }
}

extension Row {
  fileprivate func nameID(_ index: Int) throws -> NameID? {
    guard let bytes = try optionalBytes(index) else { return nil }
    guard let name = try? JSONDecoder().decode(NameID.self, from: Data(bytes)) else { throw damaged(index) }
    return name
  }
}

extension JSONEncoder {
  /// One text for one value, so that two can be compared as bytes.
  fileprivate static var sorted: JSONEncoder {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    return encoder
  }
}

extension Database {
  /// Nil where there is none of this id.
  func relyingParty(_ id: Identifier) throws -> RelyingParty? {
    guard let row = try row("SELECT document, version FROM relying_party WHERE id = ?", Data(id.bytes)) else { return nil }
    guard var party = try? JSONDecoder().decode(RelyingParty.self, from: Data(try row.bytes(0))) else { throw row.damaged(0) }
    party.version = try row.integer(1)
    return party
  }
}
