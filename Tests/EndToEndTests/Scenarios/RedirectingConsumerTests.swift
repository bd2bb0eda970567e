import Foundation
import Testing

/// What Chromium makes of `form-action` when the answer to a form's POST leads on to another origin: it binds that redirect, too. A page that carries a SAML
/// response and names the assertion consumer service alone there breaks every relying party whose application lives elsewhere.
@Suite("A consumer that leads on to another origin", .serialized)
struct RedirectingConsumerTests {
  private func page(_ policy: String, to consumer: RedirectingConsumer) -> String {
    let html = """
      <!doctype html><html lang="en"><meta http-equiv="Content-Security-Policy" content="\(policy)"><title>On its way</title>
      <form method="post" action="\(consumer.url)"><input type="hidden" name="SAMLResponse" value="PHgvPg=="><button>Go on</button></form></html>
      """
    return "data:text/html;charset=utf-8;base64," + Data(html.utf8).base64EncodedString()
  }

  @Test("Chromium lets the form go where the policy says", arguments: [true, false])
  func sent(scripted: Bool) async throws {
    let consumer = try await RedirectingConsumer.start()
    try await Browser.with("redirecting-consumer", options: Browser.Options(isScripted: scripted)) { browser in
      try await browser.open(page("default-src 'none'", to: consumer))
      #expect(try await browser.run("return 1") == .number(1))
      try await browser.click("button")
      try await browser.wait(forURL: consumer.destination)
      #expect(try await browser.title == "Arrived elsewhere")
      #expect(Browser.violations(in: try await browser.complaints()) == [])
    }
    #expect(consumer.deliveries.map(\.body) == ["SAMLResponse=PHgvPg%3D%3D"])
    await consumer.stop()
  }

  @Test("A policy that names another origin only is kept, and the violation is told")
  func refused() async throws {
    let consumer = try await RedirectingConsumer.start()
    try await Browser.with("redirecting-consumer") { browser in
      try await browser.open(page("form-action https://relying-party.test", to: consumer))
      try await browser.click("button")
      try await browser.wait(for: "a violation") { !Browser.violations(in: try await $0.complaints()).isEmpty }
      #expect(try await browser.title == "On its way")
    }
    #expect(consumer.deliveries == [])
    await consumer.stop()
  }

  @Test("A policy that names the consumer's origin only stops the browser at the redirect, after the consumer has had the form")
  func redirected() async throws {
    let consumer = try await RedirectingConsumer.start()
    let origin = try #require(CookieBrowser.origin(consumer.url))
    try await Browser.with("redirecting-consumer") { browser in
      try await browser.open(page("form-action \(origin)", to: consumer))
      try await browser.click("button")
      try await browser.wait(for: "a violation") { !Browser.violations(in: try await $0.complaints()).isEmpty }
      #expect(try await browser.title == "On its way")
    }
    #expect(consumer.deliveries.count == 1)
    await consumer.stop()
  }
}
