import Foundation
import GatehouseTesting
import NIOSSL
import Testing

@testable import Web

@Suite("A listener's certificate and key")
struct TLSIdentityTests {
  /// A folder for one test, gone afterwards.
  private func withFolder(_ body: (String) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("gatehouse-tls-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try body(folder.path)
  }

  private func write(_ text: String, _ path: String) throws -> String {
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }

  @Test("that cannot be used are told by path and remedy, and the identity in use stays")
  func problems() throws {
    try withFolder { folder in
      let pki = try TestPKI()
      let (one, other) = (try pki.issue(), try pki.issue())
      let certificate = try write(try one.certificatePEM, folder + "/good.crt")
      let key = try write(one.privateKeyPEM, folder + "/good.key")
      let foreignKey = try write(other.privateKeyPEM, folder + "/foreign.key")
      let garbage = try write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", folder + "/garbage.pem")
      let empty = try write("", folder + "/empty.pem")
      let identity = try TLSIdentity(certificateFile: certificate, keyFile: key)
      let before = ObjectIdentifier(identity.currentContext)
      let cases: [(certificate: String, key: String, words: [String])] = [
        (folder + "/missing.crt", key, [folder + "/missing.crt", "cannot be read"]),
        (certificate, folder + "/missing.key", [folder + "/missing.key", "cannot be read", "readable"]),
        (garbage, key, [garbage]), (empty, key, [empty]), (key, key, [key]), (certificate, garbage, [garbage]), (certificate, empty, [empty]),
        (certificate, certificate, [certificate]), (certificate, foreignKey, ["belongs to the certificate"]), (folder, key, [folder]),
      ]
      for (certificate, key, words) in cases {
        for attempt in [
          { _ = try TLSIdentity(certificateFile: certificate, keyFile: key) }, { try identity.replace(certificateFile: certificate, keyFile: key) },
        ] {
          let problem = try #require(throws: TLSIdentityProblem.self) { try attempt() }
          for word in words { #expect(problem.description.contains(word)) }
          #expect(!problem.description.contains("PRIVATE KEY"))
        }
      }
      #expect(ObjectIdentifier(identity.currentContext) == before)
      try identity.replace(certificateFile: try write(try other.certificatePEM, folder + "/next.crt"), keyFile: foreignKey)
      #expect(ObjectIdentifier(identity.currentContext) != before)
    }
  }
}
