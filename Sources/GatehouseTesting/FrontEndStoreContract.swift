import Bytes
import Identity
import SignIn
import Testing

/// What every `FrontEndStore` must keep.
package enum FrontEndStoreContract {
  package typealias Store = any FrontEndStore & AuditLog

  private static func portal() -> FrontEnd {
    FrontEnd(
      name: "portal", realms: [Sample.realm("fabrikam.com"), Sample.realm], ratePerSecond: 7,
      keys: [
        FrontEndKey(digest: Sample.digest(1), made: Sample.time),
        FrontEndKey(digest: Sample.digest(2), made: Instant(milliseconds: 5), expires: Sample.time.adding(.seconds(60))),
      ], certificates: [Sample.digest(9), Sample.digest(3)])
  }

  package static let sentences: [ContractSentence<Store>] = [
    .init("a front-end is read back as it was added, with version 1, by key and by certificate") { (store: Store) async throws in
      var expected = portal()
      try await store.add(expected, audit: [Sample.event(.frontEndAdded)])
      expected.version = 1
      #expect(try await store.frontEnds() == [expected])
      #expect(try await store.frontEnd(keyDigest: Sample.digest(1)) == expected)
      #expect(try await store.frontEnd(keyDigest: Sample.digest(2)) == expected)
      #expect(try await store.frontEnd(certificateDigest: Sample.digest(3)) == expected)
      #expect(try await store.frontEnd(keyDigest: Sample.digest(3)) == nil)
      #expect(try await store.frontEnd(certificateDigest: Sample.digest(1)) == nil)
      #expect(try await store.frontEnd(keyDigest: []) == nil)
      #expect(try await store.find(AuditQuery()).map(\.event.kind) == [.frontEndAdded])
    },
    .init("a name, a key and a certificate are given once, and a refused write leaves nothing") { (store: Store) async throws in
      try await store.add(portal(), audit: [])
      await expectConflict { try await store.add(portal(), audit: [Sample.event(.frontEndAdded)]) }
      let sameKey = FrontEnd(name: "b", realms: [], keys: [FrontEndKey(digest: Sample.digest(2), made: Sample.time)])
      await expectConflict { try await store.add(sameKey, audit: [Sample.event(.frontEndAdded)]) }
      let sameCertificate = FrontEnd(name: "c", realms: [], certificates: [Sample.digest(4), Sample.digest(3)])
      await expectConflict { try await store.add(sameCertificate, audit: [Sample.event(.frontEndAdded)]) }
      #expect(try await store.frontEnds().map(\.name) == ["portal"])
      #expect(try await store.frontEnd(certificateDigest: Sample.digest(4)) == nil)
      #expect(try await store.find(AuditQuery()).isEmpty)
    },
    .init("an update replaces everything: a key that is gone opens nothing any more") { (store: Store) async throws in
      try await store.add(portal(), audit: [])
      var changed = try #require(try await store.frontEnds().first)
      changed.name = "portal-2"
      changed.realms = []
      changed.keys = [FrontEndKey(digest: Sample.digest(5), made: Sample.time)]
      changed.certificates = []
      changed.disabled = true
      changed.ratePerSecond = 1
      try await store.update(changed, audit: [Sample.event(.frontEndKeyRotated)])
      changed.version = 2
      #expect(try await store.frontEnd(keyDigest: Sample.digest(5)) == changed)
      #expect(try await store.frontEnd(keyDigest: Sample.digest(1)) == nil)
      #expect(try await store.frontEnd(certificateDigest: Sample.digest(3)) == nil)
    },
    .init("of many parallel updates of one version exactly one succeeds") { (store: Store) async throws in
      try await store.add(portal(), audit: [])
      let read = try #require(try await store.frontEnds().first)
      let successes = await withTaskGroup(of: Bool.self) { group in
        for _ in 0..<20 { group.addTask { (try? await store.update(read, audit: [Sample.event(.frontEndChanged)])) != nil } }
        return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
      }
      #expect(successes == 1)
      #expect(try await store.frontEnds().first?.version == 2)
      #expect(try await store.find(AuditQuery()).count == 1)
    },
    .init("an update of what is gone is not found; a name that is taken is a conflict") { (store: Store) async throws in
      await expectNotFound { try await store.update(portal(), audit: []) }
      try await store.add(portal(), audit: [])
      try await store.add(FrontEnd(name: "other", realms: []), audit: [])
      var other = try #require(try await store.frontEnds().first { $0.name == "other" })
      other.name = "portal"
      await expectConflict { try await store.update(other, audit: []) }
    },
    .init("a removed front-end is gone with its keys, which may be given again") { (store: Store) async throws in
      let first = portal()
      try await store.add(first, audit: [])
      try await store.remove(frontEnd: first.id, audit: [Sample.event(.frontEndRevoked)])
      #expect(try await store.frontEnds().isEmpty)
      #expect(try await store.frontEnd(keyDigest: Sample.digest(1)) == nil)
      await expectNotFound { try await store.remove(frontEnd: first.id, audit: []) }
      try await store.add(portal(), audit: [])
    },
    .init("a name with quotes, NUL and SQL in it is a name like others") { (store: Store) async throws in
      for name in ["'); DROP TABLE front_end; --", "a\u{0}b", "a", "$1", String(repeating: "n", count: 65_536)] {
        try await store.add(FrontEnd(name: name, realms: []), audit: [])
      }
      #expect(Set(try await store.frontEnds().map(\.name)).count == 5)
      #expect(try await store.frontEnds().contains { $0.name.utf8.elementsEqual("a\u{0}b".utf8) })
    },
  ]
}
