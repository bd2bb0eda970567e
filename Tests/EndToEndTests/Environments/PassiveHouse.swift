import Foundation
import Testing

/// A house with one relying party that speaks WS-Federation and is registered by the name `wsapp`.
struct PassiveHouse: Sendable {
  let house: House
  let party: WSFederationRelyingParty

  var admin: AdminTool { house.admin }
  var gateway: GatewayProcess { house.gateway }
  /// Where browsers bring what relying parties ask.
  var signOnURL: String { gateway.url + "/adfs/ls/" }

  static func with(
    _ scenario: String, threshold: Int = 50, register: [String] = ["--preset", "ws-federation"], _ body: (PassiveHouse) async throws -> Void
  ) async throws {
    var options = GatewayProcess.Options()
    options.threshold = threshold
    try await House.with(scenario, options: options) { house in
      let party = try await WSFederationRelyingParty(name: "wsapp", scenario: scenario, gateway: house.gateway)
      do {
        try await party.start()
        try await party.register(at: house.admin, register)
        try await body(PassiveHouse(house: house, party: party))
      } catch {
        print("\(party.logTail)\n\(house.gateway.process?.logText.suffix(4000) ?? "")")
        await party.stop()
        throw error
      }
      await party.stop()
    }
  }

  /// A question to the sign-on endpoint, as somebody else writes it. `wa=wsignin1.0` where nothing is said.
  func question(_ parameters: [(name: String, value: String)], action: String? = "wsignin1.0") -> String {
    signOnURL + "?" + CookieBrowser.encoded((action.map { [(name: "wa", value: $0)] } ?? []) + parameters)
  }

  /// Opens an address; at the sign-in page signs in as this person. It stays at the page that carries the answer on where it shall not follow.
  func signIn(
    _ browser: CookieBrowser, _ url: String, as name: String, password: String? = nil, following: Bool = true
  ) async throws -> CookieBrowser.Page {
    var page = try await browser.open(url)
    if let form = try? page.form(with: "password") {
      let typed = name.contains("@") || name.contains("\\") ? name : "\(name)@\(house.realm)"
      let right = try password ?? house.password(name)
      page = try await browser.submit(form, of: page, filling: ["userName": typed, "password": right])
    }
    return following ? try await browser.carryOn(page) : page
  }

  /// What stands in the answer's form on the way to a relying party.
  static func answer(on page: CookieBrowser.Page) throws -> HTMLScan.Form {
    let form = try page.form(with: "wresult")
    guard form.method == "POST", form["wa"] == "wsignin1.0" else { throw ServerProcess.Failure(description: "no answer: \(page.body)") }
    return form
  }

  /// PEM file of the primary token-signing certificate.
  func certificate() async throws -> String {
    struct Key: Decodable {
      var id: String
      var family: String
      var state: String
    }
    guard let key = try await admin.json([Key].self, "certs", "list").first(where: { $0.family == "rsa" && $0.state == "primary" }) else {
      throw ServerProcess.Failure(description: "there is no primary key")
    }
    let file = gateway.folder + "/signing.pem"
    try (try await admin("certs", "export", key.id)).write(toFile: file, atomically: true, encoding: .utf8)
    return file
  }

  /// The oracle that believes the primary certificate.
  func oracle() async throws -> DocumentOracle { DocumentOracle(certificate: try await certificate()) }

  /// What `gatehouse trace` says of the reference on a page; for a page without one, the page.
  func explained(_ page: CookieBrowser.Page) async throws -> String {
    guard let reference = page.body.firstMatch(of: #/<code>([^<]+)<\/code>/#)?.output.1 else { return "\(page.url) \(page.status): \(page.body)" }
    return try await admin("trace", String(reference))
  }
}

/// Gives all tests of a suite one house with a WS-Federation relying party, `PassiveHouse.current`. Such suites are `.serialized`, and their tests leave behind what
/// they found, or have people and relying parties of their own.
struct SharedPassiveHouse: SuiteTrait, TestScoping {
  let scenario: String
  var threshold = 50
  var register: [String]

  func provideScope(for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void) async throws {
    try await PassiveHouse.with(scenario, threshold: threshold, register: register) { house in
      try await PassiveHouse.$shared.withValue(house) { try await function() }
    }
  }
}

extension Trait where Self == SharedPassiveHouse {
  static func passive(_ scenario: String, threshold: Int = 50, register: [String] = ["--preset", "ws-federation"]) -> SharedPassiveHouse {
    SharedPassiveHouse(scenario: scenario, threshold: threshold, register: register)
  }
}

extension PassiveHouse {
  @TaskLocal fileprivate static var shared: PassiveHouse?

  /// The house of the suite that the running test belongs to.
  static var current: PassiveHouse { get throws { try #require(shared, "the suite has no .passive trait") } }
}
