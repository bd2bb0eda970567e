import Bytes
import Foundation
import Identity

// The messages of the agent link, JSON over HTTP (docs/architecture.md). Times are Int64 milliseconds, bytes are base64, identifiers are text.

/// `POST /agent/v1/work`: "give me questions". Answered at once when there are any, else held until the poll's time is over.
package struct WorkRequest: Sendable, Codable {
  package var lane: LaneID
  /// Drawn by chance when the agent's process starts: by it the gateway sees that the process before is gone, with all that it was asked.
  package var instance: Identifier?
  /// What the agent understands of questions beyond the first version: 2 is allowances and look-ups, 3 changes of passwords. Nil: nothing. With every poll, since a
  /// question may be handed out before the first heartbeat has arrived.
  package var understands: Int?

  package static let currentUnderstanding = 3
  /// Who understands so much changes passwords.
  package static let changesPasswords = 3

  package init(lane: LaneID, instance: Identifier? = nil, understands: Int? = WorkRequest.currentUnderstanding) {
    self.lane = lane
    self.instance = instance
    self.understands = understands
  }
}

/// Questions for one lane, in the order in which they were sealed.
package struct WorkResponse: Sendable, Codable {
  /// The lane's encapsulated key, 32 bytes base64; present whenever there are questions.
  package var encapsulatedKey: String?
  package var questions: [QuestionFrame]

  package init(encapsulatedKey: String? = nil, questions: [QuestionFrame] = []) {
    self.encapsulatedKey = encapsulatedKey
    self.questions = questions
  }
}

/// How far a question has come, told of those that take longer than most (the drawing in `HubState` says when).
package struct StageReport: Sendable, Codable, Equatable {
  package enum Stage: String, Sendable, Codable {
    /// The agent has the question and will answer it.
    case accepted
    /// The password was put before the directory: asking another agent may cost the user a second bad-password count.
    case bindSent = "bind-sent"
    /// The agent is ending and has not begun with the question: ask somebody else. Only for gateways that know `StageReport.capability`.
    case returned
  }

  /// By this word among the capabilities, agents say that they report stages, and gateways that they understand all of them.
  package static let capability = "stages"

  package var question: Identifier
  package var stage: Stage

  package init(question: Identifier, stage: Stage) {
    self.question = question
    self.stage = stage
  }
}

/// `POST /agent/v1/verdicts`: answers and stages, in any order.
package struct VerdictsRequest: Sendable, Codable {
  package var verdicts: [VerdictFrame]
  package var stages: [StageReport]
  /// One signature for all verdicts, ECDSA P-256 with SHA-256, 64 bytes r‖s, base64; nil where each bears its own.
  package var signature: String?

  package init(verdicts: [VerdictFrame], stages: [StageReport] = [], signature: String? = nil) {
    self.verdicts = verdicts
    self.stages = stages
    self.signature = signature
  }
}

/// What comes back: how many verdicts were not taken, and of which reported questions the agent must let go.
package struct VerdictsAnswer: Sendable, Codable {
  package var ignored: Int
  /// Left out where there are none: agents that report no stages do not know it.
  package var withdrawn: [Identifier]?

  package init(ignored: Int, withdrawn: [Identifier]? = nil) {
    self.ignored = ignored
    self.withdrawn = withdrawn
  }
}

/// `POST /agent/v1/heartbeat`, every two seconds; the first one is the hello.
package struct Heartbeat: Sendable, Codable {
  /// The version of this protocol; 1.
  package var version: Int
  /// The kinds of questions it answers.
  package var capabilities: [String]
  /// The agent's program version, for people.
  package var software: String
  package var clock: Instant
  package var alarms: [Alarm]
  /// It finishes what it has and wants nothing new.
  package var draining: Bool
  /// The process that beats, as in `WorkRequest`; nil where the agent is too old to tell.
  package var instance: Identifier?
  /// How the directory servers are; nil from agents that do not tell.
  package var directories: [DirectoryReport]?
  /// By which lockout each realm's directory goes, where the agent could read it. At most 64.
  package var lockouts: [RealmLockout]?

  package static let currentVersion = 1

  package init(
    capabilities: [String], software: String, clock: Instant, alarms: [Alarm], draining: Bool, instance: Identifier? = nil,
    directories: [DirectoryReport]? = nil, lockouts: [RealmLockout]? = nil
  ) {
    self.instance = instance
    version = Heartbeat.currentVersion
    self.capabilities = capabilities
    self.software = software
    self.clock = clock
    self.alarms = alarms
    self.draining = draining
    self.lockouts = lockouts
    self.directories = directories
    self.lockouts = lockouts
  }

  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    version = try fields.decode(Int.self, forKey: .version)
    capabilities = try fields.decode([String].self, forKey: .capabilities)
    software = try fields.decode(String.self, forKey: .software)
    clock = try fields.decode(Instant.self, forKey: .clock)
    // An alarm of a newer agent may have a code that this version does not know.
    alarms = try fields.decode(LenientList<Alarm>.self, forKey: .alarms).elements
    draining = try fields.decode(Bool.self, forKey: .draining)
    instance = try fields.decodeIfPresent(Identifier.self, forKey: .instance)
    lockouts = try fields.decodeIfPresent([RealmLockout].self, forKey: .lockouts)
    directories = try fields.decodeIfPresent(LenientList<DirectoryReport>.self, forKey: .directories)?.elements
  }
}

/// The lockout policy of one realm's directory.
package struct RealmLockout: Sendable, Codable, Equatable {
  package var realm: RealmName
  package var policy: DirectoryLockoutPolicy

  package init(realm: RealmName, policy: DirectoryLockoutPolicy) {
    self.realm = realm
    self.policy = policy
  }
}

/// What the gateway tells with every heartbeat.
package struct HeartbeatAnswer: Sendable, Codable {
  /// Every root the agent must trust now (DER, base64): during a CA rollover there are two.
  package var roots: [String]
  /// The gateway nodes' URLs for agents.
  package var nodes: [String]
  package var clock: Instant
  /// What the gateway understands beyond the first version of the link; nil where it is too old to tell.
  package var capabilities: [String]?

  package init(roots: [String], nodes: [String], clock: Instant, capabilities: [String]? = [StageReport.capability, VerdictsRequest.batchCapability])
  {
    self.capabilities = capabilities
    self.roots = roots
    self.nodes = nodes
    self.clock = clock
  }
}

/// What an agent asks for when it enrols, inside the sealed envelope.
package struct EnrolmentRequest: Sendable, Codable {
  /// The token's secret, 32 bytes base64url.
  package var secret: String
  /// The name it proposes; used where the token does not fix one.
  package var name: String
  /// PKCS#10, DER, base64: the P-256 key for TLS and signatures, and in its subject alternative name the X25519 key for sealing.
  package var certificateRequest: String

  package init(secret: String, name: String, certificateRequest: String) {
    self.secret = secret
    self.name = name
    self.certificateRequest = certificateRequest
  }
}

/// What it gets, inside the sealed answer.
package struct EnrolmentAnswer: Sendable, Codable {
  package var agent: Identifier
  package var name: String
  package var realms: [RealmName]
  /// DER, base64.
  package var certificate: String
  package var roots: [String]
  package var nodes: [String]

  package init(agent: Identifier, name: String, realms: [RealmName], certificate: String, roots: [String], nodes: [String]) {
    self.agent = agent
    self.name = name
    self.realms = realms
    self.certificate = certificate
    self.roots = roots
    self.nodes = nodes
  }
}

/// `POST /agent/v1/renew`: a new certificate for new keys, under the name and for the realms that the agent has.
package struct RenewalRequest: Sendable, Codable {
  package var certificateRequest: String
  package init(certificateRequest: String) { self.certificateRequest = certificateRequest }
}

package struct RenewalAnswer: Sendable, Codable {
  package var certificate: String
  package var roots: [String]

  package init(certificate: String, roots: [String]) {
    self.certificate = certificate
    self.roots = roots
  }
}
