import Bytes
import Identity

/// The wish to change a password, as a front-end hands it over.
package struct PasswordChangeRequest: Sendable {
  /// Name, old password, caller, and what shall come back about the person, as of a sign-in with the old password.
  package var signIn: SignInRequest
  /// As typed, not yet checked.
  package var new: Secret

  package init(_ signIn: SignInRequest, new: Secret) {
    self.signIn = signIn
    self.new = new
  }
}

/// What comes of it, and under which reference it can be explained.
package struct PasswordChangeAnswer: Sendable {
  package var reference: Reference
  package var outcome: PasswordChangeOutcome
  package var method: SignInMethod?
  package var realm: RealmName?
  package var time: Instant
  /// When a refusal by our own lock ends.
  package var retryAfter: Duration?

  /// A refusal, which is told as that of a sign-in with the old password.
  package var refusedSignIn: SignInAnswer? {
    guard case .refused(let refusal) = outcome else { return nil }
    return SignInAnswer(reference: reference, verdict: .refused(refusal), method: method, realm: realm, time: time, retryAfter: retryAfter)
  }
}

extension PasswordChangeOutcome {
  var isChanged: Bool { if case .changed = self { true } else { false } }
}

extension PasswordChangeAnswer {
  init(_ answer: SignInAnswer, outcome: PasswordChangeOutcome) {
    self.init(
      reference: answer.reference, outcome: outcome, method: answer.method, realm: answer.realm, time: answer.time, retryAfter: answer.retryAfter)
  }
}
