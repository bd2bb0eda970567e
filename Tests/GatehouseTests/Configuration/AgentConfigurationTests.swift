import Identity
import Testing

@testable import gatehouse

@Suite("An agent's configuration")
struct AgentConfigurationTests {
  @Test("has a default for everything but realm, servers, search bases and service account")
  func defaults() throws {
    let configuration = try Samples.readAgent(Samples.agent)
    #expect(configuration.dataDirectory == "/var/lib/gatehouse-agent")
    #expect(configuration.name == nil)
    #expect(configuration.gateways.isEmpty)
    #expect(configuration.proxy == nil)
    #expect(configuration.polls == 2)
    let realm = try #require(configuration.realms.first)
    #expect(realm.realm == RealmName("contoso.com"))
    #expect(realm.kind == .activeDirectory)
    #expect(realm.transport == .ldaps)
    #expect(
      realm.domains == [
        DirectoryDomainConfiguration(
          name: "contoso.com", netBIOSName: nil, searchBases: ["DC=contoso,DC=com"], servers: .fixed([try #require(ServerAddress("dc1.contoso.com"))])
        )
      ])
    #expect(realm.loginAttributes == ["userPrincipalName", "sAMAccountName", "mail"])
    #expect(realm.service == .passwordFile(bindName: "gatehouse@contoso.com", file: "/etc/gatehouse/service-password"))
    #expect((realm.searchConnections, realm.bindConnections) == (8, 8))
    #expect((realm.connectTimeout, realm.operationTimeout) == (.seconds(1), .seconds(5)))
  }

  @Test("describes a forest by its domains and its global catalog")
  func forest() throws {
    let configuration = try Samples.readAgent(
      """
      name: agent1
      gateways: ["https://G1.contoso.com:8444/", "https://[2001:db8::1]"]
      proxy: http://proxy:3128
      realms:
        - realm: Contoso.com
          globalCatalog: {srvDomain: contoso.com}
          domains:
            - {name: emea.contoso.com, netBIOSName: EMEA}
            - {name: asia.contoso.com, servers: ["dc1.asia.contoso.com:1636"]}
          service: {principal: gatehouse@CONTOSO.COM, keytab: /k}
        - realm: people
          kind: openLDAP
          srvDomain: ldap.test
          fallbackServers: ["ldap1.ldap.test:1636@10.0.0.7", "[2001:db8::1]"]
          personFilter: "(&(objectClass=person)(!(title=robot)))"
          transport: startTLS
          searchBases: ["ou=people,dc=ldap,dc=test"]
          service: {bindName: "cn=gatehouse,dc=ldap,dc=test", passwordFile: /p}
          pools: {search: 1, bind: 2}
          timeouts: {connect: 250ms, operation: 3s}
      """)
    #expect(configuration.gateways.map(\.text) == ["https://g1.contoso.com:8444", "https://[2001:db8::1]"])
    #expect(configuration.proxy == HTTPProxy(host: "proxy", port: 3128))
    #expect(configuration.realms.count == 2)
    let forest = try #require(configuration.realms.first)
    #expect(forest.globalCatalog == .srv(domain: "contoso.com", site: nil))
    #expect(forest.domains.first?.servers == .srv(domain: "emea.contoso.com", site: nil), "a domain without servers is found by its SRV records")
    #expect(forest.domains.first?.searchBases == ["DC=emea,DC=contoso,DC=com"])
    #expect(forest.domains.map(\.netBIOSName) == ["EMEA", nil])
    #expect(forest.domains.last?.servers == .fixed([try #require(ServerAddress("dc1.asia.contoso.com:1636"))]))
    #expect(forest.service == .keytab(principal: "gatehouse@CONTOSO.COM", file: "/k"))
    let people = try #require(configuration.realms.last)
    #expect(people.loginAttributes == ["uid", "mail"])
    #expect(people.transport == .startTLS)
    #expect(people.domains.first?.name == "ldap.test")
    guard case .srv("ldap.test", nil, let fallback) = people.domains.first?.servers else {
      Issue.record("\(people.domains)")
      return
    }
    #expect(fallback.map(\.host) == ["ldap1.ldap.test", "2001:db8::1"])
    #expect(fallback.map(\.address) == ["10.0.0.7", nil] && fallback.map(\.port) == [1636, nil])
    for text in ["dc1@", "dc1@dc2", "dc1@10.0.0.7:636", "@10.0.0.7", "dc1:636@10.0.0.7@10.0.0.8"] { #expect(ServerAddress(text) == nil, "\(text)") }
    #expect(people.personFilter == "(&(objectClass=person)(!(title=robot)))")
    #expect(people.connectTimeout == .milliseconds(250))
  }

  static let mistakes: [GatewayConfigurationTests.Mistake] = [
    .init(
      name: "no realm", change: { _ in "name: a\n" },
      problems: ["realms: The key is missing. Describe at least one realm and the directory that knows its people."]),
    .init(
      name: "an empty list of realms", change: { _ in "realms: []\n" },
      problems: ["line 1: realms: A list of 1 to 64 sections is wanted. Begin each of them with `- ` and write its keys below."]),
    .init(
      name: "a realm that is no section", change: { _ in "realms: [contoso.com]\n" },
      problems: ["line 1: realms[0]: A section is wanted. Write its keys behind `- ` and below it."]),
    .init(
      name: "no servers", change: { $0.replacing("    servers: [dc1.contoso.com]\n", with: "") },
      problems: [
        "line 2: realms[0].servers: Neither `servers` nor `srvDomain` is given. List the directory's servers, or name the DNS domain with their SRV records."
      ]),
    .init(
      name: "servers twice", change: { $0.replacing("    servers:", with: "    srvDomain: contoso.com\n    servers:") },
      problems: [
        "line 3: realms[0].srvDomain: Both `servers` and `srvDomain` are given. Keep `servers` for a fixed list or `srvDomain` for DNS SRV records."
      ]),
    .init(
      name: "an LDAP address instead of a server", change: { $0.replacing("[dc1.contoso.com]", with: "[\"ldaps://dc1.contoso.com\"]") },
      problems: [
        "line 3: realms[0].servers[0]: `ldaps://dc1.contoso.com` does not fit. It must be a server, `dc1.contoso.com` or `dc1.contoso.com:636`, with `@10.0.0.7` behind it where DNS shall not be asked."
      ]),
    .init(
      name: "no TLS", change: { $0 + "    transport: plain\n" },
      problems: ["line 8: realms[0].transport: `plain` does not fit. It must be `ldaps` or `startTLS`."]),
    .init(
      name: "the password in the file", change: { $0.replacing("passwordFile: service-password", with: "password: hunter2") },
      problems: [
        "line 5: realms[0].service: The service account is described by bindName. Give `bindName` and `passwordFile`, or `principal` and `keytab`.",
        "line 7: realms[0].service.password: Secrets never stand in this file. Put the secret into a file of its own with mode 0600 and name that file, for a service account with `passwordFile`.",
      ]),
    .init(
      name: "no service account", change: { String($0.prefix(while: { $0 != "s" })) + "s:\n  - {realm: a, servers: [d], searchBases: [DC=a]}\n" },
      problems: [
        "line 2: realms[0].service: The service account is missing. Give `bindName` and `passwordFile`, or `principal` and `keytab`."
      ]),
    .init(
      name: "a realm twice", change: { $0 + "  - {realm: CONTOSO.com, servers: [d], searchBases: [DC=a], service: {principal: p, keytab: k}}\n" },
      problems: ["line 8: realms[1].realm: The realm `contoso.com` stands in the file twice. Keep one of its sections."]),
    .init(
      name: "a realm with servers and domains", change: { $0 + "    domains: [{name: a.test}]\n" },
      problems: [
        "line 3: realms[0].servers: The realm has `domains`, to each of which this belongs. Write the key into the domain's section.",
        "line 4: realms[0].searchBases: The realm has `domains`, to each of which this belongs. Write the key into the domain's section.",
      ]),
    .init(
      name: "a site without SRV records", change: { $0 + "    site: Zurich\n" },
      problems: ["line 8: realms[0].site: A site without `srvDomain` has no effect. Give `srvDomain`, or leave the site out."]),
    .init(
      name: "fallback servers without SRV records", change: { $0 + "    fallbackServers: [dc1.contoso.com]\n" },
      problems: [
        "line 8: realms[0].fallbackServers: Fallback servers without `srvDomain` have no effect. Give `srvDomain`, or name the servers under `servers`."
      ]),
    .init(
      name: "a filter that does not close", change: { $0 + "    personFilter: (objectClass=person))(\n" },
      problems: [
        "line 8: realms[0].personFilter: `(objectClass=person))(` does not fit. It must be an LDAP filter in brackets such as `(objectClass=person)`."
      ]),
    .init(
      name: "a forest of OpenLDAP", change: { $0 + "    kind: openLDAP\n    globalCatalog: {srvDomain: a.test}\n" },
      problems: ["line 9: realms[0].globalCatalog: OpenLDAP knows no forests. Remove the key, or set `kind: activeDirectory`."]),
    .init(
      name: "a proxy with a login", change: { $0 + "proxy: http://me:pw@proxy:3128\n" },
      problems: ["line 8: proxy: `http://me:pw@proxy:3128` does not fit. It must be `http://host:port`, without user and path."]),
  ]

  @Test("tells every mistake with its place and what to do", arguments: mistakes)
  func told(mistake: GatewayConfigurationTests.Mistake) {
    #expect(Samples.problems { try Samples.readAgent(mistake.change(Samples.agent)) } == mistake.problems)
  }
}
