import Bytes

/// What happens on one day of a rehearsal.
package struct RehearsedEvent: Sendable, Equatable, Codable {
  package enum Kind: String, Sendable, Codable, CaseIterable {
    case made, published, moved, promoted, retired
    /// Sign-ins at a relying party fail from now on, until `until`, or until its owner acts.
    case breaks
    /// The last day for somebody to act.
    case mustAct = "must-act"
  }
  package var time: Instant
  package var kind: Kind
  package var family: SigningKeyFamily
  /// The key's id; `next-rsa-1` and so on for those that do not exist yet.
  package var key: String
  /// A relying party's name; nil where the event is about the key.
  package var relyingParty: String?
  package var until: Instant?

  package init(
    time: Instant, kind: Kind, family: SigningKeyFamily, key: String, relyingParty: String? = nil, until: Instant? = nil
  ) {
    self.time = time
    self.kind = kind
    self.family = family
    self.key = key
    self.relyingParty = relyingParty
    self.until = until
  }
}

/// The time to come, played with the rules of `Rollover` against what is known of every relying party's behaviour: what happens when, and who breaks unless
/// somebody acts.
package struct Rehearsal: Sendable {
  private var ring: SigningKeyRing
  private var parties: [PartyStanding]
  private let families: [SigningKeyFamily]
  private let policy: RolloverPolicy
  private let end: Instant
  private var now: Instant
  private var made: [SigningKeyFamily: Int] = [:]
  private var events: [RehearsedEvent] = []

  /// More steps than any year has: a policy in seconds, played for days, is cut there.
  private static let mostSteps = 2000

  /// The events of one family from `now` until `end`, by time.
  package static func play(
    _ family: SigningKeyFamily, of ring: SigningKeyRing, parties: [PartyStanding], policy: RolloverPolicy, from now: Instant, until end: Instant
  ) -> [RehearsedEvent] {
    let places = ring.places.filter { $0.family == family && $0.state != .retired }
    var rehearsal = Rehearsal(
      ring: SigningKeyRing(places: places, assignments: ring.assignments.filter { key in places.contains { $0.id == key.value } }),
      parties: parties.filter { $0.family == family }, family: family, policy: policy, end: end, now: now)
    rehearsal.run()
    return rehearsal.events
  }

  private init(ring: SigningKeyRing, parties: [PartyStanding], family: SigningKeyFamily, policy: RolloverPolicy, end: Instant, now: Instant) {
    self.ring = ring
    self.parties = parties
    families = [family]
    self.policy = policy
    self.end = end
    self.now = now
  }

  private mutating func run() {
    for _ in 0..<Rehearsal.mostSteps {
      learn()
      if let step = Rollover.next(ring, families: families, parties: parties, policy: policy, now: now) {
        guard take(step) else { return }
        continue
      }
      guard let later = nextInterestingTime(), later <= end else { return }
      now = later
    }
  }

  /// What relying parties would have by now of every key that metadata shows.
  private mutating func learn() {
    for place in ring.places where place.state.isInMetadata {
      guard let published = place.published else { continue }
      for index in parties.indices where parties[index].family == place.family && parties[index].level(for: place.id) < .fetched {
        guard let interval = parties[index].fetchInterval, now >= published.adding(interval) else { continue }
        // The order of metadata is its signer's first: a reader of the first key only sees no other.
        guard !parties[index].readsFirstKeyOnly else { continue }
        parties[index].levels[place.id] = parties[index].isProbed ? .probed : .fetched
      }
    }
  }

  private mutating func take(_ step: RolloverStep) -> Bool {
    let before = signers
    switch step {
    case .prepare(let family):
      made[family, default: 0] += 1
      let id = "next-\(family.rawValue)-\(made[family] ?? 0)"
      let place = SigningKeyPlace(id: id, family: family, state: .prepared, prepared: now, notAfter: now.adding(policy.certificateDuration))
      guard (try? ring.add(place)) != nil else { return false }
      note(.made, id)
    case .publish(let id):
      guard (try? Rollover.apply(step, to: &ring, now: now)) != nil else { return false }
      note(.published, id)
      // Who has to act, and until when: at the end of the primary everybody is signed for with this key.
      guard let place = ring[id], let primary = ring.primary(of: place.family) else { break }
      for party in parties where party.family == place.family && !willFollow(party, place) {
        events.append(
          RehearsedEvent(time: now, kind: .mustAct, family: place.family, key: id, relyingParty: party.name, until: primary.notAfter))
      }
    case .move(_, let id):
      guard (try? Rollover.apply(step, to: &ring, now: now)) != nil else { return false }
      for (party, key) in signers where before[party] != key && key == id { note(.moved, id, party) }
    case .promote(let id, _):
      guard (try? Rollover.apply(step, to: &ring, now: now)) != nil else { return false }
      note(.promoted, id)
    case .retire(let id):
      guard (try? Rollover.apply(step, to: &ring, now: now)) != nil else { return false }
      note(.retired, id)
      ring.places.removeAll { $0.id == id }
    }
    noteBreaks(since: before)
    return true
  }

  /// By name of the relying party, the key that signs for it.
  private var signers: [String: String] {
    var signers: [String: String] = [:]
    for party in parties { signers[party.name] = ring.signer(for: party.id, family: party.family)?.id }
    return signers
  }

  private mutating func noteBreaks(since before: [String: String]) {
    for party in parties {
      guard let key = ring.signer(for: party.id, family: party.family)?.id, key != before[party.name], before[party.name] != nil else { continue }
      guard party.readsFirstKeyOnly || party.level(for: key) == .unknown else { continue }
      let until = party.fetchInterval.map { now.adding($0) }
      events.append(RehearsedEvent(time: now, kind: .breaks, family: party.family, key: key, relyingParty: party.name, until: until))
      // It reads the key then; what its owner does is not foreseen.
      if party.fetchInterval != nil, party.readsFirstKeyOnly, let index = parties.firstIndex(where: { $0.id == party.id }) {
        parties[index].levels[key] = .fetched
      }
    }
  }

  private mutating func note(_ kind: RehearsedEvent.Kind, _ key: String, _ party: String? = nil) {
    guard let family = ring[key]?.family else { return }
    events.append(RehearsedEvent(time: now, kind: kind, family: family, key: key, relyingParty: party))
  }

  /// Whether it has the key by the end of the primary without anybody's help, or stays on its own.
  private func willFollow(_ party: PartyStanding, _ place: SigningKeyPlace) -> Bool {
    if party.movesByProofOnly { return party.isReady(for: place.id) }
    if party.keepsExpiredKey || party.level(for: place.id) >= .fetched { return true }
    guard !party.readsFirstKeyOnly, let interval = party.fetchInterval, let primary = ring.primary(of: place.family) else { return false }
    return now.adding(interval) <= primary.notAfter
  }

  /// The next moment at which a rule, or a relying party, may do something; on the grid of the gateway's looks.
  private func nextInterestingTime() -> Instant? {
    var times: [Instant] = []
    for place in ring.places where place.state != .retired {
      times.append(place.notAfter)
      times.append(place.notAfter.adding(.zero - policy.certificateGenerationThreshold))
      if let unused = place.unused { times.append(unused.adding(policy.certificateRetirement)) }
      guard place.state.isInMetadata, let published = place.published else { continue }
      times.append(published.adding(policy.certificatePromotionThreshold))
      for party in parties where party.family == place.family && party.level(for: place.id) < .fetched && !party.readsFirstKeyOnly {
        if let interval = party.fetchInterval { times.append(published.adding(interval)) }
      }
    }
    guard let earliest = times.filter({ $0 > now }).min() else { return nil }
    let interval = policy.certificateRolloverInterval
    let missing = earliest.since(now)
    let looks = missing / interval
    let whole = looks.rounded(.up)
    return whole >= 1e9 ? nil : now.adding(interval * Int(whole))
  }
}
