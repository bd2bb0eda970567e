/// One attribute; namespace declarations are none.
package struct XMLAttribute: Sendable {
  package let name: XMLName
  /// As it was written; canonical form keeps it.
  package let prefix: String
  package let value: String

  /// As it was written: prefix, colon, local name.
  package var qualifiedName: String { prefix.utf8.isEmpty ? name.local : prefix + ":" + name.local }
}

/// What an element contains.
package enum XMLNode: Sendable {
  case element(XMLElement)
  /// Character data in one piece. Two of them side by side, or a comment between them, mean that the writer split a text.
  case text(String)
  case comment
}

/// An element of a document that was read strictly. It cannot be changed and costs nothing to copy.
///
/// Made by the reader only, so that every tree has kept limits: none is deeper than a stack can bear.
package struct XMLElement: Sendable {
  private let storage: Storage

  package var name: XMLName { storage.name }
  /// As it was written; empty where there was none.
  package var prefix: String { storage.prefix }
  package var attributes: [XMLAttribute] { storage.attributes }
  package var children: [XMLNode] { storage.children }

  /// The namespaces that a prefix inside of this element may mean.
  var scope: NamespaceScope { storage.scope }
  /// What the document was held to.
  var limits: XMLLimits { storage.limits }

  init(name: XMLName, prefix: String, attributes: [XMLAttribute], children: [XMLNode], scope: NamespaceScope, limits: XMLLimits) {
    storage = Storage(name: name, prefix: prefix, attributes: attributes, children: children, scope: scope, limits: limits)
  }

  private final class Storage: Sendable {
    let name: XMLName
    let prefix: String
    let attributes: [XMLAttribute]
    let children: [XMLNode]
    let scope: NamespaceScope
    let limits: XMLLimits

    init(name: XMLName, prefix: String, attributes: [XMLAttribute], children: [XMLNode], scope: NamespaceScope, limits: XMLLimits) {
      self.name = name
      self.prefix = prefix
      self.attributes = attributes
      self.children = children
      self.scope = scope
      self.limits = limits
    }
  }

  /// Reads a document and returns its root (XML 1.0, fifth edition; Namespaces in XML 1.0, third edition).
  ///
  /// UTF-8 only. No document type, no processing instruction, no entity but the five, names in ASCII, namespaces absolute. Throws the first thing that
  /// is wrong, with its place, after looking at no more than the limits allow.
  package static func parse(_ bytes: some Collection<UInt8>, limits: XMLLimits) throws(XMLFault) -> XMLElement {
    var reader = try XMLReader(bytes, limits: limits, scope: .empty)
    return try reader.document()
  }

  /// Whether two are the same piece of the same tree.
  func isIdentical(to other: XMLElement) -> Bool { storage === other.storage }

  /// What a prefix means in the values of this element (QNames), or nil where nobody declared it: exclusive C14N drops what only values use.
  package func namespace(ofPrefix prefix: String) -> String? { storage.scope.namespace(of: prefix) }

  /// The child elements in document order.
  package var elements: [XMLElement] {
    storage.children.compactMap { if case .element(let element) = $0 { element } else { nil } }
  }

  /// The value of the attribute without namespace, or nil.
  package func attribute(_ local: String) -> String? {
    storage.attributes.first { sameBytes($0.name.local, local) && $0.name.namespace.utf8.isEmpty }?.value
  }

  /// The value of the attribute, or nil.
  package func attribute(_ name: XMLName) -> String? { storage.attributes.first { $0.name == name }?.value }

  /// The child elements of that name in document order.
  package func children(_ name: XMLName) -> [XMLElement] { elements.filter { $0.name == name } }

  /// The one child element of that name. Throws `.missing` or `.repeated`.
  package func only(_ name: XMLName) throws(XMLFault) -> XMLElement {
    guard let found = try optional(name) else { throw XMLFault(.missing, "no <\(name.local)> in <\(self.name.local)>") }
    return found
  }

  /// The child element of that name, if there is one. Throws `.repeated`.
  package func optional(_ name: XMLName) throws(XMLFault) -> XMLElement? {
    let found = children(name)
    guard found.count < 2 else { throw XMLFault(.repeated, "\(found.count) <\(name.local)> in <\(self.name.local)>, where one may be") }
    return found.first
  }

  /// The element's character data, white space and all.
  ///
  /// Throws `.splitText` where a comment, an element or the edge of a CDATA section stands in it: readers that take only the first piece would read
  /// `admin<!-- -->@contoso.com` as somebody else (VU#475445).
  package func text() throws(XMLFault) -> String {
    switch (storage.children.count, storage.children.first) {
    case (0, _): return ""
    case (1, .text(let text)): return text
    default: throw XMLFault(.splitText, "the text of <\(name.local)> is not in one piece")
    }
  }

  /// Whether nothing but white space and comments is in it.
  var isBlank: Bool {
    storage.children.allSatisfy { child in
      switch child {
      case .element: false
      case .text(let text): text.utf8.allSatisfy(XMLCharacters.isSpace)
      case .comment: true
      }
    }
  }

  /// Exclusive C14N without comments, with this element as apex (http://www.w3.org/TR/xml-exc-c14n/).
  ///
  /// `inclusivePrefixes` is the PrefixList of InclusiveNamespaces; `#default` means the default namespace. Throws `.tooLongCanonically` where the result
  /// would be more than four times as long as its document was allowed to be.
  package func canonicalBytes(inclusivePrefixes: [String] = []) throws(XMLFault) -> [UInt8] {
    var canonicalizer = ExclusiveCanonicalizer(inclusivePrefixes: inclusivePrefixes, limit: limits.canonicalBytes)
    return try canonicalizer.bytes(of: self, omitting: nil)
  }
}
