import Bytes
import Identity
import Synchronization

// What an agent knows of the questions that it has, as a pure struct with a lock around it: how far each has come, what the gateway was told of
// that, and whether its password may still be put before the directory.
//
//   taken ──permission asked──► may bind ──► bind sent ──► done
//     │                            ▲
//     └─ not sure that the gateway still waits: tell `accepted`, wait for the answer ─► withdrawn: let go
//
// The gateway gives a question to another agent after 750 ms of silence, or when it takes this one for lost. An agent that was frozen, or cut off,
// in between knows nothing of it; a bind of its own would cost the person a second bad-password count. So it binds without asking only while
// all of this holds: the question came a moment ago, the process was not frozen since (its pulse would have stood still), and the gateway
// has answered something lately. Otherwise it reports the question and waits for the gateway's answer, which names what it must let go.

struct HandState: Sendable {
  /// Questions younger than this need no word from the gateway: its 750 ms less the ways of question and report.
  static let freshness: Duration = .milliseconds(400)
  /// From this age on a question is reported.
  static let reportAge: Duration = .milliseconds(100)
  /// A pulse that stood still for longer tells that the process did.
  static let pulseGap: Duration = .milliseconds(300)
  /// Without an answer of the gateway's for longer it may have taken the agent for lost; beats are answered every 2 s, and it waits 6.
  static let contactLife: Duration = .milliseconds(3500)

  enum Permission: Sendable, Equatable {
    case given
    case refused
    /// Not before the gateway has answered the report of the question.
    case wait
  }

  private struct Entry {
    var taken: ContinuousClock.Instant
    var isFresh: Bool
    var bindSent = false
    var reported: StageReport.Stage?
    /// How often contact had been lost when the gateway last said that it waits for this agent; nil before.
    var confirmed: Int?
    var mustReport = false
    var withdrawn = false
  }

  private var entries: [Identifier: Entry] = [:]
  private var pulse: ContinuousClock.Instant
  private var contact: ContinuousClock.Instant?
  /// How often a message to the gateway failed.
  private var losses = 0

  init(now: ContinuousClock.Instant) { pulse = now }

  var isEmpty: Bool { entries.isEmpty }
  var count: Int { entries.count }

  /// A question has come.
  mutating func take(_ id: Identifier, now: ContinuousClock.Instant) {
    notice(now)
    // After a standstill nobody knows how long the question has lain in the socket.
    entries[id] = Entry(taken: now, isFresh: pulse.duration(to: now) <= HandState.pulseGap)
  }

  /// The process is alive: to be called many times a second.
  mutating func beat(_ now: ContinuousClock.Instant) {
    notice(now)
    pulse = now
  }

  private mutating func notice(_ now: ContinuousClock.Instant) {
    guard pulse.duration(to: now) > HandState.pulseGap else { return }
    for id in entries.keys { entries[id]?.isFresh = false }
    // What the gateway said before the standstill was about another time.
    losses += 1
    contact = nil
  }

  mutating func mayBind(_ id: Identifier, now: ContinuousClock.Instant) -> Permission {
    notice(now)
    guard var entry = entries[id], !entry.withdrawn else { return .refused }
    let inContact = contact.map { $0.duration(to: now) <= HandState.contactLife } ?? false
    let isFresh = entry.isFresh && entry.taken.duration(to: now) <= HandState.freshness
    guard inContact, isFresh || entry.confirmed == losses else {
      entry.mustReport = true
      entries[id] = entry
      return .wait
    }
    entry.bindSent = true
    entries[id] = entry
    return .given
  }

  /// Whether the password of the question was put before the directory.
  func wasBound(_ id: Identifier) -> Bool { entries[id]?.bindSent ?? false }

  mutating func done(_ id: Identifier) { entries[id] = nil }

  /// What the gateway has to be told now, each once.
  mutating func reports(now: ContinuousClock.Instant) -> [StageReport] {
    var result: [StageReport] = []
    for (id, entry) in entries where !entry.withdrawn {
      let stage: StageReport.Stage = entry.bindSent ? .bindSent : .accepted
      guard entry.mustReport || (entry.reported != stage && entry.taken.duration(to: now) >= HandState.reportAge) else { continue }
      entries[id]?.reported = stage
      entries[id]?.mustReport = false
      result.append(StageReport(question: id, stage: stage))
    }
    return result
  }

  /// The gateway has answered a message that was sent at `sent`; `reports` were in it, and `withdrawn` is what it no longer waits for.
  mutating func answered(_ reports: [StageReport], withdrawn: [Identifier], sent: ContinuousClock.Instant, now: ContinuousClock.Instant) {
    notice(now)
    contact = max(contact ?? sent, sent)
    for report in reports where report.stage != .returned { entries[report.question]?.confirmed = losses }
    for id in withdrawn { entries[id]?.withdrawn = true }
  }

  /// A message to the gateway failed; `reports` were in it.
  mutating func failed(_ reports: [StageReport]) {
    losses += 1
    for report in reports { entries[report.question]?.reported = nil }
  }
}

/// `HandState` for the tasks of one agent.
final class QuestionsInHand: Sendable {
  private let state = Mutex(HandState(now: .now))

  /// How many questions are in hand.
  var count: Int { state.withLock { $0.count } }

  func take(_ id: Identifier) { state.withLock { $0.take(id, now: .now) } }
  func beat() { state.withLock { $0.beat(.now) } }
  func done(_ id: Identifier) { state.withLock { $0.done(id) } }
  func wasBound(_ id: Identifier) -> Bool { state.withLock { $0.wasBound(id) } }
  func mayBind(_ id: Identifier) -> HandState.Permission { state.withLock { $0.mayBind(id, now: .now) } }
  func reports() -> [StageReport] { state.withLock { $0.reports(now: .now) } }
  func failed(_ reports: [StageReport] = []) { state.withLock { $0.failed(reports) } }

  func answered(_ reports: [StageReport] = [], withdrawn: [Identifier] = [], sent: ContinuousClock.Instant) {
    state.withLock { $0.answered(reports, withdrawn: withdrawn, sent: sent, now: .now) }
  }
}
