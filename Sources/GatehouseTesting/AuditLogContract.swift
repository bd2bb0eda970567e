import Bytes
import Identity
import Testing

/// What every `AuditLog` must keep.
package enum AuditLogContract {
  package typealias Store = any AuditLog

  package static let sentences: [ContractSentence<Store>] = writing + finding + pruning

  private static func fill(_ store: Store, _ count: Int) async throws {
    for number in 1...count { try await store.append([Sample.event(subject: "user\(number)", at: Sample.time.adding(.seconds(number)))]) }
  }

  private static func ownChain(_ store: Store) async throws -> AuditChainState {
    try #require(try await store.chains().first)
  }

  /// How many rows a query finds.
  private static let writing: [ContractSentence<Store>] = [
    .init("an event is read back as it was written") { (store: Store) async throws in
      let event = AuditEvent(
        time: Instant(milliseconds: -1), kind: .signIn, reference: Reference(), actor: "front-end \"é\"", realm: Sample.realm,
        subject: "a\r\nb\u{1b}[31m\u{2028}\u{202e}\u{0}\\ 😀", object: Identifier(), outcome: "refused:wrongPassword",
        details: ["b": "2", "a": "\u{7f}", "é": ""],
        trace: [TraceNote(.bind, "dc1 said 52e", milliseconds: 1.25), TraceNote(.verdict, "")])
      try await store.append([event])
      let chain = try await ownChain(store)
      let rows = try await store.rows(chain: chain.chain, after: 0, limit: 10)
      #expect(rows.map(\.event) == [event])
      #expect(rows.first?.event.canonical == event.canonical)
    },
    .init("rows are numbered from 1 without gaps, and each hash covers the row before") { (store: Store) async throws in
      try await fill(store, 5)
      let chain = try await ownChain(store)
      let rows = try await store.rows(chain: chain.chain, after: 0, limit: 10)
      #expect(rows.map(\.sequence) == [1, 2, 3, 4, 5])
      var hash = AuditChain.genesis
      for row in rows {
        hash = AuditChain.hash(after: hash, chain: chain.chain, sequence: row.sequence, event: row.event.canonical)
        #expect(row.hash == hash)
      }
      #expect(chain.first == 1 && chain.last == 5 && chain.lastHash == hash && chain.anchor == AuditChain.genesis && chain.exportedThrough == 0)
    },
    .init("a hundred parallel appends make one chain") { (store: Store) async throws in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<100 { group.addTask { try await store.append([Sample.event(subject: "\(number)"), Sample.event()]) } }
        try await group.waitForAll()
      }
      let chain = try await ownChain(store)
      let rows = try await store.rows(chain: chain.chain, after: 0, limit: 1000)
      #expect(rows.map(\.sequence) == Array(1...200))
      #expect(Set(rows.compactMap(\.event.subject)).count == 100)
    },
    .init("texts beyond their limit are cut, not refused") { (store: Store) async throws in
      var event = Sample.event(subject: String(repeating: "é", count: 65_536))
      event.trace = [TraceNote(.bind, "", milliseconds: .nan)]
      try await store.append([event])
      let rows = try await store.rows(chain: try await ownChain(store).chain, after: 0, limit: 1)
      #expect(rows.first?.event.subject?.utf8.count == 512)
      #expect(rows.first?.event.trace.first?.milliseconds == nil)
    },
  ]

  private static func found(_ store: Store, _ change: (inout AuditQuery) -> Void) async throws -> Int {
    var query = AuditQuery()
    change(&query)
    return try await store.find(query).count
  }

  private static let finding: [ContractSentence<Store>] = [
    .init("finding answers the newest first, at most as many as asked for") { (store: Store) async throws in
      try await fill(store, 5)
      var query = AuditQuery()
      query.limit = 2
      #expect(try await store.find(query).compactMap(\.event.subject) == ["user5", "user4"])
      query.limit = -1
      #expect(try await store.find(query).count == 1)
    },
    .init("what an agent answered is found by the agent, a page at a time") { (store: Store) async throws in
      let (one, other) = (Identifier(), Identifier())
      for number in 1...6 {
        var event = Sample.event(.signIn, subject: "user\(number)", at: Sample.time.adding(.seconds(number)))
        event.details["agent"] = (number % 2 == 0 ? one : other).description
        try await store.append([event])
      }
      // Not a sign-in, whatever its details say.
      var event = Sample.event(.agentRevoked)
      event.details["agent"] = one.description
      try await store.append([event])
      var query = AuditQuery()
      query.agent = one
      query.limit = 2
      #expect(try await store.find(query).compactMap(\.event.subject) == ["user6", "user4"])
      query.until = Sample.time.adding(.seconds(3))
      #expect(try await store.find(query).compactMap(\.event.subject) == ["user2"])
      query.until = nil
      query.subject = "user4"
      #expect(try await store.find(query).count == 1)
      query.agent = Identifier()
      #expect(try await store.find(query).isEmpty)
    },
    .init("every given field must match") { (store: Store) async throws in
      let reference = Reference()
      var event = Sample.event(.userBlocked, subject: "alice")
      event.reference = reference
      try await store.append([event, Sample.event(subject: "alice"), Sample.event(subject: "bob", at: Sample.time.adding(.seconds(9)))])
      #expect(try await found(store) { $0.reference = reference } == 1)
      #expect(try await found(store) { $0.reference = Reference() } == 0)
      #expect(try await found(store) { $0.subject = "alice" } == 2)
      #expect(try await found(store) { $0.subject = "ALICE" } == 0)
      #expect(
        try await found(store) {
          $0.subject = "alice"; $0.kinds = [.userBlocked, .userUnblocked]
        } == 1)
      #expect(
        try await found(store) {
          $0.reference = reference; $0.subject = "bob"
        } == 0)
      #expect(
        try await found(store) {
          $0.reference = reference; $0.kinds = [.signIn]
        } == 0)
      #expect(try await found(store) { $0.actor = "admin:test" } == 3)
      #expect(try await found(store) { $0.actor = "admin:other" } == 0)
      #expect(try await found(store) { $0.kinds = [.signIn] } == 2)
      #expect(try await found(store) { $0.since = Sample.time.adding(.seconds(1)) } == 1)
      #expect(try await found(store) { $0.until = Sample.time } == 2)
      #expect(try await found(store) { $0.subject = "' OR 1=1 --" } == 0)
    },
    .init("the rows of a chain are paged by sequence") { (store: Store) async throws in
      try await fill(store, 5)
      let chain = try await ownChain(store).chain
      #expect(try await store.rows(chain: chain, after: 2, limit: 2).map(\.sequence) == [3, 4])
      #expect(try await store.rows(chain: chain, after: 5, limit: 2).isEmpty)
      #expect(try await store.rows(chain: "no such chain", after: 0, limit: 2).isEmpty)
    },
  ]

  private static let pruning: [ContractSentence<Store>] = [
    .init("what was not exported is not pruned") { (store: Store) async throws in
      try await fill(store, 3)
      let chain = try await ownChain(store).chain
      await expectConflict { try await store.prune(chain: chain, through: 2, event: Sample.event(.auditPruned)) }
      try await store.markExported(chain: chain, through: 1, event: Sample.event(.auditExported))
      await expectConflict { try await store.prune(chain: chain, through: 2, event: Sample.event(.auditPruned)) }
      #expect(try await store.rows(chain: chain, after: 0, limit: 10).count == 4)
    },
    .init("pruning keeps the anchor, tells itself, and the chain goes on") { (store: Store) async throws in
      try await fill(store, 3)
      let chain = try await ownChain(store).chain
      let rows = try await store.rows(chain: chain, after: 0, limit: 10)
      try await store.markExported(chain: chain, through: 3, event: Sample.event(.auditExported))
      try await store.prune(chain: chain, through: 2, event: Sample.event(.auditPruned))
      let state = try await ownChain(store)
      #expect(state.first == 3 && state.last == 5 && state.anchor == rows[1].hash && state.exportedThrough == 3)
      #expect(try await store.rows(chain: chain, after: 0, limit: 10).map(\.event.kind) == [.signIn, .auditExported, .auditPruned])
      await expectConflict { try await store.prune(chain: chain, through: 2, event: Sample.event(.auditPruned)) }
    },
    .init("nothing can be exported that does not exist, and exported is never taken back") { (store: Store) async throws in
      try await fill(store, 3)
      let chain = try await ownChain(store).chain
      await expectConflict { try await store.markExported(chain: chain, through: 4, event: Sample.event(.auditExported)) }
      await expectNotFound { try await store.markExported(chain: "no such chain", through: 1, event: Sample.event(.auditExported)) }
      try await store.markExported(chain: chain, through: 3, event: Sample.event(.auditExported))
      try await store.markExported(chain: chain, through: 1, event: Sample.event(.auditExported))
      #expect(try await ownChain(store).exportedThrough == 3)
      await expectConflict { try await store.prune(chain: chain, through: .max, event: Sample.event(.auditPruned)) }
      await expectConflict { try await store.prune(chain: chain, through: -1, event: Sample.event(.auditPruned)) }
    },
  ]
}
