import Identity
import Synchronization

// Admission under overload, as a pure state machine: how many sign-ins may be under way at once, decided by how long work waits.
//
//   every 100 ms: something waited too long ──► limit × 0.7, at most what was under way      (more work would only wait longer)
//                 nothing waits, limit used  ──► limit × 1.1 + 8
//   a sign-in:    under the limit and not stale ──► enters; leaves with its answer
//                 full: read who it is (so many in 100 ms) ──► somebody at a familiar address enters as a guest, beside the limit
//                 else ──► 503 with Retry-After, before anything was done for it
//
// Guests are bounded too, and take nothing from the others: strangers have the whole limit, so that nobody starves.
//
// Without it a flood is answered late instead of not at all: every sign-in waits behind thousands, their callers give up, and the answers that
// come are answers to nobody.

/// When too much is under way.
package struct AdmissionPolicy: Sendable, Equatable {
  /// Work that waits longer than this for its turn (for an event loop, for an agent) says that there is too much of it.
  package var patience: Duration = .milliseconds(100)
  /// A request that waited longer than this before anything was done for it is turned away: its caller has, or soon will have, given up.
  package var stale: Duration = .milliseconds(500)
  /// The fewest and the most sign-ins at once. The most bounds memory (about 20 KB each).
  package var fewest = 32
  package var most = 4096
  /// Where the limit begins.
  package var first = 512
  /// How many are looked at in 100 ms while it is full, to see whether they are people at addresses of theirs: the fewest, the most, and where it begins.
  /// A look costs reading a body, so that there are fewer while the gateway itself is late, and more while it only waits for others.
  package var fewestLooks = 0
  package var mostLooks = 256
  package var firstLooks = 16

  package init() {}
}

/// The state of the gate.
package struct AdmissionState: Sendable {
  private let policy: AdmissionPolicy
  package private(set) var limit: Int
  package private(set) var underWay = 0
  /// People at familiar addresses who came in while it was full.
  package private(set) var guests = 0
  private var looked = 0
  package private(set) var looks: Int
  /// The most that were under way since the last tick.
  private var busiest = 0
  /// The longest that anything waited since the last tick.
  private var longestWait: Duration = .zero
  package private(set) var turnedAway: Int64 = 0

  package init(policy: AdmissionPolicy) {
    self.policy = policy
    limit = policy.first
    looks = policy.firstLooks
  }

  /// Whether there is room for nobody but people at familiar addresses.
  package var isFull: Bool { underWay >= limit }
  /// Whether one more would be turned away without a look.
  package var isShut: Bool { isFull && (looked >= looks || guests >= mostGuests) }
  private var mostGuests: Int { max(8, limit / 2) }

  /// How a sign-in is met.
  package enum Meeting: Sendable { case enters, isLookedAt, turnedAway }

  /// A sign-in comes that has waited for so long. What enters leaves; what is looked at must be told by `enterAsGuest` or `turnAway`.
  package mutating func meet(waited: Duration) -> Meeting {
    guard isFull, !isShut, waited <= policy.stale else { return enter(waited: waited) ? .enters : .turnedAway }
    longestWait = max(longestWait, waited)
    looked += 1
    return .isLookedAt
  }

  /// Somebody at a familiar address, who was looked at. Pair with `leaveAsGuest`.
  package mutating func enterAsGuest() -> Bool {
    guard guests < mostGuests else {
      turnedAway += 1
      return false
    }
    guests += 1
    return true
  }

  package mutating func leaveAsGuest() { guests -= 1 }

  /// May a sign-in begin that has waited for so long? Pair with `leave`.
  package mutating func enter(waited: Duration) -> Bool {
    longestWait = max(longestWait, waited)
    guard !isFull, waited <= policy.stale else {
      turnedAway += 1
      return false
    }
    underWay += 1
    busiest = max(busiest, underWay)
    return true
  }

  package mutating func leave() { underWay -= 1 }

  /// One that was turned away before it came to the gate.
  package mutating func turnAway() { turnedAway += 1 }

  /// To be called ten times a second with the longest wait that was found elsewhere: in all, and for the gateway's own processor.
  package mutating func tick(waited: Duration, late: Duration = .zero) {
    let wait = max(longestWait, waited, late)
    if max(longestWait, late) > policy.patience / 2 {
      looks = max(policy.fewestLooks, looks * 7 / 10)
    } else {
      looks = min(policy.mostLooks, looks + looks / 10 + 1)
    }
    if wait > policy.patience {
      limit = max(policy.fewest, min(limit, busiest) * 7 / 10)
    } else if busiest >= limit * 8 / 10 {
      limit = min(policy.most, limit + limit / 10 + 8)
    }
    longestWait = .zero
    busiest = underWay
    looked = 0
  }
}

/// The gate through which sign-ins come into the gateway, shared by its listeners.
package final class AdmissionGate: Sendable {
  private let state: Mutex<AdmissionState>
  /// Read with every request's head; the exact answer is `meet`'s.
  private let shut = Atomic(false)

  package init(policy: AdmissionPolicy = AdmissionPolicy()) {
    let first = AdmissionState(policy: policy)
    state = Mutex(first)
    shut.store(first.isShut, ordering: .relaxed)
  }

  /// Whether a request that begins now would be turned away without a look.
  package var isShut: Bool { shut.load(ordering: .relaxed) }

  package func meet(waited: Duration) -> AdmissionState.Meeting { change { $0.meet(waited: waited) } }
  package func enterAsGuest() -> Bool { change { $0.enterAsGuest() } }
  package func leaveAsGuest() { change { $0.leaveAsGuest() } }

  package func enter(waited: Duration) -> Bool { change { $0.enter(waited: waited) } }
  package func leave() { change { $0.leave() } }
  package func turnAway() { change { $0.turnAway() } }
  package func tick(waited: Duration, late: Duration = .zero) { change { $0.tick(waited: waited, late: late) } }

  /// For status and metrics.
  package var standing: (limit: Int, underWay: Int, turnedAway: Int64) {
    state.withLock { ($0.limit, $0.underWay + $0.guests, $0.turnedAway) }
  }

  private func change<Value: Sendable>(_ body: (inout AdmissionState) -> Value) -> Value {
    state.withLock { state in
      let value = body(&state)
      shut.store(state.isShut, ordering: .relaxed)
      return value
    }
  }
}
