import Bytes
import Cryptography
import Identity
import Metrics
import Synchronization

/// The shell around `SprayState`: fingerprints, alarms, metrics and audit events.
package final class SprayGuard: Sendable, AlarmSource {
  private let state: Mutex<SprayState>
  /// Drawn when the process starts, never written anywhere: what is in memory says nothing about passwords without it.
  private let key = Secret(RandomBytes.generate(32))

  package init(policy: SprayPolicy = SprayPolicy()) { state = Mutex(SprayState(policy: policy)) }

  /// - Parameter person: the object where it is known, else the name.
  package func guess(_ password: Password, person: String, realm: RealmName, address: AddressMark?) -> SprayState.Guess {
    SprayState.Guess(
      realm: realm, person: number(Digests.hmacSHA256(Array(realm.text.utf8) + [0] + Array(person.utf8), key: key)),
      password: number(Digests.hmacSHA256([], then: password.secret, key: key)), address: address)
  }

  private func number(_ digest: [UInt8]) -> UInt64 { digest.prefix(8).reduce(0) { $0 << 8 | UInt64($1) } }

  /// The spray that a guess belongs to, if any.
  package func spray(_ guess: SprayState.Guess) -> SpraySource? { state.withLock { $0.spray(guess) } }

  package func refused(_ source: SpraySource, now: Instant) { state.withLock { $0.refused(source, now: now) } }

  package func succeeded(_ guess: SprayState.Guess, now: Instant) { state.withLock { $0.succeeded(guess, now: now) } }

  /// A guess failed. The events of sprays that it began are to be written with its own.
  package func failed(_ guess: SprayState.Guess, now: Instant) -> [AuditEvent] {
    state.withLock { $0.failed(guess, now: now) }.map { audit($0, now: now) }
  }

  /// To be called every few seconds: the events of sprays that are over.
  package func tick(now: Instant) -> [AuditEvent] { state.withLock { $0.tick(now: now) }.map { audit($0, now: now) } }

  package func alarms() async -> [Alarm] {
    let sprays = state.withLock { $0.sprays.values.sorted { ($0.began, $0.source.title) < ($1.began, $1.source.title) } }
    let told = sprays.prefix(20).map { spray in
      Alarm(
        .passwordSpray, subject: spray.source.title,
        message: "Guesses at \(spray.people) people or more: \(spray.source.title). \(spray.refused) were refused without asking the directory.",
        remedy: spray.source.throttles
          ? "Nothing must be done: people go on from addresses from which they signed in before. `gatehouse audit list --kind spray.began` tells more."
          : "Look where the guesses come from (`gatehouse audit list --kind sign-in`), and block the addresses at the front-end if they are few.",
        since: spray.began, condition: "spray", needsAction: !spray.source.throttles)
    }
    guard sprays.count > told.count, let last = sprays.last else { return Array(told) }
    return told + [
      Alarm(
        .passwordSpray, subject: "others", message: "\(sprays.count - told.count) further sprays stand.",
        remedy: "`gatehouse audit list --kind spray.began` tells them all.", since: last.began, condition: "sprays",
        needsAction: false)
    ]
  }

  private func audit(_ event: SprayState.Event, now: Instant) -> AuditEvent {
    let (kind, spray, label): (AuditKind, SprayState.Spray, Telemetry) =
      switch event {
      case .began(let spray): (.sprayBegan, spray, .spraysBegan)
      case .ended(let spray): (.sprayEnded, spray, .spraysEnded)
      }
    Counter(label: label.rawValue, dimensions: [("kind", spray.source.kind)]).increment()
    var details = ["people": "\(spray.people)", "kind": spray.source.kind]
    if kind == .sprayEnded {
      details["refused"] = "\(spray.refused)"
      details["began"] = spray.began.description
    }
    var realm: RealmName?
    if case .realm(let name) = spray.source { realm = name }
    return AuditEvent(
      time: now, kind: kind, actor: "gatehouse", realm: realm, subject: cut(spray.source.title, 512), outcome: "done", details: details)
  }
}
