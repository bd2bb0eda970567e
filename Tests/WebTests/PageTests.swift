import Bytes
import Federation
import Foundation
import HTTPTypes
import Hummingbird
import Identity
import NIOCore
import Testing

@testable import Web

@Suite struct `Pages for people` {
  /// What breaks out of markup that escapes by Characters, or not at all (B2.3).
  static let hostile = [
    "\"><script>alert(1)</script>", "\"\u{301} onfocus=alert(1) x=", "<\u{338}script>", "\u{2028}\u{2029}", "'", "' onfocus='x", "`", "&lt;",
    "</textarea><b>", "\r\nSet-Cookie: a=b", "\u{0}\u{1}\u{7f}",
    "\u{fffe}\u{ffff}", "javascript:alert(1)", "]]>", "<!--", "\u{202e}", "{{x}}", "\\u003c", "%3Cscript%3E",
    String(repeating: "<\"'>", count: 20_000),
  ]

  /// Every page that shows something of others, with `text` wherever it can stand.
  private static func all(_ text: String) throws -> [Response] {
    let pages = Pages(branding: PageBranding(organisation: text, help: text))
    let texts = PageTexts(language: .english)
    let session = Session(
      digest: [UInt8](repeating: 1, count: 32),
      person: AcceptedPerson(object: DirectoryObject(realm: try name("contoso.com"), id: Identifier()), immutableID: text, userPrincipalName: text),
      userName: text,
      authenticated: Instant(milliseconds: 0), ends: Instant(milliseconds: 1), isKept: false)
    var responses = [
      pages.signIn(
        Pages.SignInForm(
          transaction: text, party: text, userName: text, error: text, notice: text, reference: Reference(), offersKeeping: true, keeps: true), texts),
      pages.changePassword(
        Pages.ChangeForm(transaction: text, userName: text, error: text, details: [text, text], reference: Reference(), keeps: true), texts),
      pages.post(PostForm(action: text, fields: [("SAMLResponse", text), (text, text)]), party: text, texts),
      pages.post(PostForm(action: text, fields: []), party: nil, texts),
      pages.signedIn(session, transaction: text, applications: [(text, text)], texts),
      pages.signedOut(SignedOut(failed: [text]), texts, cookies: []),
      pages.signedOut(
        SignedOut(cleanUps: [.init(party: text, url: text)], onward: .post(PostForm(action: text, fields: [(text, text)]))), texts, cookies: []),
      pages.signedOut(SignedOut(failed: [text], cleanUps: [.init(party: text, url: text)], onward: .url(text)), texts, cookies: []),
      pages.message(text, text, texts),
    ]
    for reason in PageRefusal.Reason.allCases {
      responses.append(pages.refusal(PageRefusal(reason: reason, reference: Reference(), party: text), texts))
    }
    return responses
  }

  private static func body(_ response: Response) async throws -> [UInt8] {
    let collected = Shared<[UInt8]>([])
    try await response.body.write(Collector(bytes: collected))
    return collected.value
  }

  private static func count(_ bytes: [UInt8]) -> [UInt8: Int] {
    var counts: [UInt8: Int] = [:]
    for byte in bytes where [0x22, 0x3c, 0x3e, 0x27, 0x60, 0x0d, 0x00].contains(byte) { counts[byte, default: 0] += 1 }
    return counts
  }

  /// Whatever the text, a page has as many quotation marks and angle brackets as with a harmless one: none of the text's comes through.
  @Test(arguments: hostile) func `show hostile text as text`(_ text: String) async throws {
    let harmless = try Self.all("harmless")
    let pages = try Self.all(text)
    #expect(pages.count == harmless.count && pages.count > 15)
    for (page, other) in zip(pages, harmless) {
      let bytes = try await Self.body(page)
      #expect(Self.count(bytes) == Self.count(try await Self.body(other)))
      #expect(!bytes.contains { $0 < 0x20 && $0 != 0x0a && $0 != 0x09 })
      #expect(StrictText.utf8(bytes) != nil)
    }
  }

  @Test func `escape what has a meaning, and replace what has none`() {
    #expect(Markup.escaped("a&<>\"'`\r\n\t") == "a&amp;&lt;&gt;&#34;&#39;&#96;&#13;\n\t")
    #expect(Markup.escaped("\u{0}\u{1b}\u{7f}\u{85}\u{fffe}") == String(repeating: "\u{fffd}", count: 5))
    #expect(Markup.escaped("\u{2028}\u{2029}") == "&#8232;&#8233;")
    #expect(Array(Markup.escaped("<\u{338}").utf8) == Array("&lt;\u{338}".utf8))
    #expect(Array(Markup.escaped("e\u{301}\u{e9}😀").utf8) == Array("e\u{301}\u{e9}😀".utf8))
    for scalar in (0...0xffff as ClosedRange<UInt32>).compactMap(Unicode.Scalar.init) {
      for text in [String(scalar), "\(scalar)\u{301}"] {
        let escaped = Markup.escaped(text)
        if escaped.utf8.contains(where: { [0x22, 0x3c, 0x3e, 0x27].contains($0) }) { Issue.record("\(scalar.value) comes through") }
      }
    }
  }

  @Test func `allow nothing but their own style, and their one script where they have it`() throws {
    for page in try Self.all("x") {
      let policy = try #require(page.headers[.contentSecurityPolicy])
      #expect(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'") && policy.contains("base-uri 'none'"))
      #expect(!policy.contains("form-action") && !policy.contains("unsafe"))
      #expect(page.headers[.cacheControl] == "no-store" && page.headers[.xContentTypeOptions] == "nosniff")
    }
    let pages = Pages(branding: PageBranding())
    let posting = pages.post(PostForm(action: "https://sp.example/acs", fields: []), party: nil, PageTexts(language: .english))
    #expect(posting.headers[.contentSecurityPolicy]?.contains("script-src 'sha256-") == true)
    #expect(pages.message("a", "b", PageTexts(language: .english)).headers[.contentSecurityPolicy]?.contains("script-src 'none'") == true)
  }

  @Test(arguments: [
    (nil, PageLanguage.english), ("de", .german), ("de-AT,en;q=0.5", .german), ("en,de;q=0.9", .english), ("fr,de;q=0.2", .german),
    ("de;q=0", .english), ("DE", .german), ("fr", .english), ("", .english),
    ("de;q=x", .english), ("*", .english), (String(repeating: "de,", count: 300), .english), (";;;,,,", .english), ("de;q=nan", .english),
    ("de;q=-1", .english), ("en;q=0.1,de;q=inf", .german),
  ]) func `speak the language that the browser wants`(_ header: String?, _ language: PageLanguage) {
    #expect(PageLanguage.preferred(header) == language)
  }

  @Test func `say when it is worth trying again, and only where it is`() throws {
    for page in try Self.all("x") { #expect((page.headers[.retryAfter] != nil) == (page.status == .serviceUnavailable)) }
    #expect(try Self.all("x").count { $0.status == .serviceUnavailable } == 1)
  }

  @Test func `have words in every language for every refusal`() throws {
    for language in PageLanguage.allCases {
      let texts = PageTexts(language: language)
      let refusals = PageRefusal.Reason.allCases.map { texts.refusal(PageRefusal(reason: $0, reference: Reference(), party: "Wiki")) }
      #expect(Set(refusals).count == refusals.count && refusals.allSatisfy { $0.utf8.count > 20 })
      for code in OuterCode.allCases { #expect(texts.refusal(code, retryAfter: nil).utf8.count > 20) }
      #expect(texts.refusal(.temporarilyLocked, retryAfter: .seconds(61)).contains("2 "))
      for rule in PasswordRule.allCases { #expect(!texts.rules(PasswordRules(broken: [rule])).isEmpty) }
      #expect(texts.rules(PasswordRules(broken: [], minimumLength: 7, historyLength: 24, complexity: true)).count == 4)
    }
    let (english, german) = (PageTexts(language: .english), PageTexts(language: .german))
    #expect(english.signIn != german.signIn && english.problem != german.problem)
  }
}

@Suite struct `Forms of our own pages` {
  @Test func `give texts, and passwords as secrets`() throws {
    let form = try #require(PageForm(Array("transaction=a-b&userName=al%69ce%40x+y&password=p%FF%26&newPassword=n&repeated=&keep=1".utf8)))
    #expect(form.value("userName") == "alice@x y" && form.value("transaction") == "a-b" && form.value("keep") == "1")
    // A password is bytes: what is no UTF-8 is still one.
    #expect(form.secret("password")?.withBytes { Array($0) } == [0x70, 0xff, 0x26])
    #expect(form.value("password") == nil && form.secret("userName") == nil && form.secret("repeated")?.isEmpty == true)
    #expect(PageForm([]) != nil)
  }

  @Test(arguments: [
    "a=1&a=2", "password=a&password=b", "a", "a=%", "a=%4", "a=%zz", "a=%ff", (0..<17).map { "f\($0)=" }.joined(separator: "&"), "userName=%c0%80",
    "password=%f", "newPassword=%",
  ]) func `are nothing where anything is wrong`(_ text: String) { #expect(PageForm(Array(text.utf8)) == nil) }
}

private struct Collector: ResponseBodyWriter {
  let bytes: Shared<[UInt8]>
  mutating func write(_ buffer: ByteBuffer) async throws { bytes.set(bytes.value + buffer.readableBytesView) }
  consuming func finish(_ trailingHeaders: HTTPFields?) async throws {}
}
