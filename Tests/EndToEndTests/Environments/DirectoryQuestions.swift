import ActiveDirectory
import Bytes
import Foundation
import Identity
import Logging
import Testing

/// Short ways to ask the directory door, for scenarios.
extension LDAPPasswordValidator {
  private static let loop = Result { try DirectoryLoop() }

  static func make(_ settings: DirectorySettings) throws -> LDAPPasswordValidator {
    LDAPPasswordValidator(
      settings: settings, loop: try loop.get(), logger: Logger(label: "directory") { _ in SwiftLogNoOpLogHandler() }, now: { Instant(Date()) })
  }

  /// The judgement on a name and a password, within five seconds unless told.
  func judge(
    _ name: String, _ password: String, wanting: AttributeRequest = .none, within limit: Duration = .seconds(5)
  ) async throws -> Judgement {
    let credential = Credential(
      userName: try #require(UserName(name)), password: try #require(Password(Secret(password.utf8))),
      realm: try #require(RealmName("gatehouse.test")))
    return await validate(credential, wanting: wanting, deadline: Deadline(after: limit))
  }

  /// What comes of changing a password, within five seconds.
  func change(_ name: String, from old: String, to new: String, wanting: AttributeRequest = .none) async throws -> Judgement {
    let credential = Credential(
      userName: try #require(UserName(name)), password: try #require(Password(Secret(old.utf8))),
      realm: try #require(RealmName("gatehouse.test")))
    return await change(credential, to: try #require(Password(Secret(new.utf8))), wanting: wanting, deadline: Deadline(after: .seconds(5)))
  }
}

extension PasswordChangeOutcome {
  var isChanged: Bool { if case .changed = self { true } else { false } }
  var rules: PasswordRules? { if case .notTaken(let rules) = self { rules } else { nil } }
  var refusal: Refusal? { if case .refused(let refusal) = self { refusal } else { nil } }
  var person: AcceptedPerson? { if case .changed(let person) = self { person } else { nil } }
}

extension Verdict {
  var refusal: RefusalReason? { if case .refused(let refusal) = self { refusal.reason } else { nil } }
  var unknown: UnknownCause? { if case .unknown(let cause) = self { cause } else { nil } }
  var person: AcceptedPerson? { if case .accepted(let person) = self { person } else { nil } }
}

extension DirectorySettings {
  /// Samba as the tests use it.
  static func samba(
    _ domain: SambaDomain.Settings, servers: [DirectoryServer]? = nil, security: TransportSecurity = .ldaps, credential: ServiceCredential? = nil,
    authorityFile: String? = nil, timeouts: DirectoryTimeouts = DirectoryTimeouts()
  ) throws -> DirectorySettings {
    DirectorySettings(
      realm: try #require(RealmName("gatehouse.test")), domains: [domain.domain(servers)], security: security,
      authorityFile: authorityFile ?? domain["AD_CA"], credential: credential ?? domain.credential, timeouts: timeouts)
  }
}
