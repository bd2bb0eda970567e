import Federation
import Identity
import SignIn

/// The rooms, ports and settings that the routes of federation need; filled in by the house's assembly.
package struct SignOnServices: Sendable {
  package var signOn: SignOnService
  package var logout: LogoutService
  package var metadata: MetadataService
  package var parties: RelyingPartyDirectory
  package var partyStore: any RelyingPartyStore
  package var settingsStore: any FederationSettingsStore
  package var identity: FederationIdentity
  package var keys: TokenSigningKeys
  package var rollover: RolloverService
  package var probes: ProbeService
  package var sessions: SessionDesk
  package var seal: TransactionSeal
  package var branding: PageBranding
  /// Describes somebody by name without a password, for `gatehouse rp preview`.
  package var preview: @Sendable (RelyingParty, UserName, Realm) async throws -> [UInt8]

  package init(
    signOn: SignOnService, logout: LogoutService, metadata: MetadataService, parties: RelyingPartyDirectory, partyStore: any RelyingPartyStore,
    settingsStore: any FederationSettingsStore, identity: FederationIdentity, keys: TokenSigningKeys, rollover: RolloverService,
    probes: ProbeService, sessions: SessionDesk, seal: TransactionSeal, branding: PageBranding,
    preview: @escaping @Sendable (RelyingParty, UserName, Realm) async throws -> [UInt8]
  ) {
    self.signOn = signOn
    self.logout = logout
    self.metadata = metadata
    self.parties = parties
    self.partyStore = partyStore
    self.settingsStore = settingsStore
    self.identity = identity
    self.keys = keys
    self.rollover = rollover
    self.probes = probes
    self.sessions = sessions
    self.seal = seal
    self.branding = branding
    self.preview = preview
  }
}
