import Bytes
import Identity
import WSFederation

/// Who this identity provider is for its relying parties, and where it lets them ask.
package struct FederationSettings: Sendable, Equatable, Codable {
  /// 1…1,024 bytes of ASCII without white space. Set once: every relying party knows it by this name.
  package var entityID: String
  /// The WS-Trust endpoints that are on. None is at first: they take passwords past everything that protects a browser's sign-in.
  package var trustEndpoints: [TrustEndpointRule]
  /// Address ranges of the organisation's own networks, for the claim that says whether somebody is inside.
  package var corporateNetworks: [String]
  package var version: Int64

  package init(
    entityID: String, trustEndpoints: [TrustEndpointRule] = [], corporateNetworks: [String] = [], version: Int64 = 0
  ) {
    self.entityID = entityID
    self.trustEndpoints = trustEndpoints
    self.corporateNetworks = corporateNetworks
    self.version = version
  }

  /// What is wrong with an entityID in words, or nil (Core 8.3.6: a URI of at most 1,024 characters).
  package static func problem(_ entityID: String) -> String? {
    guard (1...1024).contains(entityID.utf8.count), entityID.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }), entityID.utf8.contains(UInt8(ascii: ":"))
    else {
      return
        "an entityID is a URI of at most 1024 ASCII characters, such as https://sts.contoso.com/saml/metadata or http://sts.contoso.com/adfs/services/trust"
    }
    return nil
  }

  /// What is wrong with a list of address ranges in words, or nil.
  package static func problem(networks: [String]) -> String? {
    guard networks.count <= 256 else { return "at most 256 networks" }
    guard let wrong = networks.first(where: { AddressRange($0) == nil }) else { return nil }
    return "\"\(wrong.prefix(64))\" is no address range; write it like 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32, with no bit set behind the prefix"
  }
}

/// A WS-Trust endpoint that is on.
package struct TrustEndpointRule: Sendable, Equatable, Codable {
  package var endpoint: TrustEndpoint
  /// From where it may be asked: address ranges; empty: from everywhere.
  package var networks: [String]

  package init(endpoint: TrustEndpoint, networks: [String] = []) {
    self.endpoint = endpoint
    self.networks = networks
  }
}

/// The settings as the store keeps them.
package protocol FederationSettingsStore: Sendable {
  /// Nil before they were first put.
  func federationSettings() async throws -> FederationSettings?
  /// Compare-and-swap on `settings.version` (0: there are none yet).
  func putFederationSettings(_ settings: FederationSettings, audit: [AuditEvent]) async throws
}
