import Foundation
import NIOSSL
import Testing

/// The small user agent and the list of attacks, before anything is judged by them.
@Suite("The user agent of the protocol tests")
struct UserAgentTests {
  @Test("Forms are read as they would be sent")
  func forms() throws {
    let page = """
      <!doctype html><html><head><title>a < b</title><script>if (a < b) { "<form>" }</script></head><body>
      <form method='post' action="/x?a=1&amp;b=2"><!-- <input name=no> --><input type=hidden name=SAMLResponse value="PHg+">
      <input name="RelayState" value="&quot;&#x3c;&#62;&amp;amp;"><input type="checkbox" name="off"><input type="checkbox" name="on" checked>
      <textarea name="t">a &lt; b</textarea><select name="s"><option value="1"><option value="2" selected></select>
      <input type="password" name="p" disabled><button name="go" value="1">Go</button></form>
      <form action="https://elsewhere.test/"></form></body></html>
      """
    let forms = try HTMLScan.forms(in: page)
    #expect(forms.count == 2)
    #expect(forms[0].method == "POST")
    #expect(forms[0].action == "/x?a=1&b=2")
    #expect(forms[0].fields.map(\.name) == ["SAMLResponse", "RelayState", "on", "t", "s"])
    #expect(forms[0]["RelayState"] == "\"<>&amp;")
    #expect(forms[0]["t"] == "a < b")
    #expect(forms[0]["s"] == "2")
    #expect(forms[0].buttons.map(\.name) == ["go"])
    #expect(forms[1].method == "GET")
  }

  @Test(
    "Pages that two browsers could read in two ways are refused",
    arguments: [
      "<form action=\"a\" action=\"b\"></form>", "<form><form></form></form>", "<form", "<input name=a\"b>", "<!-- ", "<script>", "<form>",
      "<input value=\"a\" \"b\">", "<input value=\"a>",
    ])
  func refused(page: String) { #expect(throws: HTMLScan.Fault.self) { try HTMLScan.forms(in: page) } }

  @Test("Cookies are kept and sent by RFC 6265bis")
  func cookies() throws {
    let secure = try #require(URL(string: "https://localhost:1/a/b"))
    let plain = try #require(URL(string: "http://localhost:1/a/b"))
    var jar = CookieJar()
    jar.keep("__Host-session=1; Secure; HttpOnly; SameSite=None; Path=/", from: secure)
    jar.keep("below=2; Path=/a", from: secure)
    jar.keep("default=3", from: secure)
    jar.keep("gone=4; Max-Age=0", from: secure)
    jar.keep("dated=5; Expires=Wed, 09 Jun 2100 10:18:14 GMT", from: secure)
    #expect(jar.refused == [])
    for field in [
      "__Host-x=1; Path=/", "__Host-x=1; Secure; Path=/a", "__Host-x=1; Secure; Path=/; Domain=localhost", "x=1; SameSite=None",
      "x=1; Domain=other.test",
    ] { jar.keep(field, from: secure) }
    jar.keep("x=1; Secure", from: plain)
    #expect(jar.refused.count == 6)
    #expect(jar.field(for: secure) == "__Host-session=1; below=2; default=3; dated=5")
    #expect(jar.field(for: try #require(URL(string: "https://localhost/ab"))) == "__Host-session=1")
    #expect(jar.field(for: plain) == "below=2; default=3; dated=5")
    #expect(jar.field(for: try #require(URL(string: "https://127.0.0.1:1/a/b"))) == nil)
    jar.keep("below=; Path=/a; Max-Age=-1", from: secure)
    #expect(jar["below"] == nil)
    #expect(jar["__Host-session"]?.sameSite == "None")
  }

  @Test("Every attack on the federation endpoint can be filled in, and is made of its own bytes")
  func attacks() async throws {
    let folder = try BuiltProgram.folder("attacks")
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for name in ["unsigned", "signing", "unknown"] {
      try await LeashedProcess.run("/usr/bin/openssl", ["genrsa", "-out", "\(folder)/\(name).key", "2048"])
    }
    func party(_ name: String, _ port: Int) -> FederationAttack.RelyingParty {
      FederationAttack.RelyingParty(
        issuer: "http://127.0.0.1:\(port)/\(name)", assertionConsumerService: "http://127.0.0.1:\(port)/sso/POST", key: "\(folder)/\(name).key")
    }
    let target = FederationAttack.Target(
      destination: "https://localhost:4443/adfs/ls/", unsigned: party("unsigned", 81), signing: party("signing", 82),
      unknownKey: "\(folder)/unknown.key")
    let attacks = try FederationAttack.all()
    #expect(attacks.count > 200)
    for attack in attacks {
      let requests = try await attack.requests(to: target)
      #expect(requests.count == attack.times ?? 1, "\(attack)")
      for request in requests {
        #expect(request.target.hasPrefix("/adfs/ls/"), "\(attack)")
        #expect(!request.target.contains("{") || attack.relayState != nil, "\(attack)")
      }
      // What is registered would be answered: an attack that comes out as the registered address is none.
      if attack.name.hasPrefix("acs-"), let message = requests.last?.message, attack.times == nil {
        let right = "AssertionConsumerServiceURL=\"\(target.unsigned.assertionConsumerService)\""
        #expect(!message.contains(" " + right) || attack.name == "acs-twice", "\(attack): \(message)")
      }
    }
  }

  @Test("A refusal that leads elsewhere, or says too much, is found out")
  func judged() {
    let fields = [
      ("content-type", "text/html; charset=utf-8"), ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
      ("x-content-type-options", "nosniff"), ("cache-control", "no-store"),
    ]
    func answer(_ status: Int?, _ body: String = "<!doctype html><title>Refused</title><p>https://evil.example/", _ more: [(String, String)] = [])
      -> RawHTTPS.Answer
    { RawHTTPS.Answer(status: status, fields: (fields + more).map { (name: $0.0, value: $0.1) }, bytes: Array(body.utf8)) }
    #expect(FederationAttackRun.objections(to: answer(400)) == [])
    #expect(FederationAttackRun.objections(to: answer(413), mayBeCutOff: true) == [])
    #expect(FederationAttackRun.objections(to: answer(nil), mayBeCutOff: true) == [])
    let wrong: [RawHTTPS.Answer] = [
      answer(nil), answer(413), answer(404), answer(302, "", [("location", "/")]), answer(400, "<a href=\"https://EVIL.example/\">x</a>"),
      answer(400, "<form action=\"https://relying-party.test/\"></form>"), answer(400, "<form action=\"\"><input name=\"SAMLResponse\"></form>"),
      answer(400, "<a href='JavaScript:x'>"), answer(400, "<p onclick=\"x\">"), answer(400, "<p a=\"1\" a=\"2\">"),
      answer(400, "", [("x", "https://evil.example/")]), answer(400, "", [("set-cookie", "x=y")]),
      RawHTTPS.Answer(status: 400, fields: [("content-type", "text/html")], bytes: []),
    ]
    for (number, answer) in wrong.enumerated() { #expect(FederationAttackRun.objections(to: answer) != [], "\(number)") }
  }

  @Test("Bytes are sent to a gateway as they stand, and its answers are read, chunks and all")
  func raw() async throws {
    let gateway = try await GatewayProcess(scenario: "user-agent")
    do {
      try await gateway.start()
      func send(_ target: String, _ method: String = "GET", body: String? = nil) async throws -> RawHTTPS.Answer {
        try await RawHTTPS.send(
          RawHTTPS.bytes(method, target, host: "localhost:\(gateway.publicPort)", body: body), to: gateway.publicPort,
          authority: gateway.publicAuthority)
      }
      let known = try await send("/GetUserRealm.srf?login=somebody@example.test")
      #expect(known.status == 200)
      #expect((try? JSONSerialization.jsonObject(with: Data(known.bytes))) != nil, "\(known.body)")
      #expect(try await send("/nowhere?%G1\u{ff}").status.map { (400..<500).contains($0) } == true)
      let large = try await send("/v1/sign-in", "POST", body: String(repeating: "A", count: 2_000_000))
      #expect(large.status.map { (400..<500).contains($0) } ?? true, "\(large.body)")
    } catch {
      await gateway.remove()
      throw error
    }
    await gateway.remove()
  }

  @Test("Chromium has scripts or not, speaks the language it was told, and tells what it complains of", arguments: [true, false])
  func chromium(scripted: Bool) async throws {
    let html =
      "<!doctype html><html lang=\"de\"><title>off</title><label for=a>Name</label><input id=a autofocus><script>document.title='on'</script>"
    try await Browser.with("user-agent", options: Browser.Options(isScripted: scripted, language: "de", width: 400, height: 700, prefersDark: true)) {
      browser in
      try await browser.open("data:text/html;base64," + Data(html.utf8).base64EncodedString())
      #expect(try await browser.title == (scripted ? "on" : "off"))
      #expect(try await browser.run("return navigator.language").text?.hasPrefix("de") == true)
      #expect(try await browser.run("return matchMedia('(prefers-color-scheme: dark)').matches").isTrue)
      #expect(try await browser.find("#a").label == "Name")
      #expect(try await browser.find("#a").role == "textbox")
      try await browser.find("#a").click()
      try await browser.type("Zoë")
      #expect(try await browser.activeElement.property("value") == .string("Zoë"))
      try await browser.run("console.error('told')")
      #expect(try await browser.complaints().contains { $0.message.contains("told") && $0.level == "SEVERE" })
      let picture = try await browser.screenshot(to: "user-agent-\(scripted ? "scripted" : "plain")")
      #expect(try Data(contentsOf: URL(fileURLWithPath: picture)).starts(with: [0x89, 0x50, 0x4e, 0x47]))
      await #expect(throws: Browser.Failure.self) { try await browser.find("#nothing") }
    }
  }
}
