import Bytes
import Cryptography
import Foundation
import SAML
import Synchronization
import Testing
import XMLSecurity

@testable import WSFederation

/// What the tests are made of: keys, and messages as clients write them.
enum Samples {
  /// 2026-11-18T11:06:40.123Z.
  static let now = Instant(milliseconds: 1_795_000_000_123)
  static let address = "urn:federation:MicrosoftOnline"
  static let passive = "https://idp.example/adfs/ls/"
  static let entityID = "http://idp.example/adfs/services/trust"

  /// One key for all tests: RSA takes its time.
  private static let made = Mutex<[SigningKey.Kind: SigningKey]>([:])

  static func key(_ kind: SigningKey.Kind = .rsa2048) throws -> SigningKey {
    try made.withLock { keys in
      if let known = keys[kind] { return known }
      let fresh = try SigningKey.generate(kind)
      keys[kind] = fresh
      return fresh
    }
  }

  private static let certified = Mutex<[SigningKey.Kind: [UInt8]]>([:])

  static func certificate(_ kind: SigningKey.Kind = .rsa2048) throws -> [UInt8] {
    let key = try key(kind)
    return try certified.withLock { certificates in
      if let known = certificates[kind] { return known }
      let fresh = try SelfSignedCertificate.make(
        key: key, commonName: "signing", notBefore: now, notAfter: now.adding(.seconds(86_400 * 3650)))
      certificates[kind] = fresh
      return fresh
    }
  }

  static func signed(_ message: UnsignedMessage) throws -> [UInt8] {
    let prepared = EnvelopedSignature.prepare(message, digest: .sha256, algorithm: .rsaSHA256, certificates: [try certificate()])
    return prepared.finish(signature: try key().sign(prepared.bytesToSign, with: .rsaSHA256))
  }

  static func assertion(
    name: NameID = NameID("ImmutableID=="),
    attributes: [Attribute] = [Attribute("http://schemas.xmlsoap.org/claims/UPN", values: ["alice@contoso.com"])]
  ) -> LegacyAssertion {
    LegacyAssertion(
      id: "_assertion", issueInstant: now, issuer: entityID, notBefore: now, notOnOrAfter: now.adding(.seconds(3600)), audience: address,
      name: name, authenticationMethod: LegacyAssertion.passwordMethod, authenticationInstant: now.adding(.seconds(-60)), attributes: attributes)
  }

  /// A request as MSAL for Python writes it, with places to change.
  struct Envelope {
    var version = TrustVersion.v13
    var soap = FederationVocabulary.soap
    var action = "<wsa:Action s:mustUnderstand='1'>\(TrustVersion.v13.requestAction)</wsa:Action>"
    var messageID = "<wsa:MessageID>urn:uuid:6f7a</wsa:MessageID>"
    var replyTo = "<wsa:ReplyTo>\n<wsa:Address>\(FederationVocabulary.anonymous)</wsa:Address>\n</wsa:ReplyTo>"
    var headers = ""
    var timestamp =
      "<wsu:Timestamp wsu:Id='_0'><wsu:Created>2026-11-18T11:06:40Z</wsu:Created><wsu:Expires>2026-11-18T11:16:40Z</wsu:Expires></wsu:Timestamp>"
    var token =
      "<wsse:UsernameToken wsu:Id='ADALUsernameToken'><wsse:Username>alice@contoso.com</wsse:Username><wsse:Password>a&amp;b &lt;c&gt;</wsse:Password></wsse:UsernameToken>"
    var beside = ""
    var request: String?
    var appliesTo: String?
    var keyType: String?
    var requestType: String?
    var extra = ""
    var afterBody = ""

    init(_ version: TrustVersion = .v13) {
      self.version = version
      action = "<wsa:Action s:mustUnderstand='1'>\(version.requestAction)</wsa:Action>"
    }

    var security: String {
      "<wsse:Security s:mustUnderstand='1' xmlns:wsse='\(FederationVocabulary.security)'>\n\(timestamp)\n\(token)\(beside)\n</wsse:Security>"
    }

    var text: String {
      let appliesTo =
        appliesTo
        ?? "<wsp:AppliesTo xmlns:wsp='http://schemas.xmlsoap.org/ws/2004/09/policy'><wsa:EndpointReference>\n<wsa:Address>\(Samples.address)</wsa:Address>\n</wsa:EndpointReference></wsp:AppliesTo>"
      let keyType = keyType ?? "<wst:KeyType>\(version.bearerKey)</wst:KeyType>"
      let requestType = requestType ?? "<wst:RequestType>\(version.issue)</wst:RequestType>"
      let request =
        request
        ?? "<wst:RequestSecurityToken xmlns:wst='\(version.namespace)'>\n\(appliesTo)\n\(keyType)\(requestType)\(extra)\n</wst:RequestSecurityToken>"
      return """
        <s:Envelope xmlns:s='\(soap)' xmlns:wsa='\(FederationVocabulary.addressing)' xmlns:wsu='\(FederationVocabulary.utility)'>
          <s:Header>
            \(action)\(messageID)\(replyTo)
            <wsa:To s:mustUnderstand='1'>https://idp.example/adfs/services/trust/\(version.rawValue)/usernamemixed</wsa:To>
            \(security)\(headers)
          </s:Header>
          <s:Body>
            \(request)
          </s:Body>\(afterBody)
        </s:Envelope>
        """
    }

    func read() throws -> SecurityTokenRequest {
      try SecurityTokenRequest(Array(text.utf8), endpoint: version == .v13 ? .usernameMixed13 : .usernameMixed2005)
    }

    /// What it is refused for, or nil. The fault must relate to the message.
    func fault(sourceLocation: SourceLocation = #_sourceLocation) -> TrustFault.Code? {
      do {
        _ = try read()
        return nil
      } catch let fault as TrustFault {
        #expect(!fault.detail.isEmpty && fault.detail.utf8.count <= 1024, sourceLocation: sourceLocation)
        return fault.code
      } catch {
        Issue.record("threw \(error)", sourceLocation: sourceLocation)
        return nil
      }
    }
  }

  static func parse(_ bytes: [UInt8]) throws -> XMLElement { try XMLElement.parse(bytes, limits: .metadata) }

  static func text(_ secret: Secret) -> String { secret.withBytes { String(decoding: $0, as: UTF8.self) } }

  static func folder(_ name: String) -> URL { URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(name) }

  static func file(_ path: String) throws -> [UInt8] { Array(try Data(contentsOf: folder(path))) }
}

extension XMLElement {
  /// The one child of that local name, whatever its namespace.
  func child(_ local: String) throws -> XMLElement {
    let found = elements.filter { $0.name.local == local }
    try #require(found.count == 1, "\(found.count) <\(local)> in <\(name.local)>")
    return found[0]
  }

  /// The text of the one child of that local name.
  func text(_ local: String) throws -> String { try child(local).text() }
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

/// What other programs say of our documents: libxml2's xmllint with the schemas of OASIS, and xmlsec1 (installed by Tests/run).
enum Oracle {
  static func expectSchema(_ name: String, holds document: [UInt8]) throws {
    try withFolder { folder in
      let file = folder.appendingPathComponent("document.xml")
      try Data(document).write(to: file)
      let (status, output) = try run(
        "/usr/bin/xmllint", ["--nonet", "--noout", "--schema", "/usr/share/xml/opensaml/\(name)", file.path],
        environment: ["XML_CATALOG_FILES": try catalogues(folder)])
      #expect(status == 0, "\(output.prefix(1500))")
    }
  }

  /// - Parameter id: attribute and element that carry the signed ID, as xmlsec1 names them.
  static func verifies(_ document: [UInt8], id: (attribute: String, element: String)) throws -> Bool {
    try withFolder { folder in
      let file = folder.appendingPathComponent("document.xml")
      try Data(document).write(to: file)
      let pem = folder.appendingPathComponent("certificate.pem")
      let text = Data(try Samples.certificate()).base64EncodedString(options: [.lineLength64Characters, .endLineWithLineFeed])
      try Data("-----BEGIN CERTIFICATE-----\n\(text)\n-----END CERTIFICATE-----\n".utf8).write(to: pem)
      return try run(
        "/usr/bin/xmlsec1",
        [
          "--verify", "--pubkey-cert-pem", pem.path, "--enabled-key-data", "key-name,rsa", "--id-attr:\(id.attribute)", id.element, file.path,
        ]
      ).status == 0
    }
  }

  /// The schemas import others by address, which a catalogue leads to the installed files.
  private static func catalogues(_ folder: URL) throws -> String {
    let own = folder.appendingPathComponent("catalogue.xml")
    let schemas = [
      "http://www.w3.org/TR/2002/REC-xmldsig-core-20020212/xmldsig-core-schema.xsd": "xmldsig-core-schema.xsd",
      "http://www.w3.org/TR/xmldsig-core/xmldsig-core-schema.xsd": "xmldsig-core-schema.xsd",
      "http://www.w3.org/TR/2002/REC-xmlenc-core-20021210/xenc-schema.xsd": "xenc-schema.xsd", "http://www.w3.org/2001/xml.xsd": "xml.xsd",
    ]
    let lines = schemas.map { "<system systemId=\"\($0.key)\" uri=\"file:///usr/share/xml/xmltooling/\($0.value)\"/>" }.joined()
    try Data("<catalog xmlns=\"urn:oasis:names:tc:entity:xmlns:xml:catalog\">\(lines)</catalog>".utf8).write(to: own)
    return own.path
  }

  private static func withFolder<Result>(_ work: (URL) throws -> Result) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("gatehouse-wsfed-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try work(folder)
  }

  static func run(_ program: String, _ arguments: [String], environment: [String: String] = [:]) throws -> (status: Int32, output: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let data = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: data, as: UTF8.self))
  }
}
