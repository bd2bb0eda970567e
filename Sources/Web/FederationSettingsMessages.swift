import Foundation

// The messages of the admin API that concern the identity provider itself.

/// Who this identity provider is, and where it is reached.
package struct FederationMessage: Codable, Sendable {
  package struct Endpoint: Codable, Sendable {
    /// Below /adfs/services/trust/.
    package var endpoint: String
    package var url: String
    package var isOn: Bool
    /// From where it may be asked; empty: from everywhere.
    package var networks: [String]
  }
  package var entityId: String
  package var signOnUrl: String
  package var metadataUrl: String
  package var federationMetadataUrl: String
  package var metadataExchangeUrl: String
  package var trustEndpoints: [Endpoint]
  package var corporateNetworks: [String]
  package var relyingParties: Int
}

/// To change that; what is nil stays.
package struct FederationChange: Codable, Sendable {
  package struct Enabled: Codable, Sendable {
    package var endpoint: String
    package var networks: [String]?
    package init(endpoint: String, networks: [String]?) {
      self.endpoint = endpoint
      self.networks = networks
    }
  }
  package var entityId: String?
  /// Although relying parties are registered, which know the present entityID.
  package var force: Bool?
  package var enable: Enabled?
  package var disable: String?
  package var corporateNetworks: [String]?

  package init(
    entityId: String? = nil, force: Bool? = nil, enable: Enabled? = nil, disable: String? = nil, corporateNetworks: [String]? = nil
  ) {
    self.entityId = entityId
    self.force = force
    self.enable = enable
    self.disable = disable
    self.corporateNetworks = corporateNetworks
  }
}

/// To register Entra, or more domains of it.
package struct EntraTrustRequest: Codable, Sendable {
  package var domains: [String]
  package var name: String?
  /// The attribute that people of an alternate login ID sign in with.
  package var alternateId: String?
  package init(domains: [String], name: String? = nil, alternateId: String? = nil) {
    self.domains = domains
    self.name = name
    self.alternateId = alternateId
  }
}
