import Bytes
import Identity
import SAML

/// Why no token can be made of what is known of a person. The text is for administrators.
package struct ClaimProblem: Error, Sendable, Equatable {
  package let detail: String
}

/// A relying party's table of claims, ready to be applied: patterns compiled once.
struct ClaimTable: Sendable {
  private struct Line: Sendable {
    let rule: ClaimRule
    let changes: [Change]
  }
  private enum Change: Sendable {
    case lowerCase, upperCase
    case replace(BoundedPattern, with: String)
    case keep(BoundedPattern)
  }

  private let lines: [Line]

  /// Lines that cannot be applied are dropped; they cannot be set in the first place (`ClaimRule.problem`).
  init(_ rules: [ClaimRule]) {
    lines = rules.map { rule in
      Line(
        rule: rule,
        changes: rule.changes.compactMap { change in
          switch change {
          case .lowerCase: .lowerCase
          case .upperCase: .upperCase
          case .replace(let pattern, let replacement): BoundedPattern(pattern).map { .replace($0, with: replacement) }
          case .keep(let pattern): BoundedPattern(pattern).map(Change.keep)
          }
        })
    }
  }

  /// What the directory must tell for it.
  static func needs(_ party: RelyingParty) -> AttributeRequest {
    var request = AttributeRequest.none
    var sources = party.claims.flatMap(\.sources)
    if let source = party.nameID.source { sources.append(source) }
    for source in sources {
      switch source {
      case .directory(let name): request.attributes.append(name)
      case .groups: request.groups = true
      case .windowsAccountName: request.attributes.append("sAMAccountName")
      case .userPrincipalName, .immutableID, .objectID, .realm, .insideCorporateNetwork, .authenticationMethod, .authenticationInstant,
        .persistentSession, .issuer, .passwordExpirationTime, .passwordExpirationDays, .passwordChangeURL:
        break
      }
    }
    let formats = party.nameID.allowed + [party.nameID.format]
    // Who does not say what may be asked for can be asked for all of it.
    if party.nameID.allowed.isEmpty || formats.contains(.emailAddress) { request.attributes.append("mail") }
    if party.nameID.allowed.isEmpty || formats.contains(.windowsDomainQualifiedName) { request.attributes.append("sAMAccountName") }
    if !party.permittedGroups.isEmpty { request.groups = true }
    return request
  }

  /// The attributes in the order of the table. Throws `ClaimProblem`.
  func attributes(of person: PersonFacts) throws(ClaimProblem) -> [Attribute] {
    var attributes: [Attribute] = []
    for line in lines {
      let rule = line.rule
      var values = rule.constants
      for source in rule.sources where values.isEmpty {
        values = source == .groups ? try ClaimTable.groups(of: person, rule.groups ?? GroupFilter(), claim: rule.name) : person.values(of: source)
      }
      for change in line.changes { values = try ClaimTable.apply(change, to: values, claim: rule.name) }
      values.removeAll(where: \.isEmpty)
      guard values.isEmpty || values.allSatisfy({ $0.unicodeScalars.allSatisfy(isXMLScalar) }) else {
        throw ClaimProblem(detail: "a value of claim \(rule.name) holds a character that XML cannot carry")
      }
      guard !values.isEmpty || !rule.isRequired else {
        throw ClaimProblem(detail: "claim \(rule.name) is required, and the person has no value for it")
      }
      attributes.append(Attribute(rule.name, nameFormat: rule.nameFormat, friendlyName: rule.friendlyName, values: values))
    }
    return attributes.filter { !$0.values.isEmpty }
  }

  private static func apply(_ change: Change, to values: [String], claim: String) throws(ClaimProblem) -> [String] {
    let unmatched = ClaimProblem(
      detail: "a value of claim \(claim) is too long for its regular expression (\(BoundedPattern.longestValue) bytes), or takes it too long to match"
    )
    var result: [String] = []
    for value in values {
      switch change {
      case .lowerCase: result.append(value.lowercased())
      case .upperCase: result.append(value.uppercased())
      case .replace(let pattern, let replacement):
        guard let changed = pattern.replaced(value, with: replacement) else { throw unmatched }
        result.append(changed)
      case .keep(let pattern):
        guard let matches = pattern.matches(value) else { throw unmatched }
        if matches { result.append(value) }
      }
    }
    return result
  }

  private static func groups(of person: PersonFacts, _ filter: GroupFilter, claim: String) throws(ClaimProblem) -> [String] {
    guard let groups = person.groups else { throw ClaimProblem(detail: "claim \(claim) tells groups, and the groups of the person are not known") }
    let prefix = Array(asciiLowercased(filter.prefix).utf8)
    var result: [String] = []
    for group in groups {
      let name = filter.form == .name ? firstValue(ofName: group) : group
      guard asciiLowercased(name).utf8.starts(with: prefix) else { continue }
      result.append(filter.stripsPrefix ? String(decoding: name.utf8.dropFirst(prefix.count), as: UTF8.self) : name)
    }
    guard result.count <= filter.atMost else {
      throw ClaimProblem(
        detail: "claim \(claim) would tell \(result.count) groups, and at most \(filter.atMost) are allowed; narrow it with a prefix or raise atMost")
    }
    return result.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  /// The first value of a distinguished name, its escapes undone (RFC 4514 §2.4): `CN=Sales\, West,OU=x` → `Sales, West`. What is no name stays.
  static func firstValue(ofName name: String) -> String {
    let bytes = Array(name.utf8)
    guard let equals = bytes.firstIndex(of: UInt8(ascii: "=")) else { return name }
    func digit(_ byte: UInt8) -> UInt8? {
      switch byte {
      case 0x30...0x39: byte - 0x30
      case 0x41...0x46: byte - 0x41 + 10
      case 0x61...0x66: byte - 0x61 + 10
      default: nil
      }
    }
    var value: [UInt8] = []
    var rest = bytes[(equals + 1)...]
    while let byte = rest.popFirst(), byte != UInt8(ascii: ","), byte != UInt8(ascii: "+") {
      guard byte == UInt8(ascii: "\\"), let next = rest.popFirst() else {
        value.append(byte)
        continue
      }
      if let high = digit(next), let second = rest.first, let low = digit(second) {
        rest.removeFirst()
        value.append(high << 4 | low)
      } else {
        value.append(next)
      }
    }
    return StrictText.utf8(value) ?? name
  }
}

/// What is known of the person whom a token is about.
package struct PersonFacts: Sendable, Equatable {
  package var person: AcceptedPerson
  /// NetBIOS name of the realm's domain, where it has one.
  package var domain: String?
  var circumstances: SignInCircumstances

  init(person: AcceptedPerson, domain: String?, circumstances: SignInCircumstances) {
    self.person = person
    self.domain = domain
    self.circumstances = circumstances
  }

  var groups: [String]? { person.groups }

  func values(of source: ClaimSource) -> [String] {
    switch source {
    case .directory(let name): attribute(name)
    case .groups: person.groups ?? []
    case .userPrincipalName: [person.userPrincipalName]
    case .immutableID: [person.immutableID]
    case .objectID: [person.object.id.description]
    case .realm: [person.object.realm.text]
    case .windowsAccountName: windowsAccountName.map { [$0] } ?? []
    case .insideCorporateNetwork: [circumstances.insideCorporateNetwork ? "true" : "false"]
    case .authenticationMethod: [circumstances.authenticationMethod]
    case .authenticationInstant: [circumstances.authenticated.description]
    case .persistentSession: circumstances.isKept ? ["true"] : []
    case .issuer: [circumstances.issuer]
    case .passwordExpirationTime: passwordExpiry.map { [$0.description] } ?? []
    case .passwordExpirationDays: passwordExpiry.map { ["\($0.since(circumstances.now).components.seconds / 86_400)"] } ?? []
    case .passwordChangeURL: passwordExpiry == nil ? [] : [circumstances.changePasswordURL]
    }
  }

  private var passwordExpiry: Instant? { circumstances.passwordExpiry(person.passwordExpires) }

  /// LDAP's names have no case (RFC 4512 §2.5).
  private func attribute(_ name: String) -> [String] {
    if let values = person.attributes[name] { return values }
    let folded = asciiLowercased(name)
    return person.attributes.first { asciiLowercased($0.key).utf8.elementsEqual(folded.utf8) }?.value ?? []
  }

  var windowsAccountName: String? {
    guard let domain, let name = attribute("sAMAccountName").first else { return nil }
    return domain.uppercased() + "\\" + name
  }

  var mail: String? { attribute("mail").first }
}
