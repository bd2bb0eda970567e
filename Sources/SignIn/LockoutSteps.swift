import Bytes
import Identity

extension Lockout {
  /// What a store holds of one name, and of the person whom it means.
  package struct NameState: Sendable, Equatable {
    /// Whom the name was learned to mean; nil: nobody, or it is not known.
    package var object: Identifier?
    /// The name's own state; where it has an object, only whether the name is blocked.
    package var own: LockoutState

    package init(object: Identifier? = nil, own: LockoutState = LockoutState()) {
      self.object = object
      self.own = own
    }
  }

  /// What a store is to do for an admission.
  package struct AdmissionStep: Sendable, Equatable {
    package var answer: LockoutAdmission
    /// The name's row, where it has to be written.
    package var name: NameState?
    /// The person's state, where it has to be written.
    package var person: LockoutState?
  }

  /// `LockoutStore.admit` without the store.
  ///
  /// - Parameters:
  ///   - known: the name's row; nil where there is none.
  ///   - person: the state of the object that the name means: the one looked up, else the one learned.
  package static func admit(
    _ name: LockoutName, known: NameState?, person: LockoutState?, from address: AddressMark?, knowledge: NameKnowledge, policy: LockoutPolicy,
    now: Instant
  ) -> AdmissionStep {
    var row = known ?? NameState()
    if row.own.blocked { return AdmissionStep(answer: .blocked) }
    var person = person ?? LockoutState()
    var isNew = known == nil
    switch knowledge {
    case .unavailable: break
    case .stored:
      let bar = row.object == nil ? row.own : person
      let isFamiliar = bar.knows(address, now: now)
      // At once: neither the directory nor the time has a part in it.
      if let standing = barred(bar, familiar: isFamiliar, policy: policy, now: now) { return AdmissionStep(answer: standing) }
      if known == nil || (address != nil && !isFamiliar) { return AdmissionStep(answer: .lookUpFirst) }
    case .lookedUp(.nobody):
      // What the name used to mean is over.
      if row.object != nil { (row.object, isNew) = (nil, true) }
    case .lookedUp(.person(let object)):
      if row.object != object {
        Lockout.merge(row.own, into: &person, policy: policy, now: now)
        var kept = LockoutState()
        kept.blocked = row.own.blocked
        (row, isNew) = (NameState(object: object, own: kept), true)
      }
    }
    guard let object = row.object else {
      let answer = admit(&row.own, name: name, id: Identifier(), from: address, policy: policy, now: now)
      return AdmissionStep(answer: answer, name: answer.isAdmitted ? row : nil)
    }
    var answer = admit(&person, name: name, id: Identifier(), from: address, policy: policy, now: now)
    if case .admitted(var reservation) = answer {
      reservation.object = object
      answer = .admitted(reservation)
    }
    // What was learned is kept even where the person is locked: the next try is answered at once.
    return AdmissionStep(answer: answer, name: isNew ? row : nil, person: answer.isAdmitted || isNew ? person : nil)
  }

  private static func barred(_ state: LockoutState, familiar: Bool, policy: LockoutPolicy, now: Instant) -> LockoutAdmission? {
    var state = state
    refresh(&state, policy: policy, now: now)
    switch standing(of: state, familiar: familiar, now: now) {
    case .free: return nil
    case .locked(let until): return .locked(until: until)
    case .blocked: return .blocked
    }
  }

  /// What a store is to do when a try is settled.
  package struct SettlementStep: Sendable, Equatable {
    package var standing: LockoutStanding
    package var name: NameState?
    /// The state of the person that the try turned out to be about.
    package var person: (object: Identifier, state: LockoutState)?
    /// The state of the one for whom the try had been reserved, where that is another.
    package var former: (object: Identifier, state: LockoutState)?

    package static func == (left: SettlementStep, right: SettlementStep) -> Bool {
      left.standing == right.standing && left.name == right.name && left.person?.object == right.person?.object
        && left.person?.state == right.person?.state && left.former?.object == right.former?.object && left.former?.state == right.former?.state
    }
  }

  /// `LockoutStore.settle` without the store.
  ///
  /// - Parameter person: reads the state of an object.
  package static func settle(
    _ reservation: LockoutReservation, known: NameState?, outcome: LockoutOutcome, object: Identifier?, shown: LockoutState.Charge?,
    policy: LockoutPolicy, now: Instant, person: (Identifier) throws -> LockoutState?
  ) rethrows -> SettlementStep {
    var row = known ?? NameState()
    guard let target = object ?? reservation.object ?? row.object else {
      let standing = settle(&row.own, reservation, outcome: outcome, policy: policy, now: now)
      return SettlementStep(standing: standing, name: row)
    }
    var step = SettlementStep(standing: .free)
    if let held = reservation.object ?? row.object, held != target, var state = try person(held) {
      // The directory has given the name to another object; the one that it meant before gets its reservation back.
      _ = settle(&state, reservation, outcome: .undecided, policy: policy, now: now)
      step.former = (held, state)
    }
    var state = try person(target) ?? LockoutState()
    if row.object != target {
      merge(row.own, into: &state, policy: policy, now: now)
      var kept = LockoutState()
      kept.blocked = row.own.blocked
      step.name = NameState(object: target, own: kept)
    }
    step.standing = settle(&state, reservation, outcome: outcome, shown: shown, policy: policy, now: now)
    step.person = (target, state)
    return step
  }
}

extension LockoutAdmission {
  var isAdmitted: Bool { if case .admitted = self { true } else { false } }
}
