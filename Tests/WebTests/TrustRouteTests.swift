import Bytes
import Federation
import Foundation
import GatehouseTesting
import Identity
import SAML
import SignIn
import Testing
import WSFederation
import XMLSecurity

@testable import Web

/// WS-Trust over the real listener and the scripted validator.
@Suite struct `Asking for a token by WS-Trust` {
  private static let realm = "urn:app"
  private static let served = TrustEndpoint.allCases.filter(\.isServed)

  private func prepare(
    _ gateway: LiveGateway, endpoints: [TrustEndpointRule]? = nil, _ change: (inout RelyingParty) -> Void = { _ in }
  ) async throws {
    var party = RelyingParty(
      name: "app", entityID: Self.realm, consumers: [.init(binding: WSFederationTraits.binding, location: "https://app.example/", isDefault: true)])
    RelyingPartyPreset.wsFederation.apply(to: &party)
    var traits = WSFederationTraits()
    traits.allowsActive = true
    party.wsFederation = traits
    change(&party)
    try await gateway.store.add(party, audit: [])
    try await gateway.federation.parties.refresh()
    var settings = gateway.federation.identity.settings
    settings.trustEndpoints = endpoints ?? Self.served.map { TrustEndpointRule(endpoint: $0) }
    gateway.federation.identity.adopt(settings)
  }

  private func envelope(
    _ gateway: LiveGateway, _ endpoint: TrustEndpoint, user: String = "alice@contoso.com", password: String = "right", appliesTo: String = Self.realm,
    to: String? = nil, created: Instant? = nil, header: String = ""
  ) -> [UInt8] {
    let version = endpoint.version
    let time = created ?? gateway.time.now
    return Array(
      """
      <s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing" xmlns:u="\(FederationVocabulary.utility)"><s:Header>\
      <a:Action s:mustUnderstand="1">\(version.requestAction)</a:Action><a:MessageID>urn:uuid:1</a:MessageID>\
      <a:ReplyTo><a:Address>\(FederationVocabulary.anonymous)</a:Address></a:ReplyTo>\
      <a:To s:mustUnderstand="1">\(to ?? gateway.federation.identity.url(of: endpoint))</a:To>\(header)\
      <o:Security s:mustUnderstand="1" xmlns:o="\(FederationVocabulary.security)"><u:Timestamp u:Id="_0"><u:Created>\(time)</u:Created>\
      <u:Expires>\(time.adding(.seconds(600)))</u:Expires></u:Timestamp><o:UsernameToken u:Id="t"><o:Username>\(escapedForXML(user))</o:Username>\
      <o:Password>\(escapedForXML(password))</o:Password></o:UsernameToken></o:Security></s:Header><s:Body>\
      <t:RequestSecurityToken xmlns:t="\(version.namespace)"><p:AppliesTo xmlns:p="http://schemas.xmlsoap.org/ws/2004/09/policy"><a:EndpointReference>\
      <a:Address>\(escapedForXML(appliesTo))</a:Address></a:EndpointReference></p:AppliesTo><t:RequestType>\(version.namespace)/Issue</t:RequestType>\
      </t:RequestSecurityToken></s:Body></s:Envelope>
      """.utf8)
  }

  private func ask(
    _ gateway: LiveGateway, _ endpoint: TrustEndpoint, _ body: [UInt8], headers: [(String, String)] = [], path: String? = nil
  ) async throws -> RawAnswer {
    try await gateway.ask(
      RawRequest(
        "POST", path ?? "/adfs/services/trust/\(endpoint.rawValue)", headers: [("Content-Type", "application/soap+xml; charset=utf-8")] + headers,
        body: body))
  }

  private func all(_ element: XMLElement, _ local: String) -> [XMLElement] {
    element.elements.flatMap { ($0.name.local == local ? [$0] : []) + all($0, local) }
  }

  private func subcode(_ answer: RawAnswer) throws -> String {
    let root = try XMLElement.parse(answer.body, limits: .message)
    return try #require(try all(root, "Value").last?.text())
  }

  @Test func `gives a token at both endpoints, in whatever case the path is written`() async throws {
    try await withGateway { gateway async throws in
      try await prepare(gateway)
      for endpoint in Self.served {
        for path in [nil, "/adfs/services/trust/\(endpoint.rawValue.uppercased())"] {
          let answer = try await ask(gateway, endpoint, envelope(gateway, endpoint), path: path)
          #expect(answer.status == 200 && answer.value("Content-Type") == "application/soap+xml; charset=utf-8")
          let root = try XMLElement.parse(answer.body, limits: .message)
          #expect(try all(root, "RelatesTo").first?.text() == "urn:uuid:1")
          #expect(try all(root, "Action").first?.text() == endpoint.version.responseAction)
          let assertion = try #require(all(root, "Assertion").first)
          #expect(try all(assertion, "Audience").first?.text() == Self.realm)
        }
      }
      let issued = await gateway.store.events.filter { $0.kind == .tokenIssued }
      #expect(issued.count == 4 && issued.allSatisfy { $0.details["protocol"] == "ws-trust" })
    }
  }

  @Test func `is off until it is switched on: for the endpoint, the network, the relying party`() async throws {
    try await withGateway { gateway async throws in
      try await prepare(gateway, endpoints: [])
      for endpoint in TrustEndpoint.allCases {
        #expect(try await ask(gateway, endpoint, envelope(gateway, endpoint)).status == 503)
      }
      var settings = gateway.federation.identity.settings
      settings.trustEndpoints = [TrustEndpointRule(endpoint: .usernameMixed13, networks: ["10.0.0.0/8"])]
      gateway.federation.identity.adopt(settings)
      // Nobody believes what an untrusted peer says of itself.
      let forged = [("X-Forwarded-For", "10.0.0.1"), ("X-MS-Proxy", "x"), ("X-MS-Forwarded-Client-IP", "10.0.0.1")]
      #expect(try await ask(gateway, .usernameMixed13, envelope(gateway, .usernameMixed13), headers: forged).status == 503)
      settings.trustEndpoints = [TrustEndpointRule(endpoint: .usernameMixed13, networks: ["127.0.0.0/8"])]
      gateway.federation.identity.adopt(settings)
      #expect(try await ask(gateway, .usernameMixed13, envelope(gateway, .usernameMixed13)).status == 200)
      #expect(try await ask(gateway, .usernameMixed2005, envelope(gateway, .usernameMixed2005)).status == 503)
      // Those that are for later are known and off.
      #expect(try await ask(gateway, .windowsTransport13, envelope(gateway, .windowsTransport13)).status == 503)
      #expect(try await ask(gateway, .usernameMixed13, envelope(gateway, .usernameMixed13), path: "/adfs/services/trust/13/other").status == 404)
    }
  }

  @Test func `asks for no password on behalf of a relying party that may not have tokens`() async throws {
    try await withGateway { gateway async throws in
      try await prepare(gateway) { party in
        party.wsFederation?.activeNetworks = ["10.0.0.0/8"]
      }
      for (appliesTo, party) in [("urn:nobody", "nobody"), (Self.realm, "app")] {
        let answer = try await ask(gateway, .usernameMixed13, envelope(gateway, .usernameMixed13, appliesTo: appliesTo))
        #expect(answer.status == 500, "\(party)")
        #expect(try subcode(answer).hasSuffix(":InvalidScope"))
      }
      #expect(gateway.script.asked.isEmpty)
    }
  }

  @Test func `records each wrong password exactly once, whichever endpoint it came by, and says no more than that it was not accepted`() async throws
  {
    try await withGateway { gateway async throws in
      try await prepare(gateway)
      for endpoint in Self.served {
        let before = await gateway.store.events.count
        let answer = try await ask(gateway, endpoint, envelope(gateway, endpoint, password: "wrong-\(endpoint.rawValue)"))
        #expect(answer.status == 500 && answer.text.contains("ID3242") && answer.text.contains("Reference"))
        #expect(try subcode(answer).hasSuffix(":FailedAuthentication"))
        #expect(!answer.text.contains("wrong-") && answer.text.contains("urn:uuid:1"))
        #expect(await gateway.store.events.count == before + 1)
      }
      for user in ["nobody@nowhere.example", "CONTOSO\\nobody"] {
        gateway.script.answer(user, with: .refused(Refusal(.userNotFound)))
        let answer = try await ask(gateway, .usernameMixed13, envelope(gateway, .usernameMixed13, user: user))
        #expect(try subcode(answer).hasSuffix(":FailedAuthentication"))
      }
      gateway.script.answer("carol@contoso.com", with: .unknown(.directoryBusy))
      let unknown = try await ask(gateway, .usernameMixed13, envelope(gateway, .usernameMixed13, user: "carol@contoso.com"))
      #expect(unknown.status == 503 && unknown.value("Retry-After") != nil && unknown.text.contains("Receiver"))
    }
  }

  @Test func `refuses what is stale, meant for somebody else, not understood, too large or no request at all`() async throws {
    try await withGateway { gateway async throws in
      try await prepare(gateway)
      let endpoint = TrustEndpoint.usernameMixed13
      func refused(_ body: [UInt8], _ code: String, _ status: Int = 500) async throws {
        let answer = try await ask(gateway, endpoint, body)
        #expect(answer.status == status && answer.text.contains(code), "\(answer.text)")
      }
      let now = gateway.time.now
      try await refused(envelope(gateway, endpoint, created: now.adding(.seconds(-1200))), "MessageExpired")
      try await refused(envelope(gateway, endpoint, created: now.adding(.seconds(1200))), "MessageExpired")
      try await refused(envelope(gateway, endpoint, to: "https://evil.example/adfs/services/trust/13/usernamemixed"), "DestinationUnreachable")
      try await refused(envelope(gateway, endpoint, header: "<x:y xmlns:x=\"urn:x\" s:mustUnderstand=\"1\"/>"), "MustUnderstand")
      try await refused(envelope(gateway, endpoint, password: String(repeating: "x", count: 1 << 20)), "InvalidRequest")
      try await refused(Array("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>".utf8), "InvalidRequest")
      try await refused([], "InvalidRequest")
      #expect(gateway.script.asked.isEmpty)
      #expect(await gateway.store.events.count { $0.kind == .tokenRefused } == 7)
    }
  }

  @Test func `tells somebody who may not use it that, and leaves no token`() async throws {
    try await withGateway { gateway async throws in
      try await prepare(gateway) { $0.permittedGroups = ["CN=Board,DC=contoso,DC=com"] }
      let answer = try await ask(gateway, .usernameMixed2005, envelope(gateway, .usernameMixed2005))
      #expect(answer.status == 500 && answer.text.contains("MSIS7068"))
      #expect(try subcode(answer).hasSuffix(":FailedAuthentication"))
      #expect(await !gateway.store.events.contains { $0.kind == .tokenIssued })
    }
  }

  @Test func `describes the endpoints that are on, and no others`() async throws {
    try await withGateway { gateway async throws in
      try await prepare(gateway, endpoints: [TrustEndpointRule(endpoint: .usernameMixed2005)])
      let document = try await gateway.ask(RawRequest("GET", "/adfs/services/trust/mex"))
      #expect(document.status == 200 && document.value("Content-Type") == "text/xml; charset=utf-8")
      #expect(document.text.contains(gateway.federation.identity.url(of: .usernameMixed2005)))
      #expect(!document.text.contains("13/usernamemixed") && !document.text.contains("windowstransport"))
    }
  }

  @Test func `knows who is inside by the address that is seen, not by what the request says`() async throws {
    try await withGateway { gateway async throws in
      try await prepare(gateway) {
        $0.claims = [ClaimRule(name: "http://schemas.microsoft.com/ws/2012/01/insidecorporatenetwork", sources: [.insideCorporateNetwork])]
      }
      func isInside(_ headers: [(String, String)] = []) async throws -> Bool {
        let answer = try await ask(gateway, .usernameMixed2005, envelope(gateway, .usernameMixed2005), headers: headers)
        #expect(answer.status == 200)
        let root = try XMLElement.parse(answer.body, limits: .message)
        return try #require(try all(root, "AttributeValue").first?.text()) == "true"
      }
      #expect(try await !isInside([("X-Forwarded-For", "10.0.0.1"), ("X-MS-Proxy", "p"), ("X-MS-Forwarded-Client-IP", "10.0.0.1")]))
      var settings = gateway.federation.identity.settings
      settings.corporateNetworks = ["10.0.0.0/8"]
      gateway.federation.identity.adopt(settings)
      #expect(try await !isInside([("X-Forwarded-For", "10.0.0.1"), ("X-MS-Proxy", "p"), ("X-MS-Forwarded-Client-IP", "10.0.0.1")]))
      settings.corporateNetworks = ["127.0.0.1/32"]
      gateway.federation.identity.adopt(settings)
      #expect(try await isInside())
    }
  }
}
