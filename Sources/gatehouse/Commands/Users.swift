import ArgumentParser
import Web

/// Lock and block of single people.
struct Users: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Who is locked or blocked here, and its lifting.",
    subcommands: [Locked.self, Show.self, Unlock.self, Block.self, Unblock.self], defaultSubcommand: Locked.self)

  struct Target: ParsableArguments {
    @OptionGroup var admin: AdminOptions
    @Argument(help: "The user name, in any spelling with which the user signs in.") var name: String
    @Option(name: .long, help: "The realm, where the name does not tell it.") var realm: String?

    func act(_ action: String) async throws {
      let done: Done = try await admin.client.post("users/\(action)", UserRequest(name: name, realm: realm))
      if admin.json { return try printJSON(done) }
      print(harmless(done.message))
    }
  }

  struct Locked: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List everybody who is locked or blocked.")
    @OptionGroup var admin: AdminOptions

    func run() async throws {
      let people: [UserStateMessage] = try await admin.client.get("users/locked")
      if admin.json { return try printJSON(people) }
      printTable(
        ["REALM", "NAME", "OBJECT", "LOCKED UNTIL", "BLOCKED"],
        people.map { [$0.realm, $0.name ?? "-", $0.object ?? "-", shown($0.lockedUntil), $0.blocked ? "yes" : "no"] })
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show what is counted for one user.")
    @OptionGroup var target: Target

    func run() async throws {
      let state: UserStateMessage = try await target.admin.client.post("users/show", UserRequest(name: target.name, realm: target.realm))
      if target.admin.json { return try printJSON(state) }
      printTable(
        ["REALM", "NAME", "FAILURES", "LAST FAILURE", "LOCKED UNTIL", "BLOCKED"],
        [[state.realm, state.name ?? "-", "\(state.failures)", shown(state.lastFailure), shown(state.lockedUntil), state.blocked ? "yes" : "no"]])
    }
  }

  struct Unlock: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Forget a user's failed tries and lift our lock.")
    @OptionGroup var target: Target
    func run() async throws { try await target.act("unlock") }
  }

  struct Block: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Refuse a user's every sign-in, by any method, from now on.")
    @OptionGroup var target: Target
    func run() async throws { try await target.act("block") }
  }

  struct Unblock: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lift a block.")
    @OptionGroup var target: Target
    func run() async throws { try await target.act("unblock") }
  }
}
