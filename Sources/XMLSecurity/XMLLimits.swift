/// How much of a document is read before it is refused.
package struct XMLLimits: Sendable, Equatable {
  /// Bytes of the whole document.
  package var bytes: Int
  /// Elements inside one another; the root is the first.
  package var depth: Int
  /// Elements in the document.
  package var elements: Int
  /// Attributes of one element, without namespace declarations.
  package var attributesPerElement: Int
  /// Bytes of a name, with its prefix.
  package var nameBytes: Int
  /// Namespace declarations in the document.
  package var namespaceDeclarations: Int
  /// Namespace declarations in scope of one element. Bounds what a name costs to look up, and exclusive C14N with it.
  package var namespacesInScope: Int
  /// Bytes of a namespace's name.
  package var namespaceBytes: Int

  package init(
    bytes: Int, depth: Int = 32, elements: Int, attributesPerElement: Int = 32, nameBytes: Int = 256, namespaceDeclarations: Int,
    namespacesInScope: Int = 64, namespaceBytes: Int = 1024
  ) {
    self.bytes = bytes
    // Trees are released by recursion: a depth of a few thousand would end the process, whoever asked for it.
    self.depth = min(depth, 200)
    self.elements = elements
    self.attributesPerElement = attributesPerElement
    self.nameBytes = nameBytes
    self.namespaceDeclarations = namespaceDeclarations
    self.namespacesInScope = namespacesInScope
    self.namespaceBytes = namespaceBytes
  }

  /// A protocol message: 256 KiB, 5,000 elements.
  package static let message = XMLLimits(bytes: 256 * 1024, elements: 5_000, namespaceDeclarations: 1_000)

  /// The metadata of one entity: 4 MiB, 50,000 elements.
  package static let metadata = XMLLimits(bytes: 4 * 1024 * 1024, elements: 50_000, namespaceDeclarations: 20_000)

  /// The limits for the canonical form of a document that kept these: characters are spelt longer, and a namespace is declared wherever it is first
  /// used instead of once at the root.
  var forCanonicalForm: XMLLimits {
    var result = self
    result.bytes = canonicalBytes
    result.namespaceDeclarations = .max
    result.namespacesInScope = namespacesInScope + attributesPerElement
    return result
  }

  /// The longest canonical form that is made.
  var canonicalBytes: Int {
    let (product, overflow) = bytes.multipliedReportingOverflow(by: 4)
    return overflow ? .max : product
  }
}
