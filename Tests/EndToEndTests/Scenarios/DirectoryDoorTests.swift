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
}
