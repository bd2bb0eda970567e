import Bytes
import XMLSecurity

/// SOAP 1.1 as the SAML binding uses it (Bindings 3.2): one message in one body, no headers.
package enum SOAPEnvelope {
  private static let namespace = "http://schemas.xmlsoap.org/soap/envelope/"

  /// - Parameter message: a finished element, its namespaces declared.
  package static func wrap(_ message: [UInt8]) -> [UInt8] {
    Array("<soap:Envelope xmlns:soap=\"\(namespace)\"><soap:Body>".utf8) + message + Array("</soap:Body></soap:Envelope>".utf8)
  }

  /// The one element in the body. Headers are ignored unless they must be understood. Throws `MessageFault`.
  package static func body(_ envelope: [UInt8]) throws(MessageFault) -> XMLElement {
    let root: XMLElement
    do { root = try XMLElement.parse(envelope, limits: .message) } catch { throw MessageFault(.xml, error.detail) }
    guard root.name == XMLName(namespace, "Envelope") else { throw MessageFault(.structure, "this is no SOAP 1.1 envelope") }
    if let header = try root.oneOrNone(XMLName(namespace, "Header")) {
      guard !header.elements.contains(where: { $0.attribute(XMLName(namespace, "mustUnderstand")) == "1" }) else {
        throw MessageFault(.structure, "a SOAP header must be understood, and none is")
      }
    }
    let body = try root.one(XMLName(namespace, "Body"))
    guard body.elements.count == 1, let message = body.elements.first else { throw MessageFault(.structure, "the SOAP body must hold one message") }
    return message
  }
}
