import Bytes
import Federation
import Foundation
import HTTPTypes
import Hummingbird
import Identity
import Logging
import NIOCore
import SAML
import SignIn
import XMLSecurity

/// What relying parties and people reach by a browser: single sign-on, the sign-in page, the change of a password, logout.
///
///     /adfs/ls/ ──request checked──► signed in? ──yes──► answer, posted to the relying party
///                                        │ no
///                                        ▼
///                          sign-in page ──POST /sign-in──► accepted ──303──► /continue ──► answer
///                                              │ expired
///                                              ▼
///                          change page ──POST /change-password──► changed: signed in
package struct SignOnServices: Sendable {
  package var signOn: SignOnService
  package var logout: LogoutService
  package var metadata: MetadataService
  package var parties: RelyingPartyDirectory
  package var partyStore: any RelyingPartyStore
  package var settingsStore: any FederationSettingsStore
  package var identity: FederationIdentity
  package var keys: TokenSigningKeys
  package var sessions: SessionDesk
  package var seal: TransactionSeal
  package var branding: PageBranding
  /// Describes somebody by name without a password, for `gatehouse rp preview`.
  package var preview: @Sendable (RelyingParty, UserName, Realm) async throws -> [UInt8]

  package init(
    signOn: SignOnService, logout: LogoutService, metadata: MetadataService, parties: RelyingPartyDirectory, partyStore: any RelyingPartyStore,
    settingsStore: any FederationSettingsStore, identity: FederationIdentity, keys: TokenSigningKeys, sessions: SessionDesk, seal: TransactionSeal,
    branding: PageBranding, preview: @escaping @Sendable (RelyingParty, UserName, Realm) async throws -> [UInt8]
  ) {
    self.signOn = signOn
    self.logout = logout
    self.metadata = metadata
    self.parties = parties
    self.partyStore = partyStore
    self.settingsStore = settingsStore
    self.identity = identity
    self.keys = keys
    self.sessions = sessions
    self.seal = seal
    self.branding = branding
    self.preview = preview
  }
}

struct SignOnRoutes: Sendable {
  /// A message of 64 KiB in base64, percent-encoded, with its relay state.
  static let longestForm = 160 << 10
  static let longestSOAP = 64 << 10

  let services: SignOnServices
  let signIn: SignInService
  let realms: RealmDirectory
  let gate: AdmissionGate
  let proxies: [AddressRange]
  let deadline: Duration
  let now: @Sendable () -> Instant
  let pages: Pages

  init(
    services: SignOnServices, signIn: SignInService, realms: RealmDirectory, gate: AdmissionGate, proxies: [AddressRange], deadline: Duration,
    now: @escaping @Sendable () -> Instant
  ) {
    self.services = services
    self.signIn = signIn
    self.realms = realms
    self.gate = gate
    self.proxies = proxies
    self.deadline = deadline
    self.now = now
    pages = Pages(branding: services.branding)
  }

  func add(to router: Router<GatewayRequestContext>) {
    router.get("/adfs/ls") { request, context in try await receiveQuery(Visit(request, context, self)) }
    router.post("/adfs/ls") { request, context in
      var request = request
      let body = try await request.readBody(limit: SignOnRoutes.longestForm)
      return try await receiveForm(Visit(request, context, self), body: body)
    }
    router.get("/adfs/ls/IdpInitiatedSignOn.aspx") { request, context in try await unsolicited(Visit(request, context, self)) }
    router.post("/saml/logout") { request, context in try await backChannelLogout(request) }
    router.get("/continue") { request, context in try await goOn(Visit(request, context, self)) }
    router.post("/sign-in") { request, context in
      var request = request
      let body = try await request.readBody(limit: 32 << 10)
      return try await signIn(Visit(request, context, self), context, body: body)
    }
    router.get("/change-password") { request, context in
      let visit = Visit(request, context, self)
      let transaction = SignOnTransaction(kind: .none, began: now(), browser: visit.cookies.browserDigest)
      let form = Pages.ChangeForm(transaction: try services.seal.seal(transaction))
      return pages.changePassword(form, visit.texts).setting(visit.cookies.forBrowser)
    }
    router.post("/change-password") { request, context in
      var request = request
      let body = try await request.readBody(limit: 32 << 10)
      return try await changePassword(Visit(request, context, self), context, body: body)
    }
    router.get("/sign-out") { request, context in try await signOutPage(Visit(request, context, self)) }
    router.post("/sign-out") { request, context in
      var request = request
      let body = try await request.readBody(limit: 32 << 10)
      return try await signOut(Visit(request, context, self), body: body)
    }
    router.get("/assets/logo") { _, _ in
      guard let logo = services.branding.logo else { throw RequestFault.notFound("There is nothing under this path.") }
      var fields: HTTPFields = [.contentType: logo.mediaType, .cacheControl: "public, max-age=3600", .xContentTypeOptions: "nosniff"]
      fields[.contentSecurityPolicy] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
      return Response(status: .ok, headers: fields, body: .init(byteBuffer: ByteBuffer(bytes: logo.bytes)))
    }
    addMetadata(to: router)
  }

  private func addMetadata(to router: Router<GatewayRequestContext>) {
    router.get("/saml/metadata") { _, _ in try metadata(for: nil) }
    router.get("/saml/metadata/:party") { _, context in
      let name = try segment("party", of: context)
      guard let party = services.parties.party(named: name) ?? Identifier(name).flatMap(services.parties.party(id:)) else {
        throw RequestFault.notFound("There is no relying party of this name.")
      }
      return try metadata(for: party)
    }
  }

  private func metadata(for party: RelyingParty?) throws -> Response {
    let fields: HTTPFields = [.contentType: "application/samlmetadata+xml", .cacheControl: "public, max-age=300", .xContentTypeOptions: "nosniff"]
    return Response(status: .ok, headers: fields, body: .init(byteBuffer: ByteBuffer(bytes: try services.metadata.own(for: party))))
  }

  // MARK: Messages of relying parties

  private func receiveQuery(_ visit: Visit) async throws -> Response {
    guard let query = visit.query, !query.isEmpty else { return redirect("/adfs/ls/IdpInitiatedSignOn.aspx", visit.cookies.forBrowser) }
    let message: ReceivedMessage
    do { message = try ReceivedMessage(query: query) } catch { return try await show(await services.signOn.refuse(error), visit) }
    return try await receive(message, visit)
  }

  private func receiveForm(_ visit: Visit, body: [UInt8]) async throws -> Response {
    let message: ReceivedMessage
    do {
      guard isForm(visit.contentType) else { throw MessageFault(.envelope, "the body is no form (application/x-www-form-urlencoded)") }
      // A message in the query beside one in the body: one could be checked and the other used.
      if let query = visit.query, try FormFields(query).only("SAMLRequest") != nil || FormFields(query).only("SAMLResponse") != nil {
        throw MessageFault(.envelope, "there is a SAML message in the query of a POST")
      }
      message = try ReceivedMessage(form: body)
    } catch let fault as MessageFault { return try await show(await services.signOn.refuse(fault), visit) }
    return try await receive(message, visit)
  }

  private func receive(_ message: ReceivedMessage, _ visit: Visit) async throws -> Response {
    let name = message.root.name
    switch (message.direction, name) {
    case (.request, XMLName(Vocabulary.protocolNamespace, "LogoutRequest")): return try await show(await services.logout.receive(message), visit)
    case (.response, XMLName(Vocabulary.protocolNamespace, "LogoutResponse")):
      let transaction = visit.cookies.logout.flatMap { services.seal.openLogout($0, browser: visit.cookies.browserDigest) }
      return try await show(await services.logout.receive(response: message, transaction: transaction), visit)
    case (.request, _):
      let session = try await session(visit)
      return try await show(await services.signOn.receive(message, session: session, browser: visit.cookies.browserDigest), visit)
    case (.response, _):
      return try await show(
        await services.signOn.refuse(MessageFault(.structure, "a <\(name.local.prefix(64))> is not awaited here as a SAMLResponse")), visit)
    }
  }

  private func backChannelLogout(_ request: Request) async throws -> Response {
    var request = request
    let bytes = try await request.readBody(limit: SignOnRoutes.longestSOAP)
    let root: XMLElement
    do { root = try SOAPEnvelope.body(bytes) } catch { return soapFault("Client", "The message cannot be read: \(error.detail)") }
    guard root.name == XMLName(Vocabulary.protocolNamespace, "LogoutRequest") else { return soapFault("Client", "Only LogoutRequest is taken here.") }
    guard let answer = await services.logout.receive(soap: ReceivedMessage(soap: root, direction: .request, digest: [])) else {
      return soapFault("Client", "The request was not accepted.")
    }
    return Response(status: .ok, headers: [.contentType: "text/xml; charset=utf-8"], body: .init(byteBuffer: ByteBuffer(bytes: answer)))
  }

  private func soapFault(_ code: String, _ text: String) -> Response {
    let body =
      "<soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body><soap:Fault><faultcode>soap:\(code)</faultcode><faultstring>\(escapedForXML(text))</faultstring></soap:Fault></soap:Body></soap:Envelope>"
    // SOAP 1.1 §6.2: a fault goes with status 500.
    return Response(
      status: .internalServerError, headers: [.contentType: "text/xml; charset=utf-8"], body: .init(byteBuffer: ByteBuffer(string: body)))
  }

  private func unsolicited(_ visit: Visit) async throws -> Response {
    let session = try await session(visit)
    let fields: FormFields
    do { fields = try FormFields(visit.query ?? []) } catch { return try await show(await services.signOn.refuse(error), visit) }
    let party: String?
    let relayState: String?
    do {
      party = try fields.text("loginToRp")
      relayState = try fields.text("RelayState")
    } catch { return try await show(await services.signOn.refuse(error), visit) }
    if let party {
      return try await show(
        await services.signOn.unsolicited(party, relayState: relayState, session: session, browser: visit.cookies.browserDigest), visit)
    }
    let transaction = SignOnTransaction(kind: .none, began: now(), browser: visit.cookies.browserDigest)
    guard let session else { return try await show(.signIn(transaction), visit) }
    let applications = services.parties.parties.filter { $0.allowsUnsolicited && !$0.disabled }.map { ($0.name, $0.shownName) }
    return pages.signedIn(session, transaction: try services.seal.seal(transaction), applications: applications, visit.texts)
      .setting(visit.cookies.forBrowser)
  }

  // MARK: The person

  private func goOn(_ visit: Visit) async throws -> Response {
    let text = visit.query.flatMap { try? FormFields($0).text("t") }
    guard let text, let transaction = services.seal.open(text, browser: visit.cookies.isKnown ? visit.cookies.browserDigest : nil, now: now()) else {
      return try await show(await services.signOn.refuseTransaction(), visit)
    }
    guard let session = try await session(visit) else { return try await show(.signIn(transaction), visit) }
    guard transaction.kind != .none else { return redirect("/adfs/ls/IdpInitiatedSignOn.aspx", []) }
    return try await show(await services.signOn.finish(transaction, session: session), visit)
  }

  private func signIn(_ visit: Visit, _ context: GatewayRequestContext, body: [UInt8]) async throws -> Response {
    guard let (fields, sealed, transaction) = try await opened(visit, body) else {
      return try await show(await services.signOn.refuseTransaction(), visit)
    }
    let userName = fields.value("userName") ?? ""
    let party = transaction.party.flatMap(services.parties.party(id:))?.shownName
    var form = Pages.SignInForm(
      transaction: sealed, party: party, userName: userName, offersKeeping: services.sessions.policy.offersKeeping, keeps: fields.value("keep") == "1")
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
            transaction: sealed, userName: userName, error: visit.texts.refusal(code, retryAfter: nil), reference: answer.reference, keeps: form.keeps),
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

  private func changePassword(_ visit: Visit, _ context: GatewayRequestContext, body: [UInt8]) async throws -> Response {
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
  private func begin(
    _ person: AcceptedPerson, userName: String, keeping: Bool, reference: Reference, transaction sealed: String, _ visit: Visit
  ) async throws -> Response {
    let old = try await session(visit)
    let (secret, session) = try await services.sessions.begin(
      person, userName: userName, keeping: keeping, replacing: old, reference: reference, address: visit.address, now: now())
    let life = session.isKept ? services.sessions.policy.keptLife : nil
    return redirect("/continue?t=\(sealed)", visit.cookies.forSession(secret, life: life))
  }

  private func signOutPage(_ visit: Visit) async throws -> Response {
    guard let session = try await session(visit) else { return pages.signedOut(failed: [], visit.texts, cookies: BrowserCookies.endSession) }
    let transaction = SignOnTransaction(kind: .none, began: now(), browser: visit.cookies.browserDigest)
    return pages.signedIn(session, transaction: try services.seal.seal(transaction), applications: [], visit.texts).setting(visit.cookies.forBrowser)
  }

  private func signOut(_ visit: Visit, body: [UInt8]) async throws -> Response {
    // Bound to the browser: no other site's form can sign anybody out.
    guard try await opened(visit, body) != nil else { return redirect("/sign-out", []) }
    guard let session = try await session(visit) else { return pages.signedOut(failed: [], visit.texts, cookies: BrowserCookies.endSession) }
    return try await show(await services.logout.signOut(session), visit)
  }

  // MARK: Answers

  private func show(_ step: SignOnStep, _ visit: Visit) async throws -> Response {
    switch step {
    case .signIn(let transaction):
      let party = transaction.party.flatMap(services.parties.party(id:))?.shownName
      let form = Pages.SignInForm(
        transaction: try services.seal.seal(transaction), party: party, userName: transaction.hint ?? "",
        offersKeeping: services.sessions.policy.offersKeeping)
      return pages.signIn(form, visit.texts).setting(visit.cookies.forBrowser)
    case .post(let form):
      return pages.post(form, party: nil, visit.texts, cookies: visit.cookies.forBrowser)
    case .refused(let refusal): return pages.refusal(refusal, visit.texts).setting(visit.cookies.forBrowser)
    }
  }

  private func show(_ step: LogoutStep, _ visit: Visit) async throws -> Response {
    let ended = BrowserCookies.endSession
    func keep(_ transaction: LogoutTransaction) throws -> [String] {
      ended + visit.cookies.forBrowser
        + BrowserCookies.forLogout(try services.seal.sealLogout(transaction, browser: visit.cookies.browserDigest))
    }
    switch step {
    case .away(let url, let transaction): return redirect(url, try keep(transaction))
    case .awayByPost(let form, let transaction): return pages.post(form, party: nil, visit.texts, cookies: try keep(transaction))
    case .redirect(let url): return redirect(url, ended + BrowserCookies.endLogout)
    case .post(let form): return pages.post(form, party: nil, visit.texts, cookies: ended + BrowserCookies.endLogout)
    case .done(let failed): return pages.signedOut(failed: failed, visit.texts, cookies: ended + BrowserCookies.endLogout)
    case .refused(let refusal): return pages.refusal(refusal, visit.texts)
    }
  }

  private func redirect(_ location: String, _ cookies: [String]) -> Response {
    // Bindings 3.4.5.1: nothing on the way may keep it.
    var fields: HTTPFields = [.location: location, .cacheControl: "no-cache, no-store"]
    fields[.contentSecurityPolicy] = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"
    if let name = HTTPField.Name("Referrer-Policy") { fields[name] = "no-referrer" }
    return Response(status: .seeOther, headers: fields).setting(cookies)
  }

  private func session(_ visit: Visit) async throws -> Session? {
    guard let secret = visit.cookies.session else { return nil }
    return try await services.sessions.session(secret, now: now())
  }

  /// The form of one of our own pages with its transaction; nil where it is not this browser's.
  private func opened(_ visit: Visit, _ body: [UInt8]) async throws -> (PageForm, String, SignOnTransaction)? {
    guard isForm(visit.contentType), let fields = PageForm(body), let sealed = fields.value("transaction"), visit.cookies.isKnown,
      let transaction = services.seal.open(sealed, browser: visit.cookies.browserDigest, now: now())
    else { return nil }
    return (fields, sealed, transaction)
  }

  /// The pages ask as a front-end of the house's own, for the people of every realm.
  private var frontEnd: FrontEnd { FrontEnd(name: "sign-in-page", realms: realms.realms.map(\.name), ratePerSecond: .max) }
}

/// What is read of a request once.
struct Visit: Sendable {
  let cookies: BrowserCookies
  let texts: PageTexts
  let address: IPAddress?
  let contentType: String?
  /// Raw octets behind the `?`.
  let query: [UInt8]?

  init(_ request: Request, _ context: GatewayRequestContext, _ routes: SignOnRoutes) {
    cookies = BrowserCookies(request)
    texts = PageTexts(language: .preferred(request.headers[.acceptLanguage]))
    address = clientAddress(headers: request.headers, context.facts, proxies: routes.proxies).flatMap(IPAddress.init)
    contentType = request.headers[.contentType]
    query = request.head.path.flatMap { path in path.utf8.firstIndex(of: UInt8(ascii: "?")).map { Array(path.utf8[path.utf8.index(after: $0)...]) } }
  }
}

/// Whether a content type says that the body is a form.
func isForm(_ contentType: String?) -> Bool {
  let type = contentType?.split(separator: ";", omittingEmptySubsequences: false).first.map(String.init) ?? ""
  return type.trimmingCharacters(in: .whitespaces).lowercased() == "application/x-www-form-urlencoded"
}
