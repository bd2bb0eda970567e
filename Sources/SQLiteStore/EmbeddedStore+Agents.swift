import Bytes
import Foundation
import GRDB
import Identity
import PassThrough

extension EmbeddedStore: AgentStore {
  package func agents() async throws -> [AgentRecord] {
    try await read { database in
      try database.rows("SELECT id FROM agent ORDER BY name, enrolled, id").compactMap { try database.agent(try $0.bytes(0)) }
    }
  }

  package func agent(id: Identifier) async throws -> AgentRecord? {
    try await read { try $0.agent(id.bytes) }
  }

  package func addToken(_ token: EnrolmentTokenRecord, audit: [AuditEvent]) async throws {
    try await write(audit: audit) { database in
      guard try database.row("SELECT 1 FROM enrolment_token WHERE digest = ?", Data(token.digest)) == nil else {
        throw StoreError.conflict("the token exists already")
      }
      try database.run(
        "INSERT INTO enrolment_token (digest, agent_name, made, expires, used) VALUES (?, ?, ?, ?, ?)", Data(token.digest),
        token.agentName?.blob, token.made.stored, token.expires.stored, token.used?.stored)
      for (position, realm) in token.realms.enumerated() {
        try database.run(
          "INSERT INTO enrolment_token_realm (token, position, realm) VALUES (?, ?, ?)", Data(token.digest), position, realm.text.blob)
      }
    }
  }

  package func token(digest: [UInt8]) async throws -> EnrolmentTokenRecord? {
    try await read { database in
      let key = Data(digest)
      guard let row = try database.row("SELECT agent_name, made, expires, used FROM enrolment_token WHERE digest = ?", key) else { return nil }
      let realms = try database.rows("SELECT realm FROM enrolment_token_realm WHERE token = ? ORDER BY position", key).map { try $0.realm(0) }
      return EnrolmentTokenRecord(
        digest: digest, realms: realms, agentName: try row.optionalText(0), made: try row.instant(1), expires: try row.instant(2),
        used: try row.optionalInstant(3))
    }
  }

  package func enrol(_ agent: AgentRecord, tokenDigest: [UInt8], now: Instant, audit: [AuditEvent]) async throws {
    try await shutOut(audit: audit) { database in
      let used = try database.run(
        "UPDATE enrolment_token SET used = ?1 WHERE digest = ?2 AND used IS NULL AND expires > ?1", now.stored, Data(tokenDigest))
      guard used == 1 else { throw StoreError.conflict("the enrolment token is unknown, used or expired") }
      guard try database.row("SELECT 1 FROM agent WHERE id = ?", Data(agent.id.bytes)) == nil else {
        throw StoreError.conflict("an agent of this id exists already")
      }
      try database.checkName(of: agent)
      try database.run(
        "INSERT INTO agent (id, name, enrolled, revoked, quarantined, version) VALUES (?, ?, ?, ?, ?, 1)", Data(agent.id.bytes), agent.name.blob,
        agent.enrolled.stored, agent.revoked?.stored, agent.quarantined?.stored)
      for (position, realm) in agent.realms.enumerated() {
        try database.run("INSERT INTO agent_realm (agent, position, realm) VALUES (?, ?, ?)", Data(agent.id.bytes), position, realm.text.blob)
      }
      try database.addCertificates(of: agent)
      try database.journal(agent.revocation(at: now))
    }
  }

  package func update(_ agent: AgentRecord, audit: [AuditEvent]) async throws {
    try await shutOut(audit: audit) { database in
      let id = Data(agent.id.bytes)
      guard let stored = try database.agent(agent.id.bytes) else { throw StoreError.notFound("there is no agent \(agent.id)") }
      guard stored.version == agent.version else { throw StoreError.conflict("the agent \(stored.name) was changed meanwhile") }
      guard stored.realms == agent.realms else { throw StoreError.conflict("the realms of an agent are fixed at enrolment") }
      guard stored.revoked == nil || agent.revoked != nil else { throw StoreError.conflict("a revoked agent stays revoked") }
      try database.checkName(of: agent)
      try database.run(
        "UPDATE agent SET name = ?, revoked = ?, quarantined = ?, version = version + 1 WHERE id = ?", agent.name.blob, agent.revoked?.stored,
        agent.quarantined?.stored, id)
      try database.run("DELETE FROM agent_certificate WHERE agent = ?", id)
      try database.addCertificates(of: agent)
      try database.journal(agent.revocation(at: audit.first?.time))
    }
  }

  package func document(_ name: String) async throws -> ProtectedDocument? {
    try await read { database in
      guard let row = try database.row("SELECT ciphertext, version FROM document WHERE name = ?", name.blob) else { return nil }
      return ProtectedDocument(name: name, ciphertext: try row.bytes(0), version: try row.integer(1))
    }
  }

  package func putDocument(_ document: ProtectedDocument, audit: [AuditEvent]) async throws {
    try await write(audit: audit) { database in
      let changed =
        document.version == 0
        ? try database.run(
          "INSERT INTO document (name, ciphertext, version) VALUES (?, ?, 1) ON CONFLICT DO NOTHING", document.name.blob, Data(document.ciphertext))
        : try database.run(
          "UPDATE document SET ciphertext = ?, version = version + 1 WHERE name = ? AND version = ?", Data(document.ciphertext),
          document.name.blob, document.version)
      guard changed == 1 else { throw StoreError.conflict("the document \(document.name) was changed meanwhile") }
    }
  }
}

extension Database {
  func agent(_ id: [UInt8]) throws -> AgentRecord? {
    let key = Data(id)
    guard let row = try row("SELECT id, name, enrolled, revoked, quarantined, version FROM agent WHERE id = ?", key) else { return nil }
    return AgentRecord(
      id: try row.identifier(0), name: try row.text(1),
      realms: try rows("SELECT realm FROM agent_realm WHERE agent = ? ORDER BY position", key).map { try $0.realm(0) },
      certificates: try rows("SELECT digest, not_after FROM agent_certificate WHERE agent = ? ORDER BY position", key).map {
        AgentCertificateRecord(digest: try $0.bytes(0), notAfter: try $0.instant(1))
      },
      enrolled: try row.instant(2), revoked: try row.optionalInstant(3), quarantined: try row.optionalInstant(4),
      version: try row.integer(5))
  }

  fileprivate func checkName(of agent: AgentRecord) throws {
    guard agent.revoked == nil else { return }
    guard try row("SELECT 1 FROM agent WHERE name = ? AND revoked IS NULL AND id <> ?", agent.name.blob, Data(agent.id.bytes)) == nil else {
      throw StoreError.conflict("an agent \(agent.name) exists already")
    }
  }

  func addCertificates(of agent: AgentRecord) throws {
    for (position, certificate) in agent.certificates.enumerated() {
      guard try row("SELECT 1 FROM agent_certificate WHERE digest = ?", Data(certificate.digest)) == nil else {
        throw StoreError.conflict("the certificate belongs to an agent already")
      }
      try run(
        "INSERT INTO agent_certificate (digest, agent, position, not_after) VALUES (?, ?, ?, ?)", Data(certificate.digest),
        Data(agent.id.bytes), position, certificate.notAfter.stored)
    }
  }
}
