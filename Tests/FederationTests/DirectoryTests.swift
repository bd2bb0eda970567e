import Bytes
import GatehouseTesting
import Identity
import SAML
import Testing
import XMLSecurity

@testable import Federation

@Suite struct `The directory of relying parties` {
  private static func party(_ index: Int, _ change: (inout RelyingParty) -> Void = { _ in }) -> RelyingParty {
    var party = RelyingParty(
      name: "sp\(index)", entityID: "https://sp\(index).example/metadata",
      consumers: [.init(binding: Binding.post.rawValue, location: "https://sp\(index).example/acs", index: 0)])
    change(&party)
    return party
  }

  /// A store of very many relying parties that counts how often it is asked for all of them.
  private actor ManyParties: RelyingPartyStore {
    private var all: [RelyingParty]
    private var version: Int64 = 1
    private(set) var reads = 0

    init(_ all: [RelyingParty]) { self.all = all }
    func relyingPartiesVersion() async throws -> Int64 { version }
    func relyingParties(besides known: [Identifier: Int64]) async throws -> (changed: [RelyingParty], all: Set<Identifier>) {
      let changed = all.filter { known[$0.id] != $0.version }
      reads += changed.count
      return (changed, Set(all.map(\.id)))
    }
    func add(_ party: RelyingParty, audit: [AuditEvent]) async throws {
      all.append(party)
      version += 1
    }
    func update(_ party: RelyingParty, audit: [AuditEvent]) async throws {}
    func remove(relyingParty id: Identifier, audit: [AuditEvent]) async throws {}
  }

  @Test func `finds each of ten thousand by every name, and reads them once`() async throws {
    let all = (0..<10_000).map { index in
      Self.party(index) { $0.claims = [ClaimRule(name: "c", sources: [.directory(index % 2 == 0 ? "mail" : "attribute\(index)")])] }
    }
    let store = ManyParties(all)
    let directory = RelyingPartyDirectory(store: store)
    for _ in 0..<5 { try await directory.refresh() }
    #expect(await store.reads == 10_000)
    #expect(directory.count == 10_000)
    for party in all {
      guard directory.party(entityID: party.entityID)?.id == party.id, directory.party(id: party.id)?.name == party.name else {
        Issue.record("\(party.name) is not found")
        return
      }
    }
    #expect(directory.party(named: "sp9999")?.id == all.last?.id)
    // What a session asks of the directory stays bounded, and what most want is in it.
    #expect(directory.attributeRequest.attributes.count == 64)
    #expect(directory.attributeRequest.attributes.contains("mail"))
    try await store.add(Self.party(10_000), audit: [])
    try await directory.refresh()
    // Only the new one is read.
    #expect(await store.reads == 10_001)
    #expect(directory.count == 10_001)
  }

  @Test func `knows after any number of changes what a fresh copy knows`() async throws {
    var dice = SeededGenerator(seed: 7)
    let store = InMemoryStore()
    let directory = RelyingPartyDirectory(store: store)
    var known: [RelyingParty] = []
    for round in 0..<120 {
      switch known.isEmpty ? 0 : Int.random(in: 0..<5, using: &dice) {
      case 0, 1:
        let party = Self.party(round) {
          $0.claims = [ClaimRule(name: "c", sources: [.directory(["mail", "Mail", "cn", "sn"].randomElement(using: &dice) ?? "mail")])]
        }
        try await store.add(party, audit: [])
      case 2:
        var party = try #require(known.randomElement(using: &dice))
        party.disabled.toggle()
        try await store.update(party, audit: [])
      case 3:
        var party = try #require(known.randomElement(using: &dice))
        (party.name, party.entityID) = ("renamed\(round)", "urn:renamed:\(round)")
        party.claims = []
        try await store.update(party, audit: [])
      default: try await store.remove(relyingParty: try #require(known.randomElement(using: &dice)).id, audit: [])
      }
      if round % 3 == 0 { try await directory.refresh() }
      known = try await store.relyingParties()
    }
    try await directory.refresh()
    let fresh = RelyingPartyDirectory(store: store)
    try await fresh.refresh()
    #expect(directory.parties == fresh.parties && directory.count == known.count)
    let (one, other) = (directory.attributeRequest, fresh.attributeRequest)
    #expect(Set(one.attributes.map { $0.lowercased() }) == Set(other.attributes.map { $0.lowercased() }) && one.groups == other.groups)
    for party in known { #expect(directory.party(named: party.name) == party && directory.party(entityID: party.entityID) == party) }
  }

  @Test func `compares names byte by byte`() async throws {
    let store = InMemoryStore()
    try await store.add(Self.party(1) { $0.entityID = "urn:caf\u{e9}" }, audit: [])
    try await store.add(Self.party(2) { $0.entityID = "urn:cafe\u{301}" }, audit: [])
    let directory = RelyingPartyDirectory(store: store)
    try await directory.refresh()
    #expect(directory.count == 2)
    #expect(directory.party(entityID: "urn:caf\u{e9}")?.name == "sp1")
    #expect(directory.party(entityID: "urn:cafe\u{301}")?.name == "sp2")
    #expect(directory.party(entityID: "URN:caf\u{e9}") == nil)
    #expect(directory.party(entityID: "urn:caf\u{e9}/") == nil)
    #expect(directory.party(named: "SP1") == nil)
  }

  @Test func `keeps its copy while the store is down, and works a party out anew after a change`() async throws {
    let store = InMemoryStore()
    let party = Self.party(1)
    try await store.add(party, audit: [])
    let directory = RelyingPartyDirectory(store: store)
    try await directory.refresh()
    #expect(directory.prepared(party.id)?.party.disabled == false)
    await store.fail(with: .unavailable("down"))
    await #expect(throws: StoreError.self) { try await directory.refresh() }
    #expect(directory.count == 1)
    await store.fail(with: nil)
    var changed = try #require(directory.party(id: party.id))
    changed.disabled = true
    try await store.update(changed, audit: [])
    try await directory.refresh()
    #expect(directory.prepared(party.id)?.party.disabled == true)
    #expect(directory.prepared(Identifier()) == nil)
  }

  @Test func `asks for nothing on behalf of a disabled relying party`() async throws {
    let store = InMemoryStore()
    try await store.add(
      Self.party(1) {
        $0.disabled = true
        $0.permittedGroups = ["CN=x"]
      }, audit: [])
    let directory = RelyingPartyDirectory(store: store)
    try await directory.refresh()
    #expect(directory.attributeRequest == .none)
  }

  @Test(arguments: RelyingPartyPreset.allCases) func `has presets that can be kept`(_ preset: RelyingPartyPreset) async throws {
    let house = try await House()
    let provider = try await house.register("wiki") { preset.apply(to: &$0) }
    let party = try house.party()
    #expect(party.claims.allSatisfy { $0.problem == nil })
    #expect(Set(party.claims.map(\.name)).count == party.claims.count)
    let attributes = ["mail": ["alice@contoso.com"], "displayName": ["Alice"], "givenName": ["A"], "sn": ["B"], "sAMAccountName": ["alice"]]
    let answer = try await house.answer(try house.request(provider), try await house.session(try House.person(attributes: attributes)))
    #expect(answer.assertion != nil && answer.name != nil)
    #expect(answer.nameElement?.attribute("Format") == party.nameID.format.rawValue)
    // Nothing is said of a password that does not end, nor of a session that ends with the browser.
    let unsaid = party.claims.count { $0.sources.allSatisfy { $0.word.hasPrefix("$password") || $0 == .persistentSession } && !$0.sources.isEmpty }
    #expect(answer.attributes.count == party.claims.count - unsaid && unsaid == (preset == .entraWSFederation ? 4 : 0))
    if preset == .entra {
      #expect(answer.name == "aW1tdXRhYmxl" && answer.attributes["IDPEmail"] == ["alice@contoso.com"])
      #expect(!answer.root.elements.contains { $0.name.local == "Signature" })
    }
  }
}
