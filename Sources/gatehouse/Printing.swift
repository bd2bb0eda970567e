import Bytes
import Foundation

/// A table for people: columns as wide as they must be, nothing of what a terminal would obey.
func printTable(_ headings: [String], _ rows: [[String]]) {
  guard !rows.isEmpty else {
    print("None.")
    return
  }
  let table = [headings] + rows.map { $0.map(harmless) }
  let widths = headings.indices.map { column in table.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
  for row in table {
    let cells = zip(row, widths).map { cell, width in cell + String(repeating: " ", count: width - cell.count) }
    print(trimmingEnd(cells.joined(separator: "  ")))
  }
}

/// Text from outside with every control character made visible: a user name must not steer the administrator's terminal.
func harmless(_ text: String) -> String {
  var result = String.UnicodeScalarView()
  for scalar in text.unicodeScalars {
    switch scalar.value {
    case 0x00...0x1f, 0x7f...0x9f, 0x200b...0x200f, 0x2028...0x202e, 0x2060...0x206f, 0xfeff:
      result.append(contentsOf: "\\u{\(String(scalar.value, radix: 16))}".unicodeScalars)
    default: result.append(scalar)
    }
  }
  return String(result)
}

/// JSON for programs, stable in its order.
func printJSON(_ value: some Encodable) throws {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
  print(String(decoding: try encoder.encode(value), as: UTF8.self))
}

/// "2026-11-21 07:04:08", in UTC; a dash for nothing.
func shown(_ instant: Instant?) -> String {
  guard let instant else { return "-" }
  return String(instant.description.prefix(19)).replacingOccurrences(of: "T", with: " ")
}

private func trimmingEnd(_ text: String) -> String {
  var text = Substring(text)
  while text.last == " " { text.removeLast() }
  return String(text)
}
