import Bytes
import Cryptography
import Federation
import Testing

/// What every `SigningKeyVault` must keep.
package enum SigningKeyVaultContract {
  package typealias Store = any SigningKeyVault

  private static let message = Array("what is signed".utf8)

  package static let sentences: [ContractSentence<Store>] = [
    .init("a key that was made signs, also by its reference, and is not given away") { (vault: Store) async throws in
      let made = try await vault.makeKey(.p256, name: "first")
      #expect((1...256).contains(made.reference.utf8.count) && made.reference.utf8.allSatisfy { (0x21...0x7e).contains($0) })
      let again = try vault.key(reference: made.reference, publicKey: made.key.publicKey)
      for key in [made.key, again] {
        #expect(key.isRemote && key.publicKey == made.key.publicKey)
        let signature = try key.sign(message, with: .ecdsaSHA256)
        try made.key.publicKey.verify(signature: signature, over: message, algorithm: .ecdsaSHA256)
        #expect(throws: CryptographyFault.self) { try key.pkcs8 }
        #expect(throws: CryptographyFault.algorithm) { try key.sign(message, with: .rsaSHA256) }
      }
    },
    .init("two keys of one name are two keys, and neither signs for the other") { (vault: Store) async throws in
      let first = try await vault.makeKey(.p256, name: "same")
      let second = try await vault.makeKey(.p256, name: "same")
      #expect(first.reference != second.reference && first.key.publicKey != second.key.publicKey)
      let confused = try vault.key(reference: first.reference, publicKey: second.key.publicKey)
      #expect(isAway { try confused.sign(message, with: .ecdsaSHA256) })
      try await vault.destroyKey(reference: first.reference)
      _ = try second.key.sign(message, with: .ecdsaSHA256)
    },
    .init("a key is destroyed as often as is asked, and signs no more") { (vault: Store) async throws in
      let made = try await vault.makeKey(.p256, name: "first")
      _ = try made.key.sign(message, with: .ecdsaSHA256)
      for _ in 0..<2 { try await vault.destroyKey(reference: made.reference) }
      #expect(isAway { try made.key.sign(message, with: .ecdsaSHA256) })
      let again = try vault.key(reference: made.reference, publicKey: made.key.publicKey)
      #expect(isAway { try again.sign(message, with: .ecdsaSHA256) })
    },
    .init("a reference of another vault is refused at once") { (vault: Store) async throws in
      let key = try SigningKey.generate(.p256).publicKey
      #expect(throws: SigningKeyVaultFault.reference("elsewhere:1")) { try vault.key(reference: "elsewhere:1", publicKey: key) }
      await #expect(throws: SigningKeyVaultFault.reference("elsewhere:1")) { try await vault.destroyKey(reference: "elsewhere:1") }
    },
  ]

  private static func isAway(_ sign: () throws -> [UInt8]) -> Bool {
    do {
      _ = try sign()
      return false
    } catch CryptographyFault.tokenAway { return true } catch { return false }
  }
}
