import Foundation
import Testing

/// What may happen to a gateway while certificates are rolled over. No directory is needed: a request that forbids the sign-in page is answered without a person, and
/// that answer is signed like every other.
@Suite("When a gateway fails in the middle of a rollover", .serialized)
struct RolloverFaultTests {
  private struct Key: Decodable {
    var id: String
    var family: String
    var state: String
    var published: Int64?
    var promoted: Int64?
    var notAfter: Int64
    var certificate: String
  }

  private struct Row: Decodable {
    struct Event: Decodable {
      var time: Int64
      var kind: String
      var subject: String?
    }
    var chain: String
    var event: Event
  }

  private struct Shown: Decodable { var ownMetadataUrl: String }

  /// The certificate that an answer to this relying party is signed with, and those that its metadata showed just before.
  private func answer(_ gateway: GatewayProcess, ahead: Double = 0) async throws -> (signer: String, shown: [String]) {
    let shown = try await shown(gateway)
    let request = HandmadeRequest(
      issuer: "urn:watcher", destination: gateway.url + "/adfs/ls/", attributes: " IsPassive=\"true\"", ahead: ahead)
    let page = try await CookieBrowser().request(request.url)
    let message = try #require(page.samlMessage, "\(page.status) \(page.body.suffix(500))")
    let signers = Set(message.matches(of: #/<ds:X509Certificate>([^<]*)</#).map { String($0.output.1) })
    #expect(signers.count == 1)
    return (try #require(signers.first), shown)
  }

  private func shown(_ gateway: GatewayProcess) async throws -> [String] {
    let url = try await gateway.admin.json(Shown.self, "rp", "show", "watcher").ownMetadataUrl
    let metadata = try await CookieBrowser().request(url)
    return metadata.body.matches(of: #/<md:KeyDescriptor use="signing">.*?<ds:X509Certificate>([^<]*)</#.dotMatchesNewlines()).map {
      String($0.output.1)
    }
  }

  private func keys(_ gateway: GatewayProcess) async throws -> [Key] {
    try await gateway.admin.json([Key].self, "certs", "list").filter { $0.family == "rsa" }
  }

  /// A year in twelve seconds.
  private func hurry(_ gateway: GatewayProcess) async throws {
    try await gateway.admin("rp", "add", "--name", "watcher", "--entity-id", "urn:watcher", "--acs", "https://watcher.example/acs")
    try await gateway.admin(
      "certs", "policy", "--certificate-duration", "12s", "--certificate-generation-threshold", "6s", "--certificate-promotion-threshold", "3s",
      "--certificate-critical-threshold", "1s", "--certificate-rollover-interval", "1s", "--certificate-retirement", "4s")
    try await gateway.admin("certs", "replace", "--urgent", "--fresh")
  }

  /// Every key was made, shown, promoted and retired once at most, and promoted only when it had been shown for three seconds; whatever failed in between.
  private func checkAudit(_ gateway: GatewayProcess) async throws -> Int {
    var times: [String: [String: [Int64]]] = [:]
    for kind in ["signing-key.made", "signing-key.published", "signing-key.promoted", "signing-key.retired"] {
      for row in try await gateway.admin.json([Row].self, "audit", "list", "--kind", kind, "--limit", "10000") {
        times[row.event.subject ?? "", default: [:]][kind, default: []].append(row.event.time)
      }
    }
    for (key, kinds) in times {
      for (kind, all) in kinds { #expect(all.count == 1, "\(key): \(all.count) times \(kind)") }
      guard let promoted = kinds["signing-key.promoted"]?.first else { continue }
      let published = try #require(kinds["signing-key.published"]?.first, "\(key) was promoted and never published")
      #expect(promoted - published >= 3000, "\(key) was promoted \(promoted - published) ms after it was published")
    }
    return times.values.count { $0["signing-key.promoted"] != nil }
  }

  @Test("Killed at any moment, it goes on where it was: never two primaries or none, no step twice, nothing signed that metadata did not show")
  func killed() async throws {
    let gateway = try await GatewayProcess(scenario: "rollover-killed")
    do {
      try await gateway.start()
      try await hurry(gateway)
      var dice = SystemRandomNumberGenerator()
      for _ in 0..<RunLength.of(16, long: 300) {
        try await Task.sleep(for: .milliseconds(Int.random(in: 50...2500, using: &dice)))
        await gateway.process?.crash()
        try await gateway.start()
        #expect(try await keys(gateway).count { $0.state == "primary" } == 1)
        let (signer, shown) = try await answer(gateway)
        #expect(shown.contains(signer))
      }
      let promotions = try await checkAudit(gateway)
      #expect(promotions >= RunLength.of(2, long: 20), "\(promotions) promotions")
      print("rollover, killed \(RunLength.of(16, long: 300)) times: \(promotions) promotions, no step twice")
    } catch {
      await gateway.remove()
      throw error
    }
    await gateway.remove()
  }

  @Test("Two gateways on one store look at the same second, again and again: every step is taken once, and both sign alike")
  func two() async throws {
    let one = try await GatewayProcess(scenario: "rollover-one")
    var options = GatewayProcess.Options()
    options.dataDirectory = one.folder + "/data"
    let two = try await GatewayProcess(scenario: "rollover-two", options: options)
    do {
      try await one.start()
      try await hurry(one)
      try await two.start()
      let end = Date(timeIntervalSinceNow: RunLength.of(30, long: 600))
      while end.timeIntervalSinceNow > 0 {
        for gateway in [one, two] {
          let (signer, shown) = try await answer(gateway)
          #expect(shown.contains(signer))
        }
        try await Task.sleep(for: .milliseconds(300))
      }
      let promotions = try await checkAudit(one)
      #expect(promotions >= 2)
      print("rollover by two gateways on one store: \(promotions) promotions, no step twice")
    } catch {
      await two.remove()
      await one.remove()
      throw error
    }
    await two.remove()
    await one.remove()
  }

  @Test(
    "Switched off for four hundred days it comes back signing, makes what is missing, and waits with it as long as it must; a clock that jumps stops it"
  )
  func missedWeeks() async throws {
    let day: Int64 = 86_400
    let clock = try await AdjustableClock()
    let gateway = try await GatewayProcess(scenario: "rollover-missed", options: .init(environment: clock.environment, certificateDays: 3000))
    do {
      try await gateway.start()
      try await gateway.admin("rp", "add", "--name", "watcher", "--entity-id", "urn:watcher", "--acs", "https://watcher.example/acs")
      let first = try #require(try await keys(gateway).first { $0.state == "primary" })
      await gateway.stop()
      try clock.set(to: .seconds(400 * day))
      try await gateway.start()
      #expect(try await answer(gateway, ahead: Double(400 * day)).signer == first.certificate, "an ended certificate's key is better than none")
      #expect(try await eventually(within: .seconds(15)) { try await keys(gateway).contains { $0.state == "published" } })
      #expect(try await status(gateway).contains { $0.code == "certificate-expiring" })

      // Five days later the next one may sign. To a process that runs, this is a clock that jumps.
      try clock.set(to: .seconds(405 * day + 60))
      #expect(try await eventually(within: .seconds(10)) { try await status(gateway).contains { $0.code == "rollover-clock" } })
      try await Task.sleep(for: .seconds(3))
      #expect(try await answer(gateway, ahead: Double(405 * day + 60)).signer == first.certificate)
      #expect(try await gateway.admin.attempt("certs", "prepare", "--family", "ecdsa").status != 0, "by hand neither")
      try await gateway.admin("certs", "trust-clock")
      #expect(
        try await eventually(within: .seconds(15)) { try await answer(gateway, ahead: Double(405 * day + 60)).signer != first.certificate })
      #expect(try await !status(gateway).contains { $0.code == "rollover-clock" || $0.code == "certificate-expiring" })

      // A day back: nothing happens until the clock is right again, and then nothing needs to be said.
      let before = try await keys(gateway)
      try clock.set(to: .seconds(404 * day))
      #expect(try await eventually(within: .seconds(10)) { try await status(gateway).contains { $0.code == "rollover-clock" } })
      _ = try await answer(gateway, ahead: Double(404 * day))
      #expect(try await keys(gateway).map(\.state) == before.map(\.state))
      try clock.set(to: .seconds(405 * day + 90))
      #expect(try await eventually(within: .seconds(10)) { try await !status(gateway).contains { $0.code == "rollover-clock" } })

      // Back to what the store has seen already, at a start.
      await gateway.stop()
      try clock.set(to: .seconds(300 * day))
      try await gateway.start()
      #expect(try await eventually(within: .seconds(10)) { try await status(gateway).contains { $0.code == "rollover-clock" } })
      #expect(try await keys(gateway).map(\.state) == before.map(\.state))
    } catch {
      await gateway.remove()
      throw error
    }
    await gateway.remove()
  }

  private func status(_ gateway: GatewayProcess) async throws -> [Told.Status.Alarm] {
    try await gateway.admin.json(Told.Status.self, "status").alarms
  }

  @Test("A store that nobody may write for a while delays the steps and nothing else; what is due is done as soon as it can be")
  func locked() async throws {
    let gateway = try await GatewayProcess(scenario: "rollover-locked")
    do {
      try await gateway.start()
      try await hurry(gateway)
      let before = try await keys(gateway).map(\.state)
      // Somebody else holds the file while the next key becomes due.
      let script = """
        import sqlite3, sys, time
        store = sqlite3.connect(sys.argv[1], isolation_level=None)
        store.execute("BEGIN IMMEDIATE")
        print("HELD", flush=True)
        time.sleep(8)
        store.execute("ROLLBACK")
        """
      let (holder, _) = try await LeashedProcess.start(
        "exec /usr/bin/python3 -c \"$1\" \"$2\"", arguments: [script, gateway.folder + "/data/gatehouse.sqlite"], until: "HELD", within: .seconds(10))
      try await Task.sleep(for: .seconds(7))
      #expect(!(try await shown(gateway)).isEmpty, "metadata goes on")
      holder.stop()
      #expect(try await eventually(within: .seconds(10)) { try await keys(gateway).count > before.count })
      _ = try await answer(gateway)
      _ = try await checkAudit(gateway)
    } catch {
      await gateway.remove()
      throw error
    }
    await gateway.remove()
  }

  @Test("A stolen key is out of metadata and signs nothing from the very next answer on; a PFX file takes its place")
  func urgentAndImport() async throws {
    let gateway = try await GatewayProcess(scenario: "rollover-urgent")
    do {
      try await gateway.start()
      try await gateway.admin("rp", "add", "--name", "watcher", "--entity-id", "urn:watcher", "--acs", "https://watcher.example/acs")
      let stolen = try #require(try await keys(gateway).first { $0.state == "primary" })
      let refused = try await gateway.admin.attempt("certs", "replace")
      #expect(refused.status != 0 && refused.complaint.contains("--urgent"))
      let dry = try await gateway.admin("certs", "replace", "--urgent", "--dry-run")
      #expect(dry.contains("Dry run") && dry.contains("watcher"))
      #expect(try await answer(gateway).signer == stolen.certificate)
      let told = try await gateway.admin("certs", "replace", "--urgent", "--since", "2026-01-01")
      #expect(told.contains("watcher") && told.contains("its owner acts"))
      let (signer, shown) = try await answer(gateway)
      #expect(signer != stolen.certificate && !shown.contains(stolen.certificate))

      // A company's own certificate, as Windows exports it.
      let folder = gateway.folder
      for (name, days) in [("valid", "300"), ("other", "10")] {
        try await LeashedProcess.run(
          "/usr/bin/openssl",
          [
            "req", "-x509", "-newkey", "rsa:3072", "-nodes", "-days", days, "-subj", "/CN=\(name)", "-keyout", "\(folder)/\(name).key", "-out",
            "\(folder)/\(name).pem",
          ])
      }
      try "secret word\n".write(toFile: folder + "/password", atomically: true, encoding: .utf8)
      try await LeashedProcess.run(
        "/usr/bin/openssl",
        [
          "pkcs12", "-export", "-inkey", folder + "/valid.key", "-in", folder + "/valid.pem", "-out", folder + "/valid.pfx", "-passout",
          "file:" + folder + "/password",
        ])
      let wrong = try await gateway.admin.attempt("certs", "import", "--pfx", folder + "/valid.pfx")
      #expect(wrong.status != 0 && wrong.complaint.contains("password"))
      let mixed = try await gateway.admin.attempt("certs", "import", "--certificate", folder + "/other.pem", "--key", folder + "/valid.key")
      #expect(mixed.status != 0 && mixed.complaint.contains("another key"))
      struct Report: Decodable { var key: String }
      let imported = try await gateway.admin.json(
        Report.self, "certs", "import", "--pfx", folder + "/valid.pfx", "--password-file", folder + "/password")
      try await gateway.admin("certs", "publish", imported.key)
      let early = try await gateway.admin.attempt("certs", "promote", imported.key)
      #expect(early.status != 0 && early.complaint.contains("must be in metadata until"))
      try await gateway.admin("certs", "promote", imported.key, "--force")
      let pem = try String(contentsOfFile: folder + "/valid.pem", encoding: .utf8)
      #expect(pem.split(separator: "\n").filter { !$0.hasPrefix("-----") }.joined() == (try await answer(gateway).signer))
      // Back again by one command.
      try await gateway.admin("certs", "rollback", "--reason", "the partner was not told")
      #expect(try await answer(gateway).signer == signer)
    } catch {
      await gateway.remove()
      throw error
    }
    await gateway.remove()
  }

  @Test(
    "While the token with the keys is away nothing is signed and no other key takes its place; metadata go on, and it is taken up again by itself")
  func tokenAway() async throws {
    let hsm = try await SoftHSM()
    let gateway = try await GatewayProcess(scenario: "rollover-token", options: .init(extra: hsm.configuration, environment: hsm.environment))
    do {
      try await gateway.start()
      try await gateway.admin("rp", "add", "--name", "watcher", "--entity-id", "urn:watcher", "--acs", "https://watcher.example/acs")
      let before = try await answer(gateway)
      #expect(before.shown.contains(before.signer))
      #expect(try await hsm.privateKeys() == 2, "one of each family, and none in the store")
      try hsm.remove()
      func status() async throws -> Int {
        let request = HandmadeRequest(issuer: "urn:watcher", destination: gateway.url + "/adfs/ls/", attributes: " IsPassive=\"true\"")
        return try await CookieBrowser().request(request.url).status
      }
      #expect(try await eventually(within: .seconds(15)) { try await status() == 503 })
      #expect(try await shown(gateway) == before.shown)
      #expect(try await eventually(within: .seconds(15)) { try await self.status(gateway).contains { $0.code == "signing-token-away" } })
      let refused = try await gateway.admin.attempt("certs", "prepare")
      #expect(refused.status != 0 && refused.complaint.contains("away"), "\(refused.complaint)")
      // A start without the token is one, too; metadata are signed by a key that is not in it.
      await gateway.stop()
      try await gateway.start()
      #expect(try await status() == 503)
      #expect(try await shown(gateway) == before.shown)
      try hsm.putBack()
      #expect(try await eventually(within: .seconds(20)) { try await status() == 200 })
      #expect(try await answer(gateway).signer == before.signer)
      #expect(try await eventually(within: .seconds(60)) { try await !self.status(gateway).contains { $0.code == "signing-token-away" } })
      try await gateway.admin("certs", "prepare")
      #expect(try await hsm.privateKeys() == 3)
      // Without the token's configuration nothing takes its place: the start is refused, with the key and the remedy.
      await gateway.stop()
      let plain = try String(contentsOfFile: gateway.folder + "/gateway.yaml", encoding: .utf8)
      try plain.replacing(hsm.configuration, with: "").write(toFile: gateway.folder + "/gateway.yaml", atomically: true, encoding: .utf8)
      await #expect(throws: ServerProcess.Failure.self) { try await gateway.start() }
      #expect(gateway.process?.logText.contains("signingKeys.pkcs11") == true)
    } catch {
      await gateway.remove()
      throw error
    }
    await gateway.remove()
  }

  @Test("Backed up, destroyed, restored: a key that was retired since does not come alive, and everything else goes on as it was")
  func restored() async throws {
    let gateway = try await GatewayProcess(scenario: "rollover-restored")
    do {
      try await gateway.start()
      try await gateway.admin(
        "rp", "add", "--name", "watcher", "--entity-id", "urn:watcher", "--acs", "https://watcher.example/acs", "--owner", "bob@example.com")
      try await gateway.admin("certs", "prepare")
      try await gateway.admin("certs", "publish")
      let next = try #require(try await keys(gateway).first { $0.state == "published" })
      let stolen = try #require(try await keys(gateway).first { $0.state == "primary" })
      let (passphrase, backup, config) = (gateway.folder + "/passphrase", gateway.folder + "/backup", gateway.folder + "/gateway.yaml")
      try "a passphrase that nobody guesses\n".write(toFile: passphrase, atomically: true, encoding: .utf8)
      let made = try await AdminTool.run(["backup", "--to", backup, "--passphrase-file", passphrase, "--config", config])
      #expect(made.status == 0, "\(made.complaint)")
      try await gateway.admin("certs", "replace", "--urgent")
      #expect(try await answer(gateway).signer == next.certificate)
      await gateway.stop()
      for file in try FileManager.default.contentsOfDirectory(atPath: gateway.folder + "/data") where file != "revocations.journal" {
        try FileManager.default.removeItem(atPath: gateway.folder + "/data/" + file)
      }
      let restored = try await AdminTool.run(["restore", "--from", backup, "--passphrase-file", passphrase, "--config", config])
      #expect(restored.status == 0, "\(restored.complaint)")
      try await gateway.start()
      let (signer, shown) = try await answer(gateway)
      #expect(signer == next.certificate && !shown.contains(stolen.certificate), "the stolen key stays dead")
      #expect(try await keys(gateway).first { $0.id == stolen.id }?.state == "retired")
      #expect(try await gateway.admin("rp", "show", "watcher").contains("bob@example.com"))
    } catch {
      await gateway.remove()
      throw error
    }
    await gateway.remove()
  }
}
