import Bytes
import CertificateLifecycle
import Cryptography
import Foundation
import Identity
import Synchronization

/// The keys that tokens and metadata are signed with, and the one that relying parties encrypt to.
///
/// Kept in the store, encrypted by the `SecretProtector`, as one document with a version: several gateways share it, and a race between two of them is
/// settled there. A key is stored before anybody sees its certificate. Metadata has a key of its own that outlives the token-signing keys, so that a
/// relying party that pins the signer of metadata goes on reading it at a rollover.
package final class TokenSigningKeys: Sendable {
  /// A key with its certificate, ready to sign.
  package struct Signer: Sendable {
    package let id: String
    package let key: SigningKey
    /// DER.
    package let certificate: [UInt8]
    package let notAfter: Instant
  }

  static let certificateLife: Duration = .seconds(3 * 365 * 86_400)
  static let metadataCertificateLife: Duration = .seconds(20 * 365 * 86_400)
  private static let alarmBefore: Duration = .seconds(60 * 86_400)
  private static let documentName = "token-signing-keys"

  private let store: any DocumentStore
  private let protector: any SecretProtector
  private let clock: @Sendable () -> Instant
  private let state: Mutex<State>

  /// The document as it is stored.
  fileprivate struct Stored: Codable {
    struct Key: Codable {
      var id: String
      /// PKCS#8 DER; nil once the key was destroyed.
      var key: Data?
      /// DER.
      var certificate: Data
    }
    var places: [SigningKeyPlace] = []
    var keys: [Key] = []
    var metadata: Key?
    var metadataEnds: Instant?
    var decryption: [Key] = []
  }

  fileprivate struct State {
    var stored: Stored
    var version: Int64
    var signers: [String: Signer]
    var metadata: Signer?
    var decryption: [(key: DecryptionKey, certificate: [UInt8])]
  }

  /// Loads the keys, making those that do not exist yet. Throws `StoreError`, or what the protector or the key generator throws.
  ///
  /// - Parameter host: stands in the certificates' names, for people; nobody checks it.
  package static func load(
    store: any DocumentStore, protector: any SecretProtector, host: String, now clock: @escaping @Sendable () -> Instant
  ) async throws -> TokenSigningKeys {
    for _ in 0..<4 {
      let now = clock()
      let document = try await store.document(documentName)
      var stored = Stored()
      if let document {
        stored = try protector.reveal(document.ciphertext, context: documentName).withBytes { try JSONDecoder().decode(Stored.self, from: Data($0)) }
      }
      var events: [AuditEvent] = []
      for family in SigningKeyFamily.allCases where !stored.places.contains(where: { $0.family == family && $0.state == .primary }) {
        let made = try makeKey(family, name: "Gatehouse token signing - \(host)", life: certificateLife, now: now)
        stored.keys.append(made)
        stored.places.append(
          SigningKeyPlace(id: made.id, family: family, state: .primary, prepared: now, notAfter: now.adding(certificateLife)))
        events.append(event(.signingKeyMade, made, purpose: "token-signing \(family.rawValue)", now: now))
      }
      if stored.metadata == nil {
        let made = try makeKey(.rsa, name: "Gatehouse metadata signing - \(host)", life: metadataCertificateLife, now: now)
        (stored.metadata, stored.metadataEnds) = (made, now.adding(metadataCertificateLife))
        events.append(event(.signingKeyMade, made, purpose: "metadata-signing", now: now))
      }
      if stored.decryption.isEmpty {
        let made = try makeKey(.rsa, name: "Gatehouse token decrypting - \(host)", life: metadataCertificateLife, now: now)
        stored.decryption.append(made)
        events.append(event(.signingKeyMade, made, purpose: "token-decrypting", now: now))
      }
      let version = document?.version ?? 0
      guard !events.isEmpty else {
        return TokenSigningKeys(store: store, protector: protector, clock: clock, state: try State(stored, version: version))
      }
      do {
        let bytes = Secret(try JSONEncoder().encode(stored))
        try await store.putDocument(
          ProtectedDocument(name: documentName, ciphertext: try protector.protect(bytes, context: documentName), version: version), audit: events)
        return TokenSigningKeys(store: store, protector: protector, clock: clock, state: try State(stored, version: version + 1))
      } catch StoreError.conflict { continue }  // another gateway made them at the same moment: read its
    }
    throw StoreError.unavailable("the token-signing keys change too often to be read")
  }

  private init(
    store: any DocumentStore, protector: any SecretProtector, clock: @escaping @Sendable () -> Instant, state: sending State
  ) {
    self.clock = clock
    self.store = store
    self.protector = protector
    self.state = Mutex(state)
  }

  /// Reads the keys anew where another gateway has changed them. Throws `StoreError`.
  package func refresh() async throws {
    guard let document = try await store.document(TokenSigningKeys.documentName),
      state.withLock({ $0.version != document.version })
    else { return }
    let stored = try protector.reveal(document.ciphertext, context: TokenSigningKeys.documentName).withBytes {
      try JSONDecoder().decode(Stored.self, from: Data($0))
    }
    let fresh = try State(stored, version: document.version)
    state.withLock { $0 = fresh }
  }

  /// What signs a relying party's tokens: one key for all kinds of its messages.
  package func signer(for party: RelyingParty) -> Signer? {
    state.withLock { state in
      SigningKeyRing.signer(state.stored.places, family: party.signatureAlgorithm.family, assigned: party.signingKey).flatMap { state.signers[$0.id] }
    }
  }

  /// The certificates that metadata shows, in its order: for one relying party, or for whoever asks.
  package func published(for party: RelyingParty? = nil) -> [[UInt8]] {
    state.withLock { state in
      SigningKeyRing.published(state.stored.places, family: party?.signatureAlgorithm.family ?? .rsa, assigned: party?.signingKey)
        .compactMap { state.signers[$0.id]?.certificate }
    }
  }

  package var metadataSigner: Signer? { state.withLock { $0.metadata } }
  package var decryptionKeys: [DecryptionKey] { state.withLock { $0.decryption.map(\.key) } }
  package var encryptionCertificates: [[UInt8]] { state.withLock { $0.decryption.map(\.certificate) } }

  /// Every key's place with its certificate, for people.
  package var places: [(place: SigningKeyPlace, certificate: [UInt8])] {
    state.withLock { state in
      state.stored.places.map { place in (place, state.stored.keys.first { $0.id == place.id }.map { Array($0.certificate) } ?? []) }
    }
  }

  private static func makeKey(_ family: SigningKeyFamily, name: String, life: Duration, now: Instant) throws -> Stored.Key {
    let key = try SigningKey.generate(family == .rsa ? .rsa2048 : .p256)
    // Whoever compares clocks with ours must not find it from the future.
    let certificate = try SelfSignedCertificate.make(
      key: key, commonName: name, notBefore: now.adding(.seconds(-300)), notAfter: now.adding(life))
    return Stored.Key(
      id: String(Digests.sha256(certificate).hexadecimal.prefix(16)), key: try key.pkcs8.withBytes { Data($0) }, certificate: Data(certificate))
  }

  private static func event(_ kind: AuditKind, _ key: Stored.Key, purpose: String, now: Instant) -> AuditEvent {
    AuditEvent(
      time: now, kind: kind, actor: "gatehouse", subject: key.id, outcome: "done",
      details: ["purpose": purpose, "certificate": Digests.sha256(Array(key.certificate)).hexadecimal])
  }
}

extension TokenSigningKeys.State {
  init(_ stored: TokenSigningKeys.Stored, version: Int64) throws {
    self.stored = stored
    self.version = version
    signers = [:]
    for place in stored.places where place.state.isInMetadata {
      guard let kept = stored.keys.first(where: { $0.id == place.id }), let key = kept.key else { continue }
      signers[place.id] = TokenSigningKeys.Signer(
        id: place.id, key: try SigningKey(pkcs8: Secret(key)), certificate: Array(kept.certificate), notAfter: place.notAfter)
    }
    if let kept = stored.metadata, let key = kept.key {
      metadata = TokenSigningKeys.Signer(
        id: kept.id, key: try SigningKey(pkcs8: Secret(key)), certificate: Array(kept.certificate),
        notAfter: stored.metadataEnds ?? Instant(milliseconds: .max))
    }
    decryption = []
    for kept in stored.decryption {
      guard let key = kept.key else { continue }
      decryption.append((try DecryptionKey(pkcs8: Secret(key)), Array(kept.certificate)))
    }
  }
}

extension SignatureAlgorithm {
  /// The keys that can sign with it.
  package var family: SigningKeyFamily {
    switch self {
    case .rsaSHA256, .rsaSHA384, .rsaSHA512, .rsaSHA1: .rsa
    case .ecdsaSHA256, .ecdsaSHA384: .ecdsa
    }
  }
}

extension TokenSigningKeys: AlarmSource {
  package func alarms() async -> [Alarm] {
    let now = clock()
    var alarms: [Alarm] = []
    for (place, _) in places where place.state == .primary && place.notAfter.since(now) < TokenSigningKeys.alarmBefore {
      alarms.append(
        Alarm(
          .certificateExpiring, subject: "token-signing \(place.family.rawValue) \(place.id)",
          message: "The token-signing certificate ends \(place.notAfter); relying parties that check that will then refuse every sign-in.",
          remedy: "See `gatehouse certs list`.", since: place.notAfter.adding(.zero - TokenSigningKeys.alarmBefore)))
    }
    return alarms
  }
}
