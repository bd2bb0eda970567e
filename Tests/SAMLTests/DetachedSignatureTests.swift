import Bytes
import Cryptography
import Foundation
import Testing
import XMLSecurity

@testable import SAML

@Suite struct `The signature of a Redirect` {
  private static func keys(_ kind: SigningKey.Kind = .rsa2048) throws -> [VerificationKey] { [try Samples.key(kind).publicKey] }

  private func verified(_ query: String, keys: [VerificationKey]? = nil, sha1: Bool = false) throws -> XMLElement {
    try ReceivedMessage(query: Array(query.utf8)).verified(by: try keys ?? Self.keys(), allowingSHA1: sha1)
  }

  private static func good(relayState: String? = "a b/c") throws -> String {
    try Samples.signed(Samples.query(Samples.request(), relayState: relayState), by: try Samples.key())
  }

  @Test func `holds with a relay state, with an empty one and with none`() throws {
    for relayState in ["a b/c", "", nil] { #expect(try verified(Self.good(relayState: relayState)).name == Vocabulary.samlp("AuthnRequest")) }
  }

  @Test(arguments: [
    (SigningKey.Kind.rsa2048, SignatureAlgorithm.rsaSHA256), (.rsa2048, .rsaSHA384), (.rsa2048, .rsaSHA512), (.p256, .ecdsaSHA256),
    (.p256, .ecdsaSHA384),
  ]) func `holds by every algorithm that is taken`(_ kind: SigningKey.Kind, _ algorithm: SignatureAlgorithm) throws {
    let query = try Samples.signed(Samples.query(Samples.request()), by: try Samples.key(kind), algorithm: algorithm)
    #expect(try verified(query, keys: try Self.keys(kind)).name == Vocabulary.samlp("AuthnRequest"))
    let other: SigningKey.Kind = kind == .rsa2048 ? .p256 : .rsa2048
    #expect(fault { try verified(query, keys: try Self.keys(other)) } == .signature)
    #expect(try verified(query, keys: try Self.keys(other) + Self.keys(kind)).name == Vocabulary.samlp("AuthnRequest"))
    #expect(fault { try verified(query, keys: []) } == .signature)
  }

  @Test func `is over the octets as they were sent, in the order that the binding gives them`() throws {
    let key = try Samples.key()
    // Lower-case digits, and letters escaped that need not be: another product's encoding, signed as it stands.
    let base64 = Deflate.deflate(Array(Samples.request().utf8)).base64
    let lower = base64.utf8.map { byte -> String in
      switch byte {
      case UInt8(ascii: "+"): "%2b"
      case UInt8(ascii: "/"): "%2f"
      case UInt8(ascii: "="): "%3d"
      case UInt8(ascii: "A"): "%41"
      default: String(UnicodeScalar(byte))
      }
    }.joined()
    let query = try Samples.signed("SAMLRequest=\(lower)&RelayState=a%2fb+c", by: key)
    #expect(try verified(query).name == Vocabulary.samlp("AuthnRequest"))
    // The parameters in another order on the wire; the signature is over the binding's order.
    let parts = query.split(separator: "&")
    #expect(parts.count == 4)
    #expect(try verified([parts[3], parts[2], parts[1], parts[0]].joined(separator: "&")).name == Vocabulary.samlp("AuthnRequest"))
    // Other parameters are not signed, and not looked at.
    #expect(try verified(query + "&foo=bar").name == Vocabulary.samlp("AuthnRequest"))
  }

  @Test func `does not hold where an octet was encoded anew`() throws {
    let query = try Self.good()
    let parts = query.split(separator: "&", maxSplits: 1).map(String.init)
    let message = try #require(parts.first)
    let recoded = [
      message.replacing("%2B", with: "%2b").replacing("%2F", with: "%2f").replacing("%3D", with: "%3d"), message.replacing("%2F", with: "/"),
      message.replacing("=", with: "=%20", maxReplacements: 1),
    ]
    for changed in recoded where changed != message { #expect(fault { try verified("\(changed)&\(parts[1])") } != nil) }
    #expect(fault { try verified(query.replacing("RelayState=a%20b", with: "RelayState=a+b")) } == .signature)
    #expect(fault { try verified(query.replacing("%2Fc", with: "%2fc")) } == .signature)
    #expect(fault { try verified(query.replacing("%3A%2F%2Fwww", with: "%3a%2f%2fwww")) } == .signature)
  }

  @Test func `covers the relay state and whether there is one`() throws {
    let (with, without) = (try Self.good(), try Self.good(relayState: nil))
    #expect(fault { try verified(without + "&RelayState=evil") } == .signature)
    #expect(fault { try verified(without + "&RelayState=") } == .signature)
    #expect(fault { try verified(with + "&RelayState=evil") } == .envelope)
    #expect(fault { try verified(with.replacing("&RelayState=a%20b%2Fc", with: "")) } == .signature)
    #expect(fault { try verified(with.replacing("RelayState=", with: "relaystate=")) } == .envelope)
    #expect(fault { try verified(with.replacing("RelayState=", with: "%52elayState=")) } == .envelope)
    #expect(fault { try verified(with.replacing("RelayState=", with: "Relay_State=")) } == .signature)
  }

  @Test func `covers the message and its direction`() throws {
    let query = try Self.good()
    let other = Samples.query(Samples.request(id: "_other"), relayState: "a b/c")
    let tail = try #require(query.range(of: "&SigAlg=")).lowerBound
    #expect(fault { try verified(other + query[tail...]) } == .signature)
    #expect(fault { try verified(query.replacing("SAMLRequest=", with: "SAMLResponse=")) } == .signature)
    #expect(fault { try verified(query + "&SAMLRequest=" + "x") } == .envelope)
    #expect(fault { try verified("SAMLResponse=x&" + query) } == .envelope)
  }

  @Test func `comes with its algorithm or not at all`() throws {
    let query = try Self.good()
    let algorithm = try #require(query.range(of: "&SigAlg="))
    let signature = try #require(query.range(of: "&Signature="))
    #expect(fault { try verified(String(query[..<signature.lowerBound])) } == .signature)
    #expect(fault { try verified(String(query[..<algorithm.lowerBound]) + String(query[signature.lowerBound...])) } == .signature)
    let bare = try ReceivedMessage(query: Array(query[..<algorithm.lowerBound].utf8))
    #expect(!bare.isSigned)
    #expect(fault { try bare.verified(by: try Self.keys()) } == .signature)
    for extra in ["&Signature=AAAA", "&SigAlg=x", "&signature=AAAA", "&SIGALG=x", "&%53ignature=AAAA"] {
      #expect(fault { try verified(query + extra) } == .envelope)
    }
    for wrong in ["", "%", "A", "====", "AA-_"] {
      #expect([.signature, .envelope].contains(fault { try verified(query[..<signature.lowerBound] + "&Signature=" + wrong) }))
    }
  }

  @Test func `by SHA-1 holds by an exception only`() throws {
    let query = try Samples.signed(Samples.query(Samples.request()), by: try Samples.key(), algorithm: .rsaSHA1)
    #expect(fault { try verified(query) } == .signature)
    #expect(try verified(query, sha1: true).name == Vocabulary.samlp("AuthnRequest"))
    // The exception is one for SHA-1, not for another key.
    #expect(fault { try verified(query, keys: try Self.keys(.p256), sha1: true) } == .signature)
  }

  @Test(arguments: [
    "http://www.w3.org/2000/09/xmldsig#hmac-sha1", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256", "http://www.w3.org/2000/09/xmldsig#dsa-sha1",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-md5", "", "none", "HTTP://WWW.W3.ORG/2001/04/xmldsig-more#rsa-sha256",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256 ",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256\u{301}", "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1",
  ]) func `by an algorithm that is not taken does not hold`(_ uri: String) throws {
    let octets = "\(Samples.query(Samples.request()))&SigAlg=\(FormFields.encode(uri))"
    // The certificate's own bytes as the key of an HMAC: the confusion that others fell for.
    let hmac = Digests.hmacSHA256(Array(octets.utf8), key: Secret(try Samples.certificate()))
    let rsa = try Samples.key().sign(Array(octets.utf8), with: .rsaSHA256)
    for signature in [hmac, rsa] { #expect(fault { try verified(octets + "&Signature=" + FormFields.encode(signature.base64)) } == .signature) }
  }

  @Test func `inside of the message does not count`() throws {
    let writer = try LogoutRequest(
      head: MessageHead(id: "_r", issueInstant: Samples.now, issuer: Samples.issuer, destination: Samples.signOn), name: NameID("a"),
      sessionIndexes: [],
      notOnOrAfter: nil
    ).written()
    let key = try Samples.key()
    let prepared = EnvelopedSignature.prepare(
      element: writer.bytes, id: writer.id, at: writer.signaturePlace, digest: .sha256, algorithm: .rsaSHA256, certificates: [])
    let signed = prepared.finish(signature: try key.sign(prepared.bytesToSign, with: .rsaSHA256))
    let message = try ReceivedMessage(query: Array(Samples.query(signed).utf8))
    #expect(message.isSigned)
    #expect(fault { try message.verified(by: try Self.keys()) } == .signature)
    let posted = try ReceivedMessage(form: Array("SAMLRequest=\(FormFields.encode(signed.base64))".utf8))
    #expect(try posted.verified(by: try Self.keys()).name == Vocabulary.samlp("LogoutRequest"))
    // The parameters of a Redirect beside a posted message are nothing.
    let beside = try ReceivedMessage(
      form: Array("SAMLRequest=\(FormFields.encode(Array(Samples.request().utf8).base64))&SigAlg=x&Signature=AAAA".utf8))
    #expect(!beside.isSigned)
  }

  @Test func `of ours holds for others`() throws {
    let key = try Samples.key(.p256)
    let message = UnsignedMessage(bytes: Array(Samples.request().utf8), id: "_request", signaturePlace: 0)
    for (location, relayState) in [("https://sp.example/slo", nil), ("https://sp.example/slo?a=b", "x y&z=\u{e9}")] as [(String, String?)] {
      let outgoing = OutgoingRedirect(message, direction: .response, to: location, relayState: relayState, algorithm: .ecdsaSHA256)
      let url = outgoing.finish(signature: try key.sign(outgoing.bytesToSign, with: .ecdsaSHA256))
      #expect(url.hasPrefix(location + (location.contains("?") ? "&" : "?") + "SAMLResponse="))
      let query = try #require(url.range(of: "SAMLResponse="))
      let received = try ReceivedMessage(query: Array(url[query.lowerBound...].utf8))
      #expect(received.relayState == relayState)
      #expect(try received.verified(by: [key.publicKey]).name == Vocabulary.samlp("AuthnRequest"))
    }
  }
}
