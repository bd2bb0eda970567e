import Bytes
import Foundation

// An export is text, one JSON object a line, each line ended by a line feed:
//
//   {"format":"gatehouse-audit","version":1,"chain":"node-1","first":1,"anchor":"<base64>"}
//   {"chain":"node-1","event":{…},"sequence":1,"hash":"<base64>"}
//   …
//   {"chain":"node-1","last":812,"end":"<base64>"}
//
// `anchor` is the hash of the row before `first` (32 zero bytes before row 1), `end` that of the last row. A row's canonical text is its line
// without the member `hash`, so a chain can be checked with any SHA-256 tool: hash = SHA-256(hash of the row before ‖ canonical text).
// The closing line is what tells a whole export from one that was cut at the end of a line. A segment may be empty: then `last` is `first` - 1.

/// Writes one segment of a chain as text, line by line.
package struct AuditExport: Sendable {
  /// The name of the format and its version, as they stand in the first line.
  static let format = "gatehouse-audit"
  static let version: Int64 = 1

  private let chain: String
  private let first: Int64
  private var last: Int64
  private var hash: [UInt8]
  /// The first line, with its line feed.
  package let header: [UInt8]

  /// Begins a segment at `first`, before which the chain's hash is `anchor`.
  package init(chain: String, first: Int64, anchor: [UInt8]) {
    self.chain = chain
    self.first = first
    last = first - 1
    hash = anchor
    header = AuditExport.header(chain: chain, first: first, anchor: anchor)
  }

  /// The line of the next row, with its line feed. Throws `StoreError.unavailable` where the row does not continue the segment: an export that
  /// could not be verified is not made.
  package mutating func line(of row: AuditRow) throws -> [UInt8] {
    let event = row.event.canonical
    guard row.chain.utf8.elementsEqual(chain.utf8), row.sequence == last + 1,
      row.hash == AuditChain.hash(after: hash, chain: chain, sequence: row.sequence, event: event)
    else {
      throw StoreError.unavailable(
        "the audit chain \(chain) is broken at row \(row.sequence) in the store; keep a copy of the store's file and find out who changed it")
    }
    last = row.sequence
    hash = row.hash
    return AuditExport.line(chain: chain, sequence: row.sequence, event: event, hash: row.hash)
  }

  /// The closing line, with its line feed.
  package var closing: [UInt8] { AuditExport.closing(chain: chain, last: last, hash: hash) }

  /// What was exported, as `AuditExportVerifier` will find it.
  package var segment: AuditSegment { AuditSegment(chain: chain, first: first, last: last, hash: hash) }

  static func header(chain: String, first: Int64, anchor: [UInt8]) -> [UInt8] {
    var json = CanonicalJSON()
    json.object {
      $0.member("format", format)
      $0.member("version", version)
      $0.member("chain", chain)
      $0.member("first", first)
      $0.member("anchor", Data(anchor).base64EncodedString())
    }
    return json.bytes + [UInt8(ascii: "\n")]
  }

  static func line(chain: String, sequence: Int64, event: [UInt8], hash: [UInt8]) -> [UInt8] {
    AuditChain.row(chain: chain, sequence: sequence, event: event).dropLast() + rowEnd(hash: hash) + [UInt8(ascii: "\n")]
  }

  /// What stands in a row's line behind its sequence.
  static func rowEnd(hash: [UInt8]) -> [UInt8] { Array(#","hash":"\#(Data(hash).base64EncodedString())"}"#.utf8) }

  static func closing(chain: String, last: Int64, hash: [UInt8]) -> [UInt8] {
    var json = CanonicalJSON()
    json.object {
      $0.member("chain", chain)
      $0.member("last", last)
      $0.member("end", Data(hash).base64EncodedString())
    }
    return json.bytes + [UInt8(ascii: "\n")]
  }
}

/// A stretch of a chain that was exported, or verified.
package struct AuditSegment: Sendable, Equatable {
  package var chain: String
  package var first: Int64
  /// `first` - 1 where the segment is empty.
  package var last: Int64
  /// The hash of the last row: the anchor of the segment that continues this one.
  package var hash: [UInt8]

  package init(chain: String, first: Int64, last: Int64, hash: [UInt8]) {
    self.chain = chain
    self.first = first
    self.last = last
    self.hash = hash
  }
}

/// Why an export is not what a gateway wrote, at its first bad line.
package struct AuditExportFault: Error, Sendable, Equatable, CustomStringConvertible {
  /// What is wrong.
  package enum Kind: String, Sendable, CaseIterable {
    /// The line is not what this format has at this place.
    case malformed
    /// The row's text or hash is not what it was when it was written.
    case altered
    /// One or more rows before this one are gone.
    case missing
    /// A row stands here a second time, or behind one that came after it.
    case reordered
    /// The export ends before its closing line.
    case truncated
    /// The rows hang together, but not with what stands around them: another chain's row, a wrong anchor, a closing line for something else.
    case forged
    /// Something follows the closing line.
    case trailing
  }

  package var kind: Kind
  /// Counted from 1.
  package var line: Int
  /// The row that was expected there, where a row was.
  package var sequence: Int64?
  package var text: String

  package var description: String { "line \(line): \(kind.rawValue): \(text)" }
}
