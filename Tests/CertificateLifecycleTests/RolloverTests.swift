import Bytes
import CertificateLifecycle
import GatehouseTesting
import Testing

@Suite("The rules of a rollover")
struct RolloverTests {
  let policy = Life.policy

  func next(_ ring: SigningKeyRing, _ parties: [PartyStanding] = [], at seconds: Int64) -> RolloverStep? {
    Rollover.next(ring, parties: parties, policy: policy, now: Life.at(seconds))
  }

  func ring(_ places: SigningKeyPlace..., assignments: [String: String] = [:]) -> SigningKeyRing {
    SigningKeyRing(places: places + [Life.key("curve", .primary, .ecdsa, ends: 9_999_999)], assignments: assignments)
  }

  @Test("The next key is made, shown, and promoted when it was shown for long enough, each in its own step")
  func steps() {
    let old = Life.key("old", .primary, ends: 100)
    #expect(next(ring(old), at: 59) == nil)
    #expect(next(ring(old), at: 60) == .prepare(.rsa))
    #expect(next(ring(old, Life.key("new", .prepared, made: 60, ends: 160)), at: 60) == .publish("new"))
    let shown = ring(old, Life.key("new", .published, made: 60, ends: 160))
    #expect(next(shown, at: 79) == nil)
    #expect(next(shown, at: 80) == .promote("new", holding: []))
  }

  @Test("Who is ready moves ahead, who is not stays; the key is promoted when all are ready, or at the end of the old one")
  func readiness() {
    let late = Life.party("late")
    let ready = Life.party("ready") { $0.levels = ["new": .configured] }
    let shown = ring(Life.key("old", .primary, ends: 100), Life.key("new", .published, made: 60, ends: 160))
    #expect(next(shown, [late, ready], at: 79) == nil)
    #expect(next(shown, [late, ready], at: 80) == .move(["id of ready"], to: "new"))
    let moved = ring(
      Life.key("old", .primary, ends: 100), Life.key("new", .published, made: 60, ends: 160), assignments: ["id of ready": "new"])
    #expect(next(moved, [late, ready], at: 81) == nil)
    #expect(next(moved, [late, ready], at: 99) == nil)
    #expect(next(moved, [late, ready], at: 100) == .promote("new", holding: []))
    #expect(next(moved, [ready], at: 81) == .promote("new", holding: []))
    #expect(next(moved, [ready, Life.party("curve", .ecdsa)], at: 81) == .promote("new", holding: []))
  }

  @Test("That metadata was fetched never moves anybody alone; after an earlier rollover that was followed it does")
  func fetched() {
    var party = Life.party("wiki") { $0.levels = ["new": .fetched] }
    let shown = ring(Life.key("old", .primary, ends: 100), Life.key("new", .published, made: 60, ends: 160))
    #expect(next(shown, [party, Life.party("late")], at: 90) == nil)
    party.followsMetadata = true
    #expect(next(shown, [party, Life.party("late")], at: 90) == .move([party.id], to: "new"))
  }

  @Test("Where a relying party can be probed nothing else moves it")
  func probed() {
    var party = Life.party("wiki") {
      $0.levels = ["new": .confirmed]
      $0.isProbed = true
    }
    let shown = ring(Life.key("old", .primary, ends: 100), Life.key("new", .published, made: 60, ends: 160))
    #expect(next(shown, [party], at: 90) == nil)
    party.levels["new"] = .probed
    #expect(next(shown, [party], at: 90) == .promote("new", holding: []))
  }

  @Test("At the end of the old key who failed with the new one, and who pins the old one, is held on it; everybody else moves")
  func theEnd() {
    let failed = Life.party("failed") { $0.blocked = ["new"] }
    let pinned = Life.party("pinned") { $0.keepsExpiredKey = true }
    let first = Life.party("reads the first only") { $0.readsFirstKeyOnly = true }
    let shown = ring(Life.key("old", .primary, ends: 100), Life.key("new", .published, made: 60, ends: 160))
    #expect(next(shown, [failed, pinned, first, Life.party("late")], at: 99) == nil)
    #expect(next(shown, [failed, pinned, first, Life.party("late")], at: 100) == .promote("new", holding: ["id of failed", "id of pinned"]))
  }

  @Test("An expired primary stays primary until the next key was shown for long enough, however late that was made")
  func missedWeeks() {
    #expect(next(ring(Life.key("old", .primary, ends: 100)), at: 5000) == .prepare(.rsa))
    let late = ring(Life.key("old", .primary, ends: 100), Life.key("new", .published, made: 5000, ends: 5100))
    #expect(next(late, [Life.party("late")], at: 5019) == nil)
    #expect(next(late, [Life.party("late")], at: 5020) == .promote("new", holding: []))
  }

  @Test("A next key that ended before it was used, or that a wrong clock made, goes and another is made")
  func useless() {
    let ended = ring(Life.key("old", .primary, ends: 100), Life.key("new", .published, made: 60, ends: 160))
    #expect(next(ended, at: 160) == .retire("new"))
    let future = ring(Life.key("old", .primary, ends: 100), Life.key("new", .published, made: 40_000, ends: 40_100))
    #expect(next(future, at: 60) == .retire("new"))
    #expect(Rollover.mayRollOver(Life.key("new", .published, made: 40_000, ends: 40_100), policy, Life.at(60)) == false)
  }

  @Test("Who was held is released when it becomes ready, and at the end of its key")
  func released() {
    let held = ["id of late": "old"]
    func ring(at end: Int64) -> SigningKeyRing {
      var old = Life.key("old", .retiring, ends: end)
      old.unused = nil
      return self.ring(old, Life.key("new", .primary, made: 10, ends: 500), assignments: held)
    }
    #expect(next(ring(at: 100), [Life.party("late")], at: 90) == nil)
    #expect(next(ring(at: 100), [Life.party("late") { $0.levels = ["new": .confirmed] }], at: 90) == .move(["id of late"], to: "new"))
    #expect(next(ring(at: 100), [Life.party("late")], at: 100) == .move(["id of late"], to: "new"))
    #expect(next(ring(at: 100), [Life.party("late") { $0.keepsExpiredKey = true }], at: 400) == nil)
  }

  @Test("Who failed with one key and then with the next stays where it was through both")
  func blockedTwice() {
    var old = Life.key("old", .retiring, ends: 100)
    old.unused = nil
    let party = Life.party("pinned by mistake") { $0.blocked = ["second", "third"] }
    var ring = ring(old, Life.key("second", .primary, made: 60, ends: 160), assignments: [party.id: "old"])
    #expect(next(ring, [party, Life.party("other")], at: 110) == nil)
    ring.places.append(Life.key("third", .published, made: 120, ends: 220))
    #expect(next(ring, [party], at: 160) == .promote("third", holding: [party.id]))
    #expect((try? ring.promote("third", holding: [party.id], now: Life.at(160))) != nil)
    #expect(ring.assignments == [party.id: "old"])
    #expect(next(ring, [party], at: 165) == nil)
  }

  @Test("A retiring key goes when nobody has used it for long enough, and not before")
  func retirement() {
    var old = Life.key("old", .retiring, ends: 100)
    let new = Life.key("new", .primary, made: 60, ends: 9000)
    old.unused = Life.at(80)
    #expect(next(ring(old, new), at: 109) == nil)
    #expect(next(ring(old, new), at: 110) == .retire("old"))
    let pinned = Life.party("pinned") { $0.keepsExpiredKey = true }
    #expect(next(ring(old, new, assignments: [pinned.id: "old"]), [pinned], at: 110) == nil)
    old.unused = nil
    #expect(next(ring(old, new), at: 110) == nil)
  }

  @Test("A key made by hand waits for its word as long as there is time; one that was taken back waits for ever; an imported one has no follower")
  func byHand() {
    let old = Life.key("old", .primary, ends: 100)
    #expect(next(ring(old, Life.key("new", .prepared, made: 1, ends: 500, origin: .hand)), at: 59) == nil)
    #expect(next(ring(old, Life.key("new", .prepared, made: 1, ends: 500, origin: .hand)), at: 60) == .publish("new"))
    #expect(next(ring(old, Life.key("new", .published, made: 1, ends: 500, origin: .hand)), at: 59) == nil)
    #expect(next(ring(old, Life.key("new", .published, made: 1, ends: 500, origin: .hand)), at: 60) == .promote("new", holding: []))
    var back = Life.key("new", .published, made: 1, ends: 500)
    back.withheld = "broke"
    #expect(next(ring(old, back), at: 99) == nil)
    #expect(next(ring(old, back), at: 499) == nil)
    #expect(next(ring(Life.key("old", .primary, ends: 100, origin: .imported)), at: 99) == nil)
    var manual = policy
    manual.autoCertificateRollover = false
    #expect(Rollover.next(ring(old), parties: [], policy: manual, now: Life.at(99)) == nil)
  }

  @Test("A ring that has lost its primary finds another", arguments: [SigningKeyState.prepared, .published])
  func lost(state: SigningKeyState) {
    let ring = SigningKeyRing(places: [Life.key("new", state, ends: 500), Life.key("curve", .primary, .ecdsa, ends: 9999)])
    #expect(next(ring, at: 1) == (state == .prepared ? .publish("new") : .promote("new", holding: [])))
    #expect(next(SigningKeyRing(places: [Life.key("curve", .primary, .ecdsa, ends: 9999)]), at: 1) == .prepare(.rsa))
  }

  @Test("Whatever happens in whatever order, no key signs that was not shown for long enough, and there is always one primary", arguments: 0..<12)
  func anyOrder(seed: UInt64) throws {
    var dice = SeededGenerator(seed: seed)
    var ring = SigningKeyRing(places: [Life.key("0", .primary, ends: 100), Life.key("c0", .primary, .ecdsa, ends: 130)])
    var parties = (0..<6).map { index in
      Life.party("p\(index)", index < 5 ? .rsa : .ecdsa) {
        $0.keepsExpiredKey = index == 1
        $0.readsFirstKeyOnly = index == 2
        $0.isProbed = index == 3
      }
    }
    var now: Int64 = 1
    var made = 0
    for _ in 0..<1000 {
      // Mostly the clock goes on; sometimes weeks are missed.
      now += Int64.random(in: 0...(Int.random(in: 0..<50, using: &dice) == 0 ? 300 : 3), using: &dice)
      let party = Int.random(in: 0..<6, using: &dice)
      for place in ring.places where place.state.isInMetadata && Int.random(in: 0..<8, using: &dice) == 0 {
        parties[party].levels[place.id] = ReadinessLevel.allCases.randomElement(using: &dice)
      }
      if Int.random(in: 0..<40, using: &dice) == 0 { parties[party].blocked.formUnion(ring.places.suffix(2).map(\.id)) }
      let before = ring
      guard let step = next(ring, parties, at: now) else { continue }
      if case .prepare(let family) = step {
        made += 1
        try ring.add(Life.key("\(family)\(made)", .prepared, family, made: now, ends: now + 100))
      }
      try Rollover.apply(step, to: &ring, now: Life.at(now))
      #expect(ring.fault == nil)
      for party in parties {
        let signer = try #require(ring.signer(for: party.id, family: party.family))
        guard signer.id != before.signer(for: party.id, family: party.family)?.id else { continue }
        let published = try #require(signer.published)
        #expect(Life.at(now).since(published) >= policy.certificatePromotionThreshold, "\(signer.id) signs for \(party.name) at \(now)")
        #expect(!party.blocked.contains(signer.id))
      }
    }
    #expect(made > 5)
  }
}

@Suite("A rehearsal of the time to come")
struct RehearsalTests {
  let ring = SigningKeyRing(places: [Life.key("old", .primary, ends: 100), Life.key("curve", .primary, .ecdsa, ends: 1_000_000)])

  func play(_ parties: PartyStanding..., until end: Int64) -> [RehearsedEvent] {
    Rehearsal.play(.rsa, of: ring, parties: parties, policy: Life.policy, from: Life.at(0), until: Life.at(end))
  }

  @Test("Tells when keys are made, shown, promoted and retired")
  func keys() {
    let events = play(until: 139)
    #expect(events.map(\.kind) == [.made, .published, .promoted, .retired, .made, .published])
    #expect(events.map { $0.time.milliseconds / 1000 } == [60, 60, 80, 110, 120, 120])
    #expect(events.map(\.key) == ["next-rsa-1", "next-rsa-1", "next-rsa-1", "old", "next-rsa-2", "next-rsa-2"])
  }

  @Test("Names who breaks, when, and for how long; who follows is moved")
  func parties() {
    let events = play(
      Life.party("follows") {
        $0.fetchInterval = .seconds(10)
        $0.followsMetadata = true
      }, Life.party("reads") { $0.fetchInterval = .seconds(10) },
      Life.party("first") {
        $0.fetchInterval = .seconds(7)
        $0.readsFirstKeyOnly = true
      }, Life.party("pins") { $0.keepsExpiredKey = true }, Life.party("never"), until: 101)
    func of(_ name: String) -> [RehearsedEvent] { events.filter { $0.relyingParty == name } }
    #expect(of("follows").map(\.kind) == [.moved])
    #expect(of("follows").first?.time == Life.at(80))
    #expect(of("reads").isEmpty && of("pins").isEmpty)
    #expect(of("first").map(\.kind) == [.mustAct, .breaks])
    #expect(of("first").last?.time == Life.at(100) && of("first").last?.until == Life.at(107))
    #expect(of("never").map(\.kind) == [.mustAct, .breaks])
    #expect(of("never").first?.until == Life.at(100) && of("never").last?.until == nil)
  }

  @Test("A policy in seconds played for years ends")
  func long() { #expect(play(until: 400 * 86_400).count < 200_000) }
}

@Suite("A clock that is watched")
struct ClockWatchTests {
  @Test("Small corrections are taken over; a jump freezes until the clock is right again, or somebody trusts it")
  func jumps() {
    var watch = ClockWatch(wall: Life.at(1000), steady: .seconds(5), newest: Life.at(990))
    watch.look(wall: Life.at(1010), steady: .seconds(15))
    #expect(watch.freeze == nil)
    watch.look(wall: Life.at(1060), steady: .seconds(20))
    #expect(watch.freeze == nil)
    watch.look(wall: Life.at(1060 + 34_560_000), steady: .seconds(21))
    #expect(watch.freeze?.jump == .seconds(34_559_999))
    watch.look(wall: Life.at(1070), steady: .seconds(31))
    #expect(watch.freeze == nil)
    watch.look(wall: Life.at(1070 - 86_400), steady: .seconds(32))
    #expect(watch.freeze?.jump == .seconds(-86_401))
    watch.trust(wall: Life.at(1071 - 86_400), steady: .seconds(33))
    watch.look(wall: Life.at(1072 - 86_400), steady: .seconds(34))
    #expect(watch.freeze == nil)
  }

  @Test("A clock behind what the store has seen is not believed from the start")
  func behind() {
    var watch = ClockWatch(wall: Life.at(1000), steady: .zero, newest: Life.at(5000))
    #expect(watch.freeze?.jump == .seconds(-4000))
    watch.look(wall: Life.at(1001), steady: .seconds(1))
    #expect(watch.freeze != nil)
    watch.look(wall: Life.at(5002), steady: .seconds(2))
    #expect(watch.freeze == nil)
  }
}
