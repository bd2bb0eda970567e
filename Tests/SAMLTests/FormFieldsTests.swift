import Bytes
import Testing

@testable import SAML

@Suite struct `Parameters of a query` {
  private func fields(_ text: String) throws -> FormFields { try FormFields(Array(text.utf8)) }

  @Test func `are kept raw and decoded`() throws {
    let field = try #require(try fields("a=1&RelayState=a%2bb+c%c3%a9&z").only("RelayState"))
    #expect(field.rawValue == Array("a%2bb+c%c3%a9".utf8))
    #expect(field.value == "a+b cé")
    #expect(try fields("z").only("z")?.value == "")
    #expect(try fields("").only("z") == nil)
    #expect(try fields("&&a=1&&").fields.count == 1)
    #expect(try fields("a=b=c").text("a") == "b=c")
  }

  @Test(arguments: [
    "SAMLRequest=a&SAMLRequest=a", "SAMLRequest=a&SAMLRequest=b", "SAMLRequest=a&samlrequest=b", "samlrequest=b", "SAMLREQUEST=b", "%53AMLRequest=a",
    "SAMLRequest=a&%53AMLRequest=b", "SAMLRequest=a&S%41MLRequest=a", "%73amlrequest=a", "SAMLRequest&SAMLRequest",
  ]) func `that come twice, or almost, are refused`(_ text: String) throws {
    let fields = try fields(text)
    #expect(fault { try fields.only("SAMLRequest") } == .envelope)
  }

  /// Names that some servers would take for it and that are simply other names for us: none of them is ever used.
  @Test(arguments: [
    "SAMLRequest[]=a", "SAMLRequest%00=a", "+SAMLRequest=a", "SAMLRequest+=a", "SAMLReque\u{17f}t=a", ";SAMLRequest=a", "?SAMLRequest=a",
  ])
  func `of another name are other parameters`(_ text: String) throws { #expect(try fields(text).only("SAMLRequest") == nil) }

  @Test(arguments: [
    "a=%", "a=%4", "a=%4g", "a=%g4", "a=%%41", "a=%u0041", "a=%ff", "a=%c0%80", "a=%ed%a0%80", "a=%f4%90%80%80", "a=%c3", "%ff=a", "%=1", "a=%+1",
    "a=%-1", "a=%4\u{661}",
  ]) func `that are no percent-encoded UTF-8 are refused`(_ text: String) { #expect(fault { try fields(text) } == .envelope) }

  @Test func `that are no UTF-8 are refused`() {
    #expect(fault { try FormFields([0x61, 0x3d, 0xff]) } == .envelope)
    #expect(fault { try FormFields([0x61, 0x3d, 0xc0, 0xaf]) } == .envelope)
    #expect(fault { try FormFields([0xfe, 0x3d, 0x61]) } == .envelope)
  }

  @Test func `are at most 64`() throws {
    let many = (0..<64).map { "p\($0)=" }.joined(separator: "&")
    #expect(try fields(many).fields.count == 64)
    #expect(fault { try fields(many + "&p64=") } == .tooLarge)
  }

  @Test func `are encoded so that they read as they were`() throws {
    let text = "a b+c&d=e%f/ü😀\u{0}\r\n~-._<\u{338}"
    let encoded = FormFields.encode(text)
    #expect(encoded.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "&") && $0 != UInt8(ascii: "=") && $0 != UInt8(ascii: "+") })
    #expect(try fields("v=" + encoded).text("v") == text)
    #expect(FormFields.encode("Az09-._~") == "Az09-._~")
    #expect(FormFields.encode("\u{e9}/") == "%C3%A9%2F")
  }
}
