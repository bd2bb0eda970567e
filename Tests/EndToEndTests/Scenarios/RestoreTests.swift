import Foundation
import Testing

@Suite("Backup and restore", .serialized)
struct RestoreScenario {
  private struct Manifest: Decodable {
    struct Member: Decodable {
      var name: String
      var bytes: Int64
    }
    var node: String
    var members: [Member]
  }

  /// The administrator's side of one drill.
  private struct Drill {
    let house: House
    let folder: String
    var data: String { house.gateway.folder + "/data" }
    var config: String { house.gateway.folder + "/gateway.yaml" }
    var passphrase: String { folder + "/passphrase" }
    var backup: String { folder + "/backup" }

    init(_ house: House) throws {
      self.house = house
      folder = try BuiltProgram.folder("drill")
      try "a passphrase that nobody guesses\n".write(toFile: passphrase, atomically: true, encoding: .utf8)
    }

    @discardableResult
    func run(_ arguments: String...) async throws -> AdminTool.Outcome { try await AdminTool.run(arguments) }

    func restore(_ more: String...) async throws -> AdminTool.Outcome {
      try await AdminTool.run(["restore", "--from", backup, "--passphrase-file", passphrase, "--config", config] + more)
    }

    /// The start of a gateway that is refused; what it says.
    func refusedStart() async throws -> String {
      let log = folder + "/refused.log"
      try? FileManager.default.removeItem(atPath: log)
      let process = try await ServerProcess.start(BuiltProgram.gatehouse, ["serve", "--config", config], log: log)
      let status = await process.ended(within: .seconds(15))
      #expect(status == 1, "the start was not refused")
      await process.stop()
      return process.logText
    }

    /// Everything of the data directory but these files is lost.
    func lose(but kept: [String]) throws {
      for file in try FileManager.default.contentsOfDirectory(atPath: data) where !kept.contains(file) {
        try FileManager.default.removeItem(atPath: data + "/" + file)
      }
    }

    func file(_ name: String) -> String { data + "/" + name }
  }

  @Test("A drill: what was revoked, blocked and rotated after the backup stays so, everybody else signs in, and the audit tells of the restore")
  func drill() async throws {
    try await House.with("restore", agents: ["one", "two"]) { house in
      let drill = try Drill(house)
      defer { try? FileManager.default.removeItem(atPath: drill.folder) }
      let people = try await house.people("restore", 2)
      let (alice, blocked) = (people[0], people[1])
      let old = try #require(try await house.admin.json(Told.Key.self, "front-ends", "add", "rotating", "--realm", house.realm).apiKey)
      for person in people { #expect(try await house.frontEnd.signIn(person.name, person.password).gist == "200 accepted") }
      let token = try await house.token()

      try await back(up: drill)
      // After the backup.
      try await house.admin("agents", "revoke", "two")
      try await house.admin("users", "block", blocked.name)
      let new = try #require(try await house.admin.json(Told.Key.self, "front-ends", "rotate", "rotating", "--overlap-hours", "0").apiKey)
      let running = try await drill.restore()
      #expect(running.status == 1)
      #expect(running.complaint.contains("A gateway runs on the store"), "\(running.complaint)")
      await house.gateway.stop()
      try drill.lose(but: ["revocations.journal"])

      let restored = try await drill.restore()
      #expect(restored.status == 0, "\(restored.output)\(restored.complaint)")
      for words in ["Epoch 1", "agent two: revoked", "rotating: keys as of", ": blocked"] {
        #expect(restored.output.contains(words), "\(restored.output)")
      }
      #expect(!restored.output.contains("There is no revocation journal"))
      try await house.gateway.start()
      try await house.waitFor(house.agents[0])
      try await refused(house, old: old, new: new, token: token, alice: alice, blocked: blocked)
      try await audit(drill)
      try await byHand(drill, blocked: blocked)
    }
  }

  private func back(up drill: Drill) async throws {
    let made = try await drill.run("backup", "--to", drill.backup, "--passphrase-file", drill.passphrase, "--config", drill.config)
    #expect(made.status == 0, "\(made.output)\(made.complaint)")
    let again = try await drill.run("backup", "--to", drill.backup, "--passphrase-file", drill.passphrase, "--config", drill.config)
    #expect(again.complaint.contains("there is such a file already"))
    let verified = try await drill.run("backup", "verify", drill.backup, "--passphrase-file", drill.passphrase, "--json")
    let manifest = try JSONDecoder().decode(Manifest.self, from: Data(verified.output.utf8))
    #expect(manifest.members.map(\.name) == ["configuration", "masterKey", "store"])
    #expect(manifest.members[1].bytes == 32)
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: drill.data).filter { $0.contains("backup") }.isEmpty, "nothing is left beside the store")
    let wrong = drill.folder + "/wrong"
    try "another passphrase altogether".write(toFile: wrong, atomically: true, encoding: .utf8)
    let refused = try await drill.run("backup", "verify", drill.backup, "--passphrase-file", wrong)
    #expect(refused.status == 1)
    #expect(refused.complaint.contains("the passphrase is another one"))
    let rows = try await drill.house.admin.json([Told.Row].self, "audit", "list", "--kind", "backup.made")
    #expect(rows.map(\.event.subject) == [drill.backup])
  }

  private func refused(
    _ house: House, old: String, new: String, token: String, alice: (name: String, password: String), blocked: (name: String, password: String)
  ) async throws {
    #expect(try await house.frontEnd.signIn(alice.name, alice.password).gist == "200 accepted")
    #expect(try await house.frontEnd.signIn(alice.name, alice.password, key: old).status == 401, "a key that was rotated since is dead")
    #expect(try await house.frontEnd.signIn(alice.name, alice.password, key: new).gist == "200 accepted", "the key of then goes on")
    #expect(try await house.user(blocked.name).blocked)
    #expect(try await house.frontEnd.signIn(blocked.name, blocked.password).gist != "200 accepted")
    let impostor = try house.agents[1].impostor(of: house.gateway)
    let answer = try await impostor.post("/agent/v1/work", body: Data(#"{"lane":"AAAAAAAAAAAAAAAAAAAAAA"}"#.utf8))
    #expect(answer.status == 403)
    #expect(answer.body.contains("This agent was revoked at "), "\(answer.body)")
    let newcomer = try AgentProcess(name: "newcomer", scenario: house.scenario, domain: house.domain)
    #expect(try await newcomer.enrol(token: token).status != 0, "tokens of then are void")
    await newcomer.remove()
  }

  private func audit(_ drill: Drill) async throws {
    let rows = try await drill.house.admin.json([Told.Row].self, "audit", "list", "--kind", "store.restored")
    #expect(rows.map(\.event.outcome) == ["done"])
    let export = drill.folder + "/audit.jsonl"
    try await drill.house.admin("audit", "export", "--out", export)
    let verified = try await drill.run("audit", "verify", export)
    #expect(verified.status == 0, "\(verified.output)")
    #expect(try String(contentsOfFile: export, encoding: .utf8).contains("\"store.restored\""))
  }

  /// Somebody puts an old store back with `cp`; and a machine has lost its journal too.
  private func byHand(_ drill: Drill, blocked: (name: String, password: String)) async throws {
    let house = drill.house
    await house.gateway.stop()
    let old = drill.folder + "/old.sqlite"
    try FileManager.default.copyItem(atPath: drill.file("gatehouse.sqlite"), toPath: old)
    try await house.gateway.start()
    try await house.admin("front-ends", "revoke", "rotating")
    await house.gateway.stop()
    for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: drill.file("gatehouse.sqlite") + suffix) }
    try FileManager.default.copyItem(atPath: old, toPath: drill.file("gatehouse.sqlite"))
    let words = try await drill.refusedStart()
    #expect(words.contains("The store is older than"), "\(words)")
    #expect(words.contains("front-end rotating"), "\(words)")
    #expect(words.contains("gatehouse restore --in-place --config \(drill.config)"), "\(words)")
    let mended = try await drill.run("restore", "--in-place", "--config", drill.config)
    #expect(mended.status == 0, "\(mended.complaint)")
    #expect(mended.output.contains("front-end rotating: revoked"), "\(mended.output)")
    try await house.gateway.start()
    let frontEnds = try await house.admin("front-ends", "list")
    #expect(!frontEnds.contains("rotating"), "\(frontEnds)")

    await house.gateway.stop()
    let there = try await drill.restore()
    #expect(there.status == 1)
    #expect(there.complaint.contains("add --replace"))
    try FileManager.default.removeItem(atPath: drill.file("revocations.journal"))
    let restored = try await drill.restore("--replace")
    #expect(restored.status == 0, "\(restored.complaint)")
    for words in [
      "There is no revocation journal", "agent two, enrolled", "gatehouse agents revoke two", "front-end rotating", "gatehouse users block",
    ] {
      #expect(restored.output.contains(words), "\(words): \(restored.output)")
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: drill.data).contains { $0.hasPrefix("gatehouse.sqlite.before-restore-") })
    try await house.gateway.start()
    #expect(try await !house.user(blocked.name).blocked, "nothing could know of it")
  }
}
