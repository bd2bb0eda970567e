import Bytes
import Cryptography
import Testing

@testable import XMLSecurity

@Suite struct `Exclusive canonical form` {
  private func canonical(_ text: String, _ prefixes: [String] = []) throws -> String {
    String(decoding: try XMLElement.parse(text.utf8, limits: .message).canonicalBytes(inclusivePrefixes: prefixes), as: UTF8.self)
  }

  @Test(
    arguments: [
      ("<r/>", "<r></r>"), ("<r  b = '1'  a='2' ></r >", "<r a=\"2\" b=\"1\"></r>"), ("<r><!-- c -->a<![CDATA[<]]>b</r>", "<r>a&lt;b</r>"),
      ("<r a='&#9;&#10;&#13;&quot;&lt;&gt;&amp;&apos;'>&#13;&gt;\"'\t</r>", "<r a=\"&#x9;&#xA;&#xD;&quot;&lt;>&amp;'\">&#xD;&gt;\"'\t</r>"),
      (
        "<a:r xmlns:b='u:b' xmlns:a='u:a'><b:c/><b:c b:x=''/></a:r>",
        "<a:r xmlns:a=\"u:a\"><b:c xmlns:b=\"u:b\"></b:c><b:c xmlns:b=\"u:b\" b:x=\"\"></b:c></a:r>"
      ),
      ("<r xmlns='u:d'><a xmlns=''><b xmlns='u:d'/></a></r>", "<r xmlns=\"u:d\"><a xmlns=\"\"><b xmlns=\"u:d\"></b></a></r>"),
      ("<r xmlns=''><a/></r>", "<r><a></a></r>"),
      (
        "<r xmlns:b='u:1' xmlns:a='u:2' b:z='' a:z='' y='' xml:lang='x'/>",
        "<r xmlns:a=\"u:2\" xmlns:b=\"u:1\" y=\"\" xml:lang=\"x\" b:z=\"\" a:z=\"\"></r>"
      ),
      (
        "<p:r xmlns:p='u:1'><p:r xmlns:p='u:2'><p:r xmlns:p='u:1'/></p:r></p:r>",
        "<p:r xmlns:p=\"u:1\"><p:r xmlns:p=\"u:2\"><p:r xmlns:p=\"u:1\"></p:r></p:r></p:r>"
      ),
    ])
  func `is written in the one way`(document: String, canonicalForm: String) throws { #expect(try canonical(document) == canonicalForm) }

  @Test func `declares what the list of inclusive prefixes names, at the apex and where it changes`() throws {
    let document = "<r xmlns='u:d' xmlns:a='u:a' xmlns:b='u:b'><x:c xmlns:x='u:x' xmlns:a='u:a2'/></r>"
    let apex = try XMLElement.parse(document.utf8, limits: .message)
    #expect(try canonical(document, ["a"]) == "<r xmlns=\"u:d\" xmlns:a=\"u:a\"><x:c xmlns:a=\"u:a2\" xmlns:x=\"u:x\"></x:c></r>")
    let child = try #require(apex.elements.first)
    func text(_ prefixes: [String]) throws -> String { String(decoding: try child.canonicalBytes(inclusivePrefixes: prefixes), as: UTF8.self) }
    #expect(try text([]) == "<x:c xmlns:x=\"u:x\"></x:c>")
    #expect(try text(["#default", "b", "nobody"]) == "<x:c xmlns=\"u:d\" xmlns:b=\"u:b\" xmlns:x=\"u:x\"></x:c>")
  }

  /// Merlin's vector: the digests were made by other programs, one for each list of prefixes.
  @Test func `has the digests of merlin-exc-c14n-one`() throws {
    let root = try XMLElement.parse(try Samples.file("Vectors/merlin-exc-c14n-one.xml"), limits: .message)
    func name(_ local: String) -> XMLName { XMLName(Namespaces.signature, local) }
    let signature = try root.only(name("Signature"))
    let object = try signature.only(name("Object"))
    #expect(object.attribute("Id") == "to-be-signed")
    var checked = 0
    for reference in try signature.only(name("SignedInfo")).children(name("Reference")) {
      #expect(reference.attribute("URI") == "#xpointer(id('to-be-signed'))")
      let transform = try reference.only(name("Transforms")).only(name("Transform"))
      guard transform.attribute("Algorithm") == Namespaces.exclusiveC14N else { continue }
      let list = try transform.optional(XMLName(Namespaces.exclusiveC14N, "InclusiveNamespaces"))?.attribute("PrefixList") ?? ""
      let bytes = try object.canonicalBytes(inclusivePrefixes: list.split(separator: " ").map(String.init))
      #expect(DigestAlgorithm.sha1.digest(bytes).base64 == (try reference.only(name("DigestValue")).text()))
      checked += 1
    }
    #expect(checked == 2)
  }

  @Test func `is its own canonical form`() throws {
    for document in ["<r xmlns='u:d'><a:b xmlns:a='u:a' a:c='&#13;'>\r\n</a:b></r>", "<r>&gt;</r>"] {
      let once = try XMLElement.parse(document.utf8, limits: .message).canonicalBytes()
      #expect(try XMLElement.parse(once, limits: .message).canonicalBytes() == once)
    }
  }
}

@Suite struct `The writer` {
  /// Every element of `document`, by where it stands in its bytes.
  static func elements(_ document: [UInt8]) throws -> [XMLElement] {
    var found: [XMLElement] = []
    var left = [try XMLElement.parse(document, limits: .message)]
    while let element = left.popLast() {
      found.append(element)
      left += element.elements.reversed()
    }
    return found
  }

  /// Canonical as written: the whole is its own canonical form, and every assertion in it is a piece of it.
  @Test func `writes canonical form, alone and embedded`() throws {
    let assertion = try Samples.assertion()
    #expect(try XMLElement.parse(assertion.bytes, limits: .message).canonicalBytes() == assertion.bytes)
    var writer = CanonicalWriter()
    try writer.open(Samples.samlp, "Response", [("Version", "2.0"), ("ID", "_response")])
    writer.open(Samples.saml, "Issuer")
    try writer.text("http://sign.example/adfs/services/trust")
    writer.close()
    writer.open(Samples.samlp, "Status")
    writer.close()
    writer.embed(assertion.bytes)
    let response = writer.finish()
    let elements = try Self.elements(response)
    #expect(try elements[0].canonicalBytes() == response)
    let embedded = try #require(elements.first { $0.name.local == "Assertion" })
    #expect(try embedded.canonicalBytes() == assertion.bytes)
    #expect(elements.count == 9)
  }

  @Test func `sorts attributes and declarations`() throws {
    let b = CanonicalWriter.Namespace(prefix: "b", uri: "u:1")
    let a = CanonicalWriter.Namespace(prefix: "a", uri: "u:2")
    var writer = CanonicalWriter(capacity: 0)
    try writer.open(
      Samples.saml, "r", [("z", "1"), ("B", "2"), ("a", "3")], prefixed: [(a, "y", ""), (b, "y", ""), (.xml, "lang", "x"), (b, "x", "")])
    try writer.open(b, "c", [], prefixed: [(a, "y", "")])
    let bytes = writer.finish()
    #expect(try XMLElement.parse(bytes, limits: .message).canonicalBytes() == bytes)
  }

  /// A prefix in a value (xsi:type) is no use that exclusive C14N sees: it must be declared on purpose and named as inclusive.
  @Test func `declares what only values use, canonical where the prefix is inclusive`() throws {
    let types = CanonicalWriter.Namespace(prefix: "fed", uri: "u:types")
    let instance = CanonicalWriter.Namespace(prefix: "xsi", uri: "u:instance")
    var writer = CanonicalWriter()
    try writer.open(Samples.saml, "r", [("ID", "_r")])
    let place = writer.position
    for _ in 0..<2 {
      try writer.open(Samples.saml, "role", [("a", "")], prefixed: [(instance, "type", "fed:T")], declaring: [types, types, Samples.saml])
      writer.open(types, "inside")
      writer.close()
      writer.close()
    }
    let bytes = writer.finish()
    let role =
      "<saml:role xmlns:fed=\"u:types\" xmlns:xsi=\"u:instance\" a=\"\" xsi:type=\"fed:T\"><fed:inside></fed:inside></saml:role>"
    #expect(
      String(decoding: bytes, as: UTF8.self)
        == "<saml:r xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"_r\">\(role)\(role)</saml:r>")
    let root = try XMLElement.parse(bytes, limits: .message)
    #expect(try root.canonicalBytes(inclusivePrefixes: ["fed"]) == bytes)
    #expect(try root.canonicalBytes() != bytes)
    #expect(root.elements.allSatisfy { $0.namespace(ofPrefix: "fed") == "u:types" } && root.namespace(ofPrefix: "fed") == nil)

    let key = try Samples.key(.p256)
    func verified(_ prefixes: [String]) throws -> XMLElement {
      let prepared = EnvelopedSignature.prepare(
        element: bytes, id: "_r", at: place, digest: .sha256, algorithm: .ecdsaSHA256, certificates: [], inclusivePrefixes: prefixes)
      let signed = prepared.finish(signature: try key.sign(prepared.bytesToSign, with: .ecdsaSHA256))
      return try SignatureVerifier(keys: [key.publicKey]).verify(try XMLElement.parse(signed, limits: .message), position: .first).element
    }
    #expect(try verified(["fed"]).elements.allSatisfy { $0.namespace(ofPrefix: "fed") == "u:types" })
    #expect(throws: SignatureFault.self) { try verified([]) }
  }

  @Test func `handles default namespaces`() throws {
    let none = CanonicalWriter.Namespace(prefix: "", uri: "")
    let some = CanonicalWriter.Namespace(prefix: "", uri: "u:d")
    var writer = CanonicalWriter()
    writer.open(none, "r")
    writer.open(some, "a")
    writer.open(none, "b")
    writer.open(none, "c")
    for _ in 0..<9 { writer.close() }
    #expect(String(decoding: writer.finish(), as: UTF8.self) == "<r><a xmlns=\"u:d\"><b xmlns=\"\"><c></c></b></a></r>")
  }

  @Test(arguments: ["\u{0}", "a\u{b}", "\u{1f}", "\u{fffe}", "x\u{ffff}"])
  func `refuses what XML cannot carry, and writes nothing of it`(text: String) throws {
    var writer = CanonicalWriter()
    writer.open(Samples.saml, "r")
    let before = writer.position
    #expect { try writer.text(text) } throws: { ($0 as? XMLFault)?.kind == .character }
    #expect { try writer.open(Samples.saml, "a", [("b", text)]) } throws: { ($0 as? XMLFault)?.kind == .character }
    #expect { try writer.open(Samples.saml, "a", [], prefixed: [(.xml, "lang", text)]) } throws: { ($0 as? XMLFault)?.kind == .character }
    #expect(writer.position == before)
  }

  @Test func `escapes bytes, not characters`() throws {
    var writer = CanonicalWriter()
    try writer.open(Samples.saml, "r", [("a", "\"\u{301}<\u{338}")])
    try writer.text("<\u{338}script>&\u{301}\r\n")
    let text = String(decoding: writer.finish(), as: UTF8.self)
    #expect(
      text.utf8.elementsEqual(
        "<saml:r xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\" a=\"&quot;\u{301}&lt;\u{338}\">&lt;\u{338}script&gt;&amp;\u{301}&#xD;\n</saml:r>"
          .utf8))
  }

  @Test func `writes base64 and times`() throws {
    for count in 0..<40 {
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 * 91 + 200) }
      var writer = CanonicalWriter()
      writer.base64(bytes)
      #expect(writer.finish() == Array(bytes.base64.utf8))
    }
    var writer = CanonicalWriter()
    writer.dateTime(Samples.now)
    #expect(String(decoding: writer.finish(), as: UTF8.self) == "2026-11-18T11:06:40.123Z")
  }
}
