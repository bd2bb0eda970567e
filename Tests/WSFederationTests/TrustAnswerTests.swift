import Bytes
import SAML
import Testing
import XMLSecurity

@testable import WSFederation

@Suite struct `Answers by SOAP` {
  private static let body = Array("<t:X xmlns:t=\"u:t\"><saml:Assertion xmlns:saml=\"u:s\"></saml:Assertion></t:X>".utf8)

  private func read(_ bytes: [UInt8]) throws -> XMLElement {
    let root = try Samples.parse(bytes)
    #expect(root.name == FederationVocabulary.s("Envelope"))
    #expect(root.elements.map(\.name) == [FederationVocabulary.s("Header"), FederationVocabulary.s("Body")])
    return root
  }

  @Test(arguments: [
    (TrustVersion.feb2005, "http://schemas.xmlsoap.org/ws/2005/02/trust/RSTR/Issue"),
    (.v13, "http://docs.oasis-open.org/ws-sx/ws-trust/200512/RSTRC/IssueFinal"),
  ]) func `carry the token under their version's action`(_ version: TrustVersion, _ action: String) throws {
    let bytes = try TrustAnswer.response(Self.body, version: version, relatesTo: "urn:uuid:<1>", now: Samples.now)
    let root = try read(bytes)
    #expect(try root.canonicalBytes() == bytes)
    let header = try root.child("Header")
    #expect(header.elements.map(\.name.local) == ["Action", "RelatesTo", "Security"])
    #expect(try header.text("Action") == action)
    #expect(try header.child("Action").attribute(FederationVocabulary.s("mustUnderstand")) == "1")
    #expect(try header.text("RelatesTo") == "urn:uuid:<1>")
    let timestamp = try header.child("Security").child("Timestamp")
    #expect(timestamp.attribute(FederationVocabulary.wsu("Id")) == "_0")
    #expect(try timestamp.text("Created") == "2026-11-18T11:06:40.123Z")
    #expect(try timestamp.text("Expires") == "2026-11-18T11:11:40.123Z")
    #expect(try root.child("Body").child("X").canonicalBytes() == Self.body)
  }

  @Test func `relate to nothing where nothing was said`() throws {
    let header = try read(try TrustAnswer.response(Self.body, version: .v13, relatesTo: nil, now: Samples.now)).child("Header")
    #expect(header.elements.map(\.name.local) == ["Action", "Security"])
  }

  @Test(arguments: TrustFault.Code.allCases, TrustVersion.allCases) func `of a fault say whose it is, which, and in words`(
    _ code: TrustFault.Code, _ version: TrustVersion
  ) throws {
    let bytes = try TrustAnswer.fault(TrustFault(code, "secret detail", messageID: "urn:uuid:1"), text: "a < b", version: version)
    let root = try read(bytes)
    #expect(!String(decoding: bytes, as: UTF8.self).contains("secret"))
    let header = try root.child("Header")
    #expect(try header.text("RelatesTo") == "urn:uuid:1")
    let isAddressing = code == .badTo || code == .actionNotSupported
    #expect(try header.text("Action") == "http://www.w3.org/2005/08/addressing/\(isAddressing ? "" : "soap/")fault")
    let fault = try root.child("Body").child("Fault")
    #expect(fault.elements.map(\.name) == [FederationVocabulary.s("Code"), FederationVocabulary.s("Reason")])
    let words = try fault.child("Reason").child("Text")
    #expect(try words.text() == "a < b")
    #expect(words.attributes.first?.value == "en" && words.attributes.first?.qualifiedName == "xml:lang")
    let expected: (String, String?, String) =
      switch code {
      case .versionMismatch: ("s:VersionMismatch", nil, "")
      case .mustUnderstand: ("s:MustUnderstand", nil, "")
      case .invalidRequest: ("s:Sender", version.namespace, "InvalidRequest")
      case .invalidScope: ("s:Sender", version.namespace, "InvalidScope")
      case .failedAuthentication, .accessDenied: ("s:Sender", version.namespace, "FailedAuthentication")
      case .requestFailed: ("s:Sender", version.namespace, "RequestFailed")
      case .invalidSecurity: ("s:Sender", FederationVocabulary.security, "InvalidSecurity")
      case .messageExpired: ("s:Sender", FederationVocabulary.utility, "MessageExpired")
      case .unsupportedSecurityToken: ("s:Sender", FederationVocabulary.security, "UnsupportedSecurityToken")
      case .badTo: ("s:Sender", FederationVocabulary.addressing, "DestinationUnreachable")
      case .actionNotSupported: ("s:Sender", FederationVocabulary.addressing, "ActionNotSupported")
      case .busy: ("s:Receiver", version.namespace, "RequestFailed")
      }
    let element = try fault.child("Code")
    #expect(try element.text("Value") == expected.0)
    guard let namespace = expected.1 else {
      #expect(element.elements.count == 1)
      return
    }
    let value = try element.child("Subcode").child("Value")
    let parts = try value.text().split(separator: ":").map(String.init)
    #expect(parts.count == 2 && parts.last == expected.2)
    #expect(value.namespace(ofPrefix: parts.first ?? "") == namespace)
  }

  @Test func `of a version that is not understood say which one is`() throws {
    let bytes = try TrustAnswer.fault(TrustFault(.versionMismatch, "x"), text: "x", version: .v13)
    let envelope = try read(bytes).child("Header").child("Upgrade").child("SupportedEnvelope")
    #expect(envelope.attribute("qname") == "s:Envelope")
    #expect(envelope.namespace(ofPrefix: "s") == FederationVocabulary.soap)
  }

  @Test func `cannot carry what XML cannot`() {
    #expect(fault { try TrustAnswer.fault(TrustFault(.busy, "x"), text: "\u{0}", version: .v13) } == .xml)
    #expect(fault { try TrustAnswer.response(Self.body, version: .v13, relatesTo: "\u{1}", now: Samples.now) } == .xml)
  }
}
