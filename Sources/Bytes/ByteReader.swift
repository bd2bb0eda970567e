/// Reads from foreign bytes without ever trapping: every read is checked and answers nil past the end.
///
/// Multi-byte numbers are big-endian (network order).
package struct ByteReader: Sendable {
  private let bytes: [UInt8]
  private var position = 0

  package init(_ bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }

  /// How many bytes are left.
  package var remaining: Int { bytes.count - position }

  /// The next byte, or nil at the end.
  package mutating func readByte() -> UInt8? {
    guard position < bytes.count else { return nil }
    defer { position += 1 }
    return bytes[position]
  }

  /// The next big-endian number of `T`'s width, or nil where fewer bytes are left.
  package mutating func readInteger<T: FixedWidthInteger & UnsignedInteger>(_: T.Type = T.self) -> T? {
    let width = T.bitWidth / 8
    guard remaining >= width else { return nil }
    var value: T = 0
    for _ in 0..<width { value = (value << 8) | T(truncatingIfNeeded: bytes[position]); position += 1 }
    return value
  }

  /// The next `count` bytes, or nil where fewer are left or `count` is negative.
  package mutating func readBytes(_ count: Int) -> [UInt8]? {
    guard count >= 0, remaining >= count else { return nil }
    defer { position += count }
    return Array(bytes[position..<position + count])
  }
}

/// Appends to a byte array, multi-byte numbers big-endian.
package struct ByteWriter: Sendable {
  package private(set) var bytes: [UInt8] = []

  package init() {}

  package mutating func write(_ more: some Sequence<UInt8>) { bytes.append(contentsOf: more) }

  package mutating func writeInteger(_ value: some FixedWidthInteger) {
    withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
  }

  /// Writes a four-byte count and then the bytes, so that a sequence of fields can be read in one way only.
  package mutating func writeLengthPrefixed(_ field: some Collection<UInt8>) {
    writeInteger(UInt32(clamping: field.count))
    bytes.append(contentsOf: field)
  }
}
