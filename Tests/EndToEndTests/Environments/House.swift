import Foundation
import Synchronization

/// Everything of one scenario: a gateway with its realm and front-end, agents, and a sample domain that other scenarios may share.
final class House: Sendable {
  let scenario: String
  let domain: SambaDomain.Settings
  let gateway: GatewayProcess
  let frontEnd: FrontEndClient
  private let moved: Mutex<[AgentProcess]> = Mutex([])

  var admin: AdminTool { gateway.admin }
  var realm: String { domain["AD_DOMAIN"] }
  var agents: [AgentProcess] { moved.withLock { $0 } }

  private init(scenario: String, domain: SambaDomain.Settings, gateway: GatewayProcess, frontEnd: FrontEndClient) {
    self.scenario = scenario
    self.domain = domain
    self.gateway = gateway
    self.frontEnd = frontEnd
  }

  /// Builds the house, lets `body` live in it, and ends everything, however that went.
  static func with(
    _ scenario: String, in samba: SambaDomain = .standard, agents names: [String] = ["one"],
    options: GatewayProcess.Options = GatewayProcess.Options(),
    _ body: (House) async throws -> Void
  ) async throws {
    let domain = try await samba.settings()
    let gateway = try await GatewayProcess(scenario: scenario, options: options)
    do {
      try await gateway.start()
      let admin = gateway.admin
      try await admin(
        "realms", "add", domain["AD_DOMAIN"], "--suffix", domain["AD_DOMAIN"], "--suffix", domain["AD_NETBIOS"].lowercased(), "--default")
      let issued = try await admin.json(Told.Key.self, "front-ends", "add", "portal", "--realm", domain["AD_DOMAIN"], "--rate", "100000")
      let frontEnd = try FrontEndClient(url: gateway.url, authority: gateway.publicAuthority, key: issued.apiKey)
      let house = House(scenario: scenario, domain: domain, gateway: gateway, frontEnd: frontEnd)
      do {
        for name in names { try await house.move(in: AgentProcess(name: name, scenario: scenario, domain: domain)) }
        try await body(house)
      } catch {
        await house.close()
        throw error
      }
      await house.close()
    } catch {
      await gateway.remove()
      throw error
    }
    await gateway.remove()
  }

  private func close() async {
    for agent in agents { await agent.remove() }
  }

  /// A one-time token for the realm.
  func token() async throws -> String { try await admin.json(Told.Token.self, "agents", "token", "--realm", realm).token }

  /// Enrols the agent, starts it, and waits until the gateway sees it.
  func move(in agent: AgentProcess) async throws {
    moved.withLock { $0.append(agent) }
    let outcome = try await agent.enrol(token: try await token())
    guard outcome.status == 0 else { throw ServerProcess.Failure(description: "agent \(agent.name) was not enrolled: \(outcome.complaint)") }
    try await agent.start()
    try await waitFor(agent)
  }

  func waitFor(_ agent: AgentProcess, limit: Duration = .seconds(10)) async throws {
    guard try await eventually(within: limit, { try await self.told(agent).map { $0.connected && !$0.draining } ?? false }) else {
      throw ServerProcess.Failure(description: "agent \(agent.name) did not connect: \(agent.process?.logText.suffix(4000) ?? "")")
    }
  }

  /// Waits until an agent has told the directory's own lockout: before, tries are counted by the gateway's alone.
  func waitForDirectoryLockout() async throws {
    guard try await eventually(within: .seconds(20), { try await !admin("realms", "lockout", realm).contains("No agent has told") }) else {
      throw ServerProcess.Failure(description: "no agent told the lockout of \(realm)")
    }
  }

  /// What the gateway says of an agent; nil where it is revoked or was never there.
  func told(_ agent: AgentProcess) async throws -> Told.Agent? {
    try await admin.json([Told.Agent].self, "agents", "list").first { $0.name == agent.name }
  }

  func status() async throws -> Told.Status { try await admin.json(Told.Status.self, "status") }

  func user(_ name: String) async throws -> Told.UserState { try await admin.json(Told.UserState.self, "users", "show", name) }

  func trace(_ reference: String) async throws -> Told.Explanation {
    let all = try await admin.json([Told.Explanation].self, "trace", reference)
    guard let first = all.first, all.count == 1 else { throw ServerProcess.Failure(description: "\(all.count) rows for \(reference)") }
    return first
  }

  /// How often which cause kept the gateway from a verdict, of its last ten thousand sign-ins.
  func unknownCauses() async throws -> [String: Int] {
    let rows = try await admin.json([Told.Row].self, "audit", "list", "--kind", "sign-in", "--limit", "10000")
    return rows.map(\.event.outcome).filter { $0.hasPrefix("unknown:") }.reduce(into: [:]) { $0[String($1.dropFirst(8)), default: 0] += 1 }
  }

  /// The password of a person of the sample domain.
  func password(_ name: String) throws -> String {
    let lines = try String(contentsOfFile: domain["PEOPLE_FILE"], encoding: .utf8).split(separator: "\n").map { $0.split(separator: "\t") }
    guard let line = lines.first(where: { $0.first.map(String.init) == name }), line.count > 1 else {
      throw ServerProcess.Failure(description: "the sample domain has no \(name)")
    }
    return String(line[1])
  }

  /// People of this scenario alone, so that their bad-password counts are nobody else's: `<prefix>1` … with the password `Right.<prefix>.<n>`.
  func people(_ prefix: String, _ count: Int) async throws -> [(name: String, password: String)] {
    let people = (1...count).map { (name: "\(prefix)\($0)", password: "Right.\(prefix).\($0)") }
    try await SambaDomain.add(people, to: domain)
    return people
  }
}

extension SambaDomain {
  /// Forgets the bad tries of people whom other scenarios guess at too: no success resets what is counted of somebody who may not sign in.
  static func forgive(_ names: [String], in domain: Settings) async throws {
    let script = """
      import sys
      import ldb
      from samba.auth import system_session
      from samba.param import LoadParm
      from samba.samdb import SamDB
      conf, sam, base, *names = sys.argv[1:]
      settings = LoadParm()
      settings.load(conf)
      db = SamDB(url=sam, session_info=system_session(), lp=settings)
      for name in names:
          person = ldb.Message(db.search(base=base, expression="(sAMAccountName=%s)" % name, attrs=["cn"])[0].dn)
          person["lockoutTime"] = ldb.MessageElement("0", ldb.FLAG_MOD_REPLACE, "lockoutTime")
          db.modify(person)
      """
    try await LeashedProcess.run("/usr/bin/python3", ["-c", script, domain["AD_SMBCONF"], domain["AD_SAM"], domain["AD_BASE"]] + names)
  }

  /// Puts people under a password settings object without lockout, as an administrator would for a canary.
  static func exemptFromLockout(_ names: [String], in domain: Settings) async throws {
    let options = ["-H", domain["AD_SAM"], "--configfile", domain["AD_SMBCONF"]]
    let policy = ["/usr/bin/samba-tool", "domain", "passwordsettings", "pso"]
    let name = "no-lockout-\(UInt32.random(in: 0 ... .max))"
    try await LeashedProcess.run(
      policy[0], policy.dropFirst() + ["create", name, "\(Int.random(in: 1...30_000))", "--account-lockout-threshold=0"] + options)
    for person in names { try await LeashedProcess.run(policy[0], policy.dropFirst() + ["apply", name, person] + options) }
  }

  /// The bad-password counts of many people, as the database has them.
  static func badPasswordCounts(of names: [String], in domain: Settings) async throws -> [String: Int] {
    let filter = "(|" + names.map { "(sAMAccountName=\($0))" }.joined() + ")"
    let output = try await LeashedProcess.run("/usr/bin/ldbsearch", ["-H", domain["AD_SAM"], filter, "sAMAccountName", "badPwdCount"])
    var counts: [String: Int] = [:]
    for record in output.components(separatedBy: "\n\n") {
      func value(_ key: String) -> String? {
        record.split(separator: "\n").first { $0.hasPrefix(key + ": ") }.map { String($0.dropFirst(key.count + 2)) }
      }
      if let name = value("sAMAccountName") { counts[name] = value("badPwdCount").flatMap { Int($0) } ?? 0 }
    }
    return counts
  }

  /// How old a person's password is to be.
  enum PasswordAge: String { case mustChange = "must-change", old, young }

  /// Sets how old people's passwords are: to be changed at once, set a year ago, or set now.
  static func age(_ names: [String], _ age: PasswordAge, in domain: Settings) async throws {
    let script = """
      import sys, time
      import ldb
      from samba.auth import system_session
      from samba.param import LoadParm
      from samba.samdb import SamDB
      conf, sam, base, age, *names = sys.argv[1:]
      settings = LoadParm()
      settings.load(conf)
      db = SamDB(url=sam, session_info=system_session(), lp=settings)
      def ticks(seconds): return str(int((seconds + 11644473600) * 10000000))
      value = {"must-change": "0", "old": ticks(time.time() - 366 * 86400), "young": ticks(time.time())}[age]
      for name in names:
          person = ldb.Message(db.search(base=base, expression="(sAMAccountName=%s)" % name, attrs=["cn"])[0].dn)
          person["pwdLastSet"] = ldb.MessageElement(value, ldb.FLAG_MOD_REPLACE, "pwdLastSet")
          db.modify(person, controls=["local_oid:1.3.6.1.4.1.7165.4.3.12:0"])
      """
    try await LeashedProcess.run(
      "/usr/bin/python3", ["-c", script, domain["AD_SMBCONF"], domain["AD_SAM"], domain["AD_BASE"], age.rawValue] + names)
  }

  /// Puts people under a password settings object with these samba-tool options.
  static func apply(_ options: [String], to names: [String], in domain: Settings) async throws {
    let access = ["-H", domain["AD_SAM"], "--configfile", domain["AD_SMBCONF"]]
    let policy = ["/usr/bin/samba-tool", "domain", "passwordsettings", "pso"]
    let name = "policy-\(UInt32.random(in: 0 ... .max))"
    try await LeashedProcess.run(
      policy[0], policy.dropFirst() + ["create", name, "\(Int.random(in: 1...30_000))"] + options + access)
    for person in names { try await LeashedProcess.run(policy[0], policy.dropFirst() + ["apply", name, person] + access) }
  }

  /// Adds ordinary people with userPrincipalName `name@domain`.
  static func add(_ people: [(name: String, password: String)], to domain: Settings) async throws {
    let script = """
      import sys
      from samba.auth import system_session
      from samba.param import LoadParm
      from samba.samdb import SamDB
      conf, sam, base, domain, *people = sys.argv[1:]
      settings = LoadParm()
      settings.load(conf)
      db = SamDB(url=sam, session_info=system_session(), lp=settings)
      for name, password in zip(people[::2], people[1::2]):
          db.add({"dn": "CN=%s,CN=Users,%s" % (name, base), "objectClass": "user", "sAMAccountName": name, "userAccountControl": "512",
                  "userPrincipalName": name + "@" + domain, "clearTextPassword": password.encode("utf-16-le")})
      """
    try await LeashedProcess.run(
      "/usr/bin/python3",
      ["-c", script, domain["AD_SMBCONF"], domain["AD_SAM"], domain["AD_BASE"], domain["AD_DOMAIN"]] + people.flatMap { [$0.name, $0.password] })
  }

  /// Gives somebody another userPrincipalName: another domain's, as a company with several names does.
  static func rename(_ name: String, to userPrincipalName: String, in domain: Settings) async throws {
    let script = """
      import sys
      import ldb
      from samba.auth import system_session
      from samba.param import LoadParm
      from samba.samdb import SamDB
      conf, sam, base, name, value = sys.argv[1:]
      settings = LoadParm()
      settings.load(conf)
      db = SamDB(url=sam, session_info=system_session(), lp=settings)
      person = ldb.Message(db.search(base=base, expression="(sAMAccountName=%s)" % name, attrs=["cn"])[0].dn)
      person["userPrincipalName"] = ldb.MessageElement(value, ldb.FLAG_MOD_REPLACE, "userPrincipalName")
      db.modify(person)
      """
    try await LeashedProcess.run(
      "/usr/bin/python3", ["-c", script, domain["AD_SMBCONF"], domain["AD_SAM"], domain["AD_BASE"], name, userPrincipalName])
  }
}
