import Bytes
import Identity
import Logging
import SAML
import WSFederation

/// Sign-out by WS-Federation (WS-Federation 1.2 §13.2.4, §13.2.5).
///
/// A request for it is not signed, and any page can make a browser send one: the protocol has no more than that. So it ends sessions and does nothing else, and
/// leads nowhere but to registered addresses.
extension LogoutService {
  /// `wsignout1.0` and `wsignoutcleanup1.0`; without a session it does the same and ends nothing.
  package func receive(_ request: PassiveRequest, session: Session?) async -> LogoutStep {
    var reply: String?
    if let asked = request.reply {
      guard let party = party(replyingTo: asked, realm: request.realm) else {
        return await refuse(
          "wreply is \(asked.prefix(512)), which is no registered address of \(request.realm.map { "\($0.prefix(256))" } ?? "any relying party")")
      }
      logger.debug("sign-out", metadata: ["relyingParty": "\(party.name)"])
      reply = asked
    }
    var transaction = LogoutTransaction(waiting: [], failed: [], told: 0, began: now())
    transaction.reply = reply
    do {
      guard let session else { return await tell([], transaction) }
      let participants = try await store.participants(of: session.digest)
      let asker = request.realm.flatMap { parties.party(entityID: $0)?.name } ?? "user"
      try await end([session.digest], by: asker, reason: request.action == .signOutCleanup ? "wsignoutcleanup1.0" : "wsignout1.0")
      return await tell(participants, transaction)
    } catch { return await unavailable(error) }
  }

  /// Whether somebody takes part by WS-Federation: only SAML gives an index.
  func isPassive(_ participant: Participant) -> Bool { participant.sessionIndex.isEmpty }

  /// What the last page opens, so that each relying party of WS-Federation ends its own session.
  func cleanUps(_ transaction: LogoutTransaction) -> [SignedOut.CleanUp] {
    (transaction.cleanUps ?? []).compactMap { id in
      guard let party = parties.party(id: id), let address = party.cleanUpAddress else { return nil }
      let separator = address.utf8.contains(UInt8(ascii: "?")) ? "&" : "?"
      return SignedOut.CleanUp(party: party.shownName, url: "\(address)\(separator)wa=wsignoutcleanup1.0")
    }
  }

  /// The relying party of which `address` is a registered reply address, byte by byte; of that realm, where one is named.
  private func party(replyingTo address: String, realm: String?) -> RelyingParty? {
    func takes(_ party: RelyingParty) -> Bool {
      party.consumers.contains { $0.binding == WSFederationTraits.binding && $0.location.utf8.elementsEqual(address.utf8) }
        || party.logout.contains { $0.binding == WSFederationTraits.binding && $0.location.utf8.elementsEqual(address.utf8) }
    }
    guard let realm else { return parties.parties(where: takes).first }
    return parties.party(entityID: realm).flatMap { takes($0) ? $0 : nil }
  }

  private func refuse(_ detail: String) async -> LogoutStep {
    let reference = Reference()
    let event = AuditEvent(
      time: now(), kind: .logoutRefused, reference: reference, actor: "gatehouse",
      outcome: "refused:\(PageRefusal.Reason.consumerNotRegistered.rawValue)",
      trace: [TraceNote(.federation, detail)])
    do { try await audit.append([event]) } catch { logger.error("a refusal could not be recorded", metadata: ["error": "\(error)"]) }
    return .refused(PageRefusal(reason: .consumerNotRegistered, reference: reference, party: nil))
  }
}
