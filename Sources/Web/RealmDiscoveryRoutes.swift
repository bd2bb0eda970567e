import Foundation
import HTTPTypes
import Hummingbird
import Identity
import NIOCore
import SignIn

/// Realm discovery as Entra's clients know it: by the domain of the name only, never by whether the person exists.
struct RealmDiscoveryRoutes: Sendable {
  let realms: RealmDirectory

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
    var cloud_instance_name: String?
    var cloud_audience_urn: String?
  }

  private struct VersionTwo: Encodable {
    var NameSpaceType: String
    var Login: String
    var DomainName: String?
    var FederationBrandName: String?
  }

  private struct Classic: Encodable {
    var State: Int
    var UserState: Int
    var Login: String
    var NameSpaceType: String
    var DomainName: String?
    var FederationBrandName: String?
  }

  private func userRealm(_ user: String, version: String) throws -> Response {
    let (name, realm) = try find(user)
    switch version {
    case "1.0":
      guard let realm else { return jsonResponse(VersionOne(account_type: "Unknown")) }
      return jsonResponse(
        VersionOne(
          account_type: "Managed", domain_name: name.suffix ?? realm.name.text, cloud_instance_name: "gatehouse",
          cloud_audience_urn: "urn:federation:gatehouse"))
    case "2.0", "2.1":
      return jsonResponse(
        VersionTwo(
          NameSpaceType: realm == nil ? "Unknown" : "Managed", Login: name.text, DomainName: realm.map { name.suffix ?? $0.name.text },
          FederationBrandName: realm.map { $0.displayName ?? $0.name.text }))
    default: throw RequestFault.malformed("The query parameter \"api-version\" must be 1.0, 2.0 or 2.1.")
    }
  }

  private func getUserRealm(_ login: String, asXML: Bool) throws -> Response {
    let (name, realm) = try find(login)
    let answer = Classic(
      State: realm == nil ? 0 : 4, UserState: realm == nil ? 0 : 1, Login: name.text, NameSpaceType: realm == nil ? "Unknown" : "Managed",
      DomainName: realm.map { name.suffix ?? $0.name.text }, FederationBrandName: realm.map { $0.displayName ?? $0.name.text })
    guard asXML else { return jsonResponse(answer) }
    var xml = "<RealmInfo Success=\"true\"><State>\(answer.State)</State><UserState>\(answer.UserState)</UserState>"
    xml += "<Login>\(escapedForXML(answer.Login))</Login><NameSpaceType>\(answer.NameSpaceType)</NameSpaceType>"
    if let domain = answer.DomainName, let brand = answer.FederationBrandName {
      xml += "<DomainName>\(escapedForXML(domain))</DomainName><FederationBrandName>\(escapedForXML(brand))</FederationBrandName>"
    }
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
