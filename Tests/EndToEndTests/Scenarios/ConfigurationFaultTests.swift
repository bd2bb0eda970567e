import Foundation
import GatehouseTesting
import Testing

@Suite("Damaged configuration files at the start")
struct ConfigurationFaultScenario {
  /// What gets into files by slips of the hand, of editors and of programs that write them.
  private static let pieces = [
    "\0", "\u{fffd}", "&a ", "*a", "<<: ", "- ", "{", "[", "\t", "\r", "? ", ": ", "!!binary ", "|\n", "\"", "---\n", "99999999999999999999", "-1",
    "\u{2028}", "# ", "true", "unknown: 1\n",
  ].map { Array($0.utf8) }

  private static func damage(_ bytes: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
    var result = bytes
    for _ in 0..<Int.random(in: 1...3, using: &random) where !result.isEmpty {
      let place = Int.random(in: 0..<result.count, using: &random)
      switch Int.random(in: 0..<6, using: &random) {
      case 0: result[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 1: result.remove(at: place)
      case 2: result.removeSubrange(place..<min(result.count, place + Int.random(in: 1...40, using: &random)))
      case 3: result.insert(contentsOf: pieces.randomElement(using: &random) ?? [], at: place)
      case 4:
        let end = min(result.count, place + Int.random(in: 1...60, using: &random))
        result.insert(contentsOf: result[place..<end], at: Int.random(in: 0..<result.count, using: &random))
      default: result = Array(result[..<place])
      }
    }
    return result
  }

  @Test("never end the program by a signal: each is refused with the file, the place and a remedy, and `gatehouse check` says the same")
  func damaged() async throws {
    let domain = try await SambaDomain.standard.settings()
    let gateway = try await GatewayProcess(scenario: "configuration-faults", options: .init(extra: "limits: {body: 8kB}\naudit: {diskReserve: 1MB}"))
    let agent = try AgentProcess(name: "damaged", scenario: "configuration-faults", domain: domain)
    defer {
      for folder in [gateway.folder, agent.folder] { try? FileManager.default.removeItem(atPath: folder) }
    }
    var random = SeededGenerator(seed: 24)
    var (refused, started) = (0, 0)
    for round in 0..<RunLength.of(50, long: 1000) {
      let isGateway = round % 2 == 0
      let folder = isGateway ? gateway.folder : agent.folder
      let good = try Data(contentsOf: URL(fileURLWithPath: folder + (isGateway ? "/gateway.yaml" : "/agent.yaml")))
      let bytes = ConfigurationFaultScenario.damage(Array(good), &random)
      // What is written outside of the folder would stay there.
      guard !String(decoding: bytes, as: UTF8.self).contains(/(dataDirectory|file|socket):\s*["']?\//) else { continue }
      let file = folder + "/damaged.yaml"
      try Data(bytes).write(to: URL(fileURLWithPath: file))
      let check = try await AdminTool.run(["check", "--config", file])
      #expect(check.status == 0 || check.status == 1, "round \(round): `check` ended with \(check.status)")
      if check.status != 0 { expectClear(check.complaint, file, round) }

      let log = folder + "/start.log"
      try? FileManager.default.removeItem(atPath: log)
      let process = try await ServerProcess.start(
        BuiltProgram.gatehouse, (isGateway ? ["serve"] : ["agent", "run"]) + ["--config", file], log: log)
      let decided = await eventually(within: .seconds(10), every: .milliseconds(20)) {
        process.exitStatus != nil || process.logText.contains("Server started and listening")
      }
      #expect(decided, "round \(round): it neither started nor ended")
      let status = process.exitStatus
      await process.stop()
      if let status {
        refused += 1
        #expect(status == 1, "round \(round): it ended with \(status): \(process.logText)")
        // What is right in the file may still not be had: an address of another machine, an agent that was never enrolled.
        #expect(check.status == 0 || process.logText == check.complaint, "round \(round): \(process.logText) but check: \(check.complaint)")
        #expect(process.logText.count > 20)
      } else {
        started += 1
        #expect(check.status == 0, "round \(round): it started, but check said: \(check.complaint)")
        #expect(process.exitStatus == 0, "round \(round): it was asked to end and ended with \(process.exitStatus.map(String.init) ?? "nothing")")
      }
    }
    #expect(refused > 10 && started > 0)
    print("damaged configuration: \(refused) refused, \(started) started all the same")
  }

  /// `FILE: 2 problems`, then each with its line or key, what is wrong, and what to do.
  private func expectClear(_ complaint: String, _ file: String, _ round: Int) {
    let lines = complaint.split(separator: "\n")
    #expect(lines.first?.contains(file) == true && lines.count > 1, "round \(round): \(complaint)")
    for line in lines.dropFirst() {
      let isPlaced = line.contains(/^  (line [0-9]+: |[A-Za-z0-9_.\[\]]+: |The file )/)
      #expect(isPlaced && line.hasSuffix(".") && line.contains(". "), "round \(round): \(line)")
    }
    #expect(!complaint.unicodeScalars.contains { $0.value < 0x20 && $0 != "\n" }, "round \(round)")
  }
}
