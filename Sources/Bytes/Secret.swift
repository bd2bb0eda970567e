import Foundation

/// Bytes that must not be printed, compared in variable time or outlive their use.
///
/// The storage is wiped when the last copy of the value is released. `description`, `debugDescription` and
/// the mirror all say `<redacted>`; there is no `Codable` and no `Equatable` on purpose (docs/architecture.md, law 9).
package struct Secret: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  private let storage: Storage

  /// Copies `bytes`; the caller's own copy is the caller's to forget.
  package init(_ bytes: some Sequence<UInt8>) {
    storage = Storage(Array(bytes))
  }

  /// The number of bytes held.
  package var count: Int { storage.bytes.count }

  /// Whether there are no bytes at all.
  package var isEmpty: Bool { storage.bytes.isEmpty }

  /// Lends the bytes for the length of one call. Do not keep what the closure receives.
  package func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    try storage.bytes.withUnsafeBytes(body)
  }

  /// Whether the bytes are equal, in a time that depends on the lengths only.
  package func matches(_ other: Secret) -> Bool {
    storage.bytes.withUnsafeBytes { mine in
      other.storage.bytes.withUnsafeBytes { theirs in constantTimeEqual(mine, theirs) }
    }
  }

  /// Whether any byte satisfies `predicate`; for shape checks such as "no NUL".
  package func contains(where predicate: (UInt8) -> Bool) -> Bool {
    storage.bytes.contains(where: predicate)
  }

  package var description: String { "<redacted>" }
  package var debugDescription: String { "<redacted>" }
  package var customMirror: Mirror { Mirror(self, children: []) }

  // Immutable after `init`, wiped in `deinit`, where no other reference can exist any more.
  private final class Storage: @unchecked Sendable {
    var bytes: [UInt8]
    init(_ bytes: [UInt8]) { self.bytes = bytes }
    deinit {
      bytes.withUnsafeMutableBytes { buffer in
        if let base = buffer.baseAddress { wipe(base, buffer.count) }
      }
    }
  }
}

/// Overwrites memory in a way the optimiser may not remove.
package func wipe(_ pointer: UnsafeMutableRawPointer, _ count: Int) {
  #if canImport(Glibc)
    explicit_bzero(pointer, count)
  #else
    _ = memset_s(pointer, count, 0, count)
  #endif
}

/// Compares two byte ranges in a time that depends on their lengths only.
package func constantTimeEqual(_ left: some Collection<UInt8>, _ right: some Collection<UInt8>) -> Bool {
  guard left.count == right.count else { return false }
  var difference: UInt8 = 0
  for (a, b) in zip(left, right) { difference |= a ^ b }
  return difference == 0
}
