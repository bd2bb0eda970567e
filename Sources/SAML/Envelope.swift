import Bytes
import Cryptography
import XMLSecurity

/// Whether a message asks or answers: which of the two parameters carries it.
package enum MessageDirection: String, Sendable {
  case request = "SAMLRequest"
  case response = "SAMLResponse"
}

/// A message as it came by Redirect or POST, unpacked and parsed, and nothing more: nobody has said yet that it is true.
package struct ReceivedMessage: Sendable {
  package let direction: MessageDirection
  package let binding: Binding
  package let root: XMLElement
  /// Opaque; at most 4,096 bytes (Bindings 3.4.3 says 80; many relying parties need more).
  package let relayState: String?
  /// The Redirect binding's signature, which stands beside the message.
  package let detached: DetachedSignature?
  /// SHA-256 of the XML as it came, to recognise a repeated one.
  package let digest: [UInt8]

  package static let longestRelayState = 4096
  /// Encoded, in a query.
  package static let longestParameter = 16 << 10
  /// Inflated, or decoded from a form.
  package static let longestDocument = 64 << 10

  /// The message of a query, as raw octets without the `?` (Bindings 3.4). Throws `MessageFault`.
  package init(query: some Collection<UInt8>) throws(MessageFault) {
    let fields = try FormFields(query)
    let (direction, field) = try ReceivedMessage.message(fields)
    guard field.rawValue.count <= ReceivedMessage.longestParameter else {
      throw MessageFault(.tooLarge, "\(direction.rawValue) has more than \(ReceivedMessage.longestParameter) bytes")
    }
    if let encoding = try fields.text("SAMLEncoding"), encoding != "urn:oasis:names:tc:SAML:2.0:bindings:URL-Encoding:DEFLATE" {
      throw MessageFault(.envelope, "SAMLEncoding names another encoding than DEFLATE")
    }
    guard let packed = StrictText.base64(field.value) else { throw MessageFault(.envelope, "\(direction.rawValue) is no base64") }
    let document = try Deflate.inflate(packed, limit: ReceivedMessage.longestDocument)
    let relayState = try ReceivedMessage.relayState(fields)
    let detached = try DetachedSignature(fields, message: field, direction: direction)
    try self.init(direction: direction, binding: .redirect, document: document, relayState: relayState, detached: detached)
  }

  /// The message of a form (Bindings 3.5), as the body's octets. Throws `MessageFault`.
  package init(form: some Collection<UInt8>) throws(MessageFault) {
    let fields = try FormFields(form)
    let (direction, field) = try ReceivedMessage.message(fields)
    // Line breaks inside are usual and mean nothing (Bindings 3.5.4).
    let compact = field.value.utf8.filter { $0 != 0x0d && $0 != 0x0a && $0 != 0x20 && $0 != 0x09 }
    guard compact.count <= ReceivedMessage.longestDocument / 3 * 4 + 4 else {
      throw MessageFault(.tooLarge, "\(direction.rawValue) has more than \(ReceivedMessage.longestDocument) bytes")
    }
    guard let document = StrictText.base64(String(decoding: compact, as: UTF8.self)) else {
      throw MessageFault(.envelope, "\(direction.rawValue) is no base64")
    }
    try self.init(
      direction: direction, binding: .post, document: document, relayState: try ReceivedMessage.relayState(fields), detached: nil)
  }

  /// A message out of a SOAP envelope, whose parser has read it already.
  package init(soap root: XMLElement, direction: MessageDirection, digest: [UInt8]) {
    self.direction = direction
    self.root = root
    self.digest = digest
    binding = .soap
    relayState = nil
    detached = nil
  }

  private init(
    direction: MessageDirection, binding: Binding, document: [UInt8], relayState: String?, detached: DetachedSignature?
  ) throws(MessageFault) {
    self.direction = direction
    self.binding = binding
    self.relayState = relayState
    self.detached = detached
    digest = Digests.sha256(document)
    do { root = try XMLElement.parse(document, limits: .message) } catch { throw MessageFault(error) }
    // Signed or not: a document in which two elements have one name is made to be read in two ways.
    do { try IdentifierCensus.check(root) } catch { throw MessageFault(.structure, error.detail) }
  }

  private static func message(_ fields: FormFields) throws(MessageFault) -> (MessageDirection, FormFields.Field) {
    switch (try fields.only("SAMLRequest"), try fields.only("SAMLResponse")) {
    case (let request?, nil): return (.request, request)
    case (nil, let response?): return (.response, response)
    // One could be verified and the other used.
    case (_?, _?): throw MessageFault(.envelope, "SAMLRequest and SAMLResponse come together")
    case (nil, nil): throw MessageFault(.envelope, "there is neither SAMLRequest nor SAMLResponse")
    }
  }

  private static func relayState(_ fields: FormFields) throws(MessageFault) -> String? {
    guard let text = try fields.text("RelayState") else { return nil }
    guard text.utf8.count <= longestRelayState else { throw MessageFault(.tooLarge, "RelayState has more than \(longestRelayState) bytes") }
    return text
  }

  /// The sender's entityID, to find its registration: not believed before `verified(by:)`.
  package var claimedIssuer: String {
    get throws(MessageFault) { try readIssuer(root) }
  }

  /// Whether there is a signature of any kind.
  package var isSigned: Bool { detached != nil || !root.children(XMLName(Vocabulary.signatureNamespace, "Signature")).isEmpty }

  /// The message as its sender signed it: for the Redirect binding the root, after the signature beside it was found good; otherwise a tree that was
  /// built from the bytes under the enveloped signature. Throws `MessageFault` where there is no signature, or it does not hold under any of `keys`.
  package func verified(by keys: [VerificationKey], allowingSHA1: Bool = false) throws(MessageFault) -> XMLElement {
    guard !keys.isEmpty else { throw MessageFault(.signature, "no signing certificate of the sender is registered") }
    if binding == .redirect {
      guard let detached else {
        throw MessageFault(.signature, "the message has no Signature parameter; an XML signature does not count by Redirect")
      }
      try detached.verify(by: keys, allowingSHA1: allowingSHA1)
      return root
    }
    do {
      return try SignatureVerifier(keys: keys, allowingSHA1: allowingSHA1).verify(root).element
    } catch { throw MessageFault(.signature, error.detail) }
  }
}

/// The signature of the Redirect binding: over the parameters as they were sent (Bindings 3.4.4.1).
package struct DetachedSignature: Sendable {
  package let algorithm: String
  package let signature: [UInt8]
  package let signedOctets: [UInt8]

  /// Nil where there is neither Signature nor SigAlg; throws where there is one without the other.
  init?(_ fields: FormFields, message: FormFields.Field, direction: MessageDirection) throws(MessageFault) {
    let signature = try fields.only("Signature")
    let algorithm = try fields.only("SigAlg")
    guard signature != nil || algorithm != nil else { return nil }
    guard let signature, let algorithm else { throw MessageFault(.signature, "Signature and SigAlg must come together") }
    let compact = signature.value.utf8.filter { $0 != 0x0d && $0 != 0x0a }
    guard compact.count <= 4096, let bytes = StrictText.base64(String(decoding: compact, as: UTF8.self)) else {
      throw MessageFault(.signature, "the parameter Signature is no base64")
    }
    self.signature = bytes
    self.algorithm = algorithm.value
    var octets = Array("\(direction.rawValue)=".utf8) + message.rawValue
    if let relayState = try fields.only("RelayState") { octets += Array("&RelayState=".utf8) + relayState.rawValue }
    octets += Array("&SigAlg=".utf8) + algorithm.rawValue
    signedOctets = octets
  }

  /// Throws `MessageFault` where no key says that the signature holds.
  func verify(by keys: [VerificationKey], allowingSHA1: Bool) throws(MessageFault) {
    guard let algorithm = SignatureAlgorithm(uri: self.algorithm), algorithm != .rsaSHA1 || allowingSHA1 else {
      throw MessageFault(.signature, "the signature algorithm \(self.algorithm.prefix(128)) is not taken")
    }
    for key in keys where (try? key.verify(signature: signature, over: signedOctets, algorithm: algorithm)) != nil { return }
    throw MessageFault(.signature, "the signature does not hold under any registered certificate of the sender")
  }
}

/// A message on its way out by Redirect: the URL without the signature, which the caller puts behind it (Bindings 3.4.4).
package struct OutgoingRedirect: Sendable {
  /// What is to be signed: the parameters from `SAMLRequest=` or `SAMLResponse=` on.
  package let bytesToSign: [UInt8]
  private let location: String

  /// - Parameter location: the receiver's URL; its own query is kept.
  package init(_ message: UnsignedMessage, direction: MessageDirection, to location: String, relayState: String?, algorithm: SignatureAlgorithm) {
    var query = "\(direction.rawValue)=\(FormFields.encode(Deflate.deflate(message.bytes).base64))"
    if let relayState { query += "&RelayState=\(FormFields.encode(relayState))" }
    query += "&SigAlg=\(FormFields.encode(algorithm.uri))"
    bytesToSign = Array(query.utf8)
    self.location = location
  }

  /// The URL to send the browser to.
  package func finish(signature: [UInt8]) -> String {
    let separator = location.utf8.contains(UInt8(ascii: "?")) ? "&" : "?"
    return location + separator + String(decoding: bytesToSign, as: UTF8.self) + "&Signature=" + FormFields.encode(signature.base64)
  }
}
