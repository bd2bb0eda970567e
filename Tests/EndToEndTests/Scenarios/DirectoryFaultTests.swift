import ActiveDirectory
import Bytes
import Foundation
import Identity
import Testing

@Suite("Faults around a real Active Directory domain (Samba)", .serialized)
struct DirectoryFaultTests {
  @Test("A dead domain controller is passed over at once, set aside, and told by an alarm")
  func failOver() async throws {
    let domain = try await SambaDomain.standard.settings()
    let dead = DirectoryServer(host: "dc0.gatehouse.test", port: 9, address: domain["AD_IP"])
    let validator = try LDAPPasswordValidator.make(.samba(domain, servers: [dead, domain.server]))
    let first = try await validator.judge("alice", "Correct.Horse.1")
    #expect(first.verdict.person != nil, "\(first)")
    #expect(first.trace.first?.step == .domainController, "the trace tells which one did not answer")
    let second = try await validator.judge("alice", "Correct.Horse.1")
    #expect(second.verdict.person != nil)
    #expect(!second.trace.contains { $0.step == .domainController }, "set aside, not asked again")
    #expect(await validator.alarms().map(\.code) == [.noDirectoryServer])
  }

  @Test("A domain controller that accepts and says nothing costs its time-out once, then the next one answers")
  func silentDomainController() async throws {
    let domain = try await SambaDomain.standard.settings()
    try await ScriptedLDAPServer.with(.silentAfterAccept) { silent in
      let servers = [DirectoryServer(host: "dc0.gatehouse.test", port: silent.port, address: "127.0.0.1"), domain.server]
      let validator = try LDAPPasswordValidator.make(
        .samba(domain, servers: servers, timeouts: DirectoryTimeouts(connect: .milliseconds(400))))
      #expect(try await validator.judge("alice", "Correct.Horse.1").verdict.person != nil)
    }
  }

  @Test("No living domain controller is 'could not find out', and the next question finds one that came back")
  func cameBack() async throws {
    let domain = try await SambaDomain.standard.settings()
    let dead = DirectoryServer(host: domain["AD_HOST"], port: 9, address: domain["AD_IP"])
    let validator = try LDAPPasswordValidator.make(.samba(domain, servers: [dead]))
    #expect(try await validator.judge("alice", "Correct.Horse.1").verdict == .unknown(.directoryUnreachable))
    let started = ContinuousClock.now
    #expect(try await validator.judge("alice", "Correct.Horse.1").verdict == .unknown(.directoryUnreachable))
    #expect(started.duration(to: .now) < .milliseconds(100), "known to be dead a moment ago")
  }

  @Test("A certificate from another authority, or for another name, is refused before any bind")
  func wrongAuthorityOrName() async throws {
    let domain = try await SambaDomain.standard.settings()
    let other = try await TestCertificates.shared.value.authority
    for security in TransportSecurity.allCases {
      let stranger = try LDAPPasswordValidator.make(.samba(domain, security: security, authorityFile: other))
      #expect(try await stranger.judge("alice", "Correct.Horse.1").verdict == .unknown(.directoryTLS))
      #expect(await stranger.alarms().map(\.code) == [.directoryCertificate])
      let misnamed = DirectoryServer(host: "dc2.gatehouse.test", address: domain["AD_IP"])
      let validator = try LDAPPasswordValidator.make(.samba(domain, servers: [misnamed], security: security))
      #expect(try await validator.judge("alice", "Correct.Horse.1").verdict == .unknown(.directoryTLS))
    }
    // The address itself is in the certificate as well.
    let byAddress = try LDAPPasswordValidator.make(.samba(domain, servers: [DirectoryServer(host: domain["AD_IP"])]))
    #expect(try await byAddress.judge("alice", "Correct.Horse.1").verdict.person != nil)
  }

  @Test("A service password changed behind the back does not lock the service account, and the new file is picked up at once")
  func staleServicePassword() async throws {
    let domain = try await SambaDomain.strict.settings()
    let file = "\(domain.directory)/agent.password"
    let original = try String(contentsOfFile: domain["SERVICE_PASSWORD_FILE"], encoding: .utf8)
    try original.write(toFile: file, atomically: true, encoding: .utf8)
    let validator = try LDAPPasswordValidator.make(
      .samba(domain, credential: .passwordFile(bindName: domain["SERVICE_DN"], path: file)))
    #expect(try await validator.judge("alice", "Correct.Horse.1").verdict.person != nil)

    // Three times: AD does not count a wrong try with one of the two passwords before, which would hide what is tested.
    for number in 1...3 { try await SambaDomain.strict.setPassword(of: "svc-gatehouse", to: "Behind.The.Back.\(number)") }
    validator.closeConnections()  // as a restart of the agent or of the domain controller does
    let verdicts = try await withThrowingTaskGroup(of: Verdict.self) { group in
      for _ in 0..<50 { group.addTask { try await validator.judge("alice", "Correct.Horse.1").verdict } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(verdicts.allSatisfy { $0 == .unknown(.serviceCredentialRefused) })
    let badTries = Int(try await SambaDomain.strict.attribute("badPwdCount", of: "svc-gatehouse") ?? "0") ?? 0
    #expect(badTries == 1)
    #expect(try await SambaDomain.strict.attribute("lockoutTime", of: "svc-gatehouse") ?? "0" == "0")
    let alarm = try #require(await validator.alarms().first)
    #expect(alarm.code == .serviceCredentialRefused)
    #expect(alarm.remedy.contains(file))
    // A file that was only touched is the same credential still.
    try original.write(toFile: file, atomically: true, encoding: .utf8)
    #expect(try await validator.judge("alice", "Correct.Horse.1").verdict == .unknown(.serviceCredentialRefused))

    try "Behind.The.Back.3\n".write(toFile: file, atomically: true, encoding: .utf8)
    #expect(try await validator.judge("alice", "Correct.Horse.1").verdict.person != nil)
    #expect(await validator.alarms().isEmpty)
    // Other suites ask the same domain.
    try await SambaDomain.strict.setPassword(of: "svc-gatehouse", to: original.trimmingCharacters(in: .newlines))
  }

  @Test("After its rest a refused service credential is tried again, once")
  func serviceCredentialRests() async throws {
    let domain = try await SambaDomain.standard.settings()
    let file = "\(domain.directory)/wrong.password"
    try "Not.The.Password.1".write(toFile: file, atomically: true, encoding: .utf8)
    let validator = try LDAPPasswordValidator.make(
      .samba(
        domain, credential: .passwordFile(bindName: "CN=disabled,CN=Users,DC=gatehouse,DC=test", path: file),
        timeouts: DirectoryTimeouts(credentialRest: .milliseconds(300))))
    for _ in 0..<5 { #expect(try await validator.judge("alice", "Correct.Horse.1").verdict == .unknown(.serviceCredentialRefused)) }
    let before = Int(try await SambaDomain.standard.attribute("badPwdCount", of: "disabled") ?? "0") ?? 0
    try await Task.sleep(for: .milliseconds(350))
    for _ in 0..<5 { #expect(try await validator.judge("alice", "Correct.Horse.1").verdict == .unknown(.serviceCredentialRefused)) }
    let after = Int(try await SambaDomain.standard.attribute("badPwdCount", of: "disabled") ?? "0") ?? 0
    #expect(after == before + 1)
  }

  @Test("A missing or empty credential file is 'could not find out' with an alarm that names the file")
  func unreadableCredential() async throws {
    let domain = try await SambaDomain.standard.settings()
    let file = "\(domain.directory)/empty.password"
    try "\n".write(toFile: file, atomically: true, encoding: .utf8)
    for path in [file, "\(domain.directory)/no-such-file"] {
      let validator = try LDAPPasswordValidator.make(
        .samba(domain, credential: .passwordFile(bindName: domain["SERVICE_DN"], path: path)))
      #expect(try await validator.judge("alice", "Correct.Horse.1").verdict == .unknown(.serviceCredentialRefused))
      let alarm = try #require(await validator.alarms().first)
      #expect(alarm.code == .serviceCredentialUnreadable && alarm.subject == path)
    }
  }

  @Test("A refused keytab rests as a refused password does")
  func staleKeytab() async throws {
    let domain = try await SambaDomain.strict.settings()
    setenv("KRB5_CONFIG", domain["KRB5_CONFIG"], 1)
    let validator = try LDAPPasswordValidator.make(
      .samba(domain, credential: .keytab(principal: "bob@GATEHOUSE.TEST", path: domain["SERVICE_KEYTAB"])))
    for _ in 0..<3 { #expect(try await validator.judge("alice", "Correct.Horse.1").verdict == .unknown(.serviceCredentialRefused)) }
    #expect(await validator.alarms().map(\.code) == [.serviceCredentialRefused])
  }

  @Test("The global catalog finds people, and their own domain judges them")
  func globalCatalog() async throws {
    let domain = try await SambaDomain.standard.settings()
    var settings = try DirectorySettings.samba(domain)
    settings.globalCatalog = .list([domain.server])
    let validator = try LDAPPasswordValidator.make(settings)
    let judgement = try await validator.judge("alice", "Correct.Horse.1", wanting: AttributeRequest(attributes: ["department"], groups: true))
    #expect(judgement.verdict.person?.attributes["department"] == ["Research"], "not in the global catalog: \(judgement)")
    #expect(judgement.verdict.person?.groups?.contains("CN=Staff,CN=Users,DC=gatehouse,DC=test") == true)
    #expect(judgement.verdict.person?.passwordExpires != nil)
    #expect(try await validator.judge("GATEHOUSE\\alice", "Wrong.Horse.1").verdict.refusal == .wrongPassword)
    #expect(try await validator.judge("OTHER\\alice", "Correct.Horse.1").verdict.refusal == .userNotFound)
  }

  @Test("Several search bases of a domain, overlapping ones too, are looked through, and DOMAIN\\name means all of them")
  func severalSearchBases() async throws {
    let domain = try await SambaDomain.standard.settings()
    var settings = try DirectorySettings.samba(domain)
    settings.domains = ["OU=Domain Controllers,DC=gatehouse,DC=test", "CN=Users,DC=gatehouse,DC=test", "DC=gatehouse,DC=test"].map {
      DirectoryDomain(dnsName: "gatehouse.test", netbiosName: "GATEHOUSE", searchBase: $0, servers: .list([domain.server]))
    }
    let validator = try LDAPPasswordValidator.make(settings)
    for name in ["alice", "GATEHOUSE\\alice", "nomail@gatehouse.test"] {
      let password = name == "nomail@gatehouse.test" ? "Correct.Horse.14" : "Correct.Horse.1"
      #expect(try await validator.judge(name, password).verdict.person != nil, "\(name)")
    }
    #expect(try await validator.judge("twins@gatehouse.test", "Correct.Horse.11").verdict.refusal == .ambiguousName)
  }

  @Test("A domain that DNS does not know, or DNS that does not answer, is 'could not find out' by the deadline")
  func noDNS() async throws {
    let domain = try await SambaDomain.standard.settings()
    var settings = try DirectorySettings.samba(domain)
    settings.domains[0].servers = .serviceRecords(domain: "gatehouse-no-such-domain.invalid", site: "Nowhere")
    let validator = try LDAPPasswordValidator.make(settings)
    let started = ContinuousClock.now
    let verdict = try await validator.judge("alice", "Correct.Horse.1", within: .seconds(1)).verdict
    #expect(verdict == .unknown(.noDirectoryServer) || verdict == .unknown(.deadlineExceeded), "\(verdict)")
    #expect(started.duration(to: .now) < .seconds(3))
    #expect(await validator.alarms().map(\.code) == [.noDirectoryServer])
  }
}
