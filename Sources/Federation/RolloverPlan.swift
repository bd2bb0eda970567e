import Bytes
import CertificateLifecycle
import Identity

/// What will happen, and who has to do something until when.
package struct RolloverPlan: Sendable, Equatable {
  /// A relying party that will break unless somebody acts.
  package struct Laggard: Sendable, Equatable {
    package var name: String
    /// The key that it lacks; nil: it does not exist yet.
    package var key: String?
    package var level: ReadinessLevel
    /// From then on its tokens are signed with the new key; where it `stays`, the end of its own.
    package var deadline: Instant
    package var stays: Bool
    /// In one sentence, what its owner has to do.
    package var sentence: String
    /// What an administrator runs once that is done, or to keep it from breaking.
    package var command: String
    /// Why and when it was taken back to its former key; nil: it was not.
    package var blocked: RolloverRecord.Block?
  }

  /// Something that an administrator has to do, about no single relying party.
  package struct Chore: Sendable, Equatable {
    /// `rsa`, `ecdsa` or `clock`.
    package var subject: String
    /// Nil: it stays as it is until somebody acts.
    package var deadline: Instant?
    package var sentence: String
    package var command: String
  }

  package struct Family: Sendable, Equatable {
    package var family: SigningKeyFamily
    package var primary: SigningKeyPlace?
    package var next: SigningKeyPlace?
    package var laggards: [Laggard]
  }

  package var families: [Family]
  package var chores: [Chore]
  package var events: [RehearsedEvent]
  package var freeze: ClockWatch.Freeze?

  package init(families: [Family], chores: [Chore] = [], events: [RehearsedEvent], freeze: ClockWatch.Freeze?) {
    self.families = families
    self.chores = chores
    self.events = events
    self.freeze = freeze
  }
}

extension RolloverService {
  /// What is to come until every present key is replaced.
  package func plan() -> RolloverPlan {
    let time = now()
    let (ring, policy, standings) = (keys.ring, keys.policy, standings(time))
    // Each family for itself: a year of one may be a minute of the other.
    let events = SigningKeyFamily.allCases.flatMap { family in
      let end = max(ring.primary(of: family)?.notAfter ?? time, time).adding(policy.certificateRetirement * 2)
      return Rehearsal.play(family, of: ring, parties: standings, policy: policy, from: time, until: end)
    }
    return RolloverPlan(
      families: SigningKeyFamily.allCases.map { family in
        RolloverPlan.Family(
          family: family, primary: ring.primary(of: family), next: ring.next(of: family), laggards: laggards(family, standings, ring, time))
      }, chores: chores(ring, policy, time), events: events.sorted { $0.time < $1.time }, freeze: freeze)
  }

  /// What does not happen by itself.
  private func chores(_ ring: SigningKeyRing, _ policy: RolloverPolicy, _ time: Instant) -> [RolloverPlan.Chore] {
    var chores: [RolloverPlan.Chore] = []
    if let freeze {
      chores.append(
        .init(
          subject: "clock", deadline: nil,
          sentence: "The clock has jumped by \(freeze.jump.components.seconds) s: mend it; if it is right as it is, say so.",
          command: "gatehouse certs trust-clock"))
    }
    return chores + SigningKeyFamily.allCases.compactMap { chore($0, ring, policy, time) }
  }

  private func chore(_ family: SigningKeyFamily, _ ring: SigningKeyRing, _ policy: RolloverPolicy, _ time: Instant) -> RolloverPlan.Chore? {
    guard let primary = ring.primary(of: family) else { return nil }
    func chore(_ sentence: String, _ command: String) -> RolloverPlan.Chore {
      .init(subject: family.rawValue, deadline: primary.notAfter, sentence: sentence, command: "gatehouse certs " + command)
    }
    if let next = ring.next(of: family) {
      if policy.autoCertificateRollover, next.isMadeByPolicy { return nil }
      if next.state == .prepared { return chore("The next key is made and nobody can see it: show it in metadata.", "publish \(next.id)") }
      return Rollover.mayRollOver(next, policy, time)
        ? chore("The next key was in metadata for long enough: sign with it; who is not ready stays.", "promote \(next.id)") : nil
    }
    if let withheld = ring.places.first(where: { $0.family == family && $0.state == .published && $0.withheld != nil }) {
      return chore("The next key was taken back (\(withheld.withheld ?? "")): when that is mended, let it go on.", "resume \(withheld.id)")
    }
    guard primary.notAfter.since(time) <= max(policy.warnings.max() ?? .zero, policy.certificateGenerationThreshold) else { return nil }
    if primary.origin == .imported {
      return chore(
        "The certificate was imported, and none follows by itself: import the next one, or make one.", "prepare --family \(family.rawValue)")
    }
    return policy.autoCertificateRollover
      ? nil : chore("Certificates do not follow by themselves: make the next one, or let the gateway do it.", "policy --auto on")
  }

  /// Who will break unless somebody acts, of every family.
  package func laggards() -> [RolloverPlan.Laggard] {
    let (ring, time) = (keys.ring, now())
    let standings = standings(time)
    return SigningKeyFamily.allCases.flatMap { laggards($0, standings, ring, time) }
  }

  /// The relying parties that will break unless somebody acts: those that have no way to learn of the next key by themselves, or have not done so for long, or
  /// that failed with it.
  func laggards(_ family: SigningKeyFamily, _ standings: [PartyStanding], _ ring: SigningKeyRing, _ time: Instant) -> [RolloverPlan.Laggard] {
    guard let primary = ring.primary(of: family) else { return [] }
    // Before, a key that is made would end as soon as the present one.
    let early = max(keys.policy.warnings.max() ?? .zero, keys.policy.certificateGenerationThreshold)
    let next = ring.next(of: family).flatMap { $0.state == .published ? $0 : nil }
    return standings.filter { $0.family == family }.sorted { $0.name < $1.name }.compactMap { party in
      if let held = ring.assignments[party.id].flatMap({ ring[$0] }), held.state == .retiring {
        return isLate(party, primary, ring, time)
          ? laggard(party, primary, level: party.level(for: primary.id), deadline: party.staysAtTheEnd ? .init(milliseconds: .max) : held.notAfter)
          : nil
      }
      guard let next else {
        // Nobody can follow by themselves who reads nothing: they hear of it with the first of the warnings.
        guard party.fetchInterval == nil, !party.isProbed, !party.keepsExpiredKey, primary.notAfter.since(time) <= early else { return nil }
        return laggard(party, nil, level: .unknown, deadline: primary.notAfter)
      }
      guard ring.signer(for: party.id, family: family)?.id != next.id, isLate(party, next, ring, time) else { return nil }
      return laggard(party, next, level: party.level(for: next.id), deadline: primary.notAfter)
    }
  }

  /// Whether a relying party that is not ready for a key has no excuse: metadata that it reads shows the key for longer than it takes to read it twice.
  private func isLate(_ party: PartyStanding, _ key: SigningKeyPlace, _ ring: SigningKeyRing, _ time: Instant) -> Bool {
    if party.blocked.contains(key.id) { return true }
    if party.movesByProofOnly { return !party.isReady(for: key.id) }
    guard !party.keepsExpiredKey, party.level(for: key.id) < .fetched else { return false }
    guard let interval = party.fetchInterval, let published = key.published else { return true }
    return party.readsFirstKeyOnly ? false : time.since(published) > interval * 2
  }

  private func laggard(_ party: PartyStanding, _ key: SigningKeyPlace?, level: ReadinessLevel, deadline: Instant) -> RolloverPlan.Laggard {
    let id = Identifier(party.id)
    let blocked = id.flatMap { id in key.flatMap { ledger.record(of: id).block(of: $0.id) } }
    let isTenant = party.movesByProofOnly
    let confirm = "gatehouse certs confirm --rp \(party.name)" + (isTenant ? " --document entra.json" : "")
    let sentence: String
    let command: String
    if let blocked {
      sentence = "It failed with the new key (\(blocked.reason)): its owner finds out why and mends that."
      command = party.isProbed ? "gatehouse certs probe \(party.name)" : confirm + " --key \(blocked.key)"
    } else if key == nil {
      sentence = "It reads no metadata of ours: its owner must be given the new certificate before the present one ends, so make that now."
      let made = keys.ring.next(of: party.family)?.id
      command = made.map { "gatehouse certs publish \($0)" } ?? "gatehouse certs prepare --family \(party.family.rawValue)"
    } else if isTenant {
      sentence = "The tenant's domains do not all show the new certificate: push it to them (docs/operations/certificates.md has the script)."
      command = confirm
    } else if party.fetchInterval != nil {
      sentence = "It used to read its metadata and has not read it since the new key is in it: its owner looks whether its refresh works."
      command = confirm
    } else {
      sentence = "It reads no metadata of ours: its owner installs the new certificate beside the present one."
      command = confirm
    }
    return RolloverPlan.Laggard(
      name: party.name, key: key?.id, level: level, deadline: deadline, stays: party.staysAtTheEnd, sentence: sentence, command: command,
      blocked: blocked)
  }

  /// The coming days in fast clock. Recorded, its digest goes into the audit, so that nobody can say afterwards that it had foreseen something else. Throws
  /// `StoreError`.
  package func rehearse(days: Int64, record: (actor: String, digest: ([RehearsedEvent]) -> String)?) async throws -> [RehearsedEvent] {
    let time = now()
    let (ring, policy, standings) = (keys.ring, keys.policy, standings(time))
    let events = SigningKeyFamily.allCases.flatMap {
      Rehearsal.play($0, of: ring, parties: standings, policy: policy, from: time, until: time.adding(.days(days)))
    }.sorted { $0.time < $1.time }
    if let record {
      let digest = record.digest(events)
      try await audit.append([event(.rolloverRehearsed, digest, record.actor, ["days": "\(days)", "events": "\(events.count)"], time)])
    }
    return events
  }
}
