import Bytes
import Cryptography

/// Signs one canonical element, with the signature inside of it (XML Signature 1.1; SAML Core 5.4). No tree, no second pass.
///
/// ```
/// let signature = EnvelopedSignature.prepare(element: …, id: …, at: …, …)
/// let signed = signature.finish(signature: try key.sign(signature.bytesToSign, with: algorithm))
/// ```
/// The signature can be made elsewhere between the two calls. The prefix `ds` must not be declared by an element around the signed one.
package struct EnvelopedSignature: Sendable {
  /// The canonical ds:SignedInfo, which the key signs.
  package let bytesToSign: [UInt8]

  private let element: [UInt8]
  private let offset: Int
  private let certificates: [[UInt8]]
  /// Where, inside of `bytesToSign`, that begins which follows the start tag.
  private let contentStart: Int

  /// `element` is canonical, as `CanonicalWriter` makes it; `id` is its ID, an NCName; `offset` is where the signature goes, after the Issuer (SAML) or
  /// after the start tag (metadata). `certificates` are DER and go into ds:X509Data; without any there is no ds:KeyInfo.
  /// `inclusivePrefixes` are those that the element declares for its values only (`CanonicalWriter`'s `declaring:`), at most 16 NCNames: the reader's
  /// exclusive C14N would drop their declarations otherwise, and find another digest (exc-c14n 1.3, 3).
  package static func prepare(
    element: [UInt8], id: String, at offset: Int, digest: DigestAlgorithm, algorithm: SignatureAlgorithm, certificates: [[UInt8]],
    inclusivePrefixes: [String] = []
  ) -> EnvelopedSignature {
    var info: [UInt8] = []
    info.reserveCapacity(1024)
    CanonicalText.append("<ds:SignedInfo xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">", to: &info)
    let contentStart = info.count
    CanonicalText.append(
      "<ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"></ds:CanonicalizationMethod><ds:SignatureMethod Algorithm=\"",
      to: &info)
    CanonicalText.append(attribute: algorithm.uri, to: &info)
    CanonicalText.append("\"></ds:SignatureMethod><ds:Reference URI=\"#", to: &info)
    CanonicalText.append(attribute: id, to: &info)
    CanonicalText.append(
      "\"><ds:Transforms><ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"></ds:Transform>", to: &info)
    CanonicalText.append("<ds:Transform Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\">", to: &info)
    if !inclusivePrefixes.isEmpty {
      CanonicalText.append("<ec:InclusiveNamespaces xmlns:ec=\"http://www.w3.org/2001/10/xml-exc-c14n#\" PrefixList=\"", to: &info)
      CanonicalText.append(attribute: inclusivePrefixes.joined(separator: " "), to: &info)
      CanonicalText.append("\"></ec:InclusiveNamespaces>", to: &info)
    }
    CanonicalText.append("</ds:Transform></ds:Transforms><ds:DigestMethod Algorithm=\"", to: &info)
    CanonicalText.append(attribute: digest.uri, to: &info)
    CanonicalText.append("\"></ds:DigestMethod><ds:DigestValue>", to: &info)
    CanonicalText.append(base64: digest.digest(element), to: &info)
    CanonicalText.append("</ds:DigestValue></ds:Reference></ds:SignedInfo>", to: &info)
    return EnvelopedSignature(
      bytesToSign: info, element: element, offset: min(max(offset, 0), element.count), certificates: certificates, contentStart: contentStart)
  }

  private init(bytesToSign: [UInt8], element: [UInt8], offset: Int, certificates: [[UInt8]], contentStart: Int) {
    self.bytesToSign = bytesToSign
    self.element = element
    self.offset = offset
    self.certificates = certificates
    self.contentStart = contentStart
  }

  /// The element with its ds:Signature in place. It is canonical as written, like the one without.
  package func finish(signature: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(element.count + bytesToSign.count + 1024 + certificates.reduce(0) { $0 + $1.count / 3 * 4 + 64 })
    result.append(contentsOf: element.prefix(offset))
    CanonicalText.append("<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"><ds:SignedInfo>", to: &result)
    // Inside of ds:Signature the prefix is declared already.
    result.append(contentsOf: bytesToSign.dropFirst(contentStart))
    CanonicalText.append("<ds:SignatureValue>", to: &result)
    CanonicalText.append(base64: signature, to: &result)
    CanonicalText.append("</ds:SignatureValue>", to: &result)
    if !certificates.isEmpty {
      CanonicalText.append("<ds:KeyInfo><ds:X509Data>", to: &result)
      for certificate in certificates {
        CanonicalText.append("<ds:X509Certificate>", to: &result)
        CanonicalText.append(base64: certificate, to: &result)
        CanonicalText.append("</ds:X509Certificate>", to: &result)
      }
      CanonicalText.append("</ds:X509Data></ds:KeyInfo>", to: &result)
    }
    CanonicalText.append("</ds:Signature>", to: &result)
    result.append(contentsOf: element.dropFirst(offset))
    return result
  }
}
