import Bytes

/// Something that somebody has to mend, told until it is mended.
package struct Alarm: Sendable, Equatable {
  package var code: AlarmCode
  /// What it is about: a realm, a server, a file. At most 256 bytes.
  package var subject: String
  package var severity: AlarmSeverity
  /// What is wrong, in one sentence.
  package var message: String
  /// What to do about it, in one or two sentences with the command or file to touch.
  package var remedy: String
  package var since: Instant
  /// What must change for somebody to be told of a change, beside the severity. Nil: the message. A message with numbers that never stand still has one.
  package var condition: String?
  /// False where there is nothing to do: then it stands in the status, but nobody is woken for it.
  package var needsAction: Bool

  /// - Parameter severity: nil: that of its code.
  package init(
    _ code: AlarmCode, subject: String, severity: AlarmSeverity? = nil, message: String, remedy: String, since: Instant, condition: String? = nil,
    needsAction: Bool = true
  ) {
    self.code = code
    self.subject = subject
    self.severity = severity ?? code.severity
    self.message = message
    self.remedy = remedy
    self.since = since
    self.condition = condition
    self.needsAction = needsAction
  }
}

/// How much haste there is.
package enum AlarmSeverity: String, Sendable, CaseIterable, Codable, Comparable {
  /// Nobody is hurt yet.
  case warning
  /// People cannot sign in, or somebody may be in who must not be; or it is only days away.
  case critical

  package static func < (left: AlarmSeverity, right: AlarmSeverity) -> Bool { left == .warning && right == .critical }
}

extension Alarm: Codable {
  private enum Key: String, CodingKey { case code, subject, severity, message, remedy, since, condition, needsAction }

  /// Agents of versions before 0.2 tell neither severity nor condition.
  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: Key.self)
    self.init(
      try fields.decode(AlarmCode.self, forKey: .code), subject: try fields.decode(String.self, forKey: .subject),
      severity: try fields.decodeIfPresent(AlarmSeverity.self, forKey: .severity), message: try fields.decode(String.self, forKey: .message),
      remedy: try fields.decode(String.self, forKey: .remedy), since: try fields.decode(Instant.self, forKey: .since),
      condition: try fields.decodeIfPresent(String.self, forKey: .condition),
      needsAction: try fields.decodeIfPresent(Bool.self, forKey: .needsAction) ?? true)
  }

  package func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: Key.self)
    try fields.encode(code, forKey: .code)
    try fields.encode(subject, forKey: .subject)
    try fields.encode(severity, forKey: .severity)
    try fields.encode(message, forKey: .message)
    try fields.encode(remedy, forKey: .remedy)
    try fields.encode(since, forKey: .since)
    try fields.encodeIfPresent(condition, forKey: .condition)
    if !needsAction { try fields.encode(false, forKey: .needsAction) }
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
  case signingKeyChanged = "signing-key-changed"
  case revocationJournal = "revocation-journal-behind"
  case alarmNotDelivered = "alarm-not-delivered"

  /// Whether an agent may say so. Everything else is the gateway's own to find out: an agent that lies must not be able to cry wolf in its name.
  package var isAnAgents: Bool {
    switch self {
    case .serviceCredentialRefused, .serviceCredentialUnreadable, .noDirectoryServer, .directoryCertificate, .lockoutUnreadable: true
    default: false
    }
  }

  /// That of its alarms where they say no other.
  package var severity: AlarmSeverity {
    switch self {
    case .serviceCredentialRefused, .noDirectoryServer, .realmWithoutAgent, .agentAnswerInvalid, .agentQuarantined, .agentTwin, .auditDiskLow,
      .storeUnavailable, .signingTokenAway, .relyingPartyKeyRefused:
      .critical
    default: .warning
    }
  }
}

/// Who can be asked for what is wrong now.
package protocol AlarmSource: Sendable {
  /// The alarms that stand now; empty when all is well. Must answer at once, from memory.
  func alarms() async -> [Alarm]
}
