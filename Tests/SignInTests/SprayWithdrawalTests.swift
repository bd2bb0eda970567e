import Bytes
import Foundation
import GatehouseTesting
import Identity
import Logging
import SignIn
import Synchronization
import Testing

/// A directory whose binds wait for a connection, but for the first so many; it tells how many were made.
private final class CrowdedDirectory: PasswordValidator {
  private struct State {
    var people: [String: Identifier] = [:]
    var bound = 0
    var waiting = 0
  }

  private let state = Mutex(State())
  private let quick: Int

  init(quick: Int) { self.quick = quick }

  var bound: Int { state.withLock { $0.bound } }
  var waiting: Int { state.withLock { $0.waiting } }

  private func person(_ name: UserName) -> Identifier {
    state.withLock { state in
      let known = state.people[name.text] ?? Identifier()
      state.people[name.text] = known
      return known
    }
  }

  func lookUp(_ userName: UserName, realm: RealmName, deadline: Deadline) async -> LookUpAnswer { LookUpAnswer(.person(person(userName))) }

  func validate(_ credential: Credential, wanting: AttributeRequest, deadline: Deadline) async -> Judgement {
    let object = DirectoryObject(realm: credential.realm, id: person(credential.userName))
    if credential.userName.text.hasPrefix("right") {
      return Judgement(.accepted(AcceptedPerson(object: object, immutableID: "", userPrincipalName: credential.userName.text)))
    }
    if Int(credential.userName.text.drop { !$0.isNumber }.prefix { $0.isNumber }) ?? 0 >= quick {
      state.withLock { $0.waiting += 1 }
      while !deadline.hasPassed, credential.withdrawal?.isWithdrawn != true { try? await Task.sleep(for: .milliseconds(2)) }
      if credential.withdrawal?.isWithdrawn == true { return Judgement(.unknown(.deadlineExceeded)) }
    } else {
      // Only when everybody else waits.
      while state.withLock({ $0.waiting < 30 }), !deadline.hasPassed { try? await Task.sleep(for: .milliseconds(2)) }
    }
    state.withLock { $0.bound += 1 }
    return Judgement(.refused(Refusal(.wrongPassword, object: object)), facts: LockoutFacts(count: 0, passwordSet: 1, bindSent: true))
  }
}

@Suite struct `Guesses that wait for their bind when their spray is recognised` {
  @Test func `are taken back, refused as the spray's, and counted against nobody`() async throws {
    let store = InMemoryStore()
    let time = ManualTime()
    let realms = RealmDirectory(store: store)
    let portal = FrontEnd(name: "portal", realms: [contosoRealm])
    try await store.add(Realm(name: contosoRealm, suffixes: ["contoso.com"], isDefault: true), audit: [])
    try await realms.refresh()
    let directory = CrowdedDirectory(quick: 10)
    let service = SignInService(
      realms: realms, validators: [.passThrough: directory], lockouts: store, audit: store, throttle: AddressThrottle(), sprays: SprayGuard(),
      policies: LockoutPolicies(standard: LockoutPolicy()), now: time.reading, logger: Logger(label: "test"))
    func request(_ user: String) -> SignInRequest {
      SignInRequest(
        userName: "\(user)@contoso.com", password: Secret("Winter2026!".utf8), address: IPAddress("198.51.100.7"), application: nil,
        correlation: nil, wanting: .none, deadline: Deadline(after: .seconds(4)))
    }
    let reasons = await withTaskGroup(of: RefusalReason?.self) { group in
      for guess in 0..<40 {
        group.addTask {
          guard case .refused(let refusal) = await service.signIn(request("user\(guess)"), frontEnd: portal).verdict else { return nil }
          return refusal.reason
        }
      }
      return await group.reduce(into: [RefusalReason?: Int]()) { $0[$1, default: 0] += 1 }
    }
    #expect(directory.bound == 10)
    #expect(reasons == [.wrongPassword: 10, .sprayThrottled: 30])
    for guess in 10..<40 {
      let name = LockoutName(try #require(UserName("user\(guess)@contoso.com")), realm: contosoRealm)
      let state = try await store.state(of: name)
      #expect(state.map { $0.failures == 0 && $0.underWay == 0 && $0.charges.isEmpty } ?? true)
    }
  }
}
