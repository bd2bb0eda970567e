import Bytes
import Foundation
import SwiftASN1
import X509

/// Checks of a server's certificate that Debian's libldap leaves undone.
///
/// libldap is built on GnuTLS there: it verifies the chain, but falls back to the common name where the subject alternative name does not
/// match, and does not look at the extended key usage.
enum PeerCertificate {
  /// Throws `LDAPFault.tls` unless the certificate bears `host` as a subject alternative name and may be used by a server.
  static func verify(der: [UInt8], host: String) throws(LDAPFault) {
    guard let certificate = try? Certificate(derEncoded: der) else { throw .tls("the server's certificate cannot be read") }
    guard let names = try? certificate.extensions.subjectAlternativeNames else {
      throw .tls("the server's certificate has no subject alternative name; a common name is not enough (RFC 6125 §6.4.4)")
    }
    guard names.contains(where: { matches($0, host: host) }) else {
      throw .tls("the server's certificate is for \(list(names)), not for \(host)")
    }
    // RFC 5280 §4.2.1.12: where the extension is present, the purpose must be listed.
    if let usage = try? certificate.extensions.extendedKeyUsage, !usage.contains(.serverAuth), !usage.contains(.any) {
      throw .tls("the server's certificate may not be used by servers (extended key usage)")
    }
  }

  /// RFC 6125 §6.4 for DNS names, bytes for addresses.
  static func matches(_ name: GeneralName, host: String) -> Bool {
    switch name {
    case .dnsName(let pattern): NetworkAddress.literal(host, port: 0) == nil && matches(pattern: pattern, host: host)
    case .ipAddress(let bytes): NetworkAddress.literal(host, port: 0)?.ipBytes.elementsEqual(bytes.bytes) ?? false
    default: false
    }
  }

  /// A wildcard stands for the whole left-most label only, and at least two labels must follow it: `*.com` matches nothing.
  static func matches(pattern: String, host: String) -> Bool {
    let pattern = labels(pattern)
    let host = labels(host)
    guard pattern.count == host.count, !host.isEmpty, !pattern.contains(where: \.isEmpty) else { return false }
    for (index, (wanted, given)) in zip(pattern, host).enumerated() {
      if index == 0, wanted == [UInt8(ascii: "*")], pattern.count >= 3 { continue }
      guard wanted == given, !wanted.contains(UInt8(ascii: "*")), !wanted.contains(0) else { return false }
    }
    return true
  }

  private static func labels(_ name: String) -> [[UInt8]] {
    var bytes = name.utf8.map { $0 >= 0x41 && $0 <= 0x5a ? $0 | 0x20 : $0 }
    if bytes.last == UInt8(ascii: ".") { bytes.removeLast() }
    return bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).map(Array.init)
  }

  private static func list(_ names: SubjectAlternativeNames) -> String {
    let texts = names.prefix(5).map { name in
      switch name {
      case .dnsName(let text): String(text.unicodeScalars.filter { (0x20...0x7e).contains($0.value) }.prefix(80).map(Character.init))
      case .ipAddress(let bytes): bytes.bytes.map(String.init).joined(separator: ".")
      default: "(another kind of name)"
      }
    }
    return texts.isEmpty ? "nobody" : texts.joined(separator: ", ")
  }
}
