import Foundation
import Testing

/// Every file of `Attacks/federation` against a gateway that two real relying parties are registered with.
@Suite("Attacks on the federation endpoint", .serialized)
struct FederationAttackTests {
  @Test("Requests that are not quite right are refused by the gateway itself, and what it echoes is harmless")
  func corpus() async throws {
    try await House.with("federation-attacks") { house in
      let metadata = try await house.gatewayMetadata()
      let entityID = try await house.entityID()
      let unsigned = try await ShibbolethServiceProvider(
        name: "unsigned", identityProvider: entityID, metadata: .document(metadata),
        options: ShibbolethServiceProvider.Options(isTLS: false, signsRequests: false))
      let signing = try await ShibbolethServiceProvider(
        name: "signing", identityProvider: entityID, metadata: .document(metadata),
        options: ShibbolethServiceProvider.Options(isTLS: false))
      do {
        try await unsigned.start()
        try await signing.start()
        try await register(unsigned, as: "unsigned", with: house)
        try await register(signing, as: "signing", with: house)
        let person = try await house.people("attacked", 1)[0]
        let unknownKey = house.gateway.folder + "/unknown.key"
        try await LeashedProcess.run("/usr/bin/openssl", ["genrsa", "-out", unknownKey, "2048"])
        func party(_ provider: ShibbolethServiceProvider) -> FederationAttack.RelyingParty {
          FederationAttack.RelyingParty(
            issuer: provider.entityID, assertionConsumerService: provider.assertionConsumerService, key: provider.key)
        }
        let run = FederationAttackRun(
          port: house.gateway.publicPort, authority: house.gateway.publicAuthority,
          target: FederationAttack.Target(
            destination: house.gateway.url + "/adfs/ls/", unsigned: party(unsigned), signing: party(signing), unknownKey: unknownKey),
          signIn: { browser, page in
            let form = try page.form(with: "userName")
            return try await browser.submit(form, of: page, filling: ["userName": person.name, "password": person.password])
          })
        // What is right must be answered, or refusals prove nothing.
        for name in ["acs-userinfo", "destination-foreign"] {
          var right = try #require(try FederationAttack.all().first { $0.name == name })
          right.expected = .carried
          right.message = right.message?.replacing(#/ AssertionConsumerServiceURL="[^"]*"/#, with: "")
            .replacing(/Destination="[^"]*"/, with: "Destination=\"{destination}\"")
          #expect(try await run.objections(to: right) == [], "\(name), made right")
        }
        let attacks = try FederationAttack.all()
        let objections = try await run.objections(to: attacks) { house.gateway.process?.isRunning == true }
        #expect(objections.isEmpty, "\(objections.joined(separator: "\n"))")
        #expect(await house.gateway.readiness() == 200)
      } catch {
        await unsigned.remove()
        await signing.remove()
        throw error
      }
      await unsigned.remove()
      await signing.remove()
    }
  }

  private func register(_ party: ShibbolethServiceProvider, as name: String, with house: House) async throws {
    let file = party.site.folder + "/own-metadata.xml"
    try await party.metadata().write(toFile: file, atomically: true, encoding: .utf8)
    try await house.admin("rp", "add", "--metadata", file, "--name", name)
  }
}
