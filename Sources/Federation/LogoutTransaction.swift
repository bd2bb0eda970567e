import Bytes
import Identity
import SAML

/// A logout that leads the browser from one relying party to the next (Profiles 4.4.3.2). Sealed in a cookie while it is away.
package struct LogoutTransaction: Sendable, Equatable, Codable {
  /// Who asked for it; nil: the person, at our own page.
  package var requester: Identifier?
  package var request: String?
  package var relayState: String?
  package var isAsynchronous = false
  /// Who is still to be told by way of the browser.
  package var waiting: [Participant]
  /// The request that is out now, and to whom.
  package var current: Identifier?
  package var currentRequest: String?
  /// Names of relying parties that could not be told.
  package var failed: [String]
  package var told: Int
  package var began: Instant
  /// Relying parties of WS-Federation, which are told by the last page.
  package var cleanUps: [Identifier]?
  /// Where the browser goes at the end, where the request named a registered address.
  package var reply: String?
}

/// What a logout comes to next.
package enum LogoutStep: Sendable {
  /// Send the browser to this URL, and keep the transaction for its return.
  case away(String, LogoutTransaction)
  case awayByPost(PostForm, LogoutTransaction)
  /// Answer the one who asked.
  case redirect(String)
  case post(PostForm)
  /// Our own page: signed out, whom the browser tells now, where that may not have worked, and where it goes from there.
  case done(SignedOut)
  case refused(PageRefusal)
}

/// The last page of a sign-out.
package struct SignedOut: Sendable, Equatable {
  /// Names of relying parties that could not be told.
  package var failed: [String] = []
  /// Relying parties of WS-Federation that the browser tells by opening an address of theirs; whether it works cannot be seen from here.
  package var cleanUps: [CleanUp] = []
  package var onward: Onward?

  package struct CleanUp: Sendable, Equatable {
    package var party: String
    package var url: String

    package init(party: String, url: String) {
      self.party = party
      self.url = url
    }
  }

  package enum Onward: Sendable, Equatable {
    case url(String)
    case post(PostForm)
  }

  package init(failed: [String] = [], cleanUps: [CleanUp] = [], onward: Onward? = nil) {
    self.failed = failed
    self.cleanUps = cleanUps
    self.onward = onward
  }
}
