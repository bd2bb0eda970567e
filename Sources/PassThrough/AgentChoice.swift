import Foundation
import Identity

// Which agent gets a question. `HubState` has the drawing.

extension HubState {
  /// Power of two choices: of two agents by chance the one that would be done much sooner, and of two that are about equal the one that was
  /// given less of late. The second half makes the shares of equal agents equal: by the sooner alone, whoever looks one part in a hundred
  /// faster would get everything that the other could have had.
  func candidate(for waiting: Pending, random: Int, now: HubTime) -> Identifier? {
    let realm = waiting.question.realm
    let mustBeProven = guarded.contains(realm)
    if case .only(let agent) = waiting.addressee {
      guard !waiting.asked.contains(agent), let session = sessions[agent], session.realms.contains(realm) else { return nil }
      return agent
    }
    // While agents are renewed, what the old ones do not know yet is for the others.
    let mustChange =
      waiting.question.kind == .changePassword
      && (rosters[realm] ?? []).contains { sessions[$0].map { !$0.draining && $0.understands >= WorkRequest.changesPasswords } ?? false }
    func eligible(_ agent: Identifier) -> Session? {
      guard let session = sessions[agent], !session.draining, !waiting.asked.contains(agent), !mustBeProven || session.proven.contains(realm),
        waiting.addressee != .another(than: agent), !mustChange || session.understands >= WorkRequest.changesPasswords
      else { return nil }
      return session
    }
    func isWell(_ session: Session) -> Bool {
      !session.silent && session.failingUntil <= now && (session.withoutPollSince.map { now - $0 <= HubState.pollGap } ?? true)
    }
    let roster = rosters[realm] ?? []
    var chance = Chance(random)
    if roster.count > 4 {
      // With many agents nearly every pair will do, and none has to be looked at twice.
      for _ in 0..<4 {
        let (first, second) = chance.pair(of: roster.count)
        guard let one = eligible(roster[first]), let other = eligible(roster[second]), isWell(one), isWell(other) else { continue }
        return isBetter(one, other, realm: realm, now: now) ? roster[first] : roster[second]
      }
    }
    let all = roster.compactMap { agent in eligible(agent).map { (agent, $0) } }
    let well = all.filter { isWell($0.1) }
    let candidates = well.isEmpty ? all : well
    guard candidates.count > 1 else { return candidates.first?.0 }
    let (first, second) = chance.pair(of: candidates.count)
    return isBetter(candidates[first].1, candidates[second].1, realm: realm, now: now) ? candidates[first].0 : candidates[second].0
  }

  func isBetter(_ one: Session, _ other: Session, realm: RealmName, now: HubTime) -> Bool {
    let (first, second) = (cost(one, beside: other, now: now), cost(other, beside: one, now: now))
    if first >= 2 * second { return false }
    if second >= 2 * first { return true }
    return one.share <= other.share
  }

  /// The milliseconds after which a new question would be done: those before it, at the speed of late. What is known of an agent that is not
  /// asked grows old, so that one slow answer does not shut it out for good; of a new agent nothing is known but its neighbour.
  func cost(_ session: Session, beside other: Session, now: HubTime) -> Double {
    let waiting = Double(session.inFlight + session.queue.count + 1)
    guard let latency = session.latency else { return waiting * max(other.latency ?? 1, 1) }
    let idle = session.inFlight == 0 ? Double(max(0, now - session.lastAnswer)) / 500 : 0
    return waiting * max(latency * exp2(-idle), 1)
  }

  /// Of an agent that answers often each answer moves the mean a little; of one that is rarely asked the last one is all that is known. The first
  /// one is taken for what it is worth beside what the others need.
  static func learn(_ milliseconds: Double, _ session: inout Session, usual: Double?, now: HubTime) {
    let age = Double(max(0, now - session.lastAnswer)) / 1000
    session.lastAnswer = now
    guard let mean = session.latency else {
      session.latency = usual.map { $0 + (milliseconds - $0) * 0.2 } ?? milliseconds
      return
    }
    session.latency = mean + (milliseconds - mean) * max(0.05, 1 - exp2(-age))
  }

  /// The mean answer time of the other agents that serve a realm with this one; nil where nothing is known.
  func usualLatency(beside agent: Identifier, _ session: Session) -> Double? {
    guard session.latency == nil else { return nil }
    let known = sessions.compactMap { $0.key != agent && !$0.value.realms.isDisjoint(with: session.realms) ? $0.value.latency : nil }
    return known.isEmpty ? nil : known.reduce(0, +) / Double(known.count)
  }
}

/// Numbers by chance from one seed (SplitMix64).
private struct Chance {
  private var state: UInt64

  init(_ seed: Int) { state = UInt64(bitPattern: Int64(seed)) }

  private mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }

  /// Two different numbers below `count`, which is at least two.
  mutating func pair(of count: Int) -> (Int, Int) {
    let first = Int(next() % UInt64(count))
    let second = (first + 1 + Int(next() % UInt64(count - 1))) % count
    return (first, second)
  }
}
