import Bytes
import Cryptography
import Foundation
import GatehouseTesting
import Testing

@testable import XMLSecurity

/// Whenever we accept, others must accept and see the same. Others are libxml2 (through python3-lxml), xmlsec1 and the openssl program, installed by
/// Tests/run.
@Suite struct `Other programs` {
  /// Documents, apexes and prefixes for Vectors/compare.
  private struct Comparison {
    private var writer = ByteWriter()
    private(set) var count = 0

    var bytes: [UInt8] { writer.bytes }

    mutating func add(_ document: [UInt8], apex: Int, prefixes: [String], canonical: [UInt8]) {
      writer.writeLengthPrefixed(document)
      writer.writeLengthPrefixed(Array("\(apex)".utf8))
      writer.writeLengthPrefixed(Array(prefixes.joined(separator: " ").utf8))
      writer.writeLengthPrefixed(canonical)
      count += 1
    }

    /// The document as a whole, if it is read, and one element of it.
    mutating func add(_ document: [UInt8], prefixes: [String], choosing index: Int) throws {
      guard let root = try? XMLElement.parse(document, limits: .message) else { return }
      add(document, apex: 0, prefixes: prefixes, canonical: try root.canonicalBytes(inclusivePrefixes: prefixes))
      let elements = try Self.elements(root)
      let chosen = index % elements.count
      add(document, apex: chosen, prefixes: [], canonical: try elements[chosen].canonicalBytes())
    }

    private static func elements(_ root: XMLElement) throws -> [XMLElement] {
      var found: [XMLElement] = []
      var left = [root]
      while let element = left.popLast() {
        found.append(element)
        left += element.elements.reversed()
      }
      return found
    }

    func expectAgreement() throws {
      let oracle = try Oracle()
      try oracle.write("records", bytes)
      let (status, output) = try oracle.run("/usr/bin/python3", [Samples.folder("Vectors/compare").path, "records"])
      #expect(status == 0, "\(output)")
      #expect(output.hasSuffix("\(count) records, 0 different\n"), "\(output)")
    }
  }

  private static var isLong: Bool { ProcessInfo.processInfo.environment["GATEHOUSE_LONG"] != nil }

  /// The corpus: everything that stands in Attacks/ and Vectors/, and what we write.
  private static func corpus() throws -> [[UInt8]] {
    var result = [try Samples.assertion().bytes, try Samples.request().bytes]
    let key = try Samples.key(.p256)
    result.append(try Samples.signed(key, certificates: [try Samples.certificate(key)]))
    for folder in ["Attacks", "Vectors"] {
      for name in try FileManager.default.contentsOfDirectory(atPath: Samples.folder(folder).path).sorted() where name.hasSuffix(".xml") {
        result.append(try Samples.file("\(folder)/\(name)"))
      }
    }
    return result
  }

  @Test func `accept all that we accept of the corpus, with the same canonical form`() throws {
    var comparison = Comparison()
    let corpus = try Self.corpus()
    for (index, document) in corpus.enumerated() {
      try comparison.add(document, prefixes: index % 2 == 0 ? [] : ["ds", "#default", "unused", "samlp"], choosing: index)
    }
    #expect(comparison.count > 200)
    try comparison.expectAgreement()
  }

  /// What the fuzzer found worth keeping, where it ran before (Tests/run --long).
  @Test func `accept all that we accept of the fuzzer's corpus, with the same canonical form`() throws {
    guard Self.isLong else { return }
    let folder = Samples.folder("../../.build/fuzz/corpus/xml").standardizedFileURL
    var comparison = Comparison()
    for name in (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? [] {
      try comparison.add(Array(try Data(contentsOf: folder.appendingPathComponent(name))), prefixes: [], choosing: name.utf8.count)
    }
    try comparison.expectAgreement()
  }

  @Test func `accept all that we accept of generated and damaged documents, with the same canonical form`() throws {
    let corpus = try Self.corpus()
    let rounds = Self.isLong ? 100 : 1
    for round in 0..<rounds {
      var mutator = Mutator(seed: UInt64(round) + 1)
      var comparison = Comparison()
      for index in 0..<1_000 {
        let prefixes = mutator.choose([[], ["p"], ["#default"], ["p", "q", "z", "#default"], ["nobody"]]) ?? []
        try comparison.add(mutator.compose(), prefixes: prefixes, choosing: index)
        if let document = mutator.choose(corpus) { try comparison.add(mutator.mutate(document), prefixes: [], choosing: index) }
        try comparison.add(mutator.mutate(mutator.compose()), prefixes: prefixes, choosing: index)
      }
      #expect(comparison.count > 1_500)
      try comparison.expectAgreement()
    }
  }

  @Test(arguments: `An enveloped signature`.algorithms) func `verify what we sign`(
    kind: SigningKey.Kind, algorithm: SignatureAlgorithm, digest: DigestAlgorithm
  ) throws {
    let key = try Samples.key(kind)
    let certificate = try Samples.certificate(key)
    let assertion = try Samples.assertion()
    let prepared = EnvelopedSignature.prepare(
      element: assertion.bytes, id: assertion.id, at: assertion.place, digest: digest, algorithm: algorithm, certificates: [certificate])
    let signed = prepared.finish(signature: try key.sign(prepared.bytesToSign, with: algorithm))
    var response = CanonicalWriter()
    try response.open(Samples.samlp, "Response", [("ID", "_response")])
    response.embed(signed)
    let oracle = try Oracle()
    try oracle.write("key.crt", certificate: certificate)
    try oracle.write("assertion.xml", signed)
    try oracle.write("response.xml", response.finish())
    try oracle.write("changed.xml", String(decoding: signed, as: UTF8.self).replacingOccurrences(of: "Zoë", with: "Zoe").utf8)
    func verify(_ file: String) throws -> Int32 {
      try oracle.run(
        "/usr/bin/xmlsec1", ["--verify", "--pubkey-cert-pem", "key.crt", "--id-attr:ID", "urn:oasis:names:tc:SAML:2.0:assertion:Assertion", file]
      ).status
    }
    #expect(try verify("assertion.xml") == 0)
    #expect(try verify("response.xml") == 0)
    #expect(try verify("changed.xml") != 0)
  }

  @Test func `verify what we accept, and refuse what is not the partner's`() throws {
    let oracle = try Oracle()
    let text = String(decoding: try Samples.file("Attacks/partner.der.base64"), as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    try oracle.write("key.crt", certificate: try #require(StrictText.base64(text)))
    // xmlsec1 takes the key out of this message, where one stands; we never do.
    let believed = "keyinfo-value.xml"
    for attack in `Attacks on XML and its signatures`.all where attack.expected == "accepted" && attack.file != believed {
      try oracle.write("request.xml", try Samples.file("Attacks/\(attack.file)"))
      let (status, output) = try oracle.run(
        "/usr/bin/xmlsec1",
        ["--verify", "--pubkey-cert-pem", "key.crt", "--id-attr:ID", "urn:oasis:names:tc:SAML:2.0:protocol:AuthnRequest", "request.xml"])
      #expect(status == 0, "\(attack) \(output)")
    }
  }

  @Test(arguments: ContentEncryption.allCases) func `decrypt what we encrypt`(content: ContentEncryption) throws {
    let key = try DecryptionKey.generate()
    let oracle = try Oracle()
    try oracle.write("key.pem", key: try key.pkcs8)
    let assertion = try Samples.assertion().bytes
    // xmlsec1 knows OAEP of the first kind only; the others are held against the openssl program below.
    let data = try XMLEncryption.encrypt(assertion, to: try EncryptionKey(key.publicKey), certificate: nil, content: content, transport: .rsaOAEP)
    try oracle.write("encrypted.xml", data)
    let (status, output) = try oracle.run("/usr/bin/xmlsec1", ["--decrypt", "--privkey-pem", "key.pem", "--output", "plain.xml", "encrypted.xml"])
    #expect(status == 0, "\(output)")
    #expect(try XMLElement.parse(try oracle.read("plain.xml"), limits: .message).canonicalBytes() == assertion)
  }

  @Test func `encrypt what we decrypt`() throws {
    let key = try SigningKey.generate(.rsa2048)
    let decryptionKey = try DecryptionKey(pkcs8: try key.pkcs8)
    let oracle = try Oracle()
    try oracle.write("key.crt", certificate: try Samples.certificate(key))
    try oracle.write("plain.xml", try Samples.assertion().bytes)
    for (name, session) in [("aes256-gcm", "aes-256"), ("aes128-gcm", "aes-128")] {
      try oracle.write(
        "template.xml",
        """
        <e:EncryptedData xmlns:e="http://www.w3.org/2001/04/xmlenc#" Type="http://www.w3.org/2001/04/xmlenc#Element">
          <e:EncryptionMethod Algorithm="http://www.w3.org/2009/xmlenc11#\(name)"/><d:KeyInfo xmlns:d="http://www.w3.org/2000/09/xmldsig#"><e:EncryptedKey>
          <e:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"/><e:CipherData><e:CipherValue/></e:CipherData></e:EncryptedKey></d:KeyInfo>
          <e:CipherData><e:CipherValue/></e:CipherData></e:EncryptedData>
        """.utf8)
      let (status, output) = try oracle.run(
        "/usr/bin/xmlsec1",
        ["--encrypt", "--pubkey-cert-pem", "key.crt", "--session-key", session, "--xml-data", "plain.xml", "--output", "out.xml", "template.xml"])
      #expect(status == 0, "\(output)")
      let element = try XMLEncryption.decrypt(
        try XMLElement.parse(try oracle.read("out.xml"), limits: .message), keys: [decryptionKey], limits: .message)
      #expect(try element.canonicalBytes() == (try Samples.assertion().bytes))
    }
  }

  @Test(arguments: KeyTransportAlgorithm.allCases) func `mean the same by each kind of OAEP`(algorithm: KeyTransportAlgorithm) throws {
    let key = try DecryptionKey.generate()
    let oracle = try Oracle()
    try oracle.write("key.pem", key: try key.pkcs8)
    let transport = KeyTransport(digest: algorithm.digest, maskDigest: algorithm.maskDigest)
    try oracle.write("in", try transport.encrypt(Secret("0123456789abcdef".utf8), to: try EncryptionKey(key.publicKey)))
    let options = [
      "-inkey", "key.pem", "-in", "in", "-out", "out", "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:\(algorithm.digest.rawValue)",
      "-pkeyopt", "rsa_mgf1_md:\(algorithm.maskDigest.rawValue)",
    ]
    #expect(try oracle.run("/usr/bin/openssl", ["pkeyutl", "-decrypt"] + options).status == 0)
    #expect(try oracle.read("out") == Array("0123456789abcdef".utf8))
    try oracle.write("in", "fedcba9876543210".utf8)
    #expect(try oracle.run("/usr/bin/openssl", ["pkeyutl", "-encrypt"] + options).status == 0)
    #expect(try transport.decrypt(try oracle.read("out"), with: key).withBytes { Array($0) } == Array("fedcba9876543210".utf8))
  }

  @Test func `find our certificates in order`() throws {
    for kind in SigningKey.Kind.allCases {
      let key = try Samples.key(kind)
      let oracle = try Oracle()
      try oracle.write("key.crt", certificate: try Samples.certificate(key))
      let (status, output) = try oracle.run("/usr/bin/openssl", ["x509", "-in", "key.crt", "-noout", "-text"])
      #expect(status == 0)
      for line in [
        "Version: 3 (0x2)", "Subject: CN = partner", "Issuer: CN = partner", "CA:FALSE", "Digital Signature", "Not Before: Nov 18 11:06:40 2026 GMT",
        "Not After : Nov 15 11:06:40 2036 GMT",
      ] { #expect(output.contains(line), "\(line)") }
      let check = try oracle.run("/usr/bin/openssl", ["verify", "-no_check_time", "-CAfile", "key.crt", "-partial_chain", "key.crt"])
      #expect(check.status == 0, "\(check.output)")
    }
  }
}
