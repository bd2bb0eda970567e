import Foundation
import GRDB
import GatehouseTesting
import Identity
import Testing

@testable import SQLiteStore

// The test starts its own test program a second time, lets it write, and kills it in the midst of it.

/// Once a few kills, in a long run as many as were promised.
private let isLong = ProcessInfo.processInfo.environment["GATEHOUSE_LONG"] != nil

private let childFolder = ProcessInfo.processInfo.environment["GATEHOUSE_TEST_KILLED_WRITER"]

@Suite struct `A process killed while it writes` {
  @Test(.enabled(if: childFolder != nil), .timeLimit(.minutes(1)))
  func `(the part of the process that is killed)`() async throws {
    let folder = try #require(childFolder)
    let store = try EmbeddedStore(path: folder + "/gatehouse.sqlite", node: "node-1")
    let ledger = open(folder + "/acknowledged", O_WRONLY | O_CREAT | O_APPEND, 0o600)
    await withTaskGroup(of: Void.self) { group in
      for writer in 0..<8 {
        group.addTask {
          for number in 0..<100_000 {
            let name = "writer \(writer) row \(number) \(UUID())"
            guard (try? await store.append([event(subject: name), event(.agentAlarm, subject: name)])) != nil else { return }
            let line = name + "\n"
            _ = write(ledger, line, line.utf8.count)
          }
        }
      }
    }
  }

  @Test(.enabled(if: childFolder == nil))
  func `has lost nothing that it acknowledged, has no half of anything, and starts again with a whole chain`() async throws {
    var folder = try Folder()
    var generator = SeededGenerator(seed: 1)
    for round in 0..<(isLong ? 1000 : 6) {
      // Everything is read after each kill: one store for all of them would make each round slower than the one before.
      if round % 20 == 0 { folder = try Folder() }
      let child = Process()
      child.executableURL = URL(fileURLWithPath: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
      child.arguments = ["--filter", "the part of the process that is killed", "--testing-library", "swift-testing"]
      child.environment = ProcessInfo.processInfo.environment.merging(["GATEHOUSE_TEST_KILLED_WRITER": folder.path]) { $1 }
      child.standardOutput = FileHandle.nullDevice
      child.standardError = FileHandle.nullDevice
      let before = acknowledged(folder).count
      try child.run()
      let deadline = ContinuousClock.now.advanced(by: .seconds(30))
      while acknowledged(folder).count == before, child.isRunning, ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(10)) }
      try await Task.sleep(for: .milliseconds(Int.random(in: 0...(isLong ? 500 : 150), using: &generator)))
      kill(child.processIdentifier, SIGKILL)
      child.waitUntilExit()
      let names = acknowledged(folder)
      #expect(names.count > before)

      let store = try folder.open()
      let whole = try await store.pool.read { try String.fetchOne($0, sql: "PRAGMA integrity_check") }
      #expect(whole == "ok")
      var rows: [AuditRow] = []
      while case let page = try await store.rows(chain: "node-1", after: rows.last?.sequence ?? 0, limit: 10_000), !page.isEmpty { rows += page }
      #expect(rows.count % 2 == 0)  // each write had two
      #expect(Set(names).isSubset(of: Set(rows.compactMap(\.event.subject))))
      var export = AuditExport(chain: "node-1", first: 1, anchor: AuditChain.genesis)
      for row in rows { _ = try export.line(of: row) }
      try store.close()
    }
  }

  private func acknowledged(_ folder: Folder) -> [String] {
    let text = FileManager.default.contents(atPath: folder.path + "/acknowledged") ?? Data()
    return String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init)
  }
}
