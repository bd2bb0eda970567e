import Foundation
import NIOSSL

/// Sends attacks to a running gateway and says what is wrong with its answers.
struct FederationAttackRun: Sendable {
  /// The gateway's public listener on loopback.
  let port: Int
  let authority: NIOSSLTrustRoots
  let target: FederationAttack.Target
  /// Fills in the gateway's sign-in page and answers the page that carries the response on, without carrying it on.
  let signIn: @Sendable (CookieBrowser, CookieBrowser.Page) async throws -> CookieBrowser.Page

  /// Runs them all; answers what is wrong, a line each. `alive` is asked after each attack: an attack that ends the gateway is named.
  func objections(to attacks: [FederationAttack], alive: () -> Bool) async throws -> [String] {
    var found: [String] = []
    for attack in attacks {
      found += try await objections(to: attack).map { "\(attack): \($0)" }
      guard alive() else { return found + ["\(attack): the gateway ended"] }
    }
    return found
  }

  func objections(to attack: FederationAttack) async throws -> [String] {
    let requests = try await attack.requests(to: target)
    for request in requests.dropLast() {
      let answer = try await send(request)
      guard let status = answer.status, (200..<400).contains(status) else {
        return ["what is right the first time was answered with \(answer.status.map { "\($0)" } ?? "nothing")"]
      }
    }
    guard let request = requests.last else { return ["no request"] }
    if attack.expected == .carried { return try await carried(request, attack) }
    let answer = try await send(request)
    if attack.expected == .either, let status = answer.status, status < 400 {
      // Another one, since the first was taken: the same again would be a replay.
      guard let another = try await attack.requests(to: target).last else { return ["no request"] }
      return try await carried(another, attack, exactly: false)
    }
    return FederationAttackRun.objections(to: answer, mayBeCutOff: attack.expected == .local4xx)
  }

  private func send(_ request: FederationAttack.Request) async throws -> RawHTTPS.Answer {
    let fields = request.contentType.map { [("Content-Type", $0)] } ?? []
    return try await RawHTTPS.send(
      RawHTTPS.bytes(request.method, request.target, host: "localhost:\(port)", fields: fields, body: request.body), to: port, authority: authority)
  }

  /// What is wrong with a refusal: it must come from the gateway itself and lead nowhere.
  static func objections(to answer: RawHTTPS.Answer, mayBeCutOff: Bool = false) -> [String] {
    guard let status = answer.status else { return mayBeCutOff ? [] : ["no answer"] }
    let allowed = mayBeCutOff ? [400, 413, 414, 415, 431] : [400]
    var found = allowed.contains(status) ? [] : ["answered with \(status)"]
    if let location = answer["location"] { found.append("led to \(location)") }
    for field in answer.fields where field.value.contains("evil") || field.name.lowercased() == "set-cookie" && field.value.hasPrefix("x=") {
      found.append("the field \(field.name): \(field.value)")
    }
    guard answer["content-type"]?.hasPrefix("text/html") == true else { return found }
    found += objections(toPage: answer.body) + objections(toFields: { answer[$0] })
    return found
  }

  /// What every page must be, whatever was asked.
  static func objections(toFields field: (String) -> String?) -> [String] {
    var found: [String] = []
    let policy = field("content-security-policy") ?? ""
    for directive in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] where !policy.contains(directive) {
      found.append("the policy has no \(directive): \(policy)")
    }
    if field("x-content-type-options") != "nosniff" { found.append("no X-Content-Type-Options") }
    if field("cache-control")?.contains("no-store") != true { found.append("may be stored") }
    return found
  }

  private static func objections(toPage page: String) -> [String] {
    do {
      var found: [String] = []
      for tag in try HTMLScan.tags(in: page) {
        for (name, value) in tag.attributes.sorted(by: { $0.key < $1.key }) {
          let lowered = value.lowercased()
          if lowered.contains("evil.example") || lowered.contains("javascript:") || lowered.hasPrefix("data:text/html") {
            found.append("<\(tag.name) \(name)=\(value)>")
          }
          if name.hasPrefix("on") { found.append("a handler: <\(tag.name) \(name)=\(value)>") }
        }
      }
      for form in try HTMLScan.forms(in: page) {
        if form["SAMLResponse"] != nil { found.append("a form with a response") }
        if form.action.contains("://") || form.action.hasPrefix("//") { found.append("a form that leads to \(form.action)") }
      }
      return found
    } catch { return ["a page that can be read in two ways: \(error)"] }
  }

  /// What is wrong with a sign-in that goes on: the response must go to where it is registered, with the very RelayState.
  private func carried(_ request: FederationAttack.Request, _ attack: FederationAttack, exactly: Bool = true) async throws -> [String] {
    let browser = CookieBrowser(authority: authority)
    let url = "https://localhost:\(port)" + request.target
    let asked =
      request.method == "GET"
      ? try await browser.open(url)
      : try await browser.follow(
        try await browser.request(
          url, method: "POST", body: Array((request.body ?? "").utf8), fields: [("content-type", request.contentType ?? "")]))
    guard asked.status == 200 else { return ["answered with \(asked.status)"] }
    let page = try await signIn(browser, asked)
    var found = FederationAttackRun.objections(toFields: { page[$0] })
    guard let form = try page.forms().first(where: { $0["SAMLResponse"] != nil }) else { return found + ["no response: \(page.status) \(page.url)"] }
    let party = attack.party == .unsigned ? target.unsigned : target.signing
    if form.action != party.assertionConsumerService { found.append("the response goes to \(form.action)") }
    if exactly, form["RelayState"].map({ Array($0.utf8) }) != request.relayState.map({ Array($0.utf8) }) {
      found.append("RelayState came back as \(form["RelayState"] ?? "nothing")")
    }
    // The page consists of the gateway's own elements, whatever was echoed: the scan above would not have found the form otherwise.
    for tag in try HTMLScan.tags(in: page.body) where tag.attributes.keys.contains(where: { $0.hasPrefix("on") }) {
      found.append("a handler: \(tag)")
    }
    return found
  }
}
