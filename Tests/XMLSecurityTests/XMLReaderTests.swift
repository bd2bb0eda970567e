import Testing

@testable import XMLSecurity

@Suite struct `The reader` {
  private func read(_ text: String) throws(XMLFault) -> XMLElement { try XMLElement.parse(text.utf8, limits: .message) }

  @Test(
    arguments: [
      ("<r/>", ""), ("<r></r >", ""), ("\u{feff}<r>x</r>", "x"), ("<?xml version=\"1.0\"?><r>x</r>", "x"),
      ("<?xml version='1.0' encoding='utf-8' standalone='yes' ?>\n<!-- c --><r>x</r><!-- c -->\n", "x"),
      ("<r>a&lt;&gt;&amp;&quot;&apos;b</r>", "a<>&\"'b"),
      ("<r>&#65;&#x42;&#x1F600;&#xd;</r>", "AB😀\r"), ("<r>a\r\nb\rc\nd</r>", "a\nb\nc\nd"), ("<r><![CDATA[<a>&amp;\r\n]] >]]></r>", "<a>&amp;\n]] >"),
      ("<r>]] ></r>", "]] >"), ("<r> \t</r>", " \t"), ("<r>e\u{301}\u{85}\u{2028}\u{7f}</r>", "e\u{301}\u{85}\u{2028}\u{7f}"),
    ])
  func `reads text`(document: String, text: String) throws {
    #expect(try read(document).text().utf8.elementsEqual(text.utf8))
  }

  @Test func `normalises attributes as XML says`() throws {
    let root = try read("<r a=' x\ty\nz\r\nw\rv&#9;&#10;&#13;&lt;\"' b=\"'\"/>")
    #expect(root.attribute("a").map { Array($0.utf8) } == Array(" x y z w v\t\n\r<\"".utf8))
    #expect(root.attribute("b") == "'" && root.attribute("c") == nil)
  }

  @Test func `gives names their namespaces`() throws {
    let root = try read("<r xmlns='u:d' xmlns:p='u:p' a='1' p:a='2' xml:lang='de'><p:c xmlns:p='u:q'/><c xmlns=''/><c/></r>")
    #expect(root.name == XMLName("u:d", "r"))
    #expect(root.attribute("a") == "1" && root.attribute(XMLName("u:p", "a")) == "2")
    #expect(root.attribute(XMLName("http://www.w3.org/XML/1998/namespace", "lang")) == "de")
    #expect(root.elements.map(\.name) == [XMLName("u:q", "c"), XMLName("", "c"), XMLName("u:d", "c")])
    #expect(root.elements.map(\.prefix) == ["p", "", ""])
  }

  @Test func `tells missing and repeated elements apart`() throws {
    let root = try read("<r><a/><b>1</b><b>2</b></r>")
    #expect(try root.only(XMLName("", "a")).name.local == "a")
    #expect(try root.optional(XMLName("", "c")) == nil)
    #expect { try root.only(XMLName("", "c")) } throws: { ($0 as? XMLFault)?.kind == .missing }
    #expect { try root.only(XMLName("", "b")) } throws: { ($0 as? XMLFault)?.kind == .repeated }
    #expect { try root.optional(XMLName("", "b")) } throws: { ($0 as? XMLFault)?.kind == .repeated }
    #expect(try root.children(XMLName("", "b")).map { try $0.text() } == ["1", "2"])
    #expect { try root.text() } throws: { ($0 as? XMLFault)?.kind == .splitText }
  }

  @Test func `compares names by bytes`() {
    #expect(XMLName("u:\u{e9}", "a") != XMLName("u:e\u{301}", "a"))
    #expect(Set([XMLName("u:\u{e9}", "a"), XMLName("u:e\u{301}", "a"), XMLName("u:\u{e9}", "a")]).count == 2)
    #expect(XMLName("a", "b") != XMLName("", "b"))
  }

  @Test func `says where it stopped, in few bytes`() {
    #expect { try read("<r>\n<a>\n</b></r>") } throws: { ($0 as? XMLFault)?.detail == "line 3, byte 8: an end tag that is not the one of <a>" }
    #expect { try read("<r><" + String(repeating: "a", count: 250) + ">") } throws: { (($0 as? XMLFault)?.detail.utf8.count ?? 999) <= 200 }
    #expect(XMLFault(.syntax, String(repeating: "é", count: 200)).detail.utf8.count <= 200)
  }

  @Test func `refuses every beginning of a document that is not the whole`() throws {
    let document = Array(#"<?xml version="1.0"?><r a="1&lt;" xmlns:p="u:p"><p:b>x&#65;<!-- c --><![CDATA[y]]></p:b ></r>"#.utf8)
    #expect(throws: Never.self) { try XMLElement.parse(document, limits: .message) }
    for length in 0..<document.count { #expect(throws: XMLFault.self) { try XMLElement.parse(document.prefix(length), limits: .message) } }
  }
}
