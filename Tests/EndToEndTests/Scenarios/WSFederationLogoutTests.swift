import Foundation
import Testing

/// One session with a relying party of each kind: whoever begins to sign out, everybody is signed out of. In Chromium, since it is the browser that carries it:
/// by frames to the one, by redirects to the other.
@Suite("Signing out of WS-Federation and SAML together", .serialized)
struct WSFederationLogoutTests {
  private static func with(_ body: (PassiveHouse, MellonServiceProvider) async throws -> Void) async throws {
    try await PassiveHouse.with("ws-federation-logout") { house in
      let mellon = try await MellonServiceProvider(metadata: try await house.house.gatewayMetadata())
      do {
        try await mellon.start()
        let file = house.gateway.folder + "/mellon.xml"
        try (try await mellon.metadata()).write(toFile: file, atomically: true, encoding: .utf8)
        try await house.admin("rp", "add", "--name", "mellon", "--metadata", file)
        try await body(house, mellon)
      } catch {
        print(mellon.logTail)
        await mellon.remove()
        throw error
      }
      await mellon.remove()
    }
  }

  /// Signs in at both by one password.
  private static func signIn(_ browser: Browser, _ person: (name: String, password: String), _ house: PassiveHouse, _ mellon: MellonServiceProvider)
    async throws
  {
    try await browser.open(house.party.protectedPageURL)
    try await browser.wait(for: "the sign-in page") { try await !$0.findAll("#password").isEmpty }
    try await browser.type(person.name, into: "#userName")
    try await browser.type(person.password, into: "#password")
    try await browser.submit("#password")
    try await browser.wait(forURL: house.party.protectedPageURL)
    #expect(VisitorPage(source: try await browser.source)?[WSFederationRelyingParty.claim("upn")] == "\(person.name)@\(house.house.realm)")
    try await browser.open(mellon.protectedPageURL)
    try await browser.wait(forURL: mellon.protectedPageURL)
    #expect(mellon.visitor(in: try await browser.source) != nil)
  }

  /// Whether each of them has forgotten its visitor, and asks the gateway, which asks for a password.
  private static func expectSignedOut(_ browser: Browser, _ house: PassiveHouse, _ mellon: MellonServiceProvider, _ what: String) async throws {
    for url in [house.party.protectedPageURL, mellon.protectedPageURL] {
      try await browser.open(url)
      try await browser.wait(for: "a password at \(url), \(what)", within: .seconds(5)) { try await !$0.findAll("#password").isEmpty }
      #expect(try await browser.currentURL.hasPrefix(house.gateway.url))
    }
  }

  @Test("Begun at the one, at the other, or here, it ends the sessions at both and here, comes back, and the pages break no policy of theirs")
  func signOut() async throws {
    try await Self.with { house, mellon in
      let person = try await house.house.people("leaver", 1)[0]
      for begun in ["ws-federation", "saml", "here"] {
        try await Browser.with("ws-federation-logout-\(begun)") { browser in
          try await Self.signIn(browser, person, house, mellon)
          _ = try await browser.complaints()
          switch begun {
          case "ws-federation":
            try await browser.open(house.party.signOutURL)
            try await browser.wait(forURL: house.party.openPageURL)
          case "saml":
            try await browser.open(mellon.logoutURL(returning: mellon.openPageURL))
            try await browser.wait(forURL: mellon.openPageURL)
          default:
            try await browser.open(house.gateway.url + "/sign-out")
            try await browser.click("form button")
            try await browser.wait(for: "the end") { try await $0.text.contains("You are signed out") }
            #expect(try await !browser.text.contains("could not be told"))
          }
          #expect(Browser.violations(in: try await browser.complaints()) == [], "\(begun)")
          try await browser.screenshot(to: "ws-federation-signed-out-\(begun)")
          try await Self.expectSignedOut(browser, house, mellon, "begun at \(begun)")
        }
      }
      try await self.withoutBrowser(house)
    }
  }

  /// What a relying party may ask, and what it may not: nothing is sent to addresses that are not registered, and the clean-up is done as often as it is asked.
  private func withoutBrowser(_ house: PassiveHouse) async throws {
    let browser = CookieBrowser()
    for _ in 0..<2 {
      let page = try await browser.request(house.question([], action: "wsignoutcleanup1.0"))
      #expect(page.status == 200 && page.location == nil, "without a session: \(page.status) \(page.body)")
    }
    let frames = ["https://evil.example/", house.party.reply + "more", "javascript:alert(1)"]
    for reply in frames {
      for action in ["wsignout1.0", "wsignoutcleanup1.0"] {
        let page = try await browser.follow(
          try await browser.request(house.question([("wtrealm", house.party.realm), ("wreply", reply)], action: action)))
        #expect(page.url.hasPrefix(house.gateway.url), "led to \(page.url)")
        for tag in try HTMLScan.tags(in: page.body) {
          for (name, value) in tag.attributes where ["href", "src", "action", "content"].contains(name) {
            #expect(!value.contains(reply), "\(action): <\(tag.name) \(name)=\(value)>")
          }
        }
      }
    }
  }
}
