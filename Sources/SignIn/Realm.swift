import Bytes
import Identity

/// The people of one directory and the method by which they sign in.
package struct Realm: Sendable, Equatable {
  package var name: RealmName
  /// UPN suffixes (`contoso.com`) and NetBIOS domain names (`contoso`) that lead here, lower case; each leads to one realm only.
  package var suffixes: [String]
  /// Whether names without suffix and prefix lead here. At most one realm has it.
  package var isDefault: Bool
  package var method: SignInMethod
  /// Shown by realm discovery; nil means the name.
  package var displayName: String?
  /// The realm's own lockout; nil: the gateway's default.
  package var lockout: LockoutPolicy?
  /// Whether realm discovery sends people to this identity provider's own pages and WS-Trust endpoints, as it does for a federated domain.
  package var isFederated: Bool
  package var version: Int64

  package init(
    name: RealmName, suffixes: [String], isDefault: Bool = false, method: SignInMethod = .passThrough, displayName: String? = nil,
    lockout: LockoutPolicy? = nil, isFederated: Bool = false, version: Int64 = 0
  ) {
    self.name = name
    self.suffixes = suffixes
    self.isDefault = isDefault
    self.method = method
    self.displayName = displayName
    self.lockout = lockout
    self.isFederated = isFederated
    self.version = version
  }
}

/// How the people of a realm are validated.
package enum SignInMethod: String, Sendable, CaseIterable, Codable {
  case passThrough = "pass-through"
}

/// The realms as the store keeps them.
package protocol RealmStore: Sendable {
  func realms() async throws -> [Realm]
  /// Throws `StoreError.conflict` where the name, a suffix, or the default mark is taken.
  func add(_ realm: Realm, audit: [AuditEvent]) async throws
  /// Compare-and-swap on `realm.version`.
  func update(_ realm: Realm, audit: [AuditEvent]) async throws
  func remove(realm: RealmName, audit: [AuditEvent]) async throws
}
