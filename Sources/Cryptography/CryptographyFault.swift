/// Why a key or an operation with it was refused. Says nothing about the bytes that were given.
package enum CryptographyFault: Error, Equatable, Sendable {
  /// No key, or none of a kind and strength that is used here; the text says what is wanted.
  case key(String)
  /// The algorithm is not one of this key's.
  case algorithm
  /// The signature is not this key's over these bytes.
  case signature
  /// What was encrypted cannot be had: another key, other algorithms, or changed bytes. One answer for all of them.
  case decryption
  /// OpenSSL could not do what it always can, such as signing with a good key.
  case library(String)
  /// The token or machine that keeps the key does not sign now; the text says why. Nothing is wrong with the question: to be answered with "unavailable".
  case tokenAway(String)
}
