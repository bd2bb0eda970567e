import Bytes
import Crypto
import Cryptography
import Foundation
import GatehouseTesting
import Identity
import PassThrough
import SwiftASN1
import Testing
import X509

/// A protector that a test can look through: the real one is KeyStore's, and tested there.
private struct PlainProtector: SecretProtector {
  func protect(_ secret: Secret, context: String) throws -> [UInt8] { Array(context.utf8) + [0] + secret.withBytes { Array($0) } }
  func reveal(_ ciphertext: [UInt8], context: String) throws -> Secret {
    guard ciphertext.starts(with: Array(context.utf8) + [0]) else { throw StoreError.conflict("another context") }
    return Secret(ciphertext.dropFirst(context.utf8.count + 1))
  }
}

@Suite("Enrolment of agents")
struct EnrolmentTests {
  let time = ManualTime()

  private struct Desk {
    let store: InMemoryStore
    let authority: AgentAuthority
    let registry: AgentRegistry
    let enrolment: AgentEnrolment
  }

  private func desk() async throws -> Desk {
    let store = InMemoryStore()
    let authority = try await AgentAuthority.load(store: store, protector: PlainProtector(), now: time.now)
    let registry = AgentRegistry(store: store)
    let enrolment = AgentEnrolment(
      store: store, audit: store, authority: authority, registry: registry, publicURL: "https://gateway.test", nodes: ["https://node.test"])
    return Desk(store: store, authority: authority, registry: registry, enrolment: enrolment)
  }

  private func token(_ desk: Desk, name: String? = nil) async throws -> EnrolmentToken {
    let realm = try #require(RealmName("contoso.com"))
    let made = try await desk.enrolment.makeToken(realms: [realm], agentName: name, actor: "test", now: time.now)
    return try EnrolmentToken(made.text)
  }

  private func enrol(_ desk: Desk, _ token: EnrolmentToken, name: String = "agent1", keys: AgentKeys = AgentKeys()) async throws -> AgentIdentity {
    let request = EnrolmentRequest(
      secret: token.secret.withBytes { $0.base64URL }, name: name, certificateRequest: try keys.request())
    let (envelope, channel) = try EnrolmentChannel.seal(request, gatewayKey: token.gatewayKey)
    let sealed = try await desk.enrolment.enrol(envelope, address: "192.0.2.1", now: time.now)
    return try keys.identity(from: try channel.open(sealed), token: token, digest: { Digests.sha256($0) }, now: time.now)
  }

  @Test("A token makes one agent, whose certificate bears both keys and is known at once")
  func enrols() async throws {
    let desk = try await desk()
    let identity = try await enrol(desk, try await token(desk))
    let certificate = try #require(AgentCertificate(der: identity.certificate))
    #expect(certificate.agent == identity.agent)
    #expect(certificate.sealingKey == Array(identity.openingKey.publicKey.rawRepresentation))
    #expect(desk.authority.didIssue(identity.certificate))
    guard case .good(let agent) = desk.registry.standing(of: certificate, now: time.now) else { Issue.record("not good"); return }
    #expect(agent.name == "agent1")
    #expect(certificate.notAfter.since(time.now) <= AgentAuthority.agentCertificateLife)
  }

  @Test("A used, an expired and an unknown token are refused alike")
  func tokens() async throws {
    let desk = try await desk()
    let used = try await token(desk)
    _ = try await enrol(desk, used)
    await #expect(throws: AgentEnrolment.Refusal.token) { try await enrol(desk, used, name: "agent2") }
    let expired = try await token(desk)
    time.advance(by: EnrolmentToken.life)
    await #expect(throws: AgentEnrolment.Refusal.token) { try await enrol(desk, expired, name: "agent3") }
    var unknown = try await token(desk)
    unknown.secret = Secret(RandomBytes.generate(32))
    await #expect(throws: AgentEnrolment.Refusal.token) { try await enrol(desk, unknown, name: "agent4") }
    let refused = try await desk.store.find(AuditQuery()).filter { $0.event.kind == .enrolmentRefused }
    #expect(refused.count == 3)
  }

  @Test("A token of another gateway does not even open")
  func foreignToken() async throws {
    let here = try await desk()
    let there = try await desk()
    await #expect(throws: AgentEnrolment.Refusal.envelope) { try await enrol(here, try await token(there)) }
  }

  @Test("An answer from somebody else's CA is not taken")
  func foreignRoot() async throws {
    let desk = try await desk()
    var token = try await token(desk)
    token.rootDigest = Digests.sha256([1, 2, 3])
    await #expect(throws: AnswerUnusable.self) { try await enrol(desk, token) }
  }

  @Test("Of fifty that use one token at once, one wins")
  func parallel() async throws {
    let desk = try await desk()
    let token = try await token(desk)
    let won = await withTaskGroup(of: Bool.self) { group in
      for index in 0..<50 { group.addTask { (try? await enrol(desk, token, name: "agent\(index)")) != nil } }
      return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
    }
    #expect(won == 1)
  }

  @Test("A name that is taken is refused, and free again after revocation")
  func names() async throws {
    let desk = try await desk()
    _ = try await enrol(desk, try await token(desk))
    await #expect(throws: AgentEnrolment.Refusal.name) { try await enrol(desk, try await token(desk)) }
    #expect(try await desk.enrolment.revoke("agent1", actor: "test", now: time.now) != nil)
    _ = try await enrol(desk, try await token(desk))
  }

  @Test(
    "The token's name wins over the proposed one; a malformed name is refused",
    arguments: ["", "-x", "a b", "ä", String(repeating: "a", count: 65), "a\r\n"])
  func malformedNames(name: String) async throws {
    let desk = try await desk()
    #expect(try await enrol(desk, try await token(desk, name: "fixed"), name: name).name == "fixed")
    await #expect(throws: AgentEnrolment.Refusal.name) { try await enrol(desk, try await token(desk), name: name) }
  }

  @Test("Renewal gives new keys; the certificate before stays good, the one before that does not")
  func renewal() async throws {
    let desk = try await desk()
    let identity = try await enrol(desk, try await token(desk))
    let first = try #require(AgentCertificate(der: identity.certificate))
    func renew(_ presented: AgentCertificate) async throws -> AgentCertificate {
      let keys = AgentKeys()
      let answer = try await desk.enrolment.renew(
        RenewalRequest(certificateRequest: try keys.request()), agent: identity.agent, presented: presented, now: time.now)
      return try #require(AgentCertificate(der: try keys.renewing(identity, with: answer, now: time.now).certificate))
    }
    let second = try await renew(first)
    #expect(second.sealingKey != first.sealingKey)
    guard case .good = desk.registry.standing(of: first, now: time.now) else { Issue.record("first not good"); return }
    let third = try await renew(second)
    #expect(desk.registry.standing(of: first, now: time.now) == .unknown)
    guard case .good = desk.registry.standing(of: third, now: time.now) else { Issue.record("third not good"); return }
  }

  @Test("An expired certificate may renew for thirty days and do nothing else; a revoked one may nothing")
  func standing() async throws {
    let desk = try await desk()
    let identity = try await enrol(desk, try await token(desk))
    let certificate = try #require(AgentCertificate(der: identity.certificate))
    time.set(certificate.notAfter)
    guard case .mayRenewOnly = desk.registry.standing(of: certificate, now: time.now) else { Issue.record("may not renew"); return }
    time.advance(by: AgentAuthority.renewalGrace + .milliseconds(1))
    guard case .expired = desk.registry.standing(of: certificate, now: time.now) else { Issue.record("not expired"); return }
    _ = try await desk.enrolment.revoke("agent1", actor: "test", now: time.now)
    guard case .revoked = desk.registry.standing(of: certificate, now: time.now) else { Issue.record("not revoked"); return }
    await #expect(throws: AgentEnrolment.Refusal.revoked) {
      try await desk.enrolment.renew(
        RenewalRequest(certificateRequest: try AgentKeys().request()), agent: identity.agent, presented: certificate, now: time.now)
    }
  }

  @Test("During a rollover of the CA both roots are trusted, and old certificates stay good")
  func rollover() async throws {
    let desk = try await desk()
    let old = try await enrol(desk, try await token(desk))
    try await desk.authority.prepareNext(now: time.now)
    #expect(desk.authority.roots.count == 2)
    #expect(try await desk.authority.activatePrepared(now: time.now))
    #expect(desk.authority.roots.count == 2)
    #expect(desk.authority.didIssue(old.certificate))
    let new = try await enrol(desk, try await token(desk), name: "agent2")
    #expect(desk.authority.didIssue(new.certificate))
    time.advance(by: AgentAuthority.agentCertificateLife + AgentAuthority.renewalGrace)
    try await desk.authority.advance(now: time.now)
    #expect(desk.authority.roots.count == 1)
    #expect(!desk.authority.didIssue(old.certificate))
    #expect(desk.authority.didIssue(new.certificate))
  }

  @Test("Another node that starts reads the same ring and sealing key")
  func sharedByNodes() async throws {
    let desk = try await desk()
    let other = try await AgentAuthority.load(store: desk.store, protector: PlainProtector(), now: time.now)
    #expect(other.roots == desk.authority.roots)
    #expect(other.sealingKey.rawRepresentation == desk.authority.sealingKey.rawRepresentation)
  }

  @Test("A request decides nothing but its keys: no other name, no CA, no other agent")
  func requestIsOnlyKeys() async throws {
    let desk = try await desk()
    let key = P256.Signing.PrivateKey()
    let sealing = Curve25519.KeyAgreement.PrivateKey().publicKey
    let names = SubjectAlternativeNames([
      .dnsName("gateway.test"), .uniformResourceIdentifier("urn:gatehouse:agent:\(Identifier())"),
      .uniformResourceIdentifier("urn:gatehouse:sealing-key:x25519:\(Array(sealing.rawRepresentation).base64URL)"),
    ])
    let wanted = try Certificate.Extensions {
      names
      Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
    }
    let request = try CertificateSigningRequest(
      version: .v1, subject: try DistinguishedName { CommonName("administrator") }, privateKey: Certificate.PrivateKey(key),
      attributes: CertificateSigningRequest.Attributes([CertificateSigningRequest.Attribute(ExtensionRequest(extensions: wanted))]),
      signatureAlgorithm: .ecdsaWithSHA256)
    var serializer = DER.Serializer()
    try serializer.serialize(request)
    let agent = Identifier()
    let issued = try desk.authority.issue(requestDER: serializer.serializedBytes, agent: agent, name: "agent1", now: time.now)
    let certificate = try Certificate(derEncoded: issued.der)
    #expect(issued.agent == agent)
    #expect(try certificate.extensions.basicConstraints == .notCertificateAuthority)
    #expect(certificate.subject.description.contains("agent1"))
    #expect(!"\(String(describing: try certificate.extensions.subjectAlternativeNames))".contains("gateway.test"))
  }

  @Test("Requests without proof of the key, with another kind of key or without the sealing key are unusable")
  func unusableRequests() async throws {
    let desk = try await desk()
    let good = try #require(StrictText.base64(try AgentKeys().request()))
    var forged = good
    forged[forged.count - 1] ^= 1
    let p384 = P384.Signing.PrivateKey()
    let other = try CertificateSigningRequest(
      version: .v1, subject: try DistinguishedName { CommonName("x") }, privateKey: Certificate.PrivateKey(p384),
      attributes: CertificateSigningRequest.Attributes([]), signatureAlgorithm: .ecdsaWithSHA384)
    var serializer = DER.Serializer()
    try serializer.serialize(other)
    for request in [forged, serializer.serializedBytes, [], [0x30], [UInt8](repeating: 0x30, count: 9000)] {
      #expect(throws: AgentAuthority.RequestUnusable.self) {
        try desk.authority.issue(requestDER: request, agent: Identifier(), name: "a", now: time.now)
      }
    }
  }
}

@Suite("The text of a token")
struct EnrolmentTokenTests {
  let token = EnrolmentToken(
    secret: Secret([UInt8](repeating: 7, count: 32)), rootDigest: [UInt8](repeating: 8, count: 32), gatewayKey: [UInt8](repeating: 9, count: 32),
    url: "https://gateway.test:8443")

  @Test("It comes back as it went, white space around it forgiven")
  func roundTrip() throws {
    let read = try EnrolmentToken("  \(token.text)\n")
    #expect(read.url == token.url && read.rootDigest == token.rootDigest && read.gatewayKey == token.gatewayKey)
    #expect(read.secret.matches(token.secret))
    #expect("\(read)" == "<redacted>")
  }

  @Test(
    "Cut, changed or foreign texts are told apart from tokens",
    arguments: ["", "x", "gatehouse-enrol-1", "gatehouse-enrol-1..", "gatehouse-enrol-2.AAAA.AAAA"])
  func notTokens(text: String) { #expect(throws: EnrolmentToken.Problem.self) { try EnrolmentToken(text) } }

  @Test("Every single damaged character is noticed")
  func damage() {
    let text = Array(token.text.utf8)
    for index in text.indices {
      var damaged = text
      damaged[index] = damaged[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
      #expect(throws: EnrolmentToken.Problem.self) { try EnrolmentToken(String(decoding: damaged, as: UTF8.self)) }
      #expect(throws: EnrolmentToken.Problem.self) { try EnrolmentToken(String(decoding: text.prefix(index), as: UTF8.self)) }
    }
  }
}
