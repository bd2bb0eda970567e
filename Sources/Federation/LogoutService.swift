import Bytes
import Cryptography
import Foundation
import Identity
import Logging
import SAML
import XMLSecurity

/// Tells a relying party over a connection of the gateway's own.
package protocol BackChannel: Sendable {
  /// Posts a SOAP envelope and answers with the body of the reply, at most 64 KiB. Throws where there is no answer of status 200 within `timeout`.
  func post(soap envelope: [UInt8], to url: String, timeout: Duration) async throws -> [UInt8]
}

/// Ends sessions here and at the relying parties.
package struct LogoutService: Sendable {
  /// For each relying party that is told over the back channel; all at the same time.
  static let backChannelLimit: Duration = .seconds(5)
  /// How long a browser may be away before its return means nothing any more.
  package static let life: Duration = .seconds(300)

  let parties: RelyingPartyDirectory
  let keys: TokenSigningKeys
  let store: any FederationStore
  let sessions: any SessionStore
  let audit: any AuditLog
  private let identity: FederationIdentity
  private let backChannel: any BackChannel
  private let observer: (any TokenObserver)?
  let now: @Sendable () -> Instant
  let logger: Logger

  package init(
    parties: RelyingPartyDirectory, keys: TokenSigningKeys, store: any FederationStore, sessions: any SessionStore, audit: any AuditLog,
    identity: FederationIdentity, backChannel: any BackChannel, observer: (any TokenObserver)? = nil, now: @escaping @Sendable () -> Instant,
    logger: Logger
  ) {
    self.observer = observer
    self.parties = parties
    self.keys = keys
    self.store = store
    self.sessions = sessions
    self.audit = audit
    self.identity = identity
    self.backChannel = backChannel
    self.now = now
    self.logger = logger
  }

  /// The person signs out at our own page.
  package func signOut(_ session: Session) async -> LogoutStep {
    do {
      let participants = try await store.participants(of: session.digest)
      try await end([session.digest], by: "user", reason: "sign-out")
      return await tell(
        participants, LogoutTransaction(waiting: [], failed: [], told: 0, began: now()))
    } catch { return await unavailable(error) }
  }

  /// A LogoutRequest by Redirect or POST.
  package func receive(_ message: ReceivedMessage) async -> LogoutStep {
    let party: RelyingParty
    let request: LogoutRequest
    switch await checked(message) {
    case .success(let checked): (party, request) = checked
    case .failure(let refusal): return .refused(refusal.page)
    }
    do {
      let (digests, participants) = try await end(request, party: party)
      var transaction = LogoutTransaction(waiting: [], failed: [], told: 0, began: now())
      transaction.requester = party.id
      transaction.request = request.head.id
      transaction.relayState = message.relayState
      transaction.isAsynchronous = request.isAsynchronous
      logger.debug("logout", metadata: ["relyingParty": "\(party.name)", "sessions": "\(digests.count)"])
      return await tell(participants.filter { $0.relyingParty != party.id }, transaction)
    } catch { return await unavailable(error) }
  }

  /// A LogoutRequest over the back channel: the SOAP envelope's body, already read. Answers with the envelope to send back. Only the relying parties
  /// that have a back channel themselves can be told; who can only be told through the browser counts as failed. Nil where the request is not accepted;
  /// throws where the answer cannot be signed now.
  package func receive(soap message: ReceivedMessage) async throws(CryptographyFault) -> [UInt8]? {
    guard case .success(let (party, request)) = await checked(message) else { return nil }
    var status = Status.success
    do {
      let (_, participants) = try await end(request, party: party)
      let others = participants.filter { $0.relyingParty != party.id }
      let failed = await tellByBackChannel(others)
      if !failed.isEmpty { status = Status(.success, .partialLogout) }
    } catch {
      logger.error("a logout could not be carried out", metadata: ["error": "\(error)"])
      status = Status(.responder)
    }
    do { return SOAPEnvelope.wrap(try response(to: request.head.id, status: status, destination: nil, party: party)) } catch {
      logger.error("a logout response could not be made", metadata: ["relyingParty": "\(party.name)", "error": "\(error)"])
      if let fault = error as? CryptographyFault { throw fault }
      return nil
    }
  }

  /// The browser returns from a relying party with its LogoutResponse.
  package func receive(response message: ReceivedMessage, transaction: LogoutTransaction?) async -> LogoutStep {
    guard var transaction, now().since(transaction.began) <= LogoutService.life, let current = transaction.current,
      let party = parties.party(id: current)
    else { return .done(SignedOut()) }
    var succeeded = false
    do {
      let root = message.isSigned ? try message.verified(by: party.verificationKeys, allowingSHA1: party.allowsSHA1(at: now())) : message.root
      let response = try LogoutResponse(root)
      succeeded =
        message.isSigned && response.head.issuer.utf8.elementsEqual(party.entityID.utf8) && response.status.code == .success
        && response.status.detail == nil && response.inResponseTo == transaction.currentRequest
    } catch { logger.notice("a logout response was not accepted", metadata: ["relyingParty": "\(party.name)", "reason": "\(error)"]) }
    if succeeded { transaction.told += 1 } else { transaction.failed.append(party.shownName) }
    transaction.current = nil
    return await next(transaction)
  }

  /// Goes on without the relying party that the browser did not return from.
  package func skip(_ transaction: LogoutTransaction) async -> LogoutStep {
    guard now().since(transaction.began) <= LogoutService.life else { return .done(SignedOut()) }
    var transaction = transaction
    if let current = transaction.current, let party = parties.party(id: current) { transaction.failed.append(party.shownName) }
    transaction.current = nil
    return await next(transaction)
  }

  private struct Refused: Error { var page: PageRefusal }

  /// The request with its sender, after every check. It must be signed (Profiles 4.4.4.1): else anybody's page could sign people out.
  private func checked(_ message: ReceivedMessage) async -> Result<(RelyingParty, LogoutRequest), Refused> {
    func refused(_ reason: PageRefusal.Reason, _ party: RelyingParty?, _ detail: String) async -> Result<(RelyingParty, LogoutRequest), Refused> {
      let reference = Reference()
      let event = AuditEvent(
        time: now(), kind: .logoutRefused, reference: reference, actor: party?.name ?? "gatehouse", outcome: "refused:\(reason.rawValue)",
        trace: [TraceNote(.federation, detail)])
      do { try await audit.append([event]) } catch { logger.error("a refusal could not be recorded", metadata: ["error": "\(error)"]) }
      return .failure(Refused(page: PageRefusal(reason: reason, reference: reference, party: party?.shownName)))
    }
    let time = now()
    guard let issuer = try? message.claimedIssuer, let party = parties.party(entityID: issuer) else {
      return await refused(.unknownParty, nil, "the LogoutRequest comes from nobody who is registered")
    }
    guard message.isSigned else { return await refused(.badSignature, party, "a LogoutRequest must be signed") }
    let request: LogoutRequest
    do { request = try LogoutRequest(try message.verified(by: party.verificationKeys, allowingSHA1: party.allowsSHA1(at: time))) } catch {
      return await refused(error.kind == .signature ? .badSignature : .malformed, party, error.detail)
    }
    guard request.head.issuer.utf8.elementsEqual(party.entityID.utf8) else {
      return await refused(.badSignature, party, "the signed Issuer is another one")
    }
    guard request.head.versionFault == nil else { return await refused(.malformed, party, "only Version 2.0 is understood") }
    let expected = message.binding == .soap ? identity.logoutSOAPURL : identity.signOnURL
    if let destination = request.head.destination {
      guard destination.utf8.elementsEqual(expected.utf8) else {
        return await refused(.misdirected, party, "Destination is \(destination.prefix(256)), and the request came to \(expected)")
      }
    } else if message.binding != .soap {
      return await refused(.misdirected, party, "a signed LogoutRequest must name its Destination (\(expected))")
    }
    // Nothing could be ended, and Success would not be true.
    if let encrypted = request.encryptedName, (try? NameID(encrypted: encrypted, keys: keys.decryptionKeys)) == nil {
      return await refused(
        .malformed, party, "the encrypted name cannot be read; it must be encrypted for the key in our metadata, by AES-GCM and RSA-OAEP")
    }
    let age = time.since(request.head.issueInstant)
    guard age <= RequestChecks.window, age >= .zero - RequestChecks.window else {
      return await refused(.stale, party, "IssueInstant is \(request.head.issueInstant), and it is \(time) now")
    }
    if let end = request.notOnOrAfter, end.adding(RequestChecks.window) <= time { return await refused(.stale, party, "NotOnOrAfter has passed") }
    do {
      let until = time.adding(RequestChecks.window * 2)
      guard try await store.rememberMessage(request.head.id, issuer: party.entityID, until: until, now: time) else {
        return await refused(.repeated, party, "a request with the ID \(request.head.id) came before")
      }
    } catch {
      logger.error("a LogoutRequest could not be remembered", metadata: ["error": "\(error)"])
      return await refused(.unavailable, party, "the store did not answer")
    }
    return .success((party, request))
  }

  /// Ends the sessions that the request means. Who asks about nobody whom we know is told that all is done: it is.
  private func end(_ request: LogoutRequest, party: RelyingParty) async throws -> ([[UInt8]], [Participant]) {
    var name = request.name
    if let encrypted = request.encryptedName { name = try? NameID(encrypted: encrypted, keys: keys.decryptionKeys) }
    guard let name else { return ([], []) }
    let digests = try await store.sessions(of: party.id, name: name, indexes: request.sessionIndexes)
    // Only a token that was taken tells a relying party the index of its session.
    if !request.sessionIndexes.isEmpty { observer?.noteProof(party, sessions: digests, now: now()) }
    var participants: [Participant] = []
    for digest in digests {
      for participant in try await store.participants(of: digest) where !participants.contains(participant) { participants.append(participant) }
    }
    try await end(digests, by: party.name, reason: request.reason ?? "logout request")
    return (digests, participants)
  }

  func end(_ digests: [[UInt8]], by actor: String, reason: String) async throws {
    for digest in digests {
      guard let session = try await sessions.session(digest: digest, now: now()) else { continue }
      let event = AuditEvent(
        time: now(), kind: .sessionEnded, actor: actor, realm: session.person.object.realm, subject: session.person.userPrincipalName,
        object: session.person.object.id, outcome: "done", details: ["reason": String(reason.prefix(128))])
      _ = try await sessions.end(session: digest, audit: [event])
    }
  }

  /// First those that can be told without the browser, then, one after the other, those that cannot.
  func tell(_ participants: [Participant], _ begun: LogoutTransaction) async -> LogoutStep {
    var transaction = begun
    let (direct, viaBrowser) = split(participants)
    let failed = await tellByBackChannel(direct)
    transaction.failed += failed
    transaction.told += direct.count - failed.count
    transaction.waiting = viaBrowser
    let passive = participants.filter(isPassive)
    transaction.cleanUps = passive.isEmpty ? nil : passive.map(\.relyingParty)
    for participant in participants where !direct.contains(participant) && !viaBrowser.contains(participant) && !passive.contains(participant) {
      // It has no logout service: its session there lives on.
      if let party = parties.party(id: participant.relyingParty) { transaction.failed.append(party.shownName) }
    }
    return await next(transaction)
  }

  private func split(_ participants: [Participant]) -> (direct: [Participant], viaBrowser: [Participant]) {
    var direct: [Participant] = []
    var viaBrowser: [Participant] = []
    for participant in participants {
      guard let party = parties.party(id: participant.relyingParty), !isPassive(participant) else { continue }
      // The browser carries the cookies that most relying parties find their session by, so it is the better way where there are both.
      if party.logout.contains(where: { $0.binding == Binding.redirect.rawValue || $0.binding == Binding.post.rawValue }) {
        viaBrowser.append(participant)
      } else if party.logout.contains(where: { $0.binding == Binding.soap.rawValue }) {
        direct.append(participant)
      }
    }
    return (direct, viaBrowser)
  }

  /// The names of those that could not be told.
  private func tellByBackChannel(_ participants: [Participant]) async -> [String] {
    await withTaskGroup(of: String?.self) { group in
      for participant in participants {
        guard let party = parties.party(id: participant.relyingParty) else { continue }
        group.addTask { await tellDirectly(participant, party) ? nil : party.shownName }
      }
      var failed: [String] = []
      for await name in group { if let name { failed.append(name) } }
      return failed
    }
  }

  private func tellDirectly(_ participant: Participant, _ party: RelyingParty) async -> Bool {
    guard let end = party.logout.first(where: { $0.binding == Binding.soap.rawValue }), let signer = keys.signer(for: party) else { return false }
    do {
      let request = try self.request(to: end.location, participant)
      let signed = try TokenIssuer(entityID: identity.entityID, now: now()).sign(try request.written(), party, signer)
      let reply = try await backChannel.post(soap: SOAPEnvelope.wrap(signed), to: end.location, timeout: LogoutService.backChannelLimit)
      let response = try LogoutResponse(try SOAPEnvelope.body(reply))
      return response.status.code == .success && response.status.detail == nil && response.inResponseTo == request.head.id
    } catch {
      logger.notice("a relying party could not be told of a logout", metadata: ["relyingParty": "\(party.name)", "error": "\(error)"])
      return false
    }
  }

  private func request(to destination: String, _ participant: Participant) throws -> LogoutRequest {
    let time = now()
    guard let name = participant.name else { throw MessageFault(.structure, "the participant has no name") }
    return LogoutRequest(
      head: MessageHead(id: TokenIssuer.makeID(), issueInstant: time, issuer: identity.entityID, destination: destination), name: name,
      sessionIndexes: [participant.sessionIndex], notOnOrAfter: time.adding(LogoutService.life))
  }

  /// The next relying party by way of the browser, or the end.
  private func next(_ begun: LogoutTransaction) async -> LogoutStep {
    var transaction = begun
    while let participant = transaction.waiting.first {
      transaction.waiting.removeFirst()
      guard let party = parties.party(id: participant.relyingParty), let signer = keys.signer(for: party) else { continue }
      do {
        let redirect = party.logout.first { $0.binding == Binding.redirect.rawValue }
        let post = party.logout.first { $0.binding == Binding.post.rawValue }
        guard let end = redirect ?? post else { continue }
        let request = try self.request(to: end.location, participant)
        transaction.current = party.id
        transaction.currentRequest = request.head.id
        let message = try request.written()
        if end.binding == Binding.redirect.rawValue {
          return .away(try self.redirect(message, .request, to: end.location, relayState: nil, party, signer), transaction)
        }
        let signed = try TokenIssuer(entityID: identity.entityID, now: now()).sign(message, party, signer)
        return .awayByPost(PostForm(action: end.location, fields: [("SAMLRequest", signed.base64)]), transaction)
      } catch {
        logger.notice("a relying party could not be told of a logout", metadata: ["relyingParty": "\(party.name)", "error": "\(error)"])
        transaction.failed.append(party.shownName)
      }
    }
    return await finish(transaction)
  }

  private func finish(_ transaction: LogoutTransaction) async -> LogoutStep {
    var end = SignedOut(failed: transaction.failed, cleanUps: cleanUps(transaction), onward: transaction.reply.map { .url($0) })
    guard let requester = transaction.requester, let party = parties.party(id: requester), let request = transaction.request,
      !transaction.isAsynchronous, let signer = keys.signer(for: party)
    else { return end.cleanUps.isEmpty && end.failed.isEmpty ? transaction.reply.map { .redirect($0) } ?? .done(end) : .done(end) }
    // Core 3.7.3.2: Success with PartialLogout where not everybody was reached.
    let status = transaction.failed.isEmpty ? Status.success : Status(.success, .partialLogout)
    let answers = party.logout.filter { $0.binding == Binding.redirect.rawValue || $0.binding == Binding.post.rawValue }
    guard let service = answers.first(where: { $0.binding == Binding.redirect.rawValue }) ?? answers.first else { return .done(end) }
    let location = service.responseLocation ?? service.location
    do {
      let message = try LogoutResponse(
        head: MessageHead(id: TokenIssuer.makeID(), issueInstant: now(), issuer: identity.entityID, destination: location), inResponseTo: request,
        status: status
      ).written()
      if service.binding == Binding.redirect.rawValue {
        let url = try redirect(message, .response, to: location, relayState: transaction.relayState, party, signer)
        guard !end.cleanUps.isEmpty else { return .redirect(url) }
        end.onward = .url(url)
      } else {
        var fields = [("SAMLResponse", try TokenIssuer(entityID: identity.entityID, now: now()).sign(message, party, signer).base64)]
        if let relayState = transaction.relayState { fields.append(("RelayState", relayState)) }
        let form = PostForm(action: location, fields: fields)
        guard !end.cleanUps.isEmpty else { return .post(form) }
        end.onward = .post(form)
      }
      return .done(end)
    } catch let fault as CryptographyFault {
      // Whoever asked is not told now; they would take our own page for the end of it.
      return await unavailable(fault)
    } catch {
      logger.error("a logout response could not be made", metadata: ["relyingParty": "\(party.name)", "error": "\(error)"])
      return .done(end)
    }
  }

  private func redirect(
    _ message: UnsignedMessage, _ direction: MessageDirection, to location: String, relayState: String?, _ party: RelyingParty,
    _ signer: TokenSigningKeys.Signer
  ) throws -> String {
    let outgoing = OutgoingRedirect(
      message, direction: direction, to: location, relayState: relayState, algorithm: party.signatureAlgorithm)
    return outgoing.finish(signature: try signer.key.sign(outgoing.bytesToSign, with: party.signatureAlgorithm))
  }

  private func response(to request: String, status: Status, destination: String?, party: RelyingParty) throws -> [UInt8] {
    guard let signer = keys.signer(for: party) else { throw MessageFault(.structure, "there is no signing key") }
    let response = LogoutResponse(
      head: MessageHead(id: TokenIssuer.makeID(), issueInstant: now(), issuer: identity.entityID, destination: destination), inResponseTo: request,
      status: status)
    return try TokenIssuer(entityID: identity.entityID, now: now()).sign(try response.written(), party, signer)
  }

  func unavailable(_ error: any Error) async -> LogoutStep {
    logger.error("a logout could not be carried out", metadata: ["error": "\(error)"])
    return .refused(PageRefusal(reason: .unavailable, reference: Reference(), party: nil))
  }
}
