import CResolver

/// An SRV record (RFC 2782): who offers a service.
struct ServiceRecord: Sendable, Equatable {
  var priority: UInt16
  var weight: UInt16
  var port: UInt16
  /// Without the final dot.
  var target: String

  /// **Blocks** for as long as DNS takes.
  static func query(_ name: String) -> [ServiceRecord] {
    guard !name.utf8.contains(0) else { return [] }
    return gather { cresolver_query_srv(name, $0, $1) }
  }

  /// The records in a DNS answer.
  static func parse(_ answer: [UInt8]) -> [ServiceRecord] {
    gather { cresolver_parse_srv(answer, Int32(clamping: answer.count), $0, $1) }
  }

  private static let maximumRecords = 64

  private static func gather(_ fill: (UnsafeMutablePointer<cresolver_srv>?, Int32) -> Int32) -> [ServiceRecord] {
    var raw = [cresolver_srv](repeating: cresolver_srv(), count: maximumRecords)
    let count = raw.withUnsafeMutableBufferPointer { fill($0.baseAddress, Int32($0.count)) }
    guard count > 0 else { return [] }
    return raw.prefix(Int(count)).compactMap { record in
      var name = record.target
      let target = withUnsafeBytes(of: &name) { bytes in String(validating: bytes.prefix { $0 != 0 }, as: UTF8.self) }
      guard let target, !target.isEmpty else { return nil }
      return ServiceRecord(priority: record.priority, weight: record.weight, port: record.port, target: target)
    }
  }

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
