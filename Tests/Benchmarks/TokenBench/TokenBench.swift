import Bytes
import Cryptography
import Foundation
import XMLSecurity

// What a signed token costs, on one core. Prints one line of JSON; Tests/Benchmarks/signing puts it beside `openssl speed` of the same run.

/// The loops: issuing (write an assertion of 4 KB, sign it) and verifying (read a signed AuthnRequest of 1.5 KB, verify it).
@main struct TokenBench {
  static func main() throws {
    let seconds = CommandLine.arguments.dropFirst().first.flatMap(Double.init) ?? 3
    let now = Instant(milliseconds: 1_795_000_000_000)
    var results: [String] = []
    for kind in [SigningKey.Kind.rsa2048, .p256] {
      let key = try SigningKey.generate(kind)
      let certificate = try SelfSignedCertificate.make(
        key: key, commonName: "sign.example", notBefore: now, notAfter: now.adding(.seconds(86_400 * 365)))
      let assertion = try assertion(key: key, certificate: certificate, now: now)
      let issued = try rate(seconds) { _ = try self.assertion(key: key, certificate: certificate, now: now) }
      let written = try rate(seconds / 3) { _ = try prepare(key: key, certificate: certificate, now: now) }
      let signed = try rate(seconds) { _ = try key.sign(Array(assertion.prefix(900)), with: key.defaultAlgorithm) }
      let request = try request(key: key, certificate: certificate, now: now)
      let verifier = SignatureVerifier(keys: [key.publicKey])
      let verified = try rate(seconds) { _ = try verifier.verify(try XMLElement.parse(request, limits: .message)) }
      let read = try rate(seconds / 3) { _ = try XMLElement.parse(request, limits: .message) }
      let figures = [
        "\"key\": \"\(kind.rawValue)\"", "\"assertion_bytes\": \(assertion.count)", "\"issued_per_second\": \(issued)",
        "\"written_without_signature_per_second\": \(written)", "\"signed_only_per_second\": \(signed)", "\"request_bytes\": \(request.count)",
        "\"verified_per_second\": \(verified)", "\"read_only_per_second\": \(read)",
      ]
      results.append("{\(figures.joined(separator: ", "))}")
    }
    print("[\(results.joined(separator: ", "))]")
  }

  /// How often `work` is done in a second of processor time, which is what `openssl speed` counts too.
  private static func rate(_ seconds: Double, _ work: () throws -> Void) rethrows -> Int {
    for _ in 0..<20 { try work() }
    let begin = processorSeconds()
    var count = 0
    while processorSeconds() - begin < seconds {
      for _ in 0..<20 { try work() }
      count += 20
    }
    return Int(Double(count) / (processorSeconds() - begin))
  }

  private static func processorSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  private static let saml = CanonicalWriter.Namespace(prefix: "saml", uri: "urn:oasis:names:tc:SAML:2.0:assertion")
  private static let samlp = CanonicalWriter.Namespace(prefix: "samlp", uri: "urn:oasis:names:tc:SAML:2.0:protocol")

  private static func assertion(key: SigningKey, certificate: [UInt8], now: Instant) throws -> [UInt8] {
    let signature = try prepare(key: key, certificate: certificate, now: now)
    return signature.finish(signature: try key.sign(signature.bytesToSign, with: key.defaultAlgorithm))
  }

  private static func prepare(key: SigningKey, certificate: [UInt8], now: Instant) throws -> EnvelopedSignature {
    let id = "_" + RandomBytes.generate(16).hexadecimal
    let time = now.description
    var writer = CanonicalWriter(capacity: 4096)
    try writer.open(saml, "Assertion", [("ID", id), ("IssueInstant", time), ("Version", "2.0")])
    try element(&writer, "Issuer", "http://sign.example/adfs/services/trust")
    let place = writer.position
    writer.open(saml, "Subject")
    try writer.open(saml, "NameID", [("Format", "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent")])
    try writer.text("aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ=")
    writer.close()
    try writer.open(saml, "SubjectConfirmation", [("Method", "urn:oasis:names:tc:SAML:2.0:cm:bearer")])
    try writer.open(
      saml, "SubjectConfirmationData", [("InResponseTo", id), ("NotOnOrAfter", time), ("Recipient", "https://sp.example/acs?a=1&b=2")])
    for _ in 0..<3 { writer.close() }
    try writer.open(saml, "Conditions", [("NotBefore", time), ("NotOnOrAfter", time)])
    writer.open(saml, "AudienceRestriction")
    try element(&writer, "Audience", "https://sp.example/metadata")
    writer.close()
    writer.close()
    try writer.open(saml, "AuthnStatement", [("AuthnInstant", time), ("SessionIndex", id)])
    writer.open(saml, "AuthnContext")
    try element(&writer, "AuthnContextClassRef", "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport")
    writer.close()
    writer.close()
    writer.open(saml, "AttributeStatement")
    for name in ["http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn", "http://schemas.xmlsoap.org/claims/Group", "urn:oid:2.5.4.42"] {
      try writer.open(saml, "Attribute", [("Name", name)])
      try element(&writer, "AttributeValue", "Zoë & <partners>, alice@contoso.com")
      writer.close()
    }
    writer.close()
    writer.close()
    return EnvelopedSignature.prepare(
      element: writer.finish(), id: id, at: place, digest: .sha256, algorithm: key.defaultAlgorithm, certificates: [certificate])
  }

  private static func element(_ writer: inout CanonicalWriter, _ name: StaticString, _ text: String) throws {
    writer.open(saml, name)
    try writer.text(text)
    writer.close()
  }

  private static func request(key: SigningKey, certificate: [UInt8], now: Instant) throws -> [UInt8] {
    let id = "_" + RandomBytes.generate(16).hexadecimal
    var writer = CanonicalWriter(capacity: 2048)
    try writer.open(
      samlp, "AuthnRequest",
      [
        ("AssertionConsumerServiceURL", "https://sp.example/acs"), ("Destination", "https://sign.example/adfs/ls"), ("ID", id),
        ("IssueInstant", now.description), ("ProtocolBinding", "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"), ("Version", "2.0"),
      ])
    try element(&writer, "Issuer", "https://sp.example/metadata")
    let place = writer.position
    try writer.open(samlp, "NameIDPolicy", [("AllowCreate", "true"), ("Format", "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent")])
    writer.close()
    // Without certificate: that makes the 1.5 KB which service providers send.
    let signature = EnvelopedSignature.prepare(
      element: writer.finish(), id: id, at: place, digest: .sha256, algorithm: key.defaultAlgorithm, certificates: [])
    return signature.finish(signature: try key.sign(signature.bytesToSign, with: key.defaultAlgorithm))
  }
}
