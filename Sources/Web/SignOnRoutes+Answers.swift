import Bytes
import Federation
import HTTPTypes
import Hummingbird
import Identity
import SAML
import SignIn

/// From what the rooms decided to what the browser gets.
extension SignOnRoutes {
  func show(_ step: SignOnStep, _ visit: Visit) async throws -> Response {
    switch step {
    case .signIn(let transaction):
      let party = transaction.party.flatMap(services.parties.party(id:))?.shownName
      let form = Pages.SignInForm(
        transaction: try services.seal.seal(transaction), party: party, userName: transaction.hint ?? "",
        offersKeeping: services.sessions.policy.offersKeeping)
      return pages.signIn(form, visit.texts).setting(visit.cookies.forBrowser)
    case .post(let form):
      var cookies = visit.cookies.forBrowser
      if let party = form.party {
        var answers = visit.answers(now: now())
        answers.note(party, now: now())
        cookies += BrowserCookies.forAnswers(answers.text)
      }
      return pages.post(form, party: nil, visit.texts, cookies: cookies)
    case .refused(let refusal): return pages.refusal(refusal, visit.texts).setting(visit.cookies.forBrowser)
    }
  }

  func show(_ step: LogoutStep, _ visit: Visit) async throws -> Response {
    let ended = BrowserCookies.endSession
    func keep(_ transaction: LogoutTransaction) throws -> [String] {
      var transaction = transaction
      var sealed = try services.seal.sealLogout(transaction, browser: visit.cookies.browserDigest)
      // Browsers drop a cookie of more than 4,096 bytes, and with it the rest of the way: who does not fit is named as not told.
      while sealed.utf8.count > BrowserCookies.longestValue {
        if let last = transaction.waiting.popLast() {
          transaction.failed.append(services.parties.party(id: last.relyingParty)?.shownName ?? "?")
        } else if transaction.relayState != nil {
          transaction.relayState = nil
        } else {
          break
        }
        sealed = try services.seal.sealLogout(transaction, browser: visit.cookies.browserDigest)
      }
      return ended + visit.cookies.forBrowser + BrowserCookies.forLogout(sealed)
    }
    switch step {
    case .away(let url, let transaction): return redirect(url, try keep(transaction))
    case .awayByPost(let form, let transaction): return pages.post(form, party: nil, visit.texts, cookies: try keep(transaction))
    case .redirect(let url): return redirect(url, ended + BrowserCookies.endLogout)
    case .post(let form): return pages.post(form, party: nil, visit.texts, cookies: ended + BrowserCookies.endLogout)
    case .done(let end): return pages.signedOut(end, visit.texts, cookies: ended + BrowserCookies.endLogout)
    case .refused(let refusal): return pages.refusal(refusal, visit.texts)
    }
  }

  func redirect(_ location: String, _ cookies: [String]) -> Response {
    // Bindings 3.4.5.1: nothing on the way may keep it.
    var fields: HTTPFields = [.location: location, .cacheControl: "no-cache, no-store"]
    fields[.contentSecurityPolicy] = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"
    if let name = HTTPField.Name("Referrer-Policy") { fields[name] = "no-referrer" }
    return Response(status: .seeOther, headers: fields).setting(cookies)
  }

  func session(_ visit: Visit) async throws -> Session? {
    guard let secret = visit.cookies.session else { return nil }
    return try await services.sessions.session(secret, now: now())
  }

  /// The form of one of our own pages with its transaction; nil where it is not this browser's.
  func opened(_ visit: Visit, _ body: [UInt8]) async throws -> (PageForm, String, SignOnTransaction)? {
    guard isForm(visit.contentType), let fields = PageForm(body), let sealed = fields.value("transaction"), visit.cookies.isKnown,
      let transaction = services.seal.open(sealed, browser: visit.cookies.browserDigest, now: now())
    else { return nil }
    return (fields, sealed, transaction)
  }

  /// Pages and WS-Trust ask as front-ends of the house's own, for the people of every realm.
  var trustFrontEnd: FrontEnd { FrontEnd(name: "ws-trust", realms: realms.realms.map(\.name), ratePerSecond: .max) }
  var frontEnd: FrontEnd { FrontEnd(name: "sign-in-page", realms: realms.realms.map(\.name), ratePerSecond: .max) }
}
