import GRDB
import Identity
import Synchronization

/// Turns many small writes into few transactions: whatever is waiting when the writer becomes free goes into ONE transaction with one fsync.
///
/// A write that fails takes nobody along: the batch is undone and carried out anew with a savepoint for each write. (To give every write one
/// from the start would cost more than most writes do.) A caller is resumed only after the commit that holds its write.
/// A write that was asked for is carried out even where its task has been cancelled meanwhile: a client that hangs up before the verdict
/// must not get its wrong guess for free.
///
/// The continuations of waiting callers are confined to this file. They are resumed on GRDB's writer queue, the one thread that touches the
/// file for writing; an actor could not do this, as SQLite's calls block and must not do so on the cooperative pool.
final class CommitQueue: Sendable {
  /// Runs inside the transaction, perhaps several times; what it returns is called after the commit, with the reason where that failed.
  private struct Write: Sendable {
    /// Whether the caller is promised that a power loss cannot undo it.
    let durable: Bool
    let perform: @Sendable (Database) throws -> ((any Error)?) -> Void
    let fail: @Sendable (any Error) -> Void
  }

  private struct State: Sendable {
    var waiting: [Write] = []
    /// Whether a drain is under way on the writer queue.
    var draining = false
    var closed = false
    /// Whether commits wait for the disk now, as `PRAGMA synchronous` of the writer says.
    var syncs = true
  }

  /// What the queue asks of its surroundings.
  struct Setting: Sendable {
    /// Called when SQLite says that the disk is full; true where room was made and the transaction is worth one more try.
    var makeRoom: @Sendable () -> Bool = { false }
    /// Called after each transaction that was committed.
    var committed: @Sendable () -> Void = {}
    /// Called after a transaction or a single write in it was undone: what was remembered of what it wrote is void.
    var undone: @Sendable () -> Void = {}
    /// Called when the disk could not make durable what was written. It should end the process: what the page cache says after that is not
    /// to be believed, the write-ahead log is.
    var lostTrust: @Sendable (String) -> Void
  }

  /// Further writes than this many are refused at once; they would wait for longer than anybody does.
  static let longestQueue = 8192
  /// Bounds how long the first of a batch waits for the last.
  private static let largestBatch = 256

  private let pool: DatabasePool
  private let setting: Setting
  private let state = Mutex(State())

  init(_ pool: DatabasePool, setting: Setting) {
    self.pool = pool
    self.setting = setting
  }

  /// Carries out `work` in a transaction and returns when it is durable; where `durable` is false, when it is committed: then the death of the
  /// process cannot undo it, a power loss within the next moments can. Throws `StoreError`.
  func write<Value: Sendable>(durable: Bool = true, _ work: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
      enqueue(
        Write(
          durable: durable,
          perform: { database in
            let value = try work(database)
            return { failure in
              if let failure { continuation.resume(throwing: StoreError(failure)) } else { continuation.resume(returning: value) }
            }
          }, fail: { continuation.resume(throwing: StoreError($0)) }))
    }
  }

  /// Refuses all further writes; those that wait are still carried out.
  func close() {
    state.withLock { $0.closed = true }
  }

  private func enqueue(_ write: Write) {
    enum Next { case refuse(String), start, wait }
    let next: Next = state.withLock { state in
      if state.closed { return .refuse("the store is closed") }
      guard state.waiting.count < CommitQueue.longestQueue else { return .refuse("\(CommitQueue.longestQueue) writes are waiting for the disk") }
      state.waiting.append(write)
      defer { state.draining = true }
      return state.draining ? .wait : .start
    }
    switch next {
    case .refuse(let reason): write.fail(StoreError.unavailable(reason))
    case .start: pool.asyncWriteWithoutTransaction { [self] in drain($0) }
    case .wait: break
    }
  }

  private func drain(_ database: Database) {
    while true {
      let batch = state.withLock { state -> [Write] in
        let batch = Array(state.waiting.prefix(CommitQueue.largestBatch))
        state.waiting.removeFirst(batch.count)
        if batch.isEmpty { state.draining = false }
        return batch
      }
      guard !batch.isEmpty else { return }
      commit(batch, database)
    }
  }

  private func commit(_ batch: [Write], _ database: Database) {
    var failure = attempt(batch, database, isolating: false)
    if case .oneWrite = failure { failure = attempt(batch, database, isolating: true) }
    if case .all(let first) = failure, first.isDiskFull, setting.makeRoom() { failure = attempt(batch, database, isolating: true) }
    guard case .all(let reason) = failure else { return setting.committed() }
    if reason.isLostTrust { setting.lostTrust(StoreError(reason).reason) }
    for write in batch { write.fail(reason) }
  }

  private enum Failure {
    /// The trouble is that of one write.
    case oneWrite
    /// The trouble is everybody's.
    case all(any Error)
  }

  /// One transaction for the batch. Nil where it was committed and everybody was told; else everything is undone and nobody told.
  ///
  /// - Parameter isolating: each write has a savepoint, and one that fails is undone and told alone.
  private func attempt(_ batch: [Write], _ database: Database, isolating: Bool) -> Failure? {
    var finished: [((any Error)?) -> Void] = []
    var refused: [(write: Write, reason: any Error)] = []
    do {
      try setSync(batch.contains(where: \.durable), database)
      try database.beginTransaction(.immediate)
      for write in batch {
        do {
          if isolating {
            try inSavepoint(database) { finished.append(try write.perform(database)) }
          } else {
            finished.append(try write.perform(database))
          }
        } catch  where error.endsBatch || !database.isInsideTransaction {
          throw error
        } catch  where isolating {
          refused.append((write, error))
        } catch {
          try? database.rollback()
          setting.undone()
          return .oneWrite
        }
      }
      try database.commit()
    } catch {
      if database.isInsideTransaction { try? database.rollback() }
      setting.undone()
      return .all(error)
    }
    for finish in finished { finish(nil) }
    for (write, reason) in refused { write.fail(reason) }
    return nil
  }

  /// A batch of which nobody was promised durability does not wait for the disk. (NORMAL in WAL mode: the log is synced before a checkpoint
  /// and by the next FULL commit, so the file stays whole: https://www.sqlite.org/pragma.html#pragma_synchronous.)
  private func setSync(_ wanted: Bool, _ database: Database) throws {
    guard state.withLock({ $0.syncs }) != wanted else { return }
    // Not a cached statement: SQLite carries this pragma out when it is compiled, not when it is run.
    if wanted { try database.execute(sql: "PRAGMA synchronous = FULL") } else { try database.execute(sql: "PRAGMA synchronous = NORMAL") }
    state.withLock { $0.syncs = wanted }
  }

  private func inSavepoint(_ database: Database, _ work: () throws -> Void) throws {
    try database.run("SAVEPOINT one_write")
    do {
      try work()
    } catch {
      setting.undone()
      if database.isInsideTransaction {
        try database.run("ROLLBACK TO SAVEPOINT one_write")
        try database.run("RELEASE SAVEPOINT one_write")
      }
      throw error
    }
    try database.run("RELEASE SAVEPOINT one_write")
  }
}

extension Error {
  fileprivate var isDiskFull: Bool { (self as? DatabaseError)?.resultCode == .SQLITE_FULL }

  /// Whether the trouble is the file's and not the one write's: then the whole transaction is undone.
  fileprivate var endsBatch: Bool {
    guard let code = (self as? DatabaseError)?.resultCode else { return false }
    return [.SQLITE_FULL, .SQLITE_IOERR, .SQLITE_NOMEM, .SQLITE_BUSY, .SQLITE_CORRUPT, .SQLITE_READONLY, .SQLITE_CANTOPEN].contains(code)
  }

  /// Whether an fsync failed.
  var isLostTrust: Bool {
    guard let code = (self as? DatabaseError)?.extendedResultCode else { return false }
    return code == .SQLITE_IOERR_FSYNC || code == .SQLITE_IOERR_DIR_FSYNC
  }
}

extension StoreError {
  /// The text of the error, whichever it is.
  var reason: String {
    switch self {
    case .unavailable(let text), .conflict(let text), .notFound(let text): text
    }
  }
}
