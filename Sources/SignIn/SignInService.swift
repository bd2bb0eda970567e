import Bytes
import Identity
import Logging

/// The one gate through which every password goes: realm → address → lockout → validator → audit → verdict.
package struct SignInService: Sendable {
  private let realms: RealmDirectory
  private let validators: [SignInMethod: any PasswordValidator]
  private let changers: [SignInMethod: any PasswordChange]
  private let lockouts: any LockoutStore
  private let audit: any AuditLog
  private let throttle: AddressThrottle
  private let sprays: SprayGuard
  private let ledger: ThrottleLedger
  private let refusedPasswords = RefusedPasswords()
  private let underWay = GuessesUnderWay()
  private let policies: LockoutPolicies
  let now: @Sendable () -> Instant
  private let logger: Logger

  package init(
    realms: RealmDirectory, validators: [SignInMethod: any PasswordValidator],
    changers: [SignInMethod: any PasswordChange] = [:], lockouts: any LockoutStore, audit: any AuditLog, throttle: AddressThrottle,
    sprays: SprayGuard = SprayGuard(), ledger: ThrottleLedger? = nil, policies: LockoutPolicies,
    now: @escaping @Sendable () -> Instant, logger: Logger
  ) {
    self.realms = realms
    self.validators = validators
    self.changers = changers
    self.lockouts = lockouts
    self.audit = audit
    self.throttle = throttle
    self.sprays = sprays
    self.ledger = ledger ?? ThrottleLedger(audit: audit)
    self.policies = policies
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

  /// Changes a password by proof of the old one. What holds for the password of a sign-in holds for the old one: the same reservation, the same
  /// counts, the same refusals. No change is made without its row: one is written before anything is asked, and one with the outcome.
  package func changePassword(_ request: PasswordChangeRequest, frontEnd: FrontEnd) async -> PasswordChangeAnswer {
    // It says nothing of the person, of whom nothing was asked.
    guard let new = Password(request.new) else {
      let answer = await conclude(
        Judgement(.refused(Refusal(.malformedPassword))), request.signIn, frontEnd, Reference(), realm: nil,
        [TraceNote(.frontEnd, "front-end \(frontEnd.name)"), TraceNote(.change, "the new password is none that a directory may be given")],
        isChange: true)
      guard case .refused? = answer.change else { return PasswordChangeAnswer(answer, outcome: Judgement(answer.verdict).changeOutcome) }
      return PasswordChangeAnswer(answer, outcome: .notTaken(PasswordRules(broken: [request.new.isEmpty ? .tooShort : .other])))
    }
    let answer = await judge(request.signIn, changingTo: new, frontEnd: frontEnd)
    return PasswordChangeAnswer(answer, outcome: answer.change ?? Judgement(answer.verdict).changeOutcome)
  }

  /// The same for a page that has checked name and passwords by their types.
  package func changePassword(
    userName: UserName, old: Password, new: Password, address: IPAddress?, application: String? = nil, correlation: String? = nil,
    wanting: AttributeRequest = .none, deadline: Deadline, frontEnd: FrontEnd
  ) async -> (outcome: PasswordChangeOutcome, reference: Reference) {
    let answer = await changePassword(
      PasswordChangeRequest(
        SignInRequest(
          userName: userName.text, password: old.secret, address: address, application: application, correlation: correlation, wanting: wanting,
          deadline: deadline), new: new.secret), frontEnd: frontEnd)
    return (answer.outcome, answer.reference)
  }

  private func judge(_ request: SignInRequest, changingTo new: Password? = nil, frontEnd: FrontEnd) async -> SignInAnswer {
    let reference = Reference()
    let isChange = new != nil
    func conclude(
      _ verdict: Verdict, _ request: SignInRequest, _ frontEnd: FrontEnd, _ reference: Reference, realm: Realm?, _ trace: [TraceNote],
      retryAfter: Duration? = nil, also more: [AuditEvent] = []
    ) async -> SignInAnswer {
      await self.conclude(
        Judgement(verdict), request, frontEnd, reference, realm: realm, trace, retryAfter: retryAfter, also: more, isChange: isChange)
    }
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
    guard let validator = validators[realm.method] else {
      return await conclude(.unknown(.internalError), request, frontEnd, reference, realm: realm, trace)
    }
    let name = LockoutName(userName, realm: realm.name)
    let mark = request.address.map(AddressMark.init)
    var guess = sprays.guess(password, person: name.key, realm: realm.name, address: mark)
    if let refusal = await throttled(guess, request, name, frontEnd, realm) { return refusal }

    // Asked anew at each step: an agent may tell of a stricter directory while a sign-in waits.
    var policy: LockoutPolicy { policies.policy(of: realm) }
    var knowledge = NameKnowledge.stored
    var hasMoved = false
    var wasTold = false
    var pause = Duration.milliseconds(5)
    while true {
      let reservation: LockoutReservation
      do {
        switch try await admit(name, from: mark, knowledge: knowledge, policy: policy, deadline: request.deadline) {
        case .admitted(let admitted): reservation = admitted
        case .lookUpFirst:
          let answer = await validator.lookUp(userName, realm: realm.name, deadline: request.deadline)
          trace += answer.trace
          if let meaning = answer.meaning {
            knowledge = .lookedUp(meaning)
          } else if answer.cause == .unsupportedByAgent {
            knowledge = .unavailable
          } else {
            return await conclude(.unknown(answer.cause ?? .internalError), request, frontEnd, reference, realm: realm, trace)
          }
          // When a spray begins, hundreds of its guesses wait here for their look-up: what was learned meanwhile spares the directory their binds.
          if let refusal = await throttled(guess, request, name, frontEnd, realm) { return refusal }
          continue
        case .locked(let until):
          trace.append(TraceNote(.lockout, "locked by us until \(until)"))
          let began = failed(guess, now: now())
          return await conclude(
            .refused(Refusal(.lockedOut)), request, frontEnd, reference, realm: realm, trace, retryAfter: max(.seconds(1), until.since(now())),
            also: began)
        case .blocked:
          trace.append(TraceNote(.lockout, "blocked by an administrator"))
          return await conclude(.refused(Refusal(.blockedByAdministrator)), request, frontEnd, reference, realm: realm, trace)
        case .kept(let isFamiliar):
          trace.append(
            TraceNote(.lockout, "as many wrong passwords are counted as the directory's lockout, of which an agent has told since, leaves room for"))
          let refusal = Refusal(isFamiliar ? .keptFromDirectoryFamiliar : .keptFromDirectory)
          let began = failed(guess, now: now())
          return await conclude(.refused(refusal), request, frontEnd, reference, realm: realm, trace, also: began)
        case .busy:
          trace.append(TraceNote(.lockout, "too many sign-ins of this user were under way until the deadline"))
          return await conclude(.unknown(.overloaded), request, frontEnd, reference, realm: realm, trace)
        }
      } catch {
        logger.error("the lockout store did not answer", metadata: ["error": "\(error)"])
        return answer(.unknown(.storeUnavailable), reference, realm: realm)
      }

      let fingerprint = refusedPasswords.fingerprint(password, object: reservation.object, name: name)
      var credential = Credential(userName: userName, password: password, realm: realm.name)
      // Where nobody can be asked whom the name means, nothing can be expected of the search.
      if knowledge != .unavailable || reservation.object != nil {
        credential.allowance = TryAllowance(
          expected: reservation.object, undecided: reservation.undecided, charged: reservation.charges.count, isFamiliar: reservation.isFamiliar,
          refusedAt: refusedPasswords.refusedAt(fingerprint, now: now()), counted: reservation.counted)
      }
      // People at familiar addresses go on though a spray comes from there.
      let withdrawal = Withdrawal()
      credential.withdrawal = withdrawal
      let held = reservation.isFamiliar ? nil : underWay.add(guess, withdrawal)
      defer { if let held { underWay.remove(held) } }
      let judgement: Judgement
      if let new {
        guard let changer = changers[realm.method] else {
          judgement = Judgement(.unknown(.unsupportedByAgent), trace: [TraceNote(.change, "passwords of this realm cannot be changed here")])
          trace += judgement.trace
          return await settle(
            judgement, reservation, fingerprint, guess, request, name, frontEnd, reference, realm: realm, policy: policy, trace, isChange: true)
        }
        if !wasTold {
          do {
            try await audit.append([tried(request, frontEnd, reference, realm: realm, object: reservation.object)])
            wasTold = true
          } catch {
            logger.error("a change of a password could not be recorded and is not made", metadata: ["error": "\(error)"])
            _ = try? await lockouts.settle(reservation, outcome: .undecided, object: nil, policy: policy, now: now(), audit: [])
            return answer(.unknown(.storeUnavailable), reference, realm: realm)
          }
        }
        judgement = await changer.change(credential, to: new, wanting: request.wanting, deadline: request.deadline)
      } else {
        judgement = await validator.validate(credential, wanting: request.wanting, deadline: request.deadline)
      }
      trace += judgement.trace

      if withdrawal.isWithdrawn, case .unknown = judgement.verdict, !judgement.mayHaveCounted {
        // Its spray was recognised while it waited, and nothing was put before the directory.
        do {
          _ = try await lockouts.settle(reservation, outcome: .undecided, object: nil, policy: policy, now: now(), audit: [])
        } catch {
          logger.error("the lockout store did not answer", metadata: ["error": "\(error)"])
          return answer(.unknown(.storeUnavailable), reference, realm: realm)
        }
        if let refusal = await throttled(guess, request, name, frontEnd, realm) { return refusal }
        return await conclude(judgement.verdict, request, frontEnd, reference, realm: realm, trace)
      }
      if case .unknown(let cause) = judgement.verdict,
        cause == .nameMoved && !hasMoved || cause == .triesUnderWay && request.deadline.remaining() > pause
      {
        // Nothing was put before the directory: once more, from the look-up on, or when others have ended.
        do {
          _ = try await lockouts.settle(reservation, outcome: .undecided, object: nil, policy: policy, now: now(), audit: [])
          if cause == .nameMoved {
            hasMoved = true
            let found = await validator.lookUp(userName, realm: realm.name, deadline: request.deadline)
            trace += found.trace
            guard let meaning = found.meaning else {
              return await conclude(judgement.verdict, request, frontEnd, reference, realm: realm, trace)
            }
            knowledge = .lookedUp(meaning)
          } else {
            try await Task.sleep(for: pause)
            pause = min(pause * 2, .milliseconds(100))
          }
        } catch {
          logger.error("the lockout store did not answer", metadata: ["error": "\(error)"])
          return answer(.unknown(.storeUnavailable), reference, realm: realm)
        }
        continue
      }
      if let object = reservation.object { guess = sprays.guess(password, person: object.description, realm: realm.name, address: mark) }
      return await settle(
        judgement, reservation, fingerprint, guess, request, name, frontEnd, reference, realm: realm, policy: policy, trace, isChange: isChange)
    }
  }

  /// Counts what came of a try, and records it.
  private func settle(
    _ judgement: Judgement, _ held: LockoutReservation, _ fingerprint: RefusedPasswords.Fingerprint, _ guess: SprayState.Guess,
    _ request: SignInRequest, _ name: LockoutName, _ frontEnd: FrontEnd, _ reference: Reference, realm: Realm, policy: LockoutPolicy,
    _ trace: [TraceNote], isChange: Bool
  ) async -> SignInAnswer {
    let time = now()
    var reservation = held
    reservation.uncertain = judgement.uncertainTries
    let outcome: LockoutOutcome
    var object: Identifier?
    let change = isChange ? judgement.changeOutcome : nil
    switch (judgement.verdict, change) {
    case (_, .changed(let person)?):
      (outcome, object) = (.succeeded, person?.object.id)
      if person == nil { reservation.address = nil }
    // Told of the old password only after it was found right.
    case (_, .notTaken?):
      outcome = .succeeded
      reservation.address = nil
    case (.accepted(let person), nil): (outcome, object) = (.succeeded, person.object.id)
    case (.refused(let refusal), _):
      object = refusal.object?.id
      // A refusal that the directory gives only after the right password is no guess; neither does it prove more than that (law 1).
      outcome = refusal.reason.provesPassword ? .succeeded : refusal.reason.countsAsGuess ? .failed : .undecided
      // Only who got in makes an address familiar.
      reservation.address = nil
      switch refusal.reason {
      case .wrongPassword where judgement.facts?.bindSent == true && object != nil && object == held.object:
        if let passwordSet = judgement.facts?.passwordSet { refusedPasswords.refused(fingerprint, passwordSet: passwordSet, now: time) }
      case .userNotFound, .ambiguousName: if held.object == nil { refusedPasswords.refused(fingerprint, passwordSet: 0, now: time) }
      default: break
      }
    case (.unknown, _), (.accepted, _): outcome = judgement.mayHaveCounted ? .mayHaveCounted : .undecided
    }
    var events = [
      event(judgement, request, frontEnd, reference, realm: realm, trace, time: time, agent: judgement.answeredBy, isChange: isChange)
    ]
    switch outcome {
    case .failed:
      throttle.guessFailed(from: request.address, now: .now)
      events += failed(guess, now: time)
    case .succeeded: sprays.succeeded(guess, now: time)
    case .undecided, .mayHaveCounted: break
    }
    do {
      try await joinOwnName(of: judgement.verdict, typed: name, policy: policy, now: time)
      let standing = try await lockouts.settle(
        reservation, outcome: outcome, object: object, shown: Lockout.shown(held, facts: judgement.facts, now: time), policy: policy, now: time,
        audit: events)
      // A spelling that turned out to mean somebody who is locked or blocked: the lock answers, whatever the directory said.
      // A change that was made was made: whoever changed it must hear so.
      if let refusal = standing.refusal, outcome.isDecided, !(change?.isChanged ?? false) {
        return answer(.refused(Refusal(refusal)), reference, realm: realm, time: time)
      }
    } catch {
      logger.error("a verdict could not be recorded and is withheld", metadata: ["reference": "\(reference)", "error": "\(error)"])
      return answer(.unknown(.storeUnavailable), reference, realm: realm)
    }
    var result = answer(judgement.verdict, reference, realm: realm, time: time)
    result.change = change
    return result
  }

  /// A guess failed. Where a spray begins by it, those of its guesses that wait for their bind are taken back.
  private func failed(_ guess: SprayState.Guess, now: Instant) -> [AuditEvent] {
    let events = sprays.failed(guess, now: now)
    if events.contains(where: { $0.kind == .sprayBegan }) { underWay.withdraw { sprays.spray($0) != nil } }
    return events
  }

  /// Whether the person signs in from an address of theirs. Costs one read.
  package func isFamiliar(_ request: SignInRequest, frontEnd: FrontEnd) async -> Bool {
    guard let mark = request.address.map(AddressMark.init), let userName = UserName(request.userName), let realm = realms.realm(of: userName),
      frontEnd.realms.contains(realm.name)
    else { return false }
    return (try? await lockouts.isFamiliar(mark, for: LockoutName(userName, realm: realm.name), now: now())) ?? false
  }

  /// The refusal of a guess from a source that is being slowed, or that belongs to a spray; nil where it may go ahead. People at addresses from
  /// which they signed in before go on.
  private func throttled(
    _ guess: SprayState.Guess, _ request: SignInRequest, _ name: LockoutName, _ frontEnd: FrontEnd, _ realm: Realm
  ) async -> SignInAnswer? {
    let spray = sprays.spray(guess)
    guard spray != nil || !throttle.mayGuess(request.address, now: .now) else { return nil }
    let time = now()
    let reason: RefusalReason = spray == nil ? .addressThrottled : .sprayThrottled
    do {
      if let mark = guess.address, try await lockouts.isFamiliar(mark, for: name, now: time) { return nil }
      if let spray { sprays.refused(spray, now: time) }
      let source = guess.address.map { "\($0)" } ?? "no address"
      let reference = try await ledger.note(
        ThrottleLedger.Key(realm: realm.name, reason: reason, frontEnd: frontEnd.name, source: source), name: name.key, now: time)
      var result = answer(.refused(Refusal(reason)), reference, realm: realm, time: time)
      result.retryAfter = .seconds(spray == nil ? 1 : 60)
      return result
    } catch {
      logger.error("a verdict could not be recorded and is withheld", metadata: ["error": "\(error)"])
      return answer(.unknown(.storeUnavailable), Reference(), realm: realm)
    }
  }

  /// Reserves a try; waits, within the deadline, while other tries of the same person are under way.
  private func admit(
    _ name: LockoutName, from address: AddressMark?, knowledge: NameKnowledge, policy: LockoutPolicy, deadline: Deadline
  ) async throws -> LockoutAdmission {
    var pause = Duration.milliseconds(5)
    while true {
      let admission = try await lockouts.admit(name, from: address, knowledge: knowledge, policy: policy, now: now())
      guard admission == .busy, deadline.remaining() > pause else { return admission }
      try await Task.sleep(for: pause)
      pause = min(pause * 2, .milliseconds(100))
    }
  }

  /// Asks the directory whom a name means and learns it, so that what is then said of the name holds for the person under every name. Nil where
  /// nobody could find out.
  package func learn(_ userName: UserName, realm: Realm, deadline: Deadline) async throws -> NameMeaning? {
    guard let validator = validators[realm.method] else { return nil }
    let meaning = await validator.lookUp(userName, realm: realm.name, deadline: deadline).meaning
    if let object = meaning?.object {
      try await lockouts.learn(LockoutName(userName, realm: realm.name), object: object, policy: policies.policy(of: realm), now: now())
    }
    return meaning
  }

  /// A person may be blocked, locked or counted under the name that the directory has for them, though nobody has signed in by it yet: then the
  /// spelling that was typed must be no way around. To be called before the try is settled, so that what stands there answers it.
  private func joinOwnName(of verdict: Verdict, typed: LockoutName, policy: LockoutPolicy, now: Instant) async throws {
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
    _ judgement: Judgement, _ request: SignInRequest, _ frontEnd: FrontEnd, _ reference: Reference, realm: Realm?, _ trace: [TraceNote],
    retryAfter: Duration? = nil, also more: [AuditEvent] = [], isChange: Bool
  ) async -> SignInAnswer {
    let time = now()
    do {
      try await audit.append([event(judgement, request, frontEnd, reference, realm: realm, trace, time: time, isChange: isChange)] + more)
    } catch {
      logger.error("a verdict could not be recorded and is withheld", metadata: ["reference": "\(reference)", "error": "\(error)"])
      return answer(.unknown(.storeUnavailable), reference, realm: realm)
    }
    var result = answer(judgement.verdict, reference, realm: realm, time: time)
    result.change = isChange ? judgement.changeOutcome : nil
    result.retryAfter = retryAfter
    return result
  }

  private func answer(_ verdict: Verdict, _ reference: Reference, realm: Realm?, time: Instant? = nil) -> SignInAnswer {
    SignInAnswer(reference: reference, verdict: verdict, method: realm?.method, realm: realm?.name, time: time ?? now())
  }
}
