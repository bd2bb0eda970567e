import Foundation
import Testing

/// Every file of `Attacks/ws-federation` and `Attacks/ws-trust` against a gateway that two relying parties are registered with.
@Suite(
  "Attacks on WS-Federation and WS-Trust", .serialized,
  .passive("ws-attacks", threshold: 90, register: ["--preset", "ws-federation", "--active", "on"]))
struct WSFederationAttackTests {
  /// Registered, and not for rich clients.
  private func other() async throws -> WSFederationRelyingParty {
    let house = try PassiveHouse.current
    let party = try await WSFederationRelyingParty(name: "other", scenario: "ws-attacks", gateway: house.gateway)
    if try await !house.admin("rp", "list").contains(party.realm) { try await party.register(at: house.admin) }
    return party
  }

  /// Passwords that are markup find every place at which one is written without care.
  private func person(_ name: String) async throws -> (name: String, password: String) {
    let person = (name: name, password: "R&ght.<Pass>.\"1'")
    try await SambaDomain.add([person], to: PassiveHouse.current.house.domain)
    return person
  }

  @Test("What a browser brings that is not quite right is refused by the gateway itself, and what it echoes is harmless")
  func passive() async throws {
    let house = try PassiveHouse.current
    let (party, other) = (house.party, try await other())
    let person = try await person("passively-attacked")
    let run = PassiveAttackRun(
      port: house.gateway.publicPort, authority: house.gateway.publicAuthority, own: .init(realm: party.realm, reply: party.reply),
      other: .init(realm: other.realm, reply: other.reply),
      signIn: { browser, page in
        guard let form = try? page.form(with: "userName") else { return page }
        return try await browser.submit(
          form, of: page, filling: ["userName": "\(person.name)@\(house.house.realm)", "password": person.password])
      })
    // What is right must be answered, or refusals prove nothing.
    var right = try #require(try PassiveAttack.all().first { $0.name == "reply-foreign-host" })
    right.expected = .carried
    right.parameters?[2][1] = "{reply}"
    #expect(try await run.objections(to: right) == [])
    var objections: [String] = []
    for attack in try PassiveAttack.all() {
      objections += try await run.objections(to: attack).map { "\(attack): \($0)" }
      try #require(house.gateway.process?.isRunning == true, "\(attack): the gateway ended")
    }
    #expect(objections.isEmpty, "\(objections.joined(separator: "\n"))")
    #expect(await house.gateway.readiness() == 200)
  }

  @Test(
    "What a client sends that is not quite right is a fault without a token; the directory hears only of real tries",
    arguments: TrustQuestion.Version.allCases)
  func trust(version: TrustQuestion.Version) async throws {
    let house = try PassiveHouse.current
    let other = try await other()
    let person = try await person("attacked-\(version.rawValue)")
    try await house.admin("federation", "enable", "\(version.rawValue)/usernamemixed")
    let run = TrustAttackRun(
      port: house.gateway.publicPort, authority: house.gateway.publicAuthority,
      question: TrustQuestion(
        version: version, endpoint: house.gateway.url + version.path, audience: house.party.realm, userName: "\(person.name)@\(house.house.realm)",
        password: person.password), otherRealm: other.realm)
    let right = try JSONDecoder().decode(TrustAttack.self, from: Data(#"{"name":"r","threat":"-","reason":"right","expected":"answered"}"#.utf8))
    #expect(try await run.objections(to: right) == [])
    var objections: [String] = []
    for attack in try TrustAttack.all() {
      objections += try await run.objections(to: attack).map { "\(attack): \($0)" }
      try #require(house.gateway.process?.isRunning == true, "\(attack): the gateway ended")
    }
    #expect(objections.isEmpty, "\(objections.joined(separator: "\n"))")
    #expect(await house.gateway.readiness() == 200)
    #expect(try await run.objections(to: right) == [])
    #expect(house.gateway.process?.logText.contains(person.password) == false)
  }
}
