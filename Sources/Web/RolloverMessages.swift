import Bytes
import CertificateLifecycle
import Cryptography
import Federation
import Identity

// The messages of the admin API that concern the life of token-signing certificates. The CLI is its client and shares these types.

package struct SigningKeyMessage: Codable, Sendable {
  package var id: String
  package var family: String
  package var state: String
  package var origin: String
  package var prepared: Instant
  package var published: Instant?
  package var promoted: Instant?
  package var retiring: Instant?
  package var retired: Instant?
  package var notAfter: Instant
  /// Why nobody is moved to it unasked.
  package var withheld: String?
  package var suspectSince: Instant?
  /// How many relying parties have it as their own, beside whom the primary signs for.
  package var assigned: Int
  package var sha256: String
  package var sha1: String
  /// DER, base64.
  package var certificate: String

  init(_ place: SigningKeyPlace, certificate: [UInt8], ring: SigningKeyRing) {
    id = place.id
    family = place.family.rawValue
    state = place.state.rawValue
    origin = (place.origin ?? .policy).rawValue
    prepared = place.prepared
    published = place.published
    promoted = place.promoted
    retiring = place.retiring
    retired = place.retired
    notAfter = place.notAfter
    withheld = place.withheld
    suspectSince = place.suspectSince
    assigned = ring.assignments.values.count { $0 == place.id }
    sha256 = Digests.sha256(certificate).hexadecimal
    sha1 = DigestAlgorithm.sha1.digest(certificate).hexadecimal
    self.certificate = certificate.base64
  }
}

/// When certificates are made, used and given up; durations in seconds. In a change, what is nil stays.
package struct RolloverPolicyMessage: Codable, Sendable {
  package var autoCertificateRollover: Bool?
  package var certificateDurationSeconds: Int64?
  package var certificateGenerationThresholdSeconds: Int64?
  package var certificatePromotionThresholdSeconds: Int64?
  package var certificateCriticalThresholdSeconds: Int64?
  package var certificateRolloverIntervalSeconds: Int64?
  package var certificateRetirementSeconds: Int64?
  package var warningsSeconds: [Int64]?
  package var rsaKey: String?
  package var ecdsaKey: String?

  package init() {}

  init(_ policy: RolloverPolicy) {
    autoCertificateRollover = policy.autoCertificateRollover
    certificateDurationSeconds = policy.certificateDuration.components.seconds
    certificateGenerationThresholdSeconds = policy.certificateGenerationThreshold.components.seconds
    certificatePromotionThresholdSeconds = policy.certificatePromotionThreshold.components.seconds
    certificateCriticalThresholdSeconds = policy.certificateCriticalThreshold.components.seconds
    certificateRolloverIntervalSeconds = policy.certificateRolloverInterval.components.seconds
    certificateRetirementSeconds = policy.certificateRetirement.components.seconds
    warningsSeconds = policy.warnings.map(\.components.seconds)
    rsaKey = policy.rsaKey
    ecdsaKey = policy.ecdsaKey
  }

  func apply(to policy: inout RolloverPolicy) {
    func set(_ seconds: Int64?, _ path: WritableKeyPath<RolloverPolicy, Duration>) { if let seconds { policy[keyPath: path] = .seconds(seconds) } }
    if let autoCertificateRollover { policy.autoCertificateRollover = autoCertificateRollover }
    set(certificateDurationSeconds, \.certificateDuration)
    set(certificateGenerationThresholdSeconds, \.certificateGenerationThreshold)
    set(certificatePromotionThresholdSeconds, \.certificatePromotionThreshold)
    set(certificateCriticalThresholdSeconds, \.certificateCriticalThreshold)
    set(certificateRolloverIntervalSeconds, \.certificateRolloverInterval)
    set(certificateRetirementSeconds, \.certificateRetirement)
    if let warningsSeconds { policy.warnings = warningsSeconds.map { .seconds($0) }.sorted(by: >) }
    if let rsaKey { policy.rsaKey = rsaKey }
    if let ecdsaKey { policy.ecdsaKey = ecdsaKey }
  }
}

/// A step by hand.
package struct RolloverRequest: Codable, Sendable {
  package var key: String?
  /// `rsa` (where nothing is said) or `ecdsa`.
  package var family: String?
  /// Names; without any, everybody is meant.
  package var relyingParties: [String]?
  package var reason: String?
  /// Of a replacement: make a new key though one is published already.
  package var fresh: Bool?
  /// Of a replacement: since when somebody else may have had the key.
  package var suspectSince: Instant?
  /// Of an import: PKCS#8 DER and X.509 DER, base64.
  package var privateKey: String?
  package var certificate: String?
  package var dryRun: Bool?
  package var force: Bool?

  package init() {}
}

package struct RolloverReportMessage: Codable, Sendable {
  package struct Impact: Codable, Sendable {
    package var relyingParty: String
    package var key: String
    package var readiness: String
    /// When it reads its metadata next, by its habit; nil: its owner has to act.
    package var recovers: Instant?

    init(_ impact: RolloverReport.Impact) {
      relyingParty = impact.name
      key = impact.key
      readiness = impact.level.word
      recovers = impact.recovers
    }
  }
  package struct Suspects: Codable, Sendable {
    package var relyingParty: String
    package var count: Int
    package var first: Instant
    package var last: Instant
  }
  package var done: Bool
  package var summary: String
  package var key: String
  package var breaks: [Impact]
  package var trustsStolen: [Impact]
  package var suspectTokens: [Suspects]
  package var endedSessions: Int
  /// The certificate that signs now, DER in base64, for those that are told by hand.
  package var certificate: String?

  init(_ report: RolloverReport, certificate: [UInt8]?) {
    done = !report.isDryRun
    summary = report.summary
    key = report.key
    breaks = report.breaks.map(Impact.init)
    trustsStolen = report.trustsStolen.map(Impact.init)
    suspectTokens = report.suspectTokens.map { Suspects(relyingParty: $0.relyingParty, count: $0.count, first: $0.first, last: $0.last) }
    endedSessions = report.endedSessions
    self.certificate = certificate?.base64
  }
}

package struct RehearsedEventMessage: Codable, Sendable {
  package var time: Instant
  /// made, published, moved, promoted, retired, breaks, must-act.
  package var what: String
  package var family: String
  package var key: String
  package var relyingParty: String?
  package var until: Instant?

  init(_ event: RehearsedEvent) {
    time = event.time
    what = event.kind.rawValue
    family = event.family.rawValue
    key = event.key
    relyingParty = event.relyingParty
    until = event.until
  }
}

package struct RolloverPlanMessage: Codable, Sendable {
  package struct Laggard: Codable, Sendable {
    package var relyingParty: String
    package var key: String?
    package var readiness: String
    /// Nil: it stays as it is until somebody acts.
    package var deadline: Instant?
    package var what: String
    package var command: String
  }
  package struct Family: Codable, Sendable {
    package var family: String
    package var primary: String?
    package var primaryEnds: Instant?
    package var next: String?
    package var nextState: String?
    package var laggards: [Laggard]
  }
  package struct Chore: Codable, Sendable {
    package var subject: String
    package var deadline: Instant?
    package var what: String
    package var command: String
  }
  package var families: [Family]
  package var chores: [Chore]
  package var events: [RehearsedEventMessage]
  /// Why nothing is done of its own accord: by how many seconds the clock has jumped.
  package var clockJumpSeconds: Int64?

  init(_ plan: RolloverPlan) {
    families = plan.families.map { family in
      Family(
        family: family.family.rawValue, primary: family.primary?.id, primaryEnds: family.primary?.notAfter, next: family.next?.id,
        nextState: family.next?.state.rawValue,
        laggards: family.laggards.map {
          Laggard(
            relyingParty: $0.name, key: $0.key, readiness: $0.level.word, deadline: $0.deadline == Instant(milliseconds: .max) ? nil : $0.deadline,
            what: $0.sentence, command: $0.command)
        })
    }
    chores = plan.chores.map { Chore(subject: $0.subject, deadline: $0.deadline, what: $0.sentence, command: $0.command) }
    events = plan.events.map(RehearsedEventMessage.init)
    clockJumpSeconds = plan.freeze?.jump.components.seconds
  }
}

package struct ReadinessMessage: Codable, Sendable {
  package struct Evidence: Codable, Sendable {
    package var key: String
    package var level: Int
    package var readiness: String
    package var time: Instant
    package var detail: String
  }
  package struct Poller: Codable, Sendable {
    package var client: String
    package var polls: Int
    package var last: Instant
    package var intervalSeconds: Int64?
    package var isRegular: Bool
    package var keys: [String]
  }
  package var relyingParty: String
  package var family: String
  /// The key that signs for it.
  package var signer: String
  /// The key to come; nil: none is published.
  package var next: String?
  /// Of the key to come, else of the one that signs.
  package var level: Int
  package var readiness: String
  package var ready: Bool
  package var blocked: String?
  package var what: String?
  package var command: String?
  package var deadline: Instant?
  package var owner: String?
  package var ownMetadataUrl: String
  /// Where its owner confirms the key to come; nil: none is published.
  package var confirmationUrl: String?
  package var evidence: [Evidence]
  package var pollers: [Poller]
}

/// The owner's word, or a document.
package struct ConfirmationRequest: Codable, Sendable {
  package var key: String?
  /// The relying party's configuration or metadata, or an Entra tenant's federation settings; base64.
  package var document: String?
  /// Who says so.
  package var detail: String?
  /// The owner's hook: sign-ins fail with the present key, and why. It is taken back to the former one.
  package var failed: String?

  package init() {}
}

package struct ProbeRequest: Codable, Sendable {
  package var key: String?
  package init(key: String?) { self.key = key }
}

package struct ProbeMessage: Codable, Sendable {
  /// works, refused, unusable.
  package var verdict: String
  package var key: String
  package var control: String
  package var trial: String?
}

package struct RehearsalRequest: Codable, Sendable {
  package var days: Int64
  /// Puts the prediction's digest into the audit.
  package var record: Bool
  package init(days: Int64, record: Bool) {
    self.days = days
    self.record = record
  }
}

package struct RehearsalMessage: Codable, Sendable {
  package var events: [RehearsedEventMessage]
  /// SHA-256 of `events` as JSON with sorted keys, where it was recorded.
  package var digest: String?
}
