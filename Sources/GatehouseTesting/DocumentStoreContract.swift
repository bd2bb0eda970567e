import Bytes
import Identity
import Testing

/// What every `DocumentStore` must keep.
package enum DocumentStoreContract {
  package typealias Store = any DocumentStore & AuditLog

  package static let sentences: [ContractSentence<Store>] = [
    .init("a document is written once with version 0, then only by who has read the last version") { (store: Store) async throws in
      #expect(try await store.document("agent-ca") == nil)
      try await store.putDocument(ProtectedDocument(name: "agent-ca", ciphertext: [1, 0, 2]), audit: [Sample.event(.authorityPrepared)])
      var stored = try #require(try await store.document("agent-ca"))
      #expect(stored == ProtectedDocument(name: "agent-ca", ciphertext: [1, 0, 2], version: 1))
      await expectConflict { try await store.putDocument(ProtectedDocument(name: "agent-ca", ciphertext: [3]), audit: []) }
      stored.ciphertext = []
      try await store.putDocument(stored, audit: [])
      await expectConflict { try await store.putDocument(stored, audit: []) }
      #expect(try await store.document("agent-ca") == ProtectedDocument(name: "agent-ca", ciphertext: [], version: 2))
      await expectConflict { try await store.putDocument(ProtectedDocument(name: "other", ciphertext: [], version: 4), audit: []) }
    }
  ]
}
