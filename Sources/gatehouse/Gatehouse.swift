import ArgumentParser
import Foundation

/// The one executable: the gateway, the agent, and the administrator's tool.
@main
struct Gatehouse: AsyncParsableCommand {
  static let version = "0.1.0"

  static let configuration = CommandConfiguration(
    commandName: "gatehouse",
    abstract:
      "The sign-in side of hybrid identity: cloud front-ends and SAML relying parties sign people in against Active Directory, through an agent that dials out only.",
    discussion: """
      At the gateway:       gatehouse check --config gateway.yaml && gatehouse serve --config gateway.yaml
                            gatehouse realms add contoso --suffix contoso.com
                            gatehouse front-ends add portal --realm contoso
                            gatehouse agents token --realm contoso
                            gatehouse rp add --metadata https://app.example/saml/metadata
      At the agent's site:  gatehouse agent enrol --config agent.yaml --token TOKEN && gatehouse agent run --config agent.yaml
      Why?                  gatehouse trace REFERENCE

      Commands that administer speak to the gateway over its Unix socket: --socket, or GATEHOUSE_SOCKET.
      Shell completion: gatehouse --generate-completion-script bash|zsh|fish
      """,
    version: version,
    subcommands: [],
    groupedSubcommands: [
      CommandGroup(name: "Run", subcommands: [Serve.self, Agent.self, Check.self, BackupCommand.self, RestoreCommand.self]),
      CommandGroup(
        name: "Administer",
        subcommands: [Realms.self, FrontEnds.self, Agents.self, Users.self, RelyingParties.self, FederationCommand.self, Certificates.self]),
      CommandGroup(name: "Understand", subcommands: [Status.self, AlarmsCommand.self, Trace.self, Audit.self, Tokens.self]),
    ])
}
