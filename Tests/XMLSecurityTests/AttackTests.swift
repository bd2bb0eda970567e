import Bytes
import Cryptography
import Foundation
import Testing

@testable import XMLSecurity

/// Every file of Attacks/, which `Attacks/make` made, with what must become of it.
@Suite struct `Attacks on XML and its signatures` {
  struct Attack: Sendable, CustomStringConvertible {
    let file: String
    let stage: String
    let expected: String
    let why: String

    var description: String { "\(file): \(why)" }
  }

  static let all: [Attack] = {
    let lines = (try? Samples.file("Attacks/expected.tsv")).map { String(decoding: $0, as: UTF8.self) } ?? ""
    return lines.split(separator: "\n").compactMap { line in
      let cells = line.split(separator: "\t").map(String.init)
      return cells.count == 4 ? Attack(file: cells[0], stage: cells[1], expected: cells[2], why: cells[3]) : nil
    }
  }()

  static func partner() throws -> VerificationKey {
    let text = String(decoding: try Samples.file("Attacks/partner.der.base64"), as: UTF8.self)
    return try VerificationKey(certificate: try #require(StrictText.base64(text.trimmingCharacters(in: .whitespacesAndNewlines))))
  }

  /// What became of a document, as Attacks/expected.tsv words it.
  static func outcome(_ attack: Attack, _ verifier: SignatureVerifier) throws -> String {
    do {
      let root = try XMLElement.parse(try Samples.file("Attacks/\(attack.file)"), limits: .message)
      if attack.stage == "text" { _ = try root.text() }
      if attack.stage == "verify" { _ = try verifier.verify(root) }
      return "accepted"
    } catch let fault as XMLFault {
      #expect(fault.detail.utf8.count <= 200)
      return fault.kind.rawValue
    } catch let fault as SignatureFault {
      #expect(fault.detail.utf8.count <= 200)
      return fault.kind.rawValue
    }
  }

  @Test func `are there in numbers, one file each`() throws {
    #expect(Self.all.count > 250)
    let files = try FileManager.default.contentsOfDirectory(atPath: Samples.folder("Attacks").path).filter { $0.hasSuffix(".xml") }
    #expect(Set(files) == Set(Self.all.map(\.file)))
  }

  @Test func `end as is written down for each`() throws {
    let verifier = SignatureVerifier(keys: [try Self.partner()])
    for attack in Self.all { #expect(try Self.outcome(attack, verifier) == attack.expected, "\(attack)") }
  }

  @Test func `end no better where SHA-1 is allowed, but for SHA-1`() throws {
    let verifier = SignatureVerifier(keys: [try Self.partner()], allowingSHA1: true)
    for attack in Self.all {
      let outcome = try Self.outcome(attack, verifier)
      let isSHA1 = ["signature-algorithm-rsa-sha1.xml", "digest-algorithm-sha1.xml"].contains(attack.file)
      #expect(outcome == (isSHA1 ? "accepted" : attack.expected), "\(attack)")
    }
  }

  @Test func `fail where the keys are another partner's, or none`() throws {
    for keys in [[], [try Samples.key().publicKey]] {
      let verifier = SignatureVerifier(keys: keys)
      for attack in Self.all where attack.stage == "verify" { #expect(try Self.outcome(attack, verifier) != "accepted", "\(attack)") }
    }
  }
}

/// Documents that are only large. The kind of the refusal tells that the limit stopped them, not the end of the work.
@Suite struct `Documents that are only large` {
  private func kind(_ text: String, _ limits: XMLLimits = .message) -> XMLFault.Kind? {
    do {
      _ = try XMLElement.parse(text.utf8, limits: limits)
      return nil
    } catch { return error.kind }
  }

  private func repeated(_ text: String, _ count: Int) -> String { String(repeating: text, count: count) }

  @Test func `are refused by the limit that they break`() {
    #expect(kind(repeated("<a>", 80_000)) == .tooDeep)
    #expect(kind(repeated("<a>", 33)) == .tooDeep)
    #expect(kind(repeated("<a>", 32) + repeated("</a>", 32)) == nil)
    #expect(kind("<r>" + repeated("<a/>", 5_000) + "</r>") == .tooManyElements)
    #expect(kind("<r>" + repeated("<a/>", 4_999) + "</r>") == nil)
    #expect(kind("<r " + (0..<20_000).map { "a\($0)='' " }.joined() + "/>") == .tooManyAttributes)
    #expect(kind("<r " + (0..<33).map { "a\($0)='' " }.joined() + "/>") == .tooManyAttributes)
    #expect(kind("<r " + (0..<32).map { "a\($0)='' " }.joined() + "/>") == nil)
    #expect(kind("<" + repeated("a", 257) + "/>") == .nameTooLong)
    #expect(kind("<" + repeated("a", 256) + "/>") == nil)
    #expect(kind("<r \(repeated("a", 200_000))='1'/>") == .nameTooLong)
    #expect(kind("<r " + (0..<9_000).map { "xmlns:n\($0)='u:x' " }.joined() + "/>") == .tooManyNamespaces)
    #expect(kind("<r>" + (0..<1_001).map { "<a xmlns:n\($0)='u:x'/>" }.joined() + "</r>") == .tooManyNamespaces)
    #expect(kind("<r xmlns:a='u:\(repeated("x", 1_100))'/>") == .tooManyNamespaces)
    #expect(kind("<r a='\(repeated("x", 300_000))'/>") == .tooManyBytes)
  }

  @Test func `are refused before they are looked at: 100,000 deep, a million siblings, attributes and declarations by the ten thousand`() {
    #expect(kind(repeated("<a>", 100_000) + repeated("</a>", 100_000)) == .tooManyBytes)
    #expect(kind("<r>" + repeated("<a/>", 1_000_000) + "</r>") == .tooManyBytes)
    #expect(kind("<r " + (0..<100_000).map { "a\($0)='' " }.joined() + "/>") == .tooManyBytes)
    #expect(kind("<r " + (0..<50_000).map { "xmlns:n\($0)='u:x' " }.joined() + "/>") == .tooManyBytes)
    #expect(kind(repeated("<a>", 100_000) + repeated("</a>", 100_000), .metadata) == .tooDeep)
    #expect(kind("<r>" + repeated("<a/>", 1_000_000) + "</r>", .metadata) == .tooManyElements)
    #expect(kind("<r " + (0..<100_000).map { "a\($0)='' " }.joined() + "/>", .metadata) == .tooManyAttributes)
    #expect(kind("<r " + (0..<50_000).map { "xmlns:n\($0)='u:x' " }.joined() + "/>", .metadata) == .tooManyNamespaces)
  }

  @Test func `have no canonical form that is many times as long`() throws {
    // Declared once, and to be declared by every child in exclusive form.
    let declarations = (0..<30).map { "xmlns:n\($0)='u:\($0)\(repeated("x", 1_000))'" }.joined(separator: " ")
    let attributes = (0..<30).map { "n\($0):a=''" }.joined(separator: " ")
    let root = try XMLElement.parse(("<r \(declarations)>" + repeated("<c \(attributes)/>", 500) + "</r>").utf8, limits: .message)
    #expect { try root.canonicalBytes() } throws: { ($0 as? XMLFault)?.kind == .tooLongCanonically }
    let quotes = try XMLElement.parse("<r a='\(repeated("\"", 250_000))'/>".utf8, limits: .message)
    #expect { try quotes.canonicalBytes() } throws: { ($0 as? XMLFault)?.kind == .tooLongCanonically }
  }

  @Test func `never make a tree that is deeper than the stack, whatever limits say`() {
    #expect(kind(repeated("<a>", 100_000), XMLLimits(bytes: .max, depth: .max, elements: .max, namespaceDeclarations: .max)) == .tooDeep)
  }
}
