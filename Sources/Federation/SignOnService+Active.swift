import Bytes
import Cryptography
import Identity
import Logging
import SAML
import WSFederation

/// A question of WS-Trust whose relying party, endpoint and network were looked at; the password was not.
package struct AdmittedTokenRequest: Sendable {
  package let request: SecurityTokenRequest
  let prepared: PreparedParty
  let type: TokenType

  /// For the audit and the sign-in path: whom the token is for.
  package var application: String { prepared.party.shownName }
}

/// Tokens for rich clients, which bring a password with the question (WS-Trust 2005/02 and 1.3).
///
/// The password itself is judged by the same path as every other one; here is decided for whom a token may be made, before that and after.
extension SignOnService {
  /// How far the clocks of client and gateway may be apart.
  private static let window: Duration = .seconds(300)

  /// Holds a question against everything but the password; what is wrong is recorded. Nobody learns from this whether a password is right.
  package func admit(
    _ request: SecurityTokenRequest, at endpoint: TrustEndpoint, from address: IPAddress?
  ) async -> Result<AdmittedTokenRequest, TrustFault> {
    let time = now()
    let party = parties.party(entityID: request.appliesTo)
    func refused(_ code: TrustFault.Code, _ detail: String) async -> Result<AdmittedTokenRequest, TrustFault> {
      let fault = TrustFault(code, detail, messageID: request.messageID)
      await recordActive(fault, party: party, person: nil)
      return .failure(fault)
    }
    if let fault = request.timeFault(now: time, window: SignOnService.window) { return await refused(fault.code, fault.detail) }
    let own = identity.url(of: endpoint)
    // The path is taken in whatever case, as AD FS takes it, and clients write To as they were told the address.
    if let to = request.to, !asciiLowercased(to).utf8.elementsEqual(asciiLowercased(own).utf8) {
      return await refused(.badTo, "To is \(to.prefix(256)), and the request came to \(own)")
    }
    guard let party else {
      return await refused(
        .invalidScope, "no relying party is registered under \(request.appliesTo.prefix(256)) (AppliesTo); register it with `gatehouse rp add`")
    }
    guard !party.disabled else { return await refused(.invalidScope, "the relying party \(party.name) is disabled") }
    guard party.passive.allowsActive else {
      return await refused(
        .invalidScope, "WS-Trust is off for \(party.name); switch it on with `gatehouse rp edit \(party.name) --active on`")
    }
    guard FederationIdentity.holds(party.passive.activeNetworks.compactMap { AddressRange($0) }, address) else {
      return await refused(.invalidScope, "WS-Trust is off for \(party.name) in the network of \(address.map { "\($0)" } ?? "an unknown address")")
    }
    guard let prepared = parties.prepared(party.id) else { return await refused(.invalidScope, "the relying party was removed meanwhile") }
    return .success(AdmittedTokenRequest(request: request, prepared: prepared, type: request.tokenType ?? party.passive.tokenType))
  }

  /// The response for somebody whose password was accepted, and its audit row. Throws `TrustFault`.
  package func issue(
    _ admitted: AdmittedTokenRequest, for accepted: AcceptedPerson, from address: IPAddress?
  ) async throws(TrustFault) -> [UInt8] {
    let request = admitted.request
    let party = admitted.prepared.party
    func refused(_ code: TrustFault.Code, _ detail: String) async -> TrustFault {
      let fault = TrustFault(code, detail, messageID: request.messageID)
      await recordActive(fault, party: party, person: accepted)
      return fault
    }
    guard let signer = keys.signer(for: party) else { throw await refused(.busy, "there is no token-signing key") }
    let time = now()
    let method = SignOnService.passwordMethod(admitted.type)
    do {
      let facts = try self.facts(of: accepted, party, SignInSource(method: method, authenticated: time, isKept: false, address: address))
      guard SignOnService.permits(party, facts) else {
        throw await refused(.accessDenied, "the person is in none of the groups that may use the relying party")
      }
      var transaction = SignOnTransaction(kind: .passive, began: time, browser: [])
      transaction.contextClass = method
      guard let name = try await makeName(transaction, party, facts) else {
        throw await refused(.requestFailed, "the person has no name of the format that the relying party wants")
      }
      let order = SecurityTokenOrder(
        prepared: admitted.prepared, facts: facts, name: name, type: admitted.type, recipient: party.replyAddresses.first ?? party.entityID)
      let issuer = TokenIssuer(entityID: identity.entityID, now: time)
      let token = try issuer.securityToken(order, signer: signer)
      let body = try token.response(request.version, for: party, context: request.context)
      try await audit.append([event(of: token, order, user: request.userName, protocol: "ws-trust", at: time)])
      Telemetry.countToken(outcome: "issued")
      return try TrustAnswer.response(body, version: request.version, relatesTo: request.messageID, now: time)
    } catch let fault as TrustFault { throw fault } catch let problem as ClaimProblem {
      throw await refused(.requestFailed, problem.detail)
    } catch let fault as MessageFault { throw await refused(.requestFailed, fault.detail) } catch {
      logger.error("a token could not be issued", metadata: ["relyingParty": "\(party.name)", "error": "\(error)"])
      throw await refused(.busy, "the token could not be made or recorded")
    }
  }

  /// A question that could not even be read.
  package func record(_ fault: TrustFault) async { await recordActive(fault, party: nil, person: nil) }

  /// What the directory must tell of somebody who asks for this.
  package static func needs(of admitted: AdmittedTokenRequest) -> AttributeRequest { ClaimTable.needs(admitted.prepared.party) }

  private func recordActive(_ fault: TrustFault, party: RelyingParty?, person: AcceptedPerson?) async {
    Telemetry.countToken(outcome: "refused")
    var event = AuditEvent(
      time: now(), kind: .tokenRefused, reference: Reference(), actor: party?.name ?? "gatehouse", realm: person?.object.realm,
      subject: person?.userPrincipalName, object: person?.object.id, outcome: "refused:\(fault.code.rawValue)", details: ["protocol": "ws-trust"])
    event.trace = [TraceNote(.federation, fault.detail)]
    do { try await audit.append([event]) } catch { logger.error("a refusal could not be recorded", metadata: ["error": "\(error)"]) }
  }
}
