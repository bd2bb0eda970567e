import Bytes
import Foundation
import Health
import Identity
import Outbound
import Testing

@Suite("A command that tells of alarms")
final class CommandWayTests {
  private let folder: String

  init() throws {
    folder = NSTemporaryDirectory() + "gatehouse-command-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  private let notice = AlarmNotice(
    id: "7", kind: .raised, time: Instant(milliseconds: 1), node: "gw",
    alarm: Alarm(
      .agentGone, subject: "a\n$(touch /tmp/never)\u{1b}[2J", message: "é \"gone\"", remedy: "look", since: Instant(milliseconds: 2)))

  private func script(_ text: String) throws -> String {
    let path = folder + "/tell"
    try "#!/bin/sh\n\(text)\n".write(toFile: path, atomically: true, encoding: .utf8)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
    return path
  }

  private func said() -> String { (try? String(contentsOfFile: folder + "/said", encoding: .utf8)) ?? "" }

  @Test("gets the notice as JSON and in variables without control characters, and nothing else of the gateway's environment")
  func input() async throws {
    setenv("GATEHOUSE_TEST_SECRET", "hush", 1)
    let path = try script("cat >\(folder)/json; env >\(folder)/said; printf '%s' \"$GATEHOUSE_ALARM_SUBJECT\" >\(folder)/subject")
    #expect(await CommandWay(path: path).send(notice) == .delivered)
    let json = try Data(contentsOf: URL(fileURLWithPath: folder + "/json"))
    #expect(try JSONDecoder().decode(AlarmNotice.self, from: json) == notice)
    #expect(try String(contentsOfFile: folder + "/subject", encoding: .utf8) == "a $(touch /tmp/never) [2J")
    #expect(!said().contains("hush"))
    #expect(said().contains("GATEHOUSE_ALARM_CODE=agent-gone"))
  }

  @Test("holds none of the gateway's files and connections")
  func descriptors() async throws {
    let held = open("/etc/hostname", O_RDONLY)
    defer { close(held) }
    let path = try script("ls /proc/self/fd | wc -l >\(folder)/said")
    #expect(await CommandWay(path: path).send(notice) == .delivered)
    let count = try #require(Int(said().trimmingCharacters(in: .whitespacesAndNewlines)))
    // Its three, and what `ls` opens.
    #expect(count <= 4)
  }

  @Test("that reads nothing, or leaves something running behind it, has told all the same")
  func careless() async throws {
    #expect(await CommandWay(path: try script("exit 0")).send(notice) == .delivered)
    let began = ContinuousClock.now
    #expect(await CommandWay(path: try script("sleep 120 & exit 0")).send(notice) == .delivered)
    // Other tests may have all processors for a while.
    #expect(began.duration(to: .now) < .seconds(110))
  }

  @Test("that fails is told with its status and its last words")
  func failure() async throws {
    let path = try script("echo the pager is away >&2; exit 3")
    #expect(await CommandWay(path: path).send(notice) == .failed("\(path) ended with status 3: the pager is away", mayHaveArrived: true))
    let killed = try script("kill -9 $$")
    #expect(await CommandWay(path: killed).send(notice) == .failed("\(killed) ended with signal 9", mayHaveArrived: true))
    guard case .failed(let reason, mayHaveArrived: false) = await CommandWay(path: folder + "/nowhere").send(notice) else {
      Issue.record("a program that is not there was run")
      return
    }
    #expect(reason.contains("cannot be started"))
  }

  @Test("that takes too long is killed with all that it has started, and so is one whose gateway stops", arguments: [false, true])
  func timeLimit(cancelled: Bool) async throws {
    // A number of seconds that no other process sleeps for.
    let nap = "\(Int.random(in: 1_000_000...9_000_000))"
    let path = try script("(exec sleep \(nap)) & exec sleep \(nap)")
    let delivery = await withTaskGroup(of: AlarmDelivery.self) { group in
      group.addTask { [notice] in await CommandWay(path: path, limit: cancelled ? .seconds(60) : .seconds(1)).send(notice) }
      if cancelled {
        try? await Task.sleep(for: .seconds(1))
        group.cancelAll()
      }
      return await group.next()
    }
    #expect(delivery == .failed("\(path) took too long and was killed", mayHaveArrived: true))
    try await Task.sleep(for: .milliseconds(300))
    let living = try FileManager.default.contentsOfDirectory(atPath: "/proc").filter { Int($0) != nil }.filter { pid in
      (FileManager.default.contents(atPath: "/proc/\(pid)/cmdline")).map { String(decoding: $0, as: UTF8.self).contains(nap) } ?? false
    }
    #expect(living.isEmpty)
  }
}
