import Bytes
import Identity
import PassThrough
import Testing

/// What every `AgentStore` must keep.
package enum AgentStoreContract {
  package typealias Store = any AgentStore & AuditLog

  private static func agent(_ name: String = "agent-1", certificate: UInt8 = 1) -> AgentRecord {
    AgentRecord(
      name: name, realms: [Sample.realm("fabrikam.com"), Sample.realm],
      certificates: [
        AgentCertificateRecord(digest: Sample.digest(certificate), notAfter: Sample.time.adding(.seconds(86_400))),
        AgentCertificateRecord(digest: Sample.digest(certificate + 100), notAfter: Sample.time),
      ], enrolled: Sample.time)
  }

  private static func token(_ byte: UInt8 = 7) -> EnrolmentTokenRecord {
    EnrolmentTokenRecord(
      digest: Sample.digest(byte), realms: [Sample.realm, Sample.realm("a.example")], agentName: byte == 7 ? "agent-1" : nil, made: Sample.time,
      expires: Sample.time.adding(.seconds(600)))
  }

  /// Adds a token and enrols with it.
  private static func enrol(_ store: Store, _ agent: AgentRecord, token byte: UInt8 = 7) async throws {
    try await store.addToken(token(byte), audit: [])
    try await store.enrol(agent, tokenDigest: Sample.digest(byte), now: Sample.time, audit: [Sample.event(.agentEnrolled)])
  }

  package static let sentences: [ContractSentence<Store>] = enrolling + changing

  private static let enrolling: [ContractSentence<Store>] = [
    .init("a token is read back as it was made, and only its digest finds it") { (store: Store) async throws in
      for byte: UInt8 in [7, 8] {
        try await store.addToken(token(byte), audit: [Sample.event(.enrolmentTokenMade)])
        #expect(try await store.token(digest: Sample.digest(byte)) == token(byte))
      }
      #expect(try await store.token(digest: Sample.digest(1)) == nil)
      await expectConflict { try await store.addToken(token(), audit: []) }
      #expect(try await store.find(AuditQuery()).count == 2)
    },
    .init("enrolling uses the token up and adds the agent, with version 1") { (store: Store) async throws in
      var expected = agent()
      try await enrol(store, expected)
      expected.version = 1
      #expect(try await store.agents() == [expected])
      #expect(try await store.agent(id: expected.id) == expected)
      #expect(try await store.agent(id: Identifier()) == nil)
      #expect(try await store.token(digest: Sample.digest(7))?.used == Sample.time)
    },
    .init("of fifty parallel enrolments with one token exactly one succeeds") { (store: Store) async throws in
      try await store.addToken(token(8), audit: [])
      let successes = await withTaskGroup(of: Bool.self) { group in
        for number: UInt8 in 0..<50 {
          group.addTask {
            let agent = agent("agent-\(number)", certificate: number)
            return (try? await store.enrol(agent, tokenDigest: Sample.digest(8), now: Sample.time, audit: [Sample.event(.agentEnrolled)])) != nil
          }
        }
        return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
      }
      #expect(successes == 1)
      #expect(try await store.agents().count == 1)
      #expect(try await store.find(AuditQuery()).count == 1)
    },
    .init("a token that is unknown, used or expired enrols nobody") { (store: Store) async throws in
      await expectConflict { try await store.enrol(agent(), tokenDigest: Sample.digest(7), now: Sample.time, audit: []) }
      try await enrol(store, agent())
      await expectConflict { try await store.enrol(agent("agent-2", certificate: 2), tokenDigest: Sample.digest(7), now: Sample.time, audit: []) }
      try await store.addToken(token(8), audit: [])
      let end = token(8).expires
      await expectConflict { try await store.enrol(agent("agent-2", certificate: 2), tokenDigest: Sample.digest(8), now: end, audit: []) }
      #expect(try await store.agents().count == 1)
      #expect(try await store.token(digest: Sample.digest(8))?.used == nil)
    },
    .init("an enrolment that is refused for its name leaves the token unused") { (store: Store) async throws in
      try await enrol(store, agent())
      try await store.addToken(token(8), audit: [])
      await expectConflict { try await store.enrol(agent(certificate: 2), tokenDigest: Sample.digest(8), now: Sample.time, audit: []) }
      #expect(try await store.token(digest: Sample.digest(8))?.used == nil)
    },
    .init("the name of a revoked agent may be given again") { (store: Store) async throws in
      try await enrol(store, agent())
      var first = try #require(try await store.agents().first)
      first.revoked = Sample.time
      try await store.update(first, audit: [Sample.event(.agentRevoked)])
      try await enrol(store, agent(certificate: 2), token: 8)
      #expect(try await store.agents().count == 2)
    },
  ]

  private static let changing: [ContractSentence<Store>] = [
    .init("an update replaces the certificates and counts the version up") { (store: Store) async throws in
      try await enrol(store, agent())
      var changed = try #require(try await store.agents().first)
      changed.certificates = [AgentCertificateRecord(digest: Sample.digest(50), notAfter: Sample.time)] + changed.certificates.prefix(1)
      try await store.update(changed, audit: [Sample.event(.agentRenewed)])
      changed.version = 2
      #expect(try await store.agents() == [changed])
      changed.version = 1
      await expectConflict { try await store.update(changed, audit: []) }
      await expectNotFound { try await store.update(agent("other"), audit: []) }
    },
    .init("a quarantine is kept, and lifted again") { (store: Store) async throws in
      try await enrol(store, agent())
      for since in [Sample.time, nil] {
        var changed = try #require(try await store.agents().first)
        changed.quarantined = since
        try await store.update(changed, audit: [Sample.event(.agentQuarantined)])
        #expect(try await store.agents().first?.quarantined == since)
      }
    },
    .init("a certificate belongs to one agent") { (store: Store) async throws in
      try await enrol(store, agent())
      try await store.addToken(token(8), audit: [])
      await expectConflict { try await store.enrol(agent("agent-2"), tokenDigest: Sample.digest(8), now: Sample.time, audit: []) }
    },
    .init("realms are fixed at enrolment, and a revocation is never taken back") { (store: Store) async throws in
      try await enrol(store, agent())
      var changed = try #require(try await store.agents().first)
      changed.realms = [Sample.realm("everything.example")]
      await expectConflict { try await store.update(changed, audit: []) }
      changed = try #require(try await store.agents().first)
      changed.revoked = Sample.time
      try await store.update(changed, audit: [])
      changed.version = 2
      changed.revoked = nil
      await expectConflict { try await store.update(changed, audit: []) }
      #expect(try await store.agents().first?.revoked == Sample.time)
    },
  ]
}
