import Bytes
import CGSSAPI
import Cryptography
import Foundation
import Identity
import Logging
import Synchronization

/// Logs search connections on with the service credential, and protects that credential.
///
/// ```
///             refused (49)                 five minutes passed, or the file's content changed: one try
///   accepted ───────────► refused ──────────────────────────────────────────► accepted | refused
/// ```
/// While it is refused every question is answered "could not find out": a stale password, tried once per question, would lock the service
/// account in the directory. Log-ons happen one at a time, so that even at start one wrong password is one bad try.
actor ServiceLogOn {
  private struct Refusal: Sendable {
    var material: Secret
    var until: ContinuousClock.Instant
    var text: String
  }

  private let executor = ThreadExecutor(name: "service-logon")  // reads the credential's file, perhaps from a slow disk
  nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  /// How search connections are protected.
  nonisolated let protection: LDAPConnection.Protection
  private let credential: ServiceCredential
  private let kind: DirectoryKind
  private let rest: Duration
  private let turnstile: Turnstile
  private let aside: BlockingWork
  private let alarms: DirectoryAlarms
  private let logger: Logger
  private let refusal = Mutex<Refusal?>(nil)
  private let refusals = Mutex<Int>(0)

  init(settings: DirectorySettings, turnstile: Turnstile, aside: BlockingWork, alarms: DirectoryAlarms, logger: Logger) {
    self.aside = aside
    // A keytab's bind is sealed by Kerberos itself, which AD and Samba allow outside of TLS only (testing told: result 53).
    protection = if case .keytab = settings.credential { .kerberos } else { .tls(settings.security) }
    credential = settings.credential
    kind = settings.kind
    rest = settings.timeouts.credentialRest
    self.turnstile = turnstile
    self.alarms = alarms
    self.logger = logger
  }

  deinit { executor.stop() }

  /// How often the credential was refused; who keeps connections lets them go when it grows.
  nonisolated var refusalCount: Int { refusals.withLock { $0 } }

  /// Throws while the credential rests. Costs nothing while all is well.
  nonisolated func check() async throws(LDAPFault) {
    guard refusal.withLock({ $0 != nil }) else { return }
    try await checkRefusal()
  }

  private func checkRefusal() throws(LDAPFault) {
    guard let refusal = refusal.withLock({ $0 }) else { return }
    if ContinuousClock.now >= refusal.until { return }
    if let material = try? read(), !material.matches(refusal.material) { return }
    throw .serviceCredential(refusal.text)
  }

  /// Makes `connection` the service account's. Throws `.serviceCredential` where the directory (or the file) does not allow it.
  func logOn(_ connection: LDAPConnection, server: DirectoryServer, timeout: Duration, deadline: Deadline) async throws(LDAPFault) {
    try await turnstile.enter(deadline: deadline)
    defer { turnstile.leave() }
    try checkRefusal()  // again: who waited may have waited for a refusal
    guard !deadline.hasPassed else { throw .noTime }
    let material = try read()
    let result: LDAPResult
    switch credential {
    case .passwordFile(let bindName, _):
      result = try await connection.bind(bindName, password: material, timeout: min(timeout, deadline.remaining()))
    case .keytab(let principal, let path):
      let cache = "MEMORY:gatehouse-\(material.withBytes { Digests.sha256($0) }.prefix(16).hexadecimal)"
      try await fetchTicket(principal: principal, keytab: path, cache: cache, server: server, material: material, deadline: deadline)
      result = try await connection.bindByKerberos(cache: cache, timeout: min(timeout, deadline.remaining()))
    }
    if result.code == 49 {
      let text = "\(server) refuses \(name): \(result.summary)"
      refuse(material, because: ServiceLogOn.reason(BindMeaning(result, kind: kind)), text: text)
      throw .serviceCredential(text)
    }
    guard result.code == 0 else { throw .result(result) }
    try await connection.proveSession(kind: kind, timeout: min(timeout, deadline.remaining()))
    accept()
  }

  /// Tickets for the directory's server, from the KDC. A key that the KDC does not take counts like a wrong password there, so it rests as well.
  private func fetchTicket(
    principal: String, keytab: String, cache: String, server: DirectoryServer, material: Secret, deadline: Deadline
  ) async throws(LDAPFault) {
    let answer = await aside.run(deadline: deadline) { () -> (code: Int32, text: String)? in
      var code: Int32 = 0
      var text = [CChar](repeating: 0, count: 256)
      guard cgss_fetch_ticket(principal, "FILE:" + keytab, cache, "ldap@" + server.host, &code, &text, text.count) != 0 else { return nil }
      return (code, String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }
    guard let answer else { throw .timedOut }
    guard let failure = answer else { return }
    switch failure.code {
    // KRB5_REALM_UNKNOWN, KRB5_KDC_UNREACH, KRB5_REALM_CANT_RESOLVE: nobody was asked.
    case -1_765_328_230, -1_765_328_228, -1_765_328_164: throw .unreachable("Kerberos: \(failure.text)")
    default:
      let text = "Kerberos refuses \(principal): \(failure.text)"
      refuse(material, because: failure.text, text: text)
      throw .serviceCredential(text)
    }
  }

  private func accept() {
    alarms.clear(.serviceCredentialUnreadable, subject: path)
    let wasRefused = refusal.withLock { state in
      defer { state = nil }
      return state != nil
    }
    guard wasRefused else { return }
    alarms.clear(.serviceCredentialRefused, subject: name)
    logger.notice("the directory accepts the service credential again", metadata: ["name": "\(name)"])
  }

  private func refuse(_ material: Secret, because why: String, text: String) {
    refusal.withLock { $0 = Refusal(material: material, until: .now.advanced(by: rest), text: text) }
    refusals.withLock { $0 += 1 }
    alarms.raise(
      .serviceCredentialRefused, subject: name,
      message: "The directory refuses the service account \(name): \(why). Nobody of this realm can sign in.",
      remedy: "Mend the account in the directory, or write its current credential to \(path); a changed file is picked up at once, "
        + "an unchanged one is tried again every \(rest.wholeMilliseconds / 1000) seconds.")
    logger.error("the directory refuses the service credential", metadata: ["name": "\(name)", "reason": "\(text)"])
  }

  private static func reason(_ meaning: BindMeaning) -> String {
    switch meaning {
    case .refused(.accountDisabled, _): "the account is disabled"
    case .refused(.accountExpired, _): "the account has expired"
    case .refused(.passwordExpired, _), .refused(.mustChangePassword, _): "its password has expired"
    case .refused(.directoryLocked, _): "the account is locked"
    case .refused(.signInHours, _), .refused(.workstation, _), .refused(.signInType, _), .refused(.accountRestriction, _):
      "a restriction of the account forbids it"
    default: "its password is wrong"
    }
  }

  private var name: String {
    switch credential {
    case .passwordFile(let bindName, _): bindName
    case .keytab(let principal, _): principal
    }
  }

  private var path: String {
    switch credential {
    case .passwordFile(_, let path), .keytab(_, let path): path
    }
  }

  /// The file's content, without one line end where it is a password. Read at every log-on: those are rare, and a change must be seen.
  private func read() throws(LDAPFault) -> Secret {
    let limit = 1 << 20
    guard let handle = FileHandle(forReadingAtPath: path), let data = try? handle.read(upToCount: limit + 1), !data.isEmpty, data.count <= limit
    else { throw unreadable("cannot be read, is empty, or is larger than 1 MB") }
    var bytes = [UInt8](data)
    if case .passwordFile = credential {
      if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
      if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
      guard !bytes.isEmpty, !bytes.contains(0) else { throw unreadable("is empty or contains NUL") }
    }
    return Secret(bytes)
  }

  private func unreadable(_ what: String) -> LDAPFault {
    alarms.raise(
      .serviceCredentialUnreadable, subject: path, message: "The file \(path) with the service credential \(what).",
      remedy: "Make the file readable for the user that runs the agent (mode 0600), with the credential as its only content.")
    return .serviceCredential("\(path) \(what)")
  }
}
