import Bytes
import Cryptography
import XMLSecurity

/// A message as it is before it is signed: canonical as written, with the place for an enveloped signature.
package struct UnsignedMessage: Sendable {
  package let bytes: [UInt8]
  /// The value of the root's ID.
  package let id: String
  /// Offset behind `<Issuer>`, where the schema wants the signature (Core 3.2.1, 2.3.3).
  package let signaturePlace: Int
  /// Prefixes that stand in values only (a QName in xsi:type): exclusive C14N keeps them where the signature names them as inclusive, and nowhere else.
  package let inclusivePrefixes: [String]

  package init(bytes: [UInt8], id: String, signaturePlace: Int, inclusivePrefixes: [String] = []) {
    self.bytes = bytes
    self.id = id
    self.signaturePlace = signaturePlace
    self.inclusivePrefixes = inclusivePrefixes
  }
}

extension EnvelopedSignature {
  /// As `prepare(element:…)`, with everything about the element that the message itself knows.
  package static func prepare(
    _ message: UnsignedMessage, digest: DigestAlgorithm, algorithm: SignatureAlgorithm, certificates: [[UInt8]]
  ) -> EnvelopedSignature {
    prepare(
      element: message.bytes, id: message.id, at: message.signaturePlace, digest: digest, algorithm: algorithm, certificates: certificates,
      inclusivePrefixes: message.inclusivePrefixes)
  }
}

/// One attribute of a person, as a relying party gets it (Core 2.7.3.1).
package struct Attribute: Sendable, Equatable, Codable {
  package var name: String
  /// A URI; nil means unspecified.
  package var nameFormat: String?
  package var friendlyName: String?
  package var values: [String]

  package init(_ name: String, nameFormat: String? = nil, friendlyName: String? = nil, values: [String]) {
    self.name = name
    self.nameFormat = nameFormat
    self.friendlyName = friendlyName
    self.values = values
  }
}

/// What an assertion says (Core 2.3.3), of the shape that Web Browser SSO asks for: one bearer subject, one audience, one authentication statement
/// and at most one attribute statement (Profiles 4.1.4.2).
package struct AssertionContent: Sendable {
  package var id: String
  package var issueInstant: Instant
  package var issuer: String
  /// What stands in the subject; nil: no name at all.
  package var subject: SubjectName?
  /// The consumer service to which it is posted.
  package var recipient: String
  /// The request; nil for an answer that nobody asked for.
  package var inResponseTo: String?
  package var notBefore: Instant
  /// The end of the conditions, and of the bearer's confirmation.
  package var notOnOrAfter: Instant
  package var confirmationNotOnOrAfter: Instant
  /// The relying party's entityID.
  package var audience: String
  package var authnInstant: Instant
  package var sessionIndex: String?
  package var sessionNotOnOrAfter: Instant?
  package var contextClass: String
  package var attributes: [Attribute]

  package enum SubjectName: Sendable {
    case plain(NameID)
    /// The bytes of an `xenc:EncryptedData`, for an EncryptedID.
    case encrypted([UInt8])
  }

  package init(
    id: String, issueInstant: Instant, issuer: String, subject: SubjectName?, recipient: String, inResponseTo: String?, notBefore: Instant,
    notOnOrAfter: Instant, confirmationNotOnOrAfter: Instant, audience: String, authnInstant: Instant, sessionIndex: String?,
    sessionNotOnOrAfter: Instant?, contextClass: String, attributes: [Attribute]
  ) {
    self.id = id
    self.issueInstant = issueInstant
    self.issuer = issuer
    self.subject = subject
    self.recipient = recipient
    self.inResponseTo = inResponseTo
    self.notBefore = notBefore
    self.notOnOrAfter = notOnOrAfter
    self.confirmationNotOnOrAfter = confirmationNotOnOrAfter
    self.audience = audience
    self.authnInstant = authnInstant
    self.sessionIndex = sessionIndex
    self.sessionNotOnOrAfter = sessionNotOnOrAfter
    self.contextClass = contextClass
    self.attributes = attributes
  }

  /// The assertion, canonical for itself and inside a response alike. Throws `MessageFault` where a value holds a character that XML cannot carry.
  package func written() throws(MessageFault) -> UnsignedMessage {
    do {
      var writer = CanonicalWriter(capacity: 6144)
      try writer.open(.saml, "Assertion", [("ID", id), ("IssueInstant", issueInstant.description), ("Version", "2.0")])
      try writer.issuer(issuer)
      let place = writer.position
      try writeSubject(&writer)
      try writer.open(.saml, "Conditions", [("NotBefore", notBefore.description), ("NotOnOrAfter", notOnOrAfter.description)])
      writer.open(.saml, "AudienceRestriction")
      try writer.element(.saml, "Audience", audience)
      writer.close()
      writer.close()
      var statement: [(StaticString, String)] = [("AuthnInstant", authnInstant.description)]
      if let sessionIndex { statement.append(("SessionIndex", sessionIndex)) }
      if let sessionNotOnOrAfter { statement.append(("SessionNotOnOrAfter", sessionNotOnOrAfter.description)) }
      try writer.open(.saml, "AuthnStatement", statement)
      writer.open(.saml, "AuthnContext")
      try writer.element(.saml, "AuthnContextClassRef", contextClass)
      writer.close()
      writer.close()
      try writeAttributes(&writer)
      writer.close()
      return UnsignedMessage(bytes: writer.finish(), id: id, signaturePlace: place)
    } catch { throw MessageFault(error) }
  }

  private func writeSubject(_ writer: inout CanonicalWriter) throws(XMLFault) {
    writer.open(.saml, "Subject")
    switch subject {
    case .plain(let name): try name.write(to: &writer)
    case .encrypted(let data):
      writer.open(.saml, "EncryptedID")
      writer.embed(data)
      writer.close()
    case nil: break
    }
    try writer.open(.saml, "SubjectConfirmation", [("Method", Vocabulary.bearer)])
    // Profiles 4.1.4.2: Recipient and NotOnOrAfter always, InResponseTo for an answer, never NotBefore.
    var data: [(StaticString, String)] = [("NotOnOrAfter", confirmationNotOnOrAfter.description), ("Recipient", recipient)]
    if let inResponseTo { data.append(("InResponseTo", inResponseTo)) }
    try writer.open(.saml, "SubjectConfirmationData", data)
    writer.close()
    writer.close()
    writer.close()
  }

  private func writeAttributes(_ writer: inout CanonicalWriter) throws(XMLFault) {
    // An empty AttributeStatement is against the schema.
    let attributes = attributes.filter { !$0.values.isEmpty }
    guard !attributes.isEmpty else { return }
    writer.open(.saml, "AttributeStatement")
    for attribute in attributes {
      var head: [(StaticString, String)] = [("Name", attribute.name)]
      if let friendlyName = attribute.friendlyName { head.append(("FriendlyName", friendlyName)) }
      if let nameFormat = attribute.nameFormat { head.append(("NameFormat", nameFormat)) }
      try writer.open(.saml, "Attribute", head)
      for value in attribute.values { try writer.element(.saml, "AttributeValue", value) }
      writer.close()
    }
    writer.close()
  }
}

/// The answer to an AuthnRequest (Core 3.3.3).
package struct ResponseContent: Sendable {
  package enum Body: Sendable {
    /// A finished `saml:Assertion`, signed or not.
    case assertion([UInt8])
    /// The `xenc:EncryptedData` of one.
    case encrypted([UInt8])
  }

  package var id: String
  package var inResponseTo: String?
  package var destination: String
  package var issueInstant: Instant
  package var issuer: String
  package var status: Status
  package var body: Body?

  package init(
    id: String, inResponseTo: String?, destination: String, issueInstant: Instant, issuer: String, status: Status = .success, body: Body? = nil
  ) {
    self.id = id
    self.inResponseTo = inResponseTo
    self.destination = destination
    self.issueInstant = issueInstant
    self.issuer = issuer
    self.status = status
    self.body = body
  }

  /// The element around an `xenc:EncryptedData` (Core 2.3.4).
  package static func encryptedAssertion(_ data: [UInt8]) -> [UInt8] {
    var writer = CanonicalWriter(capacity: data.count + 128)
    writer.open(.saml, "EncryptedAssertion")
    writer.embed(data)
    return writer.finish()
  }

  /// The response and the place for its signature. Throws `MessageFault`.
  package func written() throws(MessageFault) -> UnsignedMessage {
    do {
      var writer = CanonicalWriter(capacity: 12_288)
      var attributes: [(StaticString, String)] = [
        ("ID", id), ("Destination", destination), ("IssueInstant", issueInstant.description), ("Version", "2.0"),
      ]
      if let inResponseTo { attributes.append(("InResponseTo", inResponseTo)) }
      try writer.open(.samlp, "Response", attributes)
      try writer.issuer(issuer)
      let place = writer.position
      try writer.status(status)
      switch body {
      case .assertion(let assertion): writer.embed(assertion)
      case .encrypted(let data): writer.embed(ResponseContent.encryptedAssertion(data))
      case nil: break
      }
      writer.close()
      return UnsignedMessage(bytes: writer.finish(), id: id, signaturePlace: place)
    } catch { throw MessageFault(error) }
  }
}

extension CanonicalWriter {
  mutating func issuer(_ issuer: String) throws(XMLFault) { try element(.saml, "Issuer", issuer) }

  /// An element with text and nothing else.
  package mutating func element(_ namespace: Namespace, _ local: StaticString, _ text: String) throws(XMLFault) {
    open(namespace, local)
    try self.text(text)
    close()
  }

  mutating func status(_ status: Status) throws(XMLFault) {
    open(.samlp, "Status")
    try open(.samlp, "StatusCode", [("Value", status.code.rawValue)])
    if let detail = status.detail {
      try open(.samlp, "StatusCode", [("Value", detail.rawValue)])
      close()
    }
    close()
    if let message = status.message { try element(.samlp, "StatusMessage", message) }
    close()
  }
}
