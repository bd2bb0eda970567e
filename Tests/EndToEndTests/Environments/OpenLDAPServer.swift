import ActiveDirectory
import Foundation
import Identity
import Testing

/// A real OpenLDAP server (slapd) that takes binds without a password for successes, as a careless one does (`allow bind_anon_cred`).
actor OpenLDAPServer {
  static let shared = OpenLDAPServer(name: "openldap", portBase: 20_000, hasPolicy: false)
  /// With the ppolicy overlay: at least eight characters, none of the last three passwords, no password older than a year.
  static let policed = OpenLDAPServer(name: "openldap-policed", portBase: 40_000, hasPolicy: true)
  static let host = "ldap.openldap.test"

  struct Settings: Sendable {
    var port: Int
    var directory: String
    var settings: DirectorySettings
  }

  private let name: String
  private let portBase: Int
  private let hasPolicy: Bool
  private var starting: Task<Settings, any Error>?
  private var process: LeashedProcess?

  private init(name: String, portBase: Int, hasPolicy: Bool) {
    self.name = name
    self.portBase = portBase
    self.hasPolicy = hasPolicy
  }

  func settings() async throws -> Settings {
    if let starting { return try await starting.value }
    let task = Task { try await start() }
    starting = task
    return try await task.value
  }

  private func start() async throws -> Settings {
    let certificates = try await TestCertificates.shared.value
    let (certificate, key) = try await certificates.issue(
      "slapd-\(name)", commonName: OpenLDAPServer.host, alternativeName: "DNS:\(OpenLDAPServer.host)")
    let directory = "/tmp/gatehouse-tests-\(ProcessInfo.processInfo.processIdentifier)/\(name)"
    try FileManager.default.createDirectory(atPath: directory + "/data", withIntermediateDirectories: true)
    let port = portBase + Int(ProcessInfo.processInfo.processIdentifier % 10_000)
    try """
    include /etc/ldap/schema/core.schema
    include /etc/ldap/schema/cosine.schema
    include /etc/ldap/schema/inetorgperson.schema
    modulepath /usr/lib/ldap
    moduleload back_mdb
    \(hasPolicy ? "moduleload ppolicy" : "")
    pidfile \(directory)/slapd.pid
    allow bind_anon_cred
    TLSCACertificateFile \(certificates.authority)
    TLSCertificateFile \(certificate)
    TLSCertificateKeyFile \(key)
    database mdb
    suffix "dc=openldap,dc=test"
    directory \(directory)/data
    \(hasPolicy ? OpenLDAPServer.policyLines : "")
    access to attrs=userPassword by anonymous auth by dn.exact="cn=service,dc=openldap,dc=test" read by * none
    access to * by dn.exact="cn=service,dc=openldap,dc=test" read by self read by * none
    """.write(toFile: directory + "/slapd.conf", atomically: true, encoding: .utf8)
    try (people + "\n" + (hasPolicy ? policedPeople : "")).write(toFile: directory + "/people.ldif", atomically: true, encoding: .utf8)
    let (leashed, _) = try await LeashedProcess.start(
      """
      directory=$1 port=$2
      /usr/sbin/slapadd -f "$directory/slapd.conf" -l "$directory/people.ldif" || exit 1
      /usr/sbin/slapd -d 0 -f "$directory/slapd.conf" -h "ldaps://127.0.0.1:$port/ ldap://127.0.0.1:$((port + 1))/" </dev/null >"$directory/log" 2>&1 &
      pid=$!
      for try in $(seq 200); do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; kill -0 $pid || { cat "$directory/log"; exit 1; }; sleep 0.05; done
      echo READY
      trap '' PIPE
      cat >/dev/null
      kill $pid; wait $pid; rm -rf "$directory"; rmdir "$(dirname "$directory")" 2>/dev/null
      """, arguments: [directory, "\(port)"], until: "READY", within: .seconds(20))
    process = leashed
    try "service-password\n".write(toFile: directory + "/service.password", atomically: true, encoding: .utf8)
    return Settings(
      port: port, directory: directory,
      settings: DirectorySettings(
        realm: try #require(RealmName("openldap.test")), kind: .openLDAP,
        domains: [
          DirectoryDomain(
            dnsName: "openldap.test", searchBase: "dc=openldap,dc=test",
            servers: .list([DirectoryServer(host: OpenLDAPServer.host, port: port, address: "127.0.0.1")]))
        ],
        authorityFile: certificates.authority,
        credential: .passwordFile(bindName: "cn=service,dc=openldap,dc=test", path: directory + "/service.password")))
  }

  /// People may change their own passwords, but for `fixed`; the service account may change those of people who cannot sign in any more.
  private static let policyLines = """
    overlay ppolicy
    ppolicy_default cn=policy,dc=openldap,dc=test
    ppolicy_use_lockout
    access to dn.exact="uid=fixed,dc=openldap,dc=test" attrs=userPassword by anonymous auth by * none
    access to dn.exact="uid=stuck,dc=openldap,dc=test" attrs=userPassword by self write by anonymous auth by * none
    access to attrs=userPassword by self write by anonymous auth by dn.exact="cn=service,dc=openldap,dc=test" write by * none
    """

  private var policedPeople: String {
    let formatter = DateFormatter()
    formatter.dateFormat = "yyyyMMddHHmmss'Z'"
    formatter.timeZone = TimeZone(identifier: "UTC")
    let now = formatter.string(from: Date())
    func policy(_ name: String, _ lines: String) -> String {
      """
      dn: cn=\(name),dc=openldap,dc=test
      objectClass: device
      objectClass: pwdPolicy
      cn: \(name)
      pwdAttribute: userPassword
      pwdMinLength: 8
      pwdInHistory: 3
      pwdMaxAge: 31536000
      pwdCheckQuality: 2
      pwdMustChange: TRUE
      pwdLockout: TRUE
      pwdMaxFailure: 5
      pwdAllowUserChange: TRUE
      \(lines)


      """
    }
    func person(_ name: String, changed: String = now, _ lines: String = "sn: Example") -> String {
      """
      dn: uid=\(name),dc=openldap,dc=test
      objectClass: inetOrgPerson
      uid: \(name)
      cn: \(name)
      userPassword: Correct.Horse.1
      pwdChangedTime: \(changed)
      \(lines)


      """
    }
    let long = "20200101000000Z"
    return policy("policy", "pwdMinAge: 0") + policy("patient", "pwdMinAge: 86400") + person("good") + person("wrong") + person("history")
      + person("old", changed: long) + person("stuck", changed: long) + person("fixed") + person("reset", "sn: Example\npwdReset: TRUE")
      + person("young", "sn: Example\npwdPolicySubentry: cn=patient,dc=openldap,dc=test")
  }

  private var people: String {
    """
    dn: dc=openldap,dc=test
    objectClass: dcObject
    objectClass: organization
    o: OpenLDAP
    dc: openldap

    dn: cn=service,dc=openldap,dc=test
    objectClass: applicationProcess
    objectClass: simpleSecurityObject
    cn: service
    userPassword: service-password

    dn: uid=alice,dc=openldap,dc=test
    objectClass: inetOrgPerson
    uid: alice
    cn: Alice Example
    sn: Example
    mail: alice@openldap.test
    userPassword: Correct.Horse.1

    dn: cn=O'Brien\\, (Pat) * \\5C \\#,dc=openldap,dc=test
    objectClass: inetOrgPerson
    uid: pobrien
    cn: O'Brien, (Pat) * \\ #
    sn: O'Brien
    mail: shared@openldap.test
    userPassword: Correct.Horse.2

    dn: uid=nopassword,dc=openldap,dc=test
    objectClass: inetOrgPerson
    uid: nopassword
    cn: Without Password
    sn: Password
    mail: shared@openldap.test

    dn: cn=staff,dc=openldap,dc=test
    objectClass: groupOfNames
    cn: staff
    member: uid=alice,dc=openldap,dc=test

    dn: cn=europe,dc=openldap,dc=test
    objectClass: groupOfNames
    cn: europe
    member: cn=staff,dc=openldap,dc=test
    member: cn=everybody,dc=openldap,dc=test

    dn: cn=everybody,dc=openldap,dc=test
    objectClass: groupOfNames
    cn: everybody
    member: cn=europe,dc=openldap,dc=test

    """
  }
}
