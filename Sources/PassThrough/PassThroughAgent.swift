import Bytes
import Crypto
import Foundation
import Identity
import Logging
import ServiceLifecycle
import Synchronization

/// One gateway node as the agent reaches it. Implemented by the AgentLink door.
package protocol GatewayConnection: Sendable {
  /// Who the agent is to the gateway at this moment, and a number that grows with each renewal.
  var identity: (AgentIdentity, generation: Int) { get }
  /// A long poll; returns when there are questions or the gateway ends the poll. Throws `GatewayFault`, or whatever went wrong on the way.
  func work(_ request: WorkRequest) async throws -> WorkResponse
  func deliver(_ request: VerdictsRequest) async throws -> VerdictsAnswer
  func heartbeat(_ heartbeat: Heartbeat) async throws -> HeartbeatAnswer
  func renew(_ request: RenewalRequest) async throws -> RenewalAnswer
}

/// The gateway said no, with words for the administrator at the agent.
package struct GatewayFault: Error, Sendable, Equatable, CustomStringConvertible {
  package var status: Int
  package var message: String
  package init(status: Int, message: String) {
    self.status = status
    self.message = message
  }
  package var description: String { "\(message) (HTTP \(status))" }
}

/// The agent at work for one gateway node: polls for questions on a few lanes, puts each before the directory, signs and returns the verdict.
///
/// On a graceful shutdown a heartbeat says that the agent drains, the gateway ends its polls, and what is under way is answered; what could not be
/// begun within two seconds more is handed back.
package struct PassThroughAgent: Service {
  private let connection: any GatewayConnection
  private let validators: [RealmName: any PasswordValidator]
  private let alarms: [any AlarmSource]
  private let directories: [any DirectoryObserver]
  private let lanes: Int
  /// Where the agent's own work is done; nil: anywhere.
  private let executor: (any TaskExecutor)?
  private let software: String
  private let now: @Sendable () -> Instant
  /// Hears what the gateway tells with every heartbeat: its roots and nodes.
  private let told: @Sendable (HeartbeatAnswer) -> Void
  private let logger: Logger
  private let outbox = VerdictOutbox()
  private let instance = Identifier()
  private let contact = Contact()
  private let hand = QuestionsInHand()
  private let drainBegan = Moment()

  /// How long answers that cannot be delivered are kept; no deadline is longer.
  static let answerLife: Duration = .seconds(30)
  /// How long a poll may go on after the shutdown began: the gateway ends it as soon as it has heard that the agent drains.
  static let pollGrace: Duration = .milliseconds(1500)
  /// How long after the shutdown began questions are still begun with.
  static let beginGrace: Duration = .seconds(2)

  package init(
    connection: any GatewayConnection, validators: [RealmName: any PasswordValidator], alarms: [any AlarmSource],
    directories: [any DirectoryObserver] = [], lanes: Int = 2, executor: (any TaskExecutor)? = nil, software: String,
    now: @escaping @Sendable () -> Instant,
    told: @escaping @Sendable (HeartbeatAnswer) -> Void, logger: Logger
  ) {
    self.connection = connection
    self.validators = validators
    self.alarms = alarms
    self.directories = directories
    self.lanes = lanes
    self.executor = executor
    self.software = software
    self.now = now
    self.told = told
    self.logger = logger
  }

  package func run() async throws {
    await withTaskExecutorPreference(executor) { await work() }
  }

  private func work() async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { await heartbeats() }
      group.addTask { await deliveries() }
      group.addTask { await policies() }
      group.addTask { await pulse() }
      group.addTask { await leave() }
      await withTaskGroup(of: Void.self) { polling in
        for _ in 0..<lanes { polling.addTask { await lane() } }
      }
      // Every lane has ended and every question is answered: let the last answers leave, then stop the rest.
      await outbox.drained(within: .seconds(3))
      try? await beat(draining: true)
      group.cancelAll()
    }
  }

  private var stopping: Bool { Task.isCancelled || Task.isShuttingDownGracefully }

  /// One poll loop. After any error it begins anew as another lane, since it cannot know what was sealed and lost.
  private func lane() async {
    await withDiscardingTaskGroup { questions in
      var backoff = Backoff()
      while !stopping {
        let id = LaneID()
        let (identity, generation) = connection.identity
        var opening: OpeningLane?
        var openedWith: String?
        do {
          while !stopping, connection.identity.generation == generation {
            let response = try await poll(WorkRequest(lane: id, instance: instance))
            backoff.reset()
            guard !response.questions.isEmpty else { continue }
            // A gateway that was restarted behind the same connection (a proxy's) seals anew: its key tells.
            if opening == nil || response.encapsulatedKey != openedWith {
              guard let key = response.encapsulatedKey.flatMap(StrictText.base64) else { throw SealBroken() }
              openedWith = response.encapsulatedKey
              opening = try OpeningLane(
                agent: identity.agent, lane: id, encapsulatedKey: key, agentKey: identity.openingKey, gatewayKey: identity.gatewayKey)
            }
            for frame in response.questions {
              let deadline = Deadline(after: .milliseconds(max(0, min(frame.remainingMilliseconds, 60_000))))
              hand.take(frame.id)
              // Opened here, in order; judged beside each other.
              let passwords = Result { try opening?.openAll(frame) }
              questions.addTask { await answer(frame, passwords: passwords, deadline: deadline, identity: identity, generation: generation) }
              if case .failure = passwords { throw SealBroken() }
            }
          }
        } catch {
          hand.failed()
          guard !stopping else { break }
          logger.warning("poll failed; trying again", metadata: ["error": "\(error)"])
          await pause(backoff.next())
        }
      }
    }
  }

  /// One poll. It outlives the beginning of a shutdown by a moment: cut off at once, it could take questions with it.
  private func poll(_ request: WorkRequest) async throws -> WorkResponse {
    try await withThrowingTaskGroup(of: WorkResponse?.self) { group in
      group.addTask { try await connection.work(request) }
      group.addTask {
        try await gracefulShutdown()
        try await Task.sleep(for: PassThroughAgent.pollGrace)
        return nil
      }
      defer { group.cancelAll() }
      return try await group.next()?.flatMap { $0 } ?? WorkResponse()
    }
  }

  /// Says that the agent drains as soon as it has to end.
  private func leave() async {
    guard (try? await gracefulShutdown()) != nil else { return }
    drainBegan.come()
    do { try await beat(draining: true) } catch {
      logger.warning("the gateway could not be told that the agent drains", metadata: ["error": "\(error)"])
    }
  }

  /// Tells that the process is not frozen, and reports the stages of what takes long.
  private func pulse() async {
    while !Task.isCancelled {
      hand.beat()
      outbox.put(hand.reports())
      try? await Task.sleep(for: .milliseconds(50))
    }
  }

  /// Waits, but not when the gateway answers again: the patience that grew while it was away must not go on when it is back.
  private func pause(_ wait: Duration) async {
    let end = ContinuousClock.now.advanced(by: wait)
    let returns = contact.returns
    while !stopping, ContinuousClock.now < end, contact.returns == returns {
      try? await cancelWhenGracefulShutdown { try await Task.sleep(for: min(.milliseconds(100), ContinuousClock.now.duration(to: end))) }
    }
  }

  /// Puts one question before the directory of its realm and signs what came of it.
  private func answer(
    _ frame: QuestionFrame, passwords: Result<SealedPasswords?, any Error>, deadline: Deadline, identity: AgentIdentity, generation: Int
  ) async {
    defer { hand.done(frame.id) }
    let body: VerdictBody
    switch QuestionKind(rawValue: frame.kind) {
    case .lookUp, .describe:
      let judgement = await lookUp(frame, deadline: deadline, identity: identity)
      if judgement.meaning == nil, mayHandBack { return outbox.put([StageReport(question: frame.id, stage: .returned)]) }
      body = VerdictBody(judgement, at: now())
    case .validate, .changePassword:
      var judgement = await judge(frame, passwords: passwords, deadline: deadline, identity: identity)
      if case .unknown(let cause) = judgement.verdict, judgement.change.map({ $0 == .unknown(cause) }) ?? true {
        if hand.wasBound(frame.id) {
          judgement.uncertainTries = 1
        } else if mayHandBack {
          return outbox.put([StageReport(question: frame.id, stage: .returned)])
        }
      }
      body = VerdictBody(judgement, at: now())
    default: body = VerdictBody(unsupportedAt: now())
    }
    outbox.put(VerdictDraft(body, question: frame.id, digest: frame.digest), identity, generation: generation)
  }

  private func judge(
    _ frame: QuestionFrame, passwords sealed: Result<SealedPasswords?, any Error>, deadline: Deadline, identity: AgentIdentity
  ) async -> Judgement {
    let passwords: SealedPasswords?
    do { passwords = try sealed.get() } catch {
      return Judgement(.unknown(.sealingBroken), trace: [TraceNote(.question, "the sealed password did not open")])
    }
    // The gateway checked all of this; whoever sits between must find a second lock.
    guard let opened = passwords?.password else { return Judgement(.refused(Refusal(.malformedPassword))) }
    guard let userName = UserName(frame.userName) else { return Judgement(.refused(Refusal(.malformedUserName))) }
    guard identity.realms.contains(frame.realm), let validator = validators[frame.realm] else {
      return Judgement(.unknown(.unsupportedByAgent), trace: [TraceNote(.question, "this agent does not serve realm \(frame.realm)")])
    }
    guard frame.wanting.firstInvalidName == nil, frame.wanting.attributes.count <= 64 else {
      return Judgement(.unknown(.unsupportedByAgent), trace: [TraceNote(.question, "an attribute name is malformed")])
    }
    guard !deadline.hasPassed else {
      return Judgement(.unknown(.deadlineExceeded), trace: [TraceNote(.question, "the deadline had passed when the question arrived")])
    }
    let credential = Credential(userName: userName, password: opened, realm: frame.realm, allowance: frame.allowance)
    let permission = BindPermission { await mayBind(frame.id, deadline: deadline) }
    if frame.kind == QuestionKind.changePassword.rawValue {
      guard let changing = validator as? any DirectoryPasswordChange else {
        return Judgement(
          .unknown(.unsupportedByAgent), trace: [TraceNote(.question, "passwords of realm \(frame.realm) are not changed through this agent")])
      }
      guard let new = passwords?.newPassword else { return Judgement(change: .notTaken(PasswordRules(broken: [.other]))) }
      return await changing.change(credential, to: new, wanting: frame.wanting, deadline: deadline, permission: permission)
    }
    if let directory = validator as? any DirectoryPasswordValidator {
      return await directory.validate(credential, wanting: frame.wanting, deadline: deadline, permission: permission)
    }
    // One that does not tell when it binds may do so at once.
    guard await permission.isGiven() else {
      return Judgement(.unknown(.deadlineExceeded), trace: [TraceNote(.question, "the gateway waits for another agent's answer")])
    }
    return await validator.validate(credential, wanting: frame.wanting, deadline: deadline)
  }

  private func lookUp(_ frame: QuestionFrame, deadline: Deadline, identity: AgentIdentity) async -> Judgement {
    guard let userName = UserName(frame.userName), identity.realms.contains(frame.realm), let validator = validators[frame.realm] else {
      return Judgement(.unknown(.unsupportedByAgent), trace: [TraceNote(.question, "this agent does not serve realm \(frame.realm)")])
    }
    let answer: LookUpAnswer
    if frame.kind == QuestionKind.describe.rawValue {
      guard frame.wanting.firstInvalidName == nil, frame.wanting.attributes.count <= 64 else {
        return Judgement(.unknown(.unsupportedByAgent), trace: [TraceNote(.question, "an attribute name is malformed")])
      }
      answer = await validator.describe(userName, realm: frame.realm, wanting: frame.wanting, deadline: deadline)
    } else {
      answer = await validator.lookUp(userName, realm: frame.realm, deadline: deadline)
    }
    if let meaning = answer.meaning {
      var judgement = Judgement(meaning, trace: answer.trace, facts: answer.lockout.map { LockoutFacts(policy: $0, bindSent: false) })
      judgement.described = answer.person
      return judgement
    }
    return Judgement(.unknown(answer.cause ?? .internalError), trace: answer.trace)
  }

  /// Keeps what is known of the directories' lockout policies fresh, beside the heartbeats that tell it: no heartbeat waits for a directory.
  private func policies() async {
    while !Task.isCancelled {
      for validator in validators.values {
        await (validator as? any LockoutPolicySource)?.refreshLockoutPolicy(deadline: Deadline(after: .seconds(10)))
      }
      try? await Task.sleep(for: .seconds(30))
    }
  }

  /// Whether the password may be put before the directory now; from then on it counts as put.
  private func mayBind(_ id: Identifier, deadline: Deadline) async -> Bool {
    while !deadline.hasPassed, !mayHandBack {
      switch hand.mayBind(id) {
      case .given: return true
      case .refused: return false
      case .wait:
        outbox.put(hand.reports())
        do { try await Task.sleep(for: .milliseconds(20)) } catch { return false }
      }
    }
    return false
  }

  /// Whether what has not been begun with goes back to the gateway: the agent has been ending for a while, and the gateway knows the word.
  private var mayHandBack: Bool {
    guard contact.understands(StageReport.capability), let age = drainBegan.age else { return false }
    return age > PassThroughAgent.beginGrace
  }

  /// Carries answers and stages back, in batches that form by themselves while one is on its way.
  private func deliveries() async {
    var backoff = Backoff()
    while !Task.isCancelled {
      let (batch, stages) = await outbox.next(limit: 64) { hand.count >= VerdictOutbox.busy }
      guard !batch.isEmpty || !stages.isEmpty else { continue }
      do {
        let sent = ContinuousClock.now
        let answer = try await connection.deliver(try signed(batch, stages))
        backoff.reset()
        hand.answered(stages, withdrawn: answer.withdrawn ?? [], sent: sent)
        outbox.delivered()
      } catch {
        hand.failed(stages)
        logger.warning("verdicts could not be delivered; trying again", metadata: ["verdicts": "\(batch.count)", "error": "\(error)"])
        try? await Task.sleep(for: backoff.next())
        outbox.putBack(batch.filter { $0.made.duration(to: .now) < PassThroughAgent.answerLife }, stages.filter { $0.stage == .returned })
      }
    }
  }

  /// Items of one identity, signed by it: together where the gateway understands that, else each by itself.
  private func signed(_ batch: [VerdictOutbox.Item], _ stages: [StageReport]) throws -> VerdictsRequest {
    guard let key = batch.first?.identity.signingKey else { return VerdictsRequest(verdicts: [], stages: stages) }
    let drafts = batch.map(\.draft)
    guard contact.understands(VerdictsRequest.batchCapability) else {
      return VerdictsRequest(verdicts: try drafts.map { try VerdictFrame($0, key: key) }, stages: stages)
    }
    return try VerdictsRequest(signing: drafts, stages: stages, key: key)
  }

  private func heartbeats() async {
    while !Task.isCancelled {
      do {
        try await beat(draining: Task.isShuttingDownGracefully)
        contact.made()
      } catch {
        contact.lost()
        hand.failed()
        logger.warning("heartbeat failed", metadata: ["error": "\(error)"])
      }
      // While the gateway is away somewhat more often: its questions wait for its agents no longer than two seconds after a restart. By chance, so
      // that forty agents do not come in one instant.
      try? await Task.sleep(for: contact.isLost ? .milliseconds(Int64.random(in: 800...1600)) : .seconds(2))
    }
  }

  private func beat(draining: Bool) async throws {
    var standing: [Alarm] = []
    for source in alarms { standing += await source.alarms() }
    var weather: [DirectoryReport] = []
    for source in directories { weather += await source.reports() }
    let sent = ContinuousClock.now
    let answer = try await connection.heartbeat(
      Heartbeat(
        capabilities: [
          QuestionKind.validate.rawValue, QuestionKind.lookUp.rawValue, QuestionKind.changePassword.rawValue,
          QuestionKind.describe.rawValue, StageReport.capability,
        ], software: software, clock: now(),
        alarms: standing, draining: draining, instance: instance,
        directories: weather.isEmpty ? nil : Array(weather.prefix(DirectoryReport.mostReports)),
        lockouts: validators.compactMap { realm, validator in
          (validator as? any LockoutPolicySource)?.lockoutPolicy().map { RealmLockout(realm: realm, policy: $0) }
        }))
    contact.learn(answer.capabilities ?? [])
    hand.answered(sent: sent)
    told(answer)
  }
}
