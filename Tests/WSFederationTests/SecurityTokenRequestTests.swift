import Bytes
import SAML
import Testing
import XMLSecurity

@testable import WSFederation

@Suite struct `Requests for a token` {
  private static let wsse = FederationVocabulary.security

  @Test(arguments: TrustVersion.allCases) func `are read as MSAL for Python writes them`(_ version: TrustVersion) throws {
    let request = try Samples.Envelope(version).read()
    #expect(request.version == version)
    #expect(request.messageID == "urn:uuid:6f7a")
    #expect(request.to == "https://idp.example/adfs/services/trust/\(version.rawValue)/usernamemixed")
    #expect(request.userName == "alice@contoso.com")
    #expect(Samples.text(request.password) == "a&b <c>")
    #expect(request.created == Instant(milliseconds: 1_795_000_000_000))
    #expect(request.expires == Instant(milliseconds: 1_795_000_600_000))
    #expect(request.appliesTo == Samples.address)
    #expect(request.tokenType == nil && request.context == nil)
  }

  /// No white space, other prefixes, fractions of a second, `Id` with a prefix of its own.
  @Test(arguments: [
    (TrustVersion.feb2005, "UnPwSecTok2005-6f7a", ".068Z"), (.v13, "UnPwSecTok13-6f7a", "Z"), (.v13, "x", ".1234567Z"), (.v13, "x", ".5Z"),
  ])
  func `are read as MSAL for .NET writes them`(_ version: TrustVersion, _ id: String, _ fraction: String) throws {
    let text =
      "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope xmlns:wsa=\"http://www.w3.org/2005/08/addressing\" xmlns:wsu=\"\(FederationVocabulary.utility)\" xmlns:s=\"\(FederationVocabulary.soap)\"><s:Header><wsa:Action s:mustUnderstand=\"1\">\(version.requestAction)</wsa:Action><wsa:MessageID>urn:uuid:1</wsa:MessageID><wsa:ReplyTo><wsa:Address>\(FederationVocabulary.anonymous)</wsa:Address></wsa:ReplyTo><wsa:To s:mustUnderstand=\"1\">https://idp.example/</wsa:To><wsse:Security s:mustUnderstand=\"1\" xmlns:wsse=\"\(Self.wsse)\"><wsu:Timestamp wsu:Id=\"MSATimeStamp\"><wsu:Created>2026-11-18T11:06:40\(fraction)</wsu:Created><wsu:Expires>2026-11-18T11:16:40\(fraction)</wsu:Expires></wsu:Timestamp><wsse:UsernameToken wsu:Id=\"\(id)\"><wsse:Username>alice@contoso.com</wsse:Username><wsse:Password>p&quot;w</wsse:Password></wsse:UsernameToken></wsse:Security></s:Header><s:Body><wst:RequestSecurityToken xmlns:wst=\"\(version.namespace)\"><wsp:AppliesTo xmlns:wsp=\"http://schemas.xmlsoap.org/ws/2004/09/policy\"><wsa:EndpointReference><wsa:Address>urn:federation:MicrosoftOnline</wsa:Address></wsa:EndpointReference></wsp:AppliesTo><wst:KeyType>\(version.bearerKey)</wst:KeyType><wst:RequestType>\(version.issue)</wst:RequestType></wst:RequestSecurityToken></s:Body></s:Envelope>"
    let request = try SecurityTokenRequest(Array(text.utf8), endpoint: version == .v13 ? .usernameMixed13 : .usernameMixed2005)
    #expect(Samples.text(request.password) == "p\"w")
    let milliseconds: Int64 = [".068Z": 68, "Z": 0, ".1234567Z": 123, ".5Z": 500][fraction] ?? -1
    #expect(request.created == Instant(milliseconds: 1_795_000_000_000 + milliseconds))
  }

  /// ADAL for Python misspells `messageID`: a header that nobody knows, and that nobody must understand.
  @Test func `are read as ADAL writes them`() throws {
    var envelope = Samples.Envelope()
    envelope.messageID = "<wsa:messageID>urn:uuid:1</wsa:messageID>"
    envelope.timestamp =
      "<wsu:Timestamp wsu:Id='_0'><wsu:Created>2026-11-18T11:06:40.123Z</wsu:Created><wsu:Expires>2026-11-18T11:36:40.123Z</wsu:Expires></wsu:Timestamp>"
    let request = try envelope.read()
    #expect(request.messageID == nil)
    #expect(request.created == Samples.now && request.expires == Samples.now.adding(.seconds(1800)))
  }

  @Test func `of other clients are read with what they leave out or add`() throws {
    var envelope = Samples.Envelope()
    envelope.action = ""
    envelope.replyTo = ""
    envelope.messageID = "<wsa:MessageID> 6f7a </wsa:MessageID>"
    envelope.timestamp = ""
    envelope.headers = "<x:y xmlns:x='u:x' s:mustUnderstand='0'/><z:z xmlns:z='u:z'/><wsa:From><wsa:Address>urn:a</wsa:Address></wsa:From>"
    envelope.token =
      "<wsse:UsernameToken Id='_1'><wsse:Username>alice</wsse:Username><wsse:Password Type='\(FederationVocabulary.userNameTokenProfile)#PasswordText'>p</wsse:Password><wsse:Nonce>AAAA</wsse:Nonce><wsu:Created>2026-11-18T11:06:40Z</wsu:Created></wsse:UsernameToken>"
    envelope.keyType = ""
    envelope.extra =
      "<wst:TokenType> urn:oasis:names:tc:SAML:2.0:assertion </wst:TokenType><wst:Lifetime><wsu:Expires>2036-11-18T11:06:40Z</wsu:Expires></wst:Lifetime><wst:Renewing/><wst:Claims/>"
    let request = try envelope.read()
    #expect(request.messageID == "6f7a")
    #expect(request.created == nil && request.expires == nil)
    #expect(request.tokenType == .saml20)
    #expect(request.timeFault(now: Samples.now, window: .seconds(300)) == nil)
  }

  @Test func `may stand in any order of headers, and of what is in Security`() throws {
    var envelope = Samples.Envelope()
    (envelope.timestamp, envelope.token) = (envelope.token, envelope.timestamp)
    #expect(try envelope.read().userName == "alice@contoso.com")
  }

  @Test(
    arguments: [FederationVocabulary.policy2004, FederationVocabulary.policy15],
    [FederationVocabulary.addressing, FederationVocabulary.oldAddressing])
  func `name the relying party in two versions of two standards`(_ policy: String, _ addressing: String) throws {
    var envelope = Samples.Envelope()
    envelope.appliesTo =
      "<p:AppliesTo xmlns:p='\(policy)'><a:EndpointReference xmlns:a='\(addressing)'><a:Address>\n https://sp.example/ \n</a:Address></a:EndpointReference></p:AppliesTo>"
    #expect(try envelope.read().appliesTo == "https://sp.example/")
  }

  @Test func `may ask for no key in the words of either version`() throws {
    for key in TrustVersion.allCases.map(\.bearerKey) {
      for version in TrustVersion.allCases {
        var envelope = Samples.Envelope(version)
        envelope.keyType = "<wst:KeyType>\(key)</wst:KeyType>"
        #expect(envelope.fault() == nil)
      }
    }
    for key in ["/SymmetricKey", "/PublicKey", ""] {
      var envelope = Samples.Envelope()
      envelope.keyType = "<wst:KeyType>\(FederationVocabulary.trust13)\(key)</wst:KeyType>"
      #expect(envelope.fault() == .invalidRequest)
    }
  }

  @Test func `have names and passwords of 320 and 1,024 bytes at most, and never none`() throws {
    func fault(_ name: String, _ password: String) -> TrustFault.Code? {
      var envelope = Samples.Envelope()
      envelope.token =
        "<wsse:UsernameToken><wsse:Username>\(name)</wsse:Username><wsse:Password>\(password)</wsse:Password></wsse:UsernameToken>"
      return envelope.fault()
    }
    func long(_ count: Int) -> String { String(repeating: "a", count: count) }
    #expect(fault(long(320), long(1024)) == nil)
    #expect(fault(long(321), "p") == .failedAuthentication)
    #expect(fault("a", long(1025)) == .failedAuthentication)
    #expect(fault("", "p") == .failedAuthentication)
    #expect(fault("a", "") == .failedAuthentication)
  }

  @Test func `keep name and password byte for byte`() throws {
    var envelope = Samples.Envelope()
    envelope.token =
      "<wsse:UsernameToken><wsse:Username> e\u{301}\u{e9} </wsse:Username><wsse:Password> &#13;&#10;\u{1f600} </wsse:Password></wsse:UsernameToken>"
    let request = try envelope.read()
    #expect(Array(request.userName.utf8) == Array(" e\u{301}\u{e9} ".utf8))
    #expect(Array(Samples.text(request.password).utf8) == Array(" \r\n\u{1f600} ".utf8))
  }

  @Test func `say which message a fault relates to, wherever that was read`() throws {
    var envelope = Samples.Envelope()
    envelope.requestType = "<wst:RequestType>\(FederationVocabulary.trust13)/Cancel</wst:RequestType>"
    #expect { try envelope.read() } throws: { ($0 as? TrustFault)?.messageID == "urn:uuid:6f7a" }
    envelope.messageID = "<wsa:MessageID>\(String(repeating: "a", count: 257))</wsa:MessageID>"
    #expect { try envelope.read() } throws: { ($0 as? TrustFault)?.messageID == nil }
    envelope.messageID = "<wsa:MessageID>a</wsa:MessageID><wsa:MessageID>b</wsa:MessageID>"
    #expect { try envelope.read() } throws: { ($0 as? TrustFault)?.messageID == nil }
  }

  @Test func `longer than 64 KiB are not read`() throws {
    var envelope = Samples.Envelope()
    envelope.headers = "<x:y xmlns:x='u:x'>\(String(repeating: " ", count: 60 << 10))</x:y>"
    #expect(envelope.fault() == nil)
    envelope.headers += "<x:y xmlns:x='u:x'>\(String(repeating: " ", count: 4 << 10))</x:y>"
    #expect { try envelope.read() } throws: { ($0 as? TrustFault)?.code == .invalidRequest }
  }

  @Test func `give back their context`() throws {
    var envelope = Samples.Envelope()
    envelope.request =
      "<wst:RequestSecurityToken Context='c 1' xmlns:wst='\(FederationVocabulary.trust13)'><wst:RequestType>\(TrustVersion.v13.issue)</wst:RequestType><wsp:AppliesTo xmlns:wsp='\(FederationVocabulary.policy2004)'><wsa:EndpointReference><wsa:Address>urn:a</wsa:Address></wsa:EndpointReference></wsp:AppliesTo></wst:RequestSecurityToken>"
    #expect(try envelope.read().context == "c 1")
  }

  @Test func `are for the version of their endpoint`() throws {
    let bytes = Array(Samples.Envelope(.feb2005).text.utf8)
    #expect { try SecurityTokenRequest(bytes, endpoint: .usernameMixed13) } throws: { ($0 as? TrustFault)?.code == .actionNotSupported }
    var envelope = Samples.Envelope(.feb2005)
    envelope.action = ""
    let other = Array(envelope.text.utf8)
    #expect { try SecurityTokenRequest(other, endpoint: .usernameMixed13) } throws: { ($0 as? TrustFault)?.code == .invalidRequest }
  }

  @Test func `are judged by the clock with a window on both sides`() throws {
    func fault(_ timestamp: String, at seconds: Int) throws -> TrustFault.Code? {
      var envelope = Samples.Envelope()
      envelope.timestamp = timestamp
      return try envelope.read().timeFault(now: Instant(milliseconds: 1_795_000_000_000).adding(.seconds(seconds)), window: .seconds(300))?.code
    }
    let both = Samples.Envelope().timestamp
    #expect(try fault(both, at: 0) == nil)
    #expect(try fault(both, at: -300) == nil)
    #expect(try fault(both, at: -301) == .messageExpired)
    #expect(try fault(both, at: 900) == nil)
    #expect(try fault(both, at: 901) == .messageExpired)
    let created = "<wsu:Timestamp><wsu:Created>2026-11-18T11:06:40Z</wsu:Created></wsu:Timestamp>"
    #expect(try fault(created, at: 300) == nil)
    #expect(try fault(created, at: 301) == .messageExpired)
    let expires = "<wsu:Timestamp><wsu:Expires>2026-11-18T11:06:40Z</wsu:Expires></wsu:Timestamp>"
    #expect(try fault(expires, at: -100_000) == nil)
    #expect(try fault(expires, at: 301) == .messageExpired)
    #expect(try fault("<wsu:Timestamp/>", at: 0) == nil)
  }

  @Test(arguments: [
    "<wsu:Timestamp><wsu:Created>2026-11-18T11:06:40+01:00</wsu:Created></wsu:Timestamp>",
    "<wsu:Timestamp><wsu:Created>yesterday</wsu:Created></wsu:Timestamp>",
    "<wsu:Timestamp><wsu:Created>2026-11-18T11:06:40Z</wsu:Created><wsu:Created>2026-11-18T11:06:40Z</wsu:Created></wsu:Timestamp>",
    "<wsu:Timestamp><wsu:Created>2026-11-18T11:06:40Z</wsu:Created><wsu:Expires>2026-11-18T11:06:39Z</wsu:Expires></wsu:Timestamp>",
    "<wsu:Timestamp/><wsu:Timestamp/>", "<wsu:Timestamp><wsu:Other/></wsu:Timestamp>",
    "<wsu:Timestamp><wsu:Created>2026-11-18T<!-- -->11:06:40Z</wsu:Created></wsu:Timestamp>",
  ]) func `with a Timestamp that cannot be read are refused`(_ timestamp: String) {
    var envelope = Samples.Envelope()
    envelope.timestamp = timestamp
    #expect(envelope.fault() == .invalidSecurity)
  }
}

@Suite struct `Requests for a token that ask for more` {
  @Test(arguments: ["OnBehalfOf", "ActAs", "UseKey"]) func `than is offered are refused by name`(_ local: String) {
    for namespace in [FederationVocabulary.trust13, "http://docs.oasis-open.org/ws-sx/ws-trust/200802", "u:x"] {
      var envelope = Samples.Envelope()
      envelope.extra = "<x:\(local) xmlns:x='\(namespace)'/>"
      #expect { try envelope.read() } throws: { error in
        let fault = error as? TrustFault
        return fault?.code == .invalidRequest && fault?.detail.contains(local) == true
      }
    }
  }

  @Test(arguments: ["Cancel", "Renew", "Validate", "Issue/", ""]) func `than that a token be issued are refused`(_ verb: String) {
    for version in TrustVersion.allCases {
      var envelope = Samples.Envelope(version)
      envelope.requestType = "<wst:RequestType>\(version.namespace)/\(verb)</wst:RequestType>"
      #expect(envelope.fault() == .invalidRequest)
      envelope.requestType = ""
      #expect(envelope.fault() == .invalidRequest)
      envelope.requestType = nil
      envelope.action = "<wsa:Action>\(version.namespace)/RST/\(verb)</wsa:Action>"
      #expect(envelope.fault() == .actionNotSupported)
    }
  }

  @Test(arguments: [
    "", "<wsp:AppliesTo xmlns:wsp='http://schemas.xmlsoap.org/ws/2004/09/policy'/>",
    "<wsp:AppliesTo xmlns:wsp='http://schemas.xmlsoap.org/ws/2004/09/policy'><wsa:EndpointReference/></wsp:AppliesTo>",
    "<wsp:AppliesTo xmlns:wsp='http://schemas.xmlsoap.org/ws/2004/09/policy'><wsa:EndpointReference><wsa:Address> </wsa:Address></wsa:EndpointReference></wsp:AppliesTo>",
    "<wsp:AppliesTo xmlns:wsp='http://schemas.xmlsoap.org/ws/2004/09/policy'><wsa:EndpointReference><wsa:Address>a<!-- -->b</wsa:Address></wsa:EndpointReference></wsp:AppliesTo>",
    "<wsp:AppliesTo xmlns:wsp='http://schemas.xmlsoap.org/ws/2004/09/policy'><wsa:EndpointReference><wsa:Address>a</wsa:Address><wsa:Address>b</wsa:Address></wsa:EndpointReference></wsp:AppliesTo>",
    "<wsp:AppliesTo xmlns:wsp='http://schemas.xmlsoap.org/ws/2004/09/policy'>urn:a</wsp:AppliesTo>",
    "<AppliesTo xmlns='u:other'><wsa:EndpointReference><wsa:Address>a</wsa:Address></wsa:EndpointReference></AppliesTo>",
  ]) func `than a token for one relying party are refused`(_ appliesTo: String) {
    var envelope = Samples.Envelope()
    envelope.appliesTo = appliesTo
    #expect(envelope.fault() == .invalidRequest)
  }

  @Test func `than a token for one relying party are refused, in whatever versions they name two`() {
    var envelope = Samples.Envelope()
    let one = "<wsa:EndpointReference><wsa:Address>a</wsa:Address></wsa:EndpointReference>"
    envelope.appliesTo =
      "<p:AppliesTo xmlns:p='\(FederationVocabulary.policy2004)'>\(one)</p:AppliesTo><p:AppliesTo xmlns:p='\(FederationVocabulary.policy15)'>\(one)</p:AppliesTo>"
    #expect(envelope.fault() == .invalidRequest)
    envelope.appliesTo = "<p:AppliesTo xmlns:p='\(FederationVocabulary.policy2004)'>\(one)\(one)</p:AppliesTo>"
    #expect(envelope.fault() == .invalidRequest)
    let long = "<wsa:EndpointReference><wsa:Address>\(String(repeating: "a", count: 1025))</wsa:Address></wsa:EndpointReference>"
    envelope.appliesTo = "<p:AppliesTo xmlns:p='\(FederationVocabulary.policy2004)'>\(long)</p:AppliesTo>"
    #expect(envelope.fault() == .invalidRequest)
  }

  @Test func `than tokens of known kinds are refused`() {
    var envelope = Samples.Envelope()
    envelope.extra = "<wst:TokenType>urn:ietf:params:oauth:token-type:jwt</wst:TokenType>"
    #expect(envelope.fault() == .invalidRequest)
    envelope.extra = "<wst:TokenType>urn:oasis:names:tc:SAML:1.0:assertion</wst:TokenType>"
    #expect(envelope.fault() == nil)
    envelope.extra += envelope.extra
    #expect(envelope.fault() == .invalidRequest)
  }
}

@Suite struct `Headers of requests for a token` {
  @Test(arguments: ["1", "true"]) func `that must be understood and are not refuse the message`(_ word: String) {
    var envelope = Samples.Envelope()
    for role in ["", " s:role='u:somebody'", " s:role='\(FederationVocabulary.soap)/role/next' s:relay='true'"] {
      envelope.headers = "<x:y xmlns:x='u:x' s:mustUnderstand='\(word)'\(role)/>"
      #expect(envelope.fault() == .mustUnderstand)
    }
    envelope.headers = "<x:y xmlns:x='u:x' s:mustUnderstand='\(word)' s:role='\(FederationVocabulary.soap)/role/none'/>"
    #expect(envelope.fault() == nil)
  }

  @Test func `may not play with being understood`() {
    var envelope = Samples.Envelope()
    for word in ["TRUE", "2", "", " 1"] {
      envelope.headers = "<x:y xmlns:x='u:x' s:mustUnderstand='\(word)'/>"
      #expect(envelope.fault() == .invalidRequest)
    }
    // SOAP 1.1's attribute is another one.
    envelope.headers = "<x:y xmlns:x='u:x' xmlns:e='http://schemas.xmlsoap.org/soap/envelope/' e:mustUnderstand='1'/>"
    #expect(envelope.fault() == nil)
    envelope.headers = "<wsa:ReplyTo s:role='\(FederationVocabulary.soap)/role/none'><wsa:Address>http://127.0.0.1/</wsa:Address></wsa:ReplyTo>"
    envelope.replyTo = ""
    #expect(envelope.fault() == .invalidRequest)
  }

  @Test func `of older addressing are not understood`() {
    var envelope = Samples.Envelope()
    envelope.headers = "<a:ReplyTo xmlns:a='\(FederationVocabulary.oldAddressing)' s:mustUnderstand='1'/>"
    #expect(envelope.fault() == .mustUnderstand)
  }

  @Test(arguments: ["ReplyTo", "FaultTo"]) func `that want the answer elsewhere are refused`(_ local: String) {
    for address in ["http://127.0.0.1:8765/", "\(FederationVocabulary.addressing)/none", "\(FederationVocabulary.anonymous)/", ""] {
      var envelope = Samples.Envelope()
      envelope.replyTo = "<wsa:\(local)><wsa:Address>\(address)</wsa:Address></wsa:\(local)>"
      #expect(envelope.fault() == .invalidRequest)
    }
    var envelope = Samples.Envelope()
    envelope.replyTo = "<wsa:\(local)/>"
    #expect(envelope.fault() == .invalidRequest)
    envelope.replyTo = "<wsa:\(local)><wsa:Address>\(FederationVocabulary.anonymous)</wsa:Address></wsa:\(local)>"
    #expect(envelope.fault() == nil)
  }

  @Test(arguments: ["Action", "MessageID", "To", "ReplyTo"]) func `come once`(_ local: String) {
    var envelope = Samples.Envelope()
    envelope.headers = "<wsa:\(local)>x</wsa:\(local)>"
    #expect(envelope.fault() == .invalidRequest)
  }
}

@Suite struct `Security of requests for a token` {
  private static let name = "<wsse:Username>alice</wsse:Username>"
  private static let password = "<wsse:Password>p</wsse:Password>"

  @Test(arguments: [
    ("", TrustFault.Code.invalidSecurity), ("<wsse:UsernameToken/>", .invalidSecurity),
    ("<wsse:UsernameToken>\(name)</wsse:UsernameToken>", .invalidSecurity),
    ("<wsse:UsernameToken>\(password)</wsse:UsernameToken>", .invalidSecurity),
    ("<wsse:UsernameToken>\(name)\(name)\(password)</wsse:UsernameToken>", .invalidSecurity),
    ("<wsse:UsernameToken>\(name)\(password)\(password)</wsse:UsernameToken>", .invalidSecurity),
    ("<wsse:UsernameToken>\(name)\(password)<x xmlns='u:x'/></wsse:UsernameToken>", .invalidSecurity),
    ("<wsse:UsernameToken>\(name)\(password)</wsse:UsernameToken><wsse:UsernameToken>\(name)\(password)</wsse:UsernameToken>", .invalidSecurity),
    ("<wsse:UsernameToken><wsse:Username>al<!-- -->ice</wsse:Username>\(password)</wsse:UsernameToken>", .invalidSecurity),
    ("<wsse:UsernameToken>\(name)<wsse:Password>a<![CDATA[b]]></wsse:Password></wsse:UsernameToken>", .invalidSecurity),
    ("<wsse:UsernameToken>\(name)<wsse:Password><a xmlns=''>p</a></wsse:Password></wsse:UsernameToken>", .invalidSecurity),
    (
      "<wsse:UsernameToken>\(name)<wsse:Password Type='\(FederationVocabulary.userNameTokenProfile)#PasswordDigest'>p</wsse:Password></wsse:UsernameToken>",
      .unsupportedSecurityToken
    ),
    ("<wsse:UsernameToken>\(name)<wsse:Password Type=''>p</wsse:Password></wsse:UsernameToken>", .unsupportedSecurityToken),
    (
      "<wsse:UsernameToken>\(name)\(password)</wsse:UsernameToken><wsse:BinarySecurityToken>AA==</wsse:BinarySecurityToken>",
      .unsupportedSecurityToken
    ),
    (
      "<ds:Signature xmlns:ds='http://www.w3.org/2000/09/xmldsig#'/><wsse:UsernameToken>\(name)\(password)</wsse:UsernameToken>",
      .unsupportedSecurityToken
    ),
    (
      "<e:EncryptedKey xmlns:e='http://www.w3.org/2001/04/xmlenc#'/><wsse:UsernameToken>\(name)\(password)</wsse:UsernameToken>",
      .unsupportedSecurityToken
    ),
    ("<a:Assertion xmlns:a='urn:oasis:names:tc:SAML:1.0:assertion'/>", .unsupportedSecurityToken),
    ("<x xmlns='u:x'/><wsse:UsernameToken>\(name)\(password)</wsse:UsernameToken>", .invalidSecurity),
    ("x<wsse:UsernameToken>\(name)\(password)</wsse:UsernameToken>", .invalidSecurity),
    ("<UsernameToken xmlns='u:x'>\(name)\(password)</UsernameToken>", .invalidSecurity),
  ]) func `is one UsernameToken with a password in the clear`(_ token: String, _ code: TrustFault.Code) {
    var envelope = Samples.Envelope()
    envelope.token = token
    #expect(envelope.fault() == code)
  }

  @Test func `is there once`() {
    var envelope = Samples.Envelope()
    envelope.headers = "<w:Security xmlns:w='\(FederationVocabulary.security)'/>"
    #expect(envelope.fault() == .invalidSecurity)
    let none = Samples.Envelope().text.replacing(Samples.Envelope().security, with: "")
    #expect { try SecurityTokenRequest(Array(none.utf8), endpoint: .usernameMixed13) } throws: { ($0 as? TrustFault)?.code == .invalidSecurity }
  }

  @Test func `never tells a password`() throws {
    var envelope = Samples.Envelope()
    envelope.token = "<wsse:UsernameToken>\(Self.name)<wsse:Password>hunter2<!-- --></wsse:Password></wsse:UsernameToken>"
    #expect { try envelope.read() } throws: { !"\($0)".contains("hunter2") }
    #expect(!"\(try Samples.Envelope().read())".contains("a&b"))
  }
}
