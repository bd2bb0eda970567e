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

  static func encode(_ bytes: some Collection<UInt8>, url isURL: Bool) -> String {
    let alphabet = isURL ? url : standard
    let count = bytes.count
    return String(unsafeUninitializedCapacity: (count + 2) / 3 * 4) { text in
      var place = 0
      func put(_ character: UInt8) {
        text[place] = character
        place += 1
      }
      var bits: UInt32 = 0
      var held = 0
      for byte in bytes {
        bits = bits << 8 | UInt32(byte)
        held += 1
        guard held == 3 else { continue }
        for shift in [18, 12, 6, 0] as [UInt32] { put(alphabet[Int(bits >> shift & 63)]) }
        (bits, held) = (0, 0)
      }
      guard held > 0 else { return place }
      bits <<= UInt32(3 - held) * 8
      put(alphabet[Int(bits >> 18 & 63)])
      put(alphabet[Int(bits >> 12 & 63)])
      if held == 2 { put(alphabet[Int(bits >> 6 & 63)]) }
      if !isURL { for _ in held..<3 { put(UInt8(ascii: "=")) } }
      return place
    }
  }

  /// Nil for white space, foreign characters, missing or superfluous padding, and bits behind the last byte.
  static func decode(_ characters: some BidirectionalCollection<UInt8>, url isURL: Bool) -> [UInt8]? {
    var characters = characters[...]
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
