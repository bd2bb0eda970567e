/// Base64 (RFC 4648 §4) and base64url (§5), each in the one spelling that its encoder would write.
///
/// Foundation's decoder forgives bits that are set behind the last byte; two texts that mean the same bytes would then pass for different
/// ones in a list of what was seen before.
enum Base64 {
  private static let standard = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
  private static let url = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
  /// The value of each byte as a character; 64 where it is none.
  private static let standardValues = values(standard)
  private static let urlValues = values(url)

  private static func values(_ alphabet: [UInt8]) -> [UInt8] {
    var values = [UInt8](repeating: 64, count: 256)
    for (value, character) in alphabet.enumerated() { values[Int(character)] = UInt8(value) }
    return values
  }

  // Whatever collection comes, the work is done on plain memory: a generic loop over another module's collection costs many times as much a byte.

  static func encode(_ bytes: some Collection<UInt8>, url isURL: Bool) -> String {
    if let text = bytes.withContiguousStorageIfAvailable({ encode(memory: $0, url: isURL) }) { return text }
    return Array(bytes).withUnsafeBufferPointer { encode(memory: $0, url: isURL) }
  }

  private static func encode(memory bytes: UnsafeBufferPointer<UInt8>, url isURL: Bool) -> String {
    (isURL ? url : standard).withUnsafeBufferPointer { alphabet in
      String(unsafeUninitializedCapacity: (bytes.count + 2) / 3 * 4) { text in
        var place = 0
        func put(_ bits: UInt32) {
          text[place] = alphabet[Int(bits & 63)]
          place += 1
        }
        var rest = 0
        while rest + 2 < bytes.count {
          let bits = UInt32(bytes[rest]) << 16 | UInt32(bytes[rest + 1]) << 8 | UInt32(bytes[rest + 2])
          put(bits >> 18)
          put(bits >> 12)
          put(bits >> 6)
          put(bits)
          rest += 3
        }
        guard rest < bytes.count else { return place }
        let isLast = rest + 1 == bytes.count
        let bits = UInt32(bytes[rest]) << 16 | (isLast ? 0 : UInt32(bytes[rest + 1]) << 8)
        put(bits >> 18)
        put(bits >> 12)
        if !isLast { put(bits >> 6) }
        if !isURL {
          for _ in 0..<(isLast ? 2 : 1) {
            text[place] = UInt8(ascii: "=")
            place += 1
          }
        }
        return place
      }
    }
  }

  /// Nil for white space, foreign characters, missing or superfluous padding, and bits behind the last byte.
  static func decode(_ characters: some Collection<UInt8>, url isURL: Bool) -> [UInt8]? {
    if let result = characters.withContiguousStorageIfAvailable({ decode(memory: $0, url: isURL) }) { return result }
    return Array(characters).withUnsafeBufferPointer { decode(memory: $0, url: isURL) }
  }

  private static func decode(memory: UnsafeBufferPointer<UInt8>, url isURL: Bool) -> [UInt8]? {
    var characters = memory[...]
    if !isURL {
      guard characters.count % 4 == 0 else { return nil }
      if characters.last == UInt8(ascii: "=") { characters = characters.dropLast() }
      if characters.last == UInt8(ascii: "=") { characters = characters.dropLast() }
    }
    let count = characters.count
    guard count % 4 != 1 else { return nil }
    let values = isURL ? urlValues : standardValues
    var result: [UInt8] = []
    result.reserveCapacity(count / 4 * 3 + 2)
    var bits: UInt32 = 0
    var held: UInt32 = 0
    for character in characters {
      let value = values[Int(character)]
      guard value < 64 else { return nil }
      bits = bits << 6 | UInt32(value)
      held += 6
      guard held >= 8 else { continue }
      held -= 8
      result.append(UInt8(truncatingIfNeeded: bits >> held))
      bits &= (1 << held) - 1
    }
    return bits == 0 ? result : nil
  }
}
