import Bytes
import Cryptography
import Foundation
import GatehouseTesting
import Identity
import Testing

let start = Instant(milliseconds: 1_767_225_600_000)

/// An event with everything in it that an event can have.
func fullEvent(_ number: Int = 0) -> AuditEvent {
  AuditEvent(
    time: start.adding(.seconds(number)), kind: .signIn, reference: Reference("7G4K-9Q2M-XW3T"), actor: "portal", realm: RealmName("contoso.com"),
    subject: "alice\(number)", object: Identifier(bytes: [UInt8](repeating: 7, count: 16)), outcome: "refused:wrongPassword",
    details: ["subCode": "52e", "address": "192.0.2.1"], trace: [TraceNote(.bind, "dc1 said 52e", milliseconds: 1.25), TraceNote(.verdict, "no")])
}

@Suite struct `The canonical text of an event` {
  @Test func `is JSON with sorted keys and nothing between`() {
    #expect(
      String(decoding: fullEvent().canonical, as: UTF8.self)
        == #"{"actor":"portal","details":{"address":"192.0.2.1","subCode":"52e"},"kind":"sign-in","object":"07070707-0707-0707-0707-070707070707","#
        + #""outcome":"refused:wrongPassword","realm":"contoso.com","reference":"7G4K-9Q2M-XW3T","subject":"alice0","time":1767225600000,"#
        + #""trace":[{"detail":"dc1 said 52e","milliseconds":1.25,"step":"bind"},{"detail":"no","step":"verdict"}]}"#)
  }

  @Test(arguments: [
    "a\r\n{\"event\":\"login.ok\"}", "\u{1b}[31mred\u{1b}[0m", "a\u{2028}b\u{2029}c", "\"\\\"", "\u{0}", "\u{7f}\u{9b}31m", "\u{202e}txt.exe",
    "\u{feff}", "e\u{301}", "\u{e9}", "\"\u{301}",
    "\\\u{338}", "😀", "\u{ffff}", "\u{200b}\u{200d}", "</script>", "\u{061c}\u{2066}",
  ])
  func `keeps every text on its line and gives it back byte for byte`(text: String) throws {
    var event = fullEvent()
    event.subject = text
    event.details = [text: text]
    event.trace = [TraceNote(.search, text)]
    let canonical = event.canonical
    let forbidden = String(decoding: canonical, as: UTF8.self).unicodeScalars.filter {
      [.control, .lineSeparator, .paragraphSeparator, .format].contains($0.properties.generalCategory)
    }
    #expect(forbidden.isEmpty)
    let read = try #require(AuditEvent(canonical: canonical))
    #expect(try #require(read.subject).utf8.elementsEqual(text.utf8))
    #expect(read.canonical == canonical)
  }

  @Test(arguments: [0, 0.1, 1e-300, Double.leastNonzeroMagnitude, 1.7976931348623157e308, -0.0, 123456.789, 1e21, 1 / 3.0])
  func `keeps numbers exactly`(number: Double) throws {
    var event = fullEvent()
    event.trace = [TraceNote(.bind, "", milliseconds: number)]
    #expect(AuditEvent(canonical: event.canonical)?.trace.first?.milliseconds?.bitPattern == number.bitPattern)
  }

  @Test func `is refused in any other form of the same JSON`() {
    let text = String(decoding: fullEvent().canonical, as: UTF8.self)
    for other in [
      text.replacingOccurrences(of: ":", with: ": "), " " + text, text + "\n", text.replacingOccurrences(of: "1767225600000", with: "1.7672256e12"),
      text.replacingOccurrences(of: "portal", with: "\\u0070ortal"), text.replacingOccurrences(of: "1.25", with: "1.250"),
      text.dropLast() + #","extra":1}"#, text.replacingOccurrences(of: #""kind":"sign-in","#, with: ""),
      text.replacingOccurrences(of: "sign-in", with: "sign-on"),
      #"{"actor":"x","# + text.dropFirst(), "", "{}", "null", String(repeating: "[", count: 100_000), String(repeating: "{\"a\":", count: 100_000),
    ] { #expect(AuditEvent(canonical: Array(other.utf8)) == nil) }
  }

  @Test func `of an event with too much in it is cut to its limits`() throws {
    var event = fullEvent()
    event.actor = String(repeating: "é", count: 200)
    event.subject = String(repeating: "😀", count: 1000)
    event.outcome = String(repeating: "x", count: 1000)
    event.details = Dictionary(
      uniqueKeysWithValues: (0..<500).map { ("key \($0) " + String(repeating: "k", count: 100), String(repeating: "v", count: 9999)) })
    event.trace = (0..<500).map { TraceNote(.search, String(repeating: "王", count: 9999), milliseconds: $0 == 0 ? .infinity : 1) }
    let bounded = event.bounded
    #expect(bounded.actor.utf8.count == 256 && bounded.subject?.utf8.count == 512 && bounded.outcome.utf8.count == 128)
    #expect(bounded.details.count <= 64 && bounded.details.allSatisfy { $0.key.utf8.count <= 64 && $0.value.utf8.count <= 1024 })
    #expect(bounded.trace.count == 64 && bounded.trace.allSatisfy { $0.detail.utf8.count <= 1024 } && bounded.trace[0].milliseconds == nil)
    #expect(bounded.canonical.count < AuditEvent.maximumBytes && bounded.bounded == bounded)
    #expect(AuditEvent(canonical: bounded.canonical) == bounded)
  }
}

@Suite struct `A chain` {
  @Test func `covers each row by the hash of the next, as anybody can compute`() {
    let rows = AuditChain.extend("node-1", after: 0, hash: AuditChain.genesis, with: [fullEvent(1), fullEvent(2)])
    let first = Digests.sha256(
      [UInt8](repeating: 0, count: 32) + Array(#"{"chain":"node-1","event":"#.utf8) + fullEvent(1).canonical + Array(#","sequence":1}"#.utf8))
    let second = Digests.sha256(first + Array(#"{"chain":"node-1","event":"#.utf8) + fullEvent(2).canonical + Array(#","sequence":2}"#.utf8))
    #expect(rows.map(\.row.hash) == [first, second])
    #expect(rows.map(\.row.sequence) == [1, 2])
  }

  @Test func `has other hashes for another chain, sequence or event`() {
    let hash = AuditChain.hash(after: AuditChain.genesis, chain: "a", sequence: 1, event: Array("{}".utf8))
    #expect(hash != AuditChain.hash(after: AuditChain.genesis, chain: "b", sequence: 1, event: Array("{}".utf8)))
    #expect(hash != AuditChain.hash(after: AuditChain.genesis, chain: "a", sequence: 11, event: Array("{}".utf8)))
    #expect(hash != AuditChain.hash(after: AuditChain.genesis, chain: "a", sequence: 1, event: Array("{} ".utf8)))
    // A chain's name cannot reach out of its quotes.
    #expect(
      AuditChain.row(chain: #"a","event":{},"x":""#, sequence: 1, event: Array("{}".utf8))
        != AuditChain.row(chain: "a", sequence: 1, event: Array("{}".utf8)))
  }
}
