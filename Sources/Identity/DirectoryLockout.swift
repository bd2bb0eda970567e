import Bytes

/// A directory's own lockout, as it holds for a domain or for one person (MS-SAMR 3.1.5.14.6; a password settings object: MS-ADTS 6.1.1.5.3).
package struct DirectoryLockoutPolicy: Sendable, Equatable, Codable {
  /// As many wrong passwords lock the account; 0: the directory never locks.
  package var threshold: Int
  /// The directory forgets what it counted when no wrong password came for so long: lockOutObservationWindow.
  package var windowMilliseconds: Int64
  /// How long a lock lasts; nil: until an administrator lifts it.
  package var lockMilliseconds: Int64?

  /// The most that AD lets be set: 999 wrong passwords in its tools, 65,535 in its schema; 99,999 minutes.
  package static let thresholds = 0...65_535
  private static let longest: Int64 = 99_999 * 60_000

  /// Values beyond what AD lets be set are drawn in.
  package init(threshold: Int, window: Duration, lock: Duration?) {
    func bounded(_ milliseconds: Int64) -> Int64 { min(max(0, milliseconds), DirectoryLockoutPolicy.longest) }
    self.threshold = min(max(DirectoryLockoutPolicy.thresholds.lowerBound, threshold), DirectoryLockoutPolicy.thresholds.upperBound)
    windowMilliseconds = bounded(window.wholeMilliseconds)
    lockMilliseconds = lock.map { bounded($0.wholeMilliseconds) }
  }

  private enum CodingKeys: CodingKey { case threshold, windowMilliseconds, lockMilliseconds }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      threshold: try container.decode(Int.self, forKey: .threshold),
      window: .milliseconds(try container.decode(Int64.self, forKey: .windowMilliseconds)),
      lock: try container.decodeIfPresent(Int64.self, forKey: .lockMilliseconds).map { .milliseconds($0) })
  }

  package var window: Duration { .milliseconds(windowMilliseconds) }
  package var lock: Duration? { lockMilliseconds.map { .milliseconds($0) } }
  package var locks: Bool { threshold > 0 }

  /// Tries that are left to everybody else: other programs that ask the directory, and what we may have miscounted.
  package var reserve: Int { min(2, max(0, threshold - 1)) }

  /// The most wrong passwords that may stand in the directory through us. A threshold of 1 leaves no room: the first wrong one locks.
  package var mostTries: Int { max(0, threshold - reserve) }

  /// The same for a person at an address of theirs: one more than for strangers, never the last.
  package var mostFamiliarTries: Int { max(mostTries, threshold - 1) }

  /// The stricter of two in each respect; what a realm of several domains is measured by.
  package func stricter(_ other: DirectoryLockoutPolicy) -> DirectoryLockoutPolicy {
    guard locks else { return other }
    guard other.locks else { return self }
    return DirectoryLockoutPolicy(
      threshold: min(threshold, other.threshold), window: max(window, other.window),
      lock: lock.flatMap { mine in other.lock.map { max(mine, $0) } })
  }

  /// May a password be put before the directory now, that has counted `count` wrong ones?
  ///
  /// Whatever was decided before the question was admitted is in `count`; whatever was not is in the allowance. So over any number of agents
  /// the sum of wrong passwords never exceeds the limit (docs/decisions/0009).
  package func decide(count: Int, allowance: TryAllowance) -> TryDecision {
    guard locks else { return .ask }
    // Numbers that came from elsewhere: none may overflow, and none can be more than the limit in effect.
    func bounded(_ number: Int) -> Int { min(max(0, number), DirectoryLockoutPolicy.thresholds.upperBound) }
    let standing = bounded(count) + bounded(allowance.charged)
    let limit = allowance.isFamiliar ? mostFamiliarTries : mostTries
    guard standing < limit else { return .keep }
    let all = standing + bounded(allowance.undecided)
    guard all < limit else { return .wait }
    return all < mostTries ? .ask : .probe
  }
}

/// What comes of weighing a try against the directory's lockout.
package enum TryDecision: Sendable, Equatable {
  case ask
  /// Ask, out of the reserve: the one try that a familiar address has beyond the others.
  case probe
  /// Others of the same person are under way; when they have ended there may be room.
  case wait
  /// The directory must not be shown another wrong password for this person.
  case keep
}

/// What the gateway tells an agent with a question, so that the directory never locks by it. Bound to the question by its digest.
package struct TryAllowance: Sendable, Equatable, Codable {
  /// Whom the reservation was made for; nil: nobody has the name. An agent whose search finds somebody else does not bind.
  package var expected: Identifier?
  /// Other tries of the person that were under way when this one was admitted.
  package var undecided: Int
  /// Tries whose bind may have been sent and of which nobody heard.
  package var charged: Int
  /// Whether the person has signed in from the caller's address before.
  package var isFamiliar: Bool
  /// pwdLastSet when the directory refused this very password within the last two minutes (0 for nobody's name); nil: it did not.
  package var refusedAt: Int64?
  /// The gateway's own count of wrong passwords in its window, for where the directory's cannot be read.
  package var counted: Int

  package init(
    expected: Identifier?, undecided: Int = 0, charged: Int = 0, isFamiliar: Bool = false, refusedAt: Int64? = nil, counted: Int = 0
  ) {
    self.expected = expected
    self.undecided = undecided
    self.charged = charged
    self.isFamiliar = isFamiliar
    self.refusedAt = refusedAt
    self.counted = counted
  }

  /// For the question's digest: every field, in a fixed order.
  package var canonicalBytes: [UInt8] {
    var writer = ByteWriter()
    writer.writeLengthPrefixed(expected?.bytes ?? [])
    for number in [Int64(undecided), Int64(charged), Int64(counted), isFamiliar ? 1 : 0] { writer.writeInteger(UInt64(bitPattern: number)) }
    writer.writeInteger(UInt8(refusedAt == nil ? 0 : 1))
    writer.writeInteger(UInt64(bitPattern: refusedAt ?? 0))
    return writer.bytes
  }
}

/// What an agent saw of the person's lockout in the directory when it judged.
package struct LockoutFacts: Sendable, Equatable, Codable {
  /// What the directory had counted before the try; nil: it could not be read.
  package var count: Int?
  /// How long ago, by the directory's clock, the last wrong password was; nil: never, or it could not be read.
  package var lastWrongMillisecondsAgo: Int64?
  /// pwdLastSet as stored (100 ns since 1601).
  package var passwordSet: Int64?
  /// The policy that the try was weighed by.
  package var policy: DirectoryLockoutPolicy?
  /// Whether the password was, or may have been, put before the directory.
  package var bindSent: Bool

  package init(
    count: Int? = nil, lastWrongMillisecondsAgo: Int64? = nil, passwordSet: Int64? = nil, policy: DirectoryLockoutPolicy? = nil, bindSent: Bool
  ) {
    self.count = count
    self.lastWrongMillisecondsAgo = lastWrongMillisecondsAgo
    self.passwordSet = passwordSet
    self.policy = policy
    self.bindSent = bindSent
  }
}

/// Whom a typed name means, as a search says.
package enum NameMeaning: Sendable, Hashable {
  case person(Identifier)
  /// No entry has it, or several have.
  case nobody

  package var object: Identifier? { if case .person(let object) = self { object } else { nil } }
}

/// The answer to "whom does this name mean?".
package struct LookUpAnswer: Sendable, Equatable {
  /// Nil where nobody could find out; then `cause` says why.
  package var meaning: NameMeaning?
  package var cause: UnknownCause?
  /// The lockout policy of the person's own; nil where there is none or it was not told.
  package var lockout: DirectoryLockoutPolicy?
  /// Who that is, where a description was asked for.
  package var person: AcceptedPerson?
  package var trace: [TraceNote]

  package init(_ meaning: NameMeaning, lockout: DirectoryLockoutPolicy? = nil, trace: [TraceNote] = []) {
    self.meaning = meaning
    self.lockout = lockout
    self.trace = trace
  }

  package init(unknown cause: UnknownCause, trace: [TraceNote] = []) {
    self.cause = cause
    self.trace = trace
  }
}

/// Who can tell by which lockout a realm's directory goes, from memory.
package protocol LockoutPolicySource: Sendable {
  /// Reads what has grown old anew; called from time to time. Ends by `deadline`.
  func refreshLockoutPolicy(deadline: Deadline) async
  /// The strictest domain's; nil where none could be read.
  func lockoutPolicy() -> DirectoryLockoutPolicy?
}
