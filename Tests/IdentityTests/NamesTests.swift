import Bytes
import Foundation
import GatehouseTesting
import Identity
import Testing

@Suite struct `A user name` {
  @Test(arguments: [
    "", " ", "\u{a0}\u{3000} ", "a\u{0}", "a\nb", "a\r\nb", "\u{7f}", "\u{85}", "a\u{200b}b", "a\u{200d}b", "\u{202e}ecila", "a\u{2028}", "\u{2060}a",
    "\u{feff}alice",
    "a\u{2066}b", "a\u{fffe}", String(repeating: "a", count: 321), String(repeating: "é", count: 161), "\u{fffd}",
    "a\u{e0041}", "a\u{00ad}b", "a\u{061c}b", "a\u{180e}b", "\u{115f}", "\u{3164}",
  ])
  func `that is empty, too long, or has marks that nobody sees is refused`(text: String) { #expect(UserName(text) == nil) }

  @Test(arguments: [
    "alice", "a", String(repeating: "a", count: 320), "CONTOSO\\alice", "alice@contoso.com", "e\u{301}", "Ωλένη 王", "a'\"*()<\u{338}",
    "O'Brien, Ann ",
  ])
  func `keeps its text byte for byte`(text: String) throws {
    #expect(try #require(UserName(text)).text.utf8.elementsEqual(text.utf8))
  }

  @Test func `is compared by bytes, not by what it looks like`() throws {
    let composed = try #require(UserName("\u{e9}"))
    let decomposed = try #require(UserName("e\u{301}"))
    #expect(composed != decomposed)
    #expect(Set([composed, decomposed]).count == 2)
    #expect(composed.countingKey.utf8.elementsEqual(decomposed.countingKey.utf8))
  }

  @Test func `tells its suffix and its prefix`() {
    #expect(UserName("alice@Contoso.COM")?.suffix == "contoso.com")
    #expect(UserName("a@b@c.example")?.suffix == "c.example")
    #expect(UserName("alice@")?.suffix == nil && UserName("alice")?.suffix == nil)
    #expect(UserName("CONTOSO\\alice")?.domainPrefix == "contoso")
    #expect(UserName("\\alice")?.domainPrefix == nil && UserName("alice")?.domainPrefix == nil)
    // Only A to Z: a Turkish dotless i or a Kelvin sign must not become a suffix of somebody else's.
    #expect(UserName("a@\u{212a}.example")?.suffix == "\u{212a}.example")
  }

  // spellings that people, or directories, take for one name share one counter.
  @Test(arguments: [
    ("ᴮᴵᴳ", "big"), ("\u{212a}elvin", "kelvin"), ("ﬁnn", "finn"), ("ｕｓｅｒ", "user"), ("User ", "user"), (" user", "user"),
    ("ALICE@Contoso.com", "alice@contoso.com"),
    ("é", "e\u{301}"), ("ſam", "sam"), ("\u{1e9b}", "\u{1e61}"), ("Ångström", "a\u{30a}ngstro\u{308}m"), ("①", "1"), ("Straße", "STRASSE"),
    ("mıke", "MIKE"), ("user\u{3000}", "user"),
  ])
  func `has one counting key for its spellings`(one: String, other: String) throws {
    #expect(try #require(UserName(one)).countingKey.utf8.elementsEqual(try #require(UserName(other)).countingKey.utf8))
  }

  @Test(arguments: [("аlice", "alice"), ("alice.", "alice"), ("alice", "alice2")])
  func `that means somebody else has another counting key`(one: String, other: String) throws {
    #expect(try #require(UserName(one)).countingKey != #require(UserName(other)).countingKey)
  }

  @Test func `has a counting key that is its own counting key, whatever was generated`() {
    var generator = SeededGenerator(seed: 7)
    let interesting: [ClosedRange<UInt32>] = [
      0x20...0x7e, 0xa0...0x24f, 0x250...0x3ff, 0x400...0x52f, 0x1d00...0x1dbf, 0x1e00...0x1fff, 0x2070...0x214f, 0x2460...0x24ff, 0xfb00...0xfb4f,
      0xff01...0xffee,
      0x300...0x36f, 0x10400...0x1044f, 0x1d400...0x1d7ff, 0x3300...0x33ff, 0x1f100...0x1f1ff,
    ]
    var checked = 0
    for _ in 0..<20_000 {
      var text = ""
      for _ in 0..<Int.random(in: 1...8, using: &generator) {
        guard let range = interesting.randomElement(using: &generator), let scalar = Unicode.Scalar(UInt32.random(in: range, using: &generator))
        else { continue }
        text.unicodeScalars.append(scalar)
      }
      guard let name = UserName(text) else { continue }
      let key = name.countingKey
      guard let again = UserName(key) else { continue }  // a key may fold to a longer text than a name may have
      checked += 1
      if !again.countingKey.utf8.elementsEqual(key.utf8) { Issue.record("\(text.unicodeScalars.map { String($0.value, radix: 16) })") }
    }
    #expect(checked > 15_000)
  }
}

@Suite struct `A reference` {
  @Test func `is read as people type it`() throws {
    let reference = try #require(Reference("7G4K-9Q2M-XW3T"))
    for typed in ["7g4k-9q2m-xw3t", "7G4K9Q2MXW3T", " 7g4k 9q2m xw3t "] { #expect(Reference(typed) == reference) }
    #expect(Reference("OIL0-0000-0000")?.text == "0110-0000-0000")
    #expect(Reference("oil0-0000-0000")?.text == "0110-0000-0000")
  }

  @Test(arguments: [
    "", "7G4K-9Q2M-XW3", "7G4K-9Q2M-XW3TT", "7G4K-9Q2M-XW3U", "7G4K-9Q2M-XW3é", "7G4K_9Q2M_XW3T", "7G4K-9Q2M-XW3{", "７G4K9Q2MXW3T",
    "7G4K9Q2MXW3\u{0}",
  ])
  func `that is none is refused`(typed: String) { #expect(Reference(typed) == nil) }

  @Test func `is new each time, and reads back`() {
    let many = (0..<1000).map { _ in Reference() }
    #expect(Set(many).count == 1000)
    for reference in many { #expect(Reference(reference.text) == reference && reference.text.utf8.count == 14) }
  }
}

@Suite struct `Names of realms and things` {
  @Test(arguments: ["", ".a", "a.", "-a", "a-", "a_b", "a b", "é", String(repeating: "a", count: 64), "a\u{0}"])
  func `that are no realm names are refused`(text: String) { #expect(RealmName(text) == nil) }

  @Test func `realm names are lower case`() {
    #expect(RealmName("Contoso.COM")?.text == "contoso.com")
    #expect(RealmName("\u{212a}") == nil)
  }

  @Test(arguments: [
    "", "00000000-0000-0000-0000-00000000000", "00000000-0000-0000-0000-0000000000000", "0000000000000000000000000000000000000",
    "{0000000-0000-0000-0000-000000000000}", "zzzzzzzz-0000-0000-0000-000000000000",
  ])
  func `that are no identifiers are refused`(text: String) { #expect(Identifier(text) == nil) }

  @Test func `an identifier is sixteen bytes, written in the usual way`() {
    let bytes = (0..<16).map { UInt8($0) }
    #expect(Identifier(bytes: bytes)?.description == "00010203-0405-0607-0809-0a0b0c0d0e0f")
    #expect(Identifier("00010203-0405-0607-0809-0A0B0C0D0E0F")?.bytes == bytes)
    #expect(Identifier(bytes: bytes.dropLast()) == nil && Identifier(bytes: bytes + [0]) == nil)
  }
}
