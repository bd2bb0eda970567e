import Bytes
import Cryptography
import Foundation
import Synchronization
import Testing
import XMLSecurity

@testable import SAML

/// What the tests are made of: keys, and messages as a relying party writes them.
enum Samples {
  /// 2026-11-18T11:06:40.123Z.
  static let now = Instant(milliseconds: 1_795_000_000_123)
  static let issuer = "https://sp.example/metadata"
  static let signOn = "https://idp.example/adfs/ls/"

  /// One key of each kind for all tests: RSA takes its time.
  private static let made = Mutex<[SigningKey.Kind: SigningKey]>([:])

  static func key(_ kind: SigningKey.Kind = .rsa2048) throws -> SigningKey {
    try made.withLock { keys in
      if let known = keys[kind] { return known }
      let fresh = try SigningKey.generate(kind)
      keys[kind] = fresh
      return fresh
    }
  }

  static func certificate(_ kind: SigningKey.Kind = .rsa2048) throws -> [UInt8] {
    try SelfSignedCertificate.make(key: try key(kind), commonName: "partner", notBefore: now, notAfter: now.adding(.seconds(86_400 * 3650)))
  }

  /// An AuthnRequest; `attributes` and `content` go behind what every one has.
  static func request(
    id: String = "_request", version: String = "2.0", instant: String = now.description, attributes: String = "",
    issuer: String = "<saml:Issuer>\(issuer)</saml:Issuer>", content: String = ""
  ) -> String {
    message("AuthnRequest", id: id, version: version, instant: instant, attributes: attributes, content: issuer + content)
  }

  static func message(
    _ local: String, id: String = "_request", version: String = "2.0", instant: String = now.description, attributes: String = "", content: String
  ) -> String {
    "<samlp:\(local) xmlns:samlp=\"\(Vocabulary.protocolNamespace)\" xmlns:saml=\"\(Vocabulary.assertionNamespace)\" ID=\"\(id)\" Version=\"\(version)\" IssueInstant=\"\(instant)\"\(attributes)>\(content)</samlp:\(local)>"
  }

  static func parse(_ text: String, limits: XMLLimits = .message) throws -> XMLElement { try XMLElement.parse(Array(text.utf8), limits: limits) }

  /// A query as a relying party writes it.
  static func query(_ document: [UInt8], direction: MessageDirection = .request, relayState: String? = nil) -> String {
    var query = "\(direction.rawValue)=\(FormFields.encode(Deflate.deflate(document).base64))"
    if let relayState { query += "&RelayState=\(FormFields.encode(relayState))" }
    return query
  }

  static func query(_ document: String, direction: MessageDirection = .request, relayState: String? = nil) -> String {
    query(Array(document.utf8), direction: direction, relayState: relayState)
  }

  /// The query with a signature over exactly what stands in it.
  static func signed(_ query: String, by key: SigningKey, algorithm: SignatureAlgorithm = .rsaSHA256) throws -> String {
    let octets = "\(query)&SigAlg=\(FormFields.encode(algorithm.uri))"
    return octets + "&Signature=" + FormFields.encode(try key.sign(Array(octets.utf8), with: algorithm).base64)
  }

  static func folder(_ name: String) -> URL { URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(name) }

  static func file(_ path: String) throws -> [UInt8] { Array(try Data(contentsOf: folder(path))) }
}

/// What the work throws: its kind. Nil where it throws nothing.
func fault(_ work: () throws -> some Any) -> MessageFault.Kind? {
  do {
    _ = try work()
    return nil
  } catch let fault as MessageFault {
    #expect(!fault.detail.isEmpty)
    // It stands in logs and audit rows.
    #expect(fault.detail.utf8.count <= 1024)
    return fault.kind
  } catch {
    Issue.record("threw \(error)")
    return nil
  }
}
