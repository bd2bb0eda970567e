import Bytes
import Cryptography
import Federation
import Synchronization

/// A vault in memory, by the same contract as the hardware token; can be taken away and brought back.
package final class InMemorySigningKeyVault: SigningKeyVault {
  private struct State {
    var isAway = false
    var keys: [String: SigningKey] = [:]
  }

  private let state = Mutex(State())

  package init() {}

  package var isAway: Bool {
    get { state.withLock { $0.isAway } }
    set { state.withLock { $0.isAway = newValue } }
  }

  /// The keys that nobody has destroyed yet.
  package var references: Set<String> { state.withLock { Set($0.keys.keys) } }

  package func makeKey(_ kind: SigningKey.Kind, name: String) async throws(SigningKeyVaultFault) -> VaultKey {
    guard !isAway else { throw .away("it was taken away") }
    let reference = "memory:" + RandomBytes.generate(8).hexadecimal
    do throws(CryptographyFault) {
      let key = try SigningKey.generate(kind)
      state.withLock { $0.keys[reference] = key }
      return VaultKey(reference: reference, key: SigningKey(remote: Signer(reference: reference, vault: self), publicKey: key.publicKey))
    } catch { throw .refused("\(error)") }
  }

  package func key(reference: String, publicKey: VerificationKey) throws(SigningKeyVaultFault) -> SigningKey {
    guard reference.hasPrefix("memory:") else { throw .reference(reference) }
    return SigningKey(remote: Signer(reference: reference, vault: self), publicKey: publicKey)
  }

  package func destroyKey(reference: String) async throws(SigningKeyVaultFault) {
    guard reference.hasPrefix("memory:") else { throw .reference(reference) }
    guard !isAway else { throw .away("it was taken away") }
    state.withLock { $0.keys[reference] = nil }
  }

  private struct Signer: RemoteSigner {
    let reference: String
    let vault: InMemorySigningKeyVault

    func sign(_ bytes: [UInt8], with algorithm: SignatureAlgorithm) throws(CryptographyFault) -> [UInt8] {
      let (isAway, key) = vault.state.withLock { ($0.isAway, $0.keys[reference]) }
      guard !isAway, let key else { throw .tokenAway("it was taken away, or the key is gone") }
      return try key.sign(bytes, with: algorithm)
    }
  }
}
