import Bytes
import Identity
import Logging

/// What an agent needs to start: who it is, and how it reaches the directories of its realms.
///
/// `deploy/config/agent.yaml` explains each key.
struct AgentConfiguration: Sendable, Equatable {
  /// Holds the agent's identity (keys and certificate, mode 0600); absolute.
  var dataDirectory: String
  /// The name it proposes at enrolment; nil lets the token or the host's name decide.
  var name: String?
  /// The gateways' mutual-TLS addresses; empty means those that enrolment and the gateways themselves told.
  var gateways: [HTTPSURL]
  /// An HTTP proxy that takes CONNECT, for hosts without a way out of their own.
  var proxy: HTTPProxy?
  var realms: [RealmDirectoryConfiguration]
  /// Long polls kept open to each gateway.
  var polls: Int
  var log: LogConfiguration
  var shutdownGrace: Duration
}

/// How to reach the directory of one realm.
struct RealmDirectoryConfiguration: Sendable, Equatable {
  var realm: RealmName
  var kind: RealmDirectoryKind
  var transport: DirectoryTransport
  /// PEM bundle of the CAs that may vouch for a directory server; absolute.
  var caFile: String
  /// The domains whose people belong to the realm; at least one.
  var domains: [DirectoryDomainConfiguration]
  /// Finds people of all `domains`; nil where each domain is asked by itself.
  var globalCatalog: DirectoryServers?
  /// The attributes that a typed name is looked for in, in this order.
  var loginAttributes: [String]
  /// Which entries are people, as LDAP filter text; nil means the kind's own.
  var personFilter: String?
  var service: ServiceCredentialConfiguration
  var searchConnections: Int
  var bindConnections: Int
  var connectTimeout: Duration
  var operationTimeout: Duration
}

/// What kind of directory answers.
enum RealmDirectoryKind: String, Sendable, CaseIterable {
  case activeDirectory, openLDAP
}

/// How TLS comes about; there is no way without it.
enum DirectoryTransport: String, Sendable, CaseIterable {
  case ldaps, startTLS
}

/// Where servers come from.
enum DirectoryServers: Sendable, Equatable {
  /// Equals; the load spreads over them.
  case fixed([ServerAddress])
  /// By the SRV records of this DNS domain; those of the AD site first, where one is given. The fallback is asked where DNS tells nobody.
  case srv(domain: String, site: String?, fallback: [ServerAddress] = [])
}

/// One domain: where its people are, and who answers for it.
struct DirectoryDomainConfiguration: Sendable, Equatable {
  /// The DNS name, `emea.contoso.com`, lower case.
  var name: String
  /// The name before the backslash, `EMEA`; nil where nobody types it.
  var netBIOSName: String?
  /// Distinguished names under which people are searched; at least one.
  var searchBases: [String]
  var servers: DirectoryServers
}

/// Who the agent is before the directory.
enum ServiceCredentialConfiguration: Sendable, Equatable {
  /// Simple bind: a DN or UPN, and the file whose first line is the password.
  case passwordFile(bindName: String, file: String)
  /// Kerberos: the principal and its keytab.
  case keytab(principal: String, file: String)
}

/// An HTTP proxy without a login of its own.
struct HTTPProxy: Sendable, Equatable {
  var host: String
  var port: Int
}
