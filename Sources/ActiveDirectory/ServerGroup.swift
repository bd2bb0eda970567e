import Identity

/// The servers that can answer for one domain, and the choice among them: pure, without a clock or chance of its own.
///
/// ```
/// asked in this order:   closed, of the best tier, drawn by weight ÷ (time to wait here)²
///                        closed, of the other tiers, one after the other
///                        slow ones
///                        faulty ones that rest since half a second, one question at a time
/// ```
/// Tiers are the site's servers before the others, and lower priorities before higher ones (RFC 2782); the next tier comes into play where none of the
/// former one is closed. Equal servers share the load, since each question makes the server where it waits less likely for the next one.
struct ServerGroup: Sendable {
  typealias Moment = ServerHealth.Moment

  /// A server as the configuration or DNS tells it.
  struct Candidate: Sendable, Equatable {
    var server: DirectoryServer
    /// Lower ones first.
    var tier: Int
    /// RFC 2782: how much of its tier's load it takes.
    var weight: UInt16 = 1
  }

  private(set) var health: [DirectoryServer: ServerHealth] = [:]

  /// DNS may name others tomorrow; no more than this are remembered.
  static let mostRemembered = 128

  init() {}

  /// The order in which to try servers, and those that were found to be too slow right now. Empty where all rest.
  ///
  /// - Parameters:
  ///   - preferred: goes before all others while it is well and no question waits there: a bind where the person was found.
  ///   - lazyProbe: how long after the end of its rest a server is offered to a question, because nobody probes it.
  mutating func order(
    _ candidates: [Candidate], for work: ServerHealth.Work, preferring preferred: DirectoryServer? = nil, now: Moment,
    lazyProbe: Duration = .seconds(2), using generator: inout some RandomNumberGenerator
  ) -> (servers: [DirectoryServer], slowed: [DirectoryServer]) {
    for candidate in candidates where health[candidate.server] == nil { health[candidate.server] = ServerHealth() }
    let slowed = candidates.count > 1 ? compare(candidates, now: now) : []
    var closed: [Candidate] = []
    var others: [(candidate: Candidate, rank: Int)] = []
    var first: [DirectoryServer] = []
    for candidate in candidates {
      guard var known = health[candidate.server] else { continue }
      if known.state == .closed {
        closed.append(candidate)
      } else if first.isEmpty, known.takeProbe(now: now, grace: lazyProbe) {
        health[candidate.server] = known
        first = [candidate.server]
      } else if known.mayBeTried(now: now) {
        others.append((candidate, isSlow(known) ? 0 : 1))
      }
    }
    if let preferred, let known = health[preferred], known.state == .closed, known.waiting(work) == 0,
      let index = closed.firstIndex(where: { $0.server == preferred })
    {
      first.append(closed.remove(at: index).server)
    }
    closed.sort { $0.tier < $1.tier }
    var drawn: [DirectoryServer] = []
    while let best = closed.first {
      var tier = Array(closed.prefix { $0.tier == best.tier })
      closed.removeFirst(tier.count)
      while tier.count > 1 { drawn.append(tier.remove(at: draw(tier, for: work, now: now, using: &generator)).server) }
      drawn += tier.map(\.server)
    }
    let last = others.sorted { ($0.rank, $0.candidate.tier) < ($1.rank, $1.candidate.tier) }.map(\.candidate.server)
    return (first + drawn + last, slowed)
  }

  private func draw(_ tier: [Candidate], for work: ServerHealth.Work, now: Moment, using generator: inout some RandomNumberGenerator) -> Int {
    // Whoever was never asked is asked once, so that there is something to compare with.
    if let unknown = tier.firstIndex(where: { health[$0.server].map { $0.load == 0 && $0.mean(work, now: now) == nil } ?? false }) { return unknown }
    let usual = fastest(tier, now: now)[work.rawValue] ?? 10
    let chances = tier.map { candidate in
      let known = health[candidate.server] ?? ServerHealth()
      let score = known.score(work, now: now) ?? usual * Double(known.load + 1)
      // Weight 0 means "hardly ever", not never (RFC 2782).
      return max(0.1, Double(candidate.weight)) / (score * score)
    }
    var point = Double.random(in: 0..<1, using: &generator) * chances.reduce(0, +)
    for (index, chance) in chances.enumerated() {
      point -= chance
      if point < 0 { return index }
    }
    return tier.count - 1
  }

  /// Opens those that are far slower than the fastest one.
  private mutating func compare(_ candidates: [Candidate], now: Moment) -> [DirectoryServer] {
    let closed = candidates.filter { health[$0.server]?.state == .closed }
    guard closed.count > 1 else { return [] }
    let fastest = fastest(closed, now: now)
    return closed.map(\.server).filter { health[$0]?.compare(withFastest: fastest, now: now) ?? false }
  }

  /// The smallest mean of each work among servers that are asked.
  private func fastest(_ candidates: [Candidate], now: Moment) -> [Double?] {
    ServerHealth.Work.allCases.map { work in
      candidates.compactMap { candidate in
        health[candidate.server].flatMap { $0.state == .closed ? $0.mean(work, now: now) : nil }
      }.min()
    }
  }

  private func isSlow(_ known: ServerHealth) -> Bool {
    switch known.state {
    case .open(.slow, _), .halfOpen(.slow, _): true
    default: false
    }
  }

  // MARK: What happens

  mutating func begin(_ server: DirectoryServer, _ work: ServerHealth.Work, now: Moment) -> ServerHealth.Ticket {
    health[server, default: ServerHealth()].begin(work, now: now)
  }

  mutating func asked(_ server: DirectoryServer, _ ticket: ServerHealth.Ticket, now: Moment) { health[server]?.asked(ticket, now: now) }
  mutating func released(_ server: DirectoryServer, _ ticket: ServerHealth.Ticket) { health[server]?.released(ticket) }

  /// Whether it is back in use by this.
  mutating func answered(_ server: DirectoryServer, _ ticket: ServerHealth.Ticket, now: Moment) -> Bool {
    let before = health[server]?.state
    health[server]?.answered(ticket, now: now)
    return before != .closed && health[server]?.state == .closed
  }

  /// Whether it is still in use after this.
  mutating func failed(_ server: DirectoryServer, _ ticket: ServerHealth.Ticket, nobodyThere: Bool, words: String, now: Moment) -> Bool {
    health[server]?.failed(ticket, nobodyThere: nobodyThere, words: words, now: now)
    return health[server]?.state == .closed
  }

  /// The servers whose probe is due, and those in use that nobody has asked for long; whoever asks makes the probes and checks. Slow ones are found
  /// here too, for times without questions.
  mutating func care(_ candidates: [Candidate], now: Moment) -> (probes: [DirectoryServer], checks: [DirectoryServer], slowed: [DirectoryServer]) {
    for candidate in candidates where health[candidate.server] == nil { health[candidate.server] = ServerHealth() }
    let slowed = compare(candidates, now: now)
    let known = Set(candidates.map(\.server))
    if health.count > ServerGroup.mostRemembered { health = health.filter { known.contains($0.key) || $0.value.load > 0 } }
    let servers = candidates.map(\.server)
    return (
      servers.filter { health[$0]?.takeProbe(now: now) ?? false }, servers.filter { health[$0]?.takeCheck(now: now) ?? false }, slowed
    )
  }

  /// Whether it is still in use after this. `took` is nil where it did not answer.
  mutating func checked(_ server: DirectoryServer, took: Duration?, words: String, among candidates: [Candidate], now: Moment) -> Bool {
    let fastest = fastest(candidates.filter { $0.server != server }, now: now)
    health[server]?.checked(took: took, words: words, fastest: fastest, now: now)
    return health[server]?.state == .closed
  }

  /// Whether it is back in use by this.
  mutating func probeAnswered(_ server: DirectoryServer, took: Duration, among candidates: [Candidate], now: Moment) -> Bool {
    let fastest = fastest(candidates, now: now)
    health[server]?.probeAnswered(took: took, fastest: fastest, now: now)
    return health[server]?.state == .closed
  }

  mutating func probeFailed(_ server: DirectoryServer, words: String, now: Moment) { health[server]?.probeFailed(words: words, now: now) }

  /// Four times the fastest usual answer: who is silent for longer is not waited for while others can be asked. Nil where nothing is known.
  func patience(_ candidates: [Candidate], _ work: ServerHealth.Work, now: Moment) -> Duration? {
    fastest(candidates, now: now)[work.rawValue].map { .milliseconds(Int64($0 * 4)) }
  }
}
