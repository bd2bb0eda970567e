import Bytes
import Cryptography
import Federation
import Foundation
import HTTPTypes
import Hummingbird

/// The cookies of a browser. All are `__Host-`: sent over TLS only, to this host only, and set by nobody but it (RFC 6265bis §4.1.3.2). SameSite is None,
/// since a relying party's POST to us comes from another site and must find the session; what changes something is bound to a sealed transaction instead.
struct BrowserCookies: Sendable {
  static let browserName = "__Host-gatehouse-browser"
  static let sessionName = "__Host-gatehouse-session"
  /// What leaves room for the name and the attributes within the 4,096 bytes that browsers keep (RFC 6265bis §5.6).
  static let longestValue = 3900
  static let logoutName = "__Host-gatehouse-logout"
  static let answersName = "__Host-gatehouse-answers"

  /// 32 random bytes that every browser gets at its first page; transactions are bound to it.
  let browser: Secret
  /// Whether the browser has it already.
  let isKnown: Bool
  let session: Secret?
  let logout: String?
  /// `RecentAnswers` as text.
  let answers: String?

  init(_ request: Request) {
    var values: [String: String] = [:]
    for header in request.headers[values: .cookie] {
      for pair in header.utf8.split(separator: UInt8(ascii: ";")) {
        let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1)
        guard parts.count == 2 else { continue }
        let name = trimmed(parts[0])
        // The first one counts; nobody but this host can set a second (`__Host-`).
        if values[name] == nil { values[name] = trimmed(parts[1]) }
      }
    }
    func secret(_ name: String) -> Secret? {
      values[name].flatMap(StrictText.base64URL).flatMap { $0.count == 32 ? Secret($0) : nil }
    }
    if let known = secret(BrowserCookies.browserName) {
      (browser, isKnown) = (known, true)
    } else {
      (browser, isKnown) = (Secret(RandomBytes.generate(32)), false)
    }
    session = secret(BrowserCookies.sessionName)
    logout = values[BrowserCookies.logoutName]
    answers = values[BrowserCookies.answersName]
  }

  /// What transactions are bound to: SHA-256, 32 bytes.
  var browserDigest: [UInt8] { browser.withBytes { Digests.sha256(Array("browser 1".utf8) + Array($0)) } }

  /// The header that gives the browser its cookie; empty where it has it.
  var forBrowser: [String] { isKnown ? [] : [BrowserCookies.set(BrowserCookies.browserName, text(browser))] }

  /// - Parameter life: nil: until the browser is closed.
  func forSession(_ secret: Secret, life: Duration?) -> [String] { [BrowserCookies.set(BrowserCookies.sessionName, text(secret), life: life)] }

  static let endSession = [set(sessionName, "", life: .zero)]
  static let endLogout = [set(logoutName, "", life: .zero)]
  static func forAnswers(_ text: String) -> [String] { [set(answersName, text, life: RecentAnswers.window)] }
  static func forLogout(_ sealed: String) -> [String] { [set(logoutName, sealed)] }

  private func text(_ secret: Secret) -> String { secret.withBytes { Array($0).base64URL } }

  private static func set(_ name: String, _ value: String, life: Duration? = nil) -> String {
    let age = life.map { "; Max-Age=\($0.components.seconds)" } ?? ""
    return "\(name)=\(value); Path=/; Secure; HttpOnly; SameSite=None\(age)"
  }
}

/// Without the spaces and tabs around it (RFC 9110 §5.6.3).
private func trimmed(_ text: Substring.UTF8View) -> String {
  func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
  guard let first = text.firstIndex(where: { !isBlank($0) }), let last = text.lastIndex(where: { !isBlank($0) }) else { return "" }
  return String(Substring(text[first...last]))
}

extension Response {
  /// The same with these cookies set.
  func setting(_ cookies: [String]) -> Response {
    var response = self
    for cookie in cookies { response.headers.append(HTTPField(name: .setCookie, value: cookie)) }
    return response
  }
}
