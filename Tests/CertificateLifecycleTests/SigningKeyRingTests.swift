import Bytes
import CertificateLifecycle
import Testing

/// What the tests of the life cycle are told with: seconds, and keys by letters.
enum Life {
  static func at(_ seconds: Int64) -> Instant { Instant(milliseconds: seconds * 1000) }

  static func key(
    _ id: String, _ state: SigningKeyState, _ family: SigningKeyFamily = .rsa, made: Int64 = 0, ends: Int64 = 1000,
    origin: SigningKeyOrigin = .policy
  ) -> SigningKeyPlace {
    var key = SigningKeyPlace(id: id, family: family, state: state, prepared: at(made), notAfter: at(ends), origin: origin)
    if state == .retiring { (key.published, key.promoted, key.retiring, key.unused) = (at(made), at(made), at(made), at(made)) }
    return key
  }

  /// A year in 100 seconds: the next key at 60, in metadata for 20 before it signs.
  static var policy: RolloverPolicy {
    var policy = RolloverPolicy()
    policy.certificateDuration = .seconds(100)
    policy.certificateGenerationThreshold = .seconds(40)
    policy.certificatePromotionThreshold = .seconds(20)
    policy.certificateCriticalThreshold = .seconds(10)
    policy.certificateRolloverInterval = .seconds(1)
    policy.certificateRetirement = .seconds(30)
    policy.warnings = [.seconds(30), .seconds(10)]
    return policy
  }

  static func party(_ name: String, _ family: SigningKeyFamily = .rsa, _ change: (inout PartyStanding) -> Void = { _ in }) -> PartyStanding {
    var party = PartyStanding(id: "id of \(name)", name: name, family: family)
    change(&party)
    return party
  }
}

@Suite("The ring of token-signing keys")
struct SigningKeyRingTests {
  func ring(_ places: SigningKeyPlace...) -> SigningKeyRing { SigningKeyRing(places: places) }

  @Test("Signs with the primary of the family, or with the key that is assigned, as long as metadata shows that")
  func signer() throws {
    var ring = ring(Life.key("old", .primary), Life.key("new", .published), Life.key("curve", .primary, .ecdsa))
    #expect(ring.signer(for: "wiki", family: .rsa)?.id == "old")
    #expect(ring.signer(for: "wiki", family: .ecdsa)?.id == "curve")
    try ring.assign(["wiki"], to: "new", now: Life.at(1))
    #expect(ring.signer(for: "wiki", family: .rsa)?.id == "new")
    #expect(ring.signer(for: "other", family: .rsa)?.id == "old")
    // Its algorithm is another one now: the assignment means nothing.
    #expect(ring.signer(for: "wiki", family: .ecdsa)?.id == "curve")
    ring.places[1].state = .retired
    #expect(ring.signer(for: "wiki", family: .rsa)?.id == "old")
  }

  @Test("Metadata shows the signer first, so that key and order flip together for who reads one key only, and ECDSA only to those who chose it")
  func published() throws {
    var ring = ring(
      Life.key("gone", .retired), Life.key("former", .retiring, made: 1), Life.key("old", .primary, made: 2), Life.key("new", .published, made: 3),
      Life.key("secret", .prepared, made: 4), Life.key("curve", .primary, .ecdsa))
    #expect(ring.published(for: "wiki", family: .rsa).map(\.id) == ["old", "former", "new"])
    #expect(ring.published(for: "wiki", family: .ecdsa).map(\.id) == ["curve", "old", "former", "new"], "what was signed before it chose them")
    try ring.assign(["wiki"], to: "new", now: Life.at(5))
    #expect(ring.published(for: "wiki", family: .rsa).map(\.id) == ["new", "former", "old"])
    #expect(ring.published(for: nil, family: .rsa).map(\.id) == ["old", "former", "new"])
  }

  @Test("A promotion retires the former primary; who is held stays on it, everybody else of the family moves")
  func promote() throws {
    var ring = ring(Life.key("older", .retiring), Life.key("old", .primary), Life.key("new", .published), Life.key("curve", .primary, .ecdsa))
    try ring.assign(["ahead"], to: "new", now: Life.at(1))
    try ring.assign(["pinned", "pinned too"], to: "older", now: Life.at(1))
    try ring.promote("new", holding: ["late", "pinned"], now: Life.at(2))
    #expect(ring.places.map(\.state) == [.retiring, .retiring, .primary, .primary])
    #expect(ring.assignments == ["late": "old", "pinned": "older"])
    #expect(ring.fault == nil)
    #expect(ring["old"]?.unused == nil)
    try ring.assign(["late"], to: "new", now: Life.at(9))
    #expect(ring.assignments == ["pinned": "older"])
    #expect(ring["old"]?.unused == Life.at(9))
  }

  @Test("Going back makes the former key primary again, and withholds the newer one until somebody lets it go on")
  func rollBack() throws {
    var ring = ring(Life.key("old", .primary), Life.key("new", .published))
    #expect(throws: RingProblem.self) { try ring.rollBack(.rsa, reason: "no", now: Life.at(1)) }
    try ring.assign(["ahead"], to: "new", now: Life.at(1))
    var moved = ring
    try moved.rollBack(.rsa, reason: "app broke", now: Life.at(2))
    #expect(moved.assignments.isEmpty && moved["new"]?.withheld == "app broke" && moved.next(of: .rsa) == nil)
    try ring.promote("new", holding: [], now: Life.at(2))
    try ring.rollBack(.rsa, reason: "app broke", now: Life.at(3))
    #expect(ring.places.map(\.state) == [.primary, .published])
    #expect(ring["new"]?.withheld == "app broke")
    #expect(ring.fault == nil)
    try ring.resume("new")
    #expect(ring.next(of: .rsa)?.id == "new")
    #expect(throws: RingProblem.self) { try ring.resume("new") }
  }

  @Test("A stolen key is not gone back to")
  func stolen() throws {
    var ring = ring(Life.key("stolen", .primary), Life.key("new", .published))
    try ring.promote("new", holding: [], now: Life.at(2))
    try ring.retire("stolen", suspectSince: Life.at(0), now: Life.at(2))
    #expect(throws: RingProblem.self) { try ring.rollBack(.rsa, reason: "no", now: Life.at(3)) }
  }

  @Test("What is known to be retired does not come alive with a ring from a backup: another key takes its place, or none is left")
  func restored() throws {
    var old = ring(
      Life.key("a", .primary), Life.key("b", .published, made: 5), Life.key("c", .prepared, made: 9), Life.key("curve", .primary, .ecdsa))
    try old.assign(["wiki"], to: "b", now: Life.at(1))
    var one = old
    #expect(try one.giveUp(["a", "unknown"], now: Life.at(20)) == ["a"])
    #expect(one.primary(of: .rsa)?.id == "c" && one["a"]?.state == .retired && one.fault == nil)
    var two = old
    #expect(Set(try two.giveUp(["a", "c"], now: Life.at(20))) == ["a", "c"])
    #expect(two.primary(of: .rsa)?.id == "b" && two.assignments.isEmpty && two.fault == nil)
    var all = old
    #expect(Set(try all.giveUp(["a", "b", "c"], now: Life.at(20))) == ["a", "b", "c"])
    #expect(all.primary(of: .rsa) == nil && all.fault == nil && all.assignments.isEmpty)
    #expect(try all.giveUp(["a", "b", "c"], now: Life.at(20)) == [])
  }

  @Test("What cannot be is refused with the reason, and changes nothing")
  func refused() throws {
    let ring = ring(Life.key("old", .primary), Life.key("next", .prepared), Life.key("gone", .retired))
    func refuses(_ change: (inout SigningKeyRing) throws -> Void) {
      var changed = ring
      #expect(throws: RingProblem.self) { try change(&changed) }
      #expect(changed == ring)
    }
    refuses { try $0.retire("old", now: Life.at(1)) }
    refuses { try $0.retire("gone", now: Life.at(1)) }
    refuses { try $0.promote("next", holding: [], now: Life.at(1)) }
    refuses { try $0.promote("old", holding: [], now: Life.at(1)) }
    refuses { try $0.publish("old", now: Life.at(1)) }
    refuses { try $0.publish("unknown", now: Life.at(1)) }
    refuses { try $0.assign(["wiki"], to: "next", now: Life.at(1)) }
    refuses { try $0.add(Life.key("old", .prepared)) }
  }

  @Test("A ring with two primaries, with none, or with an assignment to a key that nobody can see is not stored")
  func faults() {
    #expect(ring(Life.key("a", .primary), Life.key("b", .primary)).fault != nil)
    #expect(ring(Life.key("a", .published)).fault != nil)
    #expect(ring(Life.key("a", .primary), Life.key("a", .retired)).fault != nil)
    #expect(SigningKeyRing(places: [Life.key("a", .primary), Life.key("b", .prepared)], assignments: ["wiki": "b"]).fault != nil)
    #expect(ring(Life.key("a", .primary), Life.key("b", .prepared)).fault == nil)
  }
}
