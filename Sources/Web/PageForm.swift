import Bytes

/// The fields of a form that one of our own pages posts. Passwords go straight from the body's bytes into `Secret`s.
struct PageForm: Sendable {
  private var texts: [String: String] = [:]
  private var secrets: [String: Secret] = [:]

  private static let secretNames: Set<String> = ["password", "newPassword", "repeated"]

  /// Nil where a field comes twice, is not percent-encoded UTF-8, or there are more than 16.
  init?(_ body: [UInt8]) {
    let parts = body.split(separator: UInt8(ascii: "&"))
    guard parts.count <= 16 else { return nil }
    for part in parts {
      guard let equals = part.firstIndex(of: UInt8(ascii: "=")), let name = StrictText.utf8(part[..<equals]),
        var value = PageForm.decode(part[(equals + 1)...]), texts[name] == nil, secrets[name] == nil
      else { return nil }
      if PageForm.secretNames.contains(name) {
        secrets[name] = Secret(value)
        value.withUnsafeMutableBytes { if let base = $0.baseAddress { wipe(base, $0.count) } }
      } else {
        guard let text = StrictText.utf8(value) else { return nil }
        texts[name] = text
      }
    }
  }

  func value(_ name: String) -> String? { texts[name] }
  func secret(_ name: String) -> Secret? { secrets[name] }

  private static func decode(_ raw: ArraySlice<UInt8>) -> [UInt8]? {
    var bytes: [UInt8] = []
    // One allocation, so that no copy of a password is left where an array grew.
    bytes.reserveCapacity(raw.count)
    var rest = raw
    while let byte = rest.popFirst() {
      switch byte {
      case UInt8(ascii: "+"): bytes.append(0x20)
      case UInt8(ascii: "%"):
        guard let high = rest.popFirst().flatMap(digit), let low = rest.popFirst().flatMap(digit) else { return nil }
        bytes.append(high << 4 | low)
      default: bytes.append(byte)
      }
    }
    return bytes
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x41 + 10
    case 0x61...0x66: byte - 0x61 + 10
    default: nil
    }
  }
}
