import Bytes
import Cryptography
import Identity
import SAML

/// An application that people sign in to by tokens of this gateway: what is registered of it, and how it wants its tokens.
package struct RelyingParty: Sendable, Equatable, Codable {
  package var id: Identifier
  /// For administrators: unique, 1…64 of `a-z A-Z 0-9 . _ -`.
  package var name: String
  /// Unique, compared byte by byte.
  package var entityID: String
  /// For people on pages; nil means the name.
  package var displayName: String?
  package var disabled = false

  // What its metadata says.
  package var consumers: [ServiceProviderMetadata.Endpoint]
  package var logout: [ServiceProviderMetadata.Endpoint] = []
  /// DER; every one may have signed its requests.
  @Base64List package var signingCertificates: [[UInt8]] = []
  @Base64List package var encryptionCertificates: [[UInt8]] = []
  package var encryptionMethods: [String] = []
  /// From where it is read anew, and what came of that.
  package var source: MetadataSource?

  // How it wants its tokens.
  package var requestsMustBeSigned = false
  package var signs: SignedParts = .both
  package var encrypts: EncryptedParts = .nothing
  package var signatureAlgorithm: SignatureAlgorithm = .rsaSHA256
  /// Until then a request signed with SHA-1 is taken; nil: never.
  package var acceptsSHA1Until: Instant?
  package var nameID = NameIDRule()
  package var claims: [ClaimRule] = []
  /// How long the conditions of an assertion hold, in seconds (60…86,400). The bearer has five minutes at most.
  package var tokenLife: Int64 = 3600
  /// By how much NotBefore lies in the past, in seconds (0…300).
  package var skew: Int64 = 0
  /// Whether a sign-in may begin here, without a request.
  package var allowsUnsolicited = false
  /// Distinguished names or SIDs of groups, one of which a person must be in; empty: everybody may.
  package var permittedGroups: [String] = []
  /// How it is served by WS-Federation and WS-Trust; nil: as usual, where it has an address for that.
  package var wsFederation: WSFederationTraits?
  /// What is known of how it follows a rollover of the token-signing certificate; nil: nothing.
  package var rollover: RolloverTraits?
  /// For compare-and-swap; the store increments it.
  package var version: Int64 = 0

  package init(id: Identifier = Identifier(), name: String, entityID: String, consumers: [ServiceProviderMetadata.Endpoint]) {
    self.id = id
    self.name = name
    self.entityID = entityID
    self.consumers = consumers
  }

  /// What is shown to people.
  package var shownName: String { displayName ?? name }

  /// The keys that may have signed its messages. A certificate whose key is too weak or unknown is left out.
  package var verificationKeys: [VerificationKey] { signingCertificates.compactMap { try? VerificationKey(certificate: $0) } }

  package func allowsSHA1(at now: Instant) -> Bool { acceptsSHA1Until.map { now < $0 } ?? false }

  /// The consumer services that a response can be sent to, which is by POST only (Profiles 4.1.2: never by Redirect).
  package var usableConsumers: [ServiceProviderMetadata.Endpoint] { consumers.filter { $0.binding == Binding.post.rawValue } }

  package var standardConsumer: ServiceProviderMetadata.Endpoint? { usableConsumers.first(where: \.isDefault) ?? usableConsumers.first }
}

/// Which parts of an answer are signed.
package enum SignedParts: String, Sendable, Codable, CaseIterable {
  case response, assertion, both

  package var includesResponse: Bool { self != .assertion }
  package var includesAssertion: Bool { self != .response }
}

/// Which parts of an answer only the relying party can read.
package enum EncryptedParts: String, Sendable, Codable, CaseIterable {
  case nothing, assertion, name
}

/// Where a relying party's metadata comes from.
package struct MetadataSource: Sendable, Equatable, Codable {
  /// An https URL.
  package var url: String
  /// The certificate that must have signed the document, DER; nil: the way (TLS) is trusted.
  package var signer: [UInt8]?
  /// When it was last read with success, and last tried.
  package var read: Instant?
  package var tried: Instant?
  /// Why the last try failed; nil: it did not.
  package var trouble: String?
  /// What the newest document would change that an administrator must agree to first; nil: nothing.
  package var pending: ServiceProviderMetadata?
  /// The validUntil of the newest document.
  package var validUntil: Instant?
  /// The cacheDuration of the newest document, in seconds.
  package var cacheDuration: Int64?

  package init(url: String, signer: [UInt8]? = nil) {
    self.url = url
    self.signer = signer
  }
}

/// How a relying party behaves when the token-signing certificate changes: what its administrator says of it.
package struct RolloverTraits: Sendable, Equatable, Codable {
  /// The mail address of whoever runs it.
  package var owner: String?
  /// It reads the first key of our metadata only.
  package var readsFirstKeyOnly = false
  /// It pins the key and does not look at dates: it is signed for with its key even after the certificate has ended.
  package var keepsExpiredKey = false
  package var probe: ProbeSettings?
  /// The domains of an Entra tenant, each of which must show a key before it signs.
  package var entraDomains: [String] = []

  package init() {}
}

/// The sign-in that is played to find out whether a relying party takes a key.
package struct ProbeSettings: Sendable, Equatable, Codable {
  /// A page of the relying party that wants a sign-in.
  package var url: String
  /// Who signs in: a person of the directory who is there for this.
  package var user: String
  /// What the page shows only to somebody who is signed in; nil: that it comes back to it is enough.
  package var expects: String?

  package init(url: String, user: String, expects: String? = nil) {
    self.url = url
    self.user = user
    self.expects = expects
  }
}

/// Which name a relying party gets of a person (Core 8.3).
package struct NameIDRule: Sendable, Equatable, Codable {
  /// Where the request asks for none.
  package var format: NameIDFormat = .unspecified
  /// What a request may ask for; empty: every format that can be made.
  package var allowed: [NameIDFormat] = []
  /// Whence the value of an unspecified name comes, and of a persistent one where it shall not be random; nil: userPrincipalName, or random.
  package var source: ClaimSource?

  package init(format: NameIDFormat = .unspecified, allowed: [NameIDFormat] = [], source: ClaimSource? = nil) {
    self.format = format
    self.allowed = allowed
    self.source = source
  }
}

extension SignatureAlgorithm: Codable {}

extension RelyingParty {
  /// Takes over what `metadata` says of the relying party itself; how it wants its tokens stays, but for what only grows stricter.
  package mutating func adopt(_ metadata: ServiceProviderMetadata) {
    consumers = metadata.consumers
    logout = metadata.logout
    signingCertificates = metadata.signingCertificates
    encryptionCertificates = metadata.encryptionCertificates
    encryptionMethods = metadata.encryptionMethods
    if metadata.requestsAreSigned { requestsMustBeSigned = true }
    if metadata.wantsAssertionsSigned, !signs.includesAssertion { signs = .both }
    if displayName == nil { displayName = metadata.displayName }
  }

  /// What newer metadata would change that somebody who took the relying party's site over would want: where tokens go, and who it is. Keys are no
  /// such thing where the document's signer is pinned; without that, a new key is.
  package func changesToApprove(_ metadata: ServiceProviderMetadata) -> [String] {
    var changes: [String] = []
    if !metadata.entityID.utf8.elementsEqual(entityID.utf8) { changes.append("its entityID would become \(metadata.entityID)") }
    let known = Set(consumers.map { Array($0.location.utf8) })
    for consumer in metadata.consumers where !known.contains(Array(consumer.location.utf8)) {
      changes.append("tokens could be sent to \(consumer.location)")
    }
    let ends = Set(logout.flatMap { [$0.location, $0.responseLocation].compactMap(\.self) }.map { Array($0.utf8) })
    for end in metadata.logout {
      for location in [end.location, end.responseLocation].compactMap(\.self) where !ends.contains(Array(location.utf8)) {
        changes.append("logout messages could be sent to \(location)")
      }
    }
    // Without a pinned signer whoever holds the site could bring a key of their own.
    if let source, source.signer == nil, Set(metadata.signingCertificates) != Set(signingCertificates) {
      changes.append("its signing certificates would change")
    }
    if requestsMustBeSigned, metadata.signingCertificates.isEmpty { changes.append("it would have no signing certificate any more") }
    if encrypts != .nothing, metadata.encryptionCertificates.isEmpty { changes.append("it would have no encryption certificate any more") }
    return changes
  }
}
