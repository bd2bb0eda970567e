import Bytes
import Foundation
import Identity
import SignIn

// The messages of the admin API, `/admin/v1`, both ways. The CLI is its client and shares these types. Times are milliseconds since 1970 UTC.

package struct RealmMessage: Codable, Sendable {
  package var name: String
  package var suffixes: [String]
  package var isDefault: Bool
  package var method: String?
  package var displayName: String?
  /// Whether realm discovery sends its people to this identity provider's pages and WS-Trust endpoints.
  package var isFederated: Bool?
  package init(
    name: String, suffixes: [String], isDefault: Bool, method: String? = nil, displayName: String? = nil, isFederated: Bool? = nil
  ) {
    self.isFederated = isFederated
    self.name = name
    self.suffixes = suffixes
    self.isDefault = isDefault
    self.method = method
    self.displayName = displayName
  }
}

/// Whether a realm is federated.
package struct RealmFederation: Codable, Sendable {
  package var isFederated: Bool
  package init(isFederated: Bool) { self.isFederated = isFederated }
}

package struct FrontEndMessage: Codable, Sendable {
  package struct Key: Codable, Sendable {
    package var made: Instant
    package var expires: Instant?
  }
  package var name: String
  package var realms: [String]
  package var ratePerSecond: Int
  package var disabled: Bool
  package var keys: [Key]
  /// SHA-256 of each client certificate, hexadecimal.
  package var certificates: [String]
}

/// To make or change a front-end; what is nil stays.
package struct FrontEndChange: Codable, Sendable {
  package var name: String?
  package var realms: [String]?
  package var ratePerSecond: Int?
  package var disabled: Bool?
  /// DER of a client certificate to add, base64.
  package var addCertificate: String?
  /// With a new front-end: whether it gets an API key.
  package var withKey: Bool?
  package init(
    name: String? = nil, realms: [String]? = nil, ratePerSecond: Int? = nil, disabled: Bool? = nil, addCertificate: String? = nil,
    withKey: Bool? = nil
  ) {
    self.name = name
    self.realms = realms
    self.ratePerSecond = ratePerSecond
    self.disabled = disabled
    self.addCertificate = addCertificate
    self.withKey = withKey
  }
}

package struct KeyRotation: Codable, Sendable {
  /// How long the key before stays good.
  package var overlapSeconds: Int
  package init(overlapSeconds: Int) { self.overlapSeconds = overlapSeconds }
}

/// A secret that is shown this once.
package struct IssuedKey: Codable, Sendable {
  package var frontEnd: String
  package var apiKey: String?
  package var previousKeyExpires: Instant?
}

package struct TokenRequest: Codable, Sendable {
  package var realms: [String]
  package var name: String?
  package init(realms: [String], name: String?) {
    self.realms = realms
    self.name = name
  }
}

package struct IssuedToken: Codable, Sendable {
  package var token: String
  package var expires: Instant
}

package struct AgentMessage: Codable, Sendable {
  package var id: String
  package var name: String
  package var realms: [String]
  package var enrolled: Instant
  package var revoked: Instant?
  package var certificateEnds: Instant?
  package var connected: Bool
  package var draining: Bool
  package var lastSeen: Instant?
  package var inFlight: Int
  package var answered: Int64
  package var meanMilliseconds: Double?
  package var software: String?
  package var quarantined: Instant?
}

package struct CanaryMessage: Codable, Sendable {
  package var realm: String
  /// Nil: there is none.
  package var userName: String?
}

package struct CanaryChange: Codable, Sendable {
  package var userName: String
  package var password: String
  /// The administrator's word that no policy locks the account, for where the directory cannot be asked.
  package var isWithoutLockout: Bool?
  package init(userName: String, password: String, isWithoutLockout: Bool?) {
    self.userName = userName
    self.password = password
    self.isWithoutLockout = isWithoutLockout
  }
}

package struct UserRequest: Codable, Sendable {
  package var name: String
  /// Nil: the realm that the name leads to.
  package var realm: String?
  package init(name: String, realm: String?) {
    self.name = name
    self.realm = realm
  }
}

package struct UserStateMessage: Codable, Sendable {
  package var realm: String
  package var name: String?
  package var object: String?
  package var failures: Int
  package var locks: Int
  package var lockedUntil: Instant?
  package var blocked: Bool
  package var lastFailure: Instant?
}

/// Our own lockout in numbers.
package struct LockoutNumbers: Codable, Sendable, Equatable {
  package var threshold: Int
  package var windowSeconds: Int
  package var firstLockSeconds: Int
  package var longestLockSeconds: Int
}

/// A directory's lockout in numbers.
package struct DirectoryLockoutNumbers: Codable, Sendable, Equatable {
  /// 0: it never locks.
  package var threshold: Int
  package var windowSeconds: Int
  /// Nil: until an administrator lifts it.
  package var lockSeconds: Int?
  /// How many wrong passwords Gatehouse lets stand in it; nil: as many as come.
  package var mostTries: Int?
}

package struct RealmLockoutMessage: Codable, Sendable {
  package var realm: String
  /// Whether the realm has none of its own.
  package var isDefault: Bool
  package var chosen: LockoutNumbers
  /// What holds now: as chosen, but never beyond what the directory lets stand.
  package var effective: LockoutNumbers
  /// Nil: no agent has told it.
  package var directory: DirectoryLockoutNumbers?
}

/// What is nil stays.
package struct RealmLockoutChange: Codable, Sendable {
  package var threshold: Int?
  package var windowSeconds: Int?
  package var firstLockSeconds: Int?
  package var longestLockSeconds: Int?

  package init(threshold: Int? = nil, windowSeconds: Int? = nil, firstLockSeconds: Int? = nil, longestLockSeconds: Int? = nil) {
    self.threshold = threshold
    self.windowSeconds = windowSeconds
    self.firstLockSeconds = firstLockSeconds
    self.longestLockSeconds = longestLockSeconds
  }
}

package struct AuthorityMessage: Codable, Sendable {
  package var id: String
  package var state: String
  package var prepared: Instant
  package var activated: Instant?
  package var ends: Instant
}

package struct StatusMessage: Codable, Sendable {
  package var node: String
  package var started: Instant
  package var now: Instant
  package var realms: [String]
  package var agentsConnected: Int
  package var agentsEnrolled: Int
  package var questionsUnderWay: Int
  package var auditChains: [AuditChainState]
  package var alarms: [Alarm]
  package var obstacles: [String]
  /// Not wrong, but worth a word.
  package var notices: [String]?
}

package struct AuditMark: Codable, Sendable {
  package var chain: String
  package var through: Int64
  package init(chain: String, through: Int64) {
    self.chain = chain
    self.through = through
  }
}

package struct BackupMessage: Codable, Sendable {
  package var file: String
  package init(file: String) { self.file = file }
}

package struct Done: Codable, Sendable {
  package var done: Bool
  package var message: String
}
