import Bytes
import Foundation
import Identity

/// An address to listen on: an IP address (or `localhost`) and a port; port 0 lets the system choose.
struct ListenAddress: Sendable, Hashable, CustomStringConvertible {
  var host: String
  var port: Int

  init(host: String, port: Int) {
    self.host = host
    self.port = port
  }

  /// Nil where `text` is not `host:port` or `[IPv6]:port`.
  init?(_ text: String) {
    guard let (host, port) = splitHostAndPort(text), let port else { return nil }
    guard isIPAddress(host) || host == "localhost" else { return nil }
    self.host = host
    self.port = port
  }

  var description: String { isIPv6Address(host) ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// A server to connect to; the port is nil where the protocol's own is meant, the address where DNS shall tell it.
struct ServerAddress: Sendable, Hashable, CustomStringConvertible {
  var host: String
  var port: Int?
  /// Where to connect to in place of what DNS says of `host`; the certificate must bear `host` all the same.
  var address: String?

  /// Nil where `text` is not `host`, `host:port`, `[IPv6]` or `[IPv6]:port`, perhaps followed by `@` and an IP address.
  init?(_ text: String) {
    let parts = text.utf8.split(separator: UInt8(ascii: "@"), maxSplits: 1, omittingEmptySubsequences: false).map {
      String(decoding: $0, as: UTF8.self)
    }
    guard let name = parts.first, let (host, port) = splitHostAndPort(name), isIPAddress(host) || isDNSName(host), port != 0 else { return nil }
    self.host = host
    self.port = port
    guard parts.count > 1 else { return }
    guard isIPAddress(parts[1]) else { return nil }
    address = parts[1]
  }

  var description: String {
    let name = isIPv6Address(host) ? "[\(host)]" : host
    return (port.map { "\(name):\($0)" } ?? name) + (address.map { "@\($0)" } ?? "")
  }
}

/// `https://host[:port]`, without user, path, query and fragment.
struct HTTPSURL: Sendable, Hashable, CustomStringConvertible {
  var host: String
  /// 443 where the text has none.
  var port: Int

  init(host: String, port: Int) {
    self.host = host
    self.port = port
  }

  /// Nil where `text` has any other shape. A slash at the end is dropped.
  init?(_ text: String) {
    guard let rest = removing(prefix: "https://", from: text) else { return nil }
    let authority = rest.utf8.last == UInt8(ascii: "/") ? String(rest.dropLast()) : rest
    guard let (host, port) = splitHostAndPort(authority), isIPAddress(host) || isDNSName(host), port != 0 else { return nil }
    self.host = asciiLowercased(host)
    self.port = port ?? 443
  }

  /// The canonical text: lower case, without the default port, without a slash at the end.
  var text: String {
    let name = isIPv6Address(host) ? "[\(host)]" : host
    return port == 443 ? "https://\(name)" : "https://\(name):\(port)"
  }

  var description: String { text }
}

extension HTTPProxy {
  /// Nil where `text` is not `http://host:port`.
  init?(_ text: String) {
    guard let rest = removing(prefix: "http://", from: text) else { return nil }
    let authority = rest.utf8.last == UInt8(ascii: "/") ? String(rest.dropLast()) : rest
    guard let (host, port) = splitHostAndPort(authority), let port, port > 0, isIPAddress(host) || isDNSName(host) else { return nil }
    self.init(host: host, port: port)
  }
}

/// A length of time with its unit: `500ms`, `10s`, `5m`, `1h`, `30d`. Nil otherwise.
func parseDuration(_ text: String) -> Duration? {
  guard let (number, unit) = splitNumberAndUnit(text) else { return nil }
  switch unit {
  case "ms": return .milliseconds(number)
  case "s": return .seconds(number)
  case "m": return .seconds(number * 60)
  case "h": return .seconds(number * 3600)
  case "d": return .seconds(number * 86_400)
  default: return nil
  }
}

/// The shortest text that `parseDuration` reads as `duration`.
func describe(_ duration: Duration) -> String {
  let milliseconds = duration.wholeMilliseconds
  for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] as [(String, Int64)]
  where milliseconds != 0 && milliseconds % size == 0 {
    return "\(milliseconds / size)\(unit)"
  }
  return "\(milliseconds)ms"
}

/// A number of bytes with its unit: `512B`, `16kB`, `64MB`, `1GB` (also KiB, MiB, GiB); each unit is 1,024 of the one before. Nil otherwise.
func parseByteCount(_ text: String) -> Int? {
  guard let (number, unit) = splitNumberAndUnit(text) else { return nil }
  switch unit {
  case "B": return number
  case "kB", "KB", "KiB": return number << 10
  case "MB", "MiB": return number << 20
  case "GB", "GiB": return number << 30
  default: return nil
  }
}

/// The shortest text that `parseByteCount` reads as `count`.
func describe(byteCount count: Int) -> String {
  for (unit, shift) in [("GB", 30), ("MB", 20), ("kB", 10)] where count != 0 && count & ((1 << shift) - 1) == 0 {
    return "\(count >> shift)\(unit)"
  }
  return "\(count)B"
}

/// Digits only, at most nine of them: no sign, no blank, no overflow in any unit above.
func decimal(_ text: String) -> Int? {
  let digits = text.utf8
  guard (1...9).contains(digits.count), digits.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
  return Int(text)
}

private func splitNumberAndUnit(_ text: String) -> (Int, String)? {
  let digits = text.utf8.prefix { (0x30...0x39).contains($0) }
  guard let number = decimal(String(decoding: digits, as: UTF8.self)) else { return nil }
  return (number, String(decoding: text.utf8.dropFirst(digits.count), as: UTF8.self))
}

/// Splits `host`, `host:port`, `[v6]`, `[v6]:port`; the port is nil where there is none. Nil where the text is none of these.
func splitHostAndPort(_ text: String) -> (host: String, port: Int?)? {
  let bytes = Array(text.utf8)
  let host: ArraySlice<UInt8>
  let rest: ArraySlice<UInt8>
  if bytes.first == UInt8(ascii: "[") {
    guard let close = bytes.firstIndex(of: UInt8(ascii: "]")) else { return nil }
    host = bytes[1..<close]
    rest = bytes[(close + 1)...]
    guard isIPv6Address(String(decoding: host, as: UTF8.self)) else { return nil }
  } else {
    let colon = bytes.firstIndex(of: UInt8(ascii: ":")) ?? bytes.endIndex
    host = bytes[..<colon]
    rest = bytes[colon...]
  }
  guard !host.isEmpty else { return nil }
  let name = String(decoding: host, as: UTF8.self)
  if rest.isEmpty { return (name, nil) }
  guard rest.first == UInt8(ascii: ":"), let port = decimal(String(decoding: rest.dropFirst(), as: UTF8.self)), port <= 65_535 else { return nil }
  return (name, port)
}

/// Whether `text` is a DNS name: labels of 1…63 letters, digits and inner hyphens, 253 bytes in all, not all digits in the last label.
func isDNSName(_ text: String) -> Bool {
  guard (1...253).contains(text.utf8.count) else { return false }
  let labels = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
  for label in labels {
    guard (1...63).contains(label.count), label.first != UInt8(ascii: "-"), label.last != UInt8(ascii: "-") else { return false }
    let isGood = label.allSatisfy {
      (0x30...0x39).contains($0) || (0x61...0x7a).contains($0 | 0x20) || $0 == UInt8(ascii: "-")
    }
    guard isGood else { return false }
  }
  return labels.last?.contains { !(0x30...0x39).contains($0) } ?? false
}

/// Whether `text` is an IPv4 or IPv6 address.
func isIPAddress(_ text: String) -> Bool { IPAddress(text) != nil }

/// Whether `text` is an IPv6 address.
func isIPv6Address(_ text: String) -> Bool { IPAddress(text) != nil && text.utf8.contains(UInt8(ascii: ":")) }

private func removing(prefix: String, from text: String) -> String? {
  guard text.utf8.starts(with: prefix.utf8) else { return nil }
  return String(decoding: text.utf8.dropFirst(prefix.utf8.count), as: UTF8.self)
}
