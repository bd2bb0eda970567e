import Bytes
import Foundation
import Identity
import Testing

@testable import ActiveDirectory

@Suite("What directories answer to a change of a password")
struct PasswordChangeTableTests {
  private func meaning(_ code: Int32, _ text: String, policy: PasswordPolicyError? = nil, kind: DirectoryKind = .activeDirectory) -> ChangeMeaning {
    var result = LDAPResult(code: code, diagnostic: text.utf8)
    result.policy = policy
    return ChangeMeaning(result, kind: kind)
  }

  @Test("Samba 4.17's answers, as it gives them")
  func samba() {
    let prefix = "Constraint violation - check_password_restrictions:"
    #expect(meaning(0, "") == .changed)
    #expect(
      meaning(19, "00000056: \(prefix) The old password specified doesn't match!") == .refused(.wrongPassword, subCode: "56"))
    #expect(meaning(19, "0000052D: \(prefix) password is too young to change!") == .broken([.tooSoon]))
    #expect(
      meaning(19, "0000052D: \(prefix) the password is too short. It should be equal or longer than 7 characters!") == .broken([.tooShort]))
    #expect(meaning(19, "0000052D: \(prefix) the password does not meet the complexity criteria!") == .broken([.tooSimple]))
    #expect(meaning(19, "0000052D: \(prefix) the password was already used (previous password)!") == .broken([.usedBefore]))
    #expect(meaning(19, "0000052D: \(prefix) the password was already used (in history)!") == .broken([.usedBefore]))
    #expect(
      meaning(
        19,
        "00000775: Password change not permitted, account locked out! at ../../source4/dsdb/samdb/ldb_modules/password_hash.c:3929:setup_io")
        == .refused(.directoryLocked, subCode: "775"))
  }

  @Test("Windows' answers tell the error, and no rule")
  func windows() {
    #expect(
      meaning(
        19, "00000056: AtrErr: DSID-03191083, #1:\n\t0: 00000056: DSID-03191083, problem 1005 (CONSTRAINT_ATT_TYPE), data 0, Att 9005a (unicodePwd)")
        == .refused(.wrongPassword, subCode: "56"))
    #expect(meaning(53, "0000052D: SvcErr: DSID-031A12D2, problem 5003 (WILL_NOT_PERFORM), data 0\n\0") == .broken([]))
    #expect(
      meaning(
        19, "0000052D: AtrErr: DSID-03190F80, #1:\n\t0: 0000052D: DSID-03190F80, problem 1005 (CONSTRAINT_ATT_TYPE), data 0, Att 9005a (unicodePwd)")
        == .broken([]))
    #expect(meaning(50, "00000005: SecErr: DSID-031A1190, problem 4003 (INSUFF_ACCESS_RIGHTS), data 0") == .mayNotChange)
  }

  @Test(
    "What is not known is neither a change nor a wrong password",
    arguments: ["", "0000052", "0000052D", "0000052Dx: ", "00000057: ", "FFFFFFFF: x", "garbage: 00000056: x", "52D: "])
  func closed(text: String) {
    #expect(meaning(19, text) == .unknown(.directoryError))
    #expect(meaning(80, "00000056: x") == .unknown(.directoryError))
    #expect(meaning(51, "") == .unknown(.directoryBusy))
  }

  @Test("OpenLDAP's answers, with those of its policy")
  func openLDAP() {
    #expect(meaning(0, "", kind: .openLDAP) == .changed)
    #expect(meaning(53, "unwilling to verify old password", kind: .openLDAP) == .mayNotChange)
    #expect(meaning(53, "something else", kind: .openLDAP) == .unknown(.directoryError))
    #expect(meaning(50, "", kind: .openLDAP) == .mayNotChange)
    #expect(meaning(50, "", policy: .changeAfterReset, kind: .openLDAP) == .mayNotChange)
    for (error, expected) in [
      (PasswordPolicyError.passwordTooShort, ChangeMeaning.broken([.tooShort])), (.passwordTooYoung, .broken([.tooSoon])),
      (.passwordInHistory, .broken([.usedBefore])), (.insufficientPasswordQuality, .broken([.tooSimple])), (.passwordModNotAllowed, .mayNotChange),
      (.accountLocked, .refused(.directoryLocked, subCode: nil)),
    ] {
      #expect(meaning(19, "", policy: error, kind: .openLDAP) == expected)
    }
    #expect(meaning(19, "Password fails quality checking policy", kind: .openLDAP) == .broken([]))
  }

  @Test("A bind that OpenLDAP's policy speaks of is a password found right")
  func policyOfBinds() {
    func bind(_ code: Int32, _ policy: PasswordPolicyError?, _ kind: DirectoryKind = .openLDAP) -> BindMeaning {
      var result = LDAPResult(code: code)
      result.policy = policy
      return BindMeaning(result, kind: kind)
    }
    #expect(bind(49, .passwordExpired) == .refused(.passwordExpired, subCode: nil))
    #expect(bind(0, .changeAfterReset) == .refused(.mustChangePassword, subCode: nil))
    #expect(bind(0, .passwordExpired) == .success, "a grace login is one")
    #expect(bind(49, .accountLocked) == .refused(.directoryLocked, subCode: nil))
    #expect(bind(49, nil) == .refused(.wrongPassword, subCode: nil))
    #expect(bind(49, .passwordExpired, .activeDirectory) == .refused(.wrongPassword, subCode: nil))
  }
}

@Suite("Which rule a new password breaks")
struct PasswordPolicyTests {
  private let now = Instant(milliseconds: 1_795_260_831_587)

  private func password(_ text: String) throws -> Password { try #require(Password(Secret(text.utf8))) }

  private func entry(_ attributes: [String: String]) -> LDAPEntry {
    LDAPEntry(
      distinguishedName: "CN=x", attributes: Dictionary(uniqueKeysWithValues: attributes.map { ($0.key.lowercased(), [Array($0.value.utf8)]) }))
  }

  private var domain: PasswordPolicy {
    PasswordPolicy(
      domain: entry(["minPwdLength": "7", "pwdHistoryLength": "24", "minPwdAge": "-864000000000", "pwdProperties": "1"]))
  }

  private func fileTime(_ instant: Instant) -> String { "\((instant.milliseconds + 11_644_473_600_000) * 10_000)" }

  @Test("A domain's and a settings object's policy are read, and what is not demanded is not told")
  func reading() {
    #expect(domain.minimumLength == 7 && domain.historyLength == 24 && domain.minimumAge == .seconds(86_400) && domain.complexity == true)
    let settings = PasswordPolicy(
      settingsObject: entry([
        "msDS-MinimumPasswordLength": "12", "msDS-PasswordHistoryLength": "0", "msDS-MinimumPasswordAge": "0",
        "msDS-PasswordComplexityEnabled": "FALSE",
      ]))
    #expect(settings.minimumLength == 12 && settings.historyLength == nil && settings.minimumAge == nil && settings.complexity == false)
    let nonsense = PasswordPolicy(
      domain: entry(["minPwdLength": "-1", "pwdHistoryLength": "x", "minPwdAge": "-9223372036854775808", "pwdProperties": ""]))
    #expect(nonsense == PasswordPolicy())
  }

  @Test("What the directory tells is believed, and nothing is added")
  func told() throws {
    let rules = domain.rules(told: [.usedBefore], old: try password("a"), new: try password("b"), person: nil, now: now)
    #expect(rules == PasswordRules(broken: [.usedBefore], minimumLength: 7, historyLength: 24, minimumAgeSeconds: 86_400, complexity: true))
  }

  @Test("Where it tells nothing, what can be seen is told: length, age, complexity, the present password")
  func seen() throws {
    let old = try password("Correct.Horse.1")
    func broken(_ new: String, set ago: Duration = .seconds(90_000)) throws -> PasswordRules {
      domain.rules(
        told: [], old: old, new: try password(new),
        person: entry(["pwdLastSet": fileTime(now.adding(.zero - ago)), "sAMAccountName": "alice", "displayName": "Alice Example-Smith"]), now: now)
    }
    #expect(try broken("aB3.").broken == [.tooShort])
    #expect(try broken("aaaaaaaa").broken == [.tooSimple])
    #expect(try broken("Correct.Horse.1").broken == [.usedBefore])
    #expect(try broken("xALICEx.1").broken == [.tooSimple])
    #expect(try broken("1.smith.AB").broken == [.tooSimple])
    let young = try broken("Correct.Horse.2", set: .seconds(600))
    #expect(young.broken == [.tooSoon])
    #expect(young.changeableFrom.map { $0.since(now) } == .seconds(86_400 - 600))
    #expect(try broken("Correct.Horse.2").broken.isEmpty, "the history cannot be seen, and a password filter has rules of its own")
    // Whoever must change a password may do so at once: pwdLastSet is 0.
    let must = domain.rules(told: [], old: old, new: try password("Correct.Horse.2"), person: entry(["pwdLastSet": "0"]), now: now)
    #expect(must.broken.isEmpty && must.changeableFrom == nil)
  }

  @Test("Length is counted as AD counts it, and unicodePwd is UTF-16LE between quotation marks")
  func unicode() throws {
    #expect(UnicodePassword.units(try password("ä😀")) == 3)
    let value = UnicodePassword.value(try password("a✓😀")).withBytes { Array($0) }
    #expect(value == [0x22, 0, 0x61, 0, 0x13, 0x27, 0x3d, 0xd8, 0x00, 0xde, 0x22, 0])
  }

  @Test("Complexity is three of five kinds of characters")
  func complexity() throws {
    for (text, expected) in [
      ("aB1", true), ("aB.", true), ("ab1.", true), ("abc1", false), ("äÖ1", true), ("漢字a1", true), ("漢字", false), ("   a", false),
    ] {
      #expect(UnicodePassword.isComplex(try password(text), names: []) == expected, "\(text)")
    }
    #expect(UnicodePassword.isComplex(try password("Bob1."), names: UnicodePassword.names(entry(["sAMAccountName": "bo"]))))
  }
}
