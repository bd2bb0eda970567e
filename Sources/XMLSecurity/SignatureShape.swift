import Bytes
import Cryptography

/// A ds:Signature of the only shape that is taken (XML Signature 1.1 4; SAML Core 5.4): every element once, in order, nothing else.
struct SignatureShape {
  let signedInfo: XMLElement
  let signatureValue: [UInt8]
  let canonicalization: Canonicalization
  let algorithm: SignatureAlgorithm

  init(_ signature: XMLElement, allowingSHA1: Bool) throws(SignatureFault) {
    try Self.refuseComments(in: signature)
    var children = try Children(of: signature, attributes: ["Id"])
    signedInfo = try children.next("SignedInfo")
    let value = try children.next("SignatureValue")
    if let keyInfo = children.nextIfPresent("KeyInfo") { try KeyInfoShape.check(keyInfo) }
    try children.end()
    try Children(of: value, attributes: ["Id"], isText: true).end()
    signatureValue = try Self.base64(value)

    var info = try Children(of: signedInfo, attributes: ["Id"])
    canonicalization = try Canonicalization(try info.next("CanonicalizationMethod"))
    let method = try info.next("SignatureMethod")
    // HMACOutputLength would be a child (CVE-2009-0217).
    try Children(of: method, attributes: ["Algorithm"]).end()
    guard let named = SignatureAlgorithm(uri: method.attribute("Algorithm") ?? ""), named != .rsaSHA1 || allowingSHA1 else {
      throw SignatureFault(.algorithm, "a signature algorithm that is not taken: \(method.attribute("Algorithm") ?? "none")")
    }
    algorithm = named
    _ = try info.next("Reference")
    try info.end()
  }

  /// What a comment splits is read differently by different readers (CVE-2025-29775).
  private static func refuseComments(in signature: XMLElement) throws(SignatureFault) {
    var left = [signature]
    while let element = left.popLast() {
      for child in element.children {
        switch child {
        case .comment: throw SignatureFault(.structure, "a comment inside of a signature")
        case .element(let child): left.append(child)
        case .text: break
        }
      }
    }
  }

  /// Base64 in one piece. White space may stand in it: writers break lines, some of them with a carriage return by number.
  static func base64(_ element: XMLElement) throws(SignatureFault) -> [UInt8] {
    let text: String
    do { text = try element.text() } catch { throw SignatureFault(error) }
    // 8,192 bits are 1,368 characters.
    guard text.utf8.count <= 4096, let bytes = LineBrokenBase64.decode(text), !bytes.isEmpty else {
      throw SignatureFault(.structure, "no base64 in <\(element.name.local)>")
    }
    return bytes
  }
}

/// Base64 as xs:base64Binary allows it, with white space between the characters, and otherwise in the one way.
enum LineBrokenBase64 {
  static func decode(_ text: String) -> [UInt8]? {
    let characters = text.utf8.filter { !XMLCharacters.isSpace($0) }
    return StrictText.base64(String(decoding: characters, as: UTF8.self))
  }
}

/// The one reference of a ds:SignedInfo.
struct ReferenceShape {
  /// The ID, without `#`.
  let identifier: String
  let canonicalization: Canonicalization
  let digestAlgorithm: DigestAlgorithm
  let digest: [UInt8]

  init(signedInfo: XMLElement, allowingSHA1: Bool) throws(SignatureFault) {
    var info = try Children(of: signedInfo, attributes: ["Id"])
    _ = try info.next("CanonicalizationMethod")
    _ = try info.next("SignatureMethod")
    let reference = try info.next("Reference")
    try info.end()
    guard let uri = reference.attribute("URI"), uri.utf8.first == UInt8(ascii: "#") else {
      throw SignatureFault(.structure, "a reference that is no # and ID")
    }
    identifier = String(uri.unicodeScalars.dropFirst())
    var children = try Children(of: reference, attributes: ["URI", "Id"])
    canonicalization = try Self.transforms(try children.next("Transforms"))
    let method = try children.next("DigestMethod")
    let value = try children.next("DigestValue")
    try children.end()
    try Children(of: method, attributes: ["Algorithm"]).end()
    guard let named = DigestAlgorithm(uri: method.attribute("Algorithm") ?? ""), named != .sha1 || allowingSHA1 else {
      throw SignatureFault(.algorithm, "a digest algorithm that is not taken: \(method.attribute("Algorithm") ?? "none")")
    }
    digestAlgorithm = named
    try Children(of: value, attributes: [], isText: true).end()
    digest = try SignatureShape.base64(value)
  }

  /// Exactly enveloped-signature and then exclusive C14N (SAML Core 5.4.4). Nothing else is ever run because a message says so.
  private static func transforms(_ element: XMLElement) throws(SignatureFault) -> Canonicalization {
    var children = try Children(of: element, attributes: [])
    let enveloped = try children.next("Transform")
    let canonical = try children.next("Transform")
    try children.end()
    try Children(of: enveloped, attributes: ["Algorithm"]).end()
    guard sameBytes(enveloped.attribute("Algorithm") ?? "", "http://www.w3.org/2000/09/xmldsig#enveloped-signature") else {
      throw SignatureFault(.algorithm, "a first transform that is not enveloped-signature")
    }
    return try Canonicalization(canonical)
  }
}

/// Exclusive C14N without comments, as CanonicalizationMethod or Transform name it.
struct Canonicalization {
  let inclusivePrefixes: [String]

  init(_ element: XMLElement) throws(SignatureFault) {
    guard sameBytes(element.attribute("Algorithm") ?? "", Namespaces.exclusiveC14N) else {
      throw SignatureFault(.algorithm, "a canonicalization or transform that is not exclusive C14N without comments")
    }
    var children = try Children(of: element, attributes: ["Algorithm"])
    guard let inclusive = children.nextIfPresent("InclusiveNamespaces", in: Namespaces.exclusiveC14N) else {
      try children.end()
      inclusivePrefixes = []
      return
    }
    try children.end()
    try Children(of: inclusive, attributes: ["PrefixList"]).end()
    let list = inclusive.attribute("PrefixList") ?? ""
    let prefixes = list.utf8.split(whereSeparator: XMLCharacters.isSpace).map { String(decoding: $0, as: UTF8.self) }
    guard prefixes.count <= 16 else { throw SignatureFault(.structure, "\(prefixes.count) inclusive prefixes; 16 are taken") }
    guard prefixes.allSatisfy({ sameBytes($0, "#default") || XMLCharacters.isNCName($0.utf8) }) else {
      throw SignatureFault(.structure, "an inclusive prefix that is none")
    }
    inclusivePrefixes = prefixes
  }

  func bytes(of element: XMLElement, omitting omitted: XMLElement? = nil) throws(SignatureFault) -> [UInt8] {
    var canonicalizer = ExclusiveCanonicalizer(inclusivePrefixes: inclusivePrefixes, limit: element.limits.canonicalBytes)
    do { return try canonicalizer.bytes(of: element, omitting: omitted) } catch { throw SignatureFault(error) }
  }
}

/// The child elements of an element of a signature, taken one by one; between them only white space, and no attribute that is not known.
struct Children {
  private let parent: XMLElement
  private var left: ArraySlice<XMLElement>

  /// `isText` where character data may stand; then there is no child element to take.
  init(of parent: XMLElement, attributes: [String], isText: Bool = false) throws(SignatureFault) {
    self.parent = parent
    for attribute in parent.attributes where !attributes.contains(where: { attribute.name == XMLName("", $0) }) {
      throw SignatureFault(.structure, "an attribute \(attribute.name.local) in <\(parent.name.local)>")
    }
    var elements: [XMLElement] = []
    for child in parent.children {
      switch child {
      case .element(let element): elements.append(element)
      case .text(let text):
        guard isText || text.utf8.allSatisfy(XMLCharacters.isSpace) else { throw SignatureFault(.structure, "text in <\(parent.name.local)>") }
      case .comment: break
      }
    }
    left = elements[...]
  }

  mutating func next(_ local: String) throws(SignatureFault) -> XMLElement {
    guard let found = nextIfPresent(local) else {
      throw SignatureFault(.structure, "<\(left.first?.name.local ?? "nothing")> where <\(local)> belongs, in <\(parent.name.local)>")
    }
    return found
  }

  mutating func nextIfPresent(_ local: String, in namespace: String = Namespaces.signature) -> XMLElement? {
    guard let first = left.first, first.name == XMLName(namespace, local) else { return nil }
    left = left.dropFirst()
    return first
  }

  func end() throws(SignatureFault) {
    if let more = left.first { throw SignatureFault(.structure, "<\(more.name.local)> in <\(parent.name.local)>, where nothing more belongs") }
  }
}
