import Foundation
import Testing

@Suite("Lockout")
struct LockoutScenario {
  /// Below the sample domain's own, which is three: so an account that AD locks would show that we let too many guesses through.
  private static let threshold = 2

  @Test("Guesses lock a name here before AD does, however many at once, in whatever spelling, and whether or not it exists")
  func lockout() async throws {
    try await House.with("lockout", options: .init(threshold: LockoutScenario.threshold)) { house in
      try await sameFromOutside(house)
      try await blocked(house)
      try await spellings(house)
      try await parallel(house)
    }
  }

  private func sameFromOutside(_ house: House) async throws {
    let person = try await house.people("guessed", 1)[0]
    var seen: [[String]] = []
    for name in ["\(person.name)@\(house.realm)", "ghost@\(house.realm)"] {
      var answers: [FrontEndClient.Answer] = []
      for guess in 0..<LockoutScenario.threshold { answers.append(try await house.frontEnd.signIn(name, "wrong \(guess)")) }
      answers.append(try await house.frontEnd.signIn(name, person.password))
      #expect(answers.map(\.gist) == ["200 invalid_credentials", "200 invalid_credentials", "200 temporarily_locked"])
      let wait = try #require(answers.last?.field("retry-after").flatMap { Int($0) })
      #expect((50...60).contains(wait))
      #expect(answers.last?.aadsts == 50053)
      seen.append(answers.map { $0.withoutReferenceAndTime.replacing("\(wait)", with: "…") })
    }
    #expect(seen[0] == seen[1])
    #expect(try await SambaDomain.standard.attribute("badPwdCount", of: person.name) == "2")
    let locked = try await house.admin("users", "locked")
    #expect(locked.contains(person.name))
    #expect(locked.contains("ghost"))
    let name = "\(person.name)@\(house.realm)"
    #expect(try await house.user(name).lockedUntil != nil)
    // Whom a name means is learned when somebody signs in by it, or blocks it.
    #expect(try await house.admin("users", "unlock", person.name).contains("Nothing is counted under \(person.name)."))
    #expect(try await house.frontEnd.signIn(person.name, person.password).gist == "200 temporarily_locked")
    #expect(try await house.user(person.name).lockedUntil != nil)

    try await house.admin("users", "unlock", person.name)
    #expect(try await house.frontEnd.signIn(person.name, person.password).gist == "200 accepted")
    #expect(try await house.user(person.name).failures == 0)
  }

  private func blocked(_ house: House) async throws {
    let person = try await house.people("blocked", 1)[0]
    // By one name, before anybody has used any of them.
    try await house.admin("users", "block", "\(house.domain["AD_NETBIOS"])\\\(person.name)")
    for name in [person.name, "\(person.name)@\(house.realm)", "GATEHOUSE\\\(person.name.uppercased())"] {
      let right = try await house.frontEnd.signIn(name, person.password)
      let wrong = try await house.frontEnd.signIn(name, "wrong")
      #expect(right.gist == "200 temporarily_locked", "\(name): \(right.body)")
      #expect(right.withoutReferenceAndTime == wrong.withoutReferenceAndTime)
    }
    let reference = try await house.frontEnd.signIn(person.name, person.password).reference
    #expect(try await house.trace(reference).remedy.contains("users unblock"))
    try await house.admin("users", "unblock", person.name)
    #expect(try await house.frontEnd.signIn(person.name, person.password).gist == "200 accepted")
  }

  private func spellings(_ house: House) async throws {
    let person = try await house.people("spelt", 1)[0]
    let spellings = [
      person.name, person.name.uppercased(), "\(person.name)@\(house.realm)", "\(person.name.uppercased())@\(house.realm.uppercased())",
      "\(house.domain["AD_NETBIOS"])\\\(person.name)",
    ]
    for spelling in spellings { #expect(try await house.frontEnd.signIn(spelling, person.password).gist == "200 accepted") }
    #expect(try await house.frontEnd.signIn(spellings[1], "wrong 1").gist == "200 invalid_credentials")
    for spelling in spellings { #expect(try await house.user(spelling).failures == 1, "\(spelling)") }
    // The same wrong password again, in another spelling: it counts once.
    #expect(try await house.frontEnd.signIn(spellings[0], "wrong 1").gist == "200 invalid_credentials")
    #expect(try await house.user(spellings[0]).failures == 1)
    #expect(try await house.frontEnd.signIn(spellings[4], "wrong 2").gist == "200 invalid_credentials")
    for spelling in spellings {
      #expect(try await house.user(spelling).lockedUntil != nil, "\(spelling)")
      #expect(try await house.frontEnd.signIn(spelling, person.password).gist == "200 temporarily_locked", "\(spelling)")
    }
    #expect(try await SambaDomain.standard.attribute("badPwdCount", of: person.name) == "2")
  }

  private func parallel(_ house: House) async throws {
    let people = try await house.people("stormed", 2)
    // One stormed in a single spelling and never seen before; one in three that were learned.
    let second = people[1].name
    let learned = [second, "\(second)@\(house.realm)", "gatehouse\\\(second)"]
    for spelling in learned { #expect(try await house.frontEnd.signIn(spelling, people[1].password).gist == "200 accepted") }
    for (person, spellings) in [(people[0], ["\(people[0].name)@\(house.realm)"]), (people[1], learned)] {
      let gists = try await withThrowingTaskGroup(of: String.self) { group in
        for guess in 0..<100 {
          let name = spellings[guess % spellings.count]
          group.addTask { try await house.frontEnd.signIn(name, "guess \(guess)").gist }
        }
        return try await group.reduce(into: [:]) { $0[$1, default: 0] += 1 }
      }
      #expect(Set(gists.keys) == ["200 invalid_credentials", "200 temporarily_locked"])
      #expect(gists["200 invalid_credentials"] == LockoutScenario.threshold, "\(gists)")
      let bad = Int(try await SambaDomain.standard.attribute("badPwdCount", of: person.name) ?? "0") ?? 0
      #expect(bad <= LockoutScenario.threshold, "AD counted \(bad) bad passwords of \(person.name)")
      #expect((try await SambaDomain.standard.attribute("lockoutTime", of: person.name) ?? "0") == "0")
    }
  }
}
