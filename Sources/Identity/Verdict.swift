import Bytes

/// The answer to "is this who they say?". A refusal is an answer; `unknown` means that nobody could find out (docs/architecture.md, laws 1 and 2).
package enum Verdict: Sendable, Equatable {
  case accepted(AcceptedPerson)
  case refused(Refusal)
  case unknown(UnknownCause)
}

/// The person whose password was right, as the directory described them at that moment.
package struct AcceptedPerson: Sendable, Equatable, Codable {
  package var object: DirectoryObject
  /// ms-DS-ConsistencyGuid, else objectGUID (or entryUUID), base64.
  package var immutableID: String
  /// userPrincipalName; for directories without one, the name that was looked up.
  package var userPrincipalName: String
  /// The attributes that were asked for and that the entry has: name as asked → values. Values that are not UTF-8 are base64 behind `base64:`.
  package var attributes: [String: [String]]
  /// Distinguished names (or SIDs where only tokenGroups told) of the groups, nested ones included; nil where they were not asked for.
  package var groups: [String]?
  /// When the password stops working by policy; nil where it does not or the directory does not say.
  package var passwordExpires: Instant?

  package init(
    object: DirectoryObject, immutableID: String, userPrincipalName: String, attributes: [String: [String]] = [:],
    groups: [String]? = nil, passwordExpires: Instant? = nil
  ) {
    self.object = object
    self.immutableID = immutableID
    self.userPrincipalName = userPrincipalName
    self.attributes = attributes
    self.groups = groups
    self.passwordExpires = passwordExpires
  }
}

/// A "no", with the inner reason (for the audit) and what led to it.
package struct Refusal: Sendable, Equatable, Codable {
  package var reason: RefusalReason
  /// The directory's object, where the search found exactly one.
  package var object: DirectoryObject?
  /// AD's `data` sub-code, lower-case hexadecimal as sent (`52e`), where there was one.
  package var subCode: String?

  package init(_ reason: RefusalReason, object: DirectoryObject? = nil, subCode: String? = nil) {
    self.reason = reason
    self.object = object
    self.subCode = subCode
  }
}

/// Why a sign-in was refused: the inner reason, kept in the audit. `OuterCode` is what the caller sees.
package enum RefusalReason: String, Sendable, CaseIterable, Codable {
  // The directory's.
  case wrongPassword, userNotFound, ambiguousName
  case accountDisabled, accountExpired, passwordExpired, mustChangePassword
  case signInHours, workstation, signInType, accountRestriction
  /// The directory's own lock (AD 775).
  case directoryLocked
  // Ours.
  case lockedOut, addressThrottled, blockedByAdministrator
  /// One more wrong password could bring the directory's own lock near, so that it was not asked: at a strange address, and at a familiar one.
  case keptFromDirectory, keptFromDirectoryFamiliar
  /// The directory refused the same password for the same person within the last two minutes, and the person's password has not changed since.
  case repeatedWrongPassword
  /// The address, or the password, belongs to a spray.
  case sprayThrottled
  case malformedUserName, malformedPassword
  case realmUnknown, realmNotAllowed

  /// Whether the directory says this only after the right password: it must not count as a wrong try.
  package var provesPassword: Bool {
    switch self {
    case .accountDisabled, .accountExpired, .passwordExpired, .mustChangePassword, .signInHours, .workstation, .signInType, .accountRestriction:
      true
    default: false
    }
  }

  /// Whether it counts as a guess against the user.
  package var countsAsGuess: Bool {
    switch self {
    // Kept from the directory counts at a strange address as any wrong password would: else names that never lock here would be names that exist.
    case .wrongPassword, .userNotFound, .ambiguousName, .directoryLocked, .keptFromDirectory: true
    default: false
    }
  }
}

/// What the caller is told: stable codes, the same for everything that must not be told apart from outside.
package enum OuterCode: String, Sendable, CaseIterable, Codable {
  case invalidCredentials = "invalid_credentials"
  case accountDisabled = "account_disabled"
  case accountExpired = "account_expired"
  case passwordExpired = "password_expired"
  case passwordChangeRequired = "password_change_required"
  case notAllowedNow = "not_allowed_now"
  case notAllowedHere = "not_allowed_here"
  case accountRestricted = "account_restricted"
  case temporarilyLocked = "temporarily_locked"

  /// The code that an Entra front-end knows for it, without the `AADSTS` prefix.
  package var aadsts: Int {
    switch self {
    case .invalidCredentials: 50126
    case .accountDisabled, .accountExpired: 50057
    case .passwordExpired: 50144
    case .passwordChangeRequired: 50055
    case .notAllowedNow, .notAllowedHere, .accountRestricted: 50105
    case .temporarilyLocked: 50053
    }
  }
}

extension RefusalReason {
  /// Inner to outer, the one table (law 2).
  package var outerCode: OuterCode {
    switch self {
    // AD says 775 only of names that exist, so its lock looks like a wrong password; our own lock applies to unknown names alike.
    // A try kept from the directory tells strangers nothing for the same reason; somebody at an address of their own is told to wait.
    case .wrongPassword, .userNotFound, .ambiguousName, .directoryLocked, .malformedUserName, .malformedPassword, .realmUnknown, .realmNotAllowed,
      .keptFromDirectory, .repeatedWrongPassword:
      .invalidCredentials
    case .accountDisabled: .accountDisabled
    case .accountExpired: .accountExpired
    case .passwordExpired: .passwordExpired
    case .mustChangePassword: .passwordChangeRequired
    case .signInHours: .notAllowedNow
    case .workstation, .signInType: .notAllowedHere
    case .accountRestriction: .accountRestricted
    case .lockedOut, .addressThrottled, .blockedByAdministrator, .keptFromDirectoryFamiliar, .sprayThrottled: .temporarilyLocked
    }
  }
}

/// Why nobody could find out. Never counted as a wrong password, never a yes; 503 outside.
package enum UnknownCause: String, Sendable, CaseIterable, Codable, Error {
  // On the way to the agent.
  case noAgent, agentLost, agentAnswerInvalid, unsupportedByAgent, overloaded
  // Between agent and directory.
  case deadlineExceeded, noDirectoryServer, directoryUnreachable, directoryBusy, directoryError
  case directoryTLS, directoryChannelBinding, directoryUnproven
  case serviceCredentialRefused, tooManyGroups, sealingBroken
  /// The name means somebody else than it did when the try was admitted; nothing was put before the directory. The gateway looks it up anew.
  case nameMoved
  /// Other tries of the same person are under way, and one more at the same time could lock them. The gateway waits and asks again.
  case triesUnderWay
  // At home.
  case storeUnavailable, internalError
}
