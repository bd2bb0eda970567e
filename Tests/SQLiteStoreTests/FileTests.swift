import Bytes
import Foundation
import GRDB
import GatehouseTesting
import Identity
import SignIn
import Testing

@testable import SQLiteStore

@Suite struct `The store's file` {
  let folder: Folder

  init() throws { folder = try Folder() }

  private func mode(_ path: String) throws -> Int? {
    try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
  }

  /// What opening says; nil where it opens.
  private func refusal() throws -> StoreFileError? {
    do {
      try folder.open().close()
      return nil
    } catch let error as StoreFileError {
      return error
    }
  }

  @Test func `and its companions are readable for their owner only`() async throws {
    let old = umask(0)
    defer { umask(old) }
    let store = try folder.open()
    try await store.append([event()])
    for suffix in ["", "-wal", "-shm"] { #expect(try mode(folder.file + suffix) == 0o600) }
  }

  @Test(arguments: [0o640, 0o604, 0o660, 0o666]) func `that others may read is refused, with the command that mends it`(mode: Int) throws {
    try folder.open().close()
    chmod(folder.file, mode_t(mode))
    let error = try refusal()
    #expect(error?.remedy.contains("chmod 0600 \(folder.file)") == true)
  }

  @Test func `is refused where it is a symbolic link, a directory or a pipe`() throws {
    let other = try Folder()
    try other.open().close()
    symlink(other.file, folder.file)
    #expect(try refusal()?.problem.contains("symbolic link") == true)
    unlink(folder.file)
    symlink("/nowhere", folder.file)
    #expect(try refusal()?.problem.contains("symbolic link") == true)
    unlink(folder.file)
    mkdir(folder.file, 0o700)
    #expect(try refusal() != nil)
    rmdir(folder.file)
    mkfifo(folder.file, 0o600)
    #expect(try refusal()?.problem.contains("no plain file") == true)
  }

  @Test func `is refused where one of SQLite's companions is a link`() throws {
    try folder.open().close()
    unlink(folder.file + "-wal")
    #expect(symlink("/etc/hostname", folder.file + "-wal") == 0)
    #expect(try refusal()?.path == folder.file + "-wal")
  }

  @Test(arguments: [0o770, 0o707, 0o777]) func `is refused in a directory that others may write to`(mode: Int) throws {
    chmod(folder.path, mode_t(mode))
    #expect(try refusal()?.remedy.contains("chmod go-w") == true)
  }

  @Test func `is refused in a directory that is not there, with the command that makes it`() throws {
    let path = folder.path + "/deep/gatehouse.sqlite"
    let error = #expect(throws: StoreFileError.self) { try EmbeddedStore(path: path, node: "node-1") }
    #expect(error?.remedy.contains("install -d -m 0700") == true)
  }

  @Test func `that a newer gatehouse has changed is refused`() async throws {
    let store = try folder.open()
    try await store.pool.write { try $0.execute(sql: "INSERT INTO grdb_migrations VALUES ('99 from the future')") }
    try store.close()
    #expect(try refusal()?.problem.contains("newer version") == true)
  }

  @Test func `that is no database is refused and left as it is`() throws {
    let garbage = Data("this is not a database, and nobody may overwrite it with one".utf8)
    #expect(FileManager.default.createFile(atPath: folder.file, contents: garbage, attributes: [.posixPermissions: 0o600]))
    #expect(throws: StoreError.self) { try folder.open() }
    #expect(FileManager.default.contents(atPath: folder.file) == garbage)
  }

  @Test func `keeps everything over a restart, and the chain goes on`() async throws {
    let name = LockoutName(realm: try #require(RealmName("contoso.com")), key: "alice")
    let policy = LockoutPolicy()
    var store = try folder.open()
    guard case .admitted(let reservation) = try await store.admit(name, policy: policy, now: time) else {
      return #expect(Bool(false), "not admitted")
    }
    _ = try await store.settle(reservation, outcome: .failed, object: Identifier(), policy: policy, now: time, audit: [event()])
    try store.close()
    store = try folder.open()
    #expect(try await store.state(of: name)?.failures == 1)
    try await store.append([event()])
    let rows = try await store.rows(chain: "node-1", after: 0, limit: 10)
    #expect(rows.map(\.sequence) == [1, 2])
    #expect(rows[1].hash == AuditChain.hash(after: rows[0].hash, chain: "node-1", sequence: 2, event: rows[1].event.canonical))
  }

  @Test func `of two nodes has two chains`() async throws {
    let first = try folder.open(node: "node-1")
    let second = try folder.open(node: "node-2")
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<50 {
        group.addTask { try await first.append([event()]) }
        group.addTask { try await second.append([event()]) }
      }
      try await group.waitForAll()
    }
    #expect(try await first.chains().map(\.last) == [50, 50])
  }

  @Test func `with bytes changed at random leads to errors at worst, never to a crash or a broken chain that looks whole`() async throws {
    let store = try folder.open()
    for number in 0..<40 { try await store.append([event(subject: "user\(number)")]) }
    try await store.add(FrontEnd(name: "portal", realms: []), audit: [])
    try store.close()
    let original = try #require(FileManager.default.contents(atPath: folder.file))
    let lastHash = try await {
      let store = try folder.open()
      defer { try? store.close() }
      return try await store.chains().first?.lastHash
    }()
    var generator = SeededGenerator(seed: 42)
    for _ in 0..<150 {
      var damaged = original
      for _ in 0..<4 { damaged[Int.random(in: 0..<damaged.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator) }
      let copy = try Folder()
      #expect(FileManager.default.createFile(atPath: copy.file, contents: damaged, attributes: [.posixPermissions: 0o600]))
      guard let opened = try? copy.open() else { continue }
      _ = try? await opened.frontEnds()
      _ = try? await opened.realms()
      _ = try? await opened.locked(now: time, limit: 10)
      if let rows = try? await opened.rows(chain: "node-1", after: 0, limit: 100), rows.count == 40 {
        var hash = AuditChain.genesis
        for row in rows { hash = AuditChain.hash(after: hash, chain: row.chain, sequence: row.sequence, event: row.event.canonical) }
        // The same text, or another hash.
        if hash == lastHash { #expect(rows.map(\.event) == (0..<40).map { event(subject: "user\($0)") }) }
      }
      try? opened.close()
    }
  }
}

let time = Instant(milliseconds: 1_767_225_600_000)

func event(_ kind: AuditKind = .signIn, subject: String? = "alice") -> AuditEvent {
  AuditEvent(time: time, kind: kind, actor: "portal", subject: subject, outcome: "accepted")
}
