import Foundation
import Testing

/// Signing out, begun by everybody who can begin it. Shibboleth sends its requests by POST here, signed, and encrypts the names in its logout requests.
@Suite(
  "SAML logout", .serialized,
  .federation("saml-logout", shibboleth: ShibbolethServiceProvider.Options(encryptsNames: true, requestBinding: "HTTP-POST")))
struct SAMLLogoutTests {
  private static let success = "urn:oasis:names:tc:SAML:2.0:status:Success"
  private static let partial = "urn:oasis:names:tc:SAML:2.0:status:PartialLogout"

  /// Somebody who is signed in at both relying parties by one password.
  private func signedIn() async throws -> CookieBrowser {
    let federation = try FederationHouse.current
    let browser = CookieBrowser()
    for party in federation.parties {
      let page = try await federation.signIn(browser, party.protectedPageURL, as: "alice")
      let explanation = try await federation.explained(page)
      _ = try #require(party.visitor(in: page.body), "\(explanation)\n\(party.logTail)")
    }
    return browser
  }

  /// Whether a password is asked for, at a relying party that this browser was signed in at.
  private func isAsked(_ browser: CookieBrowser, at party: any ServiceProvider) async throws -> Bool {
    let page = try await browser.carryOn(try await browser.open(party.protectedPageURL))
    return (try? page.form(with: "password")) != nil
  }

  private func signOutHere(_ browser: CookieBrowser) async throws -> CookieBrowser.Page {
    let page = try await browser.open(try FederationHouse.current.house.gateway.url + "/sign-out")
    #expect(page.body.contains("You are signed in as alice@"))
    return try await browser.carryOn(try await browser.submit(try page.form(with: "transaction"), of: page))
  }

  @Test("Begun at either relying party, it ends the sessions of both and here, and comes back to where it began", arguments: [0, 1])
  func fromRelyingParty(index: Int) async throws {
    let federation = try FederationHouse.current
    let party = federation.parties[index]
    let browser = try await signedIn()
    let page = try await browser.carryOn(try await browser.open(party.logoutURL(returning: party.openPageURL)))
    let trail = await browser.trail
    #expect(page.url == party.openPageURL, "\(trail)\n\(page.body)\n\(party.logTail)")
    for party in federation.parties { #expect(try await isAsked(browser, at: party), "\(party.url): \(trail)") }
    // Nobody's name stands in what went through the browser in clear.
    if index == 0 {
      let sent = try #require(
        await browser.history.first { $0.status == 302 && $0.location?.contains("SAMLRequest=") == true && $0.url.contains("Logout") })
      let request = try await LogoutMessage.inRedirect(try #require(sent.location))
      #expect(request.contains("EncryptedID") && !request.contains("NameID>"), "\(request)")
    }
  }

  @Test("Begun at our own page, it ends the sessions at both relying parties; another site's form ends nothing")
  func fromHere() async throws {
    let federation = try FederationHouse.current
    let browser = try await signedIn()
    // Neither a form of another site nor a link signs anybody out.
    let forged = try await browser.request(
      federation.house.gateway.url + "/sign-out", method: "POST", body: Array("transaction=AAAA".utf8),
      fields: [("content-type", "application/x-www-form-urlencoded"), ("origin", "https://elsewhere.test")])
    #expect(forged.status == 303)
    #expect(try await !isAsked(browser, at: federation.mellon))
    let end = try await signOutHere(browser)
    #expect(end.body.contains("You are signed out"))
    #expect(!end.body.contains("could not be told"), "\(end.body)")
    for party in federation.parties { #expect(try await isAsked(browser, at: party)) }
    let again = try await browser.open(federation.house.gateway.url + "/sign-out")
    #expect(throws: (any Error).self) { try again.form(with: "transaction") }
  }

  @Test("Who has the back channel alone is told by SOAP; where it is down, the page names it, and who asked is told PartialLogout")
  func backChannel() async throws {
    let federation = try FederationHouse.current
    let (shibboleth, mellon) = (federation.shibboleth, federation.mellon)
    let own = try await shibboleth.metadata()
    try await federation.replaceMetadata("shibboleth", LogoutMessage.metadata(own, keeping: "SOAP"))
    try await federation.admin("rp", "edit", "shibboleth", "--display-name", "The <wiki> & co")

    let browser = try await signedIn()
    let end = try await signOutHere(browser)
    #expect(!end.body.contains("could not be told"), "\(end.body)\n\(federation.house.gateway.process?.logText.suffix(2000) ?? "")")
    #expect(try await isAsked(browser, at: shibboleth), "SOAP did not end its session: \(shibboleth.logTail)")
    #expect(try await isAsked(browser, at: mellon))

    let second = try await signedIn()
    let third = try await signedIn()
    await shibboleth.stop()
    let partly = try await signOutHere(second)
    #expect(partly.status == 200)
    #expect(partly.body.contains("could not be told") && partly.body.contains("<li>The &lt;wiki&gt; &amp; co</li>"), "\(partly.body)")
    #expect(!partly.body.contains("<li>mellon</li>"))
    _ = try await third.carryOn(try await third.open(mellon.logoutURL(returning: mellon.openPageURL)))
    let answer = try #require(await third.history.first { $0.location?.contains("SAMLResponse=") == true }?.location)
    let response = try await LogoutMessage.inRedirect(answer)
    #expect(try await DocumentOracle.values(response, "//samlp:StatusCode/@Value") == [Self.success, Self.partial])
    try await DocumentOracle(certificate: "").validate(response, .protocol20)
    try await shibboleth.start()
    // The session here is over in any case.
    #expect(try await isAsked(third, at: mellon))
    try await federation.replaceMetadata("shibboleth", own)
    try await federation.admin("rp", "edit", "shibboleth", "--display-name", "")
  }

  @Test("Where a relying party does not send the browser back, our page goes on with the others and names it; who asked is told PartialLogout")
  func frontChannelDown() async throws {
    let federation = try FederationHouse.current
    let (shibboleth, mellon) = (federation.shibboleth, federation.mellon)
    let own = try await mellon.metadata()
    try await federation.replaceMetadata("mellon", LogoutMessage.metadata(own, keeping: "HTTP-Redirect"))
    let (here, there) = (try await signedIn(), try await signedIn())
    await mellon.stop()
    let url = federation.house.gateway.url + "/sign-out"
    let page = try await here.open(url)
    var way = try await here.submit(try page.form(with: "transaction"), of: page, following: false)
    // Shibboleth comes first and sends the browser back, or mellon does and the browser stays there.
    while way.location?.hasPrefix(mellon.url) != true { way = try #require(try await here.step(way), "\(way.body)") }
    let end = try await here.carryOn(try await here.open(url))
    #expect(end.body.contains("could not be told") && end.body.contains("<li>mellon</li>"), "\(end.body)")
    #expect(!end.body.contains("<li>shibboleth</li>"))
    #expect(try await isAsked(here, at: shibboleth))
    // Once told, it is not told again.
    #expect(try await !here.open(url).body.contains("could not be told"))

    way = try await there.request(shibboleth.logoutURL(returning: shibboleth.openPageURL))
    while way.location?.hasPrefix(mellon.url) != true { way = try #require(try await there.step(way), "\(way.body)") }
    _ = try await there.open(url)
    let answer = try #require(await there.history.first { $0.location?.contains("SAMLResponse=") == true }?.location)
    let response = try await LogoutMessage.inRedirect(answer)
    #expect(try await DocumentOracle.values(response, "//samlp:StatusCode/@Value") == [Self.success, Self.partial])
    try await mellon.start()
    try await federation.replaceMetadata("mellon", own)
  }

  @Test("A request by SOAP ends the session here; it is a PartialLogout where somebody has the browser alone; it is taken once")
  func fromBackChannel() async throws {
    let federation = try FederationHouse.current
    let (shibboleth, mellon) = (federation.shibboleth, federation.mellon)
    let url = federation.house.gateway.url + "/saml/logout"
    let own = try await mellon.metadata()
    try await federation.replaceMetadata("mellon", LogoutMessage.metadata(own, keeping: "HTTP-Redirect"))
    for both in [false, true] {
      let browser = CookieBrowser()
      _ = try await federation.signIn(browser, shibboleth.protectedPageURL, as: "alice")
      let issued = try await federation.carried(by: browser)
      if both { _ = try await federation.signIn(browser, mellon.protectedPageURL, as: "alice") }
      func one(_ path: String) async throws -> String { try await DocumentOracle.values(issued, path).first ?? "" }
      let request = try await LogoutMessage.signed(
        from: shibboleth.entityID, to: url, name: try await one("//saml:NameID"), format: try await one("//saml:NameID/@Format"),
        session: try await one("//saml:AuthnStatement/@SessionIndex"), key: shibboleth.key)
      func send(_ text: String) async throws -> CookieBrowser.Page {
        try await CookieBrowser().request(
          url, method: "POST", body: Array(LogoutMessage.inEnvelope(text).utf8), fields: [("content-type", "text/xml; charset=utf-8")])
      }
      // By another's key, it is nobody's.
      let forged = try await LogoutMessage.signed(
        from: shibboleth.entityID, to: url, name: try await one("//saml:NameID"), format: try await one("//saml:NameID/@Format"), session: nil,
        key: mellon.key)
      #expect(try await send(forged).status == 500)
      let answer = try await send(request)
      #expect(answer.status == 200, "\(answer.body)")
      let begin = try #require(answer.body.range(of: "<samlp:LogoutResponse"))
      let end = try #require(answer.body.range(of: "</samlp:LogoutResponse>"))
      let response = String(answer.body[begin.lowerBound..<end.upperBound])
      #expect(try await DocumentOracle(certificate: try await federation.certificate()).check(response).map(\.element) == ["LogoutResponse"])
      #expect(try await DocumentOracle.values(response, "//samlp:StatusCode/@Value") == (both ? [Self.success, Self.partial] : [Self.success]))
      let page = try await browser.carryOn(try await browser.open(mellon.loginURL(target: nil)))
      #expect(throws: Never.self) { try page.form(with: "password") }
      let repeated = try await send(request)
      #expect(repeated.status == 500 && repeated.body.contains("Fault"))
    }
    try await federation.replaceMetadata("mellon", own)
  }

  @Test("A sign-in begun here arrives at either relying party, with its relay state; where that is not allowed, a page says so")
  func unsolicited() async throws {
    let federation = try FederationHouse.current
    let browser = CookieBrowser()
    let start = federation.house.gateway.url + "/adfs/ls/IdpInitiatedSignOn.aspx"
    let refused = try await browser.open(start + "?loginToRp=mellon")
    #expect(refused.status == 403)
    #expect(refused.body.contains("must begin at the application"))
    for name in ["mellon", "shibboleth"] { try await federation.admin("rp", "edit", name, "--unsolicited", "on") }
    // By name, by entityID, and out of the list on the page.
    let page = try await federation.signIn(
      browser, start + "?loginToRp=mellon&RelayState=\(federation.mellon.protectedPageURL.queryEncoded)", as: "alice")
    #expect(federation.mellon.visitor(in: page.body)?["eppn"] == "alice@\(federation.house.realm)", "\(page.body)\n\(federation.mellon.logTail)")
    let issued = try await federation.carried(by: browser)
    #expect(try await DocumentOracle.values(issued, "count(//@InResponseTo)") == ["0.0"])
    try await DocumentOracle(certificate: try await federation.certificate()).check(issued)
    let list = try await browser.open(start)
    #expect(list.body.contains("loginToRp=mellon\"") && list.body.contains("loginToRp=shibboleth\""), "\(list.body)")
    let other = try await browser.carryOn(
      try await browser.open(
        start + "?loginToRp=\(federation.shibboleth.entityID.queryEncoded)&RelayState=\(federation.shibboleth.protectedPageURL.queryEncoded)"))
    #expect(
      federation.shibboleth.visitor(in: other.body)?["eppn"] == "alice@\(federation.house.realm)", "\(other.body)\n\(federation.shibboleth.logTail)")
    for name in ["mellon", "shibboleth"] { try await federation.admin("rp", "edit", name, "--unsolicited", "off") }
  }

  @Test("Who reads no algorithms in our metadata takes SHA-1 and AES-CBC: the one is taken until a day that is set, the other never")
  func oldAlgorithms() async throws {
    let federation = try FederationHouse.current
    let shibboleth = federation.shibboleth
    let own = try await federation.house.gatewayMetadata()
    let old = own.replacing(#/<(alg:DigestMethod|alg:SigningMethod|md:EncryptionMethod) [^>]*><\/\1>/#, with: "")
      .replacing("<md:Extensions></md:Extensions>", with: "")
    try #require(old != own)
    try shibboleth.replaceIdentityProviderMetadata(old)
    let browser = CookieBrowser()
    func arrive(_ status: Int) async throws -> CookieBrowser.Page {
      var page: CookieBrowser.Page?
      _ = try await eventually(within: .seconds(20), every: .milliseconds(300)) {
        page = try await browser.carryOn(try await browser.open(shibboleth.protectedPageURL))
        return page?.status == status
      }
      return try #require(page)
    }
    let refused = try await arrive(400)
    #expect(try await federation.explained(refused).contains("not taken: http://www.w3.org/2000/09/xmldsig#rsa-sha1"))
    let day = Date(timeIntervalSinceNow: 10 * 86_400).formatted(.iso8601.year().month().day())
    try await federation.admin("rp", "edit", "shibboleth", "--accept-sha1-until", day)
    let page = try await federation.signIn(browser, shibboleth.protectedPageURL, as: "alice")
    #expect(shibboleth.visitor(in: page.body) != nil, "\(page.body)")
    // It is not said to have ended what it did not find.
    let unread = try await browser.open(shibboleth.logoutURL(returning: shibboleth.openPageURL))
    #expect(unread.status == 400)
    #expect(try await federation.explained(unread).contains("the encrypted name cannot be read"))
    #expect(try await !isAsked(browser, at: federation.mellon))
    try await federation.admin("rp", "edit", "shibboleth", "--accept-sha1-until", "never")
    try shibboleth.replaceIdentityProviderMetadata(own)
    _ = try await browser.open(shibboleth.localLogoutURL())
    #expect(shibboleth.visitor(in: try await arrive(200).body) != nil)
  }
}
