import Identity
import Testing

@testable import ActiveDirectory

@Suite("What a directory's answer to a bind means")
struct LDAPResultTableTests {
  static func diagnostic(_ data: String, status: String = "80090308") -> [UInt8] {
    Array("\(status): LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data \(data), v1db1".utf8)
  }

  static let known: [UInt32: BindMeaning] = [
    0x525: .refused(.userNotFound, subCode: "525"), 0x52e: .refused(.wrongPassword, subCode: "52e"),
    0x52f: .refused(.accountRestriction, subCode: "52f"), 0x530: .refused(.signInHours, subCode: "530"),
    0x531: .refused(.workstation, subCode: "531"), 0x532: .refused(.passwordExpired, subCode: "532"),
    0x533: .refused(.accountDisabled, subCode: "533"), 0x534: .refused(.signInType, subCode: "534"),
    0x568: .unknown(.tooManyGroups, subCode: "568"), 0x701: .refused(.accountExpired, subCode: "701"),
    0x773: .refused(.mustChangePassword, subCode: "773"), 0x775: .refused(.directoryLocked, subCode: "775"),
  ]

  @Test("Every sub-code from 0 to fff is either in the table or 'could not find out'")
  func everySubCode() {
    for number in UInt32(0)...0xfff {
      let hexadecimal = String(number, radix: 16)
      let meaning = BindMeaning(LDAPResult(code: 49, diagnostic: Self.diagnostic(hexadecimal)), kind: .activeDirectory)
      #expect(meaning == Self.known[number] ?? .unknown(.directoryError, subCode: hexadecimal), "data \(hexadecimal)")
    }
  }

  @Test("Of the results 0 to 123, only 0 is a yes and only 49 is about the password")
  func everyResultCode() {
    for kind in DirectoryKind.allCases {
      for code in Int32(0)...123 {
        let meaning = BindMeaning(LDAPResult(code: code), kind: kind)
        switch (code, kind) {
        case (0, _): #expect(meaning == .success)
        case (49, _), (48, .openLDAP): #expect(meaning == .refused(.wrongPassword, subCode: nil))
        default:
          guard case .unknown = meaning else {
            Issue.record("result \(code) of \(kind) is \(meaning)")
            continue
          }
        }
      }
    }
    #expect(BindMeaning(LDAPResult(code: 51), kind: .activeDirectory) == .unknown(.directoryBusy, subCode: nil))
    #expect(BindMeaning(LDAPResult(code: 52), kind: .activeDirectory) == .unknown(.directoryUnreachable, subCode: nil))
    #expect(BindMeaning(LDAPResult(code: -1), kind: .activeDirectory) == .unknown(.directoryError, subCode: nil))
  }

  @Test("A failed channel binding and a missing domain controller are not the user's fault, whatever the data says")
  func securityStatus() {
    let binding = LDAPResult(code: 49, diagnostic: Self.diagnostic("52e", status: "80090346"))
    #expect(BindMeaning(binding, kind: .activeDirectory) == .unknown(.directoryChannelBinding, subCode: "52e"))
    let nobody = LDAPResult(code: 49, diagnostic: Self.diagnostic("51f", status: "80090311"))
    #expect(BindMeaning(nobody, kind: .activeDirectory) == .unknown(.directoryUnreachable, subCode: "51f"))
  }

  @Test("OpenLDAP's text is not searched for AD's sub-codes")
  func openLDAP() {
    #expect(BindMeaning(LDAPResult(code: 49, diagnostic: Self.diagnostic("533")), kind: .openLDAP) == .refused(.wrongPassword, subCode: nil))
  }

  @Test(
    "The diagnostic text is read where it is well-formed",
    arguments: [
      ("80090308: LdapErr: DSID-0C090400, comment: AcceptSecurityContext error, data 52e, v1db1", "52e"),
      ("80090308: LdapErr: DSID-0C090400, comment: AcceptSecurityContext error, data 52E, v2580\0", "52e"),
      ("8009030C: LdapErr: DSID-0C0905F0, comment: AcceptSecurityContext error, data 775, v3839", "775"),
      ("80090308: data 773", "773"), ("data 0, v1", "0"), ("data  52e, data 533,", "533"), ("data zzz, data 701 x", "701"),
    ])
  func wellFormed(text: String, subCode: String) {
    #expect(ActiveDirectoryDiagnostic(Array(text.utf8)).subCode == subCode)
  }

  @Test(
    "A text without a sub-code says no more than result 49 itself",
    arguments: ["", "data", "data ", "data ,", "data g", "data 52eX, v1", "data 123456789, v1", "DATA 52e,", "Invalid credentials", "\0\0\0"])
  func withoutSubCode(text: String) {
    #expect(ActiveDirectoryDiagnostic(Array(text.utf8)).subCode == nil)
    #expect(BindMeaning(LDAPResult(code: 49, diagnostic: Array(text.utf8)), kind: .activeDirectory) == .refused(.wrongPassword, subCode: nil))
  }

  @Test("The diagnostic is bounded and printed without control characters")
  func bounded() {
    let result = LDAPResult(code: 49, diagnostic: [UInt8](repeating: 0x1b, count: 1 << 20))
    #expect(result.diagnostic.count == LDAPResult.maximumDiagnosticBytes)
    #expect(result.summary.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7f })
  }
}
