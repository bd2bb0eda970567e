import Bytes
import Cryptography
import Foundation
import Identity
import Synchronization

/// A realm's canary: an account whose right password the gateway knows, so that it can ask agents what it knows the answer to.
package struct Canary: Sendable {
  /// Shorter ones could be hit by a wrong password drawn by chance.
  package static let leastPasswordBytes = 12

  package var realm: RealmName
  package var userName: UserName
  package var password: Password

  package init(realm: RealmName, userName: UserName, password: Password) {
    self.realm = realm
    self.userName = userName
    self.password = password
  }

  /// A password that looks like the right one and is not: each letter and digit another one by chance.
  package func wrongPassword(using generator: inout some RandomNumberGenerator) -> Password? {
    func another(_ byte: UInt8, in range: ClosedRange<UInt8>) -> UInt8 {
      let count = UInt8(range.count)
      return range.lowerBound + (byte - range.lowerBound + UInt8.random(in: 1..<count, using: &generator)) % count
    }
    let bytes = password.secret.withBytes { bytes in
      bytes.map { byte -> UInt8 in
        switch byte {
        case 0x30...0x39: another(byte, in: 0x30...0x39)
        case 0x41...0x5a: another(byte, in: 0x41...0x5a)
        case 0x61...0x7a: another(byte, in: 0x61...0x7a)
        // Parts of characters of several bytes, and signs: a letter each.
        default: UInt8.random(in: 0x61...0x7a, using: &generator)
        }
      }
    }
    return Password(Secret(bytes))
  }
}

/// The canaries of all realms, kept in the store under the master key: the one exception to "passwords are never stored" (docs/architecture.md,
/// law 9), made by an administrator for an account that is for nothing else.
package final class CanaryRegister: Sendable {
  private struct Known {
    var version: Int64
    var canary: Canary
  }

  private let store: any AgentStore
  private let protector: any SecretProtector
  private let known = Mutex<[RealmName: Known]>([:])

  package init(store: any AgentStore, protector: any SecretProtector) {
    self.store = store
    self.protector = protector
  }

  package func canary(of realm: RealmName) -> Canary? { known.withLock { $0[realm]?.canary } }

  package var realms: Set<RealmName> { known.withLock { Set($0.keys) } }

  /// Reads the canaries of these realms anew; of others there are none. Throws `StoreError`, or what the protector throws.
  package func refresh(realms: [RealmName]) async throws {
    var fresh: [RealmName: Known] = [:]
    for realm in realms {
      guard let document = try await store.document(CanaryRegister.document(realm)), !document.ciphertext.isEmpty else { continue }
      if let kept = known.withLock({ $0[realm] }), kept.version == document.version {
        fresh[realm] = kept
      } else if let canary = try open(document, realm: realm) {
        fresh[realm] = Known(version: document.version, canary: canary)
      }
    }
    let complete = fresh
    known.withLock { $0 = complete }
  }

  /// Sets the canary of its realm, in place of the one before. Throws `StoreError`, or what the protector throws.
  package func set(_ canary: Canary, audit: [AuditEvent]) async throws {
    let name = CanaryRegister.document(canary.realm)
    let plaintext = Secret(Array(canary.userName.text.utf8) + [0] + canary.password.secret.withBytes { Array($0) })
    let version = try await store.document(name)?.version ?? 0
    let document = ProtectedDocument(name: name, ciphertext: try protector.protect(plaintext, context: name), version: version)
    try await store.putDocument(document, audit: audit)
    known.withLock { $0[canary.realm] = Known(version: version + 1, canary: canary) }
  }

  /// False where there was none. Throws `StoreError`.
  package func remove(realm: RealmName, audit: [AuditEvent]) async throws -> Bool {
    guard var document = try await store.document(CanaryRegister.document(realm)), !document.ciphertext.isEmpty else { return false }
    // Empty means none: a document keeps its place, and with it its version, so that two that change it at once notice.
    document.ciphertext = []
    try await store.putDocument(document, audit: audit)
    known.withLock { $0[realm] = nil }
    return true
  }

  private func open(_ document: ProtectedDocument, realm: RealmName) throws -> Canary? {
    let plaintext = try protector.reveal(document.ciphertext, context: document.name)
    return plaintext.withBytes { bytes in
      guard let end = bytes.firstIndex(of: 0), let name = StrictText.utf8(Array(bytes[..<end])).flatMap({ UserName($0) }),
        let password = Password(Secret(bytes[bytes.index(after: end)...]))
      else { return nil }
      return Canary(realm: realm, userName: name, password: password)
    }
  }

  private static func document(_ realm: RealmName) -> String { "canary \(realm.text)" }
}

/// What the directory says of the lockout that an account is under.
package enum LockoutThreshold: Sendable, Equatable {
  /// Wrong passwords never lock it.
  case none
  /// So many wrong passwords lock it.
  case after(Int)
  /// Nobody could find out; the text says why.
  case unknown(String)
}
