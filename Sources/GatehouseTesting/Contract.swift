import Bytes
import Foundation
import Identity
import Testing

/// One sentence of a contract that every implementation of a port must keep, with the test of it.
///
/// ```swift
/// @Test(arguments: RealmStoreContract.sentences)
/// func `SQLite keeps the contract`(sentence: ContractSentence<any RealmStore & AuditLog>) async throws {
///   try await sentence.test(try makeEmptyStore())
/// }
/// ```
package struct ContractSentence<Store: Sendable>: Sendable, CustomTestStringConvertible {
  package let text: String
  /// Records an issue where an empty store does not keep the sentence.
  package let test: @Sendable (Store) async throws -> Void

  init(_ text: String, _ test: @escaping @Sendable (Store) async throws -> Void) {
    self.text = text
    self.test = test
  }

  package var testDescription: String { text }
}

/// What the contracts' examples are made of.
enum Sample {
  static let time = Instant(milliseconds: 1_767_225_600_000)
  static let realm = Sample.realm("contoso.com")

  static func realm(_ name: String) -> RealmName {
    guard let realm = RealmName(name) else {
      Issue.record("\(name) is no realm name: the contract itself is wrong")
      exit(70)
    }
    return realm
  }

  static func digest(_ byte: UInt8) -> [UInt8] { [UInt8](repeating: byte, count: 32) }

  static func event(_ kind: AuditKind = .signIn, subject: String? = nil, at time: Instant = Sample.time) -> AuditEvent {
    AuditEvent(time: time, kind: kind, actor: "admin:test", realm: realm, subject: subject, outcome: "done")
  }
}

/// Checks that `work` throws a conflict.
func expectConflict(_ work: () async throws -> Void, sourceLocation: SourceLocation = #_sourceLocation) async {
  await expectStoreError("conflict", sourceLocation, work) { if case .conflict = $0 { true } else { false } }
}

/// Checks that `work` throws "not found".
func expectNotFound(_ work: () async throws -> Void, sourceLocation: SourceLocation = #_sourceLocation) async {
  await expectStoreError("not found", sourceLocation, work) { if case .notFound = $0 { true } else { false } }
}

private func expectStoreError(
  _ wanted: String, _ sourceLocation: SourceLocation, _ work: () async throws -> Void, _ matches: (StoreError) -> Bool
) async {
  do {
    try await work()
    Issue.record("expected StoreError: \(wanted), but nothing was thrown", sourceLocation: sourceLocation)
  } catch let error as StoreError where matches(error) {
  } catch {
    Issue.record("expected StoreError: \(wanted), but got \(error)", sourceLocation: sourceLocation)
  }
}
