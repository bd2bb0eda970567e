import ActiveDirectory
import AgentLink
import Bytes
import Crypto
import Federation
import Foundation
import Identity
import KeyStore
import Logging
import NIOSSL
import Outbound
import PassThrough
import SQLiteStore
import ServiceLifecycle
import SignIn
import UnixSignals
import Web

// Where the house is put together: every room gets its ports and every door its room here, and nowhere else.

/// The wall clock, read here only (docs/architecture.md, law 6).
let wallClock: @Sendable () -> Instant = { Instant(Date()) }

/// A gateway node, ready to run.
struct GatewayAssembly {
  let group: ServiceGroup
  private let store: EmbeddedStore
  private let outbound: OutboundClient
  /// Where token-signing keys are made and stay; nil: they are in the store.
  private let signingToken: HardwareToken?
  private let alarms: AlarmAssembly
  private let lock: DataLock

  /// - Parameter file: the configuration's, for what is told of mending.
  init(_ configuration: GatewayConfiguration, file: String) async throws {
    let logger = Logger(label: "gatehouse")
    let now = wallClock

    let descriptors = Descriptors.raise()
    guard descriptors >= ConnectionShares.leastDescriptors else {
      throw StartProblem(
        "This process may have only \(descriptors) files and connections open, and a gateway needs \(ConnectionShares.leastDescriptors). Raise its "
          + "limit: LimitNOFILE= in the unit, or ulimit -n.")
    }
    let wanted = configuration.limits.connections
    let shares = ConnectionShares(wanted: wanted, descriptors: descriptors)
    if shares.fallsShort(of: wanted) {
      logger.warning(
        "fewer connections than limits.connections are let in, since the process may not have more files open; raise LimitNOFILE= or ulimit -n",
        metadata: ["descriptors": "\(descriptors)", "public": "\(shares.publicListener)", "mutualTLS": "\(shares.mutualTLS)"])
    }

    lock = try DataLock(gateway: configuration.node, storeFile: configuration.storeFile)
    let reserve = DiskReserve(path: configuration.storeFile + ".reserve", bytes: Int64(configuration.auditDiskReserve), now: now)
    reserve.refresh()
    let store = try EmbeddedStore(path: configuration.storeFile, node: configuration.node, reserve: reserve, logger: logger)
    self.store = store
    // A key that is lost must be found again, not replaced: what it protected would be gone without a word.
    let protector = try FileKeyProtector(path: configuration.masterKeyFile, mayCreate: try await !store.holdsSecrets())
    let journalKey = protector.derivedKey(for: RevocationJournal.purpose)
    let keeper = RevocationKeeper(
      store: store, journal: try RevocationJournal(path: configuration.journalFile, key: journalKey), now: now, logger: logger)
    try await keeper.reconcile(key: journalKey, config: file)

    // A token that is away stops nobody from starting: an alarm stands until it is back.
    let signingToken = configuration.signingToken.map { HardwareToken($0.tokenSettings, now: now, logger: logger) }
    self.signingToken = signingToken

    var lockout = configuration.lockout
    // A reservation must outlive the try that it was made for.
    lockout.reservationLife = max(lockout.reservationLife, configuration.signInDeadline + .seconds(10))

    let authority = try await AgentAuthority.load(store: store, protector: protector, now: now())
    let registry = AgentRegistry(store: store)
    let realms = RealmDirectory(store: store)
    let desk = FrontEndDesk(store: store)
    try await registry.refresh()
    try await realms.refresh()
    try await desk.refresh()

    let hub = AgentHub(authority: authority, registry: registry)
    let canaries = CanaryRegister(store: store, protector: protector)
    try await canaries.refresh(realms: realms.realms.map(\.name))
    let quarantine = AgentQuarantine(store: store, registry: registry, hub: hub, logger: logger)
    let watch = CanaryWatch(
      hub: hub, canaries: canaries, registry: registry, quarantine: quarantine, interval: configuration.agents.canaryInterval,
      deadline: configuration.signInDeadline, now: now, logger: logger)
    let opinions = SecondOpinions(
      hub: hub, registry: registry, audit: store, percent: configuration.agents.secondOpinions, deadline: configuration.signInDeadline, now: now,
      logger: logger)
    let metrics = MetricsExposition.start()
    let policies = LockoutPolicies(standard: lockout, directory: { hub.directoryLockout(of: $0, now: now())?.policy })
    let sprays = SprayGuard()
    let ledger = ThrottleLedger(audit: store)
    let validator = PassThroughValidator(hub: hub, registry: registry, opinions: opinions)
    let signIn = SignInService(
      realms: realms, validators: [.passThrough: validator], changers: [.passThrough: validator], lockouts: store, audit: store,
      throttle: AddressThrottle(), sprays: sprays, ledger: ledger, policies: policies, now: now, logger: logger)
    let conflicts = LockoutConflicts(realms: realms, policies: policies, now: now)

    let publicURL = configuration.publicURL.description
    let outbound = try OutboundClient(authorityFile: configuration.federationAuthorityFile)
    self.outbound = outbound
    let federation = try await FederationAssembly(
      configuration, store: store, protector: protector, vault: signingToken, realms: realms, validator: validator, outbound: outbound, now: now,
      logger: logger)
    let nodes = [configuration.mutualTLSListener.url.description]
    let enrolment = AgentEnrolment(
      store: store, audit: store, authority: authority, registry: registry, publicURL: publicURL, nodes: nodes)
    let publicIdentity = try TLSIdentity(
      certificateFile: configuration.publicListener.certificateFile, keyFile: configuration.publicListener.keyFile,
      minimum: configuration.publicListener.minimumTLS.nio)
    let names = configuration.mutualTLSListener.names
    let (chain, key) = try AgentsListenerCertificate.issue(by: authority, names: names, now: now())
    let mutualIdentity = try TLSIdentity(chain: chain, key: key, clientCertificates: true)
    let agentsListener = AgentsListenerCertificate(authority: authority, names: names, identity: mutualIdentity, now: now)
    let reload = CertificateReload(configuration.publicListener, identity: publicIdentity, now: now, logger: logger)

    // Looking who it is before turning somebody away made refusals slow where the gateway itself had too little processor; people at familiar addresses go
    // first at the hub and at the agents only, until a look costs less.
    var admissionPolicy = AdmissionPolicy()
    (admissionPolicy.fewestLooks, admissionPolicy.firstLooks, admissionPolicy.mostLooks) = (0, 0, 0)
    let admission = AdmissionGate(policy: admissionPolicy)
    let coverage = RealmCoverage(realms: realms, hub: hub, now: now)
    let sources: [any AlarmSource] =
      [
        hub, coverage, reserve, reload, watch, opinions, sprays, conflicts, federation.services.rollover, federation.services.metadata, keeper,
      ] + [signingToken].compactMap(\.self)
    let alarms = try AlarmAssembly(configuration, store: store, sources: sources, now: now, logger: logger)
    self.alarms = alarms
    let drain = DrainSignal()
    let services = GatewayServices(
      signIn: signIn, admission: admission, desk: desk, frontEnds: store, realms: realms, realmStore: store, lockouts: store,
      lockoutPolicies: policies, audit: store, hub: hub, registry: registry, enrolment: enrolment, authority: authority, canaries: canaries,
      quarantine: quarantine, federation: federation.services,
      lockoutThreshold: { realm, user in
        let answer = await validator.lookUp(user, realm: realm, deadline: Deadline(after: configuration.signInDeadline))
        guard case .person = answer.meaning else {
          return .unknown(answer.meaning == nil ? "no agent could look the account up" : "the directory has nobody of that name")
        }
        guard let policy = answer.lockout else { return .unknown("the agent does not tell the account's lockout policy") }
        return policy.locks ? .after(policy.threshold) : .none
      },
      alarms: sources + [alarms.desk], alarmDesk: alarms.desk, nodes: nodes,
      nodeName: configuration.node, deadline: configuration.signInDeadline, started: now(), now: now,
      obstacles: {
        do {
          _ = try await store.chains()
          return []
        } catch { return ["the store does not answer: \(error)"] }
      }, metrics: { metrics.text() + MetricsExposition.directoryServers(hub.directoryWeather.values.flatMap(\.self)) },
      adminRoles: AdminRoles(administrators: [0, getuid()]))
    let web = GatewayWeb(services: services, limits: configuration.limits.listener, shares: shares, drain: drain, logger: logger)

    let listener = configuration.publicListener
    let publicListener = web.publicListener(
      .init(
        host: listener.address.host, port: listener.address.port, identity: publicIdentity, proxyProtocol: listener.proxyProtocol,
        trustedProxies: listener.trustedProxies))
    let mutualListener = web.mutualTLSListener(
      host: configuration.mutualTLSListener.address.host, port: configuration.mutualTLSListener.address.port, identity: mutualIdentity)
    let operations = web.operationsListener(host: configuration.operationsAddress.host, port: configuration.operationsAddress.port)
    try GatewayAssembly.clearSocket(configuration.adminSocket)
    let socket = configuration.adminSocket
    let admin = web.adminListener(socketPath: socket, onRunning: { chmod(socket, 0o600) })

    let policy = lockout
    let housekeeping = Housekeeping(
      chores: [
        .init("hub", every: .milliseconds(100)) { hub.tick() },
        .init("admission", every: .milliseconds(100)) { late in
          admission.tick(waited: hub.longestWait, late: max(late, await LoopLag.longest()))
        },
        .init("registers", every: .seconds(1)) {
          try await registry.refresh()
          try await realms.refresh()
          try await desk.refresh()
          try await canaries.refresh(realms: realms.realms.map(\.name))
          try await federation.refresh()
          hub.dropBarred()
          coverage.look()
        },
        .init("certificate files", every: .seconds(5)) { await reload.look() },
        .init("sprays", every: .seconds(5)) { try await store.append(sprays.tick(now: now())) },
        .init("throttled sign-ins", every: .seconds(60)) { try await ledger.flush(now: now()) },
        .init("revocation journal", every: .seconds(5)) { await keeper.catchUp() },
        .init("disk reserve", every: .seconds(5)) { reserve.refresh() },
        .init("idle lockouts", every: .seconds(3600)) { _ = try await store.forgetIdle(policy: policy, now: now()) },
        .init("relying parties' metadata", every: .seconds(30)) { try await federation.services.metadata.refreshDue() },
        .init("token-signing certificates", every: .seconds(1)) { try await federation.rollOver() },
        .init("readiness of relying parties", every: .seconds(10)) { try await federation.services.rollover.ledger.flush() },
        .init("probes of relying parties", every: .seconds(1)) { try await federation.services.probes.tick() },
        .init("sessions that are over", every: .seconds(60)) { try await federation.forget(now: now()) },
        // A clock that has jumped must not remove a root that agents still need.
        .init("agent CA", every: .seconds(60)) { if federation.services.rollover.freeze == nil { try await authority.advance(now: now()) } },
        .init("agents' listener", every: .seconds(2)) { try agentsListener.look() },
      ] + alarms.chores, logger: logger)

    // Shutdown runs backwards: readiness fails and answers carry `Connection: close` first; then the public doors finish what they have read,
    // while the agents are still there to answer; then the polls end; health and metrics are the last to go.
    let grace = configuration.shutdownGrace
    let node = configuration.node
    let ordered: [any Service] = [
      operations, housekeeping, reload, mutualListener,
      ShutdownStep(name: "polls", logger: logger) { hub.close() },
      publicListener, admin, watch, opinions,
      ShutdownStep(name: "drain", logger: logger) {
        drain.begin()
        try? await ledger.flush(now: now())
        try? await federation.services.rollover.ledger.flush()
        try? await store.append([AuditEvent(time: now(), kind: .gatewayStopped, actor: "gatehouse", subject: node, outcome: "done")])
        // Load balancers look every second or so: they must see readiness fail before the doors close.
        try? await Task.sleep(for: min(grace / 2, .seconds(3)))
      },
    ]
    var setup = ServiceGroupConfiguration(services: ordered, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
    setup.maximumGracefulShutdownDuration = grace + .seconds(15)
    group = ServiceGroup(configuration: setup)
    try await store.append([AuditEvent(time: now(), kind: .gatewayStarted, actor: "gatehouse", subject: node, outcome: "done")])
    logger.info(
      "gateway started", metadata: ["node": "\(node)", "public": "\(listener.address)", "agents": "\(configuration.mutualTLSListener.address)"])
  }

  /// Runs until a signal or a failure ends it, then closes the store.
  func run() async throws {
    let result: Result<Void, any Error>
    do { result = .success(try await group.run()) } catch { result = .failure(error) }
    await outbound.shutdown()
    await signingToken?.close()
    await alarms.shutdown()
    do { try store.close() } catch { if case .success = result { throw error } }
    try result.get()
  }

  /// Removes a socket that an earlier run left behind. Throws where the path is something else.
  private static func clearSocket(_ path: String) throws {
    guard let facts = try? FileManager.default.attributesOfItem(atPath: path) else { return }
    guard facts[.type] as? FileAttributeType == .typeSocket else {
      throw StartProblem("\(path) is in the way of the admin socket and is no socket. Remove it, or name another with admin.socket.")
    }
    unlink(path)
  }
}

/// An agent, ready to run.
struct AgentAssembly {
  let group: ServiceGroup
  private let connections: [HTTPGatewayConnection]
  private let directories: [LDAPPasswordValidator]

  init(_ configuration: AgentConfiguration) throws {
    let logger = Logger(label: "gatehouse.agent")
    let now = wallClock
    // Connections to directories and gateways are bounded by the configuration, and may be more than a soft limit of 1,024 has room for.
    _ = Descriptors.raise()
    let file = AgentIdentityFile(path: configuration.identityFile)
    guard let identity = try file.load() else {
      throw StartProblem(
        "This agent is not enrolled: \(file.path) does not exist. Make a token on the gateway (`gatehouse agents token --realm REALM`) and run "
          + "`gatehouse agent enrol --config FILE --token TOKEN` here."
      )
    }
    var validators: [RealmName: any PasswordValidator] = [:]
    var directories: [LDAPPasswordValidator] = []
    // Questions come to the thread that asks the directories and stay there until they are answered.
    guard let loop = try? DirectoryLoop() else {
      throw StartProblem("This process may open no more files and connections. Raise its limit: LimitNOFILE= in the unit, or ulimit -n.")
    }
    for realm in configuration.realms {
      let validator = LDAPPasswordValidator(settings: realm.directorySettings, loop: loop, logger: logger, now: now)
      validators[realm.realm] = validator
      directories.append(validator)
    }
    self.directories = directories
    for missing in identity.realms where validators[missing] == nil {
      logger.warning("the agent is enrolled for a realm that its configuration does not have", metadata: ["realm": "\(missing)"])
    }
    let nodes = configuration.gateways.isEmpty ? identity.nodes : configuration.gateways.map(\.description)
    let proxy = configuration.proxy.map { HTTPGatewayConnection.Proxy(host: $0.host, port: $0.port) }
    let connections = try nodes.map { try HTTPGatewayConnection(node: $0, identity: identity, proxy: proxy) }
    self.connections = connections
    let renewal = IdentityRenewal(connections: connections, file: file, now: now, logger: logger)
    let alarms: [any AlarmSource] = directories
    let agents = connections.map { connection in
      PassThroughAgent(
        connection: connection, validators: validators, alarms: alarms, directories: directories, lanes: configuration.polls, executor: loop,
        software: Gatehouse.version, now: now,
        told: { renewal.learn($0) }, logger: logger)
    }
    var setup = ServiceGroupConfiguration(
      services: [renewal] + directories + agents, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
    setup.maximumGracefulShutdownDuration = configuration.shutdownGrace + .seconds(5)
    group = ServiceGroup(configuration: setup)
    logger.info("agent started", metadata: ["agent": "\(identity.name)", "gateways": "\(nodes.joined(separator: " "))"])
  }

  /// Runs until a signal or a failure ends it, then closes every connection, to both sides.
  func run() async throws {
    let result: Result<Void, any Error>
    do { result = .success(try await group.run()) } catch { result = .failure(error) }
    for connection in connections { await connection.shutdown() }
    for directory in directories { directory.closeConnections() }
    try result.get()
  }
}

/// Why the program cannot start, with what to do.
struct StartProblem: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

extension AgentAssembly {
  /// What keeps the agent from asking a realm's directory, or nil; for `gatehouse check --online`.
  static func firstProblem(of realm: RealmDirectoryConfiguration) async -> String? {
    guard let loop = try? DirectoryLoop() else { return "no more file descriptors" }
    defer { loop.stop() }
    let validator = LDAPPasswordValidator(settings: realm.directorySettings, loop: loop, logger: Logger(label: "gatehouse.check"), now: wallClock)
    return await validator.firstProblem(deadline: Deadline(after: .seconds(10)))
  }
}
