import Bytes
import Identity
import Testing

@testable import ActiveDirectory

@Suite("Garbled answers")
struct GarbledAnswerTests {
  @Test("Whatever a server writes into its diagnostic, nothing traps, and it never becomes a yes")
  func mutatedDiagnostics() {
    let seed = Array("80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data 52e, v1db1".utf8)
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<5000 {
      var bytes = seed
      for _ in 0...Int.random(in: 0...6, using: &generator) where !bytes.isEmpty {
        switch Int.random(in: 0..<4, using: &generator) {
        case 0: bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
        case 1: bytes.remove(at: Int.random(in: 0..<bytes.count, using: &generator))
        case 2: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: Int.random(in: 0...bytes.count, using: &generator))
        default: bytes = Array(bytes.prefix(Int.random(in: 1...bytes.count, using: &generator)))
        }
      }
      #expect(BindMeaning(LDAPResult(code: 49, diagnostic: bytes), kind: .activeDirectory) != .success)
    }
  }

  @Test("Security identifiers of any bytes are read or refused, never a trap")
  func securityIdentifiers() {
    #expect(SecurityIdentifier.text(SecurityIdentifier.anonymous) == "S-1-5-7")
    #expect(SecurityIdentifier.text([1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0]) == "S-1-5-32-544")
    for bytes in [[], [1], [1, 2, 0], [2, 0, 0, 0, 0, 0, 0, 5], [1, 255, 0, 0, 0, 0, 0, 5], [1, 1, 0, 0, 0, 0, 0, 5, 1, 2, 3]] as [[UInt8]] {
      #expect(SecurityIdentifier.text(bytes) == nil)
      #expect(!SecurityIdentifier.isOfDomain(bytes))
      #expect(!SecurityIdentifier.isBuiltIn(bytes))
    }
  }

  @Test("Expiry times of any text are a time, never, or nothing")
  func expiryTimes() {
    func expiry(_ text: String) -> Int64? {
      PersonAttributes.passwordExpiry(
        LDAPEntry(distinguishedName: "", attributes: ["msds-userpasswordexpirytimecomputed": [Array(text.utf8)]]))?.milliseconds
    }
    #expect(expiry("116444736000000000") == 0)
    for text in ["", "0", "-1", "9223372036854775807", "9223372036854775808", "+5", "1e9", " 1", "١"] { #expect(expiry(text) == nil, "\(text)") }
  }

  @Test("Ranges that go nowhere are not followed")
  func ranges() {
    func next(_ description: String) -> Int? {
      PersonAttributes.nextRange(LDAPEntry(distinguishedName: "", attributes: [description: []]), of: "Member")?.start
    }
    #expect(next("member;range=0-1499") == 1500)
    for description in [
      "member", "member;range=0-*", "member;range=", "member;range=0", "member;range=0--1", "member;range=0-9223372036854775807",
      "memberof;range=0-9",
    ] {
      #expect(next(description) == nil, "\(description)")
    }
  }

  @Test("DNS answers that are cut, mutated or made of noise give records or none, never a trap")
  func dnsAnswers() {
    // _ldap._tcp.dc._msdcs.x.test SRV 0 100 389 dc1.x.test, SRV 10 0 389 dc2.x.test, with compressed names.
    var answer: [UInt8] = [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0]
    for label in ["_ldap", "_tcp", "dc", "_msdcs", "x", "test"] { answer += [UInt8(label.utf8.count)] + Array(label.utf8) }
    answer += [0, 0, 33, 0, 1]
    let zone = UInt8(12 + 6 + 5 + 3 + 7)
    for (priority, weight, host) in [(UInt8(0), UInt8(100), "dc1"), (10, 0, "dc2")] {
      let data: [UInt8] = [0, priority, 0, weight, 0x01, 0x85, 3] + Array(host.utf8) + [0xc0, zone]
      answer += [0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, UInt8(data.count)] + data
    }
    #expect(
      ServiceRecord.parse(answer) == [
        ServiceRecord(priority: 0, weight: 100, port: 389, target: "dc1.x.test"),
        ServiceRecord(priority: 10, weight: 0, port: 389, target: "dc2.x.test"),
      ])
    var generator = SystemRandomNumberGenerator()
    for length in 0..<answer.count { _ = ServiceRecord.parse(Array(answer.prefix(length))) }
    for _ in 0..<5000 {
      var bytes = answer
      for _ in 0..<4 { bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator) }
      _ = ServiceRecord.parse(bytes)
    }
  }
}
