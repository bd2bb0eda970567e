import Foundation
import Testing

/// The judges are judged first: the real relying parties, the browsers and the oracle do with somebody else's identity provider what tests here will ask
/// of them with ours. What fails here is no fault of Gatehouse.
@Suite("Relying parties, browsers and the oracle with SimpleSAMLphp", .serialized)
struct PeerIdentityProviderTests {
  /// Everything of one test: the identity provider and both relying parties, registered with each other.
  private func withParties(
    encrypts: Bool = false, _ body: (SimpleSAMLIdentityProvider, ShibbolethServiceProvider, MellonServiceProvider) async throws -> Void
  ) async throws {
    let peer = try await SimpleSAMLIdentityProvider(encryptsAssertions: encrypts)
    do {
      try await peer.start()
      let metadata = try await peer.metadata()
      let shibboleth = try await ShibbolethServiceProvider(identityProvider: peer.entityID, metadata: .document(metadata))
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
  private func signIn(_ browser: CookieBrowser, at party: any ServiceProvider) async throws -> CookieBrowser.Page {
    var page = try await browser.carryOn(try await browser.open(party.protectedPageURL))
    if let form = try? page.form(with: "AuthState") {
      let person = SimpleSAMLIdentityProvider.person
      page = try await browser.submit(form, of: page, filling: ["username": person.name, "password": person.password])
      page = try await browser.carryOn(page)
    }
    return page
  }

  @Test(
    "A browser without scripts signs in at both relying parties, encrypted too, and what it carried is as it should be", arguments: [false, true])
  func withoutScripts(encrypts: Bool) async throws {
    try await withParties(encrypts: encrypts) { peer, shibboleth, mellon in
      let browser = CookieBrowser()
      for party in [shibboleth, mellon] as [any ServiceProvider] {
        let page = try await signIn(browser, at: party)
        let visitor = try #require(VisitorPage(source: page.body), "\(await browser.trail)\n\(page.body)")
        let person = SimpleSAMLIdentityProvider.person
        #expect(visitor["mail"] == person.mail)
        #expect(visitor["affiliation"] == "member;staff")
        // Both escape the separator of values where it stands in one.
        #expect(visitor["displayName"]?.replacing("\\;", with: ";") == person.displayName)
        let carried = try #require(await browser.history.lazy.compactMap(\.samlMessage).last)
        let oracle = DocumentOracle(certificate: peer.certificate)
        var signatures = try await oracle.check(carried)
        if encrypts {
          #expect(signatures.map(\.element) == ["Response"])
          let key = (party as? ShibbolethServiceProvider)?.key ?? mellon.key
          signatures = try await oracle.check(try await oracle.decrypted(carried, key: key), schema: nil)
        }
      }
      #expect(await browser.jar.refused == [])
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
        #expect(VisitorPage(source: try await browser.source)?["mail"] == person.mail)
        try await browser.open(mellon.protectedPageURL)
        try await browser.wait(forURL: mellon.protectedPageURL)
        #expect(VisitorPage(source: try await browser.source)?["mail"] == person.mail)
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
}
