import Foundation
import NIOCore

/// A request for a token by WS-Trust, user name and password in clear, as MSAL sends it: a sign-in, too.
struct TrustRequest: Sendable {
  /// Absolute: `https://localhost:8443/adfs/services/trust/2005/usernamemixed`.
  let endpoint: String
  let path: String
  private let action: String
  private let beforeTimes: String
  private let afterPassword: String

  /// Nil where the path names neither version. `audience`: for which relying party.
  init?(path: String, host: String, port: Int, audience: String) {
    let names: (trust: String, keyType: String)
    if path.contains("/2005/") {
      names = ("http://schemas.xmlsoap.org/ws/2005/02/trust", "http://schemas.xmlsoap.org/ws/2005/05/identity/NoProofKey")
    } else if path.contains("/13/") {
      names = ("http://docs.oasis-open.org/ws-sx/ws-trust/200512", "http://docs.oasis-open.org/ws-sx/ws-trust/200512/Bearer")
    } else {
      return nil
    }
    self.path = path
    endpoint = "https://\(host):\(port)\(path)"
    action = names.trust + "/RST/Issue"
    let security = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity"
    beforeTimes = """
      <s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing" \
      xmlns:u="\(security)-utility-1.0.xsd"><s:Header><a:Action s:mustUnderstand="1">\(action)</a:Action>\
      <a:MessageID>urn:uuid:\(UUID().uuidString.lowercased())</a:MessageID>\
      <a:ReplyTo><a:Address>http://www.w3.org/2005/08/addressing/anonymous</a:Address></a:ReplyTo>\
      <a:To s:mustUnderstand="1">\(endpoint)</a:To>\
      <o:Security s:mustUnderstand="1" xmlns:o="\(security)-secext-1.0.xsd"><u:Timestamp u:Id="_0">
      """
    afterPassword = """
      </o:Password></o:UsernameToken></o:Security></s:Header><s:Body><t:RequestSecurityToken xmlns:t="\(names.trust)">\
      <wsp:AppliesTo xmlns:wsp="http://schemas.xmlsoap.org/ws/2004/09/policy"><a:EndpointReference><a:Address>\(TrustRequest.escaped(audience))\
      </a:Address></a:EndpointReference></wsp:AppliesTo><t:KeyType>\(names.keyType)</t:KeyType><t:RequestType>\(names.trust)/Issue</t:RequestType>\
      </t:RequestSecurityToken></s:Body></s:Envelope>
      """
  }

  /// The request's first lines, up to the length of the body.
  func head(host: String, port: Int) -> [UInt8] {
    Array(
      """
      POST \(path) HTTP/1.1\r
      Host: \(host):\(port)\r
      Content-Type: application/soap+xml; charset=utf-8\r
      SOAPAction: \(action)\r
      Content-Length:\u{20}
      """.utf8)
  }

  /// - Parameter seconds: since 1970.
  func write(userName: String, password: String, seconds: Int, to body: inout ByteBuffer) {
    body.writeString(beforeTimes)
    body.writeString("<u:Created>\(TrustRequest.text(seconds))</u:Created><u:Expires>\(TrustRequest.text(seconds + 600))</u:Expires></u:Timestamp>")
    body.writeString("<o:UsernameToken u:Id=\"user\"><o:Username>\(TrustRequest.escaped(userName))</o:Username>")
    body.writeString("<o:Password>\(TrustRequest.escaped(password))")
    body.writeString(afterPassword)
  }

  /// `2026-01-31T23:59:59Z`, by the kernel of the C library: a formatter would cost more than the rest.
  private static func text(_ seconds: Int) -> String {
    var time = time_t(seconds)
    var parts = tm()
    gmtime_r(&time, &parts)
    func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
    return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
  }

  private static func escaped(_ text: String) -> String {
    guard text.utf8.contains(where: { $0 == 0x26 || $0 == 0x3c || $0 == 0x3e }) else { return text }
    return text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
  }
}

extension Answer {
  /// What an answer of WS-Trust says. It has no reference: only front-ends are told any.
  static func ofTrust(_ status: Int, _ body: UnsafeRawBufferPointer) -> Answer? {
    if status == 200, Bytes.end(of: ":RequestedSecurityToken", in: body) != nil || Bytes.end(of: "<RequestedSecurityToken", in: body) != nil {
      return .accepted(reference: nil)
    }
    if status == 500, Bytes.end(of: "FailedAuthentication", in: body) != nil { return .refused(code: "invalid_credentials", reference: nil) }
    return nil
  }
}
