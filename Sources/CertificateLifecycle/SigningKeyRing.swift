import Bytes

// The ring of token-signing keys, as values. One ring has the keys of every family; each family has one primary.
//
//   prepared ──publish──► published ──promote──► primary ──(another is promoted)──► retiring ──retire──► retired
//   key exists            in metadata,           signs for everybody                in metadata,         out of metadata,
//   nobody knows          signs for relying      that is not moved                  signs for those      key destroyed,
//                         parties moved to it                                       held on it           record kept
//                              ▲                                                         │
//                              └──────(withheld)── rollback: the former primary is primary again

/// Where a token-signing key stands.
package enum SigningKeyState: String, Sendable, Codable, CaseIterable {
  case prepared, published, primary, retiring, retired

  /// Whether metadata shows its certificate, so that what it has signed, or will sign, can be verified.
  package var isInMetadata: Bool { self == .published || self == .primary || self == .retiring }
}

/// Which algorithms a key can sign with.
package enum SigningKeyFamily: String, Sendable, Codable, CaseIterable {
  case rsa, ecdsa
}

/// Whence a key comes.
package enum SigningKeyOrigin: String, Sendable, Codable, CaseIterable {
  /// By the policy, of its own accord.
  case policy
  /// An administrator wished for it: it waits for their next word as long as there is time.
  case hand
  /// With a certificate that somebody else issued.
  case imported
}

/// One key's place in the ring; the key itself is kept elsewhere under the same id.
package struct SigningKeyPlace: Sendable, Equatable, Codable {
  package var id: String
  package var family: SigningKeyFamily
  package var state: SigningKeyState
  package var prepared: Instant
  package var published: Instant?
  package var promoted: Instant?
  package var retiring: Instant?
  package var retired: Instant?
  /// Since when nobody's tokens are signed with a retiring key.
  package var unused: Instant?
  /// The end of its certificate.
  package var notAfter: Instant
  /// Nil in rings of former versions: by the policy.
  package var origin: SigningKeyOrigin?
  /// Why nobody is moved to it of the gateway's own accord: an administrator took it back. Nil: they are.
  package var withheld: String?
  /// Since when tokens signed with it are suspect: somebody else has the key.
  package var suspectSince: Instant?

  package init(
    id: String, family: SigningKeyFamily, state: SigningKeyState, prepared: Instant, notAfter: Instant, origin: SigningKeyOrigin = .policy
  ) {
    self.id = id
    self.family = family
    self.state = state
    self.prepared = prepared
    self.notAfter = notAfter
    self.origin = origin
    if state == .published || state == .primary { published = prepared }
    if state == .primary { promoted = prepared }
  }

  package var isMadeByPolicy: Bool { (origin ?? .policy) == .policy }
}

/// Why a ring does not take a change, for the administrator.
package struct RingProblem: Error, Sendable, Equatable, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}

/// The keys, and which relying parties are not signed for with the primary of their family.
package struct SigningKeyRing: Sendable, Equatable, Codable {
  package var places: [SigningKeyPlace] = []
  /// A relying party's id to a key's: those moved ahead to the next key, and those held on the former one.
  package var assignments: [String: String] = [:]

  package init(places: [SigningKeyPlace] = [], assignments: [String: String] = [:]) {
    self.places = places
    self.assignments = assignments
  }

  package subscript(id: String) -> SigningKeyPlace? { places.first { $0.id == id } }

  package func primary(of family: SigningKeyFamily) -> SigningKeyPlace? { places.first { $0.family == family && $0.state == .primary } }

  /// The key that will follow the primary: of those that are published, else prepared, the oldest that is not withheld.
  package func next(of family: SigningKeyFamily) -> SigningKeyPlace? {
    for state in [SigningKeyState.published, .prepared] {
      let waiting = places.filter { $0.family == family && $0.state == state && $0.withheld == nil }
      if let first = waiting.min(by: { ($0.prepared, $0.id) < ($1.prepared, $1.id) }) { return first }
    }
    return nil
  }

  /// The key that a relying party's tokens are signed with, of whatever kind they are: the one assigned to it while that is in metadata, else the primary.
  package func signer(for party: String?, family: SigningKeyFamily) -> SigningKeyPlace? {
    if let assigned = party.flatMap({ assignments[$0] }), let key = self[assigned], key.family == family, key.state.isInMetadata { return key }
    return primary(of: family)
  }

  /// What metadata shows, in its order: the signer first (some relying parties read one key only), then by age. ECDSA keys are shown to those only who chose
  /// them; these are shown the RSA keys as well, behind, for what was signed before they chose.
  package func published(for party: String?, family: SigningKeyFamily) -> [SigningKeyPlace] {
    let first = signer(for: party, family: family)
    let rest = places.filter { $0.family == family && $0.state.isInMetadata && $0.id != first?.id }.sorted {
      ($0.prepared, $0.id) < ($1.prepared, $1.id)
    }
    return (first.map { [$0] } ?? []) + rest + (family == .ecdsa ? published(for: party, family: .rsa) : [])
  }

  /// Whether a key is one that somebody's tokens are signed with now.
  package func isUsed(_ id: String) -> Bool { self[id]?.state == .primary || assignments.values.contains(id) }

  /// What is wrong with the ring as a whole, or nil. Nothing is stored that has a fault.
  package var fault: String? {
    guard Set(places.map(\.id)).count == places.count else { return "two keys have one id" }
    for family in SigningKeyFamily.allCases {
      let primaries = places.filter { $0.family == family && $0.state == .primary }
      if primaries.count > 1 { return "\(primaries.count) keys of \(family.rawValue) are primary" }
      if primaries.isEmpty, places.contains(where: { $0.family == family && $0.state.isInMetadata }) { return "\(family.rawValue) has no primary" }
    }
    for key in assignments.values where self[key]?.state.isInMetadata != true {
      return "a relying party is assigned to \(key), which metadata does not show"
    }
    for place in places where place.state.isInMetadata && place.published == nil { return "\(place.id) was never published" }
    return nil
  }
}

// What can happen to a ring. Each answers with a problem where it cannot, and changes nothing then.
extension SigningKeyRing {
  package mutating func add(_ place: SigningKeyPlace) throws(RingProblem) {
    guard self[place.id] == nil else { throw RingProblem("The key \(place.id) is in the ring already.") }
    places.append(place)
  }

  /// Metadata shows it from now on.
  package mutating func publish(_ id: String, now: Instant) throws(RingProblem) {
    try change(id, in: [.prepared], to: "published") {
      $0.state = .published
      $0.published = now
    }
  }

  /// Signs for these relying parties with this key from now on, which is in metadata and of their family. The primary: they have none of their own any more.
  package mutating func assign(_ parties: [String], to id: String, now: Instant) throws(RingProblem) {
    let place = try known(id)
    guard place.state.isInMetadata else {
      throw RingProblem("The key \(id) is \(place.state.rawValue); only one that metadata shows can sign. See `gatehouse certs list`.")
    }
    for party in parties { assignments[party] = place.state == .primary ? nil : id }
    noteUnused(now)
  }

  /// Makes it the primary; the former one retires. `holding` stay on the key that signs for them now, everybody else of the family moves.
  package mutating func promote(_ id: String, holding: [String], now: Instant) throws(RingProblem) {
    let place = try known(id)
    let former = primary(of: place.family)
    try change(id, in: [.published, .retiring], to: "primary") {
      $0.state = .primary
      $0.promoted = now
      ($0.retiring, $0.unused, $0.withheld) = (nil, nil, nil)
    }
    if let former, let index = places.firstIndex(where: { $0.id == former.id }) {
      places[index].state = .retiring
      places[index].retiring = now
    }
    let held = Set(holding)
    for party in held where assignments[party] == nil { assignments[party] = former?.id }
    assignments = assignments.filter { $0.value != id && (self[$0.value]?.family != place.family || held.contains($0.key)) }
    noteUnused(now)
  }

  /// The former primary signs again for everybody, and the present one waits, withheld, still published.
  package mutating func rollBack(_ family: SigningKeyFamily, reason: String, now: Instant) throws(RingProblem) {
    let retiring = places.filter { $0.family == family && $0.state == .retiring && $0.suspectSince == nil }
    let present = primary(of: family)
    if let former = retiring.max(by: { ($0.retiring ?? $0.prepared, $0.id) < ($1.retiring ?? $1.prepared, $1.id) }), let present {
      try promote(former.id, holding: [], now: now)
      guard let index = places.firstIndex(where: { $0.id == present.id }) else { return }
      places[index].state = .published
      (places[index].retiring, places[index].unused, places[index].withheld) = (nil, nil, reason)
      return
    }
    // Before the promotion there may be relying parties that were moved ahead.
    guard let next = next(of: family), assignments.values.contains(next.id), let index = places.firstIndex(where: { $0.id == next.id }) else {
      throw RingProblem("There is nothing to roll back to: no key of \(family.rawValue) is retiring, and no relying party was moved ahead.")
    }
    assignments = assignments.filter { $0.value != next.id }
    places[index].withheld = reason
  }

  /// The gateway may move relying parties to it again.
  package mutating func resume(_ id: String) throws(RingProblem) {
    guard let index = places.firstIndex(where: { $0.id == id && $0.withheld != nil }) else {
      throw RingProblem("The key \(id) is not withheld. See `gatehouse certs list`.")
    }
    places[index].withheld = nil
  }

  /// Takes it out of metadata. Whoever is assigned to it uses the primary from now on. The caller destroys the key.
  package mutating func retire(_ id: String, suspectSince: Instant? = nil, now: Instant) throws(RingProblem) {
    if self[id]?.state == .primary {
      throw RingProblem("The key \(id) is the primary. Promote another one first, or use `gatehouse certs replace --urgent`.")
    }
    try change(id, in: [.prepared, .published, .retiring], to: "retired") {
      $0.state = .retired
      $0.retired = now
      $0.suspectSince = suspectSince
    }
    assignments = assignments.filter { $0.value != id }
  }

  /// Retires keys that are known to have been retired, whatever the ring says: it comes from a backup. Where one of them is the primary, another key of its family
  /// takes its place, shown or not; a family without any has no primary afterwards.
  ///
  /// - Returns: those that were not retired yet.
  package mutating func giveUp(_ retired: Set<String>, now: Instant) throws(RingProblem) -> [String] {
    var given: [String] = []
    for place in places where retired.contains(place.id) && place.state != .retired {
      given.append(place.id)
      if self[place.id]?.state == .primary {
        let others = places.filter { $0.family == place.family && $0.state != .retired && !retired.contains($0.id) }
        // Who was shown last is what the world has gone on with.
        if let best = others.max(by: { ($0.published ?? $0.prepared, $0.id) < ($1.published ?? $1.prepared, $1.id) }) {
          if best.state == .prepared { try publish(best.id, now: now) }
          try promote(best.id, holding: [], now: now)
        } else if let index = places.firstIndex(where: { $0.id == place.id }) {
          (places[index].state, places[index].retired) = (.retired, now)
          assignments = assignments.filter { $0.value != place.id }
          continue
        }
      }
      try retire(place.id, now: now)
    }
    return given
  }

  /// Forgets assignments of relying parties that are no longer registered, or whose family is another now.
  package mutating func forgetAssignments(besides parties: [String: SigningKeyFamily], now: Instant) {
    assignments = assignments.filter { party, key in parties[party].map { $0 == self[key]?.family } ?? false }
    noteUnused(now)
  }

  private func known(_ id: String) throws(RingProblem) -> SigningKeyPlace {
    guard let place = self[id] else { throw RingProblem("There is no key \(id.prefix(64)). See `gatehouse certs list`.") }
    return place
  }

  private mutating func change(
    _ id: String, in states: [SigningKeyState], to wish: String, _ body: (inout SigningKeyPlace) -> Void
  ) throws(RingProblem) {
    let place = try known(id)
    guard states.contains(place.state), let index = places.firstIndex(where: { $0.id == id }) else {
      throw RingProblem("The key \(id) is \(place.state.rawValue) and cannot become \(wish). See `gatehouse certs plan`.")
    }
    body(&places[index])
  }

  private mutating func noteUnused(_ now: Instant) {
    let used = Set(assignments.values)
    for index in places.indices where places[index].state == .retiring {
      if used.contains(places[index].id) { places[index].unused = nil } else if places[index].unused == nil { places[index].unused = now }
    }
  }
}
