import Foundation
import Synchronization
import Testing

/// Years of certificates in minutes: a certificate lives for a minute, its follower is made in the middle of it.
@Suite("Rollover in time-lapse", .serialized)
struct RolloverTimeLapseTests {
  private struct Key: Decodable, Equatable {
    var id: String
    var family: String
    var state: String
    var published: Int64?
    var promoted: Int64?
    var notAfter: Int64
  }

  private struct Plan: Decodable {
    struct Laggard: Decodable {
      var relyingParty: String
      var deadline: Int64?
      var command: String
    }
    struct Family: Decodable {
      var family: String
      var laggards: [Laggard]
    }
    var families: [Family]
  }

  private struct Rehearsal: Decodable {
    struct Event: Decodable {
      var time: Int64
      var what: String
      var family: String
      var relyingParty: String?
      var until: Int64?
    }
    var events: [Event]
    var digest: String?
  }

  private struct Issued: Decodable {
    struct Event: Decodable {
      var time: Int64
      var kind: String
      var subject: String?
      var details: [String: String]?
    }
    var event: Event
  }

  /// What the parts of a scenario that go on side by side tell each other.
  private final class Course: Sendable {
    let isOver = Mutex(false)
    let failures = Mutex<[String]>([])
    let counts = Mutex<[String: Int]>([:])
    let predictions = Mutex<[(at: Int64, Rehearsal)]>([])
    let named = Mutex<[String: Int64]>([:])
    let installs = Mutex<[Date]>([])
    let promotions = Mutex(0)
  }

  /// How often the one that takes the first key only reads metadata, in seconds.
  private static let firstReads = 11

  /// How long a key is in metadata before it signs.
  private static let promotion = 14

  /// A certificate for a minute, the next one at half of it, and a first key of that kind in place of the year-long one.
  private func setUp(_ federation: FederationHouse) async throws {
    try await federation.admin(
      "certs", "policy", "--certificate-duration", "60s", "--certificate-generation-threshold", "30s", "--certificate-promotion-threshold",
      "\(Self.promotion)s", "--certificate-critical-threshold", "5s", "--certificate-rollover-interval", "1s", "--certificate-retirement", "15s",
      "--warning", "20s", "--warning", "5s")
    try await federation.admin("certs", "replace", "--urgent", "--fresh")
  }

  private func keys(_ federation: FederationHouse) async throws -> [Key] {
    try await federation.admin.json([Key].self, "certs", "list").filter { $0.family == "rsa" }
  }

  /// Does something every second until `isOver`, each time from the second's beginning.
  private func everySecond(until isOver: @Sendable () -> Bool, _ body: () async throws -> Void) async rethrows {
    while !isOver() {
      let next = ContinuousClock.now.advanced(by: .seconds(1))
      try await body()
      try? await Task.sleep(until: next)
    }
  }

  @Test("Three rollovers with people signing in every second: nobody who trusts two keys is refused once; who must break is named before")
  func threeRollovers() async throws { try await play("time-lapse", rollovers: 3) }

  @Test("The same with keys that are made in a hardware token and never leave it; what was retired is destroyed there")
  func inToken() async throws {
    let hsm = try await SoftHSM()
    try await play("time-lapse-token", rollovers: RunLength.of(1, long: 3), hsm: hsm)
    // The primary and its follower or predecessor of the one family, the primary of the other; retired ones are gone.
    #expect((2...4).contains(try await hsm.privateKeys()))
  }

  private func play(_ scenario: String, rollovers: Int, hsm: SoftHSM? = nil) async throws {
    try await FederationHouse.with(scenario, hsm: hsm) { federation in
      try await setUp(federation)
      let shibbolethURL = try await federation.ownMetadataURL("shibboleth")
      let mellonURL = try await federation.ownMetadataURL("mellon")
      try await federation.shibboleth.readMetadata(at: shibbolethURL, everySeconds: 10)
      let pins = try await StubRelyingParty("pins", .pinsOne, in: federation)
      let first = try await StubRelyingParty(
        "first", .readsFirst(everySeconds: Self.firstReads), in: federation, options: ["--reads-first-key-only", "on"])
      let rarely = try await StubRelyingParty("rarely", .readsAll(everySeconds: 13), in: federation)
      let never = try await StubRelyingParty("never", .neverRefreshes, in: federation, options: ["--keeps-expired-key", "on"])
      let stubs = [pins, first, rarely, never]

      let course = Course()
      let begin = try await keys(federation)

      await withTaskGroup(of: Void.self) { group in
        // People at the two real relying parties, each with a session at the identity provider and none at the relying party.
        for party in federation.parties {
          group.addTask {
            // Each comes back every eight seconds: from visitors who are not sent back at once it is learnt that a key works.
            let browsers = (0..<8).map { _ in CookieBrowser() }
            var turn = 0
            await everySecond(until: { course.isOver.withLock { $0 } }) {
              let browser = browsers[turn % browsers.count]
              turn += 1
              do {
                if let shibboleth = party as? ShibbolethServiceProvider { try await browser.open(shibboleth.localLogoutURL()) }
                if let mellon = party as? MellonServiceProvider { try await browser.open(mellon.localLogoutURL()) }
                let page = try await federation.signIn(browser, party.protectedPageURL, as: "alice")
                guard party.visitor(in: page.body) != nil else { throw ServerProcess.Failure(description: "\(page.status) \(page.body.suffix(600))") }
                course.counts.withLock { $0[party.entityID, default: 0] += 1 }
              } catch { course.failures.withLock { $0.append("\(Date(timeIntervalSinceNow: 0)) \(party.entityID): \(error)") } }
            }
          }
        }
        for stub in stubs {
          group.addTask { await everySecond(until: { course.isOver.withLock { $0 } }) { await stub.signIn() } }
        }
        // Mellon reads its file at a start only: a script fetches it and restarts Apache gracefully.
        group.addTask {
          let fetcher = CookieBrowser()
          while !course.isOver.withLock({ $0 }) {
            do {
              let page = try await fetcher.request(mellonURL)
              guard page.status == 200 else { throw ServerProcess.Failure(description: "\(page.status)") }
              try federation.mellon.replaceIdentityProviderMetadata(page.body)
            } catch { course.failures.withLock { $0.append("mellon's script: \(error)") } }
            try? await Task.sleep(for: .seconds(8))
          }
        }
        // The administrator: looks at the plan, has the owner of the one that pins a certificate replace it at an agreed moment, and predicts.
        group.addTask {
          var primary = begin.first { $0.state == "primary" }?.id
          var handled: Set<String> = []
          while course.promotions.withLock({ $0 }) < rollovers {
            do {
              let all = try await keys(federation)
              let now = Int64(Date(timeIntervalSinceNow: 0).timeIntervalSince1970 * 1000)
              if let fresh = all.first(where: { $0.state == "primary" })?.id, fresh != primary {
                primary = fresh
                course.promotions.withLock { $0 += 1 }
                let rehearsal = try await federation.admin.json(Rehearsal.self, "certs", "rehearse", "--days", "1", "--record")
                course.predictions.withLock { $0.append((now, rehearsal)) }
              }
              let plan = try await federation.admin.json(Plan.self, "certs", "plan")
              for laggard in plan.families.flatMap(\.laggards) {
                course.named.withLock { if $0[laggard.relyingParty] == nil { $0[laggard.relyingParty] = now } }
              }
              if let next = all.first(where: { $0.state == "published" && ($0.published ?? now) + Int64(Self.promotion + 2) * 1000 < now }),
                !handled.contains(next.id)
              {
                handled.insert(next.id)
                await pins.install(try await federation.admin("certs", "export-public", next.id))
                course.installs.withLock { $0.append(Date(timeIntervalSinceNow: 0)) }
                try await federation.admin("certs", "confirm", "--rp", "pins", "--key", next.id, "--by", "its owner")
                try await federation.admin("certs", "promote", next.id, "--rp", "pins")
              }
            } catch { course.failures.withLock { $0.append("the administrator: \(error)") } }
            try? await Task.sleep(for: .milliseconds(700))
          }
          // The last of the promotions is watched for a while.
          try? await Task.sleep(for: .seconds(9))
          course.isOver.withLock { $0 = true }
        }
      }

      #expect(course.failures.withLock { $0 } == [], "\(federation.shibboleth.logTail)")
      for party in federation.parties {
        #expect(course.counts.withLock { $0[party.entityID] ?? 0 } > 20 * (rollovers + 1), "\(party.entityID): \(course.counts.withLock { $0 })")
      }
      for stub in [rarely, never] {
        let refusals = await stub.refusals
        #expect(refusals.isEmpty, "\(stub.name): \(refusals)")
      }
      // Between the owner's change and the administrator's command a sign-in or two may fall, and none elsewhere.
      let agreed = course.installs.withLock { $0 }
      for refusal in await pins.refusals { #expect(agreed.contains { abs($0.timeIntervalSince(refusal.time)) < 3 }, "\(refusal.time) \(refusal)") }
      #expect(course.named.withLock { $0["pins"] } != nil, "the one that pins a certificate is named")

      // Who reads the first key only is refused after each flip, no longer than it takes to read again, and as was foreseen.
      let foreseen = course.predictions.withLock { $0 }.prefix(rollovers - 1)
      #expect(foreseen.count == rollovers - 1)
      let refused = await first.refusals.map { Int64($0.time.timeIntervalSince1970 * 1000) }
      if rollovers > 1 { #expect(!refused.isEmpty) }
      for (at, rehearsal) in foreseen {
        #expect(rehearsal.digest?.count == 64)
        // What is said of the next end of a certificate.
        let horizon = at + 45_000
        let breaks = rehearsal.events.filter { $0.what == "breaks" && $0.time <= horizon }
        // The owner of the one that pins a certificate has acted, as the calendar asked.
        #expect(Set(breaks.compactMap(\.relyingParty)) == ["first", "pins"], "\(breaks)")
        #expect(rehearsal.events.contains { $0.what == "must-act" && $0.relyingParty == "pins" })
        let one = try #require(breaks.first { $0.relyingParty == "first" })
        let window = (one.time - 1500)...((one.until ?? one.time) + 2500)
        #expect((one.until ?? 0) - one.time >= Int64(Self.firstReads) * 1000)
        // What follows the flip that has just been is not foreseen any more.
        for time in refused where time > at + Int64(Self.firstReads + 2) * 1000 && time <= horizon {
          #expect(window.contains(time), "\(time) is not in \(window)")
        }
      }
      let recorded = try await federation.admin.json([Issued].self, "audit", "list", "--kind", "rollover.rehearsed")
      #expect(Set(recorded.compactMap(\.event.subject)).isSuperset(of: foreseen.compactMap(\.1.digest)))

      // What was learnt in the first rollover moves both in the later ones ahead of the end.
      if rollovers > 1 {
        let moved = try await federation.admin.json([Issued].self, "audit", "list", "--kind", "relying-party.key-moved", "--limit", "1000")
        for name in ["shibboleth", "mellon"] {
          #expect(moved.contains { $0.event.subject == name && $0.event.details?["readiness"] == "fetched" }, "\(name): \(moved)")
        }
      }
      try await holdsPromise(federation)
      print(
        "time-lapse: \(course.counts.withLock { $0 }), stubs accepted \(await pins.accepted) \(await first.accepted) \(await rarely.accepted) \(await never.accepted),"
          + " refused \(await pins.refusals.count) (pins) and \(await first.refusals.count) (reads the first only)")
    }
  }

  /// No token was ever signed with a key that metadata had not shown for long enough, but for the urgent replacement.
  private func holdsPromise(_ federation: FederationHouse) async throws {
    let urgent = Set(
      try await federation.admin.json([Issued].self, "audit", "list", "--kind", "signing-key.replaced").compactMap { $0.event.details?["by"] })
    var published: [String: Int64] = [:]
    for row in try await federation.admin.json([Issued].self, "audit", "list", "--kind", "signing-key.published", "--limit", "10000") {
      if let key = row.event.subject { published[key] = row.event.time }
    }
    let tokens = try await federation.admin.json([Issued].self, "audit", "list", "--kind", "token.issued", "--limit", "10000")
    #expect(tokens.count > 60)
    for token in tokens {
      let key = try #require(token.event.details?["key"])
      guard !urgent.contains(key) else { continue }
      let shown = try #require(published[key], "a token was signed with \(key), which was never published")
      #expect(token.event.time - shown >= Int64(Self.promotion) * 1000, "\(key) signed \(token.event.time - shown) ms after it was published")
    }
  }

  @Test("A relying party that would refuse the next key is caught by the probe: it stays on its key, an alarm says so, and no user sees an error")
  func probe() async throws {
    try await FederationHouse.with("probe") { federation in
      try await setUp(federation)
      // Shibboleth has the certificate of now in a file that nobody touches; mellon is given every new document.
      try federation.shibboleth.replaceIdentityProviderMetadata(try await federation.house.gatewayMetadata(for: "shibboleth"))
      try federation.mellon.replaceIdentityProviderMetadata(try await federation.house.gatewayMetadata(for: "mellon"))
      for (name, party) in [("shibboleth", federation.parties[0]), ("mellon", federation.parties[1])] {
        try await federation.admin(
          "rp", "edit", name, "--probe-url", party.protectedPageURL, "--probe-user", "bob@\(federation.house.realm)", "--probe-expects",
          "A protected page")
      }
      let old = try #require(try await keys(federation).first { $0.state == "primary" }?.id)
      let browsers = federation.parties.map { _ in CookieBrowser() }
      var refused: [String] = []
      let end = Date(timeIntervalSinceNow: 75)
      while end.timeIntervalSinceNow > 0 {
        try federation.mellon.replaceIdentityProviderMetadata(try await federation.house.gatewayMetadata(for: "mellon"))
        for (party, browser) in zip(federation.parties, browsers) {
          if let shibboleth = party as? ShibbolethServiceProvider { try await browser.open(shibboleth.localLogoutURL()) }
          if let mellon = party as? MellonServiceProvider { try await browser.open(mellon.localLogoutURL()) }
          await browser.forgetAnswers()
          let page = try await federation.signIn(browser, party.protectedPageURL, as: "alice")
          if party.visitor(in: page.body) == nil { refused.append("\(party.entityID): \(page.body.suffix(400))") }
        }
        try await Task.sleep(for: .seconds(2))
      }
      #expect(refused == [])
      struct Shown: Decodable { var signingKey: String? }
      #expect(try await federation.admin.json(Shown.self, "rp", "show", "shibboleth").signingKey == old, "it stays on its key after that has ended")
      #expect(try await federation.admin.json(Shown.self, "rp", "show", "mellon").signingKey != old)
      let alarms = try await federation.house.status().alarms
      #expect(alarms.contains { $0.code == "relying-party-key-refused" && $0.subject == "shibboleth" }, "\(alarms)")
      // Mended, the probe finds that out by itself, and it moves.
      try federation.shibboleth.replaceIdentityProviderMetadata(try await federation.house.gatewayMetadata(for: "shibboleth"))
      let moved = try await eventually(within: .seconds(60), every: .seconds(1)) {
        try federation.shibboleth.replaceIdentityProviderMetadata(try await federation.house.gatewayMetadata(for: "shibboleth"))
        return try await federation.admin.json(Shown.self, "rp", "show", "shibboleth").signingKey != old
      }
      #expect(moved)
      let page = try await federation.signIn(CookieBrowser(), federation.shibboleth.protectedPageURL, as: "alice")
      #expect(federation.shibboleth.visitor(in: page.body) != nil)
    }
  }
}
