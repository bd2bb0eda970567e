import Bytes
import Cryptography
import Foundation

@testable import XMLSecurity

/// What the tests are made of: keys, and documents as a partner writes them.
enum Samples {
  static let saml = CanonicalWriter.Namespace(prefix: "saml", uri: "urn:oasis:names:tc:SAML:2.0:assertion")
  static let samlp = CanonicalWriter.Namespace(prefix: "samlp", uri: "urn:oasis:names:tc:SAML:2.0:protocol")
  static let now = Instant(milliseconds: 1_795_000_000_123)

  /// One key of each kind for all tests: RSA takes its time.
  private static let keys = Result { try SigningKey.Kind.allCases.map { ($0, try SigningKey.generate($0)) } }

  static func key(_ kind: SigningKey.Kind = .rsa2048) throws -> SigningKey {
    guard let found = try keys.get().first(where: { $0.0 == kind }) else { throw CryptographyFault.key("none") }
    return found.1
  }

  static func certificate(_ key: SigningKey) throws -> [UInt8] {
    try SelfSignedCertificate.make(key: key, commonName: "partner", notBefore: now, notAfter: now.adding(.seconds(86_400 * 3650)))
  }

  /// An AuthnRequest, where its signature goes, and its ID.
  static func request(issuer: String = "https://sp.example/metadata") throws -> (bytes: [UInt8], place: Int, id: String) {
    var writer = CanonicalWriter()
    try writer.open(
      samlp, "AuthnRequest",
      [
        ("Version", "2.0"), ("ID", "_request"), ("IssueInstant", now.description),
        ("AssertionConsumerServiceURL", "https://sp.example/acs?a=1&b=\"2\""),
      ])
    writer.open(saml, "Issuer")
    try writer.text(issuer)
    writer.close()
    let place = writer.position
    try writer.open(samlp, "NameIDPolicy", [("AllowCreate", "true")])
    writer.close()
    return (writer.finish(), place, "_request")
  }

  static func signed(
    _ key: SigningKey, algorithm: SignatureAlgorithm? = nil, digest: DigestAlgorithm = .sha256, certificates: [[UInt8]] = []
  ) throws -> [UInt8] {
    let request = try request()
    let algorithm = algorithm ?? key.defaultAlgorithm
    let signature = EnvelopedSignature.prepare(
      element: request.bytes, id: request.id, at: request.place, digest: digest, algorithm: algorithm, certificates: certificates)
    return signature.finish(signature: try key.sign(signature.bytesToSign, with: algorithm))
  }

  /// An assertion with something to escape in every kind of place.
  static func assertion(id: String = "_assertion") throws -> (bytes: [UInt8], place: Int, id: String) {
    var writer = CanonicalWriter()
    try writer.open(saml, "Assertion", [("ID", id), ("IssueInstant", now.description), ("Version", "2.0")])
    writer.open(saml, "Issuer")
    try writer.text("http://sign.example/adfs/services/trust")
    writer.close()
    let place = writer.position
    writer.open(saml, "AttributeStatement")
    try writer.open(saml, "Attribute", [("Name", "a \"b\" <c> & d\t\n\re\u{338}")])
    let instance = CanonicalWriter.Namespace(prefix: "xsi", uri: "http://www.w3.org/2001/XMLSchema-instance")
    try writer.open(saml, "AttributeValue", [], prefixed: [(.xml, "lang", "de"), (instance, "nil", "false")])
    try writer.text("Zoë <partners> & \"friends\" ]]> \r\n\t 😀 <\u{338}")
    writer.close()
    writer.open(saml, "AttributeValue")
    writer.base64([0, 255, 254, 1])
    writer.dateTime(now)
    writer.close()
    return (writer.finish(), place, id)
  }

  static func folder(_ name: String) -> URL { URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(name) }

  static func file(_ path: String) throws -> [UInt8] { Array(try Data(contentsOf: folder(path))) }
}

/// A program that judges what we wrote or read, with a folder of its own.
struct Oracle: ~Copyable {
  let folder: URL

  init() throws {
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("gatehouse-oracle-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  func write(_ name: String, _ bytes: some Sequence<UInt8>) throws { try Data(bytes).write(to: folder.appendingPathComponent(name)) }

  func read(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: folder.appendingPathComponent(name))) }

  /// Writes a private key as PEM for the program, and nowhere else.
  func write(_ name: String, key: Secret) throws {
    let text = key.withBytes { Data($0).base64EncodedString(options: [.lineLength64Characters, .endLineWithLineFeed]) }
    let label = "PRIVATE " + "KEY"
    try write(name, "-----BEGIN \(label)-----\n\(text)\n-----END \(label)-----\n".utf8)
  }

  func write(_ name: String, certificate: [UInt8]) throws {
    let text = Data(certificate).base64EncodedString(options: [.lineLength64Characters, .endLineWithLineFeed])
    try write(name, "-----BEGIN CERTIFICATE-----\n\(text)\n-----END CERTIFICATE-----\n".utf8)
  }

  /// Runs the program in the folder. Returns its exit status and what it printed.
  func run(_ program: String, _ arguments: [String]) throws -> (status: Int32, output: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.currentDirectoryURL = folder
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let data = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: data, as: UTF8.self))
  }
}
