import Bytes
import GatehouseTesting
import Identity
import Testing

@testable import Health

/// One or more nodes on one book of records, with a clock that the test moves.
struct AlarmBook {
  let time = ManualTime()
  var records: [AlarmKey: AlarmRecord] = [:]
  var rules: AlarmRules

  init(node: String = "one", ways: Set<String> = ["webhook"], interval: Duration = .seconds(3600), warm: Bool = true) {
    let started = warm ? time.now.adding(.seconds(-3600)) : time.now
    rules = AlarmRules(node: node, ways: ways, policy: AlarmPolicy(interval: interval), started: started)
  }

  func other(_ node: String, ways: Set<String> = ["webhook"]) -> AlarmRules {
    AlarmRules(node: node, ways: ways, policy: rules.policy, started: rules.started)
  }

  static func alarm(
    _ subject: String = "agent2", code: AlarmCode = .agentGone, severity: AlarmSeverity? = nil, _ message: String = "gone", condition: String? = nil
  ) -> Alarm {
    Alarm(code, subject: subject, severity: severity, message: message, remedy: "look", since: Instant(milliseconds: 5), condition: condition)
  }

  mutating func look(_ standing: [Alarm], by other: AlarmRules? = nil) {
    for change in (other ?? rules).changes(of: Array(records.values), standing: standing, now: time.now) {
      switch change {
      case .write(let record): records[record.key] = record
      case .remove(let record): records[record.key] = nil
      }
    }
  }

  /// Looks every two seconds for so long.
  mutating func watch(_ standing: [Alarm], for duration: Duration, by others: [AlarmRules] = []) {
    let end = time.now.adding(duration)
    while time.now < end {
      look(standing)
      for other in others { look(standing, by: other) }
      time.advance(by: .seconds(2))
    }
    look(standing)
  }

  /// Sends what is due; the kinds of the notices that left.
  mutating func send(by way: String = "webhook", _ delivery: AlarmDelivery = .delivered) -> [AlarmNotice.Kind] {
    notices(by: way, delivery).map(\.kind)
  }

  mutating func notices(by way: String = "webhook", _ delivery: AlarmDelivery = .delivered) -> [AlarmNotice] {
    var sent: [AlarmNotice] = []
    for key in records.keys.sorted() {
      guard let record = records[key], let (claimed, notice) = rules.claim(record, by: way, now: time.now) else { continue }
      sent.append(notice)
      records[key] = rules.settle(claimed, by: way, id: notice.id, delivery: delivery, now: time.now) ?? claimed
    }
    return sent
  }
}

@Suite("The telling of alarms")
struct AlarmRulesTests {
  private let refused = AlarmDelivery.failed("refused", mayHaveArrived: false)

  @Test("raises what stands for some seconds, once, and tells when it is over")
  func life() {
    var book = AlarmBook()
    book.watch([AlarmBook.alarm()], for: .seconds(8))
    #expect(book.send().isEmpty, "what mends itself in a moment wakes nobody")
    book.watch([AlarmBook.alarm()], for: .seconds(4))
    #expect(book.send() == [.raised])
    book.watch([AlarmBook.alarm()], for: .seconds(1800))
    #expect(book.send().isEmpty)
    book.watch([], for: .seconds(13))
    #expect(book.send().isEmpty)
    book.watch([], for: .seconds(6))
    #expect(book.send() == [.cleared])
    book.look([])
    #expect(book.records.isEmpty)
  }

  @Test("says nothing of what came and went before anybody was told")
  func blip() {
    var book = AlarmBook()
    book.watch([AlarmBook.alarm()], for: .seconds(6))
    book.watch([], for: .seconds(20))
    #expect(book.send().isEmpty)
    #expect(book.records.isEmpty)
  }

  @Test("tells of an alarm that flickers once, and not of each flicker")
  func flicker() {
    var book = AlarmBook()
    var sent: [AlarmNotice.Kind] = []
    for _ in 0..<100 {
      book.watch([AlarmBook.alarm()], for: .seconds(6))
      sent += book.send()
      book.watch([], for: .seconds(6))
      sent += book.send()
    }
    #expect(sent == [.raised])
  }

  @Test("repeats until somebody knows")
  func repetition() throws {
    var book = AlarmBook()
    book.watch([AlarmBook.alarm()], for: .seconds(20))
    #expect(book.send() == [.raised])
    book.time.advance(by: .seconds(3600))
    book.watch([AlarmBook.alarm()], for: .seconds(4))
    #expect(book.send() == [.repeated])
    let key = try #require(book.records.keys.first)
    book.records[key]?.acknowledgement = .init(by: "admin", at: book.time.now, note: nil)
    book.time.advance(by: .seconds(7200))
    book.watch([AlarmBook.alarm()], for: .seconds(4))
    #expect(book.send().isEmpty)
    book.watch([], for: .seconds(20))
    #expect(book.send() == [.cleared])
  }

  @Test("takes the acknowledgement back when the alarm changes; severity at once, condition after a while, and a jittering number never")
  func change() throws {
    var book = AlarmBook()
    book.watch([AlarmBook.alarm("cert", condition: "30 days")], for: .seconds(20))
    #expect(book.send() == [.raised])
    let key = try #require(book.records.keys.first)
    func acknowledge(_ book: inout AlarmBook) { book.records[key]?.acknowledgement = .init(by: "admin", at: book.time.now, note: nil) }
    acknowledge(&book)
    book.watch([AlarmBook.alarm("cert", "in other words", condition: "30 days")], for: .seconds(600))
    #expect(book.send().isEmpty)
    #expect(book.records[key]?.alarm.message == "in other words")
    book.watch([AlarmBook.alarm("cert", severity: .critical, condition: "30 days")], for: .seconds(2))
    #expect(book.send() == [.changed])
    #expect(book.records[key]?.acknowledgement == nil)
    acknowledge(&book)
    book.watch([AlarmBook.alarm("cert", severity: .critical, condition: "7 days")], for: .seconds(60))
    #expect(book.send().isEmpty)
    book.watch([AlarmBook.alarm("cert", severity: .critical, condition: "7 days")], for: .seconds(300))
    #expect(book.send() == [.changed])
    #expect(book.records[key]?.acknowledgement == nil)
  }

  @Test("is silent of what needs nothing done")
  func nothingToDo() {
    var book = AlarmBook()
    var alarm = AlarmBook.alarm()
    alarm.needsAction = false
    book.watch([alarm], for: .seconds(60))
    #expect(book.records.isEmpty)
  }

  @Test("tells nothing anew after a restart, and clears nothing before the node has had time to look")
  func restart() {
    var book = AlarmBook()
    book.watch([AlarmBook.alarm()], for: .seconds(20))
    #expect(book.send() == [.raised])
    book.time.advance(by: .seconds(600))
    book.rules = AlarmRules(node: "one", ways: ["webhook"], policy: book.rules.policy, started: book.time.now)
    book.watch([], for: .seconds(10))
    book.watch([AlarmBook.alarm()], for: .seconds(60))
    #expect(book.send().isEmpty)
    book.rules = AlarmRules(node: "one", ways: ["webhook"], policy: book.rules.policy, started: book.time.now)
    book.watch([AlarmBook.alarm("agent3")], for: .seconds(8))
    book.watch([], for: .seconds(50))
    #expect(book.send() == [.cleared], "and what stood in the first seconds only was never told")
  }

  @Test("counts an alarm until no node sees it; a node that died does not count")
  func nodes() {
    var book = AlarmBook()
    let second = book.other("two")
    book.watch([AlarmBook.alarm()], for: .seconds(20), by: [second])
    #expect(book.send() == [.raised], "two nodes see it, one notice leaves")
    for _ in 0..<20 {
      book.look([])
      book.look([AlarmBook.alarm()], by: second)
      book.time.advance(by: .seconds(2))
    }
    #expect(book.send().isEmpty, "the second still sees it")
    book.watch([], for: .seconds(100))
    #expect(book.send().isEmpty)
    book.watch([], for: .seconds(40))
    #expect(book.send() == [.cleared], "the second has not said so for two minutes")
  }

  @Test("tries again with longer and longer pauses, under the same id, and makes an alarm of it for the other ways only")
  func failures() throws {
    var book = AlarmBook(ways: ["webhook", "command"])
    book.watch([AlarmBook.alarm()], for: .seconds(20))
    #expect(book.send(by: "command") == [.raised])
    var ids: Set<String> = []
    var tries: [Duration] = []
    let began = book.time.now
    while book.time.now.since(began) < .seconds(200) {
      let notices = book.notices(refused)
      if !notices.isEmpty { tries.append(book.time.now.since(began)) }
      ids.formUnion(notices.map(\.id))
      book.time.advance(by: .seconds(1))
    }
    #expect(ids.count == 1)
    #expect(tries == [0, 5, 15, 35, 75, 155].map { .seconds($0) })
    let trouble = try #require(book.rules.troubles(Array(book.records.values), now: book.time.now).first)
    #expect(trouble.code == .alarmNotDelivered)
    #expect(trouble.subject == "webhook")
    #expect(trouble.message.contains("refused"))
    book.watch([AlarmBook.alarm(), trouble], for: .seconds(14))
    #expect(book.notices(by: "command").map(\.code) == ["alarm-not-delivered"])
    #expect(book.records[AlarmKey(.alarmNotDelivered, subject: "webhook")]?.outgoing["webhook"] == nil)
    book.time.advance(by: .seconds(300))
    #expect(book.send() == [.raised], "what waits is sent once it works")
    #expect(book.rules.troubles(Array(book.records.values), now: book.time.now).isEmpty)
  }

  @Test("does not tell of the end of what nobody heard of, and does where a try may have arrived", arguments: [false, true])
  func unheard(mayHaveArrived: Bool) {
    var book = AlarmBook()
    book.watch([AlarmBook.alarm()], for: .seconds(20))
    #expect(book.send(.failed("timeout", mayHaveArrived: mayHaveArrived)) == [.raised])
    book.watch([], for: .seconds(20))
    book.time.advance(by: .seconds(300))
    #expect(book.send() == (mayHaveArrived ? [.cleared] : []))
    book.look([])
    #expect(book.records.isEmpty)
  }

  @Test("lets one node send: who claims later finds nothing due until the first one's time is over")
  func lease() throws {
    var book = AlarmBook()
    book.watch([AlarmBook.alarm()], for: .seconds(20))
    let record = try #require(book.records.values.first)
    let (claimed, notice) = try #require(book.rules.claim(record, by: "webhook", now: book.time.now))
    let second = book.other("two")
    #expect(second.claim(claimed, by: "webhook", now: book.time.now.adding(.seconds(59))) == nil)
    let again = try #require(second.claim(claimed, by: "webhook", now: book.time.now.adding(.seconds(60))))
    #expect(again.notice.id == notice.id)
  }

  @Test("tells a way that is new what stands")
  func newWay() {
    var book = AlarmBook()
    book.watch([AlarmBook.alarm()], for: .seconds(20))
    #expect(book.send() == [.raised])
    book.rules = book.other("one", ways: ["webhook", "command"])
    book.watch([AlarmBook.alarm()], for: .seconds(4))
    #expect(book.send().isEmpty)
    #expect(book.send(by: "command") == [.raised])
  }

  @Test("makes one of several alarms of the same code and subject")
  func merged() throws {
    var book = AlarmBook()
    book.watch([AlarmBook.alarm("dc", "b"), AlarmBook.alarm("dc", severity: .critical, "a"), AlarmBook.alarm("dc", "b")], for: .seconds(20))
    let notice = try #require(book.notices().first)
    #expect(notice.message == "a b")
    #expect(notice.severity == .critical)
  }

  @Test("tells of thousands of alarms of one kind as fifty and one, and keeps to the fifty")
  func flood() {
    var book = AlarmBook()
    let many = (0..<10_000).map { AlarmBook.alarm("party\($0)", code: .relyingPartyMetadata) }
    book.watch(many + [AlarmBook.alarm()], for: .seconds(12))
    let told = book.notices()
    #expect(told.count == 52)
    #expect(told.filter { $0.subject == AlarmRules.others }.map(\.message) == ["9950 further alarms of this kind stand."])
    book.watch(many.shuffled(), for: .seconds(4))
    #expect(book.send().isEmpty)
    book.watch([], for: .seconds(20))
    #expect(book.send().count == 52)
  }

  @Test("sends what changed while it was being sent as a change, not as a second beginning")
  func overtaken() throws {
    var book = AlarmBook()
    book.watch([AlarmBook.alarm("cert", condition: "30")], for: .seconds(20))
    let key = try #require(book.records.keys.first)
    let (claimed, notice) = try #require(book.records[key].flatMap { book.rules.claim($0, by: "webhook", now: book.time.now) })
    book.records[key] = claimed
    book.look([AlarmBook.alarm("cert", severity: .critical, condition: "30")])
    let overtaken = try #require(book.records[key])
    book.records[key] = book.rules.settle(overtaken, by: "webhook", id: notice.id, delivery: .delivered, now: book.time.now)
    #expect(book.send() == [.changed])
  }
}
