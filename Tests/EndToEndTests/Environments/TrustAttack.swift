import Foundation
import NIOSSL

/// One attack on the WS-Trust endpoints, as a file of `Attacks/ws-trust` has it: `Attacks/README.md` explains every member.
struct TrustAttack: Decodable, Sendable, CustomStringConvertible {
  enum Expectation: String, Decodable, Sendable { case fault, refused, answered, either }
  struct Edit: Decodable, Sendable {
    var from: String
    var to: String
  }

  var name: String
  var threat: String
  var reason: String
  var expected: Expectation
  var code: String?
  var edits: [Edit]?
  var body: String?
  var method: String?
  var contentType: String?
  var fields: [String: String]?
  var mustNotAnswer: Bool?

  var description: String { "\(name): \(reason)" }

  static func all() throws -> [TrustAttack] { try AttackFiles.read(TrustAttack.self, "ws-trust") { $0.name } }

  /// What is sent in place of a right question. Throws where an edit finds nothing to change.
  func text(of question: TrustQuestion, otherRealm: String) throws -> String {
    var result = question.text
    let version = question.version
    let other: TrustQuestion.Version = version == .feb2005 ? .v13 : .feb2005
    func part(_ begin: String, _ end: String) -> String {
      guard let first = result.range(of: begin), let last = result.range(of: end, range: first.upperBound..<result.endIndex) else { return "" }
      return String(result[first.lowerBound..<last.upperBound])
    }
    func inside(_ begin: String, _ end: String) -> String { String(part(begin, end).dropFirst(begin.count).dropLast(end.count)) }
    let url = URLComponents(string: question.endpoint)
    let values = [
      "user": question.userName.markupEscaped, "password": question.password.markupEscaped, "password.raw": question.password,
      "password.references": question.password.unicodeScalars.map { "&#x\(String($0.value, radix: 16));" }.joined(),
      "realm": question.audience, "realm.upper": question.audience.uppercased(), "other.realm": otherRealm, "endpoint": question.endpoint,
      "path": version.path, "authority": "\(url?.host ?? ""):\(url?.port ?? 0)", "trust": version.namespace, "trust.other": other.namespace,
      "keyType": version.keyType, "wsse": "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd",
      "utility": "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd",
      "created": inside("<wsu:Created>", "</wsu:Created>"), "expires": inside("<wsu:Expires>", "</wsu:Expires>"),
      "security": part("<wsse:Security ", "</wsse:Security>"), "body": part("<s:Body>", "</s:Body>"),
      "appliesTo": part("<wsp:AppliesTo ", "</wsp:AppliesTo>"), "requestType": part("<wst:RequestType>", "</wst:RequestType>"),
    ]
    if let body { return try Template.fill(body, values, escaping: false) }
    for edit in edits ?? [] {
      let from = try Template.fill(edit.from, values, escaping: false)
      // On the bytes: a combining mark behind would make another Character of what is looked for.
      guard !from.isEmpty, result.utf8.firstRange(of: from.utf8) != nil else { throw FederationAttack.Slip(description: "there is no \(from)") }
      result = result.replacing(from, with: try Template.fill(edit.to, values, escaping: false))
    }
    return result
  }
}

/// Sends attacks to a running gateway and says what is wrong with its answers.
struct TrustAttackRun: Sendable {
  /// The gateway's public listener on loopback.
  let port: Int
  let authority: NIOSSLTrustRoots
  let question: TrustQuestion
  let otherRealm: String

  func objections(to attack: TrustAttack) async throws -> [String] {
    let text = try attack.text(of: question, otherRealm: otherRealm)
    var fields = [("Content-Type", attack.contentType ?? "application/soap+xml; charset=utf-8")]
    if attack.fields?["SOAPAction"] == nil { fields.append(("SOAPAction", question.version.action)) }
    fields += (attack.fields ?? [:]).sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    let begin = ContinuousClock.now
    let answer = try await RawHTTPS.send(
      RawHTTPS.bytes(attack.method ?? "POST", question.version.path, host: "localhost:\(port)", fields: fields, body: text), to: port,
      authority: authority)
    var found = begin.duration(to: .now) < .seconds(5) ? [] : ["it took \(begin.duration(to: .now))"]
    let isAnswered = answer.status == 200 && answer.body.contains("Assertion")
    switch attack.expected {
    case .answered: found += isAnswered ? [] : ["not answered: \(answer.status ?? 0) \(answer.body.prefix(600))"]
    case .fault: found += fault(answer, attack)
    case .refused:
      if let status = answer.status, status < 400 { found.append("answered with \(status)") }
    case .either:
      if !isAnswered, answer.status == 500 { found += fault(answer, attack) }
      if isAnswered, attack.mustNotAnswer == true { found.append("a token") }
    }
    if isAnswered {
      if attack.expected != .answered, attack.expected != .either { found.append("a token") }
      for wanted in ["<saml:Audience>\(question.audience)</saml:Audience>", "<saml:AttributeValue>\(question.userName)</saml:AttributeValue>"]
      where !answer.body.contains(wanted) {
        found.append("a token without \(wanted)")
      }
    }
    for secret in [question.password, question.password.markupEscaped] where answer.body.contains(secret) { found.append("the password") }
    if answer.body.contains("evil.example") || answer.body.contains("root:") || answer.body.contains("<script") {
      found.append("what was sent comes back: \(answer.body.prefix(600))")
    }
    return found
  }

  private func fault(_ answer: RawHTTPS.Answer, _ attack: TrustAttack) -> [String] {
    guard answer.status == 500, answer["content-type"]?.hasPrefix("application/soap+xml") == true else {
      return ["no fault: \(answer.status ?? 0) \(answer["content-type"] ?? "") \(answer.body.prefix(300))"]
    }
    let codes = answer.body.matches(of: #/<(?:\w+:)?Value[^>]*>(?:\w+:)?(\w+)</#).map { String($0.output.1) }
    guard let told = codes.last else { return ["a fault without a code: \(answer.body.prefix(600))"] }
    if let code = attack.code, told != code { return ["the fault \(told), not \(code)"] }
    return []
  }
}
