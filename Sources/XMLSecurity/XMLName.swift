/// The name of an element or attribute: equal where namespace and local name are, byte by byte.
///
/// Swift's own equality of strings is canonical equivalence, which two parties of a signature need not share (docs/architecture.md, law 4).
package struct XMLName: Hashable, Sendable, CustomStringConvertible {
  /// The namespace's name; empty where there is none.
  package let namespace: String
  package let local: String

  package init(_ namespace: String, _ local: String) {
    self.namespace = namespace
    self.local = local
  }

  package static func == (left: XMLName, right: XMLName) -> Bool {
    sameBytes(left.local, right.local) && sameBytes(left.namespace, right.namespace)
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(local.utf8.count)
    for byte in local.utf8 { hasher.combine(byte) }
    for byte in namespace.utf8 { hasher.combine(byte) }
  }

  package var description: String { namespace.utf8.isEmpty ? local : "{\(namespace)}\(local)" }
}

/// Whether two texts are the same bytes.
package func sameBytes(_ left: String, _ right: String) -> Bool { left.utf8.elementsEqual(right.utf8) }

/// Whether one text comes before the other in the order of its bytes, which for UTF-8 is that of the code points (C14N 2.2).
func bytesPrecede(_ left: String, _ right: String) -> Bool { left.utf8.lexicographicallyPrecedes(right.utf8) }

/// The namespaces that have a meaning of their own here.
enum Namespaces {
  static let xml = "http://www.w3.org/XML/1998/namespace"
  static let xmlns = "http://www.w3.org/2000/xmlns/"
  static let signature = "http://www.w3.org/2000/09/xmldsig#"
  static let exclusiveC14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
  static let encryption = "http://www.w3.org/2001/04/xmlenc#"
  static let encryption11 = "http://www.w3.org/2009/xmlenc11#"
  static let assertion = "urn:oasis:names:tc:SAML:2.0:assertion"
  static let utility = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
}
