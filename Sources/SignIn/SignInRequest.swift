import Bytes
import Identity

/// What a front-end asks.
package struct SignInRequest: Sendable {
  /// As typed, not yet checked.
  package var userName: String
  package var password: Secret
  package var address: IPAddress?
  /// The application that the person wants to reach, for the audit; at most 256 bytes.
  package var application: String?
  /// The caller's own number for the sign-in, for the audit; at most 128 bytes.
  package var correlation: String?
  package var wanting: AttributeRequest
  package var deadline: Deadline

  package init(
    userName: String, password: Secret, address: IPAddress?, application: String?, correlation: String?, wanting: AttributeRequest,
    deadline: Deadline
  ) {
    self.userName = userName
    self.password = password
    self.address = address
    self.application = application
    self.correlation = correlation
    self.wanting = wanting
    self.deadline = deadline
  }
}

/// What comes of it, and under which reference it can be explained.
package struct SignInAnswer: Sendable {
  package var reference: Reference
  package var verdict: Verdict
  /// Of the wish to change a password.
  var change: PasswordChangeOutcome?
  package var method: SignInMethod?
  package var realm: RealmName?
  package var time: Instant
  /// When a refusal by our own lock ends.
  package var retryAfter: Duration?
}
