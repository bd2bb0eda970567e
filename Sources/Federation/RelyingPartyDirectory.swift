import Bytes
import Cryptography
import Identity
import Synchronization

/// A relying party with what is worked out of it once: keys read, patterns compiled.
struct PreparedParty: Sendable {
  let party: RelyingParty
  let claims: ClaimTable
  let encryptionKey: EncryptionKey?

  init(_ party: RelyingParty) {
    self.party = party
    claims = ClaimTable(party.claims)
    encryptionKey = party.encryptionCertificates.lazy.compactMap { try? EncryptionKey(certificate: $0) }.first
  }
}

/// The relying parties, found by entityID, id or name: a copy of the store's in memory, replaced when the store says that something changed.
package final class RelyingPartyDirectory: Sendable {
  private let store: any RelyingPartyStore
  private let table = Mutex(Table())

  private struct Table {
    var version: Int64 = -1
    var byEntityID: [[UInt8]: RelyingParty] = [:]
    var byID: [Identifier: RelyingParty] = [:]
    /// Filled as parties are used: ten thousand need not be worked out at the start.
    var prepared: [Identifier: PreparedParty] = [:]
    var needs = AttributeRequest.none
  }

  package init(store: any RelyingPartyStore) { self.store = store }

  /// Reads the relying parties that have changed. Throws `StoreError`; the old copy stays then.
  package func refresh() async throws {
    let version = try await store.relyingPartiesVersion()
    guard table.withLock({ $0.version != version }) else { return }
    let before = table.withLock { $0.byID }
    let (changed, all) = try await store.relyingParties(besides: before.mapValues(\.version))
    var parties = before.filter { all.contains($0.key) }
    for party in changed { parties[party.id] = party }
    let needs = RelyingPartyDirectory.needs(of: parties.values)
    let byEntityID = Dictionary(parties.values.map { (Array($0.entityID.utf8), $0) }, uniquingKeysWith: { first, _ in first })
    let complete = parties
    table.withLock { table in
      // What was worked out of those that are as they were is kept.
      let prepared = table.prepared.filter { complete[$0.key]?.version == $0.value.party.version }
      table = Table(version: version, byEntityID: byEntityID, byID: complete, prepared: prepared, needs: needs)
    }
  }

  package func party(entityID: String) -> RelyingParty? { table.withLock { $0.byEntityID[Array(entityID.utf8)] } }
  package func party(id: Identifier) -> RelyingParty? { table.withLock { $0.byID[id] } }
  package func party(named name: String) -> RelyingParty? {
    table.withLock { table in table.byID.values.first { $0.name.utf8.elementsEqual(name.utf8) } }
  }

  package var parties: [RelyingParty] { table.withLock { Array($0.byID.values) }.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) } }
  /// Those of whom something holds, in no order.
  func parties(where isMeant: (RelyingParty) -> Bool) -> [RelyingParty] { table.withLock { $0.byID.values.filter(isMeant) } }
  package var count: Int { table.withLock { $0.byID.count } }

  func prepared(_ id: Identifier) -> PreparedParty? {
    table.withLock { table in
      if let known = table.prepared[id] { return known }
      guard let party = table.byID[id] else { return nil }
      let fresh = PreparedParty(party)
      table.prepared[id] = fresh
      return fresh
    }
  }

  /// What the directory is asked for at a sign-in, so that a session can serve every relying party: all that any of them is told of a person, up to the
  /// 64 attributes that a question can have. What has no room there is looked up when it is needed.
  package var attributeRequest: AttributeRequest { table.withLock { $0.needs } }

  private static func needs(of parties: some Collection<RelyingParty>) -> AttributeRequest {
    var counted: [String: (name: String, uses: Int)] = [:]
    var groups = false
    for party in parties where !party.disabled {
      let needs = ClaimTable.needs(party)
      groups = groups || needs.groups
      for name in needs.attributes { counted[asciiLowercased(name), default: (name, 0)].uses += 1 }
    }
    let names = counted.values.sorted { ($1.uses, $0.name) < ($0.uses, $1.name) }.prefix(64).map(\.name)
    return AttributeRequest(attributes: Array(names), groups: groups)
  }
}
