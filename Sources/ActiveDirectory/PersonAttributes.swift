import Bytes
import Foundation
import Identity

/// From a directory entry to the person that a verdict describes.
enum PersonAttributes {
  /// Never handed out, whoever asks and whatever the service account may read.
  static let secretAttributes: Set<String> = [
    "userpassword", "unicodepwd", "dbcspwd", "ntpwdhistory", "lmpwdhistory", "supplementalcredentials", "authpassword", "msds-managedpassword",
    "ms-mcs-admpwd", "mslaps-password", "mslaps-encryptedpassword", "mslaps-encryptedpasswordhistory", "msds-keycredentiallink", "krbprincipalkey",
    "sambantpassword", "sambalmpassword", "pwdhistory",
  ]

  /// More than this is not carried in a verdict; it is refused, not cut (nobody should decide on half a list of groups).
  static let maximumBytes = 512 << 10

  /// What every search asks for, besides what the front-end wants.
  static func needed(_ kind: DirectoryKind, loginAttributes: [String]) -> [String] {
    switch kind {
    case .activeDirectory:
      ["objectGUID", "objectSid", "userPrincipalName", "sAMAccountName", "mS-DS-ConsistencyGuid", "msDS-UserPasswordExpiryTimeComputed"]
        + loginAttributes
    case .openLDAP: ["entryUUID"] + loginAttributes
    }
  }

  /// The names asked for that may be asked for.
  static func permitted(_ request: AttributeRequest) -> [String] {
    request.attributes.prefix(64).filter { name in
      AttributeRequest(attributes: [name]).firstInvalidName == nil
        && !secretAttributes.contains(asciiLowercased(String(name.prefix { $0 != ";" })))
    }
  }

  /// objectGUID as stored, or entryUUID's 16 bytes.
  static func identifier(_ entry: LDAPEntry, kind: DirectoryKind) -> Identifier? {
    switch kind {
    case .activeDirectory: entry.values("objectGUID").first.flatMap { Identifier(bytes: $0) }
    case .openLDAP: entry.text("entryUUID").flatMap { Identifier($0) }
    }
  }

  /// The source anchor: ms-DS-ConsistencyGuid, else objectGUID (or entryUUID), base64.
  static func immutableID(_ entry: LDAPEntry, identifier: Identifier) -> String {
    let consistency = entry.values("mS-DS-ConsistencyGuid").first { $0.count == 16 }
    return Data(consistency ?? identifier.bytes).base64EncodedString()
  }

  /// msDS-UserPasswordExpiryTimeComputed (MS-ADA2 2.462): 100 ns since 1601; 0 and 2⁶³−1 mean never.
  static func passwordExpiry(_ entry: LDAPEntry) -> Instant? {
    guard let text = entry.text("msDS-UserPasswordExpiryTimeComputed"), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
      let ticks = Int64(text), ticks > 0, ticks != .max
    else { return nil }
    return Instant(milliseconds: ticks / 10_000 - 11_644_473_600_000)
  }

  /// The values as a verdict carries them. Nil where they are more than `maximumBytes` together.
  static func values(_ entry: LDAPEntry, names: [String]) -> [String: [String]]? {
    var total = 0
    var result: [String: [String]] = [:]
    for name in names {
      let values = entry.values(name).map(text)
      guard !values.isEmpty else { continue }
      total += name.utf8.count + values.reduce(0) { $0 + $1.utf8.count }
      guard total <= maximumBytes else { return nil }
      result[name] = values
    }
    return result
  }

  /// UTF-8 as it is, all else (and what only happens to look like the marker) as base64.
  private static func text(_ value: [UInt8]) -> String {
    if !value.contains(0), let text = StrictText.utf8(value), !text.hasPrefix("base64:") { return text }
    return "base64:" + Data(value).base64EncodedString()
  }

  /// The next range to ask for, where a server gave only a part of an attribute's values (MS-ADTS 3.1.1.3.1.3.3): `member;range=0-1499` → 1500.
  static func nextRange(_ entry: LDAPEntry, of name: String) -> (description: String, start: Int)? {
    let prefix = asciiLowercased(name) + ";range="
    for description in entry.attributes.keys where description.hasPrefix(prefix) {
      let bounds = description.utf8.dropFirst(prefix.utf8.count).split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
      guard bounds.count == 2, let end = Int(String(decoding: bounds[1], as: UTF8.self)), (0..<Int.max).contains(end) else { continue }
      return (description, end + 1)
    }
    return nil
  }

  /// The values of the part that ends the list, `member;range=1500-*`.
  static func lastRange(_ entry: LDAPEntry, of name: String) -> [[UInt8]] {
    let prefix = asciiLowercased(name) + ";range="
    return entry.attributes.first { $0.key.hasPrefix(prefix) && $0.key.hasSuffix("-*") }?.value ?? []
  }
}
