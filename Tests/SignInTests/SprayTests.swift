import Bytes
import GatehouseTesting
import Identity
import SignIn
import Testing

private typealias Guess = SprayState.Guess

@Suite struct `A spray` {
  private let realm = contosoRealm
  private let now = Instant(milliseconds: 1_767_225_600_000)

  private func address(_ index: Int) -> AddressMark? {
    AddressMark(bytes: [10, UInt8(index >> 16 & 255), UInt8(index >> 8 & 255), UInt8(index & 255)])
  }

  private func guess(_ person: Int, _ password: Int, from source: Int?) -> Guess {
    Guess(realm: realm, person: UInt64(person), password: UInt64(password), address: source.flatMap(address))
  }

  /// How many guesses are let through before the next one is refused.
  private func letThrough(_ guesses: some Sequence<Guess>, _ state: inout SprayState, every step: Duration = .milliseconds(100)) -> Int {
    var now = now
    for (index, guess) in guesses.enumerated() {
      if state.spray(guess) != nil { return index }
      _ = state.failed(guess, now: now)
      now = now.adding(step)
    }
    return .max
  }

  @Test func `of one password over five thousand people from one address is throttled by the fiftieth try`() {
    var state = SprayState()
    #expect(letThrough((0..<5000).map { guess($0, 1, from: 7) }, &state) <= 10)
    #expect(state.spray(guess(9999, 1, from: 7)) != nil)
    // Others behind other addresses, and with other passwords behind this one, go on.
    #expect(state.spray(guess(9999, 2, from: 8)) == nil)
    #expect(state.spray(guess(9999, 2, from: 7)) == nil)
  }

  @Test func `of many passwords from one address, or from one network, is throttled`() {
    var state = SprayState()
    #expect(letThrough((0..<5000).map { guess($0, $0, from: 7) }, &state) <= 30)
    var other = SprayState()
    #expect(letThrough((0..<5000).map { guess($0, $0, from: $0 % 250) }, &other) <= 100)
  }

  @Test func `of one password from everywhere, or from nowhere that is told, is throttled`() {
    for source in [{ (index: Int) -> Int? in index * 4096 }, { _ in nil }] {
      var state = SprayState()
      #expect(letThrough((0..<5000).map { guess($0, 1, from: source($0)) }, &state) <= 20)
    }
  }

  @Test func `is not one person who tries an old password all day, nor a company behind one address`() {
    var state = SprayState()
    #expect(letThrough((0..<5000).map { _ in guess(1, 1, from: 7) }, &state) == .max)
    var now = now
    for index in 0..<5000 {
      // Every twentieth mistypes, and then does better.
      if index % 20 == 0 { #expect(state.failed(guess(index, 100_000 + index, from: 8), now: now).isEmpty) }
      state.succeeded(guess(index, index, from: 8), now: now)
      #expect(state.spray(guess(index, index, from: 8)) == nil)
      now = now.adding(.seconds(1))
    }
  }

  @Test func `begins once, stands while guesses come, refused ones too, and ends ten minutes after the last`() {
    var state = SprayState()
    var begun: [SprayState.Event] = []
    for person in 0..<10 { begun += state.failed(guess(person, 1, from: 7), now: now) }
    #expect(begun.count == 1)
    let source = state.spray(guess(77, 1, from: 7))
    #expect(source?.kind == "password")
    guard let source else { return }
    for minute in 1...60 {
      state.refused(source, now: now.adding(.seconds(minute * 60)))
      #expect(state.tick(now: now.adding(.seconds(minute * 60))).isEmpty)
    }
    let end = now.adding(.seconds(70 * 60))
    #expect(state.tick(now: end.adding(.milliseconds(-1))).isEmpty)
    guard case .ended(let spray)? = state.tick(now: end).first else {
      Issue.record("did not end")
      return
    }
    #expect(spray.refused == 60)
    #expect(state.spray(guess(77, 1, from: 7)) == nil)
  }

  @Test func `that is slow and distributed shows against the realm's usual rate, and then each source is looked at more closely`() {
    var state = SprayState()
    var now = now
    var events: [SprayState.Event] = []
    // A day with ten people an hour who mistype, then two hundred from two hundred networks with two hundred passwords.
    for hour in 0..<24 {
      for person in 0..<10 { events += state.failed(guess(hour * 10 + person, hour * 1000 + person, from: person * 4096), now: now) }
      now = now.adding(.seconds(3600))
    }
    #expect(events.isEmpty)
    for index in 0..<200 {
      events += state.failed(guess(50_000 + index, 500_000 + index, from: index * 4096 + 99), now: now)
      now = now.adding(.seconds(10))
    }
    #expect(events.count == 1)
    guard case .began(let spray)? = events.first else { return }
    #expect(spray.source == .realm(realm) && !spray.people.words.isEmpty)
    #expect(state.spray(guess(1, 1, from: 1)) == nil)
    #expect(letThrough((0..<100).map { guess($0, 1, from: 3 * 4096 + 5) }, &state) <= 5)
  }

  @Test func `cannot fill the memory`() {
    var state = SprayState()
    var generator = SeededGenerator(seed: 5)
    var now = now
    for index in 0..<30_000 {
      let (password, source) = (Int.random(in: 0..<1_000_000_000, using: &generator), Int.random(in: 0..<16_000_000, using: &generator))
      _ = state.failed(guess(index, password, from: source), now: now)
      if index % 1000 == 0 { now = now.adding(.seconds(1)) }
    }
    #expect(state.countedSources <= SprayState.most)
    #expect(state.sprays.count <= SprayState.mostSprays)
  }
}

extension Int { fileprivate var words: String { "\(self)" } }

@Suite struct `A refused password` {
  private let name = LockoutName(realm: contosoRealm, key: "alice")
  private let now = Instant(milliseconds: 1_767_225_600_000)

  @Test func `is known for two minutes from its first refusal, to the person and the byte`() throws {
    let memory = RefusedPasswords()
    let password = try #require(Password(Secret("old".utf8)))
    let person = Identifier()
    let print = memory.fingerprint(password, object: person, name: name)
    #expect(memory.refusedAt(print, now: now) == nil)
    memory.refused(print, passwordSet: 42, now: now)
    #expect(memory.refusedAt(print, now: now.adding(.seconds(60))) == 42)
    memory.refused(print, passwordSet: 42, now: now.adding(.seconds(60)))
    #expect(memory.refusedAt(print, now: now.adding(.milliseconds(119_999))) == 42)
    #expect(memory.refusedAt(print, now: now.adding(.seconds(120))) == nil)
    #expect(memory.refusedAt(print, now: now.adding(.seconds(-1))) == nil)
    let other = try #require(Password(Secret("old ".utf8)))
    #expect(memory.refusedAt(memory.fingerprint(other, object: person, name: name), now: now) == nil)
    #expect(memory.refusedAt(memory.fingerprint(password, object: Identifier(), name: name), now: now) == nil)
    #expect(memory.refusedAt(memory.fingerprint(password, object: nil, name: name), now: now) == nil)
    // Another process cannot know it.
    #expect(RefusedPasswords().fingerprint(password, object: person, name: name) != print)
  }

  @Test func `is remembered for a bounded number of people`() throws {
    let memory = RefusedPasswords(most: 1000)
    let password = try #require(Password(Secret("old".utf8)))
    for index in 0..<2000 {
      memory.refused(memory.fingerprint(password, object: nil, name: LockoutName(realm: contosoRealm, key: "\(index)")), passwordSet: 0, now: now)
    }
    #expect(memory.count == 1000)
  }
}

@Suite struct `The ledger of throttled sign-ins` {
  private let store = InMemoryStore()
  private let now = Instant(milliseconds: 1_767_225_600_000)

  private func key(_ source: String) -> ThrottleLedger.Key {
    ThrottleLedger.Key(realm: contosoRealm, reason: .sprayThrottled, frontEnd: "portal", source: source)
  }

  @Test func `has a durable row before the first refusal leaves, and one a minute for all that follow`() async throws {
    let ledger = ThrottleLedger(audit: store)
    let reference = try await ledger.note(key("a"), name: "u0", now: now)
    #expect(await store.events.map(\.reference) == [reference])
    for index in 1..<10_000 { #expect(try await ledger.note(key("a"), name: "u\(index)", now: now) == reference) }
    #expect(await store.events.count == 1)
    try await ledger.flush(now: now.adding(.seconds(60)))
    let row = try #require(await store.events.last)
    #expect(row.kind == .signInsThrottled && row.reference == reference)
    #expect(row.details["count"] == "9999" && row.details["names"] == "u1 u2 u3 u4 u5")
    // A quiet minute closes the page.
    try await ledger.flush(now: now.adding(.seconds(120)))
    #expect(try await ledger.note(key("a"), name: "u", now: now) != reference)
    #expect(await store.events.count == 3)
  }

  @Test func `lets no refusal leave without a row`() async throws {
    let ledger = ThrottleLedger(audit: store)
    await store.fail(with: .unavailable("full"))
    await #expect(throws: StoreError.unavailable("full")) { try await ledger.note(key("a"), name: "u", now: now) }
    await store.fail(with: nil)
    let reference = try await ledger.note(key("a"), name: "u", now: now)
    #expect(await store.events.map(\.reference) == [reference])
    _ = try await ledger.note(key("a"), name: "u", now: now)
    await store.fail(with: .unavailable("full"))
    await #expect(throws: StoreError.unavailable("full")) { try await ledger.flush(now: now) }
    await store.fail(with: nil)
    try await ledger.flush(now: now)
    #expect(await store.events.last?.details["count"] == "1")
  }

  @Test func `has a bounded number of pages, the rest share one`() async throws {
    let ledger = ThrottleLedger(audit: store)
    for index in 0..<4200 { _ = try await ledger.note(key("\(index)"), name: "u", now: now) }
    let sources = Set(await store.events.compactMap(\.subject))
    #expect(sources.count == 4097 && sources.contains("other sources"))
  }
}
