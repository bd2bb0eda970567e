import Bytes
import Foundation
import GatehouseTesting
import Testing

@Suite("A JSON text is read whole and strictly before anything in it is believed")
struct JSONTextTests {
  private func accepts(_ bytes: [UInt8]) -> Bool { (try? JSONText(object: bytes)) != nil }
  private func accepts(_ text: String) -> Bool { accepts(Array(text.utf8)) }

  /// Objects in an array in an object …, `depth` containers in all.
  private func nested(_ depth: Int) -> String {
    "{\"a\":" + String(repeating: "[", count: depth - 1) + String(repeating: "]", count: depth - 1) + "}"
  }

  @Test(
    "Well-formed objects are accepted",
    arguments: [
      #"{}"#, #" { } "#, "\t\r\n{}\n", #"{"a":1}"#, #"{"a":-0}"#, #"{"a":0.5e+10}"#, #"{"a":1E-7}"#, #"{"a":true,"b":false,"c":null}"#,
      #"{"a":[]}"#, #"{"a":[1,"x",{},[null]]}"#, #"{"a":{"a":{"a":1}}}"#, #"{"a":"\"\\\/\b\f\n\r\t\u00e9"}"#, #"{"a":"\ud83d\ude00"}"#, #"{"":1}"#,
      #"{"a":"Ā😀é"}"#, #"{"a":"\u0000"}"#, #"{"a":12345678901234567890123456789012}"#, "{\"a\":\"\u{7f}\"}",
    ])
  func accepted(text: String) { #expect(accepts(text)) }

  @Test(
    "Everything else is refused",
    arguments: [
      // Found by the fuzzer: decoders differ about what lies beyond a Double.
      #"{"a":9100e9999999999999999}"#, #"{"a":-1e400}"#, #"{"a":1e309}"#,
      "", " ", "{", "}", "[]", "[{}]", "1", "null", "\"a\"", "{}{}", "{}x", "{} //", "{},", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}",
      "{\"a\":1 \"b\":2}",
      "{'a':1}", "{a:1}", "{\"a\":1;}", "{\"a\" 1}", "{\"a\"::1}", "{\"a\":[1,]}", "{\"a\":[,1]}", "{\"a\":[1 2]}", "{\"a\":[}", "{\"a\":{]",
      "{\"a\":[1}",
      "{\"a\":+1}", "{\"a\":01}", "{\"a\":-}", "{\"a\":1.}", "{\"a\":.5}", "{\"a\":1e}", "{\"a\":1e+}", "{\"a\":0x1}", "{\"a\":1_000}", "{\"a\":NaN}",
      "{\"a\":Infinity}", "{\"a\":-Infinity}", "{\"a\":123456789012345678901234567890123}", "{\"a\":tru}", "{\"a\":True}", "{\"a\":nul}",
      "{\"a\":undefined}",
      "{\"a\":\"}", "{\"a\":\"\\\"}", "{\"a\":\"\\x\"}", "{\"a\":\"\\u12\"}", "{\"a\":\"\\u12g4\"}", "{\"a\":\"\\u 123\"}", "{\"a\":\"\\ud800\"}",
      "{\"a\":\"\\udc00\"}", "{\"a\":\"\\ud800\\ud800\"}", "{\"a\":\"\\ud800x\"}", "{\"a\":\"\\ud800\\n\"}", "{\"a\":\"\\ud800\\u0041\"}",
      "{\"a\":\"\n\"}",
      "{\"a\":\"\t\"}", "{\"a\":\"\u{0}\"}", "{\"a\":\"\u{1f}\"}", "\u{feff}{}", "{\u{a0}}", "{}\u{0}", "{/**/}", "{\"a\":1}\u{feff}",
    ])
  func refused(text: String) { #expect(!accepts(text)) }

  @Test(
    "Bytes that are not UTF-8 are refused",
    arguments: [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82], [0x80]] as [[UInt8]])
  func invalidUTF8(bytes: [UInt8]) {
    #expect(!accepts(Array("{\"a\":\"".utf8) + bytes + Array("\"}".utf8)))
    #expect(!accepts(bytes + Array("{}".utf8)))
  }

  @Test("UTF-16 and UTF-32 are refused")
  func otherEncodings() throws {
    for encoding in [String.Encoding.utf16, .utf16LittleEndian, .utf16BigEndian, .utf32] {
      #expect(!accepts(Array(try #require("{\"a\":1}".data(using: encoding)))))
    }
  }

  @Test("32 containers deep is the limit, and depth costs no stack")
  func depth() {
    #expect(accepts(nested(32)))
    #expect(!accepts(nested(33)))
    #expect(!accepts(nested(511)))
    #expect(!accepts(String(repeating: "{\"a\":", count: 100_000)))
    #expect(!accepts("{\"a\":" + String(repeating: "[", count: 100_000)))
    #expect(!accepts(nested(100_000)))
  }

  @Test(
    "A name that stands twice in one object is refused, however it is spelt",
    arguments: [
      #"{"a":1,"a":1}"#, #"{"a":1,"b":2,"a":3}"#, #"{"a":1,"\u0061":2}"#, #"{"x":{"a":1,"a":2}}"#, #"{"x":[{"a":1,"\u0061":2}]}"#, #"{"":1,"":2}"#,
      // Equal to every decoder that compares Swift strings.
      "{\"\u{e9}\":1,\"e\u{301}\":2}",
    ])
  func duplicates(text: String) { #expect(!accepts(text)) }

  @Test("The same name in different objects is no duplicate")
  func sameNameElsewhere() { #expect(accepts(#"{"a":{"a":1},"b":{"a":2},"c":[{"a":1},{"a":2}]}"#)) }

  @Test("More than a thousand names are refused")
  func manyNames() {
    func object(_ count: Int) -> String { "{" + (0..<count).map { "\"n\($0)\":0" }.joined(separator: ",") + "}" }
    #expect(accepts(object(1000)))
    #expect(!accepts(object(1001)))
    #expect(!accepts(object(100_000)))
  }

  @Test("More than a hundred thousand values are refused, before they take many times the text's own memory")
  func manyValues() {
    func array(_ count: Int) -> String { "{\"a\":[" + Array(repeating: "1", count: count).joined(separator: ",") + "]}" }
    #expect(accepts(array(99_000)))
    #expect(!accepts(array(100_001)))
    #expect(!accepts(array(1_000_000)))
  }

  @Test("A text of a megabyte is looked over in time that grows with its length only")
  func megabyte() {
    let text = "{\"a\":\"" + String(repeating: "\\u0041é ", count: 100_000) + "\"}"
    let took = ContinuousClock().measure { #expect(accepts(text)) }
    #expect(took < .seconds(5))
  }

  @Test("An object's members are told in order, escapes resolved, those of inner ones not")
  func names() throws {
    let root = try JSONText(object: Array(#"{"b":{"x":1},"\u0061\n":[{"y":2}],"":3}"#.utf8)).root
    #expect(root.members?.map(\.name) == ["b", "a\n", ""])
    #expect(root["a\n"]?.elements?.first?["y"]?.integer == 2)
    #expect(root["x"] == nil)
  }

  @Test("Values are read as what they are, and as nothing else")
  func values() throws {
    let text =
      #"{"s":"\u0070\"\/\ud83d\ude00ä","n":-42,"e":5e3,"f":0.5,"big":123456789012345678901,"t":true,"#
      + #""u":false,"z":null,"a":[1,"x",[]],"o":{}}"#
    let root = try JSONText(object: Array(text.utf8)).root
    #expect(root["s"]?.string == "p\"/😀ä")
    #expect(root["s"]?.secret?.matches(Secret("p\"/😀ä".utf8)) == true)
    #expect(root["n"]?.integer == -42)
    #expect(root["e"]?.integer == 5000)
    #expect(root["f"]?.integer == nil)
    #expect(root["f"]?.double == 0.5)
    #expect(root["big"]?.integer == nil)
    #expect(root["t"]?.bool == true)
    #expect(root["u"]?.bool == false)
    #expect(root["z"] == nil)
    #expect(root["a"]?.elements?.count == 3)
    #expect(root["a"]?.elements?[1].string == "x")
    #expect(root["o"]?.members?.isEmpty == true)
    #expect(root["s"]?.integer == nil && root["n"]?.string == nil && root["t"]?.string == nil && root["a"]?.members == nil)
  }

  @Test("A seventeenth name that stands twice is refused like the second")
  func manyDuplicates() {
    let names = (0..<20).map { "\"n\($0)\":0" }
    #expect(accepts("{" + names.joined(separator: ",") + "}"))
    #expect(!accepts("{" + (names + ["\"n3\":1"]).joined(separator: ",") + "}"))
    #expect(!accepts("{" + (names + ["\"\\u006e19\":1"]).joined(separator: ",") + "}"))
  }

  @Test("The problem says what and where, without the value")
  func problem() throws {
    let problem = try #require(throws: JSONText.Problem.self) { try JSONText(object: Array(#"{"password":"secret" x}"#.utf8)) }
    #expect("\(problem)" == "a comma or the end of the object must stand here at byte 21")
  }

  @Test("Ten thousand damaged texts trap nowhere, and what is accepted, Foundation reads as the same")
  func mutations() {
    func isSame(_ ours: JSONValue, _ theirs: Any) -> Bool {
      if let members = ours.members {
        guard let other = theirs as? [String: Any], other.count == members.count else { return false }
        return members.allSatisfy { member in other[member.name].map { isSame(member.value, $0) } ?? false }
      }
      if let elements = ours.elements {
        guard let other = theirs as? [Any], other.count == elements.count else { return false }
        return zip(elements, other).allSatisfy { isSame($0, $1) }
      }
      if let string = ours.string { return (theirs as? String).map { $0.utf8.elementsEqual(string.utf8) } ?? false }
      if let bool = ours.bool { return (theirs as? Bool) == bool }
      if let number = ours.double { return (theirs as? Double) == number }
      return ours.isNull && theirs is NSNull
    }
    let seeds = [
      #"{"userName":"alice@contoso.com","password":"p\u00e4ss\ud83d\ude00word","attributes":["mail","cn"],"groups":true,"deadlineMilliseconds":5000}"#,
      #"{"a":[1,-2.5e+10,{"b":null,"c":[[],{}]}],"d":"\"\\\/\b","e":false}"#,
    ].map { Array($0.utf8) }
    let spice: [UInt8] = Array(#"{}[]",:\/u0eE+-.tfn d8c"#.utf8) + [0, 0x1f, 0x7f, 0x80, 0xc3, 0xed, 0xff]
    var generator = SeededGenerator(seed: 20_261_121)
    var accepted = 0
    for round in 0..<10_000 {
      var text = seeds[round % seeds.count]
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        let place = Int.random(in: 0..<text.count, using: &generator)
        let byte = spice[Int.random(in: 0..<spice.count, using: &generator)]
        switch Int.random(in: 0..<5, using: &generator) {
        case 0: text[place] = byte
        case 1: text.insert(byte, at: place)
        case 2: text.remove(at: place)
        case 3: text.removeSubrange(place...)
        default: text.insert(contentsOf: text[place...].prefix(8), at: place)
        }
        if text.isEmpty { text = [0x7b] }
      }
      guard accepts(text) else { continue }
      accepted += 1
      guard let root = try? JSONText(object: text).root, let theirs = try? JSONSerialization.jsonObject(with: Data(text)) else {
        Issue.record("Foundation refuses \(String(decoding: text, as: UTF8.self))")
        continue
      }
      if !isSame(root, theirs) { Issue.record("Foundation reads \(String(decoding: text, as: UTF8.self)) as something else") }
    }
    // Enough of them survive for the comparison to mean something.
    #expect(accepted > 100)
  }
}
