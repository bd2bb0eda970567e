import Bytes
import Federation
import Identity
import PassThrough
import SAML
import SignIn
import Testing

/// What every `RevocationStore` must keep, and what the ports that shut somebody out must record in it.
package enum RevocationStoreContract {
  package typealias Store = any RevocationStore & AgentStore & FrontEndStore & RelyingPartyStore & LockoutStore & AuditLog

  private static func retired(_ subject: String) -> Revocation {
    Revocation(.signingKeyRetired, subject: subject, time: Sample.time, name: "key \u{0} é", details: ["family": "rsa"])
  }

  private static func facts(_ store: Store) async throws -> [Revocation] {
    try await store.revocations(after: 0, limit: 10_000).map(\.revocation)
  }

  package static let sentences: [ContractSentence<Store>] = [
    .init("facts are read back in their order, numbered from 1 without gaps, with their audit events") { (store: Store) async throws in
      #expect(try await store.revocations(after: 0, limit: 10).isEmpty)
      try await store.record([retired("a"), retired("b")], audit: [Sample.event(.signingKeyMade)])
      try await store.record([Revocation(.restored, subject: "1", time: Sample.time, name: "epoch 1")], audit: [])
      let all = try await store.revocations(after: 0, limit: 10)
      #expect(all.map(\.position) == [1, 2, 3])
      #expect(all.first?.revocation == retired("a"))
      #expect(try await store.revocations(after: 1, limit: 1).map(\.position) == [2])
      #expect(try await store.revocations(of: .signingKeyRetired).map(\.position) == [1, 2])
      #expect(try await store.find(AuditQuery()).map(\.event.kind) == [.signingKeyMade])
    },
    .init("an agent's fact follows each change of it: what is revoked, which certificates are good") { (store: Store) async throws in
      let token = EnrolmentTokenRecord(
        digest: Sample.digest(1), realms: [Sample.realm], agentName: nil, made: Sample.time, expires: Sample.time.adding(.seconds(600)))
      try await store.addToken(token, audit: [])
      var agent = AgentRecord(
        name: "one", realms: [Sample.realm], certificates: [.init(digest: Sample.digest(2), notAfter: Sample.time)], enrolled: Sample.time)
      try await store.enrol(agent, tokenDigest: token.digest, now: Sample.time, audit: [])
      agent = try #require(try await store.agent(id: agent.id))
      agent.certificates.insert(.init(digest: Sample.digest(3), notAfter: Sample.time), at: 0)
      agent.revoked = Sample.time
      try await store.update(agent, audit: [])
      let found = try await facts(store)
      #expect(found.map(\.kind) == [.agent, .agent])
      #expect(Set(found.map(\.subject)) == [agent.id.description])
      #expect(found.map { $0.details["revoked"] } == [nil, "\(Sample.time.milliseconds)"])
      #expect(found.last?.details["certificates"]?.split(separator: " ").count == 2)
    },
    .init("a front-end's fact follows each change of it, and its end") { (store: Store) async throws in
      let frontEnd = FrontEnd(name: "portal", realms: [Sample.realm], keys: [.init(digest: Sample.digest(4), made: Sample.time)])
      try await store.add(frontEnd, audit: [])
      var changed = try #require(try await store.frontEnds().first)
      changed.keys = [.init(digest: Sample.digest(5), made: Sample.time)]
      try await store.update(changed, audit: [])
      try await store.remove(frontEnd: frontEnd.id, audit: [])
      let found = try await facts(store)
      #expect(found.map(\.kind) == [.frontEnd, .frontEnd, .frontEnd])
      #expect(found[0].details["keys"] != found[1].details["keys"])
      #expect(found.map { $0.details["removed"] } == [nil, nil, "true"])
    },
    .init("that a relying party was disabled, enabled or removed is a fact; what else changes of it is none") { (store: Store) async throws in
      let wiki = RelyingParty(
        name: "wiki", entityID: "https://wiki.example/sp",
        consumers: [.init(binding: Binding.post.rawValue, location: "https://wiki.example/acs", index: 1, isDefault: true)])
      try await store.add(wiki, audit: [])
      for (name, disabled) in [("wiki", false), ("wiki", true), ("wiki2", true), ("wiki2", false)] {
        var party = try #require(try await store.relyingParties().first)
        (party.name, party.disabled) = (name, disabled)
        try await store.update(party, audit: [])
      }
      try await store.remove(relyingParty: wiki.id, audit: [])
      let found = try await facts(store)
      #expect(found.map(\.kind) == [.relyingParty, .relyingParty, .relyingParty])
      #expect(found.map { $0.details["disabled"] } == ["true", "false", nil])
      #expect(found.last?.details["removed"] == "true")
    },
    .init("a block and its lifting are facts; a write that is refused leaves none") { (store: Store) async throws in
      let name = LockoutName(realm: Sample.realm, key: "alice")
      try await store.setBlocked(true, name, now: Sample.time, audit: [])
      try await store.setBlocked(false, name, now: Sample.time, audit: [])
      var ghost = FrontEnd(name: "ghost", realms: [])
      ghost.version = 9
      await expectNotFound { try await store.update(ghost, audit: []) }
      let found = try await facts(store)
      #expect(found.map(\.kind) == [.block, .block])
      #expect(found.map { $0.details["blocked"] } == ["true", "false"])
      #expect(found.allSatisfy { $0.name == "alice" })
    },
  ]
}
