import Bytes
import SAML
import XMLSecurity

/// An envelope of SOAP 1.2 with WS-Addressing (SOAP 1.2 Part 1, 5; WS-Addressing 1.0 SOAP Binding): its headers, judged, and the one element of its body.
struct SOAPRequest {
  let messageID: String?
  let to: String?
  let security: XMLElement
  let body: XMLElement
  private let action: String?

  private static let longestAddress = 2048

  /// The headers that are understood.
  private static let understood: Set<XMLName> = Set(
    ["Action", "MessageID", "To", "ReplyTo", "FaultTo", "From", "RelatesTo"].map(FederationVocabulary.wsa) + [FederationVocabulary.wsse("Security")])

  /// Runs a read of the tree, its faults told as one of the request.
  static func reading<Value>(_ code: TrustFault.Code, _ work: () throws(MessageFault) -> Value) throws(TrustFault) -> Value {
    do { return try work() } catch { throw TrustFault(code, error.detail) }
  }

  /// The MessageID, where there is exactly one to read, whatever else is wrong: a fault relates to it.
  static func messageID(of root: XMLElement) -> String? {
    let headers = root.children(FederationVocabulary.s("Header"))
    guard headers.count == 1, let header = headers.first, let element = try? header.only(FederationVocabulary.wsa("MessageID")),
      let text = try? element.content(upTo: SecurityTokenRequest.longestMessageID).trimmingXMLSpace, !text.utf8.isEmpty
    else { return nil }
    return text
  }

  init(_ root: XMLElement) throws(TrustFault) {
    guard root.name == FederationVocabulary.s("Envelope") else {
      // Part 1, 5.4.5: SOAP 1.1, or whatever calls itself an envelope.
      guard sameBytes(root.name.local, "Envelope") else {
        throw TrustFault(.invalidRequest, "this is <\(root.name.local.prefix(64))> and no SOAP envelope")
      }
      throw TrustFault(.versionMismatch, "the envelope is not one of SOAP 1.2")
    }
    do { try IdentifierCensus.check(root) } catch { throw TrustFault(.invalidSecurity, error.detail) }
    let (header, content) = try SOAPRequest.reading(.invalidRequest) { () throws(MessageFault) in try SOAPRequest.parts(root) }
    try SOAPRequest.checkUnderstood(header)
    let fields = try SOAPRequest.reading(.invalidRequest) { () throws(MessageFault) in try AddressingFields(header) }
    (messageID, to, action) = (fields.messageID, fields.to, fields.action)
    body = content
    let securities = header?.children(FederationVocabulary.wsse("Security")) ?? []
    guard securities.count == 1, let security = securities.first else {
      throw TrustFault(.invalidSecurity, "the envelope has \(securities.count) <Security> headers and must have one")
    }
    self.security = security
  }

  /// Throws where an Action is there that is not this one.
  func expect(action expected: String) throws(TrustFault) {
    guard let action, !sameBytes(action, expected) else { return }
    throw TrustFault(.actionNotSupported, "Action is not \(expected)")
  }

  /// Part 1, 5.1: an optional Header, then the Body; nothing else.
  private static func parts(_ root: XMLElement) throws(MessageFault) -> (header: XMLElement?, content: XMLElement) {
    try root.allowOnly([FederationVocabulary.s("Header"), FederationVocabulary.s("Body")])
    let body = try root.one(FederationVocabulary.s("Body"))
    guard root.elements.last?.name == body.name else { throw MessageFault(.structure, "the Header must stand before the Body") }
    try body.allowNoText()
    guard body.elements.count == 1, let content = body.elements.first else {
      throw MessageFault(.structure, "the SOAP body has \(body.elements.count) elements and must have one")
    }
    let header = try root.oneOrNone(FederationVocabulary.s("Header"))
    try header?.allowNoText()
    return (header, content)
  }

  /// Part 1, 5.2.3: whoever acts as the last receiver must understand what is marked so, or fault. A header for another role is taken to be for us too:
  /// nobody stands in between. Only the role `none` is nobody's.
  private static func checkUnderstood(_ header: XMLElement?) throws(TrustFault) {
    for block in header?.elements ?? [] {
      let must: Bool
      switch block.attribute(FederationVocabulary.s("mustUnderstand")).map({ Array($0.utf8) }) {
      case nil, Array("0".utf8), Array("false".utf8): must = false
      case Array("1".utf8), Array("true".utf8): must = true
      default: throw TrustFault(.invalidRequest, "mustUnderstand of <\(block.name.local.prefix(64))> is neither true nor false")
      }
      let role = block.attribute(FederationVocabulary.s("role"))
      let isNobodys = role.map { sameBytes($0, FederationVocabulary.soap + "/role/none") } ?? false
      // What nobody is to process must not be what is acted on.
      guard !isNobodys || !understood.contains(block.name) else {
        throw TrustFault(.invalidRequest, "<\(block.name.local)> is for the role of nobody")
      }
      if must, !isNobodys, !understood.contains(block.name) {
        throw TrustFault(.mustUnderstand, "the header <\(block.name.local.prefix(64))> must be understood and is not")
      }
    }
  }

  /// WS-Addressing's headers, each at most once (SOAP Binding, 3.2).
  private struct AddressingFields {
    let action: String?
    let messageID: String?
    let to: String?

    init(_ header: XMLElement?) throws(MessageFault) {
      func text(_ local: String, upTo limit: Int) throws(MessageFault) -> String? {
        try header?.oneOrNone(FederationVocabulary.wsa(local))?.content(upTo: limit).trimmingXMLSpace
      }
      action = try text("Action", upTo: longestAddress)
      messageID = try text("MessageID", upTo: SecurityTokenRequest.longestMessageID)
      to = try text("To", upTo: longestAddress)
      for local in ["ReplyTo", "FaultTo"] {
        guard let reference = try header?.oneOrNone(FederationVocabulary.wsa(local)) else { continue }
        let address = try reference.one(FederationVocabulary.wsa("Address")).content(upTo: longestAddress).trimmingXMLSpace
        // Nobody is ever called because a message says so (B2.10).
        guard sameBytes(address, FederationVocabulary.anonymous) else {
          throw MessageFault(.structure, "\(local) is not anonymous; answers go back on the connection on which was asked, and nowhere else")
        }
      }
      _ = try header?.oneOrNone(FederationVocabulary.wsa("From"))
    }
  }
}

/// A wsse:Security header that holds a UsernameToken with the password in the clear, and maybe a Timestamp (UsernameToken Profile 1.0, 3.1).
struct UserNameSecurity {
  let userName: String
  let password: Secret
  let created: Instant?
  let expires: Instant?

  private static let longestUserName = 320
  private static let longestPassword = 1024

  init(_ security: XMLElement) throws(TrustFault) {
    try SOAPRequest.reading(.invalidSecurity) { () throws(MessageFault) in try security.allowNoText() }
    let token = FederationVocabulary.wsse("UsernameToken"), timestamp = FederationVocabulary.wsu("Timestamp")
    for child in security.elements where child.name != token && child.name != timestamp {
      throw TrustFault(
        UserNameSecurity.isToken(child.name) ? .unsupportedSecurityToken : .invalidSecurity,
        "<Security> has a <\(child.name.local.prefix(64))>; a <UsernameToken> and a <Timestamp> are taken")
    }
    (created, expires) = try SOAPRequest.reading(.invalidSecurity) { () throws(MessageFault) in
      guard let element = try security.oneOrNone(timestamp) else { return (nil, nil) }
      return try UserNameSecurity.times(element)
    }
    let element = try SOAPRequest.reading(.invalidSecurity) { () throws(MessageFault) in
      let element = try security.one(token)
      try element.allowOnly([
        FederationVocabulary.wsse("Username"), FederationVocabulary.wsse("Password"), FederationVocabulary.wsse("Nonce"),
        FederationVocabulary.wsu("Created"),
      ])
      return element
    }
    let (name, secret) = try SOAPRequest.reading(.invalidSecurity) { () throws(MessageFault) in
      (try element.one(FederationVocabulary.wsse("Username")), try element.one(FederationVocabulary.wsse("Password")))
    }
    if let type = secret.attribute("Type"), !sameBytes(type, FederationVocabulary.userNameTokenProfile + "#PasswordText") {
      throw TrustFault(.unsupportedSecurityToken, "the password's Type is not PasswordText: a digest cannot be held against a directory")
    }
    userName = try UserNameSecurity.text(name, upTo: UserNameSecurity.longestUserName)
    password = Secret(try UserNameSecurity.text(secret, upTo: UserNameSecurity.longestPassword).utf8)
  }

  /// Proofs of other kinds: of this namespace, of SAML's, signatures and keys.
  private static func isToken(_ name: XMLName) -> Bool {
    [
      FederationVocabulary.security, FederationVocabulary.legacyAssertion, Vocabulary.assertionNamespace, Vocabulary.signatureNamespace,
      Vocabulary.encryptionNamespace,
    ].contains { sameBytes($0, name.namespace) }
  }

  private static func text(_ element: XMLElement, upTo limit: Int) throws(TrustFault) -> String {
    let text: String
    do { text = try element.content(upTo: limit) } catch {
      throw TrustFault(error.kind == .tooLarge ? .failedAuthentication : .invalidSecurity, error.detail)
    }
    // An empty password is none: some directories take a bind with one for anonymous (RFC 4513, 5.1.2).
    guard !text.utf8.isEmpty else { throw TrustFault(.failedAuthentication, "<\(element.name.local)> is empty") }
    return text
  }

  /// SOAP Message Security 1.1, 10: each at most once; a time that cannot be read is no time.
  private static func times(_ element: XMLElement) throws(MessageFault) -> (Instant?, Instant?) {
    let names = [FederationVocabulary.wsu("Created"), FederationVocabulary.wsu("Expires")]
    try element.allowOnly(Set(names))
    var times: [Instant?] = []
    for name in names {
      guard let text = try element.oneOrNone(name)?.content(upTo: 64).trimmingXMLSpace else {
        times.append(nil)
        continue
      }
      guard let instant = DateTime.read(text) else {
        throw MessageFault(.structure, "<\(name.local)> of the Timestamp is no time in UTC like 2026-01-31T12:00:00Z")
      }
      times.append(instant)
    }
    if let created = times[0], let expires = times[1], expires < created {
      throw MessageFault(.structure, "the Timestamp expires before it was created")
    }
    return (times[0], times[1])
  }
}
