import Cryptography

/// An encrypted element of a shape that is taken (SAML Core 6.1; XML Encryption 1.1 3).
///
/// ```
/// EncryptedAssertion | EncryptedID | …
///   EncryptedData Type="…#Element"
///     EncryptionMethod, KeyInfo (EncryptedKey*)?, CipherData (CipherValue)
///   EncryptedKey*
/// ```
/// Nothing is fetched: CipherReference and RetrievalMethod are refused.
struct EncryptedShape {
  static let elementType = "http://www.w3.org/2001/04/xmlenc#Element"

  let content: ContentEncryption
  let bytes: [UInt8]
  let keys: [Key]

  struct Key {
    let algorithm: KeyTransportAlgorithm
    let bytes: [UInt8]
  }

  /// Any reason; nobody outside learns which.
  private struct Refusal: Error {}

  init(_ element: XMLElement) throws {
    var data = element
    var siblings: [XMLElement] = []
    if !Self.isEncryption(element, "EncryptedData") {
      let children = element.elements
      guard let first = children.first, Self.isEncryption(first, "EncryptedData") else { throw Refusal() }
      data = first
      siblings = Array(children.dropFirst())
      guard siblings.allSatisfy({ Self.isEncryption($0, "EncryptedKey") }) else { throw Refusal() }
    }
    guard data.attribute("Type").map({ sameBytes($0, Self.elementType) }) ?? true else { throw Refusal() }
    var left = data.elements[...]
    let method = try Self.take("EncryptionMethod", from: &left)
    guard method.elements.isEmpty, let content = ContentEncryption(uri: method.attribute("Algorithm") ?? "") else { throw Refusal() }
    self.content = content
    if let keyInfo = left.first, keyInfo.name == XMLName(Namespaces.signature, "KeyInfo") {
      left = left.dropFirst()
      for child in keyInfo.elements {
        if Self.isEncryption(child, "EncryptedKey") {
          siblings.append(child)
        } else {
          try Self.refuseFetching(child)
        }
      }
    }
    bytes = try Self.cipherValue(try Self.take("CipherData", from: &left))
    guard left.isEmpty, (1...4).contains(siblings.count) else { throw Refusal() }
    keys = try siblings.map { try Self.key($0) }
  }

  private static func isEncryption(_ element: XMLElement, _ local: String) -> Bool { element.name == XMLName(Namespaces.encryption, local) }

  private static func take(_ local: String, from left: inout ArraySlice<XMLElement>) throws -> XMLElement {
    guard let first = left.first, isEncryption(first, local) else { throw Refusal() }
    left = left.dropFirst()
    return first
  }

  /// Names of keys and certificates may stand there, and are not looked at; nothing that says where something else lies.
  private static func refuseFetching(_ element: XMLElement) throws {
    guard sameBytes(element.name.namespace, Namespaces.signature), ["KeyName", "X509Data"].contains(element.name.local) else { throw Refusal() }
  }

  private static func cipherValue(_ data: XMLElement) throws -> [UInt8] {
    var left = data.elements[...]
    let value = try take("CipherValue", from: &left)
    guard left.isEmpty, let bytes = LineBrokenBase64.decode(try value.text()) else { throw Refusal() }
    return bytes
  }

  private static func key(_ element: XMLElement) throws -> Key {
    var left = element.elements[...]
    let method = try take("EncryptionMethod", from: &left)
    if let keyInfo = left.first, keyInfo.name == XMLName(Namespaces.signature, "KeyInfo") {
      left = left.dropFirst()
      for child in keyInfo.elements { try refuseFetching(child) }
    }
    let bytes = try cipherValue(try take("CipherData", from: &left))
    // In single-recipient messages these say nothing new (XML Encryption 1.1 3.5.1).
    while let more = left.first, isEncryption(more, "ReferenceList") || isEncryption(more, "CarriedKeyName") { left = left.dropFirst() }
    guard left.isEmpty else { throw Refusal() }

    var digest: String?
    var mask: String?
    for child in method.elements {
      switch child.name {
      case XMLName(Namespaces.signature, "DigestMethod") where digest == nil: digest = child.attribute("Algorithm") ?? ""
      case XMLName(Namespaces.encryption11, "MGF") where mask == nil: mask = child.attribute("Algorithm") ?? ""
      // OAEPparams, KeySize and whatever else: no partner sends it.
      default: throw Refusal()
      }
    }
    guard let algorithm = KeyTransportAlgorithm(uri: method.attribute("Algorithm") ?? "", digest: digest, mask: mask) else { throw Refusal() }
    return Key(algorithm: algorithm, bytes: bytes)
  }
}
