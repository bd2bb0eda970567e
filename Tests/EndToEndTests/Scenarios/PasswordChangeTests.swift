import ActiveDirectory
import Bytes
import Foundation
import Identity
import Testing

/// What Samba 4.17 answered is in the expectations of the traces.
@Suite("The change of a password in a real Active Directory domain (Samba)", .serialized)
struct PasswordChangeDoorTests {
  private func domain() async throws -> SambaDomain.Settings { try await SambaDomain.strict.settings() }

  /// People of one test, with the password `Right.<name>.1`.
  private func people(_ names: String..., age: SambaDomain.PasswordAge? = nil) async throws -> (LDAPPasswordValidator, SambaDomain.Settings) {
    let domain = try await domain()
    try await SambaDomain.add(names.map { (name: $0, password: "Right.\($0).1") }, to: domain)
    if let age { try await SambaDomain.age(names, age, in: domain) }
    return (try LDAPPasswordValidator.make(.samba(domain)), domain)
  }

  private func attribute(_ name: String, of person: String) async throws -> String? {
    try await SambaDomain.strict.attribute(name, of: person)
  }

  private func told(_ judgement: Judgement, _ step: TraceStep = .change) -> String { judgement.trace.last { $0.step == step }?.detail ?? "" }

  @Test("An expired password, and one that must be changed, is changed in place, and the person is signed in with the new one")
  func expired() async throws {
    for age in [SambaDomain.PasswordAge.old, .mustChange] {
      let name = "changes-\(age.rawValue)"
      let (validator, _) = try await people(name, age: age)
      let right = "Right.\(name).1"
      #expect(try await validator.judge(name, right).verdict.refusal == (age == .old ? .passwordExpired : .mustChangePassword))
      let judgement = try await validator.change(
        name, from: right, to: "Ganz.Neu.ü✓.1", wanting: AttributeRequest(attributes: ["sAMAccountName"], groups: true))
      let person = try #require(judgement.changeOutcome.person, "\(judgement)")
      #expect(person.attributes == ["sAMAccountName": [name]])
      #expect(person.groups?.contains { $0.hasPrefix("CN=Domain Users,") } == true)
      // 42 days from now on: what the entry said before the change is over.
      #expect(person.passwordExpires.map { $0 > Instant(Date()).adding(.seconds(41 * 86_400)) } == true)
      #expect(told(judgement).hasSuffix(": result 0 (00000000: Success)"), "\(judgement.trace)")
      #expect(try await validator.judge(name, "Ganz.Neu.ü✓.1").verdict.person != nil)
      #expect(try await validator.judge(name, right).verdict.refusal == .wrongPassword)
      #expect(try await attribute("pwdLastSet", of: name) != "0")
    }
  }

  @Test("A wrong old password is a wrong password, and Samba counts it once")
  func wrongOld() async throws {
    let (validator, _) = try await people("misremembers", age: .old)
    for count in 1...2 {
      let judgement = try await validator.change("misremembers", from: "Wrong.\(count)", to: "Ganz.Neu.1")
      #expect(judgement.changeOutcome.refusal?.reason == .wrongPassword, "\(judgement)")
      #expect(judgement.trace.map(\.step) == [.search, .bind], "the same operations as for a sign-in, and no change")
      #expect(try await attribute("badPwdCount", of: "misremembers") == "\(count)")
    }
    let nobody = try await validator.change("nobody-at-all", from: "Wrong.1", to: "Ganz.Neu.1")
    #expect(nobody.changeOutcome == .refused(Refusal(.userNotFound)))
    #expect(nobody.trace.map(\.step) == [.search, .bind])
  }

  @Test("Too short, too simple, used before and too soon are told apart, with the numbers of the domain's policy")
  func rules() async throws {
    let (validator, domain) = try await people("ruled", age: .old)
    let right = "Right.ruled.1"
    let demands = PasswordRules(minimumLength: 7, historyLength: 24, minimumAgeSeconds: 86_400, complexity: true)
    func expect(_ new: String, from old: String = right, _ rule: PasswordRule, _ words: String) async throws {
      let judgement = try await validator.change("ruled", from: old, to: new)
      var expected = demands
      expected.broken = [rule]
      var rules = judgement.changeOutcome.rules
      rules?.changeableFrom = nil
      #expect(rules == expected, "\(judgement)")
      #expect(told(judgement).hasSuffix("result 19 (0000052D: Constraint violation - check_password_restrictions: \(words))"), "\(judgement.trace)")
    }
    try await expect("aB3.", .tooShort, "the password is too short. It should be equal or longer than 7 characters!")
    try await expect("aaaaaaaaaaaa", .tooSimple, "the password does not meet the complexity criteria!")
    try await expect(right, .usedBefore, "the password was already used (previous password)!")
    #expect(try await attribute("badPwdCount", of: "ruled") ?? "0" == "0", "no rule that is broken counts as a wrong password")
    #expect(try await validator.change("ruled", from: right, to: "Ganz.Neu.1").changeOutcome.isChanged)
    let soon = try await validator.change("ruled", from: "Ganz.Neu.1", to: "Ganz.Neu.2")
    #expect(soon.changeOutcome.rules?.broken == [.tooSoon], "\(soon)")
    let from = try #require(soon.changeOutcome.rules?.changeableFrom).since(Instant(Date()))
    #expect(from > .seconds(86_000) && from <= .seconds(86_460))
    #expect(told(soon).contains("password is too young to change!"))
    try await SambaDomain.age(["ruled"], .old, in: domain)
    try await expect(right, from: "Ganz.Neu.1", .usedBefore, "the password was already used (in history)!")
    #expect(try await validator.change("ruled", from: "Ganz.Neu.1", to: "Ganz.Neu.3").changeOutcome.isChanged)
  }

  @Test("The numbers are those of a person's own password settings object, where the service account may read it")
  func settingsObject() async throws {
    let (validator, domain) = try await people("special", age: .old)
    try await SambaDomain.apply(
      ["--min-pwd-length=14", "--history-length=3", "--min-pwd-age=0", "--complexity=off"], to: ["special"], in: domain)
    let judgement = try await validator.change("special", from: "Right.special.1", to: "Ganz.Neu.1")
    let rules = try #require(judgement.changeOutcome.rules, "\(judgement)")
    #expect(rules.broken == [.tooShort])
    // By default only administrators may read it: then the rule is told without its number.
    #expect(rules == PasswordRules(broken: [.tooShort]) || rules.minimumLength == 14, "\(rules)")
    #expect(told(judgement).contains("It should be equal or longer than 14 characters!"))
    #expect(try await validator.change("special", from: "Right.special.1", to: "ganzganzganzneu").changeOutcome.isChanged)
  }

  @Test(
    "An account that may not sign in changes nothing, and is told what a sign-in is told",
    arguments: [
      ("disabled", "Correct.Horse.3", RefusalReason.accountDisabled), ("locked", "Correct.Horse.4", .directoryLocked),
      ("expired", "Correct.Horse.5", .accountExpired), ("nighthours", "Correct.Horse.8", .signInHours),
    ])
  func states(name: String, password: String, reason: RefusalReason) async throws {
    let validator = try LDAPPasswordValidator.make(.samba(try await domain()))
    let before = try await attribute("pwdLastSet", of: name)
    let judgement = try await validator.change(name, from: password, to: "Ganz.Neu.1")
    #expect(judgement.changeOutcome.refusal?.reason == reason, "\(judgement)")
    #expect(try await attribute("pwdLastSet", of: name) == before)
    #expect(!judgement.trace.contains { $0.step == .change })
  }

  @Test("A service account with a keytab, whose session Kerberos seals, changes passwords too")
  func kerberos() async throws {
    let (_, domain) = try await people("sealed", age: .mustChange)
    setenv("KRB5_CONFIG", domain["KRB5_CONFIG"], 1)
    let validator = try LDAPPasswordValidator.make(
      .samba(domain, credential: .keytab(principal: domain["SERVICE_PRINCIPAL"], path: domain["SERVICE_KEYTAB"])))
    let judgement = try await validator.change("sealed", from: "Right.sealed.1", to: "Ganz.Neu.1")
    #expect(judgement.changeOutcome.person != nil, "\(judgement)")
  }

  @Test("Through gateway and agent: an expired password is changed, the rules are told in words, and a wrong old one goes through lockout")
  func everything() async throws {
    try await House.with("password-change", in: .strict, options: .init(threshold: 3)) { house in
      let people = try await house.people("renews", 3)
      try await SambaDomain.age(people.map(\.name), .old, in: house.domain)
      let (name, right) = (people[0].name, people[0].password)
      #expect(try await house.frontEnd.signIn(name, right).gist == "200 password_expired")
      let short = try await house.frontEnd.changePassword(name, from: right, to: "aB3.")
      #expect(short.gist == "200 new_password_not_taken")
      #expect(short.body.contains(#""message":"The new password must have at least 7 characters.""#), "\(short.body)")
      #expect(short.body.contains(#""broken":["too_short"]"#))
      let used = try await house.frontEnd.changePassword(name, from: right, to: right)
      #expect(used.body.contains("You have used this password before. Choose one that is none of your last 24."), "\(used.body)")
      let changed = try await house.frontEnd.changePassword(name, from: right, to: "Ganz.Neu.ü✓.1")
      #expect(changed.gist == "200 changed", "\(changed.body)")
      #expect(changed.person?.userPrincipalName == "\(name)@\(house.realm)")
      #expect(try await house.frontEnd.signIn(name, "Ganz.Neu.ü✓.1").gist == "200 accepted")
      let soon = try await house.frontEnd.changePassword(name, from: "Ganz.Neu.ü✓.1", to: "Ganz.Neu.2")
      #expect(soon.body.contains("It may be changed again 1 day after the last change."), "\(soon.body)")
      let told = try await house.trace(changed.reference)
      #expect(told.decision.contains("changed their password"))
      #expect(told.steps.contains { $0.hasPrefix("Change: ") && $0.contains("result 0") })
      try await mustChange(house, people[1])
      try await wrongOld(house, people[2])
      let kinds = try await house.admin.json([Told.Row].self, "audit", "list", "--kind", "password.change", "--limit", "100").map(\.event.outcome)
      for outcome in ["changed", "not-taken:tooShort", "not-taken:usedBefore", "not-taken:tooSoon", "refused:wrongPassword", "refused:lockedOut"] {
        #expect(kinds.contains(outcome), "\(outcome) is not among \(kinds)")
      }
      // Neither password is anywhere in the audit.
      let everything = try await house.admin("audit", "list", "--limit", "10000", "--json")
      for secret in ["Ganz.Neu", right, people[1].password] { #expect(!everything.contains(secret)) }
    }
  }

  private func mustChange(_ house: House, _ person: (name: String, password: String)) async throws {
    try await SambaDomain.age([person.name], .mustChange, in: house.domain)
    #expect(try await house.frontEnd.signIn(person.name, person.password).gist == "200 password_change_required")
    #expect(try await house.frontEnd.changePassword(person.name, from: person.password, to: "Ganz.Neu.1").gist == "200 changed")
    #expect(try await house.frontEnd.signIn(person.name, "Ganz.Neu.1").gist == "200 accepted")
  }

  private func wrongOld(_ house: House, _ person: (name: String, password: String)) async throws {
    for guess in 1...3 {
      let answer = try await house.frontEnd.changePassword(person.name, from: "Wrong.\(guess)", to: "Ganz.Neu.1")
      let ghost = try await house.frontEnd.changePassword("ghost@\(house.realm)", from: "Wrong.\(guess)", to: "Ganz.Neu.1")
      #expect(answer.gist == "200 invalid_credentials")
      #expect(answer.withoutReferenceAndTime == ghost.withoutReferenceAndTime)
      #expect(try await attribute("badPwdCount", of: person.name) == "\(guess)")
    }
    let locked = try await house.frontEnd.changePassword(person.name, from: person.password, to: "Ganz.Neu.1")
    #expect(locked.gist == "200 temporarily_locked")
    #expect(locked.field("retry-after") != nil)
    #expect(try await house.frontEnd.signIn(person.name, person.password).gist == "200 temporarily_locked")
    #expect(try await attribute("badPwdCount", of: person.name) == "3", "what is locked here is not put before the directory")
  }
}

@Suite("The change of a password in a real OpenLDAP server with its password policy", .serialized)
struct OpenLDAPPasswordChangeTests {
  private func validator() async throws -> LDAPPasswordValidator {
    try LDAPPasswordValidator.make(try await OpenLDAPServer.policed.settings().settings)
  }

  private let right = "Correct.Horse.1"

  @Test("Right and wrong, expired and to be changed are told apart as in AD")
  func signIns() async throws {
    let validator = try await validator()
    #expect(try await validator.judge("good", right).verdict.person != nil)
    #expect(try await validator.judge("old", right).verdict.refusal == .passwordExpired)
    #expect(try await validator.judge("old", "wrong").verdict.refusal == .wrongPassword)
    #expect(try await validator.judge("reset", right).verdict.refusal == .mustChangePassword)
  }

  @Test("A password that holds is changed on the person's own session, an expired one on the service account's", arguments: ["good", "old", "reset"])
  func changes(name: String) async throws {
    let validator = try await validator()
    let judgement = try await validator.change(name, from: right, to: "Ganz.Neu.1")
    #expect(judgement.changeOutcome.isChanged, "\(judgement)")
    #expect(try await validator.judge(name, "Ganz.Neu.1").verdict.person != nil)
    #expect(try await validator.judge(name, right).verdict.refusal == .wrongPassword)
    #expect(judgement.changeOutcome.person != nil, "\(judgement)")
  }

  @Test("A wrong old password changes nothing")
  func wrongOld() async throws {
    let validator = try await validator()
    let judgement = try await validator.change("wrong", from: "nonsense", to: "Ganz.Neu.1")
    #expect(judgement.changeOutcome.refusal?.reason == .wrongPassword, "\(judgement)")
    #expect(try await validator.judge("wrong", right).verdict.person != nil)
    #expect(try await validator.change("nobody", from: "x", to: "Ganz.Neu.1").changeOutcome == .refused(Refusal(.userNotFound)))
  }

  @Test("Length, history and minimum age are told by the policy's own words, and who may not change is told so")
  func rules() async throws {
    let validator = try await validator()
    #expect(try await validator.change("history", from: right, to: "short").changeOutcome.rules?.broken == [.tooShort])
    #expect(try await validator.change("history", from: right, to: "Ganz.Neu.1").changeOutcome.isChanged)
    #expect(try await validator.change("history", from: "Ganz.Neu.1", to: right).changeOutcome.rules?.broken == [.usedBefore])
    let young = try await validator.change("young", from: right, to: "Ganz.Neu.1")
    #expect(young.changeOutcome.rules?.broken == [.tooSoon], "\(young)")
    #expect(young.changeOutcome.rules?.minimumAgeSeconds == 86_400)
    #expect(young.changeOutcome.rules?.minimumLength == 8)
    // slapd's words for both: it says nothing of the old password to whom the access rules do not let write one.
    let words = "result 53 (unwilling to verify old password)"
    let fixed = try await validator.change("fixed", from: right, to: "Ganz.Neu.1")
    #expect(fixed.changeOutcome.rules?.broken == [.mayNotChange] && fixed.trace.last?.detail.hasSuffix(words) == true, "\(fixed)")
    // Expired, and the service account may not write it: nobody can change it in place.
    let stuck = try await validator.change("stuck", from: right, to: "Ganz.Neu.1")
    #expect(stuck.changeOutcome.rules?.broken == [.mayNotChange] && stuck.trace.last?.detail.hasSuffix(words) == true, "\(stuck)")
  }
}
