import Identity
import Synchronization

/// Lets a limited number in at a time; the others wait in order, each until its own deadline.
///
/// Suspends, never blocks. The time-outs come from the directory loop, so that waiting needs no task of its own.
final class Turnstile: Sendable {
  private enum Answer { case entered, tooLate, turnedAway }

  private struct State {
    var free: Int
    var next: UInt64 = 0
    /// In order of arrival; dictionaries keep none.
    var queue: [UInt64] = []
    var waiting: [UInt64: CheckedContinuation<Answer, Never>] = [:]
  }

  private let state: Mutex<State>
  private let limit: Int
  private let maximumWaiting: Int
  private let loop: DirectoryLoop

  init(limit: Int, maximumWaiting: Int, loop: DirectoryLoop) {
    state = Mutex(State(free: limit))
    self.limit = limit
    self.maximumWaiting = maximumWaiting
    self.loop = loop
  }

  /// How many are in, and how many wait.
  var counts: (inside: Int, waiting: Int) { state.withLock { (limit - $0.free, $0.waiting.count) } }

  /// Throws `.noTime` at the deadline (or when the task is cancelled), `.overloaded` where too many wait already, and `.turnedAway` where there is
  /// no use in waiting any longer. Pair with `leave`.
  ///
  /// - Parameter isPatient: false where the question had better go elsewhere than wait behind as many as are in.
  func enter(deadline: Deadline, isPatient: Bool = true) async throws(LDAPFault) {
    let ticket: UInt64? = try state.withLock { state throws(LDAPFault) in
      if state.free > 0 {
        state.free -= 1
        return nil
      }
      guard state.waiting.count < (isPatient ? maximumWaiting : min(limit, maximumWaiting)) else { throw .overloaded }
      state.next += 1
      return state.next
    }
    guard let ticket else { return }
    let timer = loop.schedule(at: .now.advanced(by: deadline.remaining())) { [self] in giveUp(ticket) }
    let answer = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let answer: Answer? = state.withLock { state in
          if state.free > 0 {  // somebody left between the two locks
            state.free -= 1
            return .entered
          }
          if Task.isCancelled || deadline.hasPassed { return .tooLate }
          state.queue.append(ticket)
          state.waiting[ticket] = continuation
          return nil
        }
        if let answer { continuation.resume(returning: answer) }
      }
    } onCancel: {
      giveUp(ticket)
    }
    loop.cancel(timer)
    switch answer {
    case .entered: return
    case .tooLate: throw .noTime
    case .turnedAway: throw .turnedAway
    }
  }

  /// Sends everybody away who waits.
  func turnAway() {
    let waiting = state.withLock { state in
      state.queue = []
      defer { state.waiting = [:] }
      return Array(state.waiting.values)
    }
    for continuation in waiting { continuation.resume(returning: .turnedAway) }
  }

  func leave() {
    let next: CheckedContinuation<Answer, Never>? = state.withLock { state in
      while !state.queue.isEmpty {
        if let continuation = state.waiting.removeValue(forKey: state.queue.removeFirst()) { return continuation }
      }
      state.free += 1
      return nil
    }
    next?.resume(returning: .entered)
  }

  private func giveUp(_ ticket: UInt64) {
    state.withLock { state in
      state.queue.removeAll { $0 == ticket }
      return state.waiting.removeValue(forKey: ticket)
    }?.resume(returning: .tooLate)
  }
}

extension Duration {
  /// For NIO's timers: never negative, at most 292 years.
  var nanosecondsClamped: Int64 {
    let (seconds, attoseconds) = components
    guard seconds >= 0, attoseconds >= 0 else { return 0 }
    guard seconds < 9_000_000_000 else { return .max }
    return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
  }
}
