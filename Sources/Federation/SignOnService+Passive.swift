import Bytes
import Identity
import Logging
import SAML
import WSFederation

/// Sign-in by WS-Federation's passive requestor profile (WS-Federation 1.2 §13).
///
/// A request is not signed and proves nothing of who sent it. What protects people is that a token goes to an address that is registered for the realm that is
/// asked for, byte by byte, and nowhere else; until that is proven every refusal is a page of our own.
extension SignOnService {
  /// A request by GET or POST.
  ///
  /// - Parameters:
  ///   - session: of the browser, where it is signed in.
  ///   - browser: SHA-256 of the cookie that every browser here has.
  package func receive(
    _ request: PassiveRequest, session: Session?, browser: [UInt8], visit: VisitFacts = VisitFacts()
  ) async -> SignOnStep {
    let time = now()
    let realm = request.realm ?? ""
    guard let party = parties.party(entityID: realm) else {
      return await refuse(
        .unknownParty, nil,
        [
          CheckFailure(
            .realm,
            "no relying party is registered under the wtrealm \(realm.prefix(256)). Register it with `gatehouse rp add --realm URI --reply URL`.")
        ])
    }
    guard !party.disabled else {
      return await refuse(
        .partyDisabled, party,
        [CheckFailure(.senderEnabled, "the relying party \(party.name) is disabled; `gatehouse rp enable \(party.name)`")])
    }
    guard let reply = SignOnService.reply(of: request, at: party) else {
      return await refuse(
        .consumerNotRegistered, party,
        [
          CheckFailure(
            .reply,
            request.reply.map {
              "\($0.prefix(512)) is not among the registered reply addresses of \(party.name). Add it with `gatehouse rp edit \(party.name) --reply URL`, with all that shall stay."
            } ?? "\(party.name) has no reply address; give it one with `gatehouse rp edit \(party.name) --reply URL`")
        ])
    }
    guard let method = SignOnService.method(request.authentication, party.passive.tokenType) else {
      let asked = request.authentication ?? ""
      let isSecondFactor = SignOnService.secondFactors.contains { $0.utf8.elementsEqual(asked.utf8) }
      return await refuse(
        isSecondFactor ? .secondFactor : .authenticationMethod, party,
        [
          CheckFailure(
            .authentication,
            isSecondFactor
              ? "wauth demands a second factor (\(asked.prefix(256))), and there is a password only. For Entra set federatedIdpMfaBehavior to rejectMfaByFederatedIdp, so that Entra asks for it itself."
              : "wauth demands \(asked.prefix(256)), and there is a password over TLS only")
        ])
    }
    if let told = request.currentTime, abs(told.since(time).components.seconds) > 300 {
      logger.notice("the clock of a relying party is off", metadata: ["relyingParty": "\(party.name)", "wct": "\(told)"])
    }
    var transaction = SignOnTransaction(kind: .passive, began: time, browser: browser)
    transaction.party = party.id
    transaction.consumer = reply
    transaction.relayState = request.context
    transaction.contextClass = method
    transaction.hint = request.userName
    // §13.2.2 (wfresh): minutes; zero asks for a new sign-in.
    if let minutes = request.freshness { transaction.freshSince = time.adding(.seconds(-60 * minutes)) }
    guard let session else { return .signIn(transaction) }
    return await finish(transaction, session: session, visit: visit)
  }

  /// The registered address that is asked for, byte by byte, or the usual one where none is; nil: it is not registered.
  static func reply(of request: PassiveRequest, at party: RelyingParty) -> String? {
    guard let asked = request.reply else { return party.replyAddresses.first }
    return party.replyAddresses.first { $0.utf8.elementsEqual(asked.utf8) }
  }

  private static let secondFactors = ["http://schemas.microsoft.com/claims/multipleauthn", "http://schemas.microsoft.com/claims/wiaormultiauthn"]

  /// How a password over TLS is called in the token; nil where something else is asked for.
  private static func method(_ asked: String?, _ type: TokenType) -> String? {
    guard let asked, !asked.isEmpty, !asked.utf8.elementsEqual(LegacyAssertion.passwordMethod.utf8) else { return passwordMethod(type) }
    if asked.utf8.elementsEqual(LegacyAssertion.unspecifiedMethod.utf8) { return type == .saml11 ? asked : AuthnContextClass.unspecified }
    return RequestChecks.offeredContexts.first { $0.utf8.elementsEqual(asked.utf8) }
  }

  /// The usual name of a password over TLS in a kind of token.
  static func passwordMethod(_ type: TokenType) -> String {
    type == .saml11 ? LegacyAssertion.passwordMethod : AuthnContextClass.passwordProtectedTransport
  }

  /// The token for somebody who is signed in, in the form that takes it to the relying party.
  func issuePassive(
    _ transaction: SignOnTransaction, _ prepared: PreparedParty, _ facts: PersonFacts, _ name: NameID, _ session: Session,
    _ signer: TokenSigningKeys.Signer
  ) async throws -> SignOnStep {
    let party = prepared.party
    let issuer = TokenIssuer(entityID: identity.entityID, now: now())
    let order = SecurityTokenOrder(
      prepared: prepared, facts: facts, name: name, type: party.passive.tokenType, recipient: transaction.consumer)
    let token = try issuer.securityToken(order, signer: signer)
    let response = try token.response(party.passive.responseVersion, for: party)
    // Without a session index: WS-Federation has none, and a LogoutRequest of SAML means another sign-in.
    try await store.recordIssue(
      session: session.digest, participant: Participant(relyingParty: party.id, name: nil, sessionIndex: "", since: issuer.now),
      audit: [event(of: token, order, user: session.userName, protocol: "ws-federation", at: issuer.now)])
    Telemetry.countToken(outcome: "issued")
    observer?.noteToken(party, key: token.keyID, session: session.digest, now: issuer.now)
    var fields = [("wa", "wsignin1.0"), ("wresult", String(decoding: response, as: UTF8.self))]
    // §13.2.3: returned as it came, and only where it came.
    if let context = transaction.relayState { fields.append(("wctx", context)) }
    var form = PostForm(action: transaction.consumer, fields: fields)
    form.party = party.id
    return .post(form)
  }

  /// The audit's row for a security token.
  func event(of token: SecurityToken, _ order: SecurityTokenOrder, user: String, protocol: String, at time: Instant) -> AuditEvent {
    let party = order.prepared.party
    return AuditEvent(
      time: time, kind: .tokenIssued, actor: party.name, realm: order.facts.person.object.realm, subject: token.assertionID,
      object: order.facts.person.object.id, outcome: "done",
      details: [
        "user": user, "digest": token.digest.hexadecimal, "relyingParty": party.entityID, "consumer": order.recipient, "key": token.keyID,
        "nameFormat": order.name.format ?? "none", "protocol": `protocol`, "issuer": order.facts.circumstances.issuer,
      ])
  }

  /// The security token that a browser would take to the relying party for somebody now, unsigned. Throws `ClaimProblem` or `MessageFault`.
  func previewPassive(_ party: RelyingParty, _ facts: PersonFacts) async throws -> [UInt8] {
    guard let reply = party.replyAddresses.first else { throw ClaimProblem(detail: "\(party.name) has no reply address") }
    let order = SecurityTokenOrder(
      prepared: PreparedParty(party), facts: facts, name: try await sampleName(party, facts), type: party.passive.tokenType, recipient: reply)
    return try TokenIssuer(entityID: identity.entityID, now: now()).assertion(order).bytes
  }
}
