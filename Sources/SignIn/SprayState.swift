import Bytes
import Identity

// Guesses at many people, as a pure state machine.
//
//             a failure of one more person                                guess refused: stays
//   ┌───────┐ ────────────────────────────► people ≥ limit ─► ┌────────┐ ◄──────┐
//   │ quiet │                                                 │ spray  │ ───────┘
//   └───────┘ ◄──────────────────── ten minutes without a guess ─────┘
//
// It runs for each source (an address, its network), each password and each realm. What is counted is people, not guesses: one person who types
// an old password all morning is no spray. Everything is bounded; what is forgotten first is what has fewest people.

/// What a spray is recognised by.
package enum SpraySource: Hashable, Sendable {
  /// One password, by its fingerprint, for many people: from wherever.
  case password(UInt64)
  /// One address (IPv6: one /64) and one password for many people.
  case passwordFrom(AddressMark, UInt64)
  /// One address for many people.
  case address(AddressMark)
  /// A /24 or /48.
  case network([UInt8])
  /// More people of a realm than usual, from everywhere.
  case realm(RealmName)

  /// The closed label for metrics.
  package var kind: String {
    switch self {
    case .password, .passwordFrom: "password"
    case .address: "address"
    case .network: "network"
    case .realm: "realm"
    }
  }

  /// For people; never the password nor its fingerprint.
  package var title: String {
    switch self {
    case .password: "one password for many people"
    case .passwordFrom(let mark, _): "one password for many people from \(mark)"
    case .address(let mark): "many people from \(mark)"
    case .network(let prefix): "many people from the network \(SpraySource.text(prefix))"
    case .realm(let realm): "unusually many people of realm \(realm)"
    }
  }

  /// Whether guesses that it fits are refused; a realm's is an alarm only, since everybody would be meant.
  var throttles: Bool { if case .realm = self { false } else { true } }

  static func text(_ prefix: [UInt8]) -> String {
    if prefix.count == 3 { return prefix.map { "\($0)" }.joined(separator: ".") + ".0/24" }
    let groups = stride(from: 0, to: prefix.count - 1, by: 2).map { String(UInt16(prefix[$0]) << 8 | UInt16(prefix[$0 + 1]), radix: 16) }
    return groups.joined(separator: ":") + "::/\(prefix.count * 8)"
  }
}

extension AddressMark: CustomStringConvertible {
  package var description: String { bytes.count == 4 ? bytes.map { "\($0)" }.joined(separator: ".") : SpraySource.text(bytes) }

  /// The /24 or /48 that it lies in.
  var network: [UInt8] { Array(bytes.prefix(bytes.count == 4 ? 3 : 6)) }
}

/// How many people make a spray.
package struct SprayPolicy: Sendable, Equatable {
  /// People are counted for this long.
  package var window: Duration = .seconds(15 * 60)
  /// A spray is over when no guess came for this long.
  package var quiet: Duration = .seconds(10 * 60)
  package var peoplePerPasswordAndAddress = 10
  package var peoplePerPassword = 20
  /// Failing people from one address, and at least three times as many as sign in from it.
  package var peoplePerAddress = 30
  package var peoplePerNetwork = 100
  /// Failing people of a realm in an hour: at least so many, and `timesUsual` times the mean of the hours before.
  package var peoplePerRealm = 100
  package var timesUsual = 4.0

  package init() {}
}

package struct SprayState: Sendable {
  /// A spray that stands.
  package struct Spray: Sendable, Equatable {
    package var source: SpraySource
    package var began: Instant
    package var last: Instant
    /// Guesses that were refused for it.
    package var refused: Int64 = 0
    package var people: Int
  }

  package enum Event: Sendable, Equatable {
    case began(Spray)
    case ended(Spray)
  }

  /// One guess, without anything that says who or what.
  package struct Guess: Sendable {
    package var realm: RealmName
    /// A digest of whom it was about; the same for all spellings that are known to mean one person.
    package var person: UInt64
    /// A keyed fingerprint of the password alone.
    package var password: UInt64
    package var address: AddressMark?

    package init(realm: RealmName, person: UInt64, password: UInt64, address: AddressMark?) {
      self.realm = realm
      self.person = person
      self.password = password
      self.address = address
    }
  }

  /// People within a window, in two halves of which the older is dropped: at most twice `most`.
  private struct People: Sendable {
    static let most = 128
    var recent: Set<UInt64> = []
    var older: Set<UInt64> = []
    var began: Instant

    mutating func roll(now: Instant, half: Duration) {
      let age = now.since(began)
      guard age >= half || age < .zero else { return }
      older = age < half + half && age >= .zero ? recent : []
      recent = []
      began = now
    }

    mutating func add(_ person: UInt64, now: Instant, half: Duration) {
      roll(now: now, half: half)
      if recent.count < People.most { recent.insert(person) }
    }

    var count: Int { recent.count + older.count { !recent.contains($0) } }
  }

  private struct Counted: Sendable {
    var failing: People
    var succeeding: People
  }

  private struct Usual: Sendable {
    var hour: Int64
    var people: Set<UInt64> = []
    /// The mean of failing people an hour, weighted to the last ten hours; nil before the first full hour.
    var mean: Double?
  }

  package static let most = 20_000
  package static let mostSprays = 4096
  private static let mostPeoplePerHour = 20_000

  package var policy: SprayPolicy
  private var counted: [SpraySource: Counted] = [:]
  private var usual: [RealmName: Usual] = [:]
  package private(set) var sprays: [SpraySource: Spray] = [:]

  package init(policy: SprayPolicy = SprayPolicy()) { self.policy = policy }

  private var half: Duration { policy.window / 2 }

  /// The spray that a guess belongs to, if any.
  package func spray(_ guess: Guess) -> SpraySource? {
    guard !sprays.isEmpty else { return nil }
    return sources(guess).first { $0.throttles && sprays[$0] != nil }
  }

  /// A guess was refused for `source`; it keeps the spray standing.
  package mutating func refused(_ source: SpraySource, now: Instant) {
    sprays[source]?.refused += 1
    sprays[source]?.last = now
  }

  /// Somebody signed in.
  package mutating func succeeded(_ guess: Guess, now: Instant) {
    guard let address = guess.address else { return }
    let half = half
    for source in [SpraySource.address(address), .network(address.network)] where counted[source] != nil {
      counted[source]?.succeeding.add(guess.person, now: now, half: half)
    }
  }

  /// A guess failed. Answers the sprays that it began.
  package mutating func failed(_ guess: Guess, now: Instant) -> [Event] {
    var events: [Event] = []
    let half = half
    for source in sources(guess) {
      if counted.count >= SprayState.most, counted[source] == nil { makeRoom(now: now) }
      counted[source, default: Counted(failing: People(began: now), succeeding: People(began: now))].failing.add(guess.person, now: now, half: half)
      if sprays[source] != nil {
        sprays[source]?.last = now
      } else if let people = excess(source, now: now) {
        events += begin(source, people: people, now: now)
      }
    }
    events += unusual(guess, now: now)
    return events
  }

  /// Time passes. Answers the sprays that are over.
  package mutating func tick(now: Instant) -> [Event] {
    let over = sprays.values.filter { now.since($0.last) >= policy.quiet || $0.last > now.adding(.seconds(60)) }
    for spray in over {
      sprays[spray.source] = nil
      counted[spray.source] = nil
    }
    return over.sorted { ($0.began, $0.source.title) < ($1.began, $1.source.title) }.map(Event.ended)
  }

  /// What a guess is counted under, the narrowest first.
  private func sources(_ guess: Guess) -> [SpraySource] {
    guard let address = guess.address else { return [.password(guess.password)] }
    return [.passwordFrom(address, guess.password), .address(address), .network(address.network), .password(guess.password)]
  }

  /// How many people, where they are too many.
  private func excess(_ source: SpraySource, now: Instant) -> Int? {
    guard var known = counted[source] else { return nil }
    known.succeeding.roll(now: now, half: half)
    let people = known.failing.count
    // While a whole realm is sprayed, each source is looked at more closely.
    let factor = sprays.keys.contains { if case .realm = $0 { true } else { false } } ? 2 : 1
    switch source {
    case .passwordFrom: return people >= policy.peoplePerPasswordAndAddress / factor ? people : nil
    case .password: return people >= policy.peoplePerPassword / factor ? people : nil
    case .address: return people >= policy.peoplePerAddress / factor && people >= 3 * known.succeeding.count ? people : nil
    case .network: return people >= policy.peoplePerNetwork / factor && people >= 3 * known.succeeding.count ? people : nil
    case .realm: return nil
    }
  }

  private mutating func begin(_ source: SpraySource, people: Int, now: Instant) -> [Event] {
    // Under more sprays than that, new ones from single addresses are still held by the passwords and networks that they share.
    guard sprays.count < SprayState.mostSprays else { return [] }
    let spray = Spray(source: source, began: now, last: now, people: people)
    sprays[source] = spray
    return [.began(spray)]
  }

  /// Slow and distributed: more people of a realm fail in an hour than in the hours before, wherever the guesses come from.
  private mutating func unusual(_ guess: Guess, now: Instant) -> [Event] {
    let hour = now.milliseconds / 3_600_000
    var known = usual[guess.realm] ?? Usual(hour: hour)
    defer { usual[guess.realm] = known }
    if known.hour != hour {
      // Hours in which nobody failed count too.
      for index in 0..<min(48, max(1, hour - known.hour)) {
        let people = index == 0 ? Double(known.people.count) : 0
        known.mean = known.mean.map { $0 + (people - $0) * 0.1 } ?? people
      }
      (known.hour, known.people) = (hour, [])
    }
    if known.people.count < SprayState.mostPeoplePerHour { known.people.insert(guess.person) }
    let source = SpraySource.realm(guess.realm)
    // In the first hour nobody knows yet what is usual.
    guard let mean = known.mean, Double(known.people.count) >= max(Double(policy.peoplePerRealm), policy.timesUsual * mean) else { return [] }
    if sprays[source] != nil {
      sprays[source]?.last = now
      sprays[source]?.people = known.people.count
      return []
    }
    return begin(source, people: known.people.count, now: now)
  }

  /// Forgets what is too old to count, and then what has fewest people, until a quarter is free.
  private mutating func makeRoom(now: Instant) {
    let window = policy.window
    counted = counted.filter { now.since($0.value.failing.began) < window }
    var limit = 1
    while counted.count > SprayState.most * 3 / 4, limit < People.most * 2 {
      counted = counted.filter { $0.value.failing.count > limit || sprays[$0.key] != nil }
      limit *= 2
    }
  }

  /// How many sources are counted, for tests of the bound.
  package var countedSources: Int { counted.count }
}
