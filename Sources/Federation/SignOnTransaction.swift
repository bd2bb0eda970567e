import Bytes
import Cryptography
import Foundation
import Identity
import SAML

/// A sign-in for a relying party that is under way at a browser: the checked request, and to which browser it belongs.
///
/// It travels sealed through the browser, so that nobody who has not signed in yet costs the store anything. Nobody but the gateways can make or change one,
/// and it is of use only together with the cookie that it is bound to.
package struct SignOnTransaction: Sendable, Equatable, Codable {
  package enum Kind: String, Sendable, Codable {
    /// SAML with a request, and without.
    case saml, unsolicited
    /// WS-Federation: the relay state is its context (`wctx`), the context class its authentication method.
    case passive
    /// A sign-in for its own sake, or a change of password.
    case none

    /// Whether the relying party can be told why there is no token.
    var hasStatus: Bool { self == .saml }
  }
  package var kind: Kind
  package var party: Identifier?
  /// The request's ID.
  package var request: String?
  package var consumer: String = ""
  package var relayState: String?
  package var contextClass: String = AuthnContextClass.passwordProtectedTransport
  package var nameFormat: NameIDFormat?
  package var encryptsName = false
  package var mayCreateName = true
  package var subject: NameID?
  /// A password must have been judged after this.
  package var freshSince: Instant?
  package var began: Instant
  /// SHA-256 of the browser's cookie.
  package var browser: [UInt8]
  /// What the sign-in page shows in its field.
  package var hint: String?

  package init(kind: Kind, began: Instant, browser: [UInt8]) {
    self.kind = kind
    self.began = began
    self.browser = browser
  }

  init(_ checked: CheckedRequest, now: Instant, browser: [UInt8]) {
    self.init(kind: .saml, began: now, browser: browser)
    party = checked.party.id
    request = checked.request.head.id
    consumer = checked.consumer.location
    relayState = checked.relayState
    contextClass = checked.contextClass
    nameFormat = checked.nameFormat
    encryptsName = checked.encryptsName
    mayCreateName = checked.mayCreateName
    subject = checked.subject
    // Core 3.4.1 (ForceAuthn): not out of an earlier session.
    if checked.request.forceAuthn { freshSince = now }
    if let name = checked.subject, name.format != NameIDFormat.transient.rawValue, name.value.utf8.contains(UInt8(ascii: "@")) { hint = name.value }
  }
}

/// Seals transactions for their way through the browser.
package struct TransactionSeal: Sendable {
  /// Somebody may take a while to find a password, and no longer.
  package static let life: Duration = .seconds(3600)
  private static let context = "sign-on transaction 1"

  private let protector: any SecretProtector

  package init(protector: any SecretProtector) { self.protector = protector }

  /// Base64url text for a form or a URL. Throws what the protector throws.
  package func seal(_ transaction: SignOnTransaction) throws -> String {
    // A relay state may be made of what JSON writes in six bytes: as base64 it is never longer than a URL can hold.
    var packed = transaction
    packed.relayState = transaction.relayState.map { Array($0.utf8).base64 }
    let encoder = JSONEncoder()
    encoder.outputFormatting = .withoutEscapingSlashes
    return try protector.protect(Secret(try encoder.encode(packed)), context: TransactionSeal.context).base64URL
  }

  /// Nil where the text was not sealed here, has grown old, or belongs to another browser.
  package func open(_ text: String, browser: [UInt8]?, now: Instant) -> SignOnTransaction? {
    guard text.utf8.count <= 16_384, let bytes = StrictText.base64URL(text), let browser,
      let secret = try? protector.reveal(bytes, context: TransactionSeal.context),
      var transaction = secret.withBytes({ try? JSONDecoder().decode(SignOnTransaction.self, from: Data($0)) }),
      constantTimeEqual(transaction.browser, browser)
    else { return nil }
    if let packed = transaction.relayState {
      guard let relayState = StrictText.base64(packed).flatMap(StrictText.utf8) else { return nil }
      transaction.relayState = relayState
    }
    let age = now.since(transaction.began)
    return age <= TransactionSeal.life && age > .zero - RequestChecks.window ? transaction : nil
  }
}

extension TransactionSeal {
  private static let logoutContext = "logout transaction 1"

  private struct BoundLogout: Codable {
    var transaction: LogoutTransaction
    var browser: [UInt8]
  }

  /// Base64url text for a cookie. Throws what the protector throws.
  package func sealLogout(_ transaction: LogoutTransaction, browser: [UInt8]) throws -> String {
    let bytes = Secret(try JSONEncoder().encode(BoundLogout(transaction: transaction, browser: browser)))
    return try protector.protect(bytes, context: TransactionSeal.logoutContext).base64URL
  }

  /// Nil where the text was not sealed here, or belongs to another browser.
  package func openLogout(_ text: String, browser: [UInt8]) -> LogoutTransaction? {
    guard text.utf8.count <= 16_384, let bytes = StrictText.base64URL(text),
      let secret = try? protector.reveal(bytes, context: TransactionSeal.logoutContext),
      let bound = secret.withBytes({ try? JSONDecoder().decode(BoundLogout.self, from: Data($0)) }), constantTimeEqual(bound.browser, browser)
    else { return nil }
    return bound.transaction
  }
}
