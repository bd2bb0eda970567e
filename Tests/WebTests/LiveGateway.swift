import Bytes
import Crypto
import Cryptography
import Foundation
import GatehouseTesting
import Health
import Identity
import Logging
import Metrics
import NIOSSL
import PassThrough
import ServiceLifecycle
import SignIn
import Synchronization

@testable import Web

/// A gateway's three listeners on free ports of the loopback interface, over a store in memory and a password validator that follows a script.
struct LiveGateway: Sendable {
  struct Options: Sendable {
    var limits = ListenerLimits()
    var proxyProtocol = false
    var trustedProxies: [String] = []
    var deadline: Duration = .seconds(2)
    var ratePerSecond = 10_000
    /// Ask enrolled agents instead of the script.
    var asksAgents = false
    /// Asked at the interval, where the test has set one.
    var canaryInterval: Duration?
    /// Turns nobody away for the machine's being slow; the tests of overload set their own.
    var admission: AdmissionGate = {
      var policy = AdmissionPolicy()
      policy.patience = .seconds(600)
      policy.stale = .seconds(600)
      return AdmissionGate(policy: policy)
    }()
  }

  static let realmName = "contoso.com"

  let store: InMemoryStore
  let time: ManualTime
  let script: ScriptedValidator
  let drain: DrainSignal
  let desk: FrontEndDesk
  let enrolment: AgentEnrolment
  let registry: AgentRegistry
  let hub: AgentHub
  let canaries: CanaryRegister
  let quarantine: AgentQuarantine
  let web: GatewayWeb
  let federation: SignOnServices
  let realms: RealmDirectory
  /// Of the admin API's socket.
  let adminPath: String
  let publicPort: Int
  let mutualPort: Int
  let operationsPort: Int
  /// The CA of the public listener's certificate and of front-ends' own certificates.
  let pki: TestPKI
  /// A front-end for the realm: its key, the key before it (good for another minute), and its certificate.
  let apiKey: String
  let previousKey: String
  let frontEnd: FrontEnd
  let frontEndCertificate: TestPKI.Issued
  fileprivate let obstacles: Shared<[String]>
  fileprivate var services: [any Service]

  fileprivate init(_ options: Options) async throws {
    let time = ManualTime(Instant(Date()))
    self.time = time
    store = InMemoryStore()
    script = ScriptedValidator()
    drain = DrainSignal()
    pki = try TestPKI()
    obstacles = Shared([])
    let authority = try await AgentAuthority.load(store: store, protector: OpenProtector(), now: time.now)
    registry = AgentRegistry(store: store)
    hub = AgentHub(authority: authority, registry: registry)
    canaries = CanaryRegister(store: store, protector: OpenProtector())
    quarantine = AgentQuarantine(store: store, registry: registry, hub: hub, logger: Logger(label: "test") { _ in QuietLog() })
    desk = FrontEndDesk(store: store)
    let realms = RealmDirectory(store: store)
    self.realms = realms
    let realm = Realm(name: try name(LiveGateway.realmName), suffixes: ["contoso.com", "contoso"], displayName: "Contoso & Söhne <AG>")
    try await store.add(realm, audit: [])
    try await store.add(Realm(name: try name("fabrikam.com"), suffixes: ["fabrikam.com"]), audit: [])
    let (keyText, key) = FrontEndDesk.makeKey(now: time.now)
    let (previousText, made) = FrontEndDesk.makeKey(now: time.now)
    var previous = made
    previous.expires = time.now.adding(.seconds(60))
    apiKey = keyText
    previousKey = previousText
    frontEndCertificate = try pki.issue(.client)
    let frontEnd = FrontEnd(
      name: "portal", realms: [realm.name], ratePerSecond: options.ratePerSecond, keys: [key, previous],
      certificates: [Digests.sha256(try frontEndCertificate.der)])
    self.frontEnd = frontEnd
    try await store.add(frontEnd, audit: [])
    try await realms.refresh()
    try await desk.refresh()

    let logger = Logger(label: "test") { _ in QuietLog() }
    let validator: any PasswordValidator = options.asksAgents ? PassThroughValidator(hub: hub, registry: registry) : script
    let signIn = SignInService(
      realms: realms, validators: [.passThrough: validator], changers: [.passThrough: script], lockouts: store, audit: store,
      throttle: AddressThrottle(),
      policies: LockoutPolicies(standard: LockoutPolicy()),
      now: time.reading, logger: logger)
    (publicPort, mutualPort, operationsPort) = (try freePort(), try freePort(), try freePort())
    let node = "https://localhost:\(mutualPort)"
    enrolment = AgentEnrolment(
      store: store, audit: store, authority: authority, registry: registry, publicURL: "https://localhost:\(publicPort)", nodes: [node])
    let obstacles = obstacles
    let exposition = MetricsExposition()
    adminPath = "/tmp/gatehouse-web-\(getpid())-\(publicPort).sock"
    federation = try await SignOnServices.forTests(store: store, publicURL: "https://localhost:\(publicPort)", now: time.reading, logger: logger)
    web = GatewayWeb(
      services: GatewayServices(
        signIn: signIn, admission: options.admission, desk: desk, frontEnds: store, realms: realms, realmStore: store, lockouts: store,
        lockoutPolicies: LockoutPolicies(standard: LockoutPolicy()), audit: store, hub: hub, registry: registry, enrolment: enrolment,
        authority: authority, canaries: canaries, quarantine: quarantine, federation: federation, lockoutThreshold: { _, _ in .none }, alarms: [],
        alarmDesk: AlarmDesk(store: store, sources: [], ways: [], node: "test", policy: AlarmPolicy(), now: time.reading, logger: logger),
        nodes: [node], nodeName: "test",
        deadline: options.deadline, started: time.now, now: time.reading, obstacles: { obstacles.value },
        metrics: {
          exposition.makeCounter(label: "seen_total", dimensions: []).increment(by: 1)
          return exposition.text()
        }, adminRoles: AdminRoles(administrators: [getuid()])), limits: options.limits, drain: drain, logger: logger)
    let server = try pki.issue()
    let publicIdentity = try TLSIdentity(
      chain: [NIOSSLCertificate(bytes: try server.der, format: .der)],
      key: NIOSSLPrivateKey(bytes: Array(server.privateKey.derRepresentation), format: .der))
    let (der, serverKey) = try authority.issueServerCertificate(names: ["localhost", "127.0.0.1"], now: time.now)
    let mutualIdentity = try TLSIdentity(
      chain: [NIOSSLCertificate(bytes: der, format: .der)], key: NIOSSLPrivateKey(bytes: Array(serverKey.derRepresentation), format: .der),
      clientCertificates: true)
    services = [
      web.publicListener(
        .init(
          host: "127.0.0.1", port: publicPort, identity: publicIdentity, proxyProtocol: options.proxyProtocol,
          trustedProxies: options.trustedProxies.compactMap { AddressRange($0) })),
      web.mutualTLSListener(host: "127.0.0.1", port: mutualPort, identity: mutualIdentity),
      web.operationsListener(host: "127.0.0.1", port: operationsPort),
      web.adminListener(socketPath: adminPath) {},
    ]
    if let interval = options.canaryInterval {
      services.append(
        CanaryWatch(
          hub: hub, canaries: canaries, registry: registry, quarantine: quarantine, interval: interval, deadline: options.deadline,
          now: time.reading, logger: logger))
    }
  }

  func obstruct(_ reasons: [String]) { obstacles.set(reasons) }

  /// A connection to the public listener.
  func open(_ tls: TLSConfiguration = .unverified, preface: [UInt8] = []) async throws -> RawConnection {
    try await RawConnection(port: publicPort, tls: tls, preface: preface)
  }

  /// A connection to the mutual-TLS listener with this certificate.
  func openMutual(_ certificate: [UInt8], key: [UInt8]) async throws -> RawConnection {
    try await RawConnection(port: mutualPort, tls: try .client(certificate: certificate, key: key))
  }

  /// A connection to the operations listener.
  func openOperations() async throws -> RawConnection { try await RawConnection(port: operationsPort, tls: nil) }

  /// One request to the admin API, as the user who runs the tests, and its answer.
  func askAdmin(_ method: String, _ target: String, _ body: String? = nil) async throws -> RawAnswer {
    let headers = body == nil ? [] : [("Content-Type", "application/json")]
    return try await RawConnection(unixSocket: adminPath).exchange(RawRequest(method, target, headers: headers, body: body.map { Array($0.utf8) }))
  }

  /// One request to the public listener on a connection of its own, and its answer.
  func ask(_ request: RawRequest) async throws -> RawAnswer { try await open().exchange(request) }

  /// `POST /v1/sign-in` with the front-end's key.
  func signIn(_ body: [UInt8], headers: [(String, String)] = [], key: String? = nil) async throws -> RawAnswer {
    try await ask(signInRequest(body, headers: headers, key: key))
  }

  func signIn(_ body: String) async throws -> RawAnswer { try await signIn(Array(body.utf8)) }

  func signInRequest(_ body: [UInt8], headers: [(String, String)] = [], key: String? = nil) -> RawRequest {
    RawRequest(
      "POST", "/v1/sign-in", headers: [("Authorization", "Bearer \(key ?? apiKey)"), ("Content-Type", "application/json")] + headers, body: body)
  }
}

/// Runs the body beside a gateway, which is gone afterwards whatever happened.
func withGateway(_ options: LiveGateway.Options = .init(), _ body: @Sendable (LiveGateway) async throws -> Void) async throws {
  // Tests of all suites run beside each other; time limits mean something only while the machine is not full of gateways.
  await LiveGatewayTurns.shared.take()
  defer { LiveGatewayTurns.shared.giveBack() }
  let gateway = try await LiveGateway(options)
  var configuration = ServiceGroupConfiguration(services: gateway.services, logger: Logger(label: "test") { _ in QuietLog() })
  configuration.maximumGracefulShutdownDuration = .seconds(5)
  let group = ServiceGroup(configuration: configuration)
  try await withThrowingTaskGroup(of: Void.self) { tasks in
    tasks.addTask { try await group.run() }
    tasks.addTask {
      while !Task.isCancelled {
        gateway.hub.tick()
        try? await Task.sleep(for: .milliseconds(50))
      }
    }
    defer { unlink(gateway.adminPath) }
    let result: Result<Void, any Error>
    do {
      for port in [gateway.publicPort, gateway.mutualPort, gateway.operationsPort] { try await listening(port) }
      try await body(gateway)
      result = .success(())
    } catch { result = .failure(error) }
    // Gracefully: the server must not be cancelled while it holds connections that it has accepted and not yet begun to serve.
    gateway.hub.close()
    await group.triggerGracefulShutdown()
    try? await tasks.next()
    tasks.cancelAll()
    try result.get()
  }
}

/// Lets two gateways of this test program live at once; further tests wait for their turn.
private final class LiveGatewayTurns: Sendable {
  static let shared = LiveGatewayTurns()
  private let state = Mutex((free: 2, waiting: [CheckedContinuation<Void, Never>]()))

  func take() async {
    await withCheckedContinuation { continuation in
      let isFree = state.withLock { state -> Bool in
        guard state.free > 0 else {
          state.waiting.append(continuation)
          return false
        }
        state.free -= 1
        return true
      }
      if isFree { continuation.resume() }
    }
  }

  func giveBack() {
    state.withLock { state -> CheckedContinuation<Void, Never>? in
      guard !state.waiting.isEmpty else {
        state.free += 1
        return nil
      }
      return state.waiting.removeFirst()
    }?.resume()
  }
}

/// Answers as a directory would that knows one password, `right`, and remembers what it was asked.
final class ScriptedValidator: PasswordValidator, PasswordChange {
  struct Asked: Sendable, Equatable {
    var userName: [UInt8]
    var password: [UInt8]
    var wanting: AttributeRequest
  }

  private let state = Mutex((asked: [Asked](), answers: [String: Verdict]()))

  var asked: [Asked] { state.withLock { $0.asked } }

  /// From now on this is the verdict for `userName`, whatever the password.
  func answer(_ userName: String, with verdict: Verdict) { state.withLock { $0.answers[userName] = verdict } }

  func validate(_ credential: Credential, wanting: AttributeRequest, deadline: Deadline) async -> Judgement {
    let password = credential.password.secret.withBytes { Array($0) }
    let scripted = state.withLock { state -> Verdict? in
      state.asked.append(Asked(userName: Array(credential.userName.text.utf8), password: password, wanting: wanting))
      return state.answers[credential.userName.text]
    }
    if let scripted { return Judgement(scripted) }
    guard password == Array("right".utf8) else { return Judgement(.refused(Refusal(.wrongPassword, subCode: "52e"))) }
    return Judgement(.accepted(ScriptedValidator.person(realm: credential.realm)))
  }

  /// `right` is changed to whatever is not too short, where nothing else was scripted.
  func change(_ credential: Credential, to new: Password, wanting: AttributeRequest, deadline: Deadline) async -> Judgement {
    let judgement = await validate(credential, wanting: wanting, deadline: deadline)
    guard case .accepted(let person) = judgement.verdict else { return judgement }
    guard new.secret.count >= 7 else {
      return Judgement(
        change: .notTaken(
          PasswordRules(broken: [.tooShort], minimumLength: 7, historyLength: 24, minimumAgeSeconds: 86_400, complexity: true)))
    }
    return Judgement(change: .changed(person))
  }

  static let object = Identifier(bytes: [UInt8](1...16)) ?? Identifier()

  static func person(realm: RealmName) -> AcceptedPerson {
    AcceptedPerson(
      object: DirectoryObject(realm: realm, id: object), immutableID: "AQIDBAUGBwgJCgsMDQ4PEA==", userPrincipalName: "alice@contoso.com",
      attributes: ["mail": ["alice@contoso.com"]], groups: ["CN=Staff,DC=contoso,DC=com"], passwordExpires: Instant(milliseconds: 1_900_000_000_000))
  }
}

/// A protector that hides nothing: the real one is KeyStore's, and tested there.
struct OpenProtector: SecretProtector {
  func protect(_ secret: Secret, context: String) throws -> [UInt8] { secret.withBytes { Array($0) } }
  func reveal(_ ciphertext: [UInt8], context: String) throws -> Secret { Secret(ciphertext) }
}

/// A value that several tasks read and change.
final class Shared<Value: Sendable>: Sendable {
  private let mutex: Mutex<Value>
  init(_ value: Value) { mutex = Mutex<Value>(value) }
  var value: Value { mutex.withLock { $0 } }
  func set(_ value: Value) { mutex.withLock { $0 = value } }
}

/// Writes nothing, but keeps the metadata: requests are numbered by it.
struct QuietLog: LogHandler {
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.critical
  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }
  func log(event: LogEvent) {}
}

/// Something that a test needs is not there.
struct Missing: Error {
  var what: String
}

func name(_ text: String) throws -> RealmName {
  guard let name = RealmName(text) else { throw Missing(what: "realm name \(text)") }
  return name
}
