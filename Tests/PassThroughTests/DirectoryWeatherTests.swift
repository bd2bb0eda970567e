import Bytes
import Foundation
import GatehouseTesting
import Identity
import Testing

@testable import PassThrough

@Suite("How agents tell of their directory servers")
struct DirectoryWeatherTests {
  private func decode(_ json: String) throws -> Heartbeat { try JSONDecoder().decode(Heartbeat.self, from: Data(json.utf8)) }

  private func heartbeat(_ directories: String) -> String {
    #"{"version":1,"capabilities":["validate"],"software":"x","clock":1,"alarms":[],"draining":false\#(directories)}"#
  }

  @Test("A report goes over the wire whole; an agent of before says nothing, and a field of tomorrow is passed over")
  func wire() throws {
    let report = DirectoryReport(
      realm: try #require(RealmName("contoso.com")), server: "dc1.contoso.com:636", state: .halfOpen, score: 5.25, bindMilliseconds: 1.5,
      searchMilliseconds: nil, errorRate: 0.125, connections: 3, connectionLimit: 12, waiting: 0, lastFault: "refused",
      lastFaultAt: Instant(milliseconds: 7), since: Instant(milliseconds: 9))
    let alarm = Alarm(.noDirectoryServer, subject: "dc1", message: "m", remedy: "r", since: Instant(milliseconds: 3))
    let process = Identifier()
    let sent = Heartbeat(
      capabilities: ["validate"], software: "x", clock: Instant(milliseconds: 1), alarms: [alarm], draining: true, instance: process,
      directories: [report])
    let received = try JSONDecoder().decode(Heartbeat.self, from: JSONEncoder().encode(sent))
    #expect(received.directories == [report] && received.alarms == [alarm] && received.instance == process && received.draining)
    // Whoever adds a field writes it, and reads it below `init(from:)`, which names each by hand.
    let names = Set(Mirror(reflecting: sent).children.compactMap(\.label))
    #expect(names == ["version", "capabilities", "software", "clock", "alarms", "draining", "instance", "directories", "lockouts"])
    #expect(try decode(heartbeat("")).directories == nil)
    #expect(try decode(heartbeat(#","tomorrow":[1]"#)).directories == nil)
    let future = try decode(heartbeat(#","directories":[{"realm":"a","server":"dc","state":"resting","colour":"red"}]"#))
    #expect(future.directories?.map(\.state) == [.unknown])
  }

  @Test(
    "What cannot be read costs the report, not the heartbeat",
    arguments: [
      "7", "{}", "null", "[null]", "[[]]", #"[{"realm":"a"}]"#, #"[{"realm":"../a b","server":"dc","state":"open"}]"#,
      #"[{"realm":"a","server":7,"state":"open"}]"#, #"[{"realm":"a","server":"dc","state":"open","connections":1e30}]"#,
    ])
  func unreadable(text: String) throws {
    #expect(try decode(heartbeat(",\"directories\":\(text)")).directories ?? [] == [])
    let beside = #"{"realm":"a","server":"dc","state":"open"}"#
    if text.hasPrefix("[") { #expect(try decode(heartbeat(",\"directories\":[\(text.dropFirst().dropLast()),\(beside)]")).directories?.count == 1) }
  }

  @Test("The gateway keeps what is of the agent's realms, at most so many, and no text without end")
  func bounded() throws {
    let one =
      #"{"realm":"a","server":"\#(String(repeating: "ä", count: 4000))","state":"open","lastFault":"\#(String(repeating: "x", count: 9000))"}"#
    let text = Array(repeating: one, count: 500).joined(separator: ",")
    let reports = try #require(try decode(heartbeat(",\"directories\":[\(text)]")).directories)
    #expect(reports.count == DirectoryReport.mostReports)
    let own = try #require(RealmName("a"))
    let kept = DirectoryReport.admitted(reports, realms: [own])
    #expect(kept.count == DirectoryReport.mostReports)
    #expect(kept.allSatisfy { $0.server.utf8.count <= 260 && ($0.lastFault?.utf8.count ?? 0) <= DirectoryReport.maximumTextBytes })
    #expect(DirectoryReport.admitted(reports, realms: [try #require(RealmName("b"))]).isEmpty)
  }

  @Test("No mutation of a heartbeat traps, and what is read stays in bounds")
  func mutations() throws {
    let good = Array(heartbeat(#","directories":[{"realm":"a","server":"dc","state":"open","score":1.5,"waiting":3,"since":5}]"#).utf8)
    var generator = SeededGenerator(seed: 23)
    var readable = 0
    for _ in 0..<20_000 {
      var bytes = good
      for _ in 0...Int.random(in: 0..<4, using: &generator) {
        bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
      }
      guard let heartbeat = try? JSONDecoder().decode(Heartbeat.self, from: Data(bytes)) else { continue }
      readable += 1
      let own = try #require(RealmName("a"))
      let kept = DirectoryReport.admitted(heartbeat.directories ?? [], realms: [own])
      #expect(kept.count <= 1 && kept.allSatisfy { $0.realm == own && $0.server.utf8.count <= 260 })
    }
    #expect(readable > 100, "else nothing was tried")
  }
}
