import Bytes
import CertificateLifecycle
import Testing

@Suite("A ring of keys")
struct CertificateRingTests {
  let policy = RingPolicy(prepareBefore: .seconds(100), publishFor: .seconds(40), retireAfter: .seconds(60))

  func at(_ seconds: Int64) -> Instant { Instant(milliseconds: seconds * 1000) }

  func key(_ id: String, _ state: KeyState, prepared: Int64 = 0, retired: Int64? = nil, ends: Int64) -> RingKey {
    RingKey(id: id, state: state, prepared: at(prepared), retired: retired.map(at), notAfter: at(ends))
  }

  @Test("An empty ring makes a key and uses it at once")
  func start() {
    #expect(CertificateRing.next([], policy: policy, now: at(0)) == .prepare)
    #expect(CertificateRing.next([key("a", .prepared, ends: 500)], policy: policy, now: at(0)) == .activate(id: "a"))
  }

  @Test("The next key is prepared in time, published long enough, and then used")
  func rollover() {
    let active = key("a", .active, ends: 500)
    #expect(CertificateRing.next([active], policy: policy, now: at(399)) == nil)
    #expect(CertificateRing.next([active], policy: policy, now: at(400)) == .prepare)
    let waiting = key("b", .prepared, prepared: 400, ends: 900)
    #expect(CertificateRing.next([active, waiting], policy: policy, now: at(439)) == nil)
    #expect(CertificateRing.next([active, waiting], policy: policy, now: at(440)) == .activate(id: "b"))
  }

  @Test("A key prepared early by hand is not activated before its time")
  func preparedEarly() {
    #expect(CertificateRing.next([key("a", .active, ends: 500), key("b", .prepared, ends: 900)], policy: policy, now: at(300)) == nil)
  }

  @Test("An active key that is over gives way at once")
  func lateStart() {
    let ring = [key("a", .active, ends: 500), key("b", .prepared, prepared: 499, ends: 900)]
    #expect(CertificateRing.next(ring, policy: policy, now: at(500)) == .activate(id: "b"))
  }

  @Test("A retiring key goes when nothing that it made can be in use any more")
  func removal() {
    let ring = [key("a", .retiring, retired: 440, ends: 500), key("b", .active, ends: 900)]
    #expect(CertificateRing.next(ring, policy: policy, now: at(499)) == nil)
    #expect(CertificateRing.next(ring, policy: policy, now: at(500)) == .remove(id: "a"))
  }

  @Test("Activating one retires the other; there is never more than one active")
  func activating() {
    let ring = [key("a", .active, ends: 500), key("b", .prepared, ends: 900)]
    let after = CertificateRing.activating("b", in: ring, now: at(440))
    #expect(after.map(\.state) == [.retiring, .active])
    #expect(after[0].retired == at(440) && after[1].activated == at(440))
    #expect(CertificateRing.activating("unknown", in: ring, now: at(440)) == ring)
    #expect(CertificateRing.activating("a", in: ring, now: at(440)) == ring)
  }

  @Test("Driven through ten years, a ring always has exactly one active key that is not over")
  func decade() {
    var ring: [RingKey] = []
    var made = 0
    for second in stride(from: Int64(0), to: 20_000, by: 7) {
      for _ in 0..<8 {
        guard let step = CertificateRing.next(ring, policy: policy, now: at(second)) else { break }
        switch step {
        case .prepare:
          made += 1
          ring.append(key("k\(made)", .prepared, prepared: second, ends: second + 500))
        case .activate(let id): ring = CertificateRing.activating(id, in: ring, now: at(second))
        case .remove(let id): ring.removeAll { $0.id == id }
        }
      }
      let active = ring.filter { $0.state == .active }
      #expect(active.count == 1 && (active.first?.notAfter ?? at(0)) > at(second))
    }
    #expect(made > 30)
  }
}
