import Bytes
import Identity
import PassThrough
import SignIn

extension InMemoryStore: RealmStore {
  package func realms() async throws -> [Realm] {
    try check()
    return realmsByName.values.sorted { $0.name < $1.name }
  }

  package func add(_ realm: Realm, audit: [AuditEvent]) async throws {
    try check()
    guard realmsByName[realm.name] == nil else { throw StoreError.conflict("the realm \(realm.name) exists already") }
    try put(realm, version: 1)
    record(audit)
  }

  package func update(_ realm: Realm, audit: [AuditEvent]) async throws {
    try check()
    guard let stored = realmsByName[realm.name] else { throw StoreError.notFound("there is no realm \(realm.name)") }
    guard stored.version == realm.version else { throw StoreError.conflict("the realm \(realm.name) was changed meanwhile") }
    try put(realm, version: realm.version + 1)
    record(audit)
  }

  package func remove(realm: RealmName, audit: [AuditEvent]) async throws {
    try check()
    guard realmsByName.removeValue(forKey: realm) != nil else { throw StoreError.notFound("there is no realm \(realm)") }
    record(audit)
  }

  private func put(_ realm: Realm, version: Int64) throws {
    let others = realmsByName.values.filter { $0.name != realm.name }
    let taken = others.flatMap(\.suffixes).map { Array($0.utf8) }
    let wanted = realm.suffixes.map { Array($0.utf8) }
    guard Set(taken).isDisjoint(with: wanted), Set(wanted).count == wanted.count else { throw StoreError.conflict("a suffix is taken") }
    guard !realm.isDefault || !others.contains(where: \.isDefault) else { throw StoreError.conflict("there is a default already") }
    var stored = realm
    stored.version = version
    realmsByName[realm.name] = stored
  }
}

extension InMemoryStore: FrontEndStore {
  package func frontEnds() async throws -> [FrontEnd] {
    try check()
    return frontEndsByID.values.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
  }

  package func frontEnd(keyDigest: [UInt8]) async throws -> FrontEnd? {
    try check()
    return frontEndsByID.values.first { $0.keys.contains { $0.digest == keyDigest } }
  }

  package func frontEnd(certificateDigest: [UInt8]) async throws -> FrontEnd? {
    try check()
    return frontEndsByID.values.first { $0.certificates.contains(certificateDigest) }
  }

  package func add(_ frontEnd: FrontEnd, audit: [AuditEvent]) async throws {
    try check()
    guard frontEndsByID[frontEnd.id] == nil else { throw StoreError.conflict("a front-end of this id exists already") }
    try put(frontEnd, version: 1)
    journal(frontEnd.revocation(at: audit.first?.time))
    record(audit)
  }

  package func update(_ frontEnd: FrontEnd, audit: [AuditEvent]) async throws {
    try check()
    guard let stored = frontEndsByID[frontEnd.id] else { throw StoreError.notFound("there is no front-end \(frontEnd.name)") }
    guard stored.version == frontEnd.version else { throw StoreError.conflict("the front-end \(frontEnd.name) was changed meanwhile") }
    try put(frontEnd, version: frontEnd.version + 1)
    journal(frontEnd.revocation(at: audit.first?.time))
    record(audit)
  }

  package func remove(frontEnd id: Identifier, audit: [AuditEvent]) async throws {
    try check()
    guard let removed = frontEndsByID.removeValue(forKey: id) else { throw StoreError.notFound("there is no front-end \(id)") }
    journal(removed.revocation(at: audit.first?.time, removed: true))
    record(audit)
  }

  private func put(_ frontEnd: FrontEnd, version: Int64) throws {
    let others = frontEndsByID.values.filter { $0.id != frontEnd.id }
    guard !others.contains(where: { $0.name.utf8.elementsEqual(frontEnd.name.utf8) }) else { throw StoreError.conflict("the name is taken") }
    let keys = frontEnd.keys.map(\.digest)
    guard Set(others.flatMap(\.keys).map(\.digest)).isDisjoint(with: keys), Set(keys).count == keys.count else {
      throw StoreError.conflict("the key is in use already")
    }
    guard Set(others.flatMap(\.certificates)).isDisjoint(with: frontEnd.certificates),
      Set(frontEnd.certificates).count == frontEnd.certificates.count
    else { throw StoreError.conflict("the certificate belongs to a front-end already") }
    var stored = frontEnd
    stored.version = version
    frontEndsByID[frontEnd.id] = stored
  }
}

extension InMemoryStore: AgentStore {
  package func agents() async throws -> [AgentRecord] {
    try check()
    return agentsByID.values.sorted { $0.name != $1.name ? $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) : $0.enrolled < $1.enrolled }
  }

  package func agent(id: Identifier) async throws -> AgentRecord? {
    try check()
    return agentsByID[id]
  }

  package func addToken(_ token: EnrolmentTokenRecord, audit: [AuditEvent]) async throws {
    try check()
    guard tokens[token.digest] == nil else { throw StoreError.conflict("the token exists already") }
    tokens[token.digest] = token
    record(audit)
  }

  package func token(digest: [UInt8]) async throws -> EnrolmentTokenRecord? {
    try check()
    return tokens[digest]
  }

  package func enrol(_ agent: AgentRecord, tokenDigest: [UInt8], now: Instant, audit: [AuditEvent]) async throws {
    try check()
    guard let token = tokens[tokenDigest], token.used == nil, token.expires > now else {
      throw StoreError.conflict("the enrolment token is unknown, used or expired")
    }
    guard agentsByID[agent.id] == nil else { throw StoreError.conflict("an agent of this id exists already") }
    try put(agent, version: 1)
    journal(agent.revocation(at: now))
    tokens[tokenDigest]?.used = now
    record(audit)
  }

  package func update(_ agent: AgentRecord, audit: [AuditEvent]) async throws {
    try check()
    guard let stored = agentsByID[agent.id] else { throw StoreError.notFound("there is no agent \(agent.id)") }
    guard stored.version == agent.version else { throw StoreError.conflict("the agent \(stored.name) was changed meanwhile") }
    guard stored.realms == agent.realms else { throw StoreError.conflict("the realms of an agent are fixed at enrolment") }
    guard stored.revoked == nil || agent.revoked != nil else { throw StoreError.conflict("a revoked agent stays revoked") }
    try put(agent, version: agent.version + 1)
    journal(agent.revocation(at: audit.first?.time))
    record(audit)
  }

  package func document(_ name: String) async throws -> ProtectedDocument? {
    try check()
    return documents[name]
  }

  package func putDocument(_ document: ProtectedDocument, audit: [AuditEvent]) async throws {
    try check()
    guard (documents[document.name]?.version ?? 0) == document.version else {
      throw StoreError.conflict("the document \(document.name) was changed meanwhile")
    }
    var stored = document
    stored.version += 1
    documents[document.name] = stored
    record(audit)
  }

  private func put(_ agent: AgentRecord, version: Int64) throws {
    let others = agentsByID.values.filter { $0.id != agent.id }
    if agent.revoked == nil, others.contains(where: { $0.revoked == nil && $0.name.utf8.elementsEqual(agent.name.utf8) }) {
      throw StoreError.conflict("an agent \(agent.name) exists already")
    }
    guard Set(others.flatMap(\.certificates).map(\.digest)).isDisjoint(with: agent.certificates.map(\.digest)) else {
      throw StoreError.conflict("the certificate belongs to an agent already")
    }
    var stored = agent
    stored.version = version
    agentsByID[agent.id] = stored
  }
}
