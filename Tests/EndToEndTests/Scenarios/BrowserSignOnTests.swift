import Foundation
import Testing

/// What a person sees and does: Chromium, real relying parties, a real domain.
@Suite("SAML sign-on by Chromium", .serialized)
struct BrowserSignOnTests {
  @Test("By the keyboard alone, with scripts and without, at two relying parties by one sign-in, and out of both", arguments: [true, false])
  func signOn(scripted: Bool) async throws {
    try await FederationHouse.with(
      "browser-sign-on", shibboleth: ShibbolethServiceProvider.Options(asynchronousLogout: !scripted), add: ["--encrypt", "assertion"]
    ) { federation in
      let (shibboleth, mellon) = (federation.shibboleth, federation.mellon)
      let person = try await federation.house.people(scripted ? "typist" : "reader", 1)[0]
      try await Browser.with("sign-on", options: Browser.Options(isScripted: scripted, language: "de")) { browser in
        /// Without scripts a person presses the button of pages that only carry something on.
        func arrive(at url: String) async throws {
          try await browser.wait(for: url, within: .seconds(20)) { browser in
            if try await browser.currentURL.hasPrefix(url) { return true }
            if !scripted, let button = try await browser.findAll("form:not(:has(#password)) button").first { try await button.click() }
            return false
          }
        }
        try await browser.open(shibboleth.protectedPageURL)
        let language = try await browser.find("html").attribute("lang")
        #expect(language == "de")
        try await browser.screenshot(to: "sign-on-\(scripted ? "scripted" : "plain")")
        let focus = try await browser.activeElement.attribute("name")
        #expect(focus == "userName")
        try await browser.type(person.name)
        try await browser.press(.tab)
        let next = try await browser.activeElement.attribute("name")
        #expect(next == "password")
        try await browser.type(person.password)
        try await browser.press(.enter)
        try await arrive(at: shibboleth.protectedPageURL)
        let first = shibboleth.visitor(in: try await browser.source)
        #expect(first?["eppn"] == "\(person.name)@\(federation.house.realm)")
        try await browser.open(mellon.protectedPageURL)
        try await arrive(at: mellon.protectedPageURL)
        let second = mellon.visitor(in: try await browser.source)
        #expect(second?["eppn"] == "\(person.name)@\(federation.house.realm)")
        let complaints = try await browser.complaints()
        #expect(Browser.violations(in: complaints) == [])
        try await browser.open(shibboleth.logoutURL(returning: shibboleth.openPageURL))
        // Asked for no answer, the gateway keeps the visitor, once everybody has been told.
        if scripted {
          try await arrive(at: shibboleth.openPageURL)
        } else {
          try await arrive(at: federation.house.gateway.url + "/adfs/ls/?SAMLResponse=")
        }
        try await browser.open(mellon.protectedPageURL)
        let end = try await browser.currentURL
        #expect(end.hasPrefix(federation.house.gateway.url), "mellon did not sign its visitor out: \(end)")
      }
    }
  }
}
