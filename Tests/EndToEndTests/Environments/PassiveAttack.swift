import Foundation
import NIOSSL

/// One attack on the passive requestor profile, as a file of `Attacks/ws-federation` has it: `Attacks/README.md` explains every member.
struct PassiveAttack: Decodable, Sendable, CustomStringConvertible {
  enum Expectation: String, Decodable, Sendable { case local400, local4xx, carried, either, stays }

  var name: String
  var threat: String
  var reason: String
  var expected: Expectation
  /// Name and value, to be percent-encoded.
  var parameters: [[String]]?
  var query: String?
  var body: String?
  var contentType: String?

  var description: String { "\(name): \(reason)" }

  static func all() throws -> [PassiveAttack] { try AttackFiles.read(PassiveAttack.self, "ws-federation") { $0.name } }

  /// A registered relying party.
  struct RelyingParty: Sendable {
    var realm: String
    var reply: String
  }

  /// Path and query, body, and wctx, where there is one to be carried.
  struct Request: Sendable {
    var target: String
    var body: String?
    var context: String?
  }

  func request(own: RelyingParty, other: RelyingParty) throws -> Request {
    var values = [
      "realm": own.realm, "realm.upper": own.realm.uppercased(), "reply": own.reply, "other.realm": other.realm, "other.reply": other.reply,
    ]
    if let parts = URLComponents(string: own.reply), let host = parts.host {
      values["reply.host"] = host
      values["reply.host.fullwidth"] = host.replacing(".", with: "\u{ff0e}")
      values["reply.host.rest"] = String(host.dropFirst())
      values["reply.port"] = parts.port.map { "\($0)" } ?? "443"
      values["reply.authority"] = host + (parts.port.map { ":\($0)" } ?? "")
    }
    let encoded: [String: String] = values.merging(values.map { ($0.key + ".raw", $0.value) }) { $1 }.reduce(into: [:]) {
      $0[$1.key] = $1.key.hasSuffix(".raw") ? $1.value : $1.value.queryEncoded
    }
    let filled = try (parameters ?? []).map { (name: $0[0], value: try Template.fill($0[1], values, escaping: false)) }
    let text = try parameters == nil ? Template.fill(query ?? "", encoded, escaping: false) : PassiveAttack.encoded(filled)
    return Request(
      target: "/adfs/ls/" + (text.isEmpty ? "" : "?" + text), body: try body.map { try Template.fill($0, encoded, escaping: false) },
      context: filled.first { $0.name == "wctx" }?.value)
  }

  private static func encoded(_ fields: [(name: String, value: String)]) -> String {
    fields.map { "\($0.name.queryEncoded)=\($0.value.queryEncoded)" }.joined(separator: "&")
  }
}

/// Attacks are files of JSON, one each, named for what they are.
enum AttackFiles {
  static func read<Attack: Decodable>(_ type: Attack.Type, _ folder: String, name: (Attack) -> String) throws -> [Attack] {
    let path = BuiltProgram.repository + "/Tests/EndToEndTests/Attacks/" + folder
    return try FileManager.default.contentsOfDirectory(atPath: path).filter { $0.hasSuffix(".json") }.sorted().map { file in
      do {
        let attack = try JSONDecoder().decode(Attack.self, from: try Data(contentsOf: URL(fileURLWithPath: path + "/" + file)))
        guard name(attack) + ".json" == file else { throw FederationAttack.Slip(description: "the name is \(name(attack))") }
        return attack
      } catch { throw FederationAttack.Slip(description: "\(file): \(error)") }
    }
  }
}

/// Sends attacks to a running gateway and says what is wrong with its answers.
struct PassiveAttackRun: Sendable {
  /// The gateway's public listener on loopback.
  let port: Int
  let authority: NIOSSLTrustRoots
  let own: PassiveAttack.RelyingParty
  let other: PassiveAttack.RelyingParty
  /// Fills in the gateway's sign-in page and answers the page that carries the answer on, without carrying it on.
  let signIn: @Sendable (CookieBrowser, CookieBrowser.Page) async throws -> CookieBrowser.Page

  func objections(to attack: PassiveAttack) async throws -> [String] {
    let request = try attack.request(own: own, other: other)
    if attack.expected == .carried { return try await carried(request, exactly: true) }
    let answer = try await send(request, attack)
    switch attack.expected {
    case .either where (answer.status ?? 0) < 400 && answer.status != nil: return try await carried(request, exactly: false)
    case .stays: return PassiveAttackRun.staying(answer)
    default:
      var found = FederationAttackRun.objections(to: answer, mayBeCutOff: attack.expected == .local4xx)
      // What is understood and not offered is told with 403, too.
      if attack.expected != .local400, answer.status == 403 { found.removeAll { $0 == "answered with 403" } }
      if answer.body.contains("wresult") { found.append("an answer for a relying party") }
      return found
    }
  }

  private func send(_ request: PassiveAttack.Request, _ attack: PassiveAttack) async throws -> RawHTTPS.Answer {
    let fields = attack.contentType.map { [("Content-Type", $0)] } ?? []
    return try await RawHTTPS.send(
      RawHTTPS.bytes(request.body == nil ? "GET" : "POST", request.target, host: "localhost:\(port)", fields: fields, body: request.body), to: port,
      authority: authority)
  }

  /// Nobody is led anywhere, whatever was asked.
  private static func staying(_ answer: RawHTTPS.Answer) -> [String] {
    guard let status = answer.status else { return ["no answer"] }
    var found = status < 500 ? [] : ["answered with \(status)"]
    if let location = answer["location"], location.contains("evil") || !location.hasPrefix("/") { found.append("led to \(location)") }
    do {
      for tag in try HTMLScan.tags(in: answer["content-type"]?.hasPrefix("text/html") == true ? answer.body : "") {
        for (name, value) in tag.attributes.sorted(by: { $0.key < $1.key }) where value.contains("evil") || value.contains("javascript:") {
          found.append("<\(tag.name) \(name)=\(value)>")
        }
      }
    } catch { found.append("a page that can be read in two ways: \(error)") }
    return found
  }

  /// What is wrong with a sign-in that goes on: the answer must go to where it is registered, with the very wctx.
  private func carried(_ request: PassiveAttack.Request, exactly: Bool) async throws -> [String] {
    let browser = CookieBrowser(authority: authority)
    let url = "https://localhost:\(port)" + request.target
    let asked =
      request.body == nil
      ? try await browser.open(url)
      : try await browser.follow(
        try await browser.request(
          url, method: "POST", body: Array((request.body ?? "").utf8), fields: [("content-type", "application/x-www-form-urlencoded")]))
    guard asked.status == 200 else { return ["answered with \(asked.status)"] }
    let page = try await signIn(browser, asked)
    var found = FederationAttackRun.objections(toFields: { page[$0] })
    guard let form = try page.forms().first(where: { $0["wresult"] != nil }) else { return found + ["no answer: \(page.status) \(page.url)"] }
    if form.action != own.reply { found.append("the answer goes to \(form.action)") }
    if exactly, form["wctx"].map({ Array($0.utf8) }) != request.context.map({ Array($0.utf8) }) {
      found.append("wctx came back as \(form["wctx"] ?? "nothing")")
    }
    for shown in [asked, page] {
      for tag in try HTMLScan.tags(in: shown.body) where tag.attributes.keys.contains(where: { $0.hasPrefix("on") }) {
        found.append("a handler: \(tag)")
      }
      for tag in try HTMLScan.tags(in: shown.body) where ["a", "form", "iframe", "img", "script"].contains(tag.name) {
        for (name, value) in tag.attributes where value.contains("evil.example") { found.append("<\(tag.name) \(name)=\(value)>") }
      }
    }
    return found
  }
}
