import Bytes
import Cryptography
import GatehouseTesting
import SAML
import Testing
import XMLSecurity

@testable import WSFederation

/// Changes good messages as a stranger would, the same in every run. Nothing may trap, and nobody may be read as somebody who is not there in one piece.
@Suite struct `Changed messages of WS-Federation` {
  private struct Mutator {
    private var generator: SeededGenerator
    init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    private static let words: [[UInt8]] = [
      "<!---->", "<![CDATA[x]]>", "&amp;", "&#13;", "&lt;", "'", "\"", "<", ">", "%", "%00", "%FF", "&", "=", "+", "<a/>", "</a>", " xmlns=''",
      " wsu:Id='_0'", " Id='_0'", "<wsse:Username>x</wsse:Username>", "<wsse:Password/>", "<wsa:Address>x</wsa:Address>", "<s:Body/>",
      " s:mustUnderstand='1'", " s:role='x'", "99999999999999999999", "-1", "2026-13-01T00:00:60Z", "\u{0}", "\u{338}", "\u{2028}", "wa=wsignin1.0&",
      "&wreply=x", "&WREPLY=y", "fed:", "xmlns:fed='u:x' ", "\u{fffe}", "😀", "]]>", "<!DOCTYPE a>", "<wst:OnBehalfOf/>",
    ].map { Array($0.utf8) }

    mutating func below(_ count: Int) -> Int { count > 0 ? Int.random(in: 0..<count, using: &generator) : 0 }

    mutating func mutate(_ document: [UInt8]) -> [UInt8] {
      var bytes = document
      for _ in 0...below(4) {
        let place = below(bytes.count)
        switch below(7) {
        case 0 where !bytes.isEmpty: bytes[place] = UInt8.random(in: 0...255, using: &generator)
        case 1 where !bytes.isEmpty: bytes[place] ^= 1 << UInt8(below(8))
        case 2: bytes.removeSubrange(place..<min(bytes.count, place + below(40)))
        case 3: bytes.insert(contentsOf: Array(bytes[place..<min(bytes.count, place + below(60))]), at: below(bytes.count))
        case 4: bytes = Array(bytes.prefix(place))
        default: bytes.insert(contentsOf: Self.words[below(Self.words.count)], at: place)
        }
      }
      return bytes
    }
  }

  private static let rounds = 3000

  /// Every element of that name in the tree, wherever it stands.
  private static func all(_ name: XMLName, in root: XMLElement) -> [XMLElement] {
    var found: [XMLElement] = []
    var left = [root]
    while let element = left.popLast() {
      if element.name == name { found.append(element) }
      left += element.elements
    }
    return found
  }

  @Test(arguments: TrustVersion.allCases) func `asking for a token name nobody but whom they name`(_ version: TrustVersion) throws {
    let good = Array(Samples.Envelope(version).text.utf8)
    let endpoint: TrustEndpoint = version == .v13 ? .usernameMixed13 : .usernameMixed2005
    var mutator = Mutator(seed: version == .v13 ? 13 : 2005)
    var read = 0
    for _ in 0..<Self.rounds {
      let changed = mutator.mutate(good)
      do {
        let request = try SecurityTokenRequest(changed, endpoint: endpoint)
        read += 1
        // Whoever is read is the only one that is there, in one piece, at the one place.
        let root = try XMLElement.parse(changed, limits: .message)
        let security = try root.only(FederationVocabulary.s("Header")).only(FederationVocabulary.wsse("Security"))
        let token = try security.only(FederationVocabulary.wsse("UsernameToken"))
        let name = try token.only(FederationVocabulary.wsse("Username")).text()
        #expect(name.utf8.elementsEqual(request.userName.utf8))
        #expect(try token.only(FederationVocabulary.wsse("Password")).text().utf8.elementsEqual(Samples.text(request.password).utf8))
        let body = try root.only(FederationVocabulary.s("Body")).only(version.t("RequestSecurityToken"))
        let address = try Self.all(FederationVocabulary.wsa("Address"), in: body).map { try $0.text().trimmingXMLSpace }
        #expect(address.contains { $0.utf8.elementsEqual(request.appliesTo.utf8) })
        #expect(
          try Self.all(FederationVocabulary.wsa("ReplyTo"), in: try root.only(FederationVocabulary.s("Header"))).allSatisfy {
            try $0.only(FederationVocabulary.wsa("Address")).text().trimmingXMLSpace == FederationVocabulary.anonymous
          })
      } catch let fault as TrustFault {
        #expect(!fault.detail.isEmpty && fault.detail.utf8.count <= 1024)
        // Whatever was wrong can be told.
        _ = try TrustAnswer.fault(fault, text: "x", version: version)
      }
    }
    #expect(read > 50 && read < Self.rounds)
  }

  @Test func `in a query name nobody but whom they name`() throws {
    let good = Array(
      "wa=wsignin1.0&wtrealm=urn%3Afederation&wreply=https%3A%2F%2Fsp.example%2F&wctx=a%20b&wct=2026-11-18T11%3A06%3A40Z&wfresh=10&username=alice"
        .utf8)
    var mutator = Mutator(seed: 5)
    var read = 0
    for _ in 0..<Self.rounds {
      guard let fields = try? FormFields(mutator.mutate(good)), let request = try? PassiveRequest(fields) else { continue }
      read += 1
      #expect(PassiveRequest.isOne(fields))
      for (name, value) in [("wtrealm", request.realm), ("wreply", request.reply), ("wctx", request.context)] {
        let named = fields.fields.filter { $0.name.lowercased() == name }
        #expect(named.count <= 1)
        if let value { #expect(named.first?.value.utf8.elementsEqual(value.utf8) == true) }
      }
      #expect((request.context?.utf8.count ?? 0) <= PassiveRequest.longestContext)
      #expect(request.action != .signIn || request.realm != nil)
    }
    #expect(read > 50)
  }

  @Test func `saying who a relying party is have addresses that are there`() throws {
    let good = Array(
      `Metadata of relying parties by WS-Federation`.document(
        `Metadata of relying parties by WS-Federation`.role(
          `Metadata of relying parties by WS-Federation`.key(1)
            + `Metadata of relying parties by WS-Federation`.addresses("PassiveRequestorEndpoint", ["https://sp.example/", "https://sp.example/b"]))
          + `Metadata of relying parties by WS-Federation`.saml
      ).utf8)
    var mutator = Mutator(seed: 7)
    var read = 0
    for _ in 0..<Self.rounds {
      guard let root = try? XMLElement.parse(mutator.mutate(good), limits: .metadata) else { continue }
      guard let metadata = try? ServiceProviderMetadata(federation: root) else { continue }
      read += 1
      let there = [FederationVocabulary.addressing, FederationVocabulary.oldAddressing].flatMap { Self.all(XMLName($0, "Address"), in: root) }
        .compactMap {
          try? $0.text().trimmingXMLSpace
        }
      for consumer in metadata.consumers where consumer.binding == FederationVocabulary.passiveBinding {
        #expect(there.contains { $0.utf8.elementsEqual(consumer.location.utf8) })
      }
      #expect(!metadata.consumers.isEmpty)
    }
    #expect(read > 50)
  }
}
