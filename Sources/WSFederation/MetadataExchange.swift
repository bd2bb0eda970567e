import SAML
import XMLSecurity

/// What tells a rich client where to ask for tokens and how: a WSDL 1.1 with WS-SecurityPolicy, of the endpoints that are on.
///
/// The order, the names and the children of each element are those that MSAL and ADAL look for; they look at nothing else.
package struct MetadataExchange: Sendable {
  /// Each with its absolute URL.
  package var endpoints: [(TrustEndpoint, String)]

  package init(endpoints: [(TrustEndpoint, String)]) { self.endpoints = endpoints }

  /// The document. Throws `MessageFault`.
  package func written() throws(MessageFault) -> [UInt8] {
    do {
      var writer = CanonicalWriter(capacity: 8192)
      try writer.open(
        .wsdl, "definitions",
        [
          ("name", "SecurityTokenService"), ("targetNamespace", "http://schemas.microsoft.com/ws/2008/06/identity/securitytokenservice"),
        ], prefixed: [], declaring: [.tns])
      for (endpoint, _) in endpoints { try MetadataExchange.policy(endpoint, to: &writer) }
      for version in TrustVersion.allCases where endpoints.contains(where: { $0.0.version == version }) {
        try MetadataExchange.operation(version, to: &writer)
      }
      for (endpoint, _) in endpoints { try MetadataExchange.binding(endpoint, to: &writer) }
      try writer.open(.wsdl, "service", [("name", "SecurityTokenService")])
      for (endpoint, address) in endpoints {
        try writer.open(.wsdl, "port", [("binding", "tns:" + endpoint.bindingName), ("name", endpoint.bindingName)])
        try writer.open(.soap12, "address", [("location", address)])
        writer.close()
        try writer.endpointReference(address)
        writer.close()
      }
      return writer.finish()
    } catch { throw MessageFault(error) }
  }

  /// What the client must bring. One policy describes one kind of proof: MSAL.NET fails where one describes two.
  private static func policy(_ endpoint: TrustEndpoint, to writer: inout CanonicalWriter) throws(XMLFault) {
    // MSAL looks for the transport of a policy with Negotiate in the older namespace only, whichever version of WS-Trust it leads to.
    let sp: CanonicalWriter.Namespace = endpoint.version == .feb2005 || endpoint.proof == .windows ? .securityPolicy2005 : .securityPolicy12
    try writer.open(.wsp, "Policy", [], prefixed: [(.wsu, "Id", endpoint.bindingName + "_policy")])
    writer.open(.wsp, "ExactlyOne")
    writer.open(.wsp, "All")
    if endpoint.proof == .windows {
      writer.open(.http, "NegotiateAuthentication")
      writer.close()
    }
    try MetadataExchange.transport(sp, to: &writer)
    switch endpoint.proof {
    case .windows: break
    case .userName:
      // 2005/07 has no SignedEncryptedSupportingTokens.
      writer.open(sp, endpoint.version == .feb2005 ? "SignedSupportingTokens" : "SignedEncryptedSupportingTokens")
      try MetadataExchange.token(sp, "UsernameToken", "WssUsernameToken10", to: &writer)
      writer.close()
    case .kerberos:
      writer.open(sp, "EndorsingSupportingTokens")
      try MetadataExchange.token(sp, "KerberosToken", "WssGssKerberosV5ApReqToken11", to: &writer)
      writer.close()
    }
    for _ in 0..<3 { writer.close() }
  }

  /// TLS, and a Timestamp (WS-SecurityPolicy 1.2, 7.3).
  private static func transport(_ sp: CanonicalWriter.Namespace, to writer: inout CanonicalWriter) throws(XMLFault) {
    writer.open(sp, "TransportBinding")
    writer.open(.wsp, "Policy")
    writer.open(sp, "TransportToken")
    writer.open(.wsp, "Policy")
    try writer.open(sp, "HttpsToken", [("RequireClientCertificate", "false")])
    for _ in 0..<3 { writer.close() }
    writer.open(sp, "AlgorithmSuite")
    writer.open(.wsp, "Policy")
    writer.open(sp, "Basic256")
    for _ in 0..<3 { writer.close() }
    writer.open(sp, "Layout")
    writer.open(.wsp, "Policy")
    writer.open(sp, "Strict")
    for _ in 0..<3 { writer.close() }
    writer.open(sp, "IncludeTimestamp")
    for _ in 0..<3 { writer.close() }
  }

  private static func token(
    _ sp: CanonicalWriter.Namespace, _ kind: StaticString, _ form: StaticString, to writer: inout CanonicalWriter
  ) throws(XMLFault) {
    writer.open(.wsp, "Policy")
    writer.open(sp, kind)
    writer.open(.wsp, "Policy")
    writer.open(sp, form)
    for _ in 0..<4 { writer.close() }
  }

  /// The messages and the port type of a version, which WSDL wants and no client reads.
  private static func operation(_ version: TrustVersion, to writer: inout CanonicalWriter) throws(XMLFault) {
    let name = version.portTypeName
    let answer = version == .feb2005 ? "t:RequestSecurityTokenResponse" : "t:RequestSecurityTokenResponseCollection"
    for (message, element) in [("_InputMessage", "t:RequestSecurityToken"), ("_OutputMessage", answer)] {
      try writer.open(.wsdl, "message", [("name", name + message)])
      try writer.open(
        .wsdl, "part", [("element", element), ("name", message == "_InputMessage" ? "request" : "result")], prefixed: [], declaring: [.trust(version)]
      )
      writer.close()
      writer.close()
    }
    try writer.open(.wsdl, "portType", [("name", name)])
    try writer.open(.wsdl, "operation", [("name", version.operationName)])
    try writer.open(.wsdl, "input", [("message", "tns:" + name + "_InputMessage")])
    writer.close()
    try writer.open(.wsdl, "output", [("message", "tns:" + name + "_OutputMessage")])
    for _ in 0..<3 { writer.close() }
  }

  private static func binding(_ endpoint: TrustEndpoint, to writer: inout CanonicalWriter) throws(XMLFault) {
    try writer.open(.wsdl, "binding", [("name", endpoint.bindingName), ("type", "tns:" + endpoint.version.portTypeName)])
    try writer.open(.wsp, "PolicyReference", [("URI", "#" + endpoint.bindingName + "_policy")])
    writer.close()
    try writer.open(.soap12, "binding", [("transport", "http://schemas.xmlsoap.org/soap/http")])
    writer.close()
    try writer.open(.wsdl, "operation", [("name", endpoint.version.operationName)])
    try writer.open(.soap12, "operation", [("soapAction", endpoint.version.requestAction), ("style", "document")])
    writer.close()
    for local: StaticString in ["input", "output"] {
      writer.open(.wsdl, local)
      try writer.open(.soap12, "body", [("use", "literal")])
      writer.close()
      writer.close()
    }
    writer.close()
    writer.close()
  }
}

extension TrustVersion {
  fileprivate var portTypeName: String { self == .feb2005 ? "IWSTrustFeb2005Async" : "IWSTrust13Async" }
  fileprivate var operationName: String { self == .feb2005 ? "TrustFeb2005IssueAsync" : "Trust13IssueAsync" }
}

extension TrustEndpoint {
  /// As AD FS names its bindings, made unique where AD FS counts.
  fileprivate var bindingName: String {
    switch proof {
    case .userName: "UserNameWSTrustBinding_" + version.portTypeName
    case .kerberos: "KerberosWSTrustBinding_" + version.portTypeName
    case .windows: "CustomBinding_" + version.portTypeName
    }
  }
}

extension CanonicalWriter.Namespace {
  fileprivate static let wsdl = CanonicalWriter.Namespace(prefix: "wsdl", uri: "http://schemas.xmlsoap.org/wsdl/")
  fileprivate static let soap12 = CanonicalWriter.Namespace(prefix: "soap12", uri: "http://schemas.xmlsoap.org/wsdl/soap12/")
  fileprivate static let tns = CanonicalWriter.Namespace(
    prefix: "tns", uri: "http://schemas.microsoft.com/ws/2008/06/identity/securitytokenservice")
  fileprivate static let http = CanonicalWriter.Namespace(prefix: "http", uri: "http://schemas.microsoft.com/ws/06/2004/policy/http")
  fileprivate static let securityPolicy2005 = CanonicalWriter.Namespace(
    prefix: "sp", uri: "http://schemas.xmlsoap.org/ws/2005/07/securitypolicy")
  fileprivate static let securityPolicy12 = CanonicalWriter.Namespace(
    prefix: "sp", uri: "http://docs.oasis-open.org/ws-sx/ws-securitypolicy/200702")
}
