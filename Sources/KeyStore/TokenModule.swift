import Bytes
import CPKCS11
import Synchronization

/// A PKCS #11 module, loaded once for each path and never unloaded. **Every call blocks**; only `TokenThreads` calls.
///
/// `@unchecked Sendable`: a C handle that is never replaced and may be used by many threads at once: the module was told so (CKF_OS_LOCKING_OK).
final class TokenModule: @unchecked Sendable {
  private let pointer: OpaquePointer

  private init(_ pointer: OpaquePointer) { self.pointer = pointer }

  private static let loaded = Mutex<[String: TokenModule]>([:])

  /// The module at `path`. Throws `.module`.
  static func load(_ path: String) throws(TokenFault) -> TokenModule {
    try loaded.withLock { loaded throws(TokenFault) in
      if let module = loaded[path] { return module }
      var problem = [CChar](repeating: 0, count: 512)
      guard let pointer = gatehouse_pkcs11_load(path, &problem, problem.count) else {
        let text = problem.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        throw .module(path: path, reason: String(decoding: text, as: UTF8.self))
      }
      let module = TokenModule(pointer)
      loaded[path] = module
      return module
    }
  }

  func start(path: String) throws(TokenFault) {
    if let fault = TokenFault(gatehouse_pkcs11_start(pointer), "C_Initialize") { throw .module(path: path, reason: "\(fault)") }
  }

  /// No other call may be under way.
  func stop() { gatehouse_pkcs11_stop(pointer) }

  /// The slot of the token with this label or serial number, and its flags. Throws `.absent` or `.lost`.
  func slot(of token: String) throws(TokenFault) -> (slot: UInt, flags: UInt) {
    var slot: UInt = 0
    var flags: UInt = 0
    let answer = gatehouse_pkcs11_find_token(pointer, token, &slot, &flags)
    switch answer {
    case UInt(GATEHOUSE_PKCS11_NO_TOKEN): throw .absent(token: token, reason: "no slot holds a token of this label or serial number")
    case UInt(GATEHOUSE_PKCS11_TWO_TOKENS): throw .absent(token: token, reason: "more than one token is called so; name its serial number")
    default: if let fault = TokenFault(answer, "C_GetSlotList") { throw fault }
    }
    return (slot, flags)
  }

  /// A session that may read and write.
  func open(slot: UInt) throws(TokenFault) -> UInt {
    var session: UInt = 0
    if let fault = TokenFault(gatehouse_pkcs11_open(pointer, slot, &session), "C_OpenSession") { throw fault }
    return session
  }

  func close(_ session: UInt) { gatehouse_pkcs11_close(pointer, session) }

  /// Throws `.pin` where a wrong PIN would lock the token, or has done so. Costs no try.
  func checkPIN(_ flags: UInt) throws(TokenFault) {
    if gatehouse_pkcs11_pin_is_locked(flags) == 1 { throw .pin("its user PIN is locked; the security officer must set it anew") }
    // A gateway that restarts over and over must not be what locks the token.
    if gatehouse_pkcs11_pin_has_one_try(flags) == 1 {
      throw .pin("one try is left before its PIN is locked, which is not ours to spend: log in once with the right PIN and the token's own tool")
    }
  }

  /// Logs the process in. Throws `.pin` where the token refuses, with one try fewer left.
  func logIn(_ session: UInt, pin: Secret) throws(TokenFault) {
    let answer = pin.withBytes { bytes in
      gatehouse_pkcs11_log_in(pointer, session, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count)
    }
    if let fault = TokenFault(answer, "C_Login") { throw fault }
  }

  /// Throws where token or session are not what they were.
  func probe(slot: UInt, session: UInt) throws(TokenFault) {
    if let fault = TokenFault(gatehouse_pkcs11_probe(pointer, slot, session), "the probe") { throw fault }
  }

  /// Makes a pair that signs and stays in the token; its handles. Throws `.refused` where the token would let it out.
  func generate(_ session: UInt, _ kind: TokenKeyKind, id: [UInt8], label: String) throws(TokenFault) -> (publicKey: UInt, privateKey: UInt) {
    var publicKey: UInt = 0
    var privateKey: UInt = 0
    let curve = kind.curve
    let answer = gatehouse_pkcs11_generate(
      pointer, session, kind.bits, curve, curve.count, id, id.count, label, &publicKey, &privateKey)
    if let fault = TokenFault(answer, "C_GenerateKeyPair") { throw fault }
    // Some tokens take the wish and do as they are configured.
    guard stays(session, privateKey) else {
      for object in [publicKey, privateKey] { _ = gatehouse_pkcs11_destroy(pointer, session, object) }
      throw .refused("it makes only keys that can leave it")
    }
    return (publicKey, privateKey)
  }

  /// Whether a private key can never leave the token.
  func stays(_ session: UInt, _ privateKey: UInt) -> Bool { gatehouse_pkcs11_stays(pointer, session, privateKey) == 1 }

  /// The handle of a key; nil where the token has none with this id.
  func find(_ session: UInt, isPrivate: Bool, id: [UInt8]) throws(TokenFault) -> UInt? {
    var found: UInt = 0
    let answer = gatehouse_pkcs11_find_key(pointer, session, isPrivate ? 1 : 0, id, id.count, &found)
    if let fault = TokenFault(answer, "C_FindObjects") { throw fault }
    return found == 0 ? nil : found
  }

  /// A public key as SubjectPublicKeyInfo in DER.
  func publicKey(_ session: UInt, _ key: UInt, _ kind: TokenKeyKind) throws(TokenFault) -> [UInt8] {
    func read(_ attribute: some BinaryInteger) throws(TokenFault) -> [UInt8] {
      var bytes = [UInt8](repeating: 0, count: 2048)
      var length = bytes.count
      let answer = gatehouse_pkcs11_read(pointer, session, key, CInt(attribute), &bytes, &length)
      if let fault = TokenFault(answer, "C_GetAttributeValue") { throw fault }
      return Array(bytes.prefix(length))
    }
    if kind.isRSA {
      return kind.publicKeyInfo(modulus: try read(GATEHOUSE_PKCS11_MODULUS), exponent: try read(GATEHOUSE_PKCS11_EXPONENT))
    }
    return kind.publicKeyInfo(point: try read(GATEHOUSE_PKCS11_POINT))
  }

  /// Signs a DigestInfo (RSA) or a digest (EC).
  func sign(_ session: UInt, _ key: UInt, isRSA: Bool, _ bytes: [UInt8]) throws(TokenFault) -> [UInt8] {
    var signature = [UInt8](repeating: 0, count: 1024)
    var length = signature.count
    let answer = gatehouse_pkcs11_sign(pointer, session, key, isRSA ? 1 : 0, bytes, bytes.count, &signature, &length)
    if let fault = TokenFault(answer, "C_Sign") { throw fault }
    return Array(signature.prefix(length))
  }

  func destroy(_ session: UInt, _ object: UInt) throws(TokenFault) {
    if let fault = TokenFault(gatehouse_pkcs11_destroy(pointer, session, object), "C_DestroyObject") { throw fault }
  }
}
