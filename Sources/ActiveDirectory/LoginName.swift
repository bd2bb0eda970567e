import Foundation
import Identity

/// What a typed name could mean, as assertions about attributes; and which of the found entries it means.
///
/// The user's text goes into assertion values only. What is bound is the name of the entry that was found.
struct LoginName: Sendable, Equatable {
  struct Assertion: Sendable, Equatable {
    var attribute: String
    var value: String
    /// The domain within which it holds, as a distinguished name; nil: anywhere.
    var within: String?
  }

  /// In order of precedence.
  let assertions: [Assertion]

  /// - Parameters:
  ///   - typed: the name exactly as typed; no trimming, no normalisation.
  ///   - attributes: `DirectorySettings.loginAttributes`.
  init(_ typed: UserName, kind: DirectoryKind, attributes: [String], domains: [DirectoryDomain]) {
    let text = typed.text
    guard kind == .activeDirectory else {
      assertions = attributes.map { Assertion(attribute: $0, value: text, within: nil) }
      return
    }
    if let slash = text.utf8.firstIndex(of: UInt8(ascii: "\\")) {
      // DOMAIN\sam. A prefix that is no domain of ours stays in the value, where no sAMAccountName can have it.
      let domain = typed.domainPrefix.flatMap { prefix in domains.first { $0.netbiosName == prefix || $0.dnsName == prefix } }
      let account = String(text[text.utf8.index(after: slash)...])
      let value = domain == nil || account.isEmpty ? text : account
      assertions = [Assertion(attribute: "sAMAccountName", value: value, within: domain?.distinguishedName)]
      return
    }
    assertions = attributes.map { attribute in
      // AD's implicit user principal name, sAMAccountName@dns-name (MS-ADTS 5.1.1.1.1), for people without an explicit one.
      if asciiLowercased(attribute) == "samaccountname", let suffix = typed.suffix, let domain = domains.first(where: { $0.dnsName == suffix }),
        let at = text.utf8.lastIndex(of: UInt8(ascii: "@")), at > text.startIndex
      {
        return Assertion(attribute: attribute, value: String(text[..<at]), within: domain.distinguishedName)
      }
      return Assertion(attribute: attribute, value: text, within: nil)
    }
  }

  /// Which entries could be meant.
  func filter(people: String) -> LDAPFilter {
    .and([.configured(people), .or(assertions.map { .equal($0.attribute, $0.value) })])
  }

  enum Choice: Equatable {
    case nobody
    case one(LDAPEntry)
    case several
  }

  /// The entries of the first assertion that any entry fulfils.
  ///
  /// The directory decides equality when it searches; here it is only decided which assertion an entry was found by. AD takes letters with
  /// and without accents as the same, so the comparison here is at least as wide, and an entry that fits no assertion comes last.
  func choose(among entries: [LDAPEntry]) -> Choice {
    var best = Int.max
    var chosen: [LDAPEntry] = []
    for entry in entries {
      guard let rank = rank(of: entry) else { continue }
      if rank < best { (best, chosen) = (rank, []) }
      if rank == best { chosen.append(entry) }
    }
    guard let first = chosen.first else { return .nobody }
    return chosen.count == 1 ? .one(first) : .several
  }

  /// Nil where the entry fulfils only assertions that do not hold where it lies.
  private func rank(of entry: LDAPEntry) -> Int? {
    var isElsewhere = false
    for (index, assertion) in assertions.enumerated() {
      let fits = entry.values(assertion.attribute).contains { value in
        guard let text = String(validating: value, as: UTF8.self) else { return false }
        return LoginName.folded(text) == LoginName.folded(assertion.value)
      }
      guard fits else { continue }
      if let base = assertion.within, !DistinguishedName.isWithin(entry.distinguishedName, base: base) {
        isElsewhere = true
        continue
      }
      return index
    }
    return isElsewhere ? nil : assertions.count
  }

  private static func folded(_ text: String) -> [UInt8] {
    // Of most names nothing but the letters' case is folded, and Foundation would take longer than the directory.
    if text.utf8.allSatisfy({ $0 < 0x80 }) { return asciiLowercased(text).utf8.map { $0 } }
    return Array(text.folding(options: [.caseInsensitive, .diacriticInsensitive, .widthInsensitive], locale: nil).utf8)
  }
}
