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
    var byName: [[UInt8]: Identifier] = [:]
    /// Filled as parties are used: ten thousand need not be worked out at the start.
    var prepared: [Identifier: PreparedParty] = [:]
    var wanted = WantedAttributes()
    /// What comes of `wanted`; asked for with every token.
    var request = AttributeRequest.none

    mutating func remove(_ id: Identifier) {
      guard let party = byID.removeValue(forKey: id) else { return }
      byEntityID[Array(party.entityID.utf8)] = nil
      byName[Array(party.name.utf8)] = nil
      prepared[id] = nil
      wanted.count(party, by: -1)
    }

    mutating func add(_ party: RelyingParty) {
      byID[party.id] = party
      byEntityID[Array(party.entityID.utf8)] = party
      byName[Array(party.name.utf8)] = party.id
      wanted.count(party, by: 1)
    }
  }

  /// Which attributes how many relying parties want: counted up and down, since a change of one of ten thousand must not go through all.
  private struct WantedAttributes {
    private var uses: [String: (name: String, count: Int)] = [:]
    private var groups = 0

    mutating func count(_ party: RelyingParty, by step: Int) {
      guard !party.disabled else { return }
      let needs = ClaimTable.needs(party)
      if needs.groups { groups += step }
      for name in needs.attributes {
        let key = asciiLowercased(name)
        uses[key, default: (name, 0)].count += step
        if uses[key]?.count == 0 { uses[key] = nil }
      }
    }

    /// Of more than a question can have, those that most relying parties want.
    var request: AttributeRequest {
      let names = uses.values.sorted { ($1.count, $0.name) < ($0.count, $1.name) }.prefix(64).map(\.name)
      return AttributeRequest(attributes: Array(names), groups: groups > 0)
    }
  }

  package init(store: any RelyingPartyStore) { self.store = store }

  /// Reads the relying parties that have changed. Throws `StoreError`; the old copy stays then.
  package func refresh() async throws {
    let version = try await store.relyingPartiesVersion()
    guard table.withLock({ $0.version != version }) else { return }
    let known = table.withLock { $0.byID.mapValues(\.version) }
    let (changed, all) = try await store.relyingParties(besides: known)
    table.withLock { table in
      for id in table.byID.keys.filter({ !all.contains($0) }) { table.remove(id) }
      // First all go, then all come: two may have exchanged their entityIDs.
      for party in changed { table.remove(party.id) }
      for party in changed { table.add(party) }
      table.request = table.wanted.request
      table.version = version
    }
  }

  package func party(entityID: String) -> RelyingParty? { table.withLock { $0.byEntityID[Array(entityID.utf8)] } }
  package func party(id: Identifier) -> RelyingParty? { table.withLock { $0.byID[id] } }
  package func party(named name: String) -> RelyingParty? {
    table.withLock { table in table.byName[Array(name.utf8)].flatMap { table.byID[$0] } }
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
  package var attributeRequest: AttributeRequest { table.withLock { $0.request } }
}
