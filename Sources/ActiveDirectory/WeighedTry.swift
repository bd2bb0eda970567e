import Identity
import Synchronization

/// One try on its way to a bind, with what it was weighed by.
final class WeighedTry: Sendable {
  private struct State: Sendable {
    var facts: LockoutFacts
    var verdict: Verdict?
  }

  let allowance: TryAllowance?
  private let state = Mutex(State(facts: LockoutFacts(bindSent: false), verdict: nil))

  init(_ allowance: TryAllowance?) { self.allowance = allowance }

  var facts: LockoutFacts { state.withLock { $0.facts } }
  /// What stands in the way of the bind; nil while nothing does.
  var verdict: Verdict? { state.withLock { $0.verdict } }

  /// The password is about to be sent: from now on it may have counted.
  func sending() { state.withLock { $0.facts.bindSent = true } }

  /// Throws `.withheld`, with the verdict set, where the password must not be put before the directory.
  func weigh(
    _ standing: DomainLockout.Standing, policy: DirectoryLockoutPolicy, object: DirectoryObject, at server: DirectoryServer, trace: TraceRecorder
  ) throws(LDAPFault) {
    guard let allowance else { return }
    state.withLock { state in
      state.facts.count = standing.count
      state.facts.lastWrongMillisecondsAgo = standing.lastWrongMillisecondsAgo
      state.facts.passwordSet = standing.passwordSet
      state.facts.policy = policy
    }
    func withhold(_ verdict: Verdict, _ why: String) throws(LDAPFault) {
      trace.add(.lockout, why)
      state.withLock { $0.verdict = verdict }
      throw .withheld
    }
    if let refusedAt = allowance.refusedAt, refusedAt == standing.passwordSet {
      try withhold(
        .refused(Refusal(.repeatedWrongPassword, object: object)),
        "this password was refused a moment ago, and the person's has not been changed since: not asked again")
    }
    // While the account is locked at this server its answer is 775 for any password, and nothing is counted.
    if standing.isLocked { return }
    let count = standing.count ?? allowance.counted
    let isAlone = allowance.undecided <= 0 && allowance.charged <= 0
    let others = isAlone ? "" : ", \(allowance.undecided) tries under way, \(allowance.charged) unheard of"
    let words = "\(count) of \(policy.threshold) wrong passwords counted\(others)"
    switch policy.decide(count: count, allowance: allowance) {
    case .ask: if count > 0 || !isAlone { trace.add(.lockout, words) }
    case .probe: trace.add(.lockout, "\(words): asked out of the reserve, since the address is familiar")
    case .wait: try withhold(.unknown(.triesUnderWay), "\(words): not asked before they are decided")
    case .keep:
      try withhold(
        .refused(Refusal(allowance.isFamiliar ? .keptFromDirectoryFamiliar : .keptFromDirectory, object: object)),
        "\(words), \(policy.reserve) are kept in reserve: not asked")
    }
  }
}
