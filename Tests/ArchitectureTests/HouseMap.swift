import Foundation

/// The table of docs/architecture.md: which target may know which.
struct HouseMap {
  /// One row of the table.
  struct Row: Equatable {
    var target: String
    var ring: Ring
    /// Own targets and other packages' products that it may depend on and import.
    var allowed: Set<String>
  }

  /// Where a target stands.
  enum Ring: String {
    case core, room, shim, door, house, testing, driver
  }

  var rows: [Row]

  func row(_ target: String) -> Row? { rows.first { $0.target == target } }

  /// Reads the table out of the document's text: the lines with five columns whose second is a ring.
  init(markdown: String) {
    rows = markdown.split(separator: "\n").compactMap { line in
      let cells = line.split(separator: "|", omittingEmptySubsequences: false).map { $0.trimmingCharacters(in: .whitespaces) }
      guard cells.count == 7, let ring = Ring(rawValue: cells[2]) else { return nil }
      let names = (cells[4] + "," + cells[5]).split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
      return Row(target: cells[1], ring: ring, allowed: Set(names).subtracting(["–", ""]))
    }
  }

  /// What is wrong with the table itself: edges that the rings forbid, whoever wrote them down.
  func problems() -> [String] {
    var found: [String] = []
    let rings = Dictionary(rows.map { ($0.target, $0.ring) }, uniquingKeysWith: { first, _ in first })
    if rings.count != rows.count { found.append("a target has two rows") }
    for row in rows {
      for name in row.allowed.sorted() {
        guard let other = rings[name] else { continue }
        if !HouseMap.mayKnow(row, name, other) { found.append("\(row.target) (\(row.ring)) may not know \(name) (\(other))") }
      }
    }
    return found
  }

  /// The law of the rings: inwards only, never sideways. Identity is the one room that other rooms know. A driver stands outside and knows nothing
  /// of the house: what measures must not share code with what is measured.
  private static func mayKnow(_ row: Row, _ name: String, _ other: Ring) -> Bool {
    switch (row.ring, other) {
    case (.core, .core): true
    // The one core that stands on a C library: keys are values, wherever they are computed with.
    case (.core, .shim): row.target == "Cryptography" && name == "COpenSSL"
    case (.room, .core): true
    case (.room, .room): name == "Identity" && row.target != "Identity"
    case (.door, .core), (.door, .room), (.door, .shim): true
    case (.house, .core), (.house, .room), (.house, .door): true
    case (.testing, .core), (.testing, .room): true
    case (.driver, .shim): true
    default: false
    }
  }

  /// What of `edges` (a target and what it depends on or imports) the table does not have.
  func violations(of edges: [(from: String, to: String)], ignoring common: Set<String> = []) -> [String] {
    edges.compactMap { edge in
      guard !common.contains(edge.to), edge.from != edge.to else { return nil }
      guard let row = row(edge.from) else { return "\(edge.from) has no row in docs/architecture.md" }
      return row.allowed.contains(edge.to) ? nil : "\(edge.from) → \(edge.to) is not in docs/architecture.md"
    }
  }
}

/// What the package's own description says, as far as it matters here.
struct PackageDescription: Decodable {
  struct Target: Decodable {
    var name: String
    var type: String
    var dependencies: [Dependency]
    /// Where its sources lie, where that is not Sources/<name>.
    var path: String?
  }

  /// `{"byName": ["Bytes", null]}` or `{"product": ["Crypto", "swift-crypto", null, null]}`.
  struct Dependency: Decodable {
    var name: String

    init(from decoder: any Decoder) throws {
      let cases = try decoder.container(keyedBy: Key.self)
      guard let key = cases.allKeys.first else {
        throw DecodingError.valueNotFound(String.self, .init(codingPath: [], debugDescription: "no dependency"))
      }
      var values = try cases.nestedUnkeyedContainer(forKey: key)
      name = try values.decode(String.self)
    }

    private struct Key: CodingKey {
      var stringValue: String
      var intValue: Int? { nil }
      init?(stringValue: String) { self.stringValue = stringValue }
      init?(intValue: Int) { nil }
    }
  }

  var targets: [Target]

  /// Targets that are built into the product or lent to tests; tests themselves may know what they test.
  var ownTargets: [Target] { targets.filter { $0.type != "test" } }
}
