import Bytes
import Foundation
import GRDB
import Identity
import SignIn

extension EmbeddedStore: FrontEndStore {
  package func frontEnds() async throws -> [FrontEnd] {
    try await read { database in
      try database.rows("SELECT id FROM front_end ORDER BY name").compactMap { try database.frontEnd(try $0.bytes(0)) }
    }
  }

  package func frontEnd(keyDigest: [UInt8]) async throws -> FrontEnd? {
    try await read { database in
      guard let row = try database.row("SELECT front_end FROM front_end_key WHERE digest = ?", Data(keyDigest)) else { return nil }
      return try database.frontEnd(try row.bytes(0))
    }
  }

  package func frontEnd(certificateDigest: [UInt8]) async throws -> FrontEnd? {
    try await read { database in
      guard let row = try database.row("SELECT front_end FROM front_end_certificate WHERE digest = ?", Data(certificateDigest)) else { return nil }
      return try database.frontEnd(try row.bytes(0))
    }
  }

  package func add(_ frontEnd: FrontEnd, audit: [AuditEvent]) async throws {
    try await shutOut(audit: audit) { database in
      guard try database.row("SELECT 1 FROM front_end WHERE name = ? OR id = ?", frontEnd.name.blob, Data(frontEnd.id.bytes)) == nil else {
        throw StoreError.conflict("a front-end \(frontEnd.name) exists already")
      }
      try database.run(
        "INSERT INTO front_end (id, name, rate, disabled, version) VALUES (?, ?, ?, ?, 1)", Data(frontEnd.id.bytes), frontEnd.name.blob,
        frontEnd.ratePerSecond, frontEnd.disabled)
      try database.addParts(of: frontEnd)
      try database.journal(frontEnd.revocation(at: audit.first?.time))
    }
  }

  package func update(_ frontEnd: FrontEnd, audit: [AuditEvent]) async throws {
    try await shutOut(audit: audit) { database in
      let id = Data(frontEnd.id.bytes)
      guard try database.row("SELECT 1 FROM front_end WHERE name = ? AND id <> ?", frontEnd.name.blob, id) == nil else {
        throw StoreError.conflict("a front-end \(frontEnd.name) exists already")
      }
      let changed = try database.run(
        "UPDATE front_end SET name = ?, rate = ?, disabled = ?, version = version + 1 WHERE id = ? AND version = ?", frontEnd.name.blob,
        frontEnd.ratePerSecond, frontEnd.disabled, id, frontEnd.version)
      guard changed == 1 else {
        guard try database.row("SELECT 1 FROM front_end WHERE id = ?", id) != nil else {
          throw StoreError.notFound("there is no front-end \(frontEnd.name)")
        }
        throw StoreError.conflict("the front-end \(frontEnd.name) was changed meanwhile")
      }
      try database.run("DELETE FROM front_end_realm WHERE front_end = ?", id)
      try database.run("DELETE FROM front_end_key WHERE front_end = ?", id)
      try database.run("DELETE FROM front_end_certificate WHERE front_end = ?", id)
      try database.addParts(of: frontEnd)
      try database.journal(frontEnd.revocation(at: audit.first?.time))
    }
  }

  package func remove(frontEnd id: Identifier, audit: [AuditEvent]) async throws {
    try await shutOut(audit: audit) { database in
      guard let frontEnd = try database.frontEnd(id.bytes) else { throw StoreError.notFound("there is no front-end \(id)") }
      try database.run("DELETE FROM front_end WHERE id = ?", Data(id.bytes))
      try database.journal(frontEnd.revocation(at: audit.first?.time, removed: true))
    }
  }
}

extension Database {
  func frontEnd(_ id: [UInt8]) throws -> FrontEnd? {
    let key = Data(id)
    guard let row = try row("SELECT id, name, rate, disabled, version FROM front_end WHERE id = ?", key) else { return nil }
    return FrontEnd(
      id: try row.identifier(0), name: try row.text(1),
      realms: try rows("SELECT realm FROM front_end_realm WHERE front_end = ? ORDER BY position", key).map { try $0.realm(0) },
      ratePerSecond: Int(clamping: try row.integer(2)),
      keys: try rows("SELECT digest, made, expires FROM front_end_key WHERE front_end = ? ORDER BY position", key).map {
        FrontEndKey(digest: try $0.bytes(0), made: try $0.instant(1), expires: try $0.optionalInstant(2))
      },
      certificates: try rows("SELECT digest FROM front_end_certificate WHERE front_end = ? ORDER BY position", key).map { try $0.bytes(0) },
      disabled: try row.flag(3), version: try row.integer(4))
  }

  func addParts(of frontEnd: FrontEnd) throws {
    let id = Data(frontEnd.id.bytes)
    for (position, realm) in frontEnd.realms.enumerated() {
      try run("INSERT INTO front_end_realm (front_end, position, realm) VALUES (?, ?, ?)", id, position, realm.text.blob)
    }
    for (position, key) in frontEnd.keys.enumerated() {
      guard try row("SELECT 1 FROM front_end_key WHERE digest = ?", Data(key.digest)) == nil else {
        throw StoreError.conflict("the key is in use already")
      }
      try run(
        "INSERT INTO front_end_key (digest, front_end, position, made, expires) VALUES (?, ?, ?, ?, ?)", Data(key.digest), id, position,
        key.made.stored, key.expires?.stored)
    }
    for (position, digest) in frontEnd.certificates.enumerated() {
      guard try row("SELECT 1 FROM front_end_certificate WHERE digest = ?", Data(digest)) == nil else {
        throw StoreError.conflict("the certificate belongs to a front-end already")
      }
      try run("INSERT INTO front_end_certificate (digest, front_end, position) VALUES (?, ?, ?)", Data(digest), id, position)
    }
  }
}
