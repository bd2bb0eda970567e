import Bytes

/// What a front-end hands over to be judged.
package struct Credential: Sendable {
  package var userName: UserName
  /// 1…1,024 bytes of UTF-8 without NUL, exactly as typed: no trimming and no normalisation (AD does none).
  package var password: Password
  /// The realm that was decided for the name.
  package var realm: RealmName
  /// What may be asked of the directory without its locking anybody; nil: nothing is known of that.
  package var allowance: TryAllowance?
  /// By what it can be taken back; nil: by nothing.
  package var withdrawal: Withdrawal?

  package init(userName: UserName, password: Password, realm: RealmName, allowance: TryAllowance? = nil) {
    self.userName = userName
    self.password = password
    self.realm = realm
    self.allowance = allowance
  }
}

/// A typed password that may be put before a directory. The only maker refuses what no directory must ever see.
package struct Password: Sendable, CustomStringConvertible {
  /// AD's limit: 256 UTF-16 code units.
  package static let maximumCodeUnits = 256

  package let secret: Secret

  /// Nil where the bytes are empty (an LDAP simple bind without a password is anonymous and succeeds: RFC 4513 §5.1.2), are not UTF-8,
  /// contain NUL, or exceed 256 UTF-16 code units.
  package init?(_ secret: Secret) {
    guard !secret.isEmpty, secret.count <= Password.maximumCodeUnits * 3 else { return nil }
    let fits = secret.withBytes { bytes in
      guard !bytes.contains(0) else { return false }
      // Not through a String: that would leave a copy of the password in memory that nobody wipes.
      var units = 0
      let malformed = transcode(bytes.makeIterator(), from: UTF8.self, to: UTF16.self, stoppingOnError: true) { _ in units += 1 }
      return !malformed && units <= Password.maximumCodeUnits
    }
    guard fits else { return nil }
    self.secret = secret
  }

  package var description: String { "<redacted>" }
}

/// Which facts about the person shall come back with a "yes".
package struct AttributeRequest: Sendable, Equatable, Codable {
  /// LDAP attribute names, at most 64, each 1…64 of `a-z A-Z 0-9 - ; .`.
  package var attributes: [String]
  /// Whether the groups (nested included) are wanted.
  package var groups: Bool

  package init(attributes: [String] = [], groups: Bool = false) {
    self.attributes = attributes
    self.groups = groups
  }

  package static let none = AttributeRequest()

  /// The first name that is no LDAP attribute description (RFC 4512 §2.5), or nil where all are.
  package var firstInvalidName: String? {
    attributes.first { name in
      !(1...64).contains(name.utf8.count)
        || !name.utf8.allSatisfy { byte in
          (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || byte == 0x2d || byte == 0x3b || byte == 0x2e
        }
    }
  }
}

/// A point on the monotonic clock after which an answer is of no use. It travels as remaining time, never as a wall-clock time.
package struct Deadline: Sendable, Comparable {
  package let instant: ContinuousClock.Instant

  package init(_ instant: ContinuousClock.Instant) { self.instant = instant }

  /// `remaining` from `now`.
  package init(after remaining: Duration, now: ContinuousClock.Instant = .now) { instant = now.advanced(by: remaining) }

  /// What is left; never negative.
  package func remaining(now: ContinuousClock.Instant = .now) -> Duration { max(.zero, now.duration(to: instant)) }

  package var hasPassed: Bool { instant <= .now }

  package static func < (left: Deadline, right: Deadline) -> Bool { left.instant < right.instant }
}
