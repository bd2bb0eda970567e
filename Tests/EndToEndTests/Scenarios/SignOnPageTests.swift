import Foundation
import Testing

/// What people see in Chromium when something is not right, and what the help desk finds under the reference that they tell.
@Suite("Sign-on pages in Chromium", .serialized, .federation("sign-on-pages", threshold: 3))
struct SignOnPageTests {
  /// The reference on the page, explained by `gatehouse trace`.
  private func explained(_ browser: Browser) async throws -> Told.Explanation {
    let reference = try await browser.find(".reference code").text
    #expect(!reference.isEmpty)
    return try await FederationHouse.current.house.trace(reference)
  }

  private func fillIn(_ browser: Browser, _ name: String, _ password: String) async throws {
    let field = try await browser.find("#userName")
    try await field.clear()
    try await field.type(name)
    try await browser.type(password, into: "#password")
    try await send(browser, "#password")
  }

  /// Sends the form by Enter and waits for another page: the browser does not, and what is looked at next may still be the old one.
  private func send(_ browser: Browser, _ field: String) async throws {
    try await browser.run("window.isOld = true")
    try await browser.submit(field)
    try await browser.wait(for: "another page") {
      try await $0.run("return window.isOld !== true && document.readyState === 'complete'") == .bool(true)
    }
  }

  /// Fields as a screen reader has them: role and label.
  private func fields(_ browser: Browser) async throws -> [String] {
    var found: [String] = []
    for element in try await browser.findAll("input:not([type=hidden]), button") {
      found.append("\(try await element.role): \(try await element.label)")
    }
    return found
  }

  @Test("A wrong password: an alert that belongs to the fields says so; the name is kept; the right one goes on to the application")
  func wrongPassword() async throws {
    let federation = try FederationHouse.current
    let person = try await federation.house.people("page-wrong", 1)[0]
    try await Browser.with("wrong-password") { browser in
      try await browser.open(federation.shibboleth.protectedPageURL)
      #expect(try await browser.find("html").attribute("lang") == "en")
      let fields = try await fields(browser)
      #expect(fields == ["textbox: User name", "textbox: Password", "checkbox: Keep me signed in on this device", "button: Sign in"])
      try await fillIn(browser, person.name, "not it")
      #expect(try await browser.find("[role=alert]").text.contains("The user name or password is not correct."))
      try await browser.screenshot(to: "page-wrong-password")
      #expect(try await browser.find("#userName").property("value") == .string(person.name))
      #expect(try await browser.find("#password").property("value") == .string(""))
      #expect(try await browser.activeElement.attribute("name") == "password")
      let described = try await browser.find("#password").attribute("aria-describedby")
      #expect(try await browser.find("[role=alert]").attribute("id") == described)
      let explanation = try await explained(browser)
      #expect(explanation.cause.localizedCaseInsensitiveContains("password"), "\(explanation)")
      try await browser.type(person.password)
      try await browser.press(.enter)
      try await browser.wait(forURL: federation.shibboleth.protectedPageURL)
      #expect(Browser.violations(in: try await browser.complaints()) == [])
    }
  }

  @Test("An expired password is changed in place, in German: too short is explained in words, and the new one leads on to the application")
  func expired() async throws {
    let federation = try FederationHouse.current
    let person = try await federation.house.people("page-expired", 1)[0]
    try await SambaDomain.age([person.name], .old, in: federation.house.domain)
    try await Browser.with("expired-password", options: Browser.Options(language: "de")) { browser in
      try await browser.open(federation.mellon.protectedPageURL)
      try await fillIn(browser, person.name, person.password)
      #expect(try await browser.find("html").attribute("lang") == "de")
      #expect(try await browser.find("h1").text == "Kennwort ändern")
      #expect(try await browser.find("[role=alert]").text.contains("Ihr Kennwort ist abgelaufen. Wählen Sie hier ein neues."))
      #expect(
        try await fields(browser) == [
          "textbox: Benutzername", "textbox: Bisheriges Kennwort", "textbox: Neues Kennwort", "textbox: Neues Kennwort wiederholen",
          "button: Kennwort ändern",
        ])
      try await browser.screenshot(to: "page-expired")
      func change(_ new: String, _ repeated: String) async throws {
        try await browser.type(person.password, into: "#password")
        try await browser.type(new, into: "#newPassword")
        try await browser.type(repeated, into: "#repeated")
        try await send(browser, "#repeated")
      }
      try await change("Kurz.1", "Kurz.2")
      #expect(try await browser.find("[role=alert]").text.contains("stimmen nicht überein"))
      try await change("Kz.1", "Kz.1")
      #expect(try await browser.find("[role=alert]").text.contains("zu kurz: Es braucht mindestens 7 Zeichen."))
      try await browser.screenshot(to: "page-too-short")
      _ = try await explained(browser)
      try await change("Ganz.Neu.ü✓.1", "Ganz.Neu.ü✓.1")
      try await browser.wait(forURL: federation.mellon.protectedPageURL)
      #expect(federation.mellon.visitor(in: try await browser.source)?["eppn"] == "\(person.name)@\(federation.house.realm)")
    }
    // The old one is no more.
    let page = try await CookieBrowser().open(federation.mellon.protectedPageURL)
    #expect(page.status == 200)
  }

  @Test("An account that is locked here: the page says for how long, even where the password is right by now")
  func locked() async throws {
    let federation = try FederationHouse.current
    let person = try await federation.house.people("page-locked", 1)[0]
    try await Browser.with("locked-account") { browser in
      try await browser.open(federation.shibboleth.protectedPageURL)
      // The same wrong password again would count once.
      for guess in 1...3 { try await fillIn(browser, person.name, "not it \(guess)") }
      try await fillIn(browser, person.name, person.password)
      #expect(try await browser.find("[role=alert]").text.contains("There were too many failed tries. Wait a minute and try again."))
      try await browser.screenshot(to: "page-locked")
      let explanation = try await explained(browser)
      #expect(explanation.remedy.contains("unlock"), "\(explanation)")
      try await federation.admin("users", "unlock", person.name)
      try await fillIn(browser, person.name, person.password)
      try await browser.wait(forURL: federation.shibboleth.protectedPageURL)
    }
  }

  @Test("Unknown, at an address that is not registered, disabled: a page for each, and the trace names the check that failed")
  func refused() async throws {
    let federation = try FederationHouse.current
    let admin = federation.admin
    try await admin(
      "rp", "add", "--name", "page-open", "--entity-id", "urn:page:open", "--acs", "https://open.test/acs", "--display-name", "Open & shut")
    let cases: [(name: String, request: HandmadeRequest, text: String, check: String)] = [
      ("unknown-party", federation.request(of: "urn:page:unknown"), "is not registered. Tell your help desk which one it was.", "sender.known"),
      (
        "unknown-consumer", federation.request(of: "urn:page:open", consumer: "https://open.test/acs/other"),
        "Open & shut asks for the answer at an address that is not registered for it.", "consumer.registered"
      ), ("disabled-party", federation.request(of: "urn:page:open"), "Sign-in to Open & shut is switched off at the moment.", "sender.enabled"),
    ]
    try await Browser.with("refused-request") { browser in
      for each in cases {
        if each.name == "disabled-party" { try await admin("rp", "disable", "page-open") }
        try await browser.open(each.request.url)
        #expect(try await browser.find("[role=alert]").text.contains(each.text))
        #expect(try await browser.find("h1").text == "This did not work")
        #expect(try await browser.findAll("form").isEmpty)
        #expect(try await browser.currentURL.hasPrefix(federation.signOnURL))
        try await browser.screenshot(to: "page-\(each.name)")
        let explanation = try await explained(browser)
        #expect("\(explanation)".contains(each.check), "\(explanation)")
      }
    }
    try await admin("rp", "enable", "page-open")
    #expect(try await CookieBrowser().open(federation.request(of: "urn:page:open").url).form(with: "password").method == "POST")
    try await admin("rp", "remove", "page-open")
  }

  @Test("At 320 CSS pixels nothing scrolls sideways, in the light and in the dark, with the longest texts", arguments: [true, false])
  func narrow(dark: Bool) async throws {
    let federation = try FederationHouse.current
    let name = "page-narrow-\(dark)"
    try await federation.admin(
      "rp", "add", "--name", name, "--entity-id", "urn:page:\(name)", "--acs", "https://\(name).test/acs", "--display-name",
      "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft")
    try await Browser.with("narrow-page", options: Browser.Options(language: "de", prefersDark: dark)) { browser in
      try await browser.setViewport(width: 320, height: 568)
      func look(_ what: String) async throws {
        #expect(try await browser.run("return window.innerWidth") == .number(320))
        // A scroll bar for what is too high takes some of the width.
        let excess = try await browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        #expect(excess == .number(0), "\(what) scrolls sideways")
        #expect(try await browser.find("body").style("background-color") == (dark ? "rgba(22, 23, 27, 1)" : "rgba(243, 244, 246, 1)"))
        try await browser.screenshot(to: "page-narrow-\(what)-\(dark ? "dark" : "light")")
      }
      try await browser.open(federation.request(of: "urn:page:\(name)").url)
      try await look("sign-in")
      try await fillIn(browser, "somebody-with-a-very-long-name-that-does-not-break-anywhere-at-all@\(federation.house.realm)", "wrong")
      try await look("wrong")
      try await browser.open(federation.house.gateway.url + "/change-password")
      try await look("change")
      try await browser.open(federation.request(of: "urn:page:\(String(repeating: "long", count: 100))").url)
      try await look("refused")
      try await browser.open(federation.house.gateway.url + "/sign-out")
      try await look("signed-out")
    }
    try await federation.admin("rp", "remove", name)
  }

  @Test(
    "Another site's form into a live session is answered without a password, and the consumer may lead on to a third origin",
    arguments: [true, false])
  func crossSite(scripted: Bool) async throws {
    let federation = try FederationHouse.current
    let person = try await federation.house.people("page-cross-\(scripted)", 1)[0]
    let consumer = try await RedirectingConsumer.start()
    let name = "wanderer-\(scripted)"
    try await federation.admin("rp", "add", "--name", name, "--entity-id", "urn:\(name)", "--acs", consumer.url)
    try await Browser.with("cross-site", options: Browser.Options(isScripted: scripted)) { browser in
      func send(_ relayState: String) async throws {
        try await browser.open(federation.request(of: "urn:\(name)").page(relayState: relayState, scripted: scripted))
        if !scripted { try await browser.click("button") }
      }
      func arrive() async throws {
        // The button that leads to the consumer, not one of a page that is about to go.
        if !scripted { try await browser.click("form[action='\(consumer.url)'] button") }
        try await browser.wait(forURL: consumer.destination)
        #expect(try await browser.title == "Arrived elsewhere")
        #expect(Browser.violations(in: try await browser.complaints()) == [])
      }
      try await send("first <&> ü")
      try await browser.wait(for: "the sign-in page") { try await !$0.findAll("#password").isEmpty }
      try await fillIn(browser, person.name, person.password)
      try await arrive()
      try await send("second")
      try await arrive()
    }
    let states = consumer.deliveries.map { delivery in
      URLComponents(string: "?" + delivery.body.replacing("+", with: "%20"))?.queryItems?.first { $0.name == "RelayState" }?.value
    }
    #expect(states == ["first <&> ü", "second"])
    #expect(consumer.deliveries.allSatisfy { $0.body.contains("SAMLResponse=") && $0.referrer == nil })
    await consumer.stop()
    try await federation.admin("rp", "remove", name)
  }
}
