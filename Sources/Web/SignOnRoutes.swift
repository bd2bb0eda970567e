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
import WSFederation
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
    TrustRoutes(routes: self).add(to: router)
    RolloverConfirmationRoutes(services: services, now: now).add(to: router)
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
    router.get("/saml/metadata/:party/:token") { request, context in try ownMetadata(request, context) }
  }

  /// What only the relying party's own servers read: who reads it is remembered, as evidence that they know the keys in it.
  private func ownMetadata(_ request: Request, _ context: GatewayRequestContext) throws -> Response {
    let party = try ownParty(context)
    let response = try metadata(for: party, cacheControl: "private, no-cache")
    notePoll(of: party, request, context)
    return response
  }

  /// Whose own address it is. Throws `RequestFault.notFound` where it is nobody's.
  func ownParty(_ context: GatewayRequestContext) throws -> RelyingParty {
    let (name, token) = (try segment("party", of: context), try segment("token", of: context))
    guard let party = services.parties.party(named: name),
      constantTimeEqual(Array(services.keys.addressToken("metadata", party.id).utf8), Array(token.utf8))
    else { throw RequestFault.notFound("There is no relying party of this name and address.") }
    return party
  }

  func notePoll(of party: RelyingParty, _ request: Request, _ context: GatewayRequestContext) {
    // Who asks for the head only has not read it.
    guard request.method == .get else { return }
    let visit = Visit(request, context, self)
    let program = String((request.headers[.userAgent] ?? "").prefix(64))
    services.rollover.ledger.notePoll(
      of: party.id, by: "\(visit.address.map { "\($0)" } ?? "-") \(program)", keys: services.keys.published(for: party).map(\.id), now: now())
  }

  private func metadata(for party: RelyingParty?, cacheControl: String = "public, max-age=300") throws -> Response {
    let fields: HTTPFields = [.contentType: "application/samlmetadata+xml", .cacheControl: cacheControl, .xContentTypeOptions: "nosniff"]
    return Response(status: .ok, headers: fields, body: .init(byteBuffer: ByteBuffer(bytes: try services.metadata.own(for: party))))
  }

  private func receiveQuery(_ visit: Visit) async throws -> Response {
    guard let query = visit.query, !query.isEmpty else { return redirect("/adfs/ls/IdpInitiatedSignOn.aspx", visit.cookies.forBrowser) }
    if let fields = try? FormFields(query), PassiveRequest.isOne(fields) { return try await receivePassive(fields, visit) }
    let message: ReceivedMessage
    do { message = try ReceivedMessage(query: query) } catch { return try await show(await services.signOn.refuse(error), visit) }
    return try await receive(message, visit)
  }

  private func receiveForm(_ visit: Visit, body: [UInt8]) async throws -> Response {
    let message: ReceivedMessage
    do {
      guard isForm(visit.contentType) else { throw MessageFault(.envelope, "the body is no form (application/x-www-form-urlencoded)") }
      if let fields = try? FormFields(body), PassiveRequest.isOne(fields) { return try await receivePassive(fields, visit) }
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
      return try await show(
        await services.signOn.receive(message, session: session, browser: visit.cookies.browserDigest, visit: visit.facts(now: now())), visit)
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
    guard let answer = try await services.logout.receive(soap: ReceivedMessage(soap: root, direction: .request, digest: [])) else {
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
        await services.signOn.unsolicited(
          party, relayState: relayState, session: session, browser: visit.cookies.browserDigest, visit: visit.facts(now: now())), visit)
    }
    let transaction = SignOnTransaction(kind: .none, began: now(), browser: visit.cookies.browserDigest)
    guard let session else { return try await show(.signIn(transaction), visit) }
    let applications = services.parties.parties.filter { $0.allowsUnsolicited && !$0.disabled }.map { ($0.name, $0.shownName) }
    return pages.signedIn(session, transaction: try services.seal.seal(transaction), applications: applications, visit.texts)
      .setting(visit.cookies.forBrowser)
  }
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

extension Visit {
  /// How often relying parties were answered at this browser lately.
  func answers(now: Instant) -> RecentAnswers { cookies.answers.map { RecentAnswers($0, now: now) } ?? RecentAnswers() }

  func facts(now: Instant) -> VisitFacts { VisitFacts(address: address, answers: answers(now: now)) }
}

/// Whether a content type says that the body is a form.
func isForm(_ contentType: String?) -> Bool {
  let type = contentType?.split(separator: ";", omittingEmptySubsequences: false).first.map(String.init) ?? ""
  return type.trimmingCharacters(in: .whitespaces).lowercased() == "application/x-www-form-urlencoded"
}
