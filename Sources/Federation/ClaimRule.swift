import Bytes
import Foundation
import Identity
import SAML

// What a relying party learns of a person is a table, one line for each attribute: from what it is made, how it is changed, how it is called.

/// Whence a value comes.
package enum ClaimSource: Sendable, Equatable, Hashable, Codable {
  /// An attribute of the directory, by its LDAP name.
  case directory(String)
  /// The groups, nested ones included.
  case groups
  case userPrincipalName
  /// ms-DS-ConsistencyGuid, else objectGUID, base64.
  case immutableID
  /// objectGUID or entryUUID in its text form.
  case objectID
  case realm
  /// `DOMAIN\name`.
  case windowsAccountName
  /// `true` or `false`: whether the request came from one of the organisation's own networks.
  case insideCorporateNetwork
  /// How and when somebody was authenticated.
  case authenticationMethod, authenticationInstant
  /// `true` where the browser keeps the session when it is closed; else no value.
  case persistentSession
  /// Who this identity provider is in the token.
  case issuer
  /// When the password ends, as a time and in whole days, and where a new one is chosen; no value where that is more than 14 days away.
  case passwordExpirationTime, passwordExpirationDays, passwordChangeURL

  private static let words: [(ClaimSource, String)] = [
    (.groups, "$groups"), (.userPrincipalName, "$userPrincipalName"), (.immutableID, "$immutableId"), (.objectID, "$objectId"), (.realm, "$realm"),
    (.windowsAccountName, "$windowsAccountName"), (.insideCorporateNetwork, "$insideCorporateNetwork"),
    (.authenticationMethod, "$authenticationMethod"), (.authenticationInstant, "$authenticationInstant"), (.persistentSession, "$persistentSession"),
    (.issuer, "$issuerId"), (.passwordExpirationTime, "$passwordExpirationTime"), (.passwordExpirationDays, "$passwordExpirationDays"),
    (.passwordChangeURL, "$passwordChangeUrl"),
  ]

  /// Every `$word`, for messages.
  package static var knownWords: String { words.map(\.1).joined(separator: ", ") }

  /// As it is written in tables: a directory attribute's name by itself, the others behind a `$`.
  package var word: String {
    if case .directory(let name) = self { return name }
    return ClaimSource.words.first { $0.0 == self }?.1 ?? ""
  }

  /// Nil for what is neither a known `$word` nor an LDAP attribute's name (RFC 4512 §2.5).
  package init?(word: String) {
    if let known = ClaimSource.words.first(where: { $0.1.utf8.elementsEqual(word.utf8) })?.0 {
      self = known
      return
    }
    guard AttributeRequest(attributes: [word]).firstInvalidName == nil else { return nil }
    self = .directory(word)
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let word = try container.decode(String.self)
    guard let source = ClaimSource(word: word) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "\"\(word.prefix(64))\" is no attribute's name and no known $word")
    }
    self = source
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(word)
  }
}

/// One change of every value, in the order of the table.
package enum ClaimChange: Sendable, Equatable, Codable {
  case lowerCase, upperCase
  /// Every match of the regular expression is replaced; `$1` in the replacement is what its first group matched.
  case replace(pattern: String, with: String)
  /// Only values that match stay.
  case keep(pattern: String)

  /// What is wrong with it in words, or nil.
  var problem: String? {
    switch self {
    case .lowerCase, .upperCase: nil
    case .replace(let pattern, let replacement):
      replacement.utf8.count > 256 ? "a replacement may have at most 256 bytes" : BoundedPattern.problem(pattern)
    case .keep(let pattern): BoundedPattern.problem(pattern)
    }
  }
}

/// Which groups are told, and how they are written.
package struct GroupFilter: Sendable, Equatable, Codable {
  package enum Form: String, Sendable, Codable, CaseIterable {
    /// The first value of the distinguished name: `CN=Sales,OU=…` → `Sales`.
    case name
    case distinguishedName
  }
  package var form: Form = .name
  /// Only groups whose name begins so, without regard to the case of ASCII letters; empty: all.
  package var prefix: String = ""
  /// Whether the prefix is taken off.
  package var stripsPrefix = false
  /// More groups than this refuse the token rather than being cut: nobody should decide on half a list. 1…2,000.
  package var atMost = 200

  package init(form: Form = .name, prefix: String = "", stripsPrefix: Bool = false, atMost: Int = 200) {
    self.form = form
    self.prefix = prefix
    self.stripsPrefix = stripsPrefix
    self.atMost = atMost
  }
}

/// One line of a relying party's table of claims.
package struct ClaimRule: Sendable, Equatable, Codable {
  /// The attribute's name as the relying party reads it.
  package var name: String
  package var nameFormat: String?
  package var friendlyName: String?
  /// The first of these that has a value is taken; empty: the constants.
  package var sources: [ClaimSource]
  package var constants: [String]
  package var groups: GroupFilter?
  package var changes: [ClaimChange]
  /// Without a value there is no token.
  package var isRequired: Bool

  package init(
    name: String, nameFormat: String? = nil, friendlyName: String? = nil, sources: [ClaimSource] = [], constants: [String] = [],
    groups: GroupFilter? = nil, changes: [ClaimChange] = [], isRequired: Bool = false
  ) {
    self.name = name
    self.nameFormat = nameFormat
    self.friendlyName = friendlyName
    self.sources = sources
    self.constants = constants
    self.groups = groups
    self.changes = changes
    self.isRequired = isRequired
  }

  package static let mostRules = 64
  package static let uriFormat = "urn:oasis:names:tc:SAML:2.0:attrname-format:uri"
  package static let basicFormat = "urn:oasis:names:tc:SAML:2.0:attrname-format:basic"

  /// What is wrong with it in words, or nil.
  package var problem: String? {
    if name.isEmpty || name.utf8.count > 256 { return "a claim's name must have 1 to 256 bytes" }
    let texts = [name, nameFormat, friendlyName].compactMap(\.self) + constants
    if texts.contains(where: { !$0.unicodeScalars.allSatisfy(isXMLScalar) }) {
      return "claim \(name): a text holds a character that XML cannot carry"
    }
    if sources.isEmpty == constants.isEmpty { return "claim \(name): give either `from` or `values`" }
    if sources.count > 8 || constants.count > 64 { return "claim \(name): at most 8 sources and 64 values" }
    if sources.contains(.groups), sources.count > 1 { return "claim \(name): $groups goes alone" }
    if groups != nil, sources != [.groups] { return "claim \(name): `groups` goes with `from: [$groups]`" }
    if let groups, !(1...2000).contains(groups.atMost) { return "claim \(name): atMost must be between 1 and 2000" }
    if changes.count > 8 { return "claim \(name): at most 8 changes" }
    for change in changes { if let problem = change.problem { return "claim \(name): \(problem)" } }
    return nil
  }
}

/// Whether XML 1.0 can carry the scalar (2.2 Char).
func isXMLScalar(_ scalar: Unicode.Scalar) -> Bool {
  switch scalar.value {
  case 0x09, 0x0a, 0x0d, 0x20...0xd7ff, 0xe000...0xfffd, 0x10000...0x10ffff: true
  default: false
  }
}
