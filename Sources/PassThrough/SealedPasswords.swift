import Bytes
import Foundation
import Identity

/// What is sealed of a question: nothing, the password alone, or with `changePassword` the old and the new one, each behind its length (four bytes).
struct SealedPasswords: Sendable {
  /// Nil where there is none, or one that may not be put before a directory.
  var password: Password?
  var newPassword: Password?

  /// The bytes that are sealed; to be wiped by the caller.
  static func plaintext(of question: Question) -> Data {
    guard question.kind == .changePassword else { return question.password?.secret.withBytes { Data($0) } ?? Data() }
    var plaintext = Data(capacity: 8 + (question.password?.secret.count ?? 0) + (question.newPassword?.secret.count ?? 0))
    for password in [question.password, question.newPassword] {
      let count = UInt32(clamping: password?.secret.count ?? 0)
      withUnsafeBytes(of: count.bigEndian) { plaintext.append(contentsOf: $0) }
      password?.secret.withBytes { plaintext.append(contentsOf: $0) }
    }
    return plaintext
  }

  /// What was opened, by the question's kind. The caller wipes `plaintext`.
  init(_ plaintext: Data, kind: String) {
    guard kind == QuestionKind.changePassword.rawValue else {
      password = Password(Secret(plaintext))
      return
    }
    // By hand and not by a `ByteReader`: that would leave a copy that nobody wipes.
    var rest = plaintext[...]
    func next() -> Password? {
      guard rest.count >= 4 else { return nil }
      let count = Int(rest.prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
      rest = rest.dropFirst(4)
      guard rest.count >= count else { return nil }
      defer { rest = rest.dropFirst(count) }
      return Password(Secret(rest.prefix(count)))
    }
    let (old, new) = (next(), next())
    guard rest.isEmpty else { return }
    (password, newPassword) = (old, new)
  }
}
