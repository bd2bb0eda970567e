import SignIn
import Testing

@Suite("Admission under overload")
struct AdmissionTests {
  private func state(first: Int = 100, fewest: Int = 10, most: Int = 1000) -> AdmissionState {
    var policy = AdmissionPolicy()
    (policy.first, policy.fewest, policy.most) = (first, fewest, most)
    return AdmissionState(policy: policy)
  }

  @Test("As many enter as the limit says, and one more for each that leaves")
  func limit() {
    var gate = state(first: 3)
    let entered = (0..<4).map { _ in gate.enter(waited: .zero) }
    #expect(entered == [true, true, true, false])
    #expect(gate.isFull)
    gate.leave()
    let again = gate.enter(waited: .zero)
    #expect(again)
    #expect(gate.turnedAway == 1)
  }

  @Test("A request that waited too long is turned away though there is room")
  func stale() {
    var gate = state()
    let entered = [500, 501].map { gate.enter(waited: .milliseconds($0)) }
    #expect(entered == [true, false])
    #expect(gate.underWay == 1)
  }

  @Test("While work waits the limit falls to what is really under way and below, but never under the fewest")
  func falls() {
    var gate = state()
    for _ in 0..<50 { _ = gate.enter(waited: .zero) }
    gate.tick(waited: .milliseconds(101))
    #expect(gate.limit == 35)
    for _ in 0..<50 { gate.leave() }
    for _ in 0..<20 { gate.tick(waited: .seconds(1)) }
    #expect(gate.limit == 10)
  }

  @Test("It rises only while it is used and nothing waits, up to the most; from the fewest to the most in less than five seconds")
  func rises() {
    var gate = state()
    for _ in 0..<20 { gate.tick(waited: .zero) }
    #expect(gate.limit == 100, "nobody was there")
    for _ in 0..<30 { gate.tick(waited: .seconds(1)) }
    #expect(gate.limit == 10)
    var ticks = 0
    while gate.limit < 1000, ticks < 1000 {
      while gate.enter(waited: .zero) {}
      gate.tick(waited: .zero)
      ticks += 1
    }
    #expect(gate.limit == 1000)
    #expect(ticks < 50, "\(ticks) ticks of 100 ms")
  }

  @Test("A wait that an arriving request tells of counts like one that was found elsewhere")
  func arrivals() {
    var gate = state()
    let entered = gate.enter(waited: .milliseconds(200))
    #expect(entered)
    gate.tick(waited: .zero)
    #expect(gate.limit == 10)
  }

  @Test("While it is full so many are looked at in 100 ms, and people at familiar addresses enter beside the limit, of which they take nothing")
  func guests() {
    var policy = AdmissionPolicy()
    (policy.first, policy.fewest, policy.firstLooks) = (4, 4, 3)
    var gate = AdmissionState(policy: policy)
    var met = (0..<4).map { _ in gate.meet(waited: .zero) }
    #expect(met == [.enters, .enters, .enters, .enters])
    #expect(gate.isFull && !gate.isShut)
    met = (0..<5).map { _ in gate.meet(waited: .zero) }
    #expect(met == [.isLookedAt, .isLookedAt, .isLookedAt, .turnedAway, .turnedAway])
    #expect(gate.isShut)
    let entered = gate.enterAsGuest()
    #expect(entered && gate.guests == 1 && gate.underWay == 4)
    gate.leave()
    met = [gate.meet(waited: .zero)]
    #expect(met == [.enters], "a guest takes no place of the others")
    gate.tick(waited: .seconds(1))
    met = [gate.meet(waited: .zero), gate.meet(waited: .seconds(1))]
    #expect(met == [.isLookedAt, .turnedAway], "what is stale is not looked at")
    while gate.enterAsGuest() {}
    #expect(gate.guests == 8 && gate.isShut, "guests are bounded too")
  }

  @Test("While the gateway itself is late few are looked at; while it only waits for others, many")
  func looks() {
    var gate = state()
    #expect(gate.looks == 16)
    for _ in 0..<20 { gate.tick(waited: .zero, late: .milliseconds(101)) }
    #expect(gate.looks == 0)
    for _ in 0..<60 { gate.tick(waited: .seconds(1)) }
    #expect(gate.looks == 256)
    _ = gate.meet(waited: .milliseconds(101))
    gate.tick(waited: .zero)
    #expect(gate.looks < 256, "a request that waited tells so, too")
  }
}
