import Foundation
import Testing

@Suite("Front-ends")
struct FrontEndScenario {
  @Test("are recognised by key or certificate, asked for their realms only, and held to their rate")
  func frontEnds() async throws {
    try await House.with("front-ends") { house in
      let person = try await house.people("front", 1)[0]
      try await keys(house, person)
      try await realms(house, person)
      try await rate(house, person)
      try await certificates(house, person)
    }
  }

  private func keys(_ house: House, _ person: (name: String, password: String)) async throws {
    func status(_ key: String) async throws -> Int { try await house.frontEnd.signIn(person.name, person.password, key: key).status }
    let unknown = try await house.frontEnd.signIn(person.name, person.password, key: "ghk_" + String(repeating: "A", count: 43))
    #expect(unknown.gist == "401 unauthenticated")
    #expect(unknown.field("www-authenticate") == "Bearer realm=\"gatehouse\"")
    #expect(try await house.frontEnd.post("/v1/sign-in", body: Data("{}".utf8)).gist == "401 unauthenticated")

    let first = try #require(try await house.admin.json(Told.Key.self, "front-ends", "add", "rotating", "--realm", house.realm).apiKey)
    #expect(try await status(first) == 200)
    let second = try #require(try await house.admin.json(Told.Key.self, "front-ends", "rotate", "rotating").apiKey)
    #expect(try await status(first) == 200, "in the overlap both are good")
    #expect(try await status(second) == 200)
    let third = try #require(try await house.admin.json(Told.Key.self, "front-ends", "rotate", "rotating", "--overlap-hours", "0").apiKey)
    #expect(try await status(second) == 401, "without overlap the key before ends at once")
    #expect(try await status(first) == 401, "no more than two keys at a time")
    #expect(try await status(third) == 200)
    try await house.admin("front-ends", "revoke", "rotating")
    #expect(try await status(third) == 401)
  }

  private func realms(_ house: House, _ person: (name: String, password: String)) async throws {
    try await house.admin("realms", "add", "elsewhere", "--suffix", "elsewhere.test")
    let key = try await house.admin.json(Told.Key.self, "front-ends", "add", "stranger", "--realm", "elsewhere").apiKey
    let answer = try await house.frontEnd.signIn("\(person.name)@\(house.realm)", person.password, key: key)
    let wrong = try await house.frontEnd.signIn("\(person.name)@\(house.realm)", "wrong")
    #expect(answer.withoutReferenceAndTime == wrong.withoutReferenceAndTime)
    #expect(try await house.trace(answer.reference).decision.contains("realmNotAllowed"))
    // Its own realm has no agent: nobody can find out.
    #expect(try await house.frontEnd.signIn("somebody@elsewhere.test", "wrong", key: key).gist == "503 could_not_find_out")
  }

  private func rate(_ house: House, _ person: (name: String, password: String)) async throws {
    let key = try await house.admin.json(Told.Key.self, "front-ends", "add", "hasty", "--realm", house.realm, "--rate", "2").apiKey
    let answers = try await withThrowingTaskGroup(of: FrontEndClient.Answer.self) { group in
      for _ in 0..<20 { group.addTask { try await house.frontEnd.signIn(person.name, person.password, key: key) } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    let good = answers.filter { $0.gist == "200 accepted" }.count
    #expect((4...8).contains(good), "twice the rate in a burst: \(answers.map(\.gist))")
    let rest = answers.filter { $0.gist != "200 accepted" }
    #expect(rest.allSatisfy { $0.gist == "429 rate_exceeded" && $0.field("retry-after") == "1" })
    try await Task.sleep(for: .seconds(1))
    #expect(try await house.frontEnd.signIn(person.name, person.password, key: key).gist == "200 accepted")
    // Nobody else is held up by it.
    #expect(try await house.frontEnd.signIn(person.name, person.password).gist == "200 accepted")
  }

  private func certificates(_ house: House, _ person: (name: String, password: String)) async throws {
    func make(_ name: String) async throws -> (chain: String, key: String) {
      let (chain, key) = ("\(house.gateway.folder)/\(name).pem", "\(house.gateway.folder)/\(name).key")
      try await LeashedProcess.run(
        "/usr/bin/openssl",
        [
          "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=\(name)", "-keyout", key,
          "-out",
          chain,
        ])
      return (chain, key)
    }
    func client(_ certificate: (chain: String, key: String)?) throws -> FrontEndClient {
      try FrontEndClient(url: house.gateway.mutualURL, authority: house.agents[0].roots(), key: nil, certificate: certificate)
    }
    let known = try await make("known")
    try await house.admin("front-ends", "add", "by-certificate", "--realm", house.realm, "--certificate", known.chain, "--without-key")
    let portal = try client(known)
    #expect(try await portal.signIn(person.name, person.password).gist == "200 accepted")
    // It is a front-end, and no agent.
    #expect(try await portal.post("/agent/v1/work", body: Data(#"{"lane":"AAAAAAAAAAAAAAAAAAAAAA"}"#.utf8)).status == 401)
    try await house.admin("front-ends", "revoke", "by-certificate")
    // On the connection that it has already.
    #expect(try await portal.signIn(person.name, person.password).status == 401)
    for stranger in [try await make("stranger"), nil] {
      let turnedAway = try client(stranger)
      await #expect(throws: (any Error).self) { try await turnedAway.signIn(person.name, person.password) }
    }
    // An agent is no front-end.
    let agent = try house.agents[0].impostor(of: house.gateway)
    #expect(try await agent.signIn(person.name, person.password).status == 401)
  }
}
