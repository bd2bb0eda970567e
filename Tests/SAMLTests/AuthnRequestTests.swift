import Bytes
import Testing
import XMLSecurity

@testable import SAML

@Suite struct `An AuthnRequest` {
  private func read(attributes: String = "", issuer: String? = nil, content: String = "") throws -> AuthnRequest {
    let issuer = issuer ?? "<saml:Issuer>\(Samples.issuer)</saml:Issuer>"
    return try AuthnRequest(try Samples.parse(Samples.request(attributes: attributes, issuer: issuer, content: content)))
  }

  @Test func `says what its attributes say`() throws {
    let request = try read(
      attributes:
        " Destination=\"\(Samples.signOn)\" ForceAuthn=\"true\" IsPassive=\"0\" AttributeConsumingServiceIndex=\"7\" ProviderName=\"Wiki &amp; more\" Consent=\"urn:x\" AssertionConsumerServiceURL=\"https://sp.example/acs?a=1&amp;b\" ProtocolBinding=\"\(Binding.post.rawValue)\""
    )
    #expect(request.head == MessageHead(id: "_request", issueInstant: Samples.now, issuer: Samples.issuer, destination: Samples.signOn))
    #expect(request.head.versionFault == nil)
    #expect(request.forceAuthn && !request.isPassive)
    #expect(request.attributeIndex == 7)
    #expect(request.providerName == "Wiki & more")
    #expect(request.consumer == .url("https://sp.example/acs?a=1&b", binding: Binding.post.rawValue))
  }

  @Test func `says nothing where it says nothing`() throws {
    let request = try read()
    #expect(request == AuthnRequest(head: MessageHead(id: "_request", issueInstant: Samples.now, issuer: Samples.issuer)))
    #expect(request.consumer == .standard)
    #expect(request.policy == nil && request.context == nil && request.subject == nil && request.scope == nil)
  }

  @Test(arguments: ["true", "1"]) func `reads booleans as the schema has them`(_ word: String) throws {
    #expect(try read(attributes: " ForceAuthn=\"\(word)\" IsPassive=\"\(word)\"").isPassive)
  }

  @Test(arguments: [
    " ForceAuthn=\"TRUE\"", " ForceAuthn=\"yes\"", " ForceAuthn=\"\"", " IsPassive=\"01\"", " IsPassive=\" true\"", " IsPassive=\"true\u{301}\"",
    " AssertionConsumerServiceIndex=\"-1\"", " AssertionConsumerServiceIndex=\"65536\"", " AssertionConsumerServiceIndex=\"+5\"",
    " AssertionConsumerServiceIndex=\"\"", " AssertionConsumerServiceIndex=\"000001\"", " AttributeConsumingServiceIndex=\"1e3\"",
    " AssertionConsumerServiceIndex=\"1\" AssertionConsumerServiceURL=\"https://sp.example/acs\"",
    " AssertionConsumerServiceIndex=\"1\" ProtocolBinding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST\"",
  ]) func `of which an attribute breaks the schema, or excludes another, is refused`(_ attributes: String) {
    #expect(fault { try read(attributes: attributes) } == .structure)
  }

  @Test func `of which an attribute is too long is refused`() throws {
    for (attribute, most) in [("Destination", 1024), ("AssertionConsumerServiceURL", 2048), ("ProtocolBinding", 256), ("ProviderName", 1024)] {
      #expect(try read(attributes: " \(attribute)=\"\(String(repeating: "a", count: most))\"").head.id == "_request")
      #expect(fault { try read(attributes: " \(attribute)=\"\(String(repeating: "a", count: most + 1))\"") } == .tooLarge)
    }
  }

  @Test func `names its consumer by index, by URL, by binding, or not`() throws {
    #expect(try read(attributes: " AssertionConsumerServiceIndex=\"65535\"").consumer == .index(65_535))
    #expect(try read(attributes: " AssertionConsumerServiceURL=\"u\"").consumer == .url("u", binding: nil))
    #expect(try read(attributes: " ProtocolBinding=\"b\"").consumer == .binding("b"))
  }

  @Test func `has a version, an ID and a time`() throws {
    for version in ["1.0", "1.1", "0.9", "x", "", "2"] {
      let request = try AuthnRequest(try Samples.parse(Samples.request(version: version)))
      // Major version 2 of which the minor one is missing is none that we know either.
      #expect(request.head.versionFault == (version == "2" ? .requestVersionTooHigh : .requestVersionTooLow))
    }
    for version in ["2.1", "3.0", "255.0"] {
      #expect(try AuthnRequest(try Samples.parse(Samples.request(version: version))).head.versionFault == .requestVersionTooHigh)
    }
    for id in ["", "1", "a b", "a:b", "_" + String(repeating: "a", count: 256)] {
      #expect(fault { try AuthnRequest(try Samples.parse(Samples.request(id: id))) } == .structure)
    }
    for instant in ["", "2026-11-18T11:06:40", "2026-13-18T11:06:40Z", "9999999999-11-18T11:06:40Z", "2016-12-31T23:59:60Z"] {
      #expect(fault { try AuthnRequest(try Samples.parse(Samples.request(instant: instant))) } == .structure)
    }
    for missing in [" Version=\"2.0\"", " ID=\"_request\"", " IssueInstant=\"\(Samples.now)\""] {
      #expect(fault { try AuthnRequest(try Samples.parse(Samples.request().replacing(missing, with: ""))) } == .structure)
    }
  }

  @Test func `is no other message, and none of another namespace`() {
    for local in ["LogoutRequest", "Response", "authnrequest", "AuthnRequest2"] {
      #expect(fault { try AuthnRequest(try Samples.parse(Samples.request().replacing("AuthnRequest", with: local))) } == .structure)
    }
    for namespace in ["urn:oasis:names:tc:SAML:1.0:protocol", "urn:oasis:names:tc:SAML:2.0:assertion", "URN:oasis:names:tc:SAML:2.0:protocol"] {
      #expect(fault { try AuthnRequest(try Samples.parse(Samples.request().replacing(Vocabulary.protocolNamespace, with: namespace))) } == .structure)
    }
  }

  @Test func `may name somebody`() throws {
    let request = try read(
      content: "<saml:Subject><saml:NameID Format=\"f\" NameQualifier=\"q\" SPNameQualifier=\"s\">alice&#64;contoso.com</saml:NameID></saml:Subject>")
    #expect(request.subject == NameID("alice@contoso.com", format: "f", nameQualifier: "q", spNameQualifier: "s"))
    let encrypted = try read(content: "<saml:Subject><saml:EncryptedID><x/></saml:EncryptedID></saml:Subject>")
    #expect(encrypted.subject == nil && encrypted.encryptedSubject != nil)
  }

  @Test(arguments: [
    "<saml:Subject/>", "<saml:Subject><saml:NameID></saml:NameID></saml:Subject>",
    "<saml:Subject><saml:NameID>admin<!--x-->@contoso.com</saml:NameID></saml:Subject>",
    "<saml:Subject><saml:NameID>a</saml:NameID><saml:NameID>b</saml:NameID></saml:Subject>",
    "<saml:Subject><saml:NameID>a</saml:NameID><saml:EncryptedID/></saml:Subject>",
    "<saml:Subject><saml:NameID>a</saml:NameID><saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\"/></saml:Subject>",
    "<saml:Subject><saml:SubjectConfirmation Method=\"x\"/></saml:Subject>",
    "<saml:Subject><saml:NameID SPProvidedID=\"x\">a</saml:NameID></saml:Subject>",
    "<saml:Subject>text<saml:NameID>a</saml:NameID></saml:Subject>", "<saml:Subject><saml:NameID><b/>a</saml:NameID></saml:Subject>",
    "<saml:Subject><saml:NameID>a</saml:NameID></saml:Subject><saml:Subject><saml:NameID>b</saml:NameID></saml:Subject>",
    "<saml:Subject><saml:BaseID/></saml:Subject>",
  ]) func `that names somebody in another way is refused`(_ content: String) { #expect(fault { try read(content: content) } == .structure) }

  @Test func `may say which name it wants`() throws {
    #expect(try read(content: "<samlp:NameIDPolicy/>").policy == AuthnRequest.Policy())
    #expect(
      try read(content: "<samlp:NameIDPolicy Format=\"f\" SPNameQualifier=\"q\" AllowCreate=\"true\"/>").policy
        == AuthnRequest.Policy(format: "f", spNameQualifier: "q", allowCreate: true))
    #expect(fault { try read(content: "<samlp:NameIDPolicy AllowCreate=\"maybe\"/>") } == .structure)
    #expect(fault { try read(content: "<samlp:NameIDPolicy/><samlp:NameIDPolicy/>") } == .structure)
    #expect(fault { try read(content: "<samlp:NameIDPolicy Format=\"\(String(repeating: "f", count: 257))\"/>") } == .tooLarge)
  }

  @Test func `may say how somebody shall be authenticated`() throws {
    func context(_ attributes: String, _ content: String) throws -> AuthnRequest.RequestedContext? {
      try read(content: "<samlp:RequestedAuthnContext\(attributes)>\(content)</samlp:RequestedAuthnContext>").context
    }
    let classes = "<saml:AuthnContextClassRef>a</saml:AuthnContextClassRef><saml:AuthnContextClassRef>b</saml:AuthnContextClassRef>"
    #expect(try context("", classes) == AuthnRequest.RequestedContext(comparison: .exact, classes: ["a", "b"], hasDeclarations: false))
    for word in ["exact", "minimum", "maximum", "better"] { #expect(try context(" Comparison=\"\(word)\"", classes)?.comparison.rawValue == word) }
    #expect(try context("", "<saml:AuthnContextDeclRef>d</saml:AuthnContextDeclRef>")?.hasDeclarations == true)
    for wrong in ["Exact", "", "atLeast"] { #expect(fault { try context(" Comparison=\"\(wrong)\"", classes) } == .structure) }
    for wrong in [
      "", classes + "<saml:AuthnContextDeclRef>d</saml:AuthnContextDeclRef>", "<saml:AuthnContextDecl/>",
      "<saml:AuthnContextClassRef>a<!--x-->b</saml:AuthnContextClassRef>",
    ] {
      #expect(fault { try context("", wrong) } == .structure)
    }
    #expect(fault { try context("", String(repeating: classes, count: 17)) } == .tooLarge)
  }

  @Test func `may say who may answer`() throws {
    func scope(_ text: String) throws -> AuthnRequest.Scope? { try read(content: text).scope }
    #expect(try scope("<samlp:Scoping/>") == AuthnRequest.Scope(proxyCount: nil, identityProviders: []))
    #expect(
      try scope(
        "<samlp:Scoping ProxyCount=\"0\"><samlp:IDPList><samlp:IDPEntry ProviderID=\"a\"/><samlp:IDPEntry ProviderID=\"b\" Name=\"x\"/></samlp:IDPList></samlp:Scoping>"
      )
        == AuthnRequest.Scope(proxyCount: 0, identityProviders: ["a", "b"]))
    for wrong in [
      "<samlp:Scoping ProxyCount=\"-1\"/>", "<samlp:Scoping><samlp:IDPList/><samlp:IDPList/></samlp:Scoping>", "<samlp:Scoping><x/></samlp:Scoping>",
      "<samlp:Scoping><samlp:IDPList><samlp:IDPEntry/></samlp:IDPList></samlp:Scoping>",
    ] { #expect(fault { try scope(wrong) } == .structure) }
    let many = String(repeating: "<samlp:IDPEntry ProviderID=\"a\"/>", count: 65)
    #expect(fault { try scope("<samlp:Scoping><samlp:IDPList>\(many)</samlp:IDPList></samlp:Scoping>") } == .tooLarge)
  }

  @Test func `may have extensions and conditions, which are not looked at`() throws {
    let request = try read(content: "\n<samlp:Extensions><x xmlns=\"urn:x\"/></samlp:Extensions>\n<saml:Conditions NotOnOrAfter=\"\(Samples.now)\"/>")
    #expect(request.head.id == "_request")
  }

  @Test(arguments: [
    "<samlp:AuthnRequest/>", "<saml:Issuer>b</saml:Issuer>", "<x/>", "text", "<![CDATA[text]]>", "<samlp:Extensions/><samlp:Extensions/>",
    "<samlp:NameID>a</samlp:NameID>",
    "<saml:NameIDPolicy/>", "<saml:Assertion/>",
  ]) func `with anything that does not belong there is refused`(_ content: String) { #expect(fault { try read(content: content) } == .structure) }
}
