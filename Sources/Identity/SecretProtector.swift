import Bytes

/// Encrypts what the store must not be able to read. Implemented by the KeyStore door.
package protocol SecretProtector: Sendable {
  /// `context` (for instance the row's name) is authenticated: a ciphertext moved to another row does not open.
  func protect(_ secret: Secret, context: String) throws -> [UInt8]
  /// Throws where the ciphertext was not made by `protect` with the same key and context.
  func reveal(_ ciphertext: [UInt8], context: String) throws -> Secret
}
