import Bytes
import Cryptography
import Identity
import Synchronization

/// Passwords that a directory refused a moment ago, so that a telephone with an old password does not lock its owner out.
///
/// Kept are keyed fingerprints of person and password, with the key in memory only, for two minutes from the first refusal by a bind: then the
/// password is put before the directory again, and counts. An agent skips the bind only while the person's pwdLastSet is what it was.
package final class RefusedPasswords: Sendable {
  /// Of a person and a password; 16 bytes of an HMAC.
  package struct Fingerprint: Hashable, Sendable {
    fileprivate var high: UInt64
    fileprivate var low: UInt64
  }

  private struct Entry: Sendable {
    var passwordSet: Int64
    var at: Instant
  }

  static let life = Duration.seconds(120)
  private let most: Int

  private let key = Secret(RandomBytes.generate(32))
  private let entries = Mutex<[Fingerprint: Entry]>([:])

  /// - Parameter most: how many are remembered.
  package init(most: Int = 100_000) { self.most = most }

  /// - Parameter object: whom the name means; nil: nobody, and the name itself stands for it.
  package func fingerprint(_ password: Password, object: Identifier?, name: LockoutName) -> Fingerprint {
    var writer = ByteWriter()
    writer.writeLengthPrefixed(Array(name.realm.text.utf8))
    writer.writeInteger(UInt8(object == nil ? 0 : 1))
    writer.writeLengthPrefixed(object?.bytes ?? Array(name.key.utf8))
    let digest = Digests.hmacSHA256(writer.bytes, then: password.secret, key: key)
    func number(_ range: Range<Int>) -> UInt64 { digest[range].reduce(0) { $0 << 8 | UInt64($1) } }
    return Fingerprint(high: number(0..<8), low: number(8..<16))
  }

  /// pwdLastSet at which the password was refused within the last two minutes (0 for nobody); nil: it was not.
  package func refusedAt(_ fingerprint: Fingerprint, now: Instant) -> Int64? {
    entries.withLock { entries in
      guard let entry = entries[fingerprint], entry.at <= now, now.since(entry.at) < RefusedPasswords.life else { return nil }
      return entry.passwordSet
    }
  }

  /// A bind refused the password now. What is remembered already keeps its time.
  package func refused(_ fingerprint: Fingerprint, passwordSet: Int64, now: Instant) {
    entries.withLock { entries in
      if let known = entries[fingerprint], known.at <= now, now.since(known.at) < RefusedPasswords.life, known.passwordSet == passwordSet { return }
      if entries.count >= most {
        entries = entries.filter { $0.value.at <= now && now.since($0.value.at) < RefusedPasswords.life }
        // Under a flood the newest are not remembered: they count each time, as they would without this.
        guard entries.count < most else { return }
      }
      entries[fingerprint] = Entry(passwordSet: passwordSet, at: now)
    }
  }

  package var count: Int { entries.withLock { $0.count } }
}
