import Bytes
import XMLSecurity

/// A request that a session be ended (Core 3.7.1).
package struct LogoutRequest: Sendable {
  package var head: MessageHead
  /// Whose; nil where it is encrypted.
  package var name: NameID?
  package var encryptedName: XMLElement?
  /// Which of the person's sessions at the sender; none: all of them.
  package var sessionIndexes: [String]
  /// After this the sender has no more use for an answer, and the request no force.
  package var notOnOrAfter: Instant?
  package var reason: String?
  /// The sender wants no answer (Asynchronous Single Logout 2.1).
  package var isAsynchronous = false

  package init(head: MessageHead, name: NameID, sessionIndexes: [String], notOnOrAfter: Instant?, reason: String? = nil) {
    self.head = head
    self.name = name
    self.sessionIndexes = sessionIndexes
    self.notOnOrAfter = notOnOrAfter
    self.reason = reason
  }

  /// Reads `<samlp:LogoutRequest>`. Throws `MessageFault`.
  package init(_ root: XMLElement) throws(MessageFault) {
    guard root.name == Vocabulary.samlp("LogoutRequest") else {
      throw MessageFault(.structure, "the message is <\(root.name.local.prefix(64))> and not <LogoutRequest>")
    }
    head = try MessageHead(root)
    let known: Set<XMLName> = [
      Vocabulary.saml("Issuer"), XMLName(Vocabulary.signatureNamespace, "Signature"), Vocabulary.samlp("Extensions"), Vocabulary.saml("NameID"),
      Vocabulary.saml("EncryptedID"), Vocabulary.samlp("SessionIndex"),
    ]
    try root.allowNoText()
    for child in root.elements where !known.contains(child.name) {
      throw MessageFault(.structure, "<LogoutRequest> has a <\(child.name.local.prefix(64))> that does not belong there")
    }
    if let element = try root.oneOrNone(Vocabulary.saml("NameID")) { name = try NameID(element) }
    encryptedName = try root.oneOrNone(Vocabulary.saml("EncryptedID"))
    guard (name == nil) != (encryptedName == nil) else { throw MessageFault(.structure, "<LogoutRequest> must have one <NameID> or <EncryptedID>") }
    let indexes = root.children(Vocabulary.samlp("SessionIndex"))
    guard indexes.count <= 64 else { throw MessageFault(.tooLarge, "<LogoutRequest> has more than 64 <SessionIndex>") }
    sessionIndexes = []
    for index in indexes { sessionIndexes.append(try index.content(upTo: 256)) }
    notOnOrAfter = try root.instant("NotOnOrAfter")
    reason = try root.value("Reason", upTo: 256)
    if let extensions = try root.oneOrNone(Vocabulary.samlp("Extensions")) {
      isAsynchronous = extensions.elements.contains { $0.name == XMLName(Vocabulary.asynchronousLogoutNamespace, "Asynchronous") }
    }
  }

  /// The message and the place for its signature (behind Issuer).
  package func written() throws(MessageFault) -> UnsignedMessage {
    do {
      var writer = CanonicalWriter(capacity: 2048)
      var attributes: [(StaticString, String)] = [("ID", head.id), ("IssueInstant", head.issueInstant.description), ("Version", "2.0")]
      if let destination = head.destination { attributes.append(("Destination", destination)) }
      if let notOnOrAfter { attributes.append(("NotOnOrAfter", notOnOrAfter.description)) }
      if let reason { attributes.append(("Reason", reason)) }
      try writer.open(.samlp, "LogoutRequest", attributes)
      try writer.issuer(head.issuer)
      let place = writer.position
      if let name { try name.write(to: &writer) }
      for index in sessionIndexes {
        writer.open(.samlp, "SessionIndex")
        try writer.text(index)
        writer.close()
      }
      writer.close()
      return UnsignedMessage(bytes: writer.finish(), id: head.id, signaturePlace: place)
    } catch { throw MessageFault(error) }
  }
}

/// The answer to a LogoutRequest (Core 3.7.2).
package struct LogoutResponse: Sendable {
  package var head: MessageHead
  package var inResponseTo: String?
  package var status: Status

  package init(head: MessageHead, inResponseTo: String?, status: Status) {
    self.head = head
    self.inResponseTo = inResponseTo
    self.status = status
  }

  /// Reads `<samlp:LogoutResponse>`. Throws `MessageFault`.
  package init(_ root: XMLElement) throws(MessageFault) {
    guard root.name == Vocabulary.samlp("LogoutResponse") else {
      throw MessageFault(.structure, "the message is <\(root.name.local.prefix(64))> and not <LogoutResponse>")
    }
    try root.allowOnly([
      Vocabulary.saml("Issuer"), XMLName(Vocabulary.signatureNamespace, "Signature"), Vocabulary.samlp("Extensions"), Vocabulary.samlp("Status"),
    ])
    head = try MessageHead(root)
    inResponseTo = try root.value("InResponseTo", upTo: 256)
    let element = try root.one(Vocabulary.samlp("Status"))
    let code = try element.one(Vocabulary.samlp("StatusCode"))
    let second = try code.oneOrNone(Vocabulary.samlp("StatusCode"))
    // What is not known is no success.
    status = Status(
      try code.value("Value").flatMap(Status.Code.init(rawValue:)) ?? .responder, try second?.value("Value").flatMap(Status.Detail.init(rawValue:)))
  }

  /// The message and the place for its signature (behind Issuer).
  package func written() throws(MessageFault) -> UnsignedMessage {
    do {
      var writer = CanonicalWriter(capacity: 2048)
      var attributes: [(StaticString, String)] = [("ID", head.id), ("IssueInstant", head.issueInstant.description), ("Version", "2.0")]
      if let destination = head.destination { attributes.append(("Destination", destination)) }
      if let inResponseTo { attributes.append(("InResponseTo", inResponseTo)) }
      try writer.open(.samlp, "LogoutResponse", attributes)
      try writer.issuer(head.issuer)
      let place = writer.position
      try writer.status(status)
      writer.close()
      return UnsignedMessage(bytes: writer.finish(), id: head.id, signaturePlace: place)
    } catch { throw MessageFault(error) }
  }
}
