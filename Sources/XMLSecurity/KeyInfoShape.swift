/// What a ds:KeyInfo may look like. Nothing in it is ever used: keys come from the partner's registration alone.
///
/// It is looked at nevertheless, since what asks for a fetch or nests without end was not written in good faith.
enum KeyInfoShape {
  private static let most = 10

  static func check(_ keyInfo: XMLElement) throws(SignatureFault) {
    _ = try Children(of: keyInfo, attributes: ["Id"])
    let elements = keyInfo.elements
    guard !elements.isEmpty, elements.count <= most else { throw SignatureFault(.structure, "a KeyInfo with \(elements.count) elements") }
    for element in elements {
      guard sameBytes(element.name.namespace, Namespaces.signature) else { throw foreign(element) }
      switch element.name.local {
      case "KeyName", "KeyValue": guard depth(of: element) <= 6 else { throw foreign(element) }
      case "X509Data": try checkX509Data(element)
      // RetrievalMethod (CVE-2023-36661), PGPData, SPKIData, MgmtData, and whatever else there is.
      default: throw foreign(element)
      }
    }
  }

  private static func checkX509Data(_ data: XMLElement) throws(SignatureFault) {
    _ = try Children(of: data, attributes: [])
    let elements = data.elements
    guard !elements.isEmpty, elements.count <= most else { throw SignatureFault(.structure, "an X509Data with \(elements.count) elements") }
    for element in elements {
      switch element.name {
      case XMLName(Namespaces.signature, "X509Certificate"), XMLName(Namespaces.signature, "X509SubjectName"),
        XMLName(Namespaces.signature, "X509SKI"), XMLName("http://www.w3.org/2009/xmldsig11#", "X509Digest"):
        guard element.elements.isEmpty else { throw foreign(element) }
      case XMLName(Namespaces.signature, "X509IssuerSerial"): guard depth(of: element) <= 2 else { throw foreign(element) }
      default: throw foreign(element)
      }
    }
  }

  private static func foreign(_ element: XMLElement) -> SignatureFault { SignatureFault(.structure, "<\(element.name.local)> in a KeyInfo") }

  /// How many elements are inside one another; the reader's limit bounds it.
  private static func depth(of element: XMLElement) -> Int {
    var level = [element]
    var depth = 0
    while !level.isEmpty {
      depth += 1
      level = level.flatMap(\.elements)
    }
    return depth
  }
}
