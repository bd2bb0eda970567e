/// One thread's session with the token, and the handles that it has found. Belongs to one thread.
final class TokenSession {
  /// The opening of the module that it belongs to.
  let opening: Int
  let module: TokenModule
  private let slot: UInt
  private var session: UInt?
  private var handles: [[UInt8]: UInt] = [:]

  init(_ module: TokenModule, slot: UInt, opening: Int) {
    self.module = module
    self.slot = slot
    self.opening = opening
  }

  /// The session, opened where it is not yet. It is logged in, as the whole process is.
  func handle() throws(TokenFault) -> UInt {
    if let session { return session }
    let opened = try module.open(slot: slot)
    session = opened
    return opened
  }

  /// Signs what `TokenSignature` has made. Throws `.noKey` where the key is not in the token, or not any more.
  func sign(_ id: [UInt8], isRSA: Bool, _ input: [UInt8]) throws(TokenFault) -> [UInt8] {
    let isKnown = handles[id] != nil
    do throws(TokenFault) { return try module.sign(try handle(), try privateKey(id), isRSA: isRSA, input) } catch {
      // Another gateway may have destroyed the key.
      guard case .staleHandle = error, isKnown else { throw error }
      forget(id)
      return try module.sign(try handle(), try privateKey(id), isRSA: isRSA, input)
    }
  }

  /// The handle of a private key. Throws `.noKey`.
  func privateKey(_ id: [UInt8]) throws(TokenFault) -> UInt {
    if let known = handles[id] { return known }
    guard let found = try module.find(try handle(), isPrivate: true, id: id) else { throw .noKey }
    if handles.count >= 64 { handles = [:] }
    handles[id] = found
    return found
  }

  func forget(_ id: [UInt8]) { handles[id] = nil }
}
