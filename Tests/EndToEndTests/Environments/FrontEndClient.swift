import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOSSL

/// A cloud front-end that asks for verdicts: the HTTP of `POST /v1/sign-in` and nothing else.
final class FrontEndClient: Sendable {
  /// Everything that a front-end sees of an answer.
  struct Answer: Sendable {
    var status: Int
    var fields: [(name: String, value: String)]
    var body: String
    var took: Duration

    private struct Body: Decodable {
      struct User: Decodable {
        var immutableId: String
        var userPrincipalName: String
        var objectId: String
        var attributes: [String: [String]]
        var groups: [String]?
        var passwordExpires: Int64?
      }
      struct Fault: Decodable {
        var code: String
        var message: String
      }
      var verdict: String?
      var reference: String?
      var code: String?
      var aadsts: Int?
      var user: User?
      var error: Fault?
    }

    /// The person, where one was accepted.
    struct Person: Sendable {
      var immutableID: String
      var userPrincipalName: String
      var objectID: String
      var attributes: [String: [String]]
      var groups: [String]?
      var passwordExpires: Int64?
    }

    private var decoded: Body? { try? JSONDecoder().decode(Body.self, from: Data(body.utf8)) }
    var verdict: String? { decoded?.verdict }
    var reference: String { decoded?.reference ?? "" }
    var code: String? { decoded?.code ?? decoded?.error?.code }
    var aadsts: Int? { decoded?.aadsts }
    var person: Person? {
      decoded?.user.map {
        Person(
          immutableID: $0.immutableId, userPrincipalName: $0.userPrincipalName, objectID: $0.objectId, attributes: $0.attributes,
          groups: $0.groups, passwordExpires: $0.passwordExpires)
      }
    }

    /// The value of a header field.
    func field(_ name: String) -> String? { fields.first { $0.name.lowercased() == name }?.value }

    /// `200 accepted`, `200 invalid_credentials`, `503 could_not_find_out`: what a front-end decides by.
    var gist: String { "\(status) \(code ?? verdict ?? "-")" }

    /// The answer without what must differ from one answer to the next.
    var withoutReferenceAndTime: String {
      let fields = fields.filter { $0.name.lowercased() != "date" }.map { "\($0.name): \($0.value)" }
      let text = body.replacing(/"reference":"[0-9A-Z-]{14}"/, with: "\"reference\":\"…\"").replacing(/"time":[0-9]{13}/, with: "\"time\":…")
      return "\(status)\n\(fields.joined(separator: "\n"))\n\n\(text)"
    }
  }

  let url: String
  let key: String?
  private let client: HTTPClient

  /// - Parameters:
  ///   - authority: the CA that vouches for the listener; nil: whoever answers is believed.
  ///   - certificate: PEM files of a client certificate and its key.
  ///   - connecting: how long a connection may take to be made, its handshake included.
  init(
    url: String, authority: NIOSSLTrustRoots?, key: String?, certificate: (chain: String, key: String)? = nil, connections: Int = 128,
    connecting: Duration = .seconds(3)
  ) throws {
    self.url = url
    self.key = key
    var tls = TLSConfiguration.makeClientConfiguration()
    if let authority { tls.trustRoots = authority } else { tls.certificateVerification = .none }
    if let certificate {
      tls.certificateChain = try NIOSSLCertificate.fromPEMFile(certificate.chain).map { .certificate($0) }
      tls.privateKey = .privateKey(try NIOSSLPrivateKey(file: certificate.key, format: .pem))
    }
    var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
    configuration.timeout.connect = TimeAmount(connecting)
    configuration.httpVersion = .http1Only
    configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = connections
    configuration.connectionPool.retryConnectionEstablishment = false
    client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }

  /// The library insists on an end that was asked for.
  deinit { client.shutdown { _ in } }

  /// Asks whether `password` is right. Throws where no whole answer came.
  func signIn(
    _ userName: String, _ password: String, from address: String? = nil, attributes: [String] = [], groups: Bool = false,
    deadlineMilliseconds: Int? = nil, key other: String? = nil
  ) async throws -> Answer {
    struct Question: Encodable {
      var userName: String
      var password: String
      var clientAddress: String?
      var application = "end-to-end tests"
      var attributes: [String]
      var groups: Bool
      var deadlineMilliseconds: Int?
    }
    let body = try JSONEncoder().encode(
      Question(
        userName: userName, password: password, clientAddress: address, attributes: attributes, groups: groups,
        deadlineMilliseconds: deadlineMilliseconds))
    var headers = ["content-type": "application/json"]
    if let key = other ?? key { headers["authorization"] = "Bearer \(key)" }
    return try await post("/v1/sign-in", body: body, headers: headers)
  }

  /// Asks for a password to be changed.
  func changePassword(_ userName: String, from old: String, to new: String, at address: String? = nil) async throws -> Answer {
    struct Question: Encodable {
      var userName: String
      var password: String
      var newPassword: String
      var clientAddress: String?
    }
    let body = try JSONEncoder().encode(Question(userName: userName, password: old, newPassword: new, clientAddress: address))
    var headers = ["content-type": "application/json"]
    if let key { headers["authorization"] = "Bearer \(key)" }
    return try await post("/v1/change-password", body: body, headers: headers)
  }

  /// Any POST; for messages that are not a front-end's.
  func post(_ path: String, body: Data, headers: [String: String] = ["content-type": "application/json"]) async throws -> Answer {
    let began = ContinuousClock.now
    var request = HTTPClientRequest(url: url + path)
    request.method = .POST
    request.headers = HTTPHeaders(headers.map { ($0.key, $0.value) })
    request.body = .bytes(ByteBuffer(bytes: body))
    let response = try await client.execute(request, timeout: .seconds(15))
    let bytes = try await response.body.collect(upTo: 1 << 20)
    return Answer(
      status: Int(response.status.code), fields: response.headers.map { (name: $0.name, value: $0.value) },
      body: String(decoding: bytes.readableBytesView, as: UTF8.self),
      took: began.duration(to: .now))
  }
}
