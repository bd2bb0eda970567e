import Bytes
import CGSSAPI
import CLDAP
import Foundation
import Identity
import NIOCore

/// One connection to a directory server. It lives on the directory loop, where libldap's handle is used only for what does not block.
///
/// One operation is outstanding at a time. After a fault the connection is of no further use: its owner lets it go, which closes it.
actor LDAPConnection {
  /// How to reach the server and whom to take for it.
  struct Peer: Sendable, Hashable {
    /// The name that the certificate must bear.
    var host: String
    var addresses: [NetworkAddress]
    var protection: Protection
    var authorityFile: String?
  }

  /// What keeps others from reading along and from answering in the server's stead.
  enum Protection: Sendable, Hashable {
    case tls(TransportSecurity)
    /// Kerberos signs and seals, from the log-on with a keytab on. Nothing but that log-on may happen before, and no simple bind ever.
    case kerberos
  }

  /// Larger than any person's entry; a hostile server gets no more memory than this.
  static let maximumMessageBytes = 4 << 20
  /// Text that libldap hands to GnuTLS as a priority string: no TLS below 1.2.
  private static let tlsPriorities = "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

  private let loop: DirectoryLoop
  nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
  private let handle: LDAPHandle
  private let descriptor: Int32
  private let protection: Protection
  private var isSealed = false

  private init(_ handle: LDAPHandle, descriptor: Int32, protection: Protection, loop: DirectoryLoop) {
    self.handle = handle
    self.descriptor = descriptor
    self.protection = protection
    self.loop = loop
  }

  /// Connects and finishes TLS, certificate and name checked. Answers the descriptor, for `isQuiet` only.
  ///
  /// Nothing is bound yet. Throws `unreachable`, `timedOut` or `tls`.
  static func open(
    _ peer: Peer, timeout: Duration, loop: DirectoryLoop, timers: any EventLoop
  ) async throws(LDAPFault) -> (LDAPConnection, descriptor: Int32) {
    let deadline = ContinuousClock.now.advanced(by: timeout)
    let (handle, descriptor) = try await OpeningThreads.run { () throws(LDAPFault) in try connect(peer, deadline: deadline, timers: timers) }
    return (LDAPConnection(handle, descriptor: descriptor, protection: peer.protection, loop: loop), descriptor)
  }

  /// **Blocks** until the deadline at most.
  private static func connect(
    _ peer: Peer, deadline: ContinuousClock.Instant, timers: any EventLoop
  ) throws(LDAPFault) -> (LDAPHandle, descriptor: Int32) {
    var last = LDAPFault.unreachable("\(peer.host) has no address")
    for address in peer.addresses {
      let left = ContinuousClock.now.duration(to: deadline)
      guard left > .zero else { break }
      do throws(LDAPFault) {
        let descriptor = try address.connect(timeout: left)
        let handle = try LDAPHandle(adopting: descriptor, host: peer.host)
        if case .tls(let security) = peer.protection {
          try secure(handle, descriptor, peer: peer, security: security, deadline: deadline, timers: timers)
        }
        return (handle, descriptor)
      } catch {
        last = error
        if case .tls = error { break }  // another address of the same server would show the same certificate
      }
    }
    throw last
  }

  private static func secure(
    _ handle: LDAPHandle, _ descriptor: Int32, peer: Peer, security: TransportSecurity, deadline: ContinuousClock.Instant, timers: any EventLoop
  ) throws(LDAPFault) {
    let ld = handle.pointer
    try handle.set(LDAP_OPT_X_TLS_REQUIRE_CERT, to: LDAP_OPT_X_TLS_DEMAND)
    try handle.set(LDAP_OPT_X_TLS_REQUIRE_SAN, to: LDAP_OPT_X_TLS_DEMAND)
    try handle.set(LDAP_OPT_X_TLS_CIPHER_SUITE, to: LDAPConnection.tlsPriorities)
    try handle.set(LDAP_OPT_X_TLS_CACERTFILE, to: peer.authorityFile ?? "/etc/ssl/certs/ca-certificates.crt")
    guard ldap_set_option(ld, LDAP_OPT_X_TLS_NEWCTX, [Int32(0)]) == LDAP_OPT_SUCCESS else {
      throw .tls("the certificate authorities in \(peer.authorityFile ?? "the system's store") cannot be read")
    }
    if security == .startTLS {
      let answer = try startTLS(handle, timeout: ContinuousClock.now.duration(to: deadline))
      guard answer.code == 0 else { throw .tls("the server refuses StartTLS: \(answer.summary)") }
    }
    // The handshake needs a blocking socket (libldap spins on another one); all that follows must not block.
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
    let left = ContinuousClock.now.duration(to: deadline)
    let result = try SocketWatchdog.guarding(descriptor, for: left, timers: timers) { () throws(LDAPFault) in ldap_install_tls(ld) }
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    guard result == LDAP_SUCCESS else {
      if result == LDAP_TIMEOUT || ContinuousClock.now >= deadline { throw .timedOut }
      throw .tls("handshake or certificate check failed for \(peer.host): \(handle.errorText)")
    }
    guard let version = handle.text(LDAP_OPT_X_TLS_VERSION), ["TLS1.2", "TLS1.3"].contains(version) else {
      throw .tls("TLS 1.2 or later is required")
    }
    guard let der = handle.bytes(LDAP_OPT_X_TLS_PEERCERT) else { throw .tls("the server's certificate cannot be read") }
    try PeerCertificate.verify(der: der, host: peer.host)
  }

  /// RFC 4511 §4.14.
  private static func startTLS(_ handle: LDAPHandle, timeout: Duration) throws(LDAPFault) -> LDAPResult {
    var id: Int32 = 0
    guard ldap_extended_operation(handle.pointer, LDAP_EXOP_START_TLS, nil, nil, nil, &id) == LDAP_SUCCESS else {
      throw .unreachable(handle.errorText)
    }
    let message = try handle.receive(id, timeout: timeout)
    guard message.type == LDAP_RES_EXTENDED else { throw .protocolViolation("no answer to StartTLS") }
    return try message.result()
  }

  // MARK: Operations

  /// A simple bind. Whatever is thrown, the try may have counted: nobody may repeat it elsewhere.
  ///
  /// This is the innermost of the three places where an empty password is refused: it would be an anonymous bind, and succeed.
  ///
  /// - Parameter policy: whether to ask what the directory's password policy says (`LDAPResult.policy`).
  func bind(_ name: String, password: Secret, policy: Bool = false, timeout: Duration) async throws(LDAPFault) -> LDAPResult {
    guard case .tls = protection else { throw .protocolViolation("a simple bind needs TLS") }
    guard !name.isEmpty, !name.utf8.contains(0) else { throw .protocolViolation("a bind needs a name") }
    guard !password.isEmpty, !password.contains(where: { $0 == 0 }) else { throw .protocolViolation("a bind needs a password") }
    var id: Int32 = 0
    let sent = password.withValue { cldap_simple_bind(handle.pointer, name, $0, policy ? 1 : 0, &id) }
    guard sent == LDAP_SUCCESS else { throw .unreachable(handle.errorText) }
    let message = try await receive(id, until: .now.advanced(by: timeout))
    guard message.type == LDAP_RES_BIND else { throw .protocolViolation("the answer to a bind is no BindResponse") }
    return policy ? try message.resultWithPolicy() : try message.result()
  }

  /// Deletes the old unicodePwd of an entry and adds the new one: AD's change, which needs the old password and obeys every rule, as opposed to its
  /// reset (MS-ADTS 3.1.1.3.1.5.1). Whatever is thrown, the change may have been made.
  func exchangeUnicodePassword(of name: String, old: Password, new: Password, timeout: Duration) async throws(LDAPFault) -> LDAPResult {
    let handle = try opened()
    let (before, after) = (UnicodePassword.value(old), UnicodePassword.value(new))
    var id: Int32 = 0
    let sent = before.withValue { before in after.withValue { cldap_exchange_value(handle.pointer, name, "unicodePwd", before, $0, &id) } }
    guard sent == LDAP_SUCCESS else { throw .unreachable(handle.errorText) }
    let message = try await receive(id, until: .now.advanced(by: timeout))
    guard message.type == LDAP_RES_MODIFY else { throw .protocolViolation("the answer to a modification is no ModifyResponse") }
    return try message.result()
  }

  /// Password Modify (RFC 3062) with both passwords. Whatever is thrown, the change may have been made.
  func modifyPassword(of name: String, old: Password, new: Password, timeout: Duration) async throws(LDAPFault) -> LDAPResult {
    let handle = try opened()
    var id: Int32 = 0
    let sent = Secret(name.utf8).withValue { user in
      old.secret.withValue { before in new.secret.withValue { cldap_modify_password(handle.pointer, user, before, $0, &id) } }
    }
    guard sent == LDAP_SUCCESS else { throw .unreachable(handle.errorText) }
    let message = try await receive(id, until: .now.advanced(by: timeout))
    guard message.type == LDAP_RES_EXTENDED else { throw .protocolViolation("the answer to a password modification is no ExtendedResponse") }
    return try message.resultWithPolicy()
  }

  /// A SASL GSSAPI bind (RFC 4752) with the tickets in `cache`; from then on Kerberos signs and seals the connection both ways.
  ///
  /// Kerberos proves the server's identity too: only the holder of the key of `ldap/<host>` can answer.
  func bindByKerberos(cache: String, timeout: Duration) async throws(LDAPFault) -> LDAPResult {
    guard protection == .kerberos else { throw .protocolViolation("AD refuses Kerberos sealing inside TLS") }
    // Without sealing (minssf) the answers could be read and changed on the way; AD and Samba refuse an unsigned bind anyway.
    try handle.set(LDAP_OPT_X_SASL_SECPROPS, to: "minssf=56,noanonymous,noplain")
    let deadline = ContinuousClock.now.advanced(by: timeout)
    var answer: LDAPMessage?
    for _ in 0..<8 {
      let (handle, last) = (handle, answer)
      // A step may ask the KDC, and wait for it.
      let (step, id) = try await OpeningThreads.run { () throws(LDAPFault) in try handle.kerberosStep(answering: last, cache: cache) }
      if step == LDAP_SUCCESS {
        isSealed = true
        return LDAPResult(code: 0)
      }
      guard step == LDAP_SASL_BIND_IN_PROGRESS else {
        if let result = try? answer?.result(), result.code != 0, result.code != LDAP_SASL_BIND_IN_PROGRESS { return result }
        throw .unreachable("Kerberos: \(handle.errorText)")
      }
      answer = try await receive(id, until: deadline)
    }
    throw .protocolViolation("the Kerberos bind does not end")
  }

  /// Whose session this is (RFC 4532): nil where the server does not know the operation, empty for anonymous.
  func whoAmI(timeout: Duration) async throws(LDAPFault) -> [UInt8]? {
    let handle = try opened()
    var id: Int32 = 0
    guard ldap_extended_operation(handle.pointer, LDAP_EXOP_WHO_AM_I, nil, nil, nil, &id) == LDAP_SUCCESS else {
      throw .unreachable(handle.errorText)
    }
    let message = try await receive(id, until: .now.advanced(by: timeout))
    guard message.type == LDAP_RES_EXTENDED else { throw .protocolViolation("the answer to Who am I is no ExtendedResponse") }
    let result = try message.result()
    switch result.code {
    case 0: return message.extendedValue() ?? []
    case 2, 12, 53: return nil  // protocolError is the answer to an unknown operation (RFC 4511 §4.12)
    default: throw .result(result)
    }
  }

  /// The entries of a search, at most `limit`; `isComplete` tells whether the server had no more. References to other servers are ignored.
  func search(_ query: LDAPSearch, timeout: Duration) async throws(LDAPFault) -> LDAPSearch.Outcome {
    let handle = try opened()
    let deadline = ContinuousClock.now.advanced(by: timeout)
    let id = try handle.send(query, timeout: timeout)
    var entries: [LDAPEntry] = []
    var references = 0
    var isNext = false
    while true {
      let message = try await receive(id, until: deadline, single: true, isNext: isNext)
      isNext = true
      switch message.type {
      case LDAP_RES_SEARCH_ENTRY:
        if entries.count >= query.limit {
          ldap_abandon_ext(handle.pointer, id, nil, nil)
          return LDAPSearch.Outcome(entries: entries, isComplete: false)
        }
        entries.append(try message.entry())
      case LDAP_RES_SEARCH_REFERENCE:
        references += 1
        guard references < 1000 else { throw .protocolViolation("too many search references") }
      case LDAP_RES_SEARCH_RESULT:
        let result = try message.result()
        switch result.code {
        case 0: return LDAPSearch.Outcome(entries: entries, isComplete: true)
        case 4: return LDAPSearch.Outcome(entries: entries, isComplete: false)  // sizeLimitExceeded: ours, or the server's smaller one
        default: throw .result(result)
        }
      case LDAP_RES_INTERMEDIATE: continue
      default: throw .protocolViolation("message \(message.type) in answer to a search")
      }
    }
  }

  /// The message that ends the answer to `id`, or with `single` the next one.
  ///
  /// - Parameter isNext: whether a message of the same answer has come before.
  private func receive(
    _ id: Int32, until deadline: ContinuousClock.Instant, single: Bool = false, isNext: Bool = false
  ) async throws(LDAPFault) -> LDAPMessage {
    while true {
      // With each message, not only while none comes: a server may talk without end and never answer.
      guard ContinuousClock.now < deadline else { throw .timedOut }
      // What follows the first message may have come with it, and lies in libldap's or GnuTLS' buffers, of which the kernel knows nothing.
      if isNext, let message = try handle.received(id, single: true) { return message }
      guard await loop.readable(descriptor, until: deadline) else { throw .timedOut }
      if let message = try handle.received(id, single: single) { return message }
    }
  }

  private func opened() throws(LDAPFault) -> LDAPHandle {
    guard isSealed || protection != .kerberos else { throw .protocolViolation("nothing is asked before Kerberos seals the connection") }
    return handle
  }

  /// Whether nothing waits to be read on a connection that nobody uses: what waits could only be an end or a notice of disconnection.
  static func isQuiet(_ descriptor: Int32) -> Bool {
    var event = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&event, 1, 0) == 0
  }
}

extension Secret {
  /// Lends the bytes as libldap takes them; it copies them into its request.
  fileprivate func withValue<R>(_ body: (UnsafePointer<berval>) -> R) -> R {
    withBytes { bytes in
      var value = berval(
        bv_len: ber_len_t(bytes.count), bv_val: UnsafeMutablePointer(mutating: bytes.baseAddress?.assumingMemoryBound(to: CChar.self)))
      return body(&value)
    }
  }
}

/// What to look for.
struct LDAPSearch: Sendable {
  enum Scope: Int32, Sendable { case base = 0, oneLevel = 1, subtree = 2 }

  struct Outcome: Sendable {
    var entries: [LDAPEntry]
    var isComplete: Bool
    /// Who answered.
    var server: DirectoryServer? = nil
  }

  var base: String
  var scope: Scope
  var filter: LDAPFilter
  /// Empty: none at all (RFC 4511 §4.5.1.8 `1.1`).
  var attributes: [String]
  var limit: Int
}
