import Bytes
import Foundation
import GatehouseTesting
import Identity
import SignIn
import Testing

@testable import Web

@Suite("POST /v1/change-password")
struct PasswordChangeRouteTests {
  private struct Body: Decodable {
    struct Rules: Decodable {
      var broken: [String]
      var minimumLength: Int?
    }
    struct User: Decodable { var userPrincipalName: String }
    var verdict: String
    var reference: String
    var code: String?
    var message: String?
    var rules: Rules?
    var user: User?
  }

  private func post(_ gateway: LiveGateway, _ body: String) async throws -> RawAnswer {
    try await gateway.ask(
      RawRequest(
        "POST", "/v1/change-password", headers: [("Authorization", "Bearer \(gateway.apiKey)"), ("Content-Type", "application/json")],
        body: Array(body.utf8)))
  }

  private func ask(
    _ gateway: LiveGateway, user: String = "alice@contoso.com", _ old: String = "right", _ new: String = "new password"
  ) async throws -> RawAnswer {
    try await post(gateway, #"{"userName":"\#(user)","password":"\#(old)","newPassword":"\#(new)"}"#)
  }

  @Test("tells a change, a new password that was not taken, and what nobody could find out")
  func outcomes() async throws {
    try await withGateway { gateway async throws in
      let changed = try await ask(gateway)
      #expect(changed.status == 200)
      let body = try changed.decode(Body.self)
      #expect(body.verdict == "changed" && body.user?.userPrincipalName == "alice@contoso.com")
      let event = try #require(await gateway.store.events.last)
      #expect(event.kind == .passwordChange && event.reference?.text == body.reference && event.outcome == "changed")

      let short = try await ask(gateway, "right", "short")
      #expect(short.status == 200)
      let told = try short.decode(Body.self)
      #expect(told.verdict == "not_taken" && told.code == "new_password_not_taken")
      #expect(told.message == "The new password must have at least 7 characters.")
      #expect(told.rules?.broken == ["too_short"] && told.rules?.minimumLength == 7)

      gateway.script.answer("alice@contoso.com", with: .unknown(.agentLost))
      let unknown = try await ask(gateway)
      #expect(unknown.status == 503 && unknown.value("retry-after") != nil)
      #expect(try unknown.decode(Body.self).message?.contains("Sign in with the new password; if that does not work, with the old one.") == true)
    }
  }

  @Test("refuses a wrong old password exactly as a sign-in refuses it, known name or not")
  func refusals() async throws {
    try await withGateway { gateway async throws in
      gateway.script.answer("nobody@contoso.com", with: .refused(Refusal(.userNotFound)))
      var seen: Set<String> = []
      for answer in [
        try await ask(gateway, "wrong"), try await ask(gateway, user: "nobody@contoso.com", "wrong"),
        try await gateway.signIn(#"{"userName":"alice@contoso.com","password":"wrong too"}"#),
      ] {
        let body = try answer.decode(SignInBody.self)
        seen.insert("\(answer.status) \(body.verdict) \(body.code ?? "-") \(body.aadsts ?? 0) \(body.message ?? "-")")
      }
      #expect(seen.count == 1, "\(seen)")
    }
  }

  @Test("takes the same fields as a sign-in and newPassword, and a key")
  func shape() async throws {
    try await withGateway { gateway async throws in
      for body in [
        #"{"userName":"a","password":"b"}"#, #"{"userName":"a","password":"b","newPassword":1}"#,
        #"{"userName":"a","password":"b","newPassword":"c","oldPassword":"d"}"#, #"{"password":"b","newPassword":"c"}"#, "[]", "",
      ] {
        #expect(try await post(gateway, body).status == 400, "\(body)")
      }
      #expect(try await gateway.signIn(#"{"userName":"a","password":"b","newPassword":"c"}"#).status == 400)
    }
  }

  @Test("Words tell what is broken, or all that is demanded")
  func words() {
    let demands = PasswordRules(minimumLength: 12, historyLength: 24, minimumAgeSeconds: 86_400, complexity: true)
    #expect(
      demands.sentences.joined(separator: " ")
        == "The new password was not accepted. It must have at least 12 characters, have characters of three kinds (capital letters, small letters, digits, other characters) and not contain your name and be none of your last 24 passwords. A password may be changed after 1 day at the earliest."
    )
    #expect(PasswordRules().sentences.count == 2)
    for rule in PasswordRule.allCases {
      #expect(PasswordRules(broken: [rule]).sentences.count == 1)
      var full = demands
      full.broken = [rule]
      #expect(full.sentences.count == 1)
    }
    #expect(
      [1, 60, 90, 3600, 86_400, 172_800].map { PasswordRules.words(.seconds($0)) } == [
        "1 second", "1 minute", "90 seconds", "1 hour", "1 day", "2 days",
      ])
  }
}
