import Bytes
import CertificateLifecycle
import Cryptography
import GatehouseTesting
import Identity
import Logging
import SAML
import Testing

@testable import Federation

/// A house whose certificates live for a hundred seconds, of which the test is the clock.
final class RolloverHouse: Sendable {
  let house: House
  let ledger: ReadinessLedger
  let rollover: RolloverService
  let steady = ManualTime(Instant(milliseconds: 0))

  var now: Instant { house.time.now }
  var keys: TokenSigningKeys { house.keys }

  init() async throws {
    house = try await House()
    ledger = ReadinessLedger(store: house.store)
    let steady = steady
    rollover = RolloverService(
      keys: house.keys, parties: house.parties, ledger: ledger, audit: house.store, sessions: house.store, newest: nil, now: house.time.reading,
      steady: { steady.now.since(Instant(milliseconds: 0)) }, logger: Logger(label: "test") { _ in SilentLog() })
    _ = try await rollover.changePolicy(actor: "test") {
      $0.certificateDuration = .seconds(100)
      $0.certificateGenerationThreshold = .seconds(40)
      $0.certificatePromotionThreshold = .seconds(20)
      $0.certificateCriticalThreshold = .seconds(10)
      $0.certificateRolloverInterval = .seconds(1)
      $0.certificateRetirement = .seconds(30)
      $0.warnings = [.seconds(30), .seconds(10)]
    }
    // The first keys are of the usual policy: these end in a hundred seconds.
    let end = now.adding(.seconds(100))
    try await keys.change { draft in
      for index in draft.ring.places.indices { draft.ring.places[index].notAfter = end }
      return []
    }
  }

  /// A relying party, with what it is like.
  func party(_ name: String, _ change: (inout RelyingParty) -> Void = { _ in }) async throws -> RelyingParty {
    try await house.register(name, change)
    return try house.party(name)
  }

  /// Time goes on, second by second, and the service looks each time.
  func run(_ seconds: Int, each: (Int) async throws -> Void = { _ in }) async throws {
    for second in 0..<seconds {
      house.time.advance(by: .seconds(1))
      steady.advance(by: .seconds(1))
      try await rollover.tick()
      try await ledger.flush()
      try await each(second)
    }
  }

  func poll(_ party: RelyingParty, by client: String = "192.0.2.7 shibboleth") {
    ledger.notePoll(of: party.id, by: client, keys: keys.published(for: party).map(\.id), now: now)
  }

  func signer(_ party: RelyingParty) -> String? { keys.signer(for: party)?.id }

  func kinds() async -> [AuditKind] { await house.store.events.map(\.kind).filter { $0.rawValue.hasPrefix("signing-key") } }
}

@Suite struct `A rollover` {
  @Test func `makes, shows, promotes and retires by itself, one audited step at a time, and destroys what is over`() async throws {
    let house = try await RolloverHouse()
    let first = try #require(house.keys.ring.primary(of: .rsa)?.id)
    let before = await house.kinds().count
    try await house.run(62)
    let next = try #require(house.keys.ring.next(of: .rsa))
    #expect(next.state == .published && house.keys.published().map(\.id) == [first, next.id])
    try await house.run(20)
    #expect(house.keys.ring.primary(of: .rsa)?.id == next.id && house.keys.ring[first]?.state == .retiring)
    #expect(house.keys.published().map(\.id) == [next.id, first])
    try await house.run(35)
    #expect(house.keys.ring[first]?.state == .retired && house.keys.published().map(\.id) == [next.id])
    #expect(house.keys.signer(id: first) == nil)
    #expect(house.keys.places.contains { $0.place.id == first && !$0.certificate.isEmpty }, "the record is kept")
    let kinds = await house.kinds().dropFirst(before)
    for kind in [AuditKind.signingKeyMade, .signingKeyPublished, .signingKeyPromoted, .signingKeyRetired] {
      #expect(kinds.count { $0 == kind } == 2, "\(kind) of each family, in \(kinds)")
    }
  }

  @Test func `of two nodes at once takes every step once`() async throws {
    let house = try await RolloverHouse()
    let store = house.house.store
    let other = try await TokenSigningKeys.load(store: store, protector: TestProtector(), host: "idp.example", now: house.house.time.reading)
    let steady = house.steady
    let second = RolloverService(
      keys: other, parties: house.house.parties, ledger: ReadinessLedger(store: store), audit: store, sessions: store, newest: nil,
      now: house.house.time.reading, steady: { steady.now.since(Instant(milliseconds: 0)) }, logger: Logger(label: "test") { _ in SilentLog() })
    let before = await house.kinds().count
    try await house.run(115) { _ in
      async let one: Void = house.rollover.tick()
      async let two: Void = second.tick()
      _ = try await (one, two)
      try await other.refresh()
      #expect(other.ring == house.keys.ring || house.keys.ring.fault == nil)
    }
    let kinds = await house.kinds().dropFirst(before)
    for kind in [AuditKind.signingKeyMade, .signingKeyPublished, .signingKeyPromoted, .signingKeyRetired] { #expect(kinds.count { $0 == kind } == 2) }
  }

  @Test func `that cannot be written changes nothing, and goes on when it can`() async throws {
    let house = try await RolloverHouse()
    try await house.run(58)
    let before = house.keys.ring
    await house.house.store.fail(with: .unavailable("read-only"))
    house.house.time.advance(by: .seconds(10))
    house.steady.advance(by: .seconds(10))
    await #expect(throws: StoreError.self) { try await house.rollover.tick() }
    #expect(house.keys.ring == before)
    await house.house.store.fail(with: nil)
    try await house.run(3)
    #expect(house.keys.ring.next(of: .rsa)?.state == .published)
  }

  @Test func `stands still while the clock is wrong, and signs on`() async throws {
    let house = try await RolloverHouse()
    try await house.run(10)
    let party = try await house.party("wiki")
    house.house.time.advance(by: .days(400))
    try await house.run(5)
    #expect(house.rollover.freeze?.jump ?? .zero > .days(399))
    #expect(await house.rollover.alarms().contains { $0.code == .rolloverClock })
    #expect(house.keys.ring.places.count == 2 && house.signer(party) != nil)
    await #expect(throws: RingProblem.self) { _ = try await house.rollover.perform(.prepare(.rsa), dryRun: false, force: false, actor: "admin:eve") }
    house.house.time.advance(by: .zero - .days(400))
    try await house.run(2)
    #expect(house.rollover.freeze == nil && house.keys.ring.places.count == 2)
    house.house.time.advance(by: .days(400))
    try await house.run(1)
    try await house.rollover.trustClock(actor: "admin:eve")
    try await house.run(4)
    #expect(house.keys.ring.next(of: .rsa)?.state == .published)
    #expect(house.keys.ring.primary(of: .rsa)?.notAfter ?? house.now < house.now, "an ended primary signs until the next was shown for long enough")
  }

  @Test func `moves who is ready, leaves who is not, and names that one before it breaks`() async throws {
    let house = try await RolloverHouse()
    let ready = try await house.party("ready")
    let late = try await house.party("late")
    let first = try #require(house.signer(late))
    // Nobody has been seen to read metadata: both are told of early.
    try await house.run(45)
    #expect(await house.rollover.alarms().isEmpty)
    try await house.run(17)
    let next = try #require(house.keys.ring.next(of: .rsa)?.id)
    _ = try await house.rollover.confirm(ready, key: nil, document: nil, detail: "Bob, by telephone", actor: "admin:eve")
    try await house.run(10)
    #expect(house.signer(ready) == first, "not before the key was in metadata for twenty seconds")
    let alarms = await house.rollover.alarms().filter { $0.code == .relyingPartyLagging }
    #expect(alarms.map(\.subject) == ["late"])
    #expect(alarms.first?.remedy.contains("gatehouse certs confirm --rp late") == true)
    try await house.run(12)
    #expect(house.signer(ready) == next && house.signer(late) == first)
    #expect(house.keys.ring.primary(of: .rsa)?.id == first)
    try await house.run(20)
    #expect(house.signer(late) == next, "at the end of the old one")
  }

  @Test func `counts clients that come regularly only, and needs all of them`() async throws {
    let house = try await RolloverHouse()
    let party = try await house.party("farm")
    try await house.run(60) { second in
      if second % 10 == 0 { for node in 1...3 { house.poll(party, by: "192.0.2.\(node)") } }
    }
    try await house.run(3)
    let next = try #require(house.keys.ring.next(of: .rsa)?.id)
    func level() -> ReadinessLevel { house.ledger.record(of: party.id).best(for: next, now: house.now)?.level ?? .unknown }
    house.poll(party, by: "a stranger's browser")
    #expect(level() == .unknown)
    house.poll(party, by: "192.0.2.1")
    house.poll(party, by: "192.0.2.2")
    #expect(level() == .unknown, "one node of the farm has not read it")
    house.poll(party, by: "192.0.2.3")
    #expect(level() == .fetched)
    // What was observed survives a restart.
    try await house.ledger.flush()
    let again = ReadinessLedger(store: house.house.store)
    try await again.refresh()
    #expect(again.record(of: party.id).best(for: next, now: house.now)?.level == .fetched)
    #expect(again.record(of: party.id).regularPollers(house.now).count == 3)
  }

  @Test func `is taken back by itself where users are sent round in circles, with an alarm, and not tried again unasked`() async throws {
    let house = try await RolloverHouse()
    let party = try await house.party("loops")
    _ = try await house.party("other")
    let first = try #require(house.signer(party))
    try await house.run(62)
    _ = try await house.rollover.confirm(party, key: nil, document: nil, detail: nil, actor: "admin:eve")
    try await house.run(20)
    let next = try #require(house.signer(party))
    #expect(next != first)
    for session in [UInt8(1), 2] {
      for _ in 0..<5 { house.rollover.noteToken(party, key: next, session: [session], now: house.now) }
    }
    try await house.run(2)
    #expect(house.signer(party) == first)
    #expect(await house.rollover.alarms().contains { $0.code == .relyingPartyKeyRefused && $0.subject == "loops" })
    try await house.run(20)
    #expect(house.signer(party) == first, "held at the end of the old one, since the new one fails")
    // Mended: the administrator lets it move, and the alarm is gone.
    _ = try await house.rollover.perform(.promote(next, .rsa, parties: [party]), dryRun: false, force: true, actor: "admin:eve")
    #expect(house.signer(party) == next)
    #expect(await !house.rollover.alarms().contains { $0.code == .relyingPartyKeyRefused })
  }

  @Test func `learns that a relying party follows metadata, and moves it early the next time`() async throws {
    let house = try await RolloverHouse()
    let party = try await house.party("follows")
    _ = try await house.party("late") { $0.rollover = RolloverTraits() }
    func cycle(_ seconds: Int) async throws {
      try await house.run(seconds) { second in
        if second % 5 == 0 { house.poll(party) }
        if let key = house.signer(party) { house.rollover.noteToken(party, key: key, session: [UInt8(truncatingIfNeeded: second)], now: house.now) }
      }
    }
    try await cycle(130)
    #expect(house.ledger.record(of: party.id).followed != nil)
    let primary = try #require(house.keys.ring.primary(of: .rsa))
    let left = Int(primary.notAfter.since(house.now).components.seconds)
    try await cycle(max(left - 10, 1))
    #expect(house.signer(party) != primary.id, "moved before the primary ends, by what was learnt")
    #expect(house.keys.ring.primary(of: .rsa)?.id == primary.id)
  }
}

@Suite struct `A relying party` {
  @Test func `that sends its visitors round in circles with the key it has always had is none of a rollover's business`() async throws {
    let house = try await RolloverHouse()
    let party = try await house.party("loops")
    _ = try await house.party("other")
    let first = try #require(house.signer(party))
    try await house.run(62)
    for session in [UInt8(1), 2] {
      for _ in 0..<6 { house.rollover.noteToken(party, key: first, session: [session], now: house.now) }
    }
    try await house.run(3)
    #expect(house.signer(party) == first && house.ledger.record(of: party.id).blocks.isEmpty)
    #expect(await !house.rollover.alarms().contains { $0.code == .relyingPartyKeyRefused })
  }

  @Test func `goes back alone by hand, is left there, and comes again when its owner says so`() async throws {
    let house = try await RolloverHouse()
    let (back, other) = (try await house.party("back"), try await house.party("other"))
    for party in [back, other] { _ = try await house.rollover.confirm(party, key: nil, document: nil, detail: nil, actor: "admin:eve") }
    try await house.run(62)
    for party in [back, other] { _ = try await house.rollover.confirm(party, key: nil, document: nil, detail: nil, actor: "admin:eve") }
    try await house.run(20)
    let new = try #require(house.keys.ring.primary(of: .rsa)?.id)
    #expect(house.signer(back) == new && house.signer(other) == new)
    let report = try await house.rollover.perform(
      .rollBack(.rsa, parties: [back], reason: "its monitoring"), dryRun: false, force: false, actor: "admin:eve")
    #expect(house.signer(back) == report.key && report.key != new && house.signer(other) == new)
    try await house.run(60)
    #expect(house.signer(back) == report.key, "beyond the end of that key, too")
    _ = try await house.rollover.confirm(back, key: new, document: nil, detail: "mended", actor: "admin:eve")
    try await house.run(2)
    #expect(house.signer(back) == house.signer(other))
  }

  @Test func `that is removed keeps no key alive`() async throws {
    let house = try await RolloverHouse()
    let pinned = try await house.party("pinned") {
      $0.rollover = RolloverTraits()
      $0.rollover?.keepsExpiredKey = true
    }
    _ = try await house.party("other")
    let first = try #require(house.signer(pinned))
    try await house.run(160)
    #expect(house.signer(pinned) == first && house.keys.ring[first]?.state == .retiring)
    try await house.house.store.remove(relyingParty: pinned.id, audit: [])
    try await house.house.parties.refresh()
    try await house.run(35)
    #expect(house.keys.ring[first]?.state == .retired && house.keys.ring.assignments.isEmpty)
  }
}

@Suite struct `A change of a key's state` {
  @Test func `that does not come by itself is told in time, and louder at the end`() async throws {
    let house = try await RolloverHouse()
    _ = try await house.party("wiki") {
      $0.rollover = RolloverTraits()
      $0.rollover?.keepsExpiredKey = true
    }
    _ = try await house.rollover.changePolicy(actor: "test") { $0.autoCertificateRollover = false }
    func told() async -> [AlarmSeverity] { await house.rollover.alarms().filter { $0.code == .certificateExpiring }.map(\.severity) }
    try await house.run(69)
    #expect(await told() == [])
    try await house.run(2)
    #expect(await told() == [.warning], "thirty seconds before the end, and of the family that is used")
    try await house.run(20)
    #expect(await told() == [.critical])
    try await house.run(12)
    #expect(await told() == [.critical], "ended, and signing on")
  }

  @Test func `is told for an hour, to those whom the family signs for, with what to do`() async throws {
    let house = try await RolloverHouse()
    _ = try await house.party("wiki")
    func told() async -> [String] { await house.rollover.alarms().filter { $0.code == .signingKeyChanged }.compactMap(\.condition).sorted() }
    #expect(await told() == [])
    try await house.run(62)
    #expect(await told() == ["published"], "nobody uses the other family")
    try await house.run(40)
    #expect(await told().contains("primary"))
    try await house.run(40)
    #expect(await told().contains("retired"))
    #expect(await house.rollover.alarms().filter { $0.code == .signingKeyChanged }.allSatisfy { !$0.remedy.isEmpty })
  }
}

@Suite struct `A step by hand` {
  @Test func `is tried without changing anything, and names who would break`() async throws {
    let house = try await RolloverHouse()
    _ = try await house.party("late")
    try await house.run(85)
    let next = try #require(house.keys.ring.next(of: .rsa)?.id)
    let before = house.keys.ring
    let dry = try await house.rollover.perform(.promote(nil, .rsa, parties: []), dryRun: true, force: true, actor: "admin:eve")
    #expect(dry.breaks.map(\.name) == ["late"] && dry.isDryRun && house.keys.ring == before)
    let held = try await house.rollover.perform(.promote(nil, .rsa, parties: []), dryRun: false, force: false, actor: "admin:eve")
    #expect(held.breaks.isEmpty && held.summary.contains("late"))
    #expect(house.keys.ring.primary(of: .rsa)?.id == next)
    let back = try await house.rollover.perform(.rollBack(.rsa, parties: [], reason: "broke"), dryRun: false, force: false, actor: "admin:eve")
    #expect(house.keys.ring.primary(of: .rsa)?.id == back.key && house.keys.ring[next]?.withheld == "broke")
  }

  @Test func `comes not before its time unless forced, and says in a trial who would break then`() async throws {
    let house = try await RolloverHouse()
    _ = try await house.party("late")
    try await house.run(62)
    let before = house.keys.ring
    let trial = try await house.rollover.perform(.promote(nil, .rsa, parties: []), dryRun: true, force: false, actor: "admin:eve")
    #expect(trial.summary.contains("would be refused") && trial.breaks.map(\.name) == ["late"] && house.keys.ring == before)
    await #expect(throws: RingProblem.self) {
      _ = try await house.rollover.perform(.promote(nil, .rsa, parties: []), dryRun: false, force: false, actor: "admin:eve")
    }
    _ = try await house.rollover.perform(.promote(nil, .rsa, parties: []), dryRun: false, force: true, actor: "admin:eve")
  }

  @Test func `replaces a stolen key at once, ends sessions, and tells which tokens are suspect`() async throws {
    let house = try await RolloverHouse()
    let party = try await house.party("wiki")
    let stolen = try #require(house.signer(party))
    let since = house.now
    try await house.house.store.append([
      AuditEvent(time: house.now, kind: .tokenIssued, actor: "wiki", subject: "_1", outcome: "done", details: ["key": stolen]),
      AuditEvent(time: house.now, kind: .tokenIssued, actor: "wiki", subject: "_2", outcome: "done", details: ["key": "another"]),
    ])
    let session = Session(
      digest: [UInt8](repeating: 1, count: 32),
      person: AcceptedPerson(
        object: DirectoryObject(realm: try #require(RealmName("contoso.com")), id: Identifier()), immutableID: "i",
        userPrincipalName: "alice@contoso.com", groups: []), userName: "alice", authenticated: house.now, ends: house.now.adding(.seconds(900)),
      isKept: false)
    #expect(try await house.house.store.begin(session, replacing: nil, audit: []))
    let action = RolloverAction.replace(.rsa, fresh: false, suspectSince: since)
    let dry = try await house.rollover.perform(action, dryRun: true, force: false, actor: "admin:eve")
    #expect(dry.breaks.map(\.name) == ["wiki"] && house.signer(party) == stolen)
    let report = try await house.rollover.perform(action, dryRun: false, force: false, actor: "admin:eve")
    #expect(report.endedSessions == 1 && report.trustsStolen.map(\.name) == ["wiki"])
    #expect(report.suspectTokens.map(\.count) == [1])
    #expect(house.signer(party) == report.key && house.keys.signer(id: stolen) == nil)
    #expect(!house.keys.published(for: party).map(\.id).contains(stolen))
    #expect(house.keys.ring[stolen]?.suspectSince == since)
    #expect(try await house.house.store.session(digest: session.digest, now: house.now) == nil)
  }

  @Test func `imports what is valid, and refuses what is not with the reason`() async throws {
    let house = try await RolloverHouse()
    func imported(_ begins: Int64, _ ends: Int64) throws -> RolloverAction {
      let key = try SigningKey.generate(.p256)
      let (notBefore, notAfter) = (house.now.adding(.seconds(begins)), house.now.adding(.seconds(ends)))
      let certificate = try SelfSignedCertificate.make(key: key, commonName: "CA", notBefore: notBefore, notAfter: notAfter)
      return .import(key, certificate: certificate, notBefore: notBefore, notAfter: notAfter)
    }
    for (begins, ends, reason) in [(Int64(-100), Int64(-1), "ended"), (50, 100, "not valid before")] {
      do {
        _ = try await house.rollover.perform(try imported(begins, ends), dryRun: false, force: true, actor: "admin:eve")
        Issue.record("it was taken")
      } catch let problem as RingProblem { #expect(problem.description.contains(reason)) }
    }
    let report = try await house.rollover.perform(try imported(-10, 500), dryRun: false, force: false, actor: "admin:eve")
    let place = try #require(house.keys.ring[report.key])
    #expect(place.state == .prepared && place.family == .ecdsa && place.origin == .imported)
    try await house.run(10)
    #expect(house.keys.ring[report.key]?.state == .prepared, "it waits for its word")
    _ = try await house.rollover.perform(.publish(report.key), dryRun: false, force: false, actor: "admin:eve")
    #expect(house.keys.ring[report.key]?.state == .published)
  }
}

@Suite struct `Keys in a vault` {
  private struct Scene {
    let store = InMemoryStore()
    let vault = InMemorySigningKeyVault()
    let time = ManualTime(Instant(milliseconds: 1_795_000_000_000))

    func load(_ retired: Set<String> = [], vaulted: Bool = true) async throws -> TokenSigningKeys {
      try await TokenSigningKeys.load(
        store: store, protector: TestProtector(), vault: vaulted ? vault : nil, retired: retired, host: "idp.example", now: time.reading)
    }

    func service(_ keys: TokenSigningKeys) -> RolloverService {
      let time = time
      let parties = RelyingPartyDirectory(store: store)
      return RolloverService(
        keys: keys, parties: parties, ledger: ReadinessLedger(store: store), audit: store, sessions: store, revocations: store, newest: nil,
        now: time.reading, steady: { time.now.since(Instant(milliseconds: 0)) }, logger: Logger(label: "test") { _ in SilentLog() })
    }
  }

  private let party = RelyingParty(name: "wiki", entityID: "urn:wiki", consumers: [])

  @Test func `are made there and nowhere else, sign by it, and are refused without it`() async throws {
    let scene = Scene()
    let keys = try await scene.load()
    #expect(scene.vault.references.count == 2, "metadata and decryption go on without it")
    let signer = try #require(keys.signer(for: party))
    let signature = try signer.key.sign([1, 2], with: .rsaSHA256)
    try VerificationKey(certificate: signer.certificate).verify(signature: signature, over: [1, 2], algorithm: .rsaSHA256)
    await #expect(throws: RingProblem.self) { _ = try await scene.load(vaulted: false) }
    scene.vault.isAway = true
    let again = try await scene.load()
    #expect(again.published().map(\.certificate) == keys.published().map(\.certificate), "metadata go on while it is away")
    #expect(throws: CryptographyFault.self) { _ = try #require(again.signer(for: party)).key.sign([1], with: .rsaSHA256) }
    #expect(try #require(again.metadataSigner).key.sign([1], with: .rsaSHA256).count == 256)
  }

  @Test func `that nobody needs are not left there: after a trial, a refusal, and when they are retired, also if it was away then`() async throws {
    let scene = Scene()
    let keys = try await scene.load()
    let service = scene.service(keys)
    _ = try await service.perform(.replace(.rsa, fresh: true, suspectSince: scene.time.now), dryRun: true, force: false, actor: "admin:eve")
    #expect(scene.vault.references.count == 2)
    let made = try await service.perform(.prepare(.rsa), dryRun: false, force: false, actor: "admin:eve")
    await #expect(throws: RingProblem.self) { _ = try await service.perform(.prepare(.rsa), dryRun: false, force: false, actor: "admin:eve") }
    #expect(scene.vault.references.count == 3)
    _ = try await service.perform(.publish(made.key), dryRun: false, force: false, actor: "admin:eve")
    scene.vault.isAway = true
    await #expect(throws: SigningKeyVaultFault.self) {
      _ = try await service.perform(.replace(.rsa, fresh: true, suspectSince: scene.time.now), dryRun: false, force: false, actor: "admin:eve")
    }
    _ = try await service.perform(.replace(.rsa, fresh: false, suspectSince: scene.time.now), dryRun: false, force: false, actor: "admin:eve")
    try await keys.destroyRetired()
    #expect(scene.vault.references.count == 3, "it could not be asked")
    scene.vault.isAway = false
    try await keys.destroyRetired()
    #expect(scene.vault.references.count == 2)
    // A key from a file would be no secret of the vault.
    let key = try SigningKey.generate(.p256)
    let certificate = try SelfSignedCertificate.make(
      key: key, commonName: "a", notBefore: scene.time.now.adding(.seconds(-5)), notAfter: scene.time.now.adding(.days(3)))
    await #expect(throws: RingProblem.self) {
      _ = try await service.perform(
        .import(key, certificate: certificate, notBefore: scene.time.now.adding(.seconds(-5)), notAfter: scene.time.now.adding(.days(3))),
        dryRun: false,
        force: true, actor: "admin:eve")
    }
  }

  @Test func `or not: what was retired is written down to outlive a restore, and does not come alive with an older document`() async throws {
    let scene = Scene()
    let keys = try await scene.load()
    let older = try #require(try await scene.store.document("token-signing-keys"))
    let stolen = try #require(keys.signer(for: party)?.id)
    let service = scene.service(keys)
    _ = try await service.perform(.replace(.rsa, fresh: false, suspectSince: scene.time.now), dryRun: false, force: false, actor: "admin:eve")
    let known = try await scene.store.revocations(of: .signingKeyRetired).map(\.revocation.subject)
    #expect(known == [stolen])
    // The store is put back.
    let present = try #require(try await scene.store.document("token-signing-keys"))
    try await scene.store.putDocument(
      ProtectedDocument(name: older.name, ciphertext: older.ciphertext, version: present.version), audit: [])
    let restored = try await scene.load(Set(known))
    #expect(restored.signer(id: stolen) == nil && restored.ring[stolen]?.state == .retired)
    #expect(try #require(restored.signer(for: party)).id != stolen, "another was made in its place")
  }
}

@Suite struct `What a document says of a key` {
  @Test func `is found as base64 wherever lines break, and as a fingerprint in any writing`() throws {
    let key = try SigningKey.generate(.p256)
    let (begins, ends) = (Instant(milliseconds: 0), Instant(milliseconds: 4_000_000_000_000))
    let certificate = try SelfSignedCertificate.make(key: key, commonName: "a", notBefore: begins, notAfter: ends)
    let other = try SelfSignedCertificate.make(key: key, commonName: "b", notBefore: begins, notAfter: ends)
    let base64 = certificate.base64
    let broken = stride(from: 0, to: base64.count, by: 64).map { base64.dropFirst($0).prefix(64) }.joined(separator: "\r\n   ")
    let thumbprint = DigestAlgorithm.sha1.digest(certificate).hexadecimal.uppercased()
    let colons = stride(from: 0, to: 40, by: 2).map { thumbprint.dropFirst($0).prefix(2) }.joined(separator: ":")
    for text in ["<X509Certificate>\n\(broken)\n</X509Certificate>", "thumbprint \(colons)", Digests.sha256(certificate).hexadecimal] {
      #expect(ConfigurationEvidence.shows(Array(text.utf8), certificate: certificate))
      #expect(!ConfigurationEvidence.shows(Array(text.utf8), certificate: other))
    }
    #expect(!ConfigurationEvidence.shows([], certificate: certificate))
  }

  @Test func `of an Entra tenant counts only when every domain shows it`() async throws {
    let house = try await RolloverHouse()
    let party = try await house.party("entra") {
      $0.rollover = RolloverTraits()
      $0.rollover?.entraDomains = ["contoso.com", "fabrikam.com"]
    }
    try await house.run(82) { _ in house.poll(party) }
    let next = try #require(house.keys.ring.next(of: .rsa)?.id)
    let certificate = try #require(house.keys.places.first { $0.place.id == next }?.certificate.base64)
    func confirm(_ document: String?) async throws {
      _ = try await house.rollover.confirm(party, key: nil, document: document.map { Array($0.utf8) }, detail: nil, actor: "admin:eve")
    }
    await #expect(throws: RingProblem.self) { try await confirm(nil) }
    await #expect(throws: RingProblem.self) { try await confirm("[]") }
    await #expect(throws: RingProblem.self) {
      try await confirm(#"{"value":[{"domain":"Contoso.com","nextSigningCertificate":"\#(certificate)"},{"domain":"fabrikam.com"}]}"#)
    }
    try await house.run(20)
    #expect(house.signer(party) != next, "neither age nor polls nor the end of the old one move an Entra tenant")
    try await confirm(
      #"{"value":[{"domain":"contoso.com","nextSigningCertificate":"\#(certificate)"},{"domain":"fabrikam.com","signingCertificate":"\#(certificate)"}]}"#
    )
    try await house.run(2)
    #expect(house.signer(party) == next)
  }
}
