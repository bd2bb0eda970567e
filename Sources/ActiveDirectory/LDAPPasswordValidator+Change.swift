import Bytes
import Identity
import Synchronization

// Changing a password: the old one is put before the directory like that of a sign-in, by a bind, and only what the directory found right is
// shown to it again with the new one.
//
//   name ──search──► nobody ──bind to nobody──► refused
//                    one ──bind with the old one──► refused
//                          success | expired | must be changed
//                            │
//                            ├─ AD: over the service account's session, unicodePwd: delete the old one, add the new one
//                            └─ OpenLDAP: Password Modify (RFC 3062), on the person's own session; where the directory gives them none any more,
//                               since the password has expired, on the service account's
//                                  not taken → which rule, as far as can be told
//                                  changed ──bind with the new one, there──► signed in
//
// The bind costs a round trip and buys: a wrong old password counts once, is weighed like any other, and costs what a sign-in costs; an account
// that may not sign in changes nothing; and nobody hears of the rules who does not know the password.

extension LDAPPasswordValidator: DirectoryPasswordChange {
  package func change(
    _ credential: Credential, to new: Password, wanting request: AttributeRequest, deadline: Deadline, permission: BindPermission
  ) async -> Judgement {
    // As with a sign-in, the door relies on nobody.
    for secret in [credential.password.secret, new.secret] {
      guard !secret.isEmpty, !secret.contains(where: { $0 == 0 }) else { return Judgement(.refused(Refusal(.malformedPassword))) }
    }
    guard UserName(credential.userName.text) != nil else { return Judgement(.refused(Refusal(.malformedUserName))) }
    let trace = TraceRecorder()
    let attempt = WeighedTry(credential.allowance)
    do throws(LDAPFault) {
      guard !deadline.hasPassed else { throw .noTime }
      try await logOn.check()
      let outcome = try await admitted(deadline: deadline, isFirst: attempt.allowance?.isFamiliar ?? false) { () async throws(LDAPFault) in
        try await exchange(credential, new, request, attempt, deadline, permission, trace)
      }
      return Judgement(change: outcome, trace: trace.notes, facts: attempt.facts)
    } catch {
      if error == .withheld, let verdict = attempt.verdict { return Judgement(verdict, trace: trace.notes, facts: attempt.facts) }
      if trace.notes.last?.step != .domainController { trace.add(.domainController, error.summary) }
      return Judgement(.unknown(error.cause), trace: trace.notes, facts: attempt.facts)
    }
  }

  /// What the bind with the old password found out, for what follows it.
  private final class Proof: Sendable {
    struct State: Sendable {
      var found: Found?
      var server: DirectoryServer?
      /// Of the change on the person's own session.
      var result: LDAPResult?
    }
    let state = Mutex(State())
  }

  private func exchange(
    _ credential: Credential, _ new: Password, _ request: AttributeRequest, _ attempt: WeighedTry, _ deadline: Deadline,
    _ permission: BindPermission, _ trace: TraceRecorder
  ) async throws(LDAPFault) -> PasswordChangeOutcome {
    let proof = Proof()
    let kind = settings.kind
    let timeout = settings.timeouts.operation
    let verdict = try await judge(credential, wanted: PersonAttributes.permitted(request), attempt, deadline, permission, trace) {
      found async throws(LDAPFault) in
      proof.state.withLock { $0.found = found }
      let name = found.entry.distinguishedName
      return try await bind(
        as: found, credential, .none, wanted: [], attempt, deadline: deadline, permission: permission, trace: trace
      ) { server, connection, result async throws(LDAPFault) in
        proof.state.withLock { $0.server = server }
        guard kind == .openLDAP, result.code == 0 else { return }
        guard !deadline.hasPassed else { throw .noTime }
        guard await permission.isGiven() else { throw .withdrawn }
        let started = ContinuousClock.now
        let answer = try await connection.modifyPassword(
          of: name, old: credential.password, new: new, timeout: min(timeout, deadline.remaining()))
        trace.add(.change, "\(server): \(answer.summary)", since: started)
        proof.state.withLock { $0.result = answer }
      }
    }
    switch verdict {
    case .unknown(let cause): return .unknown(cause)
    case .refused(let refusal) where refusal.reason != .passwordExpired && refusal.reason != .mustChangePassword: return .refused(refusal)
    case .accepted, .refused: break
    }
    let proven = proof.state.withLock { $0 }
    guard let found = proven.found, let server = proven.server else { return .unknown(.internalError) }
    let name = found.entry.distinguishedName
    var changed = server
    let result: LDAPResult
    if let answer = proven.result {
      result = answer
    } else {
      (result, changed) = try await found.partition.change(preferring: server, deadline: deadline, permission: permission, trace: trace) {
        connection, timeout async throws(LDAPFault) in
        switch kind {
        case .activeDirectory: try await connection.exchangeUnicodePassword(of: name, old: credential.password, new: new, timeout: timeout)
        case .openLDAP: try await connection.modifyPassword(of: name, old: credential.password, new: new, timeout: timeout)
        }
      }
    }
    let object = DirectoryObject(realm: settings.realm, id: try identifier(of: found))
    switch ChangeMeaning(result, kind: kind) {
    case .changed:
      return .changed(
        await signIn(found, credential, new, request, at: changed, deadline: deadline, trace: trace))
    case .refused(let reason, let subCode): return .refused(Refusal(reason, object: object, subCode: subCode))
    case .mayNotChange: return .notTaken(PasswordRules(broken: [.mayNotChange]))
    case .broken(let rules):
      return .notTaken(await explained(rules, old: credential.password, new: new, found, at: changed, deadline: deadline, trace: trace))
    case .unknown(let cause): return .unknown(cause)
    }
  }

  /// The sign-in with the new password, where it was changed: no other server is sure to know it yet. Nil where that is not accepted.
  private func signIn(
    _ found: Found, _ credential: Credential, _ new: Password, _ request: AttributeRequest, at server: DirectoryServer, deadline: Deadline,
    trace: TraceRecorder
  ) async -> AcceptedPerson? {
    let wanted = PersonAttributes.permitted(request)
    do throws(LDAPFault) {
      guard !deadline.hasPassed else { throw .noTime }
      // What was known of the entry is from before the change, among it when the password ends.
      let query = LDAPSearch(
        base: found.entry.distinguishedName, scope: .base, filter: .present("objectClass"),
        attributes: PersonAttributes.needed(settings.kind, loginAttributes: settings.loginAttributes) + wanted, limit: 1)
      var fresh = found
      fresh.server = server
      if let entry = try await found.partition.search(query, only: server, deadline: deadline, trace: trace).entries.first { fresh.entry = entry }
      let verdict = try await bind(
        as: fresh, Credential(userName: credential.userName, password: new, realm: credential.realm), request, wanted: wanted, WeighedTry(nil),
        isExclusive: true, deadline: deadline, permission: .always, trace: trace)
      if case .accepted(let person) = verdict { return person }
    } catch {
      trace.add(.domainController, "changed, but not signed in: \(error.summary)")
    }
    return nil
  }

  /// Which rules are broken, as far as can be told without keeping a password: what the directory says, and else what its policy and the entry show.
  private func explained(
    _ told: Set<PasswordRule>, old: Password, new: Password, _ found: Found, at server: DirectoryServer, deadline: Deadline, trace: TraceRecorder
  ) async -> PasswordRules {
    func read(_ base: String, _ attributes: [String]) async -> LDAPEntry? {
      let query = LDAPSearch(base: base, scope: .base, filter: .present("objectClass"), attributes: attributes, limit: 1)
      return try? await found.partition.search(query, only: server, deadline: deadline, trace: trace).entries.first
    }
    var policy = PasswordPolicy()
    switch settings.kind {
    case .activeDirectory:
      let person = await read(
        found.entry.distinguishedName, ["pwdLastSet", "sAMAccountName", "displayName", "msDS-ResultantPSO"])
      if let settings = person?.text("msDS-ResultantPSO") {
        policy = await read(settings, PasswordPolicy.settingsAttributes).map(PasswordPolicy.init(settingsObject:)) ?? PasswordPolicy()
      } else {
        policy = await read(found.domain.distinguishedName, PasswordPolicy.domainAttributes).map(PasswordPolicy.init(domain:)) ?? PasswordPolicy()
      }
      return policy.rules(told: told, old: old, new: new, person: person, now: now())
    case .openLDAP:
      if let name = await read(found.entry.distinguishedName, ["pwdPolicySubentry"])?.text("pwdPolicySubentry") {
        policy = await read(name, PasswordPolicy.overlayAttributes).map(PasswordPolicy.init(overlay:)) ?? PasswordPolicy()
      }
      return policy.rules(told: told, old: old, new: new, person: nil, now: now())
    }
  }
}
