import Bytes
import Foundation
import GatehouseTesting
import Identity
import Testing

/// The lines of an export of rows `first`…`last`, with their line feeds.
func exportLines(_ range: ClosedRange<Int> = 1...5, chain: String = "node-1", seed: Int = 0) throws -> [[UInt8]] {
  let all = AuditChain.extend(chain, after: 0, hash: AuditChain.genesis, with: (1...range.upperBound).map { fullEvent($0 + seed) }).map(\.row)
  let anchor = range.lowerBound == 1 ? AuditChain.genesis : all[range.lowerBound - 2].hash
  var export = AuditExport(chain: chain, first: Int64(range.lowerBound), anchor: anchor)
  var lines = [export.header]
  for row in all[(range.lowerBound - 1)...] { lines.append(try export.line(of: row)) }
  return lines + [export.closing]
}

func verify(_ lines: [[UInt8]], continuing: AuditSegment? = nil, pieces: Int = 4096) throws(AuditExportFault) -> AuditSegment {
  var verifier = AuditExportVerifier(continuing: continuing)
  var rest = lines.flatMap { $0 }[...]
  while !rest.isEmpty {
    try verifier.read(rest.prefix(pieces))
    rest = rest.dropFirst(pieces)
  }
  return try verifier.finish()
}

@Suite struct `An export` {
  private func fault(_ lines: [[UInt8]], continuing: AuditSegment? = nil) -> AuditExportFault? {
    do throws(AuditExportFault) {
      _ = try verify(lines, continuing: continuing)
      return nil
    } catch { return error }
  }

  @Test(arguments: [1, 2, 7, 4096]) func `that nobody touched verifies, in pieces of any size`(pieces: Int) throws {
    let segment = try verify(try exportLines(), pieces: pieces)
    #expect(segment.chain == "node-1" && segment.first == 1 && segment.last == 5 && segment.hash.count == 32)
  }

  @Test func `of an empty chain verifies`() throws {
    let export = AuditExport(chain: "node-1", first: 1, anchor: AuditChain.genesis)
    #expect(try verify([export.header, export.closing]) == export.segment)
  }

  @Test func `with one byte changed is refused, whichever it is`() throws {
    let text = try exportLines(1...2).flatMap { $0 }
    for index in text.indices {
      for flip: UInt8 in [0x01, 0x20, 0x80] {
        var changed = text
        changed[index] ^= flip
        if fault([changed]) == nil { Issue.record("byte \(index) ^ \(flip)") }
      }
      if fault([Array(text[..<index] + text[(index + 1)...])]) == nil { Issue.record("byte \(index) removed") }
    }
  }

  @Test func `cut anywhere is refused`() throws {
    let text = try exportLines(1...2).flatMap { $0 }
    for length in 0..<text.count where fault([Array(text.prefix(length))]) == nil { Issue.record("cut at \(length)") }
    var lines = try exportLines()
    lines.removeLast()
    let found = fault(lines)
    #expect(found?.kind == .truncated && found?.line == 7 && found?.text == "the export ends behind row 5, without its closing line")
  }

  @Test func `with a row changed names the row`() throws {
    var lines = try exportLines()
    lines[3] = Array(String(decoding: lines[3], as: UTF8.self).replacingOccurrences(of: "alice3", with: "alice9").utf8)
    let found = fault(lines)
    #expect(found?.kind == .altered && found?.line == 4 && found?.sequence == 3)
  }

  @Test func `with a row gone, doubled or moved names the place`() throws {
    let lines = try exportLines()
    var gone = lines
    gone.remove(at: 3)
    #expect(fault(gone).map { "\($0.kind) \($0.line) \($0.sequence ?? 0)" } == "missing 4 3")
    var doubled = lines
    doubled.insert(lines[3], at: 4)
    #expect(fault(doubled).map { "\($0.kind) \($0.line)" } == "reordered 5")
    var moved = lines
    moved.swapAt(2, 4)
    #expect(fault(moved).map { "\($0.kind) \($0.line)" } == "missing 3")
    var last = lines
    last.remove(at: 5)
    #expect(fault(last).map { "\($0.kind) \($0.line) \($0.sequence ?? 0)" } == "missing 6 5")
  }

  @Test func `with rows of another chain, or a closing line of another export, is forged`() throws {
    let lines = try exportLines()
    let other = try exportLines(chain: "node-2")
    #expect(fault(lines.prefix(3) + other.suffix(4))?.kind == .forged)
    #expect(fault(lines.dropLast() + [try exportLines(1...4)[5]])?.kind == .forged)
    #expect(fault(lines.prefix(3) + lines)?.kind == .forged)
    // The same chain's name, another history: the row's hash does not follow.
    let history = try exportLines(seed: 100)
    #expect(fault(lines.prefix(3) + history.suffix(4))?.kind == .altered)
  }

  @Test func `whose beginning was cut off and anchored anew is forged`() throws {
    let header = AuditExport(chain: "node-1", first: 1, anchor: [UInt8](repeating: 1, count: 32)).header
    #expect(fault([header] + (try exportLines().dropFirst()))?.kind == .forged)
  }

  @Test func `with anything behind its end is refused`() throws {
    #expect(fault(try exportLines() + [Array("\n".utf8)])?.kind == .trailing)
    #expect(fault(try exportLines() + [Array(" ".utf8)])?.kind == .trailing)
    #expect(fault(try exportLines() + exportLines())?.kind == .trailing)
  }

  @Test func `with other line ends is refused`() throws {
    let windows = try exportLines().map { Array($0.dropLast()) + Array("\r\n".utf8) }
    #expect(fault(windows) != nil)
  }

  @Test func `continues the one before it, or the fault says how it does not`() throws {
    let first = try verify(try exportLines(1...3))
    #expect(try verify(try exportLines(4...6), continuing: first).last == 6)
    #expect(fault(try exportLines(5...6), continuing: first)?.kind == .missing)
    #expect(fault(try exportLines(3...6), continuing: first)?.kind == .reordered)
    #expect(fault(try exportLines(4...6, chain: "node-2"), continuing: first)?.kind == .forged)
    // A history that was rewritten as a whole hangs together; what was exported before gives it away.
    #expect(try verify(try exportLines(4...6, seed: 9)).last == 6)
    #expect(fault(try exportLines(4...6, seed: 9), continuing: first)?.kind == .forged)
  }

  @Test func `with a line without end is refused before it fills the memory`() throws {
    var verifier = AuditExportVerifier()
    let flood = [UInt8](repeating: UInt8(ascii: "["), count: AuditExportVerifier.maximumLine + 1)
    #expect(throws: AuditExportFault.self) { try verifier.read(flood) }
  }

  @Test func `with numbers at the ends of Int64 is refused without a trap`() throws {
    let zero = Data(AuditChain.genesis).base64EncodedString()
    for first in ["9223372036854775807", "-9223372036854775808", "0", "9223372036854775808", "1e400"] {
      let header = #"{"format":"gatehouse-audit","version":1,"chain":"n","first":\#(first),"anchor":"\#(zero)"}"# + "\n"
      #expect(fault([Array(header.utf8), Array(#"{"chain":"n","last":9223372036854775807,"end":""}"#.utf8), [10]]) != nil)
      let previous = AuditSegment(chain: "n", first: 1, last: .max, hash: AuditChain.genesis)
      #expect(fault([Array(header.utf8)], continuing: previous) != nil)
    }
  }

  @Test func `damaged in ten thousand ways never traps and never verifies as something else`() throws {
    var generator = SeededGenerator(seed: 2026)
    let original = try exportLines(1...3).flatMap { $0 }
    let segment = try verify([original])
    let tokens: [[UInt8]] = ["{", "}", "\"", "\\u0000", "\n", ",", "null", "-1", "1e999", "[[[[", "\u{2028}", "\"sequence\":2", "\\ud800"].map {
      Array($0.utf8)
    }
    for _ in 0..<10_000 {
      var damaged = original
      for _ in 0...Int.random(in: 0...2, using: &generator) {
        let place = Int.random(in: 0..<damaged.count, using: &generator)
        switch Int.random(in: 0..<5, using: &generator) {
        case 0: damaged[place] = UInt8.random(in: 0...255, using: &generator)
        case 1: damaged.insert(contentsOf: tokens.randomElement(using: &generator) ?? [], at: place)
        case 2: damaged.removeSubrange(place..<min(damaged.count, place + Int.random(in: 1...200, using: &generator)))
        case 3: damaged.insert(contentsOf: damaged[place..<min(damaged.count, place + 300)], at: Int.random(in: 0..<damaged.count, using: &generator))
        default: damaged = Array(damaged.prefix(place + 1))
        }
        if damaged.isEmpty { damaged = [0] }
      }
      if damaged != original, fault([damaged]) == nil { Issue.record("\(String(decoding: damaged, as: UTF8.self))") }
      if damaged == original { #expect(try verify([damaged]) == segment) }
    }
  }
}
