import Bytes
import SAML
import XMLSecurity

/// Answers by SOAP 1.2, canonical as written.
package enum TrustAnswer {
  /// How long the Timestamp says that the answer is good.
  private static let life = Duration.seconds(300)

  /// The envelope around an answer.
  ///
  /// - Parameters:
  ///   - body: what `TokenResponse.written()` made.
  ///   - relatesTo: the request's MessageID.
  package static func response(
    _ body: [UInt8], version: TrustVersion, relatesTo: String?, now: Instant
  ) throws(MessageFault) -> [UInt8] {
    do {
      var writer = CanonicalWriter(capacity: body.count + 1536)
      writer.open(.s, "Envelope")
      writer.open(.s, "Header")
      try writer.addressing(action: version.responseAction, relatesTo: relatesTo)
      try writer.open(.o, "Security", [], prefixed: [(.s, "mustUnderstand", "1")])
      try writer.open(.wsu, "Timestamp", [], prefixed: [(.wsu, "Id", "_0")])
      try writer.element(.wsu, "Created", now.description)
      try writer.element(.wsu, "Expires", now.adding(life).description)
      writer.close()
      writer.close()
      writer.close()
      writer.open(.s, "Body")
      // Only `s` is declared around it.
      writer.embed(body)
      return writer.finish()
    } catch { throw MessageFault(error) }
  }

  /// The envelope of a fault (SOAP 1.2 Part 1, 5.4).
  ///
  /// - Parameter text: what the client is told; never the fault's `detail`.
  package static func fault(_ fault: TrustFault, text: String, version: TrustVersion) throws(MessageFault) -> [UInt8] {
    let shape = Shape(fault.code, version)
    do {
      var writer = CanonicalWriter(capacity: 1536)
      writer.open(.s, "Envelope")
      writer.open(.s, "Header")
      try writer.addressing(action: shape.action, relatesTo: fault.messageID)
      if fault.code == .versionMismatch {
        // Part 1, 5.4.7: what would be understood.
        writer.open(.s, "Upgrade")
        try writer.open(.s, "SupportedEnvelope", [("qname", "s:Envelope")])
        writer.close()
        writer.close()
      }
      writer.close()
      writer.open(.s, "Body")
      writer.open(.s, "Fault")
      writer.open(.s, "Code")
      try writer.element(.s, "Value", "s:" + shape.code)
      if let (namespace, local) = shape.subcode {
        writer.open(.s, "Subcode")
        try writer.open(.s, "Value", [], prefixed: [], declaring: [namespace])
        try writer.text("\(namespace.prefix):\(local)")
        writer.close()
        writer.close()
      }
      writer.close()
      writer.open(.s, "Reason")
      try writer.open(.s, "Text", [], prefixed: [(.xml, "lang", "en")])
      try writer.text(text)
      return writer.finish()
    } catch { throw MessageFault(error) }
  }

  /// How a code is told: whose fault, which one, under which action.
  private struct Shape {
    var code = "Sender"
    var subcode: (CanonicalWriter.Namespace, String)?
    var action = FederationVocabulary.addressing + "/soap/fault"

    init(_ fault: TrustFault.Code, _ version: TrustVersion) {
      let t = CanonicalWriter.Namespace.trust(version)
      switch fault {
      case .versionMismatch: code = "VersionMismatch"
      case .mustUnderstand: code = "MustUnderstand"
      case .invalidRequest: subcode = (t, "InvalidRequest")
      case .invalidScope: subcode = (t, "InvalidScope")
      case .failedAuthentication, .accessDenied: subcode = (t, "FailedAuthentication")
      case .requestFailed: subcode = (t, "RequestFailed")
      case .invalidSecurity: subcode = (.o, "InvalidSecurity")
      case .messageExpired: subcode = (.wsu, "MessageExpired")
      case .unsupportedSecurityToken: subcode = (.o, "UnsupportedSecurityToken")
      case .badTo: self.subcode = (.wsa, "DestinationUnreachable")
      case .actionNotSupported: self.subcode = (.wsa, "ActionNotSupported")
      case .busy: (code, subcode) = ("Receiver", (t, "RequestFailed"))
      }
      // WS-Addressing 1.0 SOAP Binding, 6: its own faults have an action of their own.
      if fault == .badTo || fault == .actionNotSupported { action = FederationVocabulary.addressing + "/fault" }
    }
  }
}

extension CanonicalWriter {
  fileprivate mutating func addressing(action: String, relatesTo: String?) throws(XMLFault) {
    try open(.wsa, "Action", [], prefixed: [(.s, "mustUnderstand", "1")])
    try text(action)
    close()
    if let relatesTo { try element(.wsa, "RelatesTo", relatesTo) }
  }
}
