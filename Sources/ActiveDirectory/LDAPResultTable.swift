import Identity

/// The one table from what a directory answers to a bind to what that means (RFC 4511 Appendix A).
///
/// It is closed: what is not listed is `.unknown(.directoryError)`, never a yes and never a wrong password.
enum BindMeaning: Sendable, Equatable {
  case success
  case refused(RefusalReason, subCode: String?)
  case unknown(UnknownCause, subCode: String?)

  init(_ result: LDAPResult, kind: DirectoryKind) {
    switch result.code {
    // The password was right, and nothing but its change is allowed.
    case 0 where kind == .openLDAP && result.policy == .changeAfterReset: self = .refused(.mustChangePassword, subCode: nil)
    case 0: self = .success
    // OpenLDAP's policy looks at the age only after the password was found right.
    case 49 where kind == .openLDAP && result.policy == .passwordExpired: self = .refused(.passwordExpired, subCode: nil)
    case 49 where kind == .openLDAP && result.policy == .accountLocked: self = .refused(.directoryLocked, subCode: nil)
    case 49:  // invalidCredentials
      self = kind == .activeDirectory ? BindMeaning.ofDiagnostic(result.diagnostic) : .refused(.wrongPassword, subCode: nil)
    case 48 where kind == .openLDAP:  // inappropriateAuthentication: the entry has no password to compare with
      self = .refused(.wrongPassword, subCode: nil)
    default: self = .unknown(result.unknownCause, subCode: nil)
    }
  }

  private static func ofDiagnostic(_ diagnostic: [UInt8]) -> BindMeaning {
    let parsed = ActiveDirectoryDiagnostic(diagnostic)
    // The SECURITY_STATUS in front comes first: with these, AD never looked at the password.
    switch parsed.status {
    case 0x8009_0346: return .unknown(.directoryChannelBinding, subCode: parsed.subCode)  // SEC_E_BAD_BINDINGS
    case 0x8009_0311: return .unknown(.directoryUnreachable, subCode: parsed.subCode)  // SEC_E_NO_AUTHENTICATING_AUTHORITY
    default: break
    }
    guard let subCode = parsed.subCode else { return .refused(.wrongPassword, subCode: nil) }  // 49 without data says no more than RFC 4511
    switch parsed.win32 {
    case 0x525: return .refused(.userNotFound, subCode: subCode)  // ERROR_NO_SUCH_USER
    case 0x52e: return .refused(.wrongPassword, subCode: subCode)  // ERROR_LOGON_FAILURE
    case 0x52f: return .refused(.accountRestriction, subCode: subCode)  // ERROR_ACCOUNT_RESTRICTION
    case 0x530: return .refused(.signInHours, subCode: subCode)  // ERROR_INVALID_LOGON_HOURS
    case 0x531: return .refused(.workstation, subCode: subCode)  // ERROR_INVALID_WORKSTATION
    case 0x532: return .refused(.passwordExpired, subCode: subCode)  // ERROR_PASSWORD_EXPIRED
    case 0x533: return .refused(.accountDisabled, subCode: subCode)  // ERROR_ACCOUNT_DISABLED
    case 0x534: return .refused(.signInType, subCode: subCode)  // ERROR_LOGON_TYPE_NOT_GRANTED
    case 0x568: return .unknown(.tooManyGroups, subCode: subCode)  // ERROR_TOO_MANY_CONTEXT_IDS
    case 0x701: return .refused(.accountExpired, subCode: subCode)  // ERROR_ACCOUNT_EXPIRED
    case 0x773: return .refused(.mustChangePassword, subCode: subCode)  // ERROR_PASSWORD_MUST_CHANGE
    case 0x775: return .refused(.directoryLocked, subCode: subCode)  // ERROR_ACCOUNT_LOCKED_OUT
    default: return .unknown(.directoryError, subCode: subCode)
    }
  }
}

extension LDAPResult {
  /// What a result that is neither success nor about a person's credentials means.
  var unknownCause: UnknownCause {
    switch code {
    case 3: .deadlineExceeded  // timeLimitExceeded
    case 51: .directoryBusy  // busy
    case 52: .directoryUnreachable  // unavailable
    default: .directoryError
    }
  }

  /// Whether another server of the domain may answer better. `operationsError` is what AD says on a session that lost its bind.
  var concernsServer: Bool {
    switch code {
    case 1, 3, 11, 51, 52, 53, 80: true
    default: false
    }
  }

  /// Whether the directory itself says that it did not process the request, so that asking elsewhere cannot count a try twice.
  var wasNotProcessed: Bool { code == 51 || code == 52 }
}

/// AD's text behind result 49: `80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data 52e, v1db1`, sometimes with a NUL at the end.
struct ActiveDirectoryDiagnostic: Equatable {
  /// The SECURITY_STATUS in front, where there is one.
  var status: UInt32?
  /// The hexadecimal number behind `data `, lower case, as sent.
  var subCode: String?
  /// The same as a number.
  var win32: UInt32?

  init(_ text: [UInt8]) {
    let digits = text.prefix { ActiveDirectoryDiagnostic.nibble($0) != nil }
    if digits.count == 8, text.dropFirst(8).first == UInt8(ascii: ":") { status = ActiveDirectoryDiagnostic.number(digits) }

    var rest = text[...]
    let marker = Array("data ".utf8)
    while rest.count > marker.count {
      if rest.starts(with: marker) {
        let hex = rest.dropFirst(marker.count).prefix { ActiveDirectoryDiagnostic.nibble($0) != nil }
        let next = rest.dropFirst(marker.count + hex.count).first
        // What follows must end the number: `data 52eX` is not 52e.
        if (1...8).contains(hex.count), next == nil || next == UInt8(ascii: ",") || next == 0x20 || next == 0 {
          win32 = ActiveDirectoryDiagnostic.number(hex)
          subCode = asciiLowercased(String(decoding: hex, as: UTF8.self))
          return
        }
      }
      rest = rest.dropFirst()
    }
  }

  private static func number(_ digits: some Sequence<UInt8>) -> UInt32 {
    digits.reduce(0) { ($0 << 4) | UInt32(nibble($1) ?? 0) }
  }

  private static func nibble(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x41 + 10
    case 0x61...0x66: byte - 0x61 + 10
    default: nil
    }
  }
}
