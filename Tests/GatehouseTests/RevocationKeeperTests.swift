import Bytes
import Foundation
import GatehouseTesting
import Identity
import KeyStore
import Logging
import SQLiteStore
import Testing

@testable import gatehouse

@Suite("The keeper of the revocation journal")
final class RevocationKeeperTests {
  private let folder: String
  private let key = Secret([UInt8](repeating: 7, count: 32))
  private let time = ManualTime()

  init() throws {
    folder = NSTemporaryDirectory() + "gatehouse-keeper-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  private var journal: String { folder + "/revocations.journal" }

  private func keeper(_ store: EmbeddedStore) throws -> RevocationKeeper {
    RevocationKeeper(
      store: store, journal: try RevocationJournal(path: journal, key: key), now: time.reading,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  private func fact(_ name: String) -> Revocation { Revocation(.signingKeyRetired, subject: name, time: time.now, name: name) }

  @Test("has every fact in the journal before the caller hears of it, and makes a journal that was lost anew")
  func order() async throws {
    let store = try EmbeddedStore(path: folder + "/store", node: "one")
    try await store.record([fact("before")], audit: [])
    try await keeper(store).reconcile(key: key, config: "gateway.yaml")
    for name in ["a", "b", "c"] {
      try await store.record([fact(name)], audit: [])
      #expect(try RevocationJournal.read(journal, key: key).last?.revocation.name == name)
    }
    try FileManager.default.removeItem(atPath: journal)
    try await keeper(store).reconcile(key: key, config: "gateway.yaml")
    #expect(try RevocationJournal.read(journal, key: key).map(\.revocation.name) == ["before", "a", "b", "c"])
    try store.close()
  }

  @Test("lets no gateway start on a store that knows less than the journal, or another history")
  func older() async throws {
    let store = try EmbeddedStore(path: folder + "/store", node: "one")
    try await keeper(store).reconcile(key: key, config: "gateway.yaml")
    try await store.record((1...7).map { fact("key\($0)") }, audit: [])
    let old = try EmbeddedStore(path: folder + "/old", node: "one")
    let refused = await #expect(throws: StartProblem.self) { try await self.keeper(old).reconcile(key: self.key, config: "/etc/g.yaml") }
    #expect(refused?.description.contains("it knows 0 of 7 facts") == true)
    #expect(refused?.description.contains("signing-key-retired key5, …") == true)
    #expect(refused?.description.contains("gatehouse restore --in-place --config /etc/g.yaml") == true)
    try await old.record((1...9).map { fact("other\($0)") }, audit: [])
    let foreign = await #expect(throws: StartProblem.self) { try await self.keeper(old).reconcile(key: self.key, config: "/etc/g.yaml") }
    #expect(foreign?.description.contains("another history") == true)
    try store.close()
    try old.close()
  }

  @Test("raises an alarm where the journal cannot be written, with the fact standing all the same, and catches up")
  func behind() async throws {
    let store = try EmbeddedStore(path: folder + "/store", node: "one")
    let keeper = try keeper(store)
    try await keeper.reconcile(key: key, config: "gateway.yaml")
    try FileManager.default.createDirectory(atPath: journal, withIntermediateDirectories: false)
    try await store.record([fact("a")], audit: [])
    #expect(await keeper.alarms().map(\.code) == [.revocationJournal])
    let since = await keeper.alarms().first?.since
    time.advance(by: .seconds(60))
    await keeper.catchUp()
    #expect(await keeper.alarms().first?.since == since)
    try FileManager.default.removeItem(atPath: journal)
    await keeper.catchUp()
    #expect(await keeper.alarms().isEmpty)
    #expect(try RevocationJournal.read(journal, key: key).map(\.revocation.name) == ["a"])
    try store.close()
  }
}
