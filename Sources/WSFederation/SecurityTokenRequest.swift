import Bytes
import SAML
import XMLSecurity

/// What a rich client asks: a token for a relying party, for a name and a password (WS-Trust 1.3, 4.1; WS-Security UsernameToken Profile 1.0).
///
/// It says what the message says. Whether the password is right, the address known and the time good is for others to judge.
package struct SecurityTokenRequest: Sendable {
  package var version: TrustVersion
  /// WS-Addressing's MessageID, as written; at most 256 bytes.
  package var messageID: String?
  /// WS-Addressing's To: the address that the client wrote to; at most 2,048 bytes.
  package var to: String?
  /// 1…320 bytes, byte for byte as it was written.
  package var userName: String
  /// 1…1,024 bytes.
  package var password: Secret
  /// Of the Security header's Timestamp.
  package var created: Instant?
  package var expires: Instant?
  /// The relying party: the address of AppliesTo, 1…1,024 bytes.
  package var appliesTo: String
  /// Nil where the client leaves it to us.
  package var tokenType: TokenType?
  /// RequestSecurityToken's Context, which the answer must give back (WS-Trust 1.3, 3.2); at most 1,024 bytes.
  package var context: String?

  /// Bytes.
  package static let longestEnvelope = 64 << 10
  package static let longestMessageID = 256

  /// Reads an envelope of SOAP 1.2. Throws `TrustFault`, with the MessageID wherever there was one to read.
  package init(_ envelope: [UInt8], endpoint: TrustEndpoint) throws(TrustFault) {
    guard envelope.count <= SecurityTokenRequest.longestEnvelope else {
      throw TrustFault(.invalidRequest, "the envelope has more than \(SecurityTokenRequest.longestEnvelope) bytes")
    }
    let root: XMLElement
    do { root = try XMLElement.parse(envelope, limits: .message) } catch { throw TrustFault(.invalidRequest, error.detail) }
    let messageID = SOAPRequest.messageID(of: root)
    do {
      let soap = try SOAPRequest(root)
      self = try SecurityTokenRequest(soap, endpoint: endpoint)
    } catch { throw TrustFault(error.code, error.detail, messageID: messageID) }
  }

  private init(_ soap: SOAPRequest, endpoint: TrustEndpoint) throws(TrustFault) {
    let version = endpoint.version
    try soap.expect(action: version.requestAction)
    let security = try UserNameSecurity(soap.security)
    let request = try RequestSecurityToken(soap.body, version: version)
    self.version = version
    messageID = soap.messageID
    to = soap.to
    userName = security.userName
    password = security.password
    created = security.created
    expires = security.expires
    appliesTo = request.appliesTo
    tokenType = request.tokenType
    context = request.context
  }

  /// What the Timestamp says against doing it now; nil where nothing.
  ///
  /// - Parameter window: how far the client's clock may be from ours. Without Expires a request is good for that long.
  package func timeFault(now: Instant, window: Duration) -> TrustFault? {
    if let created, created > now.adding(window) {
      return TrustFault(.messageExpired, "the Timestamp was created later than now: the client's clock is wrong", messageID: messageID)
    }
    guard let end = expires ?? created, end.adding(window) < now else { return nil }
    return TrustFault(.messageExpired, "the Timestamp has expired: the message is old, or the client's clock is wrong", messageID: messageID)
  }
}

/// The element inside of the body (WS-Trust 1.3, 4.1), as far as it is listened to.
private struct RequestSecurityToken {
  let appliesTo: String
  let tokenType: TokenType?
  let context: String?

  private static let longestAddress = 1024

  init(_ element: XMLElement, version: TrustVersion) throws(TrustFault) {
    guard element.name == version.t("RequestSecurityToken") else {
      throw TrustFault(
        .invalidRequest, "the body holds <\(element.name.local.prefix(64))> and not the <RequestSecurityToken> of \(version.namespace)")
    }
    // What would make a token for somebody else, or for a key (B2.10). By the name alone: each comes in the namespaces of several versions.
    for child in element.elements {
      for refused in ["OnBehalfOf", "ActAs", "UseKey"] where sameBytes(child.name.local, refused) {
        throw TrustFault(.invalidRequest, "the request has <\(refused)>, which is not offered")
      }
    }
    try SOAPRequest.reading(.invalidRequest) { () throws(MessageFault) in try element.allowNoText() }
    let (type, keyType, tokenType) = try SOAPRequest.reading(.invalidRequest) { () throws(MessageFault) in
      (
        try element.one(version.t("RequestType")).content(upTo: 256).trimmingXMLSpace,
        try element.oneOrNone(version.t("KeyType"))?.content(upTo: 256).trimmingXMLSpace,
        try element.oneOrNone(version.t("TokenType"))?.content(upTo: 256).trimmingXMLSpace
      )
    }
    guard sameBytes(type, version.issue) else { throw TrustFault(.invalidRequest, "RequestType is not \(version.issue)") }
    // Clients of one version are seen to write the other's.
    if let keyType, !TrustVersion.allCases.contains(where: { sameBytes($0.bearerKey, keyType) }) {
      throw TrustFault(.invalidRequest, "KeyType asks for a token with a key; only those without proof (NoProofKey, Bearer) are issued")
    }
    self.tokenType = try tokenType.map { (uri) throws(TrustFault) in
      guard let known = TokenType(uri: uri) else { throw TrustFault(.invalidRequest, "TokenType is none that is issued") }
      return known
    }
    appliesTo = try SOAPRequest.reading(.invalidRequest) { () throws(MessageFault) in try RequestSecurityToken.address(element) }
    context = try SOAPRequest.reading(.invalidRequest) { () throws(MessageFault) in try element.value("Context") }
  }

  private static func address(_ element: XMLElement) throws(MessageFault) -> String {
    let places = [FederationVocabulary.policy2004, FederationVocabulary.policy15].flatMap { element.children(XMLName($0, "AppliesTo")) }
    guard places.count == 1, let place = places.first else {
      throw MessageFault(.structure, "<RequestSecurityToken> has \(places.count) <AppliesTo> and must have one: the token is for somebody")
    }
    let references = [FederationVocabulary.addressing, FederationVocabulary.oldAddressing]
    let elements = place.elements
    guard elements.count == 1, let reference = elements.first,
      let namespace = references.first(where: { reference.name == XMLName($0, "EndpointReference") })
    else { throw MessageFault(.structure, "<AppliesTo> must hold one <EndpointReference> and nothing else") }
    try place.allowNoText()
    let address = try reference.one(XMLName(namespace, "Address")).content(upTo: longestAddress).trimmingXMLSpace
    guard !address.utf8.isEmpty else { throw MessageFault(.structure, "<Address> of <AppliesTo> is empty") }
    return address
  }
}
