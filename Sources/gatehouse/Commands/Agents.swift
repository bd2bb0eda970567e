import ArgumentParser
import Bytes
import Foundation
import Identity
import Web

/// The agents, seen from the gateway.
struct Agents: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "The agents that ask the directories.",
    subcommands: [List.self, Token.self, Revoke.self, Release.self, AnsweredBy.self, Authority.self], defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the agents and how they are.")
    @OptionGroup var admin: AdminOptions
    @Flag(name: .long, help: "Revoked ones too.") var all = false

    func run() async throws {
      let known: [AgentMessage] = try await admin.client.get("agents")
      let agents = known.filter { all || $0.revoked == nil }
      if admin.json { return try printJSON(agents) }
      printTable(
        ["AGENT", "REALMS", "STATE", "LAST SEEN", "IN FLIGHT", "ANSWERED", "MEAN MS", "CERTIFICATE ENDS", "VERSION"],
        agents.map {
          [
            $0.name, $0.realms.joined(separator: " "),
            $0.revoked != nil ? "revoked" : $0.quarantined != nil ? "QUARANTINE" : $0.draining ? "draining" : $0.connected ? "connected" : "away",
            shown($0.lastSeen), "\($0.inFlight)",
            "\($0.answered)", $0.meanMilliseconds.map { "\(($0 * 10).rounded() / 10)" } ?? "-", shown($0.certificateEnds), $0.software ?? "-",
          ]
        })
    }
  }

  struct Token: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a one-time token (10 minutes) with which an agent enrols.",
      discussion: "Example: gatehouse agents token --realm contoso, then on the agent's host: gatehouse agent enrol --config agent.yaml --token TOKEN"
    )
    @OptionGroup var admin: AdminOptions
    @Option(name: .long, help: "A realm that the agent may answer for; may be repeated. It can never answer for another.") var realm: [String]
    @Option(name: .long, help: "The agent's name; without it the agent proposes its own.") var name: String?

    func run() async throws {
      let issued: IssuedToken = try await admin.client.post("agents/tokens", TokenRequest(realms: realm, name: name))
      if admin.json { return try printJSON(issued) }
      print(issued.token)
      print("Good once, until \(shown(issued.expires)) UTC. On the agent's host: gatehouse agent enrol --config agent.yaml --token TOKEN")
    }
  }

  struct Revoke: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Cut an agent off, at once and for good.")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "Its name or id.") var agent: String

    func run() async throws {
      let done: Done = try await admin.client.delete("agents/\(pathSegment(agent))")
      if admin.json { return try printJSON(done) }
      print(done.message)
    }
  }

  struct Release: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Let an agent out of quarantine, after you have found out why it said yes to a wrong password.")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "Its name or id.") var agent: String

    func run() async throws {
      let done: Done = try await admin.client.post("agents/\(pathSegment(agent))/release", [String: String]())
      if admin.json { return try printJSON(done) }
      print(done.message)
    }
  }

  struct AnsweredBy: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "answered-by", abstract: "List the sign-ins that an agent answered, newest first.",
      discussion:
        "Example: gatehouse agents answered-by agent1 --since 2026-11-20T00:00:00Z\nRows that were pruned are in the exported segments only.")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "Its name or id, revoked or not.") var agent: String
    @Option(name: .long, help: "From when: a time in UTC (2026-11-20T07:30:00Z), or how long ago (90m, 36h, 7d). Default: 24h.") var since: String =
      "24h"

    func run() async throws {
      let client = admin.client
      let known: [AgentMessage] = try await client.get("agents")
      // A name may have been given again after a revocation: then all that bore it are meant.
      let meant = known.filter { $0.name == agent || $0.id == agent.lowercased() }
      guard !meant.isEmpty else { throw StartProblem("There is no agent \(agent). See `gatehouse agents list --all`.") }
      guard let since = AnsweredBy.moment(since, now: wallClock()) else {
        throw StartProblem("--since \(since) is neither a time such as 2026-11-20T07:30:00Z nor a length such as 90m, 36h or 7d.")
      }
      var rows: [AuditRow] = []
      for agent in meant { rows += try await AnsweredBy.rows(client, agent: agent.id, since: since) }
      if admin.json { return try printJSON(rows) }
      printTable(
        ["TIME (UTC)", "REALM", "USER", "OUTCOME", "FRONT-END", "REFERENCE"],
        rows.map {
          [
            shown($0.event.time), $0.event.realm?.text ?? "-", $0.event.subject ?? "-", $0.event.outcome, $0.event.actor,
            $0.event.reference?.text ?? "-",
          ]
        })
    }

    /// Page by page from the newest, each page beginning with the millisecond in which the one before ended.
    private static func rows(_ client: AdminClient, agent: String, since: Instant) async throws -> [AuditRow] {
      let page = 2000
      var rows: [AuditRow] = []
      var seen: Set<String> = []
      var until: Instant?
      while true {
        var query = [("agent", agent), ("since", "\(since.milliseconds)"), ("limit", "\(page)")]
        if let until { query.append(("until", "\(until.milliseconds)")) }
        let found: [AuditRow] = try await client.get("audit", query: query)
        let fresh = found.filter { seen.insert("\($0.chain):\($0.sequence)").inserted }
        rows += fresh
        guard found.count == page, !fresh.isEmpty, let last = found.last else { return rows }
        until = last.event.time
      }
    }

    /// A moment from what somebody typed; nil where it is none.
    static func moment(_ text: String, now: Instant) -> Instant? {
      if let date = try? Date(text, strategy: .iso8601) { return Instant(date) }
      let units: [Character: Int] = ["m": 60, "h": 3600, "d": 86_400]
      guard let unit = text.last.flatMap({ units[$0] }), let count = Int(text.dropLast()), (1...100_000).contains(count) else { return nil }
      return now.adding(.seconds(-unit * count))
    }
  }

  struct Authority: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "The gateway's own CA for agents, and its rollover.",
      discussion:
        "It rolls over by itself. By hand: `prepare` publishes a second root, which connected agents learn within seconds; `activate` issues from it."
    )
    @OptionGroup var admin: AdminOptions
    @Argument(help: "prepare or activate; nothing: show.") var step: String?

    func validate() throws {
      guard step.map({ ["prepare", "activate"].contains($0) }) ?? true else { throw ValidationError("The step is prepare or activate.") }
    }

    func run() async throws {
      let roots: [AuthorityMessage] =
        if let step { try await admin.client.post("authority/\(step)", [String: String]()) } else { try await admin.client.get("authority") }
      if admin.json { return try printJSON(roots) }
      printTable(
        ["ROOT", "STATE", "PREPARED", "ACTIVATED", "ENDS"], roots.map { [$0.id, $0.state, shown($0.prepared), shown($0.activated), shown($0.ends)] })
    }
  }
}
