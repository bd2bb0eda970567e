import Bytes
import GatehouseTesting
import Health
import Identity
import Logging
import Synchronization
import Testing

/// A way that remembers, and fails when it is told to.
private final class Letterbox: AlarmWay {
  let name: String
  private let state = Mutex<(got: [AlarmNotice], failure: String?)>(([], nil))

  init(_ name: String = "webhook") { self.name = name }

  var got: [AlarmNotice] { state.withLock { $0.got } }
  func fail(_ failure: String?) { state.withLock { $0.failure = failure } }

  func send(_ notice: AlarmNotice) async -> AlarmDelivery {
    await Task.yield()
    return state.withLock { state in
      if let failure = state.failure { return .failed(failure, mayHaveArrived: false) }
      state.got.append(notice)
      return .delivered
    }
  }
}

private final class Lamp: AlarmSource {
  private let standing = Mutex<[Alarm]>([])
  func show(_ alarms: [Alarm]) { standing.withLock { $0 = alarms } }
  func alarms() async -> [Alarm] { standing.withLock { $0 } }
}

@Suite("The alarm desk")
struct AlarmDeskTests {
  private let store = InMemoryStore()
  private let time = ManualTime()
  private let lamp = Lamp()
  private let box = Letterbox()

  private func desk(_ node: String = "one", ways: [any AlarmWay]? = nil) -> AlarmDesk {
    AlarmDesk(
      store: store, sources: [lamp], ways: ways ?? [box], node: node, policy: AlarmPolicy(interval: .seconds(3600)), now: time.reading,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  private func run(_ desks: [AlarmDesk], for seconds: Int) async throws {
    for _ in 0..<seconds / 2 {
      time.advance(by: .seconds(2))
      try await withThrowingTaskGroup(of: Void.self) { group in
        for desk in desks {
          group.addTask {
            try await desk.look()
            for way in desk.wayNames { try await desk.deliver(by: way) }
          }
        }
        try await group.waitForAll()
      }
    }
  }

  private let gone = Alarm(.agentGone, subject: "agent2", message: "gone", remedy: "look", since: Instant(milliseconds: 1))

  @Test("of two nodes on one store sends each notice once")
  func twoNodes() async throws {
    let desks = [desk("one"), desk("two")]
    try await run(desks, for: 30)
    lamp.show((0..<30).map { Alarm(.agentGone, subject: "agent\($0)", message: "gone", remedy: "look", since: time.now) })
    try await run(desks, for: 40)
    #expect(box.got.count == 30)
    #expect(Set(box.got.map(\.id)).count == 30)
    lamp.show([])
    try await run(desks, for: 40)
    #expect(box.got.count == 60)
    #expect(try await store.alarmRecords().isEmpty)
  }

  @Test("acknowledges with an audit event, by code and by subject, and says so where nothing of the kind stands")
  func acknowledge() async throws {
    let desk = desk()
    try await run([desk], for: 30)
    lamp.show([gone])
    try await run([desk], for: 20)
    #expect(try await desk.acknowledge(.agentGone, subject: "another", note: nil, actor: "admin").isEmpty)
    #expect(try await desk.acknowledge(.agentTwin, subject: nil, note: nil, actor: "admin").isEmpty)
    let done = try await desk.acknowledge(.agentGone, subject: nil, note: "known", actor: "admin")
    #expect(done.map(\.acknowledgement?.note) == ["known"])
    let event = try #require(await store.events.first)
    #expect(event.kind == .alarmAcknowledged)
    #expect(event.details == ["code": "agent-gone", "note": "known"])
    time.advance(by: .seconds(7200))
    try await run([desk], for: 10)
    #expect(box.got.map(\.kind) == [.raised])
  }

  @Test("delivers at once what has waited, as soon as a way works again, and takes its own alarm back")
  func recovery() async throws {
    let command = Letterbox("command")
    let desk = desk(ways: [box, command])
    try await run([desk], for: 30)
    box.fail("refused")
    lamp.show((0..<5).map { Alarm(.agentGone, subject: "agent\($0)", message: "gone", remedy: "look", since: time.now) })
    try await run([desk], for: 200)
    #expect(command.got.map(\.code).contains("alarm-not-delivered"))
    #expect(await desk.alarms().map(\.code) == [.alarmNotDelivered])
    box.fail(nil)
    try await run([desk], for: 310)
    #expect(box.got.count == 5)
    #expect(await desk.alarms().isEmpty)
    #expect(command.got.suffix(1).map(\.kind) == [.cleared])
  }

  @Test("tells without the store that the store fails, once, and when it is back")
  func storeFails() async throws {
    let desk = desk()
    await store.fail(with: .unavailable("disk"))
    for _ in 0..<20 {
      time.advance(by: .seconds(2))
      await #expect(throws: StoreError.self) { try await desk.look() }
    }
    #expect(box.got.map(\.code) == ["store-unavailable"])
    await store.fail(with: nil)
    try await run([desk], for: 10)
    #expect(box.got.map(\.kind) == [.raised, .cleared])
    #expect(await desk.alarms().isEmpty)
  }

  @Test("sends a test by every way and answers what came of each")
  func test() async {
    let command = Letterbox("command")
    command.fail("no such file")
    let outcomes = await desk(ways: [box, command]).test(actor: "admin")
    #expect(outcomes.map(\.way) == ["webhook", "command"])
    #expect(outcomes.map(\.delivery) == [.delivered, .failed("no such file", mayHaveArrived: false)])
    #expect(box.got.map(\.kind) == [.test])
  }
}
