import Bytes

/// A rule that a new password may break.
package enum PasswordRule: String, Sendable, Codable, CaseIterable {
  case tooShort
  /// It is the present one, or one of those before.
  case usedBefore
  /// The present password has not been in use for as long as the directory asks.
  case tooSoon
  /// Too few kinds of characters, or it contains the person's name.
  case tooSimple
  /// Nobody may change this password in this way: the account forbids it, or the service account is not allowed to.
  case mayNotChange
  /// One of which nothing more is known.
  case other
}

/// Which rules the new password broke, as far as the directory says, and what it demands: for the words on a page.
package struct PasswordRules: Sendable, Equatable, Codable {
  /// Empty: the directory does not say.
  package var broken: Set<PasswordRule>
  // What the directory demands; nil where it could not be read, or is not demanded.
  package var minimumLength: Int?
  /// So many passwords before the present one may not be used again.
  package var historyLength: Int?
  package var minimumAgeSeconds: Int64?
  package var complexity: Bool?
  /// When the password may be changed, where it is too soon now.
  package var changeableFrom: Instant?

  package init(
    broken: Set<PasswordRule> = [], minimumLength: Int? = nil, historyLength: Int? = nil, minimumAgeSeconds: Int64? = nil,
    complexity: Bool? = nil, changeableFrom: Instant? = nil
  ) {
    self.broken = broken
    self.minimumLength = minimumLength
    self.historyLength = historyLength
    self.minimumAgeSeconds = minimumAgeSeconds
    self.complexity = complexity
    self.changeableFrom = changeableFrom
  }

  package var minimumAge: Duration? { minimumAgeSeconds.map { .seconds($0) } }

  /// The broken rules in a fixed order.
  package var brokenInOrder: [PasswordRule] { PasswordRule.allCases.filter(broken.contains) }

  private enum CodingKeys: CodingKey { case broken, minimumLength, historyLength, minimumAgeSeconds, complexity, changeableFrom }

  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      broken: Set(try fields.decode([PasswordRule].self, forKey: .broken)),
      minimumLength: try fields.decodeIfPresent(Int.self, forKey: .minimumLength),
      historyLength: try fields.decodeIfPresent(Int.self, forKey: .historyLength),
      minimumAgeSeconds: try fields.decodeIfPresent(Int64.self, forKey: .minimumAgeSeconds),
      complexity: try fields.decodeIfPresent(Bool.self, forKey: .complexity),
      changeableFrom: try fields.decodeIfPresent(Instant.self, forKey: .changeableFrom))
  }

  package func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(brokenInOrder, forKey: .broken)
    try fields.encodeIfPresent(minimumLength, forKey: .minimumLength)
    try fields.encodeIfPresent(historyLength, forKey: .historyLength)
    try fields.encodeIfPresent(minimumAgeSeconds, forKey: .minimumAgeSeconds)
    try fields.encodeIfPresent(complexity, forKey: .complexity)
    try fields.encodeIfPresent(changeableFrom, forKey: .changeableFrom)
  }
}

/// What came of the wish to change a password.
package enum PasswordChangeOutcome: Sendable, Equatable {
  /// The new password holds. With the person where the sign-in with it was accepted too; nil where it was not, or not asked.
  case changed(AcceptedPerson?)
  /// The old password was not accepted, or the account's state forbids it; nothing was changed.
  case refused(Refusal)
  /// The old password was right, and the directory did not take the new one; nothing was changed.
  case notTaken(PasswordRules)
  /// Nobody could find out: the new password may hold, or the old one. The person tries the new one first, and then the old one.
  case unknown(UnknownCause)
}

/// Changes a password by proof of the old one; never resets one. At the gateway: by asking an agent. At the agent: in the directory.
///
/// The old password is put before the directory like one of a sign-in, and weighed like one (`Credential.allowance`). Never throws. Must return by
/// `deadline` (± scheduling) and must not begin a change after it. The judgement's `change` says what came of it.
package protocol PasswordChange: Sendable {
  /// - Parameter wanting: what shall come back about the person with a change that succeeds.
  func change(_ credential: Credential, to new: Password, wanting: AttributeRequest, deadline: Deadline) async -> Judgement
}

/// Changes passwords in a directory itself.
package protocol DirectoryPasswordChange: PasswordChange {
  /// As `change`, asking `permission` right before the old password is put before the directory, and again before the change.
  func change(
    _ credential: Credential, to new: Password, wanting: AttributeRequest, deadline: Deadline, permission: BindPermission
  ) async -> Judgement
}

extension DirectoryPasswordChange {
  package func change(_ credential: Credential, to new: Password, wanting: AttributeRequest, deadline: Deadline) async -> Judgement {
    await change(credential, to: new, wanting: wanting, deadline: deadline, permission: .always)
  }
}

extension Judgement {
  /// The answer to the wish to change a password. A refusal and an unknown are a verdict's own; whoever takes the rest for a verdict by mistake
  /// gets neither a yes nor a no.
  package init(change: PasswordChangeOutcome, trace: [TraceNote] = [], uncertainTries: Int = 0, facts: LockoutFacts? = nil) {
    let verdict: Verdict =
      switch change {
      case .refused(let refusal): .refused(refusal)
      case .unknown(let cause): .unknown(cause)
      case .changed, .notTaken: .unknown(.unsupportedByAgent)
      }
    self.init(verdict, trace: trace, uncertainTries: uncertainTries, facts: facts)
    self.change = change
  }

  /// What came of a change, also where only a verdict says so; a bare "yes" to a password is no change.
  package var changeOutcome: PasswordChangeOutcome {
    if let change { return change }
    switch verdict {
    case .accepted: return .unknown(.agentAnswerInvalid)
    case .refused(let refusal): return .refused(refusal)
    case .unknown(let cause): return .unknown(cause)
    }
  }
}
