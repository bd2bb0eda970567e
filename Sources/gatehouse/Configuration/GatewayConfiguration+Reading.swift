import Bytes
import Logging
import SignIn

extension GatewayConfiguration {
  /// Reads a gateway's file. `hostName` names the node where the file does not.
  ///
  /// Throws `ConfigurationError` with every problem of the file at once.
  init(_ raw: RawConfiguration, hostName: String) throws {
    let findings = ConfigurationFindings()
    guard let configuration = GatewayConfiguration.read(raw, hostName: hostName, findings: findings), findings.problems.isEmpty else {
      throw ConfigurationError(file: raw.file, problems: findings.problems)
    }
    self = configuration
  }

  /// Nil where a required key is missing or wrong; `findings` then says so.
  static func read(_ raw: RawConfiguration, hostName: String, findings: ConfigurationFindings) -> GatewayConfiguration? {
    let root = ConfigurationSection(root: raw, findings: findings)
    let standardNode = ScalarKind.name.parse(hostName) ?? "gateway"
    let node = root.value("node", .name, default: standardNode)
    let publicURL = root.required("publicURL", .httpsURL, remedy: "Write the https address under which front-ends reach this gateway")
    let dataDirectory = root.value("dataDirectory", .path(from: raw.directory), default: "/var/lib/gatehouse")
    let store = root.section("store")
    let storeFile = store.value("file", .path(from: raw.directory), default: dataDirectory + "/gatehouse.sqlite")
    store.finish()
    let masterKey = root.section("masterKey")
    let masterKeyFile = masterKey.value("file", .path(from: raw.directory), default: dataDirectory + "/master.key")
    masterKey.finish()
    let admin = root.section("admin")
    let adminSocket = admin.value("socket", .path(from: raw.directory), default: dataDirectory + "/admin.sock")
    // sockaddr_un holds 108 bytes with the closing NUL.
    if adminSocket.utf8.count > 107 {
      admin.note("socket", "The path of the admin socket has more than 107 bytes", remedy: "Name a shorter one, such as /run/gatehouse/admin.sock")
    }
    admin.finish()

    let listeners = root.section("listeners")
    let publicListener = readPublicListener(listeners.section("public"), directory: raw.directory)
    let mutualTLS = readMutualTLSListener(listeners.section("mutualTLS"))
    let operations = listeners.section("operations")
    let operationsAddress = operations.value("address", .listenAddress, default: ListenAddress(host: "127.0.0.1", port: 9443))
    operations.finish()
    listeners.finish()
    let taken = [("public", publicListener?.address), ("mutualTLS", mutualTLS?.address), ("operations", operationsAddress)]
    for (index, (name, address)) in taken.enumerated() {
      guard let address, address.port != 0, let first = taken[..<index].first(where: { $0.1 == address }) else { continue }
      listeners.note(name, "The address \(address) is that of listeners.\(first.0)", remedy: "Give each listener an address of its own")
    }

    let limits = readLimits(root.section("limits"))
    let signIn = root.section("signIn")
    let deadline = signIn.value("deadline", .duration(.seconds(1) ... .seconds(30)), default: .seconds(8))
    signIn.finish()
    let lockout = readLockout(root.section("lockout"))
    let agents = readAgents(root.section("agents"))
    let sessions = readSessions(root.section("sessions"))
    let pages = readPages(root.section("pages"), directory: raw.directory)
    let federation = root.section("federation")
    let federationAuthority = federation.optional("caFile", .path(from: raw.directory))
    federation.finish()
    let signingToken = readSigningToken(root.section("signingKeys"), directory: raw.directory)
    let audit = root.section("audit")
    let diskReserve = audit.value("diskReserve", .bytes((1 << 20)...(1 << 40)), default: 64 << 20)
    audit.finish()
    let alarms = readAlarms(root.section("alarms"), directory: raw.directory)
    let log = LogConfiguration(root.section("log"))
    let grace = readShutdownGrace(root.section("shutdown"))
    root.finish()

    guard let publicURL, let publicListener, let mutualTLS else { return nil }
    return GatewayConfiguration(
      node: node, publicURL: publicURL, dataDirectory: dataDirectory, storeFile: storeFile, masterKeyFile: masterKeyFile, adminSocket: adminSocket,
      publicListener: publicListener, mutualTLSListener: mutualTLS, operationsAddress: operationsAddress, limits: limits, signInDeadline: deadline,
      lockout: lockout, agents: agents, sessions: sessions, pages: pages, federationAuthorityFile: federationAuthority,
      signingToken: signingToken, auditDiskReserve: diskReserve, alarms: alarms, log: log, shutdownGrace: grace)
  }

  private static func readPublicListener(_ section: ConfigurationSection, directory: String) -> PublicListenerConfiguration? {
    let address = section.required("address", .listenAddress, remedy: "Write the address to listen on, `0.0.0.0:8443`")
    let certificate = section.required("certificate", .path(from: directory), remedy: "Name the PEM file with the certificate chain, leaf first")
    let key = section.required("key", .path(from: directory), remedy: "Name the PEM file with the certificate's private key")
    let proxyProtocol = section.value("proxyProtocol", .bool, default: false)
    let trustedProxies = section.list("trustedProxies", .addressRange, upTo: 64, default: [])
    if proxyProtocol, trustedProxies.isEmpty {
      section.note("proxyProtocol", "PROXY protocol without trustedProxies would be believed from nobody", remedy: "List the proxies' addresses")
    }
    let minimumTLS = section.value("minimumTLS", .choice, default: TLSVersion.tls12)
    section.finish()
    guard let address, let certificate, let key else { return nil }
    return PublicListenerConfiguration(
      address: address, certificateFile: certificate, keyFile: key, proxyProtocol: proxyProtocol, trustedProxies: trustedProxies,
      minimumTLS: minimumTLS)
  }

  private static func readMutualTLSListener(_ section: ConfigurationSection) -> MutualTLSListenerConfiguration? {
    let address = section.required("address", .listenAddress, remedy: "Write the address on which agents are awaited, `0.0.0.0:8444`")
    let names = section.list("names", .host, upTo: 32, default: [])
    if !section.has("names") {
      section.note("names", "The key is missing", remedy: "List the DNS names or IP addresses by which agents reach this listener")
    }
    let given = section.optional("url", .httpsURL)
    section.finish()
    guard let address, let name = names.first else { return nil }
    let url = given ?? HTTPSURL(host: name, port: address.port)
    if given != nil, !names.contains(url.host) {
      section.note("url", "Its host \(quoted(url.host)) is not among `names`, so no agent would accept the certificate", remedy: "Add it to `names`")
    }
    return MutualTLSListenerConfiguration(address: address, names: names, url: url)
  }

  private static func readLimits(_ section: ConfigurationSection) -> LimitsConfiguration {
    let seconds = ScalarKind<Duration>.duration(.seconds(1) ... .seconds(300))
    let limits = LimitsConfiguration(
      headerBlock: section.value("headerBlock", .bytes((4 << 10)...(64 << 10)), default: 16 << 10),
      body: section.value("body", .bytes((4 << 10)...(1 << 20)), default: 8 << 10),
      readTimeout: section.value("readTimeout", seconds, default: .seconds(10)),
      idleTimeout: section.value("idleTimeout", seconds, default: .seconds(30)),
      connections: section.value("connections", .integer(16...100_000), default: 4096),
      connectionsPerAddress: section.value("connectionsPerAddress", .integer(1...100_000), default: 512))
    if limits.connectionsPerAddress > limits.connections {
      section.note(
        section.has("connectionsPerAddress") ? "connectionsPerAddress" : "connections",
        "One address may hold more connections (\(limits.connectionsPerAddress)) than there are (\(limits.connections))",
        remedy: "Set connectionsPerAddress to less")
    }
    section.finish()
    return limits
  }

  private static func readAgents(_ section: ConfigurationSection) -> AgentsConfiguration {
    defer { section.finish() }
    return AgentsConfiguration(
      canaryInterval: section.value("canaryInterval", .duration(.seconds(1) ... .seconds(30)), default: .seconds(30)),
      secondOpinions: section.value("secondOpinions", .integer(0...100), default: 1))
  }

  private static func readSessions(_ section: ConfigurationSection) -> SessionPolicy {
    defer { section.finish() }
    let standard = SessionPolicy()
    return SessionPolicy(
      life: section.value("life", .duration(.seconds(300) ... .seconds(86_400)), default: standard.life),
      keptLife: section.value("keptLife", .duration(.seconds(3600) ... .seconds(90 * 86_400)), default: standard.keptLife),
      offersKeeping: section.value("offerKeeping", .bool, default: standard.offersKeeping))
  }

  private static func readPages(_ section: ConfigurationSection, directory: String) -> PagesConfiguration {
    defer { section.finish() }
    return PagesConfiguration(
      organisation: section.value("organisation", .text, default: "Gatehouse"), accent: section.value("accent", .colour, default: "#0b5cad"),
      logoFile: section.optional("logo", .path(from: directory)), help: section.optional("help", .text))
  }

  private static func readSigningToken(_ section: ConfigurationSection, directory: String) -> SigningTokenConfiguration? {
    defer { section.finish() }
    let token = section.section("pkcs11")
    defer { token.finish() }
    guard token.isPresent else {
      token.know(["module", "token", "pinFile"])
      return nil
    }
    let module = token.required("module", .path(from: directory), remedy: "Name the token's PKCS #11 module, such as libsofthsm2.so")
    let name = token.required("token", .tokenName, remedy: "Write the token's label or serial number: pkcs11-tool --list-slots")
    let pinFile = token.required("pinFile", .path(from: directory), remedy: "Name a file with mode 0600 whose only line is the user PIN")
    guard let module, let name, let pinFile else { return nil }
    return SigningTokenConfiguration(module: module, token: name, pinFile: pinFile)
  }

  private static func readAlarms(_ section: ConfigurationSection, directory: String) -> AlarmsConfiguration {
    defer { section.finish() }
    let webhook = section.section("webhook")
    let url =
      webhook.isPresent
      ? webhook.required("url", .endpointURL, remedy: "Write the https address of what receives alarms, or leave `webhook` out")
      : webhook.optional("url", .endpointURL)
    let secret = webhook.optional("secretFile", .path(from: directory))
    let authority = webhook.optional("caFile", .path(from: directory))
    webhook.finish()
    return AlarmsConfiguration(
      webhook: url.map { .init(url: $0, secretFile: secret, authorityFile: authority) }, command: section.optional("command", .absolutePath),
      interval: section.value("repeat", .duration(.seconds(10) ... .seconds(30 * 86_400)), default: .seconds(86_400)))
  }

  private static func readLockout(_ section: ConfigurationSection) -> LockoutPolicy {
    var policy = LockoutPolicy()
    policy.threshold = section.value("threshold", .integer(1...100), default: policy.threshold)
    policy.window = section.value("window", .duration(.seconds(60) ... .seconds(86_400)), default: policy.window)
    policy.firstLock = section.value("firstLock", .duration(.seconds(1) ... .seconds(86_400)), default: policy.firstLock)
    policy.longestLock = section.value("longestLock", .duration(.seconds(1) ... .seconds(86_400)), default: policy.longestLock)
    if policy.firstLock > policy.longestLock {
      section.note(
        section.has("firstLock") ? "firstLock" : "longestLock",
        "The first lock (\(describe(policy.firstLock))) is longer than the longest (\(describe(policy.longestLock)))",
        remedy: "Set firstLock to at most longestLock")
    }
    section.finish()
    return policy
  }
}

extension LogConfiguration {
  /// Reads the `log` section, the same in both files.
  init(_ section: ConfigurationSection) {
    self.init(level: section.value("level", .choice, default: .info), format: section.value("format", .choice, default: .json))
    section.finish()
  }
}

/// Reads the `shutdown` section, the same in both files.
func readShutdownGrace(_ section: ConfigurationSection) -> Duration {
  defer { section.finish() }
  return section.value("grace", .duration(.seconds(0) ... .seconds(120)), default: .seconds(10))
}
