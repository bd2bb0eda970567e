import CLDAP
import Foundation
import Identity

/// Comparing names that came from servers. Names typed by people never become distinguished names here.
enum DistinguishedName {
  /// Whether `answer` is `prefix` (ASCII, any case) followed by the same name as `name`, spelling aside.
  static func areEqual(_ answer: [UInt8], _ prefix: String, _ name: String) -> Bool {
    guard let text = String(validating: answer, as: UTF8.self), text.utf8.count >= prefix.utf8.count else { return false }
    guard asciiLowercased(String(decoding: text.utf8.prefix(prefix.utf8.count), as: UTF8.self)) == asciiLowercased(prefix) else { return false }
    let rest = String(decoding: text.utf8.dropFirst(prefix.utf8.count), as: UTF8.self)
    guard let left = normalized(rest), let right = normalized(name), !left.isEmpty else { return false }
    return left.utf8.elementsEqual(right.utf8)
  }

  /// One spelling: RFC 4514 escapes, no spaces around separators, ASCII in lower case. Nil where it is no distinguished name.
  static func normalized(_ name: String) -> String? {
    guard !name.utf8.contains(0) else { return nil }
    var result: UnsafeMutablePointer<CChar>?
    let format = UInt32(LDAP_DN_FORMAT_LDAPV3)
    guard ldap_dn_normalize(name, format, &result, format) == LDAP_SUCCESS, let result else { return nil }
    defer { ldap_memfree(result) }
    return String(validatingCString: result).map(asciiLowercased)
  }

  /// Whether `name` is `base` or lies under it. Both as a server writes them.
  static func isWithin(_ name: String, base: String) -> Bool {
    guard let name = normalized(name), let base = normalized(base) else { return false }
    if base.isEmpty { return true }
    let nameBytes = Array(name.utf8)
    let baseBytes = Array(base.utf8)
    if nameBytes.count == baseBytes.count { return nameBytes == baseBytes }
    guard nameBytes.count > baseBytes.count + 1, nameBytes.suffix(baseBytes.count).elementsEqual(baseBytes) else { return false }
    let rest = nameBytes.dropLast(baseBytes.count)
    // The comma must be a separator, not an escaped part of a value: an even number of backslashes stands before it.
    guard rest.last == UInt8(ascii: ",") else { return false }
    return rest.dropLast().reversed().prefix { $0 == UInt8(ascii: "\\") }.count % 2 == 0
  }
}
