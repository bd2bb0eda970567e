import Bytes
import Cryptography
import Federation
import Foundation
import HTTPTypes
import Hummingbird
import Identity
import NIOCore
import SignIn

/// How the pages of this gateway look; by configuration.
package struct PageBranding: Sendable, Equatable {
  /// The organisation's name, in the title of every page.
  package var organisation: String
  /// `#rrggbb`, for buttons and links. Text on it is white: 4.5 to 1 at least (WCAG 2.2, 1.4.3).
  package var accent: String
  /// A picture and its media type, shown above the form.
  package var logo: Logo?
  /// One sentence under every form, such as how to reach the help desk.
  package var help: String?

  package struct Logo: Sendable, Equatable {
    package var bytes: [UInt8]
    package var mediaType: String

    package init(bytes: [UInt8], mediaType: String) {
      self.bytes = bytes
      self.mediaType = mediaType
    }
  }

  package init(organisation: String = "Gatehouse", accent: String = "#0b5cad", logo: Logo? = nil, help: String? = nil) {
    self.organisation = organisation
    self.accent = accent
    self.logo = logo
    self.help = help
  }
}

/// Every page as an answer: its markup, and headers that let nothing of others into it.
struct Pages: Sendable {
  let branding: PageBranding
  private let style: String
  private let styleSource: String
  private static let submitScript = "document.forms[0].submit()"
  private static let submitSource = "'sha256-\(Digests.sha256(submitScript.utf8).base64)'"

  init(branding: PageBranding) {
    self.branding = branding
    style = PageStyle.css(accent: branding.accent)
    styleSource = "'sha256-\(Digests.sha256(style.utf8).base64)'"
  }

  /// What the sign-in page shows beside its fields.
  struct SignInForm {
    var transaction: String
    var party: String?
    var userName = ""
    var error: String?
    var notice: String?
    var reference: Reference?
    var offersKeeping: Bool
    var keeps = false
    var status = HTTPResponse.Status.ok
  }

  func signIn(_ form: SignInForm, _ texts: PageTexts) -> Response {
    let title = form.party.map(texts.signInTo) ?? texts.signIn
    let keep: Markup =
      form.offersKeeping
      ? "<p class=\"check\"><input type=\"checkbox\" id=\"keep\" name=\"keep\" value=\"1\"\(form.keeps ? " checked" as Markup : .nothing)> <label for=\"keep\">\(texts.keepSignedIn)</label></p>"
      : .nothing
    // Where the name stands already, the password is what is missing.
    let nameFocus: Markup = form.userName.isEmpty ? " autofocus" : .nothing
    let passwordFocus: Markup = form.userName.isEmpty ? .nothing : " autofocus"
    let described: Markup = form.error == nil ? .nothing : " aria-describedby=\"error\""
    let body: Markup = """
      <h1>\(title)</h1>\(problem(form.error, form.reference, texts))\(notice(form.notice))
      <form method="post" action="/sign-in">
      <input type="hidden" name="transaction" value="\(form.transaction)">
      <p><label for="userName">\(texts.userName)</label>
      <input id="userName" name="userName" type="text" autocomplete="username" autocapitalize="none" spellcheck="false" required maxlength="320" value="\(form.userName)" placeholder="\(texts.userNameHint)"\(described)\(nameFocus)></p>
      <p><label for="password">\(texts.password)</label>
      <input id="password" name="password" type="password" autocomplete="current-password" required maxlength="1024"\(described)\(passwordFocus)></p>
      \(keep)
      <p><button type="submit">\(texts.signIn)</button></p>
      </form>
      """
    return page(title, body, texts, status: form.status)
  }

  struct ChangeForm {
    var transaction: String
    var userName = ""
    var error: String?
    var details: [String] = []
    var reference: Reference?
    var keeps = false
    var status = HTTPResponse.Status.ok
  }

  func changePassword(_ form: ChangeForm, _ texts: PageTexts) -> Response {
    let described: Markup = form.error == nil ? .nothing : " aria-describedby=\"error\""
    var details: Markup = .nothing
    if !form.details.isEmpty {
      details += "<ul class=\"details\">"
      for line in form.details { details += "<li>\(line)</li>" }
      details += "</ul>"
    }
    let nameFocus: Markup = form.userName.isEmpty ? " autofocus" : .nothing
    let passwordFocus: Markup = form.userName.isEmpty ? .nothing : " autofocus"
    let keep: Markup = form.keeps ? "<input type=\"hidden\" name=\"keep\" value=\"1\">" : .nothing
    let body: Markup = """
      <h1>\(texts.changePassword)</h1>\(problem(form.error, form.reference, texts, details: details))
      <form method="post" action="/change-password">
      <input type="hidden" name="transaction" value="\(form.transaction)">\(keep)
      <p><label for="userName">\(texts.userName)</label>
      <input id="userName" name="userName" type="text" autocomplete="username" autocapitalize="none" spellcheck="false" required maxlength="320" value="\(form.userName)"\(nameFocus)></p>
      <p><label for="password">\(texts.oldPassword)</label>
      <input id="password" name="password" type="password" autocomplete="current-password" required maxlength="1024"\(described)\(passwordFocus)></p>
      <p><label for="newPassword">\(texts.newPassword)</label>
      <input id="newPassword" name="newPassword" type="password" autocomplete="new-password" required maxlength="1024"\(described)></p>
      <p><label for="repeated">\(texts.repeatPassword)</label>
      <input id="repeated" name="repeated" type="password" autocomplete="new-password" required maxlength="1024"></p>
      <p><button type="submit">\(texts.changePassword)</button></p>
      </form>
      """
    return page(texts.changePassword, body, texts, status: form.status)
  }

  /// A form that posts itself, and has a button for browsers that do not let it.
  func post(_ form: PostForm, party: String?, _ texts: PageTexts, cookies: [String] = []) -> Response {
    let title = texts.goingTo(party ?? form.action.hostOfURL)
    var fields: Markup = .nothing
    for field in form.fields { fields += "<input type=\"hidden\" name=\"\(field.name)\" value=\"\(field.value)\">" }
    let body: Markup = """
      <h1>\(title)</h1>
      <form method="post" action="\(form.action)">\(fields)
      <p>\(texts.goingText)</p><p><button type="submit">\(texts.continue)</button></p></form>
      <script>document.forms[0].submit()</script>
      """
    return page(title, body, texts, scripts: Pages.submitSource, cookies: cookies)
  }

  func refusal(_ refusal: PageRefusal, _ texts: PageTexts) -> Response {
    let status: HTTPResponse.Status =
      switch refusal.reason {
      case .unavailable: .serviceUnavailable
      case .notPermitted, .noToken, .unsolicitedNotAllowed, .secondFactor, .authenticationMethod: .forbidden
      default: .badRequest
      }
    let body: Markup = "<h1>\(texts.problem)</h1>\(problem(texts.refusal(refusal), refusal.reference, texts))"
    return page(texts.problem, body, texts, status: status)
  }

  func signedIn(_ session: Session, transaction: String, applications: [(name: String, title: String)], _ texts: PageTexts) -> Response {
    let title = texts.signedInAs(session.person.userPrincipalName)
    var list: Markup = .nothing
    if !applications.isEmpty {
      list += "<h2>\(texts.applications)</h2><ul class=\"applications\">"
      for application in applications {
        list += "<li><a href=\"/adfs/ls/IdpInitiatedSignOn.aspx?loginToRp=\(application.name)\">\(application.title)</a></li>"
      }
      list += "</ul>"
    }
    let body: Markup = """
      <h1>\(title)</h1>\(list)
      <form method="post" action="/sign-out"><input type="hidden" name="transaction" value="\(transaction)">
      <p><button type="submit">\(texts.signOut)</button></p></form>
      """
    return page(title, body, texts)
  }

  /// What the owner of a relying party is asked about a new certificate.
  struct ConfirmationForm {
    var party: String
    var sha256: String
    var sha1: String
    var ends: String
    /// DER in base64.
    var certificate: String
    var isDone: Bool
  }

  func confirmCertificate(_ form: ConfirmationForm, _ texts: PageTexts) -> Response {
    var body: Markup = """
      <h1>\(texts.certificateConfirmation)</h1><p>\(texts.certificateOf(form.party))</p>
      <dl><dt>SHA-256</dt><dd><code>\(form.sha256)</code></dd><dt>SHA-1</dt><dd><code>\(form.sha1)</code></dd>
      <dt>\(texts.validUntil)</dt><dd>\(form.ends)</dd></dl><pre>-----BEGIN CERTIFICATE-----

      """
    var rest = Substring(form.certificate)
    while !rest.isEmpty {
      body += "\(String(rest.prefix(64)))\n"
      rest = rest.dropFirst(64)
    }
    body += "-----END CERTIFICATE-----</pre>"
    body +=
      form.isDone
      ? "<p class=\"notice\" role=\"status\">\(texts.certificateConfirmed)</p>"
      : "<form method=\"post\"><button>\(texts.certificateInstalled)</button></form>"
    return page(texts.certificateConfirmation, body, texts)
  }

  func message(_ title: String, _ text: String, _ texts: PageTexts, status: HTTPResponse.Status = .ok) -> Response {
    page(title, "<h1>\(title)</h1><p>\(text)</p>", texts, status: status)
  }

  private func problem(_ text: String?, _ reference: Reference?, _ texts: PageTexts, details: Markup = .nothing) -> Markup {
    guard let text else { return .nothing }
    var result: Markup = "<div class=\"error\" role=\"alert\" id=\"error\"><p>\(text)</p>\(details)"
    if let reference {
      result += "<p class=\"reference\">\(texts.reference): <code>\(reference.text)</code><br><small>\(texts.referenceHelp)</small></p>"
    }
    return result + "</div>"
  }

  private func notice(_ text: String?) -> Markup {
    guard let text else { return .nothing }
    return "<p class=\"notice\" role=\"status\">\(text)</p>"
  }

  func page(
    _ title: String, _ body: Markup, _ texts: PageTexts, status: HTTPResponse.Status = .ok, scripts: String = "'none'", frames: [String] = [],
    cookies: [String] = []
  ) -> Response {
    let logo: Markup = branding.logo == nil ? .nothing : "<p class=\"logo\"><img src=\"/assets/logo\" alt=\"\(branding.organisation)\"></p>"
    let help: Markup = branding.help.map { "<footer><p>\($0)</p></footer>" } ?? .nothing
    let head: Markup = """
      <!DOCTYPE html>
      <html lang="\(texts.language.rawValue)"><head><meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">
      <title>\(title) – \(branding.organisation)</title><style>
      """
    let rest: Markup = "</style></head><body><main>\(logo)\(body)</main>\(help)</body></html>\n"
    var response = Response(
      status: status, headers: Pages.headers(style: styleSource, scripts: scripts, frames: frames),
      body: .init(byteBuffer: ByteBuffer(string: head.html + style + rest.html)))
    for cookie in cookies { response.headers.append(HTTPField(name: .setCookie, value: cookie)) }
    // RFC 9110 §10.2.3: whoever asks by machine is told when it is worth it again.
    if status == .serviceUnavailable { response.headers[.retryAfter] = "\(Int.random(in: 1...5))" }
    return response
  }

  /// For every page. There is no `form-action`: browsers apply it to the redirects behind a post as well, and would break relying parties that
  /// send the browser on to another host; that forms go nowhere else is the registry's business.
  private static func headers(style: String, scripts: String, frames: [String]) -> HTTPFields {
    var fields = HTTPFields()
    fields[.contentType] = "text/html; charset=utf-8"
    fields[.cacheControl] = "no-store"
    fields[.pragma] = "no-cache"
    fields[.contentSecurityPolicy] =
      "default-src 'none'; style-src \(style); script-src \(scripts); img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
      + (frames.isEmpty ? "" : "; frame-src \(frames.joined(separator: " "))")
    fields[.xContentTypeOptions] = "nosniff"
    fields[.strictTransportSecurity] = "max-age=31536000"
    if let name = HTTPField.Name("Referrer-Policy") { fields[name] = "no-referrer" }
    if let name = HTTPField.Name("X-Frame-Options") { fields[name] = "DENY" }
    return fields
  }
}

extension HTTPField.Name {
  fileprivate static let pragma = HTTPField.Name("Pragma") ?? .cacheControl
}

extension String {
  /// What a person recognises of a URL.
  fileprivate var hostOfURL: String { URLComponents(string: self)?.host ?? self }
}

/// The one style of all pages: no files, no fonts, nothing from elsewhere.
enum PageStyle {
  static func css(accent: String) -> String {
    """
    :root{color-scheme:light dark;--accent:\(accent);--text:#1b1b1f;--back:#f3f4f6;--card:#fff;--line:#6b7280;--error:#a4121b;--errorBack:#fdecec}
    @media (prefers-color-scheme:dark){:root{--text:#f1f1f4;--back:#16171b;--card:#24262c;--line:#9ca3af;--error:#ffb4ab;--errorBack:#43201f}}
    *{box-sizing:border-box}
    body{margin:0;min-height:100vh;display:flex;flex-direction:column;align-items:center;justify-content:center;padding:1rem;background:var(--back);color:var(--text);font:1rem/1.5 system-ui,sans-serif}
    main{width:100%;max-width:27rem;padding:2rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem;overflow-wrap:anywhere}
    h1{margin:0 0 1rem;font-size:1.4rem;line-height:1.3}
    h2{font-size:1.1rem}
    p{margin:0 0 1rem}
    label{display:block;margin-bottom:.25rem;font-weight:600}
    .check{display:flex;gap:.5rem;align-items:center}
    .check label{margin:0;font-weight:400}
    .check input{width:1.5rem;height:1.5rem;flex:none}
    input[type=text],input[type=password]{width:100%;padding:.6rem .7rem;min-height:2.75rem;font:inherit;color:inherit;background:transparent;border:1px solid var(--line);border-radius:.4rem}
    button{width:100%;min-height:2.75rem;padding:.6rem 1rem;font:inherit;font-weight:600;color:#fff;background:var(--accent);border:1px solid transparent;border-radius:.4rem;cursor:pointer}
    a{color:inherit;text-decoration:underline}
    .applications a{display:inline-block;min-height:1.5rem;padding:.25rem 0}
    :focus-visible{outline:3px solid currentColor;outline-offset:2px}
    button:focus-visible{outline-color:var(--text)}
    .error,.warning{padding:.75rem 1rem;margin:0 0 1rem;color:var(--error);background:var(--errorBack);border-left:4px solid currentColor;border-radius:.25rem}
    .error p:last-child,.error ul:last-child{margin-bottom:0}
    .notice{padding:.75rem 1rem;border-left:4px solid var(--accent)}
    .reference{font-size:.9rem}
    code{font-size:1.05em;letter-spacing:.03em}
    .logo img{max-width:100%;max-height:4rem}
    footer{max-width:27rem;margin-top:1rem;font-size:.9rem}
    """
  }
}
