import Bytes

/// Writes XML that is its own exclusive C14N, whichever of the written elements is taken as apex. The only writer there is.
///
/// Element and attribute names are literals of the program, values are whatever they are: nothing foreign can become markup. A namespace is declared
/// by the first element that uses it and is not inside of another one that declared it; elements have two tags, never one. It may be copied; a
/// copy goes its own way.
package struct CanonicalWriter: Sendable {
  private var bytes: [UInt8] = []
  private var open: [OpenElement] = []
  private var rendered: [Namespace] = []

  /// A prefix and what it means. The empty prefix is the default namespace; the prefix `xml` needs no declaration and gets none.
  package struct Namespace: Sendable {
    package let prefix: StaticString
    package let uri: StaticString

    package init(prefix: StaticString, uri: StaticString) {
      self.prefix = prefix
      self.uri = uri
    }

    /// For `xml:lang`.
    package static let xml = Namespace(prefix: "xml", uri: "http://www.w3.org/XML/1998/namespace")
  }

  /// An attribute with a prefix: namespace, local name, value.
  package typealias PrefixedAttribute = (Namespace, StaticString, String)

  private struct OpenElement {
    let namespace: Namespace
    let local: StaticString
    let renderedBefore: Int
  }

  /// `capacity` is how many bytes are expected.
  package init(capacity: Int = 8192) { bytes.reserveCapacity(capacity) }

  /// How many bytes have been written: where the next element begins, or where a signature is to be put.
  package var position: Int { bytes.count }

  /// Begins an element without attributes.
  package mutating func open(_ namespace: Namespace, _ local: StaticString) {
    begin(namespace, local)
    bytes.append(UInt8(ascii: ">"))
  }

  /// Begins an element with attributes that have no prefix, in any order. Throws `.character` for a value that XML cannot carry; then the element is
  /// not begun.
  package mutating func open(_ namespace: Namespace, _ local: StaticString, _ attributes: [(StaticString, String)]) throws(XMLFault) {
    for attribute in attributes { try check(attribute.1) }
    begin(namespace, local)
    append(attributes)
    bytes.append(UInt8(ascii: ">"))
  }

  /// Begins an element with attributes without and with prefix, each in any order. Throws as the other one does.
  ///
  /// `declaring` are namespaces whose prefixes stand in values of this element or inside of it (QNames, as in xsi:type). Exclusive C14N knows nothing of
  /// such a use (exc-c14n 1.3): a signature over the element must name these prefixes as inclusive, and then what is written is canonical.
  package mutating func open(
    _ namespace: Namespace, _ local: StaticString, _ attributes: [(StaticString, String)], prefixed: [PrefixedAttribute],
    declaring: [Namespace] = []
  ) throws(XMLFault) {
    for attribute in attributes { try check(attribute.1) }
    for attribute in prefixed { try check(attribute.2) }
    begin(namespace, local, alsoUsing: prefixed.map(\.0) + declaring)
    append(attributes)
    // C14N 1.0 2.3: by the namespace's name and then the local name; those without namespace come first.
    let sorted = prefixed.sorted { $0.0.uri.isSame($1.0.uri) ? $0.1.precedes($1.1) : $0.0.uri.precedes($1.0.uri) }
    for (namespace, local, value) in sorted {
      bytes.append(UInt8(ascii: " "))
      append(namespace.prefix, local)
      append(value)
    }
    bytes.append(UInt8(ascii: ">"))
  }

  /// Writes character data. Throws `.character` for what XML 1.0 cannot carry (2.2: NUL and other controls, U+FFFE, U+FFFF), and writes nothing then.
  package mutating func text(_ text: String) throws(XMLFault) {
    try check(text)
    CanonicalText.append(text: text, to: &bytes)
  }

  /// Writes base64 in one line.
  package mutating func base64(_ source: [UInt8]) { CanonicalText.append(base64: source, to: &bytes) }

  /// Writes an xs:dateTime in UTC with milliseconds: `2026-11-21T07:04:08.123Z` (SAML Core 1.3.3).
  package mutating func dateTime(_ instant: Instant) { bytes.append(contentsOf: instant.description.utf8) }

  /// Ends the element that was begun last. Without one it does nothing.
  package mutating func close() {
    guard let last = open.popLast() else { return }
    CanonicalText.append("</", to: &bytes)
    append(last.namespace.prefix, last.local)
    bytes.append(UInt8(ascii: ">"))
    rendered.removeLast(rendered.count - last.renderedBefore)
  }

  /// Writes an element that another writer finished, byte for byte.
  ///
  /// The result is canonical as long as no element that is open here declared a prefix that the embedded one declares: let a Response use `saml` on its
  /// Issuer only.
  package mutating func embed(_ canonicalElement: [UInt8]) { bytes.append(contentsOf: canonicalElement) }

  /// Ends whatever is still open, and returns the bytes.
  package consuming func finish() -> [UInt8] {
    while !open.isEmpty { close() }
    return bytes
  }

  private func check(_ value: String) throws(XMLFault) {
    if let place = XMLCharacters.firstForbidden(in: value.utf8) {
      throw XMLFault(.character, "byte \(place) of a value to be written begins a character that XML does not have")
    }
  }

  /// The start tag up to its attributes.
  private mutating func begin(_ namespace: Namespace, _ local: StaticString, alsoUsing others: [Namespace] = []) {
    open.append(OpenElement(namespace: namespace, local: local, renderedBefore: rendered.count))
    bytes.append(UInt8(ascii: "<"))
    append(namespace.prefix, local)
    if others.isEmpty {
      if needsDeclaration(namespace) { declare(namespace) }
      return
    }
    var needed: [Namespace] = []
    for used in [namespace] + others where needsDeclaration(used) {
      if !needed.contains(where: { $0.prefix.isSame(used.prefix) }) { needed.append(used) }
    }
    for used in needed.sorted(by: { $0.prefix.precedes($1.prefix) }) { declare(used) }
  }

  private func needsDeclaration(_ namespace: Namespace) -> Bool {
    guard let last = rendered.last(where: { $0.prefix.isSame(namespace.prefix) }) else {
      return namespace.uri.utf8CodeUnitCount > 0 && !namespace.prefix.isSame(Namespace.xml.prefix)
    }
    return !last.uri.isSame(namespace.uri)
  }

  private mutating func declare(_ namespace: Namespace) {
    CanonicalText.append(" xmlns", to: &bytes)
    if namespace.prefix.utf8CodeUnitCount > 0 {
      bytes.append(UInt8(ascii: ":"))
      CanonicalText.append(namespace.prefix, to: &bytes)
    }
    CanonicalText.append("=\"", to: &bytes)
    // Literals of the program without anything to escape.
    CanonicalText.append(namespace.uri, to: &bytes)
    bytes.append(UInt8(ascii: "\""))
    rendered.append(namespace)
  }

  private mutating func append(_ attributes: [(StaticString, String)]) {
    var isSorted = true
    for place in attributes.indices.dropFirst() where attributes[place].0.precedes(attributes[place - 1].0) { isSorted = false }
    for (local, value) in isSorted ? attributes : attributes.sorted(by: { $0.0.precedes($1.0) }) {
      bytes.append(UInt8(ascii: " "))
      CanonicalText.append(local, to: &bytes)
      append(value)
    }
  }

  private mutating func append(_ prefix: StaticString, _ local: StaticString) {
    if prefix.utf8CodeUnitCount > 0 {
      CanonicalText.append(prefix, to: &bytes)
      bytes.append(UInt8(ascii: ":"))
    }
    CanonicalText.append(local, to: &bytes)
  }

  private mutating func append(_ value: String) {
    CanonicalText.append("=\"", to: &bytes)
    CanonicalText.append(attribute: value, to: &bytes)
    bytes.append(UInt8(ascii: "\""))
  }
}

extension StaticString {
  fileprivate func isSame(_ other: StaticString) -> Bool {
    guard utf8CodeUnitCount == other.utf8CodeUnitCount else { return false }
    return withUTF8Buffer { mine in other.withUTF8Buffer { mine.baseAddress == $0.baseAddress || mine.elementsEqual($0) } }
  }

  fileprivate func precedes(_ other: StaticString) -> Bool {
    withUTF8Buffer { mine in other.withUTF8Buffer { mine.lexicographicallyPrecedes($0) } }
  }
}
