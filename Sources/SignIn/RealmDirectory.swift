import Bytes
import Identity
import Synchronization

/// Which realm a typed name belongs to. A copy of the store's realms in memory, replaced after every change made here and once a second.
package final class RealmDirectory: Sendable {
  private let store: any RealmStore
  private let table = Mutex(Table())

  private struct Table {
    var bySuffix: [String: Realm] = [:]
    var byName: [RealmName: Realm] = [:]
    var fallback: Realm?
  }

  package init(store: any RealmStore) { self.store = store }

  /// Reads all realms anew. Throws `StoreError`; the old copy stays then.
  package func refresh() async throws {
    var fresh = Table()
    for realm in try await store.realms() {
      fresh.byName[realm.name] = realm
      for suffix in realm.suffixes { fresh.bySuffix[suffix] = realm }
      if realm.isDefault { fresh.fallback = realm }
    }
    let complete = fresh
    table.withLock { $0 = complete }
  }

  /// The realm of a typed name: by the part behind the last `@`, else by the part before `\`, else the default realm. The parts are compared
  /// whole: `evilcontoso.com` is not `contoso.com`.
  package func realm(of name: UserName) -> Realm? {
    table.withLock { table in
      if let suffix = name.suffix { return table.bySuffix[suffix] }
      if let prefix = name.domainPrefix { return table.bySuffix[prefix] }
      return name.text.utf8.contains(UInt8(ascii: "@")) || name.text.utf8.contains(UInt8(ascii: "\\")) ? nil : table.fallback
    }
  }

  package func realm(named name: RealmName) -> Realm? { table.withLock { $0.byName[name] } }

  package var realms: [Realm] { table.withLock { $0.byName.values.sorted { $0.name < $1.name } } }
}
