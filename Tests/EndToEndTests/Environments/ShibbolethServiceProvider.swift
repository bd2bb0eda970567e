import Foundation
import Synchronization

/// A real Shibboleth service provider (shibd and mod_shib) in a folder of its own; nothing under /etc is changed.
final class ShibbolethServiceProvider: ServiceProvider {
  struct Options: Sendable {
    /// Over http, browsers refuse the cookie by which it knows its own requests again: SameSite=None wants https.
    var isTLS = true
    /// Signs AuthnRequests and logout messages, and says so in its metadata.
    var signsRequests = true
    /// Has a key that assertions can be encrypted for; without it they cannot be.
    var canDecrypt = true
    /// Encrypts the NameID of its logout requests for the identity provider.
    var encryptsNames = false
    /// `urn:oasis:names:tc:SAML:2.0:bindings:…`: HTTP-Redirect or HTTP-POST, by which it sends AuthnRequests.
    var requestBinding = "HTTP-Redirect"
    /// Its logout requests say that no answer is wanted (the extension for asynchronous logout, as Shibboleth comes): the visitor stays at the identity
    /// provider. Otherwise the answer leads back.
    var asynchronousLogout = false
    /// Asked for in each AuthnRequest.
    var nameIDFormat: String?
  }

  /// What a sign-in shall ask for beside a sign-in.
  struct LoginOptions: Sendable {
    var forceAuthn = false
    var isPassive = false
    var authnContextClassRef: String?
    /// exact, minimum, maximum or better.
    var authnContextComparison: String?
    var nameIDFormat: String?
    var spNameQualifier: String?
    var assertionConsumerServiceIndex: Int?
  }

  /// What it shows its visitor where it takes no answer, or the answer is no.
  struct Refusal: Equatable, Sendable {
    var type: String
    var text: String
    /// Status codes of the answer, where there was one.
    var status: String
    var substatus: String
    var message: String
  }

  let entityID: String
  /// Of the identity provider that it trusts, and no other.
  let identityProvider: String
  let options: Options
  let site: ApacheSite
  private let running = Mutex<LeashedProcess?>(nil)

  var url: String { site.url }
  var metadataURL: String { url + "/Shibboleth.sso/Metadata" }
  /// PEM of what it signs with, and, where it can, decrypts with.
  var key: String { site.folder + "/sp.key" }
  var certificate: String { site.folder + "/sp.pem" }
  /// Assertion consumer services and logout endpoints of each binding, as its metadata tell them.
  var assertionConsumerService: String { url + "/Shibboleth.sso/SAML2/POST" }
  var soapLogoutService: String { url + "/Shibboleth.sso/SLO/SOAP" }
  var redirectLogoutService: String { url + "/Shibboleth.sso/SLO/Redirect" }
  var logTail: String { site.tail(of: ["shibd.log", "native.log", "apache.log", "output.log"]) }

  /// Makes folder, key and configuration; `start` starts it.
  init(
    name: String = "shibboleth", identityProvider: String, metadata: IdentityProviderMetadata, options: Options = Options()
  ) async throws {
    self.identityProvider = identityProvider
    self.options = options
    site = try await ApacheSite(name: name, isTLS: options.isTLS)
    entityID = site.url + "/shibboleth"
    try site.configure(
      modules: ["shib"],
      """
      ShibConfig \(site.folder)/shibboleth2.xml
      <Location /secure>
      AuthType shibboleth
      ShibRequestSetting requireSession 1
      Require valid-user
      </Location>
      """)
    try site.write("shibboleth2.xml", configuration(metadata))
    try site.write("attribute-map.xml", attributeMap)
    // What went wrong, in words and with the status codes of the answer, for tests to read.
    try site.write(
      "error.html",
      """
      <!doctype html><html lang="en"><title>Refused by the relying party</title>
      <p id="type"><shibmlp errorType/></p><p id="text"><shibmlp errorText/></p><p id="status"><shibmlp statusCode/></p>
      <p id="substatus"><shibmlp statusCode2/></p><p id="message"><shibmlp statusMessage/></p>
      """)
    for (name, title) in [("local-logout", "Signed out here"), ("global-logout", "Signed out everywhere"), ("partial-logout", "Signed out in part")] {
      try site.write("\(name).html", "<!doctype html><html lang=\"en\"><title>\(title)</title><p id=\"status\"><shibmlp logoutStatus/></p>")
    }
    for name in ["shibd", "native"] {
      try site.write(
        "\(name).logger",
        """
        log4j.rootCategory=INFO, file
        log4j.category.Shibboleth.SSO=DEBUG
        log4j.category.OpenSAML.MessageDecoder=DEBUG
        log4j.appender.file=org.apache.log4j.FileAppender
        log4j.appender.file.fileName=\(site.folder)/\(name).log
        log4j.appender.file.layout=org.apache.log4j.PatternLayout
        log4j.appender.file.layout.ConversionPattern=%d{%H:%M:%S} %p %c: %m%n

        """)
    }
    if case .document(let text) = metadata { try replaceIdentityProviderMetadata(text) }
  }

  /// Starts shibd and Apache and waits until both answer.
  func start() async throws {
    let folder = site.folder
    let process = try await site.start(
      before: "/usr/sbin/shibd -F -f -c \"$dir/shibboleth2.xml\"", ready: "[ -S \"$dir/run/shibd.sock\" ]")
    running.withLock { $0 = process }
    guard FileManager.default.fileExists(atPath: folder + "/run/shibd.sock") else {
      throw ServerProcess.Failure(description: "shibd did not get ready: \(logTail)")
    }
  }

  /// From now on it reads metadata at an address, again and again, as most installations do.
  func readMetadata(at url: String, everySeconds seconds: Int) async throws {
    try site.write("shibboleth2.xml", configuration(.url(url, reloadSeconds: seconds)))
    await stop()
    try await start()
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

  /// Gives it another document of its identity provider, as an administrator would; it is read within a second or two.
  func replaceIdentityProviderMetadata(_ text: String) throws { try site.write("identity-provider.xml", text) }

  func loginURL(target: String? = nil) -> String { loginURL(target: target, LoginOptions()) }

  /// The request goes out with whatever `options` ask for.
  func loginURL(target: String? = nil, _ options: LoginOptions) -> String {
    var query = [("target", target ?? protectedPageURL)]
    if options.forceAuthn { query.append(("forceAuthn", "true")) }
    if options.isPassive { query.append(("isPassive", "true")) }
    if let reference = options.authnContextClassRef { query.append(("authnContextClassRef", reference)) }
    if let comparison = options.authnContextComparison { query.append(("authnContextComparison", comparison)) }
    if let format = options.nameIDFormat { query.append(("NameIDFormat", format)) }
    if let qualifier = options.spNameQualifier { query.append(("SPNameQualifier", qualifier)) }
    if let index = options.assertionConsumerServiceIndex { query.append(("acsIndex", "\(index)")) }
    return url + "/Shibboleth.sso/Login?" + query.map { "\($0.0)=\($0.1.queryEncoded)" }.joined(separator: "&")
  }

  /// Signs out here and, by a LogoutRequest through the browser, at the identity provider.
  func logoutURL(returning: String? = nil) -> String {
    url + "/Shibboleth.sso/Logout" + (returning.map { "?return=\($0.queryEncoded)" } ?? "")
  }

  /// Signs out here and nowhere else.
  func localLogoutURL(returning: String? = nil) -> String {
    url + "/Shibboleth.sso/LocalLogout" + (returning.map { "?return=\($0.queryEncoded)" } ?? "")
  }

  /// Nil where the page is none of its error pages.
  static func refusal(in source: String) -> Refusal? {
    guard source.contains("<title>Refused by the relying party</title>") else { return nil }
    func part(_ id: String) -> String {
      guard let begin = source.range(of: "<p id=\"\(id)\">"), let end = source.range(of: "</p>", range: begin.upperBound..<source.endIndex) else {
        return ""
      }
      return HTMLScan.unescaped(String(source[begin.upperBound..<end.lowerBound]))
    }
    return Refusal(
      type: part("type"), text: part("text"), status: part("status"), substatus: part("substatus"), message: part("message"))
  }

  private func configuration(_ metadata: IdentityProviderMetadata) -> String {
    let folder = site.folder
    let provider =
      switch metadata {
      case .document: "path=\"\(folder)/identity-provider.xml\" reloadChanges=\"true\" reloadInterval=\"1\""
      case .url(let url, let seconds):
        "url=\"\(url.markupEscaped)\" backingFilePath=\"\(folder)/backup.xml\" minRefreshDelay=\"\(seconds)\" maxRefreshDelay=\"\(seconds)\""
      }
    let format = options.nameIDFormat.map { " NameIDFormat=\"\($0)\"" } ?? ""
    let signing = options.signsRequests ? "true" : "false"
    return """
      <SPConfig xmlns="urn:mace:shibboleth:3.0:native:sp:config" clockSkew="180">
        <OutOfProcess logger="\(folder)/shibd.logger"/>
        <InProcess logger="\(folder)/native.logger"/>
        <UnixListener address="\(folder)/run/shibd.sock"/>
        <ApplicationDefaults entityID="\(entityID)" REMOTE_USER="eppn upn mail persistent" homeURL="\(url)/"
            signing="\(signing)" encryption="\(options.encryptsNames ? "true" : "false")">
          <Sessions lifetime="28800" timeout="3600" relayState="ss:mem" checkAddress="false" redirectLimit="exact"
              handlerSSL="\(site.isTLS ? "true" : "false")" cookieProps="\(site.isTLS ? "https" : "http")">
            <SSO entityID="\(identityProvider.markupEscaped)" ignoreNoPassive="false"\(format)
                outgoingBindings="urn:oasis:names:tc:SAML:2.0:bindings:\(options.requestBinding)">SAML2</SSO>
            <Logout asynchronous="\(options.asynchronousLogout ? "true" : "false")">SAML2 Local</Logout>
            <LogoutInitiator type="Local" Location="/LocalLogout"/>
            <Handler type="MetadataGenerator" Location="/Metadata" signing="false"/>
            <Handler type="Session" Location="/Session" showAttributeValues="true"/>
          </Sessions>
          <Errors supportContact="nobody@example.test" session="\(folder)/error.html" metadata="\(folder)/error.html" access="\(folder)/error.html"
              ssl="\(folder)/error.html" localLogout="\(folder)/local-logout.html" globalLogout="\(folder)/global-logout.html"
              partialLogout="\(folder)/partial-logout.html"/>
          <MetadataProvider type="XML" validate="true" \(provider)/>
          <AttributeExtractor type="XML" validate="true" path="\(folder)/attribute-map.xml"/>
          <CredentialResolver type="File" \(options.canDecrypt ? "" : "use=\"signing\" ")key="\(key)" certificate="\(certificate)"/>
        </ApplicationDefaults>
        <SecurityPolicyProvider type="XML" validate="true" path="/etc/shibboleth/security-policy.xml"/>
        <ProtocolProvider type="XML" validate="true" reloadChanges="false" path="/etc/shibboleth/protocols.xml"/>
      </SPConfig>

      """
  }

  private var attributeMap: String {
    let formats = [
      ("urn:oasis:names:tc:SAML:2.0:nameid-format:persistent", "persistent"), ("urn:oasis:names:tc:SAML:2.0:nameid-format:transient", "transient"),
      ("urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress", "nameid-email"),
      ("urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified", "nameid-unspecified"),
      ("urn:oasis:names:tc:SAML:1.1:nameid-format:WindowsDomainQualifiedName", "nameid-windows"),
    ]
    // By whatever NameFormat: AD FS says none for its claim types, others say uri.
    let attributes = KnownAttribute.names.flatMap { known in
      [
        "", " nameFormat=\"urn:oasis:names:tc:SAML:2.0:attrname-format:unspecified\"",
        " nameFormat=\"urn:oasis:names:tc:SAML:2.0:attrname-format:basic\"",
      ]
      .map { "  <Attribute name=\"\(known.name)\" id=\"\(known.variable)\"\($0)/>" }
    }
    let names = formats.map {
      """
        <Attribute name="\($0.0)" id="\($0.1)"><AttributeDecoder xsi:type="NameIDAttributeDecoder" formatter="$NameQualifier!$SPNameQualifier!$Name" \
      defaultQualifiers="false"/></Attribute>
      """
    }
    return """
      <Attributes xmlns="urn:mace:shibboleth:2.0:attribute-map" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
      \((attributes + names).joined(separator: "\n"))
      </Attributes>

      """
  }
}
