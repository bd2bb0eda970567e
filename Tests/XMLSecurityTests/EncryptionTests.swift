import Bytes
import Cryptography
import Foundation
import Testing

@testable import XMLSecurity

@Suite struct `Encrypted elements` {
  private static let keys = Result { (try DecryptionKey.generate(), try DecryptionKey.generate()) }

  private func encrypted(
    _ key: DecryptionKey, content: ContentEncryption = .aes256GCM, transport: KeyTransportAlgorithm = .rsaOAEP, certificate: [UInt8]? = nil
  ) throws -> [UInt8] {
    try XMLEncryption.encrypt(
      try Samples.assertion().bytes, to: try EncryptionKey(key.publicKey), certificate: certificate, content: content, transport: transport)
  }

  private func wrapped(_ data: [UInt8]) throws -> XMLElement {
    var writer = CanonicalWriter()
    writer.open(Samples.saml, "EncryptedAssertion")
    writer.embed(data)
    let document = writer.finish()
    let root = try XMLElement.parse(document, limits: .message)
    #expect(try root.canonicalBytes() == document)
    return root
  }

  private func decrypts(_ text: String, _ keys: [DecryptionKey]) throws -> Bool {
    do {
      _ = try XMLEncryption.decrypt(try XMLElement.parse(text.utf8, limits: .message), keys: keys, limits: .message)
      return true
    } catch is DecryptionFault { return false }
  }

  @Test(arguments: ContentEncryption.allCases, KeyTransportAlgorithm.allCases)
  func `come back as they were`(content: ContentEncryption, transport: KeyTransportAlgorithm) throws {
    let (key, other) = try Self.keys.get()
    let data = try encrypted(key, content: content, transport: transport, certificate: try Samples.certificate(try Samples.key()))
    let root = try wrapped(data)
    // An old key and a new one at a time.
    let element = try XMLEncryption.decrypt(root, keys: [other, key], limits: .message)
    #expect(try element.canonicalBytes() == (try Samples.assertion().bytes))
    #expect(throws: DecryptionFault()) { try XMLEncryption.decrypt(root, keys: [other], limits: .message) }
    #expect(throws: DecryptionFault()) { try XMLEncryption.decrypt(root, keys: [], limits: .message) }
    #expect(try XMLEncryption.decrypt(try #require(root.elements.first), keys: [key], limits: .message).name.local == "Assertion")
  }

  @Test func `cost a sender nothing to make twice, and are never the same`() throws {
    let key = try Self.keys.get().0
    #expect(try encrypted(key) != encrypted(key))
  }

  @Test func `are refused with any byte of key, text or tag changed`() throws {
    let key = try Self.keys.get().0
    let text = String(decoding: try encrypted(key), as: UTF8.self)
    for value in text.matches(of: /<xenc:CipherValue>([^<]+)</).map({ String($0.output.1) }) {
      let bytes = try #require(StrictText.base64(value))
      for place in [0, 1, 11, 12, bytes.count / 2, bytes.count - 17, bytes.count - 16, bytes.count - 1] {
        var changed = bytes
        changed[place] ^= 1
        #expect(try !decrypts(text.replacingOccurrences(of: value, with: changed.base64), [key]))
      }
      for changed in [[], Array(bytes.dropLast()), bytes + [0], Array(bytes.prefix(27)), Array(bytes.prefix(12))] {
        #expect(try !decrypts(text.replacingOccurrences(of: value, with: changed.base64), [key]))
      }
    }
    #expect(try decrypts(text, [key]))
  }

  @Test(
    arguments: [
      ("http://www.w3.org/2009/xmlenc11#aes256-gcm", "http://www.w3.org/2001/04/xmlenc#aes256-cbc"),
      ("http://www.w3.org/2009/xmlenc11#aes256-gcm", "http://www.w3.org/2001/04/xmlenc#tripledes-cbc"),
      ("http://www.w3.org/2009/xmlenc11#aes256-gcm", "http://www.w3.org/2009/xmlenc11#aes192-gcm"),
      ("http://www.w3.org/2009/xmlenc11#aes256-gcm", "http://www.w3.org/2009/xmlenc11#aes128-gcm"),
      ("http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p", "http://www.w3.org/2001/04/xmlenc#rsa-1_5"),
      ("http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p", "http://www.w3.org/2001/04/xmlenc#kw-aes256"),
      ("http://www.w3.org/2000/09/xmldsig#sha1", "http://www.w3.org/2001/04/xmlenc#sha512"),
      ("http://www.w3.org/2000/09/xmldsig#sha1", "http://www.w3.org/2001/04/xmldsig-more#md5"),
      ("http://www.w3.org/2001/04/xmlenc#Element", "http://www.w3.org/2001/04/xmlenc#Content"),
      ("<ds:DigestMethod", "<xenc:OAEPparams>AAAA</xenc:OAEPparams><ds:DigestMethod"),
      ("<xenc:EncryptedKey>", "<ds:RetrievalMethod URI=\"http://127.0.0.1:8765/\"></ds:RetrievalMethod><xenc:EncryptedKey>"),
      ("<xenc:EncryptedKey>", "<x:y xmlns:x=\"u:x\"></x:y><xenc:EncryptedKey>"),
      (
        "<xenc:CipherData>",
        "<xenc:CipherData><xenc:CipherReference URI=\"http://127.0.0.1:8765/\"><xenc:Transforms><ds:Transform xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\" Algorithm=\"http://www.w3.org/TR/1999/REC-xslt-19991116\"/></xenc:Transforms></xenc:CipherReference>"
      ), ("<xenc:CipherValue>", "<xenc:CipherValue><!-- -->"),
      ("</xenc:CipherData></xenc:EncryptedKey>", "</xenc:CipherData><xenc:x/></xenc:EncryptedKey>"),
    ])
  func `are refused in any other way of encrypting or finding the key`(old: String, new: String) throws {
    let key = try Self.keys.get().0
    let text = String(decoding: try encrypted(key), as: UTF8.self)
    #expect(text.contains(old))
    #expect(try !decrypts(text.replacingOccurrences(of: old, with: new), [key]))
  }

  @Test func `may have four keys, and no more`() throws {
    let (key, other) = try Self.keys.get()
    let text = String(decoding: try encrypted(key), as: UTF8.self)
    func keyElement(_ text: String) throws -> String {
      String(try #require(text.firstMatch(of: /<xenc:EncryptedKey>.*<\/xenc:EncryptedKey>/)).output)
    }
    let mine = try keyElement(text)
    let foreign = try keyElement(String(decoding: try encrypted(other), as: UTF8.self))
    #expect(try decrypts(text.replacingOccurrences(of: mine, with: foreign + foreign + foreign + mine), [key]))
    #expect(try !decrypts(text.replacingOccurrences(of: mine, with: foreign + foreign + foreign + foreign + mine), [key]))
    #expect(try !decrypts(text.replacingOccurrences(of: mine, with: String(repeating: mine, count: 100)), [key]))
    #expect(try !decrypts(text.replacingOccurrences(of: mine, with: ""), [key]))
    // As sibling in the wrapper, where other products put it.
    let moved = text.replacingOccurrences(of: mine, with: "")
    let sibling = mine.replacingOccurrences(
      of: "<xenc:EncryptedKey>",
      with: "<xenc:EncryptedKey xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\" xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">")
    #expect(try decrypts("<e>\(moved)\(sibling)</e>", [key]))
    #expect(try !decrypts("<e>\(moved)\(sibling)<x/></e>", [key]))
    #expect(try !decrypts("<e>\(sibling)\(moved)</e>", [key]))
  }

  @Test func `are read as strictly as everything else, and mean by prefixes what is meant around them`() throws {
    let key = try Self.keys.get().0
    func decrypt(_ plain: String) throws -> XMLElement? {
      let data = try XMLEncryption.encrypt(Array(plain.utf8), to: try EncryptionKey(key.publicKey), certificate: nil)
      let root = try XMLElement.parse(("<e xmlns:p='u:p'>" + String(decoding: data, as: UTF8.self) + "</e>").utf8, limits: .message)
      return try? XMLEncryption.decrypt(root, keys: [key], limits: .message)
    }
    #expect(try decrypt("<p:a/>")?.name == XMLName("u:p", "a"))
    for plain in ["", "text", "<a>", "<a/><b/>", "<q:a/>", "<!DOCTYPE a><a/>", "<a>&x;</a>", String(repeating: "<a>", count: 100)] {
      #expect(try decrypt(plain) == nil, "\(plain)")
    }
  }

  @Test func `need an RSA key`() throws {
    #expect(throws: CryptographyFault.algorithm) { try EncryptionKey(try Samples.key(.p256).publicKey) }
    #expect(throws: CryptographyFault.algorithm) { try DecryptionKey(pkcs8: try Samples.key(.p256).pkcs8) }
    #expect(throws: CryptographyFault.self) { try DecryptionKey(pkcs8: Secret([])) }
  }
}
