import Bytes
import Identity

// A front-end and a block as facts that outlive a restore: their words in `Revocation.details`, both ways.

extension FrontEnd {
  /// The front-end as it is now, or that it is gone; `time` is that of the change.
  package func revocation(at time: Instant?, removed: Bool = false) -> Revocation {
    var details = [
      "realms": realms.map(\.text).joined(separator: " "), "rate": "\(ratePerSecond)",
      "keys": keys.map { "\($0.digest.base64):\($0.made.milliseconds):\($0.expires.map { "\($0.milliseconds)" } ?? "")" }
        .joined(separator: " "),
      "certificates": certificates.map(\.base64).joined(separator: " "), "disabled": "\(disabled)",
    ]
    if removed { details["removed"] = "true" }
    return Revocation(.frontEnd, subject: id.description, time: time ?? keys.first?.made ?? Instant(milliseconds: 0), name: name, details: details)
  }

  /// Nil where the fact is of another kind, or not one that this version writes. Whether it was removed, the fact says.
  package init?(_ fact: Revocation) {
    guard fact.kind == .frontEnd, let id = Identifier(fact.subject), let rate = fact.details["rate"].flatMap({ Int($0) }) else { return nil }
    let realms = fact.words("realms").map { RealmName($0) }
    let keys = fact.words("keys").map { word -> FrontEndKey? in
      let parts = word.split(separator: ":", omittingEmptySubsequences: false)
      guard parts.count == 3, let digest = StrictText.base64(String(parts[0])), digest.count == 32, let made = Int64(parts[1]) else { return nil }
      guard parts[2].isEmpty || Int64(parts[2]) != nil else { return nil }
      return FrontEndKey(digest: digest, made: Instant(milliseconds: made), expires: Int64(parts[2]).map(Instant.init(milliseconds:)))
    }
    let certificates = fact.words("certificates").map { StrictText.base64($0) }
    guard !realms.contains(nil), !keys.contains(nil), !certificates.contains(nil) else { return nil }
    self.init(
      id: id, name: fact.name, realms: realms.compactMap(\.self), ratePerSecond: rate, keys: keys.compactMap(\.self),
      certificates: certificates.compactMap(\.self), disabled: fact.details["disabled"] == "true")
  }
}

extension LockoutName {
  /// That the person is blocked by this name, or no longer.
  package func revocation(blocked: Bool, object: Identifier?, at time: Instant) -> Revocation {
    var details = ["realm": realm.text, "blocked": "\(blocked)"]
    if let object { details["object"] = object.description }
    return Revocation(.block, subject: "\(realm.text) \(key)", time: time, name: key, details: details)
  }

  /// Nil where the fact is of another kind.
  package init?(_ fact: Revocation) {
    guard fact.kind == .block, let realm = fact.details["realm"].flatMap({ RealmName($0) }) else { return nil }
    self.init(realm: realm, key: fact.name)
  }
}
