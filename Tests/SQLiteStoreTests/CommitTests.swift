import Foundation
import GRDB
import GatehouseTesting
import Identity
import Synchronization
import Testing

@testable import SQLiteStore

/// Runs a task apart from the threads that all tests share: while they are busy, a time that a test takes would be theirs.
private final class OwnThread: TaskExecutor {
  private let queue = DispatchQueue(label: "a test that looks at the clock")

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }
}

@Suite struct `A write` {
  let folder: Folder
  let store: EmbeddedStore

  init() throws {
    folder = try Folder()
    store = try folder.open()
  }

  /// Keeps the writer busy until what is awaited inside has been asked for, so that it all becomes one batch.
  private func inOneBatch<Value: Sendable>(_ queue: CommitQueue, _ writes: [@Sendable (Database) throws -> Value]) async throws -> [Result<
    Value, any Error
  >] {
    let release = DispatchSemaphore(value: 0)
    return try await withThrowingTaskGroup(of: (Int, Result<Value, any Error>).self) { group in
      let began = Counter()
      async let first: Void = queue.write { _ in
        began.increment()
        release.wait()
      }
      while began.value == 0 { try await Task.sleep(for: .milliseconds(5)) }
      for (index, work) in writes.enumerated() {
        group.addTask {
          do { return (index, .success(try await queue.write(work))) } catch { return (index, .failure(error)) }
        }
      }
      try await Task.sleep(for: .milliseconds(200))
      release.signal()
      try await first
      let all = try await group.reduce(into: [Int: Result<Value, any Error>]()) { $0[$1.0] = $1.1 }
      return all.sorted { $0.key < $1.key }.map(\.value)
    }
  }

  @Test func `that fails takes nobody of its batch along, and leaves nothing`() async throws {
    let commits = Counter()
    let queue = CommitQueue(store.pool, setting: .init(committed: { commits.increment() }, lostTrust: { _ in }))
    let writes: [@Sendable (Database) throws -> Int] = (0..<10).map { number in
      { database in
        try database.run("INSERT INTO document (name, ciphertext, version) VALUES (?, ?, 1)", "document \(number)".blob, Data())
        if number % 3 == 0 { throw StoreError.conflict("number \(number)") }
        if number == 4 { try database.run("INSERT INTO document (name, ciphertext, version) VALUES (NULL, NULL, NULL)") }
        return number
      }
    }
    let results = try await inOneBatch(queue, writes)
    #expect(commits.value == 2)  // the one that kept the writer busy, and the batch
    for (number, result) in results.enumerated() {
      switch result {
      case .success(let value): #expect(value == number && number % 3 != 0 && number != 4)
      case .failure(StoreError.conflict): #expect(number % 3 == 0 || number == 4)
      case .failure(let error): Issue.record("\(error)")
      }
      #expect((try await store.document("document \(number)") != nil) == ((try? result.get()) != nil))
    }
  }

  @Test func `waits for the disk from the first one on`() async throws {
    // GRDB sets NORMAL behind the back of whoever sets FULL too early.
    #expect(try await store.commits.write { try Int.fetchOne($0, sql: "PRAGMA synchronous") } == 2)
    for (setting, value) in [("secure_delete", 1), ("trusted_schema", 0), ("foreign_keys", 1), ("cell_size_check", 1)] {
      #expect(try await store.commits.write { try Int.fetchOne($0, sql: "PRAGMA \(setting)") } == value)
    }
  }

  @Test func `waits for the disk, unless nobody in its batch was promised that`() async throws {
    let queue = CommitQueue(store.pool, setting: .init(lostTrust: { _ in }))
    let setting: @Sendable (Database) throws -> Int? = { try Int.fetchOne($0, sql: "PRAGMA synchronous") }
    var settings: [Int?] = []
    for durable in [true, false, false, true, false, true] { settings.append(try await queue.write(durable: durable, setting)) }
    #expect(settings == [2, 1, 1, 2, 1, 2])
  }

  @Test func `that was asked for is carried out though its task is cancelled`() async throws {
    let store = store
    let writing = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      try await store.append([event()])
    }
    try await writing.value
    #expect(try await store.find(AuditQuery()).count == 1)
  }

  @Test func `is refused after two to three seconds while somebody else holds the file, and works again afterwards`() async throws {
    var configuration = Configuration()
    configuration.allowsUnsafeTransactions = true
    let other = try DatabaseQueue(path: folder.file, configuration: configuration)
    try await other.writeWithoutTransaction { try $0.execute(sql: "BEGIN EXCLUSIVE") }
    let (store, refused) = (self.store, event())
    let took = await withTaskExecutorPreference(OwnThread()) {
      let began = ContinuousClock.now
      await #expect { try await store.append([refused]) } throws: { if case StoreError.unavailable = $0 { true } else { false } }
      return ContinuousClock.now - began
    }
    #expect(took > .seconds(1.5) && took < .seconds(4))
    #expect(try await store.find(AuditQuery()).isEmpty)  // reading goes on meanwhile
    try await other.writeWithoutTransaction { try $0.execute(sql: "COMMIT") }
    try await store.append([event()])
  }

  @Test func `is refused when the disk is full, with nothing written, and works again when there is room`() async throws {
    try await store.append([event()])
    try await store.pool.writeWithoutTransaction { database in
      let pages = try Int.fetchOne(database, sql: "PRAGMA page_count") ?? 0
      try database.execute(sql: "PRAGMA max_page_count = \(pages)")
    }
    var big = event()
    big.trace = (0..<60).map { _ in TraceNote(.bind, String(repeating: "x", count: 1000)) }
    let full = big
    await #expect { try await store.append([full]) } throws: { if case StoreError.unavailable = $0 { true } else { false } }
    #expect(try await store.chains().first?.last == 1)
    try await store.pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA max_page_count = 1000000") }
    try await store.append([full])
    #expect(try await store.rows(chain: "node-1", after: 0, limit: 10).map(\.sequence) == [1, 2])
  }

  @Test func `on a full disk gets the room of the reserve and goes through`() async throws {
    let pool = store.pool
    let queue = CommitQueue(
      pool,
      setting: .init(
        makeRoom: { true }, lostTrust: { _ in }))
    let tries = Counter()
    try await queue.write { _ in
      tries.increment()
      if tries.value == 1 { throw DatabaseError(resultCode: .SQLITE_FULL) }
    }
    #expect(tries.value == 2)
  }

  @Test func `that the disk did not keep ends trust, and nobody of the batch is told that it was written`() async throws {
    let reasons = Counter()
    let queue = CommitQueue(store.pool, setting: .init(lostTrust: { _ in reasons.increment() }))
    let writes: [@Sendable (Database) throws -> Int] = [
      { _ in 1 }, { _ in throw DatabaseError(resultCode: .SQLITE_IOERR_FSYNC) }, { _ in 3 },
    ]
    for result in try await inOneBatch(queue, writes) {
      #expect { try result.get() } throws: { if case StoreError.unavailable = $0 { true } else { false } }
    }
    #expect(reasons.value == 1)
  }

  @Test func `to a closed store is refused; one that was asked for before is carried out`() async throws {
    try await store.append([event()])
    try store.close()
    await #expect(throws: StoreError.unavailable("the store is closed")) { try await store.append([event()]) }
    await #expect { try await store.find(AuditQuery()) } throws: { if case StoreError.unavailable = $0 { true } else { false } }
    #expect(try await folder.open().find(AuditQuery()).count == 1)
  }

  @Test func `after thousands that wait is refused at once`() async throws {
    let queue = CommitQueue(store.pool, setting: .init(lostTrust: { _ in }))
    let release = DispatchSemaphore(value: 0)
    let refused = try await withThrowingTaskGroup(of: Bool.self) { group in
      let began = Counter()
      async let first: Void = queue.write { _ in
        began.increment()
        release.wait()
      }
      while began.value == 0 { try await Task.sleep(for: .milliseconds(5)) }
      for _ in 0..<CommitQueue.longestQueue + 500 {
        group.addTask {
          do {
            try await queue.write { _ in }
            return false
          } catch { return true }
        }
      }
      // The refused ones return while the writer is still held.
      var refused = 0
      while refused < 400, try await group.next() == true { refused += 1 }
      release.signal()
      try await first
      return try await group.reduce(refused) { $0 + ($1 ? 1 : 0) }
    }
    #expect(refused == 500)
  }
}

/// A number that many threads count up.
final class Counter: Sendable {
  private let count = Mutex(0)
  var value: Int { count.withLock { $0 } }
  func increment() { count.withLock { $0 += 1 } }
}
