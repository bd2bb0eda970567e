import Bytes
import Cryptography
import SAML
import Testing
import XMLSecurity

@testable import WSFederation

@Suite struct `An assertion of SAML 1.1` {
  private static let namespace = "urn:oasis:names:tc:SAML:1.0:assertion"
  private static let upn = "http://schemas.xmlsoap.org/claims/UPN"

  private func root(_ assertion: LegacyAssertion) throws -> XMLElement {
    let written = try assertion.written()
    let root = try Samples.parse(written.bytes)
    #expect(try root.canonicalBytes() == written.bytes)
    return root
  }

  @Test func `says who issued it, for whom, and how long it is good`() throws {
    let root = try root(Samples.assertion())
    #expect(root.name == XMLName(Self.namespace, "Assertion") && root.prefix == "saml")
    #expect(
      root.attributes.map { "\($0.qualifiedName)=\($0.value)" } == [
        "AssertionID=_assertion", "IssueInstant=2026-11-18T11:06:40.123Z", "Issuer=\(Samples.entityID)", "MajorVersion=1", "MinorVersion=1",
      ])
    #expect(root.elements.map(\.name.local) == ["Conditions", "AttributeStatement", "AuthenticationStatement"])
    let conditions = try root.child("Conditions")
    #expect(conditions.attribute("NotBefore") == "2026-11-18T11:06:40.123Z")
    #expect(conditions.attribute("NotOnOrAfter") == "2026-11-18T12:06:40.123Z")
    #expect(try conditions.child("AudienceRestrictionCondition").text("Audience") == Samples.address)
  }

  @Test func `names its subject in each statement, as a bearer`() throws {
    let root = try root(Samples.assertion(name: NameID("a<b", nameQualifier: "urn:q", spNameQualifier: "nowhere")))
    for statement in ["AttributeStatement", "AuthenticationStatement"] {
      let subject = try root.child(statement).child("Subject")
      #expect(subject.elements.map(\.name.local) == ["NameIdentifier", "SubjectConfirmation"])
      let name = try subject.child("NameIdentifier")
      #expect(try name.text() == "a<b")
      #expect(
        name.attributes.map { "\($0.qualifiedName)=\($0.value)" } == [
          "Format=urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified", "NameQualifier=urn:q",
        ])
      #expect(try subject.child("SubjectConfirmation").text("ConfirmationMethod") == "urn:oasis:names:tc:SAML:1.0:cm:bearer")
    }
  }

  @Test func `keeps the format of a name that has one`() throws {
    let root = try root(Samples.assertion(name: NameID("a@b", format: NameIDFormat.emailAddress.rawValue)))
    let name = try root.child("AuthenticationStatement").child("Subject").child("NameIdentifier")
    #expect(name.attribute("Format") == NameIDFormat.emailAddress.rawValue)
    #expect(name.attribute("NameQualifier") == nil)
  }

  @Test func `says how and when somebody was authenticated`() throws {
    let statement = try root(Samples.assertion()).child("AuthenticationStatement")
    #expect(statement.attribute("AuthenticationMethod") == "urn:oasis:names:tc:SAML:1.0:am:password")
    #expect(statement.attribute("AuthenticationInstant") == "2026-11-18T11:05:40.123Z")
  }

  @Test func `splits claim types at the last slash, and merges those of one name`() throws {
    let statement = try root(
      Samples.assertion(attributes: [
        Attribute(Self.upn, nameFormat: "ignored", friendlyName: "ignored", values: ["alice@contoso.com"]),
        Attribute("http://schemas.xmlsoap.org/claims/Group", values: ["a", "a & b"]), Attribute("http://schemas.example/none", values: []),
        Attribute(Self.upn, values: ["second"]), Attribute("http://schemas.xmlsoap.org/claims/upn", values: ["another name"]),
      ])
    ).child("AttributeStatement")
    let attributes = statement.elements.filter { $0.name.local == "Attribute" }
    #expect(
      attributes.map { "\($0.attribute("AttributeNamespace") ?? "") \($0.attribute("AttributeName") ?? "") \($0.attributes.count)" } == [
        "http://schemas.xmlsoap.org/claims UPN 2", "http://schemas.xmlsoap.org/claims Group 2", "http://schemas.xmlsoap.org/claims upn 2",
      ])
    #expect(
      try attributes.map { try $0.elements.map { try $0.text() } } == [["alice@contoso.com", "second"], ["a", "a & b"], ["another name"]])
  }

  @Test func `without attributes has the authentication statement only`() throws {
    for attributes in [[], [Attribute(Self.upn, values: [])], [Attribute("no slash", values: [])]] {
      #expect(try root(Samples.assertion(attributes: attributes)).elements.map(\.name.local) == ["Conditions", "AuthenticationStatement"])
    }
  }

  @Test(arguments: ["urn:oid:2.5.4.42", "mail", "", "/", "/mail", "http://schemas.xmlsoap.org/claims/"])
  func `refuses claim types that do not split, and says why`(_ claimType: String) {
    let problem = LegacyAssertion.problem(claimType: claimType)
    #expect(problem?.contains("last slash") == true && problem?.contains("ID4216") == true)
    #expect(fault { try Samples.assertion(attributes: [Attribute(claimType, values: ["x"])]).written() } == .structure)
  }

  @Test(arguments: ["http://schemas.xmlsoap.org/claims/UPN", "a/b", "/a/b", "http://x", "a/\u{338}b"]) func `takes claim types that do`(
    _ claimType: String
  ) {
    #expect(LegacyAssertion.problem(claimType: claimType) == nil)
    #expect(fault { try Samples.assertion(attributes: [Attribute(claimType, values: ["x"])]).written() } == nil)
  }

  @Test func `cannot carry what XML cannot`() {
    #expect(fault { try Samples.assertion(attributes: [Attribute(Self.upn, values: ["a\u{0}b"])]).written() } == .xml)
    #expect(fault { try Samples.assertion(name: NameID("\u{fffe}")).written() } == .xml)
  }

  @Test func `is signed at its end, as xmlsec1 and the schema of OASIS have it`() throws {
    let written = try Samples.assertion(attributes: [
      Attribute(Self.upn, values: ["alice@contoso.com", "Sch\u{f6}n & <gut> \u{1f600}"]), Attribute("http://schemas.example/a/b", values: [""]),
    ]).written()
    let document = try Samples.signed(written)
    let root = try Samples.parse(document)
    #expect(root.elements.last?.name.local == "Signature")
    #expect(try root.canonicalBytes() == document)
    try Oracle.expectSchema("cs-sstc-schema-assertion-1.1.xsd", holds: document)
    let id = (attribute: "AssertionID", element: "urn:oasis:names:tc:SAML:1.0:assertion:Assertion")
    #expect(try Oracle.verifies(document, id: id))
    let changed = String(decoding: document, as: UTF8.self).replacing("alice@contoso.com", with: "bobby@contoso.com")
    #expect(try !Oracle.verifies(Array(changed.utf8), id: id))
  }

  @Test func `inside of an answer still verifies, and is cut out as it was signed`() throws {
    let signed = try Samples.signed(try Samples.assertion().written())
    let id = (attribute: "AssertionID", element: "urn:oasis:names:tc:SAML:1.0:assertion:Assertion")
    for version in TrustVersion.allCases {
      let body = try TokenResponse(
        version: version, token: signed, tokenType: .saml11, assertionID: "_assertion", created: Samples.now,
        expires: Samples.now.adding(.seconds(3600)), appliesTo: Samples.address
      ).written()
      let envelope = try TrustAnswer.response(body, version: version, relatesTo: "urn:uuid:1", now: Samples.now)
      #expect(try Oracle.verifies(body, id: id))
      #expect(try Oracle.verifies(envelope, id: id))
      #expect(envelope.firstRange(of: signed) != nil)
      let found = try Samples.parse(envelope).child("Body")
      #expect(found.elements.count == 1)
    }
  }
}
