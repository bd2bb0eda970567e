import AsyncHTTPClient
import Bytes
import Crypto
import Foundation
import Identity
import Logging
import NIOCore
import NIOHTTP1
import NIOSSL
import PassThrough
import Synchronization

/// One gateway node over mutual TLS: JSON over HTTP/1.1, dialled from here, through an HTTP proxy where one is configured.
package final class HTTPGatewayConnection: GatewayConnection {
  /// An HTTP proxy that takes CONNECT.
  package struct Proxy: Sendable, Equatable {
    package var host: String
    package var port: Int
    package init(host: String, port: Int) {
      self.host = host
      self.port = port
    }
  }

  private struct State {
    var identity: AgentIdentity
    var generation: Int
    var client: HTTPClient
    /// Clients of earlier identities, until their polls are over.
    var superseded: [(client: HTTPClient, since: ContinuousClock.Instant)] = []
  }

  private let node: String
  private let proxy: Proxy?
  private let state: Mutex<State>

  /// The gateway ends a poll after 20 s; a poll that takes longer than this has no gateway behind it any more.
  private static let pollTimeout = TimeAmount.seconds(30)
  private static let requestTimeout = TimeAmount.seconds(10)
  private static let answerLimit = 1024 * 1024

  /// - Parameter node: the https URL of the node's mutual-TLS listener.
  package init(node: String, identity: AgentIdentity, proxy: Proxy?) throws {
    self.node = node.hasSuffix("/") ? String(node.dropLast()) : node
    self.proxy = proxy
    state = Mutex(State(identity: identity, generation: 0, client: try HTTPGatewayConnection.client(for: identity, proxy: proxy)))
  }

  package var identity: (AgentIdentity, generation: Int) { state.withLock { ($0.identity, $0.generation) } }

  /// Speaks with a renewed identity from the next request on; polls under way end by themselves.
  package func adopt(_ identity: AgentIdentity) throws {
    let client = try HTTPGatewayConnection.client(for: identity, proxy: proxy)
    state.withLock { state in
      state.superseded.append((state.client, .now))
      state.client = client
      state.identity = identity
      state.generation += 1
    }
  }

  /// Ends the clients of earlier identities whose last poll is over. To be called now and then.
  package func closeSuperseded() async {
    let over = state.withLock { state -> [HTTPClient] in
      let limit = ContinuousClock.now.advanced(by: .seconds(-60))
      defer { state.superseded.removeAll { $0.since < limit } }
      return state.superseded.filter { $0.since < limit }.map(\.client)
    }
    for client in over { try? await client.shutdown() }
  }

  /// Ends all connections.
  package func shutdown() async {
    let clients = state.withLock { state in
      defer { state.superseded = [] }
      return state.superseded.map(\.client) + [state.client]
    }
    for client in clients { try? await client.shutdown() }
  }

  package func work(_ request: WorkRequest) async throws -> WorkResponse {
    try WorkResponse(message: try await post("/agent/v1/work", message: request.message, timeout: HTTPGatewayConnection.pollTimeout))
  }

  package func deliver(_ request: VerdictsRequest) async throws -> VerdictsAnswer {
    let answer = try await post("/agent/v1/verdicts", message: request.message, timeout: HTTPGatewayConnection.requestTimeout)
    return try JSONDecoder().decode(VerdictsAnswer.self, from: Data(answer))
  }

  package func heartbeat(_ heartbeat: Heartbeat) async throws -> HeartbeatAnswer {
    try await post("/agent/v1/heartbeat", heartbeat, timeout: HTTPGatewayConnection.requestTimeout)
  }

  package func renew(_ request: RenewalRequest) async throws -> RenewalAnswer {
    try await post("/agent/v1/renew", request, timeout: HTTPGatewayConnection.requestTimeout)
  }

  private func post<Answer: Decodable>(_ path: String, _ message: some Encodable, timeout: TimeAmount) async throws -> Answer {
    try await postJSON(node + path, message, client: state.withLock { $0.client }, timeout: timeout, limit: HTTPGatewayConnection.answerLimit)
  }

  private func post(_ path: String, message: [UInt8], timeout: TimeAmount) async throws -> [UInt8] {
    try await postJSON(
      node + path, bytes: message, client: state.withLock { $0.client }, timeout: timeout, limit: HTTPGatewayConnection.answerLimit)
  }

  private static func client(for identity: AgentIdentity, proxy: Proxy?) throws -> HTTPClient {
    var tls = TLSConfiguration.makeClientConfiguration()
    tls.minimumTLSVersion = .tlsv12
    // The gateway's own roots, pinned at enrolment, and nobody else's; the name is checked against the certificate.
    tls.trustRoots = .certificates(try identity.roots.map { try NIOSSLCertificate(bytes: $0, format: .der) })
    tls.certificateVerification = .fullVerification
    tls.certificateChain = [.certificate(try NIOSSLCertificate(bytes: identity.certificate, format: .der))]
    tls.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: Array(identity.signingKey.derRepresentation), format: .der))
    return HTTPClient(eventLoopGroupProvider: .singleton, configuration: clientConfiguration(tls: tls, proxy: proxy))
  }

  static func clientConfiguration(tls: TLSConfiguration, proxy: Proxy?) -> HTTPClient.Configuration {
    var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
    configuration.timeout.connect = .seconds(5)
    configuration.redirectConfiguration = .disallow
    configuration.httpVersion = .http1Only
    configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 64
    configuration.connectionPool.retryConnectionEstablishment = false
    if let proxy { configuration.proxy = .server(host: proxy.host, port: proxy.port) }
    return configuration
  }
}

/// Posts JSON and reads JSON. Throws `GatewayFault` where the gateway says no.
func postJSON<Answer: Decodable>(
  _ url: String, _ message: some Encodable, client: HTTPClient, timeout: TimeAmount, limit: Int
) async throws -> Answer {
  let bytes = Array(try JSONEncoder().encode(message))
  return try JSONDecoder().decode(
    Answer.self, from: Data(try await postJSON(url, bytes: bytes, client: client, timeout: timeout, limit: limit)))
}

/// The same for a message that is written already, and an answer that the caller reads.
func postJSON(_ url: String, bytes: [UInt8], client: HTTPClient, timeout: TimeAmount, limit: Int) async throws -> [UInt8] {
  var request = HTTPClientRequest(url: url)
  request.method = .POST
  request.headers.add(name: "content-type", value: "application/json")
  request.body = .bytes(ByteBuffer(bytes: bytes))
  let response = try await client.execute(request, timeout: timeout)
  let body = Array((try await response.body.collect(upTo: limit)).readableBytesView)
  guard response.status == .ok else {
    let words = (try? JSONDecoder().decode(GatewayFaultBody.self, from: Data(body)))?.error.message
    throw GatewayFault(status: Int(response.status.code), message: words ?? "The gateway answered \(response.status).")
  }
  return body
}

/// The gateway's body for everything that is not what was asked for.
private struct GatewayFaultBody: Decodable {
  struct Detail: Decodable { var message: String }
  var error: Detail
}
