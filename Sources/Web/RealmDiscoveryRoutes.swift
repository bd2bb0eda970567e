import Federation
import Foundation
import HTTPTypes
import Hummingbird
import Identity
import NIOCore
import SAML
import SignIn
import WSFederation

/// Realm discovery as Entra's clients know it: by the domain of the name only, never by whether the person exists.
struct RealmDiscoveryRoutes: Sendable {
  let realms: RealmDirectory
  let federation: SignOnServices

  func add(to router: Router<GatewayRequestContext>) {
    router.get("/common/userrealm/:user") { request, context in
      // The router hands path segments over as they were sent, query parameters decoded.
      guard let user = try context.parameters.require("user").removingPercentEncoding else { throw RequestFault.malformed("That is no user name.") }
      return try userRealm(user, version: request.uri.queryParameters["api-version"].map(String.init) ?? "1.0")
    }
    router.get("/GetUserRealm.srf") { request, _ in
      guard let login = request.uri.queryParameters["login"].map(String.init) else {
        throw RequestFault.malformed("The query parameter \"login\" is missing.")
      }
      switch request.uri.queryParameters["xml"] ?? "0" {
      case "0": return try getUserRealm(login, asXML: false)
      case "1": return try getUserRealm(login, asXML: true)
      default: throw RequestFault.malformed("The query parameter \"xml\" must be 0 or 1.")
      }
    }
  }

  private struct VersionOne: Encodable {
    var ver = "1.0"
    var account_type: String
    var domain_name: String?
    var federation_protocol: String?
    var federation_metadata_url: String?
    var federation_active_auth_url: String?
    var cloud_instance_name: String?
    var cloud_audience_urn: String?
  }

  private struct VersionTwo: Encodable {
    var NameSpaceType: String
    var Login: String
    var DomainName: String?
    var FederationBrandName: String?
    var AuthURL: String?
  }

  private struct Classic: Encodable {
    var State: Int
    var UserState: Int
    var Login: String
    var NameSpaceType: String
    var DomainName: String?
    var FederationBrandName: String?
    var FederationGlobalVersion: Int?
    var AuthURL: String?
  }

  /// For whom a client that was led here asks a token: Entra, where it is registered.
  private var audience: String {
    federation.parties.party(entityID: RelyingPartyPreset.entraRealm)?.entityID ?? "urn:federation:gatehouse"
  }

  private static func kind(_ realm: Realm?) -> String { realm.map { $0.isFederated ? "Federated" : "Managed" } ?? "Unknown" }

  /// Where a browser signs in; nil where the realm is not federated.
  private func signOnURL(_ realm: Realm?, _ name: UserName) -> String? {
    guard let realm, realm.isFederated else { return nil }
    return
      "\(federation.identity.signOnURL)?username=\(FormFields.encode(name.text))&wa=wsignin1.0&wtrealm=\(FormFields.encode(audience))&wctx="
  }

  private func userRealm(_ user: String, version: String) throws -> Response {
    let (name, realm) = try find(user)
    switch version {
    case "1.0":
      guard let realm else { return jsonResponse(VersionOne(account_type: "Unknown")) }
      var answer = VersionOne(
        account_type: RealmDiscoveryRoutes.kind(realm), domain_name: name.suffix ?? realm.name.text, cloud_instance_name: "gatehouse",
        cloud_audience_urn: realm.isFederated ? audience : "urn:federation:gatehouse")
      if realm.isFederated {
        answer.federation_protocol = "WSTrust"
        answer.federation_metadata_url = federation.identity.metadataExchangeURL
        answer.federation_active_auth_url = federation.identity.url(of: .usernameMixed2005)
      }
      return jsonResponse(answer)
    case "2.0", "2.1":
      return jsonResponse(
        VersionTwo(
          NameSpaceType: RealmDiscoveryRoutes.kind(realm), Login: name.text, DomainName: realm.map { name.suffix ?? $0.name.text },
          FederationBrandName: realm.map { $0.displayName ?? $0.name.text }, AuthURL: signOnURL(realm, name)))
    default: throw RequestFault.malformed("The query parameter \"api-version\" must be 1.0, 2.0 or 2.1.")
    }
  }

  private func getUserRealm(_ login: String, asXML: Bool) throws -> Response {
    let (name, realm) = try find(login)
    let (state, userState) = realm.map { $0.isFederated ? (3, 2) : (4, 1) } ?? (0, 0)
    let url = signOnURL(realm, name)
    let answer = Classic(
      State: state, UserState: userState, Login: name.text, NameSpaceType: RealmDiscoveryRoutes.kind(realm),
      DomainName: realm.map { name.suffix ?? $0.name.text }, FederationBrandName: realm.map { $0.displayName ?? $0.name.text },
      FederationGlobalVersion: url == nil ? nil : -1, AuthURL: url)
    guard asXML else { return jsonResponse(answer) }
    var xml = "<RealmInfo Success=\"true\"><State>\(answer.State)</State><UserState>\(answer.UserState)</UserState>"
    xml += "<Login>\(escapedForXML(answer.Login))</Login><NameSpaceType>\(answer.NameSpaceType)</NameSpaceType>"
    if let domain = answer.DomainName, let brand = answer.FederationBrandName {
      xml += "<DomainName>\(escapedForXML(domain))</DomainName><FederationBrandName>\(escapedForXML(brand))</FederationBrandName>"
    }
    if let url { xml += "<FederationGlobalVersion>-1</FederationGlobalVersion><AuthURL>\(escapedForXML(url))</AuthURL>" }
    xml += "</RealmInfo>"
    return Response(
      status: .ok, headers: [.contentType: "text/xml; charset=utf-8"],
      body: .init(byteBuffer: ByteBuffer(string: xml)))
  }

  private func find(_ user: String) throws -> (UserName, Realm?) {
    guard let name = UserName(user) else { throw RequestFault.malformed("That is no user name.") }
    return (name, realms.realm(of: name))
  }
}

/// Character data and attribute values, escaped scalar by scalar: an escape by Character would let `<` + U+0338 through.
func escapedForXML(_ text: String) -> String {
  var result = String.UnicodeScalarView()
  for scalar in text.unicodeScalars {
    switch scalar {
    case "&": result.append(contentsOf: "&amp;".unicodeScalars)
    case "<": result.append(contentsOf: "&lt;".unicodeScalars)
    case ">": result.append(contentsOf: "&gt;".unicodeScalars)
    case "\"": result.append(contentsOf: "&quot;".unicodeScalars)
    case "'": result.append(contentsOf: "&#39;".unicodeScalars)
    default: result.append(scalar)
    }
  }
  return String(result)
}
