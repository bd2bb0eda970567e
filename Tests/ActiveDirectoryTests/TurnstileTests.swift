import Identity
import Synchronization
import Testing

@testable import ActiveDirectory

/// One for all tests of this target; it lives as long as they do.
enum TestLoop {
  static let shared = Result { try DirectoryLoop() }
}

@Suite("Waiting for a connection")
struct TurnstileTests {
  private final class Inside: Sendable {
    private let state = Mutex((now: 0, most: 0))
    var counts: (now: Int, most: Int) { state.withLock { $0 } }
    func enter() { state.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1)) } }
    func leave() { state.withLock { $0.now -= 1 } }
  }

  private final class Order: Sendable {
    private let state = Mutex<[Bool]>([])
    var all: [Bool] { state.withLock { $0 } }
    func append(_ isFirst: Bool) { state.withLock { $0.append(isFirst) } }
  }

  /// For waits that end of themselves, on however loaded a machine.
  private static var ample: Deadline { Deadline(after: .seconds(600)) }

  private func turnstile(limit: Int, waiting: Int = 100) throws -> Turnstile {
    Turnstile(limit: limit, maximumWaiting: waiting, loop: try TestLoop.shared.get())
  }

  @Test("Never more than the limit are inside, and everybody gets in")
  func limit() async throws {
    let turnstile = try turnstile(limit: 3, waiting: 1000)
    let inside = Inside()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<300 {
        group.addTask {
          try await turnstile.enter(deadline: TurnstileTests.ample)
          inside.enter()
          await Task.yield()
          inside.leave()
          turnstile.leave()
        }
      }
      try await group.waitForAll()
    }
    #expect(inside.counts.now == 0)
    #expect((1...3).contains(inside.counts.most))
  }

  @Test("Who waits leaves at the deadline, and the place is not lost")
  func deadline() async throws {
    let turnstile = try turnstile(limit: 1)
    try await turnstile.enter(deadline: TurnstileTests.ample)
    await #expect(throws: LDAPFault.noTime) { try await turnstile.enter(deadline: Deadline(after: .milliseconds(50))) }
    turnstile.leave()
    try await turnstile.enter(deadline: Deadline(after: .milliseconds(50)))
    turnstile.leave()
  }

  @Test("Beyond the number that may wait, the answer comes at once")
  func overload() async throws {
    let turnstile = try turnstile(limit: 1, waiting: 0)
    try await turnstile.enter(deadline: TurnstileTests.ample)
    await #expect(throws: LDAPFault.overloaded) { try await turnstile.enter(deadline: TurnstileTests.ample) }
  }

  @Test("A cancelled wait ends at once, and the place is not lost")
  func cancellation() async throws {
    let turnstile = try turnstile(limit: 1)
    try await turnstile.enter(deadline: TurnstileTests.ample)
    let waiting = Task { try await turnstile.enter(deadline: TurnstileTests.ample) }
    try await Task.sleep(for: .milliseconds(20))
    waiting.cancel()
    await #expect(throws: LDAPFault.noTime) { try await waiting.value }
    turnstile.leave()
    try await turnstile.enter(deadline: Deadline(after: .seconds(1)))
  }

  /// What enters, in its order, while everybody who waits was there before the first place became free.
  private func order(first: Int, others: Int, limit: Int = 1) async throws -> [Bool] {
    let turnstile = try turnstile(limit: limit, waiting: 1000)
    let entered = Order()
    for _ in 0..<limit { try await turnstile.enter(deadline: TurnstileTests.ample) }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for isFirst in Array(repeating: false, count: others) + Array(repeating: true, count: first) {
        let before = turnstile.counts.waiting
        group.addTask {
          try await Precedence.$isFirst.withValue(isFirst) {
            try await turnstile.enter(deadline: TurnstileTests.ample)
            entered.append(isFirst)
            turnstile.leave()
          }
        }
        while turnstile.counts.waiting == before { await Task.yield() }
      }
      for _ in 0..<limit { turnstile.leave() }
      try await group.waitForAll()
    }
    return entered.all
  }

  @Test("People at familiar addresses go first, whenever they came, but after seven of them one of the others")
  func precedence() async throws {
    let order = try await order(first: 20, others: 30)
    #expect(order.count == 50)
    #expect(
      Array(order.prefix(24)) == Array(repeating: true, count: 7) + [false] + Array(repeating: true, count: 7) + [false]
        + Array(repeating: true, count: 6)
        + [false, false])
  }

  @Test("While people at familiar addresses come, the others leave a quarter of the places free for them")
  func share() async throws {
    let turnstile = try turnstile(limit: 8)
    try await Precedence.$isFirst.withValue(true) {
      try await turnstile.enter(deadline: TurnstileTests.ample)
      turnstile.leave()
    }
    for _ in 0..<6 { try await turnstile.enter(deadline: TurnstileTests.ample) }
    await #expect(throws: LDAPFault.noTime) { try await turnstile.enter(deadline: Deadline(after: .milliseconds(50))) }
    try await Precedence.$isFirst.withValue(true) { for _ in 0..<2 { try await turnstile.enter(deadline: Deadline(after: .milliseconds(50))) } }
    #expect(turnstile.counts.inside == 8)
  }

  @Test("Where no such people come the others have all places")
  func alone() async throws {
    let turnstile = try turnstile(limit: 8)
    for _ in 0..<8 { try await turnstile.enter(deadline: Deadline(after: .milliseconds(50))) }
    #expect(turnstile.counts.inside == 8)
  }
}
