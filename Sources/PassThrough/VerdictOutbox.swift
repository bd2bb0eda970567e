import Bytes
import Identity
import Synchronization

/// Verdicts and stages on their way back.
final class VerdictOutbox: Sendable {
  struct Item: Sendable {
    var draft: VerdictDraft
    /// With whose certificate the question was fetched: whose signature the gateway expects.
    var identity: AgentIdentity
    var generation: Int
    var made: ContinuousClock.Instant
  }

  /// An agent with so many questions in hand is busy, and so many verdicts together are worth a message.
  static let busy = 8
  /// The longest that a verdict waits for company.
  private static let gathering = Duration.milliseconds(1)

  private struct State {
    var items: [Item] = []
    var stages: [StageReport] = []
    var underWay = 0
    var waiter: CheckedContinuation<Void, Never>?

    var isEmpty: Bool { items.isEmpty && stages.isEmpty }
  }

  private let state = Mutex(State())

  func put(_ draft: VerdictDraft, _ identity: AgentIdentity, generation: Int) {
    add([Item(draft: draft, identity: identity, generation: generation, made: .now)], [], delivering: false)
  }

  func put(_ stages: [StageReport]) {
    if !stages.isEmpty { add([], stages, delivering: false) }
  }

  func putBack(_ items: [Item], _ stages: [StageReport]) { add(items, stages, delivering: true) }

  func delivered() { state.withLock { $0.underWay = 0 } }

  /// The next items of one identity, at most `limit`, and every stage; waits while there are none. Empty only where the task was cancelled. For one reader.
  ///
  /// - Parameter isBusy: whether more are about to come; then the first ones wait a moment for company, since a message costs both ends much more
  ///   than a verdict in it.
  func next(limit: Int, isBusy: () -> Bool) async -> ([Item], [StageReport]) {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let ready = state.withLock { state -> Bool in
          if !state.isEmpty || Task.isCancelled { return true }
          state.waiter = continuation
          return false
        }
        if ready { continuation.resume() }
      }
    } onCancel: {
      state.withLock { state in
        defer { state.waiter = nil }
        return state.waiter
      }?.resume()
    }
    if state.withLock({ $0.items.count < VerdictOutbox.busy }), isBusy() { try? await Task.sleep(for: VerdictOutbox.gathering) }
    return state.withLock { state in
      let generation = state.items.first?.generation
      let batch = Array(state.items.prefix(limit).prefix { $0.generation == generation })
      state.items.removeFirst(batch.count)
      defer { state.stages = [] }
      state.underWay = batch.count + state.stages.count
      return (batch, state.stages)
    }
  }

  /// Waits until everything has left, at most `limit`.
  func drained(within limit: Duration) async {
    let end = ContinuousClock.now.advanced(by: limit)
    while ContinuousClock.now < end, state.withLock({ !$0.isEmpty || $0.underWay > 0 }) {
      try? await Task.sleep(for: .milliseconds(20))
    }
  }

  private func add(_ items: [Item], _ stages: [StageReport], delivering: Bool) {
    state.withLock { state in
      state.items += items
      state.stages += stages
      if delivering { state.underWay = 0 }
      defer { state.waiter = nil }
      return state.waiter
    }?.resume()
  }
}
