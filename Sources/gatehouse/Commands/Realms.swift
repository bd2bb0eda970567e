import ArgumentParser
import Foundation
import Web

/// The people of one directory, and by which names they are recognised.
struct Realms: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Which names belong to which directory.", subcommands: [List.self, Add.self, Federate.self, Remove.self, Lockout.self, Canary.self],
    defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the realms.")
    @OptionGroup var admin: AdminOptions

    func run() async throws {
      let realms: [RealmMessage] = try await admin.client.get("realms")
      if admin.json { return try printJSON(realms) }
      printTable(
        ["REALM", "SUFFIXES", "METHOD", "DISCOVERY", "DEFAULT"],
        realms.map {
          [
            $0.name, $0.suffixes.joined(separator: " "), $0.method ?? "-", $0.isFederated == true ? "federated" : "managed",
            $0.isDefault ? "yes" : "no",
          ]
        })
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

  struct Federate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Have realm discovery send a realm's people to this identity provider's own pages, as it does for a federated domain.")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "The realm's name.") var name: String
    @Flag(name: .long, help: "Have it say managed again.") var off = false

    func run() async throws {
      let done: Done = try await admin.client.patch("realms/\(pathSegment(name))/federation", RealmFederation(isFederated: !off))
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

  struct Lockout: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show or set how many wrong passwords a realm's people have before Gatehouse locks them.",
      discussion:
        "What would let the directory's own lock be reached is refused. Without options it shows what holds. "
        + "Example: gatehouse realms lockout contoso --threshold 5 --window 30m --first-lock 31m")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "The realm's name.") var name: String
    @Option(name: .long, help: "Wrong passwords inside the window that lock; 1 to 100.") var threshold: Int?
    @Option(name: .long, help: "How long a wrong password counts (30m).") var window: String?
    @Option(name: .long, help: "How long the first lock lasts (60s); each further one is twice as long.") var firstLock: String?
    @Option(name: .long, help: "The longest that a lock lasts (30m).") var longestLock: String?
    @Flag(name: .customLong("default"), help: "Go back to what the gateway's configuration says.") var isDefault = false

    func validate() throws {
      let isChange = threshold != nil || window != nil || firstLock != nil || longestLock != nil
      if isDefault, isChange { throw ValidationError("--default goes alone.") }
      for text in [window, firstLock, longestLock] {
        if let text, parseDuration(text) == nil { throw ValidationError("\"\(text)\" is no duration; write it like 90s, 30m or 2h.") }
      }
    }

    func run() async throws {
      let path = "realms/\(pathSegment(name))/lockout"
      func seconds(_ text: String?) -> Int? { text.flatMap(parseDuration).map { Int($0.components.seconds) } }
      let change = RealmLockoutChange(
        threshold: threshold, windowSeconds: seconds(window), firstLockSeconds: seconds(firstLock), longestLockSeconds: seconds(longestLock))
      let told: RealmLockoutMessage
      if isDefault {
        told = try await admin.client.delete(path)
      } else if threshold != nil || window != nil || firstLock != nil || longestLock != nil {
        told = try await admin.client.patch(path, change)
      } else {
        told = try await admin.client.get(path)
      }
      if admin.json { return try printJSON(told) }
      func row(_ title: String, _ numbers: LockoutNumbers) -> [String] {
        [title, "\(numbers.threshold)"]
          + [numbers.windowSeconds, numbers.firstLockSeconds, numbers.longestLockSeconds].map { describe(.seconds($0)) }
      }
      var rows = [row(told.isDefault ? "default" : "realm's own", told.chosen), row("holds now", told.effective)]
      if let directory = told.directory {
        rows.append([
          "directory", directory.threshold == 0 ? "never locks" : "\(directory.threshold)", describe(.seconds(directory.windowSeconds)),
          directory.lockSeconds.map { describe(.seconds($0)) } ?? "for good", "-",
        ])
      }
      printTable(["LOCKOUT", "THRESHOLD", "WINDOW", "FIRST LOCK", "LONGEST LOCK"], rows)
      if told.directory == nil { print("No agent has told the directory's lockout yet.") }
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
