/// Documents in DER, kept in JSON as base64: an array of numbers is three times as long, and takes as long to read as everything else of a document
/// together.
@propertyWrapper
package struct Base64List: Sendable, Equatable, Codable {
  package var wrappedValue: [[UInt8]]

  package init(wrappedValue: [[UInt8]]) { self.wrappedValue = wrappedValue }

  /// Reads arrays of numbers too, as they were written before.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard let texts = try? container.decode([String].self) else {
      wrappedValue = try container.decode([[UInt8]].self)
      return
    }
    wrappedValue = try texts.map { text in
      guard let bytes = StrictText.base64(text) else { throw DecodingError.dataCorruptedError(in: container, debugDescription: "no base64") }
      return bytes
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(wrappedValue.map(\.base64))
  }
}
