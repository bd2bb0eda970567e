import Bytes
import Identity

/// Under what circumstances somebody was signed in, as far as claims tell it.
package struct SignInCircumstances: Sendable, Equatable {
  /// Whether the request came from one of the organisation's own networks; false where it is not known from where it came.
  var insideCorporateNetwork = false
  /// A URI of the token's own vocabulary.
  var authenticationMethod: String
  /// When the password was judged.
  var authenticated: Instant
  /// Whether the browser keeps the session when it is closed.
  var isKept = false
  /// Who this identity provider is in the token.
  var issuer: String
  /// Our page for a new password.
  var changePasswordURL: String
  var now: Instant

  /// Passwords that end later than this are not spoken of, as with AD FS.
  static let expiryWindow: Duration = .seconds(14 * 86_400)

  /// When the password ends, where that is soon.
  func passwordExpiry(_ end: Instant?) -> Instant? {
    guard let end else { return nil }
    let left = end.since(now)
    return left > .zero && left <= SignInCircumstances.expiryWindow ? end : nil
  }
}

/// What a request tells of where it comes from, as far as it can be believed.
package struct VisitFacts: Sendable {
  /// Of the browser or client: the connection's, or what a trusted proxy says.
  package var address: IPAddress?
  /// How often a relying party was answered lately at this browser.
  package var answers: RecentAnswers

  package init(address: IPAddress? = nil, answers: RecentAnswers = RecentAnswers()) {
    self.address = address
    self.answers = answers
  }
}

/// How often each relying party was answered at a browser lately: what tells a loop from a visit. The browser keeps it in a cookie and may say what it likes:
/// whoever changes it fools themselves only.
package struct RecentAnswers: Sendable, Equatable {
  /// So many answers within `window` are a loop.
  package static let most = 6
  package static let window: Duration = .seconds(20)
  private static let mostParties = 8

  private struct Entry: Sendable, Equatable {
    var party: String
    var times: [Instant]
  }
  private var entries: [Entry] = []

  package init() {}

  /// From the cookie's text; what is none of ours is nothing.
  package init(_ text: String, now: Instant) {
    for part in text.split(separator: ".", maxSplits: RecentAnswers.mostParties).prefix(RecentAnswers.mostParties) {
      let fields = part.split(separator: "-")
      // Written again into the next cookie: nothing goes there that was not made here.
      guard let party = fields.first, party.utf8.count == 8, party.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }),
        fields.count <= RecentAnswers.most + 1
      else { continue }
      let times = fields.dropFirst().compactMap { Int64($0).map(Instant.init(milliseconds:)) }.filter { RecentAnswers.isRecent($0, now) }
      if !times.isEmpty { entries.append(Entry(party: String(party), times: times)) }
    }
  }

  /// For the cookie.
  package var text: String {
    entries.map { ([$0.party] + $0.times.map { "\($0.milliseconds)" }).joined(separator: "-") }.joined(separator: ".")
  }

  /// Whether a relying party was answered so often that one answer more would go round in a circle.
  package func isLoop(_ party: Identifier, now: Instant) -> Bool {
    let times = entries.first { $0.party == RecentAnswers.mark(party) }?.times ?? []
    return times.count { RecentAnswers.isRecent($0, now) } >= RecentAnswers.most
  }

  package mutating func note(_ party: Identifier, now: Instant) {
    let mark = RecentAnswers.mark(party)
    var times = entries.first { $0.party == mark }?.times.filter { RecentAnswers.isRecent($0, now) } ?? []
    times.append(now)
    entries.removeAll { $0.party == mark }
    entries.append(Entry(party: mark, times: times.suffix(RecentAnswers.most)))
    entries = entries.suffix(RecentAnswers.mostParties)
  }

  private static func isRecent(_ time: Instant, _ now: Instant) -> Bool {
    let age = now.since(time)
    return age >= .zero && age <= window
  }

  private static func mark(_ party: Identifier) -> String { party.bytes.prefix(4).hexadecimal }
}
