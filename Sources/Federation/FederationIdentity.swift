import Bytes
import Synchronization
import WSFederation

/// The identity provider's own names, the same for every request.
package final class FederationIdentity: Sendable {
  /// Where requests are received: single sign-on and logout.
  package let signOnURL: String
  /// Where LogoutRequests are received over the back channel.
  package let logoutSOAPURL: String
  package let metadataURL: String
  /// The metadata of WS-Federation, where AD FS has it.
  package let federationMetadataURL: String
  package let metadataExchangeURL: String
  package let changePasswordURL: String
  private let publicURL: String
  private let current: Mutex<Current>

  private struct Current: Sendable {
    var settings: FederationSettings
    /// Read once: every token may ask.
    var corporate: [AddressRange]
    var trust: [TrustEndpoint: [AddressRange]]

    init(_ settings: FederationSettings) {
      self.settings = settings
      corporate = settings.corporateNetworks.compactMap { AddressRange($0) }
      trust = Dictionary(
        settings.trustEndpoints.map { ($0.endpoint, $0.networks.compactMap { AddressRange($0) }) }, uniquingKeysWith: { first, _ in first })
    }
  }

  /// - Parameter publicURL: without a slash at its end.
  package init(publicURL: String, settings: FederationSettings) {
    self.publicURL = publicURL
    signOnURL = publicURL + "/adfs/ls/"
    logoutSOAPURL = publicURL + "/saml/logout"
    metadataURL = publicURL + "/saml/metadata"
    federationMetadataURL = publicURL + "/FederationMetadata/2007-06/FederationMetadata.xml"
    metadataExchangeURL = publicURL + "/adfs/services/trust/mex"
    changePasswordURL = publicURL + "/change-password"
    current = Mutex(Current(settings))
  }

  package var settings: FederationSettings { current.withLock { $0.settings } }
  package var entityID: String { current.withLock { $0.settings.entityID } }
  package func adopt(_ settings: FederationSettings) { current.withLock { $0 = Current(settings) } }

  package func url(of endpoint: TrustEndpoint) -> String { "\(publicURL)/adfs/services/trust/\(endpoint.rawValue)" }

  /// The WS-Trust endpoints that are on, with their URLs.
  package var trustEndpoints: [(TrustEndpoint, String)] {
    let on = current.withLock { $0.trust }
    return TrustEndpoint.allCases.filter { on[$0] != nil }.map { ($0, url(of: $0)) }
  }

  /// Whether an endpoint is on for whoever asks from `address`. Where it is on for some networks only, nobody of unknown address may ask.
  package func isOn(_ endpoint: TrustEndpoint, for address: IPAddress?) -> Bool {
    guard let networks = current.withLock({ $0.trust[endpoint] }) else { return false }
    return FederationIdentity.holds(networks, address)
  }

  /// Whether an address is in one of the organisation's own networks.
  package func isInside(_ address: IPAddress?) -> Bool {
    let networks = current.withLock { $0.corporate }
    return !networks.isEmpty && FederationIdentity.holds(networks, address)
  }

  static func holds(_ networks: [AddressRange], _ address: IPAddress?) -> Bool {
    guard !networks.isEmpty else { return true }
    guard let address else { return false }
    return networks.contains { $0.contains(address) }
  }
}
