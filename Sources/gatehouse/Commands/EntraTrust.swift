import ArgumentParser
import Foundation
import Web

extension RelyingParties {
  /// Microsoft 365 and Entra as they know AD FS.
  struct AddEntra: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "add-entra", abstract: "Register Microsoft Entra by WS-Federation for domains, and print what to set on its side.",
      discussion: """
        Makes the relying party urn:federation:MicrosoftOnline with the claims that Entra reads, or adds domains to it. Nothing is changed in Entra: the script
        that is printed does that, once you run it there.

        Examples:
          gatehouse rp add-entra --domain contoso.com
          gatehouse rp add-entra --domain contoso.com --domain fabrikam.com --script federate.ps1
        """)
    @OptionGroup var admin: AdminOptions
    @Option(name: .long, help: "A verified domain of the tenant; may be repeated. Sub-domains take their parent's issuer.") var domain: [String] = []
    @Option(name: .long, help: "What it is called here (default: entra).") var name: String?
    @Option(name: .long, help: "The attribute that people of an alternate login ID sign in with, such as mail.") var alternateID: String?
    @Option(name: .long, help: "Write the PowerShell script to this file instead of printing it.") var script: String?

    func validate() throws {
      if domain.isEmpty { throw ValidationError("Say which domain is to be federated: --domain contoso.com.") }
    }

    func run() async throws {
      let trust: EntraTrustMessage = try await admin.client.post(
        "federation/entra", EntraTrustRequest(domains: domain, name: name, alternateId: alternateID))
      if admin.json { return try printJSON(trust) }
      print("The relying party \(harmless(trust.relyingParty.name)) (\(trust.relyingParty.entityId)) is registered.")
      var rows = trust.domains.map { ["issuer URI for \($0.domain)", $0.issuerUri] }
      rows += [
        ["passive sign-in", trust.passiveSignInUri], ["active sign-in", trust.activeSignInUri], ["metadata exchange", trust.metadataExchangeUri],
        ["sign-out", trust.signOutUri], ["signing certificate", String(trust.signingCertificate.prefix(40)) + "…"],
        ["next signing certificate", trust.nextSigningCertificate.map { String($0.prefix(40)) + "…" } ?? "none yet"],
        ["second factor", trust.federatedIdpMfaBehavior],
      ]
      printTable(["ON ENTRA'S SIDE", "VALUE"], rows)
      for hint in trust.hints { print("\nNote: \(hint)") }
      if let script {
        do { try trust.script.write(toFile: script, atomically: true, encoding: .utf8) } catch {
          throw ValidationError("\(script) cannot be written: \(error.localizedDescription)")
        }
        print("\nThe script is in \(script). Run it in PowerShell with Microsoft.Graph.Identity.DirectoryManagement.")
      } else {
        print("\nFor Microsoft Graph PowerShell:\n\n\(trust.script)")
      }
    }
  }
}
