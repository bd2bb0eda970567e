import Foundation
import Testing

@Suite("A sign-in through gateway and agent", .serialized)
struct SignInScenario {
  struct Account: Sendable, CustomTestStringConvertible {
    var name: String
    var gist: String
    var aadsts: Int?
    var testDescription: String { "\(name): \(gist)" }
  }

  /// The right password in every state of an account; the sample domain tells the passwords.
  static let accounts = [
    Account(name: "alice", gist: "200 accepted"),
    Account(name: "disabled", gist: "200 account_disabled", aadsts: 50057),
    Account(name: "locked", gist: "200 invalid_credentials", aadsts: 50126),
    Account(name: "expired", gist: "200 account_expired", aadsts: 50057),
    Account(name: "oldpassword", gist: "200 password_expired", aadsts: 50144),
    Account(name: "mustchange", gist: "200 password_change_required", aadsts: 50055),
    Account(name: "nighthours", gist: "200 not_allowed_now", aadsts: 50105),
    Account(name: "workstation", gist: "200 not_allowed_here", aadsts: 50105),
    Account(name: "unicode", gist: "200 accepted"),
    Account(name: "pobrien", gist: "200 accepted"),
    Account(name: "nomail", gist: "200 accepted"),
  ]

  @Test("is answered by the state of the account, looks the same for all who are unknown, and can be explained")
  func everything() async throws {
    try await House.with("sign-in") { house in
      try await states(house)
      try await sameFromOutside(house)
      try await person(house)
      try await spellings(house)
      try await explained(house)
      try await latency(house)
    }
  }

  private func states(_ house: House) async throws {
    try await SambaDomain.forgive(SignInScenario.accounts.map(\.name).filter { $0 != "locked" }, in: house.domain)
    for account in SignInScenario.accounts {
      let answer = try await house.frontEnd.signIn(account.name, house.password(account.name))
      #expect(answer.gist == account.gist, "\(account.name): \(answer.body)")
      #expect(answer.aadsts == account.aadsts, "\(account.name)")
      #expect(answer.field("cache-control") == "no-store")
    }
  }

  /// Whether a name exists must not be told by body, header or status: not of a wrong password, not of a name that exists and is locked by AD.
  private func sameFromOutside(_ house: House) async throws {
    let person = try await house.people("same", 1)[0]
    let answers = [
      try await house.frontEnd.signIn("\(person.name)@\(house.realm)", "wrong"),
      try await house.frontEnd.signIn("nobody@\(house.realm)", "wrong"),
      try await house.frontEnd.signIn("locked@\(house.realm)", "wrong"),
      try await house.frontEnd.signIn("locked@\(house.realm)", house.password("locked")),
      try await house.frontEnd.signIn("twins@\(house.realm)", house.password("twin1")),
      try await house.frontEnd.signIn("somebody@elsewhere.test", "wrong"),
      try await house.frontEnd.signIn(person.name, ""),
    ]
    for answer in answers {
      #expect(answer.withoutReferenceAndTime == answers[0].withoutReferenceAndTime)
      #expect(answer.gist == "200 invalid_credentials")
    }
    #expect(Set(answers.map(\.reference)).count == answers.count)
  }

  private func person(_ house: House) async throws {
    let answer = try await house.frontEnd.signIn(
      "alice@\(house.realm)", house.password("alice"), attributes: ["mail", "department", "telephoneNumber", "title"], groups: true)
    let alice = try #require(answer.person, "\(answer.body)")
    #expect(alice.attributes == ["mail": ["alice.example@\(house.realm)"], "department": ["Research"], "telephoneNumber": ["+1 555 0100"]])
    #expect(alice.userPrincipalName == "alice@\(house.realm)")
    // Staff is a member of Europe, and Europe of Everybody: what is nested counts.
    let groups = try #require(alice.groups)
    for name in ["CN=Staff,", "CN=Europe", "CN=Everybody,", "CN=Domain Users,"] {
      #expect(groups.contains { $0.hasPrefix(name) }, "\(name) is not among \(groups)")
    }
    // The ImmutableID is the objectGUID in base64, as AD's tools print it.
    let guid = try await attribute("objectGUID", of: "alice", house)
    let bytes = try #require(Data(base64Encoded: alice.immutableID))
    #expect(AdminFormat.guid(Array(bytes)) == guid)
    #expect(alice.objectID.isEmpty == false)
    let plain = try await house.frontEnd.signIn("alice@\(house.realm)", house.password("alice"))
    #expect(plain.person?.groups == nil)
    #expect(plain.person?.attributes == [:])
    // The sample domain's passwords live 42 days, AD's own default, unless somebody's policy says otherwise.
    let lifetime = try await SambaDomain.standard.policy("maxPwdAge", house.domain)
    let expiry = alice.passwordExpires
    if lifetime == "-9223372036854775808" || lifetime == "0" {
      #expect(expiry == nil)
    } else {
      #expect((expiry ?? 0) > Int64(Date().timeIntervalSince1970 * 1000))
    }
  }

  private func attribute(_ name: String, of user: String, _ house: House) async throws -> String? {
    try await SambaDomain.standard.attribute(name, of: user)
  }

  private func spellings(_ house: House) async throws {
    let password = try house.password("alice")
    for name in [
      "ALICE@\(house.realm.uppercased())", "\(house.domain["AD_NETBIOS"])\\alice", "gatehouse\\ALICE", "alice", "alice.example@\(house.realm)",
    ] {
      let answer = try await house.frontEnd.signIn(name, password)
      #expect(answer.person?.userPrincipalName == "alice@\(house.realm)", "\(name): \(answer.body)")
    }
    let composed = try await house.frontEnd.signIn("jörg.müller@\(house.realm)", house.password("jmueller"))
    #expect(composed.gist == "200 accepted")
  }

  private func explained(_ house: House) async throws {
    let answer = try await house.frontEnd.signIn("mustchange@\(house.realm)", house.password("mustchange"))
    let text = try await house.admin("trace", answer.reference)
    #expect(text.contains("Cause:   The user must change the password at the next sign-in: pwdLastSet is 0 (AD sub-code 773)."))
    #expect(text.contains("Remedy:  The user changes the password"))
    #expect(text.contains("Active Directory's sub-code: 773."))
    #expect(text.contains("agent one"))
    #expect(text.contains(house.domain["AD_IP"]))
    let told = try await house.trace(answer.reference)
    #expect(told.reference == answer.reference)
    #expect(told.decision.contains("mustChangePassword"))
    #expect(told.steps.contains { $0.hasPrefix("Bind: ") && $0.hasSuffix(" ms)") })
    // As people read it over the telephone.
    #expect(try await house.trace(answer.reference.lowercased().replacing("-", with: "")).reference == answer.reference)
    let unknown = try await house.admin.attempt("trace", "0000-0000-0000")
    #expect(unknown.status == 1)
    #expect(unknown.complaint.contains("No audit row has the reference 0000-0000-0000."))
    let nonsense = try await house.admin.attempt("trace", "what?")
    #expect(nonsense.complaint.contains("\"what?\" is no reference"))
  }

  /// Printed, not judged: what gateway, link and agent add to the directory's own bind.
  private func latency(_ house: House) async throws {
    let password = try house.password("alice")
    var whole: [Double] = []
    var references: [String] = []
    for _ in 0..<200 {
      let answer = try await house.frontEnd.signIn("alice@\(house.realm)", password)
      whole.append(Double(answer.took.components.attoseconds) / 1e15 + Double(answer.took.components.seconds) * 1000)
      references.append(answer.reference)
    }
    var steps: [String: [Double]] = [:]
    for reference in references.suffix(20) {
      for step in try await house.trace(reference).steps {
        guard let match = step.firstMatch(of: /^(Agent|Search|Bind): .*\(([0-9.]+) ms\)$/), let value = Double(match.output.2) else { continue }
        steps[String(match.output.1), default: []].append(value)
      }
    }
    func median(_ values: [Double]?) -> Double { values.map { $0.isEmpty ? 0 : $0.sorted()[$0.count / 2] } ?? 0 }
    func rounded(_ value: Double) -> Double { (value * 10).rounded() / 10 }
    let (all, agent, search, bind) = (median(whole), median(steps["Agent"]), median(steps["Search"]), median(steps["Bind"]))
    print(
      "a sign-in over its bind: \(rounded(all - bind)) ms = \(rounded(all)) ms in all - \(bind) ms for the bind. Of it: search \(search) ms, "
        + "link and agent \(rounded(agent - search - bind)) ms, gateway, store and client \(rounded(all - agent)) ms (medians; p95 in all \(rounded(whole.sorted()[190])) ms)"
    )
  }
}

/// As AD's tools print things.
enum AdminFormat {
  /// A GUID of 16 bytes: the first three fields are little-endian.
  static func guid(_ bytes: [UInt8]) -> String {
    guard bytes.count == 16 else { return "" }
    let order = [3, 2, 1, 0, -1, 5, 4, -1, 7, 6, -1, 8, 9, -1, 10, 11, 12, 13, 14, 15]
    return order.map { $0 < 0 ? "-" : String(format: "%02x", bytes[$0]) }.joined()
  }
}

extension SambaDomain {
  /// An attribute of the domain itself, where AD keeps its password policy.
  func policy(_ attribute: String, _ settings: Settings) async throws -> String? {
    let output = try await LeashedProcess.run("/usr/bin/ldbsearch", ["-H", settings["AD_SAM"], "-b", settings["AD_BASE"], "-s", "base", attribute])
    return output.split(separator: "\n").first { $0.hasPrefix("\(attribute): ") }.map { String($0.dropFirst(attribute.count + 2)) }
  }
}
