import Bytes
import Foundation
import SAML
import Testing
import XMLSecurity

/// A browser that keeps cookies and reads forms, and does nothing else.
struct BrowserForTests {
  let gateway: LiveGateway
  var cookies: [String: String] = [:]
  var language: String?

  init(_ gateway: LiveGateway) { self.gateway = gateway }

  mutating func get(_ target: String) async throws -> RawAnswer { try await send(RawRequest("GET", target, headers: headers)) }

  mutating func post(_ target: String, _ fields: [(String, String)]) async throws -> RawAnswer {
    let body = fields.map { "\(FormFields.encode($0.0))=\(FormFields.encode($0.1))" }.joined(separator: "&")
    return try await post(target, body: Array(body.utf8))
  }

  mutating func post(_ target: String, body: [UInt8], type: String = "application/x-www-form-urlencoded") async throws -> RawAnswer {
    try await send(RawRequest("POST", target, headers: headers + [("Content-Type", type)], body: body))
  }

  /// Where an answer leads, from there on.
  mutating func follow(_ answer: RawAnswer) async throws -> RawAnswer {
    #expect(answer.status == 303)
    return try await get(try #require(answer.value("Location")))
  }

  private var headers: [(String, String)] {
    var headers: [(String, String)] = []
    if !cookies.isEmpty { headers.append(("Cookie", cookies.map { "\($0.key)=\($0.value)" }.sorted().joined(separator: "; "))) }
    if let language { headers.append(("Accept-Language", language)) }
    return headers
  }

  private mutating func send(_ request: RawRequest) async throws -> RawAnswer {
    let answer = try await gateway.ask(request)
    for cookie in answer.values("Set-Cookie") {
      let parts = cookie.split(separator: ";").map { $0.trimmingCharacters(in: .whitespaces) }
      // What every cookie of ours must be (B7.2).
      #expect(
        cookie.hasPrefix("__Host-") && parts.contains("Path=/") && parts.contains("Secure") && parts.contains("HttpOnly")
          && parts.contains("SameSite=None"))
      #expect(!cookie.contains("Domain"))
      let pair = (parts.first ?? "").split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      guard pair.count == 2 else { continue }
      cookies[pair[0]] = parts.contains("Max-Age=0") ? nil : pair[1]
    }
    if answer.value("Content-Type")?.hasPrefix("text/html") == true { expectSafe(answer) }
    return answer
  }
}

/// The headers that every page must have (B2.3, B7.3).
func expectSafe(_ answer: RawAnswer, sourceLocation: SourceLocation = #_sourceLocation) {
  let policies = answer.values("Content-Security-Policy")
  #expect(policies.count == 1, sourceLocation: sourceLocation)
  let policy = policies.first ?? ""
  for part in ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"] { #expect(policy.contains(part), sourceLocation: sourceLocation) }
  let directives = policy.split(separator: "; ")
  for part in ["form-action", "unsafe-inline", "unsafe-eval", "*", "http:", "https:"] {
    #expect(!directives.contains { $0.contains(part) && !$0.hasPrefix("frame-src ") }, sourceLocation: sourceLocation)
  }
  // The last page of a sign-out opens addresses of relying parties: of their origins, one by one.
  for origin in directives.first(where: { $0.hasPrefix("frame-src ") })?.split(separator: " ").dropFirst() ?? [] {
    #expect(origin.wholeMatch(of: #/https://[a-z0-9.:-]+/#) != nil, sourceLocation: sourceLocation)
  }
  #expect(answer.value("X-Content-Type-Options") == "nosniff", sourceLocation: sourceLocation)
  #expect(answer.value("X-Frame-Options") == "DENY", sourceLocation: sourceLocation)
  #expect(answer.value("Referrer-Policy") == "no-referrer", sourceLocation: sourceLocation)
  #expect(answer.value("Cache-Control")?.contains("no-store") == true, sourceLocation: sourceLocation)
  #expect(answer.value("Content-Type") == "text/html; charset=utf-8", sourceLocation: sourceLocation)
}

extension RawAnswer {
  /// The value of a form's field, its references undone.
  func field(_ name: String) -> String? {
    guard let tag = text.range(of: "name=\"\(name)\"", options: .literal)?.upperBound,
      let start = text.range(of: " value=\"", options: .literal, range: tag..<text.endIndex)?.upperBound,
      let end = text.range(of: "\"", options: .literal, range: start..<text.endIndex)?.lowerBound,
      text.range(of: ">", options: .literal, range: tag..<start) == nil
    else { return nil }
    return RawAnswer.unescaped(String(text[start..<end]))
  }

  /// Where its one form goes.
  var action: String? { text.firstMatch(of: /<form method="post" action="([^"]*)"/).map { RawAnswer.unescaped(String($0.output.1)) } }

  private static func unescaped(_ text: String) -> String {
    [
      ("&lt;", "<"), ("&gt;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#96;", "`"), ("&#13;", "\r"), ("&#8232;", "\u{2028}"),
      ("&#8233;", "\u{2029}"), ("&amp;", "&"),
    ]
    .reduce(text) { $0.replacingOccurrences(of: $1.0, with: $1.1, options: .literal) }
  }

  /// The message that the page posts.
  func posted(_ direction: MessageDirection = .response) throws -> XMLElement {
    let value = try #require(field(direction.rawValue))
    return try XMLElement.parse(try #require(StrictText.base64(value)), limits: .message)
  }
}
