import Bytes
import Health
import Identity
import PassThrough
import SignIn

/// Every store port in memory, by the same contracts as the real stores; for the tests of other rooms.
///
/// An actor whose methods never wait inside, so that each call is one step as a transaction is.
package actor InMemoryStore {
  let node: String
  private(set) var failure: StoreError?

  var realmsByName: [RealmName: Realm] = [:]
  var frontEndsByID: [Identifier: FrontEnd] = [:]
  var agentsByID: [Identifier: AgentRecord] = [:]
  var tokens: [[UInt8]: EnrolmentTokenRecord] = [:]
  var documents: [String: ProtectedDocument] = [:]
  var lockoutNames: [LockoutName: LockoutNameEntry] = [:]
  var lockoutObjects: [DirectoryObject: LockoutState] = [:]
  var chain: AuditChainState
  var auditRows: [AuditRow] = []
  var federation = InMemoryFederation()
  var alarms: [AlarmKey: AlarmRecord] = [:]
  var revocations: [JournaledRevocation] = []

  package init(node: String = "test-node") {
    self.node = node
    chain = AuditChainState(
      chain: node, first: 1, anchor: AuditChain.genesis, last: 0, lastHash: AuditChain.genesis, exportedThrough: 0)
  }

  /// From now on every call throws `failure`, until it is set to nil: the store is down.
  package func fail(with failure: StoreError?) { self.failure = failure }

  /// Every event so far that is still held, oldest first.
  package var events: [AuditEvent] { auditRows.map(\.event) }

  func check() throws { if let failure { throw failure } }

  func record(_ events: [AuditEvent]) {
    for (row, _) in AuditChain.extend(node, after: chain.last, hash: chain.lastHash, with: events) {
      auditRows.append(row)
      chain.last = row.sequence
      chain.lastHash = row.hash
    }
  }
}

/// What is held of one name: its own state, or the object that it was learned to mean.
struct LockoutNameEntry {
  var object: DirectoryObject?
  var state = LockoutState()

  init(object: DirectoryObject? = nil, state: LockoutState = LockoutState()) {
    self.object = object
    self.state = state
  }

  init(_ known: Lockout.NameState, realm: RealmName) {
    self.init(object: known.object.map { DirectoryObject(realm: realm, id: $0) }, state: known.own)
  }

  var known: Lockout.NameState { Lockout.NameState(object: object?.id, own: state) }
}

extension InMemoryStore: AuditLog {
  package func append(_ events: [AuditEvent]) async throws {
    try check()
    record(events)
  }

  package func find(_ query: AuditQuery) async throws -> [AuditRow] {
    try check()
    let found = auditRows.enumerated().filter { _, row in
      let event = row.event
      return (query.reference == nil || query.reference == event.reference)
        && (query.kinds.isEmpty || query.kinds.contains(event.kind))
        && (query.subject.map { $0.utf8.elementsEqual((event.subject ?? "").utf8) && event.subject != nil } ?? true)
        && (query.actor.map { $0.utf8.elementsEqual(event.actor.utf8) } ?? true) && (query.agent == nil || query.agent == event.agent)
        && (query.since.map { event.time >= $0 } ?? true) && (query.until.map { event.time <= $0 } ?? true)
    }
    let newestFirst = found.sorted { ($0.element.event.time, $0.offset) > ($1.element.event.time, $1.offset) }
    return newestFirst.prefix(max(1, min(10_000, query.limit))).map(\.element)
  }

  package func rows(chain name: String, after: Int64, limit: Int) async throws -> [AuditRow] {
    try check()
    return Array(auditRows.filter { $0.chain == name && $0.sequence > after }.prefix(max(1, min(10_000, limit))))
  }

  package func chains() async throws -> [AuditChainState] {
    try check()
    return [chain]
  }

  package func prune(chain name: String, through sequence: Int64, event: AuditEvent) async throws {
    try check()
    guard name == chain.chain else { throw StoreError.notFound("there is no chain \(name)") }
    guard let row = auditRows.first(where: { $0.sequence == sequence }) else { throw StoreError.conflict("the chain does not hold \(sequence)") }
    guard sequence <= chain.exportedThrough else { throw StoreError.conflict("not exported") }
    chain.first = sequence + 1
    chain.anchor = row.hash
    auditRows.removeAll { $0.sequence <= sequence }
    record([event])
  }

  package func markExported(chain name: String, through sequence: Int64, event: AuditEvent) async throws {
    try check()
    guard name == chain.chain else { throw StoreError.notFound("there is no chain \(name)") }
    guard (0...chain.last).contains(sequence) else { throw StoreError.conflict("the chain ends at \(chain.last)") }
    chain.exportedThrough = max(chain.exportedThrough, sequence)
    record([event])
  }
}

extension InMemoryStore: LockoutStore {
  package func admit(
    _ name: LockoutName, from address: AddressMark?, knowledge: NameKnowledge, policy: LockoutPolicy, now: Instant
  ) async throws -> LockoutAdmission {
    try check()
    let entry = lockoutNames[name]
    var object = entry?.object
    if case .lookedUp(let meaning) = knowledge { object = meaning.object.map { DirectoryObject(realm: name.realm, id: $0) } }
    let step = Lockout.admit(
      name, known: entry?.known, person: object.flatMap { lockoutObjects[$0] }, from: address, knowledge: knowledge, policy: policy, now: now)
    if let changed = step.name { lockoutNames[name] = LockoutNameEntry(changed, realm: name.realm) }
    if let state = step.person, let object { lockoutObjects[object] = state }
    return step.answer
  }

  package func settle(
    _ reservation: LockoutReservation, outcome: LockoutOutcome, object: Identifier?, shown: LockoutState.Charge?, policy: LockoutPolicy,
    now: Instant, audit: [AuditEvent]
  ) async throws -> LockoutStanding {
    try check()
    let name = reservation.name
    let step = Lockout.settle(
      reservation, known: lockoutNames[name]?.known, outcome: outcome, object: object, shown: shown, policy: policy, now: now,
      person: { lockoutObjects[DirectoryObject(realm: name.realm, id: $0)] })
    if let changed = step.name { lockoutNames[name] = LockoutNameEntry(changed, realm: name.realm) }
    for person in [step.former, step.person] {
      if let person { lockoutObjects[DirectoryObject(realm: name.realm, id: person.object)] = person.state }
    }
    record(Lockout.events(audit, standing: step.standing, outcome: outcome))
    return step.standing
  }

  package func learn(_ name: LockoutName, object: Identifier, policy: LockoutPolicy, now: Instant) async throws {
    try check()
    let target = DirectoryObject(realm: name.realm, id: object)
    let entry = lockoutNames[name] ?? LockoutNameEntry()
    guard entry.object != target else { return }
    var state = lockoutObjects[target] ?? LockoutState()
    Lockout.merge(entry.state, into: &state, policy: policy, now: now)
    var kept = LockoutState()
    kept.blocked = entry.state.blocked
    lockoutNames[name] = LockoutNameEntry(object: target, state: kept)
    lockoutObjects[target] = state
  }

  package func isFamiliar(_ address: AddressMark, for name: LockoutName, now: Instant) async throws -> Bool {
    try check()
    return lockoutNames[name]?.object.flatMap { lockoutObjects[$0] }?.knows(address, now: now) ?? false
  }

  package func state(of name: LockoutName) async throws -> LockoutState? {
    try check()
    guard let entry = lockoutNames[name] else { return nil }
    var state = entry.object.map { lockoutObjects[$0] ?? LockoutState() } ?? entry.state
    state.blocked = state.blocked || entry.state.blocked
    return state.isBlank ? nil : state
  }

  package func unlock(_ name: LockoutName, audit: [AuditEvent]) async throws {
    try check()
    if var entry = lockoutNames[name] {
      Lockout.unlock(&entry.state)
      lockoutNames[name] = entry
      if let object = entry.object, var state = lockoutObjects[object] {
        Lockout.unlock(&state)
        lockoutObjects[object] = state
      }
    }
    record(audit)
  }

  package func setBlocked(_ blocked: Bool, _ name: LockoutName, now: Instant, audit: [AuditEvent]) async throws {
    try check()
    var entry = lockoutNames[name] ?? LockoutNameEntry()
    entry.state.blocked = blocked
    lockoutNames[name] = entry
    if let object = entry.object {
      lockoutObjects[object, default: LockoutState()].blocked = blocked
      if !blocked {
        for (other, entry) in lockoutNames where entry.object == object { lockoutNames[other]?.state.blocked = false }
      }
    }
    journal(name.revocation(blocked: blocked, object: entry.object?.id, at: now))
    record(audit)
  }

  func isBlocked(_ object: DirectoryObject) -> Bool {
    lockoutObjects[object]?.blocked == true || lockoutNames.values.contains { $0.object == object && $0.state.blocked }
  }

  package func locked(now: Instant, limit: Int) async throws -> [LockedPerson] {
    try check()
    func isBarred(_ state: LockoutState) -> Bool {
      Lockout.standing(of: state, now: now) != .free || Lockout.standing(of: state, familiar: true, now: now) != .free
    }
    let objects = lockoutObjects.filter { isBarred($0.value) }.map { object, state in
      let names = lockoutNames.filter { $0.value.object == object }.map(\.key.key)
      return LockedPerson(
        realm: object.realm, key: names.min { $0.utf8.lexicographicallyPrecedes($1.utf8) }, object: object.id, state: state)
    }
    let names = lockoutNames.filter { isBarred($0.value.state) && ($0.value.object.map { lockoutObjects[$0]?.blocked != true } ?? true) }.map {
      LockedPerson(realm: $0.key.realm, key: $0.key.key, object: $0.value.object?.id, state: $0.value.state)
    }
    let sorted = (objects + names).sorted {
      $0.realm != $1.realm ? $0.realm < $1.realm : ($0.key ?? "").utf8.lexicographicallyPrecedes(($1.key ?? "").utf8)
    }
    return Array(sorted.prefix(max(0, min(10_000, limit))))
  }

  package func forgetIdle(policy: LockoutPolicy, now: Instant) async throws -> Int {
    try check()
    func isIdle(_ state: LockoutState) -> Bool {
      var state = state
      Lockout.refresh(&state, policy: policy, now: now)
      return state.isBlank && state.lastFailure == nil && !state.addresses.contains { now.since($0.seen) < LockoutState.addressLife }
    }
    let before = lockoutObjects.count + lockoutNames.count
    lockoutObjects = lockoutObjects.filter { !isIdle($0.value) }
    lockoutNames = lockoutNames.filter { $0.value.object != nil || !isIdle($0.value.state) }
    return before - lockoutObjects.count - lockoutNames.count
  }
}
