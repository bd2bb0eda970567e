import Bytes
import Foundation
import GRDB
import Identity
import Logging
import PassThrough
import SignIn
import Synchronization

/// Every store port on one SQLite file: the default of a gateway that stands alone.
///
/// Reads run on a pool of readers and see the last commit; writes go through `CommitQueue`. Each port has a file of its own.
package final class EmbeddedStore: Sendable {
  /// The name of this gateway node; its audit chain bears it.
  package let node: String
  let pool: DatabasePool
  let commits: CommitQueue
  private let heads = AuditHeads()
  let lockoutMemory = LockoutMemory()
  let afterRevocation = Mutex<(@Sendable () async -> Void)?>(nil)

  /// Opens the file, making it (mode 0600) where there is none, and brings its tables up to date.
  ///
  /// - Parameters:
  ///   - path: where the file is; its directory must exist and be writable for nobody else.
  ///   - node: the name of this node, 1…128 bytes; never change it while its chain is held.
  ///   - reserve: what makes room when the disk is full; nil where none is wanted.
  ///   - lostTrust: called when an fsync failed. It must not return in production: the default writes the reason to standard error and ends
  ///     the process with status 74, so that the supervisor starts it afresh and it recovers from the write-ahead log.
  /// - Throws: `StoreFileError` with the remedy, or `StoreError.unavailable`.
  package init(
    path: String, node: String, reserve: DiskReserve? = nil, logger: Logger = Logger(label: "gatehouse.store"),
    lostTrust: @escaping @Sendable (String) -> Void = EmbeddedStore.exit
  ) throws {
    guard (1...128).contains(node.utf8.count) else {
      throw StoreFileError(path: path, problem: "the node's name must have 1 to 128 bytes", remedy: "Configure a shorter name.")
    }
    try StoreFile.prepare(path)
    self.node = node
    do {
      pool = try DatabasePool(path: path, configuration: EmbeddedStore.configuration())
      // GRDB sets NORMAL when it turns the log on, after it has prepared the connection. FULL: an acknowledged commit survives a power loss,
      // which it need not with NORMAL (https://www.sqlite.org/pragma.html#pragma_synchronous).
      // For the one connection that writes: 16 MB of pages, since the audit's indices are reached all over, and as much of a log before it is copied
      // into the file, since sign-ins change the same pages again and again.
      try pool.writeWithoutTransaction {
        try $0.execute(sql: "PRAGMA synchronous = FULL; PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 4000")
      }
      try EmbeddedStore.migrate(pool, path: path)
      _ = try pool.write { database in
        try database.run(
          "INSERT INTO audit_chain VALUES (?1, 1, ?2, 0, ?2, 0) ON CONFLICT DO NOTHING", node.blob, Data(AuditChain.genesis))
      }
    } catch let error as StoreFileError {
      throw error
    } catch {
      throw StoreError(error)
    }
    let (heads, lockoutMemory) = (heads, lockoutMemory)
    commits = CommitQueue(
      pool,
      setting: .init(
        makeRoom: {
          guard let reserve, reserve.release() else { return false }
          logger.critical("the disk is full: the reserve was given up so that the store can go on; free some space now")
          return true
        }, committed: { reserve?.refreshIfDue() },
        undone: {
          heads.forget()
          lockoutMemory.forget()
        },
        lostTrust: { reason in
          logger.critical("the disk did not keep what was written: \(reason)")
          lostTrust(reason)
        }))
  }

  /// Waits for the writes that were asked for, then closes the file. Everything asked for afterwards throws `StoreError.unavailable`.
  package func close() throws {
    commits.close()
    do { try pool.close() } catch { throw StoreError(error) }
  }

  /// Whether there is anything in the store that only the master key opens: then a missing key file must not be replaced by a new one.
  package func holdsSecrets() async throws -> Bool {
    try await read { try $0.row("SELECT 1 FROM document LIMIT 1") != nil }
  }

  /// Ends the process at once, with status 74 (EX_IOERR).
  package static let exit: @Sendable (String) -> Void = { reason in
    let words = "gatehouse: the disk did not keep what was written (\(reason)); ending, to recover from the log\n"
    try? FileHandle.standardError.write(contentsOf: Data(words.utf8))
    _exit(74)
  }

  /// A read on one consistent state of the file. Throws `StoreError`.
  func read<Value: Sendable>(_ work: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
    do {
      return try await pool.read(work)
    } catch let cancelled as CancellationError {
      throw cancelled
    } catch {
      throw StoreError(error)
    }
  }

  /// A write, with its audit events in the same transaction. Throws `StoreError`.
  func write<Value: Sendable>(
    audit events: [AuditEvent] = [], _ work: @escaping @Sendable (Database) throws -> Value
  ) async throws -> Value {
    try await write(auditing: { _ in events }, work)
  }

  /// A write whose audit events depend on what came of it. Throws `StoreError`.
  func write<Value: Sendable>(
    auditing events: @escaping @Sendable (Value) -> [AuditEvent], _ work: @escaping @Sendable (Database) throws -> Value
  ) async throws -> Value {
    let (node, heads) = (node, heads)
    return try await commits.write { database in
      let value = try work(database)
      try database.append(events(value), to: node, heads: heads)
      return value
    }
  }

  private static func migrate(_ pool: DatabasePool, path: String) throws {
    let migrator = Schema.migrator
    if try pool.read(migrator.hasBeenSuperseded) {
      throw StoreFileError(
        path: path, problem: "a newer version of gatehouse has changed the tables of this store",
        remedy: "Start that version, or restore the backup that was made before the upgrade.")
    }
    try migrator.migrate(pool)
  }

  private static func configuration() -> Configuration {
    var configuration = Configuration()
    configuration.label = "gatehouse.store"
    configuration.busyMode = .timeout(2)  // two seconds, then "unavailable"
    configuration.maximumReaderCount = 4
    configuration.foreignKeysEnabled = true
    // A transaction that cannot even be rolled back on a failing disk must be an error at the next one, not GRDB's fatalError.
    configuration.allowsUnsafeTransactions = true
    configuration.prepareDatabase { database in
      try database.execute(
        sql: """
          PRAGMA secure_delete = ON;
          PRAGMA trusted_schema = OFF;
          PRAGMA cell_size_check = ON;
          PRAGMA journal_size_limit = 16777216;
          """)
    }
    return configuration
  }
}
