import Identity

/// Why an LDAP operation gave no answer that could be judged.
enum LDAPFault: Error, Equatable {
  /// No TCP connection, or it ended. The text is for administrators.
  case unreachable(String)
  /// The server sent nothing (complete) within the time.
  case timedOut
  /// The question's time was up before a server was asked.
  case noTime
  /// The question was given to somebody else before the password was put before the directory.
  case withdrawn
  /// The certificate, the name in it, or the handshake was not acceptable.
  case tls(String)
  /// The peer answered something that RFC 4511 does not allow at this point, or more than the limits allow.
  case protocolViolation(String)
  /// The peer said "success" but could not show whose session it is.
  case unproven(String)
  /// The directory answered with an error that does not depend on the person.
  case result(LDAPResult)
  /// The directory does not accept the credential that Gatehouse searches with, or it cannot be read.
  case serviceCredential(String)
  /// No server is left to ask.
  case noServer(String)
  /// The password must not be put before the directory; who weighed it knows the verdict.
  case withheld
  /// All connections are in use and too many questions wait already.
  case overloaded
  /// The server went out of use while the question waited for a connection to it.
  case turnedAway

  /// What the person's sign-in is answered with.
  var cause: UnknownCause {
    switch self {
    case .unreachable: .directoryUnreachable
    case .timedOut, .noTime, .withdrawn: .deadlineExceeded
    case .tls: .directoryTLS
    case .protocolViolation: .directoryError
    case .unproven: .directoryUnproven
    case .result(let result): result.unknownCause
    case .serviceCredential: .serviceCredentialRefused
    case .noServer: .noDirectoryServer
    case .withheld: .internalError
    case .overloaded: .overloaded
    case .turnedAway: .directoryUnreachable
    }
  }

  /// For the trace; never contains a password.
  var summary: String {
    switch self {
    case .unreachable(let text): "unreachable: \(text)"
    case .timedOut: "no answer in time"
    case .noTime: "no time left to ask"
    case .withdrawn: "the gateway waits for another agent's answer; the password was not put before the directory"
    case .tls(let text): "TLS: \(text)"
    case .protocolViolation(let text): "not LDAP as it should be: \(text)"
    case .unproven(let text): "success without proof: \(text)"
    case .result(let result): result.summary
    case .serviceCredential(let text): "service credential: \(text)"
    case .noServer(let text): "no directory server: \(text)"
    case .withheld: "withheld"
    case .overloaded: "all connections are busy"
    case .turnedAway: "went out of use"
    }
  }

  /// Whether the question may be put to another server. What depends on us, not on the server, may not.
  var concernsServer: Bool {
    switch self {
    case .unreachable, .timedOut, .tls, .protocolViolation, .unproven: true
    case .result(let result): result.concernsServer
    case .noTime, .withdrawn, .serviceCredential, .noServer, .withheld, .overloaded, .turnedAway: false
    }
  }

  /// Whether it may be no more than a kept connection that ended while nobody looked; `operationsError` is AD's word for that.
  var mayBeStaleConnection: Bool {
    switch self {
    case .unreachable: true
    case .result(let result): result.code == 1
    default: false
    }
  }

  /// Whether another server may have room or time for the question where this one had none.
  var isCrowding: Bool { self == .noTime || self == .overloaded || self == .turnedAway }
}

/// The LDAPResult of RFC 4511 §4.1.9, bounded.
struct LDAPResult: Sendable, Equatable {
  var code: Int32
  /// At most `maximumDiagnosticBytes` of the server's text, as bytes: nobody promised that they are UTF-8.
  var diagnostic: [UInt8]

  /// What the directory's password policy says, where it was asked and says something.
  var policy: PasswordPolicyError?

  static let maximumDiagnosticBytes = 512

  init(code: Int32, diagnostic: some Sequence<UInt8> = []) {
    self.code = code
    self.diagnostic = Array(diagnostic.prefix(LDAPResult.maximumDiagnosticBytes))
  }

  /// Code, sub-code and the printable part of the text.
  var summary: String {
    let text = String(decoding: diagnostic.map { (0x20...0x7e).contains($0) ? $0 : UInt8(ascii: ".") }, as: UTF8.self)
    return "result \(code)" + (text.isEmpty ? "" : " (\(text))") + (policy.map { ", password policy: \($0)" } ?? "")
  }
}

/// The error of a password policy response (draft-behera-ldap-password-policy-10 §6.2).
enum PasswordPolicyError: Int32, Sendable {
  case passwordExpired = 0, accountLocked, changeAfterReset, passwordModNotAllowed, mustSupplyOldPassword, insufficientPasswordQuality,
    passwordTooShort, passwordTooYoung, passwordInHistory, passwordTooLong
}

/// An entry of a search.
struct LDAPEntry: Sendable, Equatable {
  var distinguishedName: String
  /// Attribute descriptions in lower case (options such as `;range=0-1499` included) → values.
  var attributes: [String: [[UInt8]]]

  /// The values of an attribute, by any spelling of its name.
  func values(_ name: String) -> [[UInt8]] { attributes[asciiLowercased(name)] ?? [] }

  /// The first value that is UTF-8.
  func text(_ name: String) -> String? {
    for value in values(name) { if let text = String(validating: value, as: UTF8.self) { return text } }
    return nil
  }
}
