import Cryptography

/// Keeps token-signing keys where nobody can read them, and makes them there: a hardware token.
///
/// A key of a vault is told by its **reference**, a text of at most 256 bytes of ASCII that holds no secret and is stored in place of the key. It goes on to
/// mean that key for as long as the vault has it, whatever is restarted or reconfigured meanwhile, and on every node that shares the vault.
///
/// The vault never gives a private key away, and nothing takes its place while it is away: signing then throws `CryptographyFault.tokenAway`, which is to be
/// answered with "unavailable" (503), and works again by itself once the vault is back.
package protocol SigningKeyVault: Sendable {
  /// Makes a key in the vault. Returns once it is there to stay, after seconds where it is RSA of 4,096 bits.
  ///
  /// A key whose reference was then not stored is nobody's: whoever loses the race to store it, or cannot store it, destroys it.
  /// Where the caller is cancelled or the deadline passes while the vault works, the vault destroys the key by itself, if it can still be asked then.
  ///
  /// - Parameter name: shown to people who look into the vault with its own tools; at most 64 bytes of ASCII are used. Nothing is found by it.
  func makeKey(_ kind: SigningKey.Kind, name: String) async throws(SigningKeyVaultFault) -> VaultKey

  /// The key behind a reference. **Asks nobody and never waits**: it answers the same while the vault is away, since the public half comes from the caller,
  /// who has it in the key's certificate (`VerificationKey(certificate:)`). So metadata and verification go on.
  ///
  /// Whether the vault has the key shows when it signs; what it signs is verified with `publicKey`, so that a wrong one signs nothing.
  /// Throws `.reference` where the text is none of this vault's.
  func key(reference: String, publicKey: VerificationKey) throws(SigningKeyVaultFault) -> SigningKey

  /// Destroys a key, both halves, for good. A key that is not there is destroyed already: nothing is thrown, so it may be called again after any failure.
  ///
  /// Throws `.away` where it is not certain that the key is gone; then call it again later.
  func destroyKey(reference: String) async throws(SigningKeyVaultFault)
}

/// A key that was made in a vault.
package struct VaultKey: Sendable {
  package let reference: String
  package let key: SigningKey

  package init(reference: String, key: SigningKey) {
    self.reference = reference
    self.key = key
  }
}

/// Why a vault did not do what was asked. The texts are for administrators.
package enum SigningKeyVaultFault: Error, Sendable, Equatable, CustomStringConvertible {
  /// It cannot be asked now, or did not answer in time. The same may succeed later.
  case away(String)
  /// It does not do that, and will not do it later: a kind of key that it does not know, a user who may not make keys.
  case refused(String)
  /// The reference is none of this vault's.
  case reference(String)

  package var description: String {
    switch self {
    case .away(let text): "the token with the signing keys is away: \(text)"
    case .refused(let text): "the token with the signing keys refuses: \(text)"
    case .reference(let text): "\(text) is no reference to a key in a token"
    }
  }
}
