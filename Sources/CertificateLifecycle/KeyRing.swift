import Bytes

// A ring of keys of one purpose, as values. For the agent CA now; for token signing later.
//
//   prepared ──activate──► active ──(another is activated)──► retiring ──remove──► gone
//   trusted, not used       used, trusted                      trusted, not used
//
// At every moment at most one key is active. A key is trusted from `prepared` until it is removed, so that whoever checks has time to learn
// of it before it is used, and to see the last of what it made after it is not.

/// Where a key of a ring stands.
package enum KeyState: String, Sendable, Codable, CaseIterable {
  case prepared, active, retiring
}

/// One key's place in a ring; the key itself is kept elsewhere under the same id.
package struct RingKey: Sendable, Equatable, Codable {
  package var id: String
  package var state: KeyState
  package var prepared: Instant
  package var activated: Instant?
  package var retired: Instant?
  /// The end of the certificate.
  package var notAfter: Instant

  package init(id: String, state: KeyState, prepared: Instant, activated: Instant? = nil, retired: Instant? = nil, notAfter: Instant) {
    self.id = id
    self.state = state
    self.prepared = prepared
    self.activated = activated
    self.retired = retired
    self.notAfter = notAfter
  }
}

/// When a ring moves on.
package struct RingPolicy: Sendable, Equatable {
  /// The next key is prepared when the active one has this much life left.
  package var prepareBefore: Duration
  /// A prepared key is activated after it was published for this long.
  package var publishFor: Duration
  /// A retiring key is removed after this: the longest life of anything it made, and whatever grace there is.
  package var retireAfter: Duration

  package init(prepareBefore: Duration, publishFor: Duration, retireAfter: Duration) {
    self.prepareBefore = prepareBefore
    self.publishFor = publishFor
    self.retireAfter = retireAfter
  }
}

/// What a ring needs now.
package enum RingStep: Sendable, Equatable {
  /// Make a key and publish it; it is activated at once where none is active.
  case prepare
  case activate(id: String)
  case remove(id: String)
}

/// The rules: pure functions of ring, policy and time.
package enum CertificateRing {
  /// The one step to take now, or nil where the ring is as it should be. Callers repeat until nil.
  package static func next(_ ring: [RingKey], policy: RingPolicy, now: Instant) -> RingStep? {
    guard let active = ring.first(where: { $0.state == .active }) else {
      if let waiting = ring.filter({ $0.state == .prepared && $0.notAfter > now }).min(by: { $0.prepared < $1.prepared }) {
        return .activate(id: waiting.id)
      }
      return .prepare
    }
    if let over = ring.first(where: { $0.state == .retiring && now.since($0.retired ?? $0.prepared) >= policy.retireAfter }) {
      return .remove(id: over.id)
    }
    let waiting = ring.filter { $0.state == .prepared }.min { $0.prepared < $1.prepared }
    guard active.notAfter.since(now) <= policy.prepareBefore else { return nil }
    guard let waiting else { return .prepare }
    let published = now.since(waiting.prepared) >= policy.publishFor
    // An active key that is over is worse than a successor that not everybody has seen.
    return published || active.notAfter <= now ? .activate(id: waiting.id) : nil
  }

  /// The ring after `id` became the active key and the one before began to retire. Unknown ids change nothing.
  package static func activating(_ id: String, in ring: [RingKey], now: Instant) -> [RingKey] {
    guard ring.contains(where: { $0.id == id && $0.state == .prepared }) else { return ring }
    return ring.map { key in
      var key = key
      if key.id == id {
        key.state = .active
        key.activated = now
      } else if key.state == .active {
        key.state = .retiring
        key.retired = now
      }
      return key
    }
  }
}
