import Bytes
import Cryptography
import Foundation
import Identity

/// What the gateway asks of an agent. An enum from the start: an agent that does not know a kind answers `unsupported`.
package enum QuestionKind: String, Sendable, CaseIterable, Codable {
  /// Is this the user's password?
  case validate
  /// Whom does this name mean? What is sealed is empty.
  case lookUp
  /// Put the new password in the old one's place. Both are sealed in one message (`SealedPasswords`); asked of one agent only.
  case changePassword
  /// Who is this? As `lookUp`, answered with the attributes and groups that a verdict would carry.
  case describe
  // Reserved for what comes: their meaning is fixed with the part that asks them.
  case policy, canary
}

/// A question before it is sealed for one agent.
package struct Question: Sendable {
  /// Random; also what makes a verdict single-use.
  package var id: Identifier
  package var kind: QuestionKind
  package var realm: RealmName
  package var userName: UserName
  /// Nil where the kind has none.
  package var password: Password?
  /// The one to change it to, with `changePassword`.
  package var newPassword: Password?
  package var wanting: AttributeRequest
  /// Nil for agents that do not know allowances, and where there is none.
  package var allowance: TryAllowance?
  package var deadline: Deadline

  package init(
    id: Identifier = Identifier(), kind: QuestionKind = .validate, realm: RealmName, userName: UserName, password: Password?,
    newPassword: Password? = nil, wanting: AttributeRequest, allowance: TryAllowance? = nil, deadline: Deadline
  ) {
    self.id = id
    self.kind = kind
    self.realm = realm
    self.userName = userName
    self.password = password
    self.newPassword = newPassword
    self.wanting = wanting
    self.allowance = allowance
    self.deadline = deadline
  }

  /// What binds the sealed password and the signed verdict to this question and no other.
  package var digest: QuestionDigest {
    QuestionDigest(id: id, kind: kind.rawValue, realm: realm.text, userName: userName.text, wanting: wanting, allowance: allowance)
  }
}

/// SHA-256 over every field of a question that the verdict depends on, but the password: the additional data of the seal (RFC 9180 §5.2) and
/// the object of the verdict's signature. 32 bytes.
package struct QuestionDigest: Hashable, Sendable {
  package let bytes: [UInt8]

  package init(id: Identifier, kind: String, realm: String, userName: String, wanting: AttributeRequest, allowance: TryAllowance? = nil) {
    var writer = ByteWriter()
    writer.write("gatehouse question 1\0".utf8)
    writer.write(id.bytes)
    writer.writeLengthPrefixed(Array(kind.utf8))
    writer.writeLengthPrefixed(Array(realm.utf8))
    writer.writeLengthPrefixed(Array(userName.utf8))
    writer.writeInteger(UInt8(wanting.groups ? 1 : 0))
    writer.writeInteger(UInt32(clamping: wanting.attributes.count))
    for attribute in wanting.attributes { writer.writeLengthPrefixed(Array(attribute.utf8)) }
    // Absent, it leaves the digest as agents that do not know it compute it.
    if let allowance {
      writer.write("allowance 1\0".utf8)
      writer.writeLengthPrefixed(allowance.canonicalBytes)
    }
    bytes = Digests.sha256(writer.bytes)
  }
}

/// A question as it travels to the chosen agent.
package struct QuestionFrame: Sendable, Codable {
  package var id: Identifier
  /// Text, not `QuestionKind`: an agent must be able to read, and decline, a kind that it does not know.
  package var kind: String
  package var realm: RealmName
  package var userName: String
  package var wanting: AttributeRequest
  package var allowance: TryAllowance?
  /// What is left of the deadline when the frame is written, in milliseconds.
  package var remainingMilliseconds: Int64
  /// The sealed password, base64.
  package var sealed: String

  package init(question: Question, sealed: [UInt8]) {
    id = question.id
    kind = question.kind.rawValue
    realm = question.realm
    userName = question.userName.text
    wanting = question.wanting
    allowance = question.allowance
    remainingMilliseconds = question.deadline.remaining().wholeMilliseconds
    self.sealed = sealed.base64
  }

  init(
    id: Identifier, kind: String, realm: RealmName, userName: String, wanting: AttributeRequest, allowance: TryAllowance? = nil,
    remainingMilliseconds: Int64, sealed: String
  ) {
    self.id = id
    self.kind = kind
    self.realm = realm
    self.userName = userName
    self.wanting = wanting
    self.allowance = allowance
    self.remainingMilliseconds = remainingMilliseconds
    self.sealed = sealed
  }

  package var digest: QuestionDigest {
    QuestionDigest(id: id, kind: kind, realm: realm.text, userName: userName, wanting: wanting, allowance: allowance)
  }
}
