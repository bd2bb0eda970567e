import Bytes
import Identity
import SignIn
import Testing

/// What every `RealmStore` must keep.
package enum RealmStoreContract {
  package typealias Store = any RealmStore & AuditLog

  private static let contoso = Realm(
    name: Sample.realm, suffixes: ["contoso.com", "contoso", "b.example"], isDefault: true, displayName: "Contoso \u{0} é", isFederated: true)
  private static let fabrikam = Realm(name: Sample.realm("fabrikam.com"), suffixes: ["fabrikam.com"])

  package static let sentences: [ContractSentence<Store>] = [
    .init("a realm is read back as it was added, its suffixes in their order, with version 1") { (store: Store) async throws in
      try await store.add(contoso, audit: [Sample.event(.realmAdded)])
      var expected = contoso
      expected.version = 1
      #expect(try await store.realms() == [expected])
      #expect(try await store.find(AuditQuery()).map(\.event.kind) == [.realmAdded])
    },
    .init("realms come in the order of their names") { (store: Store) async throws in
      try await store.add(fabrikam, audit: [])
      try await store.add(contoso, audit: [])
      #expect(try await store.realms().map(\.name) == [contoso.name, fabrikam.name])
    },
    .init("a name, a suffix and the default mark are given once, and a refused write leaves nothing, not even its audit row") {
      (store: Store) async throws in
      try await store.add(contoso, audit: [])
      await expectConflict { try await store.add(contoso, audit: [Sample.event(.realmAdded)]) }
      var thief = fabrikam
      thief.suffixes = ["fabrikam.com", "contoso"]
      await expectConflict { try await store.add(thief, audit: [Sample.event(.realmAdded)]) }
      var second = fabrikam
      second.isDefault = true
      await expectConflict { try await store.add(second, audit: [Sample.event(.realmAdded)]) }
      #expect(try await store.realms().map(\.name) == [contoso.name])
      #expect(try await store.find(AuditQuery()).isEmpty)
      try await store.add(fabrikam, audit: [])
    },
    .init("an update replaces the realm and its suffixes and counts the version up") { (store: Store) async throws in
      try await store.add(contoso, audit: [])
      var changed = try #require(try await store.realms().first)
      changed.suffixes = ["new.example", "contoso.com"]
      changed.isDefault = false
      changed.isFederated = false
      changed.displayName = nil
      try await store.update(changed, audit: [Sample.event(.realmChanged)])
      changed.version = 2
      #expect(try await store.realms() == [changed])
    },
    .init("an update of what has moved on is a conflict, of what is gone not found") { (store: Store) async throws in
      try await store.add(contoso, audit: [])
      let first = try #require(try await store.realms().first)
      try await store.update(first, audit: [])
      await expectConflict { try await store.update(first, audit: []) }
      await expectNotFound { try await store.update(fabrikam, audit: []) }
    },
    .init("an update cannot take what another realm has") { (store: Store) async throws in
      try await store.add(contoso, audit: [])
      try await store.add(fabrikam, audit: [])
      var thief = try #require(try await store.realms().last)
      thief.suffixes = ["contoso"]
      await expectConflict { try await store.update(thief, audit: []) }
      thief.suffixes = []
      thief.isDefault = true
      await expectConflict { try await store.update(thief, audit: []) }
      #expect(try await store.realms().last?.suffixes == ["fabrikam.com"])
    },
    .init("a removed realm gives its suffixes free") { (store: Store) async throws in
      try await store.add(contoso, audit: [])
      try await store.remove(realm: contoso.name, audit: [Sample.event(.realmRemoved)])
      #expect(try await store.realms().isEmpty)
      await expectNotFound { try await store.remove(realm: contoso.name, audit: []) }
      var heir = fabrikam
      heir.suffixes = ["contoso"]
      heir.isDefault = true
      try await store.add(heir, audit: [])
    },
  ]
}
