import Foundation
import Synchronization

/// A real mod_auth_mellon (lasso): signs every AuthnRequest, by HTTP-Redirect, and wants signed assertions.
final class MellonServiceProvider: ServiceProvider {
  struct Options: Sendable {
    /// It looks for a cookie when the answer is posted to it. Browsers send that from another site only with SameSite=None, which wants https.
    var isTLS = true
    /// `urn:oasis:names:tc:SAML:2.0:ac:classes:…`, asked for in each AuthnRequest.
    var authnContextClassRef: String?
    /// Its own metadata in place of those that it makes itself: with other bindings, services or NameID formats.
    var ownMetadata: String?
  }

  let entityID: String
  let site: ApacheSite
  private let running = Mutex<LeashedProcess?>(nil)

  var url: String { site.url }
  var metadataURL: String { url + "/mellon/metadata" }
  var key: String { site.folder + "/sp.key" }
  var certificate: String { site.folder + "/sp.pem" }
  var assertionConsumerService: String { url + "/mellon/postResponse" }
  var logTail: String { site.tail(of: ["apache.log", "output.log"]) }

  /// Makes folder, key and configuration; `start` starts it. `metadata` is read once, at the start.
  init(name: String = "mellon", metadata: String, options: Options = Options()) async throws {
    site = try await ApacheSite(name: name, isTLS: options.isTLS)
    entityID = site.url + "/mellon/metadata"
    let folder = site.folder
    try site.write("identity-provider.xml", metadata)
    if let own = options.ownMetadata { try site.write("own-metadata.xml", own) }
    try site.configure(
      modules: ["auth_mellon"],
      """
      MellonLockFile \(folder)/run/mellon.lock
      <Location />
      MellonEnable info
      MellonEndpointPath /mellon
      MellonSPPrivateKeyFile \(folder)/sp.key
      MellonSPCertFile \(folder)/sp.pem
      MellonIdPMetadataFile \(folder)/identity-provider.xml
      \(options.ownMetadata == nil ? "" : "MellonSPMetadataFile \(folder)/own-metadata.xml")
      \(options.isTLS ? "MellonSecureCookie On\nMellonCookieSameSite None" : "MellonSecureCookie Off")
      MellonSignatureMethod rsa-sha256
      MellonEnabledInvalidateSessionEndpoint On
      MellonUser NAME_ID
      MellonMergeEnvVars On ";"
      MellonRedirectDomains *
      \(options.authnContextClassRef.map { "MellonAuthnContextClassRef \"\($0)\"" } ?? "")
      \(KnownAttribute.names.map { "MellonSetEnvNoPrefix \"\($0.variable)\" \"\($0.name)\"" }.joined(separator: "\n"))
      </Location>
      <Location /secure>
      MellonEnable auth
      Require valid-user
      </Location>
      """)
  }

  func start() async throws {
    let process = try await site.start()
    running.withLock { $0 = process }
  }

  /// Gives it another document of its identity provider and has Apache read everything anew, without dropping a request: what administrators' scripts do.
  func replaceIdentityProviderMetadata(_ text: String) throws {
    try site.write("identity-provider.xml", text)
    guard let pid = pid_t(site.log("run/apache.pid").trimmingCharacters(in: .whitespacesAndNewlines)) else {
      throw ServerProcess.Failure(description: "Apache has left no process id in \(site.folder)")
    }
    kill(pid, SIGUSR1)
  }

  func stop() async {
    running.withLock { running in
      running?.stop()
      running = nil
    }
    await site.waitForEnd()
  }

  func remove() async {
    await stop()
    site.remove()
  }

  func visitor(in source: String) -> VisitorPage? {
    guard var page = VisitorPage(source: source) else { return nil }
    // It hands on an attribute's value as it stands in the assertion: as XML.
    for known in KnownAttribute.names { page.variables[known.variable] = page.variables[known.variable].map(HTMLScan.unescaped) }
    return page
  }

  func loginURL(target: String? = nil) -> String { loginURL(target: target, isPassive: false) }

  func loginURL(target: String? = nil, isPassive: Bool) -> String {
    url + "/mellon/login?ReturnTo=\((target ?? protectedPageURL).queryEncoded)" + (isPassive ? "&IsPassive=true" : "")
  }

  /// Signs out here and, by a LogoutRequest through the browser, at the identity provider.
  func logoutURL(returning: String? = nil) -> String { url + "/mellon/logout?ReturnTo=\((returning ?? openPageURL).queryEncoded)" }

  /// Forgets the visitor here and nowhere else.
  func localLogoutURL(returning: String? = nil) -> String { url + "/mellon/invalidate?ReturnTo=\((returning ?? openPageURL).queryEncoded)" }
}
