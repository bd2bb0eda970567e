import Bytes
import Identity

extension LDAPPasswordValidator {
  package func describe(_ userName: UserName, realm: RealmName, wanting: AttributeRequest, deadline: Deadline) async -> LookUpAnswer {
    let trace = TraceRecorder()
    let name = LoginName(userName, kind: settings.kind, attributes: settings.loginAttributes, domains: settings.domains)
    let wanted = PersonAttributes.permitted(wanting)
    do throws(LDAPFault) {
      guard !deadline.hasPassed else { throw .noTime }
      try await logOn.check()
      let described = try await admitted(deadline: deadline) { () async throws(LDAPFault) -> AcceptedPerson? in
        guard case .person(let found) = try await find(name, wanted: wanted, deadline: deadline, trace: trace) else { return nil }
        var tokens: [[UInt8]] = []
        if wanting.groups, settings.kind == .activeDirectory {
          // MS-ADTS 3.1.1.4.5.19: computed, and told in a search of the object itself only.
          let query = LDAPSearch(
            base: found.entry.distinguishedName, scope: .base, filter: .present("objectClass"), attributes: ["tokenGroups"], limit: 1)
          tokens = try await found.partition.search(query, deadline: deadline, trace: trace).entries.first?.values("tokenGroups") ?? []
        }
        return try await person(found, userName: userName, wanting, wanted: wanted, tokens: tokens, deadline: deadline, trace: trace)
      }
      guard let described else { return LookUpAnswer(.nobody, trace: trace.notes) }
      var answer = LookUpAnswer(.person(described.object.id), trace: trace.notes)
      answer.person = described
      return answer
    } catch {
      if trace.notes.last?.step != .domainController { trace.add(.domainController, error.summary) }
      return LookUpAnswer(unknown: error.cause, trace: trace.notes)
    }
  }
}
