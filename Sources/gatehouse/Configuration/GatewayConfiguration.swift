import Bytes
import Logging
import SignIn

/// What one gateway node needs to start; everything shared (realms, front-ends, agents) lives in the store.
///
/// Made from a `RawConfiguration` only, with every problem reported at once (docs/architecture.md, law 14). `deploy/config/gateway.yaml` explains each key.
struct GatewayConfiguration: Sendable, Equatable {
  /// The name of this node: its audit chain and its log lines bear it.
  var node: String
  /// Where people and front-ends reach the public listener.
  var publicURL: HTTPSURL
  /// Absolute paths, all of them; relative ones in the file count from the file's own folder.
  var dataDirectory: String
  var storeFile: String
  var masterKeyFile: String
  var adminSocket: String
  var publicListener: PublicListenerConfiguration
  var mutualTLSListener: MutualTLSListenerConfiguration
  var operationsAddress: ListenAddress
  var limits: LimitsConfiguration
  /// How long a sign-in may take in all before the answer is "could not find out".
  var signInDeadline: Duration
  var lockout: LockoutPolicy
  var agents: AgentsConfiguration
  var sessions: SessionPolicy
  var pages: PagesConfiguration
  /// PEM of authorities that are believed besides the system's where relying parties' metadata is fetched, and where they are told of a logout.
  var federationAuthorityFile: String?
  /// The hardware token with the token-signing keys; nil: they are in the store, encrypted.
  var signingToken: SigningTokenConfiguration?
  /// Free bytes on the audit's disk below which an alarm stands and sign-ins are no longer answered.
  var auditDiskReserve: Int
  var alarms: AlarmsConfiguration
  var log: LogConfiguration
  /// How long SIGTERM lets work under way finish.
  var shutdownGrace: Duration
}

/// The listener for browsers and API-key front-ends, and for enrolment.
struct PublicListenerConfiguration: Sendable, Equatable {
  var address: ListenAddress
  /// PEM files: the chain, leaf first, and the leaf's key.
  var certificateFile: String
  var keyFile: String
  /// Whether every connection begins with a PROXY protocol header (v1 or v2).
  var proxyProtocol: Bool
  /// The only addresses from which PROXY protocol and X-Forwarded-For are believed.
  var trustedProxies: [AddressRange]
  var minimumTLS: TLSVersion
}

/// The listener for agents and certificate front-ends; its own certificate comes from the gateway's agent CA.
struct MutualTLSListenerConfiguration: Sendable, Equatable {
  var address: ListenAddress
  /// The DNS names and IP addresses that its certificate bears; at least one.
  var names: [String]
  /// What agents are told to connect to.
  var url: HTTPSURL
}

/// Bounds that hold before anything is believed of a request.
struct LimitsConfiguration: Sendable, Equatable {
  var headerBlock: Int
  var body: Int
  /// For a whole request, head and body; a slow client does not restart it with every byte.
  var readTimeout: Duration
  /// Between two requests on one connection.
  var idleTimeout: Duration
  var connections: Int
  var connectionsPerAddress: Int
}

/// How the gateway watches its agents.
struct AgentsConfiguration: Sendable, Equatable {
  /// The mean time between two canaries of one kind for one agent.
  var canaryInterval: Duration
  /// How many of a hundred accepted sign-ins are asked again of a second agent.
  var secondOpinions: Int
}

/// A PKCS #11 token in which token-signing keys are made and stay.
struct SigningTokenConfiguration: Sendable, Equatable {
  /// The PKCS #11 module, a shared library.
  var module: String
  /// The token's label or serial number.
  var token: String
  /// A file with the user PIN as its only line.
  var pinFile: String
}

/// How the pages for people look.
struct PagesConfiguration: Sendable, Equatable {
  var organisation: String
  /// `#rrggbb`.
  var accent: String
  /// A PNG, JPEG, WebP or SVG file of at most 256 kB.
  var logoFile: String?
  var help: String?
}

/// Who is told of alarms, and how often. Nobody where neither is given: then they stand in the log and in `gatehouse status` only.
struct AlarmsConfiguration: Sendable, Equatable {
  struct Webhook: Sendable, Equatable {
    /// https, or http to this host itself; with path and query.
    var url: String
    /// The file whose first line is the secret of the signature.
    var secretFile: String?
    /// PEM of authorities that are believed besides the system's.
    var authorityFile: String?
  }
  var webhook: Webhook?
  /// An absolute path, run without a shell.
  var command: String?
  /// How often an alarm that nobody acknowledged is told again.
  var interval: Duration
}

/// TLS versions that may be the least accepted one.
enum TLSVersion: String, Sendable, CaseIterable {
  case tls12 = "1.2"
  case tls13 = "1.3"
}

/// What is logged, and how.
struct LogConfiguration: Sendable, Equatable {
  var level: Logger.Level
  var format: LogFormat
}

/// The shape of a log line.
enum LogFormat: String, Sendable, CaseIterable {
  case json, text
}
