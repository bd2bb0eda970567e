import Bytes
import Identity
import KeyStore
import Logging
import SQLiteStore
import Synchronization

/// Joins the store's facts with the journal outside of it: at the start, after every change, and every few seconds.
final class RevocationKeeper: AlarmSource {
  private let store: EmbeddedStore
  private let journal: RevocationJournal
  private let now: @Sendable () -> Instant
  private let logger: Logger
  private let alarm = Mutex<Alarm?>(nil)

  init(store: EmbeddedStore, journal: RevocationJournal, now: @escaping @Sendable () -> Instant, logger: Logger) {
    self.store = store
    self.journal = journal
    self.now = now
    self.logger = logger
  }

  func alarms() async -> [Alarm] { alarm.withLock { $0.map { [$0] } ?? [] } }

  /// To be called before anybody is let in. Throws `StartProblem` where the journal knows what the store does not: then somebody put the store back by hand.
  ///
  /// - Parameters:
  ///   - key: the journal's.
  ///   - config: the path of the configuration, for the command that mends it.
  func reconcile(key: Secret, config: String) async throws {
    let told = try RevocationJournal.read(journal.path, key: key)
    let known = try await RevocationKeeper.facts(of: store)
    let mend = "With the gateway stopped, run: gatehouse restore --in-place --config \(config)"
    guard told.count <= known.count else {
      let unknown = Revocation.last(of: told.dropFirst(known.count).map(\.revocation)).prefix(5).map { "\($0.kind.rawValue) \($0.name)" }
      throw StartProblem(
        "The store is older than \(journal.path): it knows \(known.count) of \(told.count) facts about who is shut out, so somebody put it back to an older "
          + "state. What was revoked since would come back to life (\(unknown.joined(separator: ", "))\(told.count - known.count > 5 ? ", …" : "")). \(mend)"
      )
    }
    guard zip(told, known).allSatisfy({ $0 == $1 }) else {
      throw StartProblem(
        "\(journal.path) tells of another history than the store: they do not belong together. Put back the journal that belongs to the store; or, where "
          + "there is none, move this one away and restore the store from its backup once more.")
    }
    await catchUp()
    store.afterRevocations { [self] in await catchUp() }
  }

  /// Writes to the journal what it lacks. A failure is an alarm; the next call tries again.
  func catchUp() async {
    do {
      while true {
        let facts = try await store.revocations(after: journal.last, limit: 1000)
        guard !facts.isEmpty else { break }
        try journal.append(facts)
      }
      alarm.withLock { $0 = nil }
    } catch {
      logger.error("the revocation journal is behind", metadata: ["error": "\(error)"])
      let since = alarm.withLock { $0 }?.since ?? now()
      let words = Alarm(
        .revocationJournal, subject: journal.path,
        message: "What is revoked now is not in the revocation journal: it would come back with a restore of an older backup. \(error)",
        remedy: "Free space on its disk, or mend its owner and mode (0600); it catches up within five seconds.", since: since, condition: "behind")
      alarm.withLock { $0 = words }
    }
  }

  /// All facts of a store. Throws `StoreError`.
  static func facts(of store: EmbeddedStore) async throws -> [JournaledRevocation] {
    var facts: [JournaledRevocation] = []
    while true {
      let more = try await store.revocations(after: facts.last?.position ?? 0, limit: 10_000)
      guard !more.isEmpty else { return facts }
      facts += more
    }
  }
}
