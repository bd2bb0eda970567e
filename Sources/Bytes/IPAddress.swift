import Foundation

/// An IP address: IPv4 or IPv6, in canonical bytes. IPv4 in IPv6's clothes (`::ffff:192.0.2.1`) is IPv4, so that one client has one address.
package struct IPAddress: Hashable, Sendable, CustomStringConvertible {
  /// 4 or 16 bytes.
  package let bytes: [UInt8]

  /// Nil where `text` is no address literal (RFC 4291 §2.2; ports, brackets and zone identifiers included).
  package init?(_ text: String) {
    // The longest literal has 45 characters; NUL would end the text for C.
    guard text.utf8.count <= 45, !text.utf8.contains(0) else { return nil }
    var four = in_addr()
    if inet_pton(AF_INET, text, &four) == 1 {
      self.init(bytes: withUnsafeBytes(of: four) { Array($0) })
      return
    }
    var six = in6_addr()
    guard inet_pton(AF_INET6, text, &six) == 1 else { return nil }
    self.init(bytes: withUnsafeBytes(of: six) { Array($0) })
  }

  /// Nil where there are neither 4 nor 16 bytes.
  package init?(bytes: [UInt8]) {
    guard bytes.count == 4 || bytes.count == 16 else { return nil }
    let isMapped = bytes.count == 16 && bytes.prefix(10).allSatisfy { $0 == 0 } && bytes.dropFirst(10).prefix(2).allSatisfy { $0 == 0xff }
    self.bytes = isMapped ? Array(bytes.suffix(4)) : bytes
  }

  package var isIPv4: Bool { bytes.count == 4 }

  /// The canonical text (RFC 5952).
  package var description: String {
    var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    let written = bytes.withUnsafeBytes { inet_ntop(isIPv4 ? AF_INET : AF_INET6, $0.baseAddress, &buffer, socklen_t(buffer.count)) }
    guard written != nil else { return "?" }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// A block of addresses: `192.0.2.0/24`, `2001:db8::/32`, or one address.
package struct AddressRange: Hashable, Sendable, CustomStringConvertible {
  package let network: IPAddress
  package let prefixLength: Int
  /// As it was written.
  package let description: String

  /// Nil where `text` is no address, the prefix does not fit, or bits behind the prefix are set (`10.0.0.1/8`: most likely a mistake).
  package init?(_ text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard let first = parts.first, parts.count <= 2, let network = IPAddress(first) else { return nil }
    var length = network.bytes.count * 8
    if parts.count == 2 {
      guard !parts[1].isEmpty, parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let given = Int(parts[1]), given <= length
      else { return nil }
      length = given
    }
    guard network.bytes.enumerated().allSatisfy({ $1 & ~AddressRange.mask(length, byte: $0) == 0 }) else { return nil }
    self.network = network
    prefixLength = length
    description = text
  }

  package func contains(_ address: IPAddress) -> Bool {
    guard address.bytes.count == network.bytes.count else { return false }
    return zip(address.bytes, network.bytes).enumerated().allSatisfy { index, pair in
      pair.0 & AddressRange.mask(prefixLength, byte: index) == pair.1
    }
  }

  /// The same for a text; false where it is no address.
  package func contains(_ text: String) -> Bool { IPAddress(text).map { contains($0) } ?? false }

  /// Which bits of byte `index` lie within the first `length` bits.
  private static func mask(_ length: Int, byte index: Int) -> UInt8 {
    let kept = max(0, min(8, length - index * 8))
    return kept == 0 ? 0 : 0xff << UInt8(8 - kept)
  }
}
