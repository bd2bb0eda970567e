import Bytes
import Cryptography

/// Where in the signed element its signature stands.
package enum SignaturePosition: Sendable {
  /// Directly after saml:Issuer, which comes first (SAML Core 3.2.1, 2.3.3).
  case afterIssuer
  /// As first child (SAML Metadata 2.3.1, 2.3.2).
  case first
}

/// An element that a partner signed, as it was hashed. Only `SignatureVerifier` can make one.
package struct SignedElement: Sendable {
  /// Read from the very bytes that were hashed, without the signature: what is not in here was not signed.
  package let element: XMLElement
  /// The key that made the signature.
  package let key: VerificationKey
  package let algorithm: SignatureAlgorithm
  package let digestAlgorithm: DigestAlgorithm

  fileprivate init(element: XMLElement, key: VerificationKey, algorithm: SignatureAlgorithm, digestAlgorithm: DigestAlgorithm) {
    self.element = element
    self.key = key
    self.algorithm = algorithm
    self.digestAlgorithm = digestAlgorithm
  }
}

/// Verifies enveloped signatures with keys that are known beforehand (XML Signature 1.1 3.2; SAML Core 5.4).
///
/// Everything is refused that is not the one shape which SAML prescribes; a KeyInfo is never used. The signature over ds:SignedInfo is checked first:
/// nothing that a stranger wrote is hashed or interpreted.
package struct SignatureVerifier: Sendable {
  private let keys: [VerificationKey]
  private let allowingSHA1: Bool

  /// `keys` are those of the one partner who may have signed. `allowingSHA1` takes rsa-sha1 and SHA-1 digests too: collisions can be made for them.
  package init(keys: [VerificationKey], allowingSHA1: Bool = false) {
    self.keys = keys
    self.allowingSHA1 = allowingSHA1
  }

  /// Verifies the one signature of `root` and returns what it covers.
  ///
  /// `root` is the root of its document, or an element outside of which nothing is looked at. It must have exactly one ds:Signature child, at `position`,
  /// whose one reference names `root` by `idAttribute`. No identifier may be there twice. Text that comments or CDATA sections split is refused.
  package func verify(_ root: XMLElement, idAttribute: String = "ID", position: SignaturePosition = .afterIssuer) throws(SignatureFault)
    -> SignedElement
  {
    let signature = try Self.signature(of: root, at: position)
    let identifier = try IdentifierCensus.identifier(of: root, attribute: idAttribute)
    try IdentifierCensus.check(root)
    try Self.refuseSplitTexts(in: root)
    let shape = try SignatureShape(signature, allowingSHA1: allowingSHA1)

    let signedBytes = try shape.canonicalization.bytes(of: shape.signedInfo)
    guard let key = keys.first(where: { Self.holds(shape, over: signedBytes, by: $0) }) else {
      throw SignatureFault(.signature, "none of the \(keys.count) keys that the partner registered made the signature")
    }

    // From here on only what the partner signed is read.
    let signedInfo = try Self.parse(signedBytes, limits: root.limits)
    let reference = try ReferenceShape(signedInfo: signedInfo, allowingSHA1: allowingSHA1)
    guard sameBytes(reference.identifier, identifier) else {
      throw SignatureFault(.structure, "the signature refers to something else than the element that it is in")
    }
    let content = try reference.canonicalization.bytes(of: root, omitting: signature)
    guard !content.isEmpty, constantTimeEqual(reference.digestAlgorithm.digest(content), reference.digest) else {
      throw SignatureFault(.digest, "the signed element was changed")
    }
    return SignedElement(
      element: try Self.parse(content, limits: root.limits), key: key, algorithm: shape.algorithm, digestAlgorithm: reference.digestAlgorithm)
  }

  private static func signature(of root: XMLElement, at position: SignaturePosition) throws(SignatureFault) -> XMLElement {
    let children = root.elements
    // Whatever calls itself a signature is one to some reader.
    let candidates = children.filter { sameBytes($0.name.local, "Signature") }
    guard let signature = candidates.first else { throw SignatureFault(.missing, "no signature in <\(root.name.local)>") }
    guard candidates.count == 1, signature.name == XMLName(Namespaces.signature, "Signature") else {
      throw SignatureFault(.structure, "\(candidates.count) signatures in <\(root.name.local)>, or one of another namespace")
    }
    let isInPlace =
      switch position {
      case .afterIssuer:
        children.first?.name == XMLName(Namespaces.assertion, "Issuer") && children.dropFirst().first?.isIdentical(to: signature) == true
      case .first: children.first?.isIdentical(to: signature) == true
      }
    guard isInPlace else { throw SignatureFault(.structure, "the signature of <\(root.name.local)> is not at its place") }
    return signature
  }

  /// Canonical form drops comments and joins CDATA sections to the text around: the partner signed the whole, a careless reader sees the first piece.
  private static func refuseSplitTexts(in root: XMLElement) throws(SignatureFault) {
    var left = [root]
    while let element = left.popLast() {
      var hasElement = false
      for case .element(let child) in element.children {
        hasElement = true
        left.append(child)
      }
      if !hasElement && !element.isBlank { do { _ = try element.text() } catch { throw SignatureFault(error) } }
    }
  }

  private static func holds(_ shape: SignatureShape, over bytes: [UInt8], by key: VerificationKey) -> Bool {
    do { try key.verify(signature: shape.signatureValue, over: bytes, algorithm: shape.algorithm) } catch { return false }
    return true
  }

  private static func parse(_ canonical: [UInt8], limits: XMLLimits) throws(SignatureFault) -> XMLElement {
    do { return try XMLElement.parse(canonical, limits: limits.forCanonicalForm) } catch { throw SignatureFault(error) }
  }
}
