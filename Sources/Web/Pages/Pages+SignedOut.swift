import Bytes
import Cryptography
import Federation
import Foundation
import Hummingbird

/// The last page of a sign-out.
extension Pages {
  /// Goes on when everything that the page opens has been loaded, or has had five seconds for it; the button or link does the same for browsers that let no script.
  private static let onwardScript =
    "(function(){var done=0;function go(){if(!done){done=1;var o=document.getElementById('onward');o.submit?o.submit():o.click()}}addEventListener('load',go);setTimeout(go,5000)})()"
  private static let onwardSource = "'sha256-\(Digests.sha256(onwardScript.utf8).base64)'"

  /// Each relying party of WS-Federation is told by a frame that opens its clean-up address, with the cookies that it knows its session by.
  func signedOut(_ end: SignedOut, _ texts: PageTexts, cookies: [String]) -> Response {
    var body: Markup = "<h1>\(texts.signedOut)</h1>"
    if end.failed.isEmpty {
      body += "<p>\(texts.signedOutText)</p>"
    } else {
      body += "<p class=\"warning\" role=\"alert\">\(texts.signedOutPartly)</p><ul>"
      for name in end.failed { body += "<li>\(name)</li>" }
      body += "</ul>"
    }
    if !end.cleanUps.isEmpty {
      body += "<p>\(texts.signingOutAt)</p><ul>"
      for cleanUp in end.cleanUps {
        // The link is for browsers that give a frame no cookies: opened by itself, the address gets them.
        body +=
          "<li><a href=\"\(cleanUp.url)\" target=\"_blank\" rel=\"noopener\">\(cleanUp.party)</a><iframe src=\"\(cleanUp.url)\" title=\"\(texts.signingOutOf(cleanUp.party))\" hidden></iframe></li>"
      }
      body += "</ul>"
    }
    // Who could not be told must be read first.
    let goesOn = end.failed.isEmpty
    switch end.onward {
    case .url(let url): body += "<p><a id=\"onward\" href=\"\(url)\">\(texts.continue)</a></p>"
    case .post(let form):
      body += "<form id=\"onward\" method=\"post\" action=\"\(form.action)\">"
      for field in form.fields { body += "<input type=\"hidden\" name=\"\(field.name)\" value=\"\(field.value)\">" }
      body += "<p><button type=\"submit\">\(texts.continue)</button></p></form>"
    case nil: break
    }
    let isAutomatic = goesOn && end.onward != nil
    if isAutomatic {
      body +=
        "<script>(function(){var done=0;function go(){if(!done){done=1;var o=document.getElementById('onward');o.submit?o.submit():o.click()}}addEventListener('load',go);setTimeout(go,5000)})()</script>"
    }
    return page(
      texts.signedOut, body, texts, scripts: isAutomatic ? Pages.onwardSource : "'none'", frames: Pages.origins(end.cleanUps.map(\.url)),
      cookies: cookies)
  }

  /// The origins that a policy must name, each once; what has none is left out, and is not opened then.
  private static func origins(_ urls: [String]) -> [String] {
    var origins: [String] = []
    for url in urls {
      guard let parts = URLComponents(string: url), let scheme = parts.scheme, let host = parts.host else { continue }
      let origin = "\(scheme)://\(host)" + (parts.port.map { ":\($0)" } ?? "")
      if !origins.contains(origin) { origins.append(origin) }
    }
    return origins
  }
}
