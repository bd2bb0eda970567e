import Bytes
import Cryptography
import XMLSecurity

/// Who is meant, as one relying party knows them (Core 2.2.3). Compared byte by byte, qualifiers included.
package struct NameID: Sendable, Hashable, Codable {
  /// 1…256 bytes for `persistent` (Core 8.3.7), at most 1,024 otherwise.
  package var value: String
  /// The URI; nil means unspecified.
  package var format: String?
  /// The identity provider inside of whose names this is one.
  package var nameQualifier: String?
  /// The relying party for which it was made.
  package var spNameQualifier: String?

  package init(_ value: String, format: String? = nil, nameQualifier: String? = nil, spNameQualifier: String? = nil) {
    self.value = value
    self.format = format
    self.nameQualifier = nameQualifier
    self.spNameQualifier = spNameQualifier
  }

  package static func == (left: NameID, right: NameID) -> Bool {
    func same(_ one: String?, _ other: String?) -> Bool { (one ?? "").utf8.elementsEqual((other ?? "").utf8) && (one == nil) == (other == nil) }
    return same(left.value, right.value) && same(left.format, right.format) && same(left.nameQualifier, right.nameQualifier)
      && same(left.spNameQualifier, right.spNameQualifier)
  }

  package func hash(into hasher: inout Hasher) {
    for text in [value, format ?? "", nameQualifier ?? "", spNameQualifier ?? ""] { hasher.combine(bytesOf: text) }
  }

  /// Whether both mean the same person (Core 3.3.4, "strongly match", 3.7.1): a qualifier that one of them leaves out is the implied one.
  package func isSamePrincipal(as other: NameID) -> Bool {
    func agree(_ one: String?, _ other: String?) -> Bool {
      guard let one, let other else { return true }
      return one.utf8.elementsEqual(other.utf8)
    }
    let unspecified = NameIDFormat.unspecified.rawValue
    return value.utf8.elementsEqual(other.value.utf8) && (format ?? unspecified).utf8.elementsEqual((other.format ?? unspecified).utf8)
      && agree(nameQualifier, other.nameQualifier) && agree(spNameQualifier, other.spNameQualifier)
  }

  /// From a `<NameID>` (or `<Issuer>`, which has the same type).
  init(_ element: XMLElement) throws(MessageFault) {
    value = try element.content(upTo: 1024)
    guard !value.isEmpty else { throw MessageFault(.structure, "<\(element.name.local)> is empty") }
    format = try element.value("Format", upTo: 256)
    nameQualifier = try element.value("NameQualifier", upTo: 1024)
    spNameQualifier = try element.value("SPNameQualifier", upTo: 1024)
    guard element.attribute("SPProvidedID") == nil else {
      throw MessageFault(.structure, "SPProvidedID belongs to name management, which is not offered")
    }
  }

  func write(to writer: inout CanonicalWriter) throws(XMLFault) {
    var attributes: [(StaticString, String)] = []
    if let format { attributes.append(("Format", format)) }
    if let nameQualifier { attributes.append(("NameQualifier", nameQualifier)) }
    if let spNameQualifier { attributes.append(("SPNameQualifier", spNameQualifier)) }
    try writer.open(.saml, "NameID", attributes)
    try writer.text(value)
    writer.close()
  }

  /// The `<NameID>` for itself, its namespaces declared, to be encrypted as an EncryptedID.
  package func bytes() throws(MessageFault) -> [UInt8] {
    do {
      var writer = CanonicalWriter(capacity: 512)
      try write(to: &writer)
      return writer.finish()
    } catch { throw MessageFault(error) }
  }
}

extension Hasher {
  /// Feeds the bytes of a text that is compared byte by byte, and what ends them.
  fileprivate mutating func combine(bytesOf text: String) {
    var text = text
    text.withUTF8 { combine(bytes: UnsafeRawBufferPointer($0)) }
    combine(0xff as UInt8)
  }
}

/// Reads the `<Issuer>` of a message: an entityID, of at most 1,024 bytes, in no format but that of entities (Core 2.2.5, 3.2.1).
func readIssuer(_ message: XMLElement) throws(MessageFault) -> String {
  let element = try message.one(Vocabulary.saml("Issuer"))
  let name = try NameID(element)
  guard name.format == nil || name.format == NameIDFormat.entity else {
    throw MessageFault(.structure, "the format of <Issuer> is not that of an entity")
  }
  guard name.nameQualifier == nil, name.spNameQualifier == nil else { throw MessageFault(.structure, "<Issuer> may have no qualifiers") }
  return name.value
}

extension NameID {
  /// The name inside an `<EncryptedID>`. One error for whatever is wrong (Core 6; an oracle must learn nothing).
  package init(encrypted: XMLElement, keys: [DecryptionKey]) throws(MessageFault) {
    let element: XMLElement
    do { element = try XMLEncryption.decrypt(encrypted, keys: keys, limits: .message) } catch {
      throw MessageFault(.structure, "the encrypted name cannot be read")
    }
    guard element.name == Vocabulary.saml("NameID") else { throw MessageFault(.structure, "the encrypted name cannot be read") }
    try self.init(element)
  }
}
