import Bytes
import Cryptography
import Federation
import Foundation
import GatehouseTesting
import Identity
import SAML
import SignIn
import Testing
import XMLSecurity

@testable import Web

@Suite struct `The admin API of federation` {
  private func add(_ gateway: LiveGateway, _ name: String = "wiki", _ more: String = "") async throws -> RawAnswer {
    try await gateway.askAdmin(
      "POST", "/admin/v1/relying-parties",
      "{\"name\":\"\(name)\",\"entityId\":\"https://\(name).example\",\"consumers\":[\"https://\(name).example/acs\"]\(more)}")
  }

  private func document(_ entityID: String = "https://wiki.example", consumer: String = "https://wiki.example/acs", certificate: [UInt8]? = nil)
    -> String
  {
    let key =
      certificate.map {
        "<md:KeyDescriptor><ds:KeyInfo><ds:X509Data><ds:X509Certificate>\($0.base64)</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
      } ?? ""
    let text =
      "<md:EntityDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\" xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\" entityID=\"\(entityID)\"><md:SPSSODescriptor protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\">\(key)<md:AssertionConsumerService Binding=\"\(Binding.post.rawValue)\" Location=\"\(consumer)\" index=\"0\"/></md:SPSSODescriptor></md:EntityDescriptor>"
    return Array(text.utf8).base64
  }

  private func words(_ answer: RawAnswer) throws -> String { try answer.decode(FaultBody.self).error.message }

  @Test func `adds, shows, changes and removes a relying party, each with its audit row`() async throws {
    try await withGateway { gateway async throws in
      let added = try await add(gateway, "wiki", ",\"preset\":\"oid\",\"unsolicited\":true")
      #expect(added.status == 201)
      let message = try added.decode(RelyingPartyMessage.self)
      #expect(
        message.name == "wiki" && message.nameId == "transient" && message.consumers.map(\.location) == ["https://wiki.example/acs"]
          && message.unsolicited)
      #expect(try await gateway.askAdmin("GET", "/admin/v1/relying-parties").decode([RelyingPartyMessage].self).map(\.name) == ["wiki"])
      let changed = try await gateway.askAdmin(
        "PATCH", "/admin/v1/relying-parties/wiki",
        "{\"signs\":\"assertion\",\"nameId\":\"persistent\",\"claims\":[{\"name\":\"m\",\"from\":[\"mail\"],\"change\":[\"lowerCase\"]}],\"permittedGroups\":[\"CN=a\"],\"tokenLifeSeconds\":60,\"skewSeconds\":300}"
      )
      #expect(changed.status == 200, "\(changed.text)")
      let after = try #require(gateway.federation.parties.party(named: "wiki"))
      #expect(
        after.signs == .assertion && after.nameID.format == .persistent && after.claims.map(\.name) == ["m"] && after.permittedGroups == ["CN=a"])
      #expect(after.tokenLife == 60 && after.skew == 300)
      #expect(try await gateway.askAdmin("DELETE", "/admin/v1/relying-parties/wiki").status == 200)
      #expect(gateway.federation.parties.count == 0)
      #expect(try await gateway.askAdmin("GET", "/admin/v1/relying-parties/wiki").status == 404)
      let kinds = await gateway.store.events.map(\.kind).filter { [.relyingPartyAdded, .relyingPartyChanged, .relyingPartyRemoved].contains($0) }
      #expect(kinds == [.relyingPartyAdded, .relyingPartyChanged, .relyingPartyRemoved])
    }
  }

  @Test func `refuses what cannot be kept, in words that say what to do`() async throws {
    try await withGateway { gateway async throws in
      #expect(try await add(gateway).status == 201)
      for (body, status, word) in [
        ("{}", 400, "--metadata"), ("{\"entityId\":\"https://a\"}", 400, "--acs"),
        ("{\"entityId\":\"a b\",\"consumers\":[\"https://a/b\"]}", 400, "white space"),
        ("{\"entityId\":\"https://a\",\"consumers\":[\"http://a.example/acs\"]}", 400, "https only"),
        ("{\"entityId\":\"https://a\",\"consumers\":[\"javascript:alert(1)\"]}", 400, "URL"),
        ("{\"entityId\":\"https://a\",\"consumers\":[\"https://a@b/acs\"]}", 400, "user name"),
        ("{\"name\":\"a b\",\"entityId\":\"https://a\",\"consumers\":[\"https://a/b\"]}", 400, "1 to 64"),
        ("{\"name\":\"wiki\",\"entityId\":\"https://other\",\"consumers\":[\"https://a/b\"]}", 409, "taken"),
        ("{\"name\":\"other\",\"entityId\":\"https://wiki.example\",\"consumers\":[\"https://a/b\"]}", 409, "taken"),
        ("{\"entityId\":\"https://a\",\"consumers\":[\"https://a/b\"],\"signature\":\"both\"}", 400, "no field `signature`"),
        (
          "{\"entityId\":\"https://a\",\"consumers\":[\"https://a/b\"],\"claims\":[{\"name\":\"m\",\"from\":[\"mail\"],\"group\":{}}]}", 400,
          "no field `claims[0].group`"
        ),
        ("{\"metadata\":\"!\"}", 400, "whole"), ("{\"metadata\":\"PHgvPg==\"}", 400, "metadata of an entity"),
        ("{\"metadata\":\"\(document(consumer: "http://wiki.example/acs"))\"}", 400, "https only"),
        ("{\"metadata\":\"\(document())\",\"metadataSigner\":\"AAAA\"}", 400, "X.509"),
        ("{\"metadataUrl\":\"https://a.example/metadata\"}", 400, "nobody answers"),
      ] {
        let answer = try await gateway.askAdmin("POST", "/admin/v1/relying-parties", body)
        #expect(answer.status == status, "\(body) \(answer.text)")
        #expect(try words(answer).contains(word), "\(answer.text)")
      }
      for (body, word) in [
        ("{\"signs\":\"none\"}", "There are: response, assertion, both"), ("{\"encrypts\":\"all\"}", "There are"),
        ("{\"encrypts\":\"assertion\"}", "no encryption certificate"),
        ("{\"requestsMustBeSigned\":true}", "no signing certificate"), ("{\"algorithm\":\"rsa-sha1\"}", "There are"),
        ("{\"algorithm\":\"hmac\"}", "There are"), ("{\"acceptsSha1Until\":1}", "400 days"),
        ("{\"acceptsSha1Until\":9999999999999999}", "400 days"), ("{\"nameId\":\"kerberos\"}", "There are"),
        ("{\"allowedNameIds\":[\"x\"]}", "There are"), ("{\"nameIdSource\":\"$x\"}", "There are"),
        ("{\"tokenLifeSeconds\":59}", "60 seconds"), ("{\"tokenLifeSeconds\":86401}", "24 hours"), ("{\"skewSeconds\":301}", "300"),
        ("{\"skewSeconds\":-1}", "300"), ("{\"permittedGroups\":[\"\"]}", "64 groups"),
        ("{\"claims\":[{\"name\":\"a\"}]}", "`from` or `values`"),
        ("{\"claims\":[{\"name\":\"a\",\"from\":[\"cn\"],\"change\":[{\"keep\":\"(a+)+\"}]}]}", "for ever"),
        ("{\"claims\":[{\"name\":\"a\",\"from\":[\"cn\"]},{\"name\":\"a\",\"from\":[\"sn\"]}]}", "comes twice"),
        ("{\"preset\":\"okta\"}", "There are"), ("{\"metadata\":\"\(document("https://else.example"))\"}", "gatehouse rp add"),
      ] {
        let answer = try await gateway.askAdmin("PATCH", "/admin/v1/relying-parties/wiki", body)
        #expect(answer.status == 400 || answer.status == 409, "\(body) \(answer.text)")
        #expect(try words(answer).contains(word), "\(body) \(answer.text)")
      }
      for body in ["[]", "x", "{\"name\":1}"] {
        #expect(try await gateway.askAdmin("PATCH", "/admin/v1/relying-parties/wiki", body).status == 400)
      }
      #expect(try await gateway.askAdmin("POST", "/admin/v1/relying-parties/wiki/refresh", "{\"approve\":true}").status == 409)
      #expect(try await gateway.askAdmin("PATCH", "/admin/v1/relying-parties/nobody", "{}").status == 404)
      #expect(gateway.federation.parties.party(named: "wiki")?.version == 1)
      #expect(await gateway.store.events.count { $0.kind == .relyingPartyChanged } == 0)
    }
  }

  @Test func `takes metadata over, and never another entityID with it`() async throws {
    try await withGateway { gateway async throws in
      let certificate = try TestServiceProvider("wiki", now: gateway.time.now).certificate
      let added = try await gateway.askAdmin("POST", "/admin/v1/relying-parties", "{\"metadata\":\"\(document(certificate: certificate))\"}")
      #expect(added.status == 201)
      let party = try added.decode(RelyingPartyMessage.self)
      #expect(party.name == "wiki.example" && party.entityId == "https://wiki.example" && party.certificates.count == 2)
      let again = try await gateway.askAdmin(
        "PATCH", "/admin/v1/relying-parties/wiki.example",
        "{\"metadata\":\"\(document(consumer: "https://wiki.example/new"))\",\"displayName\":\"Wiki\"}")
      #expect(try again.decode(RelyingPartyMessage.self).consumers.map(\.location) == ["https://wiki.example/new"])
      #expect(
        try await gateway.askAdmin("PATCH", "/admin/v1/relying-parties/wiki.example", "{\"metadata\":\"\(document("https://evil.example"))\"}").status
          == 409)
      #expect(gateway.federation.parties.party(entityID: "https://evil.example") == nil)
    }
  }

  @Test func `changes its own entityID only while nobody would be lost`() async throws {
    try await withGateway { gateway async throws in
      func change(_ id: String, force: Bool = false) async throws -> RawAnswer {
        try await gateway.askAdmin("PATCH", "/admin/v1/federation", "{\"entityId\":\"\(id)\",\"force\":\(force)}")
      }
      for wrong in ["", "a b", "nocolon", String(repeating: "a", count: 1020) + ":abcd"] { #expect(try await change(wrong).status == 400) }
      #expect(try await change("urn:one").decode(FederationMessage.self).entityId == "urn:one")
      _ = try await add(gateway)
      let refused = try await change("urn:two")
      #expect(refused.status == 409)
      #expect(try words(refused).contains("--force"))
      #expect(try await change("urn:one").status == 200)
      #expect(try await change("urn:two", force: true).status == 200)
      #expect(gateway.federation.identity.entityID == "urn:two")
      #expect(await gateway.store.events.count { $0.kind == .federationChanged } == 3)
    }
  }

  @Test func `shows signing keys without anything secret`() async throws {
    try await withGateway { gateway async throws in
      let answer = try await gateway.askAdmin("GET", "/admin/v1/signing-keys")
      let keys = try answer.decode([SigningKeyMessage].self)
      #expect(Set(keys.map(\.family)) == ["rsa", "ecdsa"] && keys.allSatisfy { $0.state == "primary" })
      for word in ["PRIVATE", "pkcs8", "\"key\"", "\"d\""] { #expect(!answer.text.contains(word)) }
      #expect(keys.allSatisfy { StrictText.base64($0.certificate).map { Digests.sha256($0).hexadecimal } == $0.sha256 })
    }
  }

  @Test func `tells whether a token was issued, and whether it is the same to the byte`() async throws {
    try await withGateway { gateway async throws in
      let provider = try TestServiceProvider("wiki", now: gateway.time.now)
      try await gateway.store.add(provider.registration("wiki"), audit: [])
      try await gateway.federation.parties.refresh()
      let session = try #require(
        await gateway.federation.sessions.begin(
          ScriptedValidator.person(realm: try name("contoso.com")), userName: "alice", keeping: false, replacing: nil, reference: Reference(),
          address: nil, now: gateway.time.now))
      let request = provider.message("AuthnRequest", at: gateway.time.now, destination: gateway.federation.identity.signOnURL)
      let step = await gateway.federation.signOn.receive(
        try ReceivedMessage(query: try provider.redirect(request)), session: session.session, browser: [UInt8](repeating: 1, count: 32))
      guard case .post(let form) = step else { throw Missing(what: "an answer") }
      let document = try #require(form.fields.first).value
      func find(_ body: String) async throws -> [IssuedTokenMessage] {
        try await gateway.askAdmin("POST", "/admin/v1/tokens/find", body).decode([IssuedTokenMessage].self)
      }
      let found = try await find("{\"document\":\"\(document)\"}")
      #expect(found.map(\.sameBytes) == [true] && found.first?.relyingParty == "wiki")
      let id = try #require(found.first?.assertionId)
      #expect(try await find("{\"id\":\"\(id)\"}").map(\.sameBytes) == [nil])
      let changed = Array(
        String(decoding: try #require(StrictText.base64(document)), as: UTF8.self).replacing("alice@contoso.com", with: "admin@contoso.com").utf8)
      #expect(try await find("{\"document\":\"\(changed.base64)\"}").map(\.sameBytes) == [false])
      #expect(try await find("{\"id\":\"_none\"}").isEmpty)
      for body in ["{\"document\":\"!\"}", "{\"document\":\"PHgvPg==\"}", "{\"document\":\"PA==\"}"] {
        #expect(try await gateway.askAdmin("POST", "/admin/v1/tokens/find", body).status == 400)
      }
    }
  }

  @Test func `ends the sessions of somebody who is blocked`() async throws {
    try await withGateway { gateway async throws in
      var browser = BrowserForTests(gateway)
      let page = try await browser.get("/adfs/ls/IdpInitiatedSignOn.aspx")
      let answer = try await browser.post(
        "/sign-in", [("transaction", try #require(page.field("transaction"))), ("userName", "alice@contoso.com"), ("password", "right")])
      #expect(answer.status == 303)
      #expect(try await browser.get("/sign-out").action == "/sign-out")
      let blocked = try await gateway.askAdmin("POST", "/admin/v1/users/block", "{\"name\":\"alice@contoso.com\"}")
      #expect(blocked.status == 200, "\(blocked.text)")
      #expect(try await browser.get("/sign-out").action == nil)
      let again = try await browser.get("/adfs/ls/IdpInitiatedSignOn.aspx")
      #expect(again.action == "/sign-in")
      let refused = try await browser.post(
        "/sign-in", [("transaction", try #require(again.field("transaction"))), ("userName", "alice@contoso.com"), ("password", "right")])
      #expect(refused.status == 200 && refused.text.contains("too many failed tries"))
    }
  }

  @Test func `is reached over its own socket only`() async throws {
    try await withGateway { gateway async throws in
      for path in ["/admin/v1/relying-parties", "/admin/v1/federation", "/admin/v1/signing-keys", "/admin/v1/tokens/find"] {
        for method in ["GET", "POST", "PATCH"] { #expect(try await gateway.ask(RawRequest(method, path, body: [])).status == 404) }
      }
    }
  }
}
