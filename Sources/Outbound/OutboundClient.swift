import AsyncHTTPClient
import Federation
import Foundation
import NIOCore
import NIOHTTP1
import NIOSSL

/// The gateway's own requests: relying parties' metadata, logout over the back channel, alarms by webhook.
package final class OutboundClient: Sendable {
  private static let mostRedirects = 3

  let client: HTTPClient

  /// Why there is no answer, for an administrator.
  package struct Problem: Error, CustomStringConvertible {
    package let description: String
  }

  /// - Parameter authorityFile: PEM of authorities that are trusted besides the system's; nil: only those.
  package init(authorityFile: String? = nil) throws {
    var tls = TLSConfiguration.makeClientConfiguration()
    tls.minimumTLSVersion = .tlsv12
    if let authorityFile { tls.additionalTrustRoots = [.certificates(try NIOSSLCertificate.fromPEMFile(authorityFile))] }
    var configuration = HTTPClient.Configuration(tlsConfiguration: tls, redirectConfiguration: .disallow)
    configuration.timeout.connect = .seconds(5)
    // Who refuses a connection is not asked again until the time is over: somebody may be waiting for a page.
    configuration.connectionPool.retryConnectionEstablishment = false
    client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }

  /// The library ends the program where its client was not shut down: a start that failed must be able to say why.
  deinit { client.shutdown { _ in } }

  package func shutdown() async { try? await client.shutdown() }

  /// https, or http to this host itself: what is fetched from elsewhere must not be changed on the way.
  static func check(_ url: String) throws {
    guard EndpointURL.problem(url) == nil else { throw Problem(description: "\(url.prefix(256)) is no https URL") }
  }
}

extension OutboundClient: MetadataFetcher {
  package func fetch(_ url: String, limit: Int, timeout: Duration) async throws -> [UInt8] {
    var url = url
    for _ in 0...OutboundClient.mostRedirects {
      try OutboundClient.check(url)
      var request = HTTPClientRequest(url: url)
      request.headers.add(name: "accept", value: "application/samlmetadata+xml, application/xml, text/xml, */*;q=0.1")
      request.headers.add(name: "user-agent", value: "gatehouse")
      let response = try await client.execute(request, timeout: .nanoseconds(timeout.components.seconds * 1_000_000_000))
      switch response.status.code {
      case 200: return Array(try await response.body.collect(upTo: limit).readableBytesView)
      case 301, 302, 303, 307, 308:
        guard let location = response.headers.first(name: "location"),
          let next = URL(string: location, relativeTo: URL(string: url))?.absoluteString
        else { throw Problem(description: "the redirect names no place") }
        url = next
      default: throw Problem(description: "the answer's status is \(response.status.code)")
      }
    }
    throw Problem(description: "there are more than \(OutboundClient.mostRedirects) redirects")
  }
}

extension OutboundClient: BackChannel {
  package func post(soap envelope: [UInt8], to url: String, timeout: Duration) async throws -> [UInt8] {
    try OutboundClient.check(url)
    var request = HTTPClientRequest(url: url)
    request.method = .POST
    request.headers.add(name: "content-type", value: "text/xml; charset=utf-8")
    // Bindings 3.2.3.3.
    request.headers.add(name: "soapaction", value: "\"http://www.oasis-open.org/committees/security\"")
    request.body = .bytes(ByteBuffer(bytes: envelope))
    let response = try await client.execute(request, timeout: .nanoseconds(timeout.components.seconds * 1_000_000_000))
    guard response.status == .ok else { throw Problem(description: "the answer's status is \(response.status.code)") }
    return Array(try await response.body.collect(upTo: 64 << 10).readableBytesView)
  }
}

extension OutboundClient: ProbeBrowser {
  package func exchange(_ exchange: ProbeExchange, timeout: Duration) async throws -> ProbeExchange.Answer {
    try OutboundClient.check(exchange.url.prefix { $0 != "#" }.description)
    var request = HTTPClientRequest(url: exchange.url)
    // Some applications send programs away.
    request.headers.add(name: "user-agent", value: "Mozilla/5.0 (gatehouse probe)")
    request.headers.add(name: "accept", value: "text/html,*/*;q=0.1")
    if let cookie = exchange.cookie { request.headers.add(name: "cookie", value: cookie) }
    if let form = exchange.form {
      request.method = .POST
      request.headers.add(name: "content-type", value: "application/x-www-form-urlencoded")
      request.body = .bytes(ByteBuffer(bytes: form))
    }
    let response = try await client.execute(request, timeout: .nanoseconds(timeout.components.seconds * 1_000_000_000))
    return ProbeExchange.Answer(
      status: Int(response.status.code), location: response.headers.first(name: "location"), cookies: response.headers["set-cookie"],
      body: Array(try await response.body.collect(upTo: 1 << 20).readableBytesView))
  }
}
