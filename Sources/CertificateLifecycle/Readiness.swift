import Bytes

/// How well it is known that a relying party accepts tokens signed with a key. Each level is better evidence than the one before.
package enum ReadinessLevel: Int, Sendable, Codable, CaseIterable, Comparable {
  case unknown = 0
  /// Every client that regularly polls the relying party's own metadata URL has had the key.
  case fetched = 1
  /// Its own metadata or configuration shows the key.
  case configured = 2
  /// Its owner says so.
  case confirmed = 3
  /// A whole sign-in of the probe user succeeded.
  case probed = 4
  /// Real users signed in with it.
  case used = 5

  package static func < (left: ReadinessLevel, right: ReadinessLevel) -> Bool { left.rawValue < right.rawValue }

  /// For people and programs.
  package var word: String { "\(self)" }
}

/// One relying party as a rollover sees it.
package struct PartyStanding: Sendable, Equatable {
  package var id: String
  package var name: String
  package var family: SigningKeyFamily
  /// By key.
  package var levels: [String: ReadinessLevel] = [:]
  /// It followed an earlier rollover by reading its metadata: that it fetched the key is then enough.
  package var followsMetadata = false
  /// The keys that it failed with: it is moved to none of them unasked.
  package var blocked: Set<String> = []
  /// It reads the first key of metadata only: its key and their order flip together, at the end of the old one.
  package var readsFirstKeyOnly = false
  /// It pins the key and does not look at dates: it stays on its key when that ends.
  package var keepsExpiredKey = false
  /// Only its own record says what it trusts (an Entra tenant): it is never moved without, not even at the end of its key.
  package var movesByProofOnly = false
  /// How often it reads its own metadata URL; nil: it was never seen to.
  package var fetchInterval: Duration?
  /// A probe looks whether it takes a key.
  package var isProbed = false

  package init(id: String, name: String, family: SigningKeyFamily) {
    self.id = id
    self.name = name
    self.family = family
  }

  package func level(for key: String) -> ReadinessLevel { levels[key] ?? .unknown }

  /// Whether it stays on its key when that ends.
  package var staysAtTheEnd: Bool { keepsExpiredKey || movesByProofOnly }

  /// Whether it may be moved to the key ahead of the primary's end. That it fetched metadata never suffices alone: it may have read and not used it.
  package func isReady(for key: String) -> Bool {
    guard !blocked.contains(key), !readsFirstKeyOnly else { return false }
    let level = level(for: key)
    // Where it can be tried nothing else counts: a probe finds out what owners and documents overlook.
    guard !isProbed else { return level >= .probed }
    return level >= .configured || level == .fetched && followsMetadata
  }
}
