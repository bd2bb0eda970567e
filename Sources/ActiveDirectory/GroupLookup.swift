import Identity
import Synchronization

/// The groups of a person, nested ones included, as distinguished names.
///
/// - AD: the SIDs of the person's own session (it came with the proof of identity) are the nested security groups, the primary one included.
///   Their names are looked up once and kept for ten minutes, so that most sign-ins need no search for them.
/// - OpenLDAP: `groupOfNames` and `groupOfUniqueNames`, upwards from the person, each group once.
final class GroupLookup: Sendable {
  private struct Known: Sendable {
    /// Nil: the directory has no such object.
    var name: String?
    var until: ContinuousClock.Instant
  }

  /// More groups than that are "could not find out": deciding on a part of them would be wrong. AD's own token limit is 1,015.
  static let maximumGroups = 5000
  private static let freshness = Duration.seconds(600)
  private static let maximumKnown = 100_000

  private let known = Mutex<[[UInt8]: Known]>([:])

  typealias Search = (LDAPSearch) async throws(LDAPFault) -> LDAPSearch.Outcome

  /// The groups behind a session's SIDs: names, or the SID as text where a domain issued it and the directory does not name it.
  func groups(ofTokens tokens: [[UInt8]], person: [UInt8]?, base: String, search: Search) async throws(LDAPFault) -> [String] {
    guard tokens.count <= GroupLookup.maximumGroups else { throw .protocolViolation("\(tokens.count) groups are too many") }
    let now = ContinuousClock.now
    // Everyone, Authenticated Users and their like say how somebody signed in, not what they belong to.
    let groups = tokens.filter { $0 != person && (SecurityIdentifier.isOfDomain($0) || SecurityIdentifier.isBuiltIn($0)) }
    var missing = known.withLock { known in
      groups.filter { sid in known[sid].map { $0.until <= now } ?? true }
    }
    while !missing.isEmpty {
      let batch = Array(missing.prefix(100))
      missing.removeFirst(batch.count)
      let found = try await search(
        LDAPSearch(
          base: base, scope: .subtree, filter: .or(batch.map { .equal("objectSid", $0) }), attributes: ["objectSid"], limit: batch.count * 2))
      var names: [[UInt8]: String] = [:]
      for entry in found.entries { if let sid = entry.values("objectSid").first { names[sid] = entry.distinguishedName } }
      known.withLock { [names] known in
        if known.count > GroupLookup.maximumKnown { known.removeAll() }
        for sid in batch { known[sid] = Known(name: names[sid], until: now.advanced(by: GroupLookup.freshness)) }
      }
    }
    return known.withLock { known in
      groups.compactMap { sid in
        known[sid]?.name ?? (SecurityIdentifier.isOfDomain(sid) ? SecurityIdentifier.text(sid) : nil)
      }
    }
  }

  /// The groups that have `member` as a member, and those that have these, up to the top.
  func groups(ofMember member: String, base: String, search: Search) async throws(LDAPFault) -> [String] {
    var found: [String] = []
    var seen: Set<[UInt8]> = [Array(member.utf8)]
    var frontier = [member]
    while !frontier.isEmpty {
      let batch = frontier.prefix(50)
      frontier.removeFirst(batch.count)
      let isMember = LDAPFilter.or(batch.flatMap { [.equal("member", $0), .equal("uniqueMember", $0)] })
      let outcome = try await search(LDAPSearch(base: base, scope: .subtree, filter: isMember, attributes: [], limit: GroupLookup.maximumGroups))
      guard outcome.isComplete else { throw .protocolViolation("the server cuts the list of groups") }
      for entry in outcome.entries where seen.insert(Array(entry.distinguishedName.utf8)).inserted {
        found.append(entry.distinguishedName)
        frontier.append(entry.distinguishedName)
      }
      guard found.count <= GroupLookup.maximumGroups else { throw .protocolViolation("\(found.count) groups are too many") }
    }
    return found
  }
}
