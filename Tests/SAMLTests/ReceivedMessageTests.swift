import Bytes
import Cryptography
import Foundation
import Testing
import XMLSecurity

@testable import SAML

@Suite struct `Messages as they arrive` {
  private func query(_ text: String) throws -> ReceivedMessage { try ReceivedMessage(query: Array(text.utf8)) }
  private func form(_ text: String) throws -> ReceivedMessage { try ReceivedMessage(form: Array(text.utf8)) }
  private static let request = Samples.request()
  private static var posted: String { FormFields.encode(Array(request.utf8).base64) }

  @Test func `by Redirect`() throws {
    let message = try query(Samples.query(Self.request, relayState: "a b&c"))
    #expect(message.direction == .request)
    #expect(message.binding == .redirect)
    #expect(message.relayState == "a b&c")
    #expect(!message.isSigned)
    #expect(try message.claimedIssuer == Samples.issuer)
    #expect(message.digest == Digests.sha256(Array(Self.request.utf8)))
    #expect(try query(Samples.query(Self.request, direction: .response)).direction == .response)
  }

  @Test func `by POST, base64 with line breaks and without`() throws {
    let base64 = Array(Self.request.utf8).base64
    var lines = ""
    for (index, character) in base64.enumerated() {
      lines.append(character)
      if index % 76 == 75 { lines += "\r\n" }
    }
    for text in [base64, lines, " \t" + base64 + "\n"] {
      let message = try form("SAMLRequest=\(FormFields.encode(text))&RelayState=")
      #expect(message.binding == .post)
      #expect(message.relayState == "")
      #expect(message.detached == nil)
    }
    #expect(try form("SAMLRequest=\(Self.posted)").relayState == nil)
  }

  @Test func `with both parameters or neither are refused`() throws {
    let good = Samples.query(Self.request)
    for text in ["\(good)&SAMLResponse=x", "SAMLResponse=\(Self.posted)&\(good)", "", "RelayState=x", "SAMLart=AAQAAA", "\(good)&samlresponse=x"] {
      #expect(fault { try query(text) } == .envelope)
    }
    #expect(fault { try form("SAMLRequest=\(Self.posted)&SAMLResponse=\(Self.posted)") } == .envelope)
  }

  @Test func `in a query are at most 16 KiB, encoded`() throws {
    // Letters that deflate badly fill the parameter up to its end and a byte beyond it.
    let limit = ReceivedMessage.longestParameter
    #expect(fault { try query("SAMLRequest=" + String(repeating: "A", count: limit)) } != .tooLarge)
    #expect(fault { try query("SAMLRequest=" + String(repeating: "A", count: limit + 1)) } == .tooLarge)
  }

  @Test func `in a form are at most 64 KiB, decoded`() throws {
    func padded(_ count: Int) -> String {
      let bare = Samples.request(content: "<samlp:Extensions></samlp:Extensions>").utf8.count
      return FormFields.encode(
        Array(Samples.request(content: "<samlp:Extensions>\(String(repeating: " ", count: count - bare))</samlp:Extensions>").utf8).base64)
    }
    #expect(try form("SAMLRequest=\(padded(65_536))").direction == .request)
    #expect(fault { try form("SAMLRequest=\(padded(65_544))") } == .tooLarge)
  }

  @Test func `have a relay state of at most 4,096 bytes`() throws {
    for unit in ["x", "\u{e9}"] {
      let most = String(repeating: unit, count: 4096 / unit.utf8.count)
      #expect(try query(Samples.query(Self.request, relayState: most)).relayState == most)
      #expect(try form("SAMLRequest=\(Self.posted)&RelayState=\(FormFields.encode(most))").relayState == most)
      #expect(fault { try query(Samples.query(Self.request, relayState: most + "y")) } == .tooLarge)
      #expect(fault { try form("SAMLRequest=\(Self.posted)&RelayState=\(FormFields.encode(most + "y"))") } == .tooLarge)
    }
    #expect(fault { try query(Samples.query(Self.request) + "&RelayState=a&RelayState=b") } == .envelope)
  }

  @Test func `in base64 that is not strict are refused`() {
    let base64 = Deflate.deflate(Array(Self.request.utf8)).base64
    let bare = base64.replacing("=", with: "")
    let urlSafe = base64.replacing("+", with: "-").replacing("/", with: "_")
    var wrong = [base64 + "=", base64 + "A", "=" + base64, base64 + "\u{0}", base64 + "\n", " " + base64, base64 + "====", "%", ""]
    if bare != base64 { wrong.append(bare) }
    if urlSafe != base64 { wrong.append(urlSafe) }
    for text in wrong { #expect(fault { try query("SAMLRequest=" + FormFields.encode(text)) } == .envelope) }
    // A plus sign that was not escaped arrives as a space.
    #expect(fault { try query("SAMLRequest=" + String(repeating: "A", count: 8) + "+AAA") } == .envelope)
  }

  @Test func `in another encoding than DEFLATE are refused`() throws {
    let good = Samples.query(Self.request)
    let deflate = FormFields.encode("urn:oasis:names:tc:SAML:2.0:bindings:URL-Encoding:DEFLATE")
    #expect(try query("\(good)&SAMLEncoding=\(deflate)").direction == .request)
    for other in ["", "urn:x", deflate + "x"] { #expect(fault { try query("\(good)&SAMLEncoding=\(other)") } == .envelope) }
    // Not deflated at all, as some send it by mistake.
    #expect(fault { try query("SAMLRequest=\(Self.posted)") } == .envelope)
    // Deflated by POST: no XML.
    #expect(fault { try form("SAMLRequest=\(FormFields.encode(Deflate.deflate(Array(Self.request.utf8)).base64))") } == .xml)
  }

  @Test(arguments: [
    "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/hostname\">]><a>&x;</a>", "<a>&x;</a>", "<a><b></a></b>", "<a", "", "<a/><b/>",
    "<?xml-stylesheet href=\"x\"?><a/>",
    "<a xmlns:x=\"\"/>",
  ]) func `that are no XML that is read here are refused`(_ text: String) { #expect(fault { try query(Samples.query(text)) } == .xml) }

  @Test(arguments: [
    "", "<saml:Issuer></saml:Issuer>", "<saml:Issuer>https://sp.example/meta<!---->data</saml:Issuer>",
    "<saml:Issuer>a<saml:Issuer>b</saml:Issuer></saml:Issuer>",
    "<saml:Issuer>a</saml:Issuer><saml:Issuer>b</saml:Issuer>",
    "<saml:Issuer Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent\">a</saml:Issuer>",
    "<saml:Issuer NameQualifier=\"b\">a</saml:Issuer>", "<saml:Issuer SPNameQualifier=\"b\">a</saml:Issuer>",
    "<saml:Issuer SPProvidedID=\"b\">a</saml:Issuer>",
    "<samlp:Issuer>a</samlp:Issuer>",
  ]) func `whose sender cannot be told are refused`(_ issuer: String) throws {
    let message = try query(Samples.query(Samples.request(issuer: issuer)))
    #expect(fault { try message.claimedIssuer } == .structure)
  }

  @Test func `have a sender of at most 1,024 bytes, in CDATA too`() throws {
    let long = String(repeating: "a", count: 1024)
    #expect(try query(Samples.query(Samples.request(issuer: "<saml:Issuer><![CDATA[\(long)]]></saml:Issuer>"))).claimedIssuer == long)
    let message = try query(Samples.query(Samples.request(issuer: "<saml:Issuer>\(long)b</saml:Issuer>")))
    #expect(fault { try message.claimedIssuer } == .tooLarge)
    let entity = "<saml:Issuer Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:entity\">a</saml:Issuer>"
    #expect(try query(Samples.query(Samples.request(issuer: entity))).claimedIssuer == "a")
  }

  @Test func `in a SOAP envelope are the one thing in its body`() throws {
    let message = Samples.message("LogoutRequest", content: "<saml:Issuer>a</saml:Issuer>")
    let good = SOAPEnvelope.wrap(Array(message.utf8))
    #expect(try SOAPEnvelope.body(good).name == Vocabulary.samlp("LogoutRequest"))
    let soap = "http://schemas.xmlsoap.org/soap/envelope/"
    for text in [
      "<s:Envelope xmlns:s=\"\(soap)\"><s:Body/></s:Envelope>", "<s:Envelope xmlns:s=\"\(soap)\"/>",
      "<s:Envelope xmlns:s=\"\(soap)\"><s:Body><a/><b/></s:Body></s:Envelope>",
      "<s:Envelope xmlns:s=\"\(soap)\"><s:Body><a/></s:Body><s:Body><a/></s:Body></s:Envelope>",
      "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\"><s:Body><a/></s:Body></s:Envelope>", message,
      "<s:Envelope xmlns:s=\"\(soap)\"><s:Header><x s:mustUnderstand=\"1\"/></s:Header><s:Body><a/></s:Body></s:Envelope>",
    ] { #expect(fault { try SOAPEnvelope.body(Array(text.utf8)) } == .structure) }
    #expect(fault { try SOAPEnvelope.body(Array("<".utf8)) } == .xml)
  }

  @Test func `refuses a message in which two elements have one identifier, signed or not`() throws {
    let document = try #require(
      try? String(contentsOfFile: "\(URL(fileURLWithPath: #filePath).deletingLastPathComponent().path)/Attacks/request-id-twice.xml", encoding: .utf8)
    )
    #expect(throws: MessageFault.self) { try form("SAMLRequest=\(FormFields.encode(Array(document.utf8).base64))") }
    #expect(throws: Never.self) {
      try form(
        "SAMLRequest=\(FormFields.encode(Array(document.replacing("<x xmlns=\"urn:x\" ID=\"_a\"/>", with: "<x xmlns=\"urn:x\"/>").utf8).base64))")
    }
  }
}
