import Bytes
import CertificateLifecycle
import Cryptography
import Identity
import Logging
import Synchronization

/// Rolls the token-signing certificates over: one step at a time, each by compare-and-swap in the store together with its audit event, so that neither a
/// second gateway nor a crash between two steps makes, promotes or retires a key twice.
package final class RolloverService: Sendable {
  /// So many relying parties are moved in one step.
  private static let mostMoves = 500
  private static let retryInterval: Duration = .seconds(60)

  let keys: TokenSigningKeys
  let parties: RelyingPartyDirectory
  package let ledger: ReadinessLedger
  let audit: any AuditLog
  let sessions: any SessionStore
  private let revocations: (any RevocationStore)?
  let now: @Sendable () -> Instant
  private let steady: @Sendable () -> Duration
  private let watch = SignInWatch()
  private let logger: Logger
  private let state: Mutex<State>

  private struct State {
    var clock: ClockWatch
    /// By the steady clock; nil: look at once.
    var lastLook: Duration?
    var generation: Int64 = -1
    /// Retired keys of which it is known outside of the store, too.
    var journaled: Set<String>
  }

  /// - Parameters:
  ///   - steady: how long a clock that only goes forward has run.
  ///   - revocations: where retired keys are written down, to outlive a restore; `journaled`: those that are already.
  ///   - newest: the newest time that the store knows; nil: none.
  package init(
    keys: TokenSigningKeys, parties: RelyingPartyDirectory, ledger: ReadinessLedger, audit: any AuditLog, sessions: any SessionStore,
    revocations: (any RevocationStore)? = nil, journaled: Set<String> = [], newest: Instant?, now: @escaping @Sendable () -> Instant,
    steady: @escaping @Sendable () -> Duration, logger: Logger
  ) {
    self.keys = keys
    self.parties = parties
    self.ledger = ledger
    self.audit = audit
    self.sessions = sessions
    self.revocations = revocations
    self.now = now
    self.steady = steady
    self.logger = logger
    state = Mutex(State(clock: ClockWatch(wall: now(), steady: steady(), newest: newest), journaled: journaled))
  }

  /// What the rules are told of every relying party that can sign people in.
  package func standings(_ time: Instant) -> [PartyStanding] {
    let keys = keys.ring.places.filter { $0.state.isInMetadata }
    return parties.parties(where: { !$0.disabled }).map { ledger.record(of: $0.id).standing(of: $0, keys: keys, now: time) }
  }

  /// Why no step is taken at present; nil: nothing is in the way.
  package var freeze: ClockWatch.Freeze? { state.withLock { $0.clock.freeze } }

  /// An administrator says that the clock is right. Throws `StoreError`.
  package func trustClock(actor: String) async throws {
    let time = now()
    try await audit.append([AuditEvent(time: time, kind: .rolloverClockTrusted, actor: actor, subject: "\(time)", outcome: "done")])
    let steady = steady()
    state.withLock {
      $0.clock.trust(wall: time, steady: steady)
      $0.lastLook = nil
    }
  }

  /// Looks whether something is to be done, and does one step. To be called every second; looks as often as the policy says, and whenever something was
  /// learnt. Throws `StoreError`.
  package func tick() async throws {
    let (time, steady) = (now(), steady())
    let (frozen, isDue) = state.withLock { state in
      let before = state.clock.freeze
      state.clock.look(wall: time, steady: steady)
      if before != nil, state.clock.freeze == nil { state.lastLook = nil }
      let isDue = state.lastLook.map { steady - $0 >= keys.policy.certificateRolloverInterval } ?? true
      return (state.clock.freeze != nil, isDue || state.generation != ledger.generation)
    }
    try await conclude(time)
    try await journalRetired()
    guard !frozen, isDue else { return }
    let generation = ledger.generation
    let hasMore: Bool
    do { hasMore = try await step(time) } catch {
      // The store or the token may be back in a minute; who is asked every second would only fill the log.
      state.withLock { $0.lastLook = steady - max(.zero, keys.policy.certificateRolloverInterval - RolloverService.retryInterval) }
      throw error
    }
    state.withLock { state in
      state.lastLook = hasMore ? nil : steady
      state.generation = generation
    }
  }

  /// Writes down where a restore cannot take it back that a key was retired. Throws `StoreError`.
  func journalRetired() async throws {
    guard let revocations else { return }
    let places = keys.ring.places.filter { $0.state == .retired }
    let missing = state.withLock { state in places.filter { !state.journaled.contains($0.id) } }
    guard !missing.isEmpty else { return }
    try await revocations.record(
      missing.map { Revocation(.signingKeyRetired, subject: $0.id, time: $0.retired ?? now(), name: "token-signing \($0.family.rawValue) \($0.id)") },
      audit: [])
    state.withLock { $0.journaled.formUnion(missing.map(\.id)) }
  }

  /// Takes one step. Answers whether there was one.
  private func step(_ time: Instant) async throws -> Bool {
    let standings = standings(time)
    // A key takes a tenth of a second and more to make: not while the store is asked.
    var made: (family: SigningKeyFamily, key: TokenSigningKeys.StoredKey, life: Duration)?
    if case .prepare(let family) = Rollover.next(keys.ring, parties: standings, policy: keys.policy, now: time) {
      let policy = keys.policy
      made = (family, try await makeKey(family, policy, time), policy.certificateDuration)
    }
    let ready = made
    do {
      let isDone = try await take(time, standings, ready)
      if let ready { await keys.discard(ready.key) }
      return isDone
    } catch {
      if let ready { await keys.discard(ready.key) }
      throw error
    }
  }

  private func take(
    _ time: Instant, _ standings: [PartyStanding], _ ready: (family: SigningKeyFamily, key: TokenSigningKeys.StoredKey, life: Duration)?
  ) async throws -> Bool {
    let registered = Dictionary(
      parties.parties(where: { _ in true }).map { ($0.id.description, $0.signatureAlgorithm.family) }, uniquingKeysWith: { first, _ in first })
    return try await keys.change { draft in
      // A relying party that is gone, or signed for with another family now, keeps no key alive. Its own change is audited.
      let before = draft.ring
      draft.ring.forgetAssignments(besides: registered, now: time)
      guard let step = Rollover.next(draft.ring, parties: standings, policy: draft.policy, now: time) else {
        return draft.ring == before ? nil : []
      }
      switch step {
      case .prepare(let family):
        guard let ready, ready.family == family else { return nil }
        try draft.add(
          ready.key,
          SigningKeyPlace(id: ready.key.id, family: family, state: .prepared, prepared: time, notAfter: time.adding(ready.life)))
        return [TokenSigningKeys.event(.signingKeyMade, ready.key, purpose: "token-signing \(family.rawValue)", now: time)]
      case .move(let moved, let id):
        let some = Array(moved.prefix(RolloverService.mostMoves))
        try draft.ring.assign(some, to: id, now: time)
        return standings.filter { some.contains($0.id) }.map {
          event(.relyingPartyKeyMoved, $0.name, "gatehouse", ["key": id, "readiness": $0.level(for: id).word], time)
        }
      case .publish(let id):
        try draft.ring.publish(id, now: time)
        return [event(.signingKeyPublished, id, "gatehouse", [:], time)]
      case .promote(let id, let holding):
        let names = standings.filter { holding.contains($0.id) }.map(\.name)
        let unready = draft.ring[id].map { Rollover.laggards(standings, for: $0, in: draft.ring) } ?? []
        try draft.ring.promote(id, holding: holding, now: time)
        return [
          event(
            .signingKeyPromoted, id, "gatehouse",
            ["held": names.prefix(32).joined(separator: " "), "unready": unready.prefix(32).map(\.name).joined(separator: " ")], time)
        ]
      case .retire(let id):
        try draft.ring.retire(id, now: time)
        return [event(.signingKeyRetired, id, "gatehouse", [:], time)]
      }
    }
  }

  /// Changes the policy. Throws `RingProblem` where it would make no sense, and `StoreError`.
  package func changePolicy(actor: String, _ body: (inout RolloverPolicy) -> Void) async throws -> RolloverPolicy {
    let time = now()
    var result = RolloverPolicy()
    try await keys.change { draft in
      let before = draft.policy
      body(&draft.policy)
      if let problem = draft.policy.problem { throw RingProblem(problem.prefix(1).uppercased() + problem.dropFirst() + ".") }
      result = draft.policy
      guard draft.policy != before else { return nil }
      return [
        event(
          .rolloverPolicyChanged, "token-signing", actor,
          [
            "auto": "\(result.autoCertificateRollover)", "duration": RolloverService.shown(result.certificateDuration),
            "generation": RolloverService.shown(result.certificateGenerationThreshold),
            "promotion": RolloverService.shown(result.certificatePromotionThreshold),
          ], time)
      ]
    }
    state.withLock { $0.lastLook = nil }
    return result
  }

  func makeKey(_ family: SigningKeyFamily, _ policy: RolloverPolicy, _ time: Instant) async throws -> TokenSigningKeys.StoredKey {
    let kind = SigningKey.Kind(rawValue: policy.keyKind(of: family)) ?? (family == .rsa ? .rsa2048 : .p256)
    return try await keys.makeKey(kind, life: policy.certificateDuration, now: time)
  }

  func event(_ kind: AuditKind, _ subject: String, _ actor: String, _ details: [String: String], _ time: Instant) -> AuditEvent {
    AuditEvent(time: time, kind: kind, actor: actor, subject: subject, outcome: "done", details: details.filter { !$0.value.isEmpty })
  }

  private func conclude(_ time: Instant) async throws {
    let settled = min(.seconds(60), keys.policy.certificatePromotionThreshold / 4)
    for conclusion in watch.conclusions(settled: settled, now: time) {
      guard let party = parties.party(id: conclusion.party) else { continue }
      if conclusion.works {
        ledger.noteUse(of: conclusion.key, by: party.id, detail: conclusion.detail, now: time)
      } else if isNew(conclusion.key, for: party) {
        try await revert(party, from: conclusion.key, reason: conclusion.detail, actor: "gatehouse")
      }
    }
  }

  /// Whether a failure may be the key's: it followed another one that is still there, and nobody has been seen to sign in with it.
  private func isNew(_ key: String, for party: RelyingParty) -> Bool {
    let ring = keys.ring
    guard let place = ring[key], !ledger.record(of: party.id).evidence.contains(where: { $0.key == key && $0.level == .used }) else { return false }
    return ring.places.contains { former in
      former.family == place.family && former.prepared < place.prepared && (former.state == .primary || former.state == .retiring)
    }
  }

  /// Takes a relying party back to the key that it was signed for before, and leaves it there until somebody says otherwise. Where there is no such key any
  /// more, only the alarm stands. Throws `StoreError`.
  ///
  /// - Returns: the key that signs for it now, where that is another one.
  @discardableResult
  package func revert(_ party: RelyingParty, from key: String, reason: String, actor: String) async throws -> String? {
    let time = now()
    let (id, family) = (party.id.description, party.signatureAlgorithm.family)
    guard keys.ring.signer(for: id, family: family)?.id == key else { return nil }
    var now: String?
    let block = event(.relyingPartyKeyReverted, party.name, actor, ["key": key, "reason": reason], time)
    try await ledger.change(party.id, audit: [block]) {
      $0.block(RolloverRecord.Block(key: key, since: time, reason: reason))
    }
    try await keys.change { draft in
      guard draft.ring.signer(for: id, family: family)?.id == key else { return nil }
      let former = draft.ring.places.filter { $0.family == family && $0.id != key && ($0.state == .primary || $0.state == .retiring) }
      guard let best = former.max(by: { ($0.promoted ?? $0.prepared) < ($1.promoted ?? $1.prepared) }) else { return nil }
      try draft.ring.assign([id], to: best.id, now: time)
      now = best.id
      return [event(.relyingPartyKeyMoved, party.name, actor, ["key": best.id, "from": key], time)]
    }
    logger.warning("a relying party was taken back to the former key", metadata: ["relyingParty": "\(party.name)", "reason": "\(reason)"])
    return now
  }
}

extension RolloverService: TokenObserver {
  package func noteToken(_ party: RelyingParty, key: String, session: [UInt8], now time: Instant) {
    // Where there is one key only there is nothing to find out.
    guard keys.showsSeveral(party.signatureAlgorithm.family) else { return }
    watch.noteToken(party.id, key: key, session: session, now: time)
  }

  package func noteProof(_ party: RelyingParty, sessions: [[UInt8]], now time: Instant) {
    for key in watch.keys(of: sessions, at: party.id) {
      ledger.noteUse(of: key, by: party.id, detail: "it asked for the logout of a session that only an accepted token told it of", now: time)
    }
  }
}
