import ActiveDirectory
import Bytes
import Foundation
import Identity
import KeyStore
import NIOSSL
import Web

// From the words of the configuration files to the settings of the doors.

extension GatewayConfiguration {
  /// What must stay true though the store is put back to an older state.
  var journalFile: String { dataDirectory + "/revocations.journal" }
}

extension AgentConfiguration {
  /// Where the agent's keys and certificate are kept.
  var identityFile: String { dataDirectory + "/identity.json" }
}

extension RealmDirectoryConfiguration {
  var directorySettings: DirectorySettings {
    let credential: ServiceCredential =
      switch service {
      case .passwordFile(let bindName, let file): .passwordFile(bindName: bindName, path: file)
      case .keytab(let principal, let file): .keytab(principal: principal, path: file)
      }
    // Each search base of a domain is looked through by itself; a person found under two of them is ambiguous, which nobody is signed in by.
    let partitions = domains.flatMap { domain in
      domain.searchBases.map {
        DirectoryDomain(dnsName: domain.name, netbiosName: domain.netBIOSName, searchBase: $0, servers: domain.servers.doorSource)
      }
    }
    return DirectorySettings(
      realm: realm, kind: kind == .activeDirectory ? .activeDirectory : .openLDAP, domains: partitions,
      globalCatalog: globalCatalog?.globalCatalogSource, security: transport == .ldaps ? .ldaps : .startTLS, authorityFile: caFile,
      credential: credential, loginAttributes: loginAttributes, personFilter: personFilter,
      timeouts: DirectoryTimeouts(connect: connectTimeout, operation: operationTimeout), searchConnections: searchConnections,
      bindConnections: bindConnections)
  }
}

extension DirectoryServers {
  var doorSource: ServerSource {
    switch self {
    case .fixed(let servers): .list(servers.map(\.doorServer))
    case .srv(let domain, let site, let fallback): .serviceRecords(domain: domain, site: site, fallback: fallback.map(\.doorServer))
    }
  }

  var globalCatalogSource: ServerSource {
    switch self {
    case .fixed: doorSource
    case .srv(let domain, _, let fallback): .globalCatalogRecords(forest: domain, fallback: fallback.map(\.doorServer))
    }
  }
}

extension ServerAddress {
  var doorServer: DirectoryServer { DirectoryServer(host: host, port: port, address: address) }
}

extension SigningTokenConfiguration {
  var tokenSettings: HardwareToken.Settings { HardwareToken.Settings(module: module, token: token, pinFile: pinFile) }
}

extension LimitsConfiguration {
  var listener: ListenerLimits {
    var limits = ListenerLimits()
    limits.headerBlock = headerBlock
    limits.body = body
    limits.readTimeout = readTimeout
    limits.idleTimeout = idleTimeout
    limits.connections = connections
    limits.connectionsPerAddress = connectionsPerAddress
    return limits
  }
}

extension TLSVersion {
  var nio: NIOSSL.TLSVersion {
    switch self {
    case .tls12: .tlsv12
    case .tls13: .tlsv13
    }
  }
}
