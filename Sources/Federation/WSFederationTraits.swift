import Bytes
import Identity
import SAML
import WSFederation

/// How a relying party is served by WS-Federation and WS-Trust. Where its tokens go by browser is among its consumer services, with the binding
/// `WSFederationTraits.binding`.
package struct WSFederationTraits: Sendable, Equatable, Codable {
  /// What stands as binding beside an address that takes the answers of the passive requestor profile (`wreply`), or its clean-up requests.
  package static let binding = FederationVocabulary.passiveBinding

  package var tokenType: TokenType = .saml11
  /// Of the answer by browser. Who asks by WS-Trust gets the version of the endpoint.
  package var responseVersion: TrustVersion = .feb2005
  /// Whether the WS-Trust endpoints issue tokens for it.
  package var allowsActive = false
  /// From where: address ranges; empty: from everywhere where the endpoint is on.
  package var activeNetworks: [String] = []
  /// For a relying party that knows this identity provider by another name for each domain; empty: it has one name.
  package var issuers: [DomainIssuer] = []

  package init() {}

  /// Who this identity provider is in a token about somebody: the issuer of the nearest registered domain that theirs is, or lies under. Throws `ClaimProblem`
  /// where issuers are bound to domains and theirs is none of them: a tenant must never believe one domain's token about another's person.
  func issuer(for userPrincipalName: String, usual: String) throws(ClaimProblem) -> String {
    guard !issuers.isEmpty else { return usual }
    let domain = asciiLowercased(userPrincipalName.utf8.lastIndex(of: UInt8(ascii: "@")).map { String(userPrincipalName[$0...].dropFirst()) } ?? "")
    let nearest = issuers.filter { $0.covers(domain) }.max { $0.domain.utf8.count < $1.domain.utf8.count }
    guard let nearest else {
      throw ClaimProblem(
        detail:
          "no issuer is registered for the person's domain \(domain.isEmpty ? "(there is none in the user name)" : domain); add it with `gatehouse rp add-entra --domain DOMAIN`"
      )
    }
    return nearest.issuer
  }
}

/// The name that this identity provider has for one domain of a tenant.
package struct DomainIssuer: Sendable, Equatable, Codable {
  /// Lower case.
  package var domain: String
  /// A URI.
  package var issuer: String

  package init(domain: String, issuer: String) {
    self.domain = asciiLowercased(domain)
    self.issuer = issuer
  }

  /// As Entra's federation rule makes it of a verified domain.
  package init(entra domain: String) { self.init(domain: domain, issuer: "http://\(asciiLowercased(domain))/adfs/services/trust/") }

  /// Whether a domain is this one or lies under it, label by label.
  func covers(_ other: String) -> Bool {
    other.utf8.elementsEqual(domain.utf8) || other.utf8.reversed().starts(with: (".\(domain)").utf8.reversed())
  }
}

extension RelyingParty {
  /// Where answers of the passive requestor profile may go; the first is the usual one.
  package var replyAddresses: [String] {
    let passive = consumers.filter { $0.binding == WSFederationTraits.binding }
    return (passive.filter(\.isDefault) + passive.filter { !$0.isDefault }).map(\.location)
  }

  /// Where its clean-up requests go: what is registered for that, or where its tokens go. Nil where it does not speak WS-Federation.
  package var cleanUpAddress: String? {
    logout.first { $0.binding == WSFederationTraits.binding }?.location ?? replyAddresses.first
  }

  /// How it speaks WS-Federation; what nobody has set is the usual.
  package var passive: WSFederationTraits { wsFederation ?? WSFederationTraits() }

  /// Whether tokens of SAML 1.1 are made for it, whose claim types have a rule of their own.
  package var getsLegacyTokens: Bool { (!replyAddresses.isEmpty || wsFederation != nil) && passive.tokenType == .saml11 }
}
