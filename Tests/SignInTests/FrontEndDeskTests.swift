import Bytes
import Cryptography
import GatehouseTesting
import Identity
import SignIn
import Testing

@Suite("Front-ends at the desk")
struct FrontEndDeskTests {
  let store = InMemoryStore()
  let time = ManualTime()

  func desk(_ frontEnds: FrontEnd...) async throws -> FrontEndDesk {
    for frontEnd in frontEnds { try await store.add(frontEnd, audit: []) }
    let desk = FrontEndDesk(store: store)
    try await desk.refresh()
    return desk
  }

  @Test("A key is recognised by its digest, and only that is kept")
  func key() async throws {
    let (text, key) = FrontEndDesk.makeKey(now: time.now)
    let desk = try await desk(FrontEnd(name: "portal", realms: [], keys: [key]))
    #expect(text.hasPrefix(FrontEndDesk.keyPrefix))
    #expect(desk.frontEnd(apiKey: Secret(text.utf8), now: time.now)?.name == "portal")
    #expect(desk.frontEnd(apiKey: Secret((text + "x").utf8), now: time.now) == nil)
    #expect(desk.frontEnd(apiKey: Secret(key.digest), now: time.now) == nil)
    #expect(desk.frontEnd(apiKey: Secret([UInt8]()), now: time.now) == nil)
  }

  @Test("A rotated key is good until its overlap is over, and not a millisecond longer")
  func overlap() async throws {
    let (old, oldKey) = FrontEndDesk.makeKey(now: time.now)
    let (new, newKey) = FrontEndDesk.makeKey(now: time.now)
    var before = oldKey
    before.expires = time.now.adding(.seconds(60))
    let desk = try await desk(FrontEnd(name: "portal", realms: [], keys: [newKey, before]))
    time.advance(by: .milliseconds(59_999))
    #expect(desk.frontEnd(apiKey: Secret(old.utf8), now: time.now) != nil)
    time.advance(by: .milliseconds(1))
    #expect(desk.frontEnd(apiKey: Secret(old.utf8), now: time.now) == nil)
    #expect(desk.frontEnd(apiKey: Secret(new.utf8), now: time.now) != nil)
  }

  @Test("A disabled front-end is nobody")
  func disabled() async throws {
    let (text, key) = FrontEndDesk.makeKey(now: time.now)
    let desk = try await desk(FrontEnd(name: "portal", realms: [], keys: [key], disabled: true))
    #expect(desk.frontEnd(apiKey: Secret(text.utf8), now: time.now) == nil)
  }

  @Test("A certificate is recognised whole")
  func certificate() async throws {
    let der: [UInt8] = [0x30, 1, 2, 3]
    let desk = try await desk(FrontEnd(name: "portal", realms: [], certificates: [Digests.sha256(der)]))
    #expect(desk.frontEnd(certificateDER: der)?.name == "portal")
    #expect(desk.frontEnd(certificateDER: der + [0]) == nil)
  }

  @Test("The rate lets through twice as many in a burst and then its number a second; each front-end has its own")
  func rate() async throws {
    let one = FrontEnd(name: "one", realms: [], ratePerSecond: 5)
    let two = FrontEnd(name: "two", realms: [], ratePerSecond: 5)
    let desk = try await desk(one, two)
    let start = ContinuousClock.now
    #expect((0..<20).filter { _ in desk.mayAsk(one, now: start) }.count == 10)
    #expect(desk.mayAsk(two, now: start))
    #expect((0..<20).filter { _ in desk.mayAsk(one, now: start.advanced(by: .seconds(1))) }.count == 5)
    // Time that stands still, or goes back, gives nothing.
    #expect(!desk.mayAsk(one, now: start))
  }
}
