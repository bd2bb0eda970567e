import Bytes
import CertificateLifecycle
import Cryptography
import Identity

/// What an administrator can do to the ring by hand.
package enum RolloverAction: Sendable {
  /// Makes the family's next key.
  case prepare(SigningKeyFamily)
  case publish(String)
  /// All relying parties, or these; nil: the family's next key.
  case promote(String?, SigningKeyFamily, parties: [RelyingParty])
  case rollBack(SigningKeyFamily, parties: [RelyingParty], reason: String)
  case resume(String)
  case retire(String)
  /// Somebody else has the primary.
  case replace(SigningKeyFamily, fresh: Bool, suspectSince: Instant)
  case `import`(SigningKey, certificate: [UInt8], notBefore: Instant, notAfter: Instant)
}

/// What came of an action, or what would.
package struct RolloverReport: Sendable, Equatable {
  /// A relying party that breaks, or may, by the change.
  package struct Impact: Sendable, Equatable {
    package var name: String
    package var key: String
    package var level: ReadinessLevel
    /// When it reads metadata next, by its habit; nil: its owner has to act.
    package var recovers: Instant?
  }
  package var summary: String
  package var key: String
  package var breaks: [Impact] = []
  /// Of a replacement: who goes on trusting the old key, and until when; nil: until the owner acts.
  package var trustsStolen: [Impact] = []
  package var suspectTokens: [SuspectTokens] = []
  package var endedSessions = 0
  package var isDryRun: Bool

  package init(summary: String, key: String, isDryRun: Bool) {
    self.summary = summary
    self.key = key
    self.isDryRun = isDryRun
  }

  /// How many tokens of one relying party were signed with a key that somebody else has.
  package struct SuspectTokens: Sendable, Equatable {
    package var relyingParty: String
    package var count: Int
    package var first: Instant
    package var last: Instant
  }
}

extension RolloverService {
  /// Does what an administrator wishes, or says what it would do. Throws `RingProblem` where it is not possible, or would break somebody without `force`; and
  /// `StoreError`.
  package func perform(_ action: RolloverAction, dryRun: Bool, force: Bool, actor: String) async throws -> RolloverReport {
    let time = now()
    if let freeze, !force, !action.isUrgent {
      throw RingProblem(
        "The clock has jumped by \(freeze.jump.components.seconds) s, so that nothing is changed by it. Mend the clock, or say that it is right with `gatehouse certs trust-clock`."
      )
    }
    try await keys.refresh()
    let standings = standings(time)
    let (policy, before) = (keys.policy, keys.ring)
    let made: TokenSigningKeys.StoredKey? =
      switch action {
      case .prepare(let family): dryRun ? nil : try await makeKey(family, policy, time)
      case .replace(let family, let fresh, _) where fresh || keys.ring.next(of: family) == nil: try await makeKey(family, policy, time)
      case .import(let key, let certificate, _, _): try keys.storedKey(key, certificate: certificate)
      default: nil
      }
    var report: RolloverReport?
    do {
      try await keys.change { draft in
        let before = draft
        var done: (report: RolloverReport, events: [AuditEvent])
        do { done = try apply(action, made, to: &draft, standings, force: force, actor: actor, time) } catch let problem as RingProblem
          where dryRun && !force
        {
          // Who asks what would happen is told that, too.
          draft = before
          done = try apply(action, made, to: &draft, standings, force: true, actor: actor, time)
          done.report.summary = "It would be refused: \(problem.description) With --force: \(done.report.summary)"
        }
        done.report.isDryRun = dryRun
        done.report.breaks = impact(before.ring, draft.ring, standings, time)
        report = done.report
        return dryRun ? nil : done.events
      }
    } catch {
      if let made { await keys.discard(made) }
      throw error
    }
    if let made { await keys.discard(made) }
    // The ring has changed: what follows must not be kept from happening. The service writes it down within a second where it cannot be now.
    try? await journalRetired()
    guard var report else { throw RingProblem("Nothing was done.") }
    if case .promote(_, _, let parties) = action, !dryRun {
      for party in parties where ledger.record(of: party.id).block(of: report.key) != nil {
        let key = report.key
        try await ledger.change(party.id, audit: []) { $0.unblock(key) }
      }
    }
    if case .rollBack(_, let parties, let reason) = action, !dryRun {
      for party in parties {
        guard let failed = before.signer(for: party.id.description, family: party.signatureAlgorithm.family)?.id else { continue }
        try await ledger.change(party.id, audit: []) { $0.block(.init(key: failed, since: time, reason: reason)) }
      }
    }
    if case .replace(_, _, let since) = action { try await followUp(&report, since: since, standings, actor: actor, time) }
    return report
  }

  private func apply(
    _ action: RolloverAction, _ made: TokenSigningKeys.StoredKey?, to draft: inout TokenSigningKeys.Draft, _ standings: [PartyStanding], force: Bool,
    actor: String, _ time: Instant
  ) throws -> (RolloverReport, [AuditEvent]) {
    func report(_ key: String, _ summary: String) -> RolloverReport { RolloverReport(summary: summary, key: key, isDryRun: false) }
    switch action {
    case .prepare(let family):
      if let waiting = draft.ring.next(of: family), !force {
        throw RingProblem(
          "The key \(waiting.id) of \(family.rawValue) is \(waiting.state.rawValue) already. Go on with that one, or repeat with --force.")
      }
      guard let made else { return (report("(new)", "A new key of \(family.rawValue) would be made. Nobody learns of it before `publish`."), []) }
      let life = draft.policy.certificateDuration
      try draft.add(
        made, SigningKeyPlace(id: made.id, family: family, state: .prepared, prepared: time, notAfter: time.adding(life), origin: .hand))
      return (
        report(made.id, "The key \(made.id) was made. Publish it with `gatehouse certs publish \(made.id)`."),
        [TokenSigningKeys.event(.signingKeyMade, made, purpose: "token-signing \(family.rawValue)", actor: actor, now: time)]
      )
    case .publish(let id):
      try draft.ring.publish(id, now: time)
      let earliest = time.adding(draft.policy.certificatePromotionThreshold)
      return (report(id, "Metadata shows the key \(id). It may sign from \(earliest) on."), [event(.signingKeyPublished, id, actor, [:], time)])
    case .promote(let wish, let family, let parties):
      return try promote(wish, family, parties, &draft, standings, force: force, actor: actor, time)
    case .rollBack(let family, let parties, let reason):
      return try rollBack(family, parties, reason, &draft, actor: actor, time)
    case .resume(let id):
      try draft.ring.resume(id)
      return (report(id, "The key \(id) goes on to be promoted by the policy."), [event(.signingKeyResumed, id, actor, [:], time)])
    case .retire(let id):
      if let place = draft.ring[id], place.state == .retiring, let since = place.retiring, !force,
        time.since(since) < draft.policy.certificateRetirement
      {
        throw RingProblem(
          "The key \(id) signed until \(since), and tokens made then may still be in use until \(since.adding(draft.policy.certificateRetirement)). Wait, or repeat with --force."
        )
      }
      let held = standings.filter { draft.ring.assignments[$0.id] == id }
      guard held.isEmpty || force else {
        throw RingProblem(
          "The key \(id) signs for \(held.prefix(8).map(\.name).joined(separator: ", ")). Promote another one for them first, or repeat with --force."
        )
      }
      try draft.ring.retire(id, now: time)
      return (report(id, "The key \(id) is out of metadata, and destroyed."), [event(.signingKeyRetired, id, actor, [:], time)])
    case .replace(let family, let fresh, let since):
      return try replace(family, fresh ? made : draft.ring.next(of: family) == nil ? made : nil, since, &draft, actor: actor, time)
    case .import(_, _, let notBefore, let notAfter):
      guard let made else { throw RingProblem("There is nothing to import.") }
      guard notAfter > time else { throw RingProblem("The certificate ended \(notAfter). Import one that is valid.") }
      guard notBefore <= time else { throw RingProblem("The certificate is not valid before \(notBefore). Import it then.") }
      let key = try VerificationKey(certificate: Array(made.certificate))
      let family: SigningKeyFamily = key.fits(.rsaSHA256) ? .rsa : .ecdsa
      try draft.add(
        made, SigningKeyPlace(id: made.id, family: family, state: .prepared, prepared: time, notAfter: notAfter, origin: .imported))
      return (
        report(made.id, "The key \(made.id) is in the ring. Publish it with `gatehouse certs publish \(made.id)`."),
        [TokenSigningKeys.event(.signingKeyMade, made, purpose: "token-signing \(family.rawValue), imported", actor: actor, now: time)]
      )
    }
  }

  private func promote(
    _ wish: String?, _ family: SigningKeyFamily, _ chosen: [RelyingParty], _ draft: inout TokenSigningKeys.Draft, _ standings: [PartyStanding],
    force: Bool, actor: String, _ time: Instant
  ) throws -> (RolloverReport, [AuditEvent]) {
    guard let id = wish ?? draft.ring.next(of: family)?.id, let place = draft.ring[id] else {
      throw RingProblem("\(family.rawValue) has no next key. Make one with `gatehouse certs prepare --family \(family.rawValue)`.")
    }
    let isPrimary = place.state == .primary
    guard isPrimary && !chosen.isEmpty || place.state == .published || place.state == .retiring else {
      throw RingProblem("The key \(id) is \(place.state.rawValue); only a published one can be promoted. See `gatehouse certs plan`.")
    }
    if !isPrimary, !force, !Rollover.mayRollOver(place, draft.policy, time) {
      let earliest = (place.published ?? time).adding(draft.policy.certificatePromotionThreshold)
      throw RingProblem("The key \(id) must be in metadata until \(earliest) before it signs. Wait, or repeat with --force.")
    }
    if chosen.isEmpty {
      // A lagging one stays on its key as long as that is valid; with force nobody does.
      let late = force ? [] : Rollover.laggards(standings, for: place, in: draft.ring)
      try draft.ring.promote(id, holding: late.map(\.id), now: time)
      let held =
        late.isEmpty
        ? "" : " \(late.count) relying parties that are not ready stay on the former key: \(late.prefix(8).map(\.name).joined(separator: ", "))."
      return (
        RolloverReport(summary: "The key \(id) is the primary.\(held)", key: id, isDryRun: false),
        [event(.signingKeyPromoted, id, actor, ["held": late.prefix(32).map(\.name).joined(separator: " "), "forced": "\(force)"], time)]
      )
    }
    let ids = Set(chosen.map { $0.id.description })
    for party in standings where ids.contains(party.id) {
      guard party.family == place.family else {
        throw RingProblem("\(party.name) is signed for with \(party.family.rawValue), and \(id) is a key of \(place.family.rawValue).")
      }
      guard force || party.isReady(for: id) || party.level(for: id) == .fetched else {
        throw RingProblem(
          "\(party.name) is not known to have the key \(id) (readiness: \(party.level(for: id).word)). Ask its owner, confirm with `gatehouse certs confirm --rp \(party.name)`, or repeat with --force."
        )
      }
    }
    try draft.ring.assign(chosen.map { $0.id.description }, to: id, now: time)
    return (
      RolloverReport(summary: "The key \(id) signs for \(chosen.map(\.name).joined(separator: ", ")).", key: id, isDryRun: false),
      chosen.map { event(.relyingPartyKeyMoved, $0.name, actor, ["key": id, "forced": "\(force)"], time) }
    )
  }

  private func rollBack(
    _ family: SigningKeyFamily, _ chosen: [RelyingParty], _ reason: String, _ draft: inout TokenSigningKeys.Draft, actor: String, _ time: Instant
  ) throws -> (RolloverReport, [AuditEvent]) {
    guard !chosen.isEmpty else {
      try draft.ring.rollBack(family, reason: reason, now: time)
      let id = draft.ring.primary(of: family)?.id ?? ""
      return (
        RolloverReport(
          summary: "The key \(id) signs for everybody. The newer one stays in metadata and waits; let it go on with `gatehouse certs resume`.",
          key: id,
          isDryRun: false), [event(.signingKeyRolledBack, id, actor, ["reason": reason], time)]
      )
    }
    var back = ""
    for party in chosen {
      let id = party.id.description
      let present = draft.ring.signer(for: id, family: party.signatureAlgorithm.family)
      let former = draft.ring.places.filter {
        $0.family == party.signatureAlgorithm.family && $0.id != present?.id && ($0.state == .primary || $0.state == .retiring)
      }
      guard let best = former.max(by: { ($0.promoted ?? $0.prepared) < ($1.promoted ?? $1.prepared) }) else {
        throw RingProblem("There is no former key in metadata that \(party.name) could go back to.")
      }
      try draft.ring.assign([id], to: best.id, now: time)
      back = best.id
    }
    return (
      RolloverReport(summary: "The key \(back) signs for \(chosen.map(\.name).joined(separator: ", ")) again.", key: back, isDryRun: false),
      chosen.map { event(.relyingPartyKeyReverted, $0.name, actor, ["key": back, "reason": reason], time) }
    )
  }

  private func replace(
    _ family: SigningKeyFamily, _ made: TokenSigningKeys.StoredKey?, _ since: Instant, _ draft: inout TokenSigningKeys.Draft, actor: String,
    _ time: Instant
  ) throws -> (RolloverReport, [AuditEvent]) {
    guard let stolen = draft.ring.primary(of: family) else { throw RingProblem("\(family.rawValue) has no primary.") }
    var events: [AuditEvent] = []
    if let made {
      try draft.add(
        made,
        SigningKeyPlace(
          id: made.id, family: family, state: .prepared, prepared: time, notAfter: time.adding(draft.policy.certificateDuration)))
      events.append(TokenSigningKeys.event(.signingKeyMade, made, purpose: "token-signing \(family.rawValue)", actor: actor, now: time))
    }
    guard let id = made?.id ?? draft.ring.next(of: family)?.id else { throw RingProblem("There is no key to put in its place.") }
    if draft.ring[id]?.state == .prepared { try draft.ring.publish(id, now: time) }
    try draft.ring.promote(id, holding: [], now: time)
    try draft.ring.retire(stolen.id, suspectSince: since, now: time)
    events.append(event(.signingKeyReplaced, stolen.id, actor, ["by": id, "suspectSince": "\(since)"], time))
    let report = RolloverReport(
      summary: "The key \(stolen.id) is out of metadata and signs nothing any more; it is destroyed. \(id) signs for everybody.", key: id,
      isDryRun: false)
    return (report, events)
  }

  /// What follows the theft of a key: sessions end, and it is told who trusts it still and which tokens cannot be believed.
  private func followUp(
    _ report: inout RolloverReport, since: Instant, _ standings: [PartyStanding], actor: String, _ time: Instant
  ) async throws {
    let ring = keys.ring
    let family = ring[report.key]?.family
    let stolen =
      report.isDryRun ? family.flatMap { ring.primary(of: $0)?.id } : ring.places.filter { $0.suspectSince != nil && $0.family == family }.last?.id
    report.trustsStolen = standings.filter { family == nil || $0.family == family }.map { party in
      RolloverReport.Impact(
        name: party.name, key: stolen ?? "", level: party.level(for: report.key), recovers: party.fetchInterval.map { time.adding($0) })
    }
    var query = AuditQuery()
    query.kinds = [.tokenIssued]
    query.since = since
    query.limit = 10_000
    var suspects: [String: RolloverReport.SuspectTokens] = [:]
    for row in try await audit.find(query) where stolen != nil && row.event.details["key"] == stolen {
      let name = row.event.actor
      var entry = suspects[name] ?? RolloverReport.SuspectTokens(relyingParty: name, count: 0, first: row.event.time, last: row.event.time)
      entry.count += 1
      (entry.first, entry.last) = (min(entry.first, row.event.time), max(entry.last, row.event.time))
      suspects[name] = entry
    }
    report.suspectTokens = suspects.values.sorted { $0.relyingParty < $1.relyingParty }
    guard !report.isDryRun else { return }
    report.endedSessions = try await sessions.endAllSessions(
      audit: [event(.sessionEnded, "everybody", actor, ["reason": "a token-signing key was replaced"], time)])
  }

  /// Who is signed for with another key than before, and is not known to have it.
  func impact(_ before: SigningKeyRing, _ after: SigningKeyRing, _ standings: [PartyStanding], _ time: Instant) -> [RolloverReport.Impact] {
    standings.compactMap { party in
      guard let key = after.signer(for: party.id, family: party.family)?.id, key != before.signer(for: party.id, family: party.family)?.id,
        !party.isReady(for: key), party.level(for: key) < .fetched || party.readsFirstKeyOnly
      else { return nil }
      return RolloverReport.Impact(
        name: party.name, key: key, level: party.level(for: key), recovers: party.fetchInterval.map { time.adding($0) })
    }
  }
}

extension RolloverAction {
  /// A stolen key is replaced whatever the clock shows.
  fileprivate var isUrgent: Bool { if case .replace = self { true } else { false } }
}
