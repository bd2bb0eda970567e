import ArgumentParser
import Bytes
import Foundation
import Identity
import PassThrough
import SignIn
import Web

/// Why a sign-in ended as it did.
struct Trace: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Tell in words why a sign-in ended as it did.",
    discussion: "REFERENCE is what every answer carries, for instance 7G4K-9Q2M-XW3T; case, dashes, O for 0 and I for 1 do not matter.")
  @OptionGroup var admin: AdminOptions
  @Argument(help: "The reference of the answer.") var reference: String

  func run() async throws {
    let explanations: [Explanation] = try await admin.client.get("trace/\(pathSegment(reference))")
    if admin.json { return try printJSON(explanations) }
    for explanation in explanations {
      print(harmless(explanation.decision))
      print("Cause:   \(harmless(explanation.cause))")
      print("Remedy:  \(harmless(explanation.remedy))")
      print("Steps:")
      for (index, step) in explanation.steps.enumerated() { print("  \(index + 1). \(harmless(step))") }
    }
  }
}

/// How the gateway is.
struct Status: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "How the gateway is, and what has to be mended. Exits with 1 where there is an alarm.")
  @OptionGroup var admin: AdminOptions
  @Flag(name: .long, help: "In place of all else: how every agent's domain controllers are.") var dcs = false

  func run() async throws {
    if dcs { return try await showDirectories() }
    let status: StatusMessage = try await admin.client.get("status")
    if admin.json {
      try printJSON(status)
    } else {
      print("Node \(status.node), up since \(shown(status.started)) UTC")
      print("Realms: \(status.realms.isEmpty ? "none" : status.realms.joined(separator: ", "))")
      print("Agents: \(status.agentsConnected) connected of \(status.agentsEnrolled) enrolled; \(status.questionsUnderWay) questions under way")
      for chain in status.auditChains {
        print("Audit:  chain \(chain.chain), rows \(chain.first) to \(chain.last), exported through \(chain.exportedThrough)")
      }
      for obstacle in status.obstacles { print("Not ready: \(harmless(obstacle))") }
      for alarm in status.alarms {
        print("ALARM \(alarm.code.rawValue) (since \(shown(alarm.since))): \(harmless(alarm.message))")
        print("      \(harmless(alarm.remedy))")
      }
      for notice in status.notices ?? [] { print("Notice: \(harmless(notice))") }
      if status.alarms.isEmpty { print("No alarms.") }
    }
    if !status.alarms.isEmpty || !status.obstacles.isEmpty { throw ExitCode(1) }
  }
  private func showDirectories() async throws {
    let agents: [DirectoryWeatherMessage] = try await admin.client.get("directories")
    if admin.json { return try printJSON(agents) }
    func number(_ value: Double?) -> String { value.map { "\(($0 * 10).rounded() / 10)" } ?? "-" }
    printTable(
      ["AGENT", "REALM", "SERVER", "STATE", "SCORE", "BIND MS", "SEARCH MS", "FAULTS", "IN USE", "WAITING", "SINCE", "LAST FAULT"],
      agents.flatMap { agent in
        agent.servers.map { server in
          [
            agent.agent, server.realm.text, server.server, server.state.rawValue, number(server.score), number(server.bindMilliseconds),
            number(server.searchMilliseconds), server.errorRate.map { "\(Int(($0 * 100).rounded())) %" } ?? "-",
            "\(server.connections ?? 0)/\(server.connectionLimit ?? 0)", "\(server.waiting ?? 0)", shown(server.since),
            server.lastFault.map { "\(shown(server.lastFaultAt)) \($0)" } ?? "-",
          ]
        }
      })
    for agent in agents where !agent.reporting { print("\(harmless(agent.agent)) does not tell: its version is too old.") }
  }
}
