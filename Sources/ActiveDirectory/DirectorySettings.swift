import Bytes
import Identity

/// What kind of directory it is; it decides the default attributes and how results are read.
package enum DirectoryKind: String, Sendable, CaseIterable, Codable {
  case activeDirectory = "active-directory"
  case openLDAP = "openldap"
}

/// How the people of one realm are looked up and bound. Immutable; a changed configuration makes a new validator.
package struct DirectorySettings: Sendable {
  package var realm: RealmName
  package var kind: DirectoryKind
  /// The domains of the forest that the realm covers, at least one; OpenLDAP has exactly one.
  package var domains: [DirectoryDomain]
  /// Where people are looked up when there are several domains; nil: each domain is asked.
  package var globalCatalog: ServerSource?
  package var security: TransportSecurity
  /// PEM file with the certificate authorities that may vouch for the servers; nil: the system's.
  package var authorityFile: String?
  package var credential: ServiceCredential
  /// Which attributes a typed name may stand in, in order of precedence.
  package var loginAttributes: [String]
  /// Which entries are people, as filter text; trusted, since it comes from the configuration.
  package var personFilter: String
  package var timeouts: DirectoryTimeouts
  /// How many are in use at once, per server.
  package var searchConnections: Int
  /// How many are in use at once, per server; one bind is outstanding on each.
  package var bindConnections: Int
  /// How many questions may wait for their turn; further ones are answered `.unknown(.overloaded)`.
  package var maximumWaiting: Int

  /// Sensible defaults for everything that is not given.
  package init(
    realm: RealmName, kind: DirectoryKind = .activeDirectory, domains: [DirectoryDomain], globalCatalog: ServerSource? = nil,
    security: TransportSecurity = .ldaps, authorityFile: String? = nil, credential: ServiceCredential, loginAttributes: [String]? = nil,
    personFilter: String? = nil, timeouts: DirectoryTimeouts = DirectoryTimeouts(), searchConnections: Int = 8, bindConnections: Int = 8,
    maximumWaiting: Int = 1000
  ) {
    self.realm = realm
    self.kind = kind
    self.domains = domains
    self.globalCatalog = globalCatalog
    self.security = security
    self.authorityFile = authorityFile
    self.credential = credential
    self.loginAttributes = loginAttributes ?? DirectorySettings.defaultLoginAttributes(kind)
    self.personFilter = personFilter ?? DirectorySettings.defaultPersonFilter(kind)
    self.timeouts = timeouts
    self.searchConnections = max(1, searchConnections)
    self.bindConnections = max(1, bindConnections)
    self.maximumWaiting = max(0, maximumWaiting)
  }

  /// How many servers the domains have together, as far as the configuration says; where DNS says, four are assumed for each domain.
  var serverCount: Int {
    var sources: [ServerSource] = []
    for domain in domains where !sources.contains(domain.servers) { sources.append(domain.servers) }
    return sources.reduce(0) { count, source in
      if case .list(let servers) = source { return count + servers.count }
      return count + 4
    }
  }

  package static func defaultLoginAttributes(_ kind: DirectoryKind) -> [String] {
    switch kind {
    case .activeDirectory: ["userPrincipalName", "sAMAccountName", "mail"]
    case .openLDAP: ["uid", "mail"]
    }
  }

  package static func defaultPersonFilter(_ kind: DirectoryKind) -> String {
    switch kind {
    // Indexed, and without computers (objectClass user, but another category) and contacts (the category, but no users).
    case .activeDirectory: "(&(objectCategory=person)(objectClass=user))"
    case .openLDAP: "(objectClass=person)"
    }
  }
}

/// One domain, or one of several search bases in it: where people are, and who answers for them.
package struct DirectoryDomain: Sendable, Equatable {
  /// The DNS name, lower case: `corp.contoso.com`.
  package var dnsName: String
  /// The NetBIOS name, lower case, for `CONTOSO\alice`; nil where nobody types such names.
  package var netbiosName: String?
  /// The distinguished name under which people are searched.
  package var searchBase: String
  package var servers: ServerSource

  /// - Parameter searchBase: nil makes it of the DNS name: `corp.contoso.com` → `DC=corp,DC=contoso,DC=com`.
  package init(dnsName: String, netbiosName: String? = nil, searchBase: String? = nil, servers: ServerSource) {
    self.dnsName = asciiLowercased(dnsName)
    self.netbiosName = netbiosName.map(asciiLowercased)
    self.searchBase = searchBase ?? DirectoryDomain.distinguishedName(ofDNSName: dnsName)
    self.servers = servers
  }

  /// The distinguished name of the domain itself, above all of its search bases.
  var distinguishedName: String { DirectoryDomain.distinguishedName(ofDNSName: dnsName) }

  package static func distinguishedName(ofDNSName name: String) -> String {
    name.utf8.split(separator: UInt8(ascii: ".")).map { "DC=" + String(decoding: $0, as: UTF8.self) }.joined(separator: ",")
  }
}

/// Who answers for a domain.
package enum ServerSource: Sendable, Equatable {
  /// Equals: the load spreads over them by how soon they answer. The order decides only while nothing is known of them.
  case list([DirectoryServer])
  /// By DNS: `_ldap._tcp.<site>._sites.dc._msdcs.<domain>` where a site is given, before the others of `_ldap._tcp.dc._msdcs.<domain>` or, where
  /// there are none, of `_ldap._tcp.<domain>`. `fallback` is asked where DNS tells nobody.
  case serviceRecords(domain: String, site: String?, fallback: [DirectoryServer] = [])
  /// By DNS: `_gc._tcp.<forest>`; `fallback` as above.
  case globalCatalogRecords(forest: String, fallback: [DirectoryServer] = [])
}

/// A directory server.
package struct DirectoryServer: Sendable, Hashable, CustomStringConvertible {
  /// The name (or IP address) that its certificate must bear.
  package var host: String
  /// Nil: the port that belongs to the transport (636, 389; 3269, 3268 for a global catalog).
  package var port: Int?
  /// An IP address to connect to in place of what DNS says of `host`.
  package var address: String?

  package init(host: String, port: Int? = nil, address: String? = nil) {
    self.host = host
    self.port = port
    self.address = address
  }

  package var description: String { port.map { "\(host):\($0)" } ?? host }
}

/// How the connection is protected before a password goes over it. There is no "not at all".
package enum TransportSecurity: String, Sendable, CaseIterable, Codable {
  case ldaps
  case startTLS = "starttls"
}

/// What Gatehouse searches with.
package enum ServiceCredential: Sendable, Equatable {
  /// A simple bind: a DN (or, in AD, a UPN or `DOMAIN\name`) and a file with the password, read anew when it changes. One line end is ignored.
  case passwordFile(bindName: String, path: String)
  /// Kerberos with a keytab: `svc-gatehouse@CONTOSO.COM`. Searches then go over port 389, signed and sealed by Kerberos.
  case keytab(principal: String, path: String)
}

/// How long things may take, each within the deadline of the question.
package struct DirectoryTimeouts: Sendable, Equatable {
  /// TCP and TLS, per server.
  package var connect: Duration
  /// The same and the service account's log-on, while others can be asked in the server's place.
  package var quickConnect: Duration
  /// A search or bind, per server.
  package var operation: Duration
  /// How long an unused connection is kept; AD ends it after 15 minutes by itself.
  package var idle: Duration
  /// How long a refused service credential rests before it is tried again.
  package var credentialRest: Duration

  package init(
    connect: Duration = .seconds(3), quickConnect: Duration = .seconds(1), operation: Duration = .seconds(5), idle: Duration = .seconds(300),
    credentialRest: Duration = .seconds(300)
  ) {
    self.connect = connect
    self.quickConnect = min(connect, quickConnect)
    self.operation = operation
    self.idle = idle
    self.credentialRest = credentialRest
  }
}
