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

  static let metadataCertificateLife: Duration = .seconds(20 * 365 * 86_400)
  private static let documentName = "token-signing-keys"

  private let store: any DocumentStore
  private let protector: any SecretProtector
  /// Where token-signing keys are made and stay; nil: in the store.
  private let vault: (any SigningKeyVault)?
  private let host: String
  private let state: Mutex<State>

  /// A private key as it is stored, with its certificate.
  package struct StoredKey: Sendable, Codable {
    package var id: String
    /// PKCS#8 DER; nil once the key was destroyed, and of a key in a vault.
    var key: Data?
    /// Of a key in a vault; nil once it was destroyed there.
    var reference: String?
    /// DER.
    package var certificate: Data
  }

  /// The document as it is stored.
  struct Stored: Codable {
    var places: [SigningKeyPlace] = []
    /// Of later versions than the first, which had none.
    var assignments: [String: String]?
    var policy: RolloverPolicy?
    /// 32 bytes that make addresses unguessable: relying parties' own metadata URLs, and links for their owners.
    var addressSecret: Data?
    var keys: [StoredKey] = []
    var metadata: StoredKey?
    var metadataEnds: Instant?
    var decryption: [StoredKey] = []

    var ring: SigningKeyRing {
      get { SigningKeyRing(places: places, assignments: assignments ?? [:]) }
      set { (places, assignments) = (newValue.places, newValue.assignments) }
    }
  }

  struct State {
    var stored: Stored
    /// Of `stored`.
    var ring: SigningKeyRing
    var version: Int64
    var signers: [String: Signer]
    var metadata: Signer?
    var decryption: [(key: DecryptionKey, certificate: [UInt8])]
  }

  /// Loads the keys, making those that do not exist yet. Throws `StoreError`, or what the protector or the key generator throws.
  ///
  /// - Parameters:
  ///   - vault: where token-signing keys are made from now on; those that are in the store stay there until they are retired. The keys for metadata and
  ///     decryption are not the vault's: both go on while it is away.
  ///   - retired: keys that are known to have been retired, though the store may have been put back to when they were not.
  ///   - host: stands in the certificates' names, for people; nobody checks it.
  package static func load(
    store: any DocumentStore, protector: any SecretProtector, vault: (any SigningKeyVault)? = nil, retired: Set<String> = [], host: String,
    now clock: @escaping @Sendable () -> Instant
  ) async throws -> TokenSigningKeys {
    for _ in 0..<4 {
      let now = clock()
      let document = try await store.document(documentName)
      var stored = try document.map { try read($0, protector) } ?? Stored()
      var events: [AuditEvent] = []
      var ring = stored.ring
      for id in try ring.giveUp(retired, now: now) {
        events.append(
          AuditEvent(
            time: now, kind: .signingKeyRetired, actor: "gatehouse", subject: id, outcome: "done",
            details: ["reason": "it was retired before the restore"]))
      }
      stored.ring = ring
      for index in stored.keys.indices where ring[stored.keys[index].id]?.state == .retired { stored.keys[index].key = nil }
      let life = (stored.policy ?? RolloverPolicy()).certificateDuration
      for family in SigningKeyFamily.allCases where stored.ring.primary(of: family) == nil {
        // A ring that lost its primary has a next key perhaps; the service promotes that. Only one without any starts anew.
        guard stored.ring.next(of: family) == nil else { continue }
        let made = try await makeKey(
          family == .rsa ? .rsa2048 : .p256, name: "Gatehouse token signing - \(host)", life: life, vault: vault, now: now)
        stored.keys.append(made)
        stored.places.append(SigningKeyPlace(id: made.id, family: family, state: .primary, prepared: now, notAfter: now.adding(life)))
        events.append(event(.signingKeyMade, made, purpose: "token-signing \(family.rawValue)", now: now))
      }
      if stored.metadata == nil {
        let made = try await makeKey(.rsa2048, name: "Gatehouse metadata signing - \(host)", life: metadataCertificateLife, now: now)
        (stored.metadata, stored.metadataEnds) = (made, now.adding(metadataCertificateLife))
        events.append(event(.signingKeyMade, made, purpose: "metadata-signing", now: now))
      }
      if stored.decryption.isEmpty {
        let made = try await makeKey(.rsa2048, name: "Gatehouse token decrypting - \(host)", life: metadataCertificateLife, now: now)
        stored.decryption.append(made)
        events.append(event(.signingKeyMade, made, purpose: "token-decrypting", now: now))
      }
      let lacksSecret = stored.addressSecret == nil
      if lacksSecret { stored.addressSecret = Data(RandomBytes.generate(32)) }
      let version = document?.version ?? 0
      if events.isEmpty, !lacksSecret {
        return TokenSigningKeys(store: store, protector: protector, vault: vault, host: host, state: try State(stored, vault, version: version))
      }
      do {
        try await put(stored, version: version, store, protector, audit: events)
        return TokenSigningKeys(store: store, protector: protector, vault: vault, host: host, state: try State(stored, vault, version: version + 1))
      } catch StoreError.conflict {
        // Another gateway made them at the same moment: read its, and leave none of ours in the vault.
        for key in stored.keys { if let reference = key.reference, document == nil { try? await vault?.destroyKey(reference: reference) } }
      }
    }
    throw StoreError.unavailable("the token-signing keys change too often to be read")
  }

  private init(
    store: any DocumentStore, protector: any SecretProtector, vault: (any SigningKeyVault)?, host: String, state: sending State
  ) {
    self.vault = vault
    self.store = store
    self.protector = protector
    self.host = host
    self.state = Mutex(state)
  }

  private static func read(_ document: ProtectedDocument, _ protector: any SecretProtector) throws -> Stored {
    try protector.reveal(document.ciphertext, context: documentName).withBytes { try JSONDecoder().decode(Stored.self, from: Data($0)) }
  }

  private static func put(
    _ stored: Stored, version: Int64, _ store: any DocumentStore, _ protector: any SecretProtector, audit: [AuditEvent]
  ) async throws {
    let bytes = Secret(try JSONEncoder().encode(stored))
    try await store.putDocument(
      ProtectedDocument(name: documentName, ciphertext: try protector.protect(bytes, context: documentName), version: version), audit: audit)
  }

  /// Reads the keys anew where another gateway has changed them. Throws `StoreError`.
  package func refresh() async throws {
    guard let document = try await store.document(TokenSigningKeys.documentName),
      state.withLock({ $0.version != document.version })
    else { return }
    try adopt(try TokenSigningKeys.read(document, protector), version: document.version)
  }

  private func adopt(_ stored: Stored, version: Int64) throws {
    let fresh = try State(stored, vault, version: version)
    // A copy that was read earlier and arrives later does not take the place of a newer one.
    state.withLock { if $0.version < version { $0 = fresh } }
  }

  /// What a change of the ring may touch.
  package struct Draft {
    var stored: Stored
    package var ring: SigningKeyRing {
      get { stored.ring }
      set { stored.ring = newValue }
    }
    package var policy: RolloverPolicy {
      get { stored.policy ?? RolloverPolicy() }
      set { stored.policy = newValue }
    }
    /// Puts a key into the ring. Throws `RingProblem` where it is there already.
    package mutating func add(_ key: StoredKey, _ place: SigningKeyPlace) throws {
      try stored.ring.add(place)
      stored.keys.append(key)
    }
  }

  /// Changes the ring: by what `body` makes of the newest ring in the store, or not at all where it answers nil. The private keys of what it retired are
  /// destroyed with it. Where another gateway was faster, `body` is asked again. Throws what `body` throws, and `StoreError`.
  ///
  /// - Returns: whether anything was changed.
  @discardableResult
  package func change(_ body: (inout Draft) throws -> [AuditEvent]?) async throws -> Bool {
    for _ in 0..<8 {
      guard let document = try await store.document(TokenSigningKeys.documentName) else {
        throw StoreError.notFound("the token-signing keys are gone from the store")
      }
      var draft = Draft(stored: try TokenSigningKeys.read(document, protector))
      guard let events = try body(&draft) else {
        try adopt(draft.stored, version: document.version)
        return false
      }
      if let fault = draft.ring.fault { throw StoreError.conflict("the ring of token-signing keys would be wrong: \(fault)") }
      for index in draft.stored.keys.indices where draft.ring[draft.stored.keys[index].id]?.state == .retired { draft.stored.keys[index].key = nil }
      do { try await TokenSigningKeys.put(draft.stored, version: document.version, store, protector, audit: events) } catch StoreError.conflict {
        continue
      }
      try adopt(draft.stored, version: document.version + 1)
      return true
    }
    throw StoreError.conflict("the token-signing keys are changed by another gateway again and again; try again")
  }

  package var ring: SigningKeyRing { state.withLock { $0.ring } }
  package var policy: RolloverPolicy { state.withLock { $0.stored.policy ?? RolloverPolicy() } }

  /// What signs a relying party's tokens: one key for all kinds of its messages.
  package func signer(for party: RelyingParty) -> Signer? {
    state.withLock { state in
      // Mostly nobody is assigned to a key of their own: the id's text need not be made then.
      let id = state.ring.assignments.isEmpty ? nil : party.id.description
      return state.ring.signer(for: id, family: party.signatureAlgorithm.family).flatMap { state.signers[$0.id] }
    }
  }

  /// What signs for those who have no assignment of their own: the primary of RSA, which everybody can verify.
  var primarySigner: Signer? { state.withLock { state in state.ring.primary(of: .rsa).flatMap { state.signers[$0.id] } } }

  /// Whether metadata shows more than one key of a family: then a change is under way, or one was.
  func showsSeveral(_ family: SigningKeyFamily) -> Bool {
    state.withLock { state in state.ring.places.count { $0.family == family && $0.state.isInMetadata } > 1 }
  }

  /// One key by its id, while it can sign.
  package func signer(id: String) -> Signer? { state.withLock { $0.signers[id] } }

  /// The certificates that metadata shows, in its order: for one relying party, or for whoever asks.
  package func published(for party: RelyingParty? = nil) -> [(id: String, certificate: [UInt8])] {
    state.withLock { state in
      state.ring.published(for: party?.id.description, family: party?.signatureAlgorithm.family ?? .rsa)
        .compactMap { place in state.signers[place.id].map { (place.id, $0.certificate) } }
    }
  }

  /// 32 hexadecimal digits that only somebody whom we told them knows: of one relying party, for one purpose.
  package func addressToken(_ purpose: String, _ party: Identifier, _ detail: String = "") -> String {
    let secret = state.withLock { Secret($0.stored.addressSecret ?? Data()) }
    return Digests.hmacSHA256("\(purpose) 1|\(party)|\(detail)".utf8, key: secret).prefix(16).hexadecimal
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

  /// A new key with its certificate, not stored yet: in the vault where there is one. Throws `SigningKeyVaultFault`, or what the generator throws.
  package func makeKey(_ kind: SigningKey.Kind, life: Duration, now: Instant) async throws -> StoredKey {
    try await TokenSigningKeys.makeKey(kind, name: "Gatehouse token signing - \(host)", life: life, vault: vault, now: now)
  }

  private static func makeKey(
    _ kind: SigningKey.Kind, name: String, life: Duration, vault: (any SigningKeyVault)? = nil, now: Instant
  ) async throws -> StoredKey {
    let made = try await vault?.makeKey(kind, name: name)
    let key = try made?.key ?? SigningKey.generate(kind)
    do {
      // Whoever compares clocks with ours must not find it from the future.
      let certificate = try SelfSignedCertificate.make(
        key: key, commonName: name, notBefore: now.adding(.seconds(-300)), notAfter: now.adding(life))
      return StoredKey(
        id: keyID(certificate), key: made == nil ? try key.pkcs8.withBytes { Data($0) } : nil, reference: made?.reference,
        certificate: Data(certificate))
    } catch {
      if let reference = made?.reference { try? await vault?.destroyKey(reference: reference) }
      throw error
    }
  }

  private static func keyID(_ certificate: [UInt8]) -> String { String(Digests.sha256(certificate).hexadecimal.prefix(16)) }

  /// A key with the certificate that somebody issued for it. Throws `RingProblem` where keys are kept in a vault: what was outside of it is no secret of it.
  func storedKey(_ key: SigningKey, certificate: [UInt8]) throws -> StoredKey {
    guard vault == nil else {
      throw RingProblem(
        "Token-signing keys are kept in a token, and one from a file would not be in it. Make one there with `gatehouse certs prepare`.")
    }
    return StoredKey(id: TokenSigningKeys.keyID(certificate), key: try key.pkcs8.withBytes { Data($0) }, certificate: Data(certificate))
  }

  /// Gives up a key that was made and then not used: whoever lost a race leaves nothing in the vault.
  func discard(_ key: StoredKey) async {
    guard let reference = key.reference, ring[key.id] == nil else { return }
    try? await vault?.destroyKey(reference: reference)
  }

  /// Destroys in the vault what was retired; a vault that is away is asked again the next time. Throws `StoreError`.
  package func destroyRetired() async throws {
    guard let vault else { return }
    let waiting = state.withLock { state in
      state.stored.keys.filter { $0.reference != nil && state.ring[$0.id]?.state == .retired }
    }
    for key in waiting {
      guard let reference = key.reference, (try? await vault.destroyKey(reference: reference)) != nil else { continue }
      try await change { draft in
        guard let index = draft.stored.keys.firstIndex(where: { $0.id == key.id && $0.reference == reference }) else { return nil }
        draft.stored.keys[index].reference = nil
        return []
      }
    }
  }

  static func event(_ kind: AuditKind, _ key: StoredKey, purpose: String, actor: String = "gatehouse", now: Instant) -> AuditEvent {
    AuditEvent(
      time: now, kind: kind, actor: actor, subject: key.id, outcome: "done",
      details: ["purpose": purpose, "certificate": Digests.sha256(Array(key.certificate)).hexadecimal])
  }
}

extension TokenSigningKeys.State {
  /// Throws `RingProblem` where a key is in a vault and there is none: nothing takes its place.
  init(_ stored: TokenSigningKeys.Stored, _ vault: (any SigningKeyVault)?, version: Int64) throws {
    self.stored = stored
    ring = stored.ring
    self.version = version
    signers = [:]
    for place in stored.places where place.state.isInMetadata {
      guard let kept = stored.keys.first(where: { $0.id == place.id }) else { continue }
      let key: SigningKey
      if let reference = kept.reference {
        guard let vault else {
          throw RingProblem(
            "The token-signing key \(place.id) is in a token, and the configuration names none. Set signingKeys.pkcs11 as it was when the key was made."
          )
        }
        key = try vault.key(reference: reference, publicKey: try VerificationKey(certificate: Array(kept.certificate)))
      } else if let secret = kept.key {
        key = try SigningKey(pkcs8: Secret(secret))
      } else {
        continue
      }
      signers[place.id] = TokenSigningKeys.Signer(id: place.id, key: key, certificate: Array(kept.certificate), notAfter: place.notAfter)
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
