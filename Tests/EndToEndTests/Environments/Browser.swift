import AsyncHTTPClient
import Foundation

/// A real Chromium without a window, by the WebDriver protocol (W3C). Every browser is fresh: no cookies, no history.
struct Browser: Sendable {
  struct Failure: Error, CustomStringConvertible {
    /// WebDriver's own word for it: `no such element`, `timeout`, …
    var code: String
    var description: String
  }

  struct Options: Sendable {
    var isScripted = true
    /// Preferred languages, the first first.
    var language = "en"
    var width = 1280
    var height = 900
    var prefersDark = false
    /// Whoever answers is believed, as if the tests' own authority were installed.
    var acceptsAnyCertificate = true
  }

  /// A key that is none for writing with.
  enum Key: String {
    case tab = "\u{e004}"
    case enter = "\u{e007}"
    case space = " "
    case escape = "\u{e00c}"
    case shift = "\u{e008}"
  }

  /// Something that stands in the page.
  struct Element: Sendable {
    fileprivate let url: String

    func click() async throws { _ = try await ChromeDriver.command("POST", url + "/click") }
    func type(_ text: String) async throws {
      _ = try await ChromeDriver.command("POST", url + "/value", JSONValue.object(["text": .string(text)]).json)
    }
    func clear() async throws { _ = try await ChromeDriver.command("POST", url + "/clear") }
    func attribute(_ name: String) async throws -> String? { try await ChromeDriver.command("GET", url + "/attribute/" + name).text }
    func property(_ name: String) async throws -> JSONValue { try await ChromeDriver.command("GET", url + "/property/" + name) }
    func style(_ name: String) async throws -> String { try await ChromeDriver.command("GET", url + "/css/" + name).text ?? "" }
    /// What a person can read of it.
    var text: String { get async throws { try await ChromeDriver.command("GET", url + "/text").text ?? "" } }
    var tag: String { get async throws { try await ChromeDriver.command("GET", url + "/name").text ?? "" } }
    /// What a screen reader calls it.
    var label: String { get async throws { try await ChromeDriver.command("GET", url + "/computedlabel").text ?? "" } }
    var role: String { get async throws { try await ChromeDriver.command("GET", url + "/computedrole").text ?? "" } }
    var isDisplayed: Bool { get async throws { try await ChromeDriver.command("GET", url + "/displayed").isTrue } }
  }

  struct Cookie: Equatable, Sendable {
    var name: String
    var value: String
    var domain: String
    var path: String
    var secure: Bool
    var httpOnly: Bool
    var sameSite: String?
  }

  /// Something that the browser complained of.
  struct Complaint: Equatable, Sendable {
    /// SEVERE, WARNING, INFO or DEBUG.
    var level: String
    /// console-api, javascript, network, security, violation, …
    var source: String
    var message: String
  }

  private let session: String

  /// Opens a browser, lets `body` use it, and closes it, however that went. Where it went wrong, a picture and the page's source are kept.
  static func with<Result>(
    _ scenario: String, options: Options = Options(), _ body: (Browser) async throws -> Result
  ) async throws -> Result {
    let browser = try await open(options)
    do {
      let result = try await body(browser)
      await browser.close()
      return result
    } catch {
      let address = (try? await browser.currentURL) ?? "?"
      _ = try? await browser.screenshot(to: scenario + "-failed")
      let text = (try? await browser.text) ?? ""
      let complaints = (try? await browser.complaints()) ?? []
      await browser.close()
      throw Failure(code: (error as? Failure)?.code ?? "", description: "\(error)\nat \(address): \(text.prefix(2000))\n\(complaints)")
    }
  }

  private static func open(_ options: Options) async throws -> Browser {
    let driver = try await ChromeDriver.shared.url()
    // As root there is no sandbox; nobody else's pages are opened here.
    var arguments = [
      "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-extensions", "--disable-sync", "--no-proxy-server", "--lang=\(options.language)",
      "--window-size=\(options.width),\(options.height)",
    ]
    if options.prefersDark { arguments += ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] }
    var preferences: [String: JSONValue] = [
      "intl.accept_languages": .string(options.language), "credentials_enable_service": .bool(false),
      "profile.password_manager_enabled": .bool(false),
      "profile.password_manager_leak_detection": .bool(false),
      // Pages of one site may frame another's with its cookies, as most browsers still let them (and as sign-out by WS-Federation needs).
      "profile.cookie_controls_mode": .number(0), "profile.block_third_party_cookies": .bool(false),
    ]
    if !options.isScripted { preferences["profile.managed_default_content_settings.javascript"] = .number(2) }
    let wanted = JSONValue.object([
      "capabilities": .object([
        "alwaysMatch": .object([
          "browserName": .string("chrome"), "acceptInsecureCerts": .bool(options.acceptsAnyCertificate), "pageLoadStrategy": .string("normal"),
          "goog:loggingPrefs": .object(["browser": .string("ALL")]),
          "timeouts": .object(["pageLoad": .number(30_000), "script": .number(10_000), "implicit": .number(0)]),
          "goog:chromeOptions": .object(["args": .array(arguments.map { .string($0) }), "prefs": .object(preferences)]),
        ])
      ])
    ])
    let made = try await ChromeDriver.command("POST", driver + "/session", wanted.json)
    guard let id = made["sessionId"].text else { throw Failure(code: "", description: "no session: \(made)") }
    return Browser(session: driver + "/session/" + id)
  }

  private func close() async { _ = try? await ChromeDriver.command("DELETE", session) }

  private func command(_ method: String, _ path: String, _ body: [String: JSONValue] = [:]) async throws -> JSONValue {
    try await ChromeDriver.command(method, session + path, JSONValue.object(body).json)
  }

  /// Goes there and waits until the page is loaded, redirects and all.
  func open(_ url: String) async throws { _ = try await command("POST", "/url", ["url": .string(url)]) }
  func back() async throws { _ = try await command("POST", "/back") }
  func forward() async throws { _ = try await command("POST", "/forward") }
  func reload() async throws { _ = try await command("POST", "/refresh") }

  var currentURL: String { get async throws { try await command("GET", "/url").text ?? "" } }
  var title: String { get async throws { try await command("GET", "/title").text ?? "" } }
  var source: String { get async throws { try await command("GET", "/source").text ?? "" } }
  /// What a person can read of the page.
  var text: String { get async throws { try await find("body").text } }

  /// The first that fits; throws `no such element`.
  func find(_ css: String) async throws -> Element {
    let found = try await command("POST", "/element", ["using": .string("css selector"), "value": .string(css)])
    return try element(found)
  }

  func findAll(_ css: String) async throws -> [Element] {
    try await command("POST", "/elements", ["using": .string("css selector"), "value": .string(css)]).items.map { try element($0) }
  }

  /// What the keyboard writes into.
  var activeElement: Element { get async throws { try element(try await command("GET", "/element/active")) } }

  private func element(_ value: JSONValue) throws -> Element {
    // The protocol's name for a reference to an element (W3C WebDriver §12.1).
    guard let id = value["element-6066-11e4-a52e-4f735466cecf"].text else { throw Failure(code: "no such element", description: "\(value)") }
    return Element(url: session + "/element/" + id)
  }

  /// Clicks on the first that fits as soon as there is one: a page may still be on its way.
  func click(_ css: String) async throws {
    try await wait(for: css) { try await !$0.findAll(css).isEmpty }
    try await find(css).click()
  }

  /// Writes into a field.
  func type(_ text: String, into css: String) async throws { try await find(css).type(text) }

  /// Writes to wherever the keyboard writes now.
  func type(_ text: String) async throws { try await keys(text.map { [String($0)] }) }

  /// Presses keys one after the other, as a person without a mouse does.
  func press(_ keys: Key...) async throws { try await self.keys(keys.map { [$0.rawValue] }) }

  /// Presses keys together: shift and tab.
  func pressTogether(_ keys: Key...) async throws { try await self.keys([keys.map(\.rawValue)]) }

  private func keys(_ chords: [[String]]) async throws {
    let actions = chords.flatMap { chord in
      chord.map { JSONValue.object(["type": .string("keyDown"), "value": .string($0)]) }
        + chord.reversed().map { JSONValue.object(["type": .string("keyUp"), "value": .string($0)]) }
    }
    _ = try await command(
      "POST", "/actions",
      ["actions": .array([.object(["type": .string("key"), "id": .string("keyboard"), "actions": .array(actions)])])])
  }

  /// Sends the form that a field belongs to, by Enter: as a person would, with the page's own checks.
  func submit(_ css: String) async throws { try await find(css).type(Key.enter.rawValue) }

  /// Waits until `condition` holds: pages that send themselves on are not waited for by the browser.
  func wait(for what: String, within limit: Duration = .seconds(15), _ condition: (Browser) async throws -> Bool) async throws {
    let holds = try await eventually(within: limit) {
      do { return try await condition(self) } catch let failure as Failure {
        // Pages change underneath while one looks.
        guard ["no such element", "stale element reference", "unknown error"].contains(failure.code) else { throw failure }
        return false
      }
    }
    guard holds else { throw Failure(code: "timeout", description: "\(what) did not come within \(limit)") }
  }

  /// Waits until the address begins so.
  func wait(forURL prefix: String) async throws { try await wait(for: prefix) { try await $0.currentURL.hasPrefix(prefix) } }

  /// The cookies that the page's own host gets.
  func cookies() async throws -> [Cookie] {
    try await command("GET", "/cookie").items.map {
      Cookie(
        name: $0["name"].text ?? "", value: $0["value"].text ?? "", domain: $0["domain"].text ?? "", path: $0["path"].text ?? "",
        secure: $0["secure"].isTrue, httpOnly: $0["httpOnly"].isTrue, sameSite: $0["sameSite"].text)
    }
  }

  /// What a script answers. WebDriver's own scripts run where the page's may not.
  @discardableResult
  func run(_ script: String) async throws -> JSONValue {
    try await command("POST", "/execute/sync", ["script": .string(script), "args": .array([])])
  }

  func resize(width: Int, height: Int) async throws {
    _ = try await command("POST", "/window/rect", ["width": .number(Double(width)), "height": .number(Double(height))])
  }

  /// Makes the page's viewport as small as a phone's, which no window can be.
  func setViewport(width: Int, height: Int) async throws {
    let metrics: [String: JSONValue] = [
      "width": .number(Double(width)), "height": .number(Double(height)), "deviceScaleFactor": .number(1), "mobile": .bool(false),
    ]
    _ = try await command("POST", "/goog/cdp/execute", ["cmd": .string("Emulation.setDeviceMetricsOverride"), "params": .object(metrics)])
  }

  /// A picture of the whole window, kept under `.build/screenshots` until the next run replaces it.
  @discardableResult
  func screenshot(to name: String) async throws -> String {
    guard let picture = try await command("GET", "/screenshot").text.flatMap({ Data(base64Encoded: $0) }) else {
      throw Failure(code: "", description: "no picture")
    }
    let folder = BuiltProgram.repository + "/.build/screenshots"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let path = folder + "/" + name + ".png"
    try picture.write(to: URL(fileURLWithPath: path))
    return path
  }

  /// What the browser complained of since it was asked last: the console, and violations of the page's policy among it.
  func complaints() async throws -> [Complaint] {
    try await command("POST", "/se/log", ["type": .string("browser")]).items.map {
      Complaint(level: $0["level"].text ?? "", source: $0["source"].text ?? "", message: $0["message"].text ?? "")
    }
  }

  /// Those that are about Content-Security-Policy.
  static func violations(in complaints: [Complaint]) -> [Complaint] {
    complaints.filter { $0.message.contains("Content Security Policy") || $0.message.contains("Content-Security-Policy") }
  }
}
