import Foundation

/// A house with real relying parties: Shibboleth and mellon know the gateway by its metadata, and the gateway knows them by theirs.
struct FederationHouse: Sendable {
  let house: House
  let shibboleth: ShibbolethServiceProvider
  let mellon: MellonServiceProvider

  var parties: [any ServiceProvider] { [shibboleth, mellon] }
  var admin: AdminTool { house.admin }

  static func with(
    _ scenario: String, shibboleth options: ShibbolethServiceProvider.Options = ShibbolethServiceProvider.Options(), add: [String] = [],
    threshold: Int = 50, hsm: SoftHSM? = nil, _ body: (FederationHouse) async throws -> Void
  ) async throws {
    var gateway = GatewayProcess.Options()
    gateway.threshold = threshold
    // Relying parties have certificates of the tests' own authority.
    gateway.extra = "federation: {caFile: \"\(try await TestCertificates.shared.value.authority)\"}"
    if let hsm {
      gateway.extra += "\n" + hsm.configuration
      gateway.environment = hsm.environment
    }
    try await House.with(scenario, options: gateway) { house in
      let metadata = try await house.gatewayMetadata()
      let entityID = try await house.entityID()
      let shibboleth = try await ShibbolethServiceProvider(identityProvider: entityID, metadata: .document(metadata), options: options)
      let mellon = try await MellonServiceProvider(metadata: metadata)
      do {
        try await shibboleth.start()
        try await mellon.start()
        let federation = FederationHouse(house: house, shibboleth: shibboleth, mellon: mellon)
        try await federation.register("shibboleth", shibboleth, add)
        try await federation.register("mellon", mellon, add)
        try await body(federation)
      } catch {
        print("\(shibboleth.logTail)\n\(mellon.logTail)\n\(house.gateway.process?.logText.suffix(4000) ?? "")")
        await shibboleth.remove()
        await mellon.remove()
        throw error
      }
      await shibboleth.remove()
      await mellon.remove()
    }
  }

  /// `gatehouse rp add` with the relying party's own metadata, the claims by the names that the tests' relying parties read.
  func register(_ name: String, _ party: any ServiceProvider, _ options: [String]) async throws {
    let folder = FileManager.default.temporaryDirectory.path + "/gatehouse-metadata-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try (try await party.metadata()).write(toFile: folder + "/sp.xml", atomically: true, encoding: .utf8)
    try FederationHouse.claims.write(toFile: folder + "/claims.yaml", atomically: true, encoding: .utf8)
    let outcome = try await admin.attempt(
      ["rp", "add", "--name", name, "--metadata", folder + "/sp.xml", "--claims", folder + "/claims.yaml"] + options)
    guard outcome.status == 0 else { throw ServerProcess.Failure(description: "\(name) was not registered: \(outcome.complaint)") }
  }

  private static let claims = """
    claims:
      - {name: "urn:oid:0.9.2342.19200300.100.1.3", nameFormat: uri, friendlyName: mail, from: [mail, $userPrincipalName], change: [lowerCase]}
      - {name: "urn:oid:2.16.840.1.113730.3.1.241", nameFormat: uri, friendlyName: displayName, from: [displayName, cn]}
      - {name: "urn:oid:1.3.6.1.4.1.5923.1.1.1.6", nameFormat: uri, friendlyName: eppn, from: [$userPrincipalName]}
      - name: "urn:oid:1.3.6.1.4.1.5923.1.5.1.1"
        nameFormat: uri
        friendlyName: isMemberOf
        from: [$groups]
        groups: {as: name, atMost: 500}
    """

  /// Gives a registered relying party another document of itself, as an administrator would by hand.
  func replaceMetadata(_ name: String, _ text: String) async throws {
    let file = try BuiltProgram.folder("metadata") + "/sp.xml"
    defer { try? FileManager.default.removeItem(atPath: URL(fileURLWithPath: file).deletingLastPathComponent().path) }
    try text.write(toFile: file, atomically: true, encoding: .utf8)
    try await admin("rp", "edit", name, "--metadata", file)
  }

  private struct Registered: Decodable { var ownMetadataUrl: String }

  /// Where a relying party alone reads the gateway's metadata.
  func ownMetadataURL(_ name: String) async throws -> String { try await admin.json(Registered.self, "rp", "show", name).ownMetadataUrl }

  /// PEM file of the primary token-signing certificate of a family, below the gateway's folder.
  func certificate(_ family: String = "rsa") async throws -> String {
    struct Key: Decodable {
      var id: String
      var family: String
      var state: String
    }
    let keys = try await admin.json([Key].self, "certs", "list")
    guard let key = keys.first(where: { $0.family == family && $0.state == "primary" }) else {
      throw ServerProcess.Failure(description: "no primary key of \(family): \(keys)")
    }
    let file = house.gateway.folder + "/signing-\(family).pem"
    try (try await admin("certs", "export", key.id)).write(toFile: file, atomically: true, encoding: .utf8)
    return file
  }

  /// The sign-in page filled in and sent; the page must be one.
  func fillIn(
    _ page: CookieBrowser.Page, in browser: CookieBrowser, as name: String, password: String
  ) async throws -> CookieBrowser.Page {
    try await browser.submit(
      try page.form(with: "password"), of: page, filling: ["userName": "\(name)@\(house.realm)", "password": password])
  }

  /// What `gatehouse trace` says of the reference on a page; for a page without one, the page.
  func explained(_ page: CookieBrowser.Page) async throws -> String {
    guard let reference = page.body.firstMatch(of: #/<code>([^<]+)<\/code>/#)?.output.1 else { return "\(page.url) \(page.status): \(page.body)" }
    return try await admin("trace", String(reference))
  }

  /// The message that the browser carried to a relying party last.
  func carried(by browser: CookieBrowser) async throws -> String {
    guard let message = await browser.history.lazy.compactMap(\.samlMessage).last else {
      throw ServerProcess.Failure(description: "nothing was carried:\n\(await browser.trail)")
    }
    return message
  }

  /// Opens an address and goes on by forms without anything to fill in; at the sign-in page signs in as this person.
  ///
  /// - Parameter following: whether the browser carries messages on to relying parties; else it stays at the page that would.
  func signIn(
    _ browser: CookieBrowser, _ url: String, as name: String, password: String? = nil, following: Bool = true
  ) async throws -> CookieBrowser.Page {
    var page = try await browser.open(url)
    if following { page = try await browser.carryOn(page) }
    if let form = try? page.form(with: "password") {
      let password = try password ?? house.password(name)
      page = try await browser.submit(form, of: page, filling: ["userName": "\(name)@\(house.realm)", "password": password])
      if following { page = try await browser.carryOn(page) }
    }
    return page
  }
}

extension House {
  private struct Federation: Decodable {
    var entityId: String
    var signOnUrl: String
    var metadataUrl: String
  }

  func entityID() async throws -> String { try await admin.json(Federation.self, "federation").entityId }

  /// The gateway's own metadata, as everybody gets it.
  func gatewayMetadata(for party: String? = nil) async throws -> String {
    let url = try await admin.json(Federation.self, "federation").metadataUrl + (party.map { "/" + $0 } ?? "")
    let page = try await CookieBrowser().request(url)
    guard page.status == 200 else { throw ServerProcess.Failure(description: "\(url) answered \(page.status): \(page.body)") }
    return page.body
  }
}
