import Foundation
import Testing

/// The judges are judged first: the real relying parties, the browsers and the oracle do with somebody else's identity provider what tests here will ask
/// of them with ours. What fails here is no fault of Gatehouse.
@Suite("Relying parties, browsers and the oracle with SimpleSAMLphp", .serialized)
struct PeerIdentityProviderTests {
  /// Everything of one test: the identity provider and both relying parties, registered with each other.
  private func withParties(
    encrypts: Bool = false, shibboleth options: ShibbolethServiceProvider.Options = ShibbolethServiceProvider.Options(),
    byURL: Bool = false,
    _ body: (SimpleSAMLIdentityProvider, ShibbolethServiceProvider, MellonServiceProvider) async throws -> Void
  ) async throws {
    let peer = try await SimpleSAMLIdentityProvider(encryptsAssertions: encrypts)
    do {
      try await peer.start()
      let metadata = try await peer.metadata()
      let shibboleth = try await ShibbolethServiceProvider(
        identityProvider: peer.entityID, metadata: byURL ? .url(peer.metadataURL, reloadSeconds: 1) : .document(metadata), options: options)
      let mellon = try await MellonServiceProvider(metadata: metadata)
      do {
        try await shibboleth.start()
        try await mellon.start()
        try peer.register("shibboleth", metadata: try await shibboleth.metadata())
        try peer.register("mellon", metadata: try await mellon.metadata())
        try await body(peer, shibboleth, mellon)
      } catch {
        print("\(shibboleth.logTail)\n\(mellon.logTail)\n\(peer.logTail)")
        await shibboleth.remove()
        await mellon.remove()
        throw error
      }
      await shibboleth.remove()
      await mellon.remove()
    } catch {
      await peer.remove()
      throw error
    }
    await peer.remove()
  }

  /// Signs in with whatever page asks, and answers where that ends.
  private func signIn(_ browser: CookieBrowser, at party: any ServiceProvider, by url: String? = nil) async throws -> CookieBrowser.Page {
    var page = try await browser.carryOn(try await browser.open(url ?? party.protectedPageURL))
    if let form = try? page.form(with: "AuthState") {
      let person = SimpleSAMLIdentityProvider.person
      page = try await browser.submit(form, of: page, filling: ["username": person.name, "password": person.password])
      page = try await browser.carryOn(page)
    }
    return page
  }

  // What is not encrypted is Chromium's test, too.
  @Test(
    "A browser without scripts signs in at both relying parties, encrypted too, and what it carried is as it should be",
    arguments: RunLength.of([true], long: [true, false]))
  func withoutScripts(encrypts: Bool) async throws {
    try await withParties(encrypts: encrypts) { peer, shibboleth, mellon in
      let browser = CookieBrowser()
      for party in [shibboleth, mellon] as [any ServiceProvider] {
        let page = try await signIn(browser, at: party)
        let trail = await browser.trail
        let visitor = try #require(party.visitor(in: page.body), "\(trail)\n\(page.body)")
        let person = SimpleSAMLIdentityProvider.person
        #expect(visitor["mail"] == person.mail)
        #expect(visitor["affiliation"] == "member;staff")
        // Both escape the separator of values where it stands in one.
        #expect(visitor["displayName"]?.replacing("\\;", with: ";") == person.displayName)
        let carried = try #require(await browser.history.lazy.compactMap(\.samlMessage).last)
        let key = (party as? ShibbolethServiceProvider)?.key ?? mellon.key
        let signatures = try await DocumentOracle(certificate: peer.certificate).check(carried, decryptingWith: encrypts ? key : nil)
        #expect(signatures.map(\.element) == ["Response", "Assertion"])
        #expect(carried.contains("EncryptedAssertion") == encrypts)
      }
      let refused = await browser.jar.refused
      #expect(refused == [])
    }
  }

  @Test("Chromium does the same, by the keyboard alone, and signs out everywhere")
  func chromium() async throws {
    try await withParties { peer, shibboleth, mellon in
      try await Browser.with("peer", options: Browser.Options(language: "de")) { browser in
        let person = SimpleSAMLIdentityProvider.person
        try await browser.open(shibboleth.protectedPageURL)
        try await browser.find("#username").click()
        try await browser.type(person.name)
        try await browser.press(.tab)
        #expect(try await browser.activeElement.attribute("name") == "password")
        try await browser.type(person.password)
        try await browser.press(.enter)
        try await browser.wait(forURL: shibboleth.protectedPageURL)
        #expect(shibboleth.visitor(in: try await browser.source)?["mail"] == person.mail)
        try await browser.open(mellon.protectedPageURL)
        try await browser.wait(forURL: mellon.protectedPageURL)
        #expect(mellon.visitor(in: try await browser.source)?["mail"] == person.mail)
        #expect(try await browser.cookies().contains { $0.name == "mellon-cookie" && $0.httpOnly })
        try await browser.screenshot(to: "peer-signed-in")
        // Signed in once, the other relying party asked nothing. Signing out at one ends the session of the other, too.
        try await browser.open(shibboleth.logoutURL(returning: shibboleth.openPageURL))
        try await browser.wait(forURL: shibboleth.openPageURL)
        try await browser.open(mellon.protectedPageURL)
        #expect(try await browser.currentURL.hasPrefix(peer.url), "mellon did not sign its visitor out")
      }
    }
  }

  @Test("What a sign-in shall ask for goes out by the address, the request by POST, and the provider's metadata come by theirs")
  func options() async throws {
    let options = ShibbolethServiceProvider.Options(isTLS: false, requestBinding: "HTTP-POST")
    try await withParties(shibboleth: options, byURL: true) { peer, shibboleth, mellon in
      let browser = CookieBrowser()
      // Without a session, a passive request can only fail: the relying party shows the status that it got.
      let passive = try await browser.carryOn(try await browser.open(shibboleth.loginURL(ShibbolethServiceProvider.LoginOptions(isPassive: true))))
      let refusal = try #require(ShibbolethServiceProvider.refusal(in: passive.body), "\(passive.body)")
      #expect(refusal.status == "urn:oasis:names:tc:SAML:2.0:status:Responder")
      #expect(refusal.substatus == "urn:oasis:names:tc:SAML:2.0:status:NoPassive")
      let page = try await signIn(browser, at: shibboleth)
      #expect(shibboleth.visitor(in: page.body) != nil, "\(page.body)")
      // Signed in already, and asked all the same.
      let target = shibboleth.protectedPageURL + "?forced"
      let asked = try await browser.carryOn(
        try await browser.open(shibboleth.loginURL(target: target, ShibbolethServiceProvider.LoginOptions(forceAuthn: true))))
      #expect(throws: Never.self) { try asked.form(with: "AuthState") }
      let request = try #require(await browser.history.lazy.compactMap(\.samlMessage).last)
      #expect(try await DocumentOracle.values(request, "boolean(//@ForceAuthn[. = '1' or . = 'true'])") == ["True"])
      // Away here, still known there: the other relying party asks nothing.
      let local = try await browser.open(shibboleth.localLogoutURL())
      #expect(local.body.contains("Signed out here"))
      let other = try await signIn(browser, at: mellon)
      #expect(mellon.visitor(in: other.body) != nil)
      #expect(try await browser.open(mellon.localLogoutURL()).url == mellon.openPageURL)
      // And everywhere, by whatever messages that takes.
      _ = try await signIn(browser, at: shibboleth)
      _ = try await signIn(browser, at: mellon)
      let end = try await browser.carryOn(try await browser.open(mellon.logoutURL()))
      let trail = await browser.trail
      #expect(end.url == mellon.openPageURL, "\(trail)\n\(end.body)\n\(peer.logTail)")
      let gone = try await browser.carryOn(try await browser.open(shibboleth.protectedPageURL))
      #expect(throws: Never.self) { try gone.form(with: "AuthState") }
    }
  }

  @Test("A logout request by SOAP, signed by the identity provider, ends the session at the relying party")
  func backChannel() async throws {
    try await withParties { peer, shibboleth, _ in
      let browser = CookieBrowser()
      _ = try await signIn(browser, at: shibboleth)
      let response = try #require(await browser.history.lazy.compactMap(\.samlMessage).last)
      func one(_ path: String) async throws -> String { try await DocumentOracle.values(response, path).first ?? "" }
      let request = try await LogoutMessage.signed(
        from: peer.entityID, to: shibboleth.soapLogoutService, name: try await one("//saml:NameID"),
        format: try await one("//saml:NameID/@Format"), qualifier: try await one("//saml:NameID/@SPNameQualifier"),
        session: try await one("//saml:AuthnStatement/@SessionIndex"), key: peer.key)
      #expect(try await DocumentOracle(certificate: peer.certificate).check(request).map(\.element) == ["LogoutRequest"])
      let answer = try await browser.request(
        shibboleth.soapLogoutService, method: "POST", body: Array(LogoutMessage.inEnvelope(request).utf8),
        fields: [("content-type", "text/xml; charset=utf-8"), ("soapaction", "\"http://www.oasis-open.org/committees/security\"")])
      #expect(answer.status == 200)
      #expect(answer.body.contains("urn:oasis:names:tc:SAML:2.0:status:Success"), "\(answer.body)")
      let page = try await browser.request(shibboleth.protectedPageURL)
      #expect(page.status == 302)
    }
  }
}
