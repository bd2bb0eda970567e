import GatehouseTesting
import Testing

@testable import ActiveDirectory

@Suite("The health of one directory server")
struct ServerHealthTests {
  private let start = ContinuousClock.now

  private func at(_ seconds: Double) -> ServerHealth.Moment { start.advanced(by: .seconds(seconds)) }

  private func ask(_ health: inout ServerHealth, at moment: Double, taking milliseconds: Double, _ work: ServerHealth.Work = .bind) {
    let ticket = health.begin(work, now: at(moment))
    health.asked(ticket, now: at(moment))
    health.answered(ticket, now: at(moment + milliseconds / 1000))
  }

  private func fail(_ health: inout ServerHealth, at moment: Double, nobodyThere: Bool = false) {
    let ticket = health.begin(.bind, now: at(moment))
    health.failed(ticket, nobodyThere: nobodyThere, words: "no", now: at(moment))
  }

  /// Whose rest ends at which second.
  private func restEnd(_ health: ServerHealth) -> Double? {
    guard case .open(_, let until) = health.state else { return nil }
    return start.duration(to: until) / .seconds(1)
  }

  @Test("One fault among many answers does not put it out of use; three in a row do, and so does nobody being there")
  func opens() {
    var health = ServerHealth()
    for number in 0..<100 { ask(&health, at: Double(number), taking: 5) }
    fail(&health, at: 100)
    fail(&health, at: 100)
    ask(&health, at: 100, taking: 5)
    #expect(health.state == .closed)
    for _ in 0..<3 { fail(&health, at: 101) }
    #expect(health.state == .open(.faulty, until: at(106)))
    var empty = ServerHealth()
    fail(&empty, at: 0, nobodyThere: true)
    #expect(empty.state == .open(.faulty, until: at(5)))
    #expect(empty.lastFault?.words == "no")
  }

  @Test(
    "Five faults in ten seconds put it out of use where they are a tenth of the answers, and not where they are one in a thousand",
    arguments: [8, 1000])
  func rate(answersBetween: Int) {
    var health = ServerHealth()
    for number in 0..<5 {
      for _ in 0..<answersBetween { ask(&health, at: Double(number), taking: 1) }
      fail(&health, at: Double(number))
    }
    if answersBetween == 8 { #expect(health.state == .open(.faulty, until: at(9))) } else { #expect(health.state == .closed) }
  }

  @Test("It rests five seconds, then six, then seven and never longer; one probe at a time; a good one brings it back")
  func rests() {
    var health = ServerHealth()
    fail(&health, at: 0, nobodyThere: true)
    var now = 0.0
    var rests: [Double] = []
    for _ in 0..<5 {
      guard let end = restEnd(health) else { break }
      rests.append(end - now)
      let tooEarly = health.takeProbe(now: at(end - 0.001))
      #expect(!tooEarly)
      let due = health.takeProbe(now: at(end))
      #expect(due)
      let second = health.takeProbe(now: at(end + 0.1))
      #expect(!second, "one at a time")
      now = end + 1
      health.probeFailed(words: "still no", now: at(now))
    }
    #expect(rests == [5, 6, 7, 7, 7])
    let dueAgain = health.takeProbe(now: at(now + 7))
    #expect(dueAgain)
    health.probeAnswered(took: .milliseconds(4), fastest: [nil, nil], now: at(now + 7))
    #expect(health.state == .closed && health.errorRate == 0)
    fail(&health, at: now + 8, nobodyThere: true)
    #expect(restEnd(health) == now + 8 + 7, "a relapse goes on where the rest had come to")
    let dueOnceMore = health.takeProbe(now: at(now + 15))
    #expect(dueOnceMore)
    health.probeAnswered(took: .milliseconds(4), fastest: [nil, nil], now: at(now + 15))
    fail(&health, at: now + 60, nobodyThere: true)
    #expect(restEnd(health) == now + 65, "after half a minute in use it is a new trouble")
  }

  @Test("A probe that nobody finishes is due again")
  func lostProbe() {
    var health = ServerHealth()
    fail(&health, at: 0, nobodyThere: true)
    let due = health.takeProbe(now: at(5))
    #expect(due)
    let tooEarly = health.takeProbe(now: at(7.9))
    #expect(!tooEarly)
    let dueAgain = health.takeProbe(now: at(8))
    #expect(dueAgain)
  }

  @Test("Far slower than the fastest is out of use; slow like all the others is not, nor is one that is the only one")
  func slow() {
    var health = ServerHealth()
    ask(&health, at: 0, taking: 3000)
    let isSlowAlone = health.compare(withFastest: [nil, nil], now: at(3))
    #expect(!isSlowAlone)
    let isSlowAmongSlow = health.compare(withFastest: [nil, 2000], now: at(3))
    #expect(!isSlowAmongSlow)
    let opened = health.compare(withFastest: [nil, 5], now: at(3))
    #expect(opened)
    #expect(health.state == .open(.slow, until: at(8)))
    #expect(health.mayBeTried(now: at(3)), "it answers in the end")
    // A slow probe leaves it where it is, a quick one brings it back with a mean that does not send it away again.
    let due = health.takeProbe(now: at(8))
    #expect(due)
    health.probeAnswered(took: .milliseconds(2900), fastest: [nil, 5], now: at(11))
    #expect(health.state == .open(.slow, until: at(17)))
    let dueAgain = health.takeProbe(now: at(17))
    #expect(dueAgain)
    health.probeAnswered(took: .milliseconds(6), fastest: [nil, 5], now: at(17))
    #expect(health.state == .closed)
    let isSlowStill = health.compare(withFastest: [nil, 5], now: at(17))
    #expect(!isSlowStill)
  }

  @Test("Who owes an answer for a second while others answer at once is out of use before it answers")
  func silent() {
    var health = ServerHealth()
    ask(&health, at: 0, taking: 5)
    let ticket = health.begin(.bind, now: at(1))
    health.asked(ticket, now: at(1))
    #expect((health.score(.bind, now: at(1.5)) ?? 0) >= 500, "the longer it is silent, the less it is chosen")
    let isSlowYet = health.compare(withFastest: [nil, 5], now: at(1.9))
    #expect(!isSlowYet)
    let opened = health.compare(withFastest: [nil, 5], now: at(2.1))
    #expect(opened)
    // The late answer of before does not bring it back.
    health.answered(ticket, now: at(4))
    #expect(health.state != .closed && health.mayBeTried(now: at(4)))
  }

  @Test("Where no other is left, a faulty one is tried each half second by one question, and its answer brings it back")
  func lastResort() {
    var health = ServerHealth()
    fail(&health, at: 0, nobodyThere: true)
    #expect(!health.mayBeTried(now: at(0.4)))
    #expect(health.mayBeTried(now: at(0.5)))
    let trial = health.begin(.bind, now: at(0.5))
    #expect(!health.mayBeTried(now: at(2)), "one question at a time")
    health.asked(trial, now: at(0.5))
    health.answered(trial, now: at(2))
    #expect(health.state == .closed)
  }

  @Test("What was slow once is forgotten by and by")
  func forgets() {
    var health = ServerHealth()
    ask(&health, at: 0, taking: 400)
    #expect(health.mean(.bind, now: at(2)) == 400)
    #expect(health.mean(.bind, now: at(5)) == 100)
    #expect(health.mean(.search, now: at(5)) == nil)
  }

  @Test("Whom nobody has asked for ten seconds is checked once; a failed check puts it out of use, a slow one too, a good one changes nothing")
  func checks() {
    for (took, expected) in [(Duration?.none, ServerHealth.Trouble?.some(.faulty)), (.seconds(2), .slow), (.milliseconds(9), nil)] {
      var health = ServerHealth()
      ask(&health, at: 0, taking: 5)
      let early = health.takeCheck(now: at(9))
      let due = health.takeCheck(now: at(10.1))
      let again = health.takeCheck(now: at(10.2))
      #expect(!early && due && !again)
      health.checked(took: took, words: "silent", fastest: [5, 5], now: at(11))
      if let expected { #expect(health.state == .open(expected, until: at(16))) } else { #expect(health.state == .closed) }
    }
  }

  @Test("Who hangs is no second choice as a slow one is, once a probe has told")
  func hanging() {
    for isAnswering in [true, false] {
      var health = ServerHealth()
      let ticket = health.begin(.bind, now: at(0))
      health.asked(ticket, now: at(0))
      let isSlow = health.compare(withFastest: [nil, 5], now: at(1.5))
      #expect(isSlow)
      if isAnswering { health.answered(ticket, now: at(3)) }
      let due = health.takeProbe(now: at(7))
      #expect(due)
      health.probeFailed(words: "no answer in time", now: at(8))
      #expect(health.state == .open(isAnswering ? .slow : .faulty, until: at(14)))
    }
  }

  @Test("A released question leaves no trace, and whatever ends a question ends it once")
  func released() {
    var health = ServerHealth()
    let ticket = health.begin(.search, now: at(0))
    #expect(health.load == 1 && health.waiting(.search) == 1 && health.asking(.search) == 0)
    health.asked(ticket, now: at(0))
    #expect(health.waiting(.search) == 0 && health.asking(.search) == 1)
    health.released(ticket)
    health.answered(ticket, now: at(9))
    #expect(health.load == 0 && health.mean(.search, now: at(9)) == nil && health.state == .closed)
  }

  @Test("No order of events lets it be out of use for longer than ten seconds after its last fault, or lose count of its questions")
  func anyOrder() {
    for seed in UInt64(1)...200 {
      var generator = SeededGenerator(seed: seed)
      var health = ServerHealth()
      var tickets: [ServerHealth.Ticket] = []
      var now = 0.0
      for _ in 0..<300 {
        now += Double.random(in: 0...0.5, using: &generator)
        switch Int.random(in: 0..<7, using: &generator) {
        case 0: tickets.append(health.begin(Bool.random(using: &generator) ? .bind : .search, now: at(now)))
        case 1: if let ticket = tickets.last { health.asked(ticket, now: at(now)) }
        case 2: if let ticket = tickets.popLast() { health.answered(ticket, now: at(now)) }
        case 3:
          if let ticket = tickets.popLast() {
            health.failed(ticket, nobodyThere: Bool.random(using: &generator), words: "x", now: at(now))
          }
        case 4: if let ticket = tickets.popLast() { health.released(ticket) }
        case 5: _ = health.compare(withFastest: [1, 1], now: at(now))
        default:
          if health.takeProbe(now: at(now)) {
            if Bool.random(using: &generator) {
              health.probeFailed(words: "x", now: at(now))
            } else {
              health.probeAnswered(took: .milliseconds(1), fastest: [nil, nil], now: at(now))
            }
          }
        }
        #expect(health.load == tickets.count)
      }
      // From now on it answers whatever it is asked.
      let last = now
      while health.state != .closed, now < last + 20 {
        now += 0.25
        if health.takeProbe(now: at(now)) { health.probeAnswered(took: .milliseconds(1), fastest: [nil, nil], now: at(now)) }
      }
      #expect(now - last < 10, "seed \(seed)")
    }
  }
}
