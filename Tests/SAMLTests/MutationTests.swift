import Bytes
import Cryptography
import GatehouseTesting
import Testing
import XMLSecurity

@testable import SAML

/// Changes good messages as a stranger would, the same in every run. Nothing may trap; what is read may say anything but what was signed.
@Suite struct `Changed messages` {
  private struct Mutator {
    private var generator: SeededGenerator
    init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    private static let words: [[UInt8]] = [
      "<!---->", "<![CDATA[x]]>", "&amp;", "&#13;", "&lt;", "'", "\"", "<", ">", "%", "%00", "%FF", "&", "=", "+", "<a/>", "</a>", " xmlns=''",
      " ID='_x'", "<saml:NameID>x</saml:NameID>",
      "<saml:Issuer>x</saml:Issuer>", "99999999999999999999", "-1", "2026-13-01T00:00:60Z", "P99999999999Y", "\u{0}", "\u{338}", "\u{2028}",
      "SAMLResponse=", "SAMLRequest=", "RelayState=",
      "index=\"1\"", " isDefault=\"maybe\"", "\u{fffe}", "😀", "]]>", "<!DOCTYPE a>",
    ].map { Array($0.utf8) }

    private mutating func below(_ count: Int) -> Int { count > 0 ? Int.random(in: 0..<count, using: &generator) : 0 }

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

  private static let rounds = 1500

  private static let request = Samples.request(
    attributes: " Destination=\"d\" ForceAuthn=\"true\" AssertionConsumerServiceIndex=\"1\"",
    content:
      "<saml:Subject><saml:NameID>a</saml:NameID></saml:Subject><samlp:NameIDPolicy AllowCreate=\"true\"/><samlp:RequestedAuthnContext><saml:AuthnContextClassRef>c</saml:AuthnContextClassRef></samlp:RequestedAuthnContext><samlp:Scoping ProxyCount=\"1\"><samlp:IDPList><samlp:IDPEntry ProviderID=\"p\"/></samlp:IDPList></samlp:Scoping>"
  )
  private static let logout = Samples.message(
    "LogoutRequest", attributes: " NotOnOrAfter=\"\(Samples.now)\"",
    content: "<saml:Issuer>i</saml:Issuer><saml:NameID>a</saml:NameID><samlp:SessionIndex>s</samlp:SessionIndex>")
  private static let answer = Samples.message(
    "LogoutResponse",
    content: "<saml:Issuer>i</saml:Issuer><samlp:Status><samlp:StatusCode Value=\"\(Status.Code.success.rawValue)\"/></samlp:Status>")
  private static let metadata = `Metadata of a relying party`.document(
    `Metadata of a relying party`.key([[UInt8](repeating: 7, count: 100)], methods: ["urn:a"]) + `Metadata of a relying party`.consumer,
    root: " validUntil=\"\(Samples.now)\" cacheDuration=\"P1DT1H\"")

  @Test(arguments: [request, logout, answer, metadata]) func `are read or refused, with words of at most a kilobyte`(_ document: String) {
    var mutator = Mutator(seed: UInt64(document.utf8.count))
    var read = 0
    for _ in 0..<Self.rounds {
      guard let root = try? XMLElement.parse(mutator.mutate(Array(document.utf8)), limits: .message) else { continue }
      read += 1
      _ = fault { try AuthnRequest(root) }
      _ = fault { try LogoutRequest(root) }
      _ = fault { try LogoutResponse(root) }
      _ = fault { try ServiceProviderMetadata(root) }
    }
    #expect(read > 50)
  }

  @Test func `in their envelopes are read or refused`() throws {
    let signed = try Samples.signed(Samples.query(Self.request, relayState: "a b"), by: try Samples.key(.p256), algorithm: .ecdsaSHA256)
    let key = try Samples.key(.p256).publicKey
    var mutator = Mutator(seed: 9)
    let original = try ReceivedMessage(query: Array(signed.utf8))
    for _ in 0..<Self.rounds {
      let changed = mutator.mutate(Array(signed.utf8))
      if let message = try? ReceivedMessage(query: changed), (try? message.verified(by: [key])) != nil {
        // Whatever else stands in the query: what was verified is what was signed.
        #expect(message.digest == original.digest && message.relayState == original.relayState && message.direction == original.direction)
      }
      _ = try? ReceivedMessage(form: changed)
    }
  }

  @Test func `with their signature inside hold for nothing else than what was signed`() throws {
    let written = try LogoutRequest(
      head: MessageHead(id: "_r", issueInstant: Samples.now, issuer: Samples.issuer, destination: Samples.signOn), name: NameID("a"),
      sessionIndexes: ["s"], notOnOrAfter: nil
    ).written()
    let key = try Samples.key(.p256)
    let prepared = EnvelopedSignature.prepare(
      element: written.bytes, id: "_r", at: written.signaturePlace, digest: .sha256, algorithm: .ecdsaSHA256, certificates: [])
    let signed = prepared.finish(signature: try key.sign(prepared.bytesToSign, with: .ecdsaSHA256))
    var mutator = Mutator(seed: 11)
    for _ in 0..<Self.rounds {
      let body = Array("SAMLRequest=\(FormFields.encode(mutator.mutate(signed).base64))".utf8)
      guard let message = try? ReceivedMessage(form: body), let root = try? message.verified(by: [key.publicKey]) else { continue }
      #expect(try root.canonicalBytes() == written.bytes)
    }
  }
}
