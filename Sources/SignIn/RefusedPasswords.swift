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
  private let state = Mutex(State())

  private struct State: Sendable {
    var entries: [Fingerprint: Entry] = [:]
    /// When room was last looked for: under a flood that costs more than it brings, so that it is done once a second.
    var swept: Instant?
  }

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
    state.withLock { state in
      guard let entry = state.entries[fingerprint], entry.at <= now, now.since(entry.at) < RefusedPasswords.life else { return nil }
      return entry.passwordSet
    }
  }

  /// A bind refused the password now. What is remembered already keeps its time.
  package func refused(_ fingerprint: Fingerprint, passwordSet: Int64, now: Instant) {
    state.withLock { state in
      if let known = state.entries[fingerprint], known.at <= now, now.since(known.at) < RefusedPasswords.life, known.passwordSet == passwordSet {
        return
      }
      if state.entries.count >= most, state.swept.map({ $0 > now || now.since($0) >= .seconds(1) }) ?? true {
        state.entries = state.entries.filter { $0.value.at <= now && now.since($0.value.at) < RefusedPasswords.life }
        state.swept = now
      }
      // Under a flood the newest are not remembered: they count each time, as they would without this.
      guard state.entries.count < most else { return }
      state.entries[fingerprint] = Entry(passwordSet: passwordSet, at: now)
    }
  }

  package var count: Int { state.withLock { $0.entries.count } }
}
