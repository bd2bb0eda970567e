import Bytes
import Foundation
import Identity
import NIOPosix
import Testing

@testable import ActiveDirectory

@Suite("Directories that answer what they should not")
struct HostileDirectoryTests {
  typealias Server = ScriptedLDAPServer

  static func diagnostic(_ data: String) -> String { "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data \(data), v1db1" }

  @Test("The scripted server without a fault is a directory like any other")
  func noFault() async throws {
    try await Server.with(.none) { server in
      let validator = try await server.validator()
      let yes = try await validator.judge("person", "right")
      #expect(yes.verdict.person?.immutableID == Data(16..<32).base64EncodedString(), "ms-DS-ConsistencyGuid goes before objectGUID")
      #expect(try await validator.judge("person", "wrong").verdict.refusal == .wrongPassword)
    }
    try await Server.with(.none, startTLS: true) { server in
      let validator = try await server.validator(security: .startTLS)
      #expect(try await validator.judge("person", "right").verdict.person != nil)
    }
  }

  @Test(
    "Sub-codes that Samba never sends",
    arguments: [
      ("525", Verdict.refused(Refusal(.userNotFound))), ("52f", .refused(Refusal(.accountRestriction))), ("534", .refused(Refusal(.signInType))),
      ("568", .unknown(.tooManyGroups)), ("999", .unknown(.directoryError)),
    ])
  func rareSubCodes(data: String, expected: Verdict) async throws {
    try await Server.with(.bindResult(49, HostileDirectoryTests.diagnostic(data))) { server in
      let verdict = try await server.validator().judge("person", "right").verdict
      #expect(verdict.refusal == expected.refusal && verdict.unknown == expected.unknown, "\(verdict)")
    }
  }

  @Test(
    "What is no answer about the password is 'could not find out'",
    arguments: [
      (1, UnknownCause.directoryError), (2, .directoryError), (8, .directoryError), (10, .directoryError), (14, .directoryError),
      (51, .directoryBusy),
      (52, .directoryUnreachable), (53, .directoryError), (80, .directoryError), (123, .directoryError),
    ])
  func infrastructureResults(code: Int, cause: UnknownCause) async throws {
    try await Server.with(.bindResult(code, "")) { server in
      let validator = try await server.validator()
      #expect(try await validator.judge("person", "right").verdict == .unknown(cause))
    }
  }

  @Test("A failed channel binding is the configuration's fault, not the user's")
  func channelBinding() async throws {
    try await Server.with(.bindResult(49, "80090346: LdapErr: DSID-0C090597, comment: AcceptSecurityContext error, data 80090346, v4563")) { server in
      let validator = try await server.validator()
      #expect(try await validator.judge("person", "right").verdict == .unknown(.directoryChannelBinding))
    }
  }

  @Test("A server that answers success to everything is not believed")
  func successForEverybody() async throws {
    for kind in DirectoryKind.allCases where kind == .activeDirectory {
      try await Server.with(.successForEverybodyAnonymously) { server in
        let validator = try await server.validator(kind: kind)
        #expect(try await validator.judge("person", "wrong").verdict == .unknown(.directoryUnproven))
      }
    }
  }

  @Test("A success without the right to see objectSid is not believed")
  func noObjectSID() async throws {
    try await Server.with(.noObjectSID) { server in
      let validator = try await server.validator()
      #expect(try await validator.judge("person", "right").verdict == .unknown(.directoryUnproven))
    }
  }

  @Test("Referrals are never followed", arguments: [0, 1, 2])
  func referrals(variant: Int) async throws {
    let canary = try await Canary()
    let url = "ldap://127.0.0.1:\(canary.port)/DC=scripted,DC=test"
    let fault = [Server.Fault.bindReferral(url), .searchReferral(url), .searchReferenceBesideEntry(url)][variant]
    try await Server.with(fault) { server in
      let verdict = try await server.validator().judge("person", "right").verdict
      #expect(variant == 2 ? verdict.person != nil : verdict == .unknown(.directoryError), "\(verdict)")
    }
    #expect(canary.connections == 0)
    try await canary.stop()
  }

  @Test("An answer with another message's id, of another kind, or cut off is no answer")
  func wrongAnswers() async throws {
    let short = DirectoryTimeouts(connect: .seconds(1), operation: .milliseconds(500))
    try await Server.with(.bindWithWrongMessageID) { server in
      let validator = try await server.validator(timeouts: short)
      #expect(try await validator.judge("person", "right").verdict == .unknown(.deadlineExceeded))
    }
    try await Server.with(.bindAnsweredBySearchResult) { server in
      let validator = try await server.validator(timeouts: short)
      #expect(try await validator.judge("person", "right").verdict.unknown != nil)
    }
    try await Server.with(.closeAfterBind) { server in
      let validator = try await server.validator(timeouts: short)
      #expect(try await validator.judge("person", "right").verdict == .unknown(.directoryUnreachable))
    }
    try await Server.with(.hugeMessage) { server in
      let validator = try await server.validator(timeouts: short)
      #expect(try await validator.judge("person", "right").verdict.unknown != nil)
    }
    try await Server.with(.indefiniteLength) { server in
      let validator = try await server.validator(timeouts: short)
      #expect(try await validator.judge("person", "right").verdict.unknown != nil)
    }
  }

  @Test(
    "Silence, dripping and chatter end at the deadline",
    arguments: [Server.Fault.silentAfterAccept, .silentAfterBind, .dripAfterBind, .chatterAfterBind])
  func silence(fault: Server.Fault) async throws {
    try await Server.with(fault) { server in
      let validator = try await server.validator()
      let started = ContinuousClock.now
      let judgement = try await validator.judge("person", "right", within: .milliseconds(700))
      let took = started.duration(to: .now)
      #expect(judgement.verdict.unknown == .deadlineExceeded, "\(judgement)")
      #expect(took >= .milliseconds(650) && took < .seconds(3), "\(took)")
    }
  }

  @Test("A bind that was sent is never repeated at another server, whatever becomes of it")
  func noSecondBind() async throws {
    for fault in [
      Server.Fault.closeAfterBind, .resetAfterSuccess, .silentAfterBind, .bindResult(1, ""), .bindResult(53, ""), .bindResult(80, ""),
      .bindResult(49, HostileDirectoryTests.diagnostic("52e")),
    ] {
      try await Server.with(fault) { first in
        try await Server.with(.none) { second in
          let validator = try await first.validator(
            timeouts: DirectoryTimeouts(connect: .seconds(5), quickConnect: .seconds(5), operation: .milliseconds(1500)),
            others: [DirectoryServer(host: Server.host, port: second.port, address: "127.0.0.1")])
          let verdict = try await validator.judge("person", "right").verdict
          #expect(verdict.person == nil, "\(fault)")
          #expect(first.personBinds == 1 && second.personBinds == 0, "\(fault)")
        }
      }
    }
  }

  @Test("A server that says it is busy did not try the bind, so the next one is asked")
  func busyGoesOn() async throws {
    for code in [51, 52] {
      try await Server.with(.bindResult(code, "")) { first in
        try await Server.with(.none) { second in
          let validator = try await first.validator(
            timeouts: DirectoryTimeouts(connect: .seconds(5), quickConnect: .seconds(5)),
            others: [DirectoryServer(host: Server.host, port: second.port, address: "127.0.0.1")])
          #expect(try await validator.judge("person", "right").verdict.person != nil)
          #expect(first.personBinds == 1 && second.personBinds == 1)
        }
      }
    }
  }

  @Test("A search that one server answers with its own trouble is put to the next one at once", arguments: [1, 3, 11, 51, 52, 53, 80])
  func searchGoesOn(code: Int) async throws {
    try await Server.with(.searchResult(code)) { first in
      try await Server.with(.none) { second in
        let validator = try await first.validator(
          timeouts: DirectoryTimeouts(connect: .seconds(5), quickConnect: .seconds(5)),
          others: [DirectoryServer(host: Server.host, port: second.port, address: "127.0.0.1")])
        for _ in 0..<5 { #expect(try await validator.judge("person", "right").verdict.person != nil) }
        #expect(first.personBinds == 0 && second.personBinds == 5)
      }
    }
  }

  @Test(
    "Whose binds fail by the server's own trouble is out of use after three, and the others answer", arguments: [1, 53, 80])
  func troubledBinds(code: Int) async throws {
    try await Server.with(.bindResult(code, "")) { first in
      try await Server.with(.none) { second in
        let validator = try await first.validator(
          timeouts: DirectoryTimeouts(connect: .seconds(5), quickConnect: .seconds(5)),
          others: [DirectoryServer(host: Server.host, port: second.port, address: "127.0.0.1")])
        var verdicts: [Verdict] = []
        for _ in 0..<60 { verdicts.append(try await validator.judge("person", "right").verdict) }
        #expect(verdicts.allSatisfy { $0.person != nil || $0 == .unknown(.directoryError) }, "never a wrong password")
        #expect(verdicts.count { $0.person == nil } == first.personBinds)
        #expect((1...3).contains(first.personBinds) && second.personBinds == 60 - first.personBinds)
      }
    }
  }

  @Test("More entries than could be one person are ambiguous, and are not read to the end")
  func endlessEntries() async throws {
    try await Server.with(.endlessEntries) { server in
      let validator = try await server.validator()
      #expect(try await validator.judge("person", "right").verdict == .refused(Refusal(.ambiguousName)))
    }
  }

  @Test("A search that fails is 'could not find out', never 'no such user'", arguments: [1, 32, 50, 51, 53, 80])
  func failedSearch(code: Int) async throws {
    try await Server.with(.searchResult(code)) { server in
      let validator = try await server.validator()
      #expect(try await validator.judge("person", "right").verdict.unknown != nil)
      #expect(server.personBinds == 0)
    }
  }

  @Test("Values that come in ranges are fetched to the last one", arguments: [100, 101, 350])
  func ranges(count: Int) async throws {
    try await Server.with(.rangedMembers(count)) { server in
      let judgement = try await server.validator().judge("person", "right", wanting: AttributeRequest(attributes: ["member"]))
      #expect(judgement.verdict.person?.attributes["member"]?.count == count, "\(judgement)")
    }
  }

  @Test("Without StartTLS nothing is said, and what lay behind its answer in clear text is not taken for an answer")
  func startTLSAttacks() async throws {
    for fault in [Server.Fault.startTLSRefused, .startTLSWithInjectedBindResponse] {
      try await Server.with(fault, startTLS: true) { server in
        let validator = try await server.validator(security: .startTLS, timeouts: DirectoryTimeouts(connect: .milliseconds(500)))
        let judgement = try await validator.judge("person", "right")
        #expect(judgement.verdict.unknown == .directoryTLS || judgement.verdict.unknown == .deadlineExceeded, "\(judgement)")
        #expect(!server.operations.contains { if case .bind = $0 { true } else { false } }, "\(server.operations)")
      }
    }
  }

  struct BadCertificate: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var commonName = ScriptedLDAPServer.host
    var alternativeName: String? = "DNS:\(ScriptedLDAPServer.host)"
    var usage = "serverAuth"
    var days = 30
    var selfSigned = false
  }

  @Test(
    "A certificate with a fault is refused before any bind, and an alarm tells",
    arguments: [
      BadCertificate(testDescription: "common name only", alternativeName: nil),
      BadCertificate(testDescription: "another name, the right common name", alternativeName: "DNS:other.scripted.test"),
      BadCertificate(testDescription: "an address only", alternativeName: "IP:127.0.0.1"),
      BadCertificate(testDescription: "a wildcard for a top-level domain", alternativeName: "DNS:*.test"),
      BadCertificate(testDescription: "a wildcard two labels up", alternativeName: "DNS:*.*.test"),
      BadCertificate(testDescription: "for clients only", usage: "clientAuth"),
      BadCertificate(testDescription: "expired", days: -1),
      BadCertificate(testDescription: "signed by itself", selfSigned: true),
    ])
  func badCertificates(fault: BadCertificate) async throws {
    let certificate = try await TestCertificates.shared.value.issue(
      fault.testDescription.replacingOccurrences(of: " ", with: "-").replacingOccurrences(of: ",", with: ""), commonName: fault.commonName,
      alternativeName: fault.alternativeName, usage: fault.usage, days: fault.days, selfSigned: fault.selfSigned)
    try await Server.with(.none, certificate: certificate) { server in
      let validator = try await server.validator()
      let judgement = try await validator.judge("person", "right")
      #expect(judgement.verdict == .unknown(.directoryTLS), "\(judgement)")
      #expect(await validator.alarms().map(\.code) == [.directoryCertificate])
      #expect(!server.operations.contains { if case .bind = $0 { true } else { false } })
    }
  }

  @Test("A wildcard for the one label in front is accepted")
  func goodWildcard() async throws {
    let certificate = try await TestCertificates.shared.value.issue("wildcard", commonName: "x", alternativeName: "DNS:*.scripted.test")
    try await Server.with(.none, certificate: certificate) { server in
      let validator = try await server.validator()
      #expect(try await validator.judge("person", "right").verdict.person != nil)
    }
  }

  // RFC 4513 §5.1.2: a bind without a password succeeds as anonymous. `Password` cannot be made of these; the innermost line is tested by itself.
  @Test("An empty password, or one with NUL, never reaches the wire", arguments: [[], [0], [0, 0x78], [0x78, 0]] as [[UInt8]])
  func emptyPassword(bytes: [UInt8]) async throws {
    #expect(Password(Secret(bytes)) == nil)
    try await Server.with(.successForEverybody) { server in
      let address = try #require(NetworkAddress.literal("127.0.0.1", port: server.port))
      let authority = try await TestCertificates.shared.value.authority
      let peer = LDAPConnection.Peer(host: Server.host, addresses: [address], protection: .tls(.ldaps), authorityFile: authority)
      let loop = try DirectoryLoop()
      defer { loop.stop() }
      let (connection, _) = try await LDAPConnection.open(
        peer, timeout: .seconds(5), loop: loop, timers: MultiThreadedEventLoopGroup.singleton.any())
      await #expect(throws: LDAPFault.self) {
        _ = try await connection.bind(Server.person, password: Secret(bytes), timeout: .seconds(1))
      }
      await #expect(throws: LDAPFault.self) {
        _ = try await connection.bind("", password: Secret("right".utf8), timeout: .seconds(1))
      }
      #expect(server.operations == [.connection])
    }
  }
}
