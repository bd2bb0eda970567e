import Bytes
import Crypto
import Foundation
import Identity
import Synchronization

/// The connection that carries a poll, as far as the hub cares.
package protocol PollConnection: AnyObject, Sendable {
  var isOpen: Bool { get }
  /// Calls `action` once when the connection closes, at once where it has; replaces the action set before. Nil: nothing is to be called any more.
  func onClose(_ action: (@Sendable () -> Void)?)
}

/// Where questions meet agents: the shell around `HubState`.
///
/// A lock and not an actor, because a poll whose connection goes away must be taken out at once, from a callback, which cannot await.
/// Nothing waits while it holds the lock, and no cryptography is done under it.
package final class AgentHub: Sendable {
  private let shell = Mutex(Shell())
  private let started = ContinuousClock.now
  private let policies = Mutex<[RealmName: [Identifier: ReportedLockout]]>([:])
  private let authority: AgentAuthority
  private let registry: AgentRegistry

  private struct Shell {
    var machine = HubState(youth: 10_000)
    var askers: [Identifier: CheckedContinuation<Outcome, Never>] = [:]
    var polls: [Int: CheckedContinuation<[Question], Never>] = [:]
    var lanes: [LaneKey: Lane] = [:]
    /// Whose signature a verdict must bear: of the certificate with which the question was fetched. An agent that renews in between delivers the
    /// verdict over a connection of its new certificate.
    var signers: [Identifier: AgentCertificate] = [:]
    var nextPoll = 0
    var lastSeen: [Identifier: Instant] = [:]
    /// What each agent told last of its directory servers.
    var weather: [Identifier: [DirectoryReport]] = [:]
  }

  private struct LaneKey: Hashable {
    var agent: Identifier
    var lane: LaneID
  }

  private struct Lane {
    var sealing: SealingLane
    var key: [UInt8]
    var used: HubTime
  }

  /// A judgement and the agent that gave it.
  package struct Outcome: Sendable {
    package var judgement: Judgement
    package var agent: Identifier?
  }

  package init(authority: AgentAuthority, registry: AgentRegistry) {
    self.authority = authority
    self.registry = registry
  }

  private var now: HubTime { started.duration(to: .now).wholeMilliseconds }

  // MARK: the asking side

  /// Asks an agent of the question's realm (or the one it is addressed to) and waits for the outcome, at the latest until the question's deadline
  /// (and a tick of the hub's clock).
  ///
  /// Not cancellable on purpose: once a password may have been put before the directory, the verdict must be counted and kept.
  package func ask(_ question: Question, to addressee: HubState.Addressee = .anyone) async -> Outcome {
    await withCheckedContinuation { continuation in
      let now = now
      let deadline = now + question.deadline.remaining().wholeMilliseconds
      perform { shell in
        shell.askers[question.id] = continuation
        var generator = SystemRandomNumberGenerator()
        return shell.machine.ask(question, to: addressee, deadline: deadline, now: now, random: Int(truncatingIfNeeded: generator.next()))
      }
    }
  }

  /// Lets go of a question, if that is still possible: see `HubState.withdraw`.
  package func withdraw(_ question: Identifier) { perform { $0.machine.withdraw(question) } }

  /// The realms whose questions are for proven agents only.
  package func guardRealms(_ realms: Set<RealmName>) {
    let now = now
    perform { $0.machine.guardRealms(realms, now: now) }
  }

  func prove(agent: Identifier, instance: Identifier?, realm: RealmName) {
    let now = now
    perform { $0.machine.prove(agent: agent, instance: instance, realm: realm, now: now) }
  }

  func usualWanting(of realm: RealmName) -> AttributeRequest { shell.withLock { $0.machine.usualWanting(of: realm) } }

  /// Whether anybody could be asked about `realm` now.
  package func hasAgent(for realm: RealmName) -> Bool { shell.withLock { $0.machine.hasAgent(for: realm) } }

  // MARK: the agents' side

  /// A poll of one lane: questions, or an empty answer when the poll's time is over.
  ///
  /// Throws where the lane was made for another certificate (the agent then opens a new one), and where another process of the agent is at work.
  /// When `connection` closes the poll ends, and what had just been handed to it goes elsewhere.
  package func work(
    _ request: WorkRequest, agent: AgentRecord, certificate: AgentCertificate, connection: any PollConnection
  ) async throws -> WorkResponse {
    let arrived = now
    guard shell.withLock({ $0.machine.mayPoll(agent: agent.id, instance: request.instance, now: arrived) }) else { throw IdentityInUse() }
    let lane = try lane(request.lane, agent: agent.id, certificate: certificate)
    let link = UInt(bitPattern: ObjectIdentifier(connection))
    let id = shell.withLock { shell in
      shell.nextPoll += 1
      return shell.nextPoll
    }
    let questions = await withCheckedContinuation { continuation in
      let now = now
      perform { shell in
        shell.polls[id] = continuation
        return shell.machine.poll(
          id, agent: agent.id, realms: agent.realms, instance: request.instance, understands: request.understands ?? 1, connection: link, now: now)
      }
      // Calls back at once where the connection has closed already; stands for as long as the connection, so that an agent that dies with
      // questions in hand is missed as soon as its last connection is.
      connection.onClose { [self] in connectionGone(link, agent: agent.id) }
    }
    guard !questions.isEmpty else { return WorkResponse() }
    shell.withLock { shell in
      // Only while somebody waits for it: what is over is not cleaned up again.
      for question in questions where shell.askers[question.id] != nil { shell.signers[question.id] = certificate }
    }
    if connection.isOpen, let frames = try? lane.seal(questions) {
      return WorkResponse(encapsulatedKey: lane.encapsulatedKeyText, questions: frames)
    }
    perform { $0.machine.undelivered(questions.map(\.id), agent: agent.id, now: now) }
    return WorkResponse()
  }

  /// Takes verdicts and stages. Tells how many of the verdicts were not expected (late, replayed, foreign) or not good, and which of the reported
  /// questions are not the agent's any more.
  package func receive(_ request: VerdictsRequest, agent: AgentRecord, certificate: AgentCertificate) -> VerdictsAnswer {
    var withdrawn: [Identifier] = []
    for report in request.stages.prefix(AgentHub.stageLimit) {
      let now = now
      perform { shell in
        let (isExpected, actions) = shell.machine.stage(report, agent: agent.id, now: now)
        if !isExpected { withdrawn.append(report.question) }
        return actions
      }
    }
    let expected = shell.withLock { shell in
      request.verdicts.map { (question: shell.machine.expected($0.question, from: agent.id), signer: shell.signers[$0.question]) }
    }
    // Questions that are answered together were fetched with one certificate: whose, the first of them that is still waited for tells.
    let signer = zip(expected, request.verdicts).first { $0.0.question != nil }?.0.signer ?? certificate
    let isBatchGood = request.signature != nil && request.isSigned(by: signer.signingKey)
    var unusable = 0
    var answers: [(question: Identifier, judgement: Judgement?)] = []
    for (frame, (question, fetchedBy)) in zip(request.verdicts, expected) {
      guard let question else {
        unusable += 1
        continue
      }
      var judgement: Judgement?
      // The realms of the registration decide, not those of the moment at which the question was handed out.
      if agent.realms.contains(question.realm) {
        let fetchedBy = fetchedBy ?? certificate
        if request.signature == nil {
          judgement = frame.verified(digest: question.digest, kind: question.kind, realm: question.realm, key: fetchedBy.signingKey)
        } else if isBatchGood, fetchedBy.sealingKey == signer.sealingKey, fetchedBy.der == signer.der {
          judgement = frame.verified(inBatch: question.digest, kind: question.kind, realm: question.realm)
        }
      }
      if judgement == nil { unusable += 1 }
      answers.append((frame.question, judgement))
    }
    let answered = answers
    let now = now
    perform { shell in
      answered.flatMap { answer in
        answer.judgement.map { shell.machine.answered(answer.question, by: agent.id, $0, now: now) }
          ?? shell.machine.answeredInvalidly(answer.question, by: agent.id, now: now)
      }
    }
    withdrawn += shell.withLock { $0.machine.takeWithdrawals(of: agent.id) }
    return VerdictsAnswer(ignored: unusable, withdrawn: withdrawn.isEmpty ? nil : withdrawn)
  }

  /// More reports than an agent can have questions in one message are not read.
  private static let stageLimit = 4096

  package func beat(_ heartbeat: Heartbeat, agent: AgentRecord, now wall: Instant) {
    let now = now
    let alarms = heartbeat.alarms.filter(\.code.isAnAgents).prefix(32).map { alarm in
      var alarm = alarm
      alarm.subject = String(decoding: alarm.subject.utf8.prefix(256), as: UTF8.self)
      alarm.message = String(decoding: alarm.message.utf8.prefix(1024), as: UTF8.self)
      alarm.remedy = String(decoding: alarm.remedy.utf8.prefix(1024), as: UTF8.self)
      alarm.condition = alarm.condition.map { String(decoding: $0.utf8.prefix(256), as: UTF8.self) }
      return alarm
    }
    for report in (heartbeat.lockouts ?? []).prefix(64) where agent.realms.contains(report.realm) {
      policies.withLock { $0[report.realm, default: [:]][agent.id] = ReportedLockout(policy: report.policy, at: wall) }
    }
    perform { shell in
      shell.lastSeen[agent.id] = wall
      shell.weather[agent.id] = heartbeat.directories.map { DirectoryReport.admitted($0, realms: agent.realms) }
      return shell.machine.beat(
        agent: agent.id, realms: agent.realms, now: now, draining: heartbeat.draining, alarms: Array(alarms),
        software: String(decoding: heartbeat.software.utf8.prefix(64), as: UTF8.self),
        clockSkewMilliseconds: heartbeat.clock.since(wall).wholeMilliseconds,
        reportsStages: heartbeat.capabilities.contains(StageReport.capability), instance: heartbeat.instance)
    }
  }

  /// By which lockout a realm's directory goes: the strictest that an agent told of, and when it was last told; nil where none has.
  ///
  /// What an agent told holds for a day: an agent that is away for a while does not make the directory more patient.
  package func directoryLockout(of realm: RealmName, now wall: Instant) -> ReportedLockout? {
    policies.withLock { policies in
      (policies[realm] ?? [:]).values.filter { wall.since($0.at) < .seconds(86_400) }.reduce(nil) { known, told in
        guard let known else { return told }
        return ReportedLockout(policy: known.policy.stricter(told.policy), at: max(known.at, told.at))
      }
    }
  }

  /// A directory's lockout policy, and when an agent last told it.
  package struct ReportedLockout: Sendable, Equatable {
    package var policy: DirectoryLockoutPolicy
    package var at: Instant
  }

  /// Cuts an agent off at once: its polls end, what it was asked is asked elsewhere, what it answers is no longer expected.
  package func drop(_ agent: Identifier) {
    let now = now
    policies.withLock { policies in for realm in policies.keys { policies[realm]?[agent] = nil } }
    perform { shell in
      shell.lanes = shell.lanes.filter { $0.key.agent != agent }
      shell.weather[agent] = nil
      return shell.machine.drop(agent: agent, now: now)
    }
  }

  /// Drops every agent that was revoked or put into quarantine, by whichever node.
  package func dropBarred() {
    for agent in sessions.keys where !registry.mayWork(agent) { drop(agent) }
  }

  /// The gateway is shutting down: ends every poll, and each that still comes, at once. To be called when no question will be asked any more.
  package func close() { perform { $0.machine.close() } }

  // MARK: time

  /// To be called ten times a second: ends polls and questions whose time is over, drops agents that have gone, forgets lanes out of use.
  package func tick() {
    let now = now
    perform { shell in
      shell.lanes = shell.lanes.filter { now - $0.value.used < 120_000 }
      return shell.machine.tick(now: now)
    }
  }

  /// What the hub knows of every connected agent, for `status`.
  package var sessions: [Identifier: HubState.Session] { shell.withLock { $0.machine.sessions } }

  /// How each connected agent's directory servers are, as the agent told last; agents that do not tell are missing.
  package var directoryWeather: [Identifier: [DirectoryReport]] {
    shell.withLock { shell in
      let sessions = shell.machine.sessions
      return shell.weather.filter { sessions[$0.key] != nil }
    }
  }

  /// How long questions wait for an agent to take them in the realm where they wait least.
  package var longestWait: Duration {
    let now = now
    return .milliseconds(shell.withLock { $0.machine.longestWait(now: now) })
  }

  /// Questions under way, for metrics.
  package var pendingCount: Int { shell.withLock { $0.machine.pendingCount } }

  package func lastSeen(_ agent: Identifier) -> Instant? { shell.withLock { $0.lastSeen[agent] } }

  private func lane(_ id: LaneID, agent: Identifier, certificate: AgentCertificate) throws -> SealingLane {
    let key = LaneKey(agent: agent, lane: id)
    let now = now
    let known = shell.withLock { shell -> Lane? in
      shell.lanes[key]?.used = now
      return shell.lanes[key]
    }
    if let known {
      guard known.key == certificate.sealingKey else { throw LaneSuperseded() }
      return known.sealing
    }
    // The public-key step happens outside of the lock; lanes are polled by one loop each, so no two calls race for one id.
    let made = try SealingLane(agent: agent, lane: id, agentKey: certificate.sealingKey, gatewayKey: authority.sealingKey)
    try shell.withLock { shell in
      let mine = shell.lanes.filter { $0.key.agent == agent }
      guard mine.count < 64 else { throw TooManyLanes() }
      shell.lanes[key] = Lane(sealing: made, key: certificate.sealingKey, used: now)
    }
    return made
  }

  /// The lane was opened with another certificate.
  package struct LaneSuperseded: Error {}
  /// Another process works under this identity.
  package struct IdentityInUse: Error {}
  /// An agent uses a few lanes; one with 64 in two minutes is broken.
  package struct TooManyLanes: Error {}

  private func connectionGone(_ connection: UInt, agent: Identifier) {
    let now = now
    perform { $0.machine.connectionGone(connection, agent: agent, now: now) }
  }

  /// Changes the state under the lock and then, outside of it, does what the state machine asks for.
  private func perform(_ change: (inout Shell) -> [HubState.Action]) {
    enum Resumption {
      case asker(CheckedContinuation<Outcome, Never>, Outcome)
      case poll(CheckedContinuation<[Question], Never>, [Question])
    }
    let resumptions: [Resumption] = shell.withLock { shell in
      var result: [Resumption] = []
      for action in change(&shell) {
        switch action {
        case .finish(let id, let judgement, let agent):
          shell.signers[id] = nil
          if let asker = shell.askers.removeValue(forKey: id) { result.append(.asker(asker, Outcome(judgement: judgement, agent: agent))) }
        case .release(let id):
          if let poll = shell.polls.removeValue(forKey: id) { result.append(.poll(poll, [])) }
        case .deliver(let id, let questions):
          if let poll = shell.polls.removeValue(forKey: id) { result.append(.poll(poll, questions)) }
        }
      }
      return result
    }
    for resumption in resumptions {
      switch resumption {
      case .asker(let continuation, let outcome): continuation.resume(returning: outcome)
      case .poll(let continuation, let questions): continuation.resume(returning: questions)
      }
    }
  }
}

extension AgentHub: AlarmSource {
  /// The alarms of all agents, and one for each enrolled agent that is not there.
  package func alarms() async -> [Alarm] {
    let (sessions, twins) = shell.withLock { ($0.machine.sessions, $0.machine.twins) }
    var result: [Alarm] = []
    for agent in registry.agents where agent.revoked == nil {
      if twins[agent.id] != nil {
        result.append(
          Alarm(
            .agentTwin, subject: agent.name,
            message: "Two processes work under the identity of agent \(agent.name) at once; the one that came second is refused.",
            remedy:
              "Somebody copied the agent's host or stole its identity. If you cannot explain it, `gatehouse agents revoke \(agent.name)` and enrol the "
              + "real one anew.",
            since: lastSeen(agent.id) ?? agent.enrolled))
      }
      if let since = registry.quarantined(agent.id) {
        result.append(
          Alarm(
            .agentQuarantined, subject: agent.name,
            message: "Agent \(agent.name) said yes to a password that was known to be wrong; it gets no questions.",
            remedy:
              "Treat its host as compromised. `gatehouse agents answered-by \(agent.name)` lists whom it let in; revoke it, or release it with "
              + "`gatehouse agents release \(agent.name)` once it is explained.",
            since: since))
        continue
      }
      guard let session = sessions[agent.id] else {
        let since = lastSeen(agent.id) ?? agent.enrolled
        result.append(
          Alarm(
            .agentGone, subject: agent.name, message: "Agent \(agent.name) is not connected; last seen \(since).",
            remedy:
              "Look at `systemctl status gatehouse-agent` and its log on the agent's host; if the host is gone, `gatehouse agents revoke "
              + "\(agent.name)`.",
            since: since))
        continue
      }
      result += session.alarms
      if abs(session.clockSkewMilliseconds) > 60_000 {
        result.append(
          Alarm(
            .clockSkew, subject: agent.name,
            message: "The clock of agent \(agent.name) differs from the gateway's by \(session.clockSkewMilliseconds / 1000) s.",
            remedy: "Set up time synchronization (chrony or systemd-timesyncd) on both hosts.", since: lastSeen(agent.id) ?? agent.enrolled,
            condition: "skew"))
      }
    }
    return result
  }
}
