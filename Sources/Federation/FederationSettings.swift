import Bytes
import Identity

/// Who this identity provider is for its relying parties. Set once: every relying party knows it by this name.
package struct FederationSettings: Sendable, Equatable, Codable {
  /// 1…1,024 bytes of ASCII without white space.
  package var entityID: String
  package var version: Int64

  package init(entityID: String, version: Int64 = 0) {
    self.entityID = entityID
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
}

/// The settings as the store keeps them.
package protocol FederationSettingsStore: Sendable {
  /// Nil before they were first put.
  func federationSettings() async throws -> FederationSettings?
  /// Compare-and-swap on `settings.version` (0: there are none yet).
  func putFederationSettings(_ settings: FederationSettings, audit: [AuditEvent]) async throws
}
