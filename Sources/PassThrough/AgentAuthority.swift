import Bytes
import CertificateLifecycle
import Crypto
import Cryptography
import Foundation
import Identity
import Logging
import SwiftASN1
import Synchronization
import X509

/// The gateway's own certificate authority for agents and for the listener that they dial, and the gateway's sealing key.
///
/// Both are kept in the store, encrypted by the `SecretProtector`, as documents with a version: several gateways share them, and a race between
/// two of them is settled there. The CA rolls over by itself (`CertificateRing`); while it does, two roots are trusted.
package final class AgentAuthority: Sendable {
  /// An agent's certificate lives 30 days, is renewed daily, and may be renewed for 30 days after its end.
  package static let agentCertificateLife: Duration = .seconds(30 * 86_400)
  package static let renewalGrace: Duration = .seconds(30 * 86_400)
  static let rootLife: Duration = .seconds(5 * 365 * 86_400)
  static let policy = RingPolicy(
    prepareBefore: .seconds(365 * 86_400), publishFor: .seconds(60 * 86_400), retireAfter: agentCertificateLife + renewalGrace)
  private static let ringDocument = "agent-authority"
  private static let sealingDocument = "gateway-sealing-key"

  private let store: any AgentStore
  private let protector: any SecretProtector
  private let state: Mutex<State>

  private struct State {
    var ring: StoredRing
    var version: Int64
    var sealingKey: Curve25519.KeyAgreement.PrivateKey
  }

  /// The ring as it is stored: places, certificates and keys.
  private struct StoredRing: Codable {
    struct Member: Codable {
      var place: RingKey
      /// DER.
      var certificate: Data
      /// PKCS#8-free raw P-256 scalar, 32 bytes.
      var key: Data
    }
    var members: [Member] = []
  }

  /// Loads ring and sealing key, making what does not exist yet. Throws `StoreError`, or what the protector throws.
  package static func load(store: any AgentStore, protector: any SecretProtector, now: Instant) async throws -> AgentAuthority {
    let sealing = try await loadOrMake(sealingDocument, store: store, protector: protector) {
      Secret(Curve25519.KeyAgreement.PrivateKey().rawRepresentation)
    }
    let key = try sealing.secret.withBytes { try Curve25519.KeyAgreement.PrivateKey(rawRepresentation: Data($0)) }
    let ring = try await loadOrMake(ringDocument, store: store, protector: protector) {
      Secret(try JSONEncoder().encode(StoredRing()))
    }
    let stored = try ring.secret.withBytes { try JSONDecoder().decode(StoredRing.self, from: Data($0)) }
    let authority = AgentAuthority(
      store: store, protector: protector, state: State(ring: stored, version: ring.version, sealingKey: key))
    // What else is due is the service's, which watches the clock.
    if !stored.members.contains(where: { $0.place.state == .active }) { try await authority.advance(now: now) }
    return authority
  }

  private init(store: any AgentStore, protector: any SecretProtector, state: sending State) {
    self.store = store
    self.protector = protector
    self.state = Mutex(state)
  }

  /// Takes every step that the ring needs at `now`; called at start and daily. A lost race is no error: the winner's ring is read.
  package func advance(now: Instant) async throws {
    // A ring needs at most three steps at once (prepare, activate, remove); the bound only guards against a rule that contradicts itself.
    for _ in 0..<8 {
      let (ring, version) = state.withLock { ($0.ring, $0.version) }
      guard let step = CertificateRing.next(ring.members.map(\.place), policy: AgentAuthority.policy, now: now) else { return }
      try await take(step, ring: ring, version: version, now: now)
    }
  }

  /// Begins a rollover now: prepares the next root (if none is prepared), which all agents then learn with their heartbeats.
  package func prepareNext(now: Instant) async throws {
    let (ring, version) = state.withLock { ($0.ring, $0.version) }
    guard !ring.members.contains(where: { $0.place.state == .prepared }) else { return }
    try await take(.prepare, ring: ring, version: version, now: now)
  }

  /// Activates the prepared root; false where none is prepared.
  package func activatePrepared(now: Instant) async throws -> Bool {
    let (ring, version) = state.withLock { ($0.ring, $0.version) }
    guard let waiting = ring.members.first(where: { $0.place.state == .prepared }) else { return false }
    try await take(.activate(id: waiting.place.id), ring: ring, version: version, now: now)
    return true
  }

  private func take(_ step: RingStep, ring: StoredRing, version: Int64, now: Instant) async throws {
    var ring = ring
    let event: (AuditKind, String)
    switch step {
    case .prepare:
      let member = try AgentAuthority.makeRoot(now: now)
      ring.members.append(member)
      event = (.authorityPrepared, member.place.id)
    case .activate(let id):
      let places = CertificateRing.activating(id, in: ring.members.map(\.place), now: now)
      for (index, place) in places.enumerated() where ring.members.indices.contains(index) { ring.members[index].place = place }
      event = (.authorityPromoted, id)
    case .remove(let id):
      ring.members.removeAll { $0.place.id == id }
      event = (.authorityRetired, id)
    }
    let audit = AuditEvent(time: now, kind: event.0, actor: "gatehouse", subject: event.1, outcome: "done")
    let plaintext = Secret(try JSONEncoder().encode(ring))
    let document = ProtectedDocument(
      name: AgentAuthority.ringDocument, ciphertext: try protector.protect(plaintext, context: AgentAuthority.ringDocument), version: version)
    do {
      try await store.putDocument(document, audit: [audit])
      let settled = ring
      state.withLock { ($0.ring, $0.version) = (settled, version + 1) }
    } catch StoreError.conflict {
      try await reload()
    }
  }

  private func reload() async throws {
    guard let document = try await store.document(AgentAuthority.ringDocument) else { return }
    let secret = try protector.reveal(document.ciphertext, context: document.name)
    let ring = try secret.withBytes { try JSONDecoder().decode(StoredRing.self, from: Data($0)) }
    state.withLock { ($0.ring, $0.version) = (ring, document.version) }
  }

  // MARK: what others need of it

  /// The private key to which enrolments are sealed and in whose name lanes are sealed.
  package var sealingKey: Curve25519.KeyAgreement.PrivateKey { state.withLock { $0.sealingKey } }

  /// DER of every root that is trusted now, the active one first.
  package var roots: [[UInt8]] {
    state.withLock { state in
      let active = state.ring.members.filter { $0.place.state == .active }
      let others = state.ring.members.filter { $0.place.state != .active }
      return (active + others).map { Array($0.certificate) }
    }
  }

  /// The roots and where they stand, for people.
  package var rootStates: [RootState] {
    state.withLock { state in
      state.ring.members.map {
        RootState(
          id: $0.place.id, state: $0.place.state.rawValue, prepared: $0.place.prepared, activated: $0.place.activated, ends: $0.place.notAfter)
      }
    }
  }

  /// One root of the CA: `prepared`, `active` or `retiring`.
  package struct RootState: Sendable, Equatable {
    package var id: String
    package var state: String
    package var prepared: Instant
    package var activated: Instant?
    package var ends: Instant
  }

  /// Issues an agent's certificate (30 days) for the keys of a request. Throws `RequestUnusable`.
  package func issue(requestDER: [UInt8], agent: Identifier, name: String, now: Instant) throws -> AgentCertificate {
    guard let keys = AgentCertificate.RequestedKeys(requestDER: requestDER) else { throw RequestUnusable() }
    let der = try sign(
      subject: name, publicKey: Certificate.PublicKey(keys.signing), life: AgentAuthority.agentCertificateLife, now: now,
      usage: .clientAuth,
      names: [
        .uniformResourceIdentifier(AgentCertificate.agentPrefix + agent.description),
        .uniformResourceIdentifier(AgentCertificate.sealingPrefix + keys.sealing.base64URL),
      ])
    guard let certificate = AgentCertificate(der: der) else { throw RequestUnusable() }
    return certificate
  }

  /// A fresh key and certificate (30 days) for the listener that agents dial. `names` are DNS names or IP addresses.
  package func issueServerCertificate(names: [String], now: Instant) throws -> (der: [UInt8], key: P256.Signing.PrivateKey) {
    let key = P256.Signing.PrivateKey()
    let general: [GeneralName] = names.map { name in
      IPAddress(name).map { .ipAddress(.init(contentBytes: ArraySlice($0.bytes))) } ?? .dnsName(name)
    }
    let der = try sign(
      subject: "gatehouse", publicKey: Certificate.PublicKey(key.publicKey), life: AgentAuthority.agentCertificateLife, now: now,
      usage: .serverAuth, names: general)
    return (der, key)
  }

  /// Whether `der` was signed by a root that is trusted now. Validity in time is the caller's to judge.
  package func didIssue(_ der: [UInt8]) -> Bool {
    guard let certificate = try? Certificate(derEncoded: der) else { return false }
    return roots.contains { root in
      (try? Certificate(derEncoded: root)).map { $0.publicKey.isValidSignature(certificate.signature, for: certificate) } ?? false
    }
  }

  /// A certificate request that cannot be used: malformed, not signed by its key, or without one of the two keys.
  package struct RequestUnusable: Error {}

  private func sign(
    subject: String, publicKey: Certificate.PublicKey, life: Duration, now: Instant, usage: ExtendedKeyUsage.Usage, names: [GeneralName]
  ) throws -> [UInt8] {
    let active = state.withLock { state in state.ring.members.first { $0.place.state == .active } }
    guard let active else { throw StoreError.unavailable("the agent CA has no active root") }
    let issuer = try Certificate(derEncoded: Array(active.certificate))
    let key = try P256.Signing.PrivateKey(rawRepresentation: active.key)
    let certificate = try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(bytes: [0x01] + RandomBytes.generate(15)), publicKey: publicKey,
      // Five minutes back: an agent's clock may be behind the gateway's.
      notValidBefore: now.adding(.seconds(-300)).date, notValidAfter: min(now.adding(life), active.place.notAfter).date,
      issuer: issuer.subject, subject: try DistinguishedName { CommonName(subject) }, signatureAlgorithm: .ecdsaWithSHA256,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.notCertificateAuthority)
        Critical(KeyUsage(digitalSignature: true))
        try ExtendedKeyUsage([usage])
        SubjectAlternativeNames(names)
      },
      issuerPrivateKey: Certificate.PrivateKey(key))
    return try certificate.serializeAsPEM().derBytes
  }

  private static func makeRoot(now: Instant) throws -> StoredRing.Member {
    let key = P256.Signing.PrivateKey()
    let id = Identifier().description
    let name = try DistinguishedName { CommonName("Gatehouse agent CA \(id.prefix(8))") }
    let notAfter = now.adding(rootLife)
    let certificate = try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(bytes: [0x01] + RandomBytes.generate(15)),
      publicKey: Certificate.PublicKey(key.publicKey), notValidBefore: now.adding(.seconds(-300)).date, notValidAfter: notAfter.date,
      issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
        Critical(KeyUsage(keyCertSign: true, cRLSign: true))
      },
      issuerPrivateKey: Certificate.PrivateKey(key))
    return StoredRing.Member(
      place: RingKey(id: id, state: .prepared, prepared: now, notAfter: notAfter),
      certificate: Data(try certificate.serializeAsPEM().derBytes), key: key.rawRepresentation)
  }

  private static func loadOrMake(
    _ name: String, store: any AgentStore, protector: any SecretProtector, make: () throws -> Secret
  ) async throws -> (secret: Secret, version: Int64) {
    if let document = try await store.document(name) {
      return (try protector.reveal(document.ciphertext, context: name), document.version)
    }
    let secret = try make()
    do {
      try await store.putDocument(ProtectedDocument(name: name, ciphertext: try protector.protect(secret, context: name)), audit: [])
      return (secret, 1)
    } catch StoreError.conflict {
      // Another node made it in this moment.
      guard let document = try await store.document(name) else { throw StoreError.unavailable("\(name) vanished") }
      return (try protector.reveal(document.ciphertext, context: name), document.version)
    }
  }
}
