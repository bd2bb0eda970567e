import Bytes
import GatehouseTesting
import Identity
import Testing

@testable import PassThrough

@Suite("Canaries")
struct CanaryTests {
  let agent = Identifier()
  let instance = Identifier()

  func realm() throws -> RealmName { try #require(RealmName("contoso.com")) }

  func yes() throws -> Verdict {
    .accepted(AcceptedPerson(object: DirectoryObject(realm: try realm(), id: Identifier()), immutableID: "", userPrincipalName: "canary"))
  }

  let no = Verdict.refused(Refusal(.wrongPassword))

  /// A hub in which the agents are connected.
  func hub(_ agents: [Identifier], instance: Identifier) throws -> HubState {
    var hub = HubState()
    _ = hub.guardRealms([try realm()], now: 0)
    for (index, agent) in agents.enumerated() {
      for poll in 0..<4 { _ = hub.poll(index * 10 + poll, agent: agent, realms: [try realm()], instance: instance, now: 0) }
    }
    return hub
  }

  func question() throws -> Question {
    Question(
      realm: try realm(), userName: try #require(UserName("alice")), password: Password(Secret("x".utf8)), wanting: .none,
      deadline: Deadline(after: .seconds(8)))
  }

  @Test("Before its first question an agent answers one that it must refuse and one that it must accept; what is asked meanwhile waits")
  func first() throws {
    var hub = try hub([agent], instance: instance)
    let waiting = try question()
    let late = try question()
    #expect(hub.ask(waiting, deadline: 8000, now: 1, random: 0).isEmpty)
    #expect(hub.ask(late, deadline: 8000, now: 1, random: 0).isEmpty)
    #expect(hub.expected(waiting.id, from: agent) == nil)
    var canaries = CanaryState(interval: 30_000)
    var random = SeededGenerator(seed: 1)
    let probes = canaries.due(sessions: hub.sessions, realms: [try realm()], now: 2, using: &random)
    #expect(Set(probes.map(\.kind)) == [.wrong, .right])
    #expect(canaries.due(sessions: hub.sessions, realms: [try realm()], now: 3, using: &random) == [], "they are under way")
    for probe in probes {
      // The agent gets it, proven or not.
      let canary = try question()
      _ = hub.ask(canary, to: .only(agent), deadline: 8000, now: 3, random: 0)
      #expect(hub.expected(canary.id, from: agent) != nil)
      if let effect = canaries.concluded(probe, probe.kind == .wrong ? no : try yes(), now: 5, using: &random) {
        #expect(effect == .prove(.init(agent: agent, realm: try realm()), instance: instance))
        _ = hub.prove(agent: agent, instance: instance, realm: try realm(), now: 5)
      }
    }
    #expect(hub.expected(waiting.id, from: agent) != nil && hub.expected(late.id, from: agent) != nil)
  }

  @Test("A process that comes anew is proven anew")
  func anew() throws {
    var hub = try hub([agent], instance: instance)
    _ = hub.prove(agent: agent, instance: instance, realm: try realm(), now: 1)
    let next = Identifier()
    for connection in 0..<4 { _ = hub.connectionGone(UInt(connection), agent: agent, now: 2) }
    _ = hub.poll(50, agent: agent, realms: [try realm()], instance: next, now: 3)
    let question = try question()
    _ = hub.ask(question, deadline: 8000, now: 4, random: 0)
    #expect(hub.expected(question.id, from: agent) == nil)
    _ = hub.prove(agent: agent, instance: instance, realm: try realm(), now: 5)
    #expect(hub.expected(question.id, from: agent) == nil, "that was about the one before")
    _ = hub.prove(agent: agent, instance: next, realm: try realm(), now: 6)
    #expect(hub.expected(question.id, from: agent) != nil)
  }

  @Test("A yes to the wrong password leads to quarantine; could-not-find-out proves nothing and is asked again", arguments: [true, false])
  func wrong(lies: Bool) throws {
    let hub = try hub([agent], instance: instance)
    var canaries = CanaryState(interval: 30_000)
    var random = SeededGenerator(seed: 2)
    let probes = canaries.due(sessions: hub.sessions, realms: [try realm()], now: 0, using: &random)
    let wrong = try #require(probes.first { $0.kind == .wrong })
    let right = try #require(probes.first { $0.kind == .right })
    #expect(given(canaries.concluded(right, try yes(), now: 1, using: &random)) == nil)
    guard !lies else {
      #expect(given(canaries.concluded(wrong, try yes(), now: 1, using: &random)) == .quarantine(wrong.subject))
      return
    }
    for verdict in [Verdict.unknown(.directoryUnreachable), .refused(Refusal(.passwordExpired))] {
      #expect(given(canaries.concluded(wrong, verdict, now: 1, using: &random)) == nil)
      #expect(given(canaries.due(sessions: hub.sessions, realms: [try realm()], now: 1501, using: &random)).map(\.kind) == [.wrong])
    }
    #expect(given(canaries.unproven(now: 16_000)).map(\.subject) == [wrong.subject])
    #expect(given(canaries.concluded(wrong, no, now: 2, using: &random)) == .prove(wrong.subject, instance: instance))
    #expect(given(canaries.unproven(now: 16_000)).isEmpty)
  }

  @Test("A lie that was told by a process that has gone still counts")
  func lateLie() throws {
    var canaries = CanaryState(interval: 30_000)
    var random = SeededGenerator(seed: 3)
    let probe = CanaryState.Probe(subject: .init(agent: agent, realm: try realm()), instance: instance, kind: .wrong)
    #expect(given(canaries.concluded(probe, try yes(), now: 1, using: &random)) == .quarantine(probe.subject))
  }

  @Test("Whenever an agent turns, a wrong password reaches it within fifty seconds, and not at a time that could be foreseen")
  func distribution() throws {
    var hub = try hub([agent], instance: instance)
    _ = hub.prove(agent: agent, instance: instance, realm: try realm(), now: 0)
    var canaries = CanaryState(interval: 30_000)
    var random = SeededGenerator(seed: 4)
    var last: [CanaryState.Kind: HubTime] = [:]
    var gaps: [HubTime] = []
    for now in stride(from: HubTime(0), to: 40_000_000, by: 100) {
      for probe in canaries.due(sessions: hub.sessions, realms: [try realm()], now: now, using: &random) {
        if let before = last[probe.kind] { gaps.append(now - before) }
        last[probe.kind] = now
        _ = canaries.concluded(probe, probe.kind == .wrong ? no : try yes(), now: now, using: &random)
      }
    }
    #expect(gaps.count > 2000)
    #expect((gaps.max() ?? .max) <= 50_100 && (gaps.min() ?? 0) >= 10_000)
    let mean = Double(gaps.reduce(0, +)) / Double(gaps.count)
    #expect((29_000...31_000).contains(mean))
  }

  @Test("A right password that is refused is kept until it is accepted, for each agent")
  func right() throws {
    let other = Identifier()
    let hub = try hub([agent, other], instance: instance)
    var canaries = CanaryState(interval: 30_000)
    var random = SeededGenerator(seed: 5)
    let probes = canaries.due(sessions: hub.sessions, realms: [try realm()], now: 0, using: &random).filter { $0.kind == .right }
    for probe in probes { _ = canaries.concluded(probe, no, now: 1, using: &random) }
    #expect(canaries.refusals[try realm()]?.count == 2)
    _ = canaries.concluded(try #require(probes.first), try yes(), now: 2, using: &random)
    #expect(canaries.refusals[try realm()]?.count == 1)
    _ = canaries.concluded(try #require(probes.last), .unknown(.directoryBusy), now: 3, using: &random)
    #expect(canaries.refusals[try realm()]?.count == 1, "could-not-find-out takes nothing back")
  }

  @Test("The wrong password looks like the right one and is another, ten thousand times")
  func wrongPasswords() throws {
    let canary = Canary(
      realm: try realm(), userName: try #require(UserName("canary")), password: try #require(Password(Secret("Grün-Papagei.27".utf8))))
    var random = SeededGenerator(seed: 6)
    var seen: Set<[UInt8]> = []
    for _ in 0..<10_000 {
      let wrong = try #require(canary.wrongPassword(using: &random))
      #expect(!wrong.secret.matches(canary.password.secret))
      seen.insert(wrong.secret.withBytes { Array($0) })
      #expect(wrong.secret.count == canary.password.secret.count)
    }
    #expect(seen.count == 10_000)
  }

  @Test("Questions wait for agents that are not proven yet, but not for ever, and canaries are nobody else's")
  func patience() throws {
    var hub = try hub([agent], instance: instance)
    let waiting = try question()
    _ = hub.ask(waiting, deadline: 8000, now: 0, random: 0)
    func causes(_ actions: [HubState.Action]) -> [Verdict] {
      actions.compactMap { if case .finish(_, let judgement, _) = $0 { judgement.verdict } else { nil } }
    }
    #expect(causes(hub.tick(now: HubState.provingPatience)) == [.unknown(.noAgent)])
    let canary = try question()
    _ = hub.ask(canary, to: .only(agent), deadline: 8000, now: 3000, random: 0)
    #expect(causes(hub.drop(agent: agent, now: 3001)) == [.unknown(.agentLost)])
  }

  @Test("The register keeps one canary for each realm, encrypted, and forgets it when it is removed")
  func register() async throws {
    let store = InMemoryStore()
    let realm = try realm()
    let other = try #require(RealmName("fabrikam.com"))
    let register = CanaryRegister(store: store, protector: Shifting())
    let canary = Canary(
      realm: realm, userName: try #require(UserName("canary@contoso.com")), password: try #require(Password(Secret("Correct.Horse.1".utf8))))
    try await register.set(canary, audit: [])
    try await register.set(canary, audit: [])
    let stored = try #require(try await store.document("canary contoso.com"))
    #expect(!String(decoding: stored.ciphertext, as: UTF8.self).contains("Horse"))
    let second = CanaryRegister(store: store, protector: Shifting())
    try await second.refresh(realms: [realm, other])
    #expect(second.realms == [realm])
    let read = try #require(second.canary(of: realm))
    #expect(read.userName.text == "canary@contoso.com" && read.password.secret.matches(canary.password.secret))
    #expect(try await register.remove(realm: realm, audit: []))
    #expect(try await !register.remove(realm: realm, audit: []))
    try await second.refresh(realms: [realm, other])
    #expect(second.realms.isEmpty)
    try await register.set(canary, audit: [])
    #expect(register.realms == [realm])
  }
}

/// What changes a struct cannot be the direct subject of an expectation.
private func given<Value>(_ value: Value) -> Value { value }

/// A protector for tests: what it writes is not what it was given, and it opens only under the same name.
private struct Shifting: SecretProtector {
  func protect(_ secret: Secret, context: String) throws -> [UInt8] {
    [UInt8(context.utf8.count)] + secret.withBytes { $0.map { $0 &+ 1 } }
  }
  func reveal(_ ciphertext: [UInt8], context: String) throws -> Secret {
    guard ciphertext.first == UInt8(context.utf8.count) else { throw StoreError.conflict("moved") }
    return Secret(ciphertext.dropFirst().map { $0 &- 1 })
  }
}
