import Bytes
import Health
import Identity
import Logging
import Outbound
import ServiceLifecycle

/// The telling of alarms, put together: the desk, its ways, and what has to be done for them again and again.
struct AlarmAssembly {
  let desk: AlarmDesk
  private let outbound: OutboundClient?

  /// Throws where the webhook's authorities cannot be read.
  init(
    _ configuration: GatewayConfiguration, store: any AlarmStore, sources: [any AlarmSource], now: @escaping @Sendable () -> Instant, logger: Logger
  ) throws {
    var ways: [any AlarmWay] = []
    if let webhook = configuration.alarms.webhook {
      let client = try OutboundClient(authorityFile: webhook.authorityFile)
      ways.append(WebhookWay(url: webhook.url, secretFile: webhook.secretFile, outbound: client, now: now))
      outbound = client
    } else {
      outbound = nil
    }
    if let command = configuration.alarms.command { ways.append(CommandWay(path: command)) }
    desk = AlarmDesk(
      store: store, sources: sources, ways: ways, node: configuration.node, policy: AlarmPolicy(interval: configuration.alarms.interval), now: now,
      logger: logger)
  }

  /// A look, and for each way a chore of its own: one that hangs keeps no other waiting. A shutdown waits for none of them; what was under way is sent again.
  var chores: [Housekeeping.Chore] {
    let desk = desk
    let ways = desk.wayNames.map { way in
      Housekeeping.Chore("alarms by \(way)", every: .seconds(2)) { try await cancelWhenGracefulShutdown { try await desk.deliver(by: way) } }
    }
    return [.init("alarms", every: .seconds(2)) { try await cancelWhenGracefulShutdown { try await desk.look() } }] + ways
  }

  func shutdown() async { await outbound?.shutdown() }
}
