import Foundation

/// What the oracle knows of one person.
struct Person: Sendable {
  var userName: String
  var password: String
  /// What is bound as where the directory is asked directly.
  var bindName: String
  var address: String
  /// Index of what stands behind the `@` of the name among all such suffixes.
  var group: Int
}

/// Everybody with their right password: the oracle.
struct People: Sendable {
  let people: [Person]
  let groups: [String]
  private let bindTemplate: String?

  /// Reads lines of name TAB password. Names without `@` get `@realm`. `{name}` in `bindName` becomes the part before the `@`.
  init(text: String, realm: String?, bindName: String?, limit: Int? = nil) throws {
    var people: [Person] = []
    var groups: [String] = []
    for line in text.split(whereSeparator: \.isNewline) {
      if let limit, people.count == limit { break }
      let cells = line.split(separator: "\t", omittingEmptySubsequences: false)
      guard cells.count >= 2, !cells[0].isEmpty, !cells[1].isEmpty else { continue }
      let typed = String(cells[0])
      let userName = typed.contains("@") ? typed : realm.map { typed + "@" + $0 } ?? typed
      let group = userName.contains("@") ? String(userName.drop { $0 != "@" }.dropFirst()) : "-"
      if !groups.contains(group) { groups.append(group) }
      people.append(
        Person(
          userName: userName, password: String(cells[1]), bindName: People.bindName(userName, bindName),
          // RFC 6598: nobody's public address; each person has one of their own.
          address: Address.text(100 << 24 | 64 << 16 | UInt32(people.count & 0xf_ffff)), group: groups.firstIndex(of: group) ?? 0))
    }
    guard !people.isEmpty else { throw DriverProblem("the file of people has no line of name TAB password") }
    self.people = people
    self.groups = groups
    bindTemplate = bindName
  }

  func bindName(_ userName: String) -> String { People.bindName(userName, bindTemplate) }

  private static func bindName(_ userName: String, _ template: String?) -> String {
    template?.replacing("{name}", with: String(userName.prefix { $0 != "@" })) ?? userName
  }
}

enum Address {
  static func text(_ bits: UInt32) -> String { "\(bits >> 24).\(bits >> 16 & 255).\(bits >> 8 & 255).\(bits & 255)" }
}

struct DriverProblem: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}

/// One sign-in to be tried, with what the oracle knows of it.
struct Attempt: Sendable {
  enum Kind: String, Sendable, CaseIterable {
    case right, wrong, unknown, guess
  }
  var kind: Kind
  var userName: String
  var password: String
  var bindName: String
  var address: String
  var group: Int
}

/// Shares of right passwords, wrong ones and unknown names: `right=85,wrong=10,unknown=5`.
struct Mix: Sendable, CustomStringConvertible {
  var right: Double
  var wrong: Double
  var unknown: Double

  init?(_ text: String) {
    var shares: [String: Double] = [:]
    for part in text.split(separator: ",") {
      let sides = part.split(separator: "=")
      guard sides.count == 2, ["right", "wrong", "unknown"].contains(sides[0]), let share = Double(sides[1]), share >= 0, share.isFinite else {
        return nil
      }
      shares[String(sides[0])] = share
    }
    right = shares["right"] ?? 0
    wrong = shares["wrong"] ?? 0
    unknown = shares["unknown"] ?? 0
    guard right + wrong + unknown > 0 else { return nil }
  }

  var description: String { "right=\(right.formatted()),wrong=\(wrong.formatted()),unknown=\(unknown.formatted())" }
}

/// Where attempts come from. Nil: there are no more.
protocol AttemptSource: Sendable {
  mutating func next() -> Attempt?
}

/// People who sign in from their own addresses, mistype, or take the wrong name.
struct HonestPeople: AttemptSource {
  private let people: People
  private let mix: Mix
  private let count: Int
  private var generator: SeededGenerator
  private var number = 0

  /// - Parameter count: only the first so many come; nil: all.
  init(people: People, count: Int? = nil, mix: Mix, seed: UInt64) {
    self.people = people
    self.count = min(count ?? .max, people.people.count)
    self.mix = mix
    generator = SeededGenerator(seed: seed)
  }

  mutating func next() -> Attempt? {
    let person = people.people[Int.random(in: 0..<count, using: &generator)]
    let point = Double.random(in: 0..<(mix.right + mix.wrong + mix.unknown), using: &generator)
    number += 1
    if point < mix.right {
      return Attempt(
        kind: .right, userName: person.userName, password: person.password, bindName: person.bindName, address: person.address, group: person.group)
    }
    if point < mix.right + mix.wrong {
      // Longer than the right one, hence another one; and each time a new one.
      return Attempt(
        kind: .wrong, userName: person.userName, password: "\(person.password)-\(number)", bindName: person.bindName, address: person.address,
        group: person.group)
    }
    let nobody = "nobody-\(number)-\(person.userName)"
    return Attempt(
      kind: .unknown, userName: nobody, password: "Unknown.\(number)", bindName: people.bindName(nobody), address: person.address,
      group: person.group)
  }
}

/// One who tries the same password with everybody, then the next password, from a number of addresses.
struct Spray: AttemptSource {
  /// `guesses=1000000,users=5000,rate=2000,addresses=1000`, and for one who knows better than to be found by what guesses have in common:
  /// `networks=500` spreads the addresses over so many /24, `sharing=1` tries each password with so many people only. `first=100` leaves the first
  /// hundred alone; nobody else is honest then, so that what a directory counts of those guessed at are guesses.
  struct Plan: Sendable {
    var guesses = 1_000_000
    var users = 5000
    /// A second.
    var rate = 1000.0
    var addresses = 1000
    var first = 0
    /// Nil: the addresses lie next to each other.
    var networks: Int?
    /// How many people get the same password; nil: all.
    var sharing: Int?

    init?(_ text: String) {
      for part in text.split(separator: ",") {
        let sides = part.split(separator: "=")
        guard sides.count == 2, let value = Double(sides[1]), value >= 1, value <= 1e12 else { return nil }
        switch sides[0] {
        case "guesses": guesses = Int(value)
        case "users": users = Int(value)
        case "rate": rate = value
        case "addresses": addresses = min(Int(value), 1 << 17)
        case "first": first = Int(value)
        case "networks": networks = min(Int(value), 1 << 9)
        case "sharing": sharing = Int(value)
        default: return nil
        }
      }
      if let networks { addresses = min(addresses, networks << 8) }
    }

    /// RFC 2544: addresses for benchmarks.
    func address(_ number: Int) -> String {
      let offset = networks.map { (number % $0) << 8 | (number / $0) } ?? number
      return Address.text(198 << 24 | 18 << 16 | UInt32(offset))
    }
  }

  private let plan: Plan
  private let people: People
  private var generator: SeededGenerator
  private var made = 0

  /// - Parameter people: at least as many as the plan guesses at.
  init(plan: Plan, people: People, seed: UInt64) {
    self.plan = plan
    self.people = people
    generator = SeededGenerator(seed: seed)
  }

  mutating func next() -> Attempt? {
    guard made < plan.guesses else { return nil }
    let person = people.people[plan.first + made % plan.users]
    let round = made / (plan.sharing ?? plan.users)
    made += 1
    var password = "Winter\(2000 + round)!"
    // A spray that hits would be right, not a wrong yes.
    if password == person.password { password += "!" }
    let address = plan.address(Int.random(in: 0..<plan.addresses, using: &generator))
    return Attempt(kind: .guess, userName: person.userName, password: password, bindName: person.bindName, address: address, group: person.group)
  }
}
