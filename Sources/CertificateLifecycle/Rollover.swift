import Bytes

/// What a ring needs now.
package enum RolloverStep: Sendable, Equatable {
  /// Make the family's next key. Nobody learns of it before it is stored.
  case prepare(SigningKeyFamily)
  case publish(String)
  /// Sign for these relying parties, which are ready, with the next key.
  case move([String], to: String)
  /// Make it the primary; `holding` stay on the former one.
  case promote(String, holding: [String])
  /// Take it out of metadata and destroy it.
  case retire(String)
}

/// The rules of a rollover: pure functions of ring, readiness, policy and time.
package enum Rollover {
  /// The one step to take now, or nil where the ring is as it should be. Callers repeat until nil.
  package static func next(
    _ ring: SigningKeyRing, families: [SigningKeyFamily] = SigningKeyFamily.allCases, parties: [PartyStanding], policy: RolloverPolicy, now: Instant
  ) -> RolloverStep? {
    guard policy.autoCertificateRollover else { return nil }
    for family in families {
      if let step = next(family, ring, parties: parties.filter { $0.family == family }, policy: policy, now: now) { return step }
    }
    return nil
  }

  private static func next(
    _ family: SigningKeyFamily, _ ring: SigningKeyRing, parties: [PartyStanding], policy: RolloverPolicy, now: Instant
  ) -> RolloverStep? {
    if let over = ring.places.first(where: { $0.family == family && isOver($0, ring, policy, now) }) { return .retire(over.id) }
    guard let primary = ring.primary(of: family) else {
      guard let next = ring.next(of: family) else { return .prepare(family) }
      return next.state == .prepared ? .publish(next.id) : .promote(next.id, holding: [])
    }
    // Whoever was held on a former key moves on as soon as it can, and at the end of that key in any case.
    let released = parties.filter { party in
      guard let held = ring.assignments[party.id].flatMap({ ring[$0] }), held.family == family, held.state == .retiring else { return false }
      return party.isReady(for: primary.id) || held.notAfter <= now && !party.staysAtTheEnd && !party.blocked.contains(primary.id)
    }
    if !released.isEmpty { return .move(released.map(\.id).sorted(), to: primary.id) }
    let left = primary.notAfter.since(now)
    guard let next = ring.next(of: family) else {
      // A certificate that somebody issued has its next one from there, too; and whoever took a key back decides what follows.
      let isManaged = primary.origin != .imported && !ring.places.contains { $0.family == family && $0.state == .published && $0.withheld != nil }
      return isManaged && left <= policy.certificateGenerationThreshold ? .prepare(family) : nil
    }
    if next.state == .prepared { return next.isMadeByPolicy || left <= policy.certificateGenerationThreshold ? .publish(next.id) : nil }
    guard mayRollOver(next, policy, now) else { return nil }
    // Made by hand, it waits for its word until the end of the other one is near.
    guard next.isMadeByPolicy || left <= policy.certificateGenerationThreshold else { return nil }
    let waiting = parties.filter { ring.signer(for: $0.id, family: family)?.id != next.id }
    let ready = waiting.filter { $0.isReady(for: next.id) }
    if !ready.isEmpty, ready.count < waiting.count { return .move(ready.map(\.id).sorted(), to: next.id) }
    if ready.count == waiting.count { return .promote(next.id, holding: []) }
    guard left <= .zero else { return nil }
    return .promote(next.id, holding: waiting.filter { $0.staysAtTheEnd || $0.blocked.contains(next.id) }.map(\.id).sorted())
  }

  /// Whether a key was in metadata for as long as the policy wants, and can sign now. One that was published in the future was so by another clock.
  package static func mayRollOver(_ place: SigningKeyPlace, _ policy: RolloverPolicy, _ now: Instant) -> Bool {
    guard place.state == .published || place.state == .retiring, let published = place.published, place.notAfter > now else { return false }
    return now.since(published) >= policy.certificatePromotionThreshold
  }

  /// Whether nothing that a key has signed can be in use any more. One from the future goes, too, where nobody uses it: it was made by a clock that was wrong.
  private static func isOver(_ place: SigningKeyPlace, _ ring: SigningKeyRing, _ policy: RolloverPolicy, _ now: Instant) -> Bool {
    switch place.state {
    case .retiring:
      guard let unused = place.unused, !ring.assignments.values.contains(place.id) else { return false }
      return now.since(unused) >= policy.certificateRetirement
    case .prepared, .published:
      guard !ring.assignments.values.contains(place.id) else { return false }
      let isFromTheFuture = place.prepared.since(now) > .seconds(300) && place.isMadeByPolicy
      return isFromTheFuture || place.notAfter <= now
    case .primary, .retired: return false
    }
  }

  /// The ring after a step. `prepare` changes nothing here: whoever makes the key adds its place.
  package static func apply(_ step: RolloverStep, to ring: inout SigningKeyRing, now: Instant) throws(RingProblem) {
    switch step {
    case .prepare: break
    case .publish(let id): try ring.publish(id, now: now)
    case .move(let parties, let id): try ring.assign(parties, to: id, now: now)
    case .promote(let id, let holding): try ring.promote(id, holding: holding, now: now)
    case .retire(let id): try ring.retire(id, now: now)
    }
  }

  /// Who would break if a key signed for them now: they are not known to have it.
  package static func laggards(_ parties: [PartyStanding], for key: SigningKeyPlace, in ring: SigningKeyRing) -> [PartyStanding] {
    parties.filter { party in
      party.family == key.family && ring.signer(for: party.id, family: key.family)?.id != key.id && !party.isReady(for: key.id)
    }
  }
}
