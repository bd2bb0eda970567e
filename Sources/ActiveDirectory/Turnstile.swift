import Identity
import NIOCore
import Synchronization

/// Lets a limited number in at a time; the others wait in order, each until its own deadline.
///
/// Suspends, never blocks. The time-outs come from an event loop, so that waiting needs no task of its own.
final class Turnstile: Sendable {
  private struct State {
    var free: Int
    var next: UInt64 = 0
    /// In order of arrival; dictionaries keep none.
    var queue: [UInt64] = []
    var waiting: [UInt64: CheckedContinuation<Bool, Never>] = [:]
  }

  private let state: Mutex<State>
  private let maximumWaiting: Int
  private let timers: any EventLoop

  init(limit: Int, maximumWaiting: Int, timers: any EventLoop) {
    state = Mutex(State(free: limit))
    self.maximumWaiting = maximumWaiting
    self.timers = timers
  }

  /// Throws `.noTime` at the deadline (or when the task is cancelled) and `.overloaded` where too many wait already. Pair with `leave`.
  func enter(deadline: Deadline) async throws(LDAPFault) {
    let ticket: UInt64? = try state.withLock { state throws(LDAPFault) in
      if state.free > 0 {
        state.free -= 1
        return nil
      }
      guard state.waiting.count < maximumWaiting else { throw .overloaded }
      state.next += 1
      return state.next
    }
    guard let ticket else { return }
    let timer = timers.scheduleTask(in: .nanoseconds(deadline.remaining().nanosecondsClamped)) { [self] in giveUp(ticket) }
    let entered = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let answer: Bool? = state.withLock { state in
          if state.free > 0 {  // somebody left between the two locks
            state.free -= 1
            return true
          }
          if Task.isCancelled || deadline.hasPassed { return false }
          state.queue.append(ticket)
          state.waiting[ticket] = continuation
          return nil
        }
        if let answer { continuation.resume(returning: answer) }
      }
    } onCancel: {
      giveUp(ticket)
    }
    timer.cancel()
    guard entered else { throw .noTime }
  }

  func leave() {
    let next: CheckedContinuation<Bool, Never>? = state.withLock { state in
      while !state.queue.isEmpty {
        if let continuation = state.waiting.removeValue(forKey: state.queue.removeFirst()) { return continuation }
      }
      state.free += 1
      return nil
    }
    next?.resume(returning: true)
  }

  private func giveUp(_ ticket: UInt64) {
    state.withLock { state in
      state.queue.removeAll { $0 == ticket }
      return state.waiting.removeValue(forKey: ticket)
    }?.resume(returning: false)
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
