import Identity
import Synchronization

/// Kept connections to one server for one purpose, bounded.
///
/// A connection that failed is let go; one that answered goes back, the most recently used first, so that spare ones grow old and end.
final class ConnectionPool: Sendable {
  private struct Idle {
    var connection: LDAPConnection
    var descriptor: Int32
    var since: ContinuousClock.Instant
    var generation: Int
  }

  private struct State {
    var idle: [Idle] = []
    var generation = 0
  }

  private let turnstile: Turnstile
  private let maximumIdle: Duration
  private let state = Mutex(State())
  private let open: @Sendable (Deadline) async throws(LDAPFault) -> (LDAPConnection, descriptor: Int32)

  /// - Parameter open: makes a connection that is ready for its purpose.
  init(
    turnstile: Turnstile, maximumIdle: Duration,
    open: @escaping @Sendable (Deadline) async throws(LDAPFault) -> (LDAPConnection, descriptor: Int32)
  ) {
    self.turnstile = turnstile
    self.maximumIdle = maximumIdle
    self.open = open
  }

  /// A connection for the length of `body`. What `body` throws decides whether the connection is kept: a `.result` is an answer like any other.
  ///
  /// - Parameters:
  ///   - opening: how long a new connection may take to be made, where it has to be made; within the deadline.
  ///   - isLast: nobody else could be asked. Otherwise no more wait than are inside: a server that answers slowly must not hold up questions that
  ///     another could answer.
  ///
  /// `begun` is told right before `body` gets the connection: what was thrown before cannot have reached the server's judgement.
  func lend<Value: Sendable>(
    deadline: Deadline, opening: Duration? = nil, isLast: Bool = true, begun: () -> Void = {},
    _ body: (LDAPConnection) async throws(LDAPFault) -> Value
  ) async throws(LDAPFault) -> Value {
    try await turnstile.enter(deadline: deadline, isPatient: isLast)
    defer { turnstile.leave() }
    let (connection, descriptor, generation) = try await connection(deadline: deadline, opening: opening)
    begun()
    do throws(LDAPFault) {
      let value = try await body(connection)
      keep(Idle(connection: connection, descriptor: descriptor, since: .now, generation: generation))
      return value
    } catch {
      if case .result(let result) = error, result.code != 1 {  // operationsError: AD's word for "this session is not bound"
        keep(Idle(connection: connection, descriptor: descriptor, since: .now, generation: generation))
      }
      throw error
    }
  }

  /// How many connections are in use, and how many questions wait for one.
  var counts: (inside: Int, waiting: Int) { turnstile.counts }

  /// Sends the questions away that wait for a connection: the server went out of use.
  func turnAway() { turnstile.turnAway() }

  /// A new connection for `body`, beside those that questions may use, and closed behind it: a probe must not wait behind what hangs.
  func probe<Value: Sendable>(deadline: Deadline, _ body: (LDAPConnection) async throws(LDAPFault) -> Value) async throws(LDAPFault) -> Value {
    try await body(try await open(deadline).0)
  }

  private func connection(deadline: Deadline, opening: Duration?) async throws(LDAPFault) -> (LDAPConnection, Int32, generation: Int) {
    while true {
      let (candidate, generation) = state.withLock { ($0.idle.popLast(), $0.generation) }
      guard let candidate else {
        let (connection, descriptor) = try await open(opening.map { min(deadline, Deadline(after: $0)) } ?? deadline)
        return (connection, descriptor, generation)
      }
      if candidate.generation == generation, candidate.since.duration(to: .now) < maximumIdle, LDAPConnection.isQuiet(candidate.descriptor) {
        return (candidate.connection, candidate.descriptor, generation)
      }
    }
  }

  private func keep(_ idle: Idle) {
    let old: [Idle] = state.withLock { state in
      guard idle.generation == state.generation else { return [idle] }
      state.idle.append(idle)
      let split = state.idle.prefix { $0.since.duration(to: .now) >= maximumIdle }.count
      let old = Array(state.idle.prefix(split))
      state.idle.removeFirst(split)
      return old
    }
    _ = old  // closed here, outside of the lock
  }

  /// Lets all connections go: the idle ones now, those in use when they come back.
  func renew() {
    let old: [Idle] = state.withLock { state in
      state.generation += 1
      defer { state.idle = [] }
      return state.idle
    }
    _ = old
  }
}
