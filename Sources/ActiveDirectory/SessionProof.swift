import Identity

/// A success is believed only when the session can show whose it is.
///
/// A server, a proxy or a fault that answers "success" to every bind would make every password right, and an anonymous session looks like
/// any other. So after every successful bind the same connection is asked:
/// - AD: rootDSE `tokenGroups` (MS-ADTS 3.1.1.3.2), the SIDs of the session's own security context. The person's SID must be among them. This
///   works with Windows and with Samba (which has no "Who am I?"), costs no search, and brings the nested groups along.
/// - OpenLDAP: "Who am I?" (RFC 4532) must name the entry that was found.
extension LDAPConnection {
  /// The SIDs of the session's security context; empty where the server tells none.
  func sessionTokens(timeout: Duration) async throws(LDAPFault) -> [[UInt8]] {
    let query = LDAPSearch(base: "", scope: .base, filter: .present("objectClass"), attributes: ["tokenGroups"], limit: 1)
    return try await search(query, timeout: timeout).entries.first?.values("tokenGroups") ?? []
  }

  /// That this is not an anonymous session. For the service account, whose entry was not looked up.
  func proveSession(kind: DirectoryKind, timeout: Duration) async throws(LDAPFault) {
    switch kind {
    case .activeDirectory:
      let tokens = try await sessionTokens(timeout: timeout)
      guard !tokens.isEmpty, !tokens.contains(SecurityIdentifier.anonymous) else { throw .unproven("the session bears no security identifier") }
    case .openLDAP:
      guard let name = try await whoAmI(timeout: timeout), !name.isEmpty else { throw .unproven("the session is anonymous") }
    }
  }

  /// That this is `entry`'s session. Answers the SIDs of its token (AD).
  func proveSession(of entry: LDAPEntry, kind: DirectoryKind, timeout: Duration) async throws(LDAPFault) -> [[UInt8]] {
    switch kind {
    case .activeDirectory:
      guard let own = entry.values("objectSid").first, !own.isEmpty else { throw .unproven("the service account cannot read objectSid") }
      let tokens = try await sessionTokens(timeout: timeout)
      guard tokens.contains(own) else { throw .unproven("the session is not that of \(entry.distinguishedName)") }
      return tokens
    case .openLDAP:
      guard let name = try await whoAmI(timeout: timeout) else { throw .unproven("the server has no Who am I (RFC 4532)") }
      guard DistinguishedName.areEqual(name, "dn:", entry.distinguishedName) else {
        throw .unproven("the session is not that of \(entry.distinguishedName)")
      }
      return []
    }
  }
}

/// SIDs as bytes (MS-DTYP 2.4.2.2).
enum SecurityIdentifier {
  /// S-1-5-7
  static let anonymous: [UInt8] = [1, 1, 0, 0, 0, 0, 0, 5, 7, 0, 0, 0]

  /// `S-1-5-21-…`; nil where the bytes are no SID.
  static func text(_ bytes: [UInt8]) -> String? {
    guard bytes.count >= 8, bytes.first == 1, bytes.count == 8 + Int(bytes[1]) * 4 else { return nil }
    let authority = bytes[2..<8].reduce(UInt64(0)) { ($0 << 8) | UInt64($1) }
    var text = "S-1-\(authority)"
    var rest = bytes[8...]
    while !rest.isEmpty {
      text += "-\(rest.prefix(4).reversed().reduce(UInt32(0)) { ($0 << 8) | UInt32($1) })"
      rest = rest.dropFirst(4)
    }
    return text
  }

  /// Whether a domain issued it: S-1-5-21-…
  static func isOfDomain(_ bytes: [UInt8]) -> Bool { begins(bytes, 21) }

  /// Whether it is one of the groups that every domain has: S-1-5-32-…
  static func isBuiltIn(_ bytes: [UInt8]) -> Bool { begins(bytes, 32) }

  private static func begins(_ bytes: [UInt8], _ first: UInt8) -> Bool {
    bytes.count > 12 && bytes.first == 1 && bytes.dropFirst(2).starts(with: [0, 0, 0, 0, 0, 5, first, 0, 0, 0])
  }
}
