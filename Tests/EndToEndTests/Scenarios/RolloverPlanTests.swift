import Foundation
import Testing

/// What stands in `gatehouse certs plan`, as text for people, is enough: who, until when, and the command that mends it.
@Suite("The plan of a rollover", .serialized)
struct RolloverPlanTests {
  /// One thing to do, read out of the text.
  private struct Item: Equatable {
    var subject: String
    var deadline: String
    var command: [String]
  }

  private func items(_ gateway: GatewayProcess) async throws -> [Item] {
    let text = try await gateway.admin.attempt("certs", "plan").output
    let lines = text.split(separator: "\n").map(String.init)
    return zip(lines, lines.dropFirst()).compactMap { line, next in
      guard let item = line.wholeMatch(of: #/\ {2}(\S+)\ {2}by\ (no\ date|\d{4}-\d\d-\d\d\ \d\d:\d\d:\d\d)\ {2}.+/#),
        let command = next.wholeMatch(of: #/\ {4}then:\ gatehouse\ (.+)/#)
      else { return nil }
      return Item(subject: String(item.output.1), deadline: String(item.output.2), command: command.output.1.split(separator: " ").map(String.init))
    }
  }

  /// Runs what the plan says about somebody until it says nothing about them any more.
  private func mend(_ gateway: GatewayProcess, _ subject: String, hasDate: Bool = true, sourceLocation: SourceLocation = #_sourceLocation)
    async throws
  {
    var seen: [Item] = []
    for _ in 0..<5 {
      var found: Item?
      _ = try await eventually(within: .seconds(seen.isEmpty ? 12 : 7), every: .milliseconds(300)) {
        found = try await items(gateway).first { $0.subject == subject }
        return (found != nil) == seen.isEmpty
      }
      guard let item = found else { break }
      #expect(hasDate == (item.deadline != "no date"), sourceLocation: sourceLocation)
      #expect(!seen.contains(item), "\(item) again, after it was run", sourceLocation: sourceLocation)
      seen.append(item)
      let outcome = try await gateway.admin.attempt(item.command)
      #expect(outcome.status == 0, "\(item.command): \(outcome.complaint)", sourceLocation: sourceLocation)
    }
    #expect(!seen.isEmpty, "the plan says nothing about \(subject)", sourceLocation: sourceLocation)
    #expect(try await !items(gateway).contains { $0.subject == subject }, sourceLocation: sourceLocation)
  }

  private struct Key: Decodable {
    var id: String
    var family: String
    var state: String
  }

  private struct Readiness: Decodable {
    var relyingParty: String
    var level: Int
    var confirmationUrl: String?
  }

  private func readiness(_ gateway: GatewayProcess, _ name: String) async throws -> Readiness? {
    try await gateway.admin.json([Readiness].self, "certs", "readiness").first { $0.relyingParty == name }
  }

  private func key(_ gateway: GatewayProcess, _ state: String) async throws -> String? {
    try await gateway.admin.json([Key].self, "certs", "list").first { $0.family == "rsa" && $0.state == state }?.id
  }

  private func add(_ gateway: GatewayProcess, _ name: String, _ options: String...) async throws {
    let outcome = try await gateway.admin.attempt(
      ["rp", "add", "--name", name, "--entity-id", "urn:\(name)", "--acs", "https://\(name).example/acs"] + options)
    #expect(outcome.status == 0, "\(outcome.complaint)")
  }

  /// A gateway whose certificate ends in an hour. With `follows` the next one is in metadata at once.
  private func with(
    _ scenario: String, follows: Bool = true, options: GatewayProcess.Options = .init(), _ body: (GatewayProcess) async throws -> Void
  ) async throws {
    let gateway = try await GatewayProcess(scenario: scenario, options: options)
    do {
      try await gateway.start()
      try await gateway.admin(
        "certs", "policy", "--certificate-duration", "1h", "--certificate-generation-threshold", follows ? "3599s" : "10m",
        "--certificate-promotion-threshold", "4s", "--certificate-critical-threshold", "1m", "--certificate-rollover-interval", "1s",
        "--certificate-retirement", "10m", "--warning", "30m", "--warning", "5m")
      try await gateway.admin("certs", "replace", "--urgent", "--fresh")
      if follows { #expect(try await eventually(within: .seconds(10)) { try await key(gateway, "published") != nil }) }
      try await body(gateway)
    } catch {
      await gateway.remove()
      throw error
    }
    await gateway.remove()
  }

  @Test("Names relying parties that will break, each with a date and the command that mends it")
  func relyingParties() async throws {
    try await with("plan-parties") { gateway in
      // 1: reads nothing. 2: reads nothing and is signed for by another name. 3: its owner reports failures. 4: only a document of it would do.
      for name in ["silent", "silent-too", "failing", "documented", "stays"] { try await add(gateway, name) }
      try await mend(gateway, "silent")
      try await mend(gateway, "silent-too")
      let next = try #require(try await key(gateway, "published"))
      try await gateway.admin("certs", "confirm", "--rp", "failing")
      #expect(try await eventually(within: .seconds(10)) { try await gateway.admin("rp", "show", "failing").contains(next) })
      try await gateway.admin("certs", "report", "--rp", "failing", "--failed", "users see error 500")
      try await mend(gateway, "failing")
      #expect(try await gateway.admin("rp", "show", "failing").contains(next))
      try await gateway.admin("rp", "edit", "stays", "--keeps-expired-key", "on")
      #expect(try await !items(gateway).contains { $0.subject == "stays" }, "it breaks never")
      let pem = gateway.folder + "/next.pem"
      try (try await gateway.admin("certs", "export-public", next)).write(toFile: pem, atomically: true, encoding: .utf8)
      #expect(try await gateway.admin.attempt("certs", "confirm", "--rp", "documented", "--document", gateway.folder + "/gateway.yaml").status != 0)
      try await gateway.admin("certs", "confirm", "--rp", "documented", "--document", pem)
      #expect(try await eventually(within: .seconds(10)) { try await items(gateway).isEmpty })
      #expect(try await gateway.admin.attempt("certs", "plan").status == 0)

      // The owner's own link does the same.
      try await add(gateway, "linked")
      // All others have moved: there is nothing to come any more, or there is a page.
      if let url = try await readiness(gateway, "linked")?.confirmationUrl {
        let letter = try await gateway.admin("certs", "readiness", "--letter", "linked")
        #expect(letter.contains(url) && letter.contains("-----BEGIN CERTIFICATE-----"))
        let browser = CookieBrowser()
        let page = try await browser.open(url)
        #expect(page.status == 200 && page.body.contains("-----BEGIN CERTIFICATE-----"))
        let done = try await browser.submit(try #require(try page.forms().first), of: page)
        #expect(done.status == 200)
        #expect(try await readiness(gateway, "linked")?.level == 3)
        let guessed = try await browser.request(url.dropLast() + (url.last == "0" ? "1" : "0"))
        #expect(guessed.status == 404)
      }
    }
  }

  @Test("Names who stopped reading its metadata")
  func stopped() async throws {
    try await with("plan-stopped", follows: false) { gateway in
      try await add(gateway, "stopped")
      struct Shown: Decodable { var ownMetadataUrl: String }
      let url = try await gateway.admin.json(Shown.self, "rp", "show", "stopped").ownMetadataUrl
      for _ in 0..<4 {
        #expect(try await CookieBrowser().request(url).status == 200)
        try await Task.sleep(for: .seconds(1))
      }
      #expect(try await items(gateway).isEmpty)
      try await gateway.admin("certs", "policy", "--certificate-generation-threshold", "3599s")
      try await mend(gateway, "stopped")
    }
  }

  @Test("Names what does not follow by itself: nothing is made, made and not shown, shown and not used, taken back, imported")
  func byHand() async throws {
    try await with("plan-hand", follows: false) { gateway in
      try await add(gateway, "stays", "--keeps-expired-key", "on")
      try await gateway.admin("certs", "policy", "--auto", "off", "--warning", "2h")
      try await mend(gateway, "rsa")
      try await gateway.admin("certs", "policy", "--auto", "off")
      // Made, shown, promoted: each is the next thing to do.
      try await gateway.admin("certs", "prepare")
      let made = try #require(try await key(gateway, "prepared"))
      #expect(try await items(gateway).first?.command == ["certs", "publish", made])
      try await gateway.admin("certs", "publish", made)
      #expect(try await eventually(within: .seconds(10)) { try await items(gateway).first?.command == ["certs", "promote", made] })
      try await gateway.admin("certs", "promote", made)
      try await gateway.admin("certs", "rollback", "--reason", "a partner called")
      #expect(try await gateway.admin.attempt("certs", "plan").output.contains("a partner called"))
      #expect(try await items(gateway).first?.command == ["certs", "resume", made])
      try await mend(gateway, "rsa")
    }
    try await with("plan-imported", follows: false) { gateway in
      try await add(gateway, "stays", "--keeps-expired-key", "on")
      let folder = gateway.folder
      try await LeashedProcess.run(
        "/usr/bin/openssl",
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "20", "-subj", "/CN=ca", "-keyout", folder + "/a.key", "-out", folder + "/a.pem"])
      let both = try String(contentsOfFile: folder + "/a.key", encoding: .utf8) + String(contentsOfFile: folder + "/a.pem", encoding: .utf8)
      try both.write(toFile: folder + "/both.pem", atomically: true, encoding: .utf8)
      try await gateway.admin("certs", "import", folder + "/both.pem")
      try await gateway.admin("certs", "publish")
      try await gateway.admin("certs", "promote", "--force")
      try await gateway.admin("certs", "policy", "--warning", "30d")
      try await mend(gateway, "rsa")
    }
  }

  @Test("Names a clock that has jumped")
  func clock() async throws {
    let clock = try await AdjustableClock()
    try await with("plan-clock", options: .init(environment: clock.environment)) { gateway in
      try clock.set(to: .seconds(1800))
      try await mend(gateway, "clock", hasDate: false)
    }
  }
}
