import Identity
import Synchronization

/// Gathers the notes of one question from the places that it passes.
final class TraceRecorder: Sendable {
  private let recorded = Mutex<[TraceNote]>([])

  var notes: [TraceNote] { recorded.withLock { $0 } }

  /// - Parameter since: when the step began, where its time is of interest.
  func add(_ step: TraceStep, _ detail: String, since: ContinuousClock.Instant? = nil) {
    let note = TraceNote(step, detail, milliseconds: since.map { $0.duration(to: .now).fractionalMilliseconds })
    recorded.withLock { $0.append(note) }
  }
}
