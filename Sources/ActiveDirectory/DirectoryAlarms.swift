import Bytes
import Identity
import Synchronization

/// What is wrong with the directory now, answered from memory.
final class DirectoryAlarms: Sendable {
  private struct Key: Hashable {
    var code: AlarmCode
    var subject: String
  }

  private let standing = Mutex<[Key: Alarm]>([:])
  private let now: @Sendable () -> Instant

  init(now: @escaping @Sendable () -> Instant) { self.now = now }

  /// An alarm that stands already keeps its beginning.
  func raise(_ code: AlarmCode, subject: String, message: String, remedy: String) {
    let subject = DirectoryAlarms.bounded(subject)
    standing.withLock { standing in
      let key = Key(code: code, subject: subject)
      let since = standing[key]?.since ?? now()
      standing[key] = Alarm(
        code, subject: subject, message: message, remedy: remedy, since: since, condition: code == .noDirectoryServer ? "none" : nil)
    }
  }

  func clear(_ code: AlarmCode, subject: String) {
    standing.withLock { _ = $0.removeValue(forKey: Key(code: code, subject: DirectoryAlarms.bounded(subject))) }
  }

  /// Oldest first.
  var all: [Alarm] { standing.withLock { $0.values.sorted { ($0.since, $0.subject) < ($1.since, $1.subject) } } }

  /// `Alarm.subject` holds 256 bytes at most.
  private static func bounded(_ text: String) -> String { String(decoding: text.utf8.prefix(256), as: UTF8.self) }
}
