import Bytes
import Federation
import Foundation
import Identity
import KeyStore
import Logging
import Outbound
import PassThrough
import SAML
import SQLiteStore
import SignIn
import Web

/// The federation side of a gateway, put together.
struct FederationAssembly {
  let services: SignOnServices
  private let store: EmbeddedStore

  init(
    _ configuration: GatewayConfiguration, store: EmbeddedStore, protector: FileKeyProtector, vault: (any SigningKeyVault)?, realms: RealmDirectory,
    validator: PassThroughValidator,
    outbound: OutboundClient, now: @escaping @Sendable () -> Instant, logger: Logger
  ) async throws {
    self.store = store
    let publicURL = configuration.publicURL.description
    let settings = try await FederationAssembly.settings(store: store, publicURL: publicURL, now: now())
    let identity = FederationIdentity(publicURL: publicURL, settings: settings)
    let retired = Set(try await store.revocations(of: .signingKeyRetired).map(\.revocation.subject))
    let keys = try await TokenSigningKeys.load(
      store: store, protector: protector, vault: vault, retired: retired, host: configuration.publicURL.host, now: now)
    let parties = RelyingPartyDirectory(store: store)
    try await parties.refresh()

    // A realm's NetBIOS name is its suffix without a dot.
    let domain: @Sendable (RealmName) -> String? = { name in realms.realm(named: name)?.suffixes.first { !$0.contains(".") } }
    let deadline = configuration.signInDeadline
    let describe: @Sendable (Session, AttributeRequest) async -> AcceptedPerson? = { session, wanting in
      guard let name = UserName(session.person.userPrincipalName) else { return nil }
      let realm = session.person.object.realm
      guard let person = await validator.describe(name, realm: realm, wanting: wanting, deadline: Deadline(after: deadline)).person,
        person.object == session.person.object
      else { return nil }
      return person
    }
    let ledger = ReadinessLedger(store: store)
    try await ledger.refresh()
    var newest = AuditQuery()
    newest.limit = 1
    let began = ContinuousClock.now
    let rollover = RolloverService(
      keys: keys, parties: parties, ledger: ledger, audit: store, sessions: store, revocations: store,
      journaled: retired, newest: try await store.find(newest).first?.event.time, now: now,
      steady: { ContinuousClock.now - began }, logger: logger)
    let signOn = SignOnService(
      parties: parties, keys: keys, store: store, audit: store, identity: identity, domain: domain, describe: describe, observer: rollover, now: now,
      logger: logger)
    let logout = LogoutService(
      parties: parties, keys: keys, store: store, sessions: store, audit: store, identity: identity, backChannel: outbound,
      observer: rollover, now: now, logger: logger)
    let metadata = MetadataService(
      parties: parties, partyStore: store, keys: keys, identity: identity, fetcher: outbound, displayName: configuration.pages.organisation,
      contactMail: nil, now: now, logger: logger)
    let branding = PageBranding(
      organisation: configuration.pages.organisation, accent: configuration.pages.accent, logo: configuration.pages.logoFile.flatMap(PageLogo.read),
      help: configuration.pages.help)
    let described: @Sendable (UserName, RealmName, RelyingParty) async throws -> AcceptedPerson = { userName, realm, party in
      let answer = await validator.describe(userName, realm: realm, wanting: SignOnService.needs(of: party), deadline: Deadline(after: deadline))
      guard let person = answer.person else {
        throw StoreError.notFound(
          answer.meaning == .nobody
            ? "the directory has nobody of the name \(userName)" : "the directory could not be asked: \(answer.cause?.rawValue ?? "no answer")")
      }
      return person
    }
    let probes = ProbeService(
      signOn: signOn, rollover: rollover, browser: outbound,
      describe: { party, userName in
        guard let realm = realms.realm(of: userName) else { throw StoreError.notFound("no realm belongs to the name \(userName)") }
        return try await described(userName, realm.name, party)
      }, now: now, logger: logger)
    services = SignOnServices(
      signOn: signOn, logout: logout, metadata: metadata, parties: parties, partyStore: store, settingsStore: store, identity: identity, keys: keys,
      rollover: rollover, probes: probes, sessions: SessionDesk(store: store, policy: configuration.sessions),
      seal: TransactionSeal(protector: protector), branding: branding,
      preview: { party, userName, realm in
        try await signOn.preview(party, person: try await described(userName, realm.name, party))
      })
  }

  /// What another node, or another process, may have changed.
  func refresh() async throws {
    try await services.parties.refresh()
    if let settings = try await store.federationSettings(), settings != services.identity.settings { services.identity.adopt(settings) }
    try await services.keys.refresh()
    try await services.rollover.ledger.refresh()
  }

  /// The life of the token-signing certificates goes on.
  func rollOver() async throws {
    try await services.rollover.tick()
    try await services.keys.destroyRetired()
  }

  func forget(now: Instant) async throws {
    try await services.sessions.forgetEnded(now: now)
    try await store.forgetMessages(now: now)
  }

  /// The stored settings; at the very first start the entityID is made of the public URL.
  private static func settings(store: EmbeddedStore, publicURL: String, now: Instant) async throws -> FederationSettings {
    for _ in 0..<2 {
      if let settings = try await store.federationSettings() { return settings }
      let first = FederationSettings(entityID: publicURL + "/saml/metadata")
      let event = AuditEvent(time: now, kind: .federationChanged, actor: "gatehouse", subject: first.entityID, outcome: "done")
      do { try await store.putFederationSettings(first, audit: [event]) } catch StoreError.conflict {}  // another node was faster
    }
    throw StoreError.unavailable("the settings of federation cannot be read")
  }
}
