import Foundation

/// A request for a token by WS-Trust, as one of the clients of the field writes it: their texts differ in all that does not matter, and in some that does.
struct TrustQuestion: Sendable {
  enum Client: String, CaseIterable, Sendable {
    /// MSAL for .NET, and what was made of it.
    case msalNET
    /// MSAL for Python: white space everywhere, quotation marks of the other kind, no fractions of seconds.
    case msalPython
    /// ADAL: its MessageID is none, for want of a capital letter.
    case adal
    /// Whoever reads the standards themselves: another order, other prefixes, a wrong Id, a TokenType, a password that says what it is, other headers.
    case handmade
  }

  enum Version: String, CaseIterable, Sendable {
    case feb2005 = "2005"
    case v13 = "13"

    var namespace: String { self == .feb2005 ? "http://schemas.xmlsoap.org/ws/2005/02/trust" : "http://docs.oasis-open.org/ws-sx/ws-trust/200512" }
    var keyType: String { self == .feb2005 ? "http://schemas.xmlsoap.org/ws/2005/05/identity/NoProofKey" : namespace + "/Bearer" }
    var action: String { namespace + "/RST/Issue" }
    var answerAction: String { namespace + (self == .feb2005 ? "/RSTR/Issue" : "/RSTRC/IssueFinal") }
    /// The prefix that `DocumentOracle.values` knows it by.
    var prefix: String { self == .feb2005 ? "t2005" : "t13" }
    var path: String { "/adfs/services/trust/\(rawValue)/usernamemixed" }
  }

  var client: Client = .msalNET
  var version: Version = .feb2005
  /// Absolute.
  var endpoint: String
  var audience: String
  var userName: String
  var password: String
  var messageID = "urn:uuid:" + UUID().uuidString.lowercased()
  /// By how many seconds the client's clock is ahead.
  var ahead: Double = 0
  /// Seconds for which it says that it is good.
  var lifetime: Double = 600
  /// Elements of the request beside those of the clients: `<t:…/>`.
  var extra = ""

  static let soap = "http://www.w3.org/2003/05/soap-envelope"
  private static let addressing = "http://www.w3.org/2005/08/addressing"
  private static let security = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
  private static let utility = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
  private static let policy = "http://schemas.xmlsoap.org/ws/2004/09/policy"
  private static let anonymous = "http://www.w3.org/2005/08/addressing/anonymous"

  /// The envelope.
  var text: String {
    switch client {
    case .msalNET: msalNET
    case .msalPython: msalPython
    case .adal: adal
    case .handmade: handmade
    }
  }

  private var times: (created: String, expires: String) {
    let begin = Date(timeIntervalSinceNow: ahead)
    func text(_ date: Date, _ fraction: String) -> String { ISO8601DateFormatter().string(from: date).replacing("Z", with: fraction + "Z") }
    let fraction =
      switch client {
      // It prints these very digits.
      case .msalNET: ".068"
      case .msalPython: ""
      case .adal: ".123"
      case .handmade: ".1234567"
      }
    return (text(begin, fraction), text(begin.addingTimeInterval(lifetime), fraction))
  }

  private var msalNET: String {
    """
    <s:Envelope xmlns:wsa="\(Self.addressing)" xmlns:wsu="\(Self.utility)" xmlns:s="\(Self.soap)"><s:Header>\
    <wsa:Action s:mustUnderstand="1">\(version.action)</wsa:Action><wsa:MessageID>\(messageID)</wsa:MessageID>\
    <wsa:ReplyTo><wsa:Address>\(Self.anonymous)</wsa:Address></wsa:ReplyTo><wsa:To s:mustUnderstand="1">\(endpoint.markupEscaped)</wsa:To>\
    <wsse:Security s:mustUnderstand="1" xmlns:wsse="\(Self.security)"><wsu:Timestamp wsu:Id="MSATimeStamp"><wsu:Created>\(times.created)</wsu:Created>\
    <wsu:Expires>\(times.expires)</wsu:Expires></wsu:Timestamp><wsse:UsernameToken wsu:Id="UnPwSecTok\(version.rawValue)-\(UUID().uuidString.lowercased())">\
    <wsse:Username>\(userName.markupEscaped)</wsse:Username><wsse:Password>\(password.markupEscaped)</wsse:Password></wsse:UsernameToken>\
    </wsse:Security></s:Header><s:Body><wst:RequestSecurityToken xmlns:wst="\(version.namespace)"><wsp:AppliesTo xmlns:wsp="\(Self.policy)">\
    <wsa:EndpointReference><wsa:Address>\(audience.markupEscaped)</wsa:Address></wsa:EndpointReference></wsp:AppliesTo>\
    <wst:KeyType>\(version.keyType)</wst:KeyType><wst:RequestType>\(version.namespace)/Issue</wst:RequestType>\(extra)</wst:RequestSecurityToken>\
    </s:Body></s:Envelope>
    """
  }

  private var msalPython: String {
    """
    <s:Envelope xmlns:s='\(Self.soap)' xmlns:wsa='\(Self.addressing)' xmlns:wsu='\(Self.utility)'>
            <s:Header>
                <wsa:Action s:mustUnderstand='1'>\(version.action)</wsa:Action>
                <wsa:MessageID>\(messageID)</wsa:MessageID>
                <wsa:ReplyTo>
                <wsa:Address>\(Self.anonymous)</wsa:Address>
                </wsa:ReplyTo>
                <wsa:To s:mustUnderstand='1'>\(endpoint.markupEscaped)</wsa:To>

                <wsse:Security s:mustUnderstand='1'
                xmlns:wsse='\(Self.security)'>
                    <wsu:Timestamp wsu:Id='_0'>
                        <wsu:Created>\(times.created)</wsu:Created>
                        <wsu:Expires>\(times.expires)</wsu:Expires>
                    </wsu:Timestamp>
                    <wsse:UsernameToken wsu:Id='ADALUsernameToken'>
                        <wsse:Username>\(userName.markupEscaped)</wsse:Username>
                        <wsse:Password>\(password.markupEscaped)</wsse:Password>
                    </wsse:UsernameToken>
                </wsse:Security>

            </s:Header>
            <s:Body>
            <wst:RequestSecurityToken xmlns:wst='\(version.namespace)'>
            <wsp:AppliesTo xmlns:wsp='\(Self.policy)'>
                <wsa:EndpointReference>
                    <wsa:Address>\(audience.markupEscaped)</wsa:Address>
                </wsa:EndpointReference>
            </wsp:AppliesTo>
            <wst:KeyType>\(version.keyType)</wst:KeyType>
                <wst:RequestType>\(version.namespace)/Issue</wst:RequestType>\(extra)
            </wst:RequestSecurityToken>
            </s:Body>
            </s:Envelope>
    """
  }

  private var adal: String {
    """
    <s:Envelope xmlns:s='\(Self.soap)' xmlns:wsa='\(Self.addressing)' xmlns:wsu='\(Self.utility)'><s:Header>\
    <wsa:Action s:mustUnderstand='1'>\(version.action)</wsa:Action><wsa:messageID>\(messageID)</wsa:messageID>\
    <wsa:ReplyTo><wsa:Address>\(Self.anonymous)</wsa:Address></wsa:ReplyTo><wsa:To s:mustUnderstand='1'>\(endpoint.markupEscaped)</wsa:To>\
    <wsse:Security s:mustUnderstand='1' xmlns:wsse='\(Self.security)'><wsu:Timestamp wsu:Id='_0'><wsu:Created>\(times.created)</wsu:Created>\
    <wsu:Expires>\(times.expires)</wsu:Expires></wsu:Timestamp><wsse:UsernameToken wsu:Id='ADALUsernameToken'>\
    <wsse:Username>\(userName.markupEscaped)</wsse:Username><wsse:Password>\(password.markupEscaped)</wsse:Password></wsse:UsernameToken>\
    </wsse:Security></s:Header><s:Body><wst:RequestSecurityToken xmlns:wst='\(version.namespace)'><wsp:AppliesTo xmlns:wsp='\(Self.policy)'>\
    <wsa:EndpointReference><wsa:Address>\(audience.markupEscaped)</wsa:Address></wsa:EndpointReference></wsp:AppliesTo>\
    <wst:KeyType>\(version.keyType)</wst:KeyType><wst:RequestType>\(version.namespace)/Issue</wst:RequestType>\(extra)</wst:RequestSecurityToken>\
    </s:Body></s:Envelope>
    """
  }

  private var handmade: String {
    """
    <?xml version="1.0" encoding="utf-8"?>
    <Envelope xmlns="\(Self.soap)" xmlns:addressing="\(Self.addressing)"><Header>
    <trace xmlns="urn:somebody:else" level="3"><hop>one</hop></trace>
    <sec:Security xmlns:sec="\(Self.security)"><sec:UsernameToken><sec:Username>\(userName.markupEscaped)</sec:Username>\
    <sec:Password Type="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText"><![CDATA[\(password)]]></sec:Password>
    </sec:UsernameToken><util:Timestamp xmlns:util="\(Self.utility)" Id="without-a-prefix"><util:Created>\(times.created)</util:Created>\
    <util:Expires>\(times.expires)</util:Expires></util:Timestamp></sec:Security>
    <addressing:To>\(endpoint.markupEscaped)</addressing:To><addressing:Action>\(version.action)</addressing:Action>\
    <addressing:MessageID>\(messageID)</addressing:MessageID><addressing:From><addressing:Address>\(Self.anonymous)</addressing:Address></addressing:From>
    </Header><Body><t:RequestSecurityToken xmlns:t="\(version.namespace)" Context="ctx-&lt;1&gt;">
    <t:RequestType>\(version.namespace)/Issue</t:RequestType><t:TokenType>urn:oasis:names:tc:SAML:1.0:assertion</t:TokenType>
    <p:AppliesTo xmlns:p="\(Self.policy)"><addressing:EndpointReference><addressing:Address>\(audience.markupEscaped)</addressing:Address>\
    </addressing:EndpointReference></p:AppliesTo>\(extra)</t:RequestSecurityToken></Body></Envelope>
    """
  }

  /// Asks, and answers what came; `edit` changes the text before.
  func ask(_ edit: @Sendable (String) -> String = { $0 }, fields: [(name: String, value: String)] = []) async throws -> TrustReply {
    let changed = edit(text)
    let page = try await CookieBrowser().request(
      endpoint, method: "POST", body: Array(changed.utf8),
      fields: [("content-type", "application/soap+xml; charset=utf-8"), ("soapaction", version.action)] + fields)
    return TrustReply(page: page)
  }
}

/// What came of a question.
struct TrustReply: Sendable, CustomStringConvertible {
  var page: CookieBrowser.Page

  var status: Int { page.status }
  var body: String { page.body }
  var description: String { "\(status): \(body.prefix(4000))" }

  /// What XPaths find, by their names (`DocumentOracle.values` names the prefixes); several values stand in one text, separated by a line break.
  func values(_ paths: [String: String]) async throws -> [String: String] { try await TrustReply.values(body, paths) }

  static func values(_ document: String, _ paths: [String: String]) async throws -> [String: String] {
    let names = paths.keys.sorted()
    let found = try await DocumentOracle.values(document, names.map { paths[$0] ?? "" })
    return Dictionary(uniqueKeysWithValues: zip(names, found.map { $0.joined(separator: "\n") }))
  }

  /// A fault as clients tell it: HTTP 500, and the code without its prefix.
  func fault() async throws -> (code: String, text: String) {
    guard status == 500, page["content-type"]?.hasPrefix("application/soap+xml") == true else {
      throw DocumentOracle.Objection(description: "no fault of SOAP 1.2: \(page.fields) \(self)")
    }
    let fault = "/s:Envelope/s:Body/s:Fault"
    let found = try await DocumentOracle.values(
      body, ["\(fault)/s:Code/s:Value", "\(fault)/s:Code/s:Subcode/s:Value", "\(fault)/s:Reason/s:Text"])
    guard let code = found[1].first ?? found[0].first, found[2].count == 1 else { throw DocumentOracle.Objection(description: "no fault: \(self)") }
    return (String(code.split(separator: ":").last ?? ""), found[2][0])
  }
}
