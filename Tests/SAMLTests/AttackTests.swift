import Bytes
import Cryptography
import Foundation
import Testing
import XMLSecurity

@testable import SAML

/// Every file of Attacks/, with what must become of it.
@Suite struct `Attacks on messages` {
  struct Attack: Sendable, CustomStringConvertible {
    let file: String
    let stage: String
    let expected: [String]
    let why: String

    var description: String { "\(file): \(why)" }
  }

  static let all: [Attack] = {
    let lines = (try? Samples.file("Attacks/expected.tsv")).map { String(decoding: $0, as: UTF8.self) } ?? ""
    return lines.split(separator: "\n").compactMap { line in
      let cells = line.split(separator: "\t").map(String.init)
      return cells.count == 4
        ? Attack(file: cells[0], stage: cells[1], expected: cells[2].split(separator: "|").map(String.init), why: cells[3]) : nil
    }
  }()

  @Test func `are all told of`() throws {
    let files = try FileManager.default.contentsOfDirectory(atPath: Samples.folder("Attacks").path).filter {
      $0.hasSuffix(".xml") || $0.hasSuffix(".query")
    }
    #expect(Set(files) == Set(Self.all.map(\.file)))
    #expect(files.count == Self.all.count)
    #expect(files.count > 45)
  }

  @Test(arguments: all) func `come to what they must`(_ attack: Attack) throws {
    let bytes = try Samples.file("Attacks/\(attack.file)")
    let kind = fault {
      switch attack.stage {
      case "query": _ = try ReceivedMessage(query: bytes)
      case "metadata": _ = try ServiceProviderMetadata(try parse(bytes, .metadata))
      case "logout": _ = try LogoutRequest(try parse(bytes, .message))
      default: _ = try AuthnRequest(try parse(bytes, .message))
      }
    }
    #expect(attack.expected.contains(kind?.rawValue ?? "accepted"), "\(kind?.rawValue ?? "accepted")")
  }

  private func parse(_ bytes: [UInt8], _ limits: XMLLimits) throws -> XMLElement {
    do { return try XMLElement.parse(bytes, limits: limits) } catch { throw MessageFault(error) }
  }
}

/// Good signatures around which somebody puts a message of their own (B1.1): what is read is what was signed, or nothing.
@Suite struct `Wrapped messages` {
  /// A signed message, its signature for itself, and the same message unsigned but about somebody else.
  private struct Parts {
    var signed: String
    var signature: String
    var bare: String
    var evil: String
    var tag: String

    init(_ message: UnsignedMessage, evil: UnsignedMessage, tag: String) throws {
      let key = try Samples.key(.p256)
      let prepared = EnvelopedSignature.prepare(
        element: message.bytes, id: message.id, at: message.signaturePlace, digest: .sha256, algorithm: .ecdsaSHA256, certificates: [])
      signed = String(decoding: prepared.finish(signature: try key.sign(prepared.bytesToSign, with: .ecdsaSHA256)), as: UTF8.self)
      bare = String(decoding: message.bytes, as: UTF8.self)
      self.evil = String(decoding: evil.bytes, as: UTF8.self)
      self.tag = tag
      let start = try #require(signed.range(of: "<ds:Signature "))
      let end = try #require(signed.range(of: "</ds:Signature>"))
      signature = String(signed[start.lowerBound..<end.upperBound])
    }

    /// `evil` with `text` put behind its first child, or before its end.
    func evil(_ text: String, atEnd: Bool = false, id: String? = nil) -> String {
      var result = id.map { evil.replacing("ID=\"_evil\"", with: "ID=\"\($0)\"") } ?? evil
      let place = atEnd ? result.range(of: "</\(tag)>", options: .backwards)?.lowerBound : result.range(of: "</saml:Issuer>")?.upperBound
      if let place { result.insert(contentsOf: text, at: place) }
      return result
    }

    var wrapped: [String] {
      let object = { (content: String) in self.signature.replacing("</ds:Signature>", with: "<ds:Object>\(content)</ds:Object></ds:Signature>") }
      var all: [String] = []
      for id in ["_evil", "_good"] {
        for atEnd in [false, true] {
          all += [
            evil(signature, atEnd: atEnd, id: id), evil(signature + bare, atEnd: atEnd, id: id), evil(bare + signature, atEnd: atEnd, id: id),
            evil(signed, atEnd: atEnd, id: id),
            evil(object(bare), atEnd: atEnd, id: id), evil(object(signed), atEnd: atEnd, id: id),
            evil("<samlp:Extensions>\(signed)</samlp:Extensions>", atEnd: atEnd, id: id),
            evil("<samlp:Extensions>\(bare)</samlp:Extensions>\(signature)", atEnd: atEnd, id: id),
            evil("\(signature)<samlp:Extensions>\(bare)</samlp:Extensions>", atEnd: atEnd, id: id), evil(signature + signature, atEnd: atEnd, id: id),
          ]
        }
      }
      let twice = signed.replacing(signature, with: signature + signature)
      let around = "<x ID=\"_evil\">\(signed)</x>"
      return all + [
        twice, around, signed.replacing(signature, with: object(evil)),
        signed.replacing(signature, with: "<samlp:Extensions>\(signature)</samlp:Extensions>"),
      ]
    }
  }

  private static func head(_ id: String) -> MessageHead {
    MessageHead(id: id, issueInstant: Samples.now, issuer: Samples.issuer, destination: Samples.signOn)
  }

  private static func logout(_ id: String, _ name: String) throws -> UnsignedMessage {
    try LogoutRequest(head: head(id), name: NameID(name), sessionIndexes: [], notOnOrAfter: nil).written()
  }

  private static func answer(_ id: String, _ request: String) throws -> UnsignedMessage {
    try LogoutResponse(head: head(id), inResponseTo: request, status: .success).written()
  }

  private static func request(_ id: String, _ url: String) throws -> UnsignedMessage {
    let root = try Samples.parse(Samples.request(id: id, attributes: " AssertionConsumerServiceURL=\"\(url)\""))
    let bytes = try root.canonicalBytes()
    let text = String(decoding: bytes, as: UTF8.self)
    let place = try #require(text.range(of: "</saml:Issuer>")).upperBound
    return UnsignedMessage(bytes: bytes, id: id, signaturePlace: text.utf8.distance(from: text.utf8.startIndex, to: place))
  }

  private func expectHonest(_ parts: Parts, _ good: UnsignedMessage) throws {
    let key = try Samples.key(.p256).publicKey
    func verified(_ document: String) throws -> XMLElement {
      try ReceivedMessage(form: Array("SAMLRequest=\(FormFields.encode(Array(document.utf8).base64))".utf8)).verified(by: [key])
    }
    #expect(try verified(parts.signed).canonicalBytes() == good.bytes)
    for document in parts.wrapped {
      guard let root = try? verified(document) else { continue }
      // Nothing of it but what was signed may ever be seen.
      #expect(try root.canonicalBytes() == good.bytes, "\(document.prefix(400))")
    }
    #expect(parts.wrapped.count == 44)
    #expect(parts.wrapped.count { (try? verified($0)) != nil } == 0)
  }

  @Test func `of requests to sign in are refused`() throws {
    let good = try Self.request("_good", "https://sp.example/acs")
    try expectHonest(try Parts(good, evil: try Self.request("_evil", "https://evil.example/acs"), tag: "samlp:AuthnRequest"), good)
  }

  @Test func `of logout requests are refused`() throws {
    let good = try Self.logout("_good", "alice")
    try expectHonest(try Parts(good, evil: try Self.logout("_evil", "bob"), tag: "samlp:LogoutRequest"), good)
  }

  @Test func `of logout responses are refused`() throws {
    let good = try Self.answer("_good", "_one")
    try expectHonest(try Parts(good, evil: try Self.answer("_evil", "_two"), tag: "samlp:LogoutResponse"), good)
  }
}
