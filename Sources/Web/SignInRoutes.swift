import Bytes
import Foundation
import HTTPTypes
import Hummingbird
import Identity
import Logging
import SignIn

/// `POST /v1/sign-in`: the front-ends' question; and `POST /v1/change-password`, which is one more field.
struct SignInRoutes: Sendable {
  let service: SignInService
  let desk: FrontEndDesk
  let gate: AdmissionGate
  let limits: ListenerLimits
  /// The longest deadline, and the one where the caller names none.
  let deadline: Duration
  let now: @Sendable () -> Instant

  func add(to router: Router<GatewayRequestContext>) {
    router.post(RouterPath(OverloadHandler.path)) { request, context in try await signIn(request, context) }
    router.post("/v1/change-password") { request, context in try await changePassword(request, context) }
  }

  private func signIn(_ request: Request, _ context: GatewayRequestContext) async throws -> Response {
    try await admitted(request, context, fields: SignInRoutes.fields) { frontEnd, question, _ in
      let answer = await service.signIn(question, frontEnd: frontEnd)
      // The audit tells every sign-in; a line of log for each would say it again and cost more than the answer.
      context.logger.debug(
        "sign-in", metadata: ["reference": "\(answer.reference)", "frontEnd": "\(frontEnd.name)", "verdict": "\(answer.verdict.word)"])
      return answer.response()
    }
  }

  private func changePassword(_ request: Request, _ context: GatewayRequestContext) async throws -> Response {
    try await admitted(request, context, fields: SignInRoutes.fields.union(["newPassword"])) { frontEnd, question, body in
      guard let value = body.member("newPassword") else { throw RequestFault.malformed("The field \"newPassword\" is missing.") }
      guard let new = value.secret else { throw RequestFault.malformed("The field \"newPassword\" must be a string.") }
      let answer = await service.changePassword(PasswordChangeRequest(question, new: new), frontEnd: frontEnd)
      context.logger.debug("change of a password", metadata: ["reference": "\(answer.reference)", "frontEnd": "\(frontEnd.name)"])
      return answer.response()
    }
  }

  /// Lets a sign-in in, and `body` answer it; while the gate is full, people at familiar addresses only.
  private func admitted(
    _ request: Request, _ context: GatewayRequestContext, fields: Set<String>,
    _ answer: (FrontEnd, SignInRequest, JSONValue) async throws -> Response
  ) async throws -> Response {
    let arrived = ContinuousClock.now
    switch gate.meet(waited: context.facts.waited(now: arrived)) {
    case .turnedAway: throw overloadFault()
    case .enters:
      defer { gate.leave() }
      let (frontEnd, body) = try await read(request, context, arrived: arrived, fields: fields)
      return try await answer(frontEnd, try decode(body, arrived: arrived), body)
    case .isLookedAt:
      let (frontEnd, body) = try await read(request, context, arrived: arrived, fields: fields)
      let question = try decode(body, arrived: arrived)
      guard await service.isFamiliar(question, frontEnd: frontEnd) else {
        gate.turnAway()
        throw overloadFault()
      }
      guard gate.enterAsGuest() else { throw overloadFault() }
      defer { gate.leaveAsGuest() }
      return try await answer(frontEnd, question, body)
    }
  }

  /// Who asks, and the body with no field but `fields`.
  private func read(
    _ request: Request, _ context: GatewayRequestContext, arrived: ContinuousClock.Instant, fields: Set<String>
  ) async throws -> (FrontEnd, JSONValue) {
    var request = request
    let frontEnd = try authenticate(request, context)
    guard desk.mayAsk(frontEnd, now: arrived) else { throw RequestFault.rateExceeded(retryAfterSeconds: 1) }
    guard isJSON(request.headers[.contentType]) else { throw RequestFault.unsupportedMediaType }
    let bytes = try await request.readBody(limit: limits.body)
    let body: JSONValue
    do { body = try JSONText(object: bytes).root } catch { throw RequestFault.malformed("The body is not the JSON that is expected: \(error).") }
    if let unknown = body.members?.first(where: { !fields.contains($0.name) })?.name {
      throw RequestFault.malformed("The field \"\(unknown.prefix(64))\" is not known. Known: \(fields.sorted().joined(separator: ", ")).")
    }
    return (frontEnd, body)
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

  private static let fields: Set<String> = [
    "userName", "password", "clientAddress", "application", "correlationId", "deadlineMilliseconds", "attributes", "groups",
  ]

  private func decode(_ body: JSONValue, arrived: ContinuousClock.Instant) throws -> SignInRequest {
    func text(_ name: String) throws -> String? { try body[name].map { try expect($0.string, name, "a string") } }
    func expect<Value>(_ value: Value?, _ name: String, _ kind: String) throws -> Value {
      guard let value else { throw RequestFault.malformed("The field \"\(name)\" must be \(kind).") }
      return value
    }
    func require(_ name: String) throws -> JSONValue {
      guard let value = body.member(name) else { throw RequestFault.malformed("The field \"\(name)\" is missing.") }
      return value
    }
    let userName = try expect(try require("userName").string, "userName", "a string")
    let password = try expect(try require("password").secret, "password", "a string")
    let (application, correlation) = (try text("application"), try text("correlationId"))
    // Counted as docs/openapi.yaml counts; the audit cuts what it keeps by bytes.
    if let application, application.unicodeScalars.count > 256 {
      throw RequestFault.malformed("\"application\" may have at most 256 characters.")
    }
    if let correlation, correlation.utf8.count > 128 || !correlation.utf8.allSatisfy({ (0x20...0x7e).contains($0) }) {
      throw RequestFault.malformed("\"correlationId\" may have at most 128 characters, all of printable ASCII.")
    }
    var address: IPAddress?
    if let typed = try text("clientAddress") {
      address = IPAddress(typed)
      guard address != nil else { throw RequestFault.malformed("\"clientAddress\" must be an IPv4 or IPv6 address without port or zone.") }
    }
    let attributes = try body["attributes"].map { try expect($0.elements, "attributes", "an array of strings") } ?? []
    let wanting = AttributeRequest(
      attributes: try attributes.prefix(65).map { try expect($0.string, "attributes", "an array of strings") },
      groups: try body["groups"].map { try expect($0.bool, "groups", "true or false") } ?? false)
    guard wanting.attributes.count <= 64 else { throw RequestFault.malformed("\"attributes\" may name at most 64 attributes.") }
    if let name = wanting.firstInvalidName { throw RequestFault.malformed("\"\(name.prefix(64))\" in \"attributes\" is no LDAP attribute name.") }
    var limit = deadline
    if let value = body["deadlineMilliseconds"] {
      let milliseconds = try expect(value.integer, "deadlineMilliseconds", "a whole number")
      guard (1...60_000).contains(milliseconds) else { throw RequestFault.malformed("\"deadlineMilliseconds\" must be between 1 and 60000.") }
      limit = min(limit, .milliseconds(milliseconds))
    }
    return SignInRequest(
      userName: userName, password: password, address: address, application: application, correlation: correlation,
      wanting: wanting, deadline: Deadline(after: limit, now: arrived))
  }
}

/// Whether a content type says JSON (RFC 8259 §11), parameters aside.
func isJSON(_ contentType: String?) -> Bool {
  guard let contentType else { return false }
  if contentType.utf8.elementsEqual("application/json".utf8) { return true }
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
