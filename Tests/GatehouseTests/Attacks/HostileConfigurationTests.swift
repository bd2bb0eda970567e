import Foundation
import Testing

@testable import gatehouse

@Suite("Hostile configuration files")
struct HostileConfigurationTests {
  private func problems(_ text: String) -> [String] { problems(Array(text.utf8)) }
  private func problems(_ bytes: [UInt8]) -> [String] { Samples.problems { try GatewayConfiguration(Samples.raw(bytes), hostName: "g") } }

  @Test("A billion laughs is refused at its first anchor")
  func billionLaughs() {
    var text = "a: &a [lol, lol]\n"
    for (letter, before) in zip("bcdefghi", "abcdefgh") { text += "\(letter): &\(letter) [*\(before), *\(before), *\(before), *\(before)]\n" }
    #expect(
      problems(text) == [
        "line 1: An anchor (`&name`) is not taken in configuration. Write the value out where it is needed; put a blank behind a plain `&`."
      ])
  }

  @Test(
    "An anchor is found wherever YAML would take it",
    arguments: ["- &a b", "{x: &a b}", "[&a b]", "{\"x\":&a b}", "&a b: c", "\u{feff}&a b: c", "x:\r\n  &a b"])
  func anchors(text: String) {
    #expect(problems(text).contains { $0.contains("An anchor") })
  }

  @Test("An alias without anchor is not YAML")
  func alias() {
    #expect(problems("node: *nobody\n").first?.contains("found undefined alias") == true)
  }

  @Test(
    "A hundred thousand levels are refused before anything recurses",
    arguments: [
      String(repeating: "[", count: 100_000), String(repeating: "{a: ", count: 60_000), String(repeating: "- ", count: 100_000),
      String(repeating: "? ", count: 100_000), "a: " + String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000),
    ])
  func deepNesting(text: String) {
    let found = problems(text)
    #expect(found.count >= 1)
    #expect(found.allSatisfy { $0.contains("nested") || $0.contains("brackets") })
  }

  @Test("Levels made of indentation are refused too")
  func deepIndentation() {
    let text = (0..<600).map { String(repeating: " ", count: $0) + "a:" }.joined(separator: "\n")
    #expect(problems(text).allSatisfy { $0.contains("nested more than 12 levels") })
  }

  @Test("A file of a megabyte is refused by its size")
  func megabyte() {
    #expect(
      problems(Array(repeating: UInt8(ascii: "a"), count: 1 << 20)) == [
        "The file has 1048576 bytes, more than 256kB. Check that it is the configuration file."
      ])
  }

  @Test("Control characters are refused with their line", arguments: [0x00, 0x07, 0x1b, 0x7f, 0x85, 0x2028] as [UInt32])
  func controlCharacters(value: UInt32) throws {
    let scalar = try #require(Unicode.Scalar(value))
    let found = problems("node: a\npublicURL: b\(scalar)c\n")
    #expect(found.count == 1)
    #expect(found.first?.hasPrefix("line 2: A control character stands in the file (U+") == true)
  }

  @Test("Bytes that are no UTF-8 are refused")
  func invalidUTF8() {
    #expect(problems([0x61, 0x3a, 0x20, 0xff, 0x0a]) == ["The file is not UTF-8. Save it as UTF-8."])
    #expect(problems([0xff, 0xfe, 0x61, 0x00]) == ["The file is not UTF-8. Save it as UTF-8."])
  }

  @Test("A tab in the indentation is told by its line")
  func tab() {
    #expect(problems("listeners:\n\tpublic: {}\n").first == "line 2: A tab stands in the indentation. Indent with spaces.")
  }

  @Test(
    "An empty file, a blank one and one of comments only say nothing", arguments: ["", "\n \n", "# nothing\n", "---\n", "~\n", "{}\n", "\u{feff}"])
  func nothing(text: String) {
    #expect(problems(text) == ["The file says nothing. Start from the commented reference file in deploy/config."])
  }

  @Test("A file that is a list or one word is refused", arguments: ["- a\n- b\n", "word\n", "\"a: b\"\n"])
  func noSection(text: String) {
    #expect(problems(text) == ["line 1: The file is not a list of keys. Write `key: value` lines as in deploy/config."])
  }

  @Test("A second document is refused")
  func secondDocument() {
    #expect(problems(Samples.gateway + "---\nnode: b\n").first?.contains("but found another document") == true)
  }

  @Test("Duplicate keys are refused, at the top and inside")
  func duplicates() {
    let text = Samples.gateway + "log:\n  level: info\n  level: debug\n"
    #expect(
      problems(text) == ["line 11: `level`: The key stands more than once in its section. Keep one of them; nothing else was checked yet."])
    #expect(problems("node: a\nnode: b\n").count == 1)
  }

  @Test("A merge key is a key like any other: unknown")
  func mergeKey() {
    #expect(problems(Samples.gateway + "log:\n  <<: {level: debug}\n") == ["line 11: log.<<: The key is not known here. Known here: format, level."])
  }

  @Test(
    "Numbers that overflow, have a sign, or are written otherwise are refused",
    arguments: ["99999999999999999999", "9223372036854775808", "-1", "+5", "0x10", "1e3", "1_000", " ", "１２"])
  func numbers(text: String) {
    #expect(problems(Samples.gateway + "limits: {connections: \"\(text)\"}\n").count == 1)
    #expect(problems(Samples.gateway + "signIn: {deadline: \"\(text)s\"}\n").count == 1)
    #expect(problems(Samples.gateway + "audit: {diskReserve: \"\(text)GB\"}\n").count == 1)
  }

  @Test("Lines that end with CR LF, and a byte order mark, are taken")
  func windowsEditors() throws {
    _ = try Samples.readGateway("\u{feff}" + Samples.gateway.replacing("\n", with: "\r\n"))
  }

  @Test("A key that only looks like another is unknown, and its spelling cannot fool a terminal")
  func lookalikes() {
    let found = problems(Samples.gateway + "nod\u{435}: a\n\"a\\e[31m\\u202e\": b\n")
    #expect(found.count == 2)
    #expect(
      found.allSatisfy {
        $0.contains("The key is not known here") && !$0.unicodeScalars.contains("\u{1b}") && !$0.unicodeScalars.contains("\u{202e}")
      })
  }

  @Test("What cannot be read as a file is told with a remedy", arguments: ["/nonexistent/gateway.yaml", "/", "/proc/self/mem"])
  func unreadable(path: String) {
    let found = Samples.problems { try ConfigurationFiles.gateway(at: path) }
    #expect(found.count == 1)
  }
}
