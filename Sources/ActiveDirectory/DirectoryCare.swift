import Bytes
import Identity
import PassThrough
import ServiceLifecycle

/// What an agent does for its directories without being asked: probes servers that rest, asks DNS again before answers grow old, and tells how all are.
extension LDAPPasswordValidator: Service, DirectoryObserver {
  /// How often probes are looked for. Short against the rest of a server, so that what recovers is soon in use.
  private static let interval = Duration.milliseconds(250)

  package func run() async throws {
    await withTaskGroup(of: Void.self) { group in
      for partition in partitions {
        group.addTask {
          while !Task.isCancelled, !Task.isShuttingDownGracefully {
            await partition.care()
            try? await cancelWhenGracefulShutdown { try await Task.sleep(for: LDAPPasswordValidator.interval) }
          }
        }
      }
    }
  }

  package func reports() async -> [DirectoryReport] {
    var all: [DirectoryReport] = []
    for partition in partitions { all += await partition.reports(now: now()) }
    return all
  }
}

extension DirectoryReport {
  init(
    realm: RealmName, server: String, health: ServerHealth, now: ServerHealth.Moment, wall: Instant, connections: Int, limit: Int, waiting: Int
  ) {
    let state: State =
      switch health.state {
      case .closed: .healthy
      case .open(.slow, _): .slow
      case .open(.faulty, _): .open
      case .halfOpen: .halfOpen
      }
    func wallTime(_ moment: ServerHealth.Moment) -> Instant { wall.adding(now.duration(to: moment)) }
    self.init(
      realm: realm, server: server, state: state, score: health.score(.bind, now: now), bindMilliseconds: health.mean(.bind, now: now),
      searchMilliseconds: health.mean(.search, now: now), errorRate: health.errorRate, connections: connections, connectionLimit: limit,
      waiting: waiting, lastFault: health.lastFault?.words, lastFaultAt: health.lastFault.map { wallTime($0.at) }, since: health.since.map(wallTime))
  }
}
