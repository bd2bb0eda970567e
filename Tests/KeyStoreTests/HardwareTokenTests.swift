import Bytes
import Cryptography
import Federation
import Foundation
import GatehouseTesting
import Identity
import Logging
import Testing

@testable import KeyStore

// One after the other: SoftHSM reads all tokens of its folder, also those that another program is just writing.
@Suite(.serialized) struct `A hardware token` {
  private static let message = Array("a token that is signed".utf8)

  private func open(_ settings: HardwareToken.Settings) -> HardwareToken {
    let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    return HardwareToken(settings, now: { Instant(milliseconds: 1_800_000_000_000) }, logger: logger)
  }

  private func signs(_ key: SigningKey) -> Bool { (try? key.sign(Self.message, with: key.defaultAlgorithm)) != nil }

  @Test(arguments: SigningKey.Kind.allCases)
  func `makes keys of every kind that sign, stay inside, and are certified`(kind: SigningKey.Kind) async throws {
    let soft = try SoftToken()
    let token = open(soft.settings)
    let made = try await token.makeKey(kind, name: "tokens \u{e9}")
    let algorithms = SignatureAlgorithm.allCases.filter { made.key.publicKey.fits($0) }
    #expect(algorithms.count == (made.key.defaultAlgorithm == .rsaSHA256 ? 4 : 2))
    for algorithm in algorithms {
      let signature = try made.key.sign(Self.message, with: algorithm)
      // Read anew, so that nothing of the key that signed is used.
      let key = try VerificationKey(subjectPublicKeyInfo: made.key.publicKey.subjectPublicKeyInfo)
      try key.verify(signature: signature, over: Self.message, algorithm: algorithm)
    }
    for algorithm in SignatureAlgorithm.allCases where !algorithms.contains(algorithm) {
      #expect(throws: CryptographyFault.algorithm) { try made.key.sign(Self.message, with: algorithm) }
    }
    #expect(made.key.isRemote)
    #expect(throws: CryptographyFault.key("the key never leaves its token")) { try made.key.pkcs8 }

    let certificate = try SelfSignedCertificate.make(
      key: made.key, commonName: "token signing", notBefore: Instant(Date()), notAfter: Instant(Date().addingTimeInterval(86_400)))
    #expect(try VerificationKey(certificate: certificate) == made.key.publicKey)
    let path = try SoftToken.file(certificate)
    try SoftToken.run("openssl", ["x509", "-inform", "DER", "-in", path, "-out", path + ".pem"])
    #expect(try SoftToken.run("openssl", ["verify", "-check_ss_sig", "-CAfile", path + ".pem", path + ".pem"]).contains("OK"))

    let id = made.reference.split(separator: "%").dropFirst().joined()
    let seen = try soft.toolInside(["--list-objects", "--type", "privkey", "--id", id])
    #expect(seen.contains("sensitive, always sensitive, never extract") && seen.contains("label:      tokens"))
    #expect(seen.contains("Usage:      sign\n"), "it does nothing else")
    await token.close()
  }

  @Test(arguments: SigningKeyVaultContract.sentences)
  func `keeps the contract of a vault`(sentence: ContractSentence<SigningKeyVaultContract.Store>) async throws {
    let token = open(try SoftToken().settings)
    try await sentence.test(token)
    await token.close()
    try await sentence.test(InMemorySigningKeyVault())
  }

  @Test func `serves two gateways, each of which sees what the other does`() async throws {
    let soft = try SoftToken()
    var other = soft.settings
    other.module = try soft.copyOfModule()
    let here = open(soft.settings)
    let kept = try await here.makeKey(.p256, name: "kept")
    let gone = try await here.makeKey(.p256, name: "gone")
    let there = open(other)
    let (keptThere, goneThere) = (
      try there.key(reference: kept.reference, publicKey: kept.key.publicKey), try there.key(reference: gone.reference, publicKey: gone.key.publicKey)
    )
    // SoftHSM gives both a general error now and then where two log in at once; that is a token that is away, and taken up again.
    func soon(_ condition: () async -> Bool) async throws -> Bool {
      for _ in 0..<300 {
        if await condition() { return true }
        try await Task.sleep(for: .milliseconds(100))
      }
      return false
    }
    for _ in 0..<20 { #expect(try await soon { signs(keptThere) && signs(goneThere) && signs(gone.key) }) }
    #expect(try await soon { (try? await there.destroyKey(reference: gone.reference)) != nil })
    for _ in 0..<20 {
      #expect(try await soon { signs(kept.key) && signs(keptThere) })
      #expect(!signs(gone.key) && !signs(goneThere))
    }
    #expect(try await soon { await here.alarms().isEmpty })
    await here.close()
    #expect(try await soon { signs(keptThere) })
    await there.close()
  }

  @Test func `signs what OpenSSL's tool verifies`() async throws {
    let token = open(try SoftToken().settings)
    let made = try await token.makeKey(.rsa2048, name: "tokens")
    let key = try SoftToken.file(made.key.publicKey.subjectPublicKeyInfo)
    let signature = try SoftToken.file(try made.key.sign(Self.message, with: .rsaSHA512))
    let message = try SoftToken.file(Self.message)
    let said = try SoftToken.run("openssl", ["dgst", "-sha512", "-keyform", "DER", "-verify", key, "-signature", signature, message])
    #expect(said.contains("Verified OK"))
    await token.close()
  }

  @Test func `is asked for the private number of a key, and must not tell it`() async throws {
    let soft = try SoftToken()
    let id = Array("sixteen bytes !!".utf8)
    func stays(_ id: [UInt8]) async throws -> Bool {
      let token = open(soft.settings)
      let job = TokenJob(limit: .seconds(5)) { session throws(TokenFault) in
        [session.module.stays(try session.handle(), try session.privateKey(id)) ? 1 : 0]
      }
      try token.threads.submit(job)
      let answer = try await job.value()
      await token.close()
      return answer == [1]
    }
    for (number, kind) in ["rsa:2048", "EC:prime256v1"].enumerated() {
      var loose = id
      loose[15] = UInt8(number)
      _ = try soft.toolInside(["--keypairgen", "--key-type", kind, "--id", loose.hexadecimal, "--extractable"])
      #expect(try await !stays(loose))
      var fast = id
      fast[14] = UInt8(number)
      _ = try soft.toolInside(["--keypairgen", "--key-type", kind, "--id", fast.hexadecimal, "--sensitive"])
      #expect(try await stays(fast))
    }
  }

  @Test func `finds its keys again after it was opened anew, and destroys them as often as is asked`() async throws {
    let soft = try SoftToken()
    let first = open(soft.settings)
    let made = try await first.makeKey(.p256, name: "one")
    let other = try await first.makeKey(.rsa2048, name: "two")
    await first.close()
    #expect(throws: CryptographyFault.tokenAway("the gateway stops")) { try made.key.sign(Self.message, with: .ecdsaSHA256) }

    let second = open(soft.settings)
    let again = try second.key(reference: made.reference, publicKey: made.key.publicKey)
    #expect(signs(again))
    let confused = try second.key(reference: other.reference, publicKey: made.key.publicKey)
    #expect(throws: CryptographyFault.self) { try confused.sign(Self.message, with: .ecdsaSHA256) }
    for _ in 0..<2 { try await second.destroyKey(reference: made.reference) }
    #expect(throws: CryptographyFault.tokenAway("the token does not have the key")) { try again.sign(Self.message, with: .ecdsaSHA256) }
    let left = try soft.toolInside(["--list-objects"])
    #expect(left.contains("two") && !left.contains("one"))
    #expect(signs(try second.key(reference: other.reference, publicKey: other.key.publicKey)))
    await second.close()
  }

  @Test(arguments: [
    "", "pkcs11:", "pkcs11:id=", "pkcs11:id=%00", "pkcs11:object=a", "file:id=%01", "pkcs11:id=" + String(repeating: "%0g", count: 16),
  ])
  func `takes no reference that it did not make`(text: String) async throws {
    let token = open(HardwareToken.Settings(module: "/nowhere.so", token: "none", pinFile: "/nowhere"))
    let key = try SigningKey.generate(.p256).publicKey
    #expect(throws: SigningKeyVaultFault.reference(text)) { try token.key(reference: text, publicKey: key) }
    await #expect(throws: SigningKeyVaultFault.reference(text)) { try await token.destroyKey(reference: text) }
    await token.close()
  }

  @Test func `that is taken away refuses at once with an alarm, and comes back by itself`() async throws {
    let soft = try SoftToken()
    let token = open(soft.settings)
    let key = try await token.makeKey(.rsa2048, name: "tokens").key
    #expect(signs(key))
    #expect(await token.alarms().isEmpty)
    for _ in 0..<2 {
      let putBack = try soft.remove()
      #expect(try await eventually { !signs(key) })
      #expect(try await eventually { await !token.alarms().isEmpty })
      let alarm = try #require(await token.alarms().first)
      #expect(alarm.code == .signingTokenAway && alarm.message.contains("is not there"))
      let begin = ContinuousClock.now
      for _ in 0..<100 { #expect(!signs(key)) }
      #expect(begin.duration(to: .now) < .seconds(2), "nobody waits for a token that is away")
      await #expect(throws: SigningKeyVaultFault.self) { try await token.makeKey(.p256, name: "none") }
      // The public half goes on.
      #expect(!key.publicKey.subjectPublicKeyInfo.isEmpty)
      try putBack()
      #expect(try await eventually { signs(key) })
      #expect(await token.alarms().isEmpty)
    }
    await token.close()
  }

  @Test func `may appear after the gateway has started`() async throws {
    let soft = try SoftToken(exists: false)
    let token = open(soft.settings)
    #expect(try await eventually { await token.alarms().first?.message.contains("is not there") == true })
    await #expect(throws: SigningKeyVaultFault.self) { try await token.makeKey(.p256, name: "none") }
    try soft.make()
    #expect(try await eventually { await token.alarms().isEmpty })
    #expect(signs(try await token.makeKey(.p256, name: "one").key))
    await token.close()
  }

  @Test func `is not asked again with a PIN that it refused, before the file was written anew`() async throws {
    let soft = try SoftToken()
    try soft.writePIN("0815")
    let token = open(soft.settings)
    #expect(try await eventually { await token.alarms().first?.message.contains("it refused the PIN") == true })
    // Now the PIN in the file would be right, but nobody has touched the file.
    try soft.tool(["--token-label", soft.label, "--login", "--pin", SoftToken.pin, "--change-pin", "--new-pin", "0815"])
    try await Task.sleep(for: .seconds(3))
    #expect(await token.alarms().count == 1)
    try soft.writePIN("0815")
    #expect(try await eventually { await token.alarms().isEmpty })
    #expect(signs(try await token.makeKey(.p256, name: "one").key))
    await token.close()
  }

  @Test func `says what is wrong with module and PIN file`() async throws {
    let soft = try SoftToken()
    func complaint(_ change: (inout HardwareToken.Settings) throws -> Void) async throws -> String {
      var settings = soft.settings
      try change(&settings)
      let token = open(settings)
      #expect(try await eventually { await !token.alarms().isEmpty })
      let message = await token.alarms().first?.message ?? ""
      await token.close()
      return message
    }
    #expect(try await complaint { $0.module = "/nowhere/module.so" }.contains("the module /nowhere/module.so cannot be used"))
    #expect(try await complaint { $0.module = $0.pinFile }.contains("cannot be used"))
    #expect(try await complaint { $0.pinFile = "/nowhere/pin" }.contains("/nowhere/pin cannot be opened"))
    #expect(try await complaint { _ in chmod(soft.pinFile, 0o644) }.contains("others may read"))
  }

  @Test func `signs for many threads at once`() async throws {
    let token = open(try SoftToken().settings)
    let keys = [try await token.makeKey(.rsa2048, name: "a").key, try await token.makeKey(.p256, name: "b").key]
    let done = await withTaskGroup(of: Int.self) { group in
      for number in 0..<8 {
        group.addTask {
          await withCheckedContinuation { continuation in
            let thread = Thread {
              let count = (0..<100).count { _ in signs(keys[number % 2]) }
              continuation.resume(returning: count)
            }
            thread.start()
          }
        }
      }
      return await group.reduce(0, +)
    }
    #expect(done == 800)
    await token.close()
  }

  @Test func `that hangs counts as away after the first who waited, and is opened anew when it has come back`() async throws {
    var settings = try SoftToken().settings
    settings.signLimit = .milliseconds(300)
    settings.sessions = 2
    let token = open(settings)
    let key = try await token.makeKey(.p256, name: "one").key
    let hanging = TokenJob(limit: .milliseconds(300)) { _ in
      usleep(4_000_000)
      return []
    }
    let begin = ContinuousClock.now
    try token.threads.submit(hanging)
    await #expect(throws: TokenFault.silent) { try await hanging.value() }
    #expect(begin.duration(to: .now) < .seconds(3))
    #expect(throws: CryptographyFault.tokenAway("the token did not answer in time")) { try key.sign(Self.message, with: .ecdsaSHA256) }
    #expect(begin.duration(to: .now) < .seconds(3))
    #expect(await token.alarms().count == 1)
    #expect(try await eventually { signs(key) })
    #expect(begin.duration(to: .now) >= .seconds(4))
    #expect(await token.alarms().isEmpty)
    await token.close()
  }

  @Test func `lets no more wait than may, and tells the others at once`() async throws {
    var settings = try SoftToken().settings
    (settings.sessions, settings.mostWaiting) = (1, 2)
    let token = open(settings)
    let key = try await token.makeKey(.p256, name: "one").key
    let jobs = (0..<2).map { _ in
      TokenJob(limit: .seconds(5)) { _ in
        usleep(500_000)
        return []
      }
    }
    for job in jobs { try token.threads.submit(job) }
    #expect(throws: CryptographyFault.tokenAway("too many signatures wait for the token already")) { try key.sign(Self.message, with: .ecdsaSHA256) }
    for job in jobs { _ = try await job.value() }
    #expect(signs(key))
    await token.close()
  }

  @Test func `keeps no key whose maker has gone`() async throws {
    let soft = try SoftToken()
    var settings = soft.settings
    settings.makeLimit = .milliseconds(1)
    let token = open(settings)
    _ = try await eventually { await token.alarms().isEmpty }
    var refusals = 0
    for _ in 0..<5 {
      do { _ = try await token.makeKey(.rsa2048, name: "nobody's") } catch { refusals += 1 }
      try await Task.sleep(for: .milliseconds(500))
    }
    #expect(refusals > 0)
    await token.close()
    let count = try soft.toolInside(["--list-objects", "--type", "privkey"]).split(separator: "\n").count { $0.contains("nobody's") }
    #expect(count == 5 - refusals)
  }
}
