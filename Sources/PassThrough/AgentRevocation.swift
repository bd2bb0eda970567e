import Bytes
import Identity

// An agent as a fact that outlives a restore: its words in `Revocation.details`, both ways.

extension AgentRecord {
  /// The agent as it is now; `time` is that of the change.
  package func revocation(at time: Instant?) -> Revocation {
    var details = [
      "realms": realms.map(\.text).joined(separator: " "), "enrolled": "\(enrolled.milliseconds)",
      "certificates": certificates.map { "\($0.digest.base64):\($0.notAfter.milliseconds)" }.joined(separator: " "),
    ]
    if let revoked { details["revoked"] = "\(revoked.milliseconds)" }
    if let quarantined { details["quarantined"] = "\(quarantined.milliseconds)" }
    return Revocation(.agent, subject: id.description, time: time ?? revoked ?? enrolled, name: name, details: details)
  }

  /// Nil where the fact is of another kind, or not one that this version writes.
  package init?(_ fact: Revocation) {
    guard fact.kind == .agent, let id = Identifier(fact.subject), let enrolled = fact.instant("enrolled") else { return nil }
    let realms = fact.words("realms").map { RealmName($0) }
    let certificates = fact.words("certificates").map { word -> AgentCertificateRecord? in
      let parts = word.split(separator: ":", omittingEmptySubsequences: false)
      guard parts.count == 2, let digest = StrictText.base64(String(parts[0])), digest.count == 32, let end = Int64(parts[1]) else { return nil }
      return AgentCertificateRecord(digest: digest, notAfter: Instant(milliseconds: end))
    }
    guard !realms.contains(nil), !certificates.contains(nil) else { return nil }
    self.init(
      id: id, name: fact.name, realms: realms.compactMap(\.self), certificates: certificates.compactMap(\.self), enrolled: enrolled,
      revoked: fact.instant("revoked"), quarantined: fact.instant("quarantined"))
  }
}
