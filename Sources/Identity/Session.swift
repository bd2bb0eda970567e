import Bytes

/// Somebody who is signed in at a browser.
///
/// The browser holds a secret of 32 random bytes in a cookie; the store knows its SHA-256 only, so that a copy of the store opens no session.
package struct Session: Sendable, Equatable {
  /// SHA-256 of the cookie's secret, 32 bytes.
  package var digest: [UInt8]
  /// As the directory described them when they signed in.
  package var person: AcceptedPerson
  /// As typed.
  package var userName: String
  /// When the password was judged: the AuthnInstant of every token.
  package var authenticated: Instant
  package var ends: Instant
  /// Whether the browser keeps it when it is closed.
  package var isKept: Bool

  package init(digest: [UInt8], person: AcceptedPerson, userName: String, authenticated: Instant, ends: Instant, isKept: Bool) {
    self.digest = digest
    self.person = person
    self.userName = userName
    self.authenticated = authenticated
    self.ends = ends
    self.isKept = isKept
  }
}

/// The sessions as the store keeps them; read from the writer's last commit, never from a replica.
package protocol SessionStore: Sendable {
  /// Begins a session. Where it replaces one of the same person, the relying parties of that one are those of the new one, and the old one is gone; one of
  /// another person just ends.
  ///
  /// Answers false, and writes nothing, where the person is blocked: who is blocked between the verdict and now gets no session.
  func begin(_ session: Session, replacing old: [UInt8]?, audit: [AuditEvent]) async throws -> Bool
  /// Nil where there is none that lives at `now`.
  func session(digest: [UInt8], now: Instant) async throws -> Session?
  /// Ends a session; nothing happens (and nothing is audited) where there is none. Answers whether there was one.
  func end(session digest: [UInt8], audit: [AuditEvent]) async throws -> Bool
  /// Ends all sessions of a person; answers how many.
  func endSessions(of object: DirectoryObject, audit: [AuditEvent]) async throws -> Int
  /// Ends every session there is; answers how many.
  func endAllSessions(audit: [AuditEvent]) async throws -> Int
  /// Forgets sessions that are over.
  func forgetSessions(now: Instant) async throws
}
