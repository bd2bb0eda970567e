import Bytes
import Foundation
import NIOHTTP1
import Outbound
import Testing

@Suite("Alarms", .serialized)
struct AlarmScenario {
  private struct Listed: Decodable {
    struct Waiting: Decodable { var way: String }
    var code: String
    var subject: String
    var state: String
    var waiting: [Waiting]
  }

  private struct Tested: Decodable {
    var way: String
    var delivered: Bool
    var problem: String?
  }

  /// The program of an operator: it appends what it is given to a file, once as JSON and once from its environment.
  private struct Command {
    let path: String
    let output: String

    init(folder: String) throws {
      (path, output) = (folder + "/tell", folder + "/told")
      try """
      #!/bin/sh
      { cat; printf '%s %s %s\\n' "$GATEHOUSE_ALARM_KIND" "$GATEHOUSE_ALARM_CODE" "$GATEHOUSE_ALARM_SUBJECT"; } >>\(folder)/told
      """.write(toFile: path, atomically: true, encoding: .utf8)
      try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
    }

    private var lines: [String] {
      ((try? String(contentsOfFile: output, encoding: .utf8)) ?? "").split(separator: "\n").map(String.init)
    }

    /// `kind code subject` of every run.
    var runs: [String] { lines.filter { !$0.hasPrefix("{") } }
    var notices: [AlarmReceiver.Notice] {
      lines.filter { $0.hasPrefix("{") }.compactMap { try? JSONDecoder().decode(AlarmReceiver.Notice.self, from: Data($0.utf8)) }
    }
  }

  @Test("are raised, repeated, acknowledged and cleared by webhook and command, through a restart and a receiver that is down for a while")
  func life() async throws {
    let folder = try BuiltProgram.folder("alarm-files")
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let command = try Command(folder: folder)
    let receiver = try await AlarmReceiver()
    let secret = "a secret of thirty-two letters !"
    try (secret + "\n").write(toFile: folder + "/secret", atomically: true, encoding: .utf8)
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: folder + "/secret")
    let authority = try await TestCertificates.shared.value.authority
    let extra = """
      alarms:
        webhook: {url: "\(receiver.url)", secretFile: \(folder)/secret, caFile: \(authority)}
        command: \(command.path)
        repeat: 10s
      """
    let gateway = try await GatewayProcess(scenario: "alarms", options: .init(extra: extra))
    do {
      try await receiver.start()
      try await gateway.start()
      try await test(gateway.admin, receiver, secret: secret)
      try await raise(gateway, receiver, command)
      try await clear(gateway, receiver, command)
    } catch {
      await gateway.remove()
      await receiver.stop()
      throw error
    }
    await gateway.remove()
    await receiver.stop()
  }

  private func test(_ admin: AdminTool, _ receiver: AlarmReceiver, secret: String) async throws {
    let tested = try await admin.json([Tested].self, "alarms", "test")
    #expect(tested.map(\.way) == ["webhook", "command"])
    #expect(!tested.contains { !$0.delivered }, "\(tested)")
    let delivery = try #require(receiver.deliveries.first)
    #expect(delivery.notice.kind == "test")
    let signature = try #require(delivery.signature)
    let seconds = try #require(signature.firstMatch(of: /^t=([0-9]+),v1=/).flatMap { Int64($0.output.1) })
    #expect(
      signature == WebhookWay.signature(of: delivery.body, at: Instant(milliseconds: seconds * 1000), secret: Secret(secret.utf8)))
    receiver.answer(.internalServerError)
    let failed = try await admin.attempt("alarms", "test")
    #expect(failed.status == 1)
    #expect(failed.output.contains("webhook: NOT DELIVERED, the receiver answers 500"))
    #expect(failed.output.contains("command: delivered"))
    receiver.answer(.ok)
  }

  private func raise(_ gateway: GatewayProcess, _ receiver: AlarmReceiver, _ command: Command) async throws {
    let admin = gateway.admin
    try await admin("realms", "add", "lonely", "--suffix", "lonely.test")
    func webhook() -> [String] { receiver.notices.filter { $0.code == "realm-without-agent" }.map(\.kind) }
    func byCommand() -> [String] { command.notices.filter { $0.code == "realm-without-agent" }.map(\.kind) }
    #expect(await eventually(within: .seconds(60)) { !webhook().isEmpty && !byCommand().isEmpty }, "not raised")
    let notice = try #require(receiver.notices.first { $0.code == "realm-without-agent" })
    #expect((notice.kind, notice.subject, notice.severity) == ("raised", "lonely", "critical"))
    #expect(notice.text.contains(notice.message) && notice.text.contains("gatehouse agents token"))
    #expect(command.runs.contains("raised realm-without-agent lonely"))
    #expect(await eventually(within: .seconds(30)) { webhook().contains("repeated") && byCommand().contains("repeated") }, "not repeated")

    let unknown = try await admin.attempt("alarms", "acknowledge", "agent-gone")
    #expect(unknown.status == 1)
    #expect(unknown.complaint.contains("No alarm agent-gone stands"))
    try await admin("alarms", "acknowledge", "realm-without-agent", "--subject", "lonely", "--note", "an agent comes tomorrow")
    #expect(try await admin("alarms", "list").contains("an agent comes tomorrow"))
    #expect(try await admin.json([Listed].self, "alarms", "list").map(\.state) == ["acknowledged"])
    try await Task.sleep(for: .seconds(3))
    let (before, beforeByCommand) = (webhook(), byCommand())
    try await gateway.restart()
    try await Task.sleep(for: .seconds(35))
    #expect(webhook() == before, "a restart tells nothing anew, and who knows is left alone")
    #expect(byCommand() == beforeByCommand)
    #expect(try await admin.json([Listed].self, "alarms", "list").map(\.state) == ["acknowledged"])
    let rows = try await admin.json([Told.Row].self, "audit", "list", "--kind", "alarm.acknowledged")
    #expect(rows.map(\.event.subject) == ["lonely"])
  }

  private func clear(_ gateway: GatewayProcess, _ receiver: AlarmReceiver, _ command: Command) async throws {
    await receiver.stop()
    try await gateway.admin("realms", "remove", "lonely")
    let began = ContinuousClock.now
    #expect(await eventually(within: .seconds(60)) { command.runs.contains("cleared realm-without-agent lonely") }, "not cleared within a minute")
    print("alarms: cleared by command \(began.duration(to: .now)) after its cause was gone")
    #expect(await eventually(within: .seconds(120)) { command.runs.contains("raised alarm-not-delivered webhook") }, "its own trouble is not told")
    let list = try await gateway.admin("alarms", "list")
    #expect(list.contains("not delivered by webhook after"), "\(list)")
    #expect(!receiver.notices.contains { $0.kind == "cleared" })
    try await receiver.start()
    #expect(await eventually(within: .seconds(200)) { receiver.notices.contains { $0.kind == "cleared" && $0.subject == "lonely" } })
    #expect(await eventually(within: .seconds(60)) { command.runs.contains("cleared alarm-not-delivered webhook") })
    #expect(!receiver.notices.contains { $0.code == "alarm-not-delivered" }, "a receiver that was down needs nothing done when it is up")
    #expect(try await eventually(within: .seconds(30)) { try await gateway.admin.json([Listed].self, "alarms", "list").isEmpty })
    #expect(receiver.notices.filter { $0.kind == "raised" }.count == 1)
  }
}
