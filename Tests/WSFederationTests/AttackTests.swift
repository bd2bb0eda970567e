import Bytes
import Foundation
import SAML
import Testing
import XMLSecurity

@testable import WSFederation

/// Every file of Attacks/, with what must become of it.
@Suite struct `Attacks on WS-Federation and WS-Trust` {
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

  @Test func `are all told of`() throws {
    let files = try FileManager.default.contentsOfDirectory(atPath: Samples.folder("Attacks").path).filter {
      $0.hasSuffix(".xml") || $0.hasSuffix(".query")
    }
    #expect(Set(files) == Set(Self.all.map(\.file)))
    #expect(files.count == Self.all.count)
    #expect(files.count > 120)
  }

  @Test(arguments: all) func `come to what they must`(_ attack: Attack) throws {
    let bytes = try Samples.file("Attacks/\(attack.file)")
    #expect(Self.outcome(bytes, stage: attack.stage) == attack.expected)
  }

  /// What the reader of that stage makes of the bytes.
  static func outcome(_ bytes: [UInt8], stage: String) -> String {
    do {
      switch stage {
      case "trust": _ = try SecurityTokenRequest(bytes, endpoint: .usernameMixed13)
      case "passive": _ = try PassiveRequest(try FormFields(bytes))
      default:
        let root: XMLElement
        do { root = try XMLElement.parse(bytes, limits: .metadata) } catch { throw MessageFault(error) }
        _ = try ServiceProviderMetadata(federation: root)
      }
      return "accepted"
    } catch let fault as TrustFault {
      #expect(!fault.detail.isEmpty && fault.detail.utf8.count <= 1024)
      return fault.code.rawValue
    } catch let fault as MessageFault {
      #expect(!fault.detail.isEmpty && fault.detail.utf8.count <= 1024)
      return fault.kind.rawValue
    } catch { return "\(error)" }
  }

  @Test func `relate their faults to the message wherever that can be read`() throws {
    for attack in Self.all where attack.stage == "trust" && !["accepted", "versionMismatch"].contains(attack.expected) {
      let bytes = try Samples.file("Attacks/\(attack.file)")
      guard let root = try? XMLElement.parse(bytes, limits: .message), root.children(FederationVocabulary.s("Header")).count == 1,
        root.elements.first?.children(FederationVocabulary.wsa("MessageID")).count == 1
      else { continue }
      do throws(TrustFault) {
        _ = try SecurityTokenRequest(bytes, endpoint: .usernameMixed13)
        Issue.record("\(attack) was accepted")
      } catch {
        #expect(error.messageID == "urn:uuid:6f7a", "\(attack)")
      }
    }
  }
}

@Suite struct `Bombs for WS-Federation and WS-Trust` {
  private static func many(_ text: String, _ count: Int) -> [UInt8] { Array(String(repeating: text, count: count).utf8) }

  static let bombs: [(String, [UInt8])] = {
    let good = Samples.Envelope().text
    func put(_ bytes: [UInt8], at mark: String) -> [UInt8] {
      guard let place = good.range(of: mark) else { return [] }
      return Array(good[..<place.lowerBound].utf8) + bytes + Array(good[place.lowerBound...].utf8)
    }
    return [
      ("elements 100,000 deep", put(many("<a>", 100_000), at: "</s:Header>")),
      ("elements 100,000 deep and closed", put(many("<a>", 100_000) + many("</a>", 100_000), at: "</s:Header>")),
      ("elements 100,000 deep and nothing else", many("<a>", 100_000)),
      ("100,000 attributes", put(Array("<a ".utf8) + (0..<100_000).flatMap { Array("a\($0)='' ".utf8) } + Array("/>".utf8), at: "</s:Header>")),
      (
        "100,000 namespaces", put(Array("<a ".utf8) + (0..<100_000).flatMap { Array("xmlns:a\($0)='u' ".utf8) } + Array("/>".utf8), at: "</s:Header>")
      ),
      ("a million siblings", put(many("<a/>", 1_000_000), at: "</s:Header>")),
      ("a password of a megabyte", put(many("a", 1 << 20), at: "</wsse:Password>")),
      ("a name of a megabyte", put(many("a", 1 << 20), at: "</wsse:Username>")),
      ("ten megabytes of spaces", many(" ", 10 << 20)), ("nothing", []),
    ]
  }()

  @Test(arguments: bombs.indices) func `are refused at once`(_ index: Int) {
    let (name, bytes) = Self.bombs[index]
    let clock = ContinuousClock()
    var outcome = ""
    let time = clock.measure { outcome = `Attacks on WS-Federation and WS-Trust`.outcome(bytes, stage: "trust") }
    #expect(outcome == "invalidRequest", "\(name)")
    // A millisecond where nothing else runs.
    #expect(time < .seconds(2), "\(name)")
  }

  /// The same within the limit of bytes: what is deep, wide or many must be stopped by a limit of its own.
  @Test func `of 64 KiB are refused at once`() {
    for unit in ["<a>", "<a b='1' ", "<a/>", " xmlns:a='u'", "&amp;", "<!-- -->", "<![CDATA[]]>"] {
      let clock = ContinuousClock()
      let bytes = Array((Samples.Envelope().text.prefix(1500) + String(repeating: unit, count: (62 << 10) / unit.utf8.count)).utf8)
      let time = clock.measure { #expect(`Attacks on WS-Federation and WS-Trust`.outcome(bytes, stage: "trust") == "invalidRequest", "\(unit)") }
      #expect(time < .seconds(2), "\(unit)")
    }
  }

  @Test func `in parameters and metadata are refused at once`() {
    let outcome = `Attacks on WS-Federation and WS-Trust`.outcome
    #expect(outcome(Self.many("wa=wsignin1.0&", 100_000), "passive") == "tooLarge")
    #expect(outcome(Array("wa=wsignin1.0&wtrealm=a&wctx=".utf8) + Self.many("%41", 1 << 20), "passive") == "tooLarge")
    #expect(outcome(Self.many("<a>", 100_000), "metadata") == "xml")
  }
}
