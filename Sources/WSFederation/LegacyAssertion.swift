import Bytes
import SAML
import XMLSecurity

/// What a SAML 1.1 assertion says (SAML 1.1 Core, 2.3.2), as AD FS writes it and WS-Federation's relying parties read it: one bearer, one audience, one
/// authentication statement and at most one attribute statement.
package struct LegacyAssertion: Sendable {
  /// AssertionID, an NCName.
  package var id: String
  package var issueInstant: Instant
  package var issuer: String
  package var notBefore: Instant
  package var notOnOrAfter: Instant
  /// The relying party's name (wtrealm, AppliesTo).
  package var audience: String
  /// Who, in each statement. A name without format is written as unspecified; SAML 1.1 has no place for `spNameQualifier`.
  package var name: NameID
  package var authenticationMethod: String
  package var authenticationInstant: Instant
  /// By claim type: `name` is the URI that is split, `nameFormat` and `friendlyName` have no place in SAML 1.1.
  package var attributes: [Attribute]

  package static let passwordMethod = "urn:oasis:names:tc:SAML:1.0:am:password"
  package static let unspecifiedMethod = "urn:oasis:names:tc:SAML:1.0:am:unspecified"
  package static let x509Method = "urn:oasis:names:tc:SAML:1.0:am:X509-PKI"
  package static let kerberosMethod = "urn:ietf:rfc:1510"
  package static let tlsClientMethod = "urn:ietf:rfc:2246"
  package static let windowsMethod = "urn:federation:authentication:windows"
  /// What Entra ID reads as "with a second factor".
  package static let multipleMethod = "http://schemas.microsoft.com/claims/multipleauthn"

  package init(
    id: String, issueInstant: Instant, issuer: String, notBefore: Instant, notOnOrAfter: Instant, audience: String, name: NameID,
    authenticationMethod: String, authenticationInstant: Instant, attributes: [Attribute]
  ) {
    self.id = id
    self.issueInstant = issueInstant
    self.issuer = issuer
    self.notBefore = notBefore
    self.notOnOrAfter = notOnOrAfter
    self.audience = audience
    self.name = name
    self.authenticationMethod = authenticationMethod
    self.authenticationInstant = authenticationInstant
    self.attributes = attributes
  }

  /// The assertion, canonical for itself and wherever it is embedded: every namespace is declared inside of it. The place for the signature is its end
  /// (the schema of SAML 1.1 has ds:Signature last). Throws `MessageFault` for a claim type that SAML 1.1 cannot carry, and for a character that XML
  /// cannot.
  package func written() throws(MessageFault) -> UnsignedMessage {
    let merged = try mergedAttributes()
    do {
      var writer = CanonicalWriter(capacity: 6144)
      try writer.open(
        .saml11, "Assertion",
        [
          ("AssertionID", id), ("IssueInstant", issueInstant.description), ("Issuer", issuer), ("MajorVersion", "1"), ("MinorVersion", "1"),
        ])
      try writer.open(.saml11, "Conditions", [("NotBefore", notBefore.description), ("NotOnOrAfter", notOnOrAfter.description)])
      writer.open(.saml11, "AudienceRestrictionCondition")
      try writer.element(.saml11, "Audience", audience)
      writer.close()
      writer.close()
      // An AttributeStatement without attributes is against the schema.
      if !merged.isEmpty {
        writer.open(.saml11, "AttributeStatement")
        try writeSubject(&writer)
        for attribute in merged {
          try writer.open(.saml11, "Attribute", [("AttributeName", attribute.name), ("AttributeNamespace", attribute.namespace)])
          for value in attribute.values { try writer.element(.saml11, "AttributeValue", value) }
          writer.close()
        }
        writer.close()
      }
      try writer.open(
        .saml11, "AuthenticationStatement",
        [("AuthenticationInstant", authenticationInstant.description), ("AuthenticationMethod", authenticationMethod)])
      try writeSubject(&writer)
      writer.close()
      let place = writer.position
      return UnsignedMessage(bytes: writer.finish(), id: id, signaturePlace: place)
    } catch { throw MessageFault(error) }
  }

  private func writeSubject(_ writer: inout CanonicalWriter) throws(XMLFault) {
    writer.open(.saml11, "Subject")
    var head: [(StaticString, String)] = [("Format", name.format ?? NameIDFormat.unspecified.rawValue)]
    if let nameQualifier = name.nameQualifier { head.append(("NameQualifier", nameQualifier)) }
    try writer.open(.saml11, "NameIdentifier", head)
    try writer.text(name.value)
    writer.close()
    writer.open(.saml11, "SubjectConfirmation")
    try writer.element(.saml11, "ConfirmationMethod", "urn:oasis:names:tc:SAML:1.0:cm:bearer")
    writer.close()
    writer.close()
  }

  private struct Merged {
    let namespace: String
    let name: String
    var values: [String]
  }

  /// Attributes of one name are one Attribute with all the values, at the place of the first; those without values are left out.
  private func mergedAttributes() throws(MessageFault) -> [Merged] {
    var merged: [Merged] = []
    var places: [[UInt8]: Int] = [:]
    for attribute in attributes where !attribute.values.isEmpty {
      let (namespace, name) = try LegacyAssertion.split(attribute.name)
      let key = Array(attribute.name.utf8)
      if let place = places[key] {
        merged[place].values += attribute.values
      } else {
        places[key] = merged.count
        merged.append(Merged(namespace: namespace, name: name, values: attribute.values))
      }
    }
    return merged
  }

  private static func split(_ claimType: String) throws(MessageFault) -> (namespace: String, name: String) {
    if let problem = problem(claimType: claimType) { throw MessageFault(.structure, problem) }
    let bytes = Array(claimType.utf8)
    let slash = bytes.lastIndex(of: UInt8(ascii: "/")) ?? 0
    // A slash is never a part of another character in UTF-8.
    return (String(decoding: bytes[..<slash], as: UTF8.self), String(decoding: bytes[(slash + 1)...], as: UTF8.self))
  }

  /// What is wrong with a claim type for SAML 1.1, in words for an administrator; nil where nothing is.
  ///
  /// SAML 1.1 names an attribute by two texts (Core, 2.4.4). They are made of the one URI as .NET does it, and relying parties put them together again.
  package static func problem(claimType: String) -> String? {
    let rule =
      "for SAML 1.1 it is split at its last slash into AttributeNamespace and AttributeName, and neither may be empty (ID4216 in .NET and AD FS)"
    let shown = XMLFault(.name, claimType).detail
    let bytes = Array(claimType.utf8)
    guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return "the claim type \(shown) has no slash: \(rule)" }
    if slash == bytes.count - 1 { return "the claim type \(shown) ends with a slash: \(rule)" }
    if slash == 0 { return "the claim type \(shown) has nothing before its slash: \(rule)" }
    return nil
  }
}
