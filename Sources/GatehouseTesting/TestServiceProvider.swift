import Bytes
import Cryptography
import Federation
import SAML
import Synchronization
import XMLSecurity

/// A relying party as the tests play it: its registration, its key, and the messages that it would send. The key is the same for all of a kind.
package struct TestServiceProvider: Sendable {
  package let entityID: String
  package let key: SigningKey
  /// DER.
  package let certificate: [UInt8]

  private static let keys = Mutex<[String: (SigningKey, [UInt8])]>([:])

  /// - Parameter name: relying parties of different names have different keys.
  package init(_ name: String, kind: SigningKey.Kind = .p256, now: Instant) throws {
    entityID = "https://\(name).example/metadata"
    (key, certificate) = try TestServiceProvider.keys.withLock { keys in
      if let known = keys["\(name) \(kind)"] { return known }
      let key = try SigningKey.generate(kind)
      let certificate = try SelfSignedCertificate.make(
        key: key, commonName: name, notBefore: now.adding(.seconds(-86_400)), notAfter: now.adding(.seconds(86_400 * 3650)))
      keys["\(name) \(kind)"] = (key, certificate)
      return (key, certificate)
    }
  }

  /// As an administrator registers it, with two consumer services and one for logout.
  package func registration(_ name: String) -> RelyingParty {
    var party = RelyingParty(
      name: name, entityID: entityID,
      consumers: [
        .init(binding: Binding.post.rawValue, location: "https://\(name).example/acs", index: 0, isDefault: true),
        .init(binding: Binding.post.rawValue, location: "https://\(name).example/acs?second=1", index: 1),
        .init(binding: Binding.artifact.rawValue, location: "https://\(name).example/artifact", index: 2),
      ])
    party.logout = [.init(binding: Binding.redirect.rawValue, location: "https://\(name).example/slo")]
    party.signingCertificates = [certificate]
    return party
  }

  /// A message of it; `attributes` and `content` go behind what every one has.
  package func message(
    _ local: String, id: String = "_request", at instant: Instant, destination: String? = nil, version: String = "2.0", attributes: String = "",
    content: String = ""
  ) -> String {
    let destination = destination.map { " Destination=\"\($0)\"" } ?? ""
    return
      "<samlp:\(local) xmlns:samlp=\"\(Vocabulary.protocolNamespace)\" xmlns:saml=\"\(Vocabulary.assertionNamespace)\" ID=\"\(id)\" Version=\"\(version)\" IssueInstant=\"\(instant)\"\(destination)\(attributes)><saml:Issuer>\(entityID)</saml:Issuer>\(content)</samlp:\(local)>"
  }

  /// The query of a Redirect; signed unless `signs` is false.
  package func redirect(
    _ document: String, _ direction: MessageDirection = .request, relayState: String? = nil, signs: Bool = true, algorithm: SignatureAlgorithm? = nil
  ) throws -> [UInt8] {
    var query = "\(direction.rawValue)=\(FormFields.encode(Deflate.deflate(Array(document.utf8)).base64))"
    if let relayState { query += "&RelayState=\(FormFields.encode(relayState))" }
    guard signs else { return Array(query.utf8) }
    let algorithm = algorithm ?? key.defaultAlgorithm
    query += "&SigAlg=\(FormFields.encode(algorithm.uri))"
    return Array((query + "&Signature=" + FormFields.encode(try key.sign(Array(query.utf8), with: algorithm).base64)).utf8)
  }

  /// The document in canonical form, with an enveloped signature behind its Issuer.
  package func signed(_ document: String, algorithm: SignatureAlgorithm? = nil) throws -> [UInt8] {
    let root = try XMLElement.parse(Array(document.utf8), limits: .message)
    let bytes = try root.canonicalBytes()
    let end = Array("</saml:Issuer>".utf8)
    let place = bytes.indices.first { bytes[$0...].starts(with: end) }.map { $0 + end.count } ?? 0
    let algorithm = algorithm ?? key.defaultAlgorithm
    let prepared = EnvelopedSignature.prepare(
      element: bytes, id: root.attribute("ID") ?? "", at: place, digest: algorithm.digest, algorithm: algorithm, certificates: [])
    return prepared.finish(signature: try key.sign(prepared.bytesToSign, with: algorithm))
  }

  /// The body of a POST.
  package func post(_ document: [UInt8], _ direction: MessageDirection = .request, relayState: String? = nil) -> [UInt8] {
    Array("\(direction.rawValue)=\(FormFields.encode(document.base64))\(relayState.map { "&RelayState=" + FormFields.encode($0) } ?? "")".utf8)
  }
}
