import Bytes
import Foundation
import GatehouseTesting
import Identity
import Logging
import SignIn
import Synchronization
import Testing

/// A validator that says what the test tells it, and remembers what it was asked: a fake of our own port.
private final class ScriptedValidator: PasswordValidator {
  let verdict: Mutex<Verdict>
  let asked = Mutex<[Credential]>([])

  init(_ verdict: Verdict) { self.verdict = Mutex(verdict) }

  func validate(_ credential: Credential, wanting: AttributeRequest, deadline: Deadline) async -> Judgement {
    asked.withLock { $0.append(credential) }
    return Judgement(verdict.withLock { $0 }, trace: [TraceNote(.bind, "scripted")])
  }

  var count: Int { asked.withLock { $0.count } }
  func say(_ next: Verdict) { verdict.withLock { $0 = next } }
}

@Suite("The one gate for every password")
struct SignInServiceTests {
  private let store = InMemoryStore()
  private let time = ManualTime()
  private let contoso: RealmName
  private let frontEnd: FrontEnd
  private let realms: RealmDirectory
  private let validator: ScriptedValidator
  private let person: AcceptedPerson

  init() async throws {
    contoso = try #require(RealmName("contoso.com"))
    let fabrikam = try #require(RealmName("fabrikam.com"))
    frontEnd = FrontEnd(name: "portal", realms: [contoso])
    realms = RealmDirectory(store: store)
    try await store.add(Realm(name: contoso, suffixes: ["contoso.com", "contoso"], isDefault: true), audit: [])
    try await store.add(Realm(name: fabrikam, suffixes: ["fabrikam.com"]), audit: [])
    try await realms.refresh()
    person = AcceptedPerson(
      object: DirectoryObject(realm: contoso, id: Identifier()), immutableID: "AAAA", userPrincipalName: "alice@contoso.com")
    validator = ScriptedValidator(.accepted(person))
  }

  private func service(lockouts: (any LockoutStore)? = nil, audit: (any AuditLog)? = nil, throttle: AddressThrottle = AddressThrottle())
    -> SignInService
  {
    var policy = LockoutPolicy()
    policy.threshold = 3
    return SignInService(
      realms: realms, validators: [.passThrough: validator], lockouts: lockouts ?? store, audit: audit ?? store, throttle: throttle,
      policies: LockoutPolicies(standard: policy), now: time.reading, logger: Logger(label: "test"))
  }

  private func request(_ user: String = "alice@contoso.com", password: String = "x", address: String? = nil, deadline: Duration = .seconds(5))
    -> SignInRequest
  {
    SignInRequest(
      userName: user, password: Secret(password.utf8), address: address.flatMap { IPAddress($0) }, application: nil, correlation: nil,
      wanting: .none, deadline: Deadline(after: deadline))
  }

  private func reason(_ answer: SignInAnswer) -> RefusalReason? {
    if case .refused(let refusal) = answer.verdict { refusal.reason } else { nil }
  }

  private func rows() async throws -> [AuditRow] { try await store.find(AuditQuery()) }

  @Test("A right password is a yes, with one audit row under its reference")
  func accepted() async throws {
    let answer = await service().signIn(request(), frontEnd: frontEnd)
    #expect(answer.verdict == .accepted(person))
    let rows = try await rows()
    #expect(rows.count == 1)
    #expect(rows.first?.event.reference == answer.reference)
    #expect(rows.first?.event.outcome == "accepted")
    #expect(rows.first?.event.trace.map(\.step).contains(.bind) == true)
  }

  @Test("An empty, over-long, NUL-bearing or invalid password never reaches the validator, and is told like a wrong one")
  func malformedPasswords() async throws {
    for bytes in [[], [0], Array("a\0b".utf8), [0xff, 0xfe], [UInt8](repeating: 0x61, count: 257)] {
      var request = request()
      request.password = Secret(bytes)
      let answer = await service().signIn(request, frontEnd: frontEnd)
      #expect(reason(answer) == .malformedPassword)
      #expect(reason(answer)?.outerCode == .invalidCredentials)
    }
    #expect(validator.count == 0)
    #expect(try await rows().count == 5)
  }

  @Test(
    "A name that no directory has never reaches the validator",
    arguments: ["", " ", "\u{0}", "a\u{202e}b@contoso.com", "a\r\nb@contoso.com", "\u{200b}", String(repeating: "a", count: 321)])
  func malformedNames(name: String) async throws {
    #expect(reason(await service().signIn(request(name), frontEnd: frontEnd)) == .malformedUserName)
    #expect(validator.count == 0)
  }

  @Test(
    "Metacharacters and combining marks reach the validator byte for byte",
    arguments: ["*)(uid=*@contoso.com", "e\u{301}@contoso.com", "a*\u{301}@contoso.com", "\\2a\\00@contoso.com"])
  func namesAreKept(name: String) async throws {
    _ = await service().signIn(request(name), frontEnd: frontEnd)
    #expect(validator.asked.withLock { $0.first.map { Array($0.userName.text.utf8) } } == Array(name.utf8))
  }

  @Test("Realms are found by the whole suffix, the prefix, or the default, and by nothing else")
  func realmsOfNames() async throws {
    for (name, expected) in [
      ("alice@contoso.com", nil), ("ALICE@CONTOSO.COM", nil), ("CONTOSO\\alice", nil), ("alice", nil),
      ("alice@evilcontoso.com", RefusalReason.realmUnknown), ("alice@contoso.com.evil.example", .realmUnknown), ("alice@", .realmUnknown),
      ("OTHER\\alice", .realmUnknown), ("alice@contoso.com@evil.example", .realmUnknown), ("bob@fabrikam.com", .realmNotAllowed),
    ] as [(String, RefusalReason?)] {
      #expect(reason(await service().signIn(request(name), frontEnd: frontEnd)) == expected, "\(name)")
    }
  }

  @Test("Wrong passwords lock the name, known to the directory or not, and the directory is asked no more")
  func locks() async throws {
    for refusal in [Refusal(.wrongPassword, object: person.object), Refusal(.userNotFound)] {
      validator.say(.refused(refusal))
      let name = refusal.object == nil ? "nobody@contoso.com" : "alice@contoso.com"
      let before = validator.count
      for _ in 0..<3 { #expect(reason(await service().signIn(request(name), frontEnd: frontEnd)) == refusal.reason) }
      let locked = await service().signIn(request(name), frontEnd: frontEnd)
      #expect(reason(locked) == .lockedOut)
      #expect(locked.retryAfter != nil)
      #expect(validator.count == before + 3)
    }
  }

  @Test("Spellings of one person share one count")
  func spellings() async throws {
    validator.say(.refused(Refusal(.wrongPassword, object: person.object)))
    for name in ["alice@contoso.com", "ALICE@contoso.com", "CONTOSO\\alice"] { _ = await service().signIn(request(name), frontEnd: frontEnd) }
    validator.say(.accepted(person))
    // A spelling nobody had used before: the directory is asked, but the lock that it runs into answers.
    #expect(reason(await service().signIn(request("alice"), frontEnd: frontEnd)) == .lockedOut)
  }

  @Test("What could not be found out is never counted", arguments: UnknownCause.allCases.filter { ![.nameMoved, .triesUnderWay].contains($0) })
  func unknownNeverCounts(cause: UnknownCause) async throws {
    validator.say(.unknown(cause))
    for _ in 0..<10 { #expect(await service().signIn(request(), frontEnd: frontEnd).verdict == .unknown(cause)) }
    #expect(try await store.state(of: LockoutName(realm: contoso, key: "alice@contoso.com"))?.failures ?? 0 == 0)
    validator.say(.accepted(person))
    #expect(await service().signIn(request(), frontEnd: frontEnd).verdict == .accepted(person))
  }

  @Test(
    "A refusal that the directory gives only after the right password is no wrong try", arguments: RefusalReason.allCases.filter(\.provesPassword))
  func stateRefusals(reason expected: RefusalReason) async throws {
    validator.say(.refused(Refusal(expected, object: person.object)))
    for _ in 0..<10 { #expect(reason(await service().signIn(request(), frontEnd: frontEnd)) == expected) }
  }

  @Test("A hundred parallel guesses get no more tries than three")
  func parallelGuesses() async throws {
    validator.say(.refused(Refusal(.wrongPassword, object: person.object)))
    let service = service()
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<100 { group.addTask { _ = await service.signIn(request(), frontEnd: frontEnd) } }
    }
    #expect(validator.count <= 3)
    #expect(try await rows().count == 100)
  }

  @Test("A hundred parallel sign-ins with the right password are a hundred times yes")
  func parallelRightPasswords() async throws {
    let service = service()
    let yes = await withTaskGroup(of: Bool.self) { group in
      // All other tests run beside this one: what is asked here is not how long a hundred take.
      for _ in 0..<100 { group.addTask { await service.signIn(request(deadline: .seconds(300)), frontEnd: frontEnd).verdict == .accepted(person) } }
      return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
    }
    #expect(yes == 100)
  }

  @Test("A blocked person is refused at once, with the right password too, in every spelling known")
  func blocked() async throws {
    _ = await service().signIn(request("CONTOSO\\alice"), frontEnd: frontEnd)
    _ = await service().signIn(request(), frontEnd: frontEnd)
    try await store.setBlocked(true, LockoutName(realm: contoso, key: "alice@contoso.com"), now: time.now, audit: [])
    for name in ["alice@contoso.com", "CONTOSO\\alice", "alice"] {
      let answer = await service().signIn(request(name), frontEnd: frontEnd)
      #expect(reason(answer) == .blockedByAdministrator)
      #expect(reason(answer)?.outerCode == .temporarilyLocked)
    }
    try await store.setBlocked(false, LockoutName(realm: contoso, key: "alice@contoso.com"), now: time.now, audit: [])
    #expect(await service().signIn(request(), frontEnd: frontEnd).verdict == .accepted(person))
  }

  @Test("An address that guesses is slowed and never locked, IPv6 by its /64; others are not touched")
  func addresses() async throws {
    var policy = AddressThrottle.Policy()
    policy.burst = 5
    policy.perSecond = 0.001
    let service = service(throttle: AddressThrottle(policy: policy))
    validator.say(.refused(Refusal(.userNotFound)))
    for index in 0..<5 { _ = await service.signIn(request("u\(index)@contoso.com", address: "2001:db8::\(index)"), frontEnd: frontEnd) }
    #expect(reason(await service.signIn(request("v@contoso.com", address: "2001:db8::ffff"), frontEnd: frontEnd)) == .addressThrottled)
    validator.say(.accepted(person))
    #expect(await service.signIn(request(address: "2001:db8:0:1::1"), frontEnd: frontEnd).verdict == .accepted(person))
    #expect(await service.signIn(request(address: "192.0.2.1"), frontEnd: frontEnd).verdict == .accepted(person))
  }

  @Test("A verdict whose audit row cannot be written does not leave")
  func noVerdictWithoutRow() async throws {
    let answer = await service(lockouts: BrokenStore(admits: true)).signIn(request(), frontEnd: frontEnd)
    #expect(answer.verdict == .unknown(.storeUnavailable))
    let refused = await service(audit: BrokenStore(admits: true)).signIn(request("alice@unknown.example"), frontEnd: frontEnd)
    #expect(refused.verdict == .unknown(.storeUnavailable))
  }

  @Test("Where the lockout cannot be read nobody is asked, and nobody gets in")
  func lockoutUnavailable() async throws {
    let answer = await service(lockouts: BrokenStore(admits: false)).signIn(request(), frontEnd: frontEnd)
    #expect(answer.verdict == .unknown(.storeUnavailable))
    #expect(validator.count == 0)
  }

  @Test("Every inner reason has cause and remedy in words, and exactly one outer code")
  func everyReasonIsExplained() {
    for reason in RefusalReason.allCases {
      #expect(reason.cause.count > 20 && reason.remedy.count > 10)
      #expect(reason.outerCode.aadsts > 50_000)
    }
    for cause in UnknownCause.allCases { #expect(cause.explanation.cause.count > 20 && cause.explanation.remedy.count > 20) }
    let same: [RefusalReason] = [.wrongPassword, .userNotFound, .directoryLocked, .ambiguousName, .malformedUserName, .realmUnknown]
    #expect(Set(same.map(\.outerCode)) == [.invalidCredentials])
  }
}

/// A store whose disk is full.
private struct BrokenStore: LockoutStore, AuditLog {
  var admits: Bool
  private let fault = StoreError.unavailable("full")

  init(admits: Bool) { self.admits = admits }

  func admit(
    _ name: LockoutName, from address: AddressMark?, knowledge: NameKnowledge, policy: LockoutPolicy, now: Instant
  ) async throws -> LockoutAdmission {
    guard admits else { throw fault }
    return .admitted(LockoutReservation(id: Identifier(), name: name))
  }
  func settle(
    _ reservation: LockoutReservation, outcome: LockoutOutcome, object: Identifier?, shown: LockoutState.Charge?, policy: LockoutPolicy,
    now: Instant, audit: [AuditEvent]
  ) async throws -> LockoutStanding { throw fault }
  func learn(_ name: LockoutName, object: Identifier, policy: LockoutPolicy, now: Instant) async throws { throw fault }
  func isFamiliar(_ address: AddressMark, for name: LockoutName, now: Instant) async throws -> Bool { throw fault }
  func state(of name: LockoutName) async throws -> LockoutState? { throw fault }
  func unlock(_ name: LockoutName, audit: [AuditEvent]) async throws { throw fault }
  func setBlocked(_ blocked: Bool, _ name: LockoutName, now: Instant, audit: [AuditEvent]) async throws { throw fault }
  func locked(now: Instant, limit: Int) async throws -> [LockedPerson] { throw fault }
  func forgetIdle(policy: LockoutPolicy, now: Instant) async throws -> Int { throw fault }
  func append(_ events: [AuditEvent]) async throws { throw fault }
  func find(_ query: AuditQuery) async throws -> [AuditRow] { throw fault }
  func rows(chain: String, after: Int64, limit: Int) async throws -> [AuditRow] { throw fault }
  func chains() async throws -> [AuditChainState] { throw fault }
  func prune(chain: String, through sequence: Int64, event: AuditEvent) async throws { throw fault }
  func markExported(chain: String, through sequence: Int64, event: AuditEvent) async throws { throw fault }
}

/// A directory as an agent would ask it: names that mean people, or nobody, and a right password each. A fake of our own port.
private final class NamedPeople: PasswordValidator {
  struct State {
    var meanings: [String: Identifier] = [:]
    var passwords: [Identifier: String] = [:]
    var passwordSet: Int64 = 1
    var lookUps: [String] = []
    var allowances: [TryAllowance?] = []
    /// Answered in place of a judgement, one after the other.
    var next: [Judgement] = []
    /// What happens while the next name is looked up.
    var meanwhile: (@Sendable () async -> Void)?
    /// What happens while the next password is judged.
    var meanwhileJudging: (@Sendable () -> Void)?
  }

  let realm: RealmName
  let state = Mutex(State())
  init(realm: RealmName) { self.realm = realm }

  func lookUp(_ userName: UserName, realm: RealmName, deadline: Deadline) async -> LookUpAnswer {
    let meanwhile = state.withLock { state in
      defer { state.meanwhile = nil }
      return state.meanwhile
    }
    await meanwhile?()
    return state.withLock { state in
      state.lookUps.append(userName.text)
      return LookUpAnswer(state.meanings[userName.text].map { .person($0) } ?? .nobody, trace: [TraceNote(.search, "scripted")])
    }
  }

  func validate(_ credential: Credential, wanting: AttributeRequest, deadline: Deadline) async -> Judgement {
    let meanwhile = state.withLock { state in
      defer { state.meanwhileJudging = nil }
      return state.meanwhileJudging
    }
    meanwhile?()
    return state.withLock { state in
      state.allowances.append(credential.allowance)
      if !state.next.isEmpty { return state.next.removeFirst() }
      let found = state.meanings[credential.userName.text]
      if let allowance = credential.allowance, allowance.expected != found {
        return Judgement(.unknown(.nameMoved), facts: LockoutFacts(bindSent: false))
      }
      guard let found else {
        if credential.allowance?.refusedAt != nil {
          return Judgement(.refused(Refusal(.repeatedWrongPassword)), facts: LockoutFacts(bindSent: false))
        }
        return Judgement(.refused(Refusal(.userNotFound)), facts: LockoutFacts(bindSent: true))
      }
      let object = DirectoryObject(realm: realm, id: found)
      let facts = LockoutFacts(count: 0, passwordSet: state.passwordSet, bindSent: true)
      if credential.allowance?.refusedAt == state.passwordSet {
        return Judgement(
          .refused(Refusal(.repeatedWrongPassword, object: object)), facts: LockoutFacts(passwordSet: state.passwordSet, bindSent: false))
      }
      let isRight = credential.password.secret.withBytes { Array($0) } == Array((state.passwords[found] ?? "").utf8)
      return Judgement(
        isRight
          ? .accepted(AcceptedPerson(object: object, immutableID: "AAAA", userPrincipalName: "alice@contoso.com"))
          : .refused(Refusal(.wrongPassword, object: object, subCode: "52e")), facts: facts)
    }
  }
}

@Suite("Tries are the person's, not the spelling's")
struct PersonTriesTests {
  private let store = InMemoryStore()
  private let time = ManualTime()
  private let alice = Identifier()
  private let directory = NamedPeople(realm: contosoRealm)
  private let realms: RealmDirectory
  private let service: SignInService
  private let names = ["alice@contoso.com", "ALICE@contoso.com", "CONTOSO\\alice", "alice"]

  init() async throws {
    realms = RealmDirectory(store: store)
    try await store.add(Realm(name: contosoRealm, suffixes: ["contoso.com", "contoso"], isDefault: true), audit: [])
    try await realms.refresh()
    directory.state.withLock { [alice, names] state in
      for name in names { state.meanings[name] = alice }
      state.passwords[alice] = "right"
    }
    var policy = LockoutPolicy()
    policy.threshold = 3
    service = SignInService(
      realms: realms, validators: [.passThrough: directory], lockouts: store, audit: store, throttle: AddressThrottle(),
      policies: LockoutPolicies(standard: policy), now: time.reading, logger: Logger(label: "test"))
  }

  private func signIn(_ user: String, _ password: String, from address: String? = nil, within: Duration = .seconds(5)) async -> SignInAnswer {
    await service.signIn(
      SignInRequest(
        userName: user, password: Secret(password.utf8), address: address.flatMap { IPAddress($0) }, application: nil, correlation: nil,
        wanting: .none, deadline: Deadline(after: within)),
      frontEnd: FrontEnd(name: "portal", realms: [contosoRealm]))
  }

  private func reason(_ answer: SignInAnswer) -> RefusalReason? { if case .refused(let refusal) = answer.verdict { refusal.reason } else { nil } }
  private var lookUps: Int { directory.state.withLock { $0.lookUps.count } }
  private var allowances: [TryAllowance?] { directory.state.withLock { $0.allowances } }

  @Test("In spellings that nobody has used before there are as many tries as in one, serial or parallel")
  func spellings() async throws {
    await withTaskGroup(of: Void.self) { group in
      for guess in 0..<100 { group.addTask { _ = await signIn(names[guess % 4], "guess \(guess)") } }
    }
    #expect(allowances.count == 3)
    #expect(allowances.allSatisfy { $0?.expected == alice })
    for name in names { #expect(reason(await signIn(name, "right")) == .lockedOut) }
  }

  @Test("A name that is known goes straight to the directory, at home; a stranger's way is the same for names that are known, new or nobody's")
  func ways() async throws {
    #expect(reason(await signIn("alice", "right", from: "192.0.2.1")) == nil)
    #expect(lookUps == 1)
    _ = await signIn("alice", "right", from: "192.0.2.1")
    #expect(lookUps == 1)
    for (name, before) in [("alice", 1), ("CONTOSO\\alice", 2), ("ghost", 3), ("ghost", 4)] {
      #expect(lookUps == before)
      _ = await signIn(name, "wrong", from: "198.51.100.1")
      #expect(lookUps == before + 1)
    }
  }

  @Test("A name that has moved to somebody else is looked up anew, once, and the try is that person's")
  func moved() async throws {
    _ = await signIn("alice", "right", from: "192.0.2.1")
    let successor = Identifier()
    directory.state.withLock { state in
      state.meanings["alice"] = successor
      state.passwords[successor] = "theirs"
    }
    let answer = await signIn("alice", "theirs", from: "192.0.2.1")
    guard case .accepted(let person) = answer.verdict else {
      Issue.record("\(answer.verdict)")
      return
    }
    #expect(person.object.id == successor)
    #expect(allowances.map { $0?.expected } == [alice, alice, successor])
    // A directory that cannot make up its mind is not asked for ever.
    directory.state.withLock { $0.next = [Judgement](repeating: Judgement(.unknown(.nameMoved), facts: LockoutFacts(bindSent: false)), count: 2) }
    #expect(await signIn("alice", "theirs", from: "192.0.2.1").verdict == .unknown(.nameMoved))
    #expect(try await store.state(of: LockoutName(realm: contosoRealm, key: "alice")) == nil)
  }

  @Test("Who is not asked because others are under way waits for them, and is asked again")
  func waits() async throws {
    let wait = Judgement(.unknown(.triesUnderWay), facts: LockoutFacts(bindSent: false))
    directory.state.withLock { $0.next = [wait, wait, wait] }
    #expect(reason(await signIn("alice", "right", within: .seconds(600))) == nil)
    #expect(allowances.count == 4)
    directory.state.withLock { $0.next = [Judgement](repeating: wait, count: 1000) }
    #expect(await signIn("alice", "right", within: .milliseconds(100)).verdict == .unknown(.triesUnderWay))
  }

  @Test("A try whose bind may have been sent is told to the next as charged, one that was not is not")
  func charges() async throws {
    directory.state.withLock {
      $0.next = [Judgement(.unknown(.noAgent)), Judgement(.unknown(.directoryError), facts: LockoutFacts(bindSent: false))]
    }
    for _ in 0..<2 { _ = await signIn("alice", "right") }
    _ = await signIn("alice", "wrong 1")
    #expect(allowances.last??.charged == 0)
    directory.state.withLock {
      $0.next = [Judgement(.unknown(.agentLost), uncertainTries: 2), Judgement(.unknown(.deadlineExceeded), uncertainTries: 1)]
    }
    for _ in 0..<2 { _ = await signIn("alice", "right") }
    _ = await signIn("CONTOSO\\alice", "wrong 2")
    #expect(allowances.last??.charged == 3)
    #expect(try await store.state(of: LockoutName(realm: contosoRealm, key: "alice"))?.failures == 2)
  }

  @Test("The same wrong password counts once in two minutes, whoever's name it is, and is forwarded again when the person's password was set anew")
  func repeated() async throws {
    for name in ["alice", "ghost"] {
      for attempt in 0..<10 { #expect(reason(await signIn(name, "old")) != .lockedOut, "\(attempt)") }
      #expect(try await store.state(of: LockoutName(realm: contosoRealm, key: name))?.failures == 1)
    }
    directory.state.withLock { $0.passwordSet = 2 }
    #expect(reason(await signIn("CONTOSO\\alice", "old")) == .wrongPassword)
    time.advance(by: .seconds(121))
    #expect(reason(await signIn("alice", "old")) == .wrongPassword)
    #expect(try await store.state(of: LockoutName(realm: contosoRealm, key: "alice"))?.lockedUntil != nil)
  }

  @Test("A person who works behind an address that sprays goes on; a name that nobody has there does not, and costs no row of its own")
  func sprayed() async throws {
    _ = await signIn("alice", "right", from: "192.0.2.1")
    for victim in 0..<1000 { _ = await signIn("victim\(victim)", "Winter2026!", from: "192.0.2.1") }
    #expect(allowances.count <= 50)
    #expect(reason(await signIn("victim9", "Winter2026!", from: "192.0.2.1")) == .sprayThrottled)
    #expect(reason(await signIn("alice", "right", from: "192.0.2.1")) == nil)
    #expect(reason(await signIn("CONTOSO\\alice", "right", from: "198.51.100.1")) == nil)
    #expect(await store.events.count < 60)
    #expect(await store.events.count { $0.kind == .sprayBegan } == 1)
  }

  @Test("A guess that was being looked up when its spray was recognised is not put before the directory any more")
  func sprayedMeanwhile() async throws {
    directory.state.withLock { state in
      state.meanwhile = { for victim in 0..<100 { _ = await signIn("victim\(victim)", "Winter2026!", from: "192.0.2.1") } }
    }
    let answer = await signIn("alice", "Winter2026!", from: "192.0.2.1")
    #expect(reason(answer) == .sprayThrottled)
    #expect(allowances.contains { $0?.expected == alice } == false)
    // Nothing is left reserved for a try that was not made.
    for number in 0..<2 { #expect(reason(await signIn("alice", "wrong \(number)", from: "198.51.100.1")) == .wrongPassword) }
    #expect(reason(await signIn("alice", "right", from: "198.51.100.1")) == nil)
  }

  @Test("What an agent tells of the directory's lockout while a sign-in is under way decides how it is counted")
  func lockoutToldMeanwhile() async throws {
    let told = Told()
    var patient = LockoutPolicy()
    patient.threshold = 50
    let service = SignInService(
      realms: realms, validators: [.passThrough: directory], lockouts: store, audit: store, throttle: AddressThrottle(),
      policies: LockoutPolicies(standard: patient, directory: { _ in told.policy.withLock { $0 } }), now: time.reading, logger: Logger(label: "test"))
    func guess(_ number: Int) async -> RefusalReason? {
      let request = SignInRequest(
        userName: "alice", password: Secret("wrong \(number)".utf8), address: nil, application: nil, correlation: nil, wanting: .none,
        deadline: Deadline(after: .seconds(5)))
      return reason(await service.signIn(request, frontEnd: FrontEnd(name: "portal", realms: [contosoRealm])))
    }
    for number in 0..<2 { #expect(await guess(number) == .wrongPassword) }
    // Five lock in the directory, of which two are kept in reserve.
    directory.state.withLock { state in
      state.meanwhileJudging = {
        told.policy.withLock { $0 = DirectoryLockoutPolicy(threshold: 5, window: .seconds(1800), lock: .seconds(1800)) }
      }
    }
    #expect(await guess(2) == .wrongPassword)
    #expect(await guess(3) == .lockedOut)
  }

  private final class Told: Sendable {
    let policy = Mutex<DirectoryLockoutPolicy?>(nil)
  }
}
