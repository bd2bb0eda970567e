import Bytes

/// A secret document of the gateway's own (the agent CA's keys, the token-signing keys), already encrypted by `SecretProtector`, under a name, with a
/// version for compare-and-swap.
package struct ProtectedDocument: Sendable, Equatable {
  package var name: String
  package var ciphertext: [UInt8]
  package var version: Int64

  package init(name: String, ciphertext: [UInt8], version: Int64 = 0) {
    self.name = name
    self.ciphertext = ciphertext
    self.version = version
  }
}

/// The protected documents as the store keeps them.
package protocol DocumentStore: Sendable {
  /// The document of this name, or nil.
  func document(_ name: String) async throws -> ProtectedDocument?
  /// Writes the document if the stored version equals `document.version` (0: it does not exist yet); the stored version becomes one more.
  /// Throws `StoreError.conflict` otherwise.
  func putDocument(_ document: ProtectedDocument, audit: [AuditEvent]) async throws
}
