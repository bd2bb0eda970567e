import ActiveDirectory
import Bytes
import Foundation
import Identity
import Testing

@Suite("Passwords before a real OpenLDAP server", .serialized)
struct OpenLDAPTests {
  private func validator(_ change: (inout DirectorySettings) -> Void = { _ in }) async throws -> LDAPPasswordValidator {
    var settings = try await OpenLDAPServer.shared.settings().settings
    change(&settings)
    return try LDAPPasswordValidator.make(settings)
  }

  @Test("Right, wrong and unknown are told apart, and the session must be the person's own")
  func verdicts() async throws {
    let validator = try await validator()
    let judgement = try await validator.judge("alice", "Correct.Horse.1")
    let person = try #require(judgement.verdict.person, "\(judgement)")
    #expect(person.userPrincipalName == "alice")
    #expect(Data(base64Encoded: person.immutableID).map(Array.init) == person.object.id.bytes)
    #expect(try await validator.judge("alice@openldap.test", "Correct.Horse.1").verdict.person?.object == person.object)
    #expect(try await validator.judge("alice", "wrong").verdict.refusal == .wrongPassword)
    #expect(try await validator.judge("nobody", "wrong").verdict == .refused(Refusal(.userNotFound)))
    #expect(try await validator.judge("shared@openldap.test", "wrong").verdict == .refused(Refusal(.ambiguousName)))
    #expect(try await validator.judge("pobrien", "Correct.Horse.2").verdict.person != nil)
    #expect(try await validator.judge("nopassword", "anything").verdict.refusal == .wrongPassword)
    for name in ["*", "alic*", "*)(uid=*))(|(uid=*", "uid=alice,dc=openldap,dc=test"] {
      #expect(try await validator.judge(name, "Correct.Horse.1").verdict == .refused(Refusal(.userNotFound)), "\(name)")
    }
  }

  @Test("Groups come nested, a circle among them ends, and no password is handed out as an attribute")
  func groups() async throws {
    let judgement = try await validator().judge(
      "alice", "Correct.Horse.1", wanting: AttributeRequest(attributes: ["mail", "userPassword", "cn;lang-de"], groups: true))
    let person = try #require(judgement.verdict.person, "\(judgement)")
    #expect(person.attributes == ["mail": ["alice@openldap.test"]], "the service account could read userPassword")
    #expect(
      person.groups.map(Set.init)
        == ["cn=staff,dc=openldap,dc=test", "cn=europe,dc=openldap,dc=test", "cn=everybody,dc=openldap,dc=test"])
  }

  @Test("StartTLS works as LDAPS does")
  func startTLS() async throws {
    let port = try await OpenLDAPServer.shared.settings().port + 1
    let validator = try await validator { settings in
      settings.security = .startTLS
      settings.domains[0].servers = .list([DirectoryServer(host: OpenLDAPServer.host, port: port, address: "127.0.0.1")])
    }
    #expect(try await validator.judge("alice", "Correct.Horse.1").verdict.person != nil)
  }

  @Test("A service account that the server takes for anonymous is not believed")
  func anonymousService() async throws {
    // With `allow bind_anon_cred` this server says success to a name without a password; ours is not empty, so it must be the right one.
    let directory = try await OpenLDAPServer.shared.settings().directory
    try "wrong\n".write(toFile: directory + "/wrong.password", atomically: true, encoding: .utf8)
    let validator = try await validator {
      $0.credential = .passwordFile(bindName: "cn=service,dc=openldap,dc=test", path: directory + "/wrong.password")
    }
    #expect(try await validator.judge("alice", "Correct.Horse.1").verdict == .unknown(.serviceCredentialRefused))
  }

  @Test("The door's own cost over OpenLDAP is small")
  func latency() async throws {
    let validator = try await validator()
    for _ in 0..<50 { _ = try await validator.judge("alice", "Correct.Horse.1") }
    var whole: [Double] = []
    var bind: [Double] = []
    for _ in 0..<500 {
      let started = ContinuousClock.now
      let judgement = try await validator.judge("alice", "Correct.Horse.1")
      whole.append(started.duration(to: .now) / .milliseconds(1))
      bind.append(judgement.trace.last { $0.step == .bind }?.milliseconds ?? 0)
    }
    print("OpenLDAP door: median \(whole.sorted()[250]) ms, of which the bind itself \(bind.sorted()[250]) ms")
    #expect(whole.sorted()[250] - bind.sorted()[250] < 5)
  }
}
