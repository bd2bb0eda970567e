import Identity

// What a verdict says of a person whose password was right.

extension LDAPPasswordValidator {
  /// The entry with everything that was asked for: from the person's own domain where the global catalog has only a part, and with all
  /// values where the server gave them in ranges.
  func completed(_ found: Found, wanted: [String], deadline: Deadline, trace: TraceRecorder) async throws(LDAPFault) -> LDAPEntry {
    func read(_ attributes: [String]) async throws(LDAPFault) -> LDAPEntry {
      let query = LDAPSearch(
        base: found.entry.distinguishedName, scope: .base, filter: .present("objectClass"), attributes: attributes, limit: 1)
      guard let entry = try await found.partition.search(query, deadline: deadline, trace: trace).entries.first else {
        throw .protocolViolation("\(found.entry.distinguishedName) cannot be read in its own domain")
      }
      return entry
    }
    var entry = found.entry
    if globalCatalog != nil {
      entry = try await read(unique(PersonAttributes.needed(settings.kind, loginAttributes: settings.loginAttributes) + wanted))
    }
    for name in wanted {
      // AD hands out the values of a large attribute in parts, `member;range=0-1499`, the last one named `…-*` (MS-ADTS 3.1.1.3.1.3.3).
      var part = entry
      var values: [[UInt8]] = []
      while let next = PersonAttributes.nextRange(part, of: name) {
        values += part.values(next.description)
        guard values.count == next.start, values.count <= 100_000 else { throw .protocolViolation("the values of \(name) do not fit together") }
        part = try await read(["\(name);range=\(next.start)-*"])
      }
      guard !values.isEmpty else { continue }
      values += PersonAttributes.lastRange(part, of: name)
      entry.attributes[asciiLowercased(name)] = values
    }
    return entry
  }

  func groupNames(of found: Found, tokens: [[UInt8]], deadline: Deadline, trace: TraceRecorder) async throws(LDAPFault) -> [String] {
    let partition = globalCatalog ?? found.partition
    let base = globalCatalog == nil ? found.domain.searchBase : ""
    let search: GroupLookup.Search = { query async throws(LDAPFault) in
      try await partition.search(query, deadline: deadline, trace: trace)
    }
    switch settings.kind {
    case .activeDirectory:
      return try await groups.groups(ofTokens: tokens, person: found.entry.values("objectSid").first, base: base, search: search)
    case .openLDAP: return try await groups.groups(ofMember: found.entry.distinguishedName, base: base, search: search)
    }
  }
}
