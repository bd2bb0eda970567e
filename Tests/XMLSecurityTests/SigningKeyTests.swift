import Bytes
import Cryptography
import Testing

@Suite struct `Signing keys` {
  private static let message = Array("what is signed".utf8)

  @Test(arguments: SigningKey.Kind.allCases) func `sign what their public halves verify, and nothing else`(kind: SigningKey.Kind) throws {
    let key = try Samples.key(kind)
    for algorithm in SignatureAlgorithm.allCases {
      guard key.publicKey.fits(algorithm) else {
        #expect(throws: CryptographyFault.algorithm) { try key.sign(Self.message, with: algorithm) }
        #expect(throws: CryptographyFault.algorithm) { try key.publicKey.verify(signature: [1], over: Self.message, algorithm: algorithm) }
        continue
      }
      let signature = try key.sign(Self.message, with: algorithm)
      try key.publicKey.verify(signature: signature, over: Self.message, algorithm: algorithm)
      var changed = signature
      changed[changed.count / 2] ^= 1
      for (bytes, text) in [
        (changed, Self.message), (signature, Self.message + [0]), ([], Self.message), (signature + [0], Self.message),
        (Array(signature.dropLast()), Self.message),
        ([UInt8](repeating: 0, count: signature.count), Self.message), ([UInt8](repeating: 255, count: signature.count), Self.message),
      ] {
        #expect(throws: CryptographyFault.signature) { try key.publicKey.verify(signature: bytes, over: text, algorithm: algorithm) }
      }
      for other in SignatureAlgorithm.allCases where other.digest != algorithm.digest && key.publicKey.fits(other) {
        #expect(throws: CryptographyFault.signature) { try key.publicKey.verify(signature: signature, over: Self.message, algorithm: other) }
      }
    }
  }

  @Test func `that are kept elsewhere hand out only what their public half verifies, and never themselves`() throws {
    enum Elsewhere: RemoteSigner {
      case key(SigningKey), says([UInt8]), away

      func sign(_ bytes: [UInt8], with algorithm: SignatureAlgorithm) throws(CryptographyFault) -> [UInt8] {
        switch self {
        case .key(let key): try key.sign(bytes, with: algorithm)
        case .says(let answer): answer
        case .away: throw .tokenAway("unplugged")
        }
      }
    }
    let (key, other) = (try Samples.key(.p256), try SigningKey.generate(.p256))
    let good = SigningKey(remote: Elsewhere.key(key), publicKey: key.publicKey)
    #expect(good.isRemote && !key.isRemote && good.defaultAlgorithm == .ecdsaSHA256)
    let signature = try good.sign(Self.message, with: .ecdsaSHA384)
    try key.publicKey.verify(signature: signature, over: Self.message, algorithm: .ecdsaSHA384)
    #expect(throws: CryptographyFault.algorithm) { try good.sign(Self.message, with: .rsaSHA256) }
    #expect(throws: CryptographyFault.key("the key never leaves its token")) { try good.pkcs8 }
    let now = Instant(milliseconds: 1_800_000_000_000)
    let certificate = try SelfSignedCertificate.make(key: good, commonName: "elsewhere", notBefore: now, notAfter: now.adding(.seconds(60)))
    #expect(try VerificationKey(certificate: certificate) == key.publicKey)

    for elsewhere in [Elsewhere.key(other), .says([]), .says([UInt8](repeating: 1, count: 64)), .away] {
      let bad = SigningKey(remote: elsewhere, publicKey: key.publicKey)
      var fault: CryptographyFault?
      do throws(CryptographyFault) { _ = try bad.sign(Self.message, with: .ecdsaSHA256) } catch { fault = error }
      guard case .tokenAway = fault else {
        Issue.record("\(fault.debugDescription)")
        continue
      }
      #expect(throws: CryptographyFault.self) {
        try SelfSignedCertificate.make(key: bad, commonName: "elsewhere", notBefore: now, notAfter: now.adding(.seconds(60)))
      }
    }
  }

  @Test func `have elliptic signatures of fixed width, and neither half is zero`() throws {
    for (kind, width) in [(SigningKey.Kind.p256, 64), (.p384, 96)] {
      let key = try Samples.key(kind)
      // Small numbers come with leading zeros one time in 128.
      for round in 0..<300 {
        let message = Self.message + [UInt8(truncatingIfNeeded: round)]
        let signature = try key.sign(message, with: .ecdsaSHA256)
        #expect(signature.count == width)
        try key.publicKey.verify(signature: signature, over: message, algorithm: .ecdsaSHA256)
      }
      let signature = try key.sign(Self.message, with: .ecdsaSHA256)
      let zeros = [UInt8](repeating: 0, count: width / 2)
      for bytes in [zeros + signature.suffix(width / 2), signature.prefix(width / 2) + zeros] {
        #expect(throws: CryptographyFault.signature) {
          try key.publicKey.verify(signature: Array(bytes), over: Self.message, algorithm: .ecdsaSHA256)
        }
      }
    }
  }

  @Test(arguments: SigningKey.Kind.allCases) func `are kept as PKCS#8 and come back the same`(kind: SigningKey.Kind) throws {
    let key = try Samples.key(kind)
    let again = try SigningKey(pkcs8: try key.pkcs8)
    #expect(again.publicKey == key.publicKey && again.publicKey.hashValue == key.publicKey.hashValue)
    try key.publicKey.verify(
      signature: try again.sign(Self.message, with: key.defaultAlgorithm), over: Self.message, algorithm: key.defaultAlgorithm)
    let bytes = try key.pkcs8.withBytes { Array($0) }
    for bad in [[], Array(bytes.dropLast()), bytes + [0], [0x30, 0x00], Array("PRIVATE".utf8)] {
      #expect(throws: CryptographyFault.self) { try SigningKey(pkcs8: Secret(bad)) }
    }
  }

  @Test(arguments: [SigningKey.Kind.rsa2048, .p256]) func `sign for many at once`(kind: SigningKey.Kind) async throws {
    let key = try Samples.key(kind)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for task in 0..<8 {
        group.addTask {
          for round in 0..<50 {
            let message = Self.message + [UInt8(task), UInt8(round)]
            let signature = try key.sign(message, with: key.defaultAlgorithm)
            try key.publicKey.verify(signature: signature, over: message, algorithm: key.defaultAlgorithm)
          }
        }
      }
      try await group.waitForAll()
    }
  }

  @Test func `have a certificate of their own`() throws {
    for kind in SigningKey.Kind.allCases {
      let key = try Samples.key(kind)
      let certificate = try Samples.certificate(key)
      #expect(try VerificationKey(certificate: certificate) == key.publicKey)
      for bad in [[], Array(certificate.dropLast()), certificate + [0], Array(certificate.dropFirst())] {
        #expect(throws: CryptographyFault.self) { try VerificationKey(certificate: bad) }
      }
    }
    let key = try Samples.key(.p256)
    #expect(try Samples.certificate(key) != Samples.certificate(key))
    for name in ["", "a\u{0}b", String(repeating: "x", count: 65)] {
      #expect(throws: CryptographyFault.self) {
        try SelfSignedCertificate.make(key: key, commonName: name, notBefore: Samples.now, notAfter: Samples.now.adding(.seconds(1)))
      }
    }
    #expect(throws: CryptographyFault.self) {
      try SelfSignedCertificate.make(key: key, commonName: "x", notBefore: Samples.now, notAfter: Samples.now)
    }
  }

  @Test func `are equal by what they are, not by how they came`() throws {
    let key = try Samples.key()
    let again = try VerificationKey(subjectPublicKeyInfo: key.publicKey.subjectPublicKeyInfo)
    let other = try Samples.key(.rsa3072).publicKey
    #expect(again == key.publicKey && again != other)
    #expect(Set([again, key.publicKey, try VerificationKey(certificate: try Samples.certificate(key))]).count == 1)
  }

  /// SubjectPublicKeyInfo in base64, each a good key but for one thing.
  @Test(
    arguments: WeakKeys.all)
  func `are refused where they are weak or strange`(name: String, key: String) throws {
    #expect(throws: CryptographyFault.self, "\(name)") { try VerificationKey(subjectPublicKeyInfo: try #require(StrictText.base64(key))) }
  }
}
