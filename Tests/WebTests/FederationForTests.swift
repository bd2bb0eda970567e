import Bytes
import Federation
import GatehouseTesting
import Identity
import Logging
import SignIn
import Web

extension SignOnServices {
  /// The federation side over a store in memory, of which nobody fetches anything.
  static func forTests(store: InMemoryStore, publicURL: String, now: @escaping @Sendable () -> Instant, logger: Logger) async throws -> SignOnServices
  {
    let identity = FederationIdentity(publicURL: publicURL, settings: FederationSettings(entityID: publicURL + "/saml/metadata"))
    try await MadeKeys.shared.put(into: store, now: now)
    let keys = try await TokenSigningKeys.load(store: store, protector: OpenProtector(), host: "localhost", now: now)
    let parties = RelyingPartyDirectory(store: store)
    let outside = NobodyOutside()
    let signOn = SignOnService(
      parties: parties, keys: keys, store: store, audit: store, identity: identity, domain: { _ in "contoso" }, describe: { _, _ in nil }, now: now,
      logger: logger)
    let rollover = RolloverService(
      keys: keys, parties: parties, ledger: ReadinessLedger(store: store), audit: store, sessions: store, newest: nil, now: now,
      steady: { now().since(Instant(milliseconds: 0)) }, logger: logger)
    let probes = ProbeService(
      signOn: signOn, rollover: rollover, browser: outside, describe: { _, _ in throw MetadataProblem("nobody is described") }, now: now,
      logger: logger)
    return SignOnServices(
      signOn: signOn,
      logout: LogoutService(
        parties: parties, keys: keys, store: store, sessions: store, audit: store, identity: identity, backChannel: outside, now: now, logger: logger),
      metadata: MetadataService(
        parties: parties, partyStore: store, keys: keys, identity: identity, fetcher: outside, displayName: "Contoso", contactMail: nil, now: now,
        logger: logger),
      parties: parties, partyStore: store, settingsStore: store, identity: identity, keys: keys,
      rollover: rollover, probes: probes, sessions: SessionDesk(store: store, policy: SessionPolicy()),
      seal: TransactionSeal(protector: OpenProtector()), branding: PageBranding(),
      preview: { _, _, _ in throw StoreError.notFound("nobody is described here") })
  }
}

/// A world that does not answer.
private struct NobodyOutside: MetadataFetcher, BackChannel, ProbeBrowser {
  func exchange(_ request: ProbeExchange, timeout: Duration) async throws -> ProbeExchange.Answer { throw MetadataProblem("nobody answers") }
  func fetch(_ url: String, limit: Int, timeout: Duration) async throws -> [UInt8] { throw MetadataProblem("nobody answers") }
  func post(soap envelope: [UInt8], to url: String, timeout: Duration) async throws -> [UInt8] { throw MetadataProblem("nobody answers") }
}

/// Keys that are made once for all gateways of the tests: RSA keys take as long as many tests.
private actor MadeKeys {
  static let shared = MadeKeys()
  private var document: ProtectedDocument?

  func put(into store: InMemoryStore, now: @escaping @Sendable () -> Instant) async throws {
    if document == nil {
      let first = InMemoryStore()
      _ = try await TokenSigningKeys.load(store: first, protector: OpenProtector(), host: "localhost", now: now)
      document = try await first.document("token-signing-keys")
    }
    guard var copy = document else { return }
    copy.version = 0
    try await store.putDocument(copy, audit: [])
  }
}
