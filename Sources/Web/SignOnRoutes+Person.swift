import Bytes
import Federation
import Foundation
import HTTPTypes
import Hummingbird
import Identity
import SAML
import SignIn

/// What somebody does at our own pages: sign in, change a password, sign out.
extension SignOnRoutes {
  func goOn(_ visit: Visit) async throws -> Response {
    let text = visit.query.flatMap { try? FormFields($0).text("t") }
    guard let text, let transaction = services.seal.open(text, browser: visit.cookies.isKnown ? visit.cookies.browserDigest : nil, now: now()) else {
      return try await show(await services.signOn.refuseTransaction(), visit)
    }
    guard let session = try await session(visit) else { return try await show(.signIn(transaction), visit) }
    guard transaction.kind != .none else { return redirect("/adfs/ls/IdpInitiatedSignOn.aspx", []) }
    return try await show(await services.signOn.finish(transaction, session: session, visit: visit.facts(now: now())), visit)
  }

  func signIn(_ visit: Visit, _ context: GatewayRequestContext, body: [UInt8]) async throws -> Response {
    guard let (fields, sealed, transaction) = try await opened(visit, body) else {
      return try await show(await services.signOn.refuseTransaction(), visit)
    }
    let userName = fields.value("userName") ?? ""
    let party = transaction.party.flatMap(services.parties.party(id:))?.shownName
    var form = Pages.SignInForm(
      transaction: sealed, party: party, userName: userName, offersKeeping: services.sessions.policy.offersKeeping, keeps: fields.value("keep") == "1"
    )
    guard !userName.isEmpty, let password = fields.secret("password"), !password.isEmpty else {
      form.error = visit.texts.fillIn
      form.status = .badRequest
      return pages.signIn(form, visit.texts)
    }
    guard gate.enter(waited: context.facts.waited(now: .now)) else { throw overloadFault() }
    defer { gate.leave() }
    let answer = await signIn.signIn(
      SignInRequest(
        userName: userName, password: password, address: visit.address, application: party ?? "sign-in page", correlation: nil,
        wanting: services.parties.attributeRequest, deadline: Deadline(after: deadline)), frontEnd: frontEnd)
    switch answer.verdict {
    case .accepted(let person):
      return try await begin(person, userName: userName, keeping: form.keeps, reference: answer.reference, transaction: sealed, visit)
    case .refused(let refusal):
      let code = refusal.reason.outerCode
      if code == .passwordExpired || code == .passwordChangeRequired {
        return pages.changePassword(
          Pages.ChangeForm(
            transaction: sealed, userName: userName, error: visit.texts.refusal(code, retryAfter: nil), reference: answer.reference, keeps: form.keeps
          ),
          visit.texts)
      }
      form.error = visit.texts.refusal(code, retryAfter: answer.retryAfter)
      form.reference = answer.reference
      return pages.signIn(form, visit.texts)
    case .unknown:
      form.error = visit.texts.couldNotFindOut
      form.reference = answer.reference
      form.status = .serviceUnavailable
      return pages.signIn(form, visit.texts)
    }
  }

  func changePassword(_ visit: Visit, _ context: GatewayRequestContext, body: [UInt8]) async throws -> Response {
    guard let (fields, sealed, transaction) = try await opened(visit, body) else {
      return try await show(await services.signOn.refuseTransaction(), visit)
    }
    let typed = fields.value("userName") ?? ""
    let keeps = fields.value("keep") == "1"
    var form = Pages.ChangeForm(transaction: sealed, userName: typed, keeps: keeps)
    guard let old = fields.secret("password"), let new = fields.secret("newPassword"), let repeated = fields.secret("repeated"), !typed.isEmpty,
      !old.isEmpty, !new.isEmpty
    else {
      form.error = visit.texts.fillInAll
      form.status = .badRequest
      return pages.changePassword(form, visit.texts)
    }
    guard new.matches(repeated) else {
      form.error = visit.texts.passwordsDiffer
      return pages.changePassword(form, visit.texts)
    }
    guard gate.enter(waited: context.facts.waited(now: .now)) else { throw overloadFault() }
    defer { gate.leave() }
    let answer = await signIn.changePassword(
      PasswordChangeRequest(
        SignInRequest(
          userName: typed, password: old, address: visit.address, application: "change-password page", correlation: nil,
          wanting: services.parties.attributeRequest, deadline: Deadline(after: deadline)), new: new), frontEnd: frontEnd)
    form.reference = answer.reference
    switch answer.outcome {
    case .changed(let person):
      guard let person else {
        return pages.signIn(
          Pages.SignInForm(
            transaction: sealed, party: transaction.party.flatMap(services.parties.party(id:))?.shownName, userName: typed,
            notice: visit.texts.passwordChanged, offersKeeping: services.sessions.policy.offersKeeping, keeps: keeps), visit.texts)
      }
      // Whoever else was signed in with the old password is not any more.
      try await services.sessions.endAll(of: person.object, actor: "gatehouse", reason: "password changed", now: now())
      return try await begin(person, userName: typed, keeping: keeps, reference: answer.reference, transaction: sealed, visit)
    case .refused(let refusal): form.error = visit.texts.refusal(refusal.reason.outerCode, retryAfter: nil)
    case .notTaken(let rules):
      let lines = visit.texts.rules(rules)
      form.error = lines.first
      form.details = Array(lines.dropFirst())
    case .unknown:
      form.error = visit.texts.changeUncertain
      form.status = .serviceUnavailable
    }
    return pages.changePassword(form, visit.texts)
  }

  /// A session for somebody whose password was right, and on to where they were going (so that a reload posts no password again).
  func begin(
    _ person: AcceptedPerson, userName: String, keeping: Bool, reference: Reference, transaction sealed: String, _ visit: Visit
  ) async throws -> Response {
    let old = try await session(visit)
    guard
      let (secret, session) = try await services.sessions.begin(
        person, userName: userName, keeping: keeping, replacing: old, reference: reference, address: visit.address, now: now())
    else {
      var form = Pages.SignInForm(transaction: sealed, userName: userName, offersKeeping: services.sessions.policy.offersKeeping, keeps: keeping)
      form.error = visit.texts.refusal(RefusalReason.blockedByAdministrator.outerCode, retryAfter: nil)
      form.reference = reference
      return pages.signIn(form, visit.texts)
    }
    let life = session.isKept ? services.sessions.policy.keptLife : nil
    return redirect("/continue?t=\(sealed)", visit.cookies.forSession(secret, life: life))
  }

  func signOutPage(_ visit: Visit) async throws -> Response {
    guard let session = try await session(visit) else {
      // A relying party did not send the browser back: the way through the others goes on without it.
      if let transaction = visit.cookies.logout.flatMap({ services.seal.openLogout($0, browser: visit.cookies.browserDigest) }) {
        return try await show(await services.logout.skip(transaction), visit)
      }
      return pages.signedOut(SignedOut(), visit.texts, cookies: BrowserCookies.endSession)
    }
    let transaction = SignOnTransaction(kind: .none, began: now(), browser: visit.cookies.browserDigest)
    return pages.signedIn(session, transaction: try services.seal.seal(transaction), applications: [], visit.texts).setting(visit.cookies.forBrowser)
  }

  func signOut(_ visit: Visit, body: [UInt8]) async throws -> Response {
    // Bound to the browser: no other site's form can sign anybody out.
    guard try await opened(visit, body) != nil else { return redirect("/sign-out", []) }
    guard let session = try await session(visit) else { return pages.signedOut(SignedOut(), visit.texts, cookies: BrowserCookies.endSession) }
    services.sessions.forget(session)
    return try await show(await services.logout.signOut(session), visit)
  }
}
