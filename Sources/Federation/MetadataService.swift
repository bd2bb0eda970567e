import Bytes
import Cryptography
import Foundation
import Identity
import Logging
import SAML
import Synchronization
import WSFederation
import XMLSecurity

/// Fetches documents of others.
package protocol MetadataFetcher: Sendable {
  /// The body, at most `limit` bytes, of an https URL (redirects are followed to https only). Throws with words for an administrator.
  func fetch(_ url: String, limit: Int, timeout: Duration) async throws -> [UInt8]
}

/// Why metadata was not taken, for the administrator.
package struct MetadataProblem: Error, Sendable, Equatable, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}

/// Reads relying parties' metadata, keeps it fresh, and writes our own.
package struct MetadataService: Sendable {
  package static let longestDocument = 4 << 20
  /// How often metadata is read where the document does not say; and the bounds of what it may say.
  static let standardInterval: Duration = .seconds(4 * 3600)
  static let intervals: ClosedRange<Duration> = .seconds(300) ... .seconds(86_400)
  static let retryInterval: Duration = .seconds(300)

  private let parties: RelyingPartyDirectory
  private let partyStore: any RelyingPartyStore
  private let keys: TokenSigningKeys
  private let identity: FederationIdentity
  private let fetcher: any MetadataFetcher
  private let displayName: String?
  private let contactMail: String?
  private let now: @Sendable () -> Instant
  private let logger: Logger
  private let signedDocuments = SignedDocuments()

  package init(
    parties: RelyingPartyDirectory, partyStore: any RelyingPartyStore, keys: TokenSigningKeys, identity: FederationIdentity,
    fetcher: any MetadataFetcher, displayName: String?, contactMail: String?, now: @escaping @Sendable () -> Instant, logger: Logger
  ) {
    self.parties = parties
    self.partyStore = partyStore
    self.keys = keys
    self.identity = identity
    self.fetcher = fetcher
    self.displayName = displayName
    self.contactMail = contactMail
    self.now = now
    self.logger = logger
  }

  /// Our own metadata, signed by the metadata key, for one relying party or for everybody. Throws `MessageFault` or `CryptographyFault`.
  ///
  /// Signed once, and anew only when something in it has changed: anybody may ask, and a token that is away does not stop who only reads what was said before.
  package func own(for party: RelyingParty? = nil) throws -> [UInt8] {
    try signed(by: keys.metadataSigner, .rsaSHA256) { try document(for: party, id: $0) }
  }

  /// FederationMetadata.xml, signed by the token-signing key that readers of it know: the relying party's, or the primary, as AD FS does. Throws as `own` does.
  package func federation(for party: RelyingParty? = nil) throws -> [UInt8] {
    try signed(by: party.map(keys.signer(for:)) ?? keys.primarySigner, party?.signatureAlgorithm ?? .rsaSHA256) {
      try federationDocument(for: party, id: $0)
    }
  }

  /// - Parameter make: the document with an ID.
  private func signed(
    by signer: TokenSigningKeys.Signer?, _ algorithm: SignatureAlgorithm, _ make: (String) throws -> UnsignedMessage
  ) throws -> [UInt8] {
    guard let signer else { return try make(TokenIssuer.makeID()).bytes }
    // An ID that is this content's (Core 1.3.4: no other document's).
    let digest = Digests.sha256(try make("_0").bytes + signer.certificate)
    if let known = signedDocuments.document(digest) { return known }
    let document = try make("_" + digest.prefix(20).hexadecimal)
    let prepared = EnvelopedSignature.prepare(
      element: document.bytes, id: document.id, at: document.signaturePlace, digest: algorithm.digest, algorithm: algorithm,
      certificates: [signer.certificate], inclusivePrefixes: document.inclusivePrefixes)
    let bytes = prepared.finish(signature: try signer.key.sign(prepared.bytesToSign, with: algorithm))
    signedDocuments.keep(bytes, digest)
    return bytes
  }

  private func federationDocument(for party: RelyingParty?, id: String) throws -> UnsignedMessage {
    let url = identity.signOnURL
    return try FederationMetadata(
      id: id, entityID: identity.entityID, signingCertificates: keys.published(for: party).map(\.certificate),
      encryptionCertificates: keys.encryptionCertificates, passiveURL: url, trustEndpoints: identity.trustEndpoints.filter { $0.0.isServed },
      metadataExchangeURL: identity.metadataExchangeURL, claimsOffered: MetadataService.claimsOffered,
      logout: [(.redirect, url), (.post, url), (.soap, identity.logoutSOAPURL)], signOn: [(.redirect, url), (.post, url)],
      nameIDFormats: NameIDFormat.allCases, displayName: displayName, contactMail: contactMail
    ).written()
  }

  /// What tables of claims usually tell, for readers of the metadata (protocols of AD FS, as its own document lists them).
  private static let claimsOffered: [FederationMetadata.ClaimType] = [
    ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress", "E-mail address", "The mail address of the user"),
    ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname", "Given name", "The given name of the user"),
    ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname", "Surname", "The surname of the user"),
    ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name", "Name", "The name of the user, for people"),
    ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn", "UPN", "The user principal name of the user"),
    ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier", "Name ID", "The SAML name identifier of the user"),
    ("http://schemas.microsoft.com/ws/2008/06/identity/claims/windowsaccountname", "Windows account name", "Domain and account name of the user"),
    ("http://schemas.microsoft.com/ws/2008/06/identity/claims/role", "Role", "A role of the user"),
    ("http://schemas.xmlsoap.org/claims/Group", "Group", "A group that the user is in"),
    (ClaimTypes.authenticationMethod, "Authentication method", "How the user was authenticated"),
    (ClaimTypes.authenticationInstant, "Authentication time", "When the user was authenticated"),
    ("http://schemas.microsoft.com/ws/2012/01/insidecorporatenetwork", "Inside corporate network", "Whether the request came from inside"),
    ("http://schemas.microsoft.com/ws/2012/01/passwordexpirationtime", "Password expiration time", "When the password ends"),
    ("http://schemas.microsoft.com/ws/2012/01/passwordexpirationdays", "Password expiration days", "In how many days the password ends"),
    ("http://schemas.microsoft.com/ws/2012/01/passwordchangeurl", "Password change URL", "Where a new password is chosen"),
  ].map { FederationMetadata.ClaimType(uri: $0.0, displayName: $0.1, description: $0.2) }

  private func document(for party: RelyingParty?, id: String) throws -> UnsignedMessage {
    let url = identity.signOnURL
    return try IdentityProviderMetadata(
      id: id, entityID: identity.entityID, validUntil: nil, signingCertificates: keys.published(for: party).map(\.certificate),
      encryptionCertificates: keys.encryptionCertificates, wantsSignedRequests: party?.requestsMustBeSigned ?? false,
      signOn: [(.redirect, url), (.post, url)], logout: [(.redirect, url), (.post, url), (.soap, identity.logoutSOAPURL)],
      nameIDFormats: NameIDFormat.allCases,
      attributes: (party?.claims ?? []).map { Attribute($0.name, nameFormat: $0.nameFormat, friendlyName: $0.friendlyName, values: []) },
      displayName: displayName, errorURL: nil, contactMail: contactMail
    ).written()
  }

  /// What a document says. Throws `MetadataProblem`.
  ///
  /// - Parameter signer: the certificate that must have signed it, DER; nil: its way is trusted, and a signature in it is of no account.
  package func read(_ document: [UInt8], signer: [UInt8]?) throws(MetadataProblem) -> ServiceProviderMetadata {
    guard document.count <= MetadataService.longestDocument else {
      throw MetadataProblem(
        "the metadata has more than \(MetadataService.longestDocument) bytes; give that of the one relying party, not of a federation")
    }
    var root: XMLElement
    do { root = try XMLElement.parse(document, limits: .metadata) } catch {
      throw MetadataProblem("the metadata is not XML that is read here: \(error.detail)")
    }
    if let signer {
      guard let key = try? VerificationKey(certificate: signer) else { throw MetadataProblem("the pinned certificate cannot be used") }
      do { root = try SignatureVerifier(keys: [key]).verify(root, position: .first).element } catch {
        throw MetadataProblem("the metadata is not signed by the pinned certificate: \(error.detail)")
      }
    }
    let metadata: ServiceProviderMetadata
    do { metadata = try ServiceProviderMetadata(federation: root) } catch { throw MetadataProblem(error.detail) }
    if let end = metadata.validUntil {
      guard end > now() else { throw MetadataProblem("the metadata was valid until \(end)") }
    }
    for endpoint in metadata.consumers + metadata.logout {
      for location in [endpoint.location, endpoint.responseLocation].compactMap(\.self) {
        if let problem = EndpointURL.problem(location) { throw MetadataProblem("\(location.prefix(256)): \(problem)") }
      }
    }
    if let entityProblem = FederationSettings.problem(metadata.entityID), metadata.entityID.utf8.contains(where: { $0 <= 0x20 || $0 >= 0x7f }) {
      throw MetadataProblem("its entityID cannot be used: \(entityProblem)")
    }
    return metadata
  }

  /// Fetches and reads a document. Throws `MetadataProblem`.
  package func fetch(_ url: String, signer: [UInt8]?) async throws(MetadataProblem) -> ServiceProviderMetadata {
    let document: [UInt8]
    do { document = try await fetcher.fetch(url, limit: MetadataService.longestDocument, timeout: .seconds(20)) } catch {
      throw MetadataProblem("\(url) could not be read: \(error)")
    }
    return try read(document, signer: signer)
  }

  /// Reads the metadata of every relying party whose time has come. A document that cannot be read, or that would change where tokens go, changes nothing:
  /// the trouble stands in the relying party's record, and in an alarm. Throws `StoreError`.
  package func refreshDue() async throws {
    let time = now()
    for party in parties.parties {
      guard !party.disabled, let source = party.source, MetadataService.isDue(source, now: time) else { continue }
      try await refresh(party)
    }
    try await parties.refresh()
  }

  static func isDue(_ source: MetadataSource, now: Instant) -> Bool {
    guard let tried = source.tried else { return true }
    guard source.trouble == nil else { return now.since(tried) >= retryInterval }
    let wished = source.cacheDuration.map { Duration.seconds($0) } ?? standardInterval
    return now.since(tried) >= min(max(wished, intervals.lowerBound), intervals.upperBound)
  }

  /// Reads one relying party's metadata now. Throws `StoreError`.
  package func refresh(_ party: RelyingParty) async throws {
    guard var source = party.source else { return }
    let time = now()
    var changed = party
    source.tried = time
    var events: [AuditEvent] = []
    func event(_ kind: AuditKind, _ details: [String: String]) -> AuditEvent {
      AuditEvent(time: time, kind: kind, actor: "gatehouse", subject: party.name, outcome: "done", details: details)
    }
    do {
      let metadata = try await fetch(source.url, signer: source.signer)
      source.read = time
      source.trouble = nil
      source.validUntil = metadata.validUntil
      source.cacheDuration = metadata.cacheDuration
      let toApprove = party.changesToApprove(metadata)
      if toApprove.isEmpty {
        source.pending = nil
        changed.adopt(metadata)
        var compared = changed
        compared.source = party.source
        if compared != party { events.append(event(.relyingPartyRefreshed, ["certificates": "\(metadata.signingCertificates.count)"])) }
      } else if source.pending != metadata {
        source.pending = metadata
        events.append(event(.relyingPartyPending, ["changes": toApprove.prefix(8).joined(separator: "; ")]))
      }
    } catch {
      source.trouble = error.description
    }
    changed.source = source
    do { try await partyStore.update(changed, audit: events) } catch StoreError.conflict, StoreError.notFound {
      // Somebody changed or removed it meanwhile; the next round sees what they made.
    }
  }
}

extension MetadataService: AlarmSource {
  package func alarms() async -> [Alarm] {
    var alarms: [Alarm] = []
    for party in parties.parties where !party.disabled {
      guard let source = party.source else { continue }
      if source.pending != nil {
        alarms.append(
          Alarm(
            .relyingPartyPending, subject: party.name, message: "The metadata of \(party.shownName) has changes that are not taken over unasked.",
            remedy: "Look at them with `gatehouse rp show \(party.name)` and take them over with `gatehouse rp refresh \(party.name) --approve`.",
            since: source.read ?? now()))
      }
      if let end = source.validUntil, end <= now(), source.trouble == nil {
        alarms.append(
          Alarm(
            .relyingPartyMetadata, subject: party.name, message: "The metadata of \(party.shownName) was valid until \(end), and no newer was read.",
            remedy: "What was read last goes on being used. Ask its owner; `gatehouse rp refresh \(party.name)` reads it now.", since: end))
      }
      if let trouble = source.trouble {
        alarms.append(
          Alarm(
            .relyingPartyMetadata, subject: party.name, message: "The metadata of \(party.shownName) cannot be read: \(trouble)",
            remedy:
              "What was read last goes on being used. Mend the document, or give it by hand with `gatehouse rp edit \(party.name) --metadata FILE`.",
            since: source.tried ?? now(), condition: "unreadable"))
      }
    }
    return alarms
  }
}

/// Where tokens may be sent.
package enum EndpointURL {
  /// What is wrong with an endpoint of a relying party, or nil: https, or http to this host itself (for development), in plain ASCII, without what browsers
  /// and servers read differently (user names, backslashes, white space, fragments).
  package static func problem(_ location: String) -> String? {
    let bytes = Array(location.utf8)
    guard bytes.count <= 2048 else { return "it has more than 2048 bytes" }
    guard
      bytes.allSatisfy({
        $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "\\") && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "<") && $0 != UInt8(ascii: ">")
      })
    else { return "it has characters that do not belong in a URL" }
    guard let url = URLComponents(string: location), let host = url.host, !host.isEmpty else { return "it is no absolute URL" }
    guard url.user == nil, url.password == nil, url.fragment == nil else { return "it has a user name or a fragment" }
    switch url.scheme {
    case "https": return nil
    case "http" where host == "localhost" || host == "127.0.0.1" || host == "[::1]" || host == "::1": return nil
    default: return "tokens are sent over https only (http is taken for localhost)"
    }
  }
}

/// The documents that were signed last, by the digest of what they say.
private final class SignedDocuments: Sendable {
  private static let most = 1024
  private let documents = Mutex<[[UInt8]: [UInt8]]>([:])

  func document(_ digest: [UInt8]) -> [UInt8]? { documents.withLock { $0[digest] } }

  func keep(_ document: [UInt8], _ digest: [UInt8]) {
    documents.withLock { documents in
      if documents.count >= SignedDocuments.most { documents = [:] }
      documents[digest] = document
    }
  }
}
