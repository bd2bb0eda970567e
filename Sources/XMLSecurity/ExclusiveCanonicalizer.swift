/// Exclusive C14N 1.0 without comments (http://www.w3.org/TR/xml-exc-c14n/), of one element and what is in it.
///
/// Total: every tree that the reader made has a canonical form, or one that is refused for its length. Iterative.
struct ExclusiveCanonicalizer {
  private let inclusivePrefixes: [String]
  private let limit: Int
  private var output: [UInt8] = []
  /// The declarations that the open elements' start tags carry, from the apex on. The last one of a prefix counts.
  private var rendered: [NamespaceScope.Declaration] = []

  init(inclusivePrefixes: [String], limit: Int) {
    // The token for the default namespace (exc-c14n 3).
    self.inclusivePrefixes = inclusivePrefixes.map { sameBytes($0, "#default") ? "" : $0 }
    self.limit = limit
  }

  private struct Level {
    let element: XMLElement
    let renderedBefore: Int
    var next = 0
  }

  /// The canonical form of `apex`, without the element `omitted` (the enveloped-signature transform, XML Signature 6.6.4).
  mutating func bytes(of apex: XMLElement, omitting omitted: XMLElement?) throws(XMLFault) -> [UInt8] {
    output.removeAll(keepingCapacity: true)
    rendered.removeAll(keepingCapacity: true)
    var levels = [Level(element: apex, renderedBefore: 0)]
    startTag(apex)
    while let top = levels.indices.last {
      guard output.count <= limit else { throw XMLFault(.tooLongCanonically, "a canonical form of more than \(limit) bytes") }
      let level = levels[top]
      guard level.next < level.element.children.count else {
        endTag(level.element)
        rendered.removeLast(rendered.count - level.renderedBefore)
        levels.removeLast()
        continue
      }
      levels[top].next += 1
      switch level.element.children[level.next] {
      case .text(let text): CanonicalText.append(text: text, to: &output)
      case .comment: break
      case .element(let child):
        if let omitted, child.isIdentical(to: omitted) { break }
        levels.append(Level(element: child, renderedBefore: rendered.count))
        startTag(child)
      }
    }
    guard output.count <= limit else { throw XMLFault(.tooLongCanonically, "a canonical form of more than \(limit) bytes") }
    return output
  }

  private func renderedNamespace(of prefix: String) -> String? { rendered.last { sameBytes($0.prefix, prefix) }?.namespace }

  /// exc-c14n 3: a declaration is written where the element or one of its attributes visibly uses the prefix and no open element of the output
  /// declares the same.
  private mutating func declarations(of element: XMLElement) -> [NamespaceScope.Declaration] {
    var result: [NamespaceScope.Declaration] = []
    func use(_ prefix: String, _ namespace: String) {
      guard !sameBytes(prefix, "xml"), !result.contains(where: { sameBytes($0.prefix, prefix) }) else { return }
      guard !sameBytes(renderedNamespace(of: prefix) ?? "", namespace) else { return }
      result.append(NamespaceScope.Declaration(prefix: prefix, namespace: namespace))
    }
    use(element.prefix, element.name.namespace)
    for attribute in element.attributes where !attribute.prefix.utf8.isEmpty { use(attribute.prefix, attribute.name.namespace) }
    for prefix in inclusivePrefixes {
      if let namespace = element.scope.namespace(of: prefix) { use(prefix, namespace) }
    }
    if result.count > 1 { result.sort { bytesPrecede($0.prefix, $1.prefix) } }
    return result
  }

  private mutating func startTag(_ element: XMLElement) {
    output.append(UInt8(ascii: "<"))
    append(qualified: element)
    for declaration in declarations(of: element) {
      CanonicalText.append(" xmlns", to: &output)
      if !declaration.prefix.utf8.isEmpty {
        output.append(UInt8(ascii: ":"))
        output.append(contentsOf: declaration.prefix.utf8)
      }
      append(value: declaration.namespace)
      rendered.append(declaration)
    }
    for attribute in XMLAttribute.sorted(element.attributes) {
      output.append(UInt8(ascii: " "))
      if !attribute.prefix.utf8.isEmpty {
        output.append(contentsOf: attribute.prefix.utf8)
        output.append(UInt8(ascii: ":"))
      }
      output.append(contentsOf: attribute.name.local.utf8)
      append(value: attribute.value)
    }
    output.append(UInt8(ascii: ">"))
  }

  private mutating func endTag(_ element: XMLElement) {
    CanonicalText.append("</", to: &output)
    append(qualified: element)
    output.append(UInt8(ascii: ">"))
  }

  private mutating func append(qualified element: XMLElement) {
    if !element.prefix.utf8.isEmpty {
      output.append(contentsOf: element.prefix.utf8)
      output.append(UInt8(ascii: ":"))
    }
    output.append(contentsOf: element.name.local.utf8)
  }

  private mutating func append(value: String) {
    CanonicalText.append("=\"", to: &output)
    CanonicalText.append(attribute: value, to: &output)
    output.append(UInt8(ascii: "\""))
  }
}

extension XMLAttribute {
  /// In the order of namespace and then local name, byte by byte (C14N 1.0 2.3).
  fileprivate static func sorted(_ attributes: [XMLAttribute]) -> [XMLAttribute] {
    func precedes(_ left: XMLAttribute, _ right: XMLAttribute) -> Bool {
      if sameBytes(left.name.namespace, right.name.namespace) { return bytesPrecede(left.name.local, right.name.local) }
      return bytesPrecede(left.name.namespace, right.name.namespace)
    }
    guard attributes.count > 1, zip(attributes, attributes.dropFirst()).contains(where: { precedes($1, $0) }) else { return attributes }
    return attributes.sorted(by: precedes)
  }
}
