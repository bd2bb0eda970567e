import Bytes
import Foundation
import HTTPTypes
import Hummingbird
import Identity
import Logging
import SignIn

/// `POST /v1/sign-in`: the front-ends' question.
struct SignInRoutes: Sendable {
  let service: SignInService
  let desk: FrontEndDesk
  let limits: ListenerLimits
  /// The longest deadline, and the one where the caller names none.
  let deadline: Duration
  let now: @Sendable () -> Instant

  func add(to router: Router<GatewayRequestContext>) {
    router.post("/v1/sign-in") { request, context in try await signIn(request, context) }
  }

  private func signIn(_ request: Request, _ context: GatewayRequestContext) async throws -> Response {
    var request = request
    let arrived = ContinuousClock.now
    let frontEnd = try authenticate(request, context)
    guard desk.mayAsk(frontEnd, now: arrived) else { throw RequestFault.rateExceeded(retryAfterSeconds: 1) }
    guard isJSON(request.headers[.contentType]) else { throw RequestFault.unsupportedMediaType }
    let question = try decode(try await request.readBody(limit: limits.body), arrived: arrived)
    let answer = await service.signIn(question, frontEnd: frontEnd)
    context.logger.info(
      "sign-in", metadata: ["reference": "\(answer.reference)", "frontEnd": "\(frontEnd.name)", "verdict": "\(answer.verdict.word)"])
    return answer.response()
  }

  /// The front-end by its API key, or by its certificate on the mutual-TLS listener. Throws `RequestFault.unauthenticated`.
  private func authenticate(_ request: Request, _ context: GatewayRequestContext) throws -> FrontEnd {
    if let header = request.headers[.authorization] {
      let parts = header.split(separator: " ", maxSplits: 1)
      guard parts.count == 2, parts[0].lowercased() == "bearer", parts[1].utf8.count <= 256,
        let frontEnd = desk.frontEnd(apiKey: Secret(parts[1].utf8), now: now())
      else { throw RequestFault.unauthenticated }
      return frontEnd
    }
    guard let der = context.facts.certificateDER, let frontEnd = desk.frontEnd(certificateDER: der) else {
      throw RequestFault.unauthenticated
    }
    return frontEnd
  }

  /// What the body may hold.
  private struct Body: Decodable {
    var userName: String
    var password: String
    var clientAddress: String?
    var application: String?
    var correlationId: String?
    var deadlineMilliseconds: Int?
    var attributes: [String]?
    var groups: Bool?
  }

  private static let fields: Set<String> = [
    "userName", "password", "clientAddress", "application", "correlationId", "deadlineMilliseconds", "attributes", "groups",
  ]

  private func decode(_ bytes: [UInt8], arrived: ContinuousClock.Instant) throws -> SignInRequest {
    do {
      let names = try StrictJSON.names(ofObject: bytes)
      if let unknown = names.first(where: { !SignInRoutes.fields.contains($0) }) {
        throw RequestFault.malformed(
          "The field \"\(unknown.prefix(64))\" is not known. Known: \(SignInRoutes.fields.sorted().joined(separator: ", ")).")
      }
    } catch let problem as StrictJSON.Problem {
      throw RequestFault.malformed("The body is not the JSON that is expected: \(problem).")
    }
    let body: Body
    do { body = try JSONDecoder().decode(Body.self, from: Data(bytes)) } catch { throw RequestFault.malformed(describe(error)) }
    // Counted as docs/openapi.yaml counts; the audit cuts what it keeps by bytes.
    if let application = body.application, application.unicodeScalars.count > 256 {
      throw RequestFault.malformed("\"application\" may have at most 256 characters.")
    }
    if let correlation = body.correlationId, correlation.utf8.count > 128 || !correlation.utf8.allSatisfy({ (0x20...0x7e).contains($0) }) {
      throw RequestFault.malformed("\"correlationId\" may have at most 128 characters, all of printable ASCII.")
    }
    var address: IPAddress?
    if let text = body.clientAddress {
      address = IPAddress(text)
      guard address != nil else { throw RequestFault.malformed("\"clientAddress\" must be an IPv4 or IPv6 address without port or zone.") }
    }
    let wanting = AttributeRequest(attributes: body.attributes ?? [], groups: body.groups ?? false)
    guard wanting.attributes.count <= 64 else { throw RequestFault.malformed("\"attributes\" may name at most 64 attributes.") }
    if let name = wanting.firstInvalidName { throw RequestFault.malformed("\"\(name.prefix(64))\" in \"attributes\" is no LDAP attribute name.") }
    var limit = deadline
    if let milliseconds = body.deadlineMilliseconds {
      guard (1...60_000).contains(milliseconds) else { throw RequestFault.malformed("\"deadlineMilliseconds\" must be between 1 and 60000.") }
      limit = min(limit, .milliseconds(milliseconds))
    }
    return SignInRequest(
      userName: body.userName, password: Secret(body.password.utf8), address: address, application: body.application,
      correlation: body.correlationId, wanting: wanting, deadline: Deadline(after: limit, now: arrived))
  }
}

/// Whether a content type says JSON (RFC 8259 §11), parameters aside.
func isJSON(_ contentType: String?) -> Bool {
  guard let contentType else { return false }
  let type = contentType.split(separator: ";", omittingEmptySubsequences: false).first.map(String.init) ?? ""
  return type.trimmingCharacters(in: .whitespaces).lowercased() == "application/json"
}

/// A decoder's complaint in words: which field, and what it should be. Never its value.
func describe(_ error: any Error) -> String {
  func path(_ context: DecodingError.Context) -> String {
    context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }.joined(separator: ".")
  }
  switch error {
  case DecodingError.keyNotFound(let key, _): return "The field \"\(key.stringValue)\" is missing."
  case DecodingError.typeMismatch(let type, let context), DecodingError.valueNotFound(let type, let context):
    return
      "The field \"\(path(context))\" must be \(type == String.self ? "a string" : type == Bool.self ? "true or false" : type == Int.self ? "a whole number" : "of another type")."
  // A number that is not of the field's kind comes without the field's name.
  case DecodingError.dataCorrupted(let context) where context.codingPath.isEmpty: return "A number is not whole, or out of range."
  case DecodingError.dataCorrupted(let context): return "The field \"\(path(context))\" has a value that cannot be used."
  default: return "The body is not the JSON that is expected."
  }
}

extension Verdict {
  /// For logs.
  var word: String {
    switch self {
    case .accepted: "accepted"
    case .refused: "refused"
    case .unknown(let cause): "unknown:\(cause.rawValue)"
    }
  }
}
