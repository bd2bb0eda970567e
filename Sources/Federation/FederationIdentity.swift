import Synchronization

/// The identity provider's own names, the same for every request.
package final class FederationIdentity: Sendable {
  /// Where requests are received: single sign-on and logout.
  package let signOnURL: String
  /// Where LogoutRequests are received over the back channel.
  package let logoutSOAPURL: String
  package let metadataURL: String
  private let current: Mutex<FederationSettings>

  /// - Parameter publicURL: without a slash at its end.
  package init(publicURL: String, settings: FederationSettings) {
    signOnURL = publicURL + "/adfs/ls/"
    logoutSOAPURL = publicURL + "/saml/logout"
    metadataURL = publicURL + "/saml/metadata"
    current = Mutex(settings)
  }

  package var settings: FederationSettings { current.withLock { $0 } }
  package var entityID: String { settings.entityID }
  package func adopt(_ settings: FederationSettings) { current.withLock { $0 = settings } }
}
