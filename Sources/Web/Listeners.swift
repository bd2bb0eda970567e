import Bytes
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Identity
import Logging
import NIOCore
import NIOPosix
import PassThrough
import ServiceLifecycle
import SignIn

/// One listener as a service: runs until it is told to stop, and then finishes every request whose head it has read.
package struct Listener: Service {
  /// How many connections may have been let in that are too many and not sent away yet.
  private static let mostUncounted = 8

  private let application: any ApplicationProtocol

  package func run() async throws { try await application.run() }

  init(
    name: String, address: BindAddress, router: Router<GatewayRequestContext>, settings: ListenerSettings, logger: Logger,
    onRunning: @escaping @Sendable () async -> Void = {}
  ) {
    var logger = logger
    logger[metadataKey: "listener"] = "\(name)"
    router.refuseOtherMethods()
    application = Application(
      responder: router.buildResponder(),
      server: HTTPServerBuilder { responder in ListenerChannel(responder: responder, settings: settings) },
      configuration: ApplicationConfiguration(
        address: address, serverName: nil, backlog: 1024, reuseAddress: true,
        // Who is too many is let in and sent away by the gate, which may come too late in a flood: connections that wait to be counted take
        // descriptors too. So a little above the limit nobody is let in until some have gone.
        availableConnectionsDelegate: MaximumAvailableConnections(settings.limits.connections + Listener.mostUncounted)),
      onServerRunning: { _ in await onRunning() },
      eventLoopGroupProvider: .shared(MultiThreadedEventLoopGroup.singleton), logger: logger)
  }
}

/// Everything that the listeners hand requests to, and how they are set up. The house fills it in; `listeners` makes the services.
package struct GatewayWeb: Sendable {
  package struct PublicListener: Sendable {
    package var host: String
    package var port: Int
    package var identity: TLSIdentity
    package var proxyProtocol: Bool
    package var trustedProxies: [AddressRange]
    package init(host: String, port: Int, identity: TLSIdentity, proxyProtocol: Bool, trustedProxies: [AddressRange]) {
      self.host = host
      self.port = port
      self.identity = identity
      self.proxyProtocol = proxyProtocol
      self.trustedProxies = trustedProxies
    }
  }

  private let services: GatewayServices
  private let limits: ListenerLimits
  private let shares: ConnectionShares
  private let drain: DrainSignal
  private let logger: Logger

  /// - Parameter shares: of the connections that the process can hold; nil: each listener has what `limits` says.
  package init(services: GatewayServices, limits: ListenerLimits, shares: ConnectionShares? = nil, drain: DrainSignal, logger: Logger) {
    self.services = services
    self.limits = limits
    self.shares = shares ?? ConnectionShares(wanted: limits.connections, descriptors: .max)
    self.drain = drain
    self.logger = logger
  }

  /// Browsers, API-key front-ends, enrolment; no client certificate.
  package func publicListener(_ configuration: PublicListener) -> Listener {
    var settings = ListenerSettings(limits: limits(shares.publicListener), drain: drain)
    settings.identity = configuration.identity
    settings.proxyProtocol = configuration.proxyProtocol
    settings.trustedProxies = configuration.trustedProxies
    settings.admission = services.admission
    return Listener(
      name: "public", address: .hostname(configuration.host, port: configuration.port), router: publicRouter(proxies: configuration.trustedProxies),
      settings: settings, logger: logger)
  }

  func publicRouter(proxies: [AddressRange]) -> Router<GatewayRequestContext> {
    let router = makeRouter()
    signInRoutes.add(to: router)
    RealmDiscoveryRoutes(realms: services.realms, federation: services.federation).add(to: router)
    agentRoutes(proxies: proxies).addPublic(to: router)
    SignOnRoutes(
      services: services.federation, signIn: services.signIn, realms: services.realms, gate: services.admission, proxies: proxies,
      deadline: services.deadline, now: services.now
    ).add(to: router)
    return router
  }

  /// Agents, and front-ends with a certificate.
  package func mutualTLSListener(host: String, port: Int, identity: TLSIdentity) -> Listener {
    // Agents keep several long polls open and many may sit behind one address.
    var limits = limits(shares.mutualTLS)
    limits.connectionsPerAddress = max(limits.connectionsPerAddress, 4096)
    var settings = ListenerSettings(limits: limits, drain: drain)
    settings.identity = identity
    settings.admission = services.admission
    let services = services
    settings.acceptsClientCertificate = { der in
      // An agent's certificate must be on the register and signed by a root that is trusted now: either alone could be a slip of the store.
      (services.registry.knows(der: der) && services.authority.didIssue(der)) || services.desk.frontEnd(certificateDER: der) != nil
    }
    let router = makeRouter()
    signInRoutes.add(to: router)
    agentRoutes(proxies: []).addMutual(to: router)
    return Listener(name: "mutual-tls", address: .hostname(host, port: port), router: router, settings: settings, logger: logger)
  }

  /// Health and metrics, plain HTTP.
  package func operationsListener(host: String, port: Int) -> Listener {
    Listener(
      name: "operations", address: .hostname(host, port: port), router: operationsRouter(),
      settings: ListenerSettings(limits: limits(shares.operations), drain: drain), logger: logger)
  }

  func operationsRouter() -> Router<GatewayRequestContext> {
    let router = makeRouter()
    OperationsRoutes(drain: drain, obstacles: services.obstacles, metrics: services.metrics).add(to: router)
    return router
  }

  /// The admin API on a Unix socket; who is at the other end decides what they may do.
  ///
  /// - Parameter onRunning: called once the socket exists; the house narrows its mode there.
  package func adminListener(socketPath: String, onRunning: @escaping @Sendable () async -> Void) -> Listener {
    var settings = ListenerSettings(limits: limits(shares.admin), drain: drain)
    settings.isUnixSocket = true
    return Listener(
      name: "admin", address: .unixDomainSocket(path: socketPath), router: adminRouter(), settings: settings, logger: logger, onRunning: onRunning)
  }

  func adminRouter() -> Router<GatewayRequestContext> {
    let router = makeRouter()
    AdminRoutes(services: services).add(to: router)
    return router
  }

  private func limits(_ connections: Int) -> ListenerLimits {
    var limits = limits
    limits.connections = connections
    return limits
  }

  private var signInRoutes: SignInRoutes {
    SignInRoutes(
      service: services.signIn, desk: services.desk, gate: services.admission, limits: limits, deadline: services.deadline, now: services.now)
  }

  private func agentRoutes(proxies: [AddressRange]) -> AgentRoutes {
    AgentRoutes(
      hub: services.hub, registry: services.registry, enrolment: services.enrolment, authority: services.authority, nodes: services.nodes,
      proxies: proxies, now: services.now)
  }

  private func makeRouter() -> Router<GatewayRequestContext> {
    let router = Router(context: GatewayRequestContext.self, options: .autoGenerateHeadEndpoints)
    router.addMiddleware { FaultTranslation<GatewayRequestContext>() }
    return router
  }
}

extension Router<GatewayRequestContext> {
  /// Answers every other method of the known paths with 405 and what they do know (RFC 9110 §15.5.6); HEAD goes with GET.
  fileprivate func refuseOtherMethods() {
    for (path, routes) in Dictionary(grouping: routes, by: \.path.description) {
      var known = Set(routes.map(\.method))
      if known.contains(.get) { known.insert(.head) }
      let allowed = known.sorted { $0.rawValue < $1.rawValue }
      var methods: [HTTPRequest.Method] = [.get, .head, .post, .put, .patch, .delete, .options, .trace, .connect]
      if let query = HTTPRequest.Method("QUERY") { methods.append(query) }
      for method in methods where !known.contains(method) {
        on(RouterPath(path), method: method) { _, _ -> Response in throw RequestFault.methodNotAllowed(allowed) }
      }
    }
  }
}
