/// The answer to `POST /v1/sign-in` as a caller reads it (docs/openapi.yaml).
struct SignInBody: Codable {
  struct User: Codable {
    var immutableId: String
    var userPrincipalName: String
    var objectId: String
    var attributes: [String: [String]]
    var groups: [String]?
    /// Milliseconds since 1970 UTC.
    var passwordExpires: Int64?
  }

  var verdict: String
  var reference: String
  var method: String?
  var realm: String?
  /// Milliseconds since 1970 UTC.
  var time: Int64
  var user: User?
  var code: String?
  var aadsts: Int?
  var message: String?
}
