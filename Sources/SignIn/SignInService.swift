import Bytes
import Identity
import Logging

/// What a front-end asks.
package struct SignInRequest: Sendable {
  /// As typed, not yet checked.
  package var userName: String
  package var password: Secret
  package var address: IPAddress?
  /// The application that the person wants to reach, for the audit; at most 256 bytes.
  package var application: String?
  /// The caller's own number for the sign-in, for the audit; at most 128 bytes.
  package var correlation: String?
  package var wanting: AttributeRequest
  package var deadline: Deadline

  package init(
    userName: String, password: Secret, address: IPAddress?, application: String?, correlation: String?, wanting: AttributeRequest,
    deadline: Deadline
  ) {
    self.userName = userName
    self.password = password
    self.address = address
    self.application = application
    self.correlation = correlation
    self.wanting = wanting
    self.deadline = deadline
  }
}

/// What comes of it, and under which reference it can be explained.
package struct SignInAnswer: Sendable {
  package var reference: Reference
  package var verdict: Verdict
  package var method: SignInMethod?
  package var realm: RealmName?
  package var time: Instant
  /// When a refusal by our own lock ends.
  package var retryAfter: Duration?
}

/// The one gate through which every password goes: realm → address → lockout → validator → audit → verdict.
package struct SignInService: Sendable {
  private let realms: RealmDirectory
  private let validators: [SignInMethod: any PasswordValidator]
  private let lockouts: any LockoutStore
  private let audit: any AuditLog
  private let throttle: AddressThrottle
  private let policy: LockoutPolicy
  private let now: @Sendable () -> Instant
  private let logger: Logger

  package init(
    realms: RealmDirectory, validators: [SignInMethod: any PasswordValidator], lockouts: any LockoutStore, audit: any AuditLog,
    throttle: AddressThrottle, policy: LockoutPolicy, now: @escaping @Sendable () -> Instant, logger: Logger
  ) {
    self.realms = realms
    self.validators = validators
    self.lockouts = lockouts
    self.audit = audit
    self.throttle = throttle
    self.policy = policy
    self.now = now
    self.logger = logger
  }

  /// Judges one sign-in. No verdict leaves without its audit row: where the row cannot be written, the answer is `unknown(.storeUnavailable)`.
  package func signIn(_ request: SignInRequest, frontEnd: FrontEnd) async -> SignInAnswer {
    let began = ContinuousClock.now
    let answer = await judge(request, frontEnd: frontEnd)
    answer.verdict.count(took: began.duration(to: .now))
    return answer
  }

  private func judge(_ request: SignInRequest, frontEnd: FrontEnd) async -> SignInAnswer {
    let reference = Reference()
    var trace = [TraceNote(.frontEnd, "front-end \(frontEnd.name)\(request.address.map { ", client \($0)" } ?? "")")]

    guard let userName = UserName(request.userName) else {
      return await conclude(.refused(Refusal(.malformedUserName)), request, frontEnd, reference, realm: nil, trace)
    }
    guard let password = Password(request.password) else {
      return await conclude(.refused(Refusal(.malformedPassword)), request, frontEnd, reference, realm: nil, trace)
    }
    guard let realm = realms.realm(of: userName) else {
      trace.append(TraceNote(.realm, "no realm has the suffix or prefix of this name"))
      return await conclude(.refused(Refusal(.realmUnknown)), request, frontEnd, reference, realm: nil, trace)
    }
    trace.append(TraceNote(.realm, "realm \(realm.name), method \(realm.method.rawValue)"))
    guard frontEnd.realms.contains(realm.name) else {
      trace.append(TraceNote(.frontEnd, "front-end \(frontEnd.name) may not ask about realm \(realm.name)"))
      return await conclude(.refused(Refusal(.realmNotAllowed)), request, frontEnd, reference, realm: realm, trace)
    }
    guard throttle.mayGuess(request.address, now: .now) else {
      trace.append(TraceNote(.addressThrottle, "too many failed guesses from this address"))
      return await conclude(.refused(Refusal(.addressThrottled)), request, frontEnd, reference, realm: realm, trace, retryAfter: .seconds(1))
    }
    guard let validator = validators[realm.method] else {
      return await conclude(.unknown(.internalError), request, frontEnd, reference, realm: realm, trace)
    }

    let name = LockoutName(userName, realm: realm.name)
    let reservation: LockoutReservation
    do {
      switch try await admit(name, deadline: request.deadline) {
      case .admitted(let admitted): reservation = admitted
      case .locked(let until):
        trace.append(TraceNote(.lockout, "locked by us until \(until)"))
        return await conclude(
          .refused(Refusal(.lockedOut)), request, frontEnd, reference, realm: realm, trace, retryAfter: max(.seconds(1), until.since(now())))
      case .blocked:
        trace.append(TraceNote(.lockout, "blocked by an administrator"))
        return await conclude(.refused(Refusal(.blockedByAdministrator)), request, frontEnd, reference, realm: realm, trace)
      case .busy:
        trace.append(TraceNote(.lockout, "too many sign-ins of this user were under way until the deadline"))
        return await conclude(.unknown(.overloaded), request, frontEnd, reference, realm: realm, trace)
      }
    } catch {
      logger.error("the lockout store did not answer", metadata: ["error": "\(error)"])
      return answer(.unknown(.storeUnavailable), reference, realm: realm)
    }

    let judgement = await validator.validate(
      Credential(userName: userName, password: password, realm: realm.name), wanting: request.wanting, deadline: request.deadline)
    trace += judgement.trace

    let outcome: LockoutOutcome
    var object: Identifier?
    switch judgement.verdict {
    case .accepted(let person): (outcome, object) = (.succeeded, person.object.id)
    case .refused(let refusal):
      object = refusal.object?.id
      // A refusal that the directory gives only after the right password is no guess; neither does it prove more than that (law 1).
      outcome = refusal.reason.provesPassword ? .succeeded : refusal.reason.countsAsGuess ? .failed : .undecided
    case .unknown: outcome = .undecided
    }
    if outcome == .failed { throttle.guessFailed(from: request.address, now: .now) }
    let time = now()
    let event = event(judgement.verdict, request, frontEnd, reference, realm: realm, trace, time: time, agent: judgement.answeredBy)
    do {
      try await joinOwnName(of: judgement.verdict, typed: name, now: time)
      let standing = try await lockouts.settle(reservation, outcome: outcome, object: object, policy: policy, now: time, audit: [event])
      // A spelling that turned out to mean somebody who is locked or blocked: the lock answers, whatever the directory said.
      if let refusal = standing.refusal, outcome != .undecided {
        return answer(.refused(Refusal(refusal)), reference, realm: realm, time: time)
      }
    } catch {
      logger.error("a verdict could not be recorded and is withheld", metadata: ["reference": "\(reference)", "error": "\(error)"])
      return answer(.unknown(.storeUnavailable), reference, realm: realm)
    }
    return answer(judgement.verdict, reference, realm: realm, time: time)
  }

  /// Reserves a try; waits, within the deadline, while other tries of the same person are under way.
  private func admit(_ name: LockoutName, deadline: Deadline) async throws -> LockoutAdmission {
    var pause = Duration.milliseconds(5)
    while true {
      let admission = try await lockouts.admit(name, policy: policy, now: now())
      guard admission == .busy, deadline.remaining() > pause else { return admission }
      try await Task.sleep(for: pause)
      pause = min(pause * 2, .milliseconds(100))
    }
  }

  /// A person may be blocked, locked or counted under the name that the directory has for them, though nobody has signed in by it yet: then the
  /// spelling that was typed must be no way around. To be called before the try is settled, so that what stands there answers it.
  private func joinOwnName(of verdict: Verdict, typed: LockoutName, now: Instant) async throws {
    guard case .accepted(let person) = verdict, let own = UserName(person.userPrincipalName) else { return }
    let name = LockoutName(own, realm: typed.realm)
    guard name != typed, let state = try await lockouts.state(of: name), state.blocked || state.lockedUntil != nil || state.failures > 0 else {
      return
    }
    // Settling learns whom the name means, and moves what stands under it to them; nothing is counted by it.
    _ = try await lockouts.settle(
      LockoutReservation(id: Identifier(), name: name), outcome: .undecided, object: person.object.id, policy: policy, now: now, audit: [])
  }

  /// Records a verdict that no reservation belongs to.
  private func conclude(
    _ verdict: Verdict, _ request: SignInRequest, _ frontEnd: FrontEnd, _ reference: Reference, realm: Realm?, _ trace: [TraceNote],
    retryAfter: Duration? = nil
  ) async -> SignInAnswer {
    let time = now()
    do {
      try await audit.append([event(verdict, request, frontEnd, reference, realm: realm, trace, time: time)])
    } catch {
      logger.error("a verdict could not be recorded and is withheld", metadata: ["reference": "\(reference)", "error": "\(error)"])
      return answer(.unknown(.storeUnavailable), reference, realm: realm)
    }
    var result = answer(verdict, reference, realm: realm, time: time)
    result.retryAfter = retryAfter
    return result
  }

  private func answer(_ verdict: Verdict, _ reference: Reference, realm: Realm?, time: Instant? = nil) -> SignInAnswer {
    SignInAnswer(reference: reference, verdict: verdict, method: realm?.method, realm: realm?.name, time: time ?? now())
  }

  private func event(
    _ verdict: Verdict, _ request: SignInRequest, _ frontEnd: FrontEnd, _ reference: Reference, realm: Realm?, _ trace: [TraceNote],
    time: Instant, agent: Identifier? = nil
  ) -> AuditEvent {
    var details: [String: String] = [:]
    details["agent"] = agent?.description
    details["address"] = request.address?.description
    details["application"] = request.application.map { cut($0, 256) }
    details["correlation"] = request.correlation.map { cut($0, 128) }
    details["method"] = realm?.method.rawValue
    let outcome: String
    var object: Identifier?
    switch verdict {
    case .accepted(let person):
      outcome = "accepted"
      object = person.object.id
      details["upn"] = cut(person.userPrincipalName, 320)
    case .refused(let refusal):
      outcome = "refused:\(refusal.reason.rawValue)"
      object = refusal.object?.id
      details["subCode"] = refusal.subCode.map { cut($0, 16) }
      details["outerCode"] = refusal.reason.outerCode.rawValue
    case .unknown(let cause): outcome = "unknown:\(cause.rawValue)"
    }
    return AuditEvent(
      time: time, kind: .signIn, reference: reference, actor: frontEnd.name, realm: realm?.name, subject: cut(request.userName, 512),
      object: object, outcome: outcome, details: details, trace: trace)
  }
}

/// The first `limit` bytes of `text`, cut at a whole character of UTF-8.
func cut(_ text: String, _ limit: Int) -> String {
  guard text.utf8.count > limit else { return text }
  var end = text.utf8.index(text.utf8.startIndex, offsetBy: limit)
  while end > text.startIndex, String.Index(end, within: text.unicodeScalars) == nil { end = text.utf8.index(before: end) }
  return String(text[..<end])
}
