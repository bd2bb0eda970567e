import Bytes
import Identity
import Logging
import NIOCore
import NIOPosix

/// Judges a password by binding to the directory as the person whom the typed name means.
///
/// ```
/// name ──search (service account)──► nobody ──bind to a name that cannot exist──► refused: userNotFound
///                                    several ─────────────(the same)────────────► refused: ambiguousName
///                                    one ──bind as that entry──► refused (sub-code) | success ──proof──► accepted
/// ```
/// Whoever is found or not, a question costs one search and one bind, so that an outsider learns nothing from the time.
package final class LDAPPasswordValidator: DirectoryPasswordValidator, AlarmSource, LockoutPolicySource {
  struct Found: Sendable {
    var entry: LDAPEntry
    var partition: DirectoryPartition
    var domain: DirectoryDomain
    /// Nil in directories that are not Active Directory.
    var lockout: DomainLockout?
    /// Who told the entry; nil: a global catalog.
    var server: DirectoryServer?
  }

  private enum Finding: Sendable {
    case person(Found)
    case nobody(Refusal, server: DirectoryServer?)
  }

  let settings: DirectorySettings
  private let domains: [(domain: DirectoryDomain, partition: DirectoryPartition)]
  let globalCatalog: DirectoryPartition?
  let logOn: ServiceLogOn
  private let standing: DirectoryAlarms
  private let loop: DirectoryLoop
  /// How many questions are on their way at once.
  private let questions: Turnstile
  let groups = GroupLookup()
  /// The wall clock, for the times in reports.
  let now: @Sendable () -> Instant
  /// All of them, each once.
  let partitions: [DirectoryPartition]
  /// One for each of `domains`; none in directories that are not Active Directory.
  private let lockouts: [DomainLockout]

  /// - Parameters:
  ///   - settings: one realm's directory.
  ///   - loop: where its connections live; several directories may share one.
  ///   - logger: for what concerns the directory as a whole; nothing about people is logged.
  ///   - now: the wall clock, for the time of alarms.
  package init(settings: DirectorySettings, loop: DirectoryLoop, logger: Logger, now: @escaping @Sendable () -> Instant) {
    let timers = MultiThreadedEventLoopGroup.singleton.any()
    let aside = BlockingWork(timers: timers)
    let names = NameResolution(aside: aside)
    let alarms = DirectoryAlarms(now: now)
    let turnstile = Turnstile(limit: 1, maximumWaiting: settings.maximumWaiting, loop: loop)
    let logOn = ServiceLogOn(settings: settings, turnstile: turnstile, aside: aside, alarms: alarms, logger: logger)
    func partition(_ source: ServerSource, isGlobalCatalog: Bool) -> DirectoryPartition {
      DirectoryPartition(
        source: source, isGlobalCatalog: isGlobalCatalog, settings: settings, logOn: logOn, names: names, alarms: alarms, loop: loop, timers: timers)
    }
    self.settings = settings
    self.now = now
    self.logOn = logOn
    standing = alarms
    self.loop = loop
    // Twice as many as binds are taken at once, since each question is a search first; further ones wait in order, before they have cost anything.
    questions = Turnstile(limit: max(2, settings.bindConnections * settings.serverCount * 2), maximumWaiting: settings.maximumWaiting, loop: loop)
    // Several search bases of one domain share its servers' connections.
    var made: [(domain: DirectoryDomain, partition: DirectoryPartition)] = []
    for domain in settings.domains {
      let known = made.first { $0.domain.servers == domain.servers }?.partition
      made.append((domain, known ?? partition(domain.servers, isGlobalCatalog: false)))
    }
    domains = made
    if settings.kind == .activeDirectory {
      var watched: [DomainLockout] = []
      for (index, (domain, partition)) in made.enumerated() {
        let earlier = made[..<index].firstIndex { $0.partition === partition && $0.domain.dnsName == domain.dnsName }
        watched.append(earlier.map { watched[$0] } ?? DomainLockout(domain: domain, partition: partition, alarms: alarms, now: now))
      }
      lockouts = watched
    } else {
      lockouts = []
    }
    let catalog = settings.globalCatalog.map { partition($0, isGlobalCatalog: true) }
    globalCatalog = catalog
    var distinct: [DirectoryPartition] = catalog.map { [$0] } ?? []
    for (_, partition) in made where !distinct.contains(where: { $0 === partition }) { distinct.append(partition) }
    partitions = distinct
  }

  package func alarms() async -> [Alarm] { standing.all }

  /// Lets all kept connections go; the next question makes new ones.
  package func closeConnections() {
    for partition in partitions { partition.renew() }
  }

  /// Whether the directory can be searched now: reached, its certificate accepted, the service account logged on. Nil where all is well.
  ///
  /// For `gatehouse check --online` and at start, so that the first person does not pay for the first connection.
  package func firstProblem(deadline: Deadline) async -> String? {
    let trace = TraceRecorder()
    do throws(LDAPFault) {
      try await logOn.check()
      let query = LDAPSearch(base: "", scope: .base, filter: .present("objectClass"), attributes: [], limit: 1)
      for partition in partitions {
        _ = try await partition.search(query, deadline: deadline, trace: trace)
      }
      return nil
    } catch {
      return error.summary
    }
  }

  package func validate(
    _ credential: Credential, wanting request: AttributeRequest, deadline: Deadline, permission: BindPermission
  ) async -> Judgement {
    // The gateway and the agent refused this already; the door does not rely on it.
    guard !credential.password.secret.isEmpty, !credential.password.secret.contains(where: { $0 == 0 }) else {
      return Judgement(.refused(Refusal(.malformedPassword)))
    }
    guard UserName(credential.userName.text) != nil else { return Judgement(.refused(Refusal(.malformedUserName))) }
    let trace = TraceRecorder()
    let attempt = WeighedTry(credential.allowance)
    do throws(LDAPFault) {
      guard !deadline.hasPassed else { throw .noTime }
      try await logOn.check()
      let verdict = try await admitted(deadline: deadline, isFirst: attempt.allowance?.isFamiliar ?? false) { () async throws(LDAPFault) in
        try await judge(credential, request, attempt, deadline, permission, trace)
      }
      return Judgement(verdict, trace: trace.notes, facts: attempt.facts)
    } catch {
      if error == .withheld, let verdict = attempt.verdict { return Judgement(verdict, trace: trace.notes, facts: attempt.facts) }
      if trace.notes.last?.step != .domainController { trace.add(.domainController, error.summary) }
      return Judgement(.unknown(error.cause), trace: trace.notes, facts: attempt.facts)
    }
  }

  package func lookUp(_ userName: UserName, realm: RealmName, deadline: Deadline) async -> LookUpAnswer {
    let trace = TraceRecorder()
    let name = LoginName(userName, kind: settings.kind, attributes: settings.loginAttributes, domains: settings.domains)
    do throws(LDAPFault) {
      guard !deadline.hasPassed else { throw .noTime }
      try await logOn.check()
      let finding = try await admitted(deadline: deadline) { () async throws(LDAPFault) in
        try await find(name, wanted: [], deadline: deadline, trace: trace)
      }
      guard case .person(let found) = finding else { return LookUpAnswer(.nobody, trace: trace.notes) }
      let lockout = try await found.lockout?.policy(of: found.entry, deadline: deadline, trace: trace)
      return LookUpAnswer(.person(try identifier(of: found)), lockout: lockout, trace: trace.notes)
    } catch {
      if trace.notes.last?.step != .domainController { trace.add(.domainController, error.summary) }
      return LookUpAnswer(unknown: error.cause, trace: trace.notes)
    }
  }

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

  // MARK: The directory's own lockout

  package func refreshLockoutPolicy(deadline: Deadline) async {
    guard !lockouts.isEmpty, (try? await logOn.check()) != nil else { return }
    for lockout in lockouts { await lockout.refresh(deadline: deadline) }
  }

  package func lockoutPolicy() -> DirectoryLockoutPolicy? {
    lockouts.compactMap(\.policy).reduce(nil) { known, next in known?.stricter(next) ?? next }
  }

  // MARK: The steps

  /// Who has waited for so long before anything was done is one of too many: behind them others wait who could still be answered in time.
  private static let patience = Duration.seconds(1)

  /// Runs `body` on the loop, once it is its turn. Throws `.noTime` or `.overloaded` where that did not come in time.
  func admitted<Value: Sendable>(
    deadline: Deadline, isFirst: Bool = false, _ body: () async throws(LDAPFault) -> Value
  ) async throws(LDAPFault) -> Value {
    let result = await Precedence.$isFirst.withValue(isFirst) { () async -> Result<Value, LDAPFault> in
      do throws(LDAPFault) { return .success(try await inTurn(deadline: deadline, body)) } catch { return .failure(error) }
    }
    return try result.get()
  }

  private func inTurn<Value: Sendable>(
    deadline: Deadline, _ body: () async throws(LDAPFault) -> Value
  ) async throws(LDAPFault) -> Value {
    try await withTaskExecutorPreference(loop) { () async throws(LDAPFault) -> Value in
      do throws(LDAPFault) {
        try await questions.enter(deadline: min(deadline, Deadline(after: LDAPPasswordValidator.patience)))
      } catch {
        throw error == .noTime && !deadline.hasPassed ? .overloaded : error
      }
      defer { questions.leave() }
      return try await body()
    }
  }

  private func judge(
    _ credential: Credential, _ request: AttributeRequest, _ attempt: WeighedTry, _ deadline: Deadline, _ permission: BindPermission,
    _ trace: TraceRecorder
  ) async throws(LDAPFault) -> Verdict {
    let wanted = PersonAttributes.permitted(request)
    return try await judge(credential, wanted: wanted, attempt, deadline, permission, trace) { found async throws(LDAPFault) in
      try await bind(as: found, credential, request, wanted: wanted, attempt, deadline: deadline, permission: permission, trace: trace)
    }
  }

  /// Finds the person, and lets `bind` put the password before the directory as them; at the same cost where there is nobody.
  func judge(
    _ credential: Credential, wanted: [String], _ attempt: WeighedTry, _ deadline: Deadline, _ permission: BindPermission, _ trace: TraceRecorder,
    bind: (Found) async throws(LDAPFault) -> Verdict
  ) async throws(LDAPFault) -> Verdict {
    let name = LoginName(credential.userName, kind: settings.kind, attributes: settings.loginAttributes, domains: settings.domains)
    switch try await find(name, wanted: wanted, deadline: deadline, trace: trace) {
    case .person(let found):
      // Another person's tries were reserved than would be asked now: nothing is put before the directory.
      if let allowance = attempt.allowance, try identifier(of: found) != allowance.expected { return .unknown(.nameMoved) }
      do throws(LDAPFault) {
        return try await bind(found)
      } catch {
        guard error == .withheld, case .refused(let refusal)? = attempt.verdict, refusal.reason == .keptFromDirectory else { throw error }
        // At the cost of a wrong password: the time must not tell strangers that the name exists.
        return try await bindToNobody(
          credential, refusal, preferring: found.server, attempt: nil, deadline: deadline, permission: permission, trace: trace)
      }
    case .nobody(let refusal, let server):
      if let allowance = attempt.allowance {
        if allowance.expected != nil { return .unknown(.nameMoved) }
        if allowance.refusedAt != nil { return .refused(Refusal(.repeatedWrongPassword)) }
      }
      return try await bindToNobody(
        credential, refusal, preferring: server, attempt: attempt, deadline: deadline, permission: permission, trace: trace)
    }
  }

  /// The one person whom the name means.
  private func find(
    _ name: LoginName, wanted: [String], deadline: Deadline, trace: TraceRecorder
  ) async throws(LDAPFault) -> Finding {
    var candidates: [(entry: LDAPEntry, index: Int, server: DirectoryServer?)] = []
    var isComplete = true
    let lockout = settings.kind == .activeDirectory && globalCatalog == nil ? DomainLockout.attributes : []
    var servers: [ObjectIdentifier: DirectoryServer] = [:]
    func search(_ partition: DirectoryPartition, base: String) async throws(LDAPFault) -> LDAPSearch.Outcome {
      let query = LDAPSearch(
        base: base, scope: .subtree, filter: name.filter(people: settings.personFilter),
        attributes: unique(PersonAttributes.needed(settings.kind, loginAttributes: settings.loginAttributes) + lockout + wanted), limit: 20)
      let outcome = try await partition.search(query, deadline: deadline, trace: trace)
      isComplete = isComplete && outcome.isComplete
      servers[ObjectIdentifier(partition)] = outcome.server
      return outcome
    }
    if let globalCatalog {
      // The person's own domain is the one with the longest name that the entry lies under; trees of a forest nest.
      for entry in try await search(globalCatalog, base: "").entries {
        let homes = settings.domains.indices.filter { DistinguishedName.isWithin(entry.distinguishedName, base: settings.domains[$0].searchBase) }
        guard let home = homes.max(by: { settings.domains[$0].searchBase.utf8.count < settings.domains[$1].searchBase.utf8.count }) else { continue }
        candidates.append((entry, home, nil))
      }
    } else {
      for (index, (domain, partition)) in domains.enumerated() {
        let outcome = try await search(partition, base: domain.searchBase)
        for entry in outcome.entries {
          // Search bases may overlap; the same entry twice is not two people.
          let isKnown = candidates.contains { $0.entry.distinguishedName.utf8.elementsEqual(entry.distinguishedName.utf8) }
          if !isKnown { candidates.append((entry, index, outcome.server)) }
        }
      }
    }
    func asked(_ partition: DirectoryPartition?) -> DirectoryServer? { partition.flatMap { servers[ObjectIdentifier($0)] } }
    let nobodysServer = asked(domains.first?.partition)
    guard isComplete else { return .nobody(Refusal(.ambiguousName), server: nobodysServer) }
    switch name.choose(among: candidates.map(\.entry)) {
    case .nobody: return .nobody(Refusal(.userNotFound), server: nobodysServer)
    case .several: return .nobody(Refusal(.ambiguousName), server: nobodysServer)
    case .one(let entry):
      guard let candidate = candidates.first(where: { $0.entry == entry }) else {
        return .nobody(Refusal(.userNotFound), server: nobodysServer)
      }
      let home = domains[candidate.index]
      return .person(
        Found(
          entry: entry, partition: home.partition, domain: home.domain,
          lockout: lockouts.indices.contains(candidate.index) ? lockouts[candidate.index] : nil, server: candidate.server))
    }
  }

  func identifier(of found: Found) throws(LDAPFault) -> Identifier {
    guard let identifier = PersonAttributes.identifier(found.entry, kind: settings.kind) else {
      throw .protocolViolation("the service account cannot read the identifier of \(found.entry.distinguishedName)")
    }
    return identifier
  }

  /// - Parameters:
  ///   - isExclusive: whether nobody but the server that found the person may be asked.
  ///   - answered: hears who answered, and may go on with the same connection.
  func bind(
    as found: Found, _ credential: Credential, _ request: AttributeRequest, wanted: [String], _ attempt: WeighedTry, isExclusive: Bool = false,
    deadline: Deadline, permission: BindPermission, trace: TraceRecorder,
    answered: (@Sendable (DirectoryServer, LDAPConnection, LDAPResult) async throws(LDAPFault) -> Void)? = nil
  ) async throws(LDAPFault) -> Verdict {
    let identifier = try identifier(of: found)
    let object = DirectoryObject(realm: settings.realm, id: identifier)
    var companion = DirectoryPartition.BindCompanion(preferred: found.server, sending: { attempt.sending() })
    companion.isExclusive = isExclusive
    companion.answered = answered
    if let lockout = found.lockout, attempt.allowance != nil {
      companion.weigh = { server async throws(LDAPFault) in
        let (standing, policy) = try await lockout.weigh(
          found.entry.distinguishedName, entry: found.server == nil ? nil : found.entry, searched: found.server, binding: server,
          deadline: deadline, trace: trace)
        try attempt.weigh(standing, policy: policy, object: object, at: server, trace: trace)
      }
    }
    let (result, tokens) = try await found.partition.bind(
      found.entry.distinguishedName, password: credential.password, proving: found.entry, with: companion, deadline: deadline,
      permission: permission, trace: trace)
    switch BindMeaning(result, kind: settings.kind) {
    case .refused(let reason, let subCode): return .refused(Refusal(reason, object: object, subCode: subCode))
    case .unknown(let cause, _): return .unknown(cause)
    case .success: break
    }
    return .accepted(
      try await person(found, userName: credential.userName, request, wanted: wanted, tokens: tokens, deadline: deadline, trace: trace))
  }

  /// The person as the directory describes them now.
  private func person(
    _ found: Found, userName: UserName, _ request: AttributeRequest, wanted: [String], tokens: [[UInt8]], deadline: Deadline, trace: TraceRecorder
  ) async throws(LDAPFault) -> AcceptedPerson {
    let identifier = try identifier(of: found)
    let started = ContinuousClock.now
    let entry = try await completed(found, wanted: wanted, deadline: deadline, trace: trace)
    var names: [String]?
    if request.groups { names = try await groupNames(of: found, tokens: tokens, deadline: deadline, trace: trace) }
    guard let attributes = PersonAttributes.values(entry, names: wanted) else {
      throw .protocolViolation("the attributes asked for are more than \(PersonAttributes.maximumBytes) bytes")
    }
    if !wanted.isEmpty || request.groups {
      trace.add(.attributes, "\(attributes.count) attributes\(names.map { ", \($0.count) groups" } ?? "")", since: started)
    }
    return AcceptedPerson(
      object: DirectoryObject(realm: settings.realm, id: identifier), immutableID: PersonAttributes.immutableID(entry, identifier: identifier),
      userPrincipalName: entry.text("userPrincipalName") ?? userName.text, attributes: attributes, groups: names,
      passwordExpires: PersonAttributes.passwordExpiry(entry))
  }

  /// The second half of what a found person would cost, bound to a name that no directory can have.
  private func bindToNobody(
    _ credential: Credential, _ refusal: Refusal, preferring server: DirectoryServer?, attempt: WeighedTry?, deadline: Deadline,
    permission: BindPermission, trace: TraceRecorder
  ) async throws(LDAPFault) -> Verdict {
    guard let home = domains.first else { throw .noServer("no domain is configured") }
    let name = "CN=gatehouse-\(Identifier().description),\(home.domain.searchBase)"
    var companion = DirectoryPartition.BindCompanion(preferred: server)
    if let lockout = lockouts.first, attempt?.allowance != nil {
      companion.weigh = { server async throws(LDAPFault) in await lockout.weighNobody(binding: server, deadline: deadline, trace: trace) }
    }
    let (result, _) = try await home.partition.bind(
      name, password: credential.password, proving: nil, with: companion, deadline: deadline, permission: permission, trace: trace)
    // noSuchObject is how some directories say invalidCredentials of a name that they do not have.
    if result.code == 32 { return .refused(refusal) }
    switch BindMeaning(result, kind: settings.kind) {
    case .success: throw .unproven("the server accepts a bind to a name that cannot exist")
    case .refused: return .refused(refusal)
    case .unknown(let cause, _): return .unknown(cause)
    }
  }

  func unique(_ names: [String]) -> [String] {
    var seen: Set<String> = []
    return names.filter { seen.insert(asciiLowercased($0)).inserted }
  }
}
