import Foundation

/// What was acknowledged: the reference and the verdict of each answer, 8 bytes each, so that hours fit in memory.
final class Ledger {
  private static let acceptedBit: UInt64 = 1 << 63
  private var entries: [UInt64] = []
  private var unwritten: [UInt8] = []
  private let file: FileHandle?

  /// - Parameter path: where each entry is written to as well, one line each.
  init(path: String?) throws {
    if let path {
      guard FileManager.default.createFile(atPath: path, contents: nil), let handle = FileHandle(forWritingAtPath: path) else {
        throw DriverProblem("\(path) cannot be written")
      }
      file = handle
    } else {
      file = nil
    }
  }

  var count: Int { entries.count }

  func note(_ reference: UInt64, accepted: Bool) {
    entries.append(reference | (accepted ? Ledger.acceptedBit : 0))
    guard file != nil else { return }
    unwritten += Array(Reference.text(reference).utf8)
    unwritten += Array((accepted ? "\taccepted\n" : "\trefused\n").utf8)
  }

  func flush() {
    guard let file, !unwritten.isEmpty else { return }
    try? file.write(contentsOf: unwritten)
    unwritten.removeAll(keepingCapacity: true)
  }

  /// Reads what `flush` wrote. A last line that was cut off is left out: it was never written whole.
  convenience init(reading path: String) throws {
    try self.init(path: nil)
    try Lines.read(path) { line in
      let cells = line.split(separator: UInt8(ascii: "\t"))
      guard cells.count == 2, let reference = Reference.bits(cells[0]) else { throw DriverProblem("\(path): a line is no entry of a ledger") }
      note(reference, accepted: cells[1].elementsEqual("accepted".utf8))
    }
  }

  /// What the comparison with the gateway's audit found.
  struct Comparison: Codable, Sendable {
    var acknowledged = 0
    /// Sign-ins that the audit has a verdict of.
    var audited = 0
    /// Acknowledged, and not in the audit.
    var lost = 0
    /// Acknowledged with another verdict than the audit has.
    var contradicted = 0
    /// In the audit with a verdict, and never acknowledged to us: the answer was cut off, or somebody else asked.
    var unacknowledged = 0
    var samples: [String] = []
  }

  /// Compares with an export (`gatehouse audit export --all`).
  func compare(withExport path: String) throws -> Comparison {
    var audited: [UInt64] = []
    try Lines.read(path) { line in
      line.withUnsafeBytes { bytes in
        // `sign-in`, and kinds beside it that stand for many.
        guard Bytes.value(behind: #""kind":""#, in: bytes)?.starts(with: "sign-in".utf8) == true,
          let outcome = Bytes.value(behind: #""outcome":""#, in: bytes), let text = Bytes.value(behind: #""reference":""#, in: bytes),
          let reference = Reference.bits(text)
        else { return }
        if outcome.elementsEqual("accepted".utf8) {
          audited.append(reference | Ledger.acceptedBit)
        } else if outcome.starts(with: "refused:".utf8) {
          audited.append(reference)
        }
      }
    }
    return compare(with: audited)
  }

  /// Compares with all that the gateway has written, by an export into a file that is removed afterwards.
  func compare(withGateway program: String, socket: String) throws -> Comparison {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("gatehouse-audit-\(UUID().uuidString).jsonl").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = ["audit", "export", "--all", "--out", path, "--socket", socket]
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw DriverProblem("the audit could not be exported: gatehouse ended with \(process.terminationStatus)")
    }
    return try compare(withExport: path)
  }

  private func compare(with audited: [UInt64]) -> Comparison {
    var comparison = Comparison()
    comparison.acknowledged = entries.count
    comparison.audited = audited.count
    let order: (UInt64, UInt64) -> Bool = { $0 & ~Ledger.acceptedBit < $1 & ~Ledger.acceptedBit }
    let ours = entries.sorted(by: order)
    let theirs = audited.sorted(by: order)
    // One row may stand for many refusals, which then bear its reference; and a row that goes on counting bears it again.
    var position = 0
    var index = 0
    while index < ours.count || position < theirs.count {
      if index == ours.count || position < theirs.count && order(theirs[position], ours[index]) {
        comparison.unacknowledged += 1
        position += 1
        continue
      }
      var rows: [UInt64] = []
      while position < theirs.count, !order(ours[index], theirs[position]) {
        rows.append(theirs[position])
        position += 1
      }
      let reference = ours[index]
      while index < ours.count, !order(reference, ours[index]) {
        if !rows.contains(ours[index]) {
          let kind = rows.isEmpty ? "lost" : "contradicted"
          if rows.isEmpty { comparison.lost += 1 } else { comparison.contradicted += 1 }
          if comparison.samples.count < 10 { comparison.samples.append("\(kind): \(Reference.text(reference & ~Ledger.acceptedBit))") }
        }
        index += 1
      }
    }
    return comparison
  }
}

/// Reads files of any length line by line.
enum Lines {
  static func read(_ path: String, _ body: (ArraySlice<UInt8>) throws -> Void) throws {
    guard let file = FileHandle(forReadingAtPath: path) else { throw DriverProblem("\(path) cannot be read") }
    defer { try? file.close() }
    var rest: [UInt8] = []
    while let piece = try file.read(upToCount: 1 << 20), !piece.isEmpty {
      rest += piece
      var begin = 0
      while let end = rest[begin...].firstIndex(of: UInt8(ascii: "\n")) {
        try body(rest[begin..<end])
        begin = end + 1
      }
      rest.removeFirst(begin)
    }
  }
}

/// Just enough of HTTP and JSON for answers whose form is known.
enum Bytes {
  /// The place behind the first `text`; nil where it does not occur.
  static func end(of text: StaticString, in bytes: UnsafeRawBufferPointer) -> Int? {
    let length = text.utf8CodeUnitCount
    guard let base = bytes.baseAddress, length > 0, bytes.count >= length else { return nil }
    var begin = 0
    while begin <= bytes.count - length, let found = memchr(base + begin, Int32(text.utf8Start[0]), bytes.count - length + 1 - begin) {
      let offset = UnsafeRawPointer(found) - base
      if memcmp(found, text.utf8Start, length) == 0 { return offset + length }
      begin = offset + 1
    }
    return nil
  }

  /// What stands behind the first `text` up to the next quotation mark. JSON escapes those inside texts, so no text can contain the key.
  static func value(behind text: StaticString, in bytes: UnsafeRawBufferPointer) -> Slice<UnsafeRawBufferPointer>? {
    guard let begin = end(of: text, in: bytes), let end = bytes[begin...].firstIndex(of: UInt8(ascii: "\"")) else { return nil }
    return bytes[begin..<end]
  }
}
