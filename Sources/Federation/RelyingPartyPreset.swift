import SAML

/// What products want, under names that administrators know.
package enum RelyingPartyPreset: String, Sendable, CaseIterable {
  /// AD FS's claim types.
  case standard
  /// The OIDs of inetOrgPerson and eduPerson, as Shibboleth's and most academic relying parties read them.
  case oid
  /// Microsoft Entra as a SAML relying party (login.microsoftonline.com): ImmutableID as persistent name, IDPEmail.
  case entra
  case google, salesforce
  /// AD FS's claim types for a relying party of WS-Federation.
  case wsFederation = "ws-federation"
  /// Microsoft Entra as AD FS is known to it: WS-Federation with SAML 1.1 and the claims of the rules that Entra Connect makes.
  case entraWSFederation = "entra-ws-federation"

  package static let entraRealm = "urn:federation:MicrosoftOnline"
  package static let entraReply = "https://login.microsoftonline.com/login.srf"

  /// Sets claims, name and signing as the product wants them; everything can be edited afterwards.
  package func apply(to party: inout RelyingParty) {
    switch self {
    case .standard, .wsFederation:
      let claims = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
      party.nameID = NameIDRule(format: .unspecified)
      party.claims = [
        ClaimRule(name: claims + "upn", sources: [.userPrincipalName]), ClaimRule(name: claims + "emailaddress", sources: [.directory("mail")]),
        ClaimRule(name: claims + "name", sources: [.directory("displayName"), .directory("cn")]),
        ClaimRule(name: claims + "givenname", sources: [.directory("givenName")]), ClaimRule(name: claims + "surname", sources: [.directory("sn")]),
      ]
    case .oid:
      func rule(_ oid: String, _ friendlyName: String, _ sources: [ClaimSource]) -> ClaimRule {
        ClaimRule(name: "urn:oid:" + oid, nameFormat: ClaimRule.uriFormat, friendlyName: friendlyName, sources: sources)
      }
      party.nameID = NameIDRule(format: .transient)
      party.claims = [
        rule("0.9.2342.19200300.100.1.1", "uid", [.directory("sAMAccountName"), .directory("uid")]),
        rule("0.9.2342.19200300.100.1.3", "mail", [.directory("mail")]),
        rule("2.16.840.1.113730.3.1.241", "displayName", [.directory("displayName"), .directory("cn")]),
        rule("2.5.4.42", "givenName", [.directory("givenName")]), rule("2.5.4.4", "sn", [.directory("sn")]),
        rule("1.3.6.1.4.1.5923.1.1.1.6", "eduPersonPrincipalName", [.userPrincipalName]),
      ]
    case .entra:
      party.nameID = NameIDRule(format: .persistent, source: .immutableID)
      party.signs = .assertion
      party.claims = [ClaimRule(name: "IDPEmail", sources: [.userPrincipalName], isRequired: true)]
    case .entraWSFederation:
      let password = "http://schemas.microsoft.com/ws/2012/01/password"
      party.nameID = NameIDRule(format: .unspecified, source: .immutableID)
      party.signs = .assertion
      party.claims = [
        ClaimRule(name: "http://schemas.xmlsoap.org/claims/UPN", sources: [.userPrincipalName], isRequired: true),
        ClaimRule(name: "http://schemas.microsoft.com/LiveID/Federation/2008/05/ImmutableID", sources: [.immutableID], isRequired: true),
        ClaimRule(name: ClaimTypes.nameIdentifier, sources: [.immutableID], isRequired: true),
        ClaimRule(name: ClaimTypes.issuer, sources: [.issuer]),
        ClaimRule(name: "http://schemas.microsoft.com/ws/2012/01/insidecorporatenetwork", sources: [.insideCorporateNetwork]),
        ClaimRule(name: ClaimTypes.authenticationMethod, sources: [.authenticationMethod]),
        ClaimRule(name: "http://schemas.microsoft.com/claims/authnmethodsreferences", sources: [.authenticationMethod]),
        ClaimRule(name: "http://schemas.microsoft.com/2014/03/psso", sources: [.persistentSession]),
        ClaimRule(name: password + "expirationtime", sources: [.passwordExpirationTime]),
        ClaimRule(name: password + "expirationdays", sources: [.passwordExpirationDays]),
        ClaimRule(name: password + "changeurl", sources: [.passwordChangeURL]),
        ClaimRule(name: "http://schemas.microsoft.com/ws/2012/01/accounttype", constants: ["User"]),
      ]
    case .google:
      party.nameID = NameIDRule(format: .emailAddress)
      party.signs = .assertion
      party.claims = []
    case .salesforce:
      party.nameID = NameIDRule(format: .unspecified)
      party.signs = .assertion
      party.claims = [
        ClaimRule(name: "User.Email", sources: [.directory("mail")]), ClaimRule(name: "User.Username", sources: [.userPrincipalName]),
        ClaimRule(name: "User.LastName", sources: [.directory("sn")]),
      ]
    }
  }
}
