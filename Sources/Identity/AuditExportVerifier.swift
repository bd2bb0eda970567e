import Bytes
import Foundation

/// Checks an export without a store, line by line, in constant memory. It stops at the first line that is not exactly what a gateway writes.
///
/// What it cannot see: that somebody who held the store rewrote a chain from some row on and computed all hashes anew. That shows when the
/// hash of an earlier export (`continuing`), or of another node's checkpoint, is held against it.
package struct AuditExportVerifier: Sendable {
  private enum Place { case header, rows, end }

  /// Longer lines are refused unread: an event cannot be as long.
  package static let maximumLine = AuditEvent.maximumBytes + 4096

  private let previous: AuditSegment?
  private var place = Place.header
  private var line = 0
  private var pending: [UInt8] = []
  private var segment = AuditSegment(chain: "", first: 1, last: 0, hash: AuditChain.genesis)

  /// `continuing` is the segment that this export must continue, or nil where it stands for itself.
  package init(continuing previous: AuditSegment? = nil) { self.previous = previous }

  /// Reads the next bytes of the export, in pieces of any size.
  package mutating func read(_ bytes: some Sequence<UInt8>) throws(AuditExportFault) {
    for byte in bytes {
      guard byte != UInt8(ascii: "\n") else {
        line += 1
        try verify(pending)
        pending.removeAll(keepingCapacity: true)
        continue
      }
      guard pending.count < AuditExportVerifier.maximumLine else {
        line += 1
        throw fault(.malformed, "the line is longer than any that a gateway writes")
      }
      pending.append(byte)
    }
  }

  /// To be called at the end of the file. Answers what was verified.
  package mutating func finish() throws(AuditExportFault) -> AuditSegment {
    line += 1
    guard place == .end else {
      throw fault(.truncated, "the export ends \(segment.last >= segment.first ? "behind row \(segment.last)" : "early"), without its closing line")
    }
    guard pending.isEmpty else { throw fault(.trailing, "something follows the closing line") }
    return segment
  }

  private mutating func verify(_ text: [UInt8]) throws(AuditExportFault) {
    switch place {
    case .header: try verifyHeader(text)
    case .rows: try verifyRow(text)
    case .end: throw fault(.trailing, "something follows the closing line")
    }
  }

  private mutating func verifyHeader(_ text: [UInt8]) throws(AuditExportFault) {
    struct Header: Decodable {
      var format: String
      var version: Int64
      var chain: String
      var first: Int64
      var anchor: String
    }
    guard let header: Header = decode(text), header.format == AuditExport.format, let anchor = StrictText.base64(header.anchor), anchor.count == 32,
      header.first >= 1
    else { throw fault(.malformed, "this is not the first line of an audit export") }
    guard header.version == AuditExport.version else {
      throw fault(.malformed, "the export has version \(header.version); this gatehouse reads version \(AuditExport.version)")
    }
    guard text + [UInt8(ascii: "\n")] == AuditExport.header(chain: header.chain, first: header.first, anchor: anchor) else {
      throw fault(.malformed, "the first line is not written as a gateway writes it")
    }
    guard header.first > 1 || anchor == AuditChain.genesis else { throw fault(.forged, "a chain begins with an anchor of zeros, this one does not") }
    if let previous {
      guard previous.chain.utf8.elementsEqual(header.chain.utf8) else {
        throw fault(.forged, "this is the chain \(header.chain), the export before it is of \(previous.chain)")
      }
      guard header.first - 1 <= previous.last else {
        throw fault(.missing, "the rows \(previous.last + 1) to \(header.first - 1) between the export before and this one are missing")
      }
      guard header.first - 1 == previous.last else {
        throw fault(.reordered, "this export begins with row \(header.first), the one before it ends with \(previous.last)")
      }
      guard previous.hash == anchor else { throw fault(.forged, "the anchor is not the last hash of the export before") }
    }
    segment = AuditSegment(chain: header.chain, first: header.first, last: header.first - 1, hash: anchor)
    place = .rows
  }

  private mutating func verifyRow(_ text: [UInt8]) throws(AuditExportFault) {
    let (expected, overflow) = segment.last.addingReportingOverflow(1)
    guard !overflow else { throw fault(.malformed, "no chain is that long") }
    let end = AuditExport.closing(chain: segment.chain, last: segment.last, hash: segment.hash).dropLast()
    if text.elementsEqual(end) {
      place = .end
      return
    }
    // {"chain":"…","event": … ,"sequence":n,"hash":"…"}: everything but the event and the hash is known beforehand.
    let head = AuditChain.row(chain: segment.chain, sequence: expected, event: [])
    let tail = Array(#","sequence":\#(expected)"#.utf8)
    let start = head.prefix(head.count - tail.count - 1)
    let hashLength = AuditExport.rowEnd(hash: AuditChain.genesis).count
    guard text.count > start.count + tail.count + hashLength, text.starts(with: start),
      text.suffix(hashLength).dropLast(46).elementsEqual(rowEndStart),
      text.dropLast(hashLength).suffix(tail.count).elementsEqual(tail)
    else { throw explain(text, expected: expected) }
    let event = Array(text[start.count..<(text.count - hashLength - tail.count)])
    let hash = AuditChain.hash(after: segment.hash, chain: segment.chain, sequence: expected, event: event)
    guard text.elementsEqual(AuditExport.line(chain: segment.chain, sequence: expected, event: event, hash: hash).dropLast()) else {
      throw fault(.altered, "row \(expected) or its hash was changed", sequence: expected)
    }
    guard AuditEvent(canonical: event) != nil else {
      throw fault(.forged, "row \(expected) has the right hash, but is not an event as this gatehouse writes it", sequence: expected)
    }
    segment.last = expected
    segment.hash = hash
  }

  private var rowEndStart: ArraySlice<UInt8> { AuditExport.rowEnd(hash: AuditChain.genesis).dropLast(46) }

  /// Finds words for a line that is neither the row that should stand here nor the closing line. Nothing of it is believed.
  private func explain(_ text: [UInt8], expected: Int64) -> AuditExportFault {
    struct Line: Decodable {
      var format: String?
      var chain: String?
      var sequence: Int64?
      var last: Int64?
    }
    guard let line: Line = decode(text), let chain = line.chain else {
      return fault(.malformed, "this is neither a row nor the closing line", sequence: expected)
    }
    guard line.format == nil else { return fault(.forged, "a second export begins here before the first has ended", sequence: expected) }
    guard chain.utf8.elementsEqual(segment.chain.utf8) else { return fault(.forged, "the row is of another chain, \(chain)", sequence: expected) }
    if let sequence = line.sequence {
      if sequence > expected { return fault(.missing, "row \(expected) is missing: row \(sequence) stands in its place", sequence: expected) }
      if sequence < expected { return fault(.reordered, "row \(sequence) stands where row \(expected) belongs", sequence: expected) }
      return fault(.altered, "row \(expected) is not written as a gateway writes it", sequence: expected)
    }
    if let last = line.last {
      if last >= expected { return fault(.missing, "the closing line tells of row \(last), but row \(expected) is not there", sequence: expected) }
      return fault(.forged, "the closing line does not fit the rows before it", sequence: expected)
    }
    return fault(.malformed, "this is neither a row nor the closing line", sequence: expected)
  }

  private func decode<Value: Decodable>(_ text: [UInt8]) -> Value? {
    guard jsonDepth(text) <= 4 else { return nil }
    return try? JSONDecoder().decode(Value.self, from: Data(text))
  }

  private func fault(_ kind: AuditExportFault.Kind, _ text: String, sequence: Int64? = nil) -> AuditExportFault {
    AuditExportFault(kind: kind, line: line, sequence: sequence, text: text)
  }
}
