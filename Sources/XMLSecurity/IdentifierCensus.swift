/// All the identifiers of a tree: whatever a reader could take for an ID must be unique, or two readers find two elements (B1.6 of the attack list).
package struct IdentifierCensus {
  /// Throws for an identifier that is no NCName of at most 256 bytes, and for one that is there twice.
  package static func check(_ root: XMLElement) throws(SignatureFault) {
    var seen: Set<[UInt8]> = []
    var left = [root]
    while let element = left.popLast() {
      for attribute in element.attributes where isIdentifier(attribute.name) {
        let value = Array(attribute.value.utf8)
        guard value.count <= 256, XMLCharacters.isNCName(value) else {
          throw SignatureFault(.structure, "an identifier in <\(element.name.local)> that is no name")
        }
        guard seen.insert(value).inserted else { throw SignatureFault(.structure, "the identifier of <\(element.name.local)> is there twice") }
      }
      for case .element(let child) in element.children { left.append(child) }
    }
  }

  /// ID (SAML 2.0, WS-*), Id (XML Signature), id (others), AssertionID (SAML 1.1), xml:id and wsu:Id.
  private static func isIdentifier(_ name: XMLName) -> Bool {
    if name.namespace.utf8.isEmpty { return ["ID", "Id", "id", "AssertionID"].contains { sameBytes(name.local, $0) } }
    return name == XMLName(Namespaces.xml, "id") || name == XMLName(Namespaces.utility, "Id")
  }

  /// The identifier by which the root is signed: the attribute of that name, which must be the root's only one that anybody could take for an ID.
  static func identifier(of root: XMLElement, attribute: String) throws(SignatureFault) -> String {
    let candidates = root.attributes.filter { ["id", "assertionid"].contains($0.name.local.lowercased()) }
    guard candidates.count == 1, let only = candidates.first, only.name == XMLName("", attribute) else {
      throw SignatureFault(.structure, "\(candidates.count) identifiers in <\(root.name.local)>, where the one is \(attribute)")
    }
    return only.value
  }
}
