import Identity

// When which agent is asked a canary, and what follows from its answers, as a pure state machine. One watch for each agent and realm.
//
//   new process ──► both canaries at once, in an order by chance ──► refused the wrong one, and answered the right one ──► proven
//                        ▲ asked again after a second while the answer to the wrong one is "could not find out"
//   proven ──► each kind again after 1/3 to 5/3 of the interval (10 to 50 s), for itself: what turns is met within a minute
//
//   a yes to the wrong password → quarantine. A no to the right one → kept; two agents that say it speak against the account, one against itself.
//   "Could not find out" proves nothing either way.

struct CanaryState: Sendable {
  enum Kind: String, Sendable, CaseIterable { case wrong, right }

  struct Subject: Hashable, Sendable {
    var agent: Identifier
    var realm: RealmName
  }

  struct Probe: Sendable, Equatable {
    var subject: Subject
    var instance: Identifier?
    var kind: Kind
  }

  enum Effect: Sendable, Equatable {
    case prove(Subject, instance: Identifier?)
    case quarantine(Subject)
  }

  struct Watch: Sendable {
    var instance: Identifier?
    var since: HubTime
    var hasRefusedWrong = false
    var hasAnsweredRight = false
    /// When it was found good; nil before.
    var proven: HubTime?
    /// Since when it refuses the right password.
    var refusesRightSince: HubTime?
    var next: [Kind: HubTime]
    var underWay: Set<Kind> = []
  }

  private(set) var watches: [Subject: Watch] = [:]
  /// Milliseconds, the mean between two canaries of one kind.
  let interval: HubTime

  init(interval: HubTime) { self.interval = interval }

  /// The canaries that are to be asked now, in the order in which to ask them.
  mutating func due(
    sessions: [Identifier: HubState.Session], realms: Set<RealmName>, now: HubTime, using generator: inout some RandomNumberGenerator
  ) -> [Probe] {
    var present: Set<Subject> = []
    for (agent, session) in sessions where !session.draining {
      for realm in session.realms where realms.contains(realm) {
        let subject = Subject(agent: agent, realm: realm)
        present.insert(subject)
        let known = watches[subject]
        // Out and in again between two looks: the hub has forgotten, so must we. (A second for what is told the hub in this moment.)
        let wasForgotten = known?.proven.map { now - $0 > 1000 && !session.proven.contains(realm) } ?? false
        if known == nil || known?.instance != session.instance || wasForgotten {
          watches[subject] = Watch(instance: session.instance, since: now, next: [.wrong: now, .right: now])
        }
      }
    }
    watches = watches.filter { present.contains($0.key) }
    var probes: [Probe] = []
    for subject in watches.keys.sorted(by: { ($0.agent.bytes, $0.realm) < ($1.agent.bytes, $1.realm) }) {
      for kind in Kind.allCases.shuffled(using: &generator) {
        guard let watch = watches[subject], !watch.underWay.contains(kind), let next = watch.next[kind], next <= now else { continue }
        watches[subject]?.underWay.insert(kind)
        probes.append(Probe(subject: subject, instance: watch.instance, kind: kind))
      }
    }
    return probes
  }

  /// What came of a canary.
  mutating func concluded(
    _ probe: Probe, _ verdict: Verdict, now: HubTime, using generator: inout some RandomNumberGenerator
  ) -> Effect? {
    guard var watch = watches[probe.subject], watch.instance == probe.instance else {
      // The process has gone meanwhile; that it lied stands.
      if probe.kind == .wrong, case .accepted = verdict { return .quarantine(probe.subject) }
      return nil
    }
    defer { watches[probe.subject] = watch }
    watch.underWay.remove(probe.kind)
    watch.next[probe.kind] = now + HubTime.random(in: (interval / 3)...(interval * 5 / 3), using: &generator)
    switch (probe.kind, verdict) {
    case (.wrong, .accepted): return .quarantine(probe.subject)
    case (.wrong, .refused(let refusal)) where !refusal.reason.provesPassword: watch.hasRefusedWrong = true
    case (.wrong, _): watch.next[.wrong] = now + HubTime.random(in: 500...1500, using: &generator)
    case (.right, .accepted):
      watch.hasAnsweredRight = true
      watch.refusesRightSince = nil
    case (.right, .refused):
      watch.hasAnsweredRight = true
      watch.refusesRightSince = watch.refusesRightSince ?? now
    case (.right, .unknown): watch.hasAnsweredRight = true
    }
    guard watch.proven == nil, watch.hasRefusedWrong, watch.hasAnsweredRight else { return nil }
    watch.proven = now
    return .prove(probe.subject, instance: watch.instance)
  }

  /// The agents that refuse the right password, by realm.
  var refusals: [RealmName: [(agent: Identifier, since: HubTime)]] {
    var result: [RealmName: [(agent: Identifier, since: HubTime)]] = [:]
    for (subject, watch) in watches {
      if let since = watch.refusesRightSince { result[subject.realm, default: []].append((subject.agent, since)) }
    }
    return result
  }

  /// The agents that have been there for a while and are still not proven.
  func unproven(now: HubTime) -> [(subject: Subject, since: HubTime)] {
    watches.filter { $0.value.proven == nil && now - $0.value.since > 15_000 }.map { ($0.key, $0.value.since) }
  }
}

private func < (left: ([UInt8], RealmName), right: ([UInt8], RealmName)) -> Bool {
  left.0 == right.0 ? left.1 < right.1 : left.0.lexicographicallyPrecedes(right.0)
}
