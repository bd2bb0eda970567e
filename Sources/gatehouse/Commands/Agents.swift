import ArgumentParser
import Web

/// The agents, seen from the gateway.
struct Agents: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "The agents that ask the directories.",
    subcommands: [List.self, Token.self, Revoke.self, Authority.self], defaultSubcommand: List.self)

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
            $0.revoked != nil ? "revoked" : $0.draining ? "draining" : $0.connected ? "connected" : "away", shown($0.lastSeen), "\($0.inFlight)",
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
