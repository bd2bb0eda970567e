import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOSSL

/// A small user agent without JavaScript: keeps cookies, follows redirects one at a time, fills in forms. For the many tests of the protocol where a real
/// browser is too slow; `Browser` is one.
actor CookieBrowser {
  /// One answer, with the address that gave it.
  struct Page: Sendable {
    var url: String
    var status: Int
    var fields: [(name: String, value: String)]
    var bytes: [UInt8]

    var body: String { String(decoding: bytes, as: UTF8.self) }

    /// The values of a header field, in their order.
    func values(_ name: String) -> [String] { fields.filter { $0.name.lowercased() == name.lowercased() }.map(\.value) }
    subscript(name: String) -> String? { values(name).first }

    /// Where it leads, as an absolute address.
    var location: String? { self["location"].flatMap { URL(string: $0, relativeTo: URL(string: url))?.absoluteString } }

    func forms() throws -> [HTMLScan.Form] { try HTMLScan.forms(in: body) }

    /// The form with such a field; throws where there is none, or more than one.
    func form(with field: String) throws -> HTMLScan.Form {
      let found = try forms().filter { $0[field] != nil }
      guard found.count == 1, let form = found.first else {
        throw ServerProcess.Failure(description: "\(found.count) forms with \(field) at \(url) (\(status)): \(body.prefix(3000))")
      }
      return form
    }

    /// Where a form of this page is sent to.
    func target(of form: HTMLScan.Form) -> String {
      form.action.isEmpty ? url : URL(string: form.action, relativeTo: URL(string: url))?.absoluteString ?? form.action
    }

    /// The SAML message of the page's form, decoded; nil where it has none.
    var samlMessage: String? {
      guard let forms = try? forms() else { return nil }
      let field = forms.lazy.compactMap { $0["SAMLResponse"] ?? $0["SAMLRequest"] }.first
      return field.flatMap { Data(base64Encoded: $0, options: .ignoreUnknownCharacters) }.map { String(decoding: $0, as: UTF8.self) }
    }
  }

  private(set) var jar = CookieJar()
  /// Every answer so far, the latest last.
  private(set) var history: [Page] = []
  private let client: HTTPClient
  private let language: String

  /// - Parameter authority: who vouches for servers; nil: whoever answers is believed.
  init(authority: NIOSSLTrustRoots? = nil, language: String = "en") {
    var tls = TLSConfiguration.makeClientConfiguration()
    if let authority { tls.trustRoots = authority } else { tls.certificateVerification = .none }
    var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
    configuration.redirectConfiguration = .disallow
    configuration.httpVersion = .http1Only
    configuration.timeout.connect = .seconds(5)
    client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    self.language = language
  }

  /// The library insists on an end that was asked for.
  deinit { client.shutdown { _ in } }

  var page: Page? { history.last }

  /// Changes the cookies: a stolen one put in, one of them lost.
  func withJar(_ change: @Sendable (inout CookieJar) -> Void) { change(&jar) }

  /// Whoever visits next is somebody new as far as loops are concerned: nobody signs in every other second for minutes, as some tests do.
  func forgetAnswers() { jar.remove { $0.name == "__Host-gatehouse-answers" } }

  /// One request, one answer; redirects are not followed.
  @discardableResult
  func request(
    _ url: String, method: String = "GET", body: [UInt8]? = nil, fields: [(name: String, value: String)] = []
  ) async throws -> Page {
    // Foundation encodes what may not stand in an address, and what is encoded already a second time.
    guard let parsed = URL(string: url), parsed.absoluteString == url else { throw ServerProcess.Failure(description: "\(url) is no address") }
    var request = HTTPClientRequest(url: url)
    request.method = HTTPMethod(rawValue: method)
    request.headers.add(name: "user-agent", value: "gatehouse-tests")
    request.headers.add(name: "accept", value: "text/html,application/xhtml+xml,*/*;q=0.8")
    request.headers.add(name: "accept-language", value: language)
    if let cookies = jar.field(for: parsed) { request.headers.add(name: "cookie", value: cookies) }
    for field in fields { request.headers.replaceOrAdd(name: field.name, value: field.value) }
    if let body { request.body = .bytes(ByteBuffer(bytes: body)) }
    let response = try await answer(to: request)
    let bytes = try await response.body.collect(upTo: 4 << 20)
    let page = Page(
      url: url, status: Int(response.status.code), fields: response.headers.map { (name: $0.name, value: $0.value) },
      bytes: Array(bytes.readableBytesView))
    for field in page.values("set-cookie") { jar.keep(field, from: parsed) }
    history.append(page)
    return page
  }

  /// A server may end an idle connection at the moment when the next request is on its way, as Apache does when it is restarted gracefully: what has no
  /// effect is asked again then, once, over a new one (RFC 9112 §9.3.1), as every browser does.
  private func answer(to request: HTTPClientRequest) async throws -> HTTPClientResponse {
    do { return try await client.execute(request, timeout: .seconds(20)) } catch let error as HTTPClientError
      where error == .remoteConnectionClosed && request.method == .GET
    { return try await client.execute(request, timeout: .seconds(20)) }
  }

  /// Asks for an address and follows where it leads, as far as no form has to be filled in.
  @discardableResult
  func open(_ url: String) async throws -> Page { try await follow(try await request(url)) }

  /// Goes one step of a redirect; nil where the page is none.
  func step(_ page: Page) async throws -> Page? {
    guard (301...308).contains(page.status), page.status != 304, let location = page.location else { return nil }
    // POST becomes GET, as all browsers do for 301 and 302 and must for 303 (RFC 9110 §15.4); nobody here answers 307 or 308 to a POST.
    guard page.status < 307 else { throw ServerProcess.Failure(description: "\(page.url) answered \(page.status)") }
    return try await request(location)
  }

  /// Follows redirects to their end; refuses to go on for ever.
  func follow(_ page: Page) async throws -> Page {
    var page = page
    for _ in 0..<20 {
      guard let next = try await step(page) else { return page }
      page = next
    }
    throw ServerProcess.Failure(description: "twenty redirects in a row, the last to \(page.url)")
  }

  /// Sends a form of `page` with some fields filled in, and follows where that leads.
  ///
  /// - Parameter pressing: the name of the button; nil: the first of them, as Enter does. It must be there.
  @discardableResult
  func submit(
    _ form: HTMLScan.Form, of page: Page, filling: [String: String] = [:], pressing: String? = nil, following: Bool = true
  ) async throws -> Page {
    var fields = form.fields.map { (name: $0.name, value: filling[$0.name] ?? $0.value) }
    for name in filling.keys where !fields.contains(where: { $0.name == name }) {
      throw ServerProcess.Failure(description: "the form at \(page.url) has no field \(name)")
    }
    let button = pressing.map { name in form.buttons.first { $0.name == name } } ?? form.buttons.first
    if pressing != nil, button == nil { throw ServerProcess.Failure(description: "the form at \(page.url) has no button \(pressing ?? "")") }
    if let button, !button.name.isEmpty { fields.append(button) }
    let text = CookieBrowser.encoded(fields)
    var target = page.target(of: form)
    let answer: Page
    if form.method == "POST" {
      answer = try await post(target, fields: fields, from: page)
    } else {
      target = target.split(separator: "?", maxSplits: 1)[0] + "?" + text
      answer = try await request(target)
    }
    return following ? try await follow(answer) : answer
  }

  /// A form's POST to anywhere, as a page at `page` would send it.
  @discardableResult
  func post(_ url: String, fields: [(name: String, value: String)], from page: Page? = nil) async throws -> Page {
    var headers = [(name: "content-type", value: "application/x-www-form-urlencoded")]
    if let origin = page.flatMap({ CookieBrowser.origin($0.url) }) { headers.append(("origin", origin)) }
    return try await request(url, method: "POST", body: Array(CookieBrowser.encoded(fields).utf8), fields: headers)
  }

  /// Presses the button of pages that only carry a SAML message on (without a script, a person has to), until a page is no such one.
  func carryOn(_ page: Page) async throws -> Page {
    var page = page
    for _ in 0..<10 {
      guard let form = try? page.forms().first(where: { $0["SAMLResponse"] != nil || $0["SAMLRequest"] != nil || $0["wresult"] != nil }) else {
        return page
      }
      page = try await submit(form, of: page)
    }
    throw ServerProcess.Failure(description: "ten pages in a row that carry a message on, the last at \(page.url)")
  }

  /// What has been seen so far, an address a line, for a failure's message.
  var trail: String { history.suffix(20).map { "\($0.status) \($0.url.prefix(300))" }.joined(separator: "\n") }

  /// `application/x-www-form-urlencoded`.
  static func encoded(_ fields: [(name: String, value: String)]) -> String {
    fields.map { "\($0.name.queryEncoded)=\($0.value.queryEncoded)" }.joined(separator: "&").replacing("%20", with: "+")
  }

  static func origin(_ url: String) -> String? {
    guard let parts = URLComponents(string: url), let scheme = parts.scheme, let host = parts.host else { return nil }
    return "\(scheme)://\(host)" + (parts.port.map { ":\($0)" } ?? "")
  }
}
