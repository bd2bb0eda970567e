import Bytes
import Foundation
import GRDB
import Identity
import SignIn

extension EmbeddedStore: RealmStore {
  package func realms() async throws -> [Realm] {
    try await read { database in
      var suffixes: [[UInt8]: [String]] = [:]
      for row in try database.rows("SELECT realm, suffix FROM realm_suffix ORDER BY realm, position") {
        suffixes[try row.bytes(0), default: []].append(try row.text(1))
      }
      return try database.rows("SELECT name, is_default, method, display_name, version, lockout, is_federated FROM realm ORDER BY name").map { row in
        guard let method = SignInMethod(rawValue: try row.text(2)) else { throw row.damaged(2) }
        return Realm(
          name: try row.realm(0), suffixes: suffixes[try row.bytes(0)] ?? [], isDefault: try row.flag(1), method: method,
          displayName: try row.optionalText(3), lockout: try row.lockoutPolicy(5), isFederated: try row.flag(6), version: try row.integer(4))
      }
    }
  }

  package func add(_ realm: Realm, audit: [AuditEvent]) async throws {
    try await write(audit: audit) { database in
      guard try database.row("SELECT 1 FROM realm WHERE name = ?", realm.name.text.blob) == nil else {
        throw StoreError.conflict("the realm \(realm.name) exists already")
      }
      try database.checkDefault(realm)
      try database.run(
        "INSERT INTO realm (name, is_default, method, display_name, lockout, is_federated, version) VALUES (?, ?, ?, ?, ?, ?, 1)",
        realm.name.text.blob, realm.isDefault, realm.method.rawValue.blob, realm.displayName?.blob,
        try realm.lockout.map { try JSONEncoder().encode($0) }, realm.isFederated)
      try database.addSuffixes(of: realm)
    }
  }

  package func update(_ realm: Realm, audit: [AuditEvent]) async throws {
    try await write(audit: audit) { database in
      try database.checkDefault(realm)
      let changed = try database.run(
        """
        UPDATE realm SET is_default = ?, method = ?, display_name = ?, lockout = ?, is_federated = ?, version = version + 1
          WHERE name = ? AND version = ?
        """, realm.isDefault, realm.method.rawValue.blob, realm.displayName?.blob, try realm.lockout.map { try JSONEncoder().encode($0) },
        realm.isFederated, realm.name.text.blob, realm.version)
      guard changed == 1 else {
        guard try database.row("SELECT 1 FROM realm WHERE name = ?", realm.name.text.blob) != nil else {
          throw StoreError.notFound("there is no realm \(realm.name)")
        }
        throw StoreError.conflict("the realm \(realm.name) was changed meanwhile")
      }
      try database.run("DELETE FROM realm_suffix WHERE realm = ?", realm.name.text.blob)
      try database.addSuffixes(of: realm)
    }
  }

  package func remove(realm: RealmName, audit: [AuditEvent]) async throws {
    try await write(audit: audit) { database in
      guard try database.run("DELETE FROM realm WHERE name = ?", realm.text.blob) == 1 else {
        throw StoreError.notFound("there is no realm \(realm)")
      }
    }
  }
}

extension Database {
  fileprivate func checkDefault(_ realm: Realm) throws {
    guard realm.isDefault, let row = try row("SELECT name FROM realm WHERE is_default = 1 AND name <> ?", realm.name.text.blob) else { return }
    throw StoreError.conflict("the realm \(try row.text(0)) is the default already")
  }

  fileprivate func addSuffixes(of realm: Realm) throws {
    for (position, suffix) in realm.suffixes.enumerated() {
      if let row = try row("SELECT realm FROM realm_suffix WHERE suffix = ?", suffix.blob) {
        throw StoreError.conflict("\(suffix) leads to the realm \(try row.text(0)) already")
      }
      try run("INSERT INTO realm_suffix (suffix, realm, position) VALUES (?, ?, ?)", suffix.blob, realm.name.text.blob, position)
    }
  }
}

extension Row {
  fileprivate func lockoutPolicy(_ index: Int) throws -> LockoutPolicy? {
    guard let bytes = try optionalBytes(index) else { return nil }
    guard let policy = try? JSONDecoder().decode(LockoutPolicy.self, from: Data(bytes)) else { throw damaged(index) }
    return policy
  }
}
