import Foundation

/// One attack on `/adfs/ls/`, as a file of `Attacks/federation` has it: `Attacks/README.md` explains every member.
struct FederationAttack: Decodable, Sendable, CustomStringConvertible {
  enum Expectation: String, Decodable, Sendable { case local400, local4xx, carried, either }
  enum Binding: String, Decodable, Sendable {
    case redirect, post
    case rawPost = "raw-post"
  }
  enum Party: String, Decodable, Sendable { case unsigned, signing }
  enum Signer: String, Decodable, Sendable { case own, other, unknown }

  var name: String
  var threat: String
  var reason: String
  var party: Party
  var expected: Expectation
  var binding: Binding
  var message: String?
  var forged: String?
  var encoded: String?
  var relayState: String?
  var signed: Bool?
  var key: Signer?
  var algorithm: String?
  var digest: String?
  var query: String?
  var body: String?
  var contentType: String?
  var times: Int?

  var description: String { "\(name): \(reason)" }

  /// A registered relying party.
  struct RelyingParty: Sendable {
    var issuer: String
    var assertionConsumerService: String
    /// PEM file of its RSA key.
    var key: String
  }

  /// What stands for the placeholders.
  struct Target: Sendable {
    /// Where the gateway takes requests: `https://…/adfs/ls/`.
    var destination: String
    var unsigned: RelyingParty
    var signing: RelyingParty
    /// PEM file of an RSA key that nobody has registered.
    var unknownKey: String

    fileprivate func party(_ party: Party) -> RelyingParty { party == .unsigned ? unsigned : signing }
    fileprivate func other(_ party: Party) -> RelyingParty { party == .unsigned ? signing : unsigned }
  }

  /// What is sent, byte for byte.
  struct Request: Sendable {
    var method: String
    /// Path and query.
    var target: String
    var contentType: String?
    var body: String?
    /// The message, as it was before it was packed.
    var message: String
    var relayState: String?
  }

  struct Slip: Error, CustomStringConvertible { var description: String }

  /// Every attack, by name.
  static func all() throws -> [FederationAttack] {
    let folder = BuiltProgram.repository + "/Tests/EndToEndTests/Attacks/federation"
    return try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".json") }.sorted().map { file in
      let data = try Data(contentsOf: URL(fileURLWithPath: folder + "/" + file))
      do {
        let attack = try JSONDecoder().decode(FederationAttack.self, from: data)
        guard attack.name + ".json" == file else { throw Slip(description: "the name is \(attack.name)") }
        return attack
      } catch { throw Slip(description: "\(file): \(error)") }
    }
  }

  /// The requests to send, in their order; the last is the attack.
  func requests(to target: Target, now: Date = Date(timeIntervalSinceNow: 0)) async throws -> [Request] {
    var values = names(target, now: now)
    let plain = try Template.fill(message ?? "", values, escaping: true)
    let second = try forged.map { try Template.fill($0, values, escaping: true) }
    var made: [Request] = []
    for time in 1...(times ?? 1) {
      values["time"] = "\(time)"
      made.append(try await request(plain, second, values, target))
    }
    return made
  }

  private func request(_ plain: String, _ second: String?, _ names: [String: String], _ target: Target) async throws -> Request {
    var values = names
    let packed = encoded ?? Packing.deflated(plain)
    values["request"] = packed.queryEncoded
    values["request.twice"] = Data(packed.utf8).base64EncodedString().queryEncoded
    values["request.reencoded"] = FederationAttack.firstEncoded(packed) + String(packed.dropFirst()).queryEncoded
    values["base64"] = Data(plain.utf8).base64EncodedString().queryEncoded
    if let second {
      values["forged"] = Packing.deflated(second).queryEncoded
      values["forged.base64"] = Data(second.utf8).base64EncodedString().queryEncoded
    }
    let state = try relayState.map { try Template.fill($0, values, escaping: false) }
    if let state { values["relayState"] = state.queryEncoded }
    if signed == true {
      let algorithm = algorithm ?? "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
      values["sigAlg"] = algorithm.queryEncoded
      // SAML Bindings §3.4.4.1: in this order, as encoded.
      let text =
        "SAMLRequest=\(packed.queryEncoded)" + (state.map { "&RelayState=\($0.queryEncoded)" } ?? "") + "&SigAlg=\(algorithm.queryEncoded)"
      let key =
        switch key ?? .own {
        case .own: target.party(party).key
        case .other: target.other(party).key
        case .unknown: target.unknownKey
        }
      values["signature"] = try await Packing.signature(of: text, key: key, digest: digest ?? "sha256").queryEncoded
    }
    let path = URLComponents(string: target.destination)?.path ?? "/"
    let usual = signed == true ? "&SigAlg={sigAlg}&Signature={signature}" : ""
    switch binding {
    case .redirect:
      let filled = try Template.fill(
        query ?? "SAMLRequest={request}" + (state == nil ? "" : "&RelayState={relayState}") + usual, values, escaping: false)
      return Request(method: "GET", target: path + "?" + filled, message: plain, relayState: state)
    case .post, .rawPost:
      let filled = try Template.fill(query ?? "", values, escaping: false)
      return Request(
        method: "POST", target: path + (filled.isEmpty ? "" : "?" + filled), contentType: contentType ?? "application/x-www-form-urlencoded",
        body: try Template.fill(body ?? "SAMLRequest={base64}", values, escaping: false), message: plain, relayState: state)
    }
  }

  private func names(_ target: Target, now: Date) -> [String: String] {
    let own = target.party(party)
    let other = target.other(party)
    var values = [
      "issuer": own.issuer, "issuer.upper": own.issuer.uppercased(), "acs": own.assertionConsumerService, "destination": target.destination,
      "other.issuer": other.issuer, "other.acs": other.assertionConsumerService, "id": "_" + UUID().uuidString.lowercased(),
    ]
    for (name, address) in [("acs", own.assertionConsumerService), ("destination", target.destination)] {
      guard let parts = URLComponents(string: address), let scheme = parts.scheme, let host = parts.host else { continue }
      values[name + ".scheme"] = scheme
      values[name + ".scheme.upper"] = scheme.uppercased()
      values[name + ".scheme.other"] = scheme == "https" ? "http" : "https"
      values[name + ".host"] = host
      values[name + ".host.fullwidth"] = host.replacing(".", with: "\u{ff0e}")
      values[name + ".host.rest"] = String(host.dropFirst())
      values[name + ".port"] = parts.port.map { "\($0)" } ?? (scheme == "https" ? "443" : "80")
      values[name + ".authority"] = host + (parts.port.map { ":\($0)" } ?? "")
      values[name + ".path"] = parts.path
      values[name + ".path.upper"] = parts.path.uppercased()
      values[name + ".path.encoded"] = "/" + FederationAttack.firstEncoded(String(parts.path.dropFirst())) + String(parts.path.dropFirst(2))
    }
    values["now"] = FederationAttack.instant(now)
    // Offsets are asked for by name; only those that files have are worked out.
    for text in [message, forged].compactMap({ $0 }) {
      for match in text.matches(of: /\{now([+-]\d+)\}/) {
        values["now" + match.output.1] = FederationAttack.instant(now.addingTimeInterval(Double(match.output.1) ?? 0))
      }
    }
    return values
  }

  private static func instant(_ date: Date) -> String {
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.timeZone = TimeZone(identifier: "UTC")
    formatter.dateFormat = "yyyy-MM-dd'T'HH:mm:ss'Z'"
    return formatter.string(from: date)
  }

  static func firstEncoded(_ text: String) -> String {
    text.utf8.first.map { "%" + String($0, radix: 16, uppercase: true) } ?? ""
  }
}

/// Text with placeholders in braces. On scalars: a brace with a combining mark behind it is still a brace.
enum Template {
  static func fill(_ template: String, _ values: [String: String], escaping: Bool) throws -> String {
    var result = String.UnicodeScalarView()
    var rest = Substring(template).unicodeScalars
    while let at = rest.firstIndex(where: { $0 == "{" || $0 == "}" }) {
      result.append(contentsOf: rest[..<at])
      let brace = rest[at]
      rest = rest[rest.index(after: at)...]
      if rest.first == brace {
        result.append(brace)
        rest = rest.dropFirst()
        continue
      }
      guard brace == "{", let end = rest.firstIndex(of: "}") else { throw FederationAttack.Slip(description: "a brace that is none in \(template)") }
      let name = String(rest[..<end])
      rest = rest[rest.index(after: end)...]
      if name.hasPrefix("filler."), let count = Int(name.dropFirst(7)) {
        result.append(contentsOf: repeatElement("A", count: count))
      } else {
        guard let value = values[name] else { throw FederationAttack.Slip(description: "no value for {\(name)}") }
        result.append(contentsOf: (escaping ? value.markupEscaped : value).unicodeScalars)
      }
    }
    result.append(contentsOf: rest)
    return String(result)
  }
}

/// How messages are packed for a query.
enum Packing {
  /// Base64 of a raw deflate stream (RFC 1951). Its blocks are stored: larger than need be, and right.
  static func deflated(_ text: String) -> String {
    let bytes = Array(text.utf8)
    var stream: [UInt8] = []
    var begin = 0
    repeat {
      let count = min(65_535, bytes.count - begin)
      let low = UInt8(count & 0xff)
      let high = UInt8(count >> 8)
      stream += [begin + count == bytes.count ? 1 : 0, low, high, ~low, ~high] + bytes[begin..<begin + count]
      begin += count
    } while begin < bytes.count
    return Data(stream).base64EncodedString()
  }

  /// Base64 of the RSA signature (PKCS #1 v1.5), made by openssl.
  static func signature(of text: String, key: String, digest: String = "sha256") async throws -> String {
    let folder = try BuiltProgram.folder("signing")
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try text.write(toFile: folder + "/text", atomically: true, encoding: .utf8)
    try await LeashedProcess.run("/usr/bin/openssl", ["dgst", "-\(digest)", "-sign", key, "-out", folder + "/signature", folder + "/text"])
    return try Data(contentsOf: URL(fileURLWithPath: folder + "/signature")).base64EncodedString()
  }
}
