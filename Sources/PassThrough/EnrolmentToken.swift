import Bytes
import Crypto
import Foundation

/// A one-time right to enrol, as an administrator hands it to the agent's host.
///
/// It carries what the agent needs to trust the gateway before it has any certificate of it: the SHA-256 of the gateway CA's root and the gateway's
/// public sealing key. So enrolment needs no public PKI and survives a TLS-inspecting proxy.
///
///     gatehouse-enrol-1.<base64url of: 32 bytes secret ‖ 32 bytes SHA-256 of the root ‖ 32 bytes X25519 key ‖ URL>.<4 bytes of checksum>
package struct EnrolmentToken: Sendable, CustomStringConvertible {
  package static let life: Duration = .seconds(600)
  private static let prefix = "gatehouse-enrol-1"

  package var secret: Secret
  /// SHA-256 of the DER of the CA root; 32 bytes.
  package var rootDigest: [UInt8]
  /// The gateway's X25519 public key; 32 bytes.
  package var gatewayKey: [UInt8]
  /// The https base URL of the public listener, at which to enrol.
  package var url: String

  package init(secret: Secret, rootDigest: [UInt8], gatewayKey: [UInt8], url: String) {
    self.secret = secret
    self.rootDigest = rootDigest
    self.gatewayKey = gatewayKey
    self.url = url
  }

  /// The text to hand over. It is a secret until it is used.
  package var text: String {
    let body = secret.withBytes { Array($0) } + rootDigest + gatewayKey + Array(url.utf8)
    let encoded = body.base64URL
    return "\(EnrolmentToken.prefix).\(encoded).\(EnrolmentToken.checksum(of: encoded))"
  }

  package var description: String { "<redacted>" }

  /// Why a text is no token, in words for the one who pasted it.
  package enum Problem: Error, Sendable, Equatable, CustomStringConvertible {
    case notAToken, damaged

    package var description: String {
      switch self {
      case .notAToken:
        "This is not an enrolment token: it must begin with `gatehouse-enrol-1.`. Make one on the gateway with `gatehouse agents token --realm REALM`."
      case .damaged:
        "The enrolment token is damaged, most likely cut off or changed when it was copied. Copy it again, or make a new one with `gatehouse agents token --realm REALM`."
      }
    }
  }

  /// Reads a token; white space around it is forgiven. Throws `Problem`.
  package init(_ text: String) throws(Problem) {
    let parts = text.trimmingCharacters(in: .whitespacesAndNewlines).split(separator: ".", omittingEmptySubsequences: false)
    guard let first = parts.first, first == EnrolmentToken.prefix else { throw .notAToken }
    guard parts.count == 3, parts[1].utf8.count <= 4096, EnrolmentToken.checksum(of: String(parts[1])) == parts[2],
      let bytes = StrictText.base64URL(String(parts[1]))
    else { throw .damaged }
    var reader = ByteReader(bytes)
    guard let secret = reader.readBytes(32), let root = reader.readBytes(32), let key = reader.readBytes(32),
      let urlBytes = reader.readBytes(reader.remaining), let url = StrictText.utf8(urlBytes), url.hasPrefix("https://")
    else { throw .damaged }
    self.init(secret: Secret(secret), rootDigest: root, gatewayKey: key, url: url)
  }

  private static func checksum(of encoded: String) -> String {
    Array(SHA256.hash(data: Data(encoded.utf8)).prefix(4)).base64URL
  }
}
