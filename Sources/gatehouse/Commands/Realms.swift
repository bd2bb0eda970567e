import ArgumentParser
import Web

/// The people of one directory, and by which names they are recognised.
struct Realms: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Which names belong to which directory.", subcommands: [List.self, Add.self, Remove.self], defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the realms.")
    @OptionGroup var admin: AdminOptions

    func run() async throws {
      let realms: [RealmMessage] = try await admin.client.get("realms")
      if admin.json { return try printJSON(realms) }
      printTable(
        ["REALM", "SUFFIXES", "METHOD", "DEFAULT"],
        realms.map { [$0.name, $0.suffixes.joined(separator: " "), $0.method ?? "-", $0.isDefault ? "yes" : "no"] })
    }
  }

  struct Add: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Add a realm.", discussion: "Example: gatehouse realms add contoso --suffix contoso.com --suffix contoso --default")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "The realm's name: letters, digits, dots and dashes.") var name: String
    @Option(name: .long, help: "A UPN suffix (contoso.com) or NetBIOS domain name (contoso) that leads to it; may be repeated.")
    var suffix: [String] = []
    @Flag(name: .customLong("default"), help: "Names without suffix and prefix lead to it.") var isDefault = false
    @Option(name: .long, help: "What realm discovery shows.") var displayName: String?

    func run() async throws {
      let done: Done = try await admin.client.post(
        "realms", RealmMessage(name: name, suffixes: suffix, isDefault: isDefault, displayName: displayName))
      if admin.json { return try printJSON(done) }
      print(done.message)
    }
  }

  struct Remove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Remove a realm; its people can no longer sign in.")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "The realm's name.") var name: String

    func run() async throws {
      let done: Done = try await admin.client.delete("realms/\(pathSegment(name))")
      if admin.json { return try printJSON(done) }
      print(done.message)
    }
  }
}
