import Bytes
import Hummingbird
import Identity
import PassThrough

/// How the domain controllers are, as each connected agent sees them: the weather map.
struct AdminDirectoryRoutes: Sendable {
  let services: GatewayServices

  func add(to router: Router<GatewayRequestContext>) {
    router.get("/admin/v1/directories") { _, context in
      _ = try services.adminRoles.actor(context, changing: false)
      let weather = services.hub.directoryWeather
      let connected = services.hub.sessions
      return jsonResponse(
        services.registry.agents.filter { connected[$0.id] != nil }.sorted { $0.name < $1.name }.map { agent in
          DirectoryWeatherMessage(
            agent: agent.name, lastSeen: services.hub.lastSeen(agent.id), reporting: weather[agent.id] != nil, servers: weather[agent.id] ?? [])
        })
    }
  }
}

/// One agent's view of its directory servers.
package struct DirectoryWeatherMessage: Codable, Sendable {
  package var agent: String
  package var lastSeen: Instant?
  /// False for an agent whose version does not tell.
  package var reporting: Bool
  package var servers: [DirectoryReport]
}

extension MetricsExposition {
  /// How many directory servers are in each state, over all agents that tell, in the text format of Prometheus.
  package static func directoryServers(_ reports: [DirectoryReport]) -> String {
    let name = Telemetry.directoryServers.rawValue
    let lines = DirectoryReport.State.allCases.map { state in "\(name){state=\"\(state.rawValue)\"} \(reports.count { $0.state == state })" }
    return (["# TYPE \(name) gauge"] + lines).joined(separator: "\n") + "\n"
  }
}
