import Foundation
import Testing

@Suite("The public listener's certificate")
struct PublicCertificateScenario {
  @Test("is taken up from the disk without a restart; a broken one leaves the old in use, with an alarm")
  func reloaded() async throws {
    try await House.with("certificate", agents: []) { house in
      let tls = house.gateway.folder + "/tls"
      let authority = tls + "/ca.pem"
      // That the realm has no agent here is an alarm of its own.
      func alarm() async throws -> Told.Status.Alarm? { try await house.status().alarms.first { $0.code == "certificate-reload-failed" } }
      func presented() async throws -> TLSClient.Seen { try await TLSClient.certificate(port: house.gateway.publicPort, authorityFile: authority) }
      let first = try await presented()
      #expect(first.verified)
      #expect(!first.fingerprint.isEmpty)

      // Another name makes another certificate, of the same CA.
      try await LeashedProcess.run(
        BuiltProgram.certificateGenerator, ["--out", tls, "--name", "localhost", "--name", "127.0.0.1", "--name", "renewed.test"])
      var second = first
      let changed = try await eventually(within: .seconds(8), every: .milliseconds(300)) {
        second = try await presented()
        return second.fingerprint != first.fingerprint
      }
      #expect(changed, "the new certificate was not taken up")
      #expect(second.verified)
      // The connection that the front-end has is not disturbed.
      #expect(try await house.frontEnd.signIn("nobody", "wrong").status == 503)
      #expect(try await alarm() == nil)

      try Data("-----BEGIN CERTIFICATE-----\nnonsense\n".utf8).write(to: URL(fileURLWithPath: tls + "/public.pem"))
      house.gateway.process?.signal(SIGHUP)
      let alarmed = try await eventually(within: .seconds(3)) { try await alarm() != nil }
      #expect(alarmed)
      let raised = try #require(try await alarm())
      #expect(raised.message.contains(tls + "/public.pem"))
      #expect(raised.remedy.contains("SIGHUP"))
      #expect(try await presented().fingerprint == second.fingerprint)

      try FileManager.default.removeItem(atPath: tls + "/public.names")
      try await LeashedProcess.run(BuiltProgram.certificateGenerator, ["--out", tls, "--name", "localhost", "--name", "127.0.0.1"])
      house.gateway.process?.signal(SIGHUP)
      let mended = try await eventually(within: .seconds(3)) { try await alarm() == nil }
      #expect(mended)
      let third = try await presented()
      #expect(third.verified)
      #expect(third.fingerprint != second.fingerprint)
    }
  }
}
