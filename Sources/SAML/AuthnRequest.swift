import Bytes
import XMLSecurity

/// What all messages that ask for something have (Core 3.2.1).
package struct MessageHead: Sendable, Equatable {
  /// An NCName of at most 256 bytes.
  package var id: String
  package var issueInstant: Instant
  /// The sender's entityID.
  package var issuer: String
  /// Where the sender says that it was sent to.
  package var destination: String?
  /// As written; only `2.0` is understood.
  package var version: String

  package init(id: String, issueInstant: Instant, issuer: String, destination: String? = nil, version: String = "2.0") {
    self.id = id
    self.issueInstant = issueInstant
    self.issuer = issuer
    self.destination = destination
    self.version = version
  }

  init(_ root: XMLElement) throws(MessageFault) {
    guard let version = try root.value("Version", upTo: 16) else { throw MessageFault(.structure, "the message has no Version") }
    guard let id = root.attribute("ID"), isMessageID(id) else {
      throw MessageFault(.structure, "the message's ID is missing or no name of letters, digits, `_`, `-` and `.` (at most 256)")
    }
    guard let instant = try root.instant("IssueInstant") else { throw MessageFault(.structure, "the message has no IssueInstant") }
    self.id = id
    self.version = version
    issueInstant = instant
    issuer = try readIssuer(root)
    destination = try root.value("Destination")
  }

  /// The second-level status for a version that is not understood (Core 4.1.3.2), or nil.
  package var versionFault: Status.Detail? {
    if version == "2.0" { return nil }
    let major = version.split(separator: ".", omittingEmptySubsequences: false).first.flatMap { UInt8($0) }
    guard let major else { return .requestVersionTooLow }
    return major < 2 ? .requestVersionTooLow : .requestVersionTooHigh
  }
}

/// A relying party's request that somebody sign in (Core 3.4.1).
///
/// It says what the message says and nothing of whether to believe it.
package struct AuthnRequest: Sendable, Equatable {
  /// Where the answer shall go (Core 3.4.1: index, or URL and binding, never both).
  package enum Consumer: Sendable, Equatable {
    case standard
    case index(UInt16)
    /// The URL, byte by byte, and the binding where one is named.
    case url(String, binding: String?)
    case binding(String)
  }

  package struct Policy: Sendable, Equatable {
    package var format: String?
    package var spNameQualifier: String?
    package var allowCreate: Bool

    package init(format: String? = nil, spNameQualifier: String? = nil, allowCreate: Bool = false) {
      self.format = format
      self.spNameQualifier = spNameQualifier
      self.allowCreate = allowCreate
    }
  }

  package enum Comparison: String, Sendable { case exact, minimum, maximum, better }

  package struct RequestedContext: Sendable, Equatable {
    package var comparison: Comparison
    /// In the order of preference; empty where only declarations were named.
    package var classes: [String]
    package var hasDeclarations: Bool
  }

  package struct Scope: Sendable, Equatable {
    package var proxyCount: UInt16?
    package var identityProviders: [String]
  }

  package var head: MessageHead
  package var consumer: Consumer = .standard
  package var forceAuthn = false
  package var isPassive = false
  package var policy: Policy?
  package var context: RequestedContext?
  package var subject: NameID?
  /// Whether the subject is an EncryptedID.
  package var encryptedSubject: XMLElement?
  package var scope: Scope?
  package var attributeIndex: UInt16?
  package var providerName: String?

  package init(head: MessageHead) { self.head = head }

  package static func == (left: AuthnRequest, right: AuthnRequest) -> Bool {
    left.head == right.head && left.consumer == right.consumer && left.forceAuthn == right.forceAuthn && left.isPassive == right.isPassive
      && left.policy == right.policy && left.context == right.context && left.subject == right.subject && left.scope == right.scope
      && left.attributeIndex == right.attributeIndex && left.providerName == right.providerName
      && (left.encryptedSubject == nil) == (right.encryptedSubject == nil)
  }

  /// Reads `<samlp:AuthnRequest>`. Throws `MessageFault` where the schema or a rule of Core 3.4.1 is broken.
  package init(_ root: XMLElement) throws(MessageFault) {
    guard root.name == Vocabulary.samlp("AuthnRequest") else {
      throw MessageFault(.structure, "the message is <\(root.name.local.prefix(64))> and not <AuthnRequest>")
    }
    try root.allowOnly([
      Vocabulary.saml("Issuer"), XMLName(Vocabulary.signatureNamespace, "Signature"), Vocabulary.samlp("Extensions"), Vocabulary.saml("Subject"),
      Vocabulary.samlp("NameIDPolicy"), Vocabulary.saml("Conditions"), Vocabulary.samlp("RequestedAuthnContext"), Vocabulary.samlp("Scoping"),
    ])
    head = try MessageHead(root)
    forceAuthn = try root.flag("ForceAuthn") ?? false
    isPassive = try root.flag("IsPassive") ?? false
    attributeIndex = try root.number("AttributeConsumingServiceIndex")
    providerName = try root.value("ProviderName")

    let index = try root.number("AssertionConsumerServiceIndex")
    let url = try root.value("AssertionConsumerServiceURL", upTo: 2048)
    let binding = try root.value("ProtocolBinding", upTo: 256)
    switch (index, url, binding) {
    case (let index?, nil, nil): consumer = .index(index)
    // Core 3.4.1: the index excludes both others.
    case (_?, _, _):
      throw MessageFault(.structure, "AssertionConsumerServiceIndex excludes AssertionConsumerServiceURL and ProtocolBinding")
    case (nil, let url?, let binding): consumer = .url(url, binding: binding)
    case (nil, nil, let binding?): consumer = .binding(binding)
    case (nil, nil, nil): break
    }
    if let element = try root.oneOrNone(Vocabulary.saml("Subject")) { try readSubject(element) }
    if let element = try root.oneOrNone(Vocabulary.samlp("NameIDPolicy")) {
      policy = Policy(
        format: try element.value("Format", upTo: 256), spNameQualifier: try element.value("SPNameQualifier"),
        allowCreate: try element.flag("AllowCreate") ?? false)
    }
    if let element = try root.oneOrNone(Vocabulary.samlp("RequestedAuthnContext")) { context = try AuthnRequest.readContext(element) }
    if let element = try root.oneOrNone(Vocabulary.samlp("Scoping")) { scope = try AuthnRequest.readScope(element) }
  }

  private mutating func readSubject(_ element: XMLElement) throws(MessageFault) {
    // Core 3.4.1: no SubjectConfirmation is understood here; one would promise what is not checked.
    try element.allowOnly([Vocabulary.saml("NameID"), Vocabulary.saml("EncryptedID")])
    if let name = try element.oneOrNone(Vocabulary.saml("NameID")) { subject = try NameID(name) }
    encryptedSubject = try element.oneOrNone(Vocabulary.saml("EncryptedID"))
    guard (subject == nil) != (encryptedSubject == nil) else { throw MessageFault(.structure, "<Subject> must have one <NameID> or <EncryptedID>") }
  }

  private static func readContext(_ element: XMLElement) throws(MessageFault) -> RequestedContext {
    let word = element.attribute("Comparison") ?? "exact"
    guard let comparison = Comparison(rawValue: word) else {
      throw MessageFault(.structure, "Comparison of <RequestedAuthnContext> is none of exact, minimum, maximum, better")
    }
    var context = RequestedContext(comparison: comparison, classes: [], hasDeclarations: false)
    guard element.elements.count <= 32 else { throw MessageFault(.tooLarge, "<RequestedAuthnContext> names more than 32 contexts") }
    for child in element.elements {
      switch child.name {
      case Vocabulary.saml("AuthnContextClassRef"): context.classes.append(try child.content(upTo: 256))
      case Vocabulary.saml("AuthnContextDeclRef"): context.hasDeclarations = true
      default: throw MessageFault(.structure, "<RequestedAuthnContext> has a <\(child.name.local.prefix(64))> that does not belong there")
      }
    }
    guard context.classes.isEmpty == context.hasDeclarations else {
      throw MessageFault(.structure, "<RequestedAuthnContext> must name classes or declarations, not both")
    }
    return context
  }

  private static func readScope(_ element: XMLElement) throws(MessageFault) -> Scope {
    try element.allowOnly([Vocabulary.samlp("IDPList"), Vocabulary.samlp("RequesterID")])
    var scope = Scope(proxyCount: try element.number("ProxyCount"), identityProviders: [])
    guard let list = try element.oneOrNone(Vocabulary.samlp("IDPList")) else { return scope }
    let entries = list.children(Vocabulary.samlp("IDPEntry"))
    guard entries.count <= 64 else { throw MessageFault(.tooLarge, "<IDPList> has more than 64 entries") }
    for entry in entries {
      guard let id = try entry.value("ProviderID") else { throw MessageFault(.structure, "an <IDPEntry> has no ProviderID") }
      scope.identityProviders.append(id)
    }
    return scope
  }
}
