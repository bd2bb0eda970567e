/// A name as it stands in a document.
struct XMLQualifiedName {
  let prefix: String
  let local: String
  /// Both with the colon, to compare an end tag with.
  let bytes: ArraySlice<UInt8>
}

/// A start tag, of which prefixes have not been given their meaning yet.
struct XMLTag {
  let name: XMLQualifiedName
  var attributes: [(name: XMLQualifiedName, value: String)] = []
  var declarations: [NamespaceScope.Declaration] = []
  /// Whether it is `<a/>`.
  var isEmpty = false

  /// Reads from `<` to `>` (XML 1.0 3.1).
  static func read(from cursor: inout XMLCursor, limits: XMLLimits) throws(XMLFault) -> XMLTag {
    _ = cursor.take("<")
    var tag = XMLTag(name: try cursor.qualifiedName())
    if sameBytes(tag.name.prefix, "xmlns") { throw cursor.fault(.namespace, "an element with the prefix xmlns") }
    while true {
      let hadSpace = cursor.skipSpace()
      if cursor.take(">") { return tag }
      if cursor.take("/>") {
        tag.isEmpty = true
        return tag
      }
      guard hadSpace else { throw cursor.fault(.syntax, "neither white space nor the end of the tag <\(tag.name.local)>") }
      let name = try cursor.qualifiedName()
      cursor.skipSpace()
      guard cursor.take("=") else { throw cursor.fault(.syntax, "an attribute without value") }
      cursor.skipSpace()
      let value = try cursor.attributeValue()
      if sameBytes(name.prefix, "xmlns") {
        try tag.declare(name.local, value, cursor, limits)
      } else if name.prefix.utf8.isEmpty && sameBytes(name.local, "xmlns") {
        try tag.declare("", value, cursor, limits)
      } else {
        tag.attributes.append((name, value))
        guard tag.attributes.count <= limits.attributesPerElement else {
          throw cursor.fault(.tooManyAttributes, "more than \(limits.attributesPerElement) attributes in <\(tag.name.local)>")
        }
      }
    }
  }

  // Namespaces in XML 1.0 2.2, 3 and 5.
  private mutating func declare(_ prefix: String, _ namespace: String, _ cursor: XMLCursor, _ limits: XMLLimits) throws(XMLFault) {
    guard declarations.count < limits.namespacesInScope, namespace.utf8.count <= limits.namespaceBytes else {
      throw cursor.fault(.tooManyNamespaces, "too many or too long namespace declarations in <\(name.local)>")
    }
    guard !declarations.contains(where: { sameBytes($0.prefix, prefix) }) else {
      throw cursor.fault(.duplicateAttribute, "two declarations of the prefix \(prefix)")
    }
    let isReserved = sameBytes(prefix, "xml") || sameBytes(prefix, "xmlns")
    guard !isReserved, !sameBytes(namespace, Namespaces.xml), !sameBytes(namespace, Namespaces.xmlns) else {
      throw cursor.fault(.namespace, "a declaration of what is not to be declared")
    }
    if namespace.utf8.isEmpty {
      guard prefix.utf8.isEmpty else { throw cursor.fault(.namespace, "the prefix \(prefix) is taken back") }
    } else {
      // C14N 1.3: relative namespaces have no canonical form.
      guard XMLCharacters.isAbsoluteURI(namespace.utf8) else { throw cursor.fault(.namespace, "a namespace that is no absolute URI") }
    }
    declarations.append(NamespaceScope.Declaration(prefix: prefix, namespace: namespace))
  }
}
