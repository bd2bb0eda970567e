import COpenSSL
import Crypto

/// The digests of XML signatures (RFC 9231 2.1; XML Encryption 5.8).
package enum DigestAlgorithm: String, Sendable, CaseIterable {
  case sha256, sha384, sha512
  /// Broken for signatures; only where a caller makes an explicit exception, and inside RSA-OAEP, where it does no harm.
  case sha1

  /// The identifier in `ds:DigestMethod`.
  package var uri: String {
    switch self {
    case .sha256: "http://www.w3.org/2001/04/xmlenc#sha256"
    case .sha384: "http://www.w3.org/2001/04/xmldsig-more#sha384"
    case .sha512: "http://www.w3.org/2001/04/xmlenc#sha512"
    case .sha1: "http://www.w3.org/2000/09/xmldsig#sha1"
    }
  }

  /// By exact identifier; nil for every other.
  package init?(uri: String) {
    guard let found = Self.allCases.first(where: { $0.uri.utf8.elementsEqual(uri.utf8) }) else { return nil }
    self = found
  }

  /// The digest of `bytes`: 32, 48, 64 or 20 bytes.
  package func digest(_ bytes: [UInt8]) -> [UInt8] {
    bytes.withUnsafeBytes { buffer in
      switch self {
      case .sha256: Self.hash(buffer, SHA256.self)
      case .sha384: Self.hash(buffer, SHA384.self)
      case .sha512: Self.hash(buffer, SHA512.self)
      case .sha1: Self.hash(buffer, Insecure.SHA1.self)
      }
    }
  }

  private static func hash<H: HashFunction>(_ buffer: UnsafeRawBufferPointer, _: H.Type) -> [UInt8] {
    var function = H()
    function.update(bufferPointer: buffer)
    return Array(function.finalize())
  }

  /// Its number in the shim.
  var shimNumber: CInt {
    switch self {
    case .sha256: CInt(GATEHOUSE_SHA256)
    case .sha384: CInt(GATEHOUSE_SHA384)
    case .sha512: CInt(GATEHOUSE_SHA512)
    case .sha1: CInt(GATEHOUSE_SHA1)
    }
  }
}

/// The signatures that there are; everything else, HMAC and DSA above all, does not exist for us (RFC 9231 2.3).
package enum SignatureAlgorithm: String, Sendable, CaseIterable {
  case rsaSHA256, rsaSHA384, rsaSHA512, ecdsaSHA256, ecdsaSHA384
  /// Only where a caller makes an explicit exception for a partner who can do nothing better.
  case rsaSHA1

  /// The identifier in `ds:SignatureMethod` and in the `SigAlg` parameter of the HTTP Redirect binding.
  package var uri: String {
    switch self {
    case .rsaSHA256: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
    case .rsaSHA384: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384"
    case .rsaSHA512: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512"
    case .ecdsaSHA256: "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
    case .ecdsaSHA384: "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"
    case .rsaSHA1: "http://www.w3.org/2000/09/xmldsig#rsa-sha1"
    }
  }

  /// By exact identifier; nil for every other.
  package init?(uri: String) {
    guard let found = Self.allCases.first(where: { $0.uri.utf8.elementsEqual(uri.utf8) }) else { return nil }
    self = found
  }

  /// What is hashed before it is signed.
  package var digest: DigestAlgorithm {
    switch self {
    case .rsaSHA256, .ecdsaSHA256: .sha256
    case .rsaSHA384, .ecdsaSHA384: .sha384
    case .rsaSHA512: .sha512
    case .rsaSHA1: .sha1
    }
  }

  /// Whether it takes an RSA key; else one of an elliptic curve.
  var isRSA: Bool {
    switch self {
    case .rsaSHA256, .rsaSHA384, .rsaSHA512, .rsaSHA1: true
    case .ecdsaSHA256, .ecdsaSHA384: false
    }
  }
}
