import Bytes
import CertificateLifecycle
import GatehouseTesting
import Identity
import Logging
import SAML
import Synchronization
import Testing

@testable import Federation

/// A relying party as a probe meets it: sends the browser to sign in, takes tokens signed by what it trusts, and shows its page.
private final class ProbedParty: ProbeBrowser {
  enum Mood: Sendable { case well, loops, errors, endless, silent, byPost, strange([UInt8]) }

  let provider: TestServiceProvider
  let time: ManualTime
  let trusted = Mutex<Set<String>>([])
  let mood = Mutex(Mood.well)
  let seen = Mutex<[String]>([])

  init(_ provider: TestServiceProvider, time: ManualTime) {
    self.provider = provider
    self.time = time
  }

  struct Silence: Error {}

  func exchange(_ request: ProbeExchange, timeout: Duration) async throws -> ProbeExchange.Answer {
    seen.withLock { $0.append(request.url) }
    let mood = mood.withLock { $0 }
    if case .silent = mood { throw Silence() }
    if case .strange(let bytes) = mood {
      let text = String(decoding: bytes, as: UTF8.self)
      return .init(status: Int(bytes.first ?? 0) * 4, location: text, cookies: [text], body: bytes)
    }
    if let form = request.form {
      if case .errors = mood { return .init(status: 500, body: Array("Internal error".utf8)) }
      let fields = try FormFields(form)
      let field = try fields.only("SAMLResponse")?.value ?? ""
      let message = StrictText.base64(field) ?? []
      let text = String(decoding: message, as: UTF8.self)
      let isTrusted = trusted.withLock { $0.contains { text.contains(">\($0)<") } }
      guard isTrusted else { return .init(status: 403, body: Array("Signature refused".utf8)) }
      return .init(status: 303, location: "/secure/", cookies: ["session=1; Path=/; Secure; HttpOnly"])
    }
    if request.url.hasSuffix("/secure/"), request.cookie?.contains("session=1") == true {
      if case .loops = mood { return .init(status: 302, location: try signOn()) }
      return .init(status: 200, body: Array("<p>Hello <a>Sign out</a>".utf8))
    }
    if case .endless = mood { return .init(status: 302, location: request.url) }
    if case .byPost = mood { return .init(status: 200, body: Array("<form method=post>".utf8)) }
    return .init(status: 302, location: try signOn(), cookies: ["state=2"])
  }

  private func signOn() throws -> String {
    let document = provider.message("AuthnRequest", id: TokenIssuer.makeID(), at: time.now, destination: House.signOnURL)
    return House.signOnURL + "?" + String(decoding: try provider.redirect(document), as: UTF8.self)
  }
}

@Suite struct `A probe` {
  private struct Scene {
    var house: RolloverHouse
    var probes: ProbeService
    var outside: ProbedParty
    var party: RelyingParty
  }

  private func scene(expects: String? = "Sign out") async throws -> Scene {
    let house = try await RolloverHouse()
    let provider = try await house.house.register("wiki") {
      $0.rollover = RolloverTraits()
      $0.rollover?.probe = ProbeSettings(url: "https://wiki.example/secure/", user: "probe@contoso.com", expects: expects)
    }
    let outside = ProbedParty(provider, time: house.house.time)
    let probes = ProbeService(
      signOn: house.house.signOn, rollover: house.rollover, browser: outside, describe: { _, _ in try House.person() }, now: house.house.time.reading,
      logger: Logger(label: "test") { _ in SilentLog() })
    let party = try house.house.party("wiki")
    outside.trusted.withLock { $0 = Set([house.keys.signer(for: party)?.certificate.base64].compactMap(\.self)) }
    try await house.run(62)
    return Scene(house: house, probes: probes, outside: outside, party: party)
  }

  private func next(_ scene: Scene) throws -> TokenSigningKeys.Signer {
    try #require(scene.house.keys.ring.next(of: .rsa).flatMap { scene.house.keys.signer(id: $0.id) })
  }

  @Test func `that succeeds with both keys is evidence, audited, and moves the relying party`() async throws {
    let scene = try await scene()
    let next = try next(scene)
    scene.outside.trusted.withLock { _ = $0.insert(next.certificate.base64) }
    let report = try await scene.probes.run(scene.party, key: next.id)
    #expect(report.verdict == .works, "\(report)")
    #expect(scene.house.ledger.record(of: scene.party.id).best(for: next.id, now: scene.house.now)?.level == .probed)
    #expect(await scene.house.house.events(.relyingPartyProbed).map { $0.details["verdict"] } == ["works"])
    // Each of its tokens has its row, like every other.
    let tokens = await scene.house.house.events(.tokenIssued)
    #expect(tokens.count == 2 && tokens.allSatisfy { $0.details["probe"] == "true" } && tokens.last?.details["key"] == next.id)
    try await scene.house.run(21)
    #expect(scene.house.signer(scene.party) == next.id)
  }

  @Test func `that fails with the next key only blocks it, and a later one that succeeds lets it go on`() async throws {
    let scene = try await scene()
    let next = try next(scene)
    #expect(try await scene.probes.run(scene.party, key: next.id).verdict == .refused)
    #expect(scene.house.ledger.record(of: scene.party.id).blocks.map(\.key) == [next.id])
    try await scene.house.run(45)
    #expect(scene.house.signer(scene.party) != next.id, "held beyond the end of its key")
    #expect(scene.house.keys.ring.primary(of: .rsa)?.id == next.id)
    scene.outside.trusted.withLock { _ = $0.insert(next.certificate.base64) }
    #expect(try await scene.probes.run(scene.party, key: next.id).verdict == .works)
    try await scene.house.run(2)
    #expect(scene.house.signer(scene.party) == next.id)
  }

  @Test(arguments: ["silent", "errors", "loops", "endless", "byPost"])
  func `whose control fails proves nothing, whatever the relying party does`(what: String) async throws {
    let scene = try await scene()
    let moods: [String: ProbedParty.Mood] = ["silent": .silent, "errors": .errors, "loops": .loops, "endless": .endless, "byPost": .byPost]
    let mood = try #require(moods[what])
    scene.outside.mood.withLock { $0 = mood }
    let report = try await scene.probes.run(scene.party, key: try next(scene).id)
    #expect(report.verdict == .unusable && !report.control.detail.isEmpty)
    #expect(scene.house.ledger.record(of: scene.party.id).blocks.isEmpty)
    #expect(scene.outside.seen.withLock { $0.count } <= 26, "it follows no redirects without end")
  }

  @Test func `looks for what only somebody signed in is shown`() async throws {
    let scene = try await scene(expects: "Never shown")
    #expect(try await scene.probes.run(scene.party, key: try next(scene).id).verdict == .unusable)
  }

  @Test func `is made when the key may sign, once in a while, and not while the clock is wrong`() async throws {
    let scene = try await scene()
    try await scene.probes.tick()
    #expect(scene.outside.seen.withLock { $0.isEmpty }, "not before the key was in metadata for long enough")
    try await scene.house.run(20)
    try await scene.probes.tick()
    let once = scene.outside.seen.withLock { $0.count }
    #expect(once > 0)
    try await scene.probes.tick()
    #expect(scene.outside.seen.withLock { $0.count } == once)
    try await scene.house.run(2)
    scene.house.house.time.advance(by: .days(3))
    try await scene.house.run(1)
    try await scene.probes.tick()
    #expect(scene.outside.seen.withLock { $0.count } == once)
  }

  @Test func `of a relying party that answers anything ends in words`() async throws {
    let scene = try await scene()
    let key = try next(scene).id
    let words = [
      "https://wiki.example/secure/", "//", "http://[", "\u{0}", "=;max-age=0", "session=1", "é", "https://idp.example/adfs/ls/?SAMLRequest=AAAA",
      "%",
      "javascript:x", "/a b",
    ]
    for seed in UInt64(0)..<300 {
      var dice = SeededGenerator(seed: seed)
      var bytes: [UInt8] = []
      for _ in 0..<Int.random(in: 1...4, using: &dice) {
        bytes += Array((words.randomElement(using: &dice) ?? "").utf8)
        if Bool.random(using: &dice) { bytes.append(UInt8.random(in: 0...255, using: &dice)) }
      }
      let strange = bytes
      scene.outside.mood.withLock { $0 = .strange(strange) }
      let report = try await scene.probes.run(scene.party, key: key)
      #expect(report.verdict == .unusable, "seed \(seed)")
    }
  }
}

@Suite struct `Evidence that others wrote` {
  @Test(arguments: 0..<300) func `in whatever bytes, is searched and never trusted too much`(seed: UInt64) throws {
    var dice = SeededGenerator(seed: seed)
    let certificate = (0..<400).map { _ in UInt8.random(in: 0...255, using: &dice) }
    var document = Array(#"{"value":[{"domain":"contoso.com","signingCertificate":"\#(certificate.base64)"}]}"#.utf8)
    #expect(ConfigurationEvidence.shows(document, certificate: certificate))
    #expect(try ConfigurationEvidence.entraDomains(lacking: certificate, of: ["contoso.com"], in: document).isEmpty)
    for _ in 0..<Int.random(in: 1...3, using: &dice) {
      // Inside the certificate: what is shown then is another one.
      let index = Int.random(in: 60..<(document.count - 10), using: &dice)
      switch Int.random(in: 0..<3, using: &dice) {
      case 0: document[index] = document[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
      case 1: document.remove(at: index)
      default: document.insert(UInt8.random(in: 0x21...0xff, using: &dice), at: index)
      }
    }
    #expect(!ConfigurationEvidence.shows(document, certificate: certificate))
    let lacking = try? ConfigurationEvidence.entraDomains(lacking: certificate, of: ["contoso.com"], in: document)
    #expect(lacking == nil || lacking == ["contoso.com"])
  }
}
