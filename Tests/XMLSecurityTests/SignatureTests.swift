import Bytes
import Cryptography
import Foundation
import Testing

@testable import XMLSecurity

@Suite struct `An enveloped signature` {
  static let algorithms: [(SigningKey.Kind, SignatureAlgorithm, DigestAlgorithm)] = [
    (.rsa2048, .rsaSHA256, .sha256), (.rsa3072, .rsaSHA384, .sha384), (.rsa4096, .rsaSHA512, .sha512), (.p256, .ecdsaSHA256, .sha256),
    (.p384, .ecdsaSHA384, .sha384), (.p384, .ecdsaSHA256, .sha512),
  ]

  private func kind(_ bytes: [UInt8], _ keys: [VerificationKey], allowingSHA1: Bool = false) throws -> SignatureFault.Kind? {
    do {
      _ = try SignatureVerifier(keys: keys, allowingSHA1: allowingSHA1).verify(try XMLElement.parse(bytes, limits: .message))
      return nil
    } catch let fault as SignatureFault { return fault.kind }
  }

  @Test(arguments: algorithms) func `verifies, and gives back what was signed without itself`(
    kind: SigningKey.Kind, algorithm: SignatureAlgorithm, digest: DigestAlgorithm
  ) throws {
    let key = try Samples.key(kind)
    let document = try Samples.signed(key, algorithm: algorithm, digest: digest, certificates: [try Samples.certificate(key)])
    let root = try XMLElement.parse(document, limits: .message)
    // Canonical as written, signature and all.
    #expect(try root.canonicalBytes() == document)
    let signed = try SignatureVerifier(keys: [try Samples.key(.rsa2048).publicKey, key.publicKey]).verify(root)
    #expect(signed.key == key.publicKey && signed.algorithm == algorithm && signed.digestAlgorithm == digest)
    #expect(try signed.element.canonicalBytes() == (try Samples.request().bytes))
    #expect(signed.element.elements.map(\.name.local) == ["Issuer", "NameIDPolicy"])
  }

  @Test func `stands first where metadata are signed`() throws {
    let key = try Samples.key(.p256)
    let namespace = CanonicalWriter.Namespace(prefix: "md", uri: "urn:oasis:names:tc:SAML:2.0:metadata")
    var writer = CanonicalWriter()
    try writer.open(namespace, "EntityDescriptor", [("ID", "_m"), ("entityID", "https://sp.example/")])
    let place = writer.position
    writer.open(namespace, "SPSSODescriptor")
    let prepared = EnvelopedSignature.prepare(
      element: writer.finish(), id: "_m", at: place, digest: .sha256, algorithm: .ecdsaSHA256, certificates: [])
    let document = prepared.finish(signature: try key.sign(prepared.bytesToSign, with: .ecdsaSHA256))
    let root = try XMLElement.parse(document, limits: .metadata)
    let verifier = SignatureVerifier(keys: [key.publicKey])
    #expect(try verifier.verify(root, position: .first).element.name.local == "EntityDescriptor")
    #expect { try verifier.verify(root) } throws: { ($0 as? SignatureFault)?.kind == .structure }
    #expect { try verifier.verify(root, idAttribute: "Id", position: .first) } throws: { ($0 as? SignatureFault)?.kind == .structure }
  }

  @Test func `by SHA-1 needs an exception`() throws {
    let key = try Samples.key()
    for (algorithm, digest) in [(SignatureAlgorithm.rsaSHA1, DigestAlgorithm.sha256), (.rsaSHA256, .sha1), (.rsaSHA1, .sha1)] {
      let document = try Samples.signed(key, algorithm: algorithm, digest: digest)
      #expect(try kind(document, [key.publicKey]) == .algorithm)
      #expect(try kind(document, [key.publicKey], allowingSHA1: true) == nil)
    }
  }

  @Test func `of another key, or over other bytes, is refused`() throws {
    let key = try Samples.key()
    let document = try Samples.signed(key)
    #expect(try kind(document, []) == .signature)
    #expect(try kind(document, [try Samples.key(.rsa3072).publicKey, try Samples.key(.p256).publicKey]) == .signature)
    let text = String(decoding: document, as: UTF8.self)
    #expect(try kind(Array(text.replacingOccurrences(of: "sp.example/acs", with: "sp.evil/acs").utf8), [key.publicKey]) == .digest)
    #expect(try kind(Array(text.replacingOccurrences(of: "xmlenc#sha256", with: "xmlenc#sha512").utf8), [key.publicKey]) == .signature)
    #expect(try kind(try Samples.request().bytes, [key.publicKey]) == .missing)
  }

  @Test func `inside of a larger document covers its element only`() throws {
    let key = try Samples.key()
    let assertion = try Samples.assertion()
    let prepared = EnvelopedSignature.prepare(
      element: assertion.bytes, id: assertion.id, at: assertion.place, digest: .sha256, algorithm: .rsaSHA256, certificates: [])
    var writer = CanonicalWriter()
    try writer.open(Samples.samlp, "Response", [("ID", "_response")])
    writer.embed(prepared.finish(signature: try key.sign(prepared.bytesToSign, with: .rsaSHA256)))
    let root = try XMLElement.parse(writer.finish(), limits: .message)
    let inner = try root.only(XMLName(Namespaces.assertion, "Assertion"))
    let signed = try SignatureVerifier(keys: [key.publicKey]).verify(inner)
    #expect(try signed.element.canonicalBytes() == assertion.bytes)
    #expect { try SignatureVerifier(keys: [key.publicKey]).verify(root) } throws: { ($0 as? SignatureFault)?.kind == .missing }
  }

  static let vectors = [
    "signxml-rsa-sha256", "signxml-rsa-sha384", "signxml-rsa-sha512", "signxml-ecdsa-sha256", "signxml-ecdsa-sha384", "xmlsec-rsa-sha256",
    "xmlsec-rsa-sha512", "xmlsec-ecdsa-sha256", "xmlsec-inclusive-prefixes",
  ]

  @Test(arguments: vectors) func `by another program verifies`(name: String) throws {
    let text = String(decoding: try Samples.file("Vectors/\(name).der.base64"), as: UTF8.self)
    let key = try VerificationKey(certificate: try #require(StrictText.base64(text.trimmingCharacters(in: .whitespacesAndNewlines))))
    let document = try Samples.file("Vectors/\(name).xml")
    let signed = try SignatureVerifier(keys: [key]).verify(try XMLElement.parse(document, limits: .message))
    #expect(try signed.element.only(XMLName(Namespaces.assertion, "Issuer")).text() == "https://sp.example/Zoë")
    #expect(signed.element.attribute("AssertionConsumerServiceURL") == "https://sp.example/acs?a=1&b=\"2\"")
    #expect(try kind(document, [try Samples.key().publicKey, try Samples.key(.p256).publicKey]) == .signature)
  }
}

@Suite struct `Damaged documents` {
  /// What still verifies after any change says just what was signed.
  @Test func `never trap, and verify only with the content that was signed`() throws {
    let key = try Samples.key(.p256)
    let good = try Samples.signed(key, certificates: [try Samples.certificate(key)])
    let assertion = try Samples.assertion().bytes
    let content = try Samples.request().bytes
    let verifier = SignatureVerifier(keys: [key.publicKey])
    var mutator = Mutator(seed: 20_261_121)
    var verified = 0
    var read = 0
    for round in 0..<20_000 {
      let document = mutator.mutate(round % 4 == 0 ? assertion : good)
      guard let root = try? XMLElement.parse(document, limits: .message) else { continue }
      read += 1
      // What is read has a canonical form, and that reads the same.
      let canonical = try root.canonicalBytes()
      #expect(try XMLElement.parse(canonical, limits: .message).canonicalBytes() == canonical)
      guard let signed = try? verifier.verify(root) else { continue }
      verified += 1
      #expect(try signed.element.canonicalBytes() == content)
    }
    // The changes are neither all harmless nor all fatal.
    #expect(read > 500 && verified > 20 && verified < read)
  }
}
