import Bytes
import Crypto
import Foundation
import SwiftASN1
import Testing
import X509

@testable import gatehouse

@Suite("The files that a configuration names")
struct ReferencedFilesTests {
  let folder: URL
  static let now = Instant(milliseconds: 1_800_000_000_000)

  init() throws {
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("gatehouse-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
  }

  private func write(_ name: String, _ text: String, mode: Int = 0o600) throws {
    let path = folder.appendingPathComponent(name).path
    try #require(FileManager.default.createFile(atPath: path, contents: Data(text.utf8)))
    try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
  }

  private func pair(validFor days: Double = 90) throws -> (certificate: String, key: String) {
    let key = P256.Signing.PrivateKey()
    let name = try DistinguishedName { CommonName("test") }
    let begin = Self.now.date.addingTimeInterval(-86_400)
    let certificate = try Certificate(
      version: .v3, serialNumber: .init(), publicKey: .init(key.publicKey), notValidBefore: begin,
      notValidAfter: begin.addingTimeInterval(days * 86_400), issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256,
      extensions: try Certificate.Extensions {}, issuerPrivateKey: .init(key))
    return (try certificate.serializeAsPEM().pemString, key.pemRepresentation)
  }

  private func gatewayProblems(_ more: String = "") throws -> [String] {
    let text =
      Samples.gateway.replacing("certificate: public.pem", with: "certificate: \(folder.path)/public.pem")
      .replacing("key: public.key", with: "key: \(folder.path)/public.key") + "dataDirectory: \(folder.path)/data\n" + more
    return try Samples.readGateway(text).problemsOfFiles(now: Self.now).map { $0.description.replacing(folder.path, with: "…") }
  }

  private func agentProblems() throws -> [String] {
    let text =
      Samples.agent.replacing("service-password", with: "\(folder.path)/password")
      + "    caFile: \(folder.path)/ca.pem\ndataDirectory: \(folder.path)\n"
    return try Samples.readAgent(text).problemsOfFiles(now: Self.now).map { $0.description.replacing(folder.path, with: "…") }
  }

  @Test("of alarms are a secret that is long enough and a program that nobody else may change")
  func alarms() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let (certificate, key) = try pair()
    try write("public.pem", certificate)
    try write("public.key", key)
    let section =
      "alarms: {webhook: {url: \"https://alarms.test/\", secretFile: \(folder.path)/secret, caFile: \(folder.path)/public.pem}, command: \(folder.path)/tell}\n"
    #expect(
      try gatewayProblems(section) == [
        "alarms.webhook.secretFile: …/secret cannot be found: No such file or directory. Put the file there or correct the path.",
        "alarms.command: …/tell cannot be found: No such file or directory. Put the program there or correct the path.",
      ])
    try write("secret", "short\n", mode: 0o644)
    try write("tell", "#!/bin/sh\n", mode: 0o600)
    #expect(
      try gatewayProblems(section) == [
        "alarms.webhook.secretFile: Others may read or change …/secret (mode 0644). chmod 0600 …/secret.",
        "alarms.webhook.secretFile: The first line of …/secret is no secret of 16 to 4096 bytes. Make one: openssl rand -hex 32 > …/secret; chmod 0600 …/secret.",
        "alarms.command: …/tell is no program that this user may run. Name a program, or run: chmod 0755 …/tell.",
      ])
    try write("secret", String(repeating: "s", count: 32))
    try write("tell", "#!/bin/sh\n", mode: 0o777)
    #expect(try gatewayProblems(section) == ["alarms.command: Others than its owner may change …/tell (mode 0777). chmod go-w …/tell."])
    try write("tell", "#!/bin/sh\n", mode: 0o755)
    #expect(try gatewayProblems(section).isEmpty)
  }

  @Test("are fine when certificate and key belong together")
  func good() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let (certificate, key) = try pair()
    try write("public.pem", certificate)
    try write("public.key", key)
    #expect(try gatewayProblems().isEmpty)
    try write("ca.pem", certificate)
    try write("password", "s3cret\n")
    #expect(try agentProblems().isEmpty)
  }

  @Test("are told when they are missing")
  func missing() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    #expect(
      try gatewayProblems() == [
        "listeners.public.certificate: …/public.pem cannot be found: No such file or directory. Put the file there or correct the path.",
        "listeners.public.key: …/public.key cannot be found: No such file or directory. Put the file there or correct the path.",
      ])
  }

  @Test("are told when the key belongs to another certificate, is open to others, or the certificate has expired")
  func wrong() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    try write("public.pem", try pair(validFor: 1).certificate)
    try write("public.key", try pair().key, mode: 0o644)
    #expect(
      try gatewayProblems() == [
        "listeners.public.certificate: The certificate in …/public.pem expired on 2027-01-15T08:00:00.000Z. Put a new certificate there; a reload takes it up.",
        "listeners.public.key: Others may read or change …/public.key (mode 0644). chmod 0600 …/public.key.",
        "listeners.public.key: …/public.key is not the key of the certificate …/public.pem. Name the pair that belongs together; in the certificate's file the leaf stands first.",
      ])
  }

  @Test("are told when they hold something else, never what they hold")
  func garbage() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    try write("public.pem", "hunter2")
    try write("public.key", ["BEGIN", "END"].map { "-----\($0) PRIVATE " + "KEY-----\n" }.joined(separator: "hunter2\n"))
    let problems = try gatewayProblems()
    #expect(problems.count == 2)
    #expect(problems.allSatisfy { !$0.contains("hunter2") })
    try write("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    try write("password", "\nhunter2\n")
    #expect(
      try agentProblems() == [
        "realms[0].caFile: …/ca.pem holds no PEM certificate that can be read. Export the directory's CA certificate as PEM (Base-64) and name that file.",
        "realms[0].service.passwordFile: The first line of …/password is no password. Write the service account's password as its first and only line.",
      ])
  }

  @Test("tell of a token's module that others may change, and of a PIN that is none")
  func token() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let (certificate, key) = try pair()
    try write("public.pem", certificate)
    try write("public.key", key)
    let token = "signingKeys: {pkcs11: {module: \(folder.path)/hsm.so, token: gatehouse, pinFile: \(folder.path)/pin}}\n"
    #expect(
      try gatewayProblems(token) == [
        "signingKeys.pkcs11.module: …/hsm.so cannot be found, or is no file. Install the token's PKCS #11 module and name its shared library.",
        "signingKeys.pkcs11.pinFile: …/pin cannot be found: No such file or directory. Put the file there or correct the path.",
      ])
    try write("hsm.so", "", mode: 0o775)
    try write("pin", "\n", mode: 0o644)
    #expect(
      try gatewayProblems(token) == [
        "signingKeys.pkcs11.module: Others may change …/hsm.so (mode 0775). chmod go-w …/hsm.so.",
        "signingKeys.pkcs11.pinFile: Others may read or change …/pin (mode 0644). chmod 0600 …/pin.",
        "signingKeys.pkcs11.pinFile: The first line of …/pin is no PIN. Write the token's user's PIN as its first and only line.",
      ])
  }

  @Test("of either kind are checked by one command, with the certificates that certs/generate makes")
  func check() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    for _ in 0..<2 {
      let generate = Process()
      generate.executableURL = Samples.references.deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("certs/generate")
      generate.arguments = ["--out", folder.path, "--name", "sign-in.contoso.com"]
      generate.standardOutput = FileHandle.nullDevice
      try generate.run()
      generate.waitUntilExit()
      #expect(generate.terminationStatus == 0)
    }
    let now = Instant(Date())
    try write("gateway.yaml", Samples.gateway + "dataDirectory: .\n")
    try write("agent.yaml", Samples.agent + "    caFile: ca.pem\ndataDirectory: .\n")
    try write("service-password", "s3cret")
    #expect(try ConfigurationFiles.check(at: folder.path + "/gateway.yaml", now: now) == .gateway)
    #expect(try ConfigurationFiles.check(at: folder.path + "/agent.yaml", now: now) == .agent)
    try write("agent.yaml", Samples.agent)
    #expect(throws: ConfigurationError.self) { try ConfigurationFiles.check(at: folder.path + "/nowhere.yaml", now: now) }
    let late = now.adding(.seconds(91 * 86_400))
    #expect(throws: ConfigurationError.self, "the certificate has expired by then") {
      try ConfigurationFiles.check(at: folder.path + "/gateway.yaml", now: late)
    }
  }
}
