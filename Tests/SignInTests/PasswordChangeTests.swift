import Bytes
import Foundation
import GatehouseTesting
import Identity
import Logging
import SignIn
import Synchronization
import Testing

/// A directory that says what the test tells it, and remembers what it was asked.
private final class ScriptedDirectory: PasswordValidator, PasswordChange {
  private struct State {
    var outcome: Judgement
    var object: Identifier?
    var tried: [Credential] = []
    var rows: [Int] = []
  }

  private let state: Mutex<State>
  private let store: InMemoryStore

  init(_ store: InMemoryStore, _ outcome: PasswordChangeOutcome, object: Identifier?) {
    self.store = store
    state = Mutex(State(outcome: Judgement(change: outcome), object: object))
  }

  func validate(_ credential: Credential, wanting: AttributeRequest, deadline: Deadline) async -> Judgement { Judgement(.unknown(.internalError)) }

  func lookUp(_ userName: UserName, realm: RealmName, deadline: Deadline) async -> LookUpAnswer {
    LookUpAnswer(state.withLock { $0.object }.map { .person($0) } ?? .nobody)
  }

  func change(_ credential: Credential, to new: Password, wanting: AttributeRequest, deadline: Deadline) async -> Judgement {
    let rows = (try? await store.find(AuditQuery()))?.count ?? -1
    return state.withLock { state in
      state.tried.append(credential)
      state.rows.append(rows)
      return state.outcome
    }
  }

  func say(_ outcome: PasswordChangeOutcome, facts: LockoutFacts? = nil, uncertain: Int = 0) {
    state.withLock { $0.outcome = Judgement(change: outcome, uncertainTries: uncertain, facts: facts) }
  }

  var tried: [Credential] { state.withLock { $0.tried } }
  /// How many audit rows there were at each.
  var rows: [Int] { state.withLock { $0.rows } }
}

@Suite("A change of a password goes through the one gate for every password")
struct PasswordChangeTests {
  private let store = InMemoryStore()
  private let time = ManualTime()
  private let contoso: RealmName
  private let frontEnd: FrontEnd
  private let realms: RealmDirectory
  private let person: AcceptedPerson
  private let directory: ScriptedDirectory
  private let sprays = SprayGuard()

  init() async throws {
    contoso = try #require(RealmName("contoso.com"))
    frontEnd = FrontEnd(name: "portal", realms: [contoso])
    realms = RealmDirectory(store: store)
    try await store.add(Realm(name: contoso, suffixes: ["contoso.com"], isDefault: true), audit: [])
    try await realms.refresh()
    person = AcceptedPerson(
      object: DirectoryObject(realm: contoso, id: Identifier()), immutableID: "AAAA", userPrincipalName: "alice@contoso.com")
    directory = ScriptedDirectory(store, .changed(person), object: person.object.id)
  }

  private func service(changes: Bool = true, audit: (any AuditLog)? = nil) -> SignInService {
    var policy = LockoutPolicy()
    policy.threshold = 3
    return SignInService(
      realms: realms, validators: [.passThrough: directory], changers: changes ? [.passThrough: directory] : [:], lockouts: store,
      audit: audit ?? store, throttle: AddressThrottle(), sprays: sprays, policies: LockoutPolicies(standard: policy), now: time.reading,
      logger: Logger(label: "test"))
  }

  private func request(
    _ user: String = "alice@contoso.com", old: String = "old", new: String = "new", from address: String? = nil
  ) -> PasswordChangeRequest {
    PasswordChangeRequest(
      SignInRequest(
        userName: user, password: Secret(old.utf8), address: address.flatMap { IPAddress($0) }, application: nil, correlation: nil,
        wanting: .none, deadline: Deadline(after: .seconds(5))), new: Secret(new.utf8))
  }

  private func rows() async throws -> [AuditRow] { try await store.find(AuditQuery()).reversed() }

  private func state() async throws -> LockoutState {
    let name = LockoutName(try #require(UserName("alice@contoso.com")), realm: contoso)
    return try await store.state(of: name) ?? LockoutState()
  }

  @Test("A change that was made is told with the person, after a row that it is tried and before one that it was made")
  func changed() async throws {
    let answer = await service().changePassword(request(from: "192.0.2.1"), frontEnd: frontEnd)
    #expect(answer.outcome == .changed(person))
    #expect(directory.rows == [1], "the row that it is tried stands before anything is asked")
    let rows = try await rows()
    #expect(rows.map(\.event.kind) == [.passwordChangeTried, .passwordChange])
    #expect(rows.map(\.event.outcome) == ["tried", "changed"])
    #expect(rows.last?.event.reference == answer.reference)
    #expect(rows.first?.event.details["reference"] == answer.reference.text)
    #expect(rows.last?.event.object == person.object.id)
    let explained = try #require(rows.last.map { Explanation($0) })
    #expect(explained.decision.contains("changed their password"))
    for row in rows { #expect(!"\(row.event)".contains("old") || !"\(row.event)".contains("\"new\"")) }
  }

  @Test("The surface for the page says the same")
  func surface() async throws {
    let (outcome, reference) = await service().changePassword(
      userName: try #require(UserName("alice@contoso.com")), old: try #require(Password(Secret("old".utf8))),
      new: try #require(Password(Secret("new".utf8))), address: nil, deadline: Deadline(after: .seconds(5)), frontEnd: frontEnd)
    #expect(outcome == .changed(person))
    #expect(try await rows().last?.event.reference == reference)
  }

  @Test("A wrong old password counts once, locks like any other, and then nothing is asked; names that nobody has alike")
  func wrongOld() async throws {
    directory.say(
      .refused(Refusal(.wrongPassword, object: person.object)), facts: LockoutFacts(count: 0, passwordSet: 7, bindSent: true))
    let service = service()
    for guess in 0..<3 {
      let answer = await service.changePassword(request(old: "guess \(guess)"), frontEnd: frontEnd)
      #expect(answer.outcome == .refused(Refusal(.wrongPassword, object: person.object)))
    }
    let locked = await service.changePassword(request(old: "right"), frontEnd: frontEnd)
    #expect(locked.outcome == .refused(Refusal(.lockedOut)))
    #expect(locked.retryAfter != nil)
    #expect(directory.tried.count == 3)
    #expect(try await rows().last?.event.outcome == "refused:lockedOut")
    #expect(try await rows().last?.event.kind == .passwordChange)
    // What was counted by changes holds for sign-ins, too.
    let signIn = await service.signIn(request().signIn, frontEnd: frontEnd)
    #expect(signIn.verdict == .refused(Refusal(.lockedOut)))
  }

  @Test("The allowance of a sign-in goes with the old password, and the same wrong one is told to have been refused")
  func allowance() async throws {
    directory.say(
      .refused(Refusal(.wrongPassword, object: person.object)), facts: LockoutFacts(count: 0, passwordSet: 7, bindSent: true))
    let service = service()
    _ = await service.changePassword(request(old: "typo"), frontEnd: frontEnd)
    _ = await service.changePassword(request(old: "typo"), frontEnd: frontEnd)
    #expect(directory.tried.map { $0.allowance?.expected } == [person.object.id, person.object.id])
    #expect(directory.tried.map { $0.allowance?.refusedAt } == [nil, 7])
    #expect(directory.tried.map { $0.allowance?.counted } == [0, 1])
  }

  @Test("A change forgets failures and makes the address familiar; one after which nobody was signed in, or that was not taken, only the former")
  func settles() async throws {
    let service = service()
    for (outcome, isFamiliar) in [
      (PasswordChangeOutcome.notTaken(PasswordRules(broken: [.tooShort])), false), (.changed(nil), false), (.changed(person), true),
    ] {
      directory.say(.refused(Refusal(.wrongPassword, object: person.object)))
      _ = await service.changePassword(request(old: "typo", from: "192.0.2.9"), frontEnd: frontEnd)
      #expect(try await state().failures == 1)
      directory.say(outcome)
      #expect(await service.changePassword(request(from: "192.0.2.9"), frontEnd: frontEnd).outcome == outcome)
      let state = try await state()
      #expect(state.failures == 0)
      let mark = AddressMark(try #require(IPAddress("192.0.2.9")))
      #expect(
        try await store.isFamiliar(
          mark, for: LockoutName(try #require(UserName("alice@contoso.com")), realm: contoso), now: time.reading()) == isFamiliar)
      #expect(state.underWay == 0)
    }
    #expect(try await rows().map(\.event.outcome).contains("not-taken:tooShort"))
  }

  @Test("Where nobody could find out nothing is counted, but what may have been is kept in mind")
  func unknown() async throws {
    directory.say(.unknown(.agentLost), uncertain: 1)
    #expect(await service().changePassword(request(), frontEnd: frontEnd).outcome == .unknown(.agentLost))
    #expect(directory.tried.count == 1)
    let state = try await state()
    #expect(state.failures == 0 && state.charges.count == 1)
    #expect(try await rows().last?.event.outcome == "unknown:agentLost")
  }

  @Test(
    "A new password that no directory may be given is told so, and nothing is asked", arguments: ["", "a\0b", String(repeating: "a", count: 257)])
  func malformedNew(new: String) async throws {
    let answer = await service().changePassword(request(new: new), frontEnd: frontEnd)
    #expect(answer.outcome == .notTaken(PasswordRules(broken: [new.isEmpty ? .tooShort : .other])))
    #expect(directory.tried.isEmpty)
    #expect(try await rows().map(\.event.outcome) == ["refused:malformedPassword"])
  }

  @Test("Without a way to change it is answered so, and the reservation is released")
  func unsupported() async throws {
    #expect(await service(changes: false).changePassword(request(), frontEnd: frontEnd).outcome == .unknown(.unsupportedByAgent))
    #expect(try await state().underWay == 0)
  }

  @Test("A change that cannot be recorded is not made")
  func unrecorded() async throws {
    let answer = await service(audit: BrokenAudit()).changePassword(request(), frontEnd: frontEnd)
    #expect(answer.outcome == .unknown(.storeUnavailable))
    #expect(directory.tried.isEmpty)
    #expect(try await state().underWay == 0)
  }

  @Test("Changes tried at many people belong to a spray as sign-ins do")
  func spray() async throws {
    directory.say(.refused(Refusal(.userNotFound)))
    let service = service()
    var reasons: Set<String> = []
    for guess in 0..<40 {
      let answer = await service.changePassword(request("user\(guess)@contoso.com", old: "Winter2026", from: "198.51.100.7"), frontEnd: frontEnd)
      if case .refused(let refusal) = answer.outcome { reasons.insert(refusal.reason.rawValue) }
    }
    #expect(reasons.contains("sprayThrottled"))
    #expect(directory.tried.count < 40)
  }

  @Test("What is told of a change that was made stays so though the person stands locked; what was not made is told as locked")
  func lockedMeanwhile() {
    let event = AuditEvent(time: time.reading(), kind: .passwordChange, actor: "portal", outcome: "changed")
    var other = event
    other.outcome = "not-taken:tooShort"
    let standing = LockoutStanding.locked(until: time.reading().adding(.seconds(60)))
    let told = Lockout.events([event, other], standing: standing, outcome: .succeeded)
    #expect(told.map(\.outcome) == ["changed", "refused:lockedOut"])
  }
}

/// An audit that takes nothing.
private struct BrokenAudit: AuditLog {
  private var fault: StoreError { .unavailable("broken") }
  func append(_ events: [AuditEvent]) async throws { throw fault }
  func find(_ query: AuditQuery) async throws -> [AuditRow] { throw fault }
  func rows(chain: String, after: Int64, limit: Int) async throws -> [AuditRow] { throw fault }
  func chains() async throws -> [AuditChainState] { throw fault }
  func prune(chain: String, through sequence: Int64, event: AuditEvent) async throws { throw fault }
  func markExported(chain: String, through sequence: Int64, event: AuditEvent) async throws { throw fault }
}
