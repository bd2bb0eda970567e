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
          try await turnstile.enter(deadline: Deadline(after: .seconds(30)))
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
    try await turnstile.enter(deadline: Deadline(after: .seconds(5)))
    await #expect(throws: LDAPFault.noTime) { try await turnstile.enter(deadline: Deadline(after: .milliseconds(50))) }
    turnstile.leave()
    try await turnstile.enter(deadline: Deadline(after: .milliseconds(50)))
    turnstile.leave()
  }

  @Test("Beyond the number that may wait, the answer comes at once")
  func overload() async throws {
    let turnstile = try turnstile(limit: 1, waiting: 0)
    try await turnstile.enter(deadline: Deadline(after: .seconds(5)))
    await #expect(throws: LDAPFault.overloaded) { try await turnstile.enter(deadline: Deadline(after: .seconds(5))) }
  }

  @Test("A cancelled wait ends at once, and the place is not lost")
  func cancellation() async throws {
    let turnstile = try turnstile(limit: 1)
    try await turnstile.enter(deadline: Deadline(after: .seconds(30)))
    let waiting = Task { try await turnstile.enter(deadline: Deadline(after: .seconds(30))) }
    try await Task.sleep(for: .milliseconds(20))
    waiting.cancel()
    await #expect(throws: LDAPFault.noTime) { try await waiting.value }
    turnstile.leave()
    try await turnstile.enter(deadline: Deadline(after: .seconds(1)))
  }
}
