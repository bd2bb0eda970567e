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

/// People at their browsers, over the real listener and the scripted validator.
@Suite struct `Signing on by browser` {
  private struct Site {
    let gateway: LiveGateway
    let provider: TestServiceProvider

    init(_ gateway: LiveGateway, _ change: (inout RelyingParty) -> Void = { _ in }) async throws {
      self.gateway = gateway
      provider = try TestServiceProvider("wiki", now: gateway.time.now)
      var party = provider.registration("wiki")
      party.displayName = "Wiki <b>"
      change(&party)
      try await gateway.store.add(party, audit: [])
      try await gateway.federation.parties.refresh()
    }

    func target(id: String = "_request", relayState: String? = "state", attributes: String = "", signs: Bool = true) throws -> String {
      let document = provider.message(
        "AuthnRequest", id: id, at: gateway.time.now, destination: gateway.federation.identity.signOnURL, attributes: attributes)
      return "/adfs/ls/?" + String(decoding: try provider.redirect(document, relayState: relayState, signs: signs), as: UTF8.self)
    }

    /// Signs in at the page, and answers with what is posted to the relying party.
    func signIn(_ browser: inout BrowserForTests, id: String = "_request", password: String = "right", keep: Bool = false) async throws -> RawAnswer {
      let page = try await browser.get(try target(id: id))
      let transaction = try #require(page.field("transaction"))
      let fields = [("transaction", transaction), ("userName", "alice@contoso.com"), ("password", password)] + (keep ? [("keep", "1")] : [])
      return try await browser.follow(try await browser.post("/sign-in", fields))
    }
  }

  @Test func `leads from the request over the page to the answer, and answers at once the second time`() async throws {
    try await withGateway { gateway async throws in
      let site = try await Site(gateway)
      var browser = BrowserForTests(gateway)
      let page = try await browser.get(try site.target())
      #expect(page.status == 200 && page.text.contains("Sign in to Wiki &lt;b&gt;") && page.action == "/sign-in")
      let transaction = try #require(page.field("transaction"))
      let accepted = try await browser.post("/sign-in", [("transaction", transaction), ("userName", "alice@contoso.com"), ("password", "right")])
      #expect(accepted.status == 303 && accepted.value("Location") == "/continue?t=\(transaction)")
      #expect(accepted.values("Set-Cookie").count { $0.contains("gateway-session") || $0.contains("gatehouse-session") } == 1)
      #expect(!accepted.values("Set-Cookie").contains { $0.contains("Max-Age") })
      let answer = try await browser.follow(accepted)
      #expect(answer.status == 200 && answer.action == "https://wiki.example/acs" && answer.field("RelayState") == "state")
      let response = try answer.posted()
      #expect(response.attribute("InResponseTo") == "_request" && response.elements.contains { $0.name.local == "Assertion" })
      let asked = gateway.script.asked.count
      let second = try await browser.get(try site.target(id: "_second"))
      #expect(try second.posted().attribute("InResponseTo") == "_second")
      #expect(gateway.script.asked.count == asked)
      #expect(await gateway.store.events.count { $0.kind == .tokenIssued } == 2)
    }
  }

  @Test func `takes a request by POST too`() async throws {
    try await withGateway { gateway async throws in
      let site = try await Site(gateway)
      var browser = BrowserForTests(gateway)
      let document = site.provider.message("AuthnRequest", at: gateway.time.now, destination: gateway.federation.identity.signOnURL)
      let body = site.provider.post(try site.provider.signed(document), relayState: "r")
      #expect(try await browser.post("/adfs/ls/", body: body).action == "/sign-in")
      #expect(try await browser.post("/adfs/ls/", body: body, type: "application/x-www-form-urlencoded; charset=utf-8").action == "/sign-in")
      for type in ["text/plain", "multipart/form-data; boundary=x", "application/json", ""] {
        #expect(try await browser.post("/adfs/ls/", body: body, type: type).status == 400)
      }
      // A message in the query beside the one in the body.
      #expect(try await browser.post(try site.target(), body: body).status == 400)
    }
  }

  @Test func `says that a password is wrong, and begins no session`() async throws {
    try await withGateway { gateway async throws in
      let site = try await Site(gateway)
      var browser = BrowserForTests(gateway)
      let page = try await browser.get(try site.target())
      let transaction = try #require(page.field("transaction"))
      let answer = try await browser.post("/sign-in", [("transaction", transaction), ("userName", "al\"<ice@contoso.com"), ("password", "wrong\"<")])
      #expect(
        answer.text.contains("is not correct") && answer.field("userName") == "al\"<ice@contoso.com" && answer.field("transaction") == transaction)
      #expect(!answer.text.contains("wrong") && answer.text.contains("<code>"))
      #expect(browser.cookies[BrowserCookies.sessionName] == nil)
      for fields in [
        [("userName", "alice@contoso.com")], [("password", "right")], [("userName", ""), ("password", "right")],
        [("userName", "a"), ("password", "")],
      ] {
        #expect(try await browser.post("/sign-in", [("transaction", transaction)] + fields).status == 400)
      }
      gateway.script.answer("carol@contoso.com", with: .unknown(.directoryBusy))
      let unknown = try await browser.post("/sign-in", [("transaction", transaction), ("userName", "carol@contoso.com"), ("password", "right")])
      #expect(unknown.status == 503 && unknown.text.contains("could not be found out"))
      #expect(unknown.value("Retry-After").flatMap { Int($0) }.map { (1...5).contains($0) } == true)
      // The same transaction still serves.
      #expect(
        try await browser.post("/sign-in", [("transaction", transaction), ("userName", "alice@contoso.com"), ("password", "right")]).status == 303)
    }
  }

  @Test func `leads over a new password where the old one has expired`() async throws {
    try await withGateway { gateway async throws in
      let site = try await Site(gateway)
      var browser = BrowserForTests(gateway)
      gateway.script.answer("alice@contoso.com", with: .refused(Refusal(.passwordExpired)))
      let page = try await browser.get(try site.target())
      let change = try await browser.post(
        "/sign-in", [("transaction", try #require(page.field("transaction"))), ("userName", "alice@contoso.com"), ("password", "old")])
      #expect(change.action == "/change-password" && change.text.contains("has expired") && change.field("userName") == "alice@contoso.com")
      gateway.script.answer("alice@contoso.com", with: .accepted(ScriptedValidator.person(realm: try name("contoso.com"))))
      func fields(_ new: String, _ repeated: String) throws -> [(String, String)] {
        [
          ("transaction", try #require(change.field("transaction"))), ("userName", "alice@contoso.com"), ("password", "old"), ("newPassword", new),
          ("repeated", repeated),
        ]
      }
      #expect(try await browser.post("/change-password", try fields("long enough", "another")).text.contains("not the same"))
      #expect(try await browser.post("/change-password", try fields("short", "short")).text.contains("too short"))
      let missing = try await browser.post("/change-password", try fields("", ""))
      #expect(missing.status == 400)
      let done = try await browser.follow(try await browser.post("/change-password", try fields("long enough", "long enough")))
      #expect(try done.posted().elements.contains { $0.name.local == "Assertion" })
    }
  }

  @Test func `refuses a page of another browser, an old one, and a changed one`() async throws {
    try await withGateway { gateway async throws in
      let site = try await Site(gateway)
      var browser = BrowserForTests(gateway)
      var other = BrowserForTests(gateway)
      let transaction = try #require(try await browser.get(try site.target()).field("transaction"))
      let fields = [("transaction", transaction), ("userName", "alice@contoso.com"), ("password", "right")]
      // No cookie at all, then one of its own.
      #expect(try await other.post("/sign-in", fields).status == 400)
      _ = try await other.get("/change-password")
      for path in ["/sign-in", "/change-password"] {
        #expect(try await other.post(path, fields + [("newPassword", "long enough"), ("repeated", "long enough")]).status == 400)
      }
      #expect(try await other.get("/continue?t=\(transaction)").status == 400)
      for text in ["", "x", transaction.dropLast(4) + "AAAA"] { #expect(try await browser.get("/continue?t=\(text)").status == 400) }
      #expect(try await browser.get("/continue").status == 400)
      #expect(gateway.script.asked.isEmpty)
      gateway.time.advance(by: .seconds(3601))
      #expect(try await browser.post("/sign-in", fields).status == 400)
      #expect(gateway.script.asked.isEmpty)
    }
  }

  @Test func `shows a page of ours, and sends nothing, where a request is not to be believed`() async throws {
    try await withGateway { gateway async throws in
      let site = try await Site(gateway)
      var browser = BrowserForTests(gateway)
      for attributes in [
        " AssertionConsumerServiceURL=\"https://evil.example/\"", " AssertionConsumerServiceURL=\"javascript:alert(1)\"",
        " AssertionConsumerServiceIndex=\"9\"",
      ] {
        let answer = try await browser.get(try site.target(attributes: attributes))
        #expect(answer.status == 400 && answer.action == nil && answer.value("Location") == nil && !answer.text.contains("evil.example"))
      }
      for query in [
        "SAMLRequest=", "SAMLRequest=AAAA", "x=y", "SAMLResponse=AAAA", "SAMLRequest=%ff", try site.target().dropFirst(10) + "&SAMLRequest=x",
      ] {
        let answer = try await browser.get("/adfs/ls/?\(query)")
        #expect(answer.status == 400 && answer.action == nil)
      }
      let stranger = try TestServiceProvider("stranger", now: gateway.time.now)
      let unknown = stranger.message("AuthnRequest", at: gateway.time.now, destination: gateway.federation.identity.signOnURL)
      #expect(try await browser.get("/adfs/ls/?" + String(decoding: try stranger.redirect(unknown), as: UTF8.self)).status == 400)
      #expect(await gateway.store.events.count { $0.kind == .tokenRefused } == 10)
    }
  }

  @Test(arguments: ["x", "\"><script>", "<\u{338}script>", "\u{2028}'`", "\u{1}"]) func `returns the longest relay state as it came`(_ unit: String)
    async throws
  {
    try await withGateway { gateway async throws in
      let site = try await Site(gateway)
      var browser = BrowserForTests(gateway)
      let relayState = String(repeating: unit, count: 4096 / unit.utf8.count)
      let document = site.provider.message("AuthnRequest", at: gateway.time.now, destination: gateway.federation.identity.signOnURL)
      // By POST: percent-encoded it would be longer than a line of HTTP may be.
      let page = try await browser.post("/adfs/ls/", body: site.provider.post(try site.provider.signed(document), relayState: relayState))
      #expect(!page.text.contains("script>\u{338}") && !page.text.contains("\"><script>"))
      let fields = [("transaction", try #require(page.field("transaction"))), ("userName", "alice@contoso.com"), ("password", "right")]
      let answer = try await browser.follow(try await browser.post("/sign-in", fields))
      #expect(answer.status == 200 && answer.action == "https://wiki.example/acs")
      // Control characters cannot stand in HTML; everything else comes back to the byte.
      if unit != "\u{1}" { #expect(answer.field("RelayState").map { Array($0.utf8) } == Array(relayState.utf8)) }
    }
  }

  @Test func `speaks the browser's language`() async throws {
    try await withGateway { gateway async throws in
      let site = try await Site(gateway)
      var browser = BrowserForTests(gateway)
      browser.language = "de-DE,de;q=0.9,en;q=0.5"
      let page = try await browser.get(try site.target())
      #expect(page.text.contains("<html lang=\"de\">") && page.text.contains("Kennwort"))
      #expect(try await browser.get("/adfs/ls/?SAMLRequest=x").text.contains("Das hat nicht geklappt"))
    }
  }

  @Test func `keeps a session where the person wants it, and replaces the one before`() async throws {
    try await withGateway { gateway async throws in
      let site = try await Site(gateway)
      var browser = BrowserForTests(gateway)
      browser.cookies[BrowserCookies.sessionName] = [UInt8](repeating: 9, count: 32).base64URL
      let first = try await site.signIn(&browser)
      #expect(first.status == 200)
      let before = try #require(browser.cookies[BrowserCookies.sessionName])
      #expect(before != [UInt8](repeating: 9, count: 32).base64URL)
      let page = try await browser.get(try site.target(id: "_forced", attributes: " ForceAuthn=\"true\""))
      let again = try await browser.post(
        "/sign-in",
        [("transaction", try #require(page.field("transaction"))), ("userName", "alice@contoso.com"), ("password", "right"), ("keep", "1")])
      #expect(again.values("Set-Cookie").contains { $0.contains("Max-Age=604800") })
      #expect(try await browser.follow(again).posted().attribute("InResponseTo") == "_forced")
      let secret = Secret(try #require(StrictText.base64URL(before)))
      #expect(try await gateway.federation.sessions.session(secret, now: gateway.time.now) == nil)
    }
  }

  @Test func `signs out at its own page, and for nobody else`() async throws {
    try await withGateway { gateway async throws in
      let site = try await Site(gateway) { $0.logout = [] }
      var browser = BrowserForTests(gateway)
      _ = try await site.signIn(&browser)
      let page = try await browser.get("/sign-out")
      #expect(page.action == "/sign-out" && page.text.contains("alice@contoso.com"))
      // Another site's form has no transaction of this browser.
      #expect(try await browser.post("/sign-out", []).status == 303)
      #expect(try await browser.post("/sign-out", [("transaction", "x")]).status == 303)
      #expect(try await browser.get("/adfs/ls/IdpInitiatedSignOn.aspx").text.contains("alice@contoso.com"))
      let out = try await browser.post("/sign-out", [("transaction", try #require(page.field("transaction")))])
      // The wiki has no logout service: the person is told.
      #expect(out.status == 200 && out.text.contains("Wiki &lt;b&gt;") && out.text.contains("could not be told"))
      #expect(browser.cookies[BrowserCookies.sessionName] == nil)
      #expect(try await browser.get(try site.target(id: "_after")).action == "/sign-in")
      #expect(try await browser.get("/sign-out").text.contains("You are signed out"))
    }
  }

  @Test func `signs out at the wish of a relying party, and comes back with the others' answers`() async throws {
    try await withGateway { gateway async throws in
      let site = try await Site(gateway)
      var browser = BrowserForTests(gateway)
      _ = try await site.signIn(&browser)
      let shop = try TestServiceProvider("shop", now: gateway.time.now)
      try await gateway.store.add(shop.registration("shop"), audit: [])
      try await gateway.federation.parties.refresh()
      let url = gateway.federation.identity.signOnURL
      func query(
        _ provider: TestServiceProvider, _ local: String, _ direction: MessageDirection = .request, id: String, attributes: String = "",
        content: String = ""
      ) throws -> String {
        let document = provider.message(local, id: id, at: gateway.time.now, destination: url, attributes: attributes, content: content)
        return "/adfs/ls/?" + String(decoding: try provider.redirect(document, direction), as: UTF8.self)
      }
      #expect(try await browser.get(try query(shop, "AuthnRequest", id: "_shop")).field("SAMLResponse") != nil)
      let name = "<saml:NameID>alice@contoso.com</saml:NameID>"
      let away = try await browser.get(try query(site.provider, "LogoutRequest", id: "_out", content: name))
      #expect(away.status == 303 && away.value("Cache-Control") == "no-cache, no-store")
      let location = try #require(away.value("Location"))
      #expect(location.hasPrefix("https://shop.example/slo?SAMLRequest="))
      #expect(browser.cookies[BrowserCookies.sessionName] == nil && browser.cookies[BrowserCookies.logoutName] != nil)
      let asked = try ReceivedMessage(query: Array(location[location.index(after: try #require(location.firstIndex(of: "?")))...].utf8))
      let status = "<samlp:Status><samlp:StatusCode Value=\"\(Status.Code.success.rawValue)\"/></samlp:Status>"
      let back = try await browser.get(
        try query(
          shop, "LogoutResponse", .response, id: "_done", attributes: " InResponseTo=\"\(asked.root.attribute("ID") ?? "")\"", content: status))
      #expect(back.value("Location")?.hasPrefix("https://wiki.example/slo?SAMLResponse=") == true)
      #expect(browser.cookies[BrowserCookies.logoutName] == nil)
      // The same once more, or in another browser, leads nowhere.
      #expect(try await browser.get(try query(site.provider, "LogoutRequest", id: "_out", content: name)).status == 400)
      var other = BrowserForTests(gateway)
      #expect(try await other.get(try query(shop, "LogoutResponse", .response, id: "_done", content: status)).text.contains("You are signed out"))
    }
  }

  @Test func `begins here where a relying party allows it`() async throws {
    try await withGateway { gateway async throws in
      let site = try await Site(gateway) { $0.allowsUnsolicited = true }
      var browser = BrowserForTests(gateway)
      #expect(try await browser.get("/adfs/ls/").value("Location") == "/adfs/ls/IdpInitiatedSignOn.aspx")
      _ = try await site.signIn(&browser)
      #expect(try await browser.get("/adfs/ls/IdpInitiatedSignOn.aspx").text.contains("loginToRp=wiki\">Wiki &lt;b&gt;"))
      let answer = try await browser.get("/adfs/ls/IdpInitiatedSignOn.aspx?loginToRp=wiki&RelayState=%22")
      #expect(answer.field("RelayState") == "\"")
      #expect(try answer.posted().attribute("InResponseTo") == nil)
      for target in ["loginToRp=nobody", "loginToRp=wiki&loginToRp=wiki", "loginToRp=%ff", "logintorp=wiki"] {
        #expect(try await browser.get("/adfs/ls/IdpInitiatedSignOn.aspx?\(target)").status == 400)
      }
    }
  }

  @Test func `gives its metadata to everybody`() async throws {
    try await withGateway { gateway async throws in
      let site = try await Site(gateway)
      let key = try VerificationKey(certificate: try #require(gateway.federation.keys.metadataSigner).certificate)
      for path in [
        "/saml/metadata", "/saml/metadata/wiki",
        "/saml/metadata/\(try #require(gateway.federation.parties.party(entityID: site.provider.entityID)).id)",
      ] {
        let answer = try await gateway.ask(RawRequest("GET", path))
        #expect(answer.status == 200 && answer.value("Content-Type") == "application/samlmetadata+xml")
        #expect(answer.values("Cache-Control") == ["public, max-age=300"])
        let root = try XMLElement.parse(answer.body, limits: .metadata)
        #expect(
          try SignatureVerifier(keys: [key]).verify(root, position: .first).element.attribute("entityID")
            == gateway.federation.identity.entityID)
      }
      #expect(try await gateway.ask(RawRequest("GET", "/saml/metadata/nobody")).status == 404)
    }
  }

  @Test func `answers a logout over the back channel in SOAP, and faults in SOAP`() async throws {
    try await withGateway { gateway async throws in
      let site = try await Site(gateway)
      func send(_ body: [UInt8]) async throws -> RawAnswer {
        try await gateway.ask(RawRequest("POST", "/saml/logout", headers: [("Content-Type", "text/xml")], body: body))
      }
      let document = site.provider.message(
        "LogoutRequest", id: "_soap", at: gateway.time.now, destination: gateway.federation.identity.logoutSOAPURL,
        content: "<saml:NameID>alice</saml:NameID>")
      let answer = try await send(SOAPEnvelope.wrap(try site.provider.signed(document)))
      #expect(answer.status == 200 && answer.value("Content-Type") == "text/xml; charset=utf-8")
      #expect(try LogoutResponse(try SOAPEnvelope.body(answer.body)).status == .success)
      let other = Array(site.provider.message("AuthnRequest", at: gateway.time.now).utf8)
      for body in [[], Array("<x/>".utf8), SOAPEnvelope.wrap(Array(document.utf8)), SOAPEnvelope.wrap(other), Array("<!DOCTYPE x><x/>".utf8)] {
        let fault = try await send(body)
        #expect(fault.status == 500 && fault.text.contains("soap:Fault") && !fault.text.contains("<x/>"))
      }
    }
  }
}
