import Bytes
import GatehouseTesting
import Identity
import SignIn
import Testing

/// One person's lockout, driven by sentences.
private final class Person {
  var state = LockoutState()
  var policy = LockoutPolicy()
  var now = Instant(milliseconds: 1_767_225_600_000)
  static let name = LockoutName(realm: RealmName("contoso.com") ?? { preconditionFailure() }(), key: "alice")

  func admit() -> LockoutAdmission { Lockout.admit(&state, name: Person.name, id: Identifier(), policy: policy, now: now) }

  /// The try, or nil where it was refused.
  func begin() -> LockoutReservation? {
    guard case .admitted(let reservation) = admit() else { return nil }
    return reservation
  }

  @discardableResult
  func end(_ reservation: LockoutReservation, _ outcome: LockoutOutcome) -> LockoutStanding {
    Lockout.settle(&state, reservation, outcome: outcome, policy: policy, now: now)
  }

  /// One whole try; whether it was let through.
  @discardableResult
  func attempt(_ outcome: LockoutOutcome) -> Bool {
    guard let id = begin() else { return false }
    end(id, outcome)
    return true
  }

  func wait(_ duration: Duration) { now = now.adding(duration) }
}

@Suite struct `The lockout` {
  private let person = Person()

  @Test func `lets as many wrong passwords through as the threshold, then locks for the first lock's time`() {
    for _ in 0..<10 { #expect(person.attempt(.failed)) }
    #expect(person.admit() == .locked(until: person.now.adding(.seconds(60))))
    person.wait(.milliseconds(59_999))
    #expect(!person.attempt(.succeeded))
    person.wait(.milliseconds(1))
    #expect(person.attempt(.succeeded))
  }

  @Test func `after a lock gives one try, and locks twice as long when it fails, up to the longest`() {
    for _ in 0..<10 { person.attempt(.failed) }
    for minutes in [1, 2, 4, 8, 16, 30, 30, 30] {
      guard case .locked(let until) = person.admit() else {
        Issue.record("not locked")
        return
      }
      #expect(until.since(person.now) == .seconds(60 * minutes))
      person.wait(until.since(person.now))
      let one = person.begin()
      #expect(one != nil && person.begin() == nil)
      if let one { person.end(one, .failed) }
    }
  }

  @Test func `leaves no try where failures were counted before a stricter directory was known, and lets people try again when the window has passed`()
  {
    for _ in 0..<6 { #expect(person.attempt(.failed)) }
    // An agent tells only now that the directory locks at five.
    person.policy.threshold = 3
    #expect(person.admit() == .kept(isFamiliar: false))
    person.wait(person.policy.window + .seconds(1))
    #expect(person.attempt(.succeeded))
  }

  @Test func `forgets everything with a success`() {
    for _ in 0..<10 { person.attempt(.failed) }
    person.wait(.seconds(61))
    person.attempt(.succeeded)
    #expect(person.state.isBlank)
    for _ in 0..<10 { #expect(person.attempt(.failed)) }
    #expect(person.admit() == .locked(until: person.now.adding(.seconds(60))))
  }

  @Test func `never counts what nobody could find out`() {
    for _ in 0..<1000 { #expect(person.attempt(.undecided)) }
    #expect(person.state.isBlank)
    for _ in 0..<9 { person.attempt(.failed) }
    for _ in 0..<1000 { #expect(person.attempt(.undecided)) }
    #expect(person.state.failures == 9)
  }

  @Test func `forgets failures after a quiet window, and the growth of the lock after a longer one`() {
    for _ in 0..<9 { person.attempt(.failed) }
    person.wait(.seconds(30 * 60 + 1))
    for _ in 0..<10 { #expect(person.attempt(.failed)) }
    person.wait(.seconds(60))
    person.attempt(.failed)
    person.wait(.seconds(60 * 60))
    #expect(person.attempt(.failed))
    #expect(person.admit() == .locked(until: person.now.adding(.seconds(240))))
    person.wait(.seconds(60 * 60 + 1))
    for _ in 0..<10 { #expect(person.attempt(.failed)) }
    #expect(person.admit() == .locked(until: person.now.adding(.seconds(60))))
  }

  @Test func `gives a thousand parallel tries not one more than serial ones`() {
    for already in 0..<10 {
      let person = Person()
      for _ in 0..<already { person.attempt(.failed) }
      let admitted = (0..<1000).compactMap { _ in person.begin() }
      #expect(admitted.count == 10 - already)
      for id in admitted { person.end(id, .failed) }
      #expect(person.begin() == nil && person.state.locks == 1)
    }
  }

  @Test func `holds a try that nobody settles for a while only`() {
    for _ in 0..<10 { #expect(person.begin() != nil) }
    #expect(person.begin() == nil)
    person.wait(person.policy.reservationLife)
    #expect(person.begin() != nil)
  }

  @Test func `is not lifted by a guess that was right while it stood, and not doubled by one that was wrong`() {
    let early = person.begin()
    for _ in 0..<9 { person.attempt(.failed) }
    let other = person.begin()
    #expect(other == nil)
    guard let early else { return }
    // The tenth failure comes from elsewhere: what was counted under another name of the person.
    var elsewhere = LockoutState()
    elsewhere.strangers.failures = 5
    elsewhere.strangers.lastFailure = person.now
    Lockout.merge(elsewhere, into: &person.state, policy: person.policy, now: person.now)
    let until = person.now.adding(.seconds(60))
    #expect(Lockout.standing(of: person.state, now: person.now) == .locked(until: until))
    #expect(person.end(early, .succeeded) == .locked(until: until))
    #expect(person.end(LockoutReservation(id: Identifier(), name: Person.name), .failed) == .locked(until: until))
    #expect(person.admit() == .locked(until: until))
    #expect(person.state.locks == 1)
  }

  @Test func `lets nobody in whom an administrator blocked, whatever else is forgotten`() {
    person.state.blocked = true
    #expect(person.admit() == .blocked)
    Lockout.unlock(&person.state)
    person.wait(.seconds(1_000_000_000))
    #expect(person.admit() == .blocked)
    #expect(person.end(LockoutReservation(id: Identifier(), name: Person.name), .succeeded) == .blocked)
  }

  @Test func `survives a clock that jumps: nobody stays locked for longer than the longest lock`() {
    person.wait(.seconds(400 * 86_400))
    for _ in 0..<10 { person.attempt(.failed) }
    person.wait(.seconds(-400 * 86_400))
    guard case .locked(let until) = person.admit() else {
      Issue.record("the lock was lost")
      return
    }
    #expect(until <= person.now.adding(person.policy.longestLock))
    person.wait(person.policy.longestLock)
    #expect(person.attempt(.failed))
    for instant in [Int64.min, .max, 0] {
      person.now = Instant(milliseconds: instant)
      _ = person.attempt(.failed)
    }
  }

  @Test func `tells a refused sign-in as refused in the audit, and nothing else`() {
    let time = Instant(milliseconds: 0)
    var signIn = AuditEvent(time: time, kind: .signIn, actor: "portal", outcome: "accepted", details: ["outerCode": "x"])
    let other = AuditEvent(time: time, kind: .agentAlarm, actor: "portal", outcome: "accepted")
    let refused = Lockout.events([signIn, other], standing: .blocked, outcome: .succeeded)
    #expect(refused.map(\.outcome) == ["refused:blockedByAdministrator", "accepted"])
    #expect(refused[0].details["outerCode"] == "temporarily_locked" && refused[0].trace.last?.step == .lockout)
    signIn.outcome = "unknown:noAgent"
    #expect(Lockout.events([signIn], standing: .locked(until: time), outcome: .undecided) == [signIn])
    #expect(Lockout.events([signIn], standing: .free, outcome: .failed) == [signIn])
  }

  @Test func `joins two counts in either order to the same tries left`() {
    var generator = SeededGenerator(seed: 11)
    for _ in 0..<2000 {
      let (one, two) = (randomPerson(&generator), randomPerson(&generator))
      let now = max(one.now, two.now)
      var (first, second) = (one.state, two.state)
      Lockout.merge(two.state, into: &first, policy: one.policy, now: now)
      Lockout.merge(one.state, into: &second, policy: one.policy, now: now)
      first.strangers.reservations.sort { $0.id.bytes.lexicographicallyPrecedes($1.id.bytes) }
      second.strangers.reservations.sort { $0.id.bytes.lexicographicallyPrecedes($1.id.bytes) }
      #expect(first == second)
    }
  }

  private func randomPerson(_ generator: inout SeededGenerator) -> Person {
    let person = Person()
    for _ in 0..<Int.random(in: 0...30, using: &generator) {
      _ = person.attempt([.failed, .failed, .failed, .undecided, .succeeded].randomElement(using: &generator) ?? .failed)
      person.wait(.seconds(Int.random(in: 0...100, using: &generator)))
    }
    return person
  }
}

@Suite struct `No sequence of tries` {
  @Test(arguments: [(1, 60, 1800), (3, 60, 1800), (5, 1, 4), (10, 60, 60), (10, 1800, 1800)])
  func `shows a directory more wrong passwords in any window than the policy says`(threshold: Int, firstLock: Int, longestLock: Int) {
    var generator = SeededGenerator(seed: UInt64(threshold * 7 + firstLock))
    var policy = LockoutPolicy()
    policy.threshold = threshold
    policy.firstLock = .seconds(firstLock)
    policy.longestLock = .seconds(longestLock)
    let most = policy.mostFailures(within: policy.window)
    for _ in 0..<60 {
      let person = Person()
      person.policy = policy
      var open: [(id: LockoutReservation, begun: Instant)] = []
      var failures: [Instant] = []
      // From hammering without a pause to waiting out each lock.
      let haste = [1, 30, 600, 2000].randomElement(using: &generator) ?? 1
      for _ in 0..<1500 {
        switch Int.random(in: 0..<6, using: &generator) {
        case 0...2: if let id = person.begin() { open.append((id, person.now)) }
        case 3...4:
          guard !open.isEmpty else { continue }
          let id = open.remove(at: Int.random(in: 0..<open.count, using: &generator)).id
          let outcome: LockoutOutcome = Int.random(in: 0..<10, using: &generator) == 0 ? .undecided : .failed
          person.end(id, outcome)
          if outcome == .failed { failures.append(person.now) }
        default:
          // A try is settled within its reservation's life: that is the caller's deadline.
          let oldest = open.map(\.begun).min().map { Int(person.now.since($0).components.seconds) }
          person.wait(.seconds(Int.random(in: 0...(oldest.map { min(haste, 59 - $0) } ?? haste), using: &generator)))
        }
      }
      for (index, first) in failures.enumerated() {
        let inside = failures[index...].prefix { $0.since(first) <= policy.window }.count
        if inside > most { Issue.record("\(inside) failures in a window; \(most) were promised") }
      }
    }
  }

  @Test func `can be worse than the bound that a directory's policy is compared with`() {
    var policy = LockoutPolicy()
    // Ten at once, then one after 1, 3, 7 and 15 minutes; the next would come after 31.
    #expect(policy.mostFailures(within: .seconds(30 * 60)) == 14)
    #expect(policy.mostFailures(within: .seconds(59)) == 10)
    policy.firstLock = .seconds(31 * 60)
    policy.longestLock = .seconds(31 * 60)
    #expect(policy.mostFailures(within: .seconds(30 * 60)) == 10)
    #expect(policy.mostFailures(within: .seconds(Int64.max)) > 0)
    policy.window = .zero
    policy.firstLock = .zero
    #expect(policy.mostFailures(within: .seconds(86_400)) > 0)
  }
}
