import Bytes
import Federation
import Foundation
import GatehouseTesting
import Identity
import PassThrough
import SAML
import SQLiteStore
import SignIn
import Testing

@Suite("A store that was put back")
struct RecoveryTests {
  private let folder: Folder
  private let time = Instant(milliseconds: 1_767_225_600_000)

  init() throws { folder = try Folder() }

  private func realm() throws -> RealmName { try #require(RealmName("contoso.com")) }

  private func enrol(_ name: String, in store: EmbeddedStore, digest: UInt8) async throws -> AgentRecord {
    let token = EnrolmentTokenRecord(
      digest: [UInt8](repeating: digest, count: 32), realms: [try realm()], agentName: nil, made: time, expires: time.adding(.seconds(600)))
    try await store.addToken(token, audit: [])
    let agent = AgentRecord(
      name: name, realms: [try realm()], certificates: [.init(digest: [UInt8](repeating: digest &+ 100, count: 32), notAfter: time)], enrolled: time)
    try await store.enrol(agent, tokenDigest: token.digest, now: time, audit: [])
    return try #require(try await store.agent(id: agent.id))
  }

  private func event(_ report: RecoveryReport) -> [AuditEvent] {
    [AuditEvent(time: time, kind: .storeRestored, actor: "admin", subject: "node-1", outcome: "done", details: ["epoch": "\(report.epoch)"])]
  }

  @Test("knows again who was shut out since, which credentials are good, and who came since; nothing else of then is left")
  func recovery() async throws {
    let store = try folder.open()
    var (kept, revoked) = (try await enrol("kept", in: store, digest: 1), try await enrol("revoked", in: store, digest: 2))
    var (portal, gone) = (
      FrontEnd(name: "portal", realms: [], keys: [.init(digest: [UInt8](repeating: 50, count: 32), made: time)]),
      FrontEnd(name: "gone", realms: [], keys: [.init(digest: [UInt8](repeating: 51, count: 32), made: time)])
    )
    try await store.add(portal, audit: [])
    try await store.add(gone, audit: [])
    let token = EnrolmentTokenRecord(
      digest: [UInt8](repeating: 9, count: 32), realms: [try realm()], agentName: nil, made: time, expires: time.adding(.seconds(600)))
    try await store.addToken(token, audit: [])
    let object = DirectoryObject(realm: try realm(), id: Identifier())
    let alice = LockoutName(realm: try realm(), key: "alice")
    try await store.learn(alice, object: object.id, policy: LockoutPolicy(), now: time)
    for name in ["wiki", "blog", "shop"] {
      let consumer = ServiceProviderMetadata.Endpoint(
        binding: "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST", location: "https://\(name).test/acs", index: 1, isDefault: true)
      try await store.add(RelyingParty(name: name, entityID: "https://\(name).test", consumers: [consumer]), audit: [])
    }
    let copy = folder.path + "/copy.sqlite"
    try EmbeddedStore.copy(of: folder.file, to: copy)

    // What happens after the backup.
    revoked.revoked = time.adding(.seconds(5))
    try await store.update(revoked, audit: [])
    kept.certificates.insert(.init(digest: [UInt8](repeating: 77, count: 32), notAfter: time.adding(.seconds(86_400))), at: 0)
    try await store.update(kept, audit: [])
    portal = try #require(try await store.frontEnds().first { $0.name == "portal" })
    portal.keys = [.init(digest: [UInt8](repeating: 60, count: 32), made: time.adding(.seconds(6)))]
    try await store.update(portal, audit: [])
    gone = try #require(try await store.frontEnds().first { $0.name == "gone" })
    try await store.remove(frontEnd: gone.id, audit: [])
    try await store.setBlocked(true, alice, now: time, audit: [])
    for var party in try await store.relyingParties() where party.name != "shop" {
      if party.name == "blog" {
        try await store.remove(relyingParty: party.id, audit: [])
      } else {
        party.disabled = true
        try await store.update(party, audit: [])
      }
    }
    let newcomer = try await enrol("newcomer", in: store, digest: 3)
    let facts = try await store.revocations(after: 0, limit: 10_000)
    try store.close()

    let restored = try EmbeddedStore(path: copy, node: "node-1")
    let report = try await restored.recover(with: facts, now: time, audit: event)
    #expect(report.epoch == 1)
    #expect(try await restored.epoch() == 1)
    #expect(report.tokensVoided == 1)
    #expect(report.refused.isEmpty)
    #expect(Set(report.applied.map(\.name)) == ["revoked", "kept", "portal", "gone", "alice", "newcomer", "blog", "wiki"])
    #expect(try await restored.agent(id: revoked.id)?.revoked == revoked.revoked)
    #expect(try await restored.agent(id: kept.id)?.certificates.first?.digest == [UInt8](repeating: 77, count: 32))
    #expect(try await restored.agent(id: newcomer.id)?.certificates == newcomer.certificates)
    #expect(try await restored.frontEnd(keyDigest: [UInt8](repeating: 50, count: 32)) == nil)
    #expect(try await restored.frontEnd(keyDigest: [UInt8](repeating: 51, count: 32)) == nil)
    #expect(try await restored.frontEnd(keyDigest: [UInt8](repeating: 60, count: 32))?.name == "portal")
    #expect(try await restored.state(of: alice)?.blocked == true)
    #expect(try await restored.relyingParties().map { "\($0.name) \($0.disabled)" } == ["shop false", "wiki true"])
    #expect(try await restored.find(AuditQuery()).first?.event.kind == .storeRestored)
    // The journal goes on: what it had, then the restore.
    let all = try await restored.revocations(after: 0, limit: 10_000)
    #expect(all.dropLast() == facts[...])
    #expect(all.last?.revocation.kind == .restored)
    let again = try await restored.recover(with: all, now: time, audit: event)
    #expect(again.epoch == 2)
    #expect(again.applied.isEmpty)
    try restored.gather()
    try restored.close()
    try FileManager.default.moveItem(atPath: copy, toPath: folder.path + "/moved.sqlite")
    let moved = try EmbeddedStore(path: folder.path + "/moved.sqlite", node: "node-1")
    #expect(try await moved.epoch() == 2, "it can be moved without its log")
    try moved.close()
  }

  @Test("does not take a journal of another history, and changes nothing then")
  func foreign() async throws {
    let store = try folder.open()
    _ = try await enrol("one", in: store, digest: 1)
    let foreign = [
      JournaledRevocation(position: 1, revocation: Revocation(.block, subject: "x", time: time, name: "x", details: ["blocked": "true"]))
    ]
    await #expect(throws: StoreError.self) { try await store.recover(with: foreign, now: time, audit: event) }
    #expect(try await store.epoch() == 0)
    #expect(try await store.find(AuditQuery()).isEmpty)
    #expect(try await store.recover(with: [], now: time, audit: event).epoch == 1, "without a journal there is nothing to contradict")
    try store.close()
  }

  @Test("is copied while writes go on, each copy at one moment: the chain in it is whole")
  func copyUnderLoad() async throws {
    let store = try folder.open()
    let event = AuditEvent(time: time, kind: .signIn, actor: "portal", outcome: "accepted")
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<4 { group.addTask { for _ in 0..<100 { try await store.append([event]) } } }
      for round in 0..<5 {
        try EmbeddedStore.copy(of: folder.file, to: folder.path + "/copy\(round).sqlite")
      }
      try await group.waitForAll()
    }
    for round in 0..<5 {
      let copy = try EmbeddedStore(path: folder.path + "/copy\(round).sqlite", node: "node-1")
      let state = try #require(try await copy.chains().first)
      let rows = try await copy.rows(chain: "node-1", after: 0, limit: 10_000)
      #expect(Int64(rows.count) == state.last)
      #expect(rows.last?.hash ?? AuditChain.genesis == state.lastHash)
      try copy.close()
    }
    try store.close()
  }
}
