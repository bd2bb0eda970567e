import CGSSAPI
import CLDAP
import Foundation
import Identity

/// Owns libldap's handle; letting it go closes the connection.
///
/// `@unchecked Sendable`: a C handle that one at a time uses: the thread that opens it, then its `LDAPConnection`, which waits while a Kerberos step
/// uses it aside.
final class LDAPHandle: @unchecked Sendable {
  let pointer: OpaquePointer
  /// The mechanism that libldap negotiates, between the steps of a Kerberos bind.
  private var mechanism: UnsafePointer<CChar>?

  /// Takes the descriptor, whatever happens. `host` is the name that libldap compares with the certificate.
  init(adopting descriptor: Int32, host: String) throws(LDAPFault) {
    let bracketed = host.utf8.contains(UInt8(ascii: ":")) && !host.hasPrefix("[") ? "[\(host)]" : host
    var created: OpaquePointer?
    let result = ldap_init_fd(descriptor, LDAP_PROTO_TCP, "ldap://\(bracketed)", &created)
    guard result == LDAP_SUCCESS, let created else {
      close(descriptor)
      throw .unreachable("\(host) cannot be the name of a server")
    }
    pointer = created
    try set(LDAP_OPT_PROTOCOL_VERSION, to: Int32(LDAP_VERSION3))
    try set(LDAP_OPT_DEREF, to: Int32(LDAP_DEREF_NEVER))
    // RFC 4511 §4.1.10: a referral names a host; following it would carry the password there.
    guard cldap_set_referrals_off(pointer) == LDAP_OPT_SUCCESS, cldap_set_restart_on(pointer) == LDAP_OPT_SUCCESS,
      cldap_limit_incoming(pointer, ber_len_t(LDAPConnection.maximumMessageBytes)) == 0
    else { throw .protocolViolation("libldap does not take its options") }
  }

  deinit { ldap_unbind_ext(pointer, nil, nil) }

  // MARK: Options

  func set(_ option: Int32, to value: Int32) throws(LDAPFault) {
    var value = value
    guard ldap_set_option(pointer, option, &value) == LDAP_OPT_SUCCESS else { throw .protocolViolation("libldap does not take option \(option)") }
  }

  func set(_ option: Int32, to value: String) throws(LDAPFault) {
    guard ldap_set_option(pointer, option, value) == LDAP_OPT_SUCCESS else { throw .protocolViolation("libldap does not take option \(option)") }
  }

  /// A text option; nil where it has no value.
  func text(_ option: Int32) -> String? {
    var value: UnsafeMutablePointer<CChar>?
    guard ldap_get_option(pointer, option, &value) == LDAP_OPT_SUCCESS, let value else { return nil }
    defer { ldap_memfree(value) }
    return String(cString: value)
  }

  /// A bytes option; nil where it has no value.
  func bytes(_ option: Int32) -> [UInt8]? {
    var value = berval()
    guard ldap_get_option(pointer, option, &value) == LDAP_OPT_SUCCESS, let start = value.bv_val else { return nil }
    defer { ldap_memfree(start) }
    return Array(UnsafeRawBufferPointer(start: start, count: Int(value.bv_len)))
  }

  /// What libldap last complained of, for administrators.
  var errorText: String {
    var code: Int32 = 0
    ldap_get_option(pointer, LDAP_OPT_RESULT_CODE, &code)
    let name = code == 0 ? "connection lost" : ldap_err2string(code).map { String(cString: $0) } ?? "error \(code)"
    guard let detail = text(LDAP_OPT_DIAGNOSTIC_MESSAGE), !detail.isEmpty else { return name }
    return "\(name) (\(String(detail.unicodeScalars.filter { (0x20...0x7e).contains($0.value) }.prefix(200).map(Character.init))))"
  }

  // MARK: Messages

  /// One step of a Kerberos bind with the tickets in `cache`, in answer to the server's last message. **Blocks** while a KDC is asked.
  func kerberosStep(answering last: LDAPMessage?, cache: String) throws(LDAPFault) -> (result: Int32, id: Int32) {
    // Which tickets are used is a matter of the thread.
    guard cgss_use_cache(cache) == 0, cldap_set_no_canonical_name(pointer) == LDAP_OPT_SUCCESS else {
      throw .protocolViolation("the ticket cannot be used")
    }
    var id: Int32 = 0
    let result = cldap_gssapi_step(pointer, last?.pointer, &mechanism, &id)
    return (result, id)
  }

  /// Sends a search and answers its message id.
  func send(_ query: LDAPSearch, timeout: Duration) throws(LDAPFault) -> Int32 {
    let filter = query.filter.text
    let attributes = query.attributes.isEmpty ? ["1.1"] : query.attributes
    guard !query.base.utf8.contains(0), !filter.utf8.contains(0), !attributes.contains(where: { $0.utf8.contains(0) }) else {
      throw .protocolViolation("NUL in a search")
    }
    var names: [UnsafeMutablePointer<CChar>?] = attributes.map { strdup($0) }
    names.append(nil)
    defer { for name in names { free(name) } }
    var id: Int32 = 0
    // The server's time limit is in whole seconds; ours is exact and ends the wait. A second more for the server: Samba, given one second, was
    // seen to answer "time limit exceeded" to searches that had taken less.
    var limit = (max(timeout, .seconds(1)) + .seconds(1)).timeval
    let sent = ldap_search_ext(
      pointer, query.base, query.scope.rawValue, filter, &names, 0, nil, nil, &limit, Int32(clamping: query.limit), &id)
    guard sent == LDAP_SUCCESS else {
      throw sent == LDAP_FILTER_ERROR ? .protocolViolation("the filter is not well-formed") : .unreachable(errorText)
    }
    return id
  }

  /// The next message for `id` (the last one, unless `single`), if all of it has arrived; never waits. Messages for other ids are libldap's to drop:
  /// they answer nothing that was asked.
  func received(_ id: Int32, single: Bool) throws(LDAPFault) -> LDAPMessage? {
    var message: OpaquePointer?
    var limit = Foundation.timeval(tv_sec: 0, tv_usec: 0)
    let type = ldap_result(pointer, id, single ? Int32(LDAP_MSG_ONE) : Int32(LDAP_MSG_ALL), &limit, &message)
    guard type != 0 else { return nil }
    guard type > 0, let message else { throw .unreachable(errorText) }
    return LDAPMessage(pointer: message, handle: self, type: ber_tag_t(type))
  }

  /// The same, waiting for it. **Blocks.**
  func receive(_ id: Int32, timeout: Duration) throws(LDAPFault) -> LDAPMessage {
    guard timeout > .zero else { throw .timedOut }
    var message: OpaquePointer?
    var limit = timeout.timeval
    let type = ldap_result(pointer, id, Int32(LDAP_MSG_ALL), &limit, &message)
    guard type != 0 else { throw .timedOut }
    guard type > 0, let message else { throw .unreachable(errorText) }
    return LDAPMessage(pointer: message, handle: self, type: ber_tag_t(type))
  }
}

/// One answer; letting it go frees it.
///
/// `@unchecked Sendable`: as the handle that it came from.
final class LDAPMessage: @unchecked Sendable {
  let pointer: OpaquePointer
  private let handle: LDAPHandle
  /// `LDAP_RES_…`
  let type: ber_tag_t

  init(pointer: OpaquePointer, handle: LDAPHandle, type: ber_tag_t) {
    self.pointer = pointer
    self.handle = handle
    self.type = type
  }

  deinit { ldap_msgfree(pointer) }

  func result() throws(LDAPFault) -> LDAPResult {
    var code: Int32 = 0
    var diagnostic: UnsafeMutablePointer<CChar>?
    guard ldap_parse_result(handle.pointer, pointer, &code, nil, &diagnostic, nil, nil, 0) == LDAP_SUCCESS else {
      throw .protocolViolation("the result cannot be read")
    }
    defer { ldap_memfree(diagnostic) }
    guard code >= 0 else { throw .protocolViolation("result code \(code)") }
    let length = diagnostic.map { strnlen($0, LDAPResult.maximumDiagnosticBytes) } ?? 0
    return LDAPResult(code: code, diagnostic: UnsafeRawBufferPointer(start: diagnostic, count: length))
  }

  /// With what the password policy says, where it was asked.
  func resultWithPolicy() throws(LDAPFault) -> LDAPResult {
    var result = try result()
    let error = cldap_policy_error(handle.pointer, pointer)
    result.policy = error < 0 ? nil : PasswordPolicyError(rawValue: error)
    return result
  }

  func extendedValue() -> [UInt8]? {
    var value: UnsafeMutablePointer<berval>?
    guard ldap_parse_extended_result(handle.pointer, pointer, nil, &value, 0) == LDAP_SUCCESS, let value else { return nil }
    defer { ber_bvfree(value) }
    return Array(UnsafeRawBufferPointer(start: value.pointee.bv_val, count: Int(value.pointee.bv_len)))
  }

  func entry() throws(LDAPFault) -> LDAPEntry {
    guard let name = ldap_get_dn(handle.pointer, pointer) else { throw .protocolViolation("an entry without a name") }
    defer { ldap_memfree(name) }
    guard let distinguishedName = String(validatingCString: name) else { throw .protocolViolation("an entry whose name is not UTF-8") }
    var entry = LDAPEntry(distinguishedName: distinguishedName, attributes: [:])
    var cursor: OpaquePointer?
    defer { ber_free(cursor, 0) }
    var next = ldap_first_attribute(handle.pointer, pointer, &cursor)
    while let attribute = next {
      defer { ldap_memfree(attribute) }
      guard let description = String(validatingCString: attribute) else { throw .protocolViolation("an attribute whose name is not UTF-8") }
      var values: [[UInt8]] = []
      if let list = ldap_get_values_len(handle.pointer, pointer, attribute) {
        defer { ldap_value_free_len(list) }
        for index in 0..<Int(max(0, ldap_count_values_len(list))) {
          guard let value = list[index]?.pointee else { continue }
          values.append(Array(UnsafeRawBufferPointer(start: value.bv_val, count: Int(value.bv_len))))
        }
      }
      entry.attributes[asciiLowercased(description), default: []] += values
      next = ldap_next_attribute(handle.pointer, pointer, cursor)
    }
    return entry
  }
}
