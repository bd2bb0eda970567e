import Identity

// What is known of one directory server, as a pure state machine.
//
//                three faults in a row; five in 10 s that are a tenth of its answers;
//                nobody there, or a wrong certificate; far slower than the fastest                 rest over
//   closed ─────────────────────────────────────────────────────────────────────► open (5, 6, 7 s) ──────────► half-open
//     ▲  ▲                                                                          ▲                            │  │
//     │  │                                                                          └──── the one probe failed ──┘  │
//     │  └────────────────────────────────── the one probe was answered ────────────────────────────────────────────┘
//     └── a question that nobody else could answer was answered (tried half a second after the last fault, one at a time)
//
// The longest rest and a probe together stay under the 10 s within which a server that has recovered is in use again.

/// Latency, faults and load of one server, and whether it is asked.
struct ServerHealth: Sendable {
  typealias Moment = ContinuousClock.Instant

  /// What a server is asked for; a bind costs it more than a search.
  enum Work: Int, Sendable, CaseIterable { case search, bind }

  /// Why a server is not asked.
  enum Trouble: Sendable, Equatable {
    case faulty
    /// It answers, but far later than another one: asked only where no other is left.
    case slow
  }

  enum State: Sendable, Equatable {
    case closed
    case open(Trouble, until: Moment)
    /// The one probe is under way.
    case halfOpen(Trouble, since: Moment)
  }

  /// One question on its way: waiting for a connection, then asked.
  struct Ticket: Sendable, Equatable {
    fileprivate var number: UInt64
    fileprivate var work: Work
    /// Begun while the server was not closed: its answer decides about the server.
    fileprivate var isTrial: Bool
  }

  static let firstRest = Duration.seconds(5)
  static let longestRest = Duration.seconds(7)
  static let restGrowth = Duration.seconds(1)
  /// A server that fails again so soon after its return goes on where its rest had come to.
  static let relapse = Duration.seconds(30)
  /// Between two tries of a server that is asked because there is no other.
  static let trialPause = Duration.milliseconds(500)
  /// How long a probe may be awaited before the next one is due.
  static let probePatience = Duration.seconds(3)
  /// Never slow below this mean, however fast the others are …
  static let leastSlow = 500.0
  /// … nor below so many times the fastest one's.
  static let slowFactor = 8.0
  /// Nor by silence below this, in milliseconds.
  static let leastSilence = 1000.0
  private static let window = Duration.seconds(10)
  /// The weight of the newest answer in the means where it is worse; and where it is better, since one late answer must not keep people away for long.
  private static let share = 0.2
  private static let forgivingShare = 0.5
  /// Without answers a mean halves in this time, so that what was slow once is tried again soon.
  private static let halfLife = Duration.seconds(2)
  /// Differences of so many milliseconds are chance, not merit.
  private static let noise = 2.0
  /// A server that nobody asked for so long is checked.
  static let quiet = Duration.seconds(10)
  /// What a fault costs its user, in milliseconds, for comparing a failing server with a slow one.
  private static let faultCost = 1000.0

  private struct Underway: Sendable {
    var ticket: Ticket
    /// Nil while it waits for a connection.
    var asked: Moment?
  }

  private(set) var state = State.closed
  /// Since when it is in its state.
  private(set) var since: Moment?
  private(set) var lastFault: (words: String, at: Moment)?
  /// Exponentially weighted share of faults among its answers, 0 to 1.
  private(set) var errorRate = 0.0
  /// Exponentially weighted means of its answer times in milliseconds; nil where it was not asked yet.
  private var means: [Double?] = [nil, nil]
  private var lastAnswers: [Moment?] = [nil, nil]
  private var underway: [Underway] = []
  private var nextNumber: UInt64 = 0
  private var inARow = 0
  private var answers = 0
  /// The last five faults, and how many answers there had been before each.
  private var recent: [(at: Moment, answers: Int)] = []
  private var rest = ServerHealth.firstRest
  private var lastTrial: Moment?
  private var lastCheck: Moment?
  /// While it is open for being slow: whether it was seen to answer at all.
  private var isAnswering = false

  init() {}

  // MARK: Questions

  mutating func begin(_ work: Work, now: Moment) -> Ticket {
    nextNumber += 1
    let ticket = Ticket(number: nextNumber, work: work, isTrial: state != .closed)
    if ticket.isTrial { lastTrial = now }
    underway.append(Underway(ticket: ticket))
    return ticket
  }

  /// It has a connection and is sent now.
  mutating func asked(_ ticket: Ticket, now: Moment) {
    guard let index = underway.firstIndex(where: { $0.ticket == ticket }) else { return }
    underway[index].asked = now
  }

  /// It was not put to the server, for reasons that say nothing about the server.
  mutating func released(_ ticket: Ticket) { _ = take(ticket) }

  mutating func answered(_ ticket: Ticket, now: Moment) {
    guard let asked = take(ticket)?.asked else { return }
    let took = asked.duration(to: now) / .milliseconds(1)
    answers += 1
    inARow = 0
    errorRate *= 1 - ServerHealth.share
    if ticket.isTrial, state != .closed {
      close(now)
      means[ticket.work.rawValue] = took
    } else {
      means[ticket.work.rawValue] =
        means[ticket.work.rawValue].map { $0 + (took > $0 ? ServerHealth.share : ServerHealth.forgivingShare) * (took - $0) } ?? took
      isAnswering = true
    }
    lastAnswers[ticket.work.rawValue] = now
  }

  /// - Parameters:
  ///   - nobodyThere: no connection, or a certificate that will not be better with the next question.
  ///   - words: for administrators.
  mutating func failed(_ ticket: Ticket, nobodyThere: Bool, words: String, now: Moment) {
    _ = take(ticket)
    noteFault(words, now)
    switch state {
    case .closed:
      let first = recent.first ?? (now, answers)
      let isDense = recent.count == 5 && first.at.duration(to: now) <= ServerHealth.window && answers - first.answers <= 45
      if nobodyThere || inARow >= 3 || isDense { open(.faulty, now) }
    case .halfOpen: open(.faulty, now)
    // A question from before says nothing new; a trial says that it is as it was.
    case .open(_, let until): if ticket.isTrial { state = .open(.faulty, until: max(until, now.advanced(by: ServerHealth.trialPause))) }
    }
  }

  private mutating func take(_ ticket: Ticket) -> Underway? {
    guard let index = underway.firstIndex(where: { $0.ticket == ticket }) else { return nil }
    return underway.remove(at: index)
  }

  private mutating func noteFault(_ words: String, _ now: Moment) {
    lastFault = (words, now)
    inARow += 1
    errorRate += ServerHealth.share * (1 - errorRate)
    recent.append((now, answers))
    if recent.count > 5 { recent.removeFirst() }
  }

  // MARK: The breaker

  /// Whether it is far slower than `fastest` (milliseconds by work; nil where there is nobody to compare with), and opens it where it is.
  mutating func compare(withFastest fastest: [Double?], now: Moment) -> Bool {
    guard state == .closed else { return false }
    for work in Work.allCases {
      guard let fastest = fastest[work.rawValue] else { continue }
      if let mean = mean(work, now: now), mean > max(ServerHealth.leastSlow, ServerHealth.slowFactor * fastest) {
        lastFault = ("answers in \(Int(mean)) ms, the fastest in \(Int(fastest))", now)
        isAnswering = true
        open(.slow, now)
        return true
      }
      if let silence = silence(work, now: now), silence > max(ServerHealth.leastSilence, ServerHealth.slowFactor * fastest) {
        lastFault = ("has not answered for \(Int(silence)) ms, the fastest answers in \(Int(fastest))", now)
        isAnswering = false
        open(.slow, now)
        return true
      }
    }
    return false
  }

  /// Whether a probe is due; the one who is told so makes it.
  mutating func takeProbe(now: Moment, grace: Duration = .zero) -> Bool {
    switch state {
    case .closed: return false
    case .open(let trouble, let until):
      guard until.advanced(by: grace) <= now else { return false }
      state = .halfOpen(trouble, since: now)
      return true
    case .halfOpen(let trouble, let since):
      guard since.duration(to: now) >= ServerHealth.probePatience + grace else { return false }
      state = .halfOpen(trouble, since: now)
      return true
    }
  }

  /// - Parameter fastest: of the servers that are asked, in milliseconds by work.
  mutating func probeAnswered(took: Duration, fastest: [Double?], now: Moment) {
    guard case .halfOpen(let trouble, _) = state else { return }
    let took = took / .milliseconds(1)
    let others = fastest.compactMap { $0 }.min()
    if trouble == .slow, let others, took > max(ServerHealth.leastSlow, ServerHealth.slowFactor * others) { return open(.slow, now) }
    close(now)
    // What was measured in bad times would keep people away, and nothing measured at all would bring everybody here at once.
    for work in Work.allCases where means[work.rawValue] != nil { means[work.rawValue] = fastest[work.rawValue] ?? took }
  }

  mutating func probeFailed(words: String, now: Moment) {
    guard case .halfOpen(let trouble, _) = state else { return }
    noteFault(words, now)
    // Slow is who answers in the end; who only hangs is not even a second choice.
    open(trouble == .slow && isAnswering ? .slow : .faulty, now)
  }

  /// Whether nobody has asked it for so long that it should be checked before the next person does; the one who is told so makes the check.
  mutating func takeCheck(now: Moment) -> Bool {
    guard state == .closed, underway.isEmpty else { return false }
    if let last = (lastAnswers + [lastCheck, since]).compactMap({ $0 }).max(), last.duration(to: now) < ServerHealth.quiet { return false }
    lastCheck = now
    return true
  }

  /// - Parameter took: nil where it did not answer.
  mutating func checked(took: Duration?, words: String, fastest: [Double?], now: Moment) {
    guard state == .closed else { return }
    guard let took else {
      noteFault(words, now)
      return open(.faulty, now)
    }
    let milliseconds = took / .milliseconds(1)
    guard let others = fastest.compactMap({ $0 }).min(), milliseconds > max(ServerHealth.leastSlow, ServerHealth.slowFactor * others) else { return }
    lastFault = ("answers in \(Int(milliseconds)) ms, the fastest in \(Int(others))", now)
    isAnswering = true
    open(.slow, now)
  }

  private mutating func open(_ trouble: Trouble, _ now: Moment) {
    switch state {
    case .closed:
      // Its return is long ago: this is a new trouble.
      if since.map({ $0.duration(to: now) > ServerHealth.relapse }) ?? true { rest = ServerHealth.firstRest }
      since = now
    case .open, .halfOpen: rest = min(ServerHealth.longestRest, rest + ServerHealth.restGrowth)
    }
    state = .open(trouble, until: now.advanced(by: rest))
  }

  private mutating func close(_ now: Moment) {
    state = .closed
    since = now
    inARow = 0
    errorRate = 0
    recent = []
  }

  /// Whether a question may go to it although it is open, because nobody else is left.
  func mayBeTried(now: Moment) -> Bool {
    switch state {
    case .closed: return true
    case .open(.slow, _), .halfOpen(.slow, _): return true
    case .open(.faulty, _), .halfOpen(.faulty, _):
      guard !underway.contains(where: \.ticket.isTrial) else { return false }
      let last = [lastFault?.at, lastTrial].compactMap { $0 }.max()
      return last.map { $0.duration(to: now) >= ServerHealth.trialPause } ?? true
    }
  }

  // MARK: The score

  /// Questions at it, waiting ones too.
  var load: Int { underway.count }

  /// Of these, how many of `work` wait for a connection.
  func waiting(_ work: Work) -> Int { underway.count { $0.ticket.work == work && $0.asked == nil } }

  func asking(_ work: Work) -> Int { underway.count { $0.ticket.work == work && $0.asked != nil } }

  /// The mean, halved by and by while no answer comes.
  func mean(_ work: Work, now: Moment) -> Double? {
    guard let mean = means[work.rawValue] else { return nil }
    guard let last = lastAnswers[work.rawValue] else { return mean }
    var halved = mean
    for _ in 0..<min(20, Int(max(.zero, last.duration(to: now)) / ServerHealth.halfLife)) { halved /= 2 }
    return halved
  }

  /// For how long its oldest question is unanswered, in milliseconds.
  private func silence(_ work: Work, now: Moment) -> Double? {
    var oldest: Moment?
    for question in underway where question.ticket.work == work {
      if let asked = question.asked, oldest.map({ asked < $0 }) ?? true { oldest = asked }
    }
    return oldest.map { $0.duration(to: now) / .milliseconds(1) }
  }

  /// How long a question would wait here, in milliseconds; nil where it was never asked.
  ///
  /// A server that has owed an answer for long is as slow as that, before any mean can tell.
  func score(_ work: Work, now: Moment) -> Double? {
    guard let mean = mean(work, now: now) else { return nil }
    let impression = max(mean, silence(work, now: now) ?? 0)
    return (ServerHealth.noise + impression + errorRate * ServerHealth.faultCost) * Double(load + 1)
  }
}
