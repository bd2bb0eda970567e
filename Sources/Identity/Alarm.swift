import Bytes

/// Something that somebody has to mend, told until it is mended.
package struct Alarm: Sendable, Equatable, Codable {
  package var code: AlarmCode
  /// What it is about: a realm, a server, a file. At most 256 bytes.
  package var subject: String
  /// What is wrong, in one sentence.
  package var message: String
  /// What to do about it, in one or two sentences with the command or file to touch.
  package var remedy: String
  package var since: Instant

  package init(_ code: AlarmCode, subject: String, message: String, remedy: String, since: Instant) {
    self.code = code
    self.subject = subject
    self.message = message
    self.remedy = remedy
    self.since = since
  }
}

/// Every kind of alarm. Raw values are part of the API: never rename one.
package enum AlarmCode: String, Sendable, CaseIterable, Codable {
  case serviceCredentialRefused = "service-credential-refused"
  case serviceCredentialUnreadable = "service-credential-unreadable"
  case noDirectoryServer = "no-directory-server"
  case directoryCertificate = "directory-certificate"
  case clockSkew = "clock-skew"
  case agentGone = "agent-gone"
  case realmWithoutAgent = "realm-without-agent"
  case agentAnswerInvalid = "agent-answer-invalid"
  case agentQuarantined = "agent-quarantined"
  case agentUnproven = "agent-unproven"
  case agentRefusesCanary = "agent-refuses-canary"
  case canaryAccountRefused = "canary-account-refused"
  case agentsDisagree = "agents-disagree"
  case agentTwin = "agent-identity-twice"
  case certificateExpiring = "certificate-expiring"
  case certificateReloadFailed = "certificate-reload-failed"
  case auditDiskLow = "audit-disk-low"
  case storeUnavailable = "store-unavailable"
  case lockoutUnreadable = "lockout-unreadable"
  case lockoutConflict = "lockout-conflict"
  case passwordSpray = "password-spray"
  case relyingPartyPending = "relying-party-metadata-pending"
  case relyingPartyMetadata = "relying-party-metadata-unreadable"
  case relyingPartyLagging = "relying-party-lagging"
  case relyingPartyKeyRefused = "relying-party-key-refused"
  case rolloverClock = "rollover-clock"
  case signingTokenAway = "signing-token-away"
}

/// Who can be asked for what is wrong now.
package protocol AlarmSource: Sendable {
  /// The alarms that stand now; empty when all is well. Must answer at once, from memory.
  func alarms() async -> [Alarm]
}
