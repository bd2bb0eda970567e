import ArgumentParser
import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOSSL

/// What every administering command takes.
struct AdminOptions: ParsableArguments {
  @Option(name: .long, help: "The gateway's admin socket (default: $GATEHOUSE_SOCKET, else /var/lib/gatehouse/admin.sock).")
  var socket: String?

  @Flag(name: .long, help: "Print JSON for programs.")
  var json = false

  var client: AdminClient {
    AdminClient(
      socket: socket ?? ProcessInfo.processInfo.environment["GATEHOUSE_SOCKET"] ?? "/var/lib/gatehouse/admin.sock")
  }
}

/// The CLI's end of the admin API, over the gateway's Unix socket.
struct AdminClient: Sendable {
  let socket: String

  /// Where nobody listens that is said at once. For the whole process: it is never shut down.
  private static let http: HTTPClient = {
    var configuration = HTTPClient.Configuration()
    configuration.connectionPool.retryConnectionEstablishment = false
    return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }()

  struct Problem: Error, CustomStringConvertible {
    let description: String
  }

  func get<Answer: Decodable>(_ path: String, query: [(String, String)] = []) async throws -> Answer {
    try await send(.GET, path, query: query, body: nil)
  }

  func post<Answer: Decodable>(_ path: String, _ message: some Encodable) async throws -> Answer {
    try await send(.POST, path, query: [], body: try JSONEncoder().encode(message))
  }

  func patch<Answer: Decodable>(_ path: String, _ message: some Encodable) async throws -> Answer {
    try await send(.PATCH, path, query: [], body: try JSONEncoder().encode(message))
  }

  func delete<Answer: Decodable>(_ path: String) async throws -> Answer {
    try await send(.DELETE, path, query: [], body: nil)
  }

  private struct FaultBody: Decodable {
    struct Detail: Decodable { var message: String }
    var error: Detail
  }

  private func send<Answer: Decodable>(_ method: HTTPMethod, _ path: String, query: [(String, String)], body: Data?) async throws -> Answer {
    var components = URLComponents()
    // Names may hold anything; a path segment is encoded whole.
    components.percentEncodedPath = "/admin/v1/" + path
    if !query.isEmpty { components.queryItems = query.map { URLQueryItem(name: $0.0, value: $0.1) } }
    guard let uri = components.string, let url = URL(httpURLWithSocketPath: socket, uri: uri) else {
      throw Problem(description: "The path of the admin socket cannot be used: \(socket)")
    }
    var request = HTTPClientRequest(url: url.absoluteString)
    request.method = method
    if let body {
      request.headers.add(name: "content-type", value: "application/json")
      request.body = .bytes(ByteBuffer(bytes: body))
    }
    let status: HTTPResponseStatus
    let data: Data
    do {
      let response = try await AdminClient.http.execute(request, timeout: .seconds(30))
      status = response.status
      data = Data((try await response.body.collect(upTo: 64 << 20)).readableBytesView)
    } catch {
      throw Problem(
        description:
          "No gateway answers at \(socket) (\(error)). Is `gatehouse serve` running on this host? Name its socket with --socket or "
          + "GATEHOUSE_SOCKET, and run this as root or as the gateway's user."
      )
    }
    guard (200..<300).contains(Int(status.code)) else {
      let words = (try? JSONDecoder().decode(FaultBody.self, from: data))?.error.message
      throw Problem(description: words ?? "The gateway answered \(status).")
    }
    return try JSONDecoder().decode(Answer.self, from: data)
  }
}

/// One segment of a path, everything encoded that could end it.
func pathSegment(_ text: String) -> String {
  text.addingPercentEncoding(withAllowedCharacters: .alphanumerics.union(CharacterSet(charactersIn: "-._"))) ?? ""
}
