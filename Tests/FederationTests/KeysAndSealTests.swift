import Bytes
import CertificateLifecycle
import Crypto
import Cryptography
import Foundation
import GatehouseTesting
import Identity
import SAML
import Testing

@testable import Federation

@Suite struct `Token-signing keys` {
  private let time = ManualTime(Instant(milliseconds: 1_795_000_000_000))

  private func load(_ store: InMemoryStore, _ protector: TestProtector = TestProtector()) async throws -> TokenSigningKeys {
    try await TokenSigningKeys.load(store: store, protector: protector, host: "idp.example", now: time.reading)
  }

  @Test func `are made once, and found again`() async throws {
    let store = InMemoryStore()
    let made = try await load(store)
    #expect(await store.events.filter { $0.kind == .signingKeyMade }.count == 4)
    #expect(Set(made.places.map(\.place.family)) == Set(SigningKeyFamily.allCases))
    #expect(made.places.allSatisfy { $0.place.state == .primary && !$0.certificate.isEmpty })
    let found = try await load(store)
    #expect(
      found.published().map(\.certificate) == made.published().map(\.certificate) && found.encryptionCertificates == made.encryptionCertificates)
    #expect(found.metadataSigner?.certificate == made.metadataSigner?.certificate)
    #expect(await store.events.filter { $0.kind == .signingKeyMade }.count == 4)
    // What is stored shows nothing of a key.
    let stored = try #require(try await store.document("token-signing-keys"))
    #expect(!String(decoding: stored.ciphertext, as: UTF8.self).contains("rsa"))
  }

  @Test func `of two nodes that begin at once are the same`() async throws {
    let store = InMemoryStore()
    let nodes = try await withThrowingTaskGroup(of: TokenSigningKeys.self) { group in
      for _ in 0..<3 { group.addTask { try await load(store) } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(Set(nodes.map { $0.published().map(\.certificate) }).count == 1)
    #expect(Set(nodes.map(\.encryptionCertificates)).count == 1)
    #expect(await store.events.filter { $0.kind == .signingKeyMade }.count == 4)
    for node in nodes { try await node.refresh() }
  }

  @Test func `sign what their certificates verify, each family its algorithms`() async throws {
    let house = try await House()
    var party = try TestServiceProvider("wiki", now: time.now).registration("wiki")
    for algorithm in [SignatureAlgorithm.rsaSHA256, .rsaSHA384, .rsaSHA512, .ecdsaSHA256] {
      party.signatureAlgorithm = algorithm
      let signer = try #require(house.keys.signer(for: party))
      let signature = try signer.key.sign([1, 2, 3], with: algorithm)
      try VerificationKey(certificate: signer.certificate).verify(signature: signature, over: [1, 2, 3], algorithm: algorithm)
      #expect(house.keys.published(for: party).first?.certificate == signer.certificate)
    }
  }

  @Test func `under another name or another key do not open`() async throws {
    let house = try await House()
    let document = try #require(try await house.store.document("token-signing-keys"))
    #expect(throws: (any Error).self) { try TestProtector().reveal(document.ciphertext, context: "agent-ca") }
    let moved = InMemoryStore()
    let foreign = try TestProtector().protect(Secret(Array("{}".utf8)), context: "agent-ca")
    try await moved.putDocument(ProtectedDocument(name: "token-signing-keys", ciphertext: foreign), audit: [])
    await #expect(throws: (any Error).self) { _ = try await load(moved) }
    await #expect(throws: (any Error).self) {
      _ = try await load(house.store, TestProtector(key: SymmetricKey(data: [UInt8](repeating: 1, count: 32))))
    }
    // Nothing was made in place of what could not be read.
    #expect(try await moved.document("token-signing-keys")?.version == 1)
  }

  @Test func `of a former version, without assignments and policy, are read and completed`() async throws {
    let store = InMemoryStore()
    let made = try await load(store)
    let document = try #require(try await store.document("token-signing-keys"))
    let plain = try TestProtector().reveal(document.ciphertext, context: "token-signing-keys")
    var fields = try #require(try plain.withBytes { try JSONSerialization.jsonObject(with: Data($0)) } as? [String: Any])
    for name in ["assignments", "policy", "addressSecret"] { fields[name] = nil }
    let former = InMemoryStore()
    let bytes = Secret(try JSONSerialization.data(withJSONObject: fields))
    try await former.putDocument(
      ProtectedDocument(name: "token-signing-keys", ciphertext: try TestProtector().protect(bytes, context: "token-signing-keys")), audit: [])
    let found = try await load(former)
    #expect(found.published().map(\.certificate) == made.published().map(\.certificate))
    #expect(found.policy == RolloverPolicy() && found.ring.assignments.isEmpty)
    // An address that anybody could work out would be none.
    let party = Identifier()
    #expect(found.addressToken("metadata", party) != made.addressToken("metadata", party))
    #expect(try await load(former).addressToken("metadata", party) == found.addressToken("metadata", party))
  }
}

@Suite struct `A sealed transaction` {
  private let now = Instant(milliseconds: 1_795_000_000_000)
  private let seal = TransactionSeal(protector: TestProtector())

  private func transaction() -> SignOnTransaction {
    var transaction = SignOnTransaction(kind: .saml, began: now, browser: House.browser)
    transaction.party = Identifier()
    transaction.request = "_request"
    transaction.relayState = "\u{e9}\"<\u{338}"
    transaction.subject = NameID("alice", format: "f")
    transaction.nameFormat = .persistent
    transaction.freshSince = now
    return transaction
  }

  @Test func `opens as it was, at its browser, for an hour`() throws {
    let sealed = try seal.seal(transaction())
    let opened = try #require(seal.open(sealed, browser: House.browser, now: now.adding(.seconds(3600))))
    #expect(opened.relayState.map { Array($0.utf8) } == transaction().relayState.map { Array($0.utf8) })
    #expect(opened.request == "_request" && opened.kind == .saml && opened.freshSince == now)
    #expect(seal.open(sealed, browser: House.browser, now: now.adding(.milliseconds(3_600_001))) == nil)
    #expect(seal.open(sealed, browser: House.otherBrowser, now: now) == nil)
    #expect(seal.open(sealed, browser: nil, now: now) == nil)
    #expect(seal.open(sealed, browser: [], now: now) == nil)
    // Another gateway's clock may be behind, a little.
    #expect(seal.open(sealed, browser: House.browser, now: now.adding(.seconds(-179))) != nil)
    #expect(seal.open(sealed, browser: House.browser, now: now.adding(.seconds(-181))) == nil)
  }

  @Test func `opens nowhere once a byte of it is another`() throws {
    let sealed = try #require(StrictText.base64URL(try seal.seal(transaction())))
    for index in sealed.indices {
      var changed = sealed
      changed[index] ^= 1
      #expect(seal.open(changed.base64URL, browser: House.browser, now: now) == nil)
    }
    for length in [0, 1, 12, 27, sealed.count - 1] {
      #expect(seal.open(Array(sealed.prefix(length)).base64URL, browser: House.browser, now: now) == nil)
    }
    for text in ["", "!", "AAAA=", String(repeating: "A", count: 100_000)] { #expect(seal.open(text, browser: House.browser, now: now) == nil) }
  }

  @Test func `is of its kind and key only`() throws {
    let other = TransactionSeal(protector: TestProtector(key: SymmetricKey(data: [UInt8](repeating: 1, count: 32))))
    let sealed = try seal.seal(transaction())
    #expect(other.open(sealed, browser: House.browser, now: now) == nil)
    let logout = LogoutTransaction(waiting: [], failed: ["a"], told: 1, began: now)
    let sealedLogout = try seal.sealLogout(logout, browser: House.browser)
    #expect(seal.openLogout(sealedLogout, browser: House.browser) == logout)
    #expect(seal.openLogout(sealedLogout, browser: House.otherBrowser) == nil)
    #expect(seal.openLogout(sealed, browser: House.browser) == nil)
    #expect(seal.open(sealedLogout, browser: House.browser, now: now) == nil)
    // Something else of the house's, under the same key.
    let token = try TestProtector().protect(Secret(Array("{}".utf8)), context: "token-signing-keys")
    #expect(seal.open(token.base64URL, browser: House.browser, now: now) == nil)
  }

  /// The longest relay state that is taken must come back, whatever it is made of.
  @Test(arguments: ["x", "\"", "/", "\u{1}", "\u{e9}", "\\"]) func `holds the longest relay state`(_ unit: String) throws {
    var transaction = transaction()
    transaction.relayState = String(repeating: unit, count: ReceivedMessage.longestRelayState / unit.utf8.count)
    transaction.consumer = "https://sp.example/" + String(repeating: "/", count: 2029)
    let sealed = try seal.seal(transaction)
    #expect(seal.open(sealed, browser: House.browser, now: now)?.relayState == transaction.relayState)
  }
}
