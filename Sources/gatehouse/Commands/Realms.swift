import ArgumentParser
import Foundation
import Web

/// The people of one directory, and by which names they are recognised.
struct Realms: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Which names belong to which directory.", subcommands: [List.self, Add.self, Remove.self, Canary.self], defaultSubcommand: List.self)

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

  struct Canary: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show, set or remove the account by which lying agents are found out.",
      discussion: """
        The gateway asks every agent, among its ordinary questions, for this account with its right password and with wrong ones. An agent that says yes to
        a wrong one is put into quarantine. The account must be for nothing else, and under a policy without lockout.

        Example: gatehouse realms canary contoso --user canary@contoso.com --password-file canary.password
        """)
    @OptionGroup var admin: AdminOptions
    @Argument(help: "The realm's name.") var realm: String
    @Option(name: .long, help: "The account's name, as somebody would type it.") var user: String?
    @Option(name: .long, help: "A file with its password; one newline at the end does not count.") var passwordFile: String?
    @Flag(name: .long, help: "You have made sure that no policy locks the account, where the directory cannot be asked.") var withoutLockout = false
    @Flag(name: .long, help: "Remove the canary.") var remove = false

    func validate() throws {
      guard (user == nil) == (passwordFile == nil) else { throw ValidationError("Give --user and --password-file together.") }
      guard !remove || user == nil else { throw ValidationError("Give --remove, or --user and --password-file.") }
    }

    func run() async throws {
      let path = "realms/\(pathSegment(realm))/canary"
      if let user, let passwordFile {
        guard var password = try? String(contentsOfFile: passwordFile, encoding: .utf8) else {
          throw StartProblem("\(passwordFile) cannot be read as UTF-8 text.")
        }
        if password.utf8.last == UInt8(ascii: "\n") { password = String(decoding: password.utf8.dropLast(), as: UTF8.self) }
        let done: Done = try await admin.client.post(
          path, CanaryChange(userName: user, password: password, isWithoutLockout: withoutLockout ? true : nil))
        if admin.json { return try printJSON(done) }
        print(done.message)
      } else if remove {
        let done: Done = try await admin.client.delete(path)
        if admin.json { return try printJSON(done) }
        print(done.message)
      } else {
        let canary: CanaryMessage = try await admin.client.get(path)
        if admin.json { return try printJSON(canary) }
        print(canary.userName.map { "The canary of realm \(canary.realm) is \(harmless($0))." } ?? "Realm \(canary.realm) has no canary.")
      }
    }
  }
}
