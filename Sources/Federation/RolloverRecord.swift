import Bytes
import CertificateLifecycle
import Identity

/// What was observed of one relying party in view of changing keys: who reads its metadata, what is known to have worked with which key.
package struct RolloverRecord: Sendable, Equatable, Codable {
  /// A client that reads the relying party's own metadata URL.
  package struct Poller: Sendable, Equatable, Codable {
    /// Address and program, as it says itself.
    package var client: String
    package var first: Instant
    package var last: Instant
    package var count: Int
    /// The keys that it was shown last.
    package var keys: [String]

    /// Whether it comes again and again: it had polled twice before its last poll. Somebody who looks once is none.
    package var isRegular: Bool { count >= 3 }
    /// The mean time between two polls; nil before the second one.
    package var interval: Duration? { count > 1 ? last.since(first) / (count - 1) : nil }

    /// Whether it has not come for so long that it is no longer there.
    func isGone(_ now: Instant) -> Bool { now.since(last) > max((interval ?? .zero) * 10, .seconds(1800)) }
  }

  /// Why a level is believed of a key.
  package struct Evidence: Sendable, Equatable, Codable {
    package var key: String
    package var level: ReadinessLevel
    package var time: Instant
    /// For people: who or what says so.
    package var detail: String

    package init(key: String, level: ReadinessLevel, time: Instant, detail: String) {
      self.key = key
      self.level = level
      self.time = time
      self.detail = detail
    }
  }

  /// A key that the relying party failed with.
  package struct Block: Sendable, Equatable, Codable {
    package var key: String
    package var since: Instant
    package var reason: String

    package init(key: String, since: Instant, reason: String) {
      self.key = key
      self.since = since
      self.reason = reason
    }
  }

  static let mostPollers = 64
  static let mostEvidence = 64

  package var relyingParty: Identifier
  package var pollers: [Poller] = []
  package var evidence: [Evidence] = []
  /// One for each key, the latest last.
  package var blocks: [Block] = []
  /// When it was last seen to follow a rollover by reading metadata alone.
  package var followed: Instant?
  /// For compare-and-swap; the store increments it.
  package var version: Int64 = 0

  package init(relyingParty: Identifier) { self.relyingParty = relyingParty }

  /// Somebody was given the relying party's own metadata, which shows these keys.
  package mutating func notePoll(by client: String, keys: [String], now: Instant) {
    pollers.removeAll { $0.isGone(now) }
    if let index = pollers.firstIndex(where: { $0.client.utf8.elementsEqual(client.utf8) }) {
      pollers[index].last = max(now, pollers[index].last)
      pollers[index].count += 1
      pollers[index].keys = keys
    } else {
      // Whoever guesses addresses must not fill the store: one that came once only makes room.
      if pollers.count >= RolloverRecord.mostPollers, let once = pollers.firstIndex(where: { !$0.isRegular }) { pollers.remove(at: once) }
      guard pollers.count < RolloverRecord.mostPollers else { return }
      pollers.append(Poller(client: client, first: now, last: now, count: 1, keys: keys))
    }
  }

  package mutating func add(_ fresh: Evidence) {
    evidence.removeAll { $0.key == fresh.key && $0.level == fresh.level }
    evidence.append(fresh)
    if evidence.count > RolloverRecord.mostEvidence { evidence.removeFirst(evidence.count - RolloverRecord.mostEvidence) }
    if fresh.level >= .configured { unblock(fresh.key) }
  }

  /// Nobody is moved to this key unasked. Since when, stays as it was first said.
  package mutating func block(_ fresh: Block) {
    var fresh = fresh
    if let known = blocks.first(where: { $0.key == fresh.key }) { fresh.since = known.since }
    evidence.removeAll { $0.key == fresh.key }
    blocks.removeAll { $0.key == fresh.key }
    blocks.append(fresh)
    if blocks.count > 16 { blocks.removeFirst() }
  }

  package mutating func unblock(_ key: String) { blocks.removeAll { $0.key == key } }

  package func block(of key: String) -> Block? { blocks.first { $0.key == key } }

  /// The clients that read metadata regularly now.
  package func regularPollers(_ now: Instant) -> [Poller] { pollers.filter { $0.isRegular && !$0.isGone(now) } }

  /// The best that is known of a key. That it was fetched needs every regular client: one node of a farm that has not read it would refuse tokens.
  package func best(for key: String, now: Instant) -> Evidence? {
    var best = evidence.filter { $0.key == key }.max { $0.level < $1.level }
    let regular = regularPollers(now)
    if best == nil, !regular.isEmpty, regular.allSatisfy({ $0.keys.contains(key) }), let last = regular.map(\.last).max() {
      best = Evidence(
        key: key, level: .fetched, time: last, detail: "\(regular.count) of \(regular.count) regular clients have read the metadata that shows it")
    }
    return best
  }

  /// How the rules see it.
  package func standing(of party: RelyingParty, keys: [SigningKeyPlace], now: Instant) -> PartyStanding {
    var standing = PartyStanding(party, keys: keys)
    for key in keys { standing.levels[key.id] = best(for: key.id, now: now)?.level }
    standing.followsMetadata = followed != nil
    if let domains = party.rollover?.entraDomains, !domains.isEmpty {
      // Entra reads what it was told to, when it wants to: only its own record of every domain says what it trusts.
      standing.levels = standing.levels.mapValues { _ in .unknown }
      for evidence in evidence where evidence.level == .configured { standing.levels[evidence.key] = .configured }
      (standing.followsMetadata, standing.movesByProofOnly, standing.fetchInterval) = (false, true, nil)
    }
    standing.blocked = Set(blocks.map(\.key))
    standing.fetchInterval = regularPollers(now).compactMap(\.interval).max()
    return standing
  }

  /// What two nodes have observed of one relying party, in one record. Of each client the newer poll counts.
  package func merged(with other: RolloverRecord) -> RolloverRecord {
    var merged = self
    for poller in other.pollers {
      guard let index = merged.pollers.firstIndex(where: { $0.client.utf8.elementsEqual(poller.client.utf8) }) else {
        if merged.pollers.count < RolloverRecord.mostPollers { merged.pollers.append(poller) }
        continue
      }
      let mine = merged.pollers[index]
      var newer = mine.last >= poller.last ? mine : poller
      newer.count = max(mine.count, poller.count)
      newer.first = min(mine.first, poller.first)
      merged.pollers[index] = newer
    }
    for evidence in other.evidence where !merged.evidence.contains(where: { $0.key == evidence.key && $0.level == evidence.level }) {
      merged.evidence.append(evidence)
    }
    for block in other.blocks where merged.block(of: block.key) == nil { merged.blocks.append(block) }
    if let theirs = other.followed { merged.followed = max(merged.followed ?? theirs, theirs) }
    return merged
  }
}

extension PartyStanding {
  /// Of a relying party of which nothing was observed.
  init(_ party: RelyingParty, keys: [SigningKeyPlace]) {
    self.init(id: party.id.description, name: party.name, family: party.signatureAlgorithm.family)
    readsFirstKeyOnly = party.rollover?.readsFirstKeyOnly ?? false
    keepsExpiredKey = party.rollover?.keepsExpiredKey ?? false
    isProbed = party.rollover?.probe != nil
  }
}

/// The records as the store keeps them.
package protocol RolloverRecordStore: Sendable {
  /// A number that is another one after every record that was put: whoever holds a copy asks for this, not for all of them.
  func rolloverRecordsVersion() async throws -> Int64
  /// All of them, in no order. Throws `StoreError`.
  func rolloverRecords() async throws -> [RolloverRecord]
  /// Writes the record where the stored version is `record.version` (0: there is none). Throws `StoreError.conflict` where it is another, `.notFound` where the
  /// relying party is gone.
  func putRolloverRecord(_ record: RolloverRecord, audit: [AuditEvent]) async throws
}
