import Bytes
import Cryptography
import Identity
import Logging
import SAML

/// What the browser is shown next.
package enum SignOnStep: Sendable {
  /// The sign-in page.
  case signIn(SignOnTransaction)
  /// A page that posts the answer to the relying party.
  case post(PostForm)
  /// A page of our own that says what is wrong; nothing is sent to anybody.
  case refused(PageRefusal)
}

/// Why there is no answer for the relying party, with the reference that the page shows and `gatehouse trace` explains.
package struct PageRefusal: Sendable, Equatable {
  package enum Reason: String, Sendable, CaseIterable {
    case malformed, unknownParty, partyDisabled, badSignature, consumerNotRegistered, misdirected, stale, repeated
    case notPermitted, noToken, transactionOver, unavailable, unsolicitedNotAllowed
    /// A second factor, or another way to sign in than by password, is asked for and cannot be had.
    case secondFactor, authenticationMethod
    /// The relying party sends its visitor back again and again.
    case loop
  }
  package var reason: Reason
  package var reference: Reference
  /// The relying party's name for people; nil where it is not known.
  package var party: String?

  package init(reason: Reason, reference: Reference, party: String?) {
    self.reason = reason
    self.reference = reference
    self.party = party
  }
}

/// Signs people in to relying parties: from a request that arrived to the answer that the browser posts.
package struct SignOnService: Sendable {
  let parties: RelyingPartyDirectory
  let keys: TokenSigningKeys
  let store: any FederationStore
  let audit: any AuditLog
  let identity: FederationIdentity
  let observer: (any TokenObserver)?
  /// Of a realm: the NetBIOS name of its domain.
  let domain: @Sendable (RealmName) -> String?
  /// For attributes that the session does not have; nil where nobody could find out.
  let describe: @Sendable (Session, AttributeRequest) async -> AcceptedPerson?
  let now: @Sendable () -> Instant
  let logger: Logger

  package init(
    parties: RelyingPartyDirectory, keys: TokenSigningKeys, store: any FederationStore, audit: any AuditLog, identity: FederationIdentity,
    domain: @escaping @Sendable (RealmName) -> String?, describe: @escaping @Sendable (Session, AttributeRequest) async -> AcceptedPerson?,
    observer: (any TokenObserver)? = nil, now: @escaping @Sendable () -> Instant, logger: Logger
  ) {
    self.observer = observer
    self.parties = parties
    self.keys = keys
    self.store = store
    self.audit = audit
    self.identity = identity
    self.domain = domain
    self.describe = describe
    self.now = now
    self.logger = logger
  }

  /// A request by Redirect or POST.
  ///
  /// - Parameters:
  ///   - session: of the browser, where it is signed in.
  ///   - browser: SHA-256 of the cookie that every browser here has.
  package func receive(
    _ message: ReceivedMessage, session: Session?, browser: [UInt8], visit: VisitFacts = VisitFacts()
  ) async -> SignOnStep {
    let time = now()
    let claimed: String
    do { claimed = try message.claimedIssuer } catch { return await refuse(.malformed, nil, [CheckFailure(.structure, error.detail)]) }
    let checks = RequestChecks(
      endpoint: identity.signOnURL, ownEntityID: identity.entityID, decryptionKeys: keys.decryptionKeys, now: time)
    switch checks.check(message, party: parties.party(entityID: claimed), claimedIssuer: claimed) {
    case .refusedHere(let failures, let party): return await refuse(SignOnService.reason(failures), party, failures)
    case .answered(let status, let failures, let party, let consumer, let inResponseTo, let relayState):
      return await decline(
        status, failures, party: party, consumer: consumer.location, inResponseTo: inResponseTo, relayState: relayState, person: nil)
    case .passed(let checked):
      if message.isSigned, let refusal = await repeated(checked, browser: browser, now: time) { return refusal }
      let transaction = SignOnTransaction(checked, now: time, browser: browser)
      if let session, transaction.freshSince == nil { return await finish(transaction, session: session, visit: visit) }
      guard !checked.request.isPassive else {
        // Core 3.4.1: without showing anything it cannot be done.
        return await decline(
          Status(.responder, .noPassive), [CheckFailure(.passive, "nobody is signed in at this browser")], party: checked.party,
          consumer: checked.consumer.location, inResponseTo: checked.request.head.id, relayState: checked.relayState, person: nil)
      }
      return .signIn(transaction)
    }
  }

  /// A sign-in that nobody asked for (Profiles 4.1.5), for a relying party that allows it.
  package func unsolicited(
    _ name: String, relayState: String?, session: Session?, browser: [UInt8], visit: VisitFacts = VisitFacts()
  ) async -> SignOnStep {
    guard let party = parties.party(named: name) ?? parties.party(entityID: name) else {
      return await refuse(.unknownParty, nil, [CheckFailure(.senderKnown, "no relying party has the name or entityID \(name.prefix(256))")])
    }
    guard !party.disabled else { return await refuse(.partyDisabled, party, [CheckFailure(.senderEnabled, "the relying party is disabled")]) }
    guard party.allowsUnsolicited else {
      return await refuse(
        .unsolicitedNotAllowed, party,
        [
          CheckFailure(
            .senderEnabled, "sign-ins may not begin here for \(party.name); allow it with `gatehouse rp edit \(party.name) --unsolicited on`")
        ])
    }
    guard let consumer = party.standardConsumer?.location ?? party.replyAddresses.first else {
      return await refuse(
        .consumerNotRegistered, party, [CheckFailure(.consumerRegistered, "the relying party has no address that tokens go to")])
    }
    if let relayState, relayState.utf8.count > ReceivedMessage.longestRelayState {
      return await refuse(.malformed, party, [CheckFailure(.structure, "RelayState has more than \(ReceivedMessage.longestRelayState) bytes")])
    }
    var transaction = SignOnTransaction(kind: party.standardConsumer == nil ? .passive : .unsolicited, began: now(), browser: browser)
    transaction.party = party.id
    transaction.consumer = consumer
    transaction.relayState = relayState
    if transaction.kind == .passive { transaction.contextClass = SignOnService.passwordMethod(party.passive.tokenType) }
    guard let session else { return .signIn(transaction) }
    return await finish(transaction, session: session, visit: visit)
  }

  /// The answer for a person who is signed in.
  package func finish(_ transaction: SignOnTransaction, session: Session, visit: VisitFacts = VisitFacts()) async -> SignOnStep {
    if let fresh = transaction.freshSince, session.authenticated < fresh { return .signIn(transaction) }
    guard let id = transaction.party, let prepared = parties.prepared(id) else { return await refuse(.unknownParty, nil, []) }
    let party = prepared.party
    // The registration may have changed while the person typed.
    guard !party.disabled else {
      return await refuse(.partyDisabled, party, [CheckFailure(.senderEnabled, "the relying party was disabled meanwhile")])
    }
    let addresses = transaction.kind == .passive ? party.replyAddresses : party.usableConsumers.map(\.location)
    guard addresses.contains(where: { $0.utf8.elementsEqual(transaction.consumer.utf8) }) else {
      return await refuse(.consumerNotRegistered, party, [CheckFailure(.consumerRegistered, "the consumer service is no longer registered")])
    }
    guard !visit.answers.isLoop(party.id, now: now()) else {
      return await refuse(
        .loop, party,
        [
          CheckFailure(
            .loop,
            "the browser was sent back here \(RecentAnswers.most) times within \(RecentAnswers.window.components.seconds) s of being answered: the relying party refuses the token or loses its session. Look for the token-signing certificate it trusts, its clock, its cookies (SameSite, path, domain) and the claims that it insists on"
          )
        ])
    }
    guard let signer = keys.signer(for: party) else {
      logger.error("there is no token-signing key", metadata: ["relyingParty": "\(party.name)"])
      return await refuse(.unavailable, party, [])
    }
    var person = session.person
    let needs = ClaimTable.needs(party)
    if needs.isMissing(from: person, request: parties.attributeRequest), let told = await describe(session, needs) { person = told }

    func decline(_ status: Status, _ failure: CheckFailure, here: PageRefusal.Reason?) async -> SignOnStep {
      await self.decline(
        status, [failure], party: party, consumer: transaction.consumer, inResponseTo: transaction.request, relayState: transaction.relayState,
        person: person, here: here)
    }
    do {
      let facts = try self.facts(of: person, party, SignInSource(transaction, session, visit))
      guard SignOnService.permits(party, facts) else {
        return await decline(
          Status(.responder, .requestDenied),
          CheckFailure(.senderEnabled, "the person is in none of the groups that may use the relying party"),
          here: transaction.kind.hasStatus ? nil : .notPermitted)
      }
      guard let name = try await makeName(transaction, party, facts) else {
        return await decline(
          Status(.requester, .invalidNameIDPolicy), CheckFailure(.nameFormat, "the person has no name of this format, and none may be made"),
          here: transaction.kind.hasStatus ? nil : .noToken)
      }
      // Core 3.4.1 (Subject): the answer is about the one whom the request names, or about nobody.
      if let subject = transaction.subject, !SignOnService.isSame(subject, name, identity: identity.entityID, party: party.entityID) {
        return await decline(
          Status(.responder, .unknownPrincipal), CheckFailure(.subjectReadable, "the request names somebody else than who is signed in"), here: nil)
      }
      if transaction.kind == .passive { return try await issuePassive(transaction, prepared, facts, name, session, signer) }
      return try await issue(transaction, prepared, facts, name, session, signer)
    } catch let problem as ClaimProblem {
      return await decline(Status(.responder, .requestDenied), CheckFailure(.structure, problem.detail), here: .noToken)
    } catch let fault as MessageFault {
      // A name that XML cannot carry: trying again will not help.
      return await decline(Status(.responder, .requestDenied), CheckFailure(.structure, fault.detail), here: .noToken)
    } catch StoreError.notFound {
      // The session was ended while the token was made: nobody gets it.
      return .signIn(transaction)
    } catch {
      logger.error("a token could not be issued", metadata: ["relyingParty": "\(party.name)", "error": "\(error)"])
      return await refuse(.unavailable, party, [])
    }
  }

  private func issue(
    _ transaction: SignOnTransaction, _ prepared: PreparedParty, _ facts: PersonFacts, _ name: NameID, _ session: Session,
    _ signer: TokenSigningKeys.Signer
  ) async throws -> SignOnStep {
    let party = prepared.party
    let index = SignOnService.sessionIndex(session, party.id)
    let issuer = TokenIssuer(entityID: identity.entityID, now: now())
    let token = try issuer.issue(
      TokenOrder(
        prepared: prepared, facts: facts, name: name, encryptsName: transaction.encryptsName, consumer: transaction.consumer,
        inResponseTo: transaction.request, relayState: transaction.relayState, contextClass: transaction.contextClass,
        authenticated: session.authenticated, sessionIndex: index, sessionEnds: session.ends), signer: signer)
    var event = AuditEvent(
      time: issuer.now, kind: .tokenIssued, actor: party.name, realm: facts.person.object.realm, subject: token.assertionID,
      object: facts.person.object.id, outcome: "done",
      details: [
        "user": session.userName, "digest": token.digest.hexadecimal, "relyingParty": party.entityID, "consumer": transaction.consumer,
        "key": token.keyID, "nameFormat": name.format ?? "none",
      ])
    event.details["request"] = transaction.request
    // No token without its audit row, and none for a session that has ended (docs/architecture.md, law 10).
    try await store.recordIssue(
      session: session.digest,
      participant: Participant(relyingParty: party.id, name: name, sessionIndex: index, since: issuer.now), audit: [event])
    Telemetry.countToken(outcome: "issued")
    observer?.noteToken(party, key: token.keyID, session: session.digest, now: issuer.now)
    var form = token.form
    form.party = party.id
    return .post(form)
  }

  /// Refuses a signed request that was seen before, unless the same browser brings it again (the back button). Nil where it may go on.
  private func repeated(_ checked: CheckedRequest, browser: [UInt8], now time: Instant) async -> SignOnStep? {
    do {
      let isNew = try await store.rememberMessage(
        checked.request.head.id, issuer: checked.party.entityID, holder: browser, until: time.adding(RequestChecks.window * 2), now: time)
      if isNew { return nil }
      return await refuse(.repeated, checked.party, [CheckFailure(.notRepeated, "a request with the ID \(checked.request.head.id) came before")])
    } catch {
      logger.error("a signed request could not be remembered", metadata: ["error": "\(error)"])
      return await refuse(.unavailable, checked.party, [])
    }
  }

  /// A page of our own, with its audit row.
  func refuse(_ reason: PageRefusal.Reason, _ party: RelyingParty?, _ failures: [CheckFailure]) async -> SignOnStep {
    let reference = Reference()
    Telemetry.countToken(outcome: "refused")
    await record(reference, party, failures, person: nil, outcome: "refused:\(reason.rawValue)")
    return .refused(PageRefusal(reason: reason, reference: reference, party: party?.shownName))
  }

  /// An answer without an assertion. With `here` a page of our own is shown instead, since the relying party could say less about it.
  private func decline(
    _ status: Status, _ failures: [CheckFailure], party: RelyingParty, consumer: String, inResponseTo: String?, relayState: String?,
    person: AcceptedPerson?, here: PageRefusal.Reason? = nil
  ) async -> SignOnStep {
    let reference = Reference()
    Telemetry.countToken(outcome: "declined")
    await record(
      reference, party, failures, person: person, outcome: "refused:\(status.detail.map { "\($0)" } ?? "\(status.code)")")
    if let here { return .refused(PageRefusal(reason: here, reference: reference, party: party.shownName)) }
    guard let signer = keys.signer(for: party) else {
      return .refused(PageRefusal(reason: .unavailable, reference: reference, party: party.shownName))
    }
    do {
      return .post(
        try TokenIssuer(entityID: identity.entityID, now: now()).decline(
          status, party: party, consumer: consumer, inResponseTo: inResponseTo, relayState: relayState, signer: signer))
    } catch {
      logger.error("an answer could not be signed", metadata: ["relyingParty": "\(party.name)", "error": "\(error)"])
      return .refused(PageRefusal(reason: .unavailable, reference: reference, party: party.shownName))
    }
  }

  func record(
    _ reference: Reference, _ party: RelyingParty?, _ failures: [CheckFailure], person: AcceptedPerson?, outcome: String
  ) async {
    var event = AuditEvent(
      time: now(), kind: .tokenRefused, reference: reference, actor: party?.name ?? "gatehouse", realm: person?.object.realm,
      subject: person?.userPrincipalName, object: person?.object.id, outcome: outcome)
    event.trace = failures.prefix(8).map { TraceNote(.federation, "\($0.check.rawValue): \($0.detail) [\($0.check.clause)]") }
    do { try await audit.append([event]) } catch { logger.error("a refusal could not be recorded", metadata: ["error": "\(error)"]) }
  }

  /// A page of ours came back that is too old, or belongs to another browser.
  package func refuseTransaction() async -> SignOnStep {
    await refuse(.transactionOver, nil, [CheckFailure(.fresh, "the page was older than an hour, or the browser's cookie is another one or missing")])
  }

  /// A message that could not even be unpacked.
  package func refuse(_ fault: MessageFault) async -> SignOnStep { await refuse(.malformed, nil, [CheckFailure(.structure, fault.detail)]) }

  private static func reason(_ failures: [CheckFailure]) -> PageRefusal.Reason {
    switch failures.first?.check {
    case .senderKnown: .unknownParty
    case .senderEnabled: .partyDisabled
    case .signatureHolds, .signaturePresent, .sameSender: .badSignature
    case .consumerRegistered: .consumerNotRegistered
    case .destination: .misdirected
    case .fresh: .stale
    case .notRepeated: .repeated
    default: .malformed
    }
  }
}

extension AttributeRequest {
  /// Whether something that is wanted was not asked for when `person` was described by `request`.
  fileprivate func isMissing(from person: AcceptedPerson, request: AttributeRequest) -> Bool {
    if groups, person.groups == nil { return true }
    let asked = Set(request.attributes.map(asciiLowercased)).union(person.attributes.keys.map(asciiLowercased))
    return attributes.contains { !asked.contains(asciiLowercased($0)) }
  }
}
