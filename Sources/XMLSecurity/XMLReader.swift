import Bytes

/// Reads a document in one pass and without recursion.
///
/// ```
/// document := BOM? declaration? (comment | space)* element (comment | space)*
/// ```
/// `XMLCursor` looks at bytes, `XMLTag` is what stands inside of a start tag, this type keeps the open elements.
struct XMLReader {
  private var cursor: XMLCursor
  private let limits: XMLLimits
  private var open: [OpenElement] = []
  private var elementCount = 0
  private var declarationCount = 0
  private let outerScope: NamespaceScope

  /// An element whose end tag has not come yet.
  private struct OpenElement {
    let tag: XMLTag
    let scope: NamespaceScope
    let name: XMLName
    let attributes: [XMLAttribute]
    var children: [XMLNode] = []
  }

  /// `scope` is what prefixes mean around the document: decrypted XML takes its place inside of another document.
  init(_ bytes: some Collection<UInt8>, limits: XMLLimits, scope: NamespaceScope) throws(XMLFault) {
    // Counting first: a lazy collection could be made of anything.
    guard bytes.count <= limits.bytes else { throw XMLFault(.tooManyBytes, "\(bytes.count) bytes; \(limits.bytes) are read") }
    self.limits = limits
    outerScope = scope
    cursor = try XMLCursor(Array(bytes), nameBytes: limits.nameBytes)
  }

  mutating func document() throws(XMLFault) -> XMLElement {
    try cursor.skipByteOrderMarkAndDeclaration()
    try skipMiscellany()
    guard cursor.isAt("<") else { throw cursor.fault(.syntax, "no element") }
    let root = try element()
    try skipMiscellany()
    guard cursor.isAtEnd else { throw cursor.fault(.syntax, "something after the document's element") }
    return root
  }

  /// White space and comments outside of the document's element.
  private mutating func skipMiscellany() throws(XMLFault) {
    while true {
      cursor.skipSpace()
      guard cursor.isAt("<!") || cursor.isAt("<?") else { return }
      guard try markupDeclaration() == .comment else { throw cursor.fault(.syntax, "a CDATA section outside of the document's element") }
    }
  }

  private enum Declaration { case comment, characterData }

  /// `<!` and `<?`: a comment is passed over; before a CDATA section the cursor stays; everything else is refused.
  private mutating func markupDeclaration() throws(XMLFault) -> Declaration {
    if cursor.take("<!--") {
      try cursor.skipComment()
      return .comment
    }
    if cursor.isAt("<![CDATA[") { return .characterData }
    if cursor.isAt("<?") { throw cursor.fault(.processingInstruction, "a processing instruction") }
    throw cursor.fault(.documentType, "a document type or another markup declaration")
  }

  /// The element that begins here, with everything in it.
  private mutating func element() throws(XMLFault) -> XMLElement {
    while true {
      if cursor.isAt("</") {
        if let root = try endTag() { return root }
      } else if cursor.isAt("<!") || cursor.isAt("<?") {
        switch try markupDeclaration() {
        case .comment: append(.comment)
        case .characterData: try characterData()
        }
      } else if cursor.isAt("<") {
        if let root = try startTag() { return root }
      } else if cursor.isAtEnd {
        throw cursor.fault(.syntax, "the document ends inside of <\(open.last?.tag.name.local ?? "")>")
      } else {
        append(.text(try cursor.text()))
      }
    }
  }

  private mutating func append(_ node: XMLNode) {
    guard let last = open.indices.last else { return }
    open[last].children.append(node)
  }

  private mutating func characterData() throws(XMLFault) {
    append(.text(try cursor.characterDataSection()))
  }

  /// Reads a start tag. Returns the element if it is the root and has no content.
  private mutating func startTag() throws(XMLFault) -> XMLElement? {
    // Before the tag is read: a tag may be long.
    guard open.count < limits.depth else { throw cursor.fault(.tooDeep, "more than \(limits.depth) elements inside one another") }
    elementCount += 1
    guard elementCount <= limits.elements else { throw cursor.fault(.tooManyElements, "more than \(limits.elements) elements") }
    let outer = open.last?.scope ?? outerScope
    let tag = try XMLTag.read(from: &cursor, limits: limits)
    declarationCount += tag.declarations.count
    guard declarationCount <= limits.namespaceDeclarations, outer.count + tag.declarations.count <= limits.namespacesInScope else {
      throw cursor.fault(
        .tooManyNamespaces, "more than \(limits.namespaceDeclarations) namespace declarations, or \(limits.namespacesInScope) in scope")
    }
    let scope = tag.declarations.isEmpty ? outer : NamespaceScope(declarations: tag.declarations, parent: outer)
    let name = try resolve(tag.name, in: scope, isAttribute: false)
    let attributes = try resolveAttributes(of: tag, in: scope)
    let element = OpenElement(tag: tag, scope: scope, name: name, attributes: attributes)
    if tag.isEmpty { return close(element) }
    open.append(element)
    return nil
  }

  /// Reads an end tag. Returns the element if it is the root.
  private mutating func endTag() throws(XMLFault) -> XMLElement? {
    guard let last = open.last else { throw cursor.fault(.syntax, "an end tag without a start tag") }
    guard cursor.takeEndTag(of: last.tag.name.bytes) else {
      throw cursor.fault(.syntax, "an end tag that is not the one of <\(last.tag.name.local)>")
    }
    open.removeLast()
    return close(last)
  }

  /// Gives a finished element to the one around it; returns it where there is none.
  private mutating func close(_ element: OpenElement) -> XMLElement? {
    let finished = XMLElement(
      name: element.name, prefix: element.tag.name.prefix, attributes: element.attributes, children: element.children, scope: element.scope,
      limits: limits)
    guard !open.isEmpty else { return finished }
    append(.element(finished))
    return nil
  }

  // Namespaces in XML 1.0 6.1, 6.2: an attribute without prefix has no namespace.
  private func resolve(_ name: XMLQualifiedName, in scope: NamespaceScope, isAttribute: Bool) throws(XMLFault) -> XMLName {
    if isAttribute && name.prefix.utf8.isEmpty { return XMLName("", name.local) }
    guard let namespace = scope.namespace(of: name.prefix) else { throw cursor.fault(.namespace, "nobody declared the prefix \(name.prefix)") }
    return XMLName(namespace, name.local)
  }

  private func resolveAttributes(of tag: XMLTag, in scope: NamespaceScope) throws(XMLFault) -> [XMLAttribute] {
    var attributes: [XMLAttribute] = []
    attributes.reserveCapacity(tag.attributes.count)
    for attribute in tag.attributes {
      let name = try resolve(attribute.name, in: scope, isAttribute: true)
      // Namespaces in XML 1.0 6.3; the limit of attributes bounds the square.
      guard !attributes.contains(where: { $0.name == name }) else {
        throw cursor.fault(.duplicateAttribute, "two attributes \(name.local) in <\(tag.name.local)>")
      }
      // xml:id 1.0 normalises its values more than other attributes; an NCName looks the same to everybody.
      if name == XMLName(Namespaces.xml, "id"), !XMLCharacters.isNCName(attribute.value.utf8) {
        throw cursor.fault(.name, "an xml:id that is no name")
      }
      attributes.append(XMLAttribute(name: name, prefix: attribute.name.prefix, value: attribute.value))
    }
    return attributes
  }
}
