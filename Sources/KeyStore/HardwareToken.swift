import Bytes
import Cryptography
import Federation
import Identity
import Logging
import Synchronization

/// Signing keys in a PKCS #11 token. They are made there and never leave it.
///
/// The module is called on threads of this door only. A signature blocks its caller for as long as the token needs, milliseconds; no longer than
/// `Settings.signLimit`, and not at all while the token is away or as many wait as may. After one call that hangs the token counts as away, so that few
/// callers ever wait that long. What became of the token is told by an alarm and the log, and mended by itself.
///
/// One process opens a module once: two of these over one module would end each other's sessions.
package final class HardwareToken: SigningKeyVault, AlarmSource {
  /// Where the token is.
  package struct Settings: Sendable, Equatable {
    /// The absolute path of the PKCS #11 module.
    package var module: String
    /// The token's label (CKA_LABEL, at most 32 bytes), or its serial number.
    package var token: String
    /// A file with the user PIN as its first line.
    package var pinFile: String
    /// How many signatures are under way at once.
    package var sessions = 8
    /// How many questions may wait or be under way.
    package var mostWaiting = 64
    /// From the question to the signature.
    package var signLimit: Duration = .seconds(5)
    /// The same for making and destroying a key.
    package var makeLimit: Duration = .seconds(60)
    /// How often a token that nobody uses is looked after.
    package var probeInterval: Duration = .seconds(1)

    package init(module: String, token: String, pinFile: String) {
      (self.module, self.token, self.pinFile) = (module, token, pinFile)
    }
  }

  private struct Trouble { var fault: TokenFault, since: Instant }

  private let settings: Settings
  let threads: TokenThreads
  private let trouble: TroubleBox

  /// Begins to open the token and returns at once; questions wait meanwhile.
  package init(_ settings: Settings, now: @escaping @Sendable () -> Instant, logger: Logger) {
    self.settings = settings
    let trouble = TroubleBox()
    self.trouble = trouble
    threads = TokenThreads(settings) { standing in
      switch standing {
      case .opening: logger.notice("the token with the signing keys is opened", metadata: ["token": "\(settings.token)"])
      case .open:
        trouble.value.withLock { $0 = nil }
        logger.notice("the token with the signing keys is open", metadata: ["token": "\(settings.token)"])
      case .away(let fault):
        trouble.value.withLock { $0 = Trouble(fault: fault, since: $0?.since ?? now()) }
        logger.error("the token with the signing keys is away", metadata: ["token": "\(settings.token)", "reason": "\(fault)"])
      }
    }
  }

  deinit { threads.stop() }

  private final class TroubleBox: Sendable { let value = Mutex<Trouble?>(nil) }

  /// Ends the threads and the module; what waits is refused. Returns once that is done, at the latest after two seconds: a call that hangs is left to itself.
  package func close() async {
    threads.stop()
    for _ in 0..<100 where !threads.hasClosed { try? await Task.sleep(for: .milliseconds(20)) }
  }

  package func alarms() async -> [Alarm] {
    guard let trouble = trouble.value.withLock({ $0 }) else { return [] }
    return [
      Alarm(
        .signingTokenAway, subject: String(settings.token.prefix(64)),
        message: "Tokens cannot be signed, and sign-ins for relying parties are answered 503: \(trouble.fault).",
        remedy: trouble.fault.remedy(settings), since: trouble.since)
    ]
  }

  // MARK: Keys

  package func makeKey(_ kind: SigningKey.Kind, name: String) async throws(SigningKeyVaultFault) -> VaultKey {
    let id = RandomBytes.generate(TokenKeyReference.idLength)
    let label = String(decoding: name.utf8.filter { (0x20...0x7e).contains($0) }.prefix(64), as: UTF8.self)
    let tokenKind = TokenKeyKind(kind)
    let job = TokenJob(limit: settings.makeLimit, isSlow: true, undo: { session, _ in try? HardwareToken.destroy(id, session) }) {
      session throws(TokenFault) in
      // What a first try left behind before the token was lost.
      try HardwareToken.destroy(id, session)
      let handle = try session.handle()
      let (publicKey, _) = try session.module.generate(handle, tokenKind, id: id, label: label)
      return try session.module.publicKey(handle, publicKey, tokenKind)
    }
    let bytes: [UInt8]
    do throws(TokenFault) {
      try threads.submit(job)
      bytes = try await job.value()
    } catch { throw HardwareToken.translated(error) }
    let reference = TokenKeyReference(id: id).text
    do throws(CryptographyFault) {
      return VaultKey(reference: reference, key: key(id: id, publicKey: try VerificationKey(subjectPublicKeyInfo: bytes)))
    } catch {
      try await destroyKey(reference: reference)
      throw .refused("the public key that it tells of cannot be used")
    }
  }

  package func key(reference: String, publicKey: VerificationKey) throws(SigningKeyVaultFault) -> SigningKey {
    guard let known = TokenKeyReference(reference) else { throw .reference(String(reference.prefix(64))) }
    return key(id: known.id, publicKey: publicKey)
  }

  package func destroyKey(reference: String) async throws(SigningKeyVaultFault) {
    guard let known = TokenKeyReference(reference) else { throw .reference(String(reference.prefix(64))) }
    let job = TokenJob(limit: settings.makeLimit) { session throws(TokenFault) in
      try HardwareToken.destroy(known.id, session)
      return []
    }
    do throws(TokenFault) {
      try threads.submit(job)
      _ = try await job.value()
    } catch { throw HardwareToken.translated(error) }
  }

  private func key(id: [UInt8], publicKey: VerificationKey) -> SigningKey {
    SigningKey(remote: TokenSigner(id: id, token: self), publicKey: publicKey)
  }

  fileprivate func sign(id: [UInt8], _ bytes: [UInt8], with algorithm: SignatureAlgorithm) throws(CryptographyFault) -> [UInt8] {
    let (isRSA, input) = TokenSignature.input(bytes, algorithm)
    let job = TokenJob(limit: settings.signLimit) { session throws(TokenFault) in
      try session.sign(id, isRSA: isRSA, input)
    }
    do throws(TokenFault) {
      try threads.submit(job)
      return try job.wait()
    } catch { throw .tokenAway("\(error)") }
  }

  /// Both halves, and whatever else bears the id.
  private static func destroy(_ id: [UInt8], _ session: TokenSession) throws(TokenFault) {
    session.forget(id)
    let handle = try session.handle()
    for isPrivate in [true, false] {
      var left = 8
      while let object = try session.module.find(handle, isPrivate: isPrivate, id: id) {
        guard left > 0 else { throw .refused("it destroys a key and has it still") }
        left -= 1
        try session.module.destroy(handle, object)
      }
    }
  }

  private static func translated(_ fault: TokenFault) -> SigningKeyVaultFault {
    switch fault {
    case .refused, .noKey: .refused("\(fault)")
    case .module, .absent, .pin, .lost, .staleHandle, .silent, .busy, .cancelled, .closed: .away("\(fault)")
    }
  }
}

/// One key of the token.
private struct TokenSigner: RemoteSigner {
  let id: [UInt8]
  let token: HardwareToken

  func sign(_ bytes: [UInt8], with algorithm: SignatureAlgorithm) throws(CryptographyFault) -> [UInt8] {
    try token.sign(id: id, bytes, with: algorithm)
  }
}
