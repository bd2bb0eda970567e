import Identity
import Synchronization

/// Whether what the task does is for somebody who signs in from an address of theirs, and so goes first where there is a line.
enum Precedence {
  @TaskLocal static var isFirst = false
}

/// Lets a limited number in at a time; the others wait in order, each until its own deadline.
///
/// There are two lines. People at familiar addresses go first, but after seven of them one of the others, if any waits; and while they come, the others
/// hold no more than three quarters of the places, so that those who go first need not wait until somebody leaves. Nobody starves.
///
/// Suspends, never blocks. The time-outs come from the directory loop, so that waiting needs no task of its own.
final class Turnstile: Sendable {
  private enum Answer { case entered, tooLate, turnedAway }

  private struct State {
    let limit: Int
    var free: Int
    var next: UInt64 = 0
    /// In order of arrival; dictionaries keep none.
    var first: [UInt64] = []
    var others: [UInt64] = []
    var waiting: [UInt64: CheckedContinuation<Answer, Never>] = [:]
    /// How many are in who do not go first.
    var othersInside = 0
    /// How many in a row went first past others who wait.
    var streak = 0
    /// When somebody last came who goes first.
    var lastFirst: ContinuousClock.Instant?

    init(limit: Int) { (self.limit, free) = (limit, limit) }

    /// The places that those who do not go first may hold.
    func mostOthers(_ now: ContinuousClock.Instant) -> Int {
      guard let lastFirst, lastFirst.duration(to: now) < Turnstile.memory else { return limit }
      return max(1, limit - limit / 4)
    }

    mutating func takePlace(isFirst: Bool) {
      free -= 1
      if !isFirst { othersInside += 1 }
    }

    mutating func mayEnter(isFirst: Bool, _ now: ContinuousClock.Instant) -> Bool {
      free > 0 && (isFirst || othersInside < mostOthers(now))
    }

    /// Those whose turn it is now.
    mutating func nextIn(_ now: ContinuousClock.Instant) -> [CheckedContinuation<Answer, Never>] {
      var entering: [CheckedContinuation<Answer, Never>] = []
      while free > 0 {
        let mayOthers = !others.isEmpty && othersInside < mostOthers(now)
        let isFirst = !first.isEmpty && (streak < Turnstile.mostInARow || !mayOthers)
        guard isFirst || mayOthers else { break }
        let ticket = isFirst ? first.removeFirst() : others.removeFirst()
        guard let continuation = waiting.removeValue(forKey: ticket) else { continue }
        streak = isFirst && !others.isEmpty ? streak + 1 : 0
        takePlace(isFirst: isFirst)
        entering.append(continuation)
      }
      return entering
    }
  }

  /// Places are kept for those who go first for so long after one came.
  private static let memory = Duration.seconds(1)
  private static let mostInARow = 7

  private let state: Mutex<State>
  private let limit: Int
  private let maximumWaiting: Int
  private let loop: DirectoryLoop

  init(limit: Int, maximumWaiting: Int, loop: DirectoryLoop) {
    state = Mutex(State(limit: limit))
    self.limit = limit
    self.maximumWaiting = maximumWaiting
    self.loop = loop
  }

  /// How many are in, and how many wait.
  var counts: (inside: Int, waiting: Int) { state.withLock { (limit - $0.free, $0.waiting.count) } }

  /// Throws `.noTime` at the deadline (or when the task is cancelled), `.overloaded` where too many wait already, and `.turnedAway` where there is
  /// no use in waiting any longer. Pair with `leave`, with the same precedence.
  ///
  /// - Parameter isPatient: false where the question had better go elsewhere than wait behind as many as are in.
  func enter(deadline: Deadline, isPatient: Bool = true) async throws(LDAPFault) {
    let isFirst = Precedence.isFirst
    let now = ContinuousClock.now
    let ticket: UInt64? = try state.withLock { state throws(LDAPFault) in
      if isFirst { state.lastFirst = now }
      if state.mayEnter(isFirst: isFirst, now) {
        state.takePlace(isFirst: isFirst)
        return nil
      }
      // Who goes first waits behind their own kind only.
      let before = isFirst ? state.first.count : state.waiting.count
      guard before < (isPatient ? maximumWaiting : min(limit, maximumWaiting)) else { throw .overloaded }
      state.next += 1
      return state.next
    }
    guard let ticket else { return }
    let timer = loop.schedule(at: .now.advanced(by: deadline.remaining())) { [self] in giveUp(ticket) }
    let answer = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let answer: Answer? = state.withLock { state in
          if state.mayEnter(isFirst: isFirst, .now) {  // somebody left between the two locks
            state.takePlace(isFirst: isFirst)
            return .entered
          }
          if Task.isCancelled || deadline.hasPassed { return .tooLate }
          if isFirst { state.first.append(ticket) } else { state.others.append(ticket) }
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
      (state.first, state.others) = ([], [])
      defer { state.waiting = [:] }
      return Array(state.waiting.values)
    }
    for continuation in waiting { continuation.resume(returning: .turnedAway) }
  }

  func leave() {
    let isFirst = Precedence.isFirst
    let entering = state.withLock { state in
      state.free += 1
      if !isFirst { state.othersInside -= 1 }
      return state.nextIn(.now)
    }
    for continuation in entering { continuation.resume(returning: .entered) }
  }

  private func giveUp(_ ticket: UInt64) {
    state.withLock { state in
      state.first.removeAll { $0 == ticket }
      state.others.removeAll { $0 == ticket }
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
