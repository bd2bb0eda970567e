import Bytes
import Dispatch
import Foundation
import GatehouseTesting
import Identity
import Synchronization
import Testing

@testable import KeyStore

@Suite final class `A revocation journal` {
  let folder: String
  let key = Secret([UInt8](repeating: 7, count: 32))
  var path: String { folder + "/revocations.journal" }

  init() throws {
    folder = NSTemporaryDirectory() + "gatehouse-journal-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  private func facts(_ range: ClosedRange<Int64>) -> [JournaledRevocation] {
    range.map {
      JournaledRevocation(
        position: $0,
        revocation: Revocation(.block, subject: "contoso alice\($0)", time: Instant(milliseconds: $0), name: "é\n\u{0}", details: ["blocked": "true"])
      )
    }
  }

  private func content() throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }

  @Test func `is read back as it was written, by its owner only, and goes on after a restart`() throws {
    try RevocationJournal(path: path, key: key).append(facts(1...3))
    let again = try RevocationJournal(path: path, key: key)
    #expect(again.last == 3)
    try again.append(facts(2...5))
    #expect(try RevocationJournal.read(path, key: key) == facts(1...5), "what is there already is passed over")
    #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
  }

  @Test func `that there is none of is empty, and no file is made for nothing`() throws {
    #expect(try RevocationJournal.read(path, key: key).isEmpty)
    try RevocationJournal(path: path, key: key).append([])
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test func `drops a last line that was not finished, and writes it anew`() throws {
    try RevocationJournal(path: path, key: key).append(facts(1...3))
    let whole = try content()
    try whole.dropLast(20).write(to: URL(fileURLWithPath: path))
    let again = try RevocationJournal(path: path, key: key)
    #expect(again.last == 2)
    try again.append(facts(3...3))
    #expect(try content() == whole)
  }

  @Test func `of two gateways at once is one chain, each fact in it once`() throws {
    let journals = try (0..<2).map { _ in try RevocationJournal(path: path, key: key) }
    let failures = Mutex<[String]>([])
    let all = facts(1...118)
    DispatchQueue.concurrentPerform(iterations: 8) { index in
      for end in stride(from: Int64(1), through: 120, by: 3) {
        // As the store tells: everything behind what this one knows of.
        let journal = journals[index % 2]
        let from = min(journal.last + 1, end)
        do { try journal.append(Array(all[Int(from - 1)..<Int(min(end, 118))])) } catch { failures.withLock { $0.append("\(error)") } }
      }
    }
    #expect(failures.withLock { $0 } == [])
    #expect(try RevocationJournal.read(path, key: key) == all)
  }

  @Test func `of another key, or changed anywhere, is refused with the line and what to do`() throws {
    try RevocationJournal(path: path, key: key).append(facts(1...20))
    let whole = try content()
    #expect(throws: RevocationJournalFault.otherKey(path: path)) {
      _ = try RevocationJournal(path: self.path, key: Secret([UInt8](repeating: 8, count: 32)))
    }
    let lines = whole.split(separator: 0x0a, omittingEmptySubsequences: true).map { Data($0) + [0x0a] }
    for changed in [lines[..<4] + lines[5...], lines[..<4] + [lines[5], lines[4]] + lines[6...], lines[..<5] + [lines[4]] + lines[5...]] {
      try Data(changed.joined()).write(to: URL(fileURLWithPath: path))
      #expect(throws: RevocationJournalFault.self) { _ = try RevocationJournal(path: self.path, key: self.key) }
    }
    var generator = SeededGenerator(seed: 20_261_127)
    for _ in 0..<2000 {
      var bytes = Array(whole)
      let place = Int.random(in: 0..<bytes.count, using: &generator)
      bytes[place] ^= UInt8.random(in: 1...255, using: &generator)
      try Data(bytes).write(to: URL(fileURLWithPath: path))
      do {
        let read = try RevocationJournal.read(path, key: key)
        // Only the end of the last line can be lost: then that line was not finished.
        #expect(place == bytes.count - 1)
        #expect(read == facts(1...19))
      } catch {
        #expect(error.description.contains(path))
      }
    }
  }
}
