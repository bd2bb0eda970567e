import Bytes
import Identity
import PassThrough
import SignIn
import Synchronization

/// Joins SignIn's realms with PassThrough's agents: a realm of which no agent is connected is an alarm, since nobody of it can sign in.
final class RealmCoverage: AlarmSource {
  private let realms: RealmDirectory
  private let hub: AgentHub
  private let now: @Sendable () -> Instant
  private let since = Mutex<[RealmName: Instant]>([:])

  init(realms: RealmDirectory, hub: AgentHub, now: @escaping @Sendable () -> Instant) {
    self.realms = realms
    self.hub = hub
    self.now = now
  }

  /// To be called every second, so that alarms bear the time at which they began.
  func look() {
    let bare = realms.realms.filter { $0.method == .passThrough && !hub.hasAgent(for: $0.name) }.map(\.name)
    let now = now()
    since.withLock { since in
      since = since.filter { bare.contains($0.key) }
      for realm in bare where since[realm] == nil { since[realm] = now }
    }
  }

  func alarms() async -> [Alarm] {
    since.withLock { $0 }.sorted { $0.key < $1.key }.map { realm, since in
      Alarm(
        .realmWithoutAgent, subject: realm.text, message: "No agent of realm \(realm) is connected: nobody of it can sign in.",
        remedy: "Look at `gatehouse agents list` and the agents' logs; enrol one with a token from `gatehouse agents token --realm \(realm)`.",
        since: since)
    }
  }
}
