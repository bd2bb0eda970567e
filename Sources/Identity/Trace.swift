import Bytes
import Synchronization

/// One fact on the way to a verdict, kept with its audit row so that `gatehouse trace` can tell the decision in words.
package struct TraceNote: Sendable, Equatable, Codable {
  package var step: TraceStep
  /// What happened, for an administrator: server names, codes, counts. Never a password, never a hash.
  package var detail: String
  /// Milliseconds the step took, where it was measured.
  package var milliseconds: Double?

  package init(_ step: TraceStep, _ detail: String, milliseconds: Double? = nil) {
    self.step = step
    self.detail = detail
    self.milliseconds = milliseconds
  }
}

/// The steps of a sign-in, in the order in which they happen.
package enum TraceStep: String, Sendable, CaseIterable, Codable {
  case frontEnd, realm, addressThrottle, lockout, agent, question, domainController, search, bind, attributes, change, verdict, federation
}

/// A verdict and how it came about.
package struct Judgement: Sendable, Equatable {
  package var verdict: Verdict
  package var trace: [TraceNote]
  /// How many times the password may have been put before the directory without anybody knowing what came of it. The directory may have counted
  /// each as a wrong one, beside whatever the verdict says.
  package var uncertainTries: Int
  /// Who answered: the agent's id, where one was asked.
  package var answeredBy: Identifier?
  /// What the agent saw of the person's lockout in the directory; nil where nothing was told.
  package var facts: LockoutFacts?
  /// Whom the name means, in answer to a look-up; then `verdict` judges nobody and is an `unknown`.
  package var meaning: NameMeaning?
  /// Who that is, where a description was asked for. It says nothing of a password.
  package var described: AcceptedPerson?
  /// What came of the wish to change a password, in answer to that; see `changeOutcome`.
  package var change: PasswordChangeOutcome?

  package init(_ verdict: Verdict, trace: [TraceNote] = [], uncertainTries: Int = 0, facts: LockoutFacts? = nil) {
    self.verdict = verdict
    self.trace = trace
    self.uncertainTries = uncertainTries
    self.facts = facts
  }

  /// The answer to a look-up. Whoever takes it for a verdict by mistake gets neither a yes nor a no.
  package init(_ meaning: NameMeaning, trace: [TraceNote], facts: LockoutFacts? = nil) {
    self.init(.unknown(.unsupportedByAgent), trace: trace, facts: facts)
    self.meaning = meaning
  }

  /// Whether the directory may have counted a try that no verdict tells of.
  package var mayHaveCounted: Bool { uncertainTries > 0 }
}

/// Judges a credential. At the gateway: by asking an agent, or by a synced hash. At the agent: by binding to the directory.
///
/// Shapes: the credential's name and password were checked by their types. Never throws: what goes wrong is `.unknown(cause)`.
/// Must return by `deadline` (± scheduling) and must not start a bind after it.
package protocol PasswordValidator: Sendable {
  func validate(_ credential: Credential, wanting: AttributeRequest, deadline: Deadline) async -> Judgement
  /// Whom a typed name means, by the same search as `validate`, without a password.
  func lookUp(_ userName: UserName, realm: RealmName, deadline: Deadline) async -> LookUpAnswer
  /// The same, with the person as a verdict would describe them.
  func describe(_ userName: UserName, realm: RealmName, wanting: AttributeRequest, deadline: Deadline) async -> LookUpAnswer
}

extension PasswordValidator {
  /// For validators that cannot tell.
  package func describe(_ userName: UserName, realm: RealmName, wanting: AttributeRequest, deadline: Deadline) async -> LookUpAnswer {
    LookUpAnswer(unknown: .unsupportedByAgent)
  }

  /// For validators that cannot tell: people are then counted under the typed name until a verdict tells whom it means.
  package func lookUp(_ userName: UserName, realm: RealmName, deadline: Deadline) async -> LookUpAnswer {
    LookUpAnswer(unknown: .unsupportedByAgent)
  }
}

/// Asked at the last moment before a password is put before the directory, and told by that very question that it now is.
package struct BindPermission: Sendable {
  private let ask: @Sendable () async -> Bool

  package init(_ ask: @escaping @Sendable () async -> Bool) { self.ask = ask }

  /// False: the password must not be put before the directory any more, since somebody else does or the time is over.
  package func isGiven() async -> Bool { await ask() }

  /// Where nobody else could be asked.
  package static let always = BindPermission { true }
}

/// By this whoever asked takes a password back that still waits for its bind. It is not an answer: the verdict says what came of it.
package final class Withdrawal: Sendable {
  private struct State {
    var isWithdrawn = false
    var action: (@Sendable () -> Void)?
  }

  private let state = Mutex(State())

  package init() {}

  package var isWithdrawn: Bool { state.withLock { $0.isWithdrawn } }

  package func withdraw() {
    let action = state.withLock { state in
      state.isWithdrawn = true
      return state.action
    }
    action?()
  }

  /// What has to be done; at once where it was withdrawn already.
  package func onWithdraw(_ action: @escaping @Sendable () -> Void) {
    let isLate = state.withLock { state in
      state.action = action
      return state.isWithdrawn
    }
    if isLate { action() }
  }
}

/// A validator that puts passwords before a directory itself.
package protocol DirectoryPasswordValidator: PasswordValidator {
  /// As `validate`, asking `permission` right before each bind with the password; without it the verdict is `unknown`.
  func validate(
    _ credential: Credential, wanting: AttributeRequest, deadline: Deadline, permission: BindPermission
  ) async -> Judgement
}

extension DirectoryPasswordValidator {
  package func validate(_ credential: Credential, wanting: AttributeRequest, deadline: Deadline) async -> Judgement {
    await validate(credential, wanting: wanting, deadline: deadline, permission: .always)
  }
}
