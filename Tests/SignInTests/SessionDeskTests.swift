import Bytes
import GatehouseTesting
import Identity
import SignIn
import Testing

@Suite struct `The desk for sessions` {
  private let store = InMemoryStore()
  private let time = ManualTime()

  private func desk(_ policy: SessionPolicy = SessionPolicy()) -> SessionDesk { SessionDesk(store: store, policy: policy) }

  private func person(_ byte: UInt8 = 1) throws -> AcceptedPerson {
    let realm = try #require(RealmName("contoso.com"))
    let id = try #require(Identifier(bytes: [UInt8](repeating: byte, count: 16)))
    return AcceptedPerson(object: DirectoryObject(realm: realm, id: id), immutableID: "i", userPrincipalName: "alice@contoso.com")
  }

  private func begin(_ desk: SessionDesk, _ person: AcceptedPerson, keeping: Bool = false, replacing: Session? = nil) async throws -> (
    secret: Secret, session: Session
  ) {
    try #require(
      await desk.begin(person, userName: "alice", keeping: keeping, replacing: replacing, reference: Reference(), address: nil, now: time.now))
  }

  @Test func `gives a secret of 32 bytes that opens the session, and that the store does not know`() async throws {
    let desk = desk()
    let (secret, session) = try await begin(desk, try person())
    #expect(secret.count == 32)
    #expect(try await desk.session(secret, now: time.now) == session)
    #expect(secret.withBytes { Array($0) } != session.digest && session.digest.count == 32)
    // Neither the digest itself nor a secret of another length opens anything.
    for other in [session.digest, [], [UInt8](repeating: 0, count: 32)] { #expect(try await desk.session(Secret(other), now: time.now) == nil) }
    let longer = secret.withBytes { Array($0) } + [0]
    #expect(try await desk.session(Secret(longer), now: time.now) == nil)
    let event = try #require(await store.events.last)
    #expect(event.kind == .sessionBegan && event.object == session.person.object.id)
    #expect(!event.details.values.contains { $0.contains(session.digest.hexadecimal) })
  }

  @Test func `never gives the same secret twice`() async throws {
    let desk = desk()
    var digests: Set<[UInt8]> = []
    for _ in 0..<100 { digests.insert(try await begin(desk, try person()).session.digest) }
    #expect(digests.count == 100)
  }

  @Test(arguments: [(false, true, 8 * 3600), (true, true, 7 * 86_400), (true, false, 8 * 3600)])
  func `ends a session when its time is over`(_ keeping: Bool, _ offers: Bool, _ seconds: Int) async throws {
    let desk = desk(SessionPolicy(offersKeeping: offers))
    let (secret, session) = try await begin(desk, try person(), keeping: keeping)
    #expect(session.isKept == (keeping && offers))
    time.advance(by: .seconds(seconds) - .milliseconds(1))
    #expect(try await desk.session(secret, now: time.now) != nil)
    time.advance(by: .milliseconds(1))
    #expect(try await desk.session(secret, now: time.now) == nil)
    try await desk.forgetEnded(now: time.now)
    #expect(try await store.session(digest: session.digest, now: session.authenticated) == nil)
  }

  @Test func `replaces the browser's session, whoever it was of`() async throws {
    let desk = desk()
    let first = try await begin(desk, try person(1))
    let second = try await begin(desk, try person(2), replacing: first.session)
    #expect(try await desk.session(first.secret, now: time.now) == nil)
    #expect(try await desk.session(second.secret, now: time.now)?.person.object == second.session.person.object)
  }

  @Test func `ends all sessions of one person, and tells the audit once`() async throws {
    let desk = desk()
    let mine = [try await begin(desk, try person(1)), try await begin(desk, try person(1), keeping: true)]
    let other = try await begin(desk, try person(2))
    try await desk.endAll(of: try person(1).object, actor: "admin:a", reason: "blocked", now: time.now)
    for session in mine { #expect(try await desk.session(session.secret, now: time.now) == nil) }
    #expect(try await desk.session(other.secret, now: time.now) != nil)
    let ended = await store.events.filter { $0.kind == .sessionEnded }
    #expect(ended.count == 1 && ended.first?.actor == "admin:a" && ended.first?.details["reason"] == "blocked")
    // Nobody is signed in any more: nothing happens.
    try await desk.endAll(of: try person(1).object, actor: "admin:a", reason: "blocked", now: time.now)
    #expect(await store.events.filter { $0.kind == .sessionEnded }.count == 1)
  }

  @Test func `gives nothing while the store is down`() async throws {
    let desk = desk()
    await store.fail(with: .unavailable("down"))
    await #expect(throws: StoreError.self) { _ = try await begin(desk, try person()) }
    await #expect(throws: StoreError.self) { _ = try await desk.session(Secret([UInt8](repeating: 1, count: 32)), now: time.now) }
  }
}
