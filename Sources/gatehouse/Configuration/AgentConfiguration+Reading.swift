import Bytes
import Identity

extension AgentConfiguration {
  /// Reads an agent's file.
  ///
  /// Throws `ConfigurationError` with every problem of the file at once.
  init(_ raw: RawConfiguration) throws {
    let findings = ConfigurationFindings()
    guard let configuration = AgentConfiguration.read(raw, findings: findings), findings.problems.isEmpty else {
      throw ConfigurationError(file: raw.file, problems: findings.problems)
    }
    self = configuration
  }

  /// Nil where a required key is missing or wrong; `findings` then says so.
  static func read(_ raw: RawConfiguration, findings: ConfigurationFindings) -> AgentConfiguration? {
    let root = ConfigurationSection(root: raw, findings: findings)
    let dataDirectory = root.value("dataDirectory", .path(from: raw.directory), default: "/var/lib/gatehouse-agent")
    let name = root.optional("name", .name)
    let gateways = root.list("gateways", .httpsURL, upTo: 32, default: [])
    let proxy = root.optional("proxy", .proxy)
    let sections = root.sections("realms", upTo: 64)
    if !root.has("realms") {
      root.note("realms", "The key is missing", remedy: "Describe at least one realm and the directory that knows its people")
    }
    let realms = sections.map { RealmDirectoryConfiguration.read($0, directory: raw.directory) }
    for (index, realm) in realms.enumerated() {
      guard let realm, realms[..<index].contains(where: { $0?.realm == realm.realm }) else { continue }
      sections[index].note("realm", "The realm \(quoted(realm.realm.text)) stands in the file twice", remedy: "Keep one of its sections")
    }
    let polls = root.value("polls", .integer(1...16), default: 2)
    let log = LogConfiguration(root.section("log"))
    let grace = readShutdownGrace(root.section("shutdown"))
    root.finish()
    let complete = realms.compactMap { $0 }
    guard !complete.isEmpty, complete.count == realms.count else { return nil }
    return AgentConfiguration(
      dataDirectory: dataDirectory, name: name, gateways: gateways, proxy: proxy, realms: complete, polls: polls, log: log, shutdownGrace: grace)
  }
}

extension RealmDirectoryConfiguration {
  fileprivate static func read(_ section: ConfigurationSection, directory: String) -> RealmDirectoryConfiguration? {
    let realm = section.required("realm", .realm, remedy: "Write the name under which the gateway knows the realm")
    let kind = section.value("kind", .choice, default: RealmDirectoryKind.activeDirectory)
    let transport = section.value("transport", .choice, default: DirectoryTransport.ldaps)
    let caFile = section.value("caFile", .path(from: directory), default: "/etc/ssl/certs/ca-certificates.crt")
    let loginAttributes = section.list("loginAttributes", .attribute, upTo: 8, default: standardLoginAttributes(kind))
    let personFilter = section.optional("personFilter", .filter)
    let domains: [DirectoryDomainConfiguration?]
    if section.has("domains") {
      domains = section.sections("domains", upTo: 64).map { DirectoryDomainConfiguration.read($0) }
      section.know(DirectoryDomainConfiguration.ownKeys)
      for key in DirectoryDomainConfiguration.ownKeys where section.has(key) {
        section.note(key, "The realm has `domains`, to each of which this belongs", remedy: "Write the key into the domain's section")
      }
    } else {
      section.know(["domains"])
      domains = [DirectoryDomainConfiguration.readOnly(section, realm: realm)]
    }
    let catalogSection = section.section("globalCatalog")
    let globalCatalog = DirectoryServers.read(catalogSection, required: catalogSection.isPresent)
    catalogSection.finish()
    if kind == .openLDAP {
      for key in ["domains", "globalCatalog"] where section.has(key) {
        section.note(key, "OpenLDAP knows no forests", remedy: "Remove the key, or set `kind: activeDirectory`")
      }
    }
    let service = ServiceCredentialConfiguration.read(section.section("service"), directory: directory)
    let pools = section.section("pools")
    let search = pools.value("search", .integer(1...64), default: 8)
    let bind = pools.value("bind", .integer(1...256), default: 8)
    pools.finish()
    let timeouts = section.section("timeouts")
    let connect = timeouts.value("connect", .duration(.milliseconds(100) ... .seconds(30)), default: .seconds(1))
    let operation = timeouts.value("operation", .duration(.milliseconds(100) ... .seconds(30)), default: .seconds(5))
    timeouts.finish()
    section.finish()

    let complete = domains.compactMap { $0 }
    guard let realm, let service, !complete.isEmpty, complete.count == domains.count else { return nil }
    return RealmDirectoryConfiguration(
      realm: realm, kind: kind, transport: transport, caFile: caFile, domains: complete, globalCatalog: globalCatalog,
      loginAttributes: loginAttributes, personFilter: personFilter, service: service, searchConnections: search, bindConnections: bind,
      connectTimeout: connect, operationTimeout: operation)
  }

  private static func standardLoginAttributes(_ kind: RealmDirectoryKind) -> [String] {
    switch kind {
    case .activeDirectory: ["userPrincipalName", "sAMAccountName", "mail"]
    case .openLDAP: ["uid", "mail"]
    }
  }
}

extension DirectoryDomainConfiguration {
  /// The keys of a domain that stand in the realm's own section where the realm is one domain.
  fileprivate static let ownKeys = ["servers", "srvDomain", "site", "fallbackServers", "netBIOSName", "searchBases"]

  /// One of the realm's `domains`. Without servers of its own it is found by its SRV records.
  fileprivate static func read(_ section: ConfigurationSection) -> DirectoryDomainConfiguration? {
    let name = section.required("name", .dnsName, remedy: "Write the domain's DNS name, `emea.contoso.com`")
    let netBIOSName = section.optional("netBIOSName", .netBIOSName)
    let searchBases = section.list("searchBases", .distinguishedName, upTo: 16, default: name.map { [distinguishedName(of: $0)] } ?? [])
    let servers = DirectoryServers.read(section, required: false)
    section.finish()
    guard let name else { return nil }
    return DirectoryDomainConfiguration(
      name: name, netBIOSName: netBIOSName, searchBases: searchBases, servers: servers ?? .srv(domain: name, site: nil))
  }

  /// The realm's only domain, described in the realm's own section.
  fileprivate static func readOnly(_ section: ConfigurationSection, realm: RealmName?) -> DirectoryDomainConfiguration? {
    let netBIOSName = section.optional("netBIOSName", .netBIOSName)
    let given = section.list("searchBases", .distinguishedName, upTo: 16, default: [])
    let servers = DirectoryServers.read(section, required: true)
    var searchBases = given
    if case .srv(let domain, _, _) = servers, !section.has("searchBases") { searchBases = [distinguishedName(of: domain)] }
    if searchBases.isEmpty, !section.has("searchBases") {
      section.note("searchBases", "The key is missing", remedy: "List the distinguished names under which people are, `[\"DC=contoso,DC=com\"]`")
    }
    guard let servers, let first = searchBases.first, let realm else { return nil }
    return DirectoryDomainConfiguration(
      name: dnsName(of: first) ?? realm.text, netBIOSName: netBIOSName, searchBases: searchBases, servers: servers)
  }

  /// `corp.contoso.com` → `DC=corp,DC=contoso,DC=com`.
  private static func distinguishedName(of dnsName: String) -> String {
    dnsName.split(separator: ".").map { "DC=\($0)" }.joined(separator: ",")
  }

  /// The DNS name that the `DC=` parts of a distinguished name spell; nil where it has none.
  private static func dnsName(of distinguishedName: String) -> String? {
    let labels = distinguishedName.utf8.split(separator: UInt8(ascii: ",")).compactMap { part -> String? in
      let text = asciiLowercased(String(decoding: part.drop { $0 == 0x20 }, as: UTF8.self))
      return text.utf8.starts(with: "dc=".utf8) ? String(decoding: text.utf8.dropFirst(3), as: UTF8.self) : nil
    }
    let name = labels.joined(separator: ".")
    return isDNSName(name) ? name : nil
  }
}

extension DirectoryServers {
  /// Reads `servers` or `srvDomain` with its `site`; exactly one where `required`, at most one otherwise.
  fileprivate static func read(_ section: ConfigurationSection, required: Bool) -> DirectoryServers? {
    let servers = section.list("servers", .server, upTo: 32, default: [])
    let domain = section.optional("srvDomain", .dnsName)
    let site = section.optional("site", .name)
    if section.has("site"), !section.has("srvDomain") {
      section.note("site", "A site without `srvDomain` has no effect", remedy: "Give `srvDomain`, or leave the site out")
    }
    let fallback = section.list("fallbackServers", .server, upTo: 32, default: [])
    if section.has("fallbackServers"), !section.has("srvDomain") {
      section.note(
        "fallbackServers", "Fallback servers without `srvDomain` have no effect", remedy: "Give `srvDomain`, or name the servers under `servers`")
    }
    switch (section.has("servers"), section.has("srvDomain")) {
    case (true, true):
      section.note(
        "srvDomain", "Both `servers` and `srvDomain` are given", remedy: "Keep `servers` for a fixed list or `srvDomain` for DNS SRV records")
      return nil
    case (false, false) where required:
      section.note(
        "servers", "Neither `servers` nor `srvDomain` is given", remedy: "List the directory's servers, or name the DNS domain with their SRV records"
      )
      return nil
    case (true, false): return servers.isEmpty ? nil : .fixed(servers)
    default: return domain.map { .srv(domain: $0, site: site, fallback: fallback) }
    }
  }
}

extension ServiceCredentialConfiguration {
  fileprivate static func read(_ section: ConfigurationSection, directory: String) -> ServiceCredentialConfiguration? {
    let bindName = section.optional("bindName", .text)
    let passwordFile = section.optional("passwordFile", .path(from: directory))
    let principal = section.optional("principal", .text)
    let keytab = section.optional("keytab", .path(from: directory))
    section.finish()
    let given = ["bindName", "passwordFile", "principal", "keytab"].filter(section.has)
    switch given {
    case ["bindName", "passwordFile"]:
      guard let bindName, let passwordFile else { return nil }
      return .passwordFile(bindName: bindName, file: passwordFile)
    case ["principal", "keytab"]:
      guard let principal, let keytab else { return nil }
      return .keytab(principal: principal, file: keytab)
    default:
      section.findings.note(
        section.path, line: section.line,
        given.isEmpty ? "The service account is missing" : "The service account is described by \(given.joined(separator: ", "))",
        remedy: "Give `bindName` and `passwordFile`, or `principal` and `keytab`")
      return nil
    }
  }
}
