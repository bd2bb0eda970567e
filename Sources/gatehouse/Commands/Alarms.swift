import ArgumentParser
import Bytes
import Foundation
import Web

/// What has to be mended, and who is told of it.
struct AlarmsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "alarms", abstract: "What has to be mended: list, acknowledge, and test who is told.",
    subcommands: [List.self, Acknowledge.self, Test.self], defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the alarms that stand, and what was told of them.")
    @OptionGroup var admin: AdminOptions

    func run() async throws {
      let alarms: [AlarmMessage] = try await admin.client.get("alarms")
      if admin.json { return try printJSON(alarms) }
      AlarmsCommand.show(alarms)
    }
  }

  struct Acknowledge: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Say that you know of an alarm: it is not told again until it changes or comes back.",
      discussion: "Example: gatehouse alarms acknowledge agent-gone --subject agent2 --note \"host is being replaced\"")
    @OptionGroup var admin: AdminOptions
    @Argument(help: "Its code, as `gatehouse alarms list` shows it.") var code: String
    @Option(name: .long, help: "Its subject; without it all alarms of the code.") var subject: String?
    @Option(name: .long, help: "What you are doing about it, for others to read.") var note: String?

    func run() async throws {
      let alarms: [AlarmMessage] = try await admin.client.post("alarms/acknowledge", AlarmAcknowledgement(code: code, subject: subject, note: note))
      if admin.json { return try printJSON(alarms) }
      for alarm in alarms { print("\(alarm.code) (\(harmless(alarm.subject))) is not told again until it changes or comes back.") }
    }
  }

  struct Test: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Send a test notice by every configured way and tell what came of each. Exits with 1 where one did not arrive, or there is none.")
    @OptionGroup var admin: AdminOptions

    func run() async throws {
      let outcomes: [AlarmTestMessage] = try await admin.client.post("alarms/test", [String: String]())
      if admin.json {
        try printJSON(outcomes)
      } else if outcomes.isEmpty {
        print("Nobody is told of alarms: give `alarms.webhook` or `alarms.command` in the gateway's configuration, and restart it.")
      } else {
        for outcome in outcomes { print("\(outcome.way): \(outcome.problem.map { "NOT DELIVERED, \(harmless($0))" } ?? "delivered")") }
      }
      if outcomes.isEmpty || outcomes.contains(where: { !$0.delivered }) { throw ExitCode(1) }
    }
  }

  private static func show(_ alarms: [AlarmMessage]) {
    guard !alarms.isEmpty else { return print("No alarms.") }
    for alarm in alarms {
      let state =
        switch alarm.state {
        case .new: "not told yet"
        case .told: "told \(shown(alarm.told))"
        case .acknowledged: "acknowledged \(shown(alarm.acknowledged)) by \(alarm.acknowledgedBy ?? "-")\(alarm.note.map { ": \($0)" } ?? "")"
        case .clearing: "mended"
        }
      print("\(alarm.severity.uppercased()) \(alarm.code) (\(harmless(alarm.subject))) since \(shown(alarm.since)), \(harmless(state))")
      print("      \(harmless(alarm.message))")
      print("      \(harmless(alarm.remedy))")
      for waiting in alarm.waiting where waiting.problem != nil {
        print("      not delivered by \(waiting.way) after \(waiting.tries) tries: \(harmless(waiting.problem ?? "")); next \(shown(waiting.next))")
      }
    }
  }
}
