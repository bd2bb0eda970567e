import Bytes
import Cryptography
import Federation
import Foundation
import SignIn
import WSFederation

/// What is to be set on Entra's side, once this side knows it.
package struct EntraTrustMessage: Codable, Sendable {
  package struct Domain: Codable, Sendable {
    package var domain: String
    package var issuerUri: String
  }
  package var relyingParty: RelyingPartyMessage
  package var domains: [Domain]
  package var passiveSignInUri: String
  package var activeSignInUri: String
  package var metadataExchangeUri: String
  package var signOutUri: String
  /// DER, base64.
  package var signingCertificate: String
  package var nextSigningCertificate: String?
  package var preferredAuthenticationProtocol = "wsFed"
  package var federatedIdpMfaBehavior = "rejectMfaByFederatedIdp"
  /// What would keep people from signing in although all that is done.
  package var hints: [String]
  /// For Microsoft Graph PowerShell.
  package var script = ""

  init(_ message: RelyingPartyMessage, _ party: RelyingParty, _ federation: SignOnServices, realms: [Realm]) {
    let identity = federation.identity
    relyingParty = message
    domains = party.passive.issuers.map { Domain(domain: $0.domain, issuerUri: $0.issuer) }
    passiveSignInUri = identity.signOnURL
    activeSignInUri = identity.url(of: .usernameMixed2005)
    metadataExchangeUri = identity.metadataExchangeURL
    signOutUri = identity.signOnURL
    let published = federation.keys.published(for: party)
    // Entra must know the key that signs now; the other one is what it shall take next.
    let signer = federation.keys.signer(for: party)
    signingCertificate = signer?.certificate.base64 ?? ""
    nextSigningCertificate = published.first { $0.id != signer?.id }?.certificate.base64
    var hints: [String] = []
    let suffixes = realms.flatMap(\.suffixes)
    let domains = domains
    for domain in domains where !suffixes.contains(where: { $0 == domain.domain || domain.domain.hasSuffix(".\($0)") }) {
      hints.append(
        "No realm leads from \(domain.domain): nobody with such a name can sign in. Add it with `gatehouse realms add NAME --suffix \(domain.domain)`."
      )
    }
    for realm in realms where !realm.isFederated && realm.suffixes.contains(where: { suffix in domains.contains { $0.domain == suffix } }) {
      hints.append(
        "Realm discovery calls \(realm.name) managed. `gatehouse realms federate \(realm.name)` makes it answer as for a federated domain.")
    }
    if !party.passive.allowsActive || identity.settings.trustEndpoints.isEmpty {
      hints.append(
        "Rich clients that ask by WS-Trust are refused until you let them: `gatehouse federation enable 2005/usernamemixed`, the same for 13/usernamemixed, and `gatehouse rp edit \(party.name) --active on`."
      )
    }
    self.hints = hints
    script = makeScript()
  }

  private func makeScript() -> String {
    // A single quote cannot come: domains, URLs and base64 have none.
    var lines = [
      "# Makes these domains federated with this identity provider. Needs the module Microsoft.Graph.Identity.DirectoryManagement and the right",
      "# Domain.ReadWrite.All. People of a domain sign in here from the moment it is federated: begin with a domain for trials.",
      "Connect-MgGraph -Scopes 'Domain.ReadWrite.All', 'Directory.AccessAsUser.All'", "$settings = @{",
      "  displayName = 'Gatehouse'", "  passiveSignInUri = '\(passiveSignInUri)'", "  activeSignInUri = '\(activeSignInUri)'",
      "  metadataExchangeUri = '\(metadataExchangeUri)'", "  signOutUri = '\(signOutUri)'", "  signingCertificate = '\(signingCertificate)'",
    ]
    if let nextSigningCertificate { lines.append("  nextSigningCertificate = '\(nextSigningCertificate)'") }
    lines += [
      "  preferredAuthenticationProtocol = '\(preferredAuthenticationProtocol)'", "  federatedIdpMfaBehavior = '\(federatedIdpMfaBehavior)'", "}",
      "$issuers = @{",
    ]
    lines += domains.map { "  '\($0.domain)' = '\($0.issuerUri)'" }
    lines += [
      "}", "foreach ($domain in $issuers.Keys) {", "  $body = $settings + @{ issuerUri = $issuers[$domain] }",
      "  $known = Get-MgDomainFederationConfiguration -DomainId $domain -ErrorAction SilentlyContinue", "  if ($known) {",
      "    Update-MgDomainFederationConfiguration -DomainId $domain -InternalDomainFederationId $known[0].Id -BodyParameter $body", "  } else {",
      "    New-MgDomainFederationConfiguration -DomainId $domain -BodyParameter $body", "  }", "}",
    ]
    return lines.joined(separator: "\n") + "\n"
  }
}
