import Bytes
import Cryptography
import Testing
import XMLSecurity

@testable import SAML

@Suite struct `Messages of a logout` {
  private func request(attributes: String = "", _ content: String = "<saml:NameID>alice</saml:NameID>") throws -> LogoutRequest {
    try LogoutRequest(
      try Samples.parse(Samples.message("LogoutRequest", attributes: attributes, content: "<saml:Issuer>\(Samples.issuer)</saml:Issuer>" + content)))
  }

  private func response(attributes: String = "", _ content: String) throws -> LogoutResponse {
    try LogoutResponse(
      try Samples.parse(Samples.message("LogoutResponse", attributes: attributes, content: "<saml:Issuer>\(Samples.issuer)</saml:Issuer>" + content)))
  }

  @Test func `A request is read as it is written`() throws {
    for sessions in [[], ["_a"], ["_a", "b&<c>"]] {
      let head = MessageHead(id: "_r", issueInstant: Samples.now, issuer: "https://a&b.example", destination: "https://idp.example/?a=\"b\"")
      let name = NameID("al<ice>&\u{e9}\u{338}", format: "f", nameQualifier: "q", spNameQualifier: "s")
      let written = try LogoutRequest(
        head: head, name: name, sessionIndexes: sessions, notOnOrAfter: Samples.now.adding(.seconds(60)),
        reason: "urn:oasis:names:tc:SAML:2.0:logout:user"
      ).written()
      let root = try XMLElement.parse(written.bytes, limits: .message)
      #expect(try root.canonicalBytes() == written.bytes)
      let read = try LogoutRequest(root)
      #expect(read.head == head)
      #expect(read.name == name)
      #expect(read.sessionIndexes == sessions)
      #expect(read.notOnOrAfter == Samples.now.adding(.seconds(60)))
      #expect(read.reason == "urn:oasis:names:tc:SAML:2.0:logout:user")
      #expect(!read.isAsynchronous && read.encryptedName == nil)
      // Core 3.2.1: the signature stands behind Issuer.
      #expect(written.bytes[..<written.signaturePlace].suffix(14) == Array("</saml:Issuer>".utf8)[...])
    }
  }

  @Test func `A request may be asynchronous, and may hide its name`() throws {
    let extended =
      "<samlp:Extensions><aslo:Asynchronous xmlns:aslo=\"\(Vocabulary.asynchronousLogoutNamespace)\"/></samlp:Extensions><saml:NameID>a</saml:NameID>"
    #expect(try request(extended).isAsynchronous)
    #expect(try !request(extended.replacing(Vocabulary.asynchronousLogoutNamespace, with: "urn:x")).isAsynchronous)
    let hidden = try request("<saml:EncryptedID><x/></saml:EncryptedID>")
    #expect(hidden.name == nil && hidden.encryptedName != nil)
  }

  @Test(arguments: [
    "", "<saml:NameID></saml:NameID>", "<saml:NameID>alice<!---->.evil</saml:NameID>", "<saml:NameID>a</saml:NameID><saml:NameID>b</saml:NameID>",
    "<saml:NameID>a</saml:NameID><saml:EncryptedID/>", "<saml:EncryptedID/><saml:EncryptedID/>", "<saml:NameID>a</saml:NameID><x/>",
    "<saml:NameID>a</saml:NameID><samlp:SessionIndex>a<!--x-->b</samlp:SessionIndex>", "<saml:BaseID/>",
    "<saml:NameID>a</saml:NameID><saml:SessionIndex>a</saml:SessionIndex>",
  ]) func `A request of another shape is refused`(_ content: String) { #expect(fault { try request(content) } == .structure) }

  @Test func `A request has at most 64 session indexes, a name of at most 1,024 bytes, and times that are times`() throws {
    let name = "<saml:NameID>a</saml:NameID>"
    let index = "<samlp:SessionIndex>i</samlp:SessionIndex>"
    #expect(try request(name + String(repeating: index, count: 64)).sessionIndexes.count == 64)
    #expect(fault { try request(name + String(repeating: index, count: 65)) } == .tooLarge)
    #expect(fault { try request("<saml:NameID>\(String(repeating: "a", count: 1025))</saml:NameID>") } == .tooLarge)
    #expect(fault { try request(attributes: " NotOnOrAfter=\"2026-01-01T00:00:60Z\"") } == .structure)
    #expect(fault { try LogoutRequest(try Samples.parse(Samples.request())) } == .structure)
  }

  @Test func `A response is read as it is written`() throws {
    for status in [Status.success, Status(.success, .partialLogout), Status(.requester, .unknownPrincipal, message: "a <b> & c")] {
      for inResponseTo in ["_r", nil] {
        let head = MessageHead(id: "_s", issueInstant: Samples.now, issuer: "i", destination: "d")
        let written = try LogoutResponse(head: head, inResponseTo: inResponseTo, status: status).written()
        let root = try XMLElement.parse(written.bytes, limits: .message)
        #expect(try root.canonicalBytes() == written.bytes)
        let read = try LogoutResponse(root)
        #expect(read.head == head)
        #expect(read.inResponseTo == inResponseTo)
        #expect(read.status.code == status.code && read.status.detail == status.detail)
      }
    }
  }

  @Test func `A response whose status is not known is no success`() throws {
    func status(_ value: String) throws -> Status { try response("<samlp:Status><samlp:StatusCode Value=\"\(value)\"/></samlp:Status>").status }
    #expect(try status(Status.Code.success.rawValue) == .success)
    for value in ["", "Success", "urn:x", Status.Code.success.rawValue + " ", Status.Code.success.rawValue.uppercased()] {
      #expect(try status(value).code != .success)
    }
    #expect(try response("<samlp:Status><samlp:StatusCode/></samlp:Status>").status.code != .success)
  }

  @Test(arguments: [
    "", "<samlp:Status/>", "<samlp:Status><samlp:StatusCode Value=\"a\"/><samlp:StatusCode Value=\"b\"/></samlp:Status>",
    "<samlp:Status><samlp:StatusCode Value=\"a\"/></samlp:Status><samlp:Status><samlp:StatusCode Value=\"a\"/></samlp:Status>",
    "<samlp:Status><samlp:StatusCode Value=\"a\"/></samlp:Status><x/>", "<samlp:Status><samlp:StatusCode Value=\"a\"/></samlp:Status>text",
  ]) func `A response of another shape is refused`(_ content: String) { #expect(fault { try response(content) } == .structure) }

  @Test func `Names are compared byte by byte`() {
    let persistent = NameIDFormat.persistent.rawValue
    let name = NameID("\u{e9}", format: persistent, nameQualifier: "idp", spNameQualifier: "sp")
    #expect(name != NameID("e\u{301}", format: persistent, nameQualifier: "idp", spNameQualifier: "sp"))
    #expect(Set([name, NameID("e\u{301}", format: persistent, nameQualifier: "idp", spNameQualifier: "sp")]).count == 2)
    #expect(name.isSamePrincipal(as: NameID("\u{e9}", format: persistent)))
    #expect(!name.isSamePrincipal(as: NameID("e\u{301}", format: persistent)))
    #expect(!name.isSamePrincipal(as: NameID("\u{e9}", format: persistent, spNameQualifier: "other")))
    #expect(!name.isSamePrincipal(as: NameID("\u{e9}", format: persistent, nameQualifier: "other")))
    #expect(!name.isSamePrincipal(as: NameID("\u{e9}")))
    #expect(NameID("a").isSamePrincipal(as: NameID("a", format: NameIDFormat.unspecified.rawValue)))
    #expect(!NameID("a").isSamePrincipal(as: NameID("A")))
    #expect(NameID("a", nameQualifier: "") != NameID("a"))
  }

  @Test func `An encrypted name is read with the right key, and every fault reads the same`() throws {
    let key = try DecryptionKey.generate()
    let name = NameID("alice", format: NameIDFormat.persistent.rawValue)
    func hidden(_ bytes: [UInt8]) throws -> XMLElement {
      let data = try XMLEncryption.encrypt(bytes, to: try EncryptionKey(key.publicKey), certificate: nil)
      return try Samples.parse(
        "<saml:EncryptedID xmlns:saml=\"\(Vocabulary.assertionNamespace)\">\(String(decoding: data, as: UTF8.self))</saml:EncryptedID>")
    }
    let good = try hidden(try name.bytes())
    #expect(try NameID(encrypted: good, keys: [try DecryptionKey.generate(), key]) == name)
    var said: Set<String> = []
    let issuer = "<saml:Issuer xmlns:saml=\"\(Vocabulary.assertionNamespace)\">a</saml:Issuer>"
    for (element, keys) in [
      (good, []), (good, [try DecryptionKey.generate()]), (try hidden(Array(issuer.utf8)), [key]), (try hidden(Array("no XML".utf8)), [key]),
      (try Samples.parse("<saml:EncryptedID xmlns:saml=\"\(Vocabulary.assertionNamespace)\"/>"), [key]),
    ] as [(XMLElement, [DecryptionKey])] {
      do { _ = try NameID(encrypted: element, keys: keys); Issue.record("was read") } catch { said.insert("\(error.kind) \(error.detail)") }
    }
    #expect(said.count == 1)
  }
}
