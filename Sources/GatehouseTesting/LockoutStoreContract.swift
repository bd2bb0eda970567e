import Bytes
import Identity
import SignIn
import Testing

/// What every `LockoutStore` must keep.
package enum LockoutStoreContract {
  package typealias Store = any LockoutStore & AuditLog

  package static let sentences: [ContractSentence<Store>] = counting + spelling + barring + housekeeping

  private static let policy: LockoutPolicy = {
    var policy = LockoutPolicy()
    policy.threshold = 3
    return policy
  }()
  private static let alice = LockoutName(realm: Sample.realm, key: "alice")
  private static let aliceByAddress = LockoutName(realm: Sample.realm, key: "alice@contoso.com")
  private static let object = Identifier()

  private static func admit(_ store: Store, _ name: LockoutName, at now: Instant = Sample.time) async throws -> LockoutReservation? {
    guard case .admitted(let reservation) = try await store.admit(name, policy: policy, now: now) else { return nil }
    return reservation
  }

  /// One whole try; nil where it was not admitted.
  @discardableResult
  private static func attempt(
    _ store: Store, _ name: LockoutName, _ outcome: LockoutOutcome, meaning object: Identifier? = nil, at now: Instant = Sample.time,
    audit: [AuditEvent] = []
  ) async throws -> LockoutStanding? {
    guard let reservation = try await admit(store, name, at: now) else { return nil }
    return try await store.settle(reservation, outcome: outcome, object: object, policy: policy, now: now, audit: audit)
  }

  private static let counting: [ContractSentence<Store>] = [
    .init("a name of which nothing is known has no state") { (store: Store) async throws in #expect(try await store.state(of: alice) == nil) },
    .init("as many failures as the threshold lock, and the lock is told with its end") { (store: Store) async throws in
      for _ in 0..<3 { try await attempt(store, alice, .failed) }
      #expect(try await store.admit(alice, policy: policy, now: Sample.time) == .locked(until: Sample.time.adding(policy.firstLock)))
    },
    .init("a success forgets all failures") { (store: Store) async throws in
      for _ in 0..<2 { try await attempt(store, alice, .failed) }
      #expect(try await attempt(store, alice, .succeeded) == .free)
      #expect(try await store.state(of: alice) == nil)
    },
    .init("what nobody could decide counts nothing and gives the reservation back") { (store: Store) async throws in
      for _ in 0..<20 { #expect(try await attempt(store, alice, .undecided) == .free) }
      #expect(try await store.state(of: alice) == nil)
    },
    .init("of a thousand parallel tries only as many are let through as are left") { (store: Store) async throws in
      let admitted = try await withThrowingTaskGroup(of: Bool.self) { group in
        for _ in 0..<1000 { group.addTask { try await admit(store, alice) != nil } }
        return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
      }
      #expect(admitted == 3)
    },
    .init("strangers have as many tries as the threshold, however often the person signs in beside them") { (store: Store) async throws in
      let (home, away) = (AddressMark(bytes: [192, 0, 2, 1]), AddressMark(bytes: [198, 51, 100, 1]))
      func attempt(from address: AddressMark?, _ outcome: LockoutOutcome) async throws -> Bool {
        let answer = try await store.admit(alice, from: address, knowledge: .lookedUp(.person(object)), policy: policy, now: Sample.time)
        guard case .admitted(let reservation) = answer else { return false }
        try await Task.sleep(for: .milliseconds(Int64.random(in: 0...3)))
        let standing = try await store.settle(reservation, outcome: outcome, object: object, policy: policy, now: Sample.time, audit: [])
        return standing == .free
      }
      #expect(try await attempt(from: home, .succeeded))
      let counted = try await withThrowingTaskGroup(of: Int.self) { group in
        for lane in 0..<24 {
          group.addTask {
            var counted = 0
            for _ in 0..<20 {
              let isHome = lane % 6 == 0
              if try await attempt(from: isHome ? home : away, isHome ? .succeeded : .failed), !isHome { counted += 1 }
            }
            return counted
          }
        }
        return try await group.reduce(0, +)
      }
      #expect(counted == 3)
    },
    .init("a reservation that nobody settled is released when its life is over") { (store: Store) async throws in
      for _ in 0..<3 { #expect(try await admit(store, alice) != nil) }
      #expect(try await admit(store, alice) == nil)
      #expect(try await admit(store, alice, at: Sample.time.adding(policy.reservationLife)) != nil)
    },
    .init("a reservation that had expired settles all the same") { (store: Store) async throws in
      let late = try #require(try await admit(store, alice))
      let later = Sample.time.adding(.seconds(3600))
      #expect(try await store.settle(late, outcome: .failed, object: nil, policy: policy, now: later, audit: []) == .free)
      #expect(try await store.state(of: alice)?.failures == 1)
    },
    .init("names of one key in two realms are two people") { (store: Store) async throws in
      let other = LockoutName(realm: Sample.realm("fabrikam.com"), key: "alice")
      for _ in 0..<3 { try await attempt(store, alice, .failed) }
      #expect(try await admit(store, alice) == nil)
      #expect(try await admit(store, other) != nil)
    },
    .init("names that are canonically equivalent but not the same bytes are two names") { (store: Store) async throws in
      try await attempt(store, LockoutName(realm: Sample.realm, key: "\u{e9}"), .failed)
      #expect(try await store.state(of: LockoutName(realm: Sample.realm, key: "e\u{301}")) == nil)
    },
    .init("the audit rows of a try are written with it") { (store: Store) async throws in
      try await attempt(store, alice, .failed, audit: [Sample.event(subject: "alice")])
      var query = AuditQuery()
      query.subject = "alice"
      #expect(try await store.find(query).count == 1)
    },
  ]

  private static let spelling: [ContractSentence<Store>] = [
    .init("two names of one object share its count") { (store: Store) async throws in
      try await attempt(store, alice, .failed, meaning: object)
      try await attempt(store, aliceByAddress, .failed, meaning: object)
      #expect(try await store.state(of: alice)?.failures == 2)
      try await attempt(store, alice, .failed, meaning: object)
      #expect(try await admit(store, alice) == nil)
      #expect(try await admit(store, aliceByAddress) == nil)
    },
    .init("what was counted under a name moves to the object that it turns out to mean") { (store: Store) async throws in
      for _ in 0..<2 { try await attempt(store, alice, .failed) }
      try await attempt(store, aliceByAddress, .undecided, meaning: object)
      try await attempt(store, alice, .undecided, meaning: object)
      #expect(try await store.state(of: aliceByAddress)?.failures == 2)
    },
    .init("a new spelling of somebody who is locked gets the answer of the lock, right or wrong, and the right one lifts nothing") {
      (store: Store) async throws in
      for _ in 0..<3 { try await attempt(store, alice, .failed, meaning: object) }
      let until = Sample.time.adding(policy.firstLock)
      #expect(try await attempt(store, aliceByAddress, .succeeded, meaning: object) == .locked(until: until))
      let third = LockoutName(realm: Sample.realm, key: "contoso\\alice")
      #expect(try await attempt(store, third, .failed, meaning: object) == .locked(until: until))
      #expect(try await store.admit(alice, policy: policy, now: Sample.time) == .locked(until: until))
    },
    .init("a sign-in that the lock refused after all is told so in the audit") { (store: Store) async throws in
      for _ in 0..<3 { try await attempt(store, alice, .failed, meaning: object) }
      var event = Sample.event(subject: "alice@contoso.com")
      event.outcome = "accepted"
      try await attempt(store, aliceByAddress, .succeeded, meaning: object, audit: [event])
      var query = AuditQuery()
      query.subject = "alice@contoso.com"
      #expect(try await store.find(query).map(\.event.outcome) == ["refused:lockedOut"])
    },
    .init("a name that the directory gave to another object counts there from then on, and leaves no reservation behind") {
      (store: Store) async throws in
      let successor = Identifier()
      try await attempt(store, alice, .failed, meaning: object)
      try await attempt(store, alice, .failed, meaning: successor)
      try await attempt(store, aliceByAddress, .undecided, meaning: object)
      #expect(try await store.state(of: alice)?.failures == 1)
      #expect(
        try await store.state(of: aliceByAddress)
          == {
            var one = LockoutState()
            one.strangers.failures = 1
            one.strangers.lastFailure = Sample.time
            return one
          }())
    },
    .init("unlocking by any name of the object unlocks it under all") { (store: Store) async throws in
      try await attempt(store, aliceByAddress, .failed, meaning: object)
      for _ in 0..<2 { try await attempt(store, alice, .failed, meaning: object) }
      #expect(try await admit(store, alice) == nil)
      try await store.unlock(aliceByAddress, audit: [Sample.event(.userUnlocked)])
      #expect(try await admit(store, alice) != nil)
    },
  ]

  private static let barring: [ContractSentence<Store>] = [
    .init("a blocked name is refused at once, also where nothing was known of it") { (store: Store) async throws in
      try await store.setBlocked(true, alice, now: Sample.time, audit: [Sample.event(.userBlocked)])
      #expect(try await store.admit(alice, policy: policy, now: Sample.time) == .blocked)
      #expect(try await store.state(of: alice)?.blocked == true)
    },
    .init("a block of one name of the object holds for all, and is lifted by any") { (store: Store) async throws in
      try await attempt(store, alice, .succeeded, meaning: object)
      try await attempt(store, aliceByAddress, .succeeded, meaning: object)
      try await store.setBlocked(true, alice, now: Sample.time, audit: [])
      #expect(try await store.admit(aliceByAddress, policy: policy, now: Sample.time) == .blocked)
      try await store.setBlocked(false, aliceByAddress, now: Sample.time, audit: [])
      #expect(try await admit(store, alice) != nil)
    },
    .init("a new spelling of somebody who is blocked is refused when it is settled") { (store: Store) async throws in
      try await attempt(store, alice, .succeeded, meaning: object)
      try await store.setBlocked(true, alice, now: Sample.time, audit: [])
      #expect(try await attempt(store, aliceByAddress, .succeeded, meaning: object) == .blocked)
      #expect(try await store.admit(aliceByAddress, policy: policy, now: Sample.time) == .blocked)
    },
    .init("a try under way when the name is blocked is refused when it is settled") { (store: Store) async throws in
      let reservation = try #require(try await admit(store, alice))
      try await store.setBlocked(true, alice, now: Sample.time, audit: [])
      let standing = try await store.settle(
        reservation, outcome: .succeeded, object: object, policy: policy, now: Sample.time, audit: [])
      #expect(standing == .blocked)
    },
    .init("an unlock does not lift a block, and lifting a block does not unlock") { (store: Store) async throws in
      for _ in 0..<3 { try await attempt(store, alice, .failed) }
      try await store.setBlocked(true, alice, now: Sample.time, audit: [])
      try await store.unlock(alice, audit: [])
      #expect(try await store.admit(alice, policy: policy, now: Sample.time) == .blocked)
      try await store.setBlocked(false, alice, now: Sample.time, audit: [])
      for _ in 0..<3 { try await attempt(store, alice, .failed) }
      try await store.setBlocked(true, alice, now: Sample.time, audit: [])
      try await store.setBlocked(false, alice, now: Sample.time, audit: [])
      #expect(try await admit(store, alice) == nil)
    },
    .init("who is locked or blocked is listed, once, with a name") { (store: Store) async throws in
      let bob = LockoutName(realm: Sample.realm, key: "bob")
      for _ in 0..<3 { try await attempt(store, alice, .failed, meaning: object) }
      try await attempt(store, aliceByAddress, .undecided, meaning: object)
      try await store.setBlocked(true, bob, now: Sample.time, audit: [])
      try await attempt(store, LockoutName(realm: Sample.realm, key: "carol"), .failed)
      let people = try await store.locked(now: Sample.time, limit: 10)
      #expect(people.map(\.key) == ["alice", "bob"])
      #expect(people.map(\.object) == [object, nil])
      #expect(try await store.locked(now: Sample.time, limit: 1).count == 1)
      #expect(try await store.locked(now: Sample.time.adding(.seconds(7200)), limit: 10).map(\.key) == ["bob"])
    },
  ]

  private static let housekeeping: [ContractSentence<Store>] = [
    .init("what says nothing any more is forgotten; blocks and what still counts stay") { (store: Store) async throws in
      let bob = LockoutName(realm: Sample.realm, key: "bob")
      let carol = LockoutName(realm: Sample.realm, key: "carol")
      let later = Sample.time.adding(policy.window + policy.longestLock + .seconds(1))
      try await attempt(store, alice, .failed)
      try await attempt(store, aliceByAddress, .failed, meaning: object)
      try await store.setBlocked(true, bob, now: Sample.time, audit: [])
      try await attempt(store, carol, .failed, at: later)
      #expect(try await store.forgetIdle(policy: policy, now: later) == 2)
      #expect(try await store.state(of: alice) == nil)
      #expect(try await store.state(of: aliceByAddress) == nil)
      #expect(try await store.state(of: bob)?.blocked == true)
      #expect(try await store.state(of: carol)?.failures == 1)
      #expect(try await store.forgetIdle(policy: policy, now: later) == 0)
    },
    .init("a name of 64 kB with quotes, NUL and SQL in it is a name like others") { (store: Store) async throws in
      for key in [String(repeating: "x", count: 65_536), "'); DROP TABLE lockout_name; --", "a\u{0}b", "$1 ?1 :a \\", "\u{202e}\r\n"] {
        let name = LockoutName(realm: Sample.realm, key: key)
        try await attempt(store, name, .failed)
        #expect(try await store.state(of: name)?.failures == 1)
      }
      #expect(try await store.state(of: LockoutName(realm: Sample.realm, key: "a")) == nil)
    },
  ]
}
