import Bytes
import Federation
import Identity
import SAML
import SignIn
import Testing
import WSFederation

/// What the contracts of federation's stores are told with.
private enum Example {
  static func party(_ name: String) -> RelyingParty {
    RelyingParty(
      name: name, entityID: "https://\(name).example/sp",
      consumers: [.init(binding: Binding.post.rawValue, location: "https://\(name).example/acs", index: 1, isDefault: true)])
  }

  static let object = DirectoryObject(realm: Sample.realm, id: Identifier())
  static func session(_ byte: UInt8, of object: DirectoryObject = Example.object, ends: Duration = .seconds(60)) -> Session {
    Session(
      digest: Sample.digest(byte),
      person: AcceptedPerson(object: object, immutableID: "id", userPrincipalName: "alice@contoso.com", groups: ["CN=a"]),
      userName: "alice", authenticated: Sample.time, ends: Sample.time.adding(ends), isKept: false)
  }

  static func participant(_ party: RelyingParty, _ name: String, index: String = "_i") -> Participant {
    Participant(
      relyingParty: party.id, name: NameID(name, format: NameIDFormat.persistent.rawValue, nameQualifier: "idp", spNameQualifier: "sp"),
      sessionIndex: index, since: Sample.time)
  }
}

/// What every `RelyingPartyStore` must keep.
package enum RelyingPartyStoreContract {
  package typealias Store = any RelyingPartyStore & AuditLog

  package static let sentences: [ContractSentence<Store>] = [
    .init("a relying party is read back as it was added, with version 1, and every change gives the whole another version") {
      (store: Store) async throws in
      let before = try await store.relyingPartiesVersion()
      var wiki = Example.party("wiki")
      wiki.claims = [ClaimRule(name: "é", sources: [.directory("mail")], changes: [.replace(pattern: "a", with: "b")])]
      wiki.signingCertificates = [[1, 2, 3]]
      try await store.add(wiki, audit: [Sample.event(.relyingPartyAdded)])
      wiki.version = 1
      #expect(try await store.relyingParties() == [wiki])
      let after = try await store.relyingPartiesVersion()
      #expect(after != before)
      wiki.disabled = true
      try await store.update(wiki, audit: [])
      #expect(try await store.relyingPartiesVersion() != after)
      #expect(try await store.relyingParties().first?.version == 2)
    },
    .init("who knows some versions is given what is not of them, and the ids of all") { (store: Store) async throws in
      for name in ["a", "b", "c"] { try await store.add(Example.party(name), audit: []) }
      let all = try await store.relyingParties()
      #expect(all.map(\.name) == ["a", "b", "c"])
      let known = Dictionary(uniqueKeysWithValues: all.map { ($0.id, $0.version) })
      #expect(try await store.relyingParties(besides: known).changed.isEmpty)
      var second = all[1]
      second.disabled = true
      try await store.update(second, audit: [])
      try await store.remove(relyingParty: all[2].id, audit: [])
      let (changed, left) = try await store.relyingParties(besides: known)
      #expect(changed.map(\.name) == ["b"] && changed.first?.disabled == true && changed.first?.version == 2)
      #expect(left == [all[0].id, all[1].id])
    },
    .init("a name and an entityID are given once, and a refused write leaves nothing, not even its audit row") { (store: Store) async throws in
      try await store.add(Example.party("wiki"), audit: [])
      await expectConflict { try await store.add(Example.party("wiki"), audit: [Sample.event(.relyingPartyAdded)]) }
      var thief = Example.party("other")
      thief.entityID = "https://wiki.example/sp"
      await expectConflict { try await store.add(thief, audit: [Sample.event(.relyingPartyAdded)]) }
      #expect(try await store.relyingParties().count == 1)
      #expect(try await store.find(AuditQuery()).isEmpty)
    },
    .init("an update of what has moved on is a conflict, of what is gone not found") { (store: Store) async throws in
      try await store.add(Example.party("wiki"), audit: [])
      let first = try #require(try await store.relyingParties().first)
      try await store.update(first, audit: [])
      await expectConflict { try await store.update(first, audit: []) }
      try await store.remove(relyingParty: first.id, audit: [])
      await expectNotFound { try await store.update(first, audit: []) }
      await expectNotFound { try await store.remove(relyingParty: first.id, audit: []) }
    },
  ]
}

/// What every `FederationSettingsStore` must keep.
package enum FederationSettingsStoreContract {
  package typealias Store = any FederationSettingsStore & AuditLog

  package static let sentences: [ContractSentence<Store>] = [
    .init("the entityID is put by compare-and-swap") { (store: Store) async throws in
      #expect(try await store.federationSettings() == nil)
      try await store.putFederationSettings(FederationSettings(entityID: "https://a"), audit: [])
      let first = try #require(try await store.federationSettings())
      #expect(first == FederationSettings(entityID: "https://a", version: 1))
      try await store.putFederationSettings(FederationSettings(entityID: "https://b", version: 1), audit: [])
      await expectConflict { try await store.putFederationSettings(first, audit: []) }
      #expect(try await store.federationSettings()?.entityID == "https://b")
    },
    .init("endpoints and networks are kept with it, and gone when they are taken away") { (store: Store) async throws in
      var settings = FederationSettings(
        entityID: "https://a", trustEndpoints: [TrustEndpointRule(endpoint: .usernameMixed13, networks: ["10.0.0.0/8"])],
        corporateNetworks: ["2001:db8::/32"])
      try await store.putFederationSettings(settings, audit: [])
      settings.version = 1
      #expect(try await store.federationSettings() == settings)
      (settings.trustEndpoints, settings.corporateNetworks) = ([], [])
      try await store.putFederationSettings(settings, audit: [])
      #expect(try await store.federationSettings() == FederationSettings(entityID: "https://a", version: 2))
    },
  ]
}

/// What every `SessionStore` must keep.
package enum SessionStoreContract {
  package typealias Store = any SessionStore & RelyingPartyStore & FederationStore & LockoutStore & AuditLog

  package static let sentences: [ContractSentence<Store>] = [
    .init("who is blocked gets no session, and nothing is audited; who is unblocked gets one") { (store: Store) async throws in
      let name = LockoutName(realm: Sample.realm, key: "alice")
      try await store.learn(name, object: Example.object.id, policy: LockoutPolicy(), now: Sample.time)
      try await store.setBlocked(true, name, now: Sample.time, audit: [])
      #expect(try await !store.begin(Example.session(1), replacing: nil, audit: [Sample.event(.sessionBegan)]))
      #expect(try await store.session(digest: Sample.digest(1), now: Sample.time) == nil)
      #expect(try await store.find(AuditQuery()).isEmpty)
      try await store.setBlocked(false, name, now: Sample.time, audit: [])
      #expect(try await store.begin(Example.session(1), replacing: nil, audit: []))
    },
    .init("a session is read back until it ends, and no longer") { (store: Store) async throws in
      #expect(try await store.begin(Example.session(1), replacing: nil, audit: [Sample.event(.sessionBegan)]))
      #expect(try await store.session(digest: Sample.digest(1), now: Sample.time) == Example.session(1))
      #expect(try await store.session(digest: Sample.digest(2), now: Sample.time) == nil)
      #expect(try await store.session(digest: Sample.digest(1), now: Sample.time.adding(.seconds(60))) == nil)
      try await store.forgetSessions(now: Sample.time.adding(.seconds(60)))
      #expect(try await store.session(digest: Sample.digest(1), now: Sample.time) == nil)
    },
    .init("what ends is gone, and only an end that happened is audited") { (store: Store) async throws in
      #expect(try await store.begin(Example.session(1), replacing: nil, audit: []))
      #expect(try await store.end(session: Sample.digest(1), audit: [Sample.event(.sessionEnded)]))
      #expect(try await !store.end(session: Sample.digest(1), audit: [Sample.event(.sessionEnded)]))
      #expect(try await store.find(AuditQuery()).count == 1)
    },
    .init("all sessions of a person end together, and nobody else's") { (store: Store) async throws in
      let other = DirectoryObject(realm: Sample.realm, id: Identifier())
      #expect(try await store.begin(Example.session(1), replacing: nil, audit: []))
      #expect(try await store.begin(Example.session(2), replacing: nil, audit: []))
      #expect(try await store.begin(Example.session(3, of: other), replacing: nil, audit: []))
      #expect(try await store.endSessions(of: Example.object, audit: [Sample.event(.sessionEnded)]) == 2)
      #expect(try await store.session(digest: Sample.digest(2), now: Sample.time) == nil)
      #expect(try await store.session(digest: Sample.digest(3), now: Sample.time) != nil)
    },
    .init("every session ends at once, whosever it is") { (store: Store) async throws in
      let other = DirectoryObject(realm: Sample.realm, id: Identifier())
      #expect(try await store.endAllSessions(audit: [Sample.event(.sessionEnded)]) == 0)
      #expect(try await store.begin(Example.session(1), replacing: nil, audit: []))
      #expect(try await store.begin(Example.session(2, of: other), replacing: nil, audit: []))
      #expect(try await store.endAllSessions(audit: [Sample.event(.sessionEnded)]) == 2)
      for byte in [UInt8(1), 2] { #expect(try await store.session(digest: Sample.digest(byte), now: Sample.time) == nil) }
      #expect(try await store.find(AuditQuery()).count == 1)
    },
    .init("a session that replaces one of the same person takes over its relying parties; one of another person takes none") {
      (store: Store) async throws in
      let wiki = Example.party("wiki")
      try await store.add(wiki, audit: [])
      #expect(try await store.begin(Example.session(1), replacing: nil, audit: []))
      try await store.recordIssue(session: Sample.digest(1), participant: Example.participant(wiki, "n"), audit: [])
      #expect(try await store.begin(Example.session(2), replacing: Sample.digest(1), audit: []))
      #expect(try await store.session(digest: Sample.digest(1), now: Sample.time) == nil)
      #expect(try await store.participants(of: Sample.digest(2)) == [Example.participant(wiki, "n")])
      let other = DirectoryObject(realm: Sample.realm, id: Identifier())
      #expect(try await store.begin(Example.session(3, of: other), replacing: Sample.digest(2), audit: []))
      #expect(try await store.session(digest: Sample.digest(2), now: Sample.time) == nil)
      #expect(try await store.participants(of: Sample.digest(3)).isEmpty)
    },
  ]
}

/// What every `FederationStore` must keep; sessions and relying parties are of the same store.
package enum FederationStoreContract {
  package typealias Store = any RelyingPartyStore & SessionStore & FederationStore & AuditLog

  package static let sentences: [ContractSentence<Store>] = [
    .init("a token is recorded for a living session only, its participant once, with the name that it had last") { (store: Store) async throws in
      let wiki = Example.party("wiki")
      try await store.add(wiki, audit: [])
      await expectNotFound {
        try await store.recordIssue(session: Sample.digest(1), participant: Example.participant(wiki, "n"), audit: [Sample.event(.tokenIssued)])
      }
      #expect(try await store.find(AuditQuery()).isEmpty)
      #expect(try await store.begin(Example.session(1), replacing: nil, audit: []))
      try await store.recordIssue(session: Sample.digest(1), participant: Example.participant(wiki, "n"), audit: [Sample.event(.tokenIssued)])
      try await store.recordIssue(session: Sample.digest(1), participant: Example.participant(wiki, "m"), audit: [Sample.event(.tokenIssued)])
      #expect(try await store.participants(of: Sample.digest(1)) == [Example.participant(wiki, "m")])
      #expect(try await store.find(AuditQuery()).count == 2)
    },
    .init("the sessions that a name means are found at its relying party only, by every index or by one") { (store: Store) async throws in
      let (wiki, blog) = (Example.party("wiki"), Example.party("blog"))
      try await store.add(wiki, audit: [])
      try await store.add(blog, audit: [])
      for byte in 1...2 as ClosedRange<UInt8> {
        #expect(try await store.begin(Example.session(byte), replacing: nil, audit: []))
        try await store.recordIssue(session: Sample.digest(byte), participant: Example.participant(wiki, "n", index: "_\(byte)"), audit: [])
      }
      let name = NameID("n", format: NameIDFormat.persistent.rawValue)
      #expect(Set(try await store.sessions(of: wiki.id, name: name, indexes: [])) == [Sample.digest(1), Sample.digest(2)])
      #expect(try await store.sessions(of: wiki.id, name: name, indexes: ["_2"]) == [Sample.digest(2)])
      #expect(try await store.sessions(of: blog.id, name: name, indexes: []).isEmpty)
      #expect(try await store.sessions(of: wiki.id, name: NameID("n"), indexes: []).isEmpty)
      #expect(
        try await store.sessions(of: wiki.id, name: NameID("n", format: NameIDFormat.persistent.rawValue, spNameQualifier: "x"), indexes: []).isEmpty)
      try await store.remove(relyingParty: wiki.id, audit: [])
      #expect(try await store.sessions(of: wiki.id, name: name, indexes: []).isEmpty)
    },
    .init("a persistent name is made once and never another, and goes with its relying party") { (store: Store) async throws in
      let wiki = Example.party("wiki")
      try await store.add(wiki, audit: [])
      #expect(try await store.persistentName(of: Example.object, at: wiki.id) == nil)
      #expect(try await store.makePersistentName("a", of: Example.object, at: wiki.id, audit: [Sample.event(.persistentNameMade)]) == "a")
      #expect(try await store.makePersistentName("b", of: Example.object, at: wiki.id, audit: [Sample.event(.persistentNameMade)]) == "a")
      #expect(try await store.persistentName(of: Example.object, at: wiki.id) == "a")
      #expect(try await store.find(AuditQuery()).count == 1)
      try await store.remove(relyingParty: wiki.id, audit: [])
      try await store.add(wiki, audit: [])
      #expect(try await store.persistentName(of: Example.object, at: wiki.id) == nil)
    },
    .init("a message is new once, for its issuer, until its time is over") { (store: Store) async throws in
      let until = Sample.time.adding(.seconds(10))
      #expect(try await store.rememberMessage("_1", issuer: "a", until: until, now: Sample.time))
      #expect(try await !store.rememberMessage("_1", issuer: "a", until: until, now: Sample.time))
      #expect(try await store.rememberMessage("_1", issuer: "b", until: until, now: Sample.time))
      try await store.forgetMessages(now: Sample.time)
      #expect(try await !store.rememberMessage("_1", issuer: "a", until: until, now: Sample.time))
      #expect(try await store.rememberMessage("_1", issuer: "a", until: until.adding(.seconds(10)), now: until))
    },
    .init("who brought a message may bring it again; nobody else may, however often") { (store: Store) async throws in
      let until = Sample.time.adding(.seconds(10))
      #expect(try await store.rememberMessage("_1", issuer: "a", holder: [1], until: until, now: Sample.time))
      #expect(try await store.rememberMessage("_1", issuer: "a", holder: [1], until: until, now: Sample.time))
      for _ in 0..<2 { #expect(try await !store.rememberMessage("_1", issuer: "a", holder: [2], until: until, now: Sample.time)) }
      #expect(try await !store.rememberMessage("_1", issuer: "a", until: until, now: Sample.time))
    },
    .init("of a thousand parallel claims to a message exactly one is the first") { (store: Store) async throws in
      let firsts = try await withThrowingTaskGroup(of: Bool.self) { group in
        for _ in 0..<1000 {
          group.addTask { try await store.rememberMessage("_1", issuer: "a", until: Sample.time.adding(.seconds(10)), now: Sample.time) }
        }
        return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
      }
      #expect(firsts == 1)
    },
  ]
}
