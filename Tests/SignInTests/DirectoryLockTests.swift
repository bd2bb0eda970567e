import Bytes
import GatehouseTesting
import Identity
import SignIn
import Testing

let contosoRealm = RealmName("contoso.com") ?? { preconditionFailure("contoso.com is a realm's name") }()

/// Domain controllers that count as AD does: each for itself, the PDC emulator for all where wrong passwords are forwarded to it.
private struct SimulatedDirectory {
  struct Server {
    var count = 0
    var lastWrong: Instant?
    var isLocked = false

    func effectiveCount(_ policy: DirectoryLockoutPolicy, now: Instant) -> Int {
      guard let lastWrong, now.since(lastWrong) <= policy.window else { return 0 }
      return count
    }
  }

  let policy: DirectoryLockoutPolicy
  let forwards: Bool
  var servers: [Server]

  mutating func bind(at index: Int, isRight: Bool, now: Instant) {
    for server in Set(forwards ? [index, 0] : [index]) {
      if isRight {
        servers[server].count = 0
        continue
      }
      servers[server].count = servers[server].effectiveCount(policy, now: now) + 1
      servers[server].lastWrong = now
      if servers[server].count >= policy.threshold { servers[server].isLocked = true }
    }
  }

  /// What an agent reads that is about to bind at `index`.
  func read(at index: Int, now: Instant) -> (count: Int, ago: Int64?) {
    let seen = [servers[index], servers[0]]
    let ago = seen.compactMap(\.lastWrong).max().map { now.since($0).components.seconds * 1000 }
    return (seen.map { $0.effectiveCount(policy, now: now) }.max() ?? 0, ago)
  }
}

/// A question under way, on some agent.
private struct UnderWay {
  var reservation: LockoutReservation
  var isRight: Bool
  var server: Int
  var admitted: Instant
  var facts: LockoutFacts?
  var isBound = false
}

@Suite struct `Over any number of agents and whatever the interleaving, a directory` {
  private static let name = LockoutName(realm: contosoRealm, key: "alice")
  private static let home = AddressMark(bytes: [192, 0, 2, 1])

  @Test(arguments: [(2, true), (3, true), (3, false), (5, true), (5, false), (10, true), (10, false), (50, true)])
  func `is never locked by us, and at home a right password gets in while two tries are left`(threshold: Int, forwards: Bool) throws {
    var generator = SeededGenerator(seed: UInt64(threshold * 2 + (forwards ? 1 : 0)))
    for _ in 0..<60 {
      try run(threshold: threshold, forwards: forwards, &generator)
    }
  }

  private func run(threshold: Int, forwards: Bool, _ generator: inout SeededGenerator) throws {
    let policy = DirectoryLockoutPolicy(threshold: threshold, window: .seconds(600), lock: .seconds(1800))
    var directory = SimulatedDirectory(policy: policy, forwards: forwards, servers: .init(repeating: .init(), count: 3))
    var own = LockoutPolicy()
    own.threshold = 100  // out of the way: only the directory's own limit shall hold
    own.directory = policy
    var state = LockoutState()
    let home = try #require(Self.home)
    state.addresses = [FamiliarAddress(mark: home, seen: Instant(milliseconds: 0))]
    var now = Instant(milliseconds: 3_600_000)
    var open: [UnderWay] = []
    /// Binds that were sent and that their server has not looked at yet; nobody waits for them any more.
    var stuck: [(server: Int, until: Instant)] = []
    let hangs = Bool.random(using: &generator)

    for _ in 0..<400 {
      switch Int.random(in: 0..<12, using: &generator) {
      case 0...3:
        let address = Int.random(in: 0..<4, using: &generator) == 0 ? home : nil
        let admission = Lockout.admit(&state, name: Self.name, id: Identifier(), from: address, policy: own, now: now)
        guard case .admitted(let reservation) = admission else { continue }
        open.append(
          UnderWay(
            reservation: reservation, isRight: Int.random(in: 0..<30, using: &generator) == 0,
            server: Int.random(in: 0..<3, using: &generator), admitted: now))
      case 4...9:
        guard !open.isEmpty else { continue }
        let index = Int.random(in: 0..<open.count, using: &generator)
        var question = open[index]
        func end(_ outcome: LockoutOutcome) {
          let shown = Lockout.shown(question.reservation, facts: question.facts, now: now)
          _ = Lockout.settle(&state, question.reservation, outcome: outcome, shown: shown, policy: own, now: now)
          open.remove(at: index)
        }
        guard now.since(question.admitted) < .seconds(8) || question.isBound else {
          end(.undecided)
          continue
        }
        if question.facts == nil {
          let (count, ago) = directory.read(at: question.server, now: now)
          question.facts = LockoutFacts(count: count, lastWrongMillisecondsAgo: ago, bindSent: false)
          let allowance = TryAllowance(
            expected: nil, undecided: question.reservation.undecided, charged: question.reservation.charges.count,
            isFamiliar: question.reservation.isFamiliar)
          switch policy.decide(count: count, allowance: allowance) {
          case .ask, .probe: open[index] = question
          case .wait, .keep: end(.undecided)
          }
        } else if !question.isBound {
          switch hangs ? Int.random(in: 0..<8, using: &generator) : 7 {
          case 0:  // the server hangs: it looks at the bind when everybody has given up, or never
            stuck.append((question.server, question.admitted.adding(.seconds(50))))
            end(.mayHaveCounted)
          case 1:  // the gateway's process dies with the question
            directory.bind(at: question.server, isRight: question.isRight, now: now)
            open.remove(at: index)
          default:
            directory.bind(at: question.server, isRight: question.isRight, now: now)
            question.isBound = true
            open[index] = question
          }
        } else {
          end(question.isRight ? .succeeded : .failed)
        }
      case 10:
        guard let late = stuck.indices.randomElement(using: &generator) else { continue }
        let bind = stuck.remove(at: late)
        if bind.until > now { directory.bind(at: bind.server, isRight: false, now: now) }
      default:
        // Nothing under way outlives its reservation.
        let pause = open.isEmpty && stuck.isEmpty ? Int.random(in: 0...900, using: &generator) : Int.random(in: 0...3, using: &generator)
        let oldest = open.map { now.since($0.admitted) }.max() ?? .zero
        now = now.adding(oldest + .seconds(pause) < .seconds(55) ? .seconds(pause) : .zero)
      }
      if directory.servers.contains(where: \.isLocked) {
        Issue.record("locked: \(directory.servers), \(state)")
        return
      }
    }

    // Everybody is done. At home the right password gets in, unless the directory's count, or what it may have counted, leaves one try.
    for question in open where question.isBound {
      _ = Lockout.settle(&state, question.reservation, outcome: .failed, policy: own, now: now)
    }
    now = now.adding(own.reservationLife)
    guard case .admitted(let last) = Lockout.admit(&state, name: Self.name, id: Identifier(), from: home, policy: own, now: now) else {
      Issue.record("not admitted from home: \(state)")
      return
    }
    for server in 0..<3 {
      let count = directory.read(at: server, now: now).count
      let allowance = TryAllowance(expected: nil, undecided: last.undecided, charged: last.charges.count, isFamiliar: true)
      let decision = policy.decide(count: count, allowance: allowance)
      let mayGoAhead = count + last.charges.count < threshold - 1
      #expect((decision == .ask || decision == .probe) == mayGoAhead, "count \(count), \(last.charges.count) charged: \(decision)")
    }
  }

  @Test func `that never locks is asked always, and one that locks at the first wrong password is asked with nothing in reserve`() {
    let never = DirectoryLockoutPolicy(threshold: 0, window: .seconds(60), lock: nil)
    #expect(never.decide(count: 1000, allowance: TryAllowance(expected: nil, undecided: 50, charged: 50)) == .ask)
    let first = DirectoryLockoutPolicy(threshold: 1, window: .seconds(60), lock: nil)
    #expect((first.reserve, first.mostTries, first.mostFamiliarTries) == (0, 1, 1))
    for (threshold, reserve, tries, familiar) in [(2, 1, 1, 1), (3, 2, 1, 2), (5, 2, 3, 4), (10, 2, 8, 9)] {
      let policy = DirectoryLockoutPolicy(threshold: threshold, window: .seconds(60), lock: nil)
      #expect((policy.reserve, policy.mostTries, policy.mostFamiliarTries) == (reserve, tries, familiar))
    }
  }

  @Test func `whose count leaves room for one is not asked twice at once, and whose count leaves none is not asked at all`() {
    let policy = DirectoryLockoutPolicy(threshold: 5, window: .seconds(60), lock: nil)
    func decide(_ count: Int, undecided: Int = 0, charged: Int = 0, familiar: Bool = false) -> TryDecision {
      policy.decide(count: count, allowance: TryAllowance(expected: nil, undecided: undecided, charged: charged, isFamiliar: familiar))
    }
    #expect(decide(2) == .ask)
    #expect(decide(2, undecided: 1) == .wait)
    #expect(decide(2, charged: 1) == .keep)
    #expect(decide(3) == .keep)
    #expect(decide(3, familiar: true) == .probe)
    #expect(decide(3, undecided: 1, familiar: true) == .wait)
    #expect(decide(4, familiar: true) == .keep)
    for number in [Int.max, Int.min] {
      #expect(decide(Int.max, undecided: number, charged: number) == .keep)
      #expect(decide(0, undecided: number, familiar: true) == (number > 0 ? .wait : .ask))
    }
  }
}

@Suite struct `Our own lockout` {
  @Test(arguments: [(3, 30), (5, 30), (10, 30), (10, 10), (50, 1439), (1, 30), (2, 30)])
  func `is drawn in to what the directory lets stand`(threshold: Int, minutes: Int) {
    let directory = DirectoryLockoutPolicy(threshold: threshold, window: .seconds(minutes * 60), lock: nil)
    var generous = LockoutPolicy()
    generous.threshold = 100
    generous.firstLock = .seconds(1)
    generous.longestLock = .seconds(1)
    for policy in [LockoutPolicy(), generous] {
      let clamped = policy.clamped(to: directory)
      #expect(!clamped.contradicts(directory))
      #expect(clamped.mostFailures(within: directory.window) <= max(1, directory.mostTries))
      #expect(clamped.threshold <= policy.threshold)
    }
  }

  @Test func `stays as it is where it does not contradict the directory, or the directory never locks`() {
    var policy = LockoutPolicy()
    policy.threshold = 4
    for threshold in [0, 20] {
      var expected = policy
      expected.directory = DirectoryLockoutPolicy(threshold: threshold, window: .seconds(1800), lock: nil)
      #expect(policy.clamped(to: DirectoryLockoutPolicy(threshold: threshold, window: .seconds(1800), lock: nil)) == expected)
    }
  }
}

@Suite struct `Strangers and familiar addresses` {
  private let name = LockoutName(realm: contosoRealm, key: "alice")
  private let now = Instant(milliseconds: 1_767_225_600_000)
  private let home = AddressMark(bytes: [192, 0, 2, 1])
  private let elsewhere = AddressMark(bytes: [198, 51, 100, 7])

  private func attempt(_ state: inout LockoutState, from address: AddressMark?, _ outcome: LockoutOutcome, at now: Instant) -> Bool {
    guard case .admitted(let reservation) = Lockout.admit(&state, name: name, id: Identifier(), from: address, policy: LockoutPolicy(), now: now)
    else { return false }
    _ = Lockout.settle(&state, reservation, outcome: outcome, policy: LockoutPolicy(), now: now)
    return true
  }

  @Test func `are locked apart`() {
    var state = LockoutState()
    #expect(attempt(&state, from: home, .succeeded, at: now))
    for _ in 0..<10 { #expect(attempt(&state, from: elsewhere, .failed, at: now)) }
    #expect(!attempt(&state, from: elsewhere, .succeeded, at: now) && !attempt(&state, from: nil, .succeeded, at: now))
    #expect(attempt(&state, from: home, .succeeded, at: now))
    #expect(state.strangers.lockedUntil != nil)
    var other = LockoutState()
    #expect(attempt(&other, from: home, .succeeded, at: now))
    for _ in 0..<10 { #expect(attempt(&other, from: home, .failed, at: now)) }
    #expect(!attempt(&other, from: home, .succeeded, at: now))
    #expect(attempt(&other, from: elsewhere, .succeeded, at: now))
  }

  @Test func `are told apart by the last eight addresses of ninety days, written once a day`() {
    var state = LockoutState()
    for index in 0..<12 { #expect(attempt(&state, from: AddressMark(bytes: [10, 0, 0, UInt8(index)]), .succeeded, at: now)) }
    #expect(state.addresses.map(\.mark.bytes) == (4..<12).map { [10, 0, 0, UInt8($0)] })
    let last = AddressMark(bytes: [10, 0, 0, 11])
    let before = state.addresses
    #expect(attempt(&state, from: last, .succeeded, at: now.adding(.seconds(3600))))
    #expect(state.addresses == before)
    #expect(attempt(&state, from: last, .succeeded, at: now.adding(.seconds(90_000))))
    #expect(state.addresses.last?.seen == now.adding(.seconds(90_000)))
    #expect(state.knows(last, now: now.adding(.seconds(90 * 86_400))))
    #expect(!state.knows(AddressMark(bytes: [10, 0, 0, 4]), now: now.adding(.seconds(90 * 86_400))))
    #expect(AddressMark(bytes: [1, 2, 3]) == nil)
    #expect(IPAddress("2001:db8::1").map(AddressMark.init) == IPAddress("2001:db8::2").map(AddressMark.init))
  }
}

@Suite struct `A try of which nobody heard` {
  private let name = LockoutName(realm: contosoRealm, key: "alice")
  private let now = Instant(milliseconds: 1_767_225_600_000)
  private let policy: LockoutPolicy = {
    var policy = LockoutPolicy()
    policy.directory = DirectoryLockoutPolicy(threshold: 10, window: .seconds(600), lock: nil)
    return policy
  }()

  private func admit(_ state: inout LockoutState, at now: Instant) throws -> LockoutReservation {
    guard case .admitted(let reservation) = Lockout.admit(&state, name: name, id: Identifier(), policy: policy, now: now) else {
      throw StoreError.conflict("not admitted")
    }
    return reservation
  }

  @Test func `is held against the person until the directory has forgotten it`() throws {
    var state = LockoutState()
    _ = Lockout.settle(&state, try admit(&state, at: now), outcome: .mayHaveCounted, policy: policy, now: now.adding(.seconds(8)))
    let during = try admit(&state, at: now.adding(.seconds(600)))
    #expect(during.charges.count == 1)
    _ = Lockout.settle(&state, during, outcome: .undecided, policy: policy, now: now.adding(.seconds(601)))
    #expect(state.failures == 0)
    let reservation = try admit(&state, at: now.adding(.seconds(661)))
    #expect(reservation.charges.isEmpty)
  }

  @Test func `is held too where its gateway died with it`() throws {
    var state = LockoutState()
    _ = try admit(&state, at: now)
    #expect(try admit(&state, at: now.adding(.seconds(30))).undecided == 1)
    let later = try admit(&state, at: now.adding(.seconds(61)))
    #expect(later.charges.count == 1)
  }

  @Test func `is forgotten when the directory's count was seen to contain it, and only then`() throws {
    var state = LockoutState()
    let lost = try admit(&state, at: now)
    _ = Lockout.settle(&state, lost, outcome: .mayHaveCounted, policy: policy, now: now.adding(.seconds(8)))
    let later = now.adding(.seconds(20))
    let next = try admit(&state, at: later)
    func facts(_ count: Int, ago: Int64?) -> LockoutFacts { LockoutFacts(count: count, lastWrongMillisecondsAgo: ago, bindSent: true) }
    #expect(Lockout.shown(next, facts: facts(1, ago: 30_000), now: later) == nil)
    #expect(Lockout.shown(next, facts: facts(0, ago: 10_000), now: later) == nil)
    #expect(Lockout.shown(next, facts: nil, now: later) == nil)
    let shown = try #require(Lockout.shown(next, facts: facts(1, ago: 15_000), now: later))
    _ = Lockout.settle(&state, next, outcome: .failed, shown: shown, policy: policy, now: later)
    #expect(state.charges.isEmpty)
    // With another wrong password between, nobody can say which of the two the directory counted.
    let second = try admit(&state, at: later)
    _ = Lockout.settle(&state, try admit(&state, at: later), outcome: .failed, policy: policy, now: later)
    _ = Lockout.settle(&state, second, outcome: .mayHaveCounted, policy: policy, now: later)
    #expect(Lockout.shown(try admit(&state, at: later), facts: facts(3, ago: 0), now: later) == nil)
  }
}
