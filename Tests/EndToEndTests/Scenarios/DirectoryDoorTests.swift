import ActiveDirectory
import Bytes
import Foundation
import Identity
import Testing

@Suite("Passwords before a real Active Directory domain (Samba)", .serialized)
struct DirectoryDoorTests {
  struct Account: Sendable, CustomTestStringConvertible {
    var name: String
    var password: String
    var reason: RefusalReason?
    var subCode: String?
    var testDescription: String { "\(name): \(reason?.rawValue ?? "accepted")" }
  }

  static let accounts = [
    Account(name: "alice@gatehouse.test", password: "Correct.Horse.1"),
    Account(name: "disabled", password: "Correct.Horse.3", reason: .accountDisabled, subCode: "533"),
    Account(name: "locked", password: "Correct.Horse.4", reason: .directoryLocked, subCode: "775"),
    Account(name: "expired", password: "Correct.Horse.5", reason: .accountExpired, subCode: "701"),
    Account(name: "oldpassword", password: "Correct.Horse.6", reason: .passwordExpired, subCode: "532"),
    Account(name: "mustchange", password: "Correct.Horse.7", reason: .mustChangePassword, subCode: "773"),
    Account(name: "nighthours", password: "Correct.Horse.8", reason: .signInHours, subCode: "530"),
    Account(name: "workstation", password: "Correct.Horse.9", reason: .workstation, subCode: "531"),
  ]

  @Test("The right password is answered by the state of the account", arguments: accounts)
  func rightPassword(account: Account) async throws {
    let domain = try await SambaDomain.standard.settings()
    let judgement = try await LDAPPasswordValidator.make(.samba(domain)).judge(account.name, account.password)
    guard let reason = account.reason else {
      #expect(judgement.verdict.person != nil, "\(judgement)")
      return
    }
    guard case .refused(let refusal) = judgement.verdict else {
      Issue.record("\(judgement)")
      return
    }
    #expect(refusal.reason == reason)
    #expect(refusal.subCode == account.subCode)
    #expect(refusal.object != nil)
    #expect(judgement.trace.map(\.step) == [.search, .bind])
  }

  @Test("A wrong password is a wrong password in every state but locked", arguments: accounts)
  func wrongPassword(account: Account) async throws {
    let domain = try await SambaDomain.standard.settings()
    let judgement = try await LDAPPasswordValidator.make(.samba(domain)).judge(account.name, "Wrong.Horse.1")
    #expect(judgement.verdict.refusal == (account.name == "locked" ? .directoryLocked : .wrongPassword), "\(judgement)")
  }

  @Test(
    "Every form of a name finds the same person",
    arguments: ["alice@gatehouse.test", "ALICE@GATEHOUSE.TEST", "alice", "GATEHOUSE\\alice", "gatehouse.test\\alice", "alice.example@gatehouse.test"])
  func nameForms(name: String) async throws {
    let domain = try await SambaDomain.standard.settings()
    let judgement = try await LDAPPasswordValidator.make(.samba(domain)).judge(name, "Correct.Horse.1")
    #expect(judgement.verdict.person?.userPrincipalName == "alice@gatehouse.test", "\(judgement)")
  }

  @Test("People with umlauts, with metacharacters in their name, with passwords beyond ASCII, and without a UPN sign in")
  func unusualPeople() async throws {
    let domain = try await SambaDomain.standard.settings()
    let validator = try LDAPPasswordValidator.make(.samba(domain))
    #expect(try await validator.judge("jörg.müller@gatehouse.test", "Correct.Horse.10").verdict.person != nil)
    #expect(try await validator.judge("jmueller", "Correct.Horse.10").verdict.person != nil)
    #expect(try await validator.judge("unicode", "pä ss✓ wörd9").verdict.person != nil)
    #expect(try await validator.judge("unicode", "pa\u{308} ss✓ wörd9").verdict.refusal == .wrongPassword)
    #expect(try await validator.judge("pobrien", "Correct.Horse.13").verdict.person != nil)
    #expect(try await validator.judge("pat.o'brien@gatehouse.test", "Correct.Horse.13").verdict.person != nil)
    // No userPrincipalName: AD's implicit one, and what was typed as the name.
    #expect(try await validator.judge("nomail@gatehouse.test", "Correct.Horse.14").verdict.person?.userPrincipalName == "nomail@gatehouse.test")
  }

  @Test(
    "Names with filter, DN and wildcard characters, and names of other forms, find nobody",
    arguments: [
      "*", "a*", "alic*", "*)(sAMAccountName=*", "alice)(|(objectClass=*)", "a\\2a", "\\2a", "*\u{301}", "alice\u{301}@gatehouse.test)", "(", ")",
      "\\",
      "OTHER\\alice", "<SID=S-1-5-21-1-2-3-500>", "CN=Alice Example,CN=Users,DC=gatehouse,DC=test", "gatehouse.test/Users/Alice Example",
      "GATEHOUSE\\", "\\alice", "alice@other.test", "GATEHOUSE\\GATEHOUSE\\alice",
    ])
  func strangeNames(name: String) async throws {
    let domain = try await SambaDomain.standard.settings()
    let judgement = try await LDAPPasswordValidator.make(.samba(domain)).judge(name, "Correct.Horse.1")
    #expect(judgement.verdict == .refused(Refusal(.userNotFound)), "\(judgement)")
    #expect(judgement.trace.map(\.step) == [.search, .bind], "the same operations as for a person")
  }

  @Test("An unknown user and an ambiguous name cost the same operations as a known user")
  func sameOperations() async throws {
    let domain = try await SambaDomain.standard.settings()
    let validator = try LDAPPasswordValidator.make(.samba(domain))
    let unknown = try await validator.judge("nobody@gatehouse.test", "Correct.Horse.1")
    let ambiguous = try await validator.judge("twins@gatehouse.test", "Correct.Horse.11")
    let wrong = try await validator.judge("bob", "Wrong.Horse.2")
    #expect(unknown.verdict == .refused(Refusal(.userNotFound)))
    #expect(ambiguous.verdict == .refused(Refusal(.ambiguousName)))
    #expect(wrong.verdict.refusal == .wrongPassword)
    #expect(unknown.trace.map(\.step) == wrong.trace.map(\.step))
    #expect(ambiguous.trace.map(\.step) == wrong.trace.map(\.step))
  }

  @Test("Attributes, nested groups, ImmutableID and password expiry come with the yes, secrets do not")
  func attributesAndGroups() async throws {
    let domain = try await SambaDomain.standard.settings()
    let validator = try LDAPPasswordValidator.make(.samba(domain))
    let request = AttributeRequest(
      attributes: ["mail", "givenName", "telephoneNumber", "objectSid", "noSuchAttribute", "unicodePwd", "memberOf"], groups: true)
    for _ in 1...2 {  // the second time with names of groups that are known already
      let judgement = try await validator.judge("alice", "Correct.Horse.1", wanting: request)
      let person = try #require(judgement.verdict.person, "\(judgement)")
      #expect(person.attributes["mail"] == ["alice.example@gatehouse.test"])
      #expect(person.attributes["givenName"] == ["Alice"])
      #expect(person.attributes["telephoneNumber"] == ["+1 555 0100"])
      #expect(person.attributes["objectSid"]?.first?.hasPrefix("base64:AQUAAAAAAAUVAAAA") == true)
      #expect(person.attributes["memberOf"] == ["CN=Staff,CN=Users,DC=gatehouse,DC=test"])
      #expect(person.attributes["noSuchAttribute"] == nil)
      #expect(person.attributes["unicodePwd"] == nil)
      let groups = Set(try #require(person.groups))
      #expect(
        groups.isSuperset(of: [
          "CN=Staff,CN=Users,DC=gatehouse,DC=test", "CN=Europe (all)\\, \\#1,CN=Users,DC=gatehouse,DC=test",
          "CN=Everybody,CN=Users,DC=gatehouse,DC=test",
          "CN=Domain Users,CN=Users,DC=gatehouse,DC=test",
        ]), "\(groups)")
      #expect(!groups.contains { $0.hasPrefix("CN=Alice") || $0.contains("S-1-5-11") }, "neither the person nor how they signed in")
      #expect(Data(base64Encoded: person.immutableID).map(Array.init) == person.object.id.bytes)
      let expires = try #require(person.passwordExpires)
      #expect((35...43).contains(expires.since(Instant(Date())) / .seconds(86_400)), "42 days by the domain's policy")
    }
    let bare = try await validator.judge("alice", "Correct.Horse.1")
    #expect(bare.verdict.person?.groups == nil)
    #expect(bare.verdict.person?.attributes == [:])
  }

  @Test("StartTLS works as LDAPS does")
  func startTLS() async throws {
    let domain = try await SambaDomain.standard.settings()
    let validator = try LDAPPasswordValidator.make(.samba(domain, security: .startTLS))
    #expect(try await validator.judge("alice", "Correct.Horse.1").verdict.person != nil)
    #expect(try await validator.judge("alice", "Wrong.Horse.1").verdict.refusal == .wrongPassword)
  }

  @Test("The service account logs on by keytab, sealed by Kerberos")
  func keytab() async throws {
    let domain = try await SambaDomain.standard.settings()
    setenv("KRB5_CONFIG", domain["KRB5_CONFIG"], 1)
    let validator = try LDAPPasswordValidator.make(
      .samba(domain, credential: .keytab(principal: domain["SERVICE_PRINCIPAL"], path: domain["SERVICE_KEYTAB"])))
    let judgement = try await validator.judge("alice", "Correct.Horse.1", wanting: AttributeRequest(attributes: ["mail"], groups: true))
    #expect(judgement.verdict.person?.attributes["mail"] == ["alice.example@gatehouse.test"], "\(judgement)")
    #expect(try await validator.judge("alice", "Wrong.Horse.1").verdict.refusal == .wrongPassword)
    #expect(await validator.alarms().isEmpty)
  }

  @Test("The previous password still signs in for an hour after a change, as AD has it by default")
  func previousPassword() async throws {
    let domain = try await SambaDomain.standard.settings()
    let validator = try LDAPPasswordValidator.make(.samba(domain))
    #expect(try await validator.judge("bob", "Correct.Horse.2").verdict.person != nil)
    try await SambaDomain.standard.setPassword(of: "bob", to: "Changed.Horse.2")
    #expect(try await validator.judge("bob", "Changed.Horse.2").verdict.person != nil)
    #expect(try await validator.judge("bob", "Correct.Horse.2").verdict.person != nil, "OldPasswordAllowedPeriod")
    try await SambaDomain.standard.setPassword(of: "bob", to: "Changed.Horse.3")
    #expect(try await validator.judge("bob", "Correct.Horse.2").verdict.refusal == .wrongPassword, "the last but one does not")
    try await SambaDomain.standard.setPassword(of: "bob", to: "Correct.Horse.2")
  }

  @Test("A deadline that has passed starts no bind")
  func noTimeLeft() async throws {
    let domain = try await SambaDomain.standard.settings()
    let validator = try LDAPPasswordValidator.make(.samba(domain))
    let judgement = try await validator.judge("alice", "Correct.Horse.1", within: .zero)
    #expect(judgement.verdict == .unknown(.deadlineExceeded))
    #expect(!judgement.trace.contains { $0.step == .bind })
  }

  @Test("A hundred questions at once are all answered, on few connections")
  func manyAtOnce() async throws {
    let domain = try await SambaDomain.standard.settings()
    let validator = try LDAPPasswordValidator.make(.samba(domain))
    let others = try await withThrowingTaskGroup(of: String?.self) { group in
      for _ in 0..<100 {
        group.addTask {
          let judgement = try await validator.judge("alice", "Correct.Horse.1", within: .seconds(20))
          return judgement.verdict.person == nil ? "\(judgement.verdict): \(judgement.trace.map(\.detail).joined(separator: "; "))" : nil
        }
      }
      return try await group.reduce(into: Set<String>()) { if let other = $1 { $0.insert(other) } }
    }
    #expect(others.isEmpty)
  }

  @Test("A validator that is let go takes its connections and threads along")
  func nothingLeftBehind() async throws {
    func threads() throws -> Int { try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").count }
    let domain = try await SambaDomain.standard.settings()
    _ = try await LDAPPasswordValidator.make(.samba(domain)).judge("alice", "Correct.Horse.1")
    let before = try threads()
    for _ in 0..<20 { _ = try await LDAPPasswordValidator.make(.samba(domain)).judge("alice", "Correct.Horse.1") }
    try await Task.sleep(for: .milliseconds(200))
    #expect(try threads() < before + 20, "each had five threads")
  }
}
