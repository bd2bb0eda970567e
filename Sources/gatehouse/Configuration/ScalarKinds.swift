import Bytes
import Federation
import Foundation
import Identity
import Logging

// The kinds of values that configuration files know. Each says what it wants in words that complete "It must be …".

extension ScalarKind where Value == String {
  /// Any text of 1…1,024 bytes.
  static var text: ScalarKind { ScalarKind(expects: "a text of 1 to 1024 bytes") { (1...1024).contains($0.utf8.count) ? $0 : nil } }

  /// The label or serial number of a PKCS #11 token: 32 bytes padded with blanks, or 16 (Base 3.1, CK_TOKEN_INFO).
  static var tokenName: ScalarKind {
    ScalarKind(expects: "a token's label of 1 to 32 bytes, without blanks at its end, or its serial number") { text in
      let isGood = text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f } && text.utf8.last != 0x20
      return isGood && (1...32).contains(text.utf8.count) ? text : nil
    }
  }

  /// The name of a node or an agent.
  static var name: ScalarKind {
    ScalarKind(expects: "a name of 1 to 64 letters, digits, `.`, `_` and `-`") { text in
      let isGood = text.utf8.allSatisfy {
        (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) || [0x2d, 0x2e, 0x5f].contains($0)
      }
      return isGood && (1...64).contains(text.utf8.count) ? text : nil
    }
  }

  /// A colour that white text can be read on.
  static var colour: ScalarKind {
    ScalarKind(expects: "a colour `#rrggbb` that is dark enough for white text on it (a contrast of 4.5 to 1: WCAG 2.2, 1.4.3)") { text in
      let bytes = Array(text.utf8)
      guard bytes.count == 7, bytes[0] == UInt8(ascii: "#"), let number = UInt32(text.dropFirst(), radix: 16), bytes[1] != UInt8(ascii: "+") else {
        return nil
      }
      func linear(_ shift: UInt32) -> Double {
        let value = Double(number >> shift & 255) / 255
        return value <= 0.04045 ? value / 12.92 : pow((value + 0.055) / 1.055, 2.4)
      }
      let luminance = 0.2126 * linear(16) + 0.7152 * linear(8) + 0.0722 * linear(0)
      return 1.05 / (luminance + 0.05) >= 4.5 ? asciiLowercased(text) : nil
    }
  }

  /// A path; a relative one counts from `directory`.
  static func path(from directory: String) -> ScalarKind {
    ScalarKind(expects: "a path without control characters") { text in
      guard (1...4096).contains(text.utf8.count), text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else { return nil }
      return text.utf8.first == UInt8(ascii: "/") ? text : directory + "/" + text
    }
  }

  /// A path from the root.
  static var absolutePath: ScalarKind {
    ScalarKind(expects: "an absolute path without control characters, such as `/usr/local/bin/tell`; arguments belong into a script") { text in
      guard (2...4096).contains(text.utf8.count), text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else { return nil }
      return text.utf8.first == UInt8(ascii: "/") ? text : nil
    }
  }

  /// A whole URL, to which something is sent.
  static var endpointURL: ScalarKind {
    ScalarKind(expects: "an https URL without user name and fragment (http is taken for localhost)") { EndpointURL.problem($0) == nil ? $0 : nil }
  }

  /// A DNS name.
  static var dnsName: ScalarKind {
    ScalarKind(expects: "a DNS name such as `contoso.com`") { isDNSName($0) ? asciiLowercased($0) : nil }
  }

  /// A DNS name or an IP address.
  static var host: ScalarKind {
    ScalarKind(expects: "a DNS name or an IP address, without port") { isIPAddress($0) || isDNSName($0) ? asciiLowercased($0) : nil }
  }

  /// A distinguished name, roughly: the directory has the last word.
  static var distinguishedName: ScalarKind {
    ScalarKind(expects: "a distinguished name such as `DC=contoso,DC=com`") { text in
      guard (3...1024).contains(text.utf8.count), let equals = text.utf8.firstIndex(of: UInt8(ascii: "=")) else { return nil }
      return equals > text.utf8.startIndex && text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) ? text : nil
    }
  }

  /// An attribute's name (RFC 4512 §2.5).
  static var attribute: ScalarKind {
    ScalarKind(expects: "the name of an LDAP attribute such as `userPrincipalName`") {
      AttributeRequest(attributes: [$0]).firstInvalidName == nil ? $0 : nil
    }
  }

  /// An LDAP filter (RFC 4515), roughly: in brackets, as many closing as opening ones.
  static var filter: ScalarKind {
    ScalarKind(expects: "an LDAP filter in brackets such as `(objectClass=person)`") { text in
      let bytes = Array(text.utf8)
      guard (3...2048).contains(bytes.count), bytes.first == UInt8(ascii: "("), bytes.last == UInt8(ascii: ")") else { return nil }
      var depth = 0
      for (index, byte) in bytes.enumerated() {
        if byte == UInt8(ascii: "(") { depth += 1 }
        if byte == UInt8(ascii: ")") { depth -= 1 }
        guard byte >= 0x20, byte != 0x7f, depth > 0 || index == bytes.count - 1 else { return nil }
      }
      return depth == 0 ? text : nil
    }
  }

  /// A NetBIOS domain name.
  static var netBIOSName: ScalarKind {
    ScalarKind(expects: "a NetBIOS domain name of 1 to 15 letters, digits and `-`, such as `CONTOSO`") { text in
      let isGood = text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x7a).contains($0 | 0x20) || $0 == 0x2d || $0 == 0x5f }
      return isGood && (1...15).contains(text.utf8.count) ? text : nil
    }
  }
}

extension ScalarKind where Value == Bool {
  static var bool: ScalarKind { ScalarKind(expects: "`true` or `false`") { $0 == "true" ? true : $0 == "false" ? false : nil } }
}

extension ScalarKind where Value == Int {
  /// A whole number.
  static func integer(_ range: ClosedRange<Int>) -> ScalarKind {
    ScalarKind(expects: "a whole number from \(range.lowerBound) to \(range.upperBound)") { text in
      decimal(text).flatMap { range.contains($0) ? $0 : nil }
    }
  }

  /// A number of bytes.
  static func bytes(_ range: ClosedRange<Int>) -> ScalarKind {
    let (least, most) = (describe(byteCount: range.lowerBound), describe(byteCount: range.upperBound))
    return ScalarKind(expects: "a number of bytes with its unit (B, kB, MB, GB) from \(least) to \(most)") { text in
      parseByteCount(text).flatMap { range.contains($0) ? $0 : nil }
    }
  }
}

extension ScalarKind where Value == Duration {
  /// A length of time.
  static func duration(_ range: ClosedRange<Duration>) -> ScalarKind {
    let (least, most) = (describe(range.lowerBound), describe(range.upperBound))
    return ScalarKind(expects: "a length of time with its unit (ms, s, m, h, d) from \(least) to \(most)") { text in
      parseDuration(text).flatMap { range.contains($0) ? $0 : nil }
    }
  }
}

extension ScalarKind where Value == ListenAddress {
  static var listenAddress: ScalarKind { ScalarKind(expects: "an IP address and a port, `0.0.0.0:8443` or `[::]:8443`") { ListenAddress($0) } }
}

extension ScalarKind where Value == ServerAddress {
  static var server: ScalarKind {
    ScalarKind(expects: "a server, `dc1.contoso.com` or `dc1.contoso.com:636`, with `@10.0.0.7` behind it where DNS shall not be asked") {
      ServerAddress($0)
    }
  }
}

extension ScalarKind where Value == HTTPSURL {
  static var httpsURL: ScalarKind {
    ScalarKind(expects: "an https address without user, path and query, such as `https://sign-in.contoso.com`") { HTTPSURL($0) }
  }
}

extension ScalarKind where Value == HTTPProxy {
  static var proxy: ScalarKind { ScalarKind(expects: "`http://host:port`, without user and path") { HTTPProxy($0) } }
}

extension ScalarKind where Value == AddressRange {
  static var addressRange: ScalarKind {
    ScalarKind(expects: "an IP address or a block of them such as `10.0.0.0/8`, with no bit set behind the prefix") { AddressRange($0) }
  }
}

extension ScalarKind where Value == RealmName {
  static var realm: ScalarKind {
    ScalarKind(expects: "the name of a realm: 1 to 63 letters, digits, `.` and `-`, such as `contoso.com`") { RealmName($0) }
  }
}

extension ScalarKind where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
  /// One of a closed set of words, spelled exactly.
  static var choice: ScalarKind {
    let words = Value.allCases.map { "`\($0.rawValue)`" }
    return ScalarKind(expects: words.dropLast().joined(separator: ", ") + " or " + words.suffix(1).joined()) { text in
      Value.allCases.first { $0.rawValue.utf8.elementsEqual(text.utf8) }
    }
  }
}
