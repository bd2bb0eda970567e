import Bytes
import SAML
import XMLSecurity

/// What a browser brings from a relying party, in a query or a form (WS-Federation 1.2, 13).
///
/// It says what was asked and nothing of whether to do it: `realm` and `reply` are whatever somebody wrote.
package struct PassiveRequest: Sendable, Equatable {
  package enum Action: Sendable {
    /// wsignin1.0 (13.2.2).
    case signIn
    /// wsignout1.0 (13.2.4).
    case signOut
    /// wsignoutcleanup1.0 (13.2.4).
    case signOutCleanup
  }
  package var action: Action
  /// wtrealm: the relying party; always there to sign in.
  package var realm: String?
  /// wreply: where the answer shall go.
  package var reply: String?
  /// wctx: the relying party's own, to be given back byte for byte; also where it is empty.
  package var context: String?
  /// wct: the relying party's clock. Nil where it cannot be read: many are wrong, and nothing depends on it.
  package var currentTime: Instant?
  /// wfresh: how old the authentication may be, in minutes; 0 asks for a new one.
  package var freshness: Int64?
  /// wauth: the URI of the method that is wanted.
  package var authentication: String?
  /// whr: where the person is at home.
  package var homeRealm: String?
  /// A name to begin with on the page: `username`, else `login_hint`.
  package var userName: String?

  /// Bytes of wctx.
  package static let longestContext = 4096

  private static let longestRealm = 1024
  private static let longestReply = 2048
  private static let longestAuthentication = 256
  private static let longestUserName = 320
  private static let latestFreshness: Int64 = 1_000_000

  /// Whether these are parameters of WS-Federation: there is one that could be taken for `wa`, in whatever case or spelling.
  package static func isOne(_ fields: FormFields) -> Bool {
    fields.fields.contains { field in field.name.utf8.map { $0 >= 0x41 && $0 <= 0x5a ? $0 | 0x20 : $0 }.elementsEqual("wa".utf8) }
  }

  /// Reads the parameters. Throws `MessageFault` for what is there twice or under a name that is almost one of these, for what is longer than its
  /// limit, and for an action that is not offered. Parameters that are not known are not looked at.
  package init(_ fields: FormFields) throws(MessageFault) {
    guard let word = try fields.text("wa") else { throw MessageFault(.structure, "there is no wa: this is not WS-Federation") }
    action = try PassiveRequest.action(word)
    // One could be judged and the other answered.
    for name in ["SAMLRequest", "SAMLResponse"] where try fields.only(name) != nil {
      throw MessageFault(.envelope, "\(name) comes together with wa")
    }
    realm = try PassiveRequest.text(fields, "wtrealm", upTo: PassiveRequest.longestRealm)
    reply = try PassiveRequest.text(fields, "wreply", upTo: PassiveRequest.longestReply)
    context = try fields.text("wctx")
    guard (context?.utf8.count ?? 0) <= PassiveRequest.longestContext else {
      throw MessageFault(.tooLarge, "wctx has more than \(PassiveRequest.longestContext) bytes")
    }
    currentTime = try fields.text("wct").flatMap(DateTime.read)
    freshness = try PassiveRequest.freshness(fields)
    authentication = try PassiveRequest.text(fields, "wauth", upTo: PassiveRequest.longestAuthentication)
    homeRealm = try PassiveRequest.text(fields, "whr", upTo: PassiveRequest.longestRealm)
    let names = [try fields.text("username"), try fields.text("login_hint")]
    userName = names.lazy.compactMap(\.self).first { !$0.utf8.isEmpty }.flatMap { $0.utf8.count <= PassiveRequest.longestUserName ? $0 : nil }
    // 13.2.2: never both. What a wreq asks is not done; who asks by address is not called.
    let requests = [try fields.only("wreq"), try fields.only("wreqptr")].compactMap(\.self)
    guard requests.count < 2 else { throw MessageFault(.envelope, "wreq and wreqptr come together") }
    if action == .signIn, realm == nil { throw MessageFault(.structure, "wsignin1.0 has no wtrealm: nobody is named for whom to sign in") }
  }

  private static func action(_ word: String) throws(MessageFault) -> Action {
    if sameBytes(word, "wsignin1.0") { return .signIn }
    if sameBytes(word, "wsignout1.0") { return .signOut }
    if sameBytes(word, "wsignoutcleanup1.0") { return .signOutCleanup }
    for other in ["wattr1.0", "wpseudo1.0"] where sameBytes(word, other) { throw MessageFault(.structure, "\(other) is not offered") }
    throw MessageFault(.structure, "wa is none of wsignin1.0, wsignout1.0 and wsignoutcleanup1.0")
  }

  /// A parameter that says nothing where it is empty.
  private static func text(_ fields: FormFields, _ name: String, upTo limit: Int) throws(MessageFault) -> String? {
    guard let text = try fields.text(name), !text.utf8.isEmpty else { return nil }
    guard text.utf8.count <= limit else { throw MessageFault(.tooLarge, "\(name) has more than \(limit) bytes") }
    return text
  }

  private static func freshness(_ fields: FormFields) throws(MessageFault) -> Int64? {
    guard let text = try fields.text("wfresh"), !text.utf8.isEmpty else { return nil }
    guard text.utf8.count <= 7, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let minutes = Int64(text), minutes <= latestFreshness else {
      throw MessageFault(.structure, "wfresh is no number of minutes from 0 to \(latestFreshness)")
    }
    return minutes
  }

  package static func == (left: PassiveRequest, right: PassiveRequest) -> Bool {
    func same(_ one: String?, _ other: String?) -> Bool { (one == nil) == (other == nil) && sameBytes(one ?? "", other ?? "") }
    return left.action == right.action && same(left.realm, right.realm) && same(left.reply, right.reply) && same(left.context, right.context)
      && left.currentTime == right.currentTime && left.freshness == right.freshness && same(left.authentication, right.authentication)
      && same(left.homeRealm, right.homeRealm) && same(left.userName, right.userName)
  }
}
