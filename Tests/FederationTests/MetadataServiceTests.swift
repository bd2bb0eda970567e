import Bytes
import Cryptography
import Foundation
import GatehouseTesting
import Identity
import SAML
import Testing
import XMLSecurity

@testable import Federation

@Suite struct `Metadata of relying parties` {
  private static let url = "https://wiki.example/metadata"

  /// A document as a relying party publishes it.
  private struct Document {
    var entityID = "https://wiki.example/metadata"
    var consumers = ["https://wiki.example/acs"]
    var logout = ["https://wiki.example/slo"]
    var certificates: [[UInt8]] = []
    var root = ""
    var role = ""

    var text: String {
      let keys = certificates.map {
        "<md:KeyDescriptor><ds:KeyInfo><ds:X509Data><ds:X509Certificate>\($0.base64)</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
      }
      let ends = logout.map { "<md:SingleLogoutService Binding=\"\(Binding.redirect.rawValue)\" Location=\"\($0)\"/>" }
      let consumers = consumers.enumerated().map {
        "<md:AssertionConsumerService Binding=\"\(Binding.post.rawValue)\" Location=\"\($0.element)\" index=\"\($0.offset)\"/>"
      }
      return
        "<md:EntityDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\" xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\" ID=\"_m\" entityID=\"\(entityID)\"\(root)><md:SPSSODescriptor protocolSupportEnumeration=\"\(Vocabulary.protocolNamespace)\"\(role)>\((keys + ends + consumers).joined())</md:SPSSODescriptor></md:EntityDescriptor>"
    }

    /// Signed as the first child of its root.
    func signed(by provider: TestServiceProvider) throws -> [UInt8] {
      let bytes = try XMLElement.parse(Array(text.utf8), limits: .metadata).canonicalBytes()
      let place = try #require(bytes.firstIndex(of: UInt8(ascii: ">"))) + 1
      let prepared = EnvelopedSignature.prepare(element: bytes, id: "_m", at: place, digest: .sha256, algorithm: .ecdsaSHA256, certificates: [])
      return prepared.finish(signature: try provider.key.sign(prepared.bytesToSign, with: .ecdsaSHA256))
    }
  }

  /// A house with a relying party whose metadata is read from its site.
  private func watched(pinned: Bool = false) async throws -> (House, TestServiceProvider, Document) {
    let house = try await House()
    let provider = try TestServiceProvider("wiki", now: house.time.now)
    let document = Document(certificates: [provider.certificate])
    let metadata = try house.metadata.read(Array(document.text.utf8), signer: nil)
    try await house.register("wiki") {
      $0.adopt(metadata)
      $0.source = MetadataSource(url: Self.url, signer: pinned ? provider.certificate : nil)
    }
    return (house, provider, document)
  }

  /// What became of the relying party after its site has shown `bytes`.
  private func refreshed(_ house: House, _ bytes: [UInt8]?) async throws -> RelyingParty {
    house.fetcher.documents.set(bytes.map { [Self.url: $0] } ?? [:])
    try await house.metadata.refresh(try house.party())
    try await house.parties.refresh()
    return try house.party()
  }

  /// The relying party without what is told of its metadata's source, and without its version.
  private func bare(_ party: RelyingParty) -> RelyingParty {
    var party = party
    (party.source, party.version) = (nil, 0)
    return party
  }

  @Test func `is taken over where nothing changes that an administrator must agree to`() async throws {
    let (house, _, document) = try await watched()
    var newer = document
    newer.role = " AuthnRequestsSigned=\"true\" WantAssertionsSigned=\"true\""
    newer.root = " cacheDuration=\"PT1H\" validUntil=\"2027-01-01T00:00:00Z\""
    newer.logout = []
    try await house.change("wiki") { $0.signs = .response }
    let party = try await refreshed(house, Array(newer.text.utf8))
    #expect(party.requestsMustBeSigned && party.signs == .both && party.logout.isEmpty)
    #expect(party.source?.read == house.time.now && party.source?.trouble == nil && party.source?.pending == nil)
    #expect(party.source?.cacheDuration == 3600 && party.source?.validUntil?.description == "2027-01-01T00:00:00.000Z")
    #expect(await house.events(.relyingPartyRefreshed).count == 1)
    // The same once more is no news.
    _ = try await refreshed(house, Array(newer.text.utf8))
    #expect(await house.events(.relyingPartyRefreshed).count == 1)
    // What grew strict does not grow lax by itself.
    #expect(try await refreshed(house, Array(document.text.utf8)).requestsMustBeSigned)
  }

  @Test func `waits for an administrator where tokens would go elsewhere`() async throws {
    let (house, _, document) = try await watched()
    let before = bare(try house.party())
    for change in [
      { $0.consumers.append("https://wiki.example/acs2") }, { $0.consumers = ["https://evil.example/acs"] },
      { $0.logout = ["https://evil.example/slo"] },
      { $0.entityID = "https://evil.example/metadata" }, { $0.certificates = [] },
    ] as [(inout Document) -> Void] {
      var newer = document
      change(&newer)
      let party = try await refreshed(house, Array(newer.text.utf8))
      #expect(bare(party) == before)
      #expect(party.source?.pending != nil && party.source?.trouble == nil)
      let count = await house.events(.relyingPartyPending).count
      _ = try await refreshed(house, Array(newer.text.utf8))
      #expect(await house.events(.relyingPartyPending).count == count)
      #expect(await house.metadata.alarms().map(\.code) == [.relyingPartyPending])
      // Taken back at the site: nothing is pending any more.
      #expect(try await refreshed(house, Array(document.text.utf8)).source?.pending == nil)
      #expect(await house.metadata.alarms().isEmpty)
    }
    #expect(await house.events(.relyingPartyPending).count == 5)
  }

  @Test func `with a pinned signer takes new keys over, unsigned or by another signer nothing`() async throws {
    let (house, provider, document) = try await watched(pinned: true)
    let before = bare(try house.party())
    let other = try TestServiceProvider("other", now: house.time.now)
    var newer = document
    newer.certificates = [provider.certificate, other.certificate]
    for wrong in [Array(newer.text.utf8), try newer.signed(by: other)] {
      let party = try await refreshed(house, wrong)
      #expect(bare(party) == before)
      #expect(party.source?.trouble?.contains("pinned") == true)
    }
    // A good signature around somebody else's document.
    let good = String(decoding: try document.signed(by: provider), as: UTF8.self)
    let start = try #require(good.range(of: "<ds:Signature ")).lowerBound
    let end = try #require(good.range(of: "</ds:Signature>")).upperBound
    var evil = document
    evil.consumers = ["https://evil.example/acs"]
    let place = try #require(evil.text.firstIndex(of: ">"))
    let wrapped = evil.text[...place] + good[start..<end] + evil.text[evil.text.index(after: place)...]
    let party = try await refreshed(house, Array(wrapped.utf8))
    #expect(bare(party) == before && party.source?.trouble != nil && party.source?.pending == nil)
    // Its own signature: the new key is taken, and a new consumer waits.
    #expect(try await refreshed(house, try newer.signed(by: provider)).signingCertificates == newer.certificates)
    newer.consumers.append("https://wiki.example/acs2")
    #expect(try await refreshed(house, try newer.signed(by: provider)).source?.pending != nil)
  }

  @Test func `that cannot be read leaves the old copy, and says so`() async throws {
    let (house, _, document) = try await watched()
    let before = bare(try house.party())
    var expired = document
    expired.root = " validUntil=\"2026-11-18T11:06:40Z\""
    var broken: [[UInt8]?] = [nil, Array("<".utf8), Array("<x/>".utf8), Array(expired.text.utf8), [UInt8](repeating: 32, count: (4 << 20) + 1)]
    for location in [
      "http://wiki.example/acs", "javascript:alert(1)", "https://wiki.example@evil.example/acs", "https://wiki.example\\@evil.example/acs",
      "https://wiki.example/a b", "//wiki.example/acs",
      "https://wiki.example/acs#x", "", "data:text/html,x", "https://w\u{456}ki.example/acs", "ftp://wiki.example/acs", "https:///acs",
      "http://localhost.evil.example/acs",
    ] {
      var wrong = document
      wrong.consumers = [location]
      broken.append(Array(wrong.text.utf8))
      wrong.consumers = document.consumers
      wrong.logout = [location]
      broken.append(Array(wrong.text.utf8))
    }
    broken.append(Array("<!DOCTYPE x>\(document.text)".utf8))
    for bytes in broken {
      let party = try await refreshed(house, bytes)
      #expect(bare(party) == before)
      #expect(party.source?.trouble?.isEmpty == false && party.source?.pending == nil)
      #expect(await house.metadata.alarms().map(\.code) == [.relyingPartyMetadata])
    }
    #expect(try await refreshed(house, Array(document.text.utf8)).source?.trouble == nil)
    #expect(await house.metadata.alarms().isEmpty)
  }

  @Test func `is read when its time has come`() {
    let now = Instant(milliseconds: 1_795_000_000_000)
    func isDue(_ age: Int?, cache: Int64? = nil, trouble: String? = nil) -> Bool {
      var source = MetadataSource(url: Self.url)
      source.tried = age.map { now.adding(.seconds(-$0)) }
      (source.cacheDuration, source.trouble) = (cache, trouble)
      return MetadataService.isDue(source, now: now)
    }
    #expect(isDue(nil))
    #expect(!isDue(14_399) && isDue(14_400))
    #expect(!isDue(299, cache: 1) && isDue(300, cache: 1))
    #expect(!isDue(86_399, cache: 10_000_000) && isDue(86_400, cache: 10_000_000))
    #expect(!isDue(3599, cache: 3600) && isDue(3600, cache: 3600))
    #expect(!isDue(299, trouble: "x") && isDue(300, trouble: "x"))
  }

  @Test func `is asked of those that are due, and of no disabled one`() async throws {
    let (house, _, document) = try await watched()
    house.fetcher.documents.set([Self.url: Array(document.text.utf8)])
    try await house.register("silent")
    try await house.register("off") {
      $0.disabled = true
      $0.source = MetadataSource(url: "https://off.example/metadata")
    }
    try await house.metadata.refreshDue()
    try await house.metadata.refreshDue()
    #expect(house.fetcher.asked.value == [Self.url])
    house.time.advance(by: .seconds(14_400))
    try await house.metadata.refreshDue()
    #expect(house.fetcher.asked.value.count == 2)
  }

  @Test func `of our own shows every key and address, and is signed by the metadata key`() async throws {
    let house = try await House()
    try await house.register("wiki") {
      $0.requestsMustBeSigned = true
      $0.claims = [ClaimRule(name: "urn:mail", sources: [.directory("mail")])]
    }
    let key = try VerificationKey(certificate: try #require(house.keys.metadataSigner).certificate)
    for party in [nil, try house.party()] as [RelyingParty?] {
      let root = try XMLElement.parse(try house.metadata.own(for: party), limits: .metadata)
      let metadata = try SignatureVerifier(keys: [key]).verify(root, position: .first).element
      #expect(metadata.attribute("entityID") == House.entityID)
      let role = try #require(metadata.elements.first { $0.name.local == "IDPSSODescriptor" })
      #expect(role.attribute("WantAuthnRequestsSigned") == (party == nil ? "false" : "true"))
      let shown = role.elements.filter { $0.name.local == "KeyDescriptor" && $0.attribute("use") == "signing" }
      #expect(shown.count == house.keys.published(for: party).count && shown.count == 1, "one family's")
      #expect(role.elements.filter { $0.name.local == "SingleSignOnService" }.allSatisfy { $0.attribute("Location") == House.signOnURL })
      #expect(role.elements.count { $0.name.local == "SingleLogoutService" } == 3)
      #expect(role.elements.count { $0.name.local == "Attribute" } == (party == nil ? 0 : 1))
      #expect(!String(decoding: try root.canonicalBytes(), as: UTF8.self).contains("PRIVATE"))
    }
  }

  @Test func `of our own is signed once, and anew when something in it has changed`() async throws {
    let house = try await House()
    try await house.register("wiki") { $0.requestsMustBeSigned = false }
    let (ours, theirs) = (try house.metadata.own(), try house.metadata.own(for: try house.party()))
    // The two say the same, and it is the same document then.
    #expect(try house.metadata.own() == ours && house.metadata.own(for: try house.party()) == theirs)
    let identity = house.identity.settings
    var other = identity
    other.entityID = "https://idp.example/other"
    house.identity.adopt(other)
    let changed = try house.metadata.own()
    #expect(changed != ours)
    let ids = try [ours, changed].map { try XMLElement.parse($0, limits: .metadata).attribute("ID") }
    #expect(Set(ids).count == 2)
    house.identity.adopt(identity)
    #expect(try house.metadata.own() == ours)
  }

  @Test(arguments: [
    "https://sp.example/acs", "https://sp.example:8443/acs?a=b&c", "http://localhost/acs", "http://127.0.0.1:8080/acs", "http://[::1]:8080/acs",
  ])
  func `may name endpoints that are safe`(_ url: String) { #expect(EndpointURL.problem(url) == nil) }

  @Test(arguments: [
    "", "sp.example/acs", "/acs", "//sp.example/acs", "http://sp.example/acs", "javascript:alert(1)", "data:text/html,x", "file:///etc/passwd",
    "https://", "https:///acs",
    "https://a@sp.example/acs", "https://a:b@sp.example/acs", "https://sp.example/acs#f", "https://sp.example\\acs", "https://sp.example/a c",
    "https://sp.example/\"", "https://sp.example/<",
    "https://sp.example/\u{e9}", "https://sp.example/\n", "http://localhost.evil.example/", "http://127.0.0.1.evil.example/",
    "http://localhost@evil.example/", "https://sp.example/\u{7f}",
    "https://sp.example/" + String(repeating: "a", count: 2048),
  ]) func `may name no others`(_ url: String) { #expect(EndpointURL.problem(url) != nil) }
}
