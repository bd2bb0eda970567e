import Bytes
import Cryptography
import Identity
import Synchronization

/// How long people stay signed in.
package struct SessionPolicy: Sendable, Equatable {
  /// From the password on; a session that the browser forgets when it is closed.
  package var life: Duration
  /// Where the person asked to stay signed in.
  package var keptLife: Duration
  /// Whether the page offers that.
  package var offersKeeping: Bool

  package init(life: Duration = .seconds(8 * 3600), keptLife: Duration = .seconds(7 * 86_400), offersKeeping: Bool = true) {
    self.life = life
    self.keptLife = keptLife
    self.offersKeeping = offersKeeping
  }
}

/// Begins and finds the sessions of browsers. The secret of a session is 32 random bytes that the browser alone keeps.
package struct SessionDesk: Sendable {
  package let policy: SessionPolicy
  private let store: any SessionStore
  private let memory = SessionMemory()

  package init(store: any SessionStore, policy: SessionPolicy) {
    self.store = store
    self.policy = policy
  }

  /// Begins a session for somebody whose password was just judged; answers its secret, or nil where they were blocked meanwhile. Throws `StoreError`.
  package func begin(
    _ person: AcceptedPerson, userName: String, keeping: Bool, replacing old: Session?, reference: Reference, address: IPAddress?, now: Instant
  ) async throws -> (secret: Secret, session: Session)? {
    let secret = Secret(RandomBytes.generate(32))
    let isKept = keeping && policy.offersKeeping
    let session = Session(
      digest: SessionDesk.digest(of: secret), person: person, userName: userName, authenticated: now,
      ends: now.adding(isKept ? policy.keptLife : policy.life), isKept: isKept)
    var event = AuditEvent(
      time: now, kind: .sessionBegan, reference: reference, actor: "gatehouse", realm: person.object.realm, subject: cut(userName, 512),
      object: person.object.id, outcome: "done", details: ["ends": session.ends.description])
    event.details["address"] = address?.description
    guard try await store.begin(session, replacing: old?.digest, audit: [event]) else { return nil }
    if let old { memory.forget(old.digest) }
    return (secret, session)
  }

  /// The session of a secret; nil where there is none. Throws `StoreError`.
  ///
  /// For five seconds it is known from memory, and one that was ended meanwhile, here or at another gateway, may still be answered. That is enough for a page; whoever issues a token
  /// looks again, in the transaction that records it.
  package func session(_ secret: Secret, now: Instant) async throws -> Session? {
    guard secret.count == 32 else { return nil }
    let digest = SessionDesk.digest(of: secret)
    if let known = memory.session(digest) { return known.ends > now ? known : nil }
    guard let session = try await store.session(digest: digest, now: now) else { return nil }
    memory.keep(session)
    return session
  }

  /// No longer answers a session from memory.
  package func forget(_ session: Session) { memory.forget(session.digest) }

  /// Ends all sessions of a person, as a block or a changed password demands.
  package func endAll(of object: DirectoryObject, actor: String, reason: String, now: Instant) async throws {
    let event = AuditEvent(
      time: now, kind: .sessionEnded, actor: actor, realm: object.realm, object: object.id, outcome: "done", details: ["reason": reason])
    _ = try await store.endSessions(of: object, audit: [event])
    memory.forget(all: object)
  }

  package func forgetEnded(now: Instant) async throws { try await store.forgetSessions(now: now) }

  static func digest(of secret: Secret) -> [UInt8] { secret.withBytes { Digests.sha256(Array("session 1".utf8) + Array($0)) } }
}

/// The sessions that were asked for in the last seconds: somebody who goes from one relying party to the next is looked up once.
private final class SessionMemory: Sendable {
  private static let freshness: Duration = .seconds(5)
  private static let most = 20_000

  private struct Entry {
    var session: Session
    var until: ContinuousClock.Instant
  }

  private let entries = Mutex<[[UInt8]: Entry]>([:])

  func session(_ digest: [UInt8]) -> Session? {
    let now = ContinuousClock.now
    return entries.withLock { entries in
      guard let entry = entries[digest] else { return nil }
      guard entry.until > now else {
        entries[digest] = nil
        return nil
      }
      return entry.session
    }
  }

  func keep(_ session: Session) {
    let until = ContinuousClock.now.advanced(by: SessionMemory.freshness)
    entries.withLock { entries in
      if entries.count >= SessionMemory.most { entries.removeAll(keepingCapacity: true) }
      entries[session.digest] = Entry(session: session, until: until)
    }
  }

  func forget(_ digest: [UInt8]) { entries.withLock { $0[digest] = nil } }

  func forget(all object: DirectoryObject) {
    entries.withLock { entries in entries = entries.filter { $0.value.session.person.object != object } }
  }
}
