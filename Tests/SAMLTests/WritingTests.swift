import Bytes
import Cryptography
import Foundation
import Testing
import XMLSecurity

@testable import SAML

/// Texts that break out of templates (B2.8); each must come back as it went in.
private let hostile = [
  "</AttributeValue><AttributeValue>Domain Admins", "<\u{338}", "&admin;", "]]>", "\"\u{301} x='", "\r\n\t a", "\u{2028}\u{85}", "😀", "<!--", "-->",
  "<![CDATA[",
  "&#13;", "\u{fffd}", "\u{10ffff}",
]

@Suite struct `What we write` {
  static func content(_ values: [String], name: String = "alice") -> AssertionContent {
    AssertionContent(
      id: "_a", issueInstant: Samples.now, issuer: "https://idp.example", subject: .plain(NameID(name, format: NameIDFormat.persistent.rawValue)),
      recipient: "https://sp.example/acs", inResponseTo: "_request", notBefore: Samples.now, notOnOrAfter: Samples.now.adding(.seconds(3600)),
      confirmationNotOnOrAfter: Samples.now.adding(.seconds(300)), audience: Samples.issuer, authnInstant: Samples.now, sessionIndex: "_s",
      sessionNotOnOrAfter: Samples.now.adding(.seconds(28_800)), contextClass: AuthnContextClass.passwordProtectedTransport,
      attributes: [Attribute("urn:a", nameFormat: "urn:f", friendlyName: "a", values: values), Attribute("urn:empty", values: [])])
  }

  static func elements(_ root: XMLElement) -> Int { 1 + root.elements.map(elements).reduce(0, +) }

  @Test func `An assertion is canonical and says what it was told`() throws {
    let written = try Self.content(["x", "y"]).written()
    let root = try XMLElement.parse(written.bytes, limits: .message)
    #expect(try root.canonicalBytes() == written.bytes)
    #expect(root.attribute("ID") == "_a" && root.attribute("Version") == "2.0" && root.attribute("IssueInstant") == Samples.now.description)
    #expect(root.elements.map(\.name.local) == ["Issuer", "Subject", "Conditions", "AuthnStatement", "AttributeStatement"])
    let subject = try root.only(Vocabulary.saml("Subject"))
    let confirmations = subject.children(Vocabulary.saml("SubjectConfirmation"))
    #expect(confirmations.count == 1)
    #expect(confirmations.first?.attribute("Method") == Vocabulary.bearer)
    let data = try #require(confirmations.first?.elements.first)
    // Profiles 4.1.4.2: no NotBefore, and no Address that a proxy would spoil.
    #expect(data.attributes.map(\.name.local).sorted() == ["InResponseTo", "NotOnOrAfter", "Recipient"])
    let conditions = try root.only(Vocabulary.saml("Conditions"))
    #expect(conditions.elements.map(\.name.local) == ["AudienceRestriction"])
    #expect(try conditions.elements.first?.elements.map { try $0.text() } == [Samples.issuer])
    let statement = try root.only(Vocabulary.saml("AuthnStatement"))
    #expect(statement.attributes.map(\.name.local).sorted() == ["AuthnInstant", "SessionIndex", "SessionNotOnOrAfter"])
    let attributes = try root.only(Vocabulary.saml("AttributeStatement")).elements
    #expect(attributes.count == 1)
    #expect(try attributes.first?.elements.map { try $0.text() } == ["x", "y"])
  }

  @Test func `An answer that nobody asked for names no request`() throws {
    var content = Self.content([])
    content.inResponseTo = nil
    let assertion = try content.written()
    let response = try ResponseContent(
      id: "_r", inResponseTo: nil, destination: "d", issueInstant: Samples.now, issuer: "i", body: .assertion(assertion.bytes)
    ).written()
    #expect(!String(decoding: response.bytes, as: UTF8.self).contains("InResponseTo"))
    // An empty AttributeStatement is against the schema.
    #expect(!String(decoding: assertion.bytes, as: UTF8.self).contains("AttributeStatement"))
  }

  @Test(arguments: hostile) func `A value stays a value`(_ text: String) throws {
    let plain = Self.elements(try XMLElement.parse(try Self.content(["plain"]).written().bytes, limits: .message))
    let written = try Self.content([text], name: text).written()
    let root = try XMLElement.parse(written.bytes, limits: .message)
    #expect(Self.elements(root) == plain)
    #expect(try root.canonicalBytes() == written.bytes)
    let value = try root.only(Vocabulary.saml("AttributeStatement")).elements.first?.elements.first?.text()
    #expect(value.map { Array($0.utf8) } == Array(text.utf8))
    let name = try root.only(Vocabulary.saml("Subject")).elements.first?.text()
    #expect(name.map { Array($0.utf8) } == Array(text.utf8))
  }

  @Test(arguments: ["\u{0}", "a\u{1}", "\u{b}", "\u{1f}", "\u{fffe}", "\u{ffff}"]) func `What XML cannot carry is not written`(_ text: String) {
    #expect(fault { try Self.content([text]).written() } == .xml)
    #expect(fault { try Self.content(["x"], name: text).written() } == .xml)
    #expect(fault { try ResponseContent(id: "_r", inResponseTo: nil, destination: text, issueInstant: Samples.now, issuer: "i").written() } == .xml)
  }

  @Test func `The whole response is canonical, and so is the assertion inside of it`() throws {
    let key = try Samples.key()
    func sign(_ message: UnsignedMessage) throws -> [UInt8] {
      let prepared = EnvelopedSignature.prepare(
        element: message.bytes, id: message.id, at: message.signaturePlace, digest: .sha256, algorithm: .rsaSHA256,
        certificates: [try Samples.certificate()])
      return prepared.finish(signature: try key.sign(prepared.bytesToSign, with: .rsaSHA256))
    }
    let assertion = try sign(try Self.content(hostile).written())
    let response = try sign(
      try ResponseContent(
        id: "_r", inResponseTo: "_request", destination: "https://sp.example/acs", issueInstant: Samples.now, issuer: "https://idp.example",
        body: .assertion(assertion)
      ).written())
    let root = try XMLElement.parse(response, limits: .message)
    #expect(try root.canonicalBytes() == response)
    #expect(root.elements.map(\.name.local) == ["Issuer", "Signature", "Status", "Assertion"])
    #expect(try root.only(Vocabulary.saml("Assertion")).canonicalBytes() == assertion)
    let verifier = SignatureVerifier(keys: [key.publicKey])
    #expect(try verifier.verify(root).element.name == Vocabulary.samlp("Response"))
    #expect(try verifier.verify(try XMLElement.parse(assertion, limits: .message)).element.name == Vocabulary.saml("Assertion"))
    try Oracle.expectSchema("saml-schema-protocol-2.0.xsd", holds: response)
    try Oracle.expectSignature(in: response, certificate: try Samples.certificate(), ids: ["protocol:Response", "assertion:Assertion"])
  }

  @Test(arguments: [
    Status(.success), Status(.responder, .noPassive), Status(.requester, .invalidNameIDPolicy, message: "a <b>"),
    Status(.versionMismatch, .requestVersionTooLow),
  ])
  func `An answer without an assertion has its status`(_ status: Status) throws {
    let written = try ResponseContent(
      id: "_r", inResponseTo: "_request", destination: "https://sp.example/acs", issueInstant: Samples.now, issuer: "https://idp.example",
      status: status
    ).written()
    let root = try XMLElement.parse(written.bytes, limits: .message)
    #expect(try root.canonicalBytes() == written.bytes)
    let element = try root.only(Vocabulary.samlp("Status"))
    let code = try element.only(Vocabulary.samlp("StatusCode"))
    #expect(code.attribute("Value") == status.code.rawValue)
    #expect(code.elements.first?.attribute("Value") == status.detail?.rawValue)
    #expect(try element.optional(Vocabulary.samlp("StatusMessage"))?.text() == status.message)
    try Oracle.expectSchema("saml-schema-protocol-2.0.xsd", holds: written.bytes)
  }

  @Test func `Our metadata is canonical, in the schema's order, and signed at its root`() throws {
    let certificate = try Samples.certificate()
    let written = try IdentityProviderMetadata(
      id: "_m", entityID: "https://idp.example", validUntil: Samples.now, signingCertificates: [certificate, try Samples.certificate(.p256)],
      encryptionCertificates: [certificate], wantsSignedRequests: true, signOn: [(.redirect, Samples.signOn), (.post, Samples.signOn)],
      logout: [(.redirect, Samples.signOn), (.soap, "https://idp.example/saml/logout")], nameIDFormats: NameIDFormat.allCases,
      attributes: [Attribute("urn:a", nameFormat: "urn:f", friendlyName: "a", values: [])], displayName: "Contoso & <S\u{f6}hne>",
      errorURL: "https://idp.example/error", contactMail: "a@contoso.com"
    ).written()
    let key = try Samples.key()
    let prepared = EnvelopedSignature.prepare(
      element: written.bytes, id: written.id, at: written.signaturePlace, digest: .sha256, algorithm: .rsaSHA256, certificates: [certificate])
    let document = prepared.finish(signature: try key.sign(prepared.bytesToSign, with: .rsaSHA256))
    let root = try XMLElement.parse(document, limits: .metadata)
    #expect(try root.canonicalBytes() == document)
    #expect(root.elements.map(\.name.local) == ["Signature", "IDPSSODescriptor", "ContactPerson"])
    #expect(try SignatureVerifier(keys: [key.publicKey]).verify(root, position: .first).element.name == Vocabulary.md("EntityDescriptor"))
    let role = try #require(root.elements.dropFirst().first)
    #expect(role.attribute("WantAuthnRequestsSigned") == "true")
    #expect(role.children(Vocabulary.md("KeyDescriptor")).map { $0.attribute("use") } == ["signing", "signing", "encryption"])
    #expect(
      role.children(Vocabulary.md("SingleSignOnService")).map { $0.attribute("Binding") } == [Binding.redirect.rawValue, Binding.post.rawValue])
    try Oracle.expectSchema("saml-schema-metadata-2.0.xsd", holds: document)
    try Oracle.expectSignature(in: document, certificate: certificate, ids: ["metadata:EntityDescriptor"])
  }
}

/// What other programs say of our documents: libxml2's xmllint with the schemas of OASIS, and xmlsec1 (installed by Tests/run).
private enum Oracle {
  static func expectSchema(_ name: String, holds document: [UInt8]) throws {
    try withFolder { folder in
      let file = folder.appendingPathComponent("document.xml")
      try Data(document).write(to: file)
      let schema = "/usr/share/xml/opensaml/\(name)"
      let (status, output) = try run(
        "/usr/bin/xmllint", ["--nonet", "--noout", "--schema", schema, file.path], environment: ["XML_CATALOG_FILES": try catalogues(folder)])
      #expect(status == 0, "\(output.prefix(1500))")
    }
  }

  /// - Parameter ids: namespace tail and local name of each element whose `ID` is one.
  static func expectSignature(in document: [UInt8], certificate: [UInt8], ids: [String]) throws {
    try withFolder { folder in
      let file = folder.appendingPathComponent("document.xml")
      try Data(document).write(to: file)
      let pem = folder.appendingPathComponent("certificate.pem")
      let text = Data(certificate).base64EncodedString(options: [.lineLength64Characters, .endLineWithLineFeed])
      try Data("-----BEGIN CERTIFICATE-----\n\(text)\n-----END CERTIFICATE-----\n".utf8).write(to: pem)
      let named = ids.flatMap { ["--id-attr:ID", "urn:oasis:names:tc:SAML:2.0:\($0)"] }
      let (status, output) = try run(
        "/usr/bin/xmlsec1", ["--verify", "--pubkey-cert-pem", pem.path, "--enabled-key-data", "key-name,rsa"] + named + [file.path])
      #expect(status == 0, "\(output.prefix(1500))")
    }
  }

  /// The schemas import others by address, which a catalogue leads to the installed files.
  private static func catalogues(_ folder: URL) throws -> String {
    let own = folder.appendingPathComponent("catalogue.xml")
    let schemas = [
      "http://www.w3.org/TR/2002/REC-xmldsig-core-20020212/xmldsig-core-schema.xsd": "xmldsig-core-schema.xsd",
      "http://www.w3.org/TR/2002/REC-xmlenc-core-20021210/xenc-schema.xsd": "xenc-schema.xsd", "http://www.w3.org/2001/xml.xsd": "xml.xsd",
    ]
    let lines = schemas.map { "<system systemId=\"\($0.key)\" uri=\"file:///usr/share/xml/xmltooling/\($0.value)\"/>" }.joined()
    try Data("<catalog xmlns=\"urn:oasis:names:tc:entity:xmlns:xml:catalog\">\(lines)</catalog>".utf8).write(to: own)
    return own.path
  }

  private static func withFolder(_ work: (URL) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("gatehouse-saml-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try work(folder)
  }

  private static func run(_ program: String, _ arguments: [String], environment: [String: String] = [:]) throws -> (status: Int32, output: String) {
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
