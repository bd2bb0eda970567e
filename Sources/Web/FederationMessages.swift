import Bytes
import Cryptography
import Federation
import Foundation
import Identity
import SAML
import WSFederation

// The messages of the admin API that concern federation. The CLI is its client and shares these types.

/// One line of a table of claims, as administrators write it.
package struct ClaimMessage: Codable, Sendable, Equatable {
  package struct Groups: Codable, Sendable, Equatable {
    package var `as`: String?
    package var prefix: String?
    package var stripPrefix: Bool?
    package var atMost: Int?
  }
  /// `lowerCase`, `upperCase`, or an object with `replace` and `with`, or with `keep`.
  package enum Change: Codable, Sendable, Equatable {
    case word(String)
    case replace(String, with: String)
    case keep(String)

    private enum Keys: String, CodingKey { case replace, with, keep }

    package init(from decoder: any Decoder) throws {
      if let word = try? decoder.singleValueContainer().decode(String.self) {
        self = .word(word)
        return
      }
      let fields = try decoder.container(keyedBy: Keys.self)
      if let pattern = try fields.decodeIfPresent(String.self, forKey: .replace) {
        self = .replace(pattern, with: try fields.decodeIfPresent(String.self, forKey: .with) ?? "")
      } else {
        self = .keep(try fields.decode(String.self, forKey: .keep))
      }
    }

    package func encode(to encoder: any Encoder) throws {
      switch self {
      case .word(let word):
        var container = encoder.singleValueContainer()
        try container.encode(word)
      case .replace(let pattern, let replacement):
        var fields = encoder.container(keyedBy: Keys.self)
        try fields.encode(pattern, forKey: .replace)
        try fields.encode(replacement, forKey: .with)
      case .keep(let pattern):
        var fields = encoder.container(keyedBy: Keys.self)
        try fields.encode(pattern, forKey: .keep)
      }
    }
  }

  package var name: String
  /// `uri`, `basic`, `unspecified` or a URI.
  package var nameFormat: String?
  package var friendlyName: String?
  package var from: [String]?
  package var values: [String]?
  package var groups: Groups?
  package var change: [Change]?
  package var required: Bool?

  init(_ rule: ClaimRule) {
    name = rule.name
    nameFormat = rule.nameFormat
    friendlyName = rule.friendlyName
    from = rule.sources.isEmpty ? nil : rule.sources.map(\.word)
    values = rule.constants.isEmpty ? nil : rule.constants
    groups = rule.groups.map { Groups(as: $0.form.rawValue, prefix: $0.prefix, stripPrefix: $0.stripsPrefix, atMost: $0.atMost) }
    change =
      rule.changes.isEmpty
      ? nil
      : rule.changes.map { change in
        switch change {
        case .lowerCase: .word("lowerCase")
        case .upperCase: .word("upperCase")
        case .replace(let pattern, let replacement): .replace(pattern, with: replacement)
        case .keep(let pattern): .keep(pattern)
        }
      }
    required = rule.isRequired ? true : nil
  }

  /// The rule that it means. Throws `RequestFault.malformed`.
  func rule() throws -> ClaimRule {
    func malformed(_ text: String) -> RequestFault { .malformed("Claim \(name.prefix(64)): \(text)") }
    let format: String? =
      switch nameFormat {
      case "uri": ClaimRule.uriFormat
      case "basic": ClaimRule.basicFormat
      case "unspecified": nil
      default: nameFormat
      }
    let sources = try (from ?? []).map { word in
      guard let source = ClaimSource(word: word) else {
        throw malformed(
          "\"\(word.prefix(64))\" is no attribute of a directory, and none of \(ClaimSource.knownWords)."
        )
      }
      return source
    }
    var filter: GroupFilter?
    if let groups {
      var made = GroupFilter()
      if let form = groups.as {
        guard let known = GroupFilter.Form(rawValue: form) else { throw malformed("`as` must be name or distinguishedName.") }
        made.form = known
      }
      made.prefix = groups.prefix ?? ""
      made.stripsPrefix = groups.stripPrefix ?? false
      made.atMost = groups.atMost ?? made.atMost
      filter = made
    }
    let changes = try (change ?? []).map { change -> ClaimChange in
      switch change {
      case .word("lowerCase"): return .lowerCase
      case .word("upperCase"): return .upperCase
      case .word(let word): throw malformed("\"\(word.prefix(64))\" is no change; there are lowerCase, upperCase, {replace, with} and {keep}.")
      case .replace(let pattern, let replacement): return .replace(pattern: pattern, with: replacement)
      case .keep(let pattern): return .keep(pattern: pattern)
      }
    }
    let rule = ClaimRule(
      name: name, nameFormat: format, friendlyName: friendlyName, sources: sources, constants: values ?? [], groups: filter, changes: changes,
      isRequired: required ?? false)
    if let problem = rule.problem { throw RequestFault.malformed(problem.prefix(1).uppercased() + problem.dropFirst() + ".") }
    return rule
  }
}

/// A relying party as it is told.
package struct RelyingPartyMessage: Codable, Sendable {
  package struct Endpoint: Codable, Sendable {
    package var binding: String
    package var location: String
    package var responseLocation: String?
    package var index: Int?
    package var isDefault: Bool
  }
  package struct Certificate: Codable, Sendable {
    /// SHA-256 of the DER, hexadecimal.
    package var sha256: String
    package var use: String
  }
  package var name: String
  package var entityId: String
  package var displayName: String?
  package var disabled: Bool
  package var consumers: [Endpoint]
  package var logout: [Endpoint]
  package var certificates: [Certificate]
  package var requestsMustBeSigned: Bool
  package var signs: String
  package var encrypts: String
  package var algorithm: String
  package var acceptsSha1Until: Instant?
  package var nameId: String
  package var nameIdSource: String?
  package var allowedNameIds: [String]
  package var claims: [ClaimMessage]
  package var tokenLifeSeconds: Int64
  package var skewSeconds: Int64
  package var unsolicited: Bool
  package var permittedGroups: [String]
  package var signingKey: String?
  /// The metadata URL that is this relying party's alone.
  package var ownMetadataUrl: String?
  /// Of WS-Federation and WS-Trust.
  package var replyAddresses: [String]
  package var signOutUrl: String?
  package var tokenType: String
  package var responseFormat: String
  package var active: Bool
  package var activeNetworks: [String]
  package struct Issuer: Codable, Sendable {
    package var domain: String
    package var issuer: String
  }
  package var issuers: [Issuer]
  package struct Probe: Codable, Sendable {
    package var url: String
    package var user: String
    package var expects: String?
    package init(url: String, user: String, expects: String?) {
      self.url = url
      self.user = user
      self.expects = expects
    }
  }
  package var owner: String?
  package var readsFirstKeyOnly: Bool
  package var keepsExpiredKey: Bool
  package var entraDomains: [String]
  package var probe: Probe?
  package var metadataUrl: String?
  package var metadataSigner: String?
  package var metadataRead: Instant?
  package var metadataTrouble: String?
  /// What newer metadata would change, in sentences.
  package var pendingChanges: [String]?

  init(_ party: RelyingParty) {
    func endpoint(_ endpoint: ServiceProviderMetadata.Endpoint) -> Endpoint {
      Endpoint(
        binding: endpoint.binding, location: endpoint.location, responseLocation: endpoint.responseLocation, index: endpoint.index.map(Int.init),
        isDefault: endpoint.isDefault)
    }
    name = party.name
    entityId = party.entityID
    displayName = party.displayName
    disabled = party.disabled
    consumers = party.consumers.filter { $0.binding != WSFederationTraits.binding }.map(endpoint)
    logout = party.logout.filter { $0.binding != WSFederationTraits.binding }.map(endpoint)
    certificates =
      party.signingCertificates.map { Certificate(sha256: Digests.sha256($0).hexadecimal, use: "signing") }
      + party.encryptionCertificates.map { Certificate(sha256: Digests.sha256($0).hexadecimal, use: "encryption") }
    requestsMustBeSigned = party.requestsMustBeSigned
    signs = party.signs.rawValue
    encrypts = party.encrypts.rawValue
    algorithm = party.signatureAlgorithm.word
    acceptsSha1Until = party.acceptsSHA1Until
    nameId = party.nameID.format.word
    nameIdSource = party.nameID.source?.word
    allowedNameIds = party.nameID.allowed.map(\.word)
    claims = party.claims.map(ClaimMessage.init)
    tokenLifeSeconds = party.tokenLife
    skewSeconds = party.skew
    unsolicited = party.allowsUnsolicited
    permittedGroups = party.permittedGroups
    replyAddresses = party.replyAddresses
    signOutUrl = party.logout.first { $0.binding == WSFederationTraits.binding }?.location
    tokenType = party.passive.tokenType.word
    responseFormat = party.passive.responseVersion.rawValue
    active = party.passive.allowsActive
    activeNetworks = party.passive.activeNetworks
    issuers = party.passive.issuers.map { Issuer(domain: $0.domain, issuer: $0.issuer) }
    owner = party.rollover?.owner
    readsFirstKeyOnly = party.rollover?.readsFirstKeyOnly ?? false
    keepsExpiredKey = party.rollover?.keepsExpiredKey ?? false
    entraDomains = party.rollover?.entraDomains ?? []
    probe = party.rollover?.probe.map { Probe(url: $0.url, user: $0.user, expects: $0.expects) }
    metadataUrl = party.source?.url
    metadataSigner = party.source?.signer.map { Digests.sha256($0).hexadecimal }
    metadataRead = party.source?.read
    metadataTrouble = party.source?.trouble
    pendingChanges = party.source?.pending.map(party.changesToApprove)
  }
}

/// To register or change a relying party; what is nil stays.
package struct RelyingPartyChange: Codable, Sendable {
  package var name: String?
  package var displayName: String?
  /// The document, base64, or where it is to be read.
  package var metadata: String?
  package var metadataUrl: String?
  /// DER of the certificate that must have signed it, base64.
  package var metadataSigner: String?
  /// Without metadata: who it is and where tokens go.
  package var entityId: String?
  package var consumers: [String]?
  package var preset: String?
  package var disabled: Bool?
  package var requestsMustBeSigned: Bool?
  package var signs: String?
  package var encrypts: String?
  package var algorithm: String?
  /// Milliseconds since 1970; 0: never again.
  package var acceptsSha1Until: Int64?
  package var nameId: String?
  /// Empty: the usual one.
  package var nameIdSource: String?
  package var allowedNameIds: [String]?
  package var claims: [ClaimMessage]?
  package var tokenLifeSeconds: Int64?
  package var skewSeconds: Int64?
  package var unsolicited: Bool?
  package var permittedGroups: [String]?
  /// Where tokens of WS-Federation go (wreply), the first by default; with `entityId` as the wtrealm.
  package var replyAddresses: [String]?
  /// Where its clean-up requests go; empty: its reply address.
  package var signOutUrl: String?
  /// saml11 or saml20.
  package var tokenType: String?
  /// 2005 or 13.
  package var responseFormat: String?
  /// Whether WS-Trust issues tokens for it.
  package var active: Bool?
  package var activeNetworks: [String]?
  /// The mail address of whoever runs it; empty: none.
  package var owner: String?
  package var readsFirstKeyOnly: Bool?
  package var keepsExpiredKey: Bool?
  /// An Entra tenant's domains; empty: it is none.
  package var entraDomains: [String]?
  /// An empty URL: no probe.
  package var probe: RelyingPartyMessage.Probe?

  package init() {}
}

package struct RefreshRequest: Codable, Sendable {
  package var approve: Bool
  package init(approve: Bool) { self.approve = approve }
}

package struct PreviewRequest: Codable, Sendable {
  package var user: String
  package var realm: String?
  package init(user: String, realm: String?) {
    self.user = user
    self.realm = realm
  }
}

package struct PreviewMessage: Codable, Sendable {
  /// The assertion's bytes as text: exactly what would be issued, with ids and times of now, unsigned.
  package var assertion: String
}

package struct TokenQuery: Codable, Sendable {
  /// An assertion's ID, or a document (a response or an assertion), base64.
  package var id: String?
  package var document: String?
  package init(id: String?, document: String?) {
    self.id = id
    self.document = document
  }
}

package struct IssuedTokenMessage: Codable, Sendable {
  package var assertionId: String
  package var issued: Instant
  package var relyingParty: String
  package var entityId: String
  package var user: String
  package var object: String?
  package var consumer: String
  package var key: String
  /// Whether the given document is byte for byte what was issued; nil where only an ID was given.
  package var sameBytes: Bool?
}

extension SignatureAlgorithm {
  /// `rsa-sha256`, as the CLI writes it.
  package var word: String {
    switch self {
    case .rsaSHA256: "rsa-sha256"
    case .rsaSHA384: "rsa-sha384"
    case .rsaSHA512: "rsa-sha512"
    case .ecdsaSHA256: "ecdsa-sha256"
    case .ecdsaSHA384: "ecdsa-sha384"
    case .rsaSHA1: "rsa-sha1"
    }
  }

  /// For signing: SHA-1 is none.
  init?(word: String) {
    guard let known = SignatureAlgorithm.allCases.first(where: { $0.word == word }), known != .rsaSHA1 else { return nil }
    self = known
  }
}
